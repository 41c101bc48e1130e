//! Icons, drawn with lines in the color of the text. All are decoration next to words.

use maud::{Markup, PreEscaped, html};

/// An icon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ui) enum Icon {
    Alert,
    Check,
    Clock,
    External,
    File,
    Image,
    Inbox,
    Retry,
    Search,
    Video,
    Audio,
}

impl Icon {
    const fn drawing(self) -> &'static str {
        match self {
            Self::Alert => r#"<path d="M8 2 1.7 13.2h12.6z"/><path d="M8 6.4v3M8 11.4v.1"/>"#,
            Self::Check => r#"<circle cx="8" cy="8" r="6.2"/><path d="m5.2 8.2 2 2 3.8-4.2"/>"#,
            Self::Clock => r#"<circle cx="8" cy="8" r="6.2"/><path d="M8 4.6V8l2.3 1.6"/>"#,
            Self::External => r#"<path d="M6.5 3H3v10h10V9.5M9 3h4v4M13 3 7.5 8.5"/>"#,
            Self::File => r#"<path d="M4 1.8h5L12.5 5v9.2H4z"/><path d="M9 1.8V5h3.5"/>"#,
            Self::Image => {
                r#"<rect x="1.8" y="2.8" width="12.4" height="10.4" rx="1.2"/><circle cx="5.3" cy="6.2" r="1"/><path d="m2.2 12 3.6-3.4 2.4 2 2.6-3 3.2 3.6"/>"#
            }
            Self::Inbox => r#"<path d="M2 9.2 4 3h8l2 6.2V13H2z"/><path d="M2 9.2h3.6l.8 1.6h3.2l.8-1.6H14"/>"#,
            Self::Retry => r#"<path d="M13 8a5 5 0 1 1-1.6-3.7"/><path d="M13.2 2v3.2H10"/>"#,
            Self::Search => r#"<circle cx="7" cy="7" r="4.4"/><path d="m10.4 10.4 3.4 3.4"/>"#,
            Self::Video => {
                r#"<rect x="1.8" y="3.2" width="9" height="9.6" rx="1.2"/><path d="m10.8 7 3.6-2v6l-3.6-2z"/>"#
            }
            Self::Audio => {
                r#"<path d="M6 12V3.4l7-1.4v8.4"/><circle cx="4.2" cy="12" r="1.8"/><circle cx="11.2" cy="10.6" r="1.8"/>"#
            }
        }
    }
}

/// An icon next to words.
pub(in crate::ui) fn icon(icon: Icon) -> Markup {
    html! {
        svg.icon viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
            (PreEscaped(icon.drawing()))
        }
    }
}

/// The logo of renderhook: a hook that catches a frame.
pub(in crate::ui) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false" {
            rect x="1" y="1" width="22" height="22" rx="6" {}
            path d="M9 5.5v8a3.5 3.5 0 0 0 7 0v-1" {}
            path d="m13.6 13.6 2.4-2.4 2.4 2.4" {}
        }
    }
}

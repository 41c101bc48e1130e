//! Links to the first and the next page of a list.

use maud::{Markup, html};

/// `first`: where the first page is, if this is another one. `next`: where the next page is, if there is one.
pub(in crate::ui) fn pager(first: Option<&str>, next: Option<&str>) -> Markup {
    html! {
        @if first.is_some() || next.is_some() {
            nav.pager aria-label="Pages" {
                @if let Some(first) = first { a.button href=(first) { "First page" } }
                @if let Some(next) = next { a.button href=(next) rel="next" { "Next page" } }
            }
        }
    }
}

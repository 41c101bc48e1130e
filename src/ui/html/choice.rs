//! A drop-down list in a filter form.

use std::fmt::Display;

use maud::{Markup, html};

/// A list of values, and "any" for none.
pub(in crate::ui) fn choice<T: Display + PartialEq>(
    name: &str,
    label: &str,
    values: &[T],
    chosen: Option<&T>,
) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                option value="" { "any" }
                @for value in values {
                    option value=(value) selected[chosen == Some(value)] { (value.to_string().replace('_', " ")) }
                }
            }
        }
    }
}

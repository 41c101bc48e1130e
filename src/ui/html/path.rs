//! Paths and queries of links.

use crate::views::segment;

/// The page of a render.
pub(in crate::ui) fn render_path(id: &str) -> String {
    format!("/ui/renders/{}", segment(id))
}

/// The page of a delivery.
pub(in crate::ui) fn delivery_path(id: i64) -> String {
    format!("/ui/deliveries/{id}")
}

/// A link with parameters. Those without a value are left out.
pub(in crate::ui) struct Query(String);

impl Query {
    pub(in crate::ui) fn of(path: &str) -> Self {
        Self(path.to_owned())
    }

    #[must_use]
    pub(in crate::ui) fn with(mut self, name: &str, value: Option<impl std::fmt::Display>) -> Self {
        if let Some(value) = value {
            let separator = if self.0.contains('?') { '&' } else { '?' };
            self.0 = format!("{}{separator}{name}={}", self.0, segment(&value.to_string()));
        }
        self
    }

    pub(in crate::ui) fn text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped_and_missing_ones_left_out() {
        let link = Query::of("/ui/renders").with("a", None::<&str>).with("b", Some("x&y=\"z")).with("c", Some(1));
        assert_eq!(link.text(), "/ui/renders?b=x%26y%3D%22z&c=1");
        assert_eq!(render_path("../a?b"), "/ui/renders/..%2Fa%3Fb");
    }
}

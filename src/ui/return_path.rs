//! The page to show after a form: a path under `/ui`, and nothing else.

/// A path under `/ui`. Never another site, whatever text it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReturnPath(String);

impl ReturnPath {
    /// The path in `text`, or the first page.
    pub(super) fn parse(text: &str) -> Self {
        let rest = text.strip_prefix("/ui");
        let is_below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
        // Browsers drop control characters and take a backslash for a slash.
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        // Nothing that a browser or a proxy would resolve to another path.
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let is_plain =
            is_plain && !path.contains("//") && !path.split('/').any(|segment| matches!(segment, "." | ".."));
        let is_form = text.starts_with("/ui/login") || text.starts_with("/ui/logout");
        let usable = is_below && is_plain && !is_form && text.len() <= 2_000;
        Self(if usable { text } else { "/ui" }.to_owned())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The path with another parameter in its query. What the query had of that name is replaced.
    pub(super) fn with(&self, name: &str, value: &str) -> String {
        let (path, query) = self.0.split_once('?').unwrap_or((&self.0, ""));
        let kept = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key != name);
        let query =
            url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).append_pair(name, value).finish();
        format!("{path}?{query}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_under_ui_is_returned_to() {
        for path in ["/ui", "/ui/renders", "/ui?notice=1", "/ui/renders/a%2Fb?x=y&z", "/ui/renders/a..b?x=//y"] {
            assert_eq!(ReturnPath::parse(path).as_str(), path);
        }
        for text in [
            "",
            "/",
            "/uix",
            "//evil.example",
            "/ui\\evil.example",
            "https://evil.example/ui",
            "javascript:alert(1)",
            "/ui/\n/evil",
            "/ui/renders x",
            " /ui",
            "/ui/renders/../../renders",
            "/ui/..//evil.example",
            "/ui//evil.example",
            "/ui/.",
            "/ui/login",
            "/ui/login?next=/ui/login",
            "/ui/logout",
            &format!("/ui/{}", "x".repeat(2_000)),
        ] {
            assert_eq!(ReturnPath::parse(text).as_str(), "/ui", "{text}");
        }
    }

    #[test]
    fn a_parameter_is_set_once() {
        assert_eq!(ReturnPath::parse("/ui").with("retried", "3"), "/ui?retried=3");
        assert_eq!(
            ReturnPath::parse("/ui/renders?a=%26&retried=1").with("retried", "3"),
            "/ui/renders?a=%26&retried=3"
        );
    }
}

//! Takes an external id from a render's name.

use std::str::FromStr;

use regex::Regex;

use super::external_id::{ExternalId, InvalidExternalId};

/// A regular expression whose only group is the external id in a render's name. Matching takes time linear in the name.
#[derive(Debug, Clone)]
pub struct ExternalIdPattern(Regex);

/// Why text is not an [`ExternalIdPattern`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExternalIdPattern {
    /// It is not a regular expression, or too large a one.
    #[error("must be a regular expression: {0}")]
    NotAnExpression(String),
    /// It has no group, or several.
    #[error("must have exactly one group, as in ^order-(\\d+); it has {0}. Write other groups as (?:…)")]
    Groups(usize),
}

impl ExternalIdPattern {
    /// The external id in `name`; `None` if it does not match.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Result<ExternalId, InvalidExternalId>> {
        let found = self.0.captures(name)?.get(1)?;
        Some(found.as_str().parse())
    }
}

impl FromStr for ExternalIdPattern {
    type Err = InvalidExternalIdPattern;

    fn from_str(text: &str) -> Result<Self, InvalidExternalIdPattern> {
        let regex = Regex::new(text).map_err(|error| {
            // The lines before show the expression.
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            InvalidExternalIdPattern::NotAnExpression(reason.trim_start_matches("error: ").to_owned())
        })?;
        match regex.captures_len() - 1 {
            1 => Ok(Self(regex)),
            groups => Err(InvalidExternalIdPattern::Groups(groups)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_the_first_match_is_the_external_id() {
        let long = format!("order-{}", "1".repeat(256));
        for (pattern, name, expected) in [
            (r"^order-(\d+)", "order-17 of today", Some(Ok("17"))),
            (r"^order-(\d+)", "an order-17", None),
            (r"\[(.+?)\]", "clip [a] [b]", Some(Ok("a"))),
            (r"(?:user|team)=(\S+)", "x team=été", Some(Ok("été"))),
            ("^(.*)$", "whole", Some(Ok("whole"))),
            ("^(.*)$", "", Some(Err(InvalidExternalId))),
            (r"order-(\d+)", &long, Some(Err(InvalidExternalId))),
            ("a(b)?", "a", None),
        ] {
            let pattern: ExternalIdPattern = pattern.parse().unwrap();
            let found = pattern.find(name).map(|it| it.map(|id| id.as_str().to_owned()));
            assert_eq!(found, expected.map(|it| it.map(str::to_owned)), "{pattern:?} {name}");
        }
    }

    #[test]
    fn a_pattern_needs_one_group_and_the_error_says_what_is_wrong() {
        let error = |text: &str| text.parse::<ExternalIdPattern>().unwrap_err();
        assert_eq!(error("order"), InvalidExternalIdPattern::Groups(0));
        assert_eq!(error("(a)(b)"), InvalidExternalIdPattern::Groups(2));
        let unclosed = error("hush(").to_string();
        assert!(unclosed.contains("unclosed group") && !unclosed.contains("hush"), "{unclosed}");
        assert!(matches!(error("(x{1000}{1000}{1000})"), InvalidExternalIdPattern::NotAnExpression(_)));
    }
}

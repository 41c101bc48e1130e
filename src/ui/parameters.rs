//! The query of a page.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use url::form_urlencoded;

use super::error::UiError;

/// The parameters of a page. A form sends fields that nobody has filled in, so an empty one counts as missing.
#[derive(Debug, Clone, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// The parameters in a query, or the fields of a form.
    pub(super) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The value of a parameter. One with U+0000, which cannot be stored and so matches nothing, counts as missing.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.trim());
        found.filter(|value| !value.is_empty() && !value.contains('\0'))
    }

    /// The parsed value of a parameter; 400 if it is none.
    pub(super) fn read<T: FromStr>(&self, name: &str) -> Result<Option<T>, UiError> {
        let invalid = |_| UiError::bad_request(format!("`{name}` in the address cannot be read."));
        self.get(name).map(str::parse).transpose().map_err(invalid)
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}

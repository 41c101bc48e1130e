//! The secret in a cookie.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// 32 random bytes that only this service and one browser know. It has no `Debug`.
#[derive(Clone)]
pub(in crate::ui) struct BrowserSecret([u8; 32]);

impl BrowserSecret {
    pub(in crate::ui) fn random() -> Self {
        Self(rand::random())
    }

    /// The secret in the value of a cookie.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The value of the cookie.
    pub(super) fn text(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.0)
    }

    /// What is stored of it.
    pub(in crate::ui) fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// What each form of the browser carries. It says nothing about the secret.
    pub(in crate::ui) fn form_token(&self) -> String {
        hex::encode(Sha256::new().chain_update(b"renderhook form\n").chain_update(self.0).finalize())
    }

    /// Whether a form comes from this browser. Takes the same time for every token.
    pub(in crate::ui) fn is_form_token(&self, token: &str) -> bool {
        self.form_token().as_bytes().ct_eq(token.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_parses_back_and_no_other_text_is_one() {
        let secret = BrowserSecret::random();
        let parsed = BrowserSecret::parse(&secret.text()).unwrap();
        assert_eq!(parsed.hash(), secret.hash());
        for text in ["", "x", &secret.text()[1..], &format!("{}=", secret.text()), &"!".repeat(43)] {
            assert!(BrowserSecret::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_form_token_belongs_to_one_secret() {
        let (one, other) = (BrowserSecret::random(), BrowserSecret::random());
        assert!(one.is_form_token(&one.form_token()));
        assert!(!one.is_form_token(&other.form_token()));
        assert!(!one.is_form_token(""));
        assert!(!one.form_token().contains(&hex::encode(one.hash())));
    }
}

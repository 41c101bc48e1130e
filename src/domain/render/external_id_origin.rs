//! Where a render's external id comes from.

use super::string_enum;

/// Where a render's external id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalIdOrigin {
    /// The application has set or removed it.
    Application,
    /// `EXTERNAL_ID_PATTERN` found it in the render's name.
    Name,
}

impl ExternalIdOrigin {
    /// Every origin.
    pub const ALL: [Self; 2] = [Self::Application, Self::Name];

    /// The name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Name => "name",
        }
    }
}

string_enum!(ExternalIdOrigin);

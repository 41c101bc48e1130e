//! What recording depends on beside the observations: settings of the process.

use crate::domain::ExternalIdPattern;
use crate::feed::PostedTypes;

/// What recording depends on beside the observations.
#[derive(Debug, Clone, Default)]
pub struct RecordRules {
    /// Notifications of these types are posted.
    pub posted: PostedTypes,
    /// Whether there is no API key, so that nothing can be asked of Magic Hour.
    pub webhooks_only: bool,
    /// Finds external ids in names.
    pub external_ids: Option<ExternalIdPattern>,
}

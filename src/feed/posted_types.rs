//! Which types of notifications are posted to the application.

use crate::domain::NotificationType;

/// The types of notifications that are posted to `NOTIFY_URL`. Empty without one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PostedTypes(u8);

impl PostedTypes {
    /// Whether notifications of this type are posted.
    #[must_use]
    pub const fn contains(self, notification_type: NotificationType) -> bool {
        self.0 & bit(notification_type) != 0
    }
}

const fn bit(notification_type: NotificationType) -> u8 {
    1 << notification_type as u8
}

impl FromIterator<NotificationType> for PostedTypes {
    /// Types that cannot be posted are left out.
    fn from_iter<I: IntoIterator<Item = NotificationType>>(types: I) -> Self {
        let postable = types.into_iter().filter(|it| it.can_be_posted());
        Self(postable.fold(0, |bits, it| bits | bit(it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_types_that_can_be_posted_are_posted() {
        let posted: PostedTypes =
            [NotificationType::Ready, NotificationType::Moved, NotificationType::DownloadStored].into_iter().collect();
        for notification_type in NotificationType::ALL {
            let expected = matches!(notification_type, NotificationType::Ready | NotificationType::Moved);
            assert_eq!(posted.contains(notification_type), expected, "{notification_type}");
            assert!(!PostedTypes::default().contains(notification_type));
        }
    }
}

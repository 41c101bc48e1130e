//! Labels of metrics.

use metrics::Label;

use crate::domain::{DownloadState, Kind, NotificationState, Status};

/// A label whose values are known: an enum.
pub trait LabelValue: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;

    /// Every value.
    fn all() -> Vec<Self>;

    /// The value as text.
    fn value(self) -> &'static str;
}

/// The labels of a metric.
pub trait LabelSet {
    /// Their names.
    const NAMES: &'static [&'static str];

    /// Their names with their values.
    fn labels(self) -> Vec<Label>;
}

/// Labels whose combinations are all known. Each is reported as 0 from the start, so that an alert on something that has never
/// happened finds a value.
pub trait ListedLabels: LabelSet + Sized {
    /// Every combination.
    fn all() -> Vec<Self>;
}

fn label<A: LabelValue>(value: A) -> Label {
    Label::from_static_parts(A::NAME, value.value())
}

impl LabelSet for () {
    const NAMES: &'static [&'static str] = &[];

    fn labels(self) -> Vec<Label> {
        Vec::new()
    }
}

impl ListedLabels for () {
    fn all() -> Vec<Self> {
        vec![()]
    }
}

impl<A: LabelValue> LabelSet for (A,) {
    const NAMES: &'static [&'static str] = &[A::NAME];

    fn labels(self) -> Vec<Label> {
        vec![label(self.0)]
    }
}

impl<A: LabelValue> ListedLabels for (A,) {
    fn all() -> Vec<Self> {
        A::all().into_iter().map(|value| (value,)).collect()
    }
}

impl<A: LabelValue, B: LabelValue> LabelSet for (A, B) {
    const NAMES: &'static [&'static str] = &[A::NAME, B::NAME];

    fn labels(self) -> Vec<Label> {
        vec![label(self.0), label(self.1)]
    }
}

impl<A: LabelValue, B: LabelValue> ListedLabels for (A, B) {
    fn all() -> Vec<Self> {
        A::all().into_iter().flat_map(|first| B::all().into_iter().map(move |second| (first, second))).collect()
    }
}

impl<A: LabelValue, B: LabelValue, C: LabelValue> LabelSet for (A, B, C) {
    const NAMES: &'static [&'static str] = &[A::NAME, B::NAME, C::NAME];

    fn labels(self) -> Vec<Label> {
        vec![label(self.0), label(self.1), label(self.2)]
    }
}

impl<A: LabelValue, B: LabelValue, C: LabelValue> ListedLabels for (A, B, C) {
    fn all() -> Vec<Self> {
        let pairs = <(A, B)>::all().into_iter();
        pairs.flat_map(|(first, second)| C::all().into_iter().map(move |third| (first, second, third))).collect()
    }
}

/// Implements [`LabelValue`] for an enum that has `ALL` and `as_str`.
macro_rules! label_value {
    ($name:ty, $label:literal) => {
        impl $crate::runtime::LabelValue for $name {
            const NAME: &'static str = $label;

            fn all() -> Vec<Self> {
                Self::ALL.to_vec()
            }

            fn value(self) -> &'static str {
                self.as_str()
            }
        }
    };
}
pub(crate) use label_value;

label_value!(Kind, "kind");
label_value!(DownloadState, "state");
label_value!(NotificationState, "state");

/// A status, or `unknown` until one is reported.
impl LabelValue for Option<Status> {
    const NAME: &'static str = "status";

    fn all() -> Vec<Self> {
        Status::ALL.into_iter().map(Some).chain([None]).collect()
    }

    fn value(self) -> &'static str {
        self.map_or("unknown", Status::as_str)
    }
}

label_value!(Status, "status");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_labels_is_listed_once() {
        let all: Vec<_> = <(Kind, Option<Status>)>::all().into_iter().map(LabelSet::labels).collect();
        assert_eq!(all.len(), 3 * 7);
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        assert_eq!(<(Kind, Option<Status>)>::NAMES, ["kind", "status"]);
        assert_eq!(<()>::all(), [()]);
        assert_eq!(<(Kind, Status, DownloadState)>::all().len(), 3 * 6 * 4);
    }
}

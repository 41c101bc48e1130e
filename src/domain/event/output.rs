//! What Magic Hour says about the output of a project: sizes, times, and the number of images.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::json::{self, Object};
use super::payload::{Nullable, nullable};

/// A fact about a project's output. Each kind of render has some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputField {
    /// The width of the video, in pixels.
    Width,
    /// The height of the video, in pixels.
    Height,
    /// The frames per second of the video: an estimate until the render is complete.
    Fps,
    /// Where the clip starts in its source, in seconds.
    StartSeconds,
    /// Where the clip ends in its source, in seconds.
    EndSeconds,
    /// The number of images that the project generates.
    ImageCount,
}

impl OutputField {
    /// Every field, in the order of their declaration, which is stored with the versions of fields: only append.
    pub const ALL: [Self; 6] =
        [Self::Width, Self::Height, Self::Fps, Self::StartSeconds, Self::EndSeconds, Self::ImageCount];

    /// The name in Magic Hour's API.
    const fn name(self) -> &'static str {
        match self {
            Self::Width => "width",
            Self::Height => "height",
            Self::Fps => "fps",
            Self::StartSeconds => "start_seconds",
            Self::EndSeconds => "end_seconds",
            Self::ImageCount => "image_count",
        }
    }

    /// Whether it is a whole number.
    const fn is_whole(self) -> bool {
        match self {
            Self::Width | Self::Height | Self::ImageCount => true,
            Self::Fps | Self::StartSeconds | Self::EndSeconds => false,
        }
    }
}

/// A finite number from 0, as Magic Hour wrote it: `30`, not `30.0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure(f64);

impl Measure {
    /// `None` if the number is negative or not finite.
    #[must_use]
    pub fn new(number: f64) -> Option<Self> {
        // Adding zero makes -0 the usual zero.
        (number.is_finite() && number >= 0.0).then_some(Self(number + 0.0))
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Measure {}

impl PartialOrd for Measure {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Measure {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A whole f64 prints without exponent or fraction.
        match format!("{:.0}", self.0).parse() {
            Ok(whole) if self.0.fract() == 0.0 => serializer.serialize_u64(whole),
            _ => serializer.serialize_f64(self.0),
        }
    }
}

/// A value for each [`OutputField`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputFields<T>([T; OutputField::ALL.len()]);

impl<T> OutputFields<T> {
    /// Calls `value` for each field.
    pub fn from_fn(mut value: impl FnMut(OutputField) -> T) -> Self {
        Self(OutputField::ALL.map(&mut value))
    }

    /// The value of a field.
    pub const fn get(&self, field: OutputField) -> &T {
        &self.0[field as usize]
    }

    /// The value of a field, to change it.
    pub const fn get_mut(&mut self, field: OutputField) -> &mut T {
        &mut self.0[field as usize]
    }
}

/// Reads the fields that are present. -1, with which Magic Hour says that a value can be ignored, and any other negative
/// number are `Null`.
pub(super) fn parse(object: &Object<'_>) -> OutputFields<Option<Nullable<Measure>>> {
    OutputFields::from_fn(|field| {
        let read = |raw: &RawValue| number(raw, field.is_whole());
        let value = object.get(field.name()).and_then(|raw| nullable(raw, read))?;
        Some(match value {
            Nullable::Value(number) => Measure::new(number).map_or(Nullable::Null, Nullable::Value),
            Nullable::Null => Nullable::Null,
        })
    })
}

/// A number. A whole one must fit the column, which has 32 bits.
fn number(raw: &RawValue, is_whole: bool) -> Option<f64> {
    let number = json::parse_number(raw)?;
    let fits = number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX);
    (fits || !is_whole).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> OutputFields<Option<Nullable<Measure>>> {
        parse(&json::parse_object(json).unwrap())
    }

    #[test]
    fn a_value_that_can_be_ignored_is_null_and_a_malformed_one_is_absent() {
        let value = |number| Some(Nullable::Value(Measure(number)));
        for (json, expected) in [
            ("512", value(512.0)),
            ("512.0", value(512.0)),
            ("0", value(0.0)),
            ("-0.0", value(0.0)),
            ("-1", Some(Nullable::Null)),
            ("-7", Some(Nullable::Null)),
            ("null", Some(Nullable::Null)),
            ("1.5", None),
            ("2147483647", value(2_147_483_647.0)),
            ("2147483648", None),
            ("1e999", None),
            (r#""512""#, None),
            ("[]", None),
        ] {
            let fields = read(&format!(r#"{{"width":{json}}}"#));
            assert_eq!(*fields.get(OutputField::Width), expected, "{json}");
            assert_eq!(*fields.get(OutputField::Height), None, "{json}");
        }
        assert_eq!(*read(r#"{"fps":29.97}"#).get(OutputField::Fps), value(29.97));
        assert_eq!(*read(r#"{"end_seconds":-1}"#).get(OutputField::EndSeconds), Some(Nullable::Null));
    }

    #[test]
    fn a_number_is_written_as_magic_hour_wrote_it() {
        for (number, text) in
            [(30.0, "30"), (29.97, "29.97"), (0.0, "0"), (0.1, "0.1"), (1e15, "1000000000000000"), (1e30, "1e+30")]
        {
            assert_eq!(serde_json::to_string(&Measure(number)).unwrap(), text);
        }
        assert_eq!((Measure::new(f64::NAN), Measure::new(f64::INFINITY), Measure::new(-0.1)), (None, None, None));
    }
}

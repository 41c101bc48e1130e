//! The part of JSON Schema that Magic Hour's descriptions use.
//!
//! A keyword, format or pattern that is not known here is an error when a description is read, so that nothing is left
//! unchecked when the descriptions are renewed.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SchemaType {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl SchemaType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a text",
            Self::Integer => "an integer",
            Self::Number => "a number",
            Self::Boolean => "true or false",
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum TextFormat {
    #[serde(rename = "date-time")]
    DateTime,
    #[serde(rename = "uri")]
    Uri,
    /// The precision of a number, which restricts nothing.
    #[serde(rename = "float")]
    Float,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum TextPattern {
    #[serde(rename = "^[a-z0-9]+$")]
    LowercaseLettersAndDigits,
}

/// What a value has to be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Schema {
    #[serde(rename = "type")]
    expected: SchemaType,
    #[serde(default)]
    nullable: bool,
    #[serde(rename = "enum")]
    allowed: Option<Vec<Value>>,
    #[serde(default)]
    properties: BTreeMap<String, Self>,
    #[serde(default)]
    required: Vec<String>,
    items: Option<Box<Self>>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    multiple_of: Option<f64>,
    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<TextPattern>,
    format: Option<TextFormat>,
    example: Option<Value>,
    default: Option<Value>,
}

impl Schema {
    /// What is wrong with `value`: a sentence for each violation. Fields that the schema does not have are allowed.
    #[must_use]
    pub fn violations(&self, value: &Value) -> Vec<String> {
        let mut violations = Vec::new();
        self.check("", value, &mut violations);
        violations
    }

    /// An example, composed of those of its fields; of a field that has none, its first allowed value.
    #[must_use]
    pub fn example(&self) -> Option<Value> {
        let fields = self.properties.iter().filter_map(|(name, field)| Some((name.clone(), field.example()?)));
        let fields: Map<_, _> = fields.collect();
        if !fields.is_empty() {
            return Some(fields.into());
        }
        self.example.clone().or_else(|| self.allowed.as_ref()?.first().cloned())
    }

    /// The default of one of its fields.
    #[must_use]
    pub fn default_of(&self, field: &str) -> Option<&Value> {
        self.properties.get(field)?.default.as_ref()
    }

    fn check(&self, at: &str, value: &Value, violations: &mut Vec<String>) {
        if self.nullable && value.is_null() {
            return;
        }
        if !self.has_type(value) {
            let found = if value.is_null() { "null, and not " } else { "not " };
            violations.push(format!("{} is {found}{}", name(at), self.expected.as_str()));
            return;
        }
        if let Some(allowed) = self.allowed.as_ref().filter(|allowed| !allowed.iter().any(|it| is_same(it, value))) {
            let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            violations.push(format!("{} must be one of {}", name(at), allowed.join(", ")));
        }
        let mut report = |violation: String| violations.push(format!("{} {violation}", name(at)));
        match value {
            Value::String(text) => self.check_text(text, &mut report),
            Value::Number(number) => self.check_number(number.as_f64().unwrap_or_default(), &mut report),
            Value::Array(items) => self.check_items(at, items, violations),
            Value::Object(fields) => self.check_fields(at, fields, violations),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn has_type(&self, value: &Value) -> bool {
        match self.expected {
            SchemaType::Object => value.is_object(),
            SchemaType::Array => value.is_array(),
            SchemaType::String => value.is_string(),
            SchemaType::Integer => value.as_f64().is_some_and(|number| number.fract() == 0.0),
            SchemaType::Number => value.is_number(),
            SchemaType::Boolean => value.is_boolean(),
        }
    }

    fn check_text(&self, text: &str, report: &mut impl FnMut(String)) {
        let length = text.chars().count();
        if let Some(least) = self.min_length.filter(|least| length < *least) {
            report(format!("is shorter than {least}"));
        }
        if let Some(most) = self.max_length.filter(|most| length > *most) {
            report(format!("is longer than {most}"));
        }
        let is_allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
        match self.pattern {
            Some(TextPattern::LowercaseLettersAndDigits) if text.is_empty() || !text.chars().all(is_allowed) => {
                report("may only have lowercase letters and digits".to_owned());
            }
            Some(TextPattern::LowercaseLettersAndDigits) | None => {}
        }
        match self.format {
            Some(TextFormat::DateTime) if DateTime::parse_from_rfc3339(text).is_err() => {
                report("is not a time".to_owned());
            }
            Some(TextFormat::Uri) if Url::parse(text).is_err() => report("is not a URL".to_owned()),
            Some(TextFormat::DateTime | TextFormat::Uri | TextFormat::Float) | None => {}
        }
    }

    fn check_number(&self, number: f64, report: &mut impl FnMut(String)) {
        if let Some(least) = self.minimum.filter(|least| number < *least) {
            report(format!("is less than {least}"));
        }
        if let Some(most) = self.maximum.filter(|most| number > *most) {
            report(format!("is greater than {most}"));
        }
        let is_multiple = |step: &f64| (number / step - (number / step).round()).abs() < 1e-9;
        if let Some(step) = self.multiple_of.filter(|step| !is_multiple(step)) {
            report(format!("is not a multiple of {step}"));
        }
    }

    fn check_items(&self, at: &str, items: &[Value], violations: &mut Vec<String>) {
        if let Some(least) = self.min_items.filter(|least| items.len() < *least) {
            violations.push(format!("{} has fewer entries than {least}", name(at)));
        }
        if let Some(most) = self.max_items.filter(|most| items.len() > *most) {
            violations.push(format!("{} has more entries than {most}", name(at)));
        }
        for (index, item) in items.iter().enumerate() {
            if let Some(schema) = &self.items {
                schema.check(&format!("{at}[{index}]"), item, violations);
            }
        }
    }

    fn check_fields(&self, at: &str, fields: &Map<String, Value>, violations: &mut Vec<String>) {
        let path = |field: &str| if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") };
        for field in self.required.iter().filter(|field| !fields.contains_key(*field)) {
            violations.push(format!("{} is missing", name(&path(field))));
        }
        for (field, value) in fields {
            if let Some(schema) = self.properties.get(field) {
                schema.check(&path(field), value, violations);
            }
        }
    }
}

/// Whether two values are equal, where 1 and 1.0 are.
fn is_same(one: &Value, other: &Value) -> bool {
    one == other || (one.is_number() && one.as_f64() == other.as_f64())
}

/// A value's path, for people.
fn name(at: &str) -> String {
    if at.is_empty() { "the body".to_owned() } else { format!("`{at}`") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(schema: Value) -> Schema {
        serde_json::from_value(schema).unwrap()
    }

    #[test]
    fn each_keyword_restricts_values_and_is_named_with_the_place() {
        let table = [
            (json!({"type": "object"}), json!([]), "the body is not an object"),
            (json!({"type": "object", "required": ["a"]}), json!({}), "`a` is missing"),
            (json!({"type": "string"}), json!(null), "the body is null, and not a text"),
            (json!({"type": "integer"}), json!(1.5), "the body is not an integer"),
            (json!({"type": "string", "enum": ["a", "b"]}), json!("c"), "the body must be one of \"a\", \"b\""),
            (json!({"type": "string", "minLength": 2}), json!("ü"), "the body is shorter than 2"),
            (json!({"type": "string", "maxLength": 1}), json!("üü"), "the body is longer than 1"),
            (
                json!({"type": "string", "pattern": "^[a-z0-9]+$"}),
                json!("MP4"),
                "the body may only have lowercase letters and digits",
            ),
            (json!({"type": "string", "format": "date-time"}), json!("today"), "the body is not a time"),
            (json!({"type": "string", "format": "uri"}), json!("a.png"), "the body is not a URL"),
            (json!({"type": "number", "minimum": 0.1}), json!(0), "the body is less than 0.1"),
            (json!({"type": "number", "maximum": 60}), json!(60.5), "the body is greater than 60"),
            (json!({"type": "number", "multipleOf": 0.05}), json!(0.52), "the body is not a multiple of 0.05"),
            (json!({"type": "array", "minItems": 1}), json!([]), "the body has fewer entries than 1"),
            (json!({"type": "array", "maxItems": 1}), json!([1, 2]), "the body has more entries than 1"),
            (
                json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "boolean"}}}}),
                json!({"a": [true, 1]}),
                "`a[1]` is not true or false",
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "object", "required": ["b"]}}}),
                json!({"a": {}}),
                "`a.b` is missing",
            ),
        ];
        for (described, value, violation) in table {
            assert_eq!(schema(described.clone()).violations(&value), [violation], "{described}");
        }
    }

    #[test]
    fn valid_values_have_no_violations() {
        let table = [
            (json!({"type": "string", "nullable": true, "enum": ["a"]}), json!(null)),
            (json!({"type": "integer"}), json!(2.0)),
            (json!({"type": "number", "enum": [1, 4]}), json!(4.0)),
            (json!({"type": "number", "multipleOf": 0.05, "maximum": 1}), json!(0.15)),
            (json!({"type": "string", "format": "uri", "minLength": 1}), json!("https://a.example/b.png")),
            (json!({"type": "string", "format": "date-time"}), json!("2026-01-02T03:04:05.678Z")),
            (json!({"type": "object", "properties": {"a": {"type": "string"}}}), json!({"another": 1})),
        ];
        for (described, value) in table {
            assert_eq!(schema(described.clone()).violations(&value), Vec::<String>::new(), "{described}");
        }
    }

    #[test]
    fn an_unknown_keyword_is_an_error() {
        for described in [
            json!({"type": "string", "contentEncoding": "base64"}),
            json!({"type": "string", "format": "email"}),
            json!({"type": "string", "pattern": "^a$"}),
            json!({"oneOf": []}),
        ] {
            assert!(serde_json::from_value::<Schema>(described.clone()).is_err(), "{described}");
        }
    }
}

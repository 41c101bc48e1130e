//! Indents JSON. Numbers and escapes stay as they were written.

/// The maximum depth that is indented further.
const MAX_DEPTH: usize = 32;

/// `text` with a line for each member, if it looks like JSON; otherwise as it is.
pub(in crate::ui) fn indented(text: &str) -> String {
    if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
        return text.to_owned();
    }
    let mut output = Indenter { text: String::with_capacity(text.len() * 2), depth: 0 };
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match letter {
            '"' => output.string(&mut rest),
            '{' | '[' => {
                while rest.next_if(char::is_ascii_whitespace).is_some() {}
                match rest.next_if(|next| matches!(next, '}' | ']')) {
                    Some(end) => output.text.extend([letter, end]),
                    None => output.open(letter),
                }
            }
            '}' | ']' => output.close(letter),
            ',' => output.line_after(letter),
            ':' => output.text.push_str(": "),
            blank if blank.is_ascii_whitespace() => {}
            other => output.text.push(other),
        }
    }
    output.text
}

struct Indenter {
    text: String,
    depth: usize,
}

impl Indenter {
    /// The rest of a string, whose first quotation mark was read.
    fn string(&mut self, rest: &mut impl Iterator<Item = char>) {
        self.text.push('"');
        while let Some(letter) = rest.next() {
            self.text.push(letter);
            match letter {
                '"' => return,
                '\\' => self.text.extend(rest.next()),
                _ => {}
            }
        }
    }

    fn open(&mut self, letter: char) {
        self.depth += 1;
        self.line_after(letter);
    }

    fn close(&mut self, letter: char) {
        self.depth = self.depth.saturating_sub(1);
        self.line();
        self.text.push(letter);
    }

    fn line_after(&mut self, letter: char) {
        self.text.push(letter);
        self.line();
    }

    fn line(&mut self) {
        self.text.push('\n');
        for _ in 0..self.depth.min(MAX_DEPTH) {
            self.text.push_str("  ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_and_its_tokens_stay() {
        for (text, expected) in [
            (r#"{"a":1}"#, "{\n  \"a\": 1\n}"),
            (r#"{ "a" : [ 1 , {} , [ ] ] }"#, "{\n  \"a\": [\n    1,\n    {},\n    []\n  ]\n}"),
            (
                r#"{"n":123456789012345678901234567890,"e":1E2}"#,
                "{\n  \"n\": 123456789012345678901234567890,\n  \"e\": 1E2\n}",
            ),
            (r#"{"s":"{\"a\\\":[1,2] é"}"#, "{\n  \"s\": \"{\\\"a\\\\\\\":[1,2] é\"\n}"),
            ("not json, {", "not json, {"),
            ("", ""),
        ] {
            assert_eq!(indented(text), expected);
        }
    }

    #[test]
    fn deep_json_stays_small() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(indented(&deep).len() < 20_000);
    }
}

//! Numbers, formatted for people.

/// A number of bytes, such as `1.4 MiB`.
pub(in crate::ui) fn bytes(count: i64) -> String {
    bytesize::ByteSize(count.unsigned_abs()).display().iec().to_string()
}

/// A count with its thousands separated. If it is above `cap`, where counting stopped, it ends with a plus.
pub(in crate::ui) fn count(number: i64, cap: Option<i64>) -> String {
    let capped = cap.filter(|cap| number > *cap);
    let digits = capped.unwrap_or(number).unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    let sign = if number < 0 { "-" } else { "" };
    format!("{sign}{text}{}", if capped.is_some() { "+" } else { "" })
}

/// A count and its noun.
pub(in crate::ui) fn plural(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(number, None), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        for (number, cap, expected) in [
            (0, None, "0"),
            (999, None, "999"),
            (1_000, None, "1,000"),
            (1_234_567, None, "1,234,567"),
            (-1_234, None, "-1,234"),
            (1_000, Some(1_000), "1,000"),
            (1_001, Some(1_000), "1,000+"),
        ] {
            assert_eq!(count(number, cap), expected);
        }
        assert_eq!(plural(1, "file", "files"), "1 file");
        assert_eq!(plural(2, "file", "files"), "2 files");
        assert_eq!(bytes(156_514), "152.8 KiB");
        assert_eq!(bytes(12), "12 B");
    }
}

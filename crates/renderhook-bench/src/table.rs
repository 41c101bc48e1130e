//! Tables in Markdown.

use std::fmt::Display;

/// Prints a title, the names of the columns, and the line under them.
pub(crate) fn begin(title: &str, columns: &[&str]) {
    println!("\n### {title}\n");
    println!("| {} |", columns.join(" | "));
    println!("|{}", "---|".repeat(columns.len()));
}

/// Prints a row.
pub(crate) fn row(cells: &[&dyn Display]) {
    let cells: Vec<_> = cells.iter().map(ToString::to_string).collect();
    println!("| {} |", cells.join(" | "));
}

/// A number with a comma between thousands.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The same for a count in memory.
pub(crate) fn count_usize(number: usize) -> String {
    #[expect(clippy::cast_precision_loss, reason = "counts this small are exact")]
    count(number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        let table = [(0.4, "0"), (999.0, "999"), (1000.0, "1,000"), (12_345.6, "12,346"), (1e6, "1,000,000")];
        for (number, text) in table {
            assert_eq!(count(number), text);
        }
    }
}

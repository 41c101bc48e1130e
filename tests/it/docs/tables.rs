//! The tables of the docs.

use std::collections::BTreeSet;

/// The texts in backticks in the first column of the tables of `page` whose header is `header`.
pub(super) fn first_column<'a>(page: &'a str, header: &str) -> BTreeSet<&'a str> {
    let (mut table, mut above) = ("", "");
    let mut names = BTreeSet::new();
    for line in page.lines() {
        if line.starts_with("|---") {
            table = above;
        } else if !line.starts_with('|') {
            table = "";
        } else if table == header
            && let Some((name, _)) = line.strip_prefix("| `").and_then(|row| row.split_once('`'))
        {
            names.insert(name);
        }
        above = line;
    }
    names
}

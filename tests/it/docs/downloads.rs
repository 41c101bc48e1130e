//! `docs/downloads.md` matches the program.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{code, files};

const DOWNLOADS: &str = include_str!("../../../docs/downloads.md");

/// Before the literal of a code, in a source.
const MARKERS: [&str; 3] = ["Failure::transient(", "Failure::permanent(", "code: "];
/// The functions that return a code, and where they begin.
const FUNCTIONS: [(&str, &str); 3] = [
    ("src/archive/fetch/guard.rs", "fn code("),
    ("src/archive/fetch/failure.rs", "fn transport("),
    ("src/archive/fetch/failure.rs", "fn missing_resource("),
];

/// The literals in a text that may be codes.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    let literals = text.split('"').skip(1).step_by(2);
    literals.filter(|it| it.contains('_') && it.chars().all(|next| next.is_ascii_lowercase() || next == '_'))
}

/// The literal right behind a marker.
fn literal_after<'a>(text: &'a str, marker: &str) -> impl Iterator<Item = &'a str> {
    let behind = text.split(marker).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
    behind.filter_map(|rest| rest.split('"').next())
}

#[test]
fn every_code_of_a_failed_download_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut codes = BTreeSet::from(["no_url".to_owned(), "object_damaged".to_owned()]);
    for file in files(&root.join("src/archive"), "rs") {
        let text = fs::read_to_string(&file).expect("its text");
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        codes.extend(MARKERS.iter().flat_map(|marker| literal_after(text, marker)).map(str::to_owned));
    }
    for (file, function) in FUNCTIONS {
        let text = fs::read_to_string(root.join(file)).expect("its text");
        let (_, body) = text.split_once(function).unwrap_or_else(|| panic!("{file} has no {function}"));
        let ends = ["\n    }\n", "\n}\n"].into_iter().filter_map(|end| body.find(end));
        codes.extend(literals(&body[..ends.min().expect("an end")]).map(str::to_owned));
    }
    assert!(codes.len() > 20, "{codes:?}");
    let documented: BTreeSet<&str> = code(DOWNLOADS).collect();
    let missing: Vec<_> = codes.iter().filter(|it| !documented.contains(it.as_str())).collect();
    assert!(missing.is_empty(), "not in docs/downloads.md: {missing:?}");
}

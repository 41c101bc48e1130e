//! Tests that the docs name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::{code, files};

fn function_name(line: &str) -> Option<&str> {
    line.trim_start().trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()
}

/// Names such as `resume::a_transfer_resumes`. `…` stands for a part of a name that is left out.
#[test]
fn every_test_that_the_docs_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let sources: Vec<String> = ["src", "tests/it"]
        .iter()
        .flat_map(|folder| files(&root.join(folder), "rs"))
        .map(|path| fs::read_to_string(path).expect("its text"))
        .collect();
    let functions: BTreeSet<&str> = sources.iter().flat_map(|text| text.lines().filter_map(function_name)).collect();
    let mut named = 0;
    for page in files(&root.join("docs"), "md") {
        let text = fs::read_to_string(&page).expect("its text");
        for code in code(&text) {
            let Some(name) = code.rsplit_once("::").map(|(_, name)| name).or(code.starts_with('…').then_some(code))
            else {
                continue;
            };
            let is_whole = name.chars().all(|next| next.is_ascii_lowercase() || next.is_ascii_digit() || next == '_');
            let is_part = name.contains('…');
            if !is_part && (!is_whole || name.matches('_').count() < 3) {
                continue;
            }
            let (start, end) = name.split_once('…').unwrap_or((name, ""));
            let exists = functions.iter().any(|function| {
                if is_part { function.starts_with(start) && function.ends_with(end) } else { *function == name }
            });
            assert!(exists, "{} names the test {code}, which does not exist", page.display());
            named += 1;
        }
    }
    assert!(named > 40, "only {named} tests are named");
}

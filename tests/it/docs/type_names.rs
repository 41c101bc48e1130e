//! A type has a name that no other type has.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::files;

/// The name of the type that a line declares. Those inside functions are indented, and do not count.
fn type_name(line: &str) -> Option<&str> {
    let declaration = match line.strip_prefix("pub(") {
        Some(rest) => rest.split_once(") ")?.1,
        None => line.strip_prefix("pub ").unwrap_or(line),
    };
    let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|keyword| declaration.strip_prefix(keyword))?;
    name.split(|next: char| !next.is_ascii_alphanumeric()).next()
}

fn sources() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = fs::read_dir(root.join("crates")).expect("the crates");
    let crates = crates.map(|entry| entry.expect("a crate").path().join("src"));
    crates.chain([root.join("src")]).flat_map(|folder| files(&folder, "rs")).collect()
}

#[test]
fn no_two_types_have_the_same_name() {
    let mut places: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in sources() {
        let text = fs::read_to_string(&file).expect("its text");
        for name in text.lines().filter_map(type_name) {
            places.entry(name.to_owned()).or_default().push(file.clone());
        }
    }
    assert!(places.len() > 200, "only {} types are found", places.len());
    for (name, files) in places {
        assert_eq!(files.len(), 1, "{name} is declared in {files:?}");
    }
}

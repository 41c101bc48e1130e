//! CONTRIBUTING.md and SECURITY.md name what is there.

use std::collections::BTreeSet;
use std::path::Path;

use super::tables::first_column;

const PAGES: [&str; 2] = [include_str!("../../../CONTRIBUTING.md"), include_str!("../../../SECURITY.md")];
const ROOTS: [&str; 9] =
    [".sqlx/", "crates/", "deny.toml", "docker-compose", "docs/", "migrations/", "scripts/", "src/", "tests/"];

#[test]
fn every_file_in_the_contributing_guide_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let code = PAGES.iter().flat_map(|page| page.split('`').skip(1).step_by(2));
    let links = PAGES.iter().flat_map(|page| page.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    let links = links.filter(|link| !link.contains("://"));
    let paths: Vec<&str> = code.filter(|word| ROOTS.iter().any(|root| word.starts_with(root))).chain(links).collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let file = path.split([' ', '#']).next().unwrap_or(path);
        assert!(root.join(file).exists(), "{path} does not exist");
    }
}

#[test]
fn the_table_of_scripts_is_complete() {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")).unwrap();
    let files = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    let names: BTreeSet<String> =
        files.map(|path| format!("scripts/{}", path.file_name().unwrap().to_string_lossy())).collect();
    let rows = first_column(PAGES[0], "| command | does |").into_iter().filter_map(|words| words.split(' ').next());
    let documented: BTreeSet<String> = rows.filter(|word| word.starts_with("scripts/")).map(str::to_owned).collect();
    assert_eq!(documented, names);
}

//! The README promises what the program has, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use super::tables::first_column;

const README: &str = include_str!("../../../README.md");

#[test]
fn every_setting_stands_in_the_readme_and_no_other() {
    let command = renderhook::cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let names = serve.get_arguments().filter_map(|flag| flag.get_env()?.to_str());
    let settings: BTreeSet<&str> = names.filter(|name| !name.ends_with("_FILE")).collect();
    assert_eq!(first_column(README, "| name | default | meaning |"), settings);
}

#[test]
fn every_command_stands_in_the_readme() {
    let command = renderhook::cli::command();
    let written = first_column(README, "| command | does |");
    for name in command.get_subcommands().map(clap::Command::get_name) {
        let told = |word: &&str| word.split(' ').nth(1) == Some(name);
        assert!(written.iter().any(told), "{name} is missing");
    }
}

#[test]
fn every_page_that_is_linked_to_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = README.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let pages: Vec<_> = pages.filter(|link| !link.contains("://") && !link.starts_with('#')).collect();
    assert!(!pages.is_empty());
    for page in pages {
        let path = page.split('#').next().unwrap_or(page);
        assert!(root.join(path).exists(), "{page} is linked to and is not there");
    }
}

//! The README and the pages under `docs/` match the program.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::tables::first_column;

const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");
const COMMANDS: &str = include_str!("../../../docs/commands.md");
const CHECK: &str = include_str!("../../../src/cli/check/dependencies.rs");

#[test]
fn the_table_of_settings_is_complete() {
    let command = renderhook::cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let names = serve.get_arguments().filter_map(|flag| flag.get_env()?.to_str());
    let settings: BTreeSet<&str> = names.filter(|name| !name.ends_with("_FILE")).collect();
    assert_eq!(first_column(CONFIGURATION, "| name | default | meaning |"), settings);
}

#[test]
fn the_table_of_settings_has_every_default() {
    let command = renderhook::cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    for flag in serve.get_arguments() {
        let (Some(name), Some(default)) = (flag.get_env(), flag.get_default_values().first()) else { continue };
        let row = format!("| `{}` | `{}` |", name.to_string_lossy(), default.to_string_lossy());
        assert!(CONFIGURATION.contains(&row), "no row begins with {row}");
    }
}

#[test]
fn every_switch_can_be_a_flag_without_a_value() {
    let command = renderhook::cli::command();
    let serve = command.find_subcommand("serve").unwrap();
    let switches =
        serve.get_arguments().filter(|flag| flag.get_default_values().first().is_some_and(|it| *it == "false"));
    let switches: Vec<_> =
        switches.map(|flag| (flag.get_id(), flag.get_num_args().map(|count| count.min_values()))).collect();
    assert!(switches.len() >= 3, "{switches:?}");
    assert!(switches.iter().all(|(_, least)| *least == Some(0)), "{switches:?}");
}

#[test]
fn the_table_of_commands_is_complete() {
    let command = renderhook::cli::command();
    let names: BTreeSet<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    let written = first_column(COMMANDS, "| command | does |");
    let written: BTreeSet<_> = written.iter().filter_map(|words| words.split(' ').nth(1)).collect();
    assert_eq!(written, names);
}

#[test]
fn the_table_of_the_lines_of_check_is_complete() {
    let lines = CHECK.split("\".to_owned()").filter_map(|before| Some(before.rsplit_once('"')?.1));
    let lines: BTreeSet<&str> =
        lines.filter(|line| line.chars().all(|next| next.is_ascii_lowercase() || next == ' ')).collect();
    assert!(lines.contains("database") && lines.contains("api key"), "{lines:?}");
    assert_eq!(first_column(COMMANDS, "| line | fails |"), lines);
}

/// The README and every page under `docs/`.
pub(super) fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let docs = docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    docs.chain(["README.md", "CONTRIBUTING.md", "SECURITY.md"].map(|name| root.join(name))).collect()
}

/// A heading as the name by which links lead to it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_in_the_docs_works() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{} links to {link}, which does not exist", page.display());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&target).unwrap();
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                let found = headings.any(|line| anchor(line.trim_start_matches('#').trim()) == heading);
                assert!(found, "{} links to {link}, and no heading is called so", page.display());
            }
        }
    }
}

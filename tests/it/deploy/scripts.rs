//! The scripts run with bash 3.2, the version that macOS has.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The bash scripts, with their text.
fn scripts() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["scripts", "scripts/lib", ".ci"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("a folder of scripts"));
    let files = files.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    let scripts: Vec<_> = files.map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect();
    assert!(scripts.len() > 5, "{scripts:?}");
    scripts
}

/// The lines of code, without comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim_start().starts_with('#'))
}

/// Whether each `"${array[@]}"` in the line is inside `${array[@]+…}`: before 4.4, bash treats an empty array as unset.
fn guards_arrays(line: &str) -> bool {
    line.match_indices("\"${").all(|(at, _)| {
        let name = line[at + 3..].split('}').next().unwrap_or_default();
        let Some(array) = name.strip_suffix("[@]") else { return true };
        line[..at].ends_with(&format!("${{{array}[@]+"))
    })
}

#[test]
fn no_script_expands_an_array_that_may_be_empty_without_a_guard() {
    for (path, text) in scripts() {
        for (number, line) in code(&text) {
            assert!(guards_arrays(line), "{}:{number}: write ${{a[@]+\"${{a[@]}}\"}}: {line}", path.display());
        }
    }
}

#[test]
fn an_unguarded_array_is_recognized() {
    assert!(!guards_arrays(r#"for x in "${all[@]}"; do"#));
    assert!(guards_arrays(r#"for x in ${all[@]+"${all[@]}"}; do"#));
    assert!(!guards_arrays(r#"${other[@]+"${all[@]}"}"#));
    assert!(guards_arrays(r#""${name%%.*}" "$@""#));
}

#[test]
fn no_script_needs_a_bash_newer_than_3_2() {
    let newer =
        ["mapfile", "readarray", "declare -A", "local -A", "coproc", "wait -n", "&>>", "|&", ",,}", "^^}", "@Q}"];
    for (path, text) in scripts() {
        for (number, line) in code(&text) {
            let found = newer.iter().find(|construct| line.contains(**construct));
            assert!(found.is_none(), "{}:{number}: {found:?} needs bash 4 or later: {line}", path.display());
        }
    }
}

#[test]
fn every_script_is_executable_and_stops_at_errors() {
    for (path, text) in scripts() {
        let mode = fs::metadata(&path).expect("its mode").permissions().mode();
        if text.starts_with("#!") {
            assert!(mode & 0o111 != 0, "{} is not executable", path.display());
            assert!(text.contains("\nset -euo pipefail\n"), "{} continues after an error", path.display());
        } else {
            assert!(text.starts_with("# shellcheck shell=bash\n"), "{} does not name its shell", path.display());
        }
    }
}

#[test]
fn the_workflows_call_scripts_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, expected) in [("ci.yml", &["scripts/test", "scripts/test-image"][..]), ("audit.yml", &["scripts/audit"])]
    {
        let workflow = fs::read_to_string(root.join(".github/workflows").join(name)).expect("the workflow");
        let _: serde_json::Value = serde_saphyr::from_str(&workflow).expect("YAML");
        let called: Vec<_> = workflow.lines().filter_map(|line| line.trim().strip_prefix("- run: ")).collect();
        assert_eq!(called, expected);
        for script in called {
            assert!(root.join(script).is_file(), "{script} does not exist");
        }
    }
}

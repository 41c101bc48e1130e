//! What the docs name exists: settings, commands, flags, routes, types and functions.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::readme::pages;
use super::{code, files};

/// The pages with their texts.
fn texts() -> Vec<(String, String)> {
    let text = |page: std::path::PathBuf| (page.display().to_string(), fs::read_to_string(&page).expect("its text"));
    pages().into_iter().map(text).collect()
}

#[test]
fn every_setting_in_the_docs_exists() {
    let command = renderhook::cli::command();
    let serve = command.find_subcommand("serve").expect("the command");
    let settings: BTreeSet<&str> = serve.get_arguments().filter_map(|flag| flag.get_env()?.to_str()).collect();
    // The beginnings of our names. Other variables are those of other programs.
    let beginning = |name: &str| name.split_inclusive('_').next().unwrap_or_default().to_owned();
    let ours: BTreeSet<String> =
        settings.iter().filter(|name| name.contains('_')).map(|name| beginning(name)).collect();
    let mut named = 0;
    for (page, text) in texts() {
        let words = code(&text).flat_map(|code| code.split(|next: char| !next.is_ascii_uppercase() && next != '_'));
        for word in words.filter(|word| word.len() > 4 && ours.contains(&beginning(word)) && !word.ends_with('_')) {
            let is_ours = settings.contains(word) || word.starts_with("OTEL_") || word.starts_with("MAX_");
            assert!(is_ours, "{page} names {word}, which is no setting");
            named += 1;
        }
    }
    assert!(named > 100, "only {named} settings are named");
}

/// The commands in a page: in backticks, or lines of examples.
fn commands(text: &str) -> impl Iterator<Item = &str> {
    let examples = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    code(text).chain(examples).filter_map(|words| words.trim().strip_prefix("renderhook "))
}

#[test]
fn every_command_and_flag_in_the_docs_exists() {
    let command = renderhook::cli::command();
    let mut named = 0;
    for (page, text) in texts() {
        // Prose that begins with the name has no subcommand in second place.
        for words in commands(&text).map(|words| words.split(' ').collect::<Vec<_>>()) {
            let Some(subcommand) = command.find_subcommand(words[0]) else { continue };
            let flags: BTreeSet<&str> = subcommand.get_arguments().filter_map(clap::Arg::get_long).collect();
            for flag in words.iter().filter_map(|word| word.strip_prefix("--")) {
                let flag = flag.split(['=', '`', ')', ',', '.']).next().unwrap_or(flag);
                assert!(flags.contains(flag) || flag == "help", "{page}: {} has no --{flag}", words[0]);
            }
            named += 1;
        }
    }
    assert!(named > 30, "only {named} commands are named");
}

#[test]
fn every_route_in_the_docs_exists() {
    let document = renderhook::api::openapi_document();
    let paths: BTreeSet<&str> = document.paths.paths.keys().map(String::as_str).collect();
    let mut named = 0;
    for (page, text) in texts() {
        let routes = code(&text).filter_map(|code| {
            let (method, path) = code.split_once(" /")?;
            ["GET", "PUT", "POST", "DELETE"]
                .contains(&method)
                .then(|| format!("/{}", path.split(['?', ' ']).next().unwrap_or(path)))
        });
        // Magic Hour's, and those of the stand-in.
        for path in routes.filter(|path| !path.starts_with("/v1/") && !path.starts_with("/standin/")) {
            let path = path.replace("clx123", "{id}");
            assert!(paths.contains(path.as_str()), "{page} names {path}, which is no route");
            named += 1;
        }
    }
    assert!(named > 50, "only {named} routes are named");
}

#[test]
fn everything_in_the_walks_through_the_code_exists() {
    let sources: Vec<String> = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "rs")
        .iter()
        .map(|file| fs::read_to_string(file).expect("its text"))
        .collect();
    let is_declared = |name: &str| {
        let kinds = ["fn", "struct", "enum", "trait", "type", "mod", "static", "macro_rules!"];
        let declarations = kinds.map(|kind| format!("{kind} {name}"));
        let is_whole = |rest: &str| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_');
        let declares = |source: &String| declarations.iter().any(|it| source.split(it.as_str()).skip(1).any(is_whole));
        let is_variant =
            |source: &String| source.contains(&format!("    {name}(")) || source.contains(&format!("    {name},"));
        sources.iter().any(|source| declares(source) || is_variant(source))
    };
    let text = include_str!("../../../docs/architecture.md");
    let is_path =
        |code: &str| code.split("::").all(|part| part.chars().all(|next| next.is_ascii_alphanumeric() || next == '_'));
    let is_type = |code: &str| code.starts_with(char::is_uppercase) && code.contains(char::is_lowercase);
    let names = code(text).map(|code| code.split('(').next().unwrap_or(code));
    let names: BTreeSet<&str> = names.filter(|code| is_path(code) && (code.contains("::") || is_type(code))).collect();
    assert!(names.len() > 40, "{names:?}");
    // The header is HTTP's, the type a library's.
    for name in names.iter().filter(|name| !["Accept", "SecretString"].contains(name)) {
        for part in name.split("::") {
            assert!(is_declared(part), "docs/architecture.md names {name}, and {part} does not exist");
        }
    }
}

//! Dockerfile and docker-compose.yml keep step with the program, as far as that shows without a container engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use object_store::aws::AmazonS3ConfigKey;
use serde_json::Value;

fn in_the_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(in_the_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose() -> Value {
    serde_saphyr::from_str(&text("docker-compose.yml")).expect("docker-compose.yml is YAML")
}

/// The variables of a service, by name. Compose also takes a list of `NAME=value`; here only the mapping is used.
fn environment(service: &Value) -> Vec<(&str, &str)> {
    let Some(variables) = service.get("environment") else { return Vec::new() };
    let variables = variables.as_object().expect("`environment:` is a mapping");
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text"))).collect()
}

/// The instructions of the Dockerfile: continued lines joined, comments left out, word and rest apart.
fn instructions() -> Vec<(String, String)> {
    let text = text("Dockerfile");
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let instructions = joined.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    instructions.map(|(word, rest)| (word.to_ascii_uppercase(), rest.trim().to_owned())).collect()
}

fn rests_of(word: &str) -> Vec<String> {
    instructions().into_iter().filter(|(it, _)| it == word).map(|(_, rest)| rest).collect()
}

/// The JSON array in which an instruction names a program and its arguments.
fn words(text: &str) -> Vec<String> {
    let array = text.find('[').unwrap_or_else(|| panic!("the exec form, since there is no shell: {text}"));
    serde_json::from_str(&text[array..]).expect("a JSON array of words")
}

/// What the build takes from the repository.
fn copied() -> Vec<String> {
    let from_here = rests_of("COPY").into_iter().filter(|rest| !rest.contains("--from="));
    let sources = from_here.flat_map(|rest| {
        let mut paths: Vec<_> =
            rest.split_whitespace().filter(|word| !word.starts_with("--")).map(str::to_owned).collect();
        paths.pop().expect("where to");
        paths
    });
    sources.collect()
}

/// Whether clap reads `name` for `serve`.
fn is_setting(name: &str) -> bool {
    let mut command = renderhook::cli::command();
    command.build();
    let serve = command.find_subcommand("serve").expect("the subcommand serve");
    serve.get_arguments().filter_map(clap::Arg::get_env).any(|variable| variable == name)
}

/// Whether the S3 client reads `name`, itself or from a file.
fn is_setting_of_s3(name: &str) -> bool {
    let known = |name: &str| name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok();
    name.starts_with("AWS_") && (known(name) || name.strip_suffix("_FILE").is_some_and(known))
}

fn assert_runs_a_subcommand(words: &[String]) {
    let [program, subcommand] = words else { panic!("a program and a subcommand: {words:?}") };
    let installed = rests_of("COPY").into_iter().filter(|rest| rest.contains("--from="));
    let installed: Vec<_> = installed.filter_map(|rest| rest.split_whitespace().last().map(str::to_owned)).collect();
    assert_eq!(installed, std::slice::from_ref(program), "the image holds one program");
    let command = renderhook::cli::command();
    assert!(command.find_subcommand(subcommand).is_some(), "there is no `renderhook {subcommand}`");
}

#[test]
fn every_variable_of_the_composed_service_is_a_setting_of_the_program() {
    let compose = compose();
    let variables = environment(&compose["services"]["renderhook"]);
    assert!(!variables.is_empty());
    for (name, _) in variables {
        assert!(is_setting(name) || is_setting_of_s3(name), "{name} is no setting of `renderhook serve`");
    }
}

#[test]
fn a_variable_that_nothing_reads_is_told_from_a_setting() {
    assert!(is_setting("DATABASE_URL_FILE") && !is_setting("DATABASE_URI"));
    assert!(is_setting_of_s3("AWS_ENDPOINT_URL") && is_setting_of_s3("AWS_SECRET_ACCESS_KEY_FILE"));
    assert!(!is_setting_of_s3("AWS_ENDPOINTS") && !is_setting_of_s3("REGION") && !is_setting_of_s3("AWS_FILE"));
}

#[test]
fn every_required_setting_is_there_when_compose_starts_the_service() {
    let compose = compose();
    let names: BTreeSet<_> =
        environment(&compose["services"]["renderhook"]).into_iter().map(|(name, _)| name).collect();
    for required in ["DATABASE_URL", "MAGIC_HOUR_WEBHOOK_SECRET", "STORAGE_URL", "API_TOKENS"] {
        let file = format!("{required}_FILE");
        assert!(names.contains(required) != names.contains(file.as_str()), "{required}: itself or its file, not both");
    }
}

#[test]
fn every_secret_file_that_a_service_reads_is_made_at_the_start() {
    let script = text("deploy/make-secrets.sh");
    let sources = [text("docker-compose.yml"), text("deploy/garage.toml")].join("\n");
    let paths: BTreeSet<_> = sources
        .split(|c: char| c.is_whitespace() || c == '"')
        .filter_map(|word| word.strip_prefix("/run/secrets/"))
        .collect();
    assert!(paths.len() >= 7, "{paths:?}");
    for path in paths {
        assert!(script.contains(&format!("once {path} ")), "{path} is read, and made by nobody");
    }
}

#[test]
fn no_service_but_those_with_a_secret_of_the_users_takes_anything_from_the_shell_into_its_environment() {
    let compose = compose();
    for (name, service) in compose["services"].as_object().expect("services") {
        for (variable, value) in environment(service) {
            assert!(!value.contains('$') || name == "secrets", "{name}: {variable} belongs in a file");
        }
    }
}

#[test]
fn every_image_names_its_version_and_every_lasting_service_its_health() {
    let compose = compose();
    for (name, service) in compose["services"].as_object().expect("services") {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image} names no version");
        let ends = service["command"][0] == "sh";
        assert!(ends || service["healthcheck"]["test"][0] == "CMD", "{name} has no health check");
    }
}

#[test]
fn the_health_checks_run_a_subcommand_of_the_binary_in_the_image() {
    let [check] = rests_of("HEALTHCHECK").try_into().expect("one HEALTHCHECK");
    assert_runs_a_subcommand(&words(&check));
    let compose = compose();
    let test = compose["services"]["renderhook"]["healthcheck"]["test"].as_array().expect("a list");
    let test: Vec<_> = test.iter().map(|word| word.as_str().expect("a word").to_owned()).collect();
    assert_eq!(test[0], "CMD", "there is no shell in the image");
    assert_runs_a_subcommand(&test[1..]);
}

#[test]
fn the_image_runs_a_subcommand_of_its_one_binary_as_a_numeric_user() {
    let [entrypoint] = rests_of("ENTRYPOINT").try_into().expect("one ENTRYPOINT");
    let [command] = rests_of("CMD").try_into().expect("one CMD");
    assert_runs_a_subcommand(&[words(&entrypoint), words(&command)].concat());
    let [user] = rests_of("USER").try_into().expect("one USER");
    assert!(user.split(':').all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user} is not a user other than root");
    let compose = compose();
    let secrets = compose["services"]["secrets"]["command"].as_array().expect("a list");
    assert_eq!(secrets.last(), Some(&Value::from(user)), "the secrets belong to the user of the image");
}

#[test]
fn everything_that_the_build_copies_exists_and_is_let_in() {
    let ignore = text(".dockerignore");
    let copied = copied();
    assert!(copied.iter().any(|path| path == "src") && copied.iter().any(|path| path == ".sqlx"), "{copied:?}");
    for path in copied {
        assert!(in_the_repository(&path).exists(), "{path} does not exist");
        assert!(ignore.lines().any(|line| line == format!("!{path}")), ".dockerignore keeps {path} out");
    }
}

#[test]
fn the_image_is_built_by_the_rust_that_the_crate_declares() {
    let declared = env!("CARGO_PKG_RUST_VERSION");
    let args = rests_of("ARG");
    let version = args.iter().find_map(|arg| arg.strip_prefix("RUST_VERSION=")).expect("ARG RUST_VERSION");
    let same = version.strip_prefix(declared).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    assert!(same, "the Dockerfile has Rust {version}, Cargo.toml {declared}");
}

#[test]
fn every_file_that_compose_mounts_exists() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let volumes = services.values().filter_map(|service| service["volumes"].as_array()).flatten();
    let mounted: Vec<_> = volumes.filter_map(|volume| volume.as_str()?.split(':').next()).collect();
    let files: Vec<_> = mounted.iter().filter(|source| source.starts_with("./")).collect();
    assert!(!files.is_empty());
    for file in files {
        assert!(in_the_repository(file).is_file(), "{file} does not exist");
    }
}

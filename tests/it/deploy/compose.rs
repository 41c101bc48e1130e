//! The Dockerfiles and the compositions match the program, as far as that shows without a container engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory as _;
use object_store::aws::AmazonS3ConfigKey;
use serde_json::Value;

use super::secrets::make_secrets;

/// Replaces Garage by a bucket of the user's.
const OWN_BUCKET: &str = "docker-compose.bucket.yml";
const COMPOSITIONS: [&str; 2] = ["docker-compose.yml", OWN_BUCKET];

fn in_the_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(in_the_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn compose() -> Value {
    yaml("docker-compose.yml")
}

/// Removes the tag with which Compose drops a value of another file.
fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&text(path).replace("!reset ", "")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().expect("services").iter()
}

/// The words of a command or a list, as texts.
fn list(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().map(|word| word.as_str().expect("a word")).collect()
}

/// The variables of a service, by name. Compose also takes a list of `NAME=value`; here only the mapping is used.
fn environment(service: &Value) -> Vec<(&str, &str)> {
    let Some(variables) = service.get("environment") else { return Vec::new() };
    let variables = variables.as_object().expect("`environment:` is a mapping");
    variables.iter().map(|(name, value)| (name.as_str(), value.as_str().expect("a text"))).collect()
}

/// The instructions of a Dockerfile: continued lines joined, comments left out, split into name and rest.
fn instructions(path: &str) -> Vec<(String, String)> {
    let text = text(path);
    let lines: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let instructions = joined.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    instructions.map(|(word, rest)| (word.to_ascii_uppercase(), rest.trim().to_owned())).collect()
}

/// The instructions of a stage of the Dockerfile, with those before the first stage.
fn stage(name: Option<&str>) -> Vec<(String, String)> {
    let (mut global, mut stages) = (Vec::new(), Vec::<Vec<_>>::new());
    for (word, rest) in instructions("Dockerfile") {
        if word == "FROM" {
            stages.push(Vec::new());
        }
        stages.last_mut().unwrap_or(&mut global).push((word, rest));
    }
    let is_named = |stage: &Vec<(String, String)>| match name {
        Some(name) => stage[0].1.ends_with(&format!(" AS {name}")),
        // Built unless another is named.
        None => true,
    };
    let stage = stages.into_iter().rfind(is_named).unwrap_or_else(|| panic!("no stage {name:?}"));
    global.into_iter().chain(stage).collect()
}

fn arguments_in(stage: &[(String, String)], instruction: &str) -> Vec<String> {
    stage.iter().filter(|(name, _)| name == instruction).map(|(_, rest)| rest.clone()).collect()
}

/// What follows each instruction of this name in the stage of the production image.
fn arguments(instruction: &str) -> Vec<String> {
    arguments_in(&stage(None), instruction)
}

/// The JSON array in which an instruction names a program and its arguments.
fn words(text: &str) -> Vec<String> {
    let array = text.find('[').unwrap_or_else(|| panic!("the exec form, since there is no shell: {text}"));
    serde_json::from_str(&text[array..]).expect("a JSON array of words")
}

/// What a build takes from its folder.
fn copied(path: &str) -> Vec<String> {
    let copies = instructions(path).into_iter().filter(|(name, _)| name == "COPY").map(|(_, rest)| rest);
    let from_here = copies.filter(|rest| !rest.contains("--from="));
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

/// Asserts that `words` is a command line that the binary in the image takes.
fn assert_runs(words: &[String]) {
    let [program, arguments @ ..] = words else { panic!("no program: {words:?}") };
    let installed = self::arguments("COPY").into_iter().filter(|rest| rest.contains("--from="));
    let installed: Vec<_> = installed.filter_map(|rest| rest.split_whitespace().last().map(str::to_owned)).collect();
    assert_eq!(installed, std::slice::from_ref(program), "the image holds one program");
    let [subcommand, flags @ ..] = arguments else { panic!("no subcommand: {words:?}") };
    let mut command = renderhook::cli::command();
    command.build();
    let command = command.find_subcommand(subcommand).unwrap_or_else(|| panic!("no `renderhook {subcommand}`"));
    for flag in flags {
        let known = |argument: &clap::Arg| argument.get_long().is_some_and(|long| *flag == format!("--{long}"));
        assert!(command.get_arguments().any(known), "`renderhook {subcommand}` has no {flag}");
    }
}

#[test]
fn every_variable_of_the_composed_service_is_a_setting_of_the_program() {
    for path in COMPOSITIONS {
        let compose = yaml(path);
        let variables = environment(&compose["services"]["renderhook"]);
        assert!(!variables.is_empty());
        for (name, _) in variables {
            assert!(is_setting(name) || is_setting_of_s3(name), "{path}: {name} is no setting of `renderhook serve`");
        }
    }
}

#[test]
fn an_unknown_variable_is_not_a_setting() {
    assert!(is_setting("DATABASE_URL_FILE") && !is_setting("DATABASE_URI"));
    assert!(is_setting_of_s3("AWS_ENDPOINT_URL") && is_setting_of_s3("AWS_SECRET_ACCESS_KEY_FILE"));
    assert!(!is_setting_of_s3("AWS_ENDPOINTS") && !is_setting_of_s3("REGION") && !is_setting_of_s3("AWS_FILE"));
}

#[test]
fn every_required_setting_is_set_when_compose_starts_the_service() {
    let compose = compose();
    let names: BTreeSet<_> =
        environment(&compose["services"]["renderhook"]).into_iter().map(|(name, _)| name).collect();
    for required in ["DATABASE_URL", "MAGIC_HOUR_WEBHOOK_SECRET", "STORAGE_URL", "API_TOKENS"] {
        let file = format!("{required}_FILE");
        assert!(names.contains(required) != names.contains(file.as_str()), "{required}: itself or its file, not both");
    }
}

#[test]
fn every_secret_file_that_a_service_reads_is_written_at_the_start() {
    let volume = tempfile::tempdir().expect("a folder");
    make_secrets(volume.path(), &[]);
    let sources = ["docker-compose.yml", "deploy/garage.toml", "deploy/make-database.sql"].map(text).join("\n");
    let paths: BTreeSet<_> = sources
        .split(|c: char| c.is_whitespace() || matches!(c, '"' | ')' | '`' | '='))
        .filter_map(|word| word.strip_prefix("/run/secrets/"))
        .collect();
    assert!(paths.len() >= 9, "{paths:?}");
    for path in paths {
        assert!(volume.path().join(path).is_file(), "{path} is read, and nothing writes it");
    }
}

#[test]
fn only_the_step_that_writes_secrets_has_them_in_its_environment() {
    for path in COMPOSITIONS {
        let compose = yaml(path);
        for (name, service) in services(&compose).filter(|(name, _)| *name != "secrets") {
            for (variable, value) in environment(service) {
                let secret =
                    ["SECRET", "TOKEN", "KEY", "PASSWORD", "DATABASE_URL"].iter().any(|word| variable.contains(word));
                assert!(!secret || variable.ends_with("_FILE"), "{path}: {name}: {variable} belongs in a file");
                let is_plain = [
                    "PUBLIC_URL",
                    "NOTIFY_URL",
                    "MAGIC_HOUR_API_URL",
                    "DOWNLOAD_ALLOW_PRIVATE",
                    "UI_ENABLED",
                    "API_LISTEN_ADDR",
                ];
                let is_plain = is_plain.contains(&variable);
                assert!(
                    !value.contains('$') || is_plain || path == OWN_BUCKET,
                    "{path}: {name}: {variable} takes the shell's value"
                );
            }
        }
    }
}

#[test]
fn the_override_for_your_own_bucket_removes_garage() {
    let (base, own) = (compose(), yaml(OWN_BUCKET));
    for name in ["garage", "bucket"] {
        assert!(base["services"][name].is_object(), "there is no {name}");
        assert!(own["services"].get(name).is_some_and(Value::is_null), "{name} stays");
        assert!(
            own["services"]["renderhook"]["depends_on"].get(name).is_some_and(Value::is_null),
            "{name} is waited for"
        );
    }
    let overridden = environment(&own["services"]["renderhook"]);
    for (name, value) in environment(&base["services"]["renderhook"]) {
        assert!(
            !value.contains("3900") && !value.contains("garage") || overridden.iter().any(|(it, _)| *it == name),
            "{name} stays {value}"
        );
    }
}

#[test]
fn every_image_has_a_version_and_every_service_a_health_check() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag != "latest"), "{name}: {image} names no version");
        let target = service["build"]["target"].as_str();
        let in_image = service["build"]["context"] == "." && !arguments_in(&stage(target), "HEALTHCHECK").is_empty();
        let checked = in_image || service["healthcheck"]["test"][0] == "CMD";
        assert!(checked || service["restart"] == "no", "{name} has no health check");
    }
}

#[test]
fn links_to_files_come_through_renderhook_and_begin_with_what_the_operator_sets() {
    let compose = compose();
    let variables = environment(&compose["services"]["renderhook"]);
    for variable in [("SERVE_FILES", "proxy"), ("PUBLIC_URL", "${PUBLIC_URL:-}")] {
        assert!(variables.contains(&variable), "{variables:?}");
    }
    assert!(text(".env.example").contains("#PUBLIC_URL=https://"));
}

#[test]
fn every_container_is_confined() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name} can write to its root");
        assert_eq!(list(&service["cap_drop"]), ["ALL"], "{name} keeps capabilities");
        assert_eq!(list(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["mem_limit"].is_string() && service["pids_limit"].is_u64(), "{name} has no limits");
        let added = list(&service["cap_add"]);
        assert!(added.is_empty() || name == "secrets" && added == ["CHOWN"], "{name} gets {added:?}");
        assert!(service["ports"].as_array().is_none_or(|ports| ports.iter().all(is_local)), "{name} is published");
    }
}

fn is_local(port: &Value) -> bool {
    port.as_str().is_some_and(|port| port.starts_with("127.0.0.1:"))
}

#[test]
fn nothing_is_mounted_from_the_checkout() {
    let compose = compose();
    let volumes = compose["volumes"].as_object().expect("volumes");
    for (name, service) in services(&compose) {
        for mount in list(&service["volumes"]) {
            let source = mount.split(':').next().unwrap_or_default();
            assert!(volumes.contains_key(source), "{name} mounts {source}");
        }
    }
    assert!(text(".gitattributes").lines().any(|line| line == "* text=auto eol=lf"));
}

#[test]
fn the_health_check_of_the_image_checks_liveness() {
    let [check] = arguments("HEALTHCHECK").try_into().expect("one HEALTHCHECK");
    assert_runs(&words(&check));
    assert_eq!(words(&check)[1..], ["health", "--live"]);
    assert!(compose()["services"]["renderhook"].get("healthcheck").is_none(), "the image's own is enough");
}

#[test]
fn the_image_runs_a_subcommand_of_its_one_binary_as_a_numeric_user() {
    let [entrypoint] = arguments("ENTRYPOINT").try_into().expect("one ENTRYPOINT");
    let [command] = arguments("CMD").try_into().expect("one CMD");
    assert_runs(&[words(&entrypoint), words(&command)].concat());
    let [user] = arguments("USER").try_into().expect("one USER");
    let (user, group) = user.split_once(':').expect("user and group");
    assert!([user, group].iter().all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "{user} is no user but root");
    let compose = compose();
    let postgres = compose["services"]["postgres"]["user"].as_str().and_then(|user| user.split(':').next());
    let readers = &list(&compose["services"]["secrets"]["command"])[3..];
    assert_eq!(Some(readers), postgres.map(|postgres| [user, postgres]).as_ref().map(<[_; 2]>::as_slice));
}

/// The arguments of the development binary.
fn parse_dev(words: &[String]) -> clap::ArgMatches {
    let command = renderhook_dev::cli::DevCli::command().no_binary_name(true);
    command.try_get_matches_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

#[test]
fn the_stand_in_is_an_image_and_a_profile_of_its_own() {
    let compose = compose();
    let service = &compose["services"]["standin"];
    assert_eq!(list(&service["profiles"]), ["standin"], "it runs only if asked for");
    let stage = stage(service["build"]["target"].as_str());
    let one = |instruction| -> String {
        let [argument] = arguments_in(&stage, instruction).try_into().expect("one instruction");
        argument
    };
    assert_eq!(words(&one("ENTRYPOINT")), ["/usr/local/bin/renderhook-dev"]);
    assert_eq!(one("USER"), arguments("USER")[0], "it reads the same secrets");
    parse_dev(&words(&one("CMD")));
    assert_eq!(words(&one("HEALTHCHECK"))[0], "/usr/local/bin/renderhook-dev");
    parse_dev(&words(&one("HEALTHCHECK"))[1..]);
    let command: Vec<String> = list(&service["command"]).into_iter().map(str::to_owned).collect();
    let secret = ["--webhook-secret".to_owned(), "whsec_a".to_owned()];
    parse_dev(&[command, secret.to_vec()].concat());
    let names: Vec<_> = environment(service).into_iter().map(|(name, _)| name.trim_end_matches("_FILE")).collect();
    assert_eq!(names, ["MAGIC_HOUR_WEBHOOK_SECRET", "MAGIC_HOUR_API_KEY"]);
    let production: Vec<_> = arguments("COPY");
    assert!(production.iter().all(|copied| !copied.contains("standin")), "{production:?}");
}

#[test]
fn the_image_is_labeled_with_the_version_of_the_crate_and_the_build_arguments() {
    let arguments: BTreeSet<_> = arguments("ARG").into_iter().collect();
    assert!(arguments.contains(concat!("VERSION=", env!("CARGO_PKG_VERSION"))), "{arguments:?}");
    let [labels] = self::arguments("LABEL").try_into().expect("one LABEL");
    for label in
        ["created", "description", "documentation", "licenses", "revision", "source", "title", "url", "version"]
    {
        assert!(labels.contains(&format!("org.opencontainers.image.{label}=")), "no label {label}");
    }
    let compose = compose();
    let args = compose["services"]["renderhook"]["build"]["args"].as_object().expect("args");
    for name in args.keys() {
        assert!(arguments.contains(&format!("{name}=\"\"")), "the Dockerfile has no ARG {name}");
        assert!(text("scripts/image").contains(&format!("--build-arg \"{name}=")), "scripts/image does not set {name}");
    }
}

#[test]
fn every_file_that_the_image_copies_exists_and_is_not_ignored() {
    let ignore = text(".dockerignore");
    let copied_here = copied("Dockerfile");
    assert!(copied_here.iter().any(|path| path == "src") && copied_here.iter().any(|path| path == ".sqlx"));
    for path in copied_here {
        assert!(in_the_repository(&path).exists(), "{path} does not exist");
        assert!(ignore.lines().any(|line| line == format!("!{path}")), ".dockerignore keeps {path} out");
    }
    for path in copied("deploy/Dockerfile") {
        assert!(in_the_repository("deploy").join(&path).is_file(), "deploy/{path} does not exist");
    }
}

/// A member that is missing fails the build in the image alone.
#[test]
fn the_image_copies_a_complete_workspace() {
    let context = tempfile::tempdir().expect("a folder");
    for path in copied("Dockerfile") {
        let status =
            Command::new("cp").arg("-R").arg(in_the_repository(&path)).arg(context.path()).status().expect("cp");
        assert!(status.success(), "cannot copy {path}");
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--no-deps", "--offline"]).current_dir(context.path());
    let output = cargo.output().expect("cargo");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_image_uses_the_declared_and_pinned_version_of_rust() {
    let declared = env!("CARGO_PKG_RUST_VERSION");
    let arguments = arguments("ARG");
    let version = arguments.iter().find_map(|arg| arg.strip_prefix("RUST_VERSION=")).expect("ARG RUST_VERSION");
    let same = version.strip_prefix(declared).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    assert!(same, "the Dockerfile has Rust {version}, Cargo.toml {declared}");
    assert!(text("rust-toolchain.toml").contains(&format!("channel = \"{version}\"")), "another toolchain is pinned");
}

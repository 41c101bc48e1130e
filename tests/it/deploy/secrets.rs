//! The step of the composition that writes the secrets, run as it is in a folder.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;

const VARIABLES: [&str; 8] = [
    "API_TOKENS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "MAGIC_HOUR_API_KEY",
    "MAGIC_HOUR_WEBHOOK_SECRET",
    "METRICS_TOKENS",
    "NOTIFY_SECRET",
    "READ_TOKENS",
];

/// Runs the script with these variables set, and returns what it prints. Every file is given to the user that runs the tests.
pub(super) fn make_secrets(volume: &Path, variables: &[(&str, &str)]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/make-secrets.sh");
    let me = fs::metadata(volume).expect("the folder").uid().to_string();
    let mut command = Command::new("sh");
    command.arg(script).arg(volume).args([&me, &me]);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    let output = command.envs(variables.iter().copied()).output().expect("sh");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a text")
}

struct Volume(tempfile::TempDir);

impl Volume {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn run(&self, variables: &[(&str, &str)]) -> String {
        make_secrets(self.0.path(), variables)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join("renderhook").join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

#[test]
fn a_token_that_is_no_longer_set_is_replaced_by_the_generated_one() {
    let volume = Volume::new();
    volume.run(&[]);
    let made = volume.read("api_tokens");
    assert_eq!(made.len(), 48);
    assert_eq!(volume.run(&[("API_TOKENS", "leaked")]).matches("API_TOKENS").count(), 0);
    assert_eq!(volume.read("api_tokens"), "leaked");
    assert!(volume.run(&[]).contains("API_TOKENS is not set: the value before is not valid any more"));
    assert_eq!(volume.read("api_tokens"), made);
    assert!(!volume.run(&[]).contains("API_TOKENS"), "said once");
    assert_eq!(volume.read("api_tokens"), made, "the made one lasts");
}

#[test]
fn an_api_key_that_is_no_longer_set_is_removed() {
    let volume = Volume::new();
    volume.run(&[("MAGIC_HOUR_API_KEY", "key")]);
    assert_eq!(volume.read("magic_hour_api_key"), "key");
    assert!(volume.run(&[]).contains("the key is removed"));
    assert_eq!(volume.read("magic_hour_api_key"), "");
    volume.run(&[("NOTIFY_SECRET", "whsec_secret")]);
    assert_eq!(volume.read("notify_secret"), "whsec_secret");
    volume.run(&[]);
    assert_eq!(volume.read("notify_secret"), "");
    assert!(!volume.run(&[]).contains("the key is removed"), "said once");
}

#[test]
fn a_webhook_secret_that_is_no_longer_set_stays_with_a_notice_each_time() {
    let volume = Volume::new();
    assert!(volume.run(&[]).contains("a random one was made"));
    volume.run(&[("MAGIC_HOUR_WEBHOOK_SECRET", "whsec_$a'b \"c")]);
    for _ in 0..2 {
        assert!(volume.run(&[]).contains("MAGIC_HOUR_WEBHOOK_SECRET is not set: the one set before is kept"));
        assert_eq!(volume.read("magic_hour_webhook_secret"), "whsec_$a'b \"c");
    }
}

#[test]
fn a_generated_webhook_secret_stays_the_same_with_a_notice_each_time() {
    let volume = Volume::new();
    volume.run(&[]);
    let made = volume.read("magic_hour_webhook_secret");
    assert!(volume.run(&[]).contains("a random one was made"));
    assert_eq!(volume.read("magic_hour_webhook_secret"), made);
}

#[test]
fn the_keys_of_your_own_bucket_replace_those_of_garage_while_they_are_set() {
    let volume = Volume::new();
    volume.run(&[]);
    let made = (volume.read("aws_access_key_id"), volume.read("aws_secret_access_key"));
    volume.run(&[("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_SECRET_ACCESS_KEY", "own")]);
    assert_eq!(
        (volume.read("aws_access_key_id"), volume.read("aws_secret_access_key")),
        ("AKIA1".into(), "own".into())
    );
    volume.run(&[]);
    assert_eq!((volume.read("aws_access_key_id"), volume.read("aws_secret_access_key")), made);
    assert!(made.0.starts_with("GK"), "Garage takes no other");
}

#[test]
fn only_the_service_and_the_writer_can_read_a_secret() {
    let volume = Volume::new();
    volume.run(&[]);
    for folder in ["garage", "made", "postgres", "renderhook"] {
        for file in fs::read_dir(volume.0.path().join(folder)).expect(folder) {
            let file = file.expect("a file");
            let mode = file.metadata().expect("its mode").permissions().mode();
            assert_eq!(mode & 0o337, 0, "{:?} has mode {mode:o}", file.path());
        }
    }
}

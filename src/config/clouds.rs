//! The clouds' own settings, such as `AWS_ACCESS_KEY_ID`.

use std::collections::HashMap;
use std::path::Path;

use secrecy::ExposeSecret;

use super::read::{self, ConfigErrors};

/// Variables whose own names end in `_FILE`: the clouds read these files themselves.
const FILES_OF_THE_CLOUDS: [&str; 4] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
];

/// The clouds' settings, with those that came as `NAME_FILE` read in.
pub(super) fn variables(
    environment: impl IntoIterator<Item = (String, String)>,
    mistakes: &mut ConfigErrors,
) -> HashMap<String, String> {
    let clouds = ["AWS_", "AZURE_", "GOOGLE_"];
    let given = environment
        .into_iter()
        .filter(|(name, value)| !value.is_empty() && clouds.iter().any(|cloud| name.starts_with(cloud)));
    let is_ours = |name: &str| name.ends_with("_FILE") && !FILES_OF_THE_CLOUDS.contains(&name);
    let (files, mut variables): (HashMap<_, _>, HashMap<_, _>) = given.partition(|(name, _)| is_ours(name));
    for (name, path) in files {
        let plain = name.trim_end_matches("_FILE");
        if variables.contains_key(plain) {
            mistakes.note(plain.to_owned(), format!("is set, and {name} as well: set one of them"));
        }
        let secret = read::secret_file(plain, Path::new(&path), mistakes);
        variables.extend(secret.map(|secret| (plain.to_owned(), secret.expose_secret().to_owned())));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clouds_secret_may_come_as_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let environment = [
            ("AWS_SECRET_ACCESS_KEY_FILE".to_owned(), path),
            ("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), "/somewhere".to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ];
        let mut mistakes = ConfigErrors::default();
        let variables = variables(environment, &mut mistakes);
        assert_eq!(variables.get("AWS_SECRET_ACCESS_KEY").map(String::as_str), Some("hush"));
        assert_eq!(variables.get("AWS_WEB_IDENTITY_TOKEN_FILE").map(String::as_str), Some("/somewhere"));
        assert_eq!(variables.len(), 2);
    }
}

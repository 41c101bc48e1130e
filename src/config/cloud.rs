//! The variables of the cloud providers, such as `AWS_ACCESS_KEY_ID`.

use std::collections::HashMap;
use std::path::Path;

use secrecy::ExposeSecret;

use super::errors::ConfigErrors;
use super::secret;

/// Variables whose official names end in `_FILE`. The providers' clients read these files themselves.
const OWN_FILES: [&str; 4] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AZURE_FEDERATED_TOKEN_FILE",
];

/// The cloud providers' variables. Those given as `NAME_FILE` are read from their files.
pub(super) fn variables(
    environment: impl IntoIterator<Item = (String, String)>,
    errors: &mut ConfigErrors,
) -> HashMap<String, String> {
    let clouds = ["AWS_", "AZURE_", "GOOGLE_"];
    let given = environment
        .into_iter()
        .filter(|(name, value)| !value.is_empty() && clouds.iter().any(|cloud| name.starts_with(cloud)));
    let is_ours = |name: &str| name.ends_with("_FILE") && !OWN_FILES.contains(&name);
    let (files, mut variables): (HashMap<_, _>, HashMap<_, _>) = given.partition(|(name, _)| is_ours(name));
    for (name, path) in files {
        let plain = name.trim_end_matches("_FILE");
        if variables.contains_key(plain) {
            errors.add(plain.to_owned(), format!("is set, and so is {name}: set one of them"));
        }
        let value = secret::read_file(plain, Path::new(&path), errors);
        variables.extend(value.map(|value| (plain.to_owned(), value.expose_secret().to_owned())));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_secret_can_come_from_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hush\n").unwrap();
        let path = file.path().to_str().unwrap().to_owned();
        let environment = [
            ("AWS_SECRET_ACCESS_KEY_FILE".to_owned(), path),
            ("AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(), "/somewhere".to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
        ];
        let mut errors = ConfigErrors::default();
        let variables = variables(environment, &mut errors);
        assert_eq!(variables.get("AWS_SECRET_ACCESS_KEY").map(String::as_str), Some("hush"));
        assert_eq!(variables.get("AWS_WEB_IDENTITY_TOKEN_FILE").map(String::as_str), Some("/somewhere"));
        assert_eq!(variables.len(), 2);
    }
}

//! `imagePullSecrets`: which user and password go to which registry.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{objects::Data, runtime::RegistryAuth};

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    /// `user:password` in base64; what `docker login` writes.
    #[serde(default)]
    auth: String,
}

/// The credentials in `secrets` that are for the registry of `image`; what cannot be read is passed over.
pub(crate) fn credentials<'a>(image: &str, secrets: impl IntoIterator<Item = &'a Data>) -> Vec<RegistryAuth> {
    let registry = registry_of(image);
    let mut found = Vec::new();
    for secret in secrets {
        for (key, entry) in entries(secret) {
            if host_of(&key) == registry
                && let Some((username, password)) = user_and_password(entry)
            {
                found.push(RegistryAuth { registry: registry.clone(), username, password });
            }
        }
    }
    found
}

fn entries(secret: &Data) -> BTreeMap<String, Entry> {
    if let Some(config) = secret.data.get(".dockerconfigjson") {
        return serde_json::from_slice::<DockerConfig>(config).map(|config| config.auths).unwrap_or_default();
    }
    secret.data.get(".dockercfg").and_then(|config| serde_json::from_slice(config).ok()).unwrap_or_default()
}

fn user_and_password(entry: Entry) -> Option<(String, String)> {
    if !entry.username.is_empty() {
        return Some((entry.username, entry.password));
    }
    let decoded = String::from_utf8(STANDARD.decode(entry.auth).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some((username.to_owned(), password.to_owned()))
}

/// The registry of an image name, `docker.io` by default.
fn registry_of(image: &str) -> String {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host_of(host),
        _ => "docker.io".to_owned(),
    }
}

/// The host of a registry as `docker login` may have written it; Docker Hub goes by several names.
fn host_of(key: &str) -> String {
    let host = key.trim_start_matches("https://").trim_start_matches("http://").split('/').next().unwrap_or_default();
    match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        host => host.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_match_by_registry() {
        let config =
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"},"r.example:5000":{"username":"u","password":"p"}}}"#;
        let secret = Data { data: [(".dockerconfigjson".to_owned(), config.as_bytes().to_vec())].into(), ..Data::default() };
        let find = |image: &str| {
            let found = credentials(image, [&secret]);
            found.into_iter().map(|auth| format!("{} {}:{}", auth.registry, auth.username, auth.password)).collect::<Vec<_>>()
        };
        assert_eq!(find("nginx:1.2"), ["docker.io a:b"]);
        assert_eq!(find("library/nginx"), ["docker.io a:b"]);
        assert_eq!(find("r.example:5000/x/y"), ["r.example:5000 u:p"]);
        assert_eq!(find("other.example/x"), Vec::<String>::new());
    }
}

//! Image names: `nginx` is `docker.io/library/nginx:latest`.

use std::{fmt, str::FromStr};

use oci_spec::distribution::{ParseError, Reference};

/// A complete image name: registry, repository, and a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageName(Reference);

/// A name that is no image name; the text is what kubelet prints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {name:?}: {why}")]
pub struct NameError {
    /// As written.
    pub name: String,
    /// What is wrong with it.
    pub why: String,
}

impl ImageName {
    /// Host, and port if there is one: `docker.io`.
    pub fn registry(&self) -> &str {
        self.0.registry()
    }

    /// Path of the repository in its registry: `library/nginx`.
    pub fn repository(&self) -> &str {
        self.0.repository()
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    /// The tag, if the name has one; `latest` when it has neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag()
    }

    /// What a registry is asked for: the digest before the tag.
    pub(crate) fn version(&self) -> &str {
        self.0.digest().or(self.0.tag()).unwrap_or("latest")
    }

    /// `docker.io/library/nginx@sha256:…`.
    pub(crate) fn with_digest(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.0.registry(), self.0.repository())
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ImageName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let error = |why: String| NameError { name: name.to_owned(), why };
        let repository = repository_as_written(name);
        if repository.len() == 64 && repository.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(error(format!("invalid repository name ({repository}), cannot specify 64-byte hexadecimal strings")));
        }
        match Reference::try_from(name) {
            Ok(reference) => Ok(Self(reference)),
            Err(ParseError::NameEmpty) => Err(error("invalid reference format".to_owned())),
            Err(ParseError::ReferenceInvalidFormat) => match lowercase_is_valid(name) {
                Some(remote) => Err(error(format!("invalid reference format: repository name ({remote}) must be lowercase"))),
                None => Err(error("invalid reference format".to_owned())),
            },
            Err(other) => Err(error(other.to_string())),
        }
    }
}

/// The name without tag and digest, as it was written.
fn repository_as_written(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rfind(':') {
        Some(colon) if !name[colon..].contains('/') => &name[..colon],
        _ => name,
    }
}

/// The repository as written (with `library/` where that is implied), if upper case is all that is wrong with the name.
fn lowercase_is_valid(name: &str) -> Option<String> {
    let repository = repository_as_written(name);
    let rest = &name[repository.len()..];
    let lower = Reference::try_from(format!("{}{rest}", repository.to_lowercase())).ok()?;
    let start = repository.len().checked_sub(lower.repository().len());
    Some(match start {
        Some(start) => repository[start..].to_owned(),
        None => format!("library/{repository}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_completed() {
        let hex = "f".repeat(64);
        for (written, complete) in [
            ("nginx".to_owned(), "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.14.2".to_owned(), "docker.io/library/nginx:1.14.2".to_owned()),
            ("index.docker.io/nginx".to_owned(), "docker.io/library/nginx:latest".to_owned()),
            ("bitnami/redis".to_owned(), "docker.io/bitnami/redis:latest".to_owned()),
            ("localhost/a".to_owned(), "localhost/a:latest".to_owned()),
            ("127.0.0.1:5000/a/b:c".to_owned(), "127.0.0.1:5000/a/b:c".to_owned()),
            (format!("nginx@sha256:{hex}"), format!("docker.io/library/nginx@sha256:{hex}")),
            (format!("nginx:1@sha256:{hex}"), format!("docker.io/library/nginx:1@sha256:{hex}")),
        ] {
            assert_eq!(written.parse::<ImageName>().unwrap().to_string(), complete);
        }
    }

    #[test]
    fn errors_are_worded_as_upstream() {
        let hex = "a".repeat(64);
        for (written, why) in [
            ("".to_owned(), "invalid reference format".to_owned()),
            ("a b".to_owned(), "invalid reference format".to_owned()),
            (":tag".to_owned(), "invalid reference format".to_owned()),
            ("nginx:".to_owned(), "invalid reference format".to_owned()),
            ("Nginx:1".to_owned(), "invalid reference format: repository name (library/Nginx) must be lowercase".to_owned()),
            ("ghcr.io/Foo/bar".to_owned(), "invalid reference format: repository name (Foo/bar) must be lowercase".to_owned()),
            ("a@sha256:abcd".to_owned(), "invalid reference format".to_owned()),
            (hex.clone(), format!("invalid repository name ({hex}), cannot specify 64-byte hexadecimal strings")),
        ] {
            let error = written.parse::<ImageName>().unwrap_err();
            assert_eq!(error.to_string(), format!("couldn't parse image name {written:?}: {why}"));
        }
    }
}

//! Which URL serves a registry's images.

use std::collections::BTreeMap;

use reqwest::Url;

/// Where the images of some registries are fetched from instead. A registry with a mirror is asked nowhere else.
#[derive(Debug, Clone, Default)]
pub struct MirrorTable(BTreeMap<String, Endpoint>);

/// What `--registry-mirror` got wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MirrorError {
    /// No `HOST=URL`.
    #[error("registry mirror {0:?} is not HOST=URL, such as docker.io=http://127.0.0.1:5000")]
    Shape(String),
    /// Not a URL.
    #[error("registry mirror {value:?}: {why}")]
    Url {
        /// As written.
        value: String,
        /// What is wrong with the URL.
        why: String,
    },
    /// Plain HTTP to another machine without saying so.
    #[error("registry mirror {0:?} is plain HTTP to another machine; if that is intended, append \",insecure\"")]
    Insecure(String),
}

/// Base of a registry's API, without `/v2/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// Ends with a slash.
    pub(crate) base: Url,
    /// Certificates are not checked.
    pub(crate) insecure: bool,
}

impl MirrorTable {
    /// A table of several `HOST=URL`.
    ///
    /// # Errors
    /// As [`MirrorTable::add`].
    pub fn new<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> Result<Self, MirrorError> {
        let mut table = Self::default();
        values.into_iter().try_for_each(|value| table.add(value.as_ref()))?;
        Ok(table)
    }

    /// Adds one `HOST=URL` or `HOST=URL,insecure`; a second one for the same host replaces the first.
    ///
    /// # Errors
    /// When it is not of that form, or is plain HTTP to anything but loopback without `insecure`.
    pub fn add(&mut self, value: &str) -> Result<(), MirrorError> {
        let (host, url) = value.split_once('=').ok_or_else(|| MirrorError::Shape(value.to_owned()))?;
        let (url, insecure) = match url.strip_suffix(",insecure") {
            Some(url) => (url, true),
            None => (url, false),
        };
        if host.is_empty() || host.contains('/') {
            return Err(MirrorError::Shape(value.to_owned()));
        }
        let error = |why: String| MirrorError::Url { value: value.to_owned(), why };
        let mut base = Url::parse(url).map_err(|e| error(e.to_string()))?;
        match base.scheme() {
            "https" => {}
            "http" if insecure || base.host_str().is_some_and(is_loopback) => {}
            "http" => return Err(MirrorError::Insecure(value.to_owned())),
            other => return Err(error(format!("scheme {other:?} is neither http nor https"))),
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let host = if host == "index.docker.io" || host == "registry-1.docker.io" { "docker.io" } else { host };
        self.0.insert(host.to_owned(), Endpoint { base, insecure });
        Ok(())
    }

    /// Where the images of this registry are: its mirror, Docker Hub's own address, plain HTTP for loopback, HTTPS otherwise.
    pub(crate) fn endpoint(&self, registry: &str) -> Result<Endpoint, MirrorError> {
        if let Some(endpoint) = self.0.get(registry) {
            return Ok(endpoint.clone());
        }
        let host_only = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        let text = match registry {
            "docker.io" => "https://registry-1.docker.io/".to_owned(),
            _ if is_loopback(host_only) => format!("http://{registry}/"),
            _ => format!("https://{registry}/"),
        };
        let base = Url::parse(&text).map_err(|e| MirrorError::Url { value: registry.to_owned(), why: e.to_string() })?;
        Ok(Endpoint { base, insecure: false })
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_and_defaults() {
        let table = MirrorTable::new(["docker.io=http://127.0.0.1:5000", "quay.io=http://10.0.0.1/proxy,insecure"]).unwrap();
        for (registry, base) in [
            ("docker.io", "http://127.0.0.1:5000/"),
            ("quay.io", "http://10.0.0.1/proxy/"),
            ("ghcr.io", "https://ghcr.io/"),
            ("localhost:5000", "http://localhost:5000/"),
        ] {
            assert_eq!(table.endpoint(registry).unwrap().base.as_str(), base);
        }
        assert_eq!(MirrorTable::default().endpoint("docker.io").unwrap().base.as_str(), "https://registry-1.docker.io/");
    }

    #[test]
    fn wrong_mirrors_say_what_is_wrong() {
        for (value, text) in [
            ("docker.io", "registry mirror \"docker.io\" is not HOST=URL, such as docker.io=http://127.0.0.1:5000"),
            ("a=ftp://b", "registry mirror \"a=ftp://b\": scheme \"ftp\" is neither http nor https"),
            ("a=b", "registry mirror \"a=b\": relative URL without a base"),
            (
                "a=http://10.0.0.1",
                "registry mirror \"a=http://10.0.0.1\" is plain HTTP to another machine; if that is intended, append \",insecure\"",
            ),
        ] {
            assert_eq!(MirrorTable::new([value]).unwrap_err().to_string(), text);
        }
    }
}

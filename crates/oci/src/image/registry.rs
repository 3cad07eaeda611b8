//! A registry over HTTP: manifests and blobs of one repository, as the OCI distribution specification has it.
//!
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

use std::{error::Error as _, io, sync::OnceLock, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderValue, RANGE},
};
use tokio::sync::Mutex;

use super::{
    ImageName,
    authorize::answer,
    content::digest_of,
    mirror::{Endpoint, MirrorError},
};

/// Manifest types that are understood, best first.
const MANIFEST_TYPES: &str = "application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.oci.image.index.v1+json, */*";

/// Registries refuse manifests beyond 4 MiB; what is larger is no manifest.
pub(crate) const MANIFEST_BYTES: usize = 4 << 20;

/// As containerd's: long enough for a slow link, short enough that a dead one is noticed within a kubelet's back-off.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// No byte for so long: the connection is dead.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// User and password (or token) for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why a registry did not give what it was asked for; texts follow containerd's.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such repository, tag, digest or blob.
    #[error("{0}: not found")]
    NotFound(String),
    /// It wants credentials that we have not.
    #[error("pull access denied, repository does not exist or may require authorization: server message: {0}")]
    Denied(String),
    /// The token server refused.
    #[error("failed to authorize: failed to fetch {anonymous} token: unexpected status from GET request to {url}: {status}")]
    Token {
        /// `anonymous` or `oauth`.
        anonymous: &'static str,
        /// The token server.
        url: String,
        /// Its answer.
        status: StatusCode,
    },
    /// The request did not get through.
    #[error("failed to do request: {method} \"{url}\": {cause}")]
    Request {
        /// `Head` or `Get`.
        method: &'static str,
        /// Where to.
        url: String,
        /// What went wrong, worded as Go's net package does.
        cause: String,
    },
    /// Any other answer than success.
    #[error("unexpected status from {method} request to {url}: {status}")]
    Status {
        /// `HEAD` or `GET`.
        method: Method,
        /// Where to.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// More bytes than the bound.
    #[error("response of {url} is larger than {limit} bytes")]
    TooLarge {
        /// Where from.
        url: String,
        /// The bound.
        limit: usize,
    },
    /// The content is not what its digest says.
    #[error("unexpected commit digest {actual}, expected {expected}: failed precondition")]
    Digest {
        /// What came.
        actual: String,
        /// What was asked for.
        expected: String,
    },
    /// The registry's address is no URL.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The HTTP client cannot be made (no certificate store, say).
    #[error("no HTTP client")]
    Client(#[source] reqwest::Error),
}

impl RegistryError {
    /// Other credentials may help.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Denied(_) | Self::Token { .. })
            || matches!(self, Self::Status { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. })
    }

    /// Trying again at once may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Request { .. } => true,
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            _ => false,
        }
    }
}

/// One repository of a registry, for the length of one pull.
#[derive(Debug)]
pub(crate) struct Registry {
    client: reqwest::Client,
    endpoint: Endpoint,
    name: ImageName,
    credential: Option<Credential>,
    /// The answer to the registry's challenge, once it has made one.
    authorization: Mutex<Option<HeaderValue>>,
}

/// What a tag stands for.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    pub(crate) digest: String,
    /// The manifest itself, when the registry gave no digest without it.
    pub(crate) body: Option<Bytes>,
}

impl Registry {
    pub(crate) fn new(
        clients: &Clients,
        name: ImageName,
        endpoint: Endpoint,
        credential: Option<Credential>,
    ) -> Result<Self, RegistryError> {
        let client = clients.get(endpoint.insecure)?;
        Ok(Self { client, endpoint, name, credential, authorization: Mutex::default() })
    }

    /// The digest behind a tag: HEAD, as that costs nothing of a registry's pull quota.
    pub(crate) async fn resolve(&self) -> Result<Resolved, RegistryError> {
        if let Some(digest) = self.name.digest() {
            return Ok(Resolved { digest: digest.to_owned(), body: None });
        }
        let url = self.url("manifests", self.name.version())?;
        let response = self.send(Method::HEAD, &url, None).await?;
        let digest = response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok());
        if let Some(digest) = digest.filter(|d| d.starts_with("sha256:")) {
            return Ok(Resolved { digest: digest.to_owned(), body: None });
        }
        let response = self.send(Method::GET, &url, None).await?;
        let body = body_at_most(response, MANIFEST_BYTES, &url).await?;
        Ok(Resolved { digest: digest_of(&body), body: Some(body) })
    }

    /// The manifest of that digest, verified.
    pub(crate) async fn manifest(&self, digest: &str) -> Result<Bytes, RegistryError> {
        let url = self.url("manifests", digest)?;
        self.small(url, digest, MANIFEST_BYTES).await
    }

    /// A blob that fits in memory, verified.
    pub(crate) async fn small_blob(&self, digest: &str, limit: usize) -> Result<Bytes, RegistryError> {
        let url = self.url("blobs", digest)?;
        self.small(url, digest, limit).await
    }

    /// A blob from `offset` on; whether the registry honoured the offset is in the status (206 or 200).
    pub(crate) async fn blob(&self, digest: &str, offset: u64) -> Result<(Response, Url), RegistryError> {
        let url = self.url("blobs", digest)?;
        let range = (offset > 0).then(|| format!("bytes={offset}-"));
        Ok((self.send(Method::GET, &url, range).await?, url))
    }

    async fn small(&self, url: Url, digest: &str, limit: usize) -> Result<Bytes, RegistryError> {
        let response = self.send(Method::GET, &url, None).await?;
        let body = body_at_most(response, limit, &url).await?;
        let actual = digest_of(&body);
        if actual != digest {
            return Err(RegistryError::Digest { actual, expected: digest.to_owned() });
        }
        Ok(body)
    }

    fn url(&self, what: &str, version: &str) -> Result<Url, RegistryError> {
        let path = format!("v2/{}/{what}/{version}", self.name.repository());
        let url = self.endpoint.base.join(&path);
        Ok(url.map_err(|e| MirrorError::Url { value: path, why: e.to_string() })?)
    }

    /// Sends a request; answers one challenge; any status but success is an error.
    async fn send(&self, method: Method, url: &Url, range: Option<String>) -> Result<Response, RegistryError> {
        let name = if method == Method::HEAD { "Head" } else { "Get" };
        let request = |authorization: Option<&HeaderValue>| {
            let mut request = self.client.request(method.clone(), url.clone()).header(ACCEPT, MANIFEST_TYPES);
            if let Some(range) = &range {
                request = request.header(RANGE, range);
            }
            match authorization {
                Some(value) => request.header(AUTHORIZATION, value),
                None => request,
            }
        };
        let authorization = self.authorization.lock().await.clone();
        let mut response = do_request(request(authorization.as_ref()), name, url).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let fresh = answer(&self.client, &response, self.name.repository(), self.credential.as_ref()).await?;
            *self.authorization.lock().await = Some(fresh.clone());
            response = do_request(request(Some(&fresh)), name, url).await?;
        }
        match response.status() {
            status if status.is_success() => Ok(response),
            StatusCode::NOT_FOUND => Err(RegistryError::NotFound(self.name.to_string())),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(RegistryError::Denied("insufficient_scope: authorization failed".to_owned()))
            }
            status => Err(RegistryError::Status { method, url: url.to_string(), status }),
        }
    }
}

/// Sends, and words a failure as containerd does.
pub(crate) async fn do_request(request: RequestBuilder, method: &'static str, url: &Url) -> Result<Response, RegistryError> {
    request.send().await.map_err(|error| RegistryError::Request { method, url: url.to_string(), cause: cause(&error, url) })
}

/// The body, if it is no larger than `limit`.
pub(crate) async fn body_at_most(mut response: Response, limit: usize, url: &Url) -> Result<Bytes, RegistryError> {
    let too_large = || RegistryError::TooLarge { url: url.to_string(), limit };
    let announced = response.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced.unwrap_or(0));
    loop {
        let chunk = response.chunk().await;
        let chunk = chunk.map_err(|e| RegistryError::Request { method: "Get", url: url.to_string(), cause: cause(&e, url) })?;
        let Some(chunk) = chunk else { return Ok(body.into()) };
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
}

/// The failure in the words of Go's net package, which is what people search for.
pub(crate) fn cause(error: &reqwest::Error, url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(0);
    let mut source = error.source();
    let mut innermost = error.to_string();
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            let dial = |what: &str| format!("dial tcp {host}:{port}: {what}");
            match io.kind() {
                io::ErrorKind::ConnectionRefused => return dial("connect: connection refused"),
                io::ErrorKind::NetworkUnreachable => return dial("connect: network is unreachable"),
                io::ErrorKind::HostUnreachable => return dial("connect: no route to host"),
                io::ErrorKind::ConnectionReset => return format!("read tcp {host}:{port}: read: connection reset by peer"),
                io::ErrorKind::UnexpectedEof => return "unexpected EOF".to_owned(),
                _ => {}
            }
        }
        innermost = inner.to_string();
        source = inner.source();
    }
    if error.is_timeout() {
        return format!("dial tcp {host}:{port}: i/o timeout");
    }
    if innermost.contains("failed to lookup address") || innermost.contains("dns error") {
        return format!("dial tcp: lookup {host}: no such host");
    }
    if error.is_connect() && innermost.contains("certificate") {
        return format!("tls: failed to verify certificate: {innermost}");
    }
    innermost
}

/// HTTP clients, shared by all pulls so that connections are reused between images.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    strict: OnceLock<reqwest::Client>,
    insecure: OnceLock<reqwest::Client>,
}

impl Clients {
    /// A client that checks certificates, or one that does not.
    pub(crate) fn get(&self, insecure: bool) -> Result<reqwest::Client, RegistryError> {
        let slot = if insecure { &self.insecure } else { &self.strict };
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        // An error means that somebody chose a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .tls_danger_accept_invalid_certs(insecure)
            .build()
            .map_err(RegistryError::Client)?;
        Ok(slot.get_or_init(|| client).clone())
    }
}

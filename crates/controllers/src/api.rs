//! The requests of the controllers: of an answer they read the little they need.

use http::{Method, Request, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource, client::Body};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Content types of a body.
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Longest answer that is read: the server takes objects of 3 MiB, and adds a little.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Why a request did not do what it should.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Error {
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// HTTP status code.
        code: u16,
        /// Such as `AlreadyExists`.
        reason: String,
        /// The server's words.
        message: String,
        /// Reasons of the causes, such as `NamespaceTerminating`.
        causes: Vec<String>,
    },
    /// No answer, or half of one.
    #[error("no answer from the API server: {0}")]
    Unreachable(String),
    /// The answer is not what was asked for.
    #[error("an answer of the API server that cannot be read: {0}")]
    Unreadable(String),
}

impl Error {
    fn code(&self) -> u16 {
        if let Self::Refused { code, .. } = self { *code } else { 0 }
    }

    /// The object is not there (any more).
    pub(crate) fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// The name is taken.
    pub(crate) fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused { reason, .. } if reason == "AlreadyExists")
    }

    /// The object has moved on, or is another one of that name.
    pub(crate) fn is_conflict(&self) -> bool {
        self.code() == 409 && !self.is_already_exists()
    }

    /// The namespace is on its way out: nothing can be made in it, and nothing needs to be.
    pub(crate) fn is_namespace_terminating(&self) -> bool {
        matches!(self, Self::Refused { causes, .. } if causes.iter().any(|cause| cause == "NamespaceTerminating"))
    }

    /// Nobody knows whether it was done: no answer came, or none that says so.
    pub(crate) fn is_doubtful(&self) -> bool {
        !matches!(self, Self::Refused { code, .. } if *code < 500)
    }

    /// The watch or list asked for a past that is forgotten.
    pub(crate) fn is_gone(&self) -> bool {
        self.code() == 410
    }
}

/// What a write made of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// 0 where the answer has none.
    pub(crate) revision: u64,
    /// The object is still there and marked for deletion.
    pub(crate) deleting: bool,
}

/// The resourceVersion as the number that it is here; 0 if absent.
pub(crate) fn revision(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Which object a delete means.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletion {
    /// Only if it still is this one.
    pub(crate) uid: Option<String>,
    /// Only if it still is as it was at this resourceVersion.
    pub(crate) resource_version: Option<String>,
    /// `Background`, `Foreground` or `Orphan`; the kind's default if absent.
    pub(crate) propagation: Option<&'static str>,
    /// The object's own if absent.
    pub(crate) grace_period_seconds: Option<i64>,
}

impl Deletion {
    /// Of this very object, whatever became of it.
    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self { uid: meta.uid.clone(), ..Self::default() }
    }

    fn body(&self) -> Value {
        let mut body = json!({"apiVersion": "v1", "kind": "DeleteOptions"});
        if let Some(uid) = &self.uid {
            body["preconditions"]["uid"] = uid.as_str().into();
        }
        if let Some(resource_version) = &self.resource_version {
            body["preconditions"]["resourceVersion"] = resource_version.as_str().into();
        }
        if let Some(propagation) = self.propagation {
            body["propagationPolicy"] = propagation.into();
        }
        if let Some(seconds) = self.grace_period_seconds {
            body["gracePeriodSeconds"] = seconds.into();
        }
        body
    }
}

/// Path of a collection, or of all of the kind where there is no namespace.
pub(crate) fn collection<K: Resource<DynamicType = ()>>(namespace: Option<&str>) -> String {
    K::url_path(&(), namespace.filter(|namespace| !namespace.is_empty()))
}

/// Path of an object.
pub(crate) fn path<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> String {
    format!("{}/{}", collection::<K>(meta.namespace.as_deref()), meta.name.as_deref().unwrap_or_default())
}

/// Makes an object.
pub(crate) async fn create<K: Resource<DynamicType = ()> + Serialize>(client: &Client, object: &K) -> Result<Written, Error> {
    send(client, Method::POST, &collection::<K>(object.meta().namespace.as_deref()), JSON, &bytes(object)?).await
}

/// Replaces an object, if it still is at the resourceVersion that this one carries.
pub(crate) async fn replace<K: Resource<DynamicType = ()> + Serialize>(client: &Client, object: &K) -> Result<Written, Error> {
    send(client, Method::PUT, &path::<K>(object.meta()), JSON, &bytes(object)?).await
}

/// Replaces the status of an object, if it still is at the resourceVersion that this one carries.
pub(crate) async fn replace_status<K: Resource<DynamicType = ()> + Serialize>(
    client: &Client,
    object: &K,
) -> Result<Written, Error> {
    send(client, Method::PUT, &format!("{}/status", path::<K>(object.meta())), JSON, &bytes(object)?).await
}

/// Merges into an object; null takes a field out, a list is replaced.
pub(crate) async fn merge<K: Resource<DynamicType = ()>>(
    client: &Client,
    meta: &ObjectMeta,
    change: &Value,
) -> Result<Written, Error> {
    send(client, Method::PATCH, &path::<K>(meta), MERGE, change.to_string().as_bytes()).await
}

/// Merges into the status of an object; lists with keys (conditions) merge by them.
pub(crate) async fn merge_status<K: Resource<DynamicType = ()>>(
    client: &Client,
    meta: &ObjectMeta,
    change: &Value,
) -> Result<Written, Error> {
    send(client, Method::PATCH, &format!("{}/status", path::<K>(meta)), STRATEGIC, change.to_string().as_bytes()).await
}

/// Makes a subresource of an object, such as `binding`.
pub(crate) async fn create_below<K: Resource<DynamicType = ()>>(
    client: &Client,
    meta: &ObjectMeta,
    subresource: &str,
    body: &Value,
) -> Result<Written, Error> {
    send(client, Method::POST, &format!("{}/{subresource}", path::<K>(meta)), JSON, body.to_string().as_bytes()).await
}

/// Deletes an object.
pub(crate) async fn delete<K: Resource<DynamicType = ()>>(
    client: &Client,
    meta: &ObjectMeta,
    how: &Deletion,
) -> Result<Written, Error> {
    delete_at(client, &path::<K>(meta), how).await
}

/// Deletes the object at a path.
pub(crate) async fn delete_at(client: &Client, path: &str, how: &Deletion) -> Result<Written, Error> {
    send(client, Method::DELETE, path, JSON, how.body().to_string().as_bytes()).await
}

/// Merges into the object at a path.
pub(crate) async fn merge_at(client: &Client, path: &str, change: &Value) -> Result<Written, Error> {
    send(client, Method::PATCH, path, MERGE, change.to_string().as_bytes()).await
}

/// Replaces what is at a path.
pub(crate) async fn replace_at(client: &Client, path: &str, object: &Value) -> Result<Written, Error> {
    send(client, Method::PUT, path, JSON, object.to_string().as_bytes()).await
}

/// Reads an object, past every cache.
pub(crate) async fn get<T: DeserializeOwned>(client: &Client, path: &str, accept: &str) -> Result<T, Error> {
    let request = Request::get(path).header(http::header::ACCEPT, accept).body(Body::empty());
    read(client, request.map_err(|error| Error::Unreadable(error.to_string()))?).await
}

/// Looks at what a write may have made, past every cache.
pub(crate) async fn look(client: &Client, path: &str) -> Result<Written, Error> {
    let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
    get::<Answer>(client, path, accept).await.map(Written::from)
}

fn bytes<K: Serialize>(object: &K) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(object).map_err(|error| Error::Unreadable(error.to_string()))
}

async fn send(client: &Client, method: Method, path: &str, content_type: &str, body: &[u8]) -> Result<Written, Error> {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, content_type).body(Body::from(body.to_vec()));
    let answer: Answer = read(client, request.map_err(|error| Error::Unreadable(error.to_string()))?).await?;
    Ok(answer.into())
}

async fn read<T: DeserializeOwned>(client: &Client, request: Request<Body>) -> Result<T, Error> {
    let response = client.send(request).await.map_err(|error| Error::Unreachable(error.to_string()))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    let body = body.map_err(|error| Error::Unreachable(error.to_string()))?.to_bytes();
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|error| Error::Unreadable(error.to_string()));
    }
    let refusal = serde_json::from_slice::<Refusal>(&body).unwrap_or_else(|_| Refusal {
        reason: String::new(),
        message: String::from_utf8_lossy(&body).into_owned(),
        details: None,
    });
    let causes = refusal.details.unwrap_or_default().causes.into_iter().map(|cause| cause.reason).collect();
    Err(Error::Refused { code: status.as_u16(), reason: refusal.reason, message: refusal.message, causes })
}

/// The part of an answer that says what a write has made.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    metadata: AnswerMeta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AnswerMeta {
    name: String,
    uid: String,
    resource_version: String,
    deletion_timestamp: Option<String>,
}

impl From<Answer> for Written {
    fn from(answer: Answer) -> Self {
        let meta = answer.metadata;
        let revision = meta.resource_version.parse().unwrap_or(0);
        Self { name: meta.name, uid: meta.uid, revision, deleting: meta.deletion_timestamp.is_some() }
    }
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
    details: Option<Details>,
}

#[derive(Deserialize, Default)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(default)]
    reason: String,
}

//! The few requests that the kubelet words itself: it reads no answer it does not need.

use http::{Method, Request, header::CONTENT_TYPE};
use jiff::Timestamp;
use kube::{Client, client::Body, core::Status};
use serde_json::Value;

/// Content types of a PATCH.
pub(crate) const MERGE: &str = "application/merge-patch+json";
/// Lists merge by their keys: conditions that others own stay.
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// An object, or the options of a delete.
pub(crate) const JSON: &str = "application/json";

/// An answer with this many bytes is no `Status`; reading stops there.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server said no.
    #[error("{message}")]
    Refused {
        /// HTTP status code.
        code: u16,
        /// The server's words.
        message: String,
    },
    /// No answer.
    #[error("no answer from the API server")]
    Unreachable(#[source] Box<kube::Error>),
}

impl Error {
    /// The object is not there (any more).
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The object exists already, is another one of that name, or has moved on.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409, .. })
    }

    /// Asking again the same way would give the same answer.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { code: 400..=428 | 430..=499, .. })
    }
}

/// Times in objects are whole seconds, as upstream writes them.
pub(crate) fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).expect("a second of a valid time is valid")
}

/// Sends `body` and, when it worked, leaves the answer unread: decoding a whole pod after each status patch costs more than the patch.
///
/// # Errors
/// The server's refusal in its own words, or that it could not be reached.
pub(crate) async fn send(client: &Client, method: Method, path: &str, content_type: &str, body: &Value) -> Result<(), Error> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, content_type)
        .body(Body::from(body.to_string().into_bytes()))
        .expect("path segments are DNS names and the header is a constant");
    let response = client.send(request).await.map_err(|error| Error::Unreachable(Box::new(error)))?;
    if response.status().is_success() {
        return Ok(());
    }
    let code = response.status().as_u16();
    let limited = http_body_util::Limited::new(response.into_body(), MAX_ERROR_BYTES);
    let bytes = http_body_util::BodyExt::collect(limited).await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message = serde_json::from_slice::<Status>(&bytes)
        .map(|status| status.message)
        .unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned());
    Err(Error::Refused { code, message })
}

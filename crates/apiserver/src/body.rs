//! Bodies: read within a limit, and decoded into an object of the kind that the path names.

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;
use windlass_api::{
    codec::{
        json::{self, Document},
        protobuf,
    },
    status::Status,
};

use crate::{negotiate::BodyMedia, query::bad_request, yaml};

/// Upstream's limit: etcd takes 1.5 MiB a request, and a body may be twice what is kept of it.
const MAX_BODY_BYTES: usize = 3 * 1024 * 1024;

/// A kind as a body names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gvk {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
}

impl Gvk {
    /// `v1`, `apps/v1`
    pub(crate) fn api_version(self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// Reads a body.
///
/// # Errors
/// 413 past the limit, 400 when the client goes away.
pub(crate) async fn read(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let message = format!("Request entity too large: limit is {MAX_BODY_BYTES}");
            Err(Status::request(413, "RequestEntityTooLarge", message))
        }
        Err(error) => Err(bad_request(format!("unable to read the body: {error}"))),
    }
}

/// Decodes the text of a body without asking what it means.
///
/// # Errors
/// What the parser says.
pub(crate) fn parse(bytes: &[u8], media: BodyMedia) -> Result<Document, String> {
    match media {
        BodyMedia::Json => {
            let (value, duplicates) =
                json::decode(bytes).map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
            Ok(Document { value, duplicates })
        }
        BodyMedia::Yaml => yaml::decode(bytes),
        BodyMedia::Protobuf => {
            let decoded = protobuf::decode(bytes).map_err(|error| error.to_string())?;
            Ok(Document { value: decoded.value, duplicates: Vec::new() })
        }
    }
}

/// Decodes a body that must be an object of this kind; where it does not say what it is, it is taken to be one.
///
/// # Errors
/// 400 when it cannot be parsed or is something else.
pub(crate) fn decode(bytes: &[u8], media: BodyMedia, expected: Gvk) -> Result<Document, Status> {
    let unrecognized = |why: &str| {
        let kind = expected.kind;
        bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({})", summary(bytes)))
    };
    let mut document = parse(bytes, media).map_err(|why| unrecognized(&why))?;
    if !document.value.is_object() {
        return Err(unrecognized("couldn't get version/kind; json parse error: json: cannot unmarshal into an object"));
    }
    settle(&mut document.value, expected)?;
    Ok(document)
}

/// Fills in what the object is, where it does not say so.
///
/// # Errors
/// 400 when it says that it is something else.
pub(crate) fn settle(object: &mut Value, expected: Gvk) -> Result<(), Status> {
    let Some(fields) = object.as_object_mut() else { return Err(bad_request("the body is not an object")) };
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if version.is_empty() {
        fields.insert("apiVersion".to_owned(), expected.api_version().into());
    } else if version != expected.api_version() {
        return Err(bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            expected.api_version()
        )));
    }
    if kind.is_empty() {
        fields.insert("kind".to_owned(), expected.kind.into());
    } else if kind != expected.kind {
        let short = version.rsplit('/').next().unwrap_or_default();
        return Err(bad_request(format!(
            "{kind} in version \"{short}\" cannot be handled as a {}: converting ({short}.{kind}) to ({short}.{}): unknown conversion",
            expected.kind, expected.kind
        )));
    }
    Ok(())
}

/// The start of a body, for a message.
fn summary(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 30;
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') if bytes.len() > SHOWN_BYTES => format!("{} ...", String::from_utf8_lossy(&bytes[..SHOWN_BYTES])),
        Some(b'{') => String::from_utf8_lossy(bytes).into_owned(),
        Some(_) => {
            let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
            let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            if bytes.len() > SHOWN_BYTES { format!("{hex} ...") } else { hex }
        }
    }
}

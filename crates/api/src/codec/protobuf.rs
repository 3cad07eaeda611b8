//! Kubernetes' protobuf: a magic number, an envelope with apiVersion and kind, and the object, decoded by the table of facts.
//!
//! The wire format is `k8s\0` followed by a `runtime.Unknown`; see
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding-of-kubernetes-objects>.

mod decode;
mod encode;
mod special;
pub(crate) mod wire;

use serde_json::Value;

use crate::schema;

pub use encode::encode;

/// The four bytes that open every body of this media type.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// An object that came as protobuf.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Group and version, `apps/v1`.
    pub api_version: String,
    /// Kind, `Deployment`.
    pub kind: String,
    /// The object as JSON, with `apiVersion` and `kind`.
    pub value: Value,
}

/// Why a body is not an object.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The body does not open with [`MAGIC`].
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// The body ends within a value.
    #[error("unexpected EOF")]
    End,
    /// A number longer than 64 bits.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field has another wire type than its number says.
    #[error("proto: wrong wireType = {wire} for field {field}")]
    WireType {
        /// JSON name of the field.
        field: &'static str,
        /// The wire type found.
        wire: u8,
    },
    /// A string that is not UTF-8, or a raw object that is not JSON.
    #[error("field {0} does not hold text")]
    Text(&'static str),
    /// The envelope names a kind that this server does not have.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\"")]
    Kind {
        /// Group and version of the envelope.
        api_version: String,
        /// Kind of the envelope.
        kind: String,
    },
}

/// Reads a body of media type `application/vnd.kubernetes.protobuf`.
///
/// Clients written in Go write the zero of every field that was never set. A zero is kept only where it means something: where Go
/// holds a pointer, where the field is required, and in lists and maps.
///
/// # Errors
///
/// A body that is not such an envelope, or whose object does not fit its kind.
pub fn decode(body: &[u8]) -> Result<Decoded, Error> {
    let envelope = decode::envelope(body.strip_prefix(MAGIC).ok_or(Error::Prefix)?)?;
    let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
    let Some(message) = schema::message(group, version, &envelope.kind) else {
        return Err(Error::Kind { api_version: envelope.api_version, kind: envelope.kind });
    };
    let mut value = decode::message(message, envelope.raw)?;
    if !envelope.kind.is_empty() {
        value.insert("apiVersion".to_owned(), envelope.api_version.clone().into());
        value.insert("kind".to_owned(), envelope.kind.clone().into());
    }
    Ok(Decoded { api_version: envelope.api_version, kind: envelope.kind, value: Value::Object(value) })
}

#[cfg(test)]
mod tests;

//! How an object is kept: its JSON without `resourceVersion`, encoded once, so that every reader and watcher shares the bytes
//! and the revision is spliced in on the way out.
//!
//! A record is a little-endian `u32`, the place in the JSON just inside the braces of `metadata`, and the JSON.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;
use windlass_api::status::Status;
use windlass_storage::{Entry, Revision};

const HEADER_BYTES: usize = 4;

/// Encodes an object for the store; its `metadata.resourceVersion` is left out.
pub(crate) fn encode(object: &Value) -> Bytes {
    let mut out = vec![0; HEADER_BYTES];
    let mut splice = 0;
    out.push(b'{');
    for (index, (key, value)) in object.as_object().into_iter().flatten().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(&mut out, key);
        out.push(b':');
        match value {
            Value::Object(metadata) if key == "metadata" => {
                out.push(b'{');
                splice = out.len() - HEADER_BYTES;
                let kept = metadata.iter().filter(|(key, _)| *key != "resourceVersion");
                for (index, (key, value)) in kept.enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write(&mut out, key);
                    out.push(b':');
                    write(&mut out, value);
                }
                out.push(b'}');
            }
            value => write(&mut out, value),
        }
    }
    out.push(b'}');
    let splice = u32::try_from(splice).unwrap_or(0);
    out[..HEADER_BYTES].copy_from_slice(&splice.to_le_bytes());
    out.into()
}

fn write<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("JSON values with text keys always serialize into memory");
}

/// The stored JSON, still without `resourceVersion`.
pub(crate) fn stored(entry: &Entry) -> &[u8] {
    entry.value.get(HEADER_BYTES..).unwrap_or_default()
}

/// The JSON of a stored object, without its `resourceVersion`: for whoever looks into the store past the API, as a simulation does.
pub fn stored_json(entry: &Entry) -> &[u8] {
    stored(entry)
}

/// Appends the object as clients read it.
pub(crate) fn append_json(out: &mut BytesMut, entry: &Entry, revision: Revision) {
    let json = stored(entry);
    let splice = entry.value.first_chunk::<HEADER_BYTES>().map_or(0, |header| u32::from_le_bytes(*header) as usize);
    let (head, tail) = json.split_at_checked(splice).unwrap_or((json, &[]));
    out.put_slice(head);
    out.put_slice(b"\"resourceVersion\":\"");
    out.put_slice(revision.to_string().as_bytes());
    out.put_slice(if tail.first() == Some(&b'}') { b"\"" } else { b"\"," });
    out.put_slice(tail);
}

/// Decodes an object, `resourceVersion` included.
///
/// # Errors
/// 500 when what is stored is not an object, which only damage can cause.
pub(crate) fn decode_at(entry: &Entry, revision: Revision) -> Result<Value, Status> {
    let mut object: Value = serde_json::from_slice(stored(entry))
        .map_err(|error| Status::request(500, "InternalError", format!("Internal error occurred: {}: {error}", entry.key)))?;
    object["metadata"]["resourceVersion"] = revision.to_string().into();
    Ok(object)
}

/// Decodes an object as of its last write.
///
/// # Errors
/// As [`decode_at`].
pub(crate) fn decode(entry: &Entry) -> Result<Value, Status> {
    decode_at(entry, entry.mod_revision)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(object: &Value) -> Entry {
        Entry { key: "/k".into(), value: encode(object), create_revision: 3, mod_revision: 7 }
    }

    #[test]
    fn revision_is_spliced_into_metadata() {
        for object in [
            json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "resourceVersion": "1" }, "spec": {} }),
            json!({ "data": { "metadata": "{}" }, "metadata": {} }),
        ] {
            let entry = entry(&object);
            let mut expected = object.clone();
            expected["metadata"]["resourceVersion"] = "7".into();
            let mut json = BytesMut::new();
            append_json(&mut json, &entry, 7);
            assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), expected);
            assert_eq!(decode(&entry).unwrap(), expected);
        }
    }
}

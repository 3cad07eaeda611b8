//! `/openapi/v2` and `/openapi/v3`: the schemas that kubectl explains and applies by.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method,
    header::{ACCEPT, CACHE_CONTROL},
    request::Parts,
};
use windlass_api::{kind::KINDS, openapi};

use crate::{
    discovery::tagged,
    query::Query,
    reply::{self, Response},
};

/// Documents that were asked for; making one takes milliseconds, and who asks once asks again.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    made: Mutex<HashMap<String, Bytes>>,
}

impl Documents {
    /// Answers an OpenAPI path; `None` where the path is something else.
    pub(crate) fn answer(&self, parts: &Parts) -> Option<Response> {
        let path = parts.uri.path().trim_matches('/');
        let segments: Vec<&str> = path.split('/').collect();
        let document = match segments.as_slice() {
            ["openapi", "v2"] if wants_protobuf(parts) => self.keep("v2+protobuf", || Some(openapi::v2_protobuf(KINDS).into())),
            ["openapi", "v2"] => self.keep("v2", || json(Some(openapi::v2_json(KINDS)))),
            ["openapi", "v3"] => self.keep("v3", || json(Some(openapi::v3_index(KINDS)))),
            ["openapi", "v3", "api", version] => self.keep(path, || json(openapi::v3_document(KINDS, "", version))),
            ["openapi", "v3", "apis", group, version] => self.keep(path, || json(openapi::v3_document(KINDS, group, version))),
            _ => return None,
        };
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return Some(reply::no_such_method());
        }
        let Some(document) = document else { return Some(reply::no_such_path()) };
        let media = if path == "openapi/v2" && wants_protobuf(parts) { openapi::V2_PROTOBUF } else { "application/json" };
        let mut response = tagged(parts, document, media);
        if Query::parse(&parts.uri).is_ok_and(|query| query.get("hash").is_some()) {
            // The address names the content: it will never be another.
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Some(response)
    }

    fn keep(&self, name: &str, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        if let Some(document) = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Some(document.clone());
        }
        let document = make()?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), document.clone());
        Some(document)
    }
}

fn json(document: Option<serde_json::Value>) -> Option<Bytes> {
    document.map(|document| document.to_string().into())
}

/// Whether the client puts protobuf before JSON, as older ones do, which read nothing else.
fn wants_protobuf(parts: &Parts) -> bool {
    let ranges = parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for range in ranges.map(str::trim) {
        let media = range.split(';').next().unwrap_or_default();
        if openapi::V2_PROTOBUF_ACCEPTED.contains(&media) || media == openapi::V2_PROTOBUF {
            return true;
        }
        if media == "application/json" {
            return false;
        }
    }
    false
}

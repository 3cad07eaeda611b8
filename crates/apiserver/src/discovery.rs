//! `/api` and `/apis`: what is served, plain and all at once, with an ETag so that clients can keep it.

use bytes::Bytes;
use http::{
    HeaderValue, Method,
    header::{ACCEPT, ETAG, IF_NONE_MATCH, VARY},
    request::Parts,
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use windlass_api::discovery;

use crate::{
    path::Target,
    reply::{self, Response},
};

/// Answers a discovery path; `address` is where clients reach the server.
pub(crate) fn answer(target: &Target, parts: &Parts, address: &str) -> Response {
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return reply::no_such_method();
    }
    let aggregated = aggregated_version(parts);
    let document = match (target, aggregated) {
        (Target::CoreVersions, Some(version)) => Some(discovery::aggregated_core(version)),
        (Target::CoreVersions, None) => Some(discovery::api_versions(address)),
        (Target::Groups, Some(version)) => Some(discovery::aggregated_groups(version)),
        (Target::Groups, None) => Some(discovery::api_group_list()),
        (Target::Group(group), _) => discovery::api_group(group),
        (Target::Version { group, version }, _) => {
            let list = discovery::api_resource_list(group, version);
            return list.map_or_else(reply::no_such_path, |list| tagged(parts, text(&list), "application/json"));
        }
        _ => None,
    };
    let Some(document) = document else { return reply::no_such_path() };
    let aggregated = aggregated.filter(|_| matches!(target, Target::CoreVersions | Target::Groups));
    let media = match aggregated {
        Some("v2") => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        Some(_) => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        None => "application/json",
    };
    tagged(parts, text(&document), media)
}

fn text(document: &impl Serialize) -> Bytes {
    serde_json::to_vec(document).expect("a document of strings and lists is JSON").into()
}

/// The version of apidiscovery.k8s.io that the client prefers to many small requests.
fn aggregated_version(parts: &Parts) -> Option<&'static str> {
    let accepted =
        parts.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for range in accepted {
        let parameters: Vec<&str> = range.split(';').map(str::trim).collect();
        if !parameters.contains(&"as=APIGroupDiscoveryList") {
            if matches!(parameters.first(), Some(&"application/json")) {
                return None;
            }
            continue;
        }
        if parameters.first() != Some(&"application/json") {
            continue;
        }
        if parameters.contains(&"v=v2") {
            return Some("v2");
        }
        if parameters.contains(&"v=v2beta1") {
            return Some("v2beta1");
        }
    }
    None
}

/// The document, or 304 where the client has it.
pub(crate) fn tagged(parts: &Parts, body: Bytes, media: &'static str) -> Response {
    let digest = Sha256::digest(&body);
    let hex: String = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    let etag = format!("\"{hex}\"");
    let known = parts.headers.get(IF_NONE_MATCH).is_some_and(|own| own.as_bytes() == etag.as_bytes());
    let mut response = if known { reply::with_type(304, media, "".into()) } else { reply::with_type(200, media, body.into()) };
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, value);
    }
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    response
}

//! Content negotiation: what form the answer takes, and what form the body has.

use http::{
    HeaderMap,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
};
use windlass_api::status::Status;

use crate::query::Query;

/// Which projection of an object the client asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// The object itself.
    Whole,
    /// Rows for a person, in this version of meta.k8s.io.
    Table(&'static str),
    /// Metadata alone, in this version of meta.k8s.io.
    Metadata(&'static str),
}

/// How an answer is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// JSON, indented where a person reads it.
    Json { pretty: bool },
    /// YAML.
    Yaml,
}

/// Everything that the `Accept` header decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) view: View,
    pub(crate) media: Media,
}

/// How a body is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyMedia {
    Json,
    Yaml,
    Protobuf,
}

/// The kinds of patches, by their media type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchMedia {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// What this server writes.
const PRODUCED: &str = "application/json, application/yaml";
/// What this server reads.
const CONSUMED: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
/// The patches this server knows.
const PATCHES: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
                       application/apply-patch+yaml";

/// Chooses the first form of the `Accept` header that this server writes and whose view is offered here; without the header, JSON.
///
/// # Errors
/// 406 when there is none.
pub(crate) fn answer(headers: &HeaderMap, query: &Query, offered: impl Fn(View) -> bool) -> Result<Format, Status> {
    let pretty = Media::Json { pretty: wants_pretty(headers, query) };
    let mut named = false;
    for value in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for range in value.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            named = true;
            if let Some(format) = acceptable(range, pretty).filter(|format| offered(format.view)) {
                return Ok(format);
            }
        }
    }
    if named {
        let message = format!("only the following media types are accepted: {PRODUCED}");
        return Err(Status::request(406, "NotAcceptable", message));
    }
    Ok(Format { view: View::Whole, media: pretty })
}

fn acceptable(range: &str, json: Media) -> Option<Format> {
    let mut parts = range.split(';').map(str::trim);
    let media = match parts.next()? {
        "application/json" | "application/*" | "*/*" => json,
        "application/yaml" => Media::Yaml,
        _ => return None,
    };
    let (mut shape, mut group, mut version) = (None, None, None);
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        match name {
            "as" => shape = Some(value),
            "g" => group = Some(value),
            "v" => version = Some(value),
            _ => {}
        }
    }
    let view = match (shape, group, version) {
        (None, ..) => View::Whole,
        (Some("Table"), Some("meta.k8s.io"), Some("v1")) => View::Table("v1"),
        (Some("Table"), Some("meta.k8s.io"), Some("v1beta1")) => View::Table("v1beta1"),
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => View::Metadata("v1"),
        (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1beta1")) => {
            View::Metadata("v1beta1")
        }
        _ => return None,
    };
    Some(Format { view, media })
}

/// Upstream indents for whoever asks with `pretty`, and for curl, wget and browsers.
fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    if query.get("pretty").is_some() {
        return query.flag("pretty");
    }
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["curl", "Wget", "Mozilla/5.0"].iter().any(|prefix| agent.starts_with(prefix))
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

fn unsupported(accepted: &str) -> Status {
    let message = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::request(415, "UnsupportedMediaType", message)
}

/// The form of the body; JSON where the client does not say.
///
/// # Errors
/// 415 for anything else than JSON, YAML and protobuf.
pub(crate) fn body(headers: &HeaderMap) -> Result<BodyMedia, Status> {
    match content_type(headers) {
        "" | "application/json" => Ok(BodyMedia::Json),
        "application/yaml" => Ok(BodyMedia::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(BodyMedia::Protobuf),
        _ => Err(unsupported(CONSUMED)),
    }
}

/// The kind of patch.
///
/// # Errors
/// 415 for an unknown one.
pub(crate) fn patch(headers: &HeaderMap) -> Result<PatchMedia, Status> {
    match content_type(headers) {
        "application/json-patch+json" => Ok(PatchMedia::Json),
        "application/merge-patch+json" => Ok(PatchMedia::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchMedia::Strategic),
        "application/apply-patch+yaml" => Ok(PatchMedia::Apply),
        _ => Err(unsupported_patch()),
    }
}

/// 415: this kind of patch is not known here.
pub(crate) fn unsupported_patch() -> Status {
    unsupported(PATCHES)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(accept: &str, expect: Expect) {
        check_offered(accept, |_| true, expect);
    }

    fn check_offered(accept: &str, offered: impl Fn(View) -> bool, expect: Expect) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let found = match answer(&headers, &Query::default(), offered) {
            Ok(Format { view, media }) => format!("{view:?} {media:?}"),
            Err(status) => format!("{} {}", status.code, status.message),
        };
        expect.assert_eq(&found);
    }

    #[test]
    fn accept() {
        check("application/json", expect!["Whole Json { pretty: false }"]);
        check("*/*", expect!["Whole Json { pretty: false }"]);
        check("application/yaml", expect!["Whole Yaml"]);
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            expect![[r#"Table("v1") Json { pretty: false }"#]],
        );
        check("application/json;as=Table;v=v9;g=meta.k8s.io, application/json", expect!["Whole Json { pretty: false }"]);
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            expect![[r#"Metadata("v1") Json { pretty: false }"#]],
        );
        check("application/vnd.kubernetes.protobuf,application/json", expect!["Whole Json { pretty: false }"]);
        check_offered(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/yaml",
            |view| view == View::Whole,
            expect!["Whole Yaml"],
        );
        check(
            "application/vnd.kubernetes.protobuf",
            expect!["406 only the following media types are accepted: application/json, application/yaml"],
        );
    }
}

//! OpenAPI v2 and v3 of what is served, made from the table of kinds and the table of facts when somebody asks.
//!
//! Clients read here which fields a kind has (`kubectl explain`), how lists merge (`kubectl apply`), and whether a kind can be
//! validated and dry-run by the server. Making a document takes milliseconds and megabytes: callers keep what they got.

mod descriptions;
mod gnostic;
mod models;
mod paths;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::discovery::{POSTED, Posted};
use crate::kind::Kind;

/// Media types by which clients ask for [`v2_protobuf`]; kubectl before 1.27 says the second, which is not a well-formed type.
pub const V2_PROTOBUF_ACCEPTED: [&str; 2] = [V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"];

/// Media type of [`v2_protobuf`] in the answer, whichever was asked for: older clients fail to parse an `@` there.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// Version of Kubernetes whose API this is.
const VERSION: &str = "v1.36.0";

/// In which of the two languages a document is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Swagger 2.0: `#/definitions/…`
    V2,
    /// OpenAPI 3.0: `#/components/schemas/…`
    V3,
}

impl Dialect {
    fn reference(self, model: &str) -> Value {
        match self {
            Self::V2 => json!({ "$ref": format!("#/definitions/{model}") }),
            Self::V3 => json!({ "$ref": format!("#/components/schemas/{model}") }),
        }
    }
}

/// What one document is about.
#[derive(Debug)]
struct Served<'a> {
    kinds: Vec<&'a Kind>,
    /// Beside the kinds, what is only posted.
    posted: Vec<&'a Posted>,
    /// All groups and versions of the server, whichever the document is about.
    groups: Vec<(&'a str, &'a str)>,
}

impl<'a> Served<'a> {
    /// Everything, or one group and version.
    fn of(kinds: &'a [Kind], only: Option<(&str, &str)>) -> Self {
        let wanted = |group: &str, version: &str| only.is_none_or(|only| only == (group, version));
        let mut groups: Vec<(&str, &str)> = kinds.iter().map(|kind| (kind.group, kind.version)).collect();
        groups.extend(POSTED.iter().map(|posted| (posted.group, posted.version)));
        groups.sort_unstable();
        groups.dedup();
        Self {
            kinds: kinds.iter().filter(|kind| wanted(kind.group, kind.version)).collect(),
            posted: POSTED.iter().filter(|posted| wanted(posted.group, posted.version)).collect(),
            groups,
        }
    }
}

/// `/openapi/v2` as JSON: all groups in one document.
pub fn v2_json(kinds: &[Kind]) -> Value {
    let served = Served::of(kinds, None);
    json!({
        "swagger": "2.0",
        "info": { "title": "Kubernetes", "version": VERSION },
        "paths": paths::all(&served, Dialect::V2),
        "definitions": models::all(&served, Dialect::V2),
        "security": [{ "BearerToken": [] }],
        "securityDefinitions": {
            "BearerToken": { "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication" },
        },
    })
}

/// `/openapi/v2` as [`V2_PROTOBUF`], which is all that older clients read.
pub fn v2_protobuf(kinds: &[Kind]) -> Vec<u8> {
    gnostic::encode(&v2_json(kinds))
}

/// `/openapi/v3`: where the document of each group and version is, under an address that changes when its content does.
pub fn v3_index(kinds: &[Kind]) -> Value {
    let served = Served::of(kinds, None);
    let paths: Map<String, Value> = served
        .groups
        .iter()
        .map(|(group, version)| {
            let root = root(group, version);
            let url = format!("/openapi/v3/{root}?hash={}", content_hash(&served, group, version));
            (root, json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
}

/// `/openapi/v3/api/v1`, `/openapi/v3/apis/apps/v1`: one group and version; `None` when nothing is served there.
pub fn v3_document(kinds: &[Kind], group: &str, version: &str) -> Option<Value> {
    let served = Served::of(kinds, Some((group, version)));
    if served.kinds.is_empty() && served.posted.is_empty() {
        return None;
    }
    Some(json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": VERSION },
        "paths": paths::all(&served, Dialect::V3),
        "components": {
            "schemas": models::all(&served, Dialect::V3),
            "securitySchemes": {
                "BearerToken": {
                    "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication",
                },
            },
        },
    }))
}

/// The documents follow from these texts and the kinds served, so their hash stands for the content without making it: clients
/// keep documents on disk by this hash, over versions of this server.
const SOURCES: &[&str] = &[
    env!("CARGO_PKG_VERSION"),
    include_str!("schema/facts.txt"),
    include_str!("openapi.rs"),
    include_str!("openapi/descriptions.rs"),
    include_str!("openapi/models.rs"),
    include_str!("openapi/paths.rs"),
];

fn content_hash(served: &Served<'_>, group: &str, version: &str) -> String {
    let mut digest = Sha256::new();
    for source in SOURCES {
        digest.update(source);
    }
    digest.update(format!("{group}/{version}"));
    for posted in &served.posted {
        digest.update(format!("{} {} {}", posted.group, posted.kind, posted.plural));
    }
    for kind in &served.kinds {
        digest.update(format!("{} {} {} {:?} {:?}", kind.group, kind.kind, kind.plural, kind.verbs, kind.subresources));
    }
    digest.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// `api/v1`, `apis/apps/v1`.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

#[cfg(test)]
mod tests;

//! What the server says it serves: the documents at `/api` and `/apis`, plain and aggregated, made from the table of kinds.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::kind::{KINDS, Kind, Subresource};

/// A resource that is only ever posted: the answer is the object, and nothing is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posted {
    /// API group, empty for core.
    pub group: &'static str,
    /// Version.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Lower-case plural.
    pub plural: &'static str,
    /// Lower-case singular.
    pub singular: &'static str,
    /// Whether it is posted to a namespace.
    pub namespaced: bool,
}

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Resources beside the table of kinds, as they have no objects.
pub const POSTED: &[Posted] = &[
    posted("", "Binding", "bindings", "binding", true),
    posted(AUTHENTICATION, "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview", false),
    posted(AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview", false),
    posted(AUTHORIZATION, "LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview", true),
    posted(AUTHORIZATION, "SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview", false),
    posted(AUTHORIZATION, "SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview", false),
    posted(AUTHORIZATION, "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview", false),
];

const fn posted(
    group: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    namespaced: bool,
) -> Posted {
    Posted { group, version: "v1", kind, plural, singular, namespaced }
}

/// `/api`; `server_address` is `HOST:PORT` as clients reach it.
pub fn api_versions(server_address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server_address }],
    })
}

/// `/apis`
pub fn api_group_list() -> Value {
    let groups: Vec<Value> = groups().into_iter().map(describe_group).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
}

/// `/apis/GROUP`
pub fn api_group(group: &str) -> Option<Value> {
    let group = groups().into_iter().find(|other| *other == group)?;
    let mut document = describe_group(group);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

/// The document at `/apis/GROUP/VERSION`. Scripts search its text, so its keys, and those of a resource, are in upstream's order.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiResourceList {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    group_version: String,
    resources: Vec<ApiResource>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource {
    name: String,
    singular_name: &'static str,
    namespaced: bool,
    /// Where the body is of another group than the list.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    kind: &'static str,
    verbs: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    short_names: &'static [&'static str],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    categories: &'static [&'static str],
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_version_hash: Option<String>,
}

/// `/apis/GROUP/VERSION`, or `/api/v1` where the group is empty.
pub fn api_resource_list(group: &str, version: &str) -> Option<ApiResourceList> {
    let kinds = KINDS.iter().filter(|kind| kind.group == group && kind.version == version);
    let posted = POSTED.iter().filter(|posted| posted.group == group && posted.version == version);
    let mut resources: Vec<ApiResource> = posted.map(plain_posted).chain(kinds.flat_map(plain)).collect();
    if resources.is_empty() {
        return None;
    }
    resources.sort_by(|one, other| one.name.cmp(&other.name));
    // The core group's document is older than its `apiVersion` field, and never got one.
    let (api_version, group_version) =
        if group.is_empty() { (None, version.to_owned()) } else { (Some("v1"), format!("{group}/{version}")) };
    Some(ApiResourceList { kind: "APIResourceList", api_version, group_version, resources })
}

/// `/api` for clients that ask for all of it at once; `version` is that of apidiscovery.k8s.io, `v2` or `v2beta1`.
pub fn aggregated_core(version: &str) -> Value {
    aggregated(version, &[""])
}

/// `/apis` for clients that ask for all of it at once; `version` is that of apidiscovery.k8s.io, `v2` or `v2beta1`.
pub fn aggregated_groups(version: &str) -> Value {
    aggregated(version, &groups())
}

/// Groups other than core, in the order of the table; those without kinds come last.
fn groups() -> Vec<&'static str> {
    let named = KINDS.iter().map(|kind| kind.group).chain(POSTED.iter().map(|posted| posted.group));
    let mut groups = Vec::new();
    for group in named.filter(|group| !group.is_empty()) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    groups
}

/// The versions of a group in the order of the table, the preferred one first.
fn versions(group: &str) -> Vec<&'static str> {
    let kinds = KINDS.iter().filter(|kind| kind.group == group).map(|kind| kind.version);
    let posted = POSTED.iter().filter(|posted| posted.group == group).map(|posted| posted.version);
    let mut versions = Vec::new();
    for version in kinds.chain(posted) {
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    versions
}

fn describe_group(group: &str) -> Value {
    let describe = |version: &str| json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    let versions: Vec<Value> = versions(group).into_iter().map(describe).collect();
    json!({ "name": group, "preferredVersion": versions.first(), "versions": versions })
}

fn plain_posted(posted: &Posted) -> ApiResource {
    ApiResource {
        name: posted.plural.to_owned(),
        singular_name: posted.singular,
        namespaced: posted.namespaced,
        group: None,
        version: None,
        kind: posted.kind,
        verbs: &["create"],
        short_names: &[],
        categories: &[],
        storage_version_hash: None,
    }
}

/// The APIResource of a kind, and one for each of its subresources.
fn plain(kind: &Kind) -> Vec<ApiResource> {
    let own = ApiResource {
        name: kind.plural.to_owned(),
        singular_name: kind.singular,
        namespaced: kind.namespaced,
        group: None,
        version: None,
        kind: kind.kind,
        verbs: kind.verbs,
        short_names: kind.short_names,
        categories: kind.categories,
        storage_version_hash: Some(storage_version_hash(kind)),
    };
    std::iter::once(own).chain(kind.subresources.iter().map(|subresource| plain_subresource(kind, *subresource))).collect()
}

fn plain_subresource(kind: &Kind, subresource: Subresource) -> ApiResource {
    let (group, version, body) = subresource.body().unwrap_or((kind.group, kind.version, kind.kind));
    let elsewhere = (group, version) != (kind.group, kind.version);
    ApiResource {
        name: format!("{}/{}", kind.plural, subresource.name()),
        singular_name: "",
        namespaced: kind.namespaced,
        group: elsewhere.then_some(group),
        version: elsewhere.then_some(version),
        kind: body,
        verbs: subresource.verbs(),
        short_names: &[],
        categories: &[],
        storage_version_hash: None,
    }
}

fn add_names(resource: &mut Value, kind: &Kind) {
    for (key, names) in [("shortNames", kind.short_names), ("categories", kind.categories)] {
        if !names.is_empty() {
            resource[key] = json!(names);
        }
    }
}

/// What upstream lets clients notice a change of the stored version by.
fn storage_version_hash(kind: &Kind) -> String {
    let stored = kind.stored_kind();
    let digest = Sha256::digest(format!("{}/{}/{}", stored.group, stored.version, stored.kind));
    STANDARD.encode(&digest[..8])
}

fn aggregated(version: &str, groups: &[&str]) -> Value {
    let items: Vec<Value> = groups.iter().map(|group| aggregated_group(group)).collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {}, "items": items,
    })
}

fn aggregated_group(group: &str) -> Value {
    let mut metadata = json!({ "creationTimestamp": null });
    if !group.is_empty() {
        metadata["name"] = group.into();
    }
    let versions: Vec<Value> = versions(group).into_iter().map(|version| aggregated_version(group, version)).collect();
    json!({ "metadata": metadata, "versions": versions })
}

fn aggregated_version(group: &str, version: &str) -> Value {
    let kinds = KINDS.iter().filter(|kind| (kind.group, kind.version) == (group, version)).map(aggregated_kind);
    let posted = POSTED.iter().filter(|posted| (posted.group, posted.version) == (group, version)).map(aggregated_posted);
    let mut resources: Vec<Value> = posted.chain(kinds).collect();
    resources.sort_by_key(|resource| resource["resource"].as_str().map(str::to_owned));
    json!({ "version": version, "resources": resources, "freshness": "Current" })
}

fn aggregated_kind(kind: &Kind) -> Value {
    let mut resource = aggregated_resource(kind.plural, kind.singular, kind.namespaced, kind.verbs);
    resource["responseKind"] = response_kind(kind.group, kind.version, kind.kind);
    add_names(&mut resource, kind);
    let below: Vec<Value> = kind.subresources.iter().map(|subresource| aggregated_subresource(kind, *subresource)).collect();
    if !below.is_empty() {
        resource["subresources"] = below.into();
    }
    resource
}

fn aggregated_posted(posted: &Posted) -> Value {
    let mut resource = aggregated_resource(posted.plural, posted.singular, posted.namespaced, &["create"]);
    resource["responseKind"] = response_kind(posted.group, posted.version, posted.kind);
    resource
}

fn aggregated_resource(plural: &str, singular: &str, namespaced: bool, verbs: &[&str]) -> Value {
    let scope = if namespaced { "Namespaced" } else { "Cluster" };
    json!({ "resource": plural, "scope": scope, "singularResource": singular, "verbs": verbs })
}

fn aggregated_subresource(kind: &Kind, subresource: Subresource) -> Value {
    let (group, version, body) = subresource.body().unwrap_or((kind.group, kind.version, kind.kind));
    json!({
        "subresource": subresource.name(), "responseKind": response_kind(group, version, body), "verbs": subresource.verbs(),
    })
}

fn response_kind(group: &str, version: &str, kind: &str) -> Value {
    let fields = [("group", group), ("version", version), ("kind", kind)];
    Value::Object(fields.into_iter().map(|(key, text)| (key.to_owned(), text.into())).collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests;

//! What the server says it serves: the documents at `/api` and `/apis`, plain and aggregated, made from the table of kinds.

use base64::{Engine, engine::general_purpose::STANDARD};
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

/// `/apis/GROUP/VERSION`, or `/api/v1` where the group is empty.
pub fn api_resource_list(group: &str, version: &str) -> Option<Value> {
    let kinds = KINDS.iter().filter(|kind| kind.group == group && kind.version == version);
    let posted = POSTED.iter().filter(|posted| posted.group == group && posted.version == version);
    let mut resources: Vec<Value> = posted.map(plain_posted).chain(kinds.flat_map(plain)).collect();
    if resources.is_empty() {
        return None;
    }
    resources.sort_by_key(|resource| resource["name"].as_str().map(str::to_owned));
    if group.is_empty() {
        // The core group's document is older than its `apiVersion` field, and never got one.
        return Some(json!({ "kind": "APIResourceList", "groupVersion": version, "resources": resources }));
    }
    let group_version = format!("{group}/{version}");
    Some(json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources }))
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

fn plain_posted(posted: &Posted) -> Value {
    let Posted { kind, plural, singular, namespaced, .. } = posted;
    json!({ "name": plural, "singularName": singular, "namespaced": namespaced, "kind": kind, "verbs": ["create"] })
}

/// The APIResource of a kind, and one for each of its subresources.
fn plain(kind: &Kind) -> Vec<Value> {
    let mut own = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": kind.verbs, "storageVersionHash": storage_version_hash(kind),
    });
    add_names(&mut own, kind);
    let below = kind.subresources.iter().map(|subresource| {
        let name = format!("{}/{}", kind.plural, subresource.name());
        let mut resource = json!({
            "name": name, "singularName": "", "namespaced": kind.namespaced, "kind": kind.kind, "verbs": subresource.verbs(),
        });
        if let Some((group, version, body)) = subresource.body() {
            resource["kind"] = body.into();
            if (group, version) != (kind.group, kind.version) {
                resource["group"] = group.into();
                resource["version"] = version.into();
            }
        }
        resource
    });
    std::iter::once(own).chain(below).collect()
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

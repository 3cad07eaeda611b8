//! Every path and verb, with the parameters by which clients see what the server can do.

use serde_json::{Map, Value, json};

use super::{Dialect, Served, models, root};
use crate::discovery::Posted;
use crate::kind::{Kind, Subresource};

/// The paths of what is served.
pub(super) fn all(served: &Served<'_>, dialect: Dialect) -> Value {
    let mut paths = Map::new();
    for kind in &served.kinds {
        let mut writer = Writer { group: kind.group, version: kind.version, dialect, paths: &mut paths };
        writer.kind(kind);
    }
    for posted in &served.posted {
        let mut writer = Writer { group: posted.group, version: posted.version, dialect, paths: &mut paths };
        writer.posted(posted);
    }
    Value::Object(paths)
}

struct Writer<'a> {
    group: &'static str,
    version: &'static str,
    dialect: Dialect,
    paths: &'a mut Map<String, Value>,
}

/// What a verb does in OpenAPI's terms.
struct Verb {
    /// HTTP method, lower case.
    method: &'static str,
    /// Verb that opens the operation's id.
    id: &'static str,
    /// `x-kubernetes-action`
    action: &'static str,
    parameters: &'static [Parameter],
}

/// Group, version and kind.
type Gvk<'a> = (&'a str, &'a str, &'a str);

/// A query parameter: its name, its type and what it is for.
type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter =
    ("dryRun", "string", "With the value All, nothing is stored: every stage before that is gone through.");
const FIELD_MANAGER: Parameter = ("fieldManager", "string", "Name of whoever makes the change, for metadata.managedFields.");
const FIELD_VALIDATION: Parameter =
    ("fieldValidation", "string", "What to do about unknown and duplicate fields: Ignore, Warn or Strict.");
const FORCE: Parameter = ("force", "boolean", "With an apply patch: take fields that others own.");
const GRACE_PERIOD: Parameter = ("gracePeriodSeconds", "integer", "Seconds before the object is gone; 0 is at once.");
const PROPAGATION: Parameter = ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground.");
const ORPHAN: Parameter = ("orphanDependents", "boolean", "Whether dependents stay; propagationPolicy replaces it.");
const LABELS: Parameter = ("labelSelector", "string", "Only objects whose labels match.");
const FIELDS: Parameter = ("fieldSelector", "string", "Only objects whose fields match.");
const LIMIT: Parameter = ("limit", "integer", "The most objects in the list of returned ones.");
const CONTINUE: Parameter = ("continue", "string", "Token of the answer that this one continues.");
const RESOURCE_VERSION: Parameter = ("resourceVersion", "string", "Which revision to read.");
const VERSION_MATCH: Parameter = ("resourceVersionMatch", "string", "How resourceVersion counts: Exact or NotOlderThan.");
const INITIAL_EVENTS: Parameter = ("sendInitialEvents", "boolean", "With watch: what there is already comes first, as events.");
const TIMEOUT: Parameter = ("timeoutSeconds", "integer", "When the server ends a list or a watch.");
const WATCH: Parameter = ("watch", "boolean", "Watch for changes to the described resources instead of listing them.");
const BOOKMARKS: Parameter =
    ("allowWatchBookmarks", "boolean", "With watch: events that only carry a resourceVersion are welcome.");

const LIST_PARAMETERS: &[Parameter] =
    &[BOOKMARKS, CONTINUE, FIELDS, LABELS, LIMIT, RESOURCE_VERSION, VERSION_MATCH, INITIAL_EVENTS, TIMEOUT, WATCH];
const DELETE_PARAMETERS: &[Parameter] = &[DRY_RUN, GRACE_PERIOD, ORPHAN, PROPAGATION];
const WRITE_PARAMETERS: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];

const GET: Verb = Verb { method: "get", id: "read", action: "get", parameters: &[] };
const LIST: Verb = Verb { method: "get", id: "list", action: "list", parameters: LIST_PARAMETERS };
const CREATE: Verb = Verb { method: "post", id: "create", action: "post", parameters: WRITE_PARAMETERS };
const REPLACE: Verb = Verb { method: "put", id: "replace", action: "put", parameters: WRITE_PARAMETERS };
const PATCH: Verb =
    Verb { method: "patch", id: "patch", action: "patch", parameters: &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION, FORCE] };
const DELETE: Verb = Verb { method: "delete", id: "delete", action: "delete", parameters: DELETE_PARAMETERS };
const DELETE_COLLECTION: Verb = Verb {
    method: "delete",
    id: "deleteCollection",
    action: "deletecollection",
    parameters: &[CONTINUE, DRY_RUN, FIELDS, GRACE_PERIOD, LABELS, LIMIT, ORPHAN, PROPAGATION, RESOURCE_VERSION, VERSION_MATCH],
};
const CONNECT: Verb = Verb { method: "get", id: "connect", action: "connect", parameters: &[] };

/// What a body is of, or an answer.
#[derive(Clone)]
enum Body {
    Nothing,
    Text,
    Model(String),
    Patch,
}

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PATCHES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

impl Writer<'_> {
    fn posted(&mut self, posted: &Posted) {
        let Some(model) = models::of_kind(posted.group, posted.version, posted.kind) else { return };
        let (namespace, scope) = if posted.namespaced { ("/namespaces/{namespace}", "Namespaced") } else { ("", "") };
        let path = format!("/{}{namespace}/{}", root(posted.group, posted.version), posted.plural);
        let name = format!("{scope}{}", posted.kind);
        let gvk = (posted.group, posted.version, posted.kind);
        self.operation(&path, &CREATE, &name, gvk, Body::Model(model.clone()), Body::Model(model));
    }

    fn kind(&mut self, kind: &Kind) {
        let Some(model) = models::of_kind(kind.group, kind.version, kind.kind) else { return };
        let list = format!("{model}List");
        let own = (kind.group, kind.version, kind.kind);
        let namespace = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let root = format!("/{}", root(kind.group, kind.version));
        let collection = format!("{root}{namespace}/{}", kind.plural);
        let item = format!("{collection}/{{name}}");
        let scope = if kind.namespaced { "Namespaced" } else { "" };
        if kind.namespaced && kind.verbs.contains(&"list") {
            let everywhere = format!("{root}/{}", kind.plural);
            let name = format!("{}ForAllNamespaces", kind.kind);
            self.operation(&everywhere, &LIST, &name, own, Body::Nothing, Body::Model(list.clone()));
        }
        let name = format!("{scope}{}", kind.kind);
        let object = || Body::Model(model.clone());
        let status = || Body::Model(STATUS.to_owned());
        let options = || Body::Model(DELETE_OPTIONS.to_owned());
        for verb in kind.verbs {
            match *verb {
                "list" => self.operation(&collection, &LIST, &name, own, Body::Nothing, Body::Model(list.clone())),
                "create" => self.operation(&collection, &CREATE, &name, own, object(), object()),
                "deletecollection" => self.operation(&collection, &DELETE_COLLECTION, &name, own, options(), status()),
                "get" => self.operation(&item, &GET, &name, own, Body::Nothing, object()),
                "update" => self.operation(&item, &REPLACE, &name, own, object(), object()),
                "patch" => self.operation(&item, &PATCH, &name, own, Body::Patch, object()),
                "delete" => self.operation(&item, &DELETE, &name, own, options(), status()),
                // A watch is a list with a parameter.
                _ => {}
            }
        }
        for subresource in kind.subresources {
            self.subresource(&item, &name, *subresource, own);
        }
    }

    fn subresource(&mut self, item: &str, name: &str, subresource: Subresource, own: Gvk<'_>) {
        let gvk = models::of_subresource(subresource).unwrap_or(own);
        let Some(model) = models::of_kind(gvk.0, gvk.1, gvk.2) else { return };
        let (segment, suffix) = names(subresource);
        let path = format!("{item}/{segment}");
        let name = format!("{name}{suffix}");
        let object = || Body::Model(model.clone());
        match subresource {
            Subresource::Status | Subresource::Scale | Subresource::EphemeralContainers | Subresource::Resize => {
                self.operation(&path, &GET, &name, gvk, Body::Nothing, object());
                self.operation(&path, &REPLACE, &name, gvk, object(), object());
                self.operation(&path, &PATCH, &name, gvk, Body::Patch, object());
            }
            Subresource::Finalize => self.operation(&path, &REPLACE, &name, gvk, object(), object()),
            Subresource::Binding | Subresource::Eviction | Subresource::Token => {
                self.operation(&path, &CREATE, &name, gvk, object(), object());
            }
            Subresource::Log => self.operation(&path, &GET, &name, gvk, Body::Nothing, Body::Text),
            Subresource::Exec | Subresource::Attach | Subresource::PortForward | Subresource::Proxy(_) => {
                self.operation(&path, &CONNECT, &name, gvk, Body::Nothing, Body::Text);
            }
        }
    }

    fn operation(&mut self, path: &str, verb: &Verb, name: &str, gvk: Gvk<'_>, body: Body, answer: Body) {
        let mut parameters: Vec<Value> = verb.parameters.iter().map(|parameter| self.query(*parameter)).collect();
        let mut operation = json!({
            "description": format!("{} {}", verb.action, gvk.2),
            "operationId": format!("{}{}{}{name}", verb.id, camel_group(self.group), camel(self.version)),
            "tags": [format!("{}_{}", snake_group(self.group), self.version)],
            "x-kubernetes-action": verb.action,
            "x-kubernetes-group-version-kind": { "group": gvk.0, "kind": gvk.2, "version": gvk.1 },
        });
        self.put_body(&mut operation, &mut parameters, &body);
        self.put_answer(&mut operation, &answer);
        put_parameters(&mut operation, parameters);
        let places: Vec<Value> = ["name", "namespace"]
            .into_iter()
            .filter(|name| path.contains(&format!("{{{name}}}")))
            .map(|name| self.place(name))
            .collect();
        let entry = self.paths.entry(path).or_insert_with(|| {
            let mut item = json!({});
            put_parameters(&mut item, places);
            item
        });
        entry[verb.method] = operation;
    }

    fn query(&self, (name, kind, description): Parameter) -> Value {
        match self.dialect {
            Dialect::V2 => json!({ "name": name, "in": "query", "type": kind, "uniqueItems": true, "description": description }),
            Dialect::V3 => {
                json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true }, "description": description })
            }
        }
    }

    fn place(&self, name: &str) -> Value {
        let description = if name == "name" { "Name of the object." } else { "Namespace of the object." };
        match self.dialect {
            Dialect::V2 => json!({
                "name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true, "description": description,
            }),
            Dialect::V3 => json!({
                "name": name, "in": "path", "required": true, "schema": { "type": "string", "uniqueItems": true },
                "description": description,
            }),
        }
    }

    fn put_body(&self, operation: &mut Value, parameters: &mut Vec<Value>, body: &Body) {
        let (types, schema): (&[&str], Value) = match body {
            Body::Nothing | Body::Text => return,
            Body::Patch => (PATCHES, json!({ "type": "object" })),
            Body::Model(model) => (&["*/*"], self.dialect.reference(model)),
        };
        match self.dialect {
            Dialect::V2 => {
                operation["consumes"] = types.into();
                parameters.push(json!({ "name": "body", "in": "body", "required": true, "schema": schema }));
            }
            Dialect::V3 => {
                let content: Map<String, Value> =
                    types.iter().map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema }))).collect();
                operation["requestBody"] = json!({ "content": content });
            }
        }
    }

    fn put_answer(&self, operation: &mut Value, answer: &Body) {
        let (types, schema): (&[&str], Value) = match answer {
            Body::Nothing | Body::Patch => (&[], Value::Null),
            Body::Text => (&["text/plain"], json!({ "type": "string" })),
            Body::Model(model) => (&[JSON, YAML], self.dialect.reference(model)),
        };
        let ok = match self.dialect {
            Dialect::V2 => {
                operation["produces"] = types.into();
                json!({ "description": "OK", "schema": schema })
            }
            Dialect::V3 => {
                let content: Map<String, Value> =
                    types.iter().map(|media_type| ((*media_type).to_owned(), json!({ "schema": schema }))).collect();
                json!({ "description": "OK", "content": content })
            }
        };
        operation["responses"] = json!({ "200": ok, "401": { "description": "Unauthorized" } });
    }
}

/// Clients that read a document and write it down leave an empty list out; what they write must be what they read.
fn put_parameters(of: &mut Value, parameters: Vec<Value>) {
    if !parameters.is_empty() {
        of["parameters"] = parameters.into();
    }
}

/// Path segment, and how it ends an operation's id.
fn names(subresource: Subresource) -> (&'static str, &'static str) {
    match subresource {
        Subresource::Status => ("status", "Status"),
        Subresource::Scale => ("scale", "Scale"),
        Subresource::Log => ("log", "Log"),
        Subresource::Binding => ("binding", "Binding"),
        Subresource::Eviction => ("eviction", "Eviction"),
        Subresource::EphemeralContainers => ("ephemeralcontainers", "Ephemeralcontainers"),
        Subresource::Resize => ("resize", "Resize"),
        Subresource::Exec => ("exec", "Exec"),
        Subresource::Attach => ("attach", "Attach"),
        Subresource::PortForward => ("portforward", "Portforward"),
        Subresource::Proxy(_) => ("proxy", "Proxy"),
        Subresource::Finalize => ("finalize", "Finalize"),
        Subresource::Token => ("token", "Token"),
    }
}

fn camel(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

/// `Core`, `Apps`, `RbacAuthorization`.
fn camel_group(group: &str) -> String {
    if group.is_empty() { "Core".to_owned() } else { group.trim_end_matches(".k8s.io").split('.').map(camel).collect() }
}

/// `core`, `apps`, `rbacAuthorization`.
fn snake_group(group: &str) -> String {
    let camel = camel_group(group);
    let mut letters = camel.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

//! `Status`, the answer to a request that failed (or that had no object to return), with upstream's texts.

use serde_json::{Value, json};

use crate::validation::FieldError;

/// A failed request: becomes the body and the HTTP code of the answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`; empty where upstream has none.
    pub reason: &'static str,
    /// What a person reads; kubectl prints it after `Error from server (Reason): `.
    pub message: String,
    /// `details` as clients read it: name, group, kind, causes, retryAfterSeconds.
    pub details: Option<Value>,
}

/// The resource that a message is about: group (empty for core) and plural, printed as `deployments.apps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resource<'a> {
    /// API group, empty for core.
    pub group: &'a str,
    /// Lower-case plural.
    pub plural: &'a str,
}

impl std::fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.group.is_empty() { f.write_str(self.plural) } else { write!(f, "{}.{}", self.plural, self.group) }
    }
}

impl Status {
    fn about(code: u16, reason: &'static str, resource: Resource<'_>, name: &str, message: String) -> Self {
        let mut details = json!({ "name": name, "kind": resource.plural });
        if !resource.group.is_empty() {
            details["group"] = resource.group.into();
        }
        Self { code, reason, message, details: Some(details) }
    }

    /// 404: the object does not exist.
    pub fn not_found(resource: Resource<'_>, name: &str) -> Self {
        Self::about(404, "NotFound", resource, name, format!("{resource} \"{name}\" not found"))
    }

    /// 409: an object of that name exists.
    pub fn already_exists(resource: Resource<'_>, name: &str) -> Self {
        Self::about(409, "AlreadyExists", resource, name, format!("{resource} \"{name}\" already exists"))
    }

    /// 409: the write was based on an older revision, or a precondition did not hold.
    pub fn conflict(resource: Resource<'_>, name: &str, why: &str) -> Self {
        Self::about(409, "Conflict", resource, name, format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"))
    }

    /// 403: understood and refused.
    pub fn forbidden(resource: Resource<'_>, name: &str, why: &str) -> Self {
        Self::about(403, "Forbidden", resource, name, format!("{resource} \"{name}\" is forbidden: {why}"))
    }

    /// 422: the object breaks the rules of its kind; `details.kind` is the Kind, not the plural.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let list = match errors {
            [] => String::new(),
            [one] => one.to_string(),
            many => format!("[{}]", many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({ "reason": error.cause.reason(), "message": error.body(), "field": error.field }))
            .collect();
        let mut details = json!({ "name": name, "kind": kind, "causes": causes });
        if !group.is_empty() {
            details["group"] = group.into();
        }
        let message = format!("{qualified} \"{name}\" is invalid: {list}");
        Self { code: 422, reason: "Invalid", message, details: Some(details) }
    }

    /// An answer about the request rather than about an object.
    pub fn request(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// The body of the answer.
    pub fn to_value(&self) -> Value {
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            body["reason"] = self.reason.into();
        }
        if let Some(details) = &self.details {
            body["details"] = details.clone();
        }
        body
    }
}

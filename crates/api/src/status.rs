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
        Self { code, reason, message, details: Some(details(name, resource.group, resource.plural)) }
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
        let mut texts: Vec<String> = Vec::new();
        for text in errors.iter().map(ToString::to_string) {
            // Two rules may find the same mistake; it is told once.
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let list = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let causes: Vec<Value> = errors
            .iter()
            .map(|error| json!({ "reason": error.cause.reason(), "message": error.body(), "field": error.field }))
            .collect();
        let mut details = details(name, group, kind);
        details["causes"] = causes.into();
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

/// What an answer is about; names that are empty are left out.
fn details(name: &str, group: &str, kind: &str) -> Value {
    let fields = [("name", name), ("group", group), ("kind", kind)];
    fields.into_iter().filter(|(_, text)| !text.is_empty()).map(|(key, text)| (key.to_owned(), Value::from(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::Cause;

    const DEPLOYMENTS: Resource<'_> = Resource { group: "apps", plural: "deployments" };

    fn required(field: &str) -> FieldError {
        FieldError { cause: Cause::Required, field: field.to_owned(), bad_value: Value::Null, detail: String::new() }
    }

    #[test]
    fn messages() {
        assert_eq!(Status::not_found(DEPLOYMENTS, "web").message, "deployments.apps \"web\" not found");
        let errors = [required("spec.selector"), required("spec.selector")];
        assert_eq!(
            Status::invalid("apps", "Deployment", "web", &errors).message,
            "Deployment.apps \"web\" is invalid: spec.selector: Required value"
        );
        let errors = [required("a"), required("b")];
        assert_eq!(
            Status::invalid("", "Pod", "", &errors).message,
            "Pod \"\" is invalid: [a: Required value, b: Required value]"
        );
    }

    #[test]
    fn body() {
        assert_eq!(
            Status::not_found(DEPLOYMENTS, "web").to_value(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
                "message": "deployments.apps \"web\" not found",
                "details": { "name": "web", "group": "apps", "kind": "deployments" },
            })
        );
        let pods = Resource { group: "", plural: "pods" };
        assert_eq!(Status::not_found(pods, "").details, Some(json!({ "kind": "pods" })));
        let invalid = Status::invalid("", "Pod", "web", &[required("spec")]).details.unwrap();
        assert_eq!(invalid["causes"], json!([{ "reason": "FieldValueRequired", "message": "Required value", "field": "spec" }]));
    }
}

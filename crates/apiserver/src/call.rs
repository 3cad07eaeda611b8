//! One request to a resource, resolved: whose, to what, in which form.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use http::{HeaderMap, HeaderValue, header::USER_AGENT};
use jiff::Timestamp;
use serde_json::Value;
use windlass_api::{columns::IncludeObject, kind::Kind, status::Status};
use windlass_storage::Entry;

use crate::{
    authn::User,
    negotiate::Format,
    query::{Query, bad_request},
    registry::view::Projection,
    reply::{self, Response},
    server::Server,
};

/// A request to a resource.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) server: Arc<Server>,
    pub(crate) user: Arc<User>,
    pub(crate) kind: &'static Kind,
    /// Empty for kinds of the cluster, and for a list over all namespaces.
    pub(crate) namespace: String,
    /// Empty for a collection.
    pub(crate) name: String,
    /// Path segment below the object; empty for the object itself.
    pub(crate) subresource: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) format: Format,
    pub(crate) now: Timestamp,
    pub(crate) warnings: Mutex<Vec<String>>,
    /// The object of its namespace, once admission has looked that up.
    pub(crate) home: OnceLock<Arc<Value>>,
}

/// As upstream: warnings that are longer together are cut, since clients bound the headers that they read.
const WARNING_CHARACTERS: usize = 4 * 1024;
/// As upstream: what is left of each of them then.
const CUT_WARNING_CHARACTERS: usize = 256;

/// What a write left behind.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The store holds this.
    Stored(Entry),
    /// A dry run, or an object that is gone: what it would be, or was.
    Value(Value),
}

impl Call {
    /// The same request, about an object beside this one.
    pub(crate) fn beside(&self, kind: &'static Kind, name: &str) -> Self {
        Self {
            server: Arc::clone(&self.server),
            user: Arc::clone(&self.user),
            kind,
            namespace: if kind.namespaced { self.namespace.clone() } else { String::new() },
            name: name.to_owned(),
            subresource: String::new(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            format: self.format,
            now: self.now,
            warnings: Mutex::default(),
            home: OnceLock::new(),
        }
    }

    /// Adds a `Warning:` header to the answer, once for each text.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let (text, mut warnings) = (text.into(), self.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Puts the collected warnings on the answer.
    pub(crate) fn attach_warnings(&self, response: &mut Response) {
        let warnings = std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner));
        for text in within_headers(warnings) {
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                response.headers_mut().append(http::header::WARNING, value);
            }
        }
    }

    /// How this client wants to see objects.
    ///
    /// # Errors
    /// 400 for an unknown `includeObject`.
    pub(crate) fn projection(&self) -> Result<Projection, Status> {
        let name = self.query.get("includeObject");
        let include = IncludeObject::parse(name)
            .ok_or_else(|| bad_request(format!("unrecognized includeObject value: {:?}", name.unwrap_or_default())))?;
        Ok(Projection { kind: self.kind, view: self.format.view, include, now: self.now })
    }

    /// Answers with one object.
    ///
    /// # Errors
    /// 400 for an unknown `includeObject`.
    pub(crate) fn object(&self, code: u16, outcome: &Outcome) -> Result<Response, Status> {
        let projection = self.projection()?;
        Ok(match outcome {
            Outcome::Stored(entry) => reply::bytes(code, projection.entry(entry, entry.mod_revision)?, self.format.media),
            Outcome::Value(object) => reply::value(code, &projection.object(object.clone()), self.format.media),
        })
    }

    /// Who a write is booked to in `managedFields`: `fieldManager`, or the first word of the client's name.
    pub(crate) fn manager(&self) -> String {
        if let Some(manager) = self.query.get("fieldManager") {
            return manager.to_owned();
        }
        let agent = self.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("unknown");
        agent.split('/').next().unwrap_or_default().chars().take(128).collect()
    }
}

/// These warnings, or as many of them and as much of each as headers have room for.
fn within_headers(warnings: Vec<String>) -> Vec<String> {
    let length = |text: &String| text.chars().count();
    if warnings.iter().map(length).sum::<usize>() <= WARNING_CHARACTERS {
        return warnings;
    }
    let mut taken = 0;
    let cut = warnings.into_iter().map(|text| text.chars().take(CUT_WARNING_CHARACTERS).collect());
    cut.take_while(|text| {
        let fits = taken < WARNING_CHARACTERS;
        taken += length(text);
        fits
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_stay_within_headers() {
        let few = vec!["a".repeat(4000), "b".repeat(96)];
        assert_eq!(within_headers(few.clone()), few);
        let more = [few, vec!["c".to_owned()]].concat();
        assert_eq!(within_headers(more).iter().map(String::len).collect::<Vec<_>>(), [256, 96, 1]);
        let many: Vec<String> = (0..100).map(|n| format!("{n:0300}")).collect();
        assert_eq!(within_headers(many).len(), 16, "4096 of 256 each");
    }
}

//! Query parameters, as upstream's option types read them.

use axum::extract::Query as Pairs;
use http::Uri;
use serde_json::Value;
use windlass_api::{
    status::Status,
    validation::{Cause, FieldError},
};

/// The decoded parameters of one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

/// What a request says about fields that the server does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    /// They are dropped without a word.
    Ignore,
    /// They are dropped, with a `Warning:` header each.
    Warn,
    /// The request fails.
    Strict,
}

impl Query {
    /// Reads the query of a URI.
    pub(crate) fn parse(uri: &Uri) -> Result<Self, Status> {
        if uri.query().is_none_or(str::is_empty) {
            return Ok(Self::default());
        }
        match Pairs::<Vec<(String, String)>>::try_from_uri(uri) {
            Ok(Pairs(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(Status::request(400, "BadRequest", error.to_string())),
        }
    }

    /// The first value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a boolean parameter is set: upstream takes every value but `0` and `false` for true, and the bare name too.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key == name && !matches!(value.as_str(), "0" | "false" | "False" | "FALSE" | "f" | "F"))
    }

    /// An integer parameter.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let parsed = text.parse().map(Some);
        parsed.map_err(|_| bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    }

    /// Whether the request asks for a dry run.
    ///
    /// # Errors
    /// 422 for any value but `All`; `options` is the name of the option type, such as `CreateOptions`.
    pub(crate) fn dry_run(&self, options: &str) -> Result<bool, Status> {
        let mut asked = false;
        for value in self.all("dryRun").filter(|value| !value.is_empty()) {
            if value != "All" {
                return Err(unsupported(options, "dryRun", value, &["All"]));
            }
            asked = true;
        }
        Ok(asked)
    }

    /// What to do about unknown and duplicate fields; `Warn` unless said otherwise.
    ///
    /// # Errors
    /// 422 for an unknown value.
    pub(crate) fn field_validation(&self, options: &str) -> Result<FieldValidation, Status> {
        match self.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(unsupported(options, "fieldValidation", other, &["Ignore", "Strict", "Warn"])),
        }
    }
}

/// 400 with this message.
pub(crate) fn bad_request(message: impl Into<String>) -> Status {
    Status::request(400, "BadRequest", message)
}

/// 422 about one field of an option type.
pub(crate) fn invalid_option(options: &str, cause: Cause, field: &str, value: Value, detail: &str) -> Status {
    let error = FieldError { cause, field: field.to_owned(), bad_value: value, detail: detail.to_owned() };
    Status::invalid("meta.k8s.io", options, "", &[error])
}

fn unsupported(options: &str, field: &str, value: &str, supported: &[&str]) -> Status {
    let list: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    invalid_option(options, Cause::NotSupported, field, value.into(), &format!("supported values: {}", list.join(", ")))
}

//! The patches of a PATCH request: JSON patch, JSON merge patch, strategic merge patch.
//!
//! Server-side apply is in [`crate::apply`].

mod budget;
mod order;
mod print;
mod strategic;

use serde_json::Value;

use crate::status::Status;
use crate::validation::{Cause, FieldError};

pub use print::go_print;
pub(crate) use print::go_type;
pub use strategic::strategic;

/// Upstream's limit. Each operation may copy a part of the document, so without one a small body costs much memory.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Why a patch was not applied; the variants are the answers that upstream gives.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// 400: the patch is not one.
    #[error("{0}")]
    BadRequest(String),
    /// 413: a JSON patch of more than [`MAX_JSON_PATCH_OPERATIONS`].
    #[error("The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {0}")]
    TooManyOperations(usize),
    /// 422: the patch does not fit the object. Upstream keeps the reason to itself; it is for the log.
    #[error("{0}")]
    Unprocessable(String),
    /// 500: what upstream's strategic merge finds no better code for.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The answer to the request.
    pub fn to_status(&self) -> Status {
        match self {
            Self::BadRequest(message) => Status::request(400, "BadRequest", message),
            Self::TooManyOperations(_) => Status::request(413, "RequestEntityTooLarge", self.to_string()),
            Self::Unprocessable(_) => {
                Status::request(422, "Invalid", "the server rejected our request due to an error in our request")
            }
            Self::Internal(message) => Status::request(500, "", message),
        }
    }
}

/// The answer, 422, to a patch that makes what its kind cannot hold; `shown` is the patch as [`go_print`] prints it when it is a
/// strategic one, otherwise the JSON of what it made.
pub fn misfit(shown: String, why: String) -> Status {
    let error = FieldError { cause: Cause::Invalid, field: "patch".to_owned(), bad_value: shown.into(), detail: why };
    Status::invalid("", "", "", &[error])
}

/// Applies a JSON patch (RFC 6902): all of its operations, or none.
///
/// # Errors
///
/// [`Error::BadRequest`] for what is no list of operations, [`Error::TooManyOperations`], and [`Error::Unprocessable`] when an
/// operation finds no target, a `test` does not hold, or the patch makes the object too large or too deep.
pub fn json(object: &Value, patch: &Value) -> Result<Value, Error> {
    let Value::Array(operations) = patch else {
        let found = if patch.is_object() { "object" } else { "scalar" };
        return Err(Error::BadRequest(format!("json: cannot unmarshal {found} into Go value of type jsonpatch.Patch")));
    };
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        return Err(Error::TooManyOperations(operations.len()));
    }
    let operations: json_patch::Patch =
        serde_json::from_value(patch.clone()).map_err(|error| Error::Unprocessable(error.to_string()))?;
    let mut patched = object.clone();
    let mut budget = budget::Budget::of(object);
    for operation in &operations.0 {
        budget.pay(&patched, operation).map_err(Error::Unprocessable)?;
        let one = std::slice::from_ref(operation);
        json_patch::patch_unsafe(&mut patched, one).map_err(|error| Error::Unprocessable(error.to_string()))?;
    }
    Ok(patched)
}

/// Applies a JSON merge patch (RFC 7386).
///
/// # Errors
///
/// [`Error::BadRequest`] when the patch is not an object.
pub fn merge(object: &mut Value, patch: &Value) -> Result<(), Error> {
    if !patch.is_object() {
        return Err(Error::BadRequest("Invalid JSON Patch".to_owned()));
    }
    json_patch::merge(object, patch);
    Ok(())
}

#[cfg(test)]
mod tests;

//! Field errors, worded as upstream words them.

use std::fmt;

use serde_json::Value;

/// What kind of mistake a [`FieldError`] reports: upstream's `field.ErrorType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `FieldValueRequired`
    Required,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`; the detail lists what is.
    NotSupported,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
}

impl Cause {
    /// The machine-readable reason in `Status.details.causes[].reason`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    /// The words that open the message.
    pub fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
        }
    }
}

/// One mistake in one field of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What kind of mistake it is.
    pub cause: Cause,
    /// Path such as `spec.template.spec.containers[0].image` or `metadata.annotations[a/b]`.
    pub field: String,
    /// The value found there; not shown for `Required`, `Forbidden` and `TooLong`.
    pub bad_value: Value,
    /// What would be right; may be empty.
    pub detail: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl FieldError {
    /// The message without the field path, as `Status.details.causes[].message` has it.
    pub fn body(&self) -> String {
        let shown = match self.cause {
            Cause::Required | Cause::Forbidden | Cause::TooLong | Cause::TooMany => String::new(),
            _ => match &self.bad_value {
                Value::Null => ": null".to_owned(),
                value => format!(": {value}"),
            },
        };
        let text = self.cause.text();
        if self.detail.is_empty() { format!("{text}{shown}") } else { format!("{text}{shown}: {}", self.detail) }
    }
}

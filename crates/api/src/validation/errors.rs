//! Collects mistakes in upstream's order, with the checks that many kinds share.

use serde_json::Value;

use super::equal::same;
use super::error::{Cause, FieldError, quoted};
use super::field::Field;

const NEGATIVE: &str = "must be greater than or equal to 0";
const IMMUTABLE: &str = "field is immutable";

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Errors(pub(super) Vec<FieldError>);

impl Errors {
    fn push(&mut self, cause: Cause, path: &str, bad_value: Value, detail: impl Into<String>) {
        self.0.push(FieldError { cause, field: path.to_owned(), bad_value, detail: detail.into() });
    }

    /// Something that must be there is not.
    pub(super) fn required(&mut self, field: &Field<'_>, detail: &str) {
        self.push(Cause::Required, field.path(), Value::Null, detail);
    }

    /// Something that must not be there is.
    pub(super) fn forbidden(&mut self, field: &Field<'_>, detail: impl Into<String>) {
        self.push(Cause::Forbidden, field.path(), Value::Null, detail);
    }

    /// The value breaks a rule.
    pub(super) fn invalid(&mut self, field: &Field<'_>, detail: impl Into<String>) {
        self.push(Cause::Invalid, field.path(), field.value().clone(), detail);
    }

    /// The value breaks a rule, and upstream shows another value than the one there.
    pub(super) fn invalid_as(&mut self, path: &str, shown: impl Into<Value>, detail: impl Into<String>) {
        self.push(Cause::Invalid, path, shown.into(), detail);
    }

    /// The value is none of those allowed; an absent text is empty.
    pub(super) fn unsupported(&mut self, field: &Field<'_>, supported: &[&str]) {
        let shown = if field.is_set() { field.value().clone() } else { "".into() };
        self.unsupported_as(field.path(), shown, supported);
    }

    /// The value is none of those allowed, and upstream shows another value than the one there.
    pub(super) fn unsupported_as(&mut self, path: &str, shown: impl Into<Value>, supported: &[&str]) {
        let supported: Vec<String> = supported.iter().map(|value| quoted(value)).collect();
        self.push(Cause::NotSupported, path, shown.into(), format!("supported values: {}", supported.join(", ")));
    }

    /// The value is there twice.
    pub(super) fn duplicate(&mut self, field: &Field<'_>) {
        self.push(Cause::Duplicate, field.path(), field.value().clone(), "");
    }

    /// The value is there twice, and upstream shows another value than the one there, or says more.
    pub(super) fn duplicate_as(&mut self, path: &str, shown: impl Into<Value>, detail: &str) {
        self.push(Cause::Duplicate, path, shown.into(), detail);
    }

    /// The text names something that does not exist.
    pub(super) fn not_found(&mut self, field: &Field<'_>, detail: impl Into<String>) {
        self.push(Cause::NotFound, field.path(), field.text().into(), detail);
    }

    /// The value has too many bytes.
    pub(super) fn too_long(&mut self, path: &str, max_bytes: usize) {
        self.push(Cause::TooLong, path, Value::Null, format!("may not be more than {max_bytes} bytes"));
    }

    /// The list has too many items.
    pub(super) fn too_many(&mut self, field: &Field<'_>, max: usize) {
        self.push(Cause::TooMany, field.path(), field.len().into(), format!("must have at most {max} items"));
    }

    /// The text must have a format; `format` lists what is wrong with it.
    pub(super) fn format(&mut self, field: &Field<'_>, format: fn(&str) -> Vec<String>) {
        for message in format(field.text()) {
            self.invalid(field, message);
        }
    }

    /// The text must be there and have a format.
    pub(super) fn required_format(&mut self, field: &Field<'_>, format: fn(&str) -> Vec<String>) {
        if field.text().is_empty() { self.required(field, "") } else { self.format(field, format) }
    }

    /// The text must have a format where it is there.
    pub(super) fn optional_format(&mut self, field: &Field<'_>, format: fn(&str) -> Vec<String>) {
        if !field.text().is_empty() {
            self.format(field, format);
        }
    }

    /// The text must be there.
    pub(super) fn required_text(&mut self, field: &Field<'_>) {
        if field.text().is_empty() {
            self.required(field, "");
        }
    }

    /// The text must be one of those allowed, in the order in which upstream lists them.
    pub(super) fn one_of(&mut self, field: &Field<'_>, supported: &[&str]) {
        if !supported.contains(&field.text()) {
            self.unsupported(field, supported);
        }
    }

    /// The text must be there and be one of those allowed.
    pub(super) fn required_one_of(&mut self, field: &Field<'_>, supported: &[&str]) {
        if field.text().is_empty() { self.required(field, "") } else { self.one_of(field, supported) }
    }

    /// The number must not be negative.
    pub(super) fn non_negative(&mut self, field: &Field<'_>) {
        if field.number() < 0 {
            self.invalid(field, NEGATIVE);
        }
    }

    /// The number must be in a range.
    pub(super) fn in_range(&mut self, field: &Field<'_>, min: i64, max: i64) {
        if !(min..=max).contains(&field.number()) {
            self.invalid_as(field.path(), field.number(), format!("must be between {min} and {max}, inclusive"));
        }
    }

    /// The value must be what it was.
    pub(super) fn immutable(&mut self, new: &Field<'_>, old: &Field<'_>) {
        if !same(new.value(), old.value()) {
            let shown = if new.is_set() { new.value().clone() } else { "null".into() };
            self.invalid_as(new.path(), shown, IMMUTABLE);
        }
    }

    /// The text must be what it was; an absent one is empty.
    pub(super) fn immutable_text(&mut self, new: &Field<'_>, old: &Field<'_>) {
        if new.text() != old.text() {
            self.invalid_as(new.path(), new.text(), IMMUTABLE);
        }
    }
}

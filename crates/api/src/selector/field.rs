//! Field selectors (`status.phase=Running,spec.nodeName!=a`), over the fields that a kind lets be selected.

use std::borrow::Cow;

use serde_json::Value;

use super::parser::ParseError;
use crate::kind::{Kind, SelectableField};

/// A conjunction of comparisons with fields of one kind.
#[derive(Debug, Clone, Default)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone)]
struct Term {
    field: SelectableField,
    equal: bool,
    value: String,
}

const NAME: SelectableField = SelectableField { name: "metadata.name", pointers: &["/metadata/name"], default: "" };
const NAMESPACE: SelectableField =
    SelectableField { name: "metadata.namespace", pointers: &["/metadata/namespace"], default: "" };

impl FieldSelector {
    /// Parses the text of `?fieldSelector=`; the empty text matches everything.
    ///
    /// # Errors
    ///
    /// The text is no selector, or names a field that this kind cannot be selected by; worded as upstream, for an answer 400.
    pub fn parse(kind: &Kind, text: &str) -> Result<Self, ParseError> {
        let mut terms = Vec::new();
        for term in split_terms(text).into_iter().filter(|term| !term.is_empty()) {
            let Some((name, equal, value)) = split_term(term) else {
                return Err(ParseError(format!("invalid selector: '{text}'; can't understand '{term}'")));
            };
            terms.push((name, equal, unescape(value)?));
        }
        let terms = terms.into_iter().map(|(name, equal, value)| Ok(Term { field: find(kind, name)?, equal, value }));
        Ok(Self { terms: terms.collect::<Result<_, _>>()? })
    }

    /// Whether this object is meant.
    pub fn matches(&self, object: &Value) -> bool {
        self.terms.iter().all(|term| (read(object, &term.field) == term.value) == term.equal)
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one name that an object must have to be meant, if a term says so: a list of it is a get.
    pub fn name(&self) -> Option<&str> {
        self.terms.iter().find(|term| term.equal && term.field == NAME).map(|term| term.value.as_str())
    }
}

fn find(kind: &Kind, name: &str) -> Result<SelectableField, ParseError> {
    let own = || kind.selectable.iter().find(|field| field.name == name).copied();
    match name {
        "metadata.name" => Ok(NAME),
        // Upstream's older conversions of Node and Namespace leave it out.
        "metadata.namespace" if kind.namespaced || kind.selectable.is_empty() => Ok(NAMESPACE),
        _ => own().ok_or_else(|| {
            ParseError(if kind.selectable.is_empty() {
                format!("{name:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            } else {
                format!("field label not supported: {name}")
            })
        }),
    }
}

fn read<'a>(object: &'a Value, field: &SelectableField) -> Cow<'a, str> {
    let values = field.pointers.iter().filter_map(|pointer| object.pointer(pointer));
    let mut texts = values.filter_map(|value| match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_str())),
        Value::Bool(_) | Value::Number(_) => Some(Cow::Owned(value.to_string())),
        _ => None,
    });
    texts.find(|text| !text.is_empty()).unwrap_or(Cow::Borrowed(field.default))
}

/// Splits at commas that no backslash stands before.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (index, c) in text.char_indices() {
        if c == ',' && !escaped {
            terms.push(&text[start..index]);
            start = index + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    terms.push(&text[start..]);
    terms
}

/// Name, whether equal, value.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let (index, _) = term.char_indices().find(|(index, _)| {
        let rest = &term[*index..];
        rest.starts_with("!=") || rest.starts_with('=')
    })?;
    let (name, rest) = term.split_at(index);
    let (operator, equal) = match rest {
        rest if rest.starts_with("!=") => ("!=", false),
        rest if rest.starts_with("==") => ("==", true),
        _ => ("=", true),
    };
    Some((name, equal, &rest[operator.len()..]))
}

fn unescape(value: &str) -> Result<String, ParseError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                next => {
                    let sequence: String = std::iter::once('\\').chain(next).collect();
                    return Err(ParseError(format!("invalid field selector: invalid escape sequence: {sequence}")));
                }
            },
            ',' | '=' => {
                return Err(ParseError(format!("invalid field selector: unescaped character in value: {}", u32::from(c))));
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

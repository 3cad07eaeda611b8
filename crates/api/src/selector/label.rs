//! Label selectors, from their three shapes: text (`app in (a,b),!old`), `LabelSelector`, and a plain map.

use std::{collections::BTreeMap, fmt};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::{Map, Value};

use super::parser::{self, ParseError};

/// How a requirement compares a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `key=value`
    Equals,
    /// `key==value`
    DoubleEquals,
    /// `key!=value`; an object without the label matches.
    NotEquals,
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`; an object without the label matches.
    NotIn,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>5`, as integers
    GreaterThan,
    /// `key<5`, as integers
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label.
    pub key: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; sorted, without duplicates.
    pub values: Vec<String>,
}

/// A conjunction of requirements, in the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// `None`: matches nothing.
    requirements: Option<Vec<Requirement>>,
}

/// A `LabelSelector` that validation should have stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a valid label selector operator")]
pub struct LabelSelectorError(String);

/// Anything that has labels to be looked up.
pub trait LabelSet {
    /// The value of a label, if it is there.
    fn label(&self, key: &str) -> Option<&str>;
}

impl LabelSet for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl LabelSet for Map<String, Value> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

/// The map of labels itself (`metadata.labels`), not the object.
impl LabelSet for Value {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }
}

impl<T: LabelSet> LabelSet for Option<T> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref().and_then(|labels| labels.label(key))
    }
}

impl<T: LabelSet + ?Sized> LabelSet for &T {
    fn label(&self, key: &str) -> Option<&str> {
        (*self).label(key)
    }
}

impl Selector {
    /// Matches every object.
    pub fn everything() -> Self {
        Self { requirements: Some(Vec::new()) }
    }

    /// Matches no object.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// Parses the text of `?labelSelector=`; the empty text matches everything.
    ///
    /// # Errors
    ///
    /// The text is no selector; worded as upstream.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(Self::of(parser::parse(text)?))
    }

    /// The selector of a Service or ReplicationController: every label equal. An empty map matches everything.
    pub fn equal_to<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self::of(labels.into_iter().map(|(key, value)| Requirement::equals(key, value)).collect())
    }

    /// The `LabelSelector` of an object in JSON; absent, it matches nothing, and empty, everything.
    ///
    /// # Errors
    ///
    /// An expression has an operator that there is not.
    pub fn from_value(selector: &Value) -> Result<Self, LabelSelectorError> {
        let Some(selector) = selector.as_object() else { return Ok(Self::nothing()) };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let labels = selector.get("matchLabels").and_then(Value::as_object).into_iter().flatten();
        let mut requirements: Vec<Requirement> =
            labels.map(|(key, value)| Requirement::equals(key, value.as_str().unwrap_or_default())).collect();
        for expression in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten() {
            let values = expression["values"].as_array().into_iter().flatten().map(text).collect();
            requirements.push(Requirement::of_expression(&text(&expression["key"]), &text(&expression["operator"]), values)?);
        }
        Ok(Self::of(requirements))
    }

    /// The typed `LabelSelector` of an object; `None` matches nothing, and empty, everything.
    ///
    /// # Errors
    ///
    /// An expression has an operator that there is not.
    pub fn from_typed(selector: Option<&LabelSelector>) -> Result<Self, LabelSelectorError> {
        let Some(selector) = selector else { return Ok(Self::nothing()) };
        let labels = selector.match_labels.iter().flatten();
        let mut requirements: Vec<Requirement> = labels.map(|(key, value)| Requirement::equals(key, value)).collect();
        for LabelSelectorRequirement { key, operator, values } in selector.match_expressions.iter().flatten() {
            requirements.push(Requirement::of_expression(key, operator, values.clone().unwrap_or_default())?);
        }
        Ok(Self::of(requirements))
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements) }
    }

    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &impl LabelSet) -> bool {
        self.requirements.as_ref().is_some_and(|requirements| requirements.iter().all(|requirement| requirement.matches(labels)))
    }

    /// Whether it matches everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_ref().is_some_and(Vec::is_empty)
    }

    /// The conditions, in the order of their keys; none both for what matches everything and for what matches nothing.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }
}

impl Requirement {
    fn equals(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), operator: Operator::Equals, values: vec![value.to_owned()] }
    }

    fn of_expression(key: &str, operator: &str, mut values: Vec<String>) -> Result<Self, LabelSelectorError> {
        let operator = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(LabelSelectorError(other.to_owned())),
        };
        values.sort();
        values.dedup();
        Ok(Self { key: key.to_owned(), operator, values })
    }

    /// Whether an object with these labels meets it.
    pub fn matches(&self, labels: &impl LabelSet) -> bool {
        let label = labels.label(&self.key);
        let listed = || label.is_some_and(|label| self.values.iter().any(|value| value == label));
        let number = |text: &str| text.parse::<i64>().ok();
        let compare = || Some(number(label?)?.cmp(&number(self.values.first()?)?));
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => listed(),
            Operator::NotEquals | Operator::NotIn => !listed(),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => compare().is_some_and(std::cmp::Ordering::is_gt),
            Operator::LessThan => compare().is_some_and(std::cmp::Ordering::is_lt),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let values = self.values.join(",");
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// The text that [`Selector::parse`] takes, empty for what matches everything (and for what matches nothing).
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements().iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

/// A `LabelSelector` in JSON as `-o wide` shows it.
pub fn format_label_selector(selector: &Value) -> String {
    match Selector::from_value(selector).map(|selector| selector.to_string()) {
        Ok(text) if text.is_empty() => "<none>".to_owned(),
        Ok(text) => text,
        Err(_) => "<error>".to_owned(),
    }
}

/// A map of labels in JSON as `-o wide` shows it: `a=1,b=2`, or `<none>`.
pub fn format_labels(labels: &Value) -> String {
    let mut pairs: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

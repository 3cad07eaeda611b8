//! Selectors: which objects a list, a watch, a Service or a controller means.

mod field;
mod label;
mod parser;

pub use field::FieldSelector;
pub use label::{LabelSelectorError, LabelSet, Operator, Requirement, Selector, format_label_selector, format_labels};
pub use parser::ParseError;

#[cfg(test)]
mod tests;

//! The row of a Scale.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, integer},
};

pub(crate) const COLUMNS: &[Column] =
    &[Column::text("Name"), Column::integer("Desired"), Column::integer("Available"), Column::AGE];

pub(crate) fn row(scale: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        cell::name(scale),
        integer(&scale["spec"]["replicas"]).into(),
        integer(&scale["status"]["replicas"]).into(),
        cell::age(scale, now),
    ]
}

//! Rows of role bindings; roles have none of their own.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column,
    cell::{self, items, text},
};

/// Of RoleBinding and ClusterRoleBinding.
pub(crate) const BINDING: &[Column] = &[
    Column::NAME,
    Column::text("Role"),
    Column::AGE,
    Column::wide("Users"),
    Column::wide("Groups"),
    Column::wide("ServiceAccounts"),
];

pub(crate) fn binding(binding: &Value, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str, show: fn(&Value) -> String| {
        let shown = items(&binding["subjects"]).filter(|subject| subject["kind"] == kind).map(show);
        Value::from(shown.collect::<Vec<_>>().join(", "))
    };
    let plain = |subject: &Value| text(&subject["name"]).to_owned();
    let namespaced = |subject: &Value| format!("{}/{}", text(&subject["namespace"]), text(&subject["name"]));
    let role = &binding["roleRef"];
    vec![
        cell::name(binding),
        format!("{}/{}", text(&role["kind"]), text(&role["name"])).into(),
        cell::age(binding, now),
        subjects("User", plain),
        subjects("Group", plain),
        subjects("ServiceAccount", namespaced),
    ]
}

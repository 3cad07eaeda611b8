//! Table answers: what `kubectl get` prints, column for column as upstream's server does.

use jiff::Timestamp;
use serde_json::{Value, json};

/// One column of a Table answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Heading as kubectl prints it (kubectl upper-cases it).
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// OpenAPI format: `name` for the column that holds the name, otherwise empty.
    pub format: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
    /// One sentence for `-o json` of a Table.
    pub description: &'static str,
}

/// Columns of a kind that upstream has no printer for.
pub const NAME_AND_CREATED: &[Column] = &[
    Column { name: "Name", kind: "string", format: "name", priority: 0, description: "" },
    Column { name: "Created At", kind: "date", format: "", priority: 0, description: "" },
];

/// The row of a kind that upstream has no printer for.
pub fn name_and_created(object: &Value, _now: Timestamp) -> Vec<Value> {
    let metadata = &object["metadata"];
    vec![metadata["name"].clone(), metadata.get("creationTimestamp").cloned().unwrap_or(json!(null))]
}

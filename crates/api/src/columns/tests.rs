//! Every kind, printed as `kubectl get` and `kubectl get -o wide` print its Table.

mod kinds;
mod pods;
mod tables;
mod workloads;

use expect_test::Expect;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{columns::Column, kind::Kind};

/// Ages in the fixtures count to this moment.
fn now() -> Timestamp {
    "2024-01-02T00:00:00Z".parse().unwrap()
}

/// Compares what `kubectl get -o wide` prints of these objects; each gets a creation time five minutes ago.
fn check(kind: &Kind, objects: &[Value], expected: Expect) {
    let objects: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut object = object.clone();
            if object["metadata"]["creationTimestamp"].is_null() {
                object["metadata"]["creationTimestamp"] = json!("2024-01-01T23:55:00Z");
            }
            object
        })
        .collect();
    let rows: Vec<Vec<Value>> = objects.iter().map(|object| (kind.row)(object, now())).collect();
    expected.assert_eq(&print(kind.columns, &rows));
}

/// As kubectl's tab writer: cells are six wide at least, three blanks apart, and the last one ends the line.
fn print(columns: &[Column], rows: &[Vec<Value>]) -> String {
    let header = columns.iter().map(|column| column.name.to_uppercase()).collect();
    let body = rows.iter().map(|row| row.iter().map(show).collect());
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(body).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count() + 3).max().unwrap_or(0).max(6);
    let mut out = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            if column + 1 == line.len() {
                out.push_str(cell);
            } else {
                out.push_str(&format!("{cell:width$}", width = width(column)));
            }
        }
        out.push('\n');
    }
    out
}

fn show(cell: &Value) -> String {
    match cell {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

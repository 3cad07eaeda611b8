//! Sets of fields, as `metadata.managedFields` holds them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of paths into an object: a tree whose nodes may be members.
///
/// Steps are written as in `FieldsV1`: `f:name` is a field or key, `k:{…}` the list element with those keys, `v:…` an element of a
/// set. An owner of a field owns just that path, not what is below it. No node is both memberless and childless.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Set {
    member: bool,
    children: BTreeMap<String, Set>,
}

impl Set {
    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    pub(super) fn is_member(&self) -> bool {
        self.member
    }

    pub(super) fn child(&self, step: &str) -> Option<&Self> {
        self.children.get(step)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children.iter().map(|(step, child)| (step.as_str(), child))
    }

    pub(super) fn insert(&mut self, path: impl IntoIterator<Item = String>) {
        let mut node = self;
        for step in path {
            node = node.children.entry(step).or_default();
        }
        node.member = true;
    }

    /// Makes the node itself a member, and puts children below it.
    pub(super) fn build(member: bool, children: impl IntoIterator<Item = (String, Self)>) -> Self {
        Self { member, children: children.into_iter().filter(|(_, child)| !child.is_empty()).collect() }
    }

    /// Takes a path and all that is below it out.
    pub(super) fn remove_below(&mut self, path: &[&str]) {
        match path {
            [] => {}
            [last] => {
                self.children.remove(*last);
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(*first) {
                    child.remove_below(rest);
                    if child.is_empty() {
                        self.children.remove(*first);
                    }
                }
            }
        }
    }

    pub(super) fn unite(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, theirs) in &other.children {
            match self.children.get_mut(step) {
                Some(ours) => ours.unite(theirs),
                None => {
                    self.children.insert(step.clone(), theirs.clone());
                }
            }
        }
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (step, theirs) in &other.children {
            if let Some(ours) = self.children.get_mut(step) {
                ours.subtract(theirs);
                if ours.is_empty() {
                    self.children.remove(step);
                }
            }
        }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        let shared = self.children.iter().filter_map(|(step, ours)| {
            let theirs = other.children.get(step)?;
            Some((step.clone(), ours.intersection(theirs)))
        });
        Self::build(self.member && other.member, shared)
    }

    /// Every member as upstream prints paths: `.spec.template.spec.containers[name="nginx"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.print(&mut String::new(), &mut found);
        found
    }

    fn print(&self, path: &mut String, found: &mut Vec<String>) {
        if self.member {
            found.push(path.clone());
        }
        let length = path.len();
        for (step, child) in &self.children {
            path.push_str(&print_step(step));
            child.print(path, found);
            path.truncate(length);
        }
    }

    /// Reads the value of a `fieldsV1`.
    pub(super) fn from_value(value: &Value) -> Self {
        let Some(map) = value.as_object() else { return Self::default() };
        let children = map.iter().filter(|(step, _)| *step != ".").map(|(step, child)| {
            let mut child = Self::from_value(child);
            child.member |= child.children.is_empty();
            (step.clone(), child)
        });
        Self { member: map.contains_key("."), children: children.collect() }
    }

    /// Writes the value of a `fieldsV1`.
    pub(super) fn to_value(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        map.extend(self.children.iter().map(|(step, child)| (step.clone(), child.to_value())));
        Value::Object(map)
    }
}

pub(super) fn print_step(step: &str) -> String {
    match step.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", json)) => format!("[={json}]"),
        Some(("i", index)) => format!("[{index}]"),
        Some(("k", json)) => {
            let keys: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
            let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("[{}]", keys.join(","))
        }
        _ => step.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> Set {
        Set::from_value(&value)
    }

    #[test]
    fn fields_v1_goes_in_and_out_unchanged() {
        for value in [
            json!({}),
            json!({ "f:spec": { "f:replicas": {} } }),
            json!({ "f:metadata": { "f:labels": { ".": {}, "f:app": {} } }, "f:spec": {
                "f:containers": { "k:{\"name\":\"a\"}": { ".": {}, "f:image": {} } },
                "f:finalizers": { "v:\"x\"": {} },
            } }),
        ] {
            assert_eq!(set(value.clone()).to_value(), value);
        }
    }

    #[test]
    fn sets_combine_member_by_member() {
        let both = json!({ "f:a": { ".": {}, "f:b": {} }, "f:c": {} });
        let mut united = set(json!({ "f:a": {} }));
        united.unite(&set(json!({ "f:a": { "f:b": {} }, "f:c": {} })));
        assert_eq!(united.to_value(), both);

        let mut left = set(both.clone());
        left.subtract(&set(json!({ "f:a": {}, "f:c": {} })));
        assert_eq!(left.to_value(), json!({ "f:a": { "f:b": {} } }), "what is below an owned path stays");

        let shared = set(both).intersection(&set(json!({ "f:a": { "f:b": {}, "f:x": {} } })));
        assert_eq!(shared.to_value(), json!({ "f:a": { "f:b": {} } }));
        left.subtract(&set(json!({ "f:a": { "f:b": {} } })));
        assert!(left.is_empty());
    }

    #[test]
    fn paths_print_as_upstreams() {
        let set = set(json!({ "f:spec": {
            "f:containers": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:image": {} } },
            "f:finalizers": { "v:\"x\"": {} },
        } }));
        assert_eq!(
            set.paths(),
            [
                r#".spec.containers[containerPort=80,protocol="TCP"]"#,
                r#".spec.containers[containerPort=80,protocol="TCP"].image"#,
                r#".spec.finalizers[="x"]"#,
            ]
        );
    }
}

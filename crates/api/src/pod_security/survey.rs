//! What a level that is new to a namespace has against the pods that are there already.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{LevelVersion, Pod};
use crate::validation::quoted;

/// Pods with the same faults, by these faults.
#[derive(Debug)]
pub struct Survey {
    level: LevelVersion,
    seen: usize,
    /// The first of the pods by name, and how many there are.
    found: BTreeMap<String, (String, usize)>,
}

impl Survey {
    /// A survey that has seen nothing.
    pub fn of(level: LevelVersion) -> Self {
        Self { level, seen: 0, found: BTreeMap::new() }
    }

    /// Looks at one pod.
    pub fn see(&mut self, pod: &Value) {
        self.seen += 1;
        let violations = self.level.violations(Pod::of(pod));
        if violations.is_empty() {
            return;
        }
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let (first, count) = self.found.entry(violations.reasons()).or_insert_with(|| (name.to_owned(), 0));
        if name < first.as_str() {
            name.clone_into(first);
        }
        *count += 1;
    }

    /// What the one who asks for the level should know; `pods` are as many as the namespace has.
    pub fn warnings(self, namespace: &str, pods: usize) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.seen < pods {
            let seen = self.seen;
            warnings.push(format!("new PodSecurity enforce level only checked against the first {seen} of {pods} existing pods"));
        }
        if !self.found.is_empty() {
            let (namespace, level) = (quoted(namespace), quoted(&self.level.to_string()));
            warnings.push(format!("existing pods in namespace {namespace} violate the new PodSecurity enforce level {level}"));
        }
        let lines: BTreeSet<String> = self
            .found
            .into_iter()
            .map(|(faults, (first, count))| match count {
                1 => format!("{first}: {faults}"),
                2 => format!("{first} (and 1 other pod): {faults}"),
                _ => format!("{first} (and {} other pods): {faults}", count - 1),
            })
            .collect();
        warnings.extend(lines);
        warnings
    }
}

/// The pods in the order in which they are looked at as long as there is time: those that belong to nobody, and one of each
/// controller, before others of the same controllers.
pub fn by_controller(pods: Vec<Value>) -> Vec<Value> {
    let mut controllers = BTreeSet::new();
    let (mut first, mut more) = (Vec::new(), Vec::new());
    for pod in pods {
        let mut owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let controller = owners.find(|owner| owner["controller"] == true).map(|owner| owner["uid"].clone());
        let is_new = controller.is_none_or(|uid| controllers.insert(uid.as_str().unwrap_or_default().to_owned()));
        if is_new { first.push(pod) } else { more.push(pod) }
    }
    first.append(&mut more);
    first
}

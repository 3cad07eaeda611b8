//! The nodes of a scene: which of them take pods, and which pods may be evicted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Objects, Pod};

/// What is looked at of all nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// Those that are there, and whether each takes pods: it is well, and nothing keeps them away.
    there: BTreeMap<String, bool>,
    /// Those that have been silent or removed: what was on them may be evicted.
    lost: BTreeSet<String>,
    /// Uids of pods whose node was not there at some time of their lives.
    stranded: BTreeSet<String>,
}

impl Nodes {
    /// Takes in what became of a node.
    pub(super) fn take(&mut self, name: &str, fresh: Option<&Value>, pods: &Objects<Pod>) {
        if fresh.is_some() != self.there.contains_key(name) {
            self.stranded.extend(pods.values().filter(|pod| pod.node == name).map(|pod| pod.meta.uid.clone()));
        }
        let Some(node) = fresh else {
            self.there.remove(name);
            self.lost.insert(name.to_owned());
            return;
        };
        let conditions = node["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.filter(|condition| condition["type"] == "Ready").map(|ready| ready["status"] == "True").next();
        if ready == Some(false) {
            self.lost.insert(name.to_owned());
        }
        let tainted = node["spec"]["taints"].as_array().is_some_and(|taints| !taints.is_empty());
        self.there.insert(name.to_owned(), ready == Some(true) && !tainted);
    }

    /// Takes in a pod that was written: it may have been bound to a node that is not there any more.
    pub(super) fn take_pod(&mut self, pod: &Pod) {
        if !pod.node.is_empty() && !self.there.contains_key(&pod.node) {
            self.stranded.insert(pod.meta.uid.clone());
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.there.len()
    }

    /// One that was removed and is not back.
    pub(crate) fn away(&self) -> Option<&str> {
        self.lost.iter().map(String::as_str).find(|name| !self.there.contains_key(*name))
    }

    /// Names of those that take pods.
    pub(crate) fn takers(&self) -> impl Iterator<Item = &str> {
        self.there.iter().filter(|(_, takes)| **takes).map(|(name, _)| name.as_str())
    }

    /// Whether a node has been silent or removed.
    pub(crate) fn is_lost(&self, name: &str) -> bool {
        self.lost.contains(name)
    }

    /// Whether a pod outlived its node.
    pub(crate) fn is_stranded(&self, pod: &Pod) -> bool {
        self.stranded.contains(&pod.meta.uid)
    }
}

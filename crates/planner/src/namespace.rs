//! The end of a Namespace: everything in it goes, pods first, and then it goes itself.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use windlass_api::kind::Kind;

use crate::seconds;

/// Finalizer in `spec.finalizers` that is taken away when nothing is left.
pub const FINALIZER: &str = "kubernetes";

/// What is left of one kind in the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// Plural and group, as `deployments.apps`, or `pods.` for a kind without a group.
    pub resource: String,
    /// How many objects.
    pub objects: usize,
    /// Finalizers that hold them, each with how many objects it holds.
    pub finalizers: Vec<(String, usize)>,
    /// The kind is Pod: as long as there are pods, what they use stays.
    pub pods: bool,
}

/// How the next objects are to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The namespace is not to be deleted, or no longer ours to finish.
    Idle,
    /// Delete pods.
    Pods,
    /// Delete everything else.
    Rest,
}

/// What becomes of a namespace.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status to have.
    pub status: NamespaceStatus,
    /// Nothing is left: take the finalizer away, these stay.
    pub finalize: Option<Vec<String>>,
}

/// Name of a resource in the conditions.
pub fn resource_name(kind: &Kind) -> String {
    format!("{}.{}", kind.plural, kind.group)
}

/// What to delete, when so many pods are left.
pub fn phase(namespace: &Namespace, pods_left: usize) -> Phase {
    let ours = finalizers(namespace).iter().any(|finalizer| finalizer == FINALIZER);
    match (namespace.metadata.deletion_timestamp.is_some() && ours, pods_left) {
        (false, _) => Phase::Idle,
        (true, 0) => Phase::Rest,
        (true, _) => Phase::Pods,
    }
}

fn finalizers(namespace: &Namespace) -> &[String] {
    namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref()).unwrap_or_default()
}

/// Decides, from what is left after the last attempt; `failure` is what kept it from deleting, if something did.
pub fn plan(namespace: &Namespace, remaining: &[Remaining], failure: Option<&str>, now: Timestamp) -> Plan {
    let left: Vec<&Remaining> = remaining.iter().filter(|kind| kind.objects > 0).collect();
    let mut status = namespace.status.clone().unwrap_or_default();
    status.phase = Some("Terminating".to_owned());
    let mut set =
        |type_: &str, value: bool, reason: &str, message: String| set_condition(&mut status, type_, value, reason, message, now);
    set("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered".to_owned());
    set(
        "NamespaceDeletionGroupVersionParsingFailure",
        false,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed".to_owned(),
    );
    match failure {
        Some(failure) => set("NamespaceDeletionContentFailure", true, "ContentDeletionFailed", failure.to_owned()),
        None => {
            let message = "All content successfully deleted, may be waiting on finalization".to_owned();
            set("NamespaceDeletionContentFailure", false, "ContentDeleted", message);
        }
    }
    if left.is_empty() {
        set("NamespaceContentRemaining", false, "ContentRemoved", "All content successfully removed".to_owned());
    } else {
        let parts = left.iter().map(|kind| format!("{} has {} resource instances", kind.resource, kind.objects));
        let message = format!("Some resources are remaining: {}", sorted(parts));
        set("NamespaceContentRemaining", true, "SomeResourcesRemain", message);
    }
    let held = by_finalizer(&left);
    if held.is_empty() {
        let message = "All content-preserving finalizers finished".to_owned();
        set("NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers", message);
    } else {
        let parts = held.into_iter().map(|(finalizer, objects)| format!("{finalizer} in {objects} resource instances"));
        let message = format!("Some content in the namespace has finalizers remaining: {}", sorted(parts));
        set("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", message);
    }
    let done = left.is_empty() && failure.is_none();
    let others = finalizers(namespace).iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
    Plan { status, finalize: done.then_some(others) }
}

fn sorted(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    parts.join(", ")
}

fn by_finalizer(left: &[&Remaining]) -> std::collections::BTreeMap<String, usize> {
    let mut held = std::collections::BTreeMap::new();
    for (finalizer, objects) in left.iter().flat_map(|kind| &kind.finalizers) {
        *held.entry(finalizer.clone()).or_default() += objects;
    }
    held
}

fn set_condition(status: &mut NamespaceStatus, type_: &str, value: bool, reason: &str, message: String, now: Timestamp) {
    let value = if value { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let place = conditions.iter().position(|condition| condition.type_ == type_);
    let since = place.map(|index| &conditions[index]).filter(|present| present.status == value);
    let condition = NamespaceCondition {
        last_transition_time: since.map_or_else(|| Some(seconds(now)), |present| present.last_transition_time.clone()),
        message: Some(message),
        reason: Some(reason.to_owned()),
        status: value.to_owned(),
        type_: type_.to_owned(),
    };
    match place {
        Some(index) => conditions[index] = condition,
        None => conditions.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn namespace() -> Namespace {
        let value = json!({
            "metadata": {"name": "old", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes", "mine.example/x"]}
        });
        serde_json::from_value(value).unwrap()
    }

    fn remaining(resource: &str, objects: usize) -> Remaining {
        let finalizers = if objects > 1 { vec![("hold.example/y".to_owned(), 1)] } else { Vec::new() };
        Remaining { resource: resource.to_owned(), objects, finalizers, pods: resource == "pods." }
    }

    #[test]
    fn pods_go_first_and_other_finalizers_stay() {
        assert_eq!(phase(&namespace(), 2), Phase::Pods);
        assert_eq!(phase(&namespace(), 0), Phase::Rest);
        let plan = plan(&namespace(), &[remaining("pods.", 0)], None, Timestamp::UNIX_EPOCH);
        assert_eq!(plan.finalize, Some(vec!["mine.example/x".to_owned()]));
    }

    #[test]
    fn what_remains_is_told_in_conditions() {
        let left = [remaining("pods.", 2), remaining("deployments.apps", 1)];
        let plan = plan(&namespace(), &left, None, Timestamp::UNIX_EPOCH);
        assert_eq!(plan.finalize, None);
        let lines: Vec<String> = plan
            .status
            .conditions
            .iter()
            .flatten()
            .map(|c| format!("{}={} {}", c.type_, c.status, c.message.as_deref().unwrap()))
            .collect();
        expect_test::expect![[r#"
            NamespaceDeletionDiscoveryFailure=False All resources successfully discovered
            NamespaceDeletionGroupVersionParsingFailure=False All legacy kube types successfully parsed
            NamespaceDeletionContentFailure=False All content successfully deleted, may be waiting on finalization
            NamespaceContentRemaining=True Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances
            NamespaceFinalizersRemaining=True Some content in the namespace has finalizers remaining: hold.example/y in 1 resource instances"#]].assert_eq(&lines.join("\n"));
    }
}

//! Which nodes a pod may or would rather be on, by their labels.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};
use windlass_api::selector::{LabelSet, Selector};

use crate::owner;

/// Whether the node is one that the pod's nodeSelector and required node affinity allow.
pub fn allows(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    if !Selector::equal_to(spec.node_selector.iter().flatten()).matches(&labels) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_none_or(|selector| selector.node_selector_terms.iter().any(|term| matches(term, node)))
}

/// Sum of the weights of the preferences that the node fulfils.
pub fn preference(spec: &PodSpec, node: &Node) -> i64 {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let preferred = affinity.and_then(|affinity| affinity.preferred_during_scheduling_ignored_during_execution.as_ref());
    let fulfilled = preferred.into_iter().flatten().filter(|term| matches(&term.preference, node));
    fulfilled.map(|term| i64::from(term.weight)).sum()
}

/// Whether the node fulfils the term; one without any requirement matches no node.
pub fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let by_name = [("metadata.name".to_owned(), owner::name(&node.metadata).to_owned())].into();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|requirement| fulfils(requirement, &node.metadata.labels.as_ref()))
        && fields.iter().all(|requirement| fulfils(requirement, &Some(&by_name)))
}

fn fulfils(requirement: &NodeSelectorRequirement, labels: &Option<&std::collections::BTreeMap<String, String>>) -> bool {
    let value = labels.label(&requirement.key);
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let compare = || Some(number(value?)?.cmp(&number(values.first()?)?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
        "NotIn" => !value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare().is_some_and(std::cmp::Ordering::is_gt),
        "Lt" => compare().is_some_and(std::cmp::Ordering::is_lt),
        _ => false,
    }
}

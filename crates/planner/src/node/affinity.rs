//! Node selectors and node affinity.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

use crate::owner;

/// Whether the node is one that `nodeSelector` and the required node affinity of the pod ask for.
pub fn matches_required(spec: &PodSpec, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| matches_terms(&required.node_selector_terms, node))
}

/// The only nodes that the required node affinity allows, by name; `None` if it does not name them in every one of its terms.
pub fn named(spec: &PodSpec) -> Option<BTreeSet<&str>> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let mut all = BTreeSet::new();
    for term in terms {
        let fields = term.match_fields.iter().flatten();
        let names = fields.filter(|field| field.key == "metadata.name" && field.operator == "In");
        let names = names.map(|field| field.values.iter().flatten().map(String::as_str).collect::<BTreeSet<_>>());
        all.extend(names.reduce(|some, others| &some & &others)?);
    }
    (!terms.is_empty()).then_some(all)
}

/// Whether one of the terms holds; a term without requirements never does.
pub fn matches_terms(terms: &[NodeSelectorTerm], node: &Node) -> bool {
    terms.iter().any(|term| {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let field = |key: &str| (key == "metadata.name").then(|| owner::name(&node.metadata));
        !(expressions.is_empty() && fields.is_empty())
            && expressions.iter().all(|requirement| holds(requirement, label(&requirement.key)))
            && fields.iter().all(|requirement| holds(requirement, field(&requirement.key)))
    })
}

fn holds(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let among = || found.is_some_and(|found| values.iter().any(|value| value == found));
    let compare = |holds: fn(i64, i64) -> bool| {
        let numbers = found.and_then(|found| found.parse().ok()).zip(values.first().and_then(|value| value.parse().ok()));
        numbers.is_some_and(|(found, wanted)| holds(found, wanted))
    };
    match requirement.operator.as_str() {
        "In" => among(),
        "NotIn" => !among(),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compare(|found, wanted| found > wanted),
        "Lt" => compare(|found, wanted| found < wanted),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn terms_are_alternatives_and_requirements_are_not() {
        let node: Node =
            serde_json::from_value(json!({ "metadata": { "name": "n1", "labels": { "zone": "a", "cores": "8" } } })).unwrap();
        let cases = [
            (json!([{ "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a", "b"] }] }]), true),
            (json!([{ "matchExpressions": [{ "key": "zone", "operator": "NotIn", "values": ["a"] }] }]), false),
            (json!([{ "matchExpressions": [{ "key": "rack", "operator": "NotIn", "values": ["a"] }] }]), true),
            (json!([{ "matchExpressions": [{ "key": "cores", "operator": "Gt", "values": ["4"] }] }]), true),
            (
                json!([{ "matchExpressions": [{ "key": "rack", "operator": "Exists" }] }, { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["n1"] }] }]),
                true,
            ),
            (
                json!([{ "matchExpressions": [{ "key": "zone", "operator": "Exists" }, { "key": "rack", "operator": "Exists" }] }]),
                false,
            ),
            (json!([{}]), false),
        ];
        for (terms, matched) in cases {
            let parsed: Vec<NodeSelectorTerm> = serde_json::from_value(terms.clone()).unwrap();
            assert_eq!(matches_terms(&parsed, &node), matched, "{terms}");
        }
    }
}

//! Rules of where a pod may run: affinity, tolerations, spreading, gates.

use std::collections::BTreeSet;

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::selector::label_selector;
use super::super::{format, metadata};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &Field<'_>, errors: &mut Errors) {
    let node = affinity.get("nodeAffinity");
    if node.has(REQUIRED) {
        node_selector(&node.get(REQUIRED), errors);
    }
    for term in node.get(PREFERRED).items() {
        weight(&term, errors);
        node_selector_term(&term.get("preference"), false, errors);
    }
    for field in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(field);
        for term in pods.get(REQUIRED).items() {
            pod_affinity_term(&term, errors);
        }
        for term in pods.get(PREFERRED).items() {
            weight(&term, errors);
            pod_affinity_term(&term.get("podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &Field<'_>, errors: &mut Errors) {
    let weight = term.get("weight");
    if !(1..=100).contains(&weight.number()) {
        errors.invalid_as(weight.path(), weight.number(), "must be in the range 1-100");
    }
}

/// A selector of nodes: at least one term.
pub(in crate::validation) fn node_selector(selector: &Field<'_>, errors: &mut Errors) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        return errors.required(&terms, "must have at least one node selector term");
    }
    for term in terms.items() {
        node_selector_term(&term, true, errors);
    }
}

fn node_selector_term(term: &Field<'_>, check_values: bool, errors: &mut Errors) {
    for requirement in term.get("matchExpressions").items() {
        let (key, operator, values) = (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                errors.forbidden(&values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
            }
            "Gt" | "Lt" if values.len() != 1 => {
                errors.required(&values, "must be specified single value when `operator` is 'Lt' or 'Gt'");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.invalid_as(operator.path(), other, "not a valid selector operator"),
        }
        metadata::label_key(&key, key.text(), errors);
        if check_values {
            for value in values.items() {
                errors.format(&value, format::label_value);
            }
        }
    }
    for requirement in term.get("matchFields").items() {
        let (key, operator, values) = (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.len() != 1 => {
                errors.required(&values, "must be only one value when `operator` is 'In' or 'NotIn' for node field selector")
            }
            "In" | "NotIn" => {}
            other => errors.invalid_as(operator.path(), other, "not a valid selector operator"),
        }
        if key.text() == "metadata.name" {
            for value in values.items() {
                errors.format(&value, format::dns1123_subdomain);
            }
        } else {
            errors.invalid_as(key.path(), key.text(), "not a valid field selector key");
        }
    }
}

fn pod_affinity_term(term: &Field<'_>, errors: &mut Errors) {
    let selector = term.get("labelSelector");
    label_selector(&selector, errors);
    label_selector(&term.get("namespaceSelector"), errors);
    for namespace in term.get("namespaces").items() {
        errors.format(&namespace.named(term.child("namespace")), format::dns1123_label);
    }
    let (matched, mismatched) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    for keys in [&matched, &mismatched] {
        if !keys.is_empty() && !selector.is_set() {
            errors.forbidden(keys, "must not be specified when labelSelector is not set");
        } else {
            keys.items().for_each(|key| metadata::label_key(&key, key.text(), errors));
        }
    }
    // What the keys of a new pod mean is in its selector already, once; what is there twice the user has written too.
    let mut selected: BTreeSet<&str> = selector.get("matchLabels").entries().map(|(key, _)| key).collect();
    for requirement in selector.get("matchExpressions").items() {
        let key = requirement.get("key").text();
        let index = matched.items().collect::<Vec<_>>().iter().rposition(|matched| matched.text() == key);
        if let Some(index) = index.filter(|_| selected.contains(key)) {
            errors.invalid_as(&format!("{}[{index}]", term.path()), key, "exists in both matchLabelKeys and labelSelector");
        }
        selected.insert(key);
    }
    let refused: BTreeSet<&str> = mismatched.items().map(|key| key.text()).collect();
    for key in matched.items().filter(|key| refused.contains(key.text())) {
        errors.invalid(&key, "exists in both matchLabelKeys and mismatchLabelKeys");
    }
    let topology = term.get("topologyKey");
    if topology.text().is_empty() {
        errors.required(&topology, "can not be empty");
    }
    metadata::label_key(&topology, topology.text(), errors);
}

/// What lets a pod stay on a tainted node.
pub(in crate::validation) fn tolerations(tolerations: &Field<'_>, errors: &mut Errors) {
    for toleration in tolerations.items() {
        let (key, operator, value, effect) =
            (toleration.get("key"), toleration.get("operator"), toleration.get("value"), toleration.get("effect"));
        if key.text().is_empty() {
            if operator.text() != "Exists" {
                errors.invalid_as(
                    operator.path(),
                    operator.text(),
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                );
            }
        } else {
            metadata::label_key(&key, key.text(), errors);
        }
        if toleration.has("tolerationSeconds") && effect.text() != "NoExecute" {
            errors.invalid_as(effect.path(), effect.text(), "effect must be 'NoExecute' when `tolerationSeconds` is set");
        }
        match operator.text() {
            "" | "Equal" => {
                let wrong = format::label_value(value.text());
                if !wrong.is_empty() {
                    errors.invalid_as(operator.path(), value.text(), wrong.join(";"));
                }
            }
            "Exists" => {
                if !value.text().is_empty() {
                    errors.invalid_as(operator.path(), value.text(), "value must be empty when `operator` is 'Exists'");
                }
            }
            "Lt" | "Gt" => errors.unsupported(&operator, &["Equal", "Exists", "Lt", "Gt"]),
            _ => errors.unsupported(&operator, &["Equal", "Exists"]),
        }
        if !effect.text().is_empty() {
            taint_effect(&effect, errors);
        }
    }
}

/// What a taint does.
pub(in crate::validation) fn taint_effect(effect: &Field<'_>, errors: &mut Errors) {
    errors.required_one_of(effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
}

pub(super) fn scheduling_gates(gates: &Field<'_>, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for gate in gates.items() {
        let name = gate.get("name").named(gate.path());
        for message in format::qualified_name(name.text()) {
            errors.invalid_as(name.path(), name.text(), message);
        }
        if !names.insert(name.text()) {
            errors.duplicate(&name);
        }
    }
}

pub(super) fn topology_spread(constraints: &Field<'_>, errors: &mut Errors) {
    let kind = |constraint: &Field<'_>| {
        format!("{{{}, {}}}", constraint.get("topologyKey").text(), constraint.get("whenUnsatisfiable").text())
    };
    let kinds: Vec<String> = constraints.items().map(|constraint| kind(&constraint)).collect();
    for (index, constraint) in constraints.items().enumerate() {
        let (max_skew, key, action) =
            (constraint.get("maxSkew"), constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        if max_skew.number() <= 0 {
            errors.invalid_as(max_skew.path(), max_skew.number(), "must be greater than zero");
        }
        if key.text().is_empty() {
            errors.required(&key, "can not be empty");
        }
        errors.one_of(&action, &["DoNotSchedule", "ScheduleAnyway"]);
        if kinds[index + 1..].contains(&kinds[index]) {
            errors.duplicate_as(&constraint.child("{topologyKey, whenUnsatisfiable}"), kinds[index].as_str(), "");
        }
        min_domains(&constraint.get("minDomains"), action.text(), errors);
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if constraint.has(field) {
                errors.one_of(&constraint.get(field), &["Honor", "Ignore"]);
            }
        }
        spread_label_keys(&constraint, errors);
        label_selector(&constraint.get("labelSelector"), errors);
    }
}

fn min_domains(min_domains: &Field<'_>, action: &str, errors: &mut Errors) {
    let Some(domains) = min_domains.int() else { return };
    if domains <= 0 {
        errors.invalid(min_domains, "must be greater than zero");
    }
    if action != "DoNotSchedule" {
        errors.invalid(min_domains, format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"));
    }
}

fn spread_label_keys(constraint: &Field<'_>, errors: &mut Errors) {
    let (keys, selector) = (constraint.get("matchLabelKeys"), constraint.get("labelSelector"));
    if keys.is_empty() {
        return;
    }
    if !selector.is_set() {
        errors.forbidden(&keys, "must not be specified when labelSelector is not set");
    }
    let mut selected: BTreeSet<&str> = selector.get("matchLabels").entries().map(|(key, _)| key).collect();
    selected.extend(selector.get("matchExpressions").items().map(|requirement| requirement.get("key").text()));
    for key in keys.items() {
        metadata::label_key(&key, key.text(), errors);
        if selected.contains(key.text()) {
            errors.invalid(&key, "exists in both matchLabelKeys and labelSelector");
        }
    }
}

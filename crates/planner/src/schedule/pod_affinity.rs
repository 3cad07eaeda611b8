//! Company that pods want or avoid, counted by a label of the nodes (a host, a zone).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Pod, PodAffinityTerm, PodSpec},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use windlass_api::selector::Selector;

use super::{cluster::View, node_state::NodeState, verdict::Rejection};
use crate::owner;

/// A label of nodes and a value of it.
type Place<'a> = (&'a str, &'a str);

/// Where the company is that decides about a pod.
#[derive(Debug, Default)]
pub(super) struct Neighbours<'a> {
    /// For each required term of affinity: the label it counts by, the values where company is, and whether the pod is
    /// company enough for itself.
    wanted: Vec<(&'a str, BTreeSet<&'a str>, bool)>,
    /// Where pods are that this one avoids.
    avoided: BTreeSet<Place<'a>>,
    /// Where pods are that avoid this one.
    repelled: BTreeSet<Place<'a>>,
    /// Weights of preferences, by place.
    preferred: BTreeMap<Place<'a>, i64>,
}

/// A term ready to be compared with pods.
struct Term<'a> {
    topology_key: &'a str,
    selector: Selector,
    namespaces: Vec<&'a str>,
    /// By their labels: namespaces besides those.
    further: Selector,
    view: View<'a>,
}

impl<'a> Term<'a> {
    fn new(view: View<'a>, term: &'a PodAffinityTerm, of: &'a Pod) -> Self {
        let selector = |wanted: Option<&LabelSelector>| Selector::from_typed(wanted).unwrap_or_else(|_| Selector::nothing());
        let mut namespaces: Vec<&str> = term.namespaces.iter().flatten().map(String::as_str).collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(owner::namespace(&of.metadata));
        }
        Self {
            topology_key: &term.topology_key,
            selector: selector(term.label_selector.as_ref()),
            namespaces,
            further: selector(term.namespace_selector.as_ref()),
            view,
        }
    }

    fn matches(&self, pod: &Pod) -> bool {
        let namespace = owner::namespace(&pod.metadata);
        self.selector.matches(&pod.metadata.labels.as_ref())
            && (self.namespaces.contains(&namespace) || self.further.matches(&self.view.labels_of(namespace)))
    }

    fn place<'n>(&self, node: &'n NodeState) -> Option<Place<'n>>
    where
        'a: 'n,
    {
        Some((self.topology_key, node.label(self.topology_key)?))
    }
}

fn terms<'a>(view: View<'a>, terms: Option<&'a Vec<PodAffinityTerm>>, of: &'a Pod) -> Vec<Term<'a>> {
    terms.into_iter().flatten().map(|term| Term::new(view, term, of)).collect()
}

/// Looks at every pod once, and only if anybody has a wish.
pub(super) fn neighbours<'a>(view: View<'a>, pod: &'a Pod, spec: &'a PodSpec) -> Neighbours<'a> {
    let mut found = Neighbours::default();
    for (node, other) in view.repelling() {
        let affinity = other.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
        let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
        let hits = terms(view, required, other).into_iter().filter(|term| term.matches(pod));
        found.repelled.extend(hits.filter_map(|term| Some((term.topology_key, node.label(term.topology_key)?))));
    }
    let Some(affinity) = &spec.affinity else { return found };
    let towards = affinity.pod_affinity.as_ref();
    let away = affinity.pod_anti_affinity.as_ref();
    let wanted = terms(view, towards.and_then(|wish| wish.required_during_scheduling_ignored_during_execution.as_ref()), pod);
    let avoided = terms(view, away.and_then(|wish| wish.required_during_scheduling_ignored_during_execution.as_ref()), pod);
    let weighed = |wish: Option<&'a Vec<k8s_openapi::api::core::v1::WeightedPodAffinityTerm>>, sign: i64| {
        let weigh = move |term: &'a k8s_openapi::api::core::v1::WeightedPodAffinityTerm| {
            (Term::new(view, &term.pod_affinity_term, pod), sign * i64::from(term.weight))
        };
        wish.into_iter().flatten().map(weigh).collect::<Vec<_>>()
    };
    let mut preferred = weighed(towards.and_then(|wish| wish.preferred_during_scheduling_ignored_during_execution.as_ref()), 1);
    preferred.extend(weighed(away.and_then(|wish| wish.preferred_during_scheduling_ignored_during_execution.as_ref()), -1));
    found.wanted = wanted.iter().map(|term| (term.topology_key, BTreeSet::new(), term.matches(pod))).collect();
    if wanted.is_empty() && avoided.is_empty() && preferred.is_empty() {
        return found;
    }
    for (node, other) in view.placed() {
        for (term, (_, places, _)) in wanted.iter().zip(&mut found.wanted) {
            if let Some(value) = node.label(term.topology_key).filter(|_| term.matches(other)) {
                places.insert(value);
            }
        }
        found.avoided.extend(avoided.iter().filter(|term| term.matches(other)).filter_map(|term| term.place(node)));
        for (term, weight) in preferred.iter().filter(|(term, _)| term.matches(other)) {
            if let Some(place) = term.place(node) {
                *found.preferred.entry(place).or_default() += weight;
            }
        }
    }
    found
}

impl Neighbours<'_> {
    /// Why the node is out of the question.
    pub(super) fn rejection(&self, node: &NodeState) -> Option<Rejection> {
        let is_here = |(key, value): &(&str, &str)| node.label(key) == Some(value);
        // The first of a group that wants to be together may start it anywhere.
        let first = self.wanted.iter().all(|(_, values, own)| *own && values.is_empty());
        let lonely = self.wanted.iter().any(|(key, values, _)| match node.label(key) {
            Some(value) => !first && !values.contains(value),
            None => true,
        });
        if lonely {
            Some(Rejection::PodAffinity)
        } else if self.avoided.iter().any(is_here) {
            Some(Rejection::PodAntiAffinity)
        } else if self.repelled.iter().any(is_here) {
            Some(Rejection::ExistingPodAntiAffinity)
        } else {
            None
        }
    }

    /// How much the pod would like to be there.
    pub(super) fn preference(&self, node: &NodeState) -> i64 {
        self.preferred.iter().filter(|((key, value), _)| node.label(key) == Some(value)).map(|(_, weight)| weight).sum()
    }
}

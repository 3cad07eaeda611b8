//! Company that pods want or avoid, counted by a label of the nodes (a host, a zone).

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use windlass_api::selector::Selector;

use super::{cluster::View, node_state::NodeState, verdict::Rejection};
use crate::owner;

/// What it weighs in a score that a placed pod needs the company: upstream's default `hardPodAffinityWeight`.
const WEIGHT_OF_NEED: i64 = 1;

/// One wish about where others are, ready to be compared with them.
#[derive(Debug)]
struct Term {
    topology_key: String,
    selector: Selector,
    namespaces: Vec<String>,
    /// By their labels: namespaces besides those.
    further: Selector,
}

impl Term {
    fn new(term: &PodAffinityTerm, of: &Pod) -> Self {
        let selector = |wanted: Option<&LabelSelector>| Selector::from_typed(wanted).unwrap_or_else(|_| Selector::nothing());
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(owner::namespace(&of.metadata).to_owned());
        }
        Self {
            topology_key: term.topology_key.clone(),
            selector: selector(term.label_selector.as_ref()),
            namespaces,
            further: selector(term.namespace_selector.as_ref()),
        }
    }

    fn matches(&self, pod: &Pod, view: View<'_>) -> bool {
        let namespace = owner::namespace(&pod.metadata);
        self.selector.matches(&pod.metadata.labels.as_ref())
            && (self.namespaces.iter().any(|name| name == namespace) || self.further.matches(&view.labels_of(namespace)))
    }
}

/// What a pod wishes about the company of others.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    wanted: Vec<Term>,
    avoided: Vec<Term>,
    /// With their weights, which are negative where others are avoided.
    preferred: Vec<(Term, i64)>,
}

impl Wishes {
    /// Reads the affinity of the pod.
    pub(super) fn of(pod: &Pod) -> Self {
        let mut found = Self::default();
        let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return found };
        let required = |terms: &Option<Vec<PodAffinityTerm>>| terms.iter().flatten().map(|term| Term::new(term, pod)).collect();
        let preferred = |terms: &Option<Vec<WeightedPodAffinityTerm>>, sign: i64| {
            let weigh = |term: &WeightedPodAffinityTerm| (Term::new(&term.pod_affinity_term, pod), sign * i64::from(term.weight));
            terms.iter().flatten().map(weigh).collect::<Vec<_>>()
        };
        if let Some(towards) = &affinity.pod_affinity {
            found.wanted = required(&towards.required_during_scheduling_ignored_during_execution);
            found.preferred = preferred(&towards.preferred_during_scheduling_ignored_during_execution, 1);
        }
        if let Some(away) = &affinity.pod_anti_affinity {
            found.avoided = required(&away.required_during_scheduling_ignored_during_execution);
            found.preferred.extend(preferred(&away.preferred_during_scheduling_ignored_during_execution, -1));
        }
        found
    }

    /// Whether it has none.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.avoided.is_empty() && self.preferred.is_empty()
    }
}

/// By label of nodes: values of it.
type Places<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn is_among(node: &NodeState, places: &Places<'_>) -> bool {
    places.iter().any(|(key, values)| node.label(key).is_some_and(|value| values.contains(value)))
}

/// Where the company is that decides about a pod.
#[derive(Debug, Default)]
pub(super) struct Neighbours<'a> {
    /// For each required term of affinity: the label it counts by, and the values where company is that all terms are about.
    wanted: Vec<(String, BTreeSet<&'a str>)>,
    /// Whether the pod is company enough for itself.
    own: bool,
    /// Where pods are that this one avoids.
    avoided: Places<'a>,
    /// Where pods are that avoid this one.
    repelled: Places<'a>,
}

/// Looks at every pod once, and only if this one insists on anything; otherwise at those that have wishes.
pub(super) fn neighbours<'a>(view: View<'a>, pod: &Pod, wishes: &Wishes) -> Neighbours<'a> {
    let mut found = Neighbours::default();
    for (node, theirs) in view.wishing() {
        let hits = theirs.avoided.iter().filter(|term| term.matches(pod, view));
        add(&mut found.repelled, hits, node);
    }
    if wishes.wanted.is_empty() && wishes.avoided.is_empty() {
        return found;
    }
    found.own = wishes.wanted.iter().all(|term| term.matches(pod, view));
    found.wanted = wishes.wanted.iter().map(|term| (term.topology_key.clone(), BTreeSet::new())).collect();
    for (node, other) in view.placed() {
        // As upstream: company is who is meant by every term.
        if wishes.wanted.iter().all(|term| term.matches(other, view)) {
            found.wanted.iter_mut().for_each(|(key, values)| values.extend(node.label(key)));
        }
        add(&mut found.avoided, wishes.avoided.iter().filter(|term| term.matches(other, view)), node);
    }
    found
}

fn add<'a, 't>(places: &mut Places<'a>, terms: impl Iterator<Item = &'t Term>, node: &'a NodeState) {
    for (key, value) in terms.filter_map(|term| node.place(&term.topology_key)) {
        places.entry(key).or_default().insert(value);
    }
}

impl Neighbours<'_> {
    /// Why the node is out of the question.
    pub(super) fn rejection(&self, node: &NodeState) -> Option<Rejection> {
        // The first of a group that wants to be together may start it anywhere.
        let first = self.own && self.wanted.iter().all(|(_, values)| values.is_empty());
        let lonely = self.wanted.iter().any(|(key, values)| match node.label(key) {
            Some(value) => !first && !values.contains(value),
            None => true,
        });
        if lonely {
            Some(Rejection::PodAffinity)
        } else if is_among(node, &self.avoided) {
            Some(Rejection::PodAntiAffinity)
        } else if is_among(node, &self.repelled) {
            Some(Rejection::ExistingPodAntiAffinity)
        } else {
            None
        }
    }
}

/// Where a pod would like to be, and where those that are placed would like it to be: weights by label of nodes and value.
#[derive(Debug, Default)]
pub(super) struct Attraction<'a>(BTreeMap<&'a str, BTreeMap<&'a str, i64>>);

/// Looks at every pod once, and only if this one prefers anything; otherwise at those that have wishes.
pub(super) fn attraction<'a>(view: View<'a>, pod: &Pod, wishes: &Wishes) -> Attraction<'a> {
    let mut found = Attraction::default();
    for (node, theirs) in view.wishing() {
        let needs = theirs.wanted.iter().map(|term| (term, WEIGHT_OF_NEED));
        let preferences = theirs.preferred.iter().map(|(term, weight)| (term, *weight));
        needs
            .chain(preferences)
            .filter(|(term, _)| term.matches(pod, view))
            .for_each(|(term, weight)| found.add(term, weight, node));
    }
    if wishes.preferred.is_empty() {
        return found;
    }
    for (node, other) in view.placed() {
        let hits = wishes.preferred.iter().filter(|(term, _)| term.matches(other, view));
        hits.for_each(|(term, weight)| found.add(term, *weight, node));
    }
    found
}

impl<'a> Attraction<'a> {
    fn add(&mut self, term: &Term, weight: i64, node: &'a NodeState) {
        if let Some((key, value)) = node.place(&term.topology_key) {
            *self.0.entry(key).or_default().entry(value).or_default() += weight;
        }
    }

    /// How much it speaks for the node; negative if it speaks against it.
    pub(super) fn on(&self, node: &NodeState) -> i64 {
        self.0.iter().filter_map(|(key, weights)| weights.get(node.label(key)?)).sum()
    }
}

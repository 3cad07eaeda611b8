//! How crowded nodes are by topology spread constraints that are wishes. A pod without any has upstream's default ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use windlass_api::selector::Selector;

use super::{filter::Candidate, node_state::NodeState, spread};
use crate::owner;

const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// What upstream wishes for pods that say nothing.
static DEFAULT: LazyLock<[TopologySpreadConstraint; 2]> = LazyLock::new(|| {
    [(HOST, 3), (ZONE, 5)].map(|(key, max_skew)| TopologySpreadConstraint {
        topology_key: key.to_owned(),
        max_skew,
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        ..TopologySpreadConstraint::default()
    })
});

/// Whose owners are known to make pods that are alike.
const OWNERS: [(&str, &str); 3] = [("apps/v1", "ReplicaSet"), ("apps/v1", "StatefulSet"), ("v1", "ReplicationController")];

/// Whom a wish counts.
#[derive(Debug)]
enum Whom<'a> {
    Selected(Selector),
    /// Pods of the owner of this uid.
    Siblings(&'a str),
}

impl Whom<'_> {
    fn count(&self, namespace: &str, node: &NodeState) -> i64 {
        match self {
            Self::Selected(selector) => spread::selected(selector, namespace, node),
            Self::Siblings(owner) => node.siblings(owner),
        }
    }
}

#[derive(Debug)]
struct Wish<'a> {
    key: &'a str,
    max_skew: i32,
    whom: Whom<'a>,
    /// What a pod weighs: the more the more domains there are.
    weight: f64,
    /// Pods by domain; none for hosts, each of which is a domain.
    counts: BTreeMap<&'a str, i64>,
}

/// The wishes of a pod, with what is there.
#[derive(Debug)]
pub(super) struct Crowding<'a> {
    namespace: &'a str,
    wishes: Vec<Wish<'a>>,
    /// Whether a node that lacks a label has no part in this.
    needs_labels: bool,
}

impl<'a> Crowding<'a> {
    /// Counts over all nodes, in the domains that nodes are in which can take the pod.
    pub(super) fn new(candidate: &Candidate<'a>, feasible: &[&NodeState]) -> Self {
        let namespace = owner::namespace(&candidate.pod.metadata);
        let own = candidate.spec.topology_spread_constraints.as_deref().unwrap_or_default();
        let wished: Vec<(&'a TopologySpreadConstraint, Whom<'a>)> = if own.is_empty() {
            DEFAULT.iter().filter_map(|constraint| Some((constraint, alike(candidate)?))).collect()
        } else {
            let wished = own.iter().filter(|constraint| !spread::is_required(constraint));
            wished.map(|constraint| (constraint, Whom::Selected(spread::selector(constraint, candidate.pod)))).collect()
        };
        let needs_labels = !own.is_empty();
        let keys: Vec<&str> = wished.iter().map(|(constraint, _)| constraint.topology_key.as_str()).collect();
        let takes_part = |node: &NodeState| !needs_labels || keys.iter().all(|key| node.label(key).is_some());
        let feasible: Vec<&NodeState> = feasible.iter().copied().filter(|node| takes_part(node)).collect();
        let wish = |(constraint, whom): (&'a TopologySpreadConstraint, Whom<'a>)| {
            let key = constraint.topology_key.as_str();
            let mut counts = BTreeMap::new();
            let mut domains = feasible.len();
            if key != HOST {
                let values: BTreeSet<Option<&str>> = feasible.iter().map(|node| node.label(key)).collect();
                domains = values.len();
                let counted = |node: &&NodeState| takes_part(node) && spread::takes_part(constraint, candidate.spec, node);
                // Where no node has the label, none is looked at.
                let nodes = candidate.view.nodes().filter(|_| values.iter().any(Option::is_some));
                for node in nodes.filter(|node| values.contains(&node.label(key))).filter(counted) {
                    if let Some(value) = node.label(key) {
                        *counts.entry(value).or_default() += whom.count(namespace, node);
                    }
                }
            }
            let weight = f64::from(u32::try_from(domains + 2).unwrap_or(u32::MAX)).ln();
            Wish { key, max_skew: constraint.max_skew, whom, weight, counts }
        };
        let wishes = wished.into_iter().map(wish).collect();
        Self { namespace, wishes, needs_labels }
    }

    /// How crowded the node is; `None` if it has no part in this.
    pub(super) fn on(&self, node: &NodeState) -> Option<i64> {
        if self.needs_labels && self.wishes.iter().any(|wish| node.label(wish.key).is_none()) {
            return None;
        }
        let crowded = |wish: &Wish<'_>| {
            let value = node.label(wish.key)?;
            let count = match wish.key {
                HOST => wish.whom.count(self.namespace, node),
                _ => wish.counts.get(value).copied().unwrap_or(0),
            };
            // A wish that allows for more skew makes less of a difference.
            Some(f64::from(i32::try_from(count).unwrap_or(i32::MAX)) * wish.weight + f64::from(wish.max_skew - 1))
        };
        Some(super::score::whole(self.wishes.iter().filter_map(crowded).sum::<f64>().round()))
    }
}

/// The pods that are like this one: those of its owner, or those of all Services that select it. `None` if there is neither.
fn alike<'a>(candidate: &Candidate<'a>) -> Option<Whom<'a>> {
    let meta = &candidate.pod.metadata;
    let owner = owner::controller_of(meta).filter(|owner| OWNERS.contains(&(&owner.api_version, &owner.kind)));
    if let Some(owner) = owner {
        return Some(Whom::Siblings(&owner.uid));
    }
    let labels = candidate.view.selected_by(candidate.pod);
    (!labels.is_empty()).then(|| Whom::Selected(Selector::equal_to(labels)))
}

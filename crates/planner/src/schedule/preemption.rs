//! Which pods go so that one of higher priority has room.
//!
//! <https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/>

#[cfg(test)]
mod tests;

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Pod, policy::v1::PodDisruptionBudget};

use super::{cluster::Cluster, filter, node_state::NodeState, priority, verdict::Rejection, volumes::PodVolumes};
use crate::{disruption, owner, replica};

/// What taking other pods away comes to; texts are upstream's.
#[derive(Debug, Clone, PartialEq)]
pub enum Preemption {
    /// It makes room.
    Possible(Victims),
    /// The pod may not, or not yet. Where room is being made for it stays as it is.
    NotEligible(&'static str),
    /// It makes no room anywhere: how many nodes say so, by what they say.
    NoHelp(BTreeMap<String, usize>),
}

impl Default for Preemption {
    fn default() -> Self {
        Self::NoHelp(BTreeMap::new())
    }
}

/// Who goes, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Victims {
    /// The node that the pod is nominated for.
    pub node: String,
    /// Pods that are to go, the most important one first; those that go already are among them.
    pub pods: Vec<Arc<Pod>>,
    /// Pods of lower priority that were nominated for the node, and no longer are.
    pub displaced: Vec<Arc<Pod>>,
}

const NEVER: &str = "not eligible due to preemptionPolicy=Never.";
const WAITING: &str = "not eligible due to a terminating pod on the nominated node.";
const HOPELESS: &str = "Preemption is not helpful for scheduling";
const NOBODY: &str = "No preemption victims found for incoming pod";

/// Decides for a pod that no node takes. With each node comes whether it could take the pod if it had no other.
pub(super) fn plan(cluster: &Cluster, pod: &Pod, volumes: &PodVolumes, rejected: &[(&NodeState, bool)]) -> Preemption {
    if pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Preemption::NotEligible(NEVER);
    }
    let own = priority(pod);
    if is_waiting_for_victims(cluster, pod, rejected) {
        return Preemption::NotEligible(WAITING);
    }
    let mut counts = BTreeMap::new();
    let mut count = |why: String| *counts.entry(why).or_insert(0) += 1;
    let mut best: Option<Sacrifice> = None;
    for (node, hopeful) in rejected {
        if !hopeful {
            count(HOPELESS.to_owned());
        } else if node.lowest_priority().is_none_or(|lowest| lowest >= own) {
            count(NOBODY.to_owned());
        } else {
            match Sacrifice::on(cluster, node, pod, volumes) {
                Ok(sacrifice) if best.as_ref().is_none_or(|best| sacrifice.cost() < best.cost()) => best = Some(sacrifice),
                Ok(_) => {}
                Err(rejections) => rejections.iter().for_each(|rejection| count(rejection.to_string())),
            }
        }
    }
    let Some(best) = best else { return Preemption::NoHelp(counts) };
    let displaced = cluster.nominated_on(&best.node).filter(|other| priority(other) < own).cloned().collect();
    Preemption::Possible(Victims { node: best.node, pods: best.pods, displaced })
}

/// Whether room is being made for the pod already: a pod of lower priority is on its way out for it.
fn is_waiting_for_victims(cluster: &Cluster, pod: &Pod, rejected: &[(&NodeState, bool)]) -> bool {
    let Some(name) = cluster.nominated_node(owner::uid(&pod.metadata)) else { return false };
    let nominated = rejected.iter().find(|(node, hopeful)| *hopeful && node.name() == name);
    nominated.is_some_and(|(node, _)| node.pods().any(|other| priority(other) < priority(pod) && is_preempted(other)))
}

fn is_preempted(pod: &Pod) -> bool {
    let why = replica::condition(pod, "DisruptionTarget").filter(|target| target.status == "True");
    pod.metadata.deletion_timestamp.is_some()
        && why.is_some_and(|target| target.reason.as_deref() == Some("PreemptionByScheduler"))
}

/// The pods of one node that would have to go.
struct Sacrifice {
    node: String,
    /// The most important one first; never empty.
    pods: Vec<Arc<Pod>>,
    /// How many of them a budget protects.
    protected: usize,
}

impl Sacrifice {
    /// Takes every pod of lower priority away, and gives back, one by one, those beside which there still is room. An error is why
    /// there is no room even without them.
    fn on(cluster: &Cluster, node: &NodeState, pod: &Pod, volumes: &PodVolumes) -> Result<Self, Vec<Rejection>> {
        let mut going: Vec<Arc<Pod>> = node.pods().filter(|other| priority(other) < priority(pod)).cloned().collect();
        going.sort_by_key(|pod| importance(pod));
        let mut state = node.clone();
        going.iter().for_each(|other| state.remove(owner::uid(&other.metadata)));
        let why = |state: &NodeState| filter::rejections_beside_nominated(cluster, state, pod, volumes);
        let rejections = why(&state);
        if !rejections.is_empty() {
            return Err(rejections);
        }
        let mut found = Self { node: node.name().to_owned(), pods: Vec::new(), protected: 0 };
        let (protected, others): (Vec<_>, Vec<_>) = protection(cluster, going).into_iter().partition(|(_, protected)| *protected);
        for (other, protected) in protected.into_iter().chain(others) {
            state.insert(Arc::clone(&other));
            if !why(&state).is_empty() {
                state.remove(owner::uid(&other.metadata));
                found.protected += usize::from(protected);
                found.pods.push(other);
            }
        }
        found.pods.sort_by_key(|pod| importance(pod));
        Ok(found)
    }

    /// The less the better: protected pods, then the highest priority, then all priorities together, then how many, then how long
    /// those of the highest priority have run.
    fn cost(&self) -> (usize, Option<i32>, i64, usize, Reverse<Option<Timestamp>>) {
        // None may be negative, or a node would be better for one pod more.
        let sum = self.pods.iter().map(|pod| i64::from(priority(pod)) - i64::from(i32::MIN)).sum();
        let first = self.pods.first();
        (self.protected, first.map(|pod| priority(pod)), sum, self.pods.len(), Reverse(first.map(|pod| start(pod))))
    }
}

/// The most important pod first: the higher priority, then the longer run.
fn importance(pod: &Pod) -> (Reverse<i32>, Timestamp) {
    (Reverse(priority(pod)), start(pod))
}

/// When it was started; one that has not been counts as started last.
fn start(pod: &Pod) -> Timestamp {
    pod.status.as_ref().and_then(|status| status.start_time.as_ref()).map_or(Timestamp::MAX, |time| time.0)
}

/// With each pod, whether a budget would be overdrawn if it went after those before it.
fn protection(cluster: &Cluster, pods: Vec<Arc<Pod>>) -> Vec<(Arc<Pod>, bool)> {
    let status = |budget: &PodDisruptionBudget| budget.status.clone().unwrap_or_default();
    let mut budgets: Vec<_> = cluster.budgets().map(|budget| (budget, status(budget))).collect();
    let look = |pod: Arc<Pod>| {
        let mut protected = false;
        for (budget, status) in &mut budgets {
            let ours = owner::namespace(&budget.metadata) == owner::namespace(&pod.metadata);
            // One that is in the list of the disrupted was counted by who evicted it.
            let counted = status.disrupted_pods.as_ref().is_some_and(|pods| pods.contains_key(owner::name(&pod.metadata)));
            if ours && !counted && disruption::covers(budget, &pod) {
                let allowed = status.disruptions_allowed.get_or_insert(0);
                *allowed -= 1;
                protected |= *allowed < 0;
            }
        }
        (pod, protected)
    };
    pods.into_iter().map(look).collect()
}

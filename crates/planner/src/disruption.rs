//! PodDisruptionBudgets: how many pods may be disrupted, as of now.
//!
//! Behaviour follows <https://kubernetes.io/docs/concepts/workloads/pods/disruptions/>.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
};
use windlass_api::selector::Selector;

use crate::{
    note::Note,
    owner,
    percent::{Rounding, scaled},
    replica, seconds,
};

/// An evicted pod that is not marked for deletion after this long stays after all. Upstream's figure.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const ALLOWED: &str = "DisruptionAllowed";

/// Everything the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The budget.
    pub budget: &'a PodDisruptionBudget,
    /// Pods of its namespace; others may be among them.
    pub pods: &'a [Arc<Pod>],
    /// What scales the pods of an owner, by uid of the owner that controls them.
    pub scales: &'a BTreeMap<String, Scale>,
}

/// What scales pods: the owner itself, or what owns that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scale {
    /// `spec.replicas` of the object with this uid.
    Replicas {
        /// Uid of what is scaled: several ReplicaSets may be one Deployment's.
        uid: String,
        /// How many.
        replicas: i32,
    },
    /// Pods of such owners are not scaled by a number, so shares of it mean nothing: the resource, such as `daemonsets.apps`.
    None {
        /// Plural and group.
        resource: String,
    },
}

/// What the budget says next.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The status as of the snapshot; equal to the present one if nothing changed.
    pub status: PodDisruptionBudgetStatus,
    /// What to say on the budget.
    pub notes: Vec<Note>,
    /// Pods that were to be evicted and were not deleted after all.
    pub spared: Vec<Arc<Pod>>,
    /// When an evicted pod will count again if nobody deletes it.
    pub wake_at: Option<Timestamp>,
}

/// When it is no longer to be believed that a pod is about to be disrupted, since nobody deletes it; `None` if that is not said, or
/// if the node agent says so, which may take as long as it likes.
pub fn stale_at(pod: &Pod) -> Option<Timestamp> {
    let target = replica::condition(pod, "DisruptionTarget").filter(|target| target.status == "True")?;
    let going = !replica::is_active(pod) || target.reason.as_deref() == Some("TerminationByKubelet");
    let since = target.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    (!going).then(|| since.saturating_add(DELETION_TIMEOUT).unwrap_or(Timestamp::MAX))
}

/// The pods that a budget covers. One without a selector covers none, one with an empty selector all.
pub fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = selector.map(|selector| Selector::from_typed(Some(selector)));
    selector.is_some_and(|selector| selector.is_ok_and(|selector| selector.matches(&pod.metadata.labels.as_ref())))
}

/// How many pods there should be, and how many of them healthy.
struct Expectation {
    pods: i32,
    healthy: i32,
    unmanaged: bool,
}

/// Decides.
pub fn plan(snapshot: &Snapshot<'_>, now: Timestamp) -> Plan {
    let budget = snapshot.budget;
    let pods: Vec<&Arc<Pod>> = snapshot.pods.iter().filter(|pod| covers(budget, pod)).collect();
    let mut notes = Vec::new();
    if pods.is_empty() {
        notes.push(Note::normal("NoPods", "No matching pods found"));
    }
    let expectation = match expect(budget, &pods, snapshot.scales) {
        Ok(expectation) => expectation,
        Err(why) => {
            let text = format!("Failed to calculate the number of expected pods: {why}");
            notes.push(Note::warning("CalculateExpectedPodCountFailed", text));
            return Plan { status: failed(budget, why, now), notes, spared: Vec::new(), wake_at: None };
        }
    };
    if expectation.unmanaged {
        notes.push(Note::warning("UnmanagedPods", unmanaged_text(budget)));
    }
    let (disrupted, spared) = disrupted(budget, &pods, now);
    let counts = |pod: &&&Arc<Pod>| {
        let leaving = pod.metadata.deletion_timestamp.is_some() || disrupted.contains_key(owner::name(&pod.metadata));
        !leaving && replica::is_ready(pod)
    };
    let healthy = i32::try_from(pods.iter().filter(counts).count()).unwrap_or(i32::MAX);
    // Without pods nothing is allowed: the first ones may appear before this is looked at again.
    let allowed = if expectation.pods <= 0 { 0 } else { (healthy - expectation.healthy).max(0) };
    let wake_at = disrupted.values().filter_map(|time| time.0.checked_add(DELETION_TIMEOUT).ok()).min();
    let before = budget.status.clone().unwrap_or_default();
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(expectation.healthy),
        expected_pods: Some(expectation.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted).filter(|pods| !pods.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: before.conditions,
    };
    let (value, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set_condition(&mut status, value, reason, String::new(), now);
    Plan { status, notes, spared, wake_at }
}

fn expect(budget: &PodDisruptionBudget, pods: &[&Arc<Pod>], scales: &BTreeMap<String, Scale>) -> Result<Expectation, String> {
    let spec = budget.spec.clone().unwrap_or_default();
    let count = i32::try_from(pods.len()).unwrap_or(i32::MAX);
    match (spec.max_unavailable, spec.min_available) {
        (Some(most), _) => {
            let (pods, unmanaged) = expected_scale(pods, scales)?;
            let healthy = (pods - scaled(&most, pods, Rounding::Up)).max(0);
            Ok(Expectation { pods, healthy, unmanaged })
        }
        (None, Some(IntOrString::Int(healthy))) => Ok(Expectation { pods: count, healthy, unmanaged: false }),
        (None, Some(share)) => {
            let (pods, unmanaged) = expected_scale(pods, scales)?;
            Ok(Expectation { pods, healthy: scaled(&share, pods, Rounding::Up), unmanaged })
        }
        (None, None) => Ok(Expectation { pods: 0, healthy: 0, unmanaged: false }),
    }
}

/// The sum of what the owners of these pods are scaled to, and whether there are pods without one.
fn expected_scale(pods: &[&Arc<Pod>], scales: &BTreeMap<String, Scale>) -> Result<(i32, bool), String> {
    let mut found: BTreeMap<&str, i32> = BTreeMap::new();
    let mut unmanaged = false;
    for pod in pods {
        let Some(uid) = owner::controller_uid(&pod.metadata) else {
            unmanaged = true;
            continue;
        };
        match scales.get(uid) {
            Some(Scale::Replicas { uid, replicas }) => drop(found.insert(uid, *replicas)),
            Some(Scale::None { resource }) => return Err(format!("{resource} does not implement the scale subresource")),
            None => return Err(format!("found no controllers for pod \"{}\"", owner::name(&pod.metadata))),
        }
    }
    Ok((found.into_values().fold(0, i32::saturating_add), unmanaged))
}

/// Evicted pods that are still to be deleted, and those that were spared.
fn disrupted(budget: &PodDisruptionBudget, pods: &[&Arc<Pod>], now: Timestamp) -> (BTreeMap<String, Time>, Vec<Arc<Pod>>) {
    let noted = budget.status.as_ref().and_then(|status| status.disrupted_pods.clone()).unwrap_or_default();
    let (mut disrupted, mut spared) = (BTreeMap::new(), Vec::new());
    for pod in pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        let name = owner::name(&pod.metadata);
        let Some(time) = noted.get(name) else { continue };
        if time.0.checked_add(DELETION_TIMEOUT).is_ok_and(|until| until < now) {
            spared.push(Arc::clone(pod));
        } else {
            disrupted.insert(name.to_owned(), time.clone());
        }
    }
    (disrupted, spared)
}

/// What cannot be worked out allows nothing.
fn failed(budget: &PodDisruptionBudget, why: String, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    for count in [&mut status.current_healthy, &mut status.desired_healthy, &mut status.expected_pods] {
        count.get_or_insert(0);
    }
    set_condition(&mut status, "False", "SyncFailed", why, now);
    status
}

fn set_condition(status: &mut PodDisruptionBudgetStatus, value: &str, reason: &str, message: String, now: Timestamp) {
    let observed_generation = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let present = conditions.iter().position(|condition| condition.type_ == ALLOWED);
    let since = present.map(|index| conditions.swap_remove(index)).filter(|condition| condition.status == value);
    conditions.push(Condition {
        last_transition_time: since.map_or_else(|| seconds(now), |condition| condition.last_transition_time),
        message,
        observed_generation,
        reason: reason.to_owned(),
        status: value.to_owned(),
        type_: ALLOWED.to_owned(),
    });
}

fn unmanaged_text(budget: &PodDisruptionBudget) -> String {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let selector = Selector::from_typed(selector).map(|selector| selector.to_string()).unwrap_or_default();
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
         \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

//! Pods that are taken away so that one of higher priority has room, and the node that it is nominated for meanwhile.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use windlass_planner::{
    note::Note,
    owner, replica,
    schedule::{Cluster, DEFAULT_SCHEDULER, Preemption, Victims},
    seconds,
};

use super::{Loop, turn::Turn};
use crate::api::{self, Deletion, Error};

/// `status.nominatedNodeName`.
fn nominated(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.nominated_node_name.as_deref().filter(|name| !name.is_empty())
}

/// Room counts as made from the decision on, and for nobody who has lost it.
pub(super) fn nominate(cluster: &mut Cluster, pod: &Arc<Pod>, preemption: &Preemption) {
    match preemption {
        Preemption::Possible(victims) => {
            for other in &victims.displaced {
                cluster.denominate(owner::uid(&other.metadata));
            }
            cluster.nominate(Arc::clone(pod), &victims.node);
        }
        Preemption::NotEligible(_) => {}
        Preemption::NoHelp(_) => {
            cluster.denominate(owner::uid(&pod.metadata));
        }
    }
}

/// The API server says of a pod that waits for which node it is nominated. Where that says nothing new, what was decided holds: it
/// may not have been told yet. Whether others may have room for that.
pub(super) fn follow(cluster: &mut Cluster, old: Option<&Arc<Pod>>, pod: &Arc<Pod>) -> bool {
    if old.and_then(|old| nominated(old)) == nominated(pod) {
        return false;
    }
    let had_room = cluster.denominate(owner::uid(&pod.metadata));
    if let Some(node) = nominated(pod) {
        cluster.nominate(Arc::clone(pod), node);
    }
    had_room
}

/// The change of a pod's status that says why it has no place; `None` if its status says so already.
pub(super) fn unschedulable(pod: &Pod, message: &str, preemption: &Preemption, now: Timestamp) -> Option<Value> {
    let before = replica::condition(pod, "PodScheduled").filter(|condition| condition.status == "False");
    let node = match preemption {
        Preemption::Possible(victims) => Some(victims.node.as_str()),
        Preemption::NotEligible(_) => nominated(pod),
        Preemption::NoHelp(_) => None,
    };
    let told = replica::condition(pod, "PodScheduled").is_some_and(|condition| condition.message.as_deref() == Some(message));
    if told && node == nominated(pod) {
        return None;
    }
    let since = before.and_then(|condition| condition.last_transition_time.clone()).unwrap_or_else(|| seconds(now));
    let mut change = json!({
        "metadata": {"uid": pod.metadata.uid},
        "status": {"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
            "lastProbeTime": null, "lastTransitionTime": since, "observedGeneration": pod.metadata.generation
        }]}
    });
    if node != nominated(pod) {
        change["status"]["nominatedNodeName"] = node.into();
    }
    Some(change)
}

impl Loop {
    /// Takes the victims away. They end in their own time; the pod is tried again as they do.
    pub(super) async fn preempt(&self, pod: &Pod, victims: &Victims) -> Result<(), Error> {
        for other in &victims.displaced {
            self.displace(other).await?;
        }
        for victim in victims.pods.iter().filter(|victim| victim.metadata.deletion_timestamp.is_none()) {
            self.evict(pod, victim, &victims.node).await?;
        }
        Ok(())
    }

    /// A pod of lower priority may no longer fit where it was nominated: it looks for another place at once.
    async fn displace(&self, pod: &Pod) -> Result<(), Error> {
        let change = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"nominatedNodeName": null}});
        let told = api::merge_status::<Pod>(&self.context.client, &pod.metadata, &change).await;
        self.queue.add(Turn::of(pod));
        match told {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    async fn evict(&self, pod: &Pod, victim: &Pod, node: &str) -> Result<(), Error> {
        let client = &self.context.client;
        let scheduler = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref()).filter(|name| !name.is_empty());
        let message = format!("{}: preempting to accommodate a higher priority pod", scheduler.unwrap_or(DEFAULT_SCHEDULER));
        let meta = &victim.metadata;
        let change = json!({"metadata": {"uid": meta.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": message,
            "lastProbeTime": null, "lastTransitionTime": seconds(self.context.now()), "observedGeneration": meta.generation
        }]}});
        let told = api::merge_status::<Pod>(client, meta, &change).await;
        let deleted = match told {
            Ok(_) => api::delete::<Pod>(client, meta, &Deletion::of(meta)).await,
            Err(error) => Err(error),
        };
        match deleted {
            Ok(written) => {
                let message = format!("Preempted by pod {} on node {node}", owner::uid(&pod.metadata));
                self.context.recorder.tell::<Pod>(DEFAULT_SCHEDULER, meta, Note::normal("Preempted", message));
                // The next decision must not take it for one that stays.
                self.context.pods.reached(written.revision).await;
                Ok(())
            }
            // It is gone, or another one of that name by now.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

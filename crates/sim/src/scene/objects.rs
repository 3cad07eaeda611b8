//! The fields of objects that the checkers look at.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";

/// What every object has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Marked for deletion.
    pub(crate) going: bool,
    pub(crate) generation: u64,
    /// Uid of the owner that controls it.
    pub(crate) controller: Option<String>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) meta: Meta,
    /// Its label `app`, by which the workloads of a world select.
    pub(crate) app: String,
    pub(crate) node: String,
    /// Succeeded or Failed.
    pub(crate) finished: bool,
    pub(crate) ready_since: Option<Timestamp>,
    /// The node that it is on or meant for.
    pub(crate) place: String,
    /// Its label with the ControllerRevision, or the hash of it.
    pub(crate) revision: String,
    /// Names of the claims that it uses.
    pub(crate) claims: Vec<String>,
}

/// A PersistentVolumeClaim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) meta: Meta,
    /// Uids of whatever takes it along when it goes.
    pub(crate) owners: Vec<String>,
}

/// A ReplicaSet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReplicaSet {
    pub(crate) meta: Meta,
    pub(crate) size: usize,
    pub(crate) min_ready_seconds: i64,
    /// Without the hash that tells ReplicaSets apart.
    pub(crate) template: Arc<str>,
    /// 0 where it has none yet.
    pub(crate) revision: u64,
    pub(crate) status_replicas: usize,
    pub(crate) status_available: usize,
    observed_generation: u64,
}

/// How far a rollout may go, in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Most pods that may count as replicas: `replicas + maxSurge`.
    pub(crate) most: usize,
    /// Fewest that are to be available: `replicas - maxUnavailable`.
    pub(crate) least: usize,
}

/// A Deployment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Deployment {
    pub(crate) meta: Meta,
    pub(crate) replicas: usize,
    pub(crate) bounds: Bounds,
    pub(crate) recreate: bool,
    pub(crate) paused: bool,
    pub(crate) history_limit: usize,
    /// Its JSON, to the byte.
    pub(crate) template: Arc<str>,
    pub(crate) revision: u64,
    pub(crate) status_replicas: usize,
    pub(crate) status_updated: usize,
    pub(crate) status_available: usize,
    observed_generation: u64,
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

pub(super) fn number(value: &Value) -> usize {
    value.as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

impl Meta {
    pub(crate) fn read(object: &Value) -> Option<Self> {
        let meta = object.get("metadata")?;
        let owners = meta["ownerReferences"].as_array().into_iter().flatten();
        Some(Self {
            name: text(&meta["name"]),
            uid: text(&meta["uid"]),
            going: !meta["deletionTimestamp"].is_null(),
            generation: meta["generation"].as_u64().unwrap_or(0),
            controller: owners.into_iter().find(|owner| owner["controller"] == true).map(|owner| text(&owner["uid"])),
        })
    }

    pub(crate) fn is_owned_by(&self, uid: &str) -> bool {
        self.controller.as_deref() == Some(uid)
    }
}

impl Claim {
    pub(super) fn read(object: &Value) -> Option<Self> {
        let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        Some(Self { meta: Meta::read(object)?, owners: owners.map(|owner| text(&owner["uid"])).collect() })
    }

    /// For the log.
    pub(crate) fn state(&self) -> String {
        format!("{}owners {:?}", if self.meta.going { "going " } else { "" }, self.owners)
    }
}

impl Pod {
    pub(super) fn read(object: &Value) -> Option<Self> {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.into_iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True");
        let node = text(&object["spec"]["nodeName"]);
        let meant_for = &object["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        let place = &meant_for["nodeSelectorTerms"][0]["matchFields"][0]["values"][0];
        let volumes = object["spec"]["volumes"].as_array().into_iter().flatten();
        let claims = volumes.filter(|volume| volume["persistentVolumeClaim"].is_object());
        Some(Self {
            meta: Meta::read(object)?,
            app: text(&object["metadata"]["labels"]["app"]),
            place: if node.is_empty() { text(place) } else { node.clone() },
            node,
            revision: text(&object["metadata"]["labels"]["controller-revision-hash"]),
            claims: claims.map(|volume| text(&volume["persistentVolumeClaim"]["claimName"])).collect(),
            finished: matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")),
            ready_since: ready.and_then(|condition| time(&condition["lastTransitionTime"])),
        })
    }

    /// For the log.
    pub(crate) fn state(&self) -> String {
        let going = if self.meta.going { "going " } else { "" };
        let ready = if self.ready_since.is_some() { "ready" } else { "not ready" };
        let node = if self.node.is_empty() { "no node" } else { &self.node };
        format!("{going}{ready} on {node}")
    }

    /// Whether it counts as a replica.
    pub(crate) fn is_active(&self) -> bool {
        !self.finished && !self.meta.going
    }

    /// Whether it counts as a replica, is ready, and has been for so long.
    pub(crate) fn is_available(&self, min_ready_seconds: i64, now: Timestamp) -> bool {
        let pause = SignedDuration::from_secs(min_ready_seconds);
        self.is_active() && self.ready_since.is_some_and(|since| min_ready_seconds <= 0 || since + pause <= now)
    }
}

impl ReplicaSet {
    pub(super) fn read(object: &Value) -> Option<Self> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let mut template = spec["template"].clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove(HASH);
        }
        Some(Self {
            meta: Meta::read(object)?,
            size: number(&spec["replicas"]),
            min_ready_seconds: spec["minReadySeconds"].as_i64().unwrap_or(0),
            template: template.to_string().into(),
            revision: text(&object["metadata"]["annotations"][REVISION]).parse().unwrap_or(0),
            status_replicas: number(&status["replicas"]),
            status_available: number(&status["availableReplicas"]),
            observed_generation: status["observedGeneration"].as_u64().unwrap_or(0),
        })
    }

    /// For the log.
    pub(crate) fn state(&self) -> String {
        format!(
            "generation {}/{} revision {} size {} has {} available {}",
            self.observed_generation, self.meta.generation, self.revision, self.size, self.status_replicas, self.status_available
        )
    }

    /// Whether its controller has seen its present spec.
    pub(crate) fn is_observed(&self) -> bool {
        self.observed_generation >= self.meta.generation
    }
}

impl Deployment {
    pub(super) fn read(object: &Value) -> Option<Self> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let replicas = number(&spec["replicas"]);
        let recreate = spec["strategy"]["type"] == "Recreate";
        Some(Self {
            meta: Meta::read(object)?,
            replicas,
            bounds: if recreate { Bounds { most: replicas, least: 0 } } else { Bounds::of(&spec["strategy"], replicas) },
            recreate,
            paused: spec["paused"] == true,
            history_limit: spec["revisionHistoryLimit"].as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(10),
            template: spec["template"].to_string().into(),
            revision: text(&object["metadata"]["annotations"][REVISION]).parse().unwrap_or(0),
            status_replicas: number(&status["replicas"]),
            status_updated: number(&status["updatedReplicas"]),
            status_available: number(&status["availableReplicas"]),
            observed_generation: status["observedGeneration"].as_u64().unwrap_or(0),
        })
    }

    /// For the log.
    pub(crate) fn state(&self) -> String {
        format!(
            "generation {}/{} revision {} replicas {} in {}..={}{} has {} updated {} available {}",
            self.observed_generation,
            self.meta.generation,
            self.revision,
            self.replicas,
            self.bounds.least,
            self.bounds.most,
            if self.paused { " paused" } else { "" },
            self.status_replicas,
            self.status_updated,
            self.status_available
        )
    }

    /// Whether its controller has seen its present spec.
    pub(crate) fn is_observed(&self) -> bool {
        self.observed_generation >= self.meta.generation
    }
}

impl Bounds {
    fn of(strategy: &Value, replicas: usize) -> Self {
        let rolling = &strategy["rollingUpdate"];
        let surge = pods(&rolling["maxSurge"], replicas, true);
        let unavailable = match pods(&rolling["maxUnavailable"], replicas, false) {
            // Both nothing: one pod may be unavailable, or nothing could move.
            0 if surge == 0 => 1,
            pods => pods,
        };
        Self { most: replicas + surge, least: replicas.saturating_sub(unavailable) }
    }
}

/// A number of pods, or a percentage of the replicas, rounded up or down.
pub(super) fn pods(value: &Value, replicas: usize, up: bool) -> usize {
    let Some(percent) = value.as_str().and_then(|text| text.strip_suffix('%')?.parse::<usize>().ok()) else {
        return number(value);
    };
    let hundredths = percent * replicas;
    if up { hundredths.div_ceil(100) } else { hundredths / 100 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_the_users() {
        let bounds = |surge: Value, unavailable: Value, replicas| {
            let bounds = Bounds::of(&json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}), replicas);
            (bounds.least, bounds.most)
        };
        assert_eq!(bounds("25%".into(), "25%".into(), 10), (8, 13));
        assert_eq!(bounds(1.into(), 0.into(), 3), (3, 4));
        assert_eq!(bounds(0.into(), "1%".into(), 3), (2, 3));
    }
}

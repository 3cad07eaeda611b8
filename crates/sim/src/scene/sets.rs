//! The fields of StatefulSets, DaemonSets and their revisions that the checkers look at.

use std::sync::Arc;

use serde_json::Value;

use super::objects::{Meta, number, pods, text};

/// A StatefulSet or a DaemonSet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Set {
    pub(crate) meta: Meta,
    /// One pod a node, rather than one an ordinal.
    pub(crate) daemon: bool,
    /// Of a StatefulSet.
    pub(crate) replicas: usize,
    /// The first ordinal.
    pub(crate) start: usize,
    /// One pod after the other.
    pub(crate) ordered: bool,
    pub(crate) on_delete: bool,
    /// Ordinals below it keep the revision that they have.
    pub(crate) partition: usize,
    /// Of a StatefulSet.
    pub(crate) max_unavailable: usize,
    /// Of a DaemonSet, as it is written: `maxSurge` and `maxUnavailable` of as many nodes as there are.
    bounds: [Value; 2],
    /// Each of its pods has a claim of its own.
    pub(crate) has_claims: bool,
    /// Whether these outlive the set and a pod that is scaled away.
    pub(crate) retains: [bool; 2],
    pub(crate) min_ready_seconds: i64,
    pub(crate) history_limit: usize,
    /// Its JSON, to the byte.
    pub(crate) template: Arc<str>,
    /// Name of the revision that a rollout comes from, and of the one that it goes to.
    pub(crate) current: String,
    pub(crate) update: String,
    /// What its status says: pods, updated ones, available ones.
    pub(crate) counts: [usize; 3],
    pub(crate) observed: bool,
}

/// A ControllerRevision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision {
    pub(crate) meta: Meta,
    pub(crate) number: u64,
    /// What it remembers.
    pub(crate) data: Arc<str>,
    /// Its template.
    pub(crate) template: Value,
}

impl Set {
    pub(super) fn stateful(object: &Value) -> Option<Self> {
        let (spec, status) = (&object["spec"], &object["status"]);
        let rolling = &spec["updateStrategy"]["rollingUpdate"];
        let replicas = number(&spec["replicas"]);
        let unavailable = if rolling["maxUnavailable"].is_null() { 1 } else { pods(&rolling["maxUnavailable"], replicas, true) };
        Some(Self {
            replicas,
            start: number(&spec["ordinals"]["start"]),
            ordered: spec["podManagementPolicy"] != "Parallel",
            partition: number(&rolling["partition"]),
            max_unavailable: unavailable.max(1),
            has_claims: spec["volumeClaimTemplates"].as_array().is_some_and(|templates| !templates.is_empty()),
            retains: ["whenDeleted", "whenScaled"].map(|when| spec["persistentVolumeClaimRetentionPolicy"][when] != "Delete"),
            current: text(&status["currentRevision"]),
            update: text(&status["updateRevision"]),
            counts: ["replicas", "updatedReplicas", "availableReplicas"].map(|count| number(&status[count])),
            ..Self::common(object)?
        })
    }

    pub(super) fn daemon(object: &Value) -> Option<Self> {
        let (rolling, status) = (&object["spec"]["updateStrategy"]["rollingUpdate"], &object["status"]);
        Some(Self {
            daemon: true,
            bounds: ["maxSurge", "maxUnavailable"].map(|bound| rolling[bound].clone()),
            counts: ["currentNumberScheduled", "updatedNumberScheduled", "numberAvailable"].map(|count| number(&status[count])),
            ..Self::common(object)?
        })
    }

    fn common(object: &Value) -> Option<Self> {
        let (spec, meta) = (&object["spec"], Meta::read(object)?);
        Some(Self {
            daemon: false,
            replicas: 0,
            start: 0,
            ordered: false,
            on_delete: spec["updateStrategy"]["type"] == "OnDelete",
            partition: 0,
            max_unavailable: 0,
            bounds: [Value::Null, Value::Null],
            has_claims: false,
            retains: [true; 2],
            min_ready_seconds: spec["minReadySeconds"].as_i64().unwrap_or(0),
            history_limit: number(&spec["revisionHistoryLimit"]),
            template: spec["template"].to_string().into(),
            current: String::new(),
            update: String::new(),
            counts: [0; 3],
            observed: object["status"]["observedGeneration"].as_u64().unwrap_or(0) >= meta.generation,
            meta,
        })
    }

    /// Of a DaemonSet: nodes, of so many, that may have a second pod in a rollout.
    pub(crate) fn max_surge(&self, nodes: usize) -> usize {
        pods(&self.bounds[0], nodes, true)
    }

    /// Of a DaemonSet: nodes, of so many, that may be without service in a rollout. One, where nothing could be replaced otherwise.
    pub(crate) fn max_down(&self, nodes: usize) -> usize {
        let down = pods(&self.bounds[1], nodes, true);
        if self.max_surge(nodes) == 0 { down.max(1) } else { down }
    }

    /// Whether it has a pod of this ordinal.
    pub(crate) fn has(&self, ordinal: usize) -> bool {
        (self.start..self.start + self.replicas).contains(&ordinal)
    }

    /// Whether a pod of this ordinal keeps the revision that it has.
    pub(crate) fn keeps(&self, ordinal: usize) -> bool {
        ordinal < self.start + self.partition
    }

    /// For the log.
    pub(crate) fn state(&self) -> String {
        format!(
            "generation {}{} replicas {} from {} partition {} unavailable {} surge and down {:?}{} has {:?} from {} to {}",
            self.meta.generation,
            if self.observed { "" } else { " (not seen)" },
            self.replicas,
            self.start,
            self.partition,
            self.max_unavailable,
            self.bounds,
            if self.on_delete { " on delete" } else { "" },
            self.counts,
            self.current,
            self.update
        )
    }
}

impl Revision {
    pub(super) fn read(object: &Value) -> Option<Self> {
        let mut template = object["data"]["spec"]["template"].clone();
        // How a strategic merge is told to replace all of it.
        template.as_object_mut().map(|fields| fields.remove("$patch"));
        Some(Self {
            meta: Meta::read(object)?,
            number: object["revision"].as_u64().unwrap_or(0),
            data: object["data"].to_string().into(),
            template,
        })
    }
}

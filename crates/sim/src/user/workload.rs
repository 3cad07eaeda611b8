//! What a user can ask of each kind of workload.

use serde_json::{Value, json};

use super::actions::Act;
use crate::chance::Chance;

/// A kind of workload, of which a world has one object: `web`.
pub(crate) trait Workload: std::fmt::Debug + Send + Sync {
    /// Its kind.
    fn kind(&self) -> &'static str;
    /// As in its path.
    fn plural(&self) -> &'static str;
    /// As in the path of what remembers its revisions.
    fn history(&self) -> &'static str {
        "controllerrevisions"
    }
    /// The number and the template that such an object remembers.
    fn remembered(&self, object: &Value) -> (String, Value) {
        let mut template = object["data"]["spec"]["template"].clone();
        template.as_object_mut().map(|fields| fields.remove("$patch"));
        (object["revision"].to_string(), template)
    }
    /// The part of its spec that is its alone.
    fn spec(&self, replicas: u64, chance: &Chance) -> Value;
    /// Any strategy, as a change of its spec.
    fn strategy(&self, chance: &Chance) -> Value;
    /// The change of its spec without which it may never settle.
    fn let_go(&self) -> Value;
    /// What is done to it, and how often: what makes rollouts most.
    fn acts(&self) -> &'static [(Act, u64)];
}

/// The kind that a world has.
pub(crate) fn of(seed: u64) -> &'static dyn Workload {
    const ALL: [&dyn Workload; 3] = [&Deployment, &StatefulSet, &DaemonSet];
    ALL[usize::try_from(seed % 3).unwrap_or(0)]
}

#[derive(Debug)]
struct Deployment;
#[derive(Debug)]
struct StatefulSet;
#[derive(Debug)]
struct DaemonSet;

impl Workload for Deployment {
    fn kind(&self) -> &'static str {
        "Deployment"
    }

    fn plural(&self) -> &'static str {
        "deployments"
    }

    fn history(&self) -> &'static str {
        "replicasets"
    }

    fn remembered(&self, object: &Value) -> (String, Value) {
        let mut template = object["spec"]["template"].clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        let revision = &object["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
        (revision.as_str().unwrap_or_default().to_owned(), template)
    }

    fn spec(&self, replicas: u64, _: &Chance) -> Value {
        json!({"replicas": replicas})
    }

    fn strategy(&self, chance: &Chance) -> Value {
        if chance.hits(150) {
            return json!({"strategy": {"type": "Recreate", "rollingUpdate": null}});
        }
        let bounds: [(Value, Value); 8] = [
            (1.into(), 0.into()),
            (0.into(), 1.into()),
            (1.into(), 1.into()),
            (2.into(), 1.into()),
            ("25%".into(), "25%".into()),
            ("100%".into(), 0.into()),
            (0.into(), "100%".into()),
            ("50%".into(), "50%".into()),
        ];
        let (surge, unavailable) = chance.pick(&bounds);
        let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}})
    }

    fn let_go(&self) -> Value {
        json!({"paused": null})
    }

    fn acts(&self) -> &'static [(Act, u64)] {
        &[
            (Act::SetImage, 30),
            (Act::Undo, 20),
            (Act::Scale, 15),
            (Act::Restart, 12),
            (Act::Pause, 5),
            (Act::Resume, 8),
            (Act::ChangeStrategy, 8),
            (Act::ChangeMinReady, 3),
            (Act::DeletePod, 8),
            (Act::DeleteAll, 1),
        ]
    }
}

/// A strategy of a StatefulSet or a DaemonSet.
fn rolling_update(bounds: &Value) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": bounds}})
}

/// The other one, now and then.
fn on_delete(chance: &Chance) -> Option<Value> {
    chance.hits(100).then(|| json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}))
}

impl Workload for StatefulSet {
    fn kind(&self) -> &'static str {
        "StatefulSet"
    }

    fn plural(&self) -> &'static str {
        "statefulsets"
    }

    fn spec(&self, replicas: u64, chance: &Chance) -> Value {
        let policy = *chance.pick(&["OrderedReady", "OrderedReady", "Parallel"]);
        let mut spec = json!({"replicas": replicas, "serviceName": "web", "podManagementPolicy": policy});
        if chance.hits(400) {
            let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}});
            spec["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}, "spec": claim}]);
            let [deleted, scaled] = [(); 2].map(|()| *chance.pick(&["Retain", "Delete"]));
            spec["persistentVolumeClaimRetentionPolicy"] = json!({"whenDeleted": deleted, "whenScaled": scaled});
        }
        spec
    }

    fn strategy(&self, chance: &Chance) -> Value {
        let rolling = json!({"partition": chance.pick(&[0, 0, 0, 1, 2, 5]), "maxUnavailable": chance.pick(&[1, 1, 2, 3])});
        let mut strategy = on_delete(chance).unwrap_or_else(|| rolling_update(&rolling));
        strategy["ordinals"] = json!({"start": chance.pick(&[0, 0, 0, 1, 3])});
        strategy
    }

    fn let_go(&self) -> Value {
        rolling_update(&json!({"partition": 0}))
    }

    fn acts(&self) -> &'static [(Act, u64)] {
        &[
            (Act::SetImage, 30),
            (Act::Undo, 20),
            (Act::Scale, 15),
            (Act::Restart, 12),
            (Act::ChangeStrategy, 14),
            (Act::ChangeMinReady, 3),
            (Act::DeletePod, 10),
            (Act::DeleteAll, 2),
            (Act::LeaveBehind, 2),
        ]
    }
}

impl Workload for DaemonSet {
    fn kind(&self) -> &'static str {
        "DaemonSet"
    }

    fn plural(&self) -> &'static str {
        "daemonsets"
    }

    fn spec(&self, _: u64, _: &Chance) -> Value {
        json!({})
    }

    fn strategy(&self, chance: &Chance) -> Value {
        if let Some(strategy) = on_delete(chance) {
            return strategy;
        }
        let bounds: [(Value, Value); 6] = [
            (0.into(), 1.into()),
            (0.into(), 2.into()),
            (0.into(), "50%".into()),
            (1.into(), 0.into()),
            (2.into(), 0.into()),
            ("100%".into(), 0.into()),
        ];
        let (surge, unavailable) = chance.pick(&bounds);
        let rolling = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        rolling_update(&rolling)
    }

    fn let_go(&self) -> Value {
        rolling_update(&json!({"maxSurge": 0, "maxUnavailable": 1}))
    }

    fn acts(&self) -> &'static [(Act, u64)] {
        &[
            (Act::SetImage, 30),
            (Act::Undo, 20),
            (Act::Restart, 12),
            (Act::ChangeStrategy, 12),
            (Act::ChangeMinReady, 4),
            (Act::DeletePod, 12),
            (Act::DeleteAll, 2),
            (Act::LeaveBehind, 2),
        ]
    }
}

//! A cluster small enough to hold in one struct: one Deployment, its ReplicaSets and pods.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Pod, PodCondition, PodStatus},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use crate::{deployment, note::Note, owner, replica, replica_set, seconds};

/// Start of every test.
pub(super) fn epoch() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// A Deployment `web` of that many replicas; `spec` is merged into its spec.
pub(super) fn web(replicas: i32, spec: Value) -> Deployment {
    let mut value = json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "web-uid", "generation": 1},
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "v1"}]}}
        }
    });
    value["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(value).unwrap()
}

/// Everything there is, and a clock.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) deployment: Deployment,
    pub(super) replica_sets: BTreeMap<String, ReplicaSet>,
    pub(super) pods: BTreeMap<String, Pod>,
    pub(super) now: Timestamp,
    pub(super) notes: Vec<Note>,
    made: u32,
}

impl World {
    pub(super) fn new(deployment: Deployment) -> Self {
        let now = epoch();
        Self { deployment, replica_sets: BTreeMap::new(), pods: BTreeMap::new(), now, notes: Vec::new(), made: 0 }
    }

    pub(super) fn set_image(&mut self, image: &str) {
        let spec = self.deployment.spec.as_mut().unwrap();
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        self.changed();
    }

    pub(super) fn set_replicas(&mut self, replicas: i32) {
        self.deployment.spec.as_mut().unwrap().replicas = Some(replicas);
        self.changed();
    }

    pub(super) fn changed(&mut self) {
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    pub(super) fn plan(&self) -> deployment::Plan {
        let replica_sets: Vec<Arc<ReplicaSet>> = self.replica_sets.values().cloned().map(Arc::new).collect();
        let mut running_pods = BTreeMap::new();
        for pod in self.pods.values().filter(|pod| !replica::is_finished(pod)) {
            *running_pods.entry(owner::controller_uid(&pod.metadata).unwrap_or_default().to_owned()).or_default() += 1;
        }
        let snapshot =
            deployment::Snapshot { deployment: &self.deployment, replica_sets: &replica_sets, running_pods: &running_pods };
        deployment::plan(&snapshot, self.now)
    }

    /// One pass of the Deployment controller; whether it changed anything.
    pub(super) fn sync_deployment(&mut self) -> bool {
        let plan = self.plan();
        let mut changed = self.deployment.status.as_ref() != Some(&plan.status) || plan.revision.is_some();
        for step in plan.steps {
            changed = true;
            self.notes.extend(step.note);
            match step.action {
                deployment::Action::Create(mut object) => {
                    let name = object.metadata.name.clone().unwrap();
                    object.metadata.uid = Some(format!("{name}-uid"));
                    object.metadata.generation = Some(1);
                    object.metadata.creation_timestamp = Some(seconds(self.now));
                    let replaced = self.replica_sets.insert(name, *object);
                    assert!(replaced.is_none(), "a second ReplicaSet of the same name");
                }
                deployment::Action::Update(mut object) => {
                    let name = object.metadata.name.clone().unwrap();
                    let present = self.replica_sets.get_mut(&name).expect("only what exists is updated");
                    if present.spec != object.spec {
                        object.metadata.generation = present.metadata.generation.map(|generation| generation + 1);
                    }
                    *present = *object;
                }
                deployment::Action::Delete(object) => {
                    self.replica_sets.remove(object.metadata.name.as_ref().unwrap());
                }
            }
        }
        if let Some(rewrite) = plan.rewrite {
            self.deployment = *rewrite.deployment;
            self.notes.push(rewrite.note);
            self.changed();
            return true;
        }
        self.deployment.status = Some(plan.status);
        if let Some(revision) = plan.revision {
            let annotations = self.deployment.metadata.annotations.get_or_insert_default();
            annotations.insert("deployment.kubernetes.io/revision".to_owned(), revision);
        }
        changed
    }

    /// One pass of the ReplicaSet controller over one ReplicaSet.
    pub(super) fn sync_replica_set(&mut self, name: &str) -> bool {
        let pods: Vec<Arc<Pod>> = self.pods.values().cloned().map(Arc::new).collect();
        let Some(object) = self.replica_sets.get(name) else { return false };
        let plan = replica_set::plan::<ReplicaSet>(
            &replica_set::Snapshot { replica_set: object, pods: &pods, related: &pods },
            self.now,
        );
        if plan.steps.is_empty() {
            let changed = object.status.as_ref() != Some(&plan.status);
            self.replica_sets.get_mut(name).unwrap().status = Some(plan.status);
            return changed;
        }
        // The status waits for the next pass, which sees what these steps did.
        for step in plan.steps {
            match step.action {
                replica_set::Action::Create { pod, batches } => {
                    (0..batches.iter().sum()).for_each(|_| self.create_pod(&pod));
                }
                replica_set::Action::Delete(pod) => {
                    let time = seconds(self.now);
                    let pod = self.pods.get_mut(owner::name(&pod.metadata)).expect("only what exists is deleted");
                    pod.metadata.deletion_timestamp = Some(time);
                }
                replica_set::Action::SetOwners { pod, owners } => {
                    self.pods.get_mut(owner::name(&pod.metadata)).unwrap().metadata.owner_references = Some(owners);
                }
            }
        }
        true
    }

    fn create_pod(&mut self, template: &Pod) {
        self.made += 1;
        let mut pod = template.clone();
        let name = format!("{}{:04}", pod.metadata.generate_name.as_deref().unwrap(), self.made);
        let meta = ObjectMeta {
            uid: Some(name.clone()),
            name: Some(name.clone()),
            creation_timestamp: Some(seconds(self.now)),
            ..pod.metadata
        };
        pod.metadata = meta;
        self.pods.insert(name, pod);
    }

    /// What a kubelet does to the pod: one that leaves is gone, any other becomes ready.
    pub(super) fn sync_pod(&mut self, name: &str) -> bool {
        let Some(pod) = self.pods.get_mut(name) else { return false };
        if pod.metadata.deletion_timestamp.is_some() {
            self.pods.remove(name);
            return true;
        }
        if replica::is_ready(pod) || image_of(pod) == "broken" {
            return false;
        }
        let ready = PodCondition {
            type_: "Ready".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(seconds(self.now)),
            ..PodCondition::default()
        };
        pod.spec.get_or_insert_default().node_name = Some("n1".to_owned());
        pod.status = Some(PodStatus { phase: Some("Running".to_owned()), conditions: Some(vec![ready]), ..PodStatus::default() });
        true
    }

    /// Everybody acts in turn until nobody has anything left to do; panics if that never comes.
    pub(super) fn settle(&mut self) {
        for _ in 0..500 {
            let mut changed = self.sync_deployment();
            for name in self.replica_sets.keys().cloned().collect::<Vec<_>>() {
                changed |= self.sync_replica_set(&name);
            }
            for name in self.pods.keys().cloned().collect::<Vec<_>>() {
                changed |= self.sync_pod(&name);
            }
            if !changed {
                return;
            }
            self.advance(1);
        }
        panic!("the rollout never settles: {:#?}", self.plan());
    }

    pub(super) fn advance(&mut self, by_seconds: i64) {
        self.now += SignedDuration::from_secs(by_seconds);
    }

    pub(super) fn active(&self) -> usize {
        self.pods.values().filter(|pod| replica::is_active(pod)).count()
    }

    pub(super) fn ready(&self) -> usize {
        self.pods.values().filter(|pod| replica::is_active(pod) && replica::is_ready(pod)).count()
    }

    /// Images of the pods that count, each once.
    pub(super) fn images(&self) -> Vec<String> {
        let mut images: Vec<String> =
            self.pods.values().filter(|pod| replica::is_active(pod)).map(|pod| image_of(pod).to_owned()).collect();
        images.sort();
        images.dedup();
        images
    }

    /// Type, status, reason and message of each condition.
    pub(super) fn conditions(&self) -> String {
        let conditions = self.deployment.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let lines = conditions.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, text(&c.reason), text(&c.message)));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Revision, history, size and name of each ReplicaSet, by revision.
    pub(super) fn history(&self) -> String {
        let mut sets: Vec<&ReplicaSet> = self.replica_sets.values().collect();
        sets.sort_by_key(|set| deployment::revision_of(&set.metadata));
        let line = |set: &&ReplicaSet| {
            let image = set.spec.as_ref().unwrap().template.as_ref().unwrap().spec.as_ref().unwrap().containers[0].image.clone();
            let history = owner::annotation(&set.metadata, "deployment.kubernetes.io/revision-history").unwrap_or("-");
            let size = replica_set::replicas(set);
            format!("#{} (was {history}) {} x{size}", deployment::revision_of(&set.metadata), image.unwrap_or_default())
        };
        sets.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

fn image_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.containers[0].image.as_deref()).unwrap_or_default()
}

//! The claims of a pod, as far as they decide about its node.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};

use super::{cluster::View, verdict::Rejection};
use crate::{
    owner,
    volume::{SELECTED_NODE, belongs_to, bind, claim, claims_of, matching, reaches},
};

/// What is known of storage, for one pod.
#[derive(Debug, Clone, Copy)]
pub struct Storage<'a> {
    /// Claims of the pod's namespace.
    pub claims: &'a [Arc<PersistentVolumeClaim>],
    /// Every volume.
    pub volumes: &'a [Arc<PersistentVolume>],
    /// Every class.
    pub classes: &'a [Arc<StorageClass>],
}

/// The claims of a pod, sorted by what they ask of a node.
#[derive(Debug, Clone, Default)]
pub struct PodVolumes {
    /// Why no node at all can take the pod yet.
    refusal: Option<String>,
    bound: Vec<Arc<PersistentVolume>>,
    lost: bool,
    late: Vec<Late>,
    /// Claims that one pod alone may use at a time (`ReadWriteOncePod`).
    exclusive: BTreeSet<String>,
}

/// A claim that is bound once the pod has a node.
#[derive(Debug, Clone)]
struct Late {
    claim: Arc<PersistentVolumeClaim>,
    /// Volumes that may be taken for it.
    volumes: Vec<Arc<PersistentVolume>>,
    /// Whether one is made on any node.
    provisioned: bool,
}

impl PodVolumes {
    /// Looks at the claims of the pod.
    pub fn of(pod: &Pod, storage: &Storage<'_>) -> Self {
        let mut found = Self::default();
        let mut immediate = false;
        for (name, own) in claims_of(pod) {
            let claim = storage.claims.iter().find(|claim| owner::name(&claim.metadata) == name);
            let Some(claim) = claim.filter(|claim| owner::namespace(&claim.metadata) == owner::namespace(&pod.metadata)) else {
                let why = if own { "waiting for ephemeral volume controller to create the " } else { "" };
                let missing = if own { "" } else { " not found" };
                return Self::refused(format!("{why}persistentvolumeclaim \"{name}\"{missing}"));
            };
            if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
                let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
                let why = format!("persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\"");
                return Self::refused(why);
            }
            if claim.metadata.deletion_timestamp.is_some() {
                return Self::refused(format!("persistentvolumeclaim \"{name}\" is being deleted"));
            }
            if own && let Err(why) = belongs_to(&claim.metadata, &pod.metadata) {
                return Self::refused(why);
            }
            let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
            if modes.iter().any(|mode| mode == "ReadWriteOncePod") {
                found.exclusive.insert(name.into_owned());
            }
            immediate |= !found.add(claim, storage);
        }
        if immediate {
            return Self::refused("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        found
    }

    fn refused(why: String) -> Self {
        Self { refusal: Some(why), ..Self::default() }
    }

    /// Sorts the claim in; `false` if it has to be bound before its pod is placed and is not.
    fn add(&mut self, claim: &Arc<PersistentVolumeClaim>, storage: &Storage<'_>) -> bool {
        let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).filter(|name| !name.is_empty());
        if let Some(name) = named {
            // As upstream: from the write on that says so, though the phase follows with the next one.
            if !bind::is_complete(claim) {
                return false;
            }
            match storage.volumes.iter().find(|volume| owner::name(&volume.metadata) == name) {
                Some(volume) => self.bound.push(Arc::clone(volume)),
                None => self.lost = true,
            }
            return true;
        }
        let Some(class) = claim::class_of(claim, storage.classes).filter(|class| claim::is_late(class)) else { return false };
        let fitting = |volume: &&Arc<PersistentVolume>| matching::smallest(claim, std::slice::from_ref(volume), None).is_some();
        // A volume that is reserved for the claim is the one that it gets.
        let reserved = storage.volumes.iter().find(|volume| bind::is_reserved_for(volume, claim));
        let volumes = match reserved {
            Some(volume) => vec![Arc::clone(volume)],
            None => storage.volumes.iter().filter(fitting).cloned().collect(),
        };
        self.late.push(Late { claim: Arc::clone(claim), volumes, provisioned: !class.provisioner.starts_with("kubernetes.io/") });
        true
    }

    /// Why no node at all can take the pod yet.
    pub fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// Whether every claim has its volume.
    pub fn are_bound(&self) -> bool {
        self.refusal.is_none() && self.late.is_empty()
    }

    /// Claims that have yet to be told on which node their volume is wanted.
    pub fn undecided(&self) -> impl Iterator<Item = &Arc<PersistentVolumeClaim>> {
        let undecided = |late: &&Late| owner::annotation(&late.claim.metadata, SELECTED_NODE).is_none();
        self.late.iter().filter(undecided).map(|late| &late.claim)
    }

    /// Whether a claim of this pod that one alone may use has another pod with a place.
    pub(super) fn are_in_use(&self, pod: &Pod, view: View<'_>) -> bool {
        let namespace = owner::namespace(&pod.metadata);
        let uses = |other: &Arc<Pod>| {
            owner::namespace(&other.metadata) == namespace && claims_of(other).any(|(name, _)| self.exclusive.contains(&*name))
        };
        !self.exclusive.is_empty() && view.placed().any(|(_, other)| uses(other))
    }

    /// Why the node cannot have these volumes.
    pub(super) fn rejection(&self, node: &Node) -> Option<Rejection> {
        if self.lost {
            return Some(Rejection::VolumeLost);
        }
        if !self.bound.iter().all(|volume| reaches(volume, node)) {
            return Some(Rejection::VolumeAffinity);
        }
        let mut taken: Vec<&Arc<PersistentVolume>> = Vec::new();
        for late in &self.late {
            let selected = owner::annotation(&late.claim.metadata, SELECTED_NODE);
            if selected.is_some_and(|selected| selected != owner::name(&node.metadata)) {
                return Some(Rejection::VolumeMissing);
            }
            let free = |volume: &&Arc<PersistentVolume>| reaches(volume, node) && !taken.contains(volume);
            match late.volumes.iter().find(free) {
                Some(volume) => taken.push(volume),
                None if late.provisioned => {}
                None => return Some(Rejection::VolumeMissing),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::schedule::{Cluster, Decision, decide};

    fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn claim(spec: Value, status: Value) -> Arc<PersistentVolumeClaim> {
        object(json!({ "metadata": { "name": "data", "namespace": "default", "uid": "c" }, "spec": spec, "status": status }))
    }

    /// Of which the volume's controller says that it is bound.
    fn bound(spec: Value, status: Value) -> Arc<PersistentVolumeClaim> {
        let mut bound = PersistentVolumeClaim::clone(&claim(spec, status));
        bound.metadata.annotations = Some([("pv.kubernetes.io/bind-completed".to_owned(), "yes".to_owned())].into());
        Arc::new(bound)
    }

    fn volume(name: &str, node: &str) -> Arc<PersistentVolume> {
        let on = json!({ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": [node] }] });
        object(json!({
            "metadata": { "name": name },
            "spec": {
                "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "storageClassName": "static",
                "nodeAffinity": { "required": { "nodeSelectorTerms": [on] } },
            },
            "status": { "phase": "Available" },
        }))
    }

    fn class(name: &str, provisioner: &str, mode: &str) -> Arc<StorageClass> {
        object(json!({ "metadata": { "name": name }, "provisioner": provisioner, "volumeBindingMode": mode }))
    }

    fn place(claims: &[Arc<PersistentVolumeClaim>], volumes: &[Arc<PersistentVolume>]) -> String {
        let classes = [
            class("made", "windlass.dev/local-directory", "WaitForFirstConsumer"),
            class("now", "windlass.dev/local-directory", "Immediate"),
            class("static", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"),
        ];
        let pod = user("p", "default");
        let volumes = PodVolumes::of(&pod, &Storage { claims, volumes, classes: &classes });
        decided(&cluster(), &pod, &volumes)
    }

    fn cluster() -> Cluster {
        let mut cluster = Cluster::default();
        for name in ["n1", "n2"] {
            let room = json!({ "cpu": "4", "memory": "8Gi", "pods": "10" });
            let labels = json!({ "kubernetes.io/hostname": name });
            cluster
                .set_node(object(json!({ "metadata": { "name": name, "labels": labels }, "status": { "allocatable": room } })));
        }
        cluster
    }

    fn user(uid: &str, namespace: &str) -> Arc<Pod> {
        object(json!({
            "metadata": { "name": "db", "namespace": namespace, "uid": uid },
            "spec": { "containers": [], "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }] },
        }))
    }

    fn decided(cluster: &Cluster, pod: &Pod, volumes: &PodVolumes) -> String {
        match decide(cluster, pod, volumes) {
            Decision::Bind { node, .. } => format!("{node} undecided {}", volumes.undecided().count()),
            Decision::Unschedulable(why) => why.message().split(". no new claims").next().unwrap().to_owned(),
        }
    }

    fn wanting(class: &str) -> Value {
        json!({ "storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } })
    }

    #[test]
    fn a_pod_goes_where_its_volumes_are_or_can_be() {
        let named = json!({ "volumeName": "v" });
        let is_bound = json!({ "phase": "Bound" });
        assert_eq!(place(&[], &[]), "0/2 nodes are available: persistentvolumeclaim \"data\" not found");
        assert_eq!(place(&[bound(named.clone(), is_bound.clone())], &[volume("v", "n2")]), "n2 undecided 0");
        assert_eq!(
            place(&[bound(named.clone(), is_bound.clone())], &[volume("v", "n3")]),
            "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity"
        );
        assert_eq!(
            place(&[bound(named.clone(), is_bound)], &[]),
            "0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
        );
        assert_eq!(
            place(&[bound(named, json!({ "phase": "Lost" }))], &[]),
            "0/2 nodes are available: persistentvolumeclaim \"data\" bound to non-existent persistentvolume \"v\""
        );
        assert_eq!(
            place(&[claim(wanting("now"), json!({}))], &[]),
            "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims"
        );
        assert!(place(&[claim(wanting("made"), json!({}))], &[]).ends_with("undecided 1"));
        assert_eq!(place(&[claim(wanting("static"), json!({}))], &[volume("v", "n2")]), "n2 undecided 1");
        assert_eq!(
            place(&[claim(wanting("static"), json!({}))], &[]),
            "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind"
        );
    }

    #[test]
    fn what_is_written_between_two_steps_of_binding_is_no_obstacle() {
        // The claim names its volume, and does not say yet that it is bound.
        let named = json!({ "volumeName": "v" });
        assert_eq!(place(&[bound(named.clone(), json!({ "phase": "Pending" }))], &[volume("v", "n2")]), "n2 undecided 0");
        // Somebody else has named it, and nobody has agreed yet.
        let unbound = "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims";
        assert_eq!(place(&[claim(named.clone(), json!({ "phase": "Pending" }))], &[volume("v", "n2")]), unbound);
        assert_eq!(place(&[claim(named, json!({}))], &[]), unbound);
        // The volume names its claim, which does not name it yet.
        let mut reserved = PersistentVolume::clone(&volume("v", "n2"));
        let reference = json!({ "namespace": "default", "name": "data", "uid": "c" });
        reserved.spec.as_mut().unwrap().claim_ref = serde_json::from_value(reference).unwrap();
        let volumes = [volume("u", "n1"), Arc::new(reserved.clone())];
        assert_eq!(place(&[claim(wanting("static"), json!({}))], &volumes), "n2 undecided 1");
        reserved.spec.as_mut().unwrap().claim_ref.as_mut().unwrap().uid = Some("other".to_owned());
        let volumes = [volume("u", "n1"), Arc::new(reserved)];
        assert_eq!(place(&[claim(wanting("static"), json!({}))], &volumes), "n1 undecided 1");
    }

    #[test]
    fn a_claim_for_one_pod_is_used_by_one_at_a_time() {
        let once = bound(json!({ "volumeName": "v", "accessModes": ["ReadWriteOncePod"] }), json!({ "phase": "Bound" }));
        let storage = Storage { claims: &[once], volumes: &[volume("v", "n2")], classes: &[] };
        let (pod, mut cluster) = (user("p", "default"), cluster());
        let volumes = PodVolumes::of(&pod, &storage);
        cluster.place(user("foreign", "other"), "n2");
        assert_eq!(decided(&cluster, &pod, &volumes), "n2 undecided 0");
        cluster.place(user("first", "default"), "n2");
        let text = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
        assert_eq!(decided(&cluster, &pod, &volumes), format!("0/2 nodes are available: 2 {text}"));
        cluster.remove("first");
        assert_eq!(decided(&cluster, &pod, &volumes), "n2 undecided 0");
    }

    #[test]
    fn a_node_that_was_chosen_stays_chosen() {
        let mut chosen = PersistentVolumeClaim::clone(&claim(wanting("made"), json!({})));
        chosen.metadata.annotations = Some([(SELECTED_NODE.to_owned(), "n2".to_owned())].into());
        assert_eq!(place(&[Arc::new(chosen)], &[]), "n2 undecided 0");
    }
}

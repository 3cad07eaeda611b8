//! Claims and volumes, from their first day to their last.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use serde_json::{Value, json};

use super::{Action, Plan, Snapshot, plan_claim, plan_volume};
use crate::owner;

#[derive(Default)]
struct World {
    claims: Vec<Arc<PersistentVolumeClaim>>,
    volumes: Vec<Arc<PersistentVolume>>,
    classes: Vec<Arc<StorageClass>>,
    pods: Vec<Arc<Pod>>,
    log: Vec<String>,
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Arc<T> {
    Arc::new(serde_json::from_value(value).unwrap())
}

fn claim(class: &str, size: &str) -> Arc<PersistentVolumeClaim> {
    object(json!({
        "metadata": { "name": "data", "namespace": "default", "uid": "c1", "finalizers": ["kubernetes.io/pvc-protection"] },
        "spec": { "storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } },
    }))
}

fn class(name: &str, provisioner: &str) -> Arc<StorageClass> {
    object(json!({
        "metadata": { "name": name }, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer", "reclaimPolicy": "Delete",
    }))
}

fn consumer(node: Option<&str>) -> Arc<Pod> {
    object(json!({
        "metadata": { "name": "db-0", "namespace": "default" },
        "spec": {
            "nodeName": node, "containers": [],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
        },
    }))
}

fn replace<T>(all: &mut Vec<Arc<T>>, new: T, name: impl Fn(&T) -> String) {
    let key = name(&new);
    all.retain(|old| name(old) != key);
    all.push(Arc::new(new));
}

impl World {
    fn settle(&mut self) -> String {
        for _ in 0..50 {
            let (claims, volumes, classes, pods) =
                (self.claims.clone(), self.volumes.clone(), self.classes.clone(), self.pods.clone());
            let snapshot = Snapshot { claims: &claims, volumes: &volumes, classes: &classes, pods: &pods, directory: "/volumes" };
            let plans = claims.iter().map(|claim| plan_claim(claim, &snapshot));
            let plans: Vec<Plan> = plans.chain(volumes.iter().map(|volume| plan_volume(volume, &snapshot))).collect();
            let Some((action, reason)) = plans.into_iter().find_map(|plan| plan.step) else {
                return std::mem::take(&mut self.log).join(" ");
            };
            self.log.push(format!("{reason:?}"));
            self.act(action);
        }
        panic!("it never settles: {:?}", self.log);
    }

    fn act(&mut self, action: Action) {
        let volume_name = |volume: &PersistentVolume| owner::name(&volume.metadata).to_owned();
        match action {
            Action::CreateVolume(volume) | Action::UpdateVolume(volume) | Action::UpdateVolumeStatus(volume) => {
                replace(&mut self.volumes, *volume, volume_name);
            }
            Action::DeleteVolume(volume) => {
                let mut going = PersistentVolume::clone(&volume);
                going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
                replace(&mut self.volumes, going, volume_name);
            }
            Action::UpdateClaim(claim) | Action::UpdateClaimStatus(claim) => {
                let gone = claim.metadata.deletion_timestamp.is_some() && claim.metadata.finalizers == Some(Vec::new());
                replace(&mut self.claims, *claim, |claim| owner::name(&claim.metadata).to_owned());
                if gone {
                    self.claims.clear();
                }
            }
        }
    }

    fn phases(&self) -> (Option<String>, Option<String>) {
        let claim = self.claims.first().and_then(|claim| claim.status.as_ref()?.phase.clone());
        (claim, self.volumes.first().and_then(|volume| volume.status.as_ref()?.phase.clone()))
    }
}

fn texts(claim: &str, volume: &str) -> (Option<String>, Option<String>) {
    (Some(claim.to_owned()), Some(volume.to_owned()))
}

#[test]
fn a_directory_is_made_on_the_node_of_the_first_consumer_and_goes_with_the_claim() {
    let mut world =
        World { claims: vec![claim("local", "1Gi")], classes: vec![class("local", super::PROVISIONER)], ..World::default() };
    assert_eq!(world.settle(), "Pending");
    world.pods = vec![consumer(None)];
    assert_eq!(world.settle(), "");
    world.pods = vec![consumer(Some("n1"))];
    assert_eq!(world.settle(), "Provision Match Bound Bound");
    assert_eq!(world.phases(), texts("Bound", "Bound"));
    let spec = world.volumes[0].spec.clone().unwrap();
    assert_eq!(spec.host_path.unwrap().path, "/volumes/pvc-c1");
    let terms = spec.node_affinity.unwrap().required.unwrap().node_selector_terms;
    assert_eq!(terms[0].match_fields.as_ref().unwrap()[0].values.as_ref().unwrap()[0], "n1");

    // Deleted while in use: it stays until the pod is gone.
    let mut going = PersistentVolumeClaim::clone(&world.claims[0]);
    going.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    world.claims = vec![Arc::new(going)];
    assert_eq!(world.settle(), "");
    world.pods.clear();
    assert_eq!(world.settle(), "Unused Released Reclaim Unused");
    assert_eq!(world.volumes[0].metadata.finalizers, Some(vec![super::DIRECTORY_FINALIZER.to_owned()]));
}

#[test]
fn the_smallest_volume_that_is_large_enough_is_taken_and_retained() {
    let volume = |name: &str, size: &str| {
        object(json!({
            "metadata": { "name": name },
            "spec": {
                "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/data" },
            },
        }))
    };
    let mut world = World {
        claims: vec![claim("", "2Gi")],
        volumes: vec![volume("large", "10Gi"), volume("small", "1Gi")],
        ..World::default()
    };
    world.volumes.push(volume("medium", "3072Mi"));
    world.settle();
    assert_eq!(world.claims[0].spec.as_ref().unwrap().volume_name.as_deref(), Some("medium"));
    world.claims.clear();
    world.settle();
    let medium = world.volumes.iter().find(|volume| owner::name(&volume.metadata) == "medium").unwrap();
    assert_eq!(medium.status.as_ref().unwrap().phase.as_deref(), Some("Released"));
    assert!(medium.metadata.deletion_timestamp.is_none());
}

#[test]
fn a_claim_whose_volume_vanished_is_lost() {
    let mut world =
        World { claims: vec![claim("local", "1Gi")], classes: vec![class("local", super::PROVISIONER)], ..World::default() };
    world.pods = vec![consumer(Some("n1"))];
    world.settle();
    world.volumes.clear();
    assert_eq!(world.settle(), "Lost");
    assert_eq!(world.phases().0.as_deref(), Some("Lost"));
}

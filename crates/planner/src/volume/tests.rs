//! Claims and volumes, from their first day to their last.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod},
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

fn node(name: &str) -> Arc<Node> {
    object(json!({ "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } } }))
}

fn volume(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
    let mut spec = json!({
        "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce", "ReadOnlyMany"],
        "persistentVolumeReclaimPolicy": "Retain", "hostPath": { "path": "/data" },
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object(
        json!({ "metadata": { "name": name, "finalizers": ["kubernetes.io/pv-protection"] }, "spec": spec, "status": { "phase": "Available" } }),
    )
}

fn deleted<T: k8s_openapi::Metadata<Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta> + Clone>(
    object: &T,
) -> Arc<T> {
    let mut going = object.clone();
    going.metadata_mut().deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    Arc::new(going)
}

fn replace<T>(all: &mut Vec<Arc<T>>, new: T, name: impl Fn(&T) -> String) {
    let key = name(&new);
    all.retain(|old| name(old) != key);
    all.push(Arc::new(new));
}

impl World {
    fn plan(&self) -> Vec<Plan> {
        let nodes = ["n1", "n2"].map(node);
        let snapshot = Snapshot {
            claims: &self.claims,
            volumes: &self.volumes,
            classes: &self.classes,
            pods: &self.pods,
            nodes: &nodes,
            directory: "/volumes",
        };
        let plans = self.claims.iter().map(|claim| plan_claim(claim, &snapshot));
        plans.chain(self.volumes.iter().map(|volume| plan_volume(volume, &snapshot))).collect()
    }

    /// The scheduler chooses a node for the claim.
    fn select(&mut self, node: &str) {
        let mut claim = PersistentVolumeClaim::clone(&self.claims[0]);
        claim.metadata.annotations.get_or_insert_default().insert(super::SELECTED_NODE.to_owned(), node.to_owned());
        self.claims = vec![Arc::new(claim)];
    }

    fn settle(&mut self) -> String {
        for _ in 0..50 {
            let Some((action, reason)) = self.plan().into_iter().find_map(|plan| plan.step) else {
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
    world.select("n1");
    assert_eq!(world.settle(), "Provision Provision Match Bound Bound");
    assert_eq!(world.phases(), texts("Bound", "Bound"));
    let spec = world.volumes[0].spec.clone().unwrap();
    assert_eq!(spec.host_path.unwrap().path, "/volumes/pvc-c1");
    assert!(super::reaches(&world.volumes[0], &node("n1")) && !super::reaches(&world.volumes[0], &node("n2")));

    // Deleted while in use: it stays until the pod is gone.
    world.claims = vec![deleted(&*world.claims[0])];
    world.pods = vec![consumer(Some("n1"))];
    assert_eq!(world.settle(), "");
    world.pods.clear();
    assert_eq!(world.settle(), "Unused Released Reclaim Unused");
    assert_eq!(world.volumes[0].metadata.finalizers, Some(vec![super::DIRECTORY_FINALIZER.to_owned()]));
    assert!(super::is_to_be_removed(&world.volumes[0]));
}

#[test]
fn a_pod_without_a_node_keeps_no_claim() {
    let mut world = World { claims: vec![deleted(&*claim("local", "1Gi"))], pods: vec![consumer(None)], ..World::default() };
    assert_eq!(world.settle(), "Unused");
}

#[test]
fn a_claim_that_only_has_the_name_of_a_pods_own_is_not_kept_by_that_pod() {
    let mut foreign = PersistentVolumeClaim::clone(&deleted(&*claim("local", "1Gi")));
    foreign.metadata.name = Some("db-0-work".to_owned());
    let mut pod = Pod::clone(&consumer(Some("n1")));
    let own = json!([{ "name": "work", "ephemeral": {} }]);
    pod.spec.as_mut().unwrap().volumes = serde_json::from_value(own).unwrap();
    let mut world = World { claims: vec![Arc::new(foreign)], pods: vec![Arc::new(pod)], ..World::default() };
    assert_eq!(world.settle(), "Unused");
}

#[test]
fn an_immediate_class_waits_for_nobody() {
    let mut immediate = StorageClass::clone(&class("local", super::PROVISIONER));
    immediate.volume_binding_mode = Some("Immediate".to_owned());
    let mut world = World { claims: vec![claim("local", "1Gi")], classes: vec![Arc::new(immediate)], ..World::default() };
    assert_eq!(world.settle(), "Provision Provision Match Bound Bound");
    assert!(world.volumes[0].spec.as_ref().unwrap().node_affinity.is_none());
}

#[test]
fn retained_data_outlives_claim_and_volume() {
    let mut retain = StorageClass::clone(&class("local", super::PROVISIONER));
    retain.reclaim_policy = Some("Retain".to_owned());
    let mut world = World { claims: vec![claim("local", "1Gi")], classes: vec![Arc::new(retain)], ..World::default() };
    world.select("n1");
    world.settle();
    world.claims.clear();
    assert_eq!(world.settle(), "Released");
    world.volumes = vec![deleted(&*world.volumes[0])];
    assert_eq!(world.settle(), "Unused");
    assert_eq!(world.volumes[0].metadata.finalizers, Some(Vec::new()), "nobody is to remove the directory");
}

#[test]
fn a_volume_deleted_while_bound_goes_when_its_claim_is_gone() {
    let mut world = World { claims: vec![claim("", "1Gi")], volumes: vec![volume("v", "1Gi", json!({}))], ..World::default() };
    world.settle();
    world.volumes = vec![deleted(&*world.volumes[0])];
    assert_eq!(world.settle(), "");
    world.claims.clear();
    assert_eq!(world.settle(), "Released Unused");
}

#[test]
fn the_smallest_volume_that_is_large_enough_is_taken_and_retained() {
    let volumes = ["10Gi", "1Gi", "3072Mi"].map(|size| volume(&size.to_lowercase(), size, json!({})));
    let mut world = World { claims: vec![claim("", "2Gi")], volumes: volumes.to_vec(), ..World::default() };
    world.settle();
    assert_eq!(world.claims[0].spec.as_ref().unwrap().volume_name.as_deref(), Some("3072mi"));
    world.claims.clear();
    world.settle();
    let medium = world.volumes.iter().find(|volume| owner::name(&volume.metadata) == "3072mi").unwrap();
    assert_eq!(medium.status.as_ref().unwrap().phase.as_deref(), Some("Released"));
    assert!(medium.metadata.deletion_timestamp.is_none());
}

#[test]
fn what_a_claim_asks_for_by_name_has_to_fit() {
    let cases = [
        (json!({}), "5Gi", "requested PV is too small"),
        (json!({ "storageClassName": "other" }), "1Gi", "storageClassName does not match"),
        (json!({ "volumeMode": "Block" }), "1Gi", "incompatible volumeMode"),
        (json!({ "accessModes": ["ReadWriteMany"] }), "1Gi", "incompatible accessMode"),
    ];
    for (more, size, why) in cases {
        let mut wanting = PersistentVolumeClaim::clone(&claim("", size));
        wanting.spec.as_mut().unwrap().volume_name = Some("v".to_owned());
        let mut world = World { claims: vec![Arc::new(wanting)], volumes: vec![volume("v", "2Gi", more)], ..World::default() };
        world.settle();
        let note = world.plan().into_iter().find_map(|plan| plan.note).unwrap();
        assert_eq!((note.reason, note.message), ("VolumeMismatch", format!("Cannot bind to requested volume \"v\": {why}")));
    }
}

#[test]
fn a_node_that_lost_its_volume_to_another_claim_is_given_up() {
    let mut world = World {
        claims: vec![claim("static", "1Gi")],
        classes: vec![class("static", "kubernetes.io/no-provisioner")],
        ..World::default()
    };
    world.pods = vec![consumer(None)];
    world.select("n2");
    assert_eq!(world.settle(), "Undecided Pending");
    assert_eq!(owner::annotation(&world.claims[0].metadata, super::SELECTED_NODE), None);
    // One on another node does not do; one on the chosen node does.
    let on = |node: &str| {
        let affinity = json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [
            { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
        ] }] } });
        volume(node, "1Gi", json!({ "storageClassName": "static", "nodeAffinity": affinity }))
    };
    world.volumes = vec![on("n1"), on("n2")];
    world.settle();
    world.select("n2");
    world.settle();
    assert_eq!(world.claims[0].spec.as_ref().unwrap().volume_name.as_deref(), Some("n2"));
}

#[test]
fn a_claim_whose_volume_vanished_is_lost() {
    let mut world =
        World { claims: vec![claim("local", "1Gi")], classes: vec![class("local", super::PROVISIONER)], ..World::default() };
    world.select("n1");
    world.settle();
    world.volumes.clear();
    assert_eq!(world.settle(), "Lost");
    assert_eq!(world.phases().0.as_deref(), Some("Lost"));
}

#[test]
fn a_claim_without_a_class_gets_the_default_one_that_comes_later() {
    let with = |class: Option<&str>| {
        let mut claim = PersistentVolumeClaim::clone(&claim("", "1Gi"));
        claim.spec.as_mut().unwrap().storage_class_name = class.map(str::to_owned);
        World { claims: vec![Arc::new(claim)], ..World::default() }
    };
    let default = |name: &str, made: &str, is_default: &str| {
        let mut class = StorageClass::clone(&class(name, super::PROVISIONER));
        let key = "storageclass.kubernetes.io/is-default-class".to_owned();
        class.metadata.annotations = Some([(key, is_default.to_owned())].into());
        class.metadata.creation_timestamp = serde_json::from_value(json!(made)).unwrap();
        Arc::new(class)
    };
    let classes = [
        default("b", "2026-01-02T00:00:00Z", "true"),
        default("a", "2026-01-02T00:00:00Z", "true"),
        default("old", "2026-01-01T00:00:00Z", "true"),
        default("no", "2026-01-03T00:00:00Z", "false"),
    ];
    let mut world = with(None);
    assert_eq!(world.settle(), "Pending");
    world.classes = classes.to_vec();
    assert_eq!(world.settle(), "DefaultClass");
    assert_eq!(world.claims[0].spec.as_ref().unwrap().storage_class_name.as_deref(), Some("a"));
    let mut none_wanted = World { classes: classes.to_vec(), ..with(Some("")) };
    assert_eq!(none_wanted.settle(), "Pending");
}

#[test]
fn no_directory_is_made_for_a_block_device() {
    let mut block = PersistentVolumeClaim::clone(&claim("local", "1Gi"));
    block.spec.as_mut().unwrap().volume_mode = Some("Block".to_owned());
    let classes = vec![class("local", super::PROVISIONER)];
    let mut world = World { claims: vec![Arc::new(block)], classes, ..World::default() };
    world.select("n1");
    assert_eq!(world.settle(), "Provision Pending");
    let note = world.plan().into_iter().find_map(|plan| plan.note).unwrap();
    let text = "windlass.dev/local-directory does not support block volume provisioning";
    assert_eq!((note.reason, note.message.as_str()), ("ProvisioningFailed", text));
}

#[test]
fn a_volume_to_recycle_fails_as_nobody_here_does_that() {
    let volumes = vec![volume("v", "1Gi", json!({ "persistentVolumeReclaimPolicy": "Recycle" }))];
    let mut world = World { claims: vec![claim("", "1Gi")], volumes, ..World::default() };
    world.settle();
    world.claims.clear();
    let (released, _) = world.plan().remove(0).step.unwrap();
    world.act(released);
    let failing = world.plan().remove(0);
    assert_eq!(failing.note.unwrap().reason, "VolumeFailedRecycle");
    world.act(failing.step.unwrap().0);
    let status = world.volumes[0].status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert_eq!(status.message.as_deref(), Some("No recycler plugin found for the volume!"));
    assert_eq!(world.settle(), "");
    // Whoever takes the claim out of it has it back.
    let mut freed = PersistentVolume::clone(&world.volumes[0]);
    freed.spec.as_mut().unwrap().claim_ref = None;
    world.volumes = vec![Arc::new(freed)];
    assert_eq!(world.settle(), "Available");
    assert_eq!(world.volumes[0].status.as_ref().unwrap().message, None);
}

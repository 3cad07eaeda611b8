//! Claims of pods, and of those that were there before them.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::{OwnerReference, Time},
};
use serde_json::json;

use super::{BROKEN, World, stateful_set};
use crate::{note::Note, owner, stateful_set::WaitingOn};

#[test]
fn a_pod_waits_until_the_claim_of_its_predecessor_is_gone() {
    let policy = json!({ "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Delete" } });
    let mut world = World::new(stateful_set(2, "a", policy));
    world.settle();
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    world.settle();
    let owners = |world: &World| world.claims["data-db-1"].metadata.owner_references.clone().unwrap_or_default();
    assert_eq!(owners(&world)[0].name, "db-1");
    world.set.spec.as_mut().unwrap().replicas = Some(2);
    world.settle();
    assert_eq!(world.plan().waiting, [WaitingOn::Claim { claim: "data-db-1".to_owned() }]);
    assert_eq!((world.images().as_str(), &*world.plan().notes), ("a", &[][..]));
    let mut claim = PersistentVolumeClaim::clone(&world.claims["data-db-1"]);
    claim.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(world.now).unwrap()));
    world.claims.insert("data-db-1".to_owned(), Arc::new(claim));
    let text = "create Pod db-1 in StatefulSet db failed error: pvc data-db-1 is being deleted";
    assert_eq!(world.plan().notes, [Note::warning("FailedCreate", text)]);
    world.claims.remove("data-db-1");
    world.settle();
    assert_eq!(world.images(), "a a");
    assert_eq!(owners(&world), []);
}

#[test]
fn claims_that_are_deleted_are_told_of_at_once() {
    let templates = json!([{ "metadata": { "name": "data" }, "spec": {} }, { "metadata": { "name": "log" }, "spec": {} }]);
    let mut world = World::new(stateful_set(1, "a", json!({ "volumeClaimTemplates": templates })));
    world.settle();
    world.pods.clear();
    for claim in world.claims.values_mut() {
        Arc::make_mut(claim).metadata.deletion_timestamp = Some(Time(Timestamp::from_second(world.now).unwrap()));
    }
    let text = "create Pod db-0 in StatefulSet db failed error: [pvc data-db-0 is being deleted, pvc log-db-0 is being deleted]";
    let plan = world.plan();
    assert_eq!(plan.notes, [Note::warning("FailedCreate", text)]);
    let claim = |name: &str| WaitingOn::Claim { claim: name.to_owned() };
    assert_eq!(plan.waiting, [claim("data-db-0"), claim("log-db-0")]);
}

#[test]
fn a_claim_that_the_policy_keeps_is_taken_over_from_a_predecessor() {
    let mut world = World::new(stateful_set(1, "a", json!({})));
    world.settle();
    let mut claim = PersistentVolumeClaim::clone(&world.claims["data-db-0"]);
    let former =
        OwnerReference { kind: "Pod".to_owned(), name: "db-0".to_owned(), uid: "former".to_owned(), ..OwnerReference::default() };
    claim.metadata.owner_references = Some(vec![former]);
    world.claims.insert("data-db-0".to_owned(), Arc::new(claim));
    world.pods.clear();
    world.settle();
    assert_eq!(world.images(), "a");
    assert_eq!(world.claims["data-db-0"].metadata.owner_references.clone().unwrap_or_default(), []);
}

#[test]
fn the_claim_of_a_set_that_went_before_is_waited_for() {
    let mut world = World::new(stateful_set(1, "a", json!({})));
    world.settle();
    let mut claim = PersistentVolumeClaim::clone(&world.claims["data-db-0"]);
    claim.metadata.owner_references = Some(vec![owner::controller_reference::<StatefulSet>(&world.set.metadata)]);
    world.claims.insert("data-db-0".to_owned(), Arc::new(claim));
    world.pods.clear();
    world.set.metadata.uid = Some("next-uid".to_owned());
    assert_eq!(world.plan().waiting, [WaitingOn::Claim { claim: "data-db-0".to_owned() }]);
    // Whoever wants to keep the data takes the owner off.
    Arc::make_mut(world.claims.get_mut("data-db-0").unwrap()).metadata.owner_references = None;
    world.settle();
    assert_eq!(world.images(), "a");
}

#[test]
fn a_claim_that_was_deleted_comes_back_for_a_pod_that_waits_for_it() {
    let mut world = World::new(stateful_set(1, BROKEN, json!({})));
    world.settle();
    world.claims.clear();
    world.settle();
    assert_eq!(world.claims.len(), 1);
}

#[test]
fn a_claim_that_somebody_else_controls_is_left_to_them() {
    let mut world = World::new(stateful_set(2, "a", json!({})));
    world.settle();
    let reference = |kind: &str, name: &str, uid: &str, controller: bool| OwnerReference {
        api_version: "v1".to_owned(),
        kind: kind.to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
        controller: Some(controller),
        block_owner_deletion: None,
    };
    let own = |world: &World| owner::controller_reference::<StatefulSet>(&world.set.metadata);
    let foreign = reference("ConfigMap", "theirs", "their-uid", true);
    let (uncontrolled, foreign_and_own) =
        (OwnerReference { controller: Some(false), ..own(&world) }, vec![foreign.clone(), own(&world)]);
    for (claim, owners) in [("data-db-0", vec![uncontrolled]), ("data-db-1", foreign_and_own)] {
        Arc::make_mut(world.claims.get_mut(claim).unwrap()).metadata.owner_references = Some(owners);
    }
    let policy = json!({ "whenDeleted": "Delete", "whenScaled": "Retain" });
    world.set.spec.as_mut().unwrap().persistent_volume_claim_retention_policy = serde_json::from_value(policy).unwrap();
    let text = "PersistentVolumeClaim data-db-1 has a conflicting OwnerReference that acts as a managing controller, the retention policy is ignored for this claim";
    assert_eq!(world.plan().notes, [Note::warning("ConflictingController", text)]);
    world.set.spec.as_mut().unwrap().replicas = Some(3);
    world.settle();
    let owners = |claim: &str| world.claims[claim].metadata.owner_references.clone().unwrap();
    assert_eq!((owners("data-db-0"), owners("data-db-1")), (vec![own(&world)], vec![foreign]));
    assert_eq!((owners("data-db-2"), world.images().as_str()), (vec![own(&world)], "a a a"));
}

//! What the simulation found, and is no longer so.

use serde_json::json;

use super::world::{World, web};
use crate::{
    deployment::{WaitingOn, revision_of},
    replica_set,
};

/// Without history, the newest ReplicaSet was pruned under a pause in which the template had changed, and the next got its number.
#[test]
fn a_revision_that_was_pruned_is_not_given_again() {
    let mut world = World::new(web(1, json!({"revisionHistoryLimit": 0})));
    world.settle();
    world.set_image("v2");
    world.settle();
    assert_eq!(revision_of(&world.deployment.metadata), 2);
    world.set_replicas(0);
    world.settle();
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.set_image("v3");
    world.settle();
    assert_eq!(world.replica_sets.len(), 0, "{}", world.history());
    world.deployment.spec.as_mut().unwrap().paused = Some(false);
    world.changed();
    world.settle();
    assert_eq!(revision_of(&world.deployment.metadata), 3);
    assert_eq!(world.history(), "#3 (was -) v3 x0");
}

/// The annotation of another Deployment came with a manifest.
#[test]
fn a_fresh_deployment_begins_at_the_first_revision_whatever_its_manifest_says() {
    let mut deployment = web(1, json!({}));
    let annotations = deployment.metadata.annotations.get_or_insert_default();
    annotations.insert("deployment.kubernetes.io/revision".to_owned(), "7".to_owned());
    let mut world = World::new(deployment);
    world.settle();
    assert_eq!(revision_of(&world.deployment.metadata), 1);
}

/// Under a pause the new ReplicaSet took the room of an old one that had been told to shrink, and whose pods nobody had counted yet.
#[test]
fn a_replica_set_does_not_grow_while_another_may_have_pods_that_nobody_has_counted() {
    let rolling = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "100%"}}});
    let mut world = World::new(web(4, rolling));
    world.sync_deployment();
    let old = world.replica_sets.keys().next().unwrap().clone();
    world.sync_replica_set(&old);
    world.set_image("v2");
    world.sync_deployment();
    world.sync_deployment();
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.changed();
    world.sync_deployment();
    let sizes: Vec<i32> = world.replica_sets.values().map(replica_set::replicas).collect();
    assert_eq!((sizes, world.active()), (vec![0, 0], 4));
    world.settle();
    assert_eq!(world.active(), 4);
}

/// A rollout that had become Recreate on the way was paused, and the new ReplicaSet grew while old pods were on their way out.
#[test]
fn under_recreate_a_pause_lets_nothing_grow_beside_old_pods() {
    let mut world = World::new(web(3, json!({})));
    world.settle();
    let old = world.replica_sets.keys().next().unwrap().clone();
    world.set_image("v2");
    world.sync_deployment();
    let new = world.replica_sets.keys().find(|name| **name != old).unwrap().clone();
    world.sync_replica_set(&new);
    world.sync_replica_set(&new);
    world.deployment.spec.as_mut().unwrap().strategy = serde_json::from_value(json!({"type": "Recreate"})).unwrap();
    world.changed();
    world.sync_deployment();
    world.sync_replica_set(&old);
    world.sync_replica_set(&old);
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.changed();
    world.sync_deployment();
    let sizes: Vec<i32> = [&old, &new].map(|name| replica_set::replicas(&world.replica_sets[name])).to_vec();
    assert_eq!((sizes, world.pods.len()), (vec![0, 1], 4), "three old pods are on their way out");
    world.settle();
    assert_eq!((world.active(), world.pods.len()), (3, 3));
}

/// An undo grew the ReplicaSet that was still giving up its pods, counted those as available, and took away others in their stead.
#[test]
fn an_undo_waits_until_what_was_told_to_go_is_no_longer_counted() {
    let mut world = World::new(web(3, json!({"strategy": {"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 1}}})));
    world.settle();
    let old = world.replica_sets.keys().next().unwrap().clone();
    world.set_image("v2");
    world.settle();
    let shrunk = world.replica_sets.get_mut(&old).unwrap();
    let status = shrunk.status.as_mut().unwrap();
    (status.replicas, status.available_replicas) = (1, Some(1));
    world.set_image("v1");
    assert!(world.plan().waiting.contains(&WaitingOn::ReplicaSetObserved { name: old.clone() }));
    world.sync_deployment();
    assert_eq!(replica_set::replicas(&world.replica_sets[&old]), 0);
    world.settle();
    assert_eq!((replica_set::replicas(&world.replica_sets[&old]), world.active()), (3, 3));
}

/// `minReadySeconds` grew just before the next template: pods of the ReplicaSet between counted as available by the shorter time, and
/// the last one that was available went for them.
#[test]
fn an_old_replica_set_counts_by_the_present_min_ready_seconds() {
    let mut world = World::new(web(1, json!({"strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}})));
    world.settle();
    let first = world.replica_sets.keys().next().unwrap().clone();
    world.set_image("v2");
    world.sync_deployment();
    let second = world.replica_sets.keys().find(|name| **name != first).unwrap().clone();
    world.sync_replica_set(&second);
    for pod in world.pods.keys().cloned().collect::<Vec<_>>() {
        world.sync_pod(&pod);
    }
    world.sync_replica_set(&second);
    world.deployment.spec.as_mut().unwrap().min_ready_seconds = Some(5);
    world.changed();
    world.sync_deployment();
    world.set_image("v3");
    world.sync_deployment();
    world.sync_deployment();
    let sizes: Vec<i32> = [&first, &second].map(|name| replica_set::replicas(&world.replica_sets[name])).to_vec();
    assert_eq!(sizes, [1, 1]);
    // Once for the time that the last pod has to serve, and once for what follows from that.
    for _ in 0..2 {
        world.settle();
        world.advance(5);
    }
    world.settle();
    assert_eq!((world.active(), world.images()), (1, vec!["v3".to_owned()]));
}

//! Every order of events in which a small StatefulSet can roll: one at a time, the partition kept, and it ends complete.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::{World, image, stateful_set};
use crate::Failures;
use crate::replica;

/// What a pod is, as far as it matters.
fn class(pod: &Pod) -> String {
    format!("{} {}", image(pod), replica::is_ready(pod))
}

/// Pods and status; uids and the log do not matter.
fn key(world: &World) -> String {
    let pods: Vec<String> = world.pods.iter().map(|(name, pod)| format!("{name} {}", class(pod))).collect();
    let revisions: Vec<&String> = world.revisions.keys().collect();
    format!("{pods:?} {revisions:?} {:?}", world.set.status)
}

fn copy(world: &World) -> World {
    World {
        set: world.set.clone(),
        pods: world.pods.clone(),
        revisions: world.revisions.clone(),
        claims: world.claims.clone(),
        made: world.made,
        log: Vec::new(),
        failures: Failures::default(),
        now: 1_000_000,
    }
}

/// A pod becomes ready.
fn ready(world: &mut World, name: &str) {
    let mut pod = Pod::clone(&world.pods[name]);
    let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
    pod.status = Some(serde_json::from_value(status).unwrap());
    world.pods.insert(name.to_owned(), Arc::new(pod));
}

/// The worlds that may follow.
fn next(world: &World) -> Vec<World> {
    let mut next = Vec::new();
    let mut acted = copy(world);
    acted.act();
    next.push(acted);
    for (name, pod) in &world.pods {
        if !replica::is_ready(pod) {
            let mut other = copy(world);
            ready(&mut other, name);
            next.push(other);
        }
    }
    next
}

/// Explores every order of a rollout from `a` to `b`; how many states there are.
fn every_order(replicas: i32, partition: i32, unavailable: i32, policy: &str) -> usize {
    let strategy = json!({
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": partition, "maxUnavailable": unavailable } },
        "podManagementPolicy": policy,
    });
    let mut world = World::new(stateful_set(replicas, "a", strategy));
    world.settle();
    world.set_image("b");
    let least = usize::try_from(replicas - unavailable).unwrap();
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut ends = 0;
    let mut waiting = VecDeque::from([world]);
    while let Some(world) = waiting.pop_front() {
        let own = key(&world);
        if seen.contains_key(&own) {
            continue;
        }
        let serving = world.pods.values().filter(|pod| replica::is_ready(pod)).count();
        assert!(serving >= least, "{serving} of {replicas} serve, partition {partition}, {policy}: {own}");
        for ordinal in 0..partition.min(replicas) {
            assert_eq!(image(&world.pods[&format!("db-{ordinal}")]), "a", "partition {partition}: {own}");
        }
        let next = next(&world);
        let keys: BTreeSet<String> = next.iter().map(key).filter(|next| *next != own).collect();
        if keys.is_empty() {
            let wanted: Vec<&str> = (0..replicas).map(|ordinal| if ordinal < partition { "a" } else { "b" }).collect();
            assert_eq!(world.images(), wanted.join(" "), "it ends without being complete");
            ends += 1;
        }
        seen.insert(own, keys);
        waiting.extend(next);
    }
    assert_eq!(ends, 1, "all orders come to the same");
    runs_end(&seen);
    seen.len()
}

/// No event leads back, so every run ends.
fn runs_end(seen: &BTreeMap<String, BTreeSet<String>>) {
    let mut before: BTreeMap<&String, usize> = BTreeMap::new();
    for next in seen.values().flatten() {
        *before.entry(next).or_default() += 1;
    }
    let mut free: Vec<&String> = seen.keys().filter(|key| !before.contains_key(key)).collect();
    let mut passed = 0;
    while let Some(key) = free.pop() {
        passed += 1;
        for next in &seen[key] {
            let left = before.get_mut(next).expect("counted above");
            *left -= 1;
            if *left == 0 {
                free.push(next);
            }
        }
    }
    assert_eq!(passed, seen.len(), "a rollout goes round in circles");
}

#[test]
fn in_every_order_it_rolls_within_bounds_and_ends() {
    let mut states = 0;
    for replicas in 1..=4 {
        for partition in 0..=replicas {
            for unavailable in 1..=replicas.min(3) {
                states += every_order(replicas, partition, unavailable, "OrderedReady");
                states += every_order(replicas, partition, unavailable, "Parallel");
            }
        }
    }
    println!("{states} states of StatefulSets");
    assert!(states > 500);
}

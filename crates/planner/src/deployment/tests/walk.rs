//! Bounds hold in every order of events, and every rollout ends.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::{prelude::*, sample::Index};
use serde_json::json;

use super::world::{World, web};
use crate::deployment;

/// What happens next.
#[derive(Debug, Clone)]
enum Event {
    Deployment,
    ReplicaSet(Index),
    Pod(Index),
    Seconds(i64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Deployment),
        4 => any::<Index>().prop_map(Event::ReplicaSet),
        8 => any::<Index>().prop_map(Event::Pod),
        1 => (0..20i64).prop_map(Event::Seconds),
    ]
}

fn pick<T: Clone>(index: &Index, from: impl Iterator<Item = T>) -> Option<T> {
    let all: Vec<T> = from.collect();
    (!all.is_empty()).then(|| index.get(&all).clone())
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Deployment => drop(world.sync_deployment()),
        Event::ReplicaSet(index) => {
            if let Some(name) = pick(index, world.replica_sets.keys().cloned()) {
                world.sync_replica_set(&name);
            }
        }
        Event::Pod(index) => {
            if let Some(name) = pick(index, world.pods.keys().cloned()) {
                world.sync_pod(&name);
            }
        }
        Event::Seconds(seconds) => world.advance(*seconds),
    }
}

fn check_bounds(world: &World, replicas: i32) -> Result<(), TestCaseError> {
    let bounds = deployment::bounds(&world.deployment);
    let (active, ready) = (i32::try_from(world.active()).unwrap(), i32::try_from(world.ready()).unwrap());
    prop_assert!(active <= replicas + bounds.max_surge, "{active} pods of {replicas} with {bounds:?}");
    prop_assert!(ready >= replicas - bounds.max_unavailable, "{ready} ready of {replicas} with {bounds:?}");
    Ok(())
}

proptest! {
    #[test]
    fn a_rolling_update_keeps_its_bounds_and_ends(
        replicas in 1..8i32, surge in 0..4i32, unavailable in 0..4i32,
        events in proptest::collection::vec(event(), 0..250),
        images in proptest::collection::vec(prop_oneof![Just("v2"), Just("v3"), Just("broken"), Just("v1")], 1..4),
    ) {
        let rolling = json!({"maxSurge": IntOrString::Int(surge), "maxUnavailable": IntOrString::Int(unavailable)});
        let mut world = World::new(web(replicas, json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}})));
        world.settle();
        check_bounds(&world, replicas)?;
        let part = events.len() / images.len() + 1;
        for (image, events) in images.iter().zip(events.chunks(part)) {
            world.set_image(image);
            for event in events {
                happen(&mut world, event);
                check_bounds(&world, replicas)?;
            }
        }
        world.set_image("last");
        world.settle();
        check_bounds(&world, replicas)?;
        prop_assert_eq!(world.images(), ["last"]);
        prop_assert_eq!(world.active(), usize::try_from(replicas).unwrap());
    }

    #[test]
    fn scaling_in_the_middle_of_a_rollout_ends_at_the_size_asked_for(
        sizes in proptest::collection::vec(0..40i32, 1..5),
        events in proptest::collection::vec(event(), 0..200),
        paused: bool,
    ) {
        let mut world = World::new(web(sizes[0], json!({})));
        world.settle();
        world.set_image("v2");
        let part = events.len() / sizes.len() + 1;
        for (size, events) in sizes.iter().zip(events.chunks(part)) {
            world.set_replicas(*size);
            world.deployment.spec.as_mut().unwrap().paused = Some(paused);
            events.iter().for_each(|event| happen(&mut world, event));
        }
        let size = *sizes.last().unwrap();
        world.set_replicas(size);
        world.settle();
        if paused {
            world.deployment.spec.as_mut().unwrap().paused = Some(false);
            world.settle();
        }
        prop_assert_eq!(world.active(), usize::try_from(size).unwrap());
        prop_assert!(world.images().iter().all(|image| image == "v2"));
    }

    #[test]
    fn recreate_never_runs_two_versions(events in proptest::collection::vec(event(), 0..200), replicas in 1..6i32) {
        let mut world = World::new(web(replicas, json!({"strategy": {"type": "Recreate"}})));
        world.settle();
        world.set_image("v2");
        for event in &events {
            happen(&mut world, event);
            let images: std::collections::BTreeSet<_> = world.pods.values()
                .map(|pod| pod.spec.as_ref().unwrap().containers[0].image.clone()).collect();
            prop_assert!(images.len() <= 1, "{images:?}");
        }
        world.settle();
        prop_assert_eq!(world.images(), ["v2"]);
    }
}

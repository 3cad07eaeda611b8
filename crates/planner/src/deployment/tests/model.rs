//! Every order of events in which a small rollout can go: the bounds hold in each state, and whatever happened, it ends complete.

use std::{
    collections::{BTreeMap, VecDeque, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use serde_json::json;

use super::world::{World, web};
use crate::{deployment, owner, replica};

/// A world, and what has happened to it from outside.
#[derive(Clone)]
struct State {
    world: World,
    /// Pods that may yet fail, each of which lowers by one what can be asked to be available.
    failures_left: usize,
    /// Whether the user may yet ask for a third template.
    may_change: bool,
}

/// States by the hash of what matters in them, each with its successors.
#[derive(Default)]
struct Graph {
    states: BTreeMap<u64, Vec<u64>>,
    complete: BTreeMap<u64, bool>,
}

const FAILURES: usize = 1;

impl State {
    /// Pods are told apart by what they are, not by their names: which of two like ones goes makes no difference.
    fn pod_class(pod: &Pod) -> String {
        let going = pod.metadata.deletion_timestamp.is_some();
        format!("{:?} {going} {} {}", owner::controller_uid(&pod.metadata), replica::is_ready(pod), replica::phase(pod))
    }

    fn key(&self) -> u64 {
        let mut pods: Vec<String> = self.world.pods.values().map(Self::pod_class).collect();
        pods.sort();
        let mut hasher = DefaultHasher::new();
        (pods, self.failures_left, self.may_change).hash(&mut hasher);
        for (name, set) in &self.world.replica_sets {
            let size = set.spec.as_ref().and_then(|spec| spec.replicas);
            (name, size, set.metadata.generation, &set.metadata.annotations, format!("{:?}", set.status)).hash(&mut hasher);
        }
        let Deployment { metadata, status, .. } = &self.world.deployment;
        // The generation stands for the spec.
        (metadata.generation, &metadata.annotations, format!("{status:?}")).hash(&mut hasher);
        hasher.finish()
    }

    /// One pod of each kind.
    fn representatives(&self) -> Vec<String> {
        let by_class: BTreeMap<String, String> =
            self.world.pods.iter().map(|(name, pod)| (Self::pod_class(pod), name.clone())).collect();
        by_class.into_values().collect()
    }

    /// Everything that may happen next.
    fn next(&self) -> Vec<Self> {
        let mut next = Vec::new();
        let mut happen = |event: &dyn Fn(&mut Self)| {
            let mut state = self.clone();
            event(&mut state);
            next.push(state);
        };
        happen(&|state| _ = state.world.sync_deployment());
        for name in self.world.replica_sets.keys() {
            happen(&|state| _ = state.world.sync_replica_set(name));
        }
        for name in &self.representatives() {
            let pod = &self.world.pods[name];
            // What has failed comes to nothing any more, except to its end.
            if !replica::is_finished(pod) || pod.metadata.deletion_timestamp.is_some() {
                happen(&|state| _ = state.world.sync_pod(name));
            }
            if self.failures_left > 0 && replica::is_active(pod) {
                happen(&|state| state.fail(name));
            }
        }
        if self.may_change {
            happen(&|state| {
                state.may_change = false;
                state.world.set_image("v3");
            });
        }
        next
    }

    fn fail(&mut self, name: &str) {
        self.failures_left -= 1;
        let pod = self.world.pods.get_mut(name).expect("it is there");
        let status = pod.status.get_or_insert_default();
        status.phase = Some("Failed".to_owned());
        status.conditions = None;
    }

    fn check(&self) {
        let bounds = deployment::bounds(&self.world.deployment);
        let replicas = deployment::replicas(&self.world.deployment);
        let most = usize::try_from(replicas + bounds.max_surge).unwrap();
        let least = usize::try_from(replicas - bounds.max_unavailable).unwrap().saturating_sub(FAILURES - self.failures_left);
        let (active, ready) = (self.world.active(), self.world.ready());
        assert!(active <= most, "{active} pods, {bounds:?} of {replicas}: {:#?}", self.world.plan());
        assert!(ready >= least, "{ready} ready, {bounds:?} of {replicas}: {:#?}", self.world.plan());
    }

    fn is_complete(&self) -> bool {
        let image = self.world.deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].image.clone();
        let replicas = usize::try_from(deployment::replicas(&self.world.deployment)).unwrap();
        self.world.ready() == replicas && self.world.active() == replicas && self.world.images() == [image.unwrap()]
    }
}

impl Graph {
    /// Breadth first, so that what fails fails after as few events as possible.
    fn explore(first: State) -> Self {
        let mut graph = Self::default();
        let mut waiting = VecDeque::from([first]);
        while let Some(state) = waiting.pop_front() {
            let key = state.key();
            if graph.states.contains_key(&key) {
                continue;
            }
            state.check();
            let next: Vec<(u64, State)> = state.next().into_iter().map(|next| (next.key(), next)).collect();
            graph.states.insert(key, next.iter().map(|(key, _)| *key).filter(|next| *next != key).collect());
            graph.complete.insert(key, state.is_complete());
            waiting.extend(next.into_iter().filter(|(key, _)| !graph.states.contains_key(key)).map(|(_, state)| state));
        }
        graph
    }

    /// Every event brings it forward and none leads back, so every run ends; and where it ends, the rollout is complete.
    fn always_ends_complete(&self) {
        let mut before: BTreeMap<u64, usize> = BTreeMap::new();
        for next in self.states.values().flatten() {
            *before.entry(*next).or_default() += 1;
        }
        let mut free: Vec<u64> = self.states.keys().copied().filter(|key| !before.contains_key(key)).collect();
        let mut passed = 0;
        while let Some(key) = free.pop() {
            passed += 1;
            let next = &self.states[&key];
            assert!(!next.is_empty() || self.complete[&key], "a rollout ends without being complete");
            for next in next {
                let left = before.get_mut(next).expect("counted above");
                *left -= 1;
                if *left == 0 {
                    free.push(*next);
                }
            }
        }
        assert_eq!(passed, self.states.len(), "some rollout goes round in circles");
    }
}

fn every_order(replicas: i32, surge: i32, unavailable: i32, failures_left: usize, may_change: bool) -> usize {
    let strategy = json!({"strategy": {"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}});
    let mut world = World::new(web(replicas, strategy));
    world.settle();
    world.set_image("v2");
    let graph = Graph::explore(State { world, failures_left, may_change });
    graph.always_ends_complete();
    graph.states.len()
}

/// All pairs of bounds.
#[test]
fn in_every_order_bounds_hold_and_the_rollout_ends() {
    let mut states = 0;
    for replicas in 1..=3 {
        for (surge, unavailable) in (0..=replicas).flat_map(|surge| (0..=replicas).map(move |unavailable| (surge, unavailable))) {
            if (surge, unavailable) != (0, 0) {
                states += every_order(replicas, surge, unavailable, 0, false);
            }
        }
    }
    println!("{states} states of Deployments");
    assert!(states > 1_000);
}

#[test]
fn in_every_order_with_a_failing_pod_or_a_third_template() {
    let mut states = 0;
    for (surge, unavailable) in [(1, 0), (0, 1)] {
        states += every_order(2, surge, unavailable, FAILURES, false) + every_order(2, surge, unavailable, 0, true);
    }
    states += every_order(2, 1, 1, FAILURES, false);
    println!("{states} states of Deployments with a failing pod or a third template");
    assert!(states > 1_000);
}

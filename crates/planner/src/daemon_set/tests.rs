//! Whole rollouts of a small world in which pods become ready when they are told to.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::{Node, Pod},
};
use serde_json::{Value, json};

use super::{Action, Plan, Snapshot, plan, pod};
use crate::Failures;
use crate::{controller_revision, owner, replica};

const BROKEN: &str = "broken";

struct World {
    set: DaemonSet,
    nodes: Vec<Arc<Node>>,
    pods: BTreeMap<u32, Arc<Pod>>,
    revisions: BTreeMap<String, Arc<ControllerRevision>>,
    made: u32,
    now: i64,
    failures: Failures,
    /// Nodes without a ready pod, and pods beyond one a node: the most at any time.
    worst: (usize, usize),
}

fn daemon_set(strategy: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": { "name": "agent", "namespace": "default", "uid": "agent-uid", "generation": 1 },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } }, "updateStrategy": strategy,
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": { "containers": [{ "name": "agent", "image": "a" }] },
            },
        },
    }))
    .unwrap()
}

fn node(name: &str, more: Value) -> Arc<Node> {
    Arc::new(serde_json::from_value(json!({ "metadata": { "name": name, "labels": { "name": name } }, "spec": more })).unwrap())
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

impl World {
    fn new(strategy: Value, nodes: usize) -> Self {
        let nodes = (0..nodes).map(|number| node(&format!("node-{number}"), json!({}))).collect();
        Self {
            set: daemon_set(strategy),
            nodes,
            pods: BTreeMap::new(),
            revisions: BTreeMap::new(),
            made: 0,
            now: 1_000_000,
            failures: Failures::default(),
            worst: (0, 0),
        }
    }

    fn plan(&self) -> Plan {
        let pods: Vec<_> = self.pods.values().cloned().collect();
        let revisions: Vec<_> = self.revisions.values().cloned().collect();
        let snapshot =
            Snapshot { daemon_set: &self.set, pods: &pods, revisions: &revisions, nodes: &self.nodes, failures: &self.failures };
        plan(&snapshot, Timestamp::from_second(self.now).unwrap())
    }

    fn step(&mut self) -> bool {
        let plan = self.plan();
        let mut acted = !plan.steps.is_empty() || !plan.revisions.is_empty() || self.set.status.as_ref() != Some(&plan.status);
        self.set.status = Some(plan.status);
        self.failures = plan.failures;
        for action in plan.revisions {
            match action {
                controller_revision::Action::Create(revision) | controller_revision::Action::Update(revision) => {
                    self.revisions.insert(owner::name(&revision.metadata).to_owned(), Arc::new(*revision));
                }
                controller_revision::Action::Delete(revision) => {
                    self.revisions.remove(owner::name(&revision.metadata));
                }
            }
        }
        let (creations, others): (Vec<_>, Vec<_>) =
            plan.steps.into_iter().partition(|step| matches!(step.action, Action::CreatePod(_)));
        // Steps are taken in any order: this one is the worst for maxSurge.
        for step in creations.into_iter().chain(others) {
            match step.action {
                Action::CreatePod(mut pod) => {
                    self.made += 1;
                    pod.metadata.uid = Some(self.made.to_string());
                    pod.metadata.name = Some(format!("agent-{:05}", self.made));
                    self.pods.insert(self.made, Arc::new(*pod));
                    self.measure();
                }
                Action::DeletePod(pod) => {
                    self.pods.remove(&owner::uid(&pod.metadata).parse().unwrap());
                }
                Action::SetPodOwners(..) => panic!("nothing changes hands here"),
            }
        }
        self.measure();
        for pod in self.pods.values_mut().filter(|pod| image(pod) != BROKEN && pod.status.is_none()) {
            let mut ready = Pod::clone(pod);
            let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
            ready.status = Some(serde_json::from_value(status).unwrap());
            *pod = Arc::new(ready);
            acted = true;
        }
        acted
    }

    fn measure(&mut self) {
        let ready = self.pods.values().filter(|pod| pod.status.is_some());
        let served: std::collections::BTreeSet<_> = ready.filter_map(|pod| pod::node_of(pod)).collect();
        let without = self.nodes.len() - served.len();
        let beyond = self.pods.len().saturating_sub(self.nodes.len());
        self.worst = (self.worst.0.max(without), self.worst.1.max(beyond));
    }

    fn settle(&mut self) {
        self.worst = (0, 0);
        for _ in 0..200 {
            if !self.step() {
                return;
            }
        }
        panic!("it never settles");
    }

    fn set_image(&mut self, image: &str) {
        self.set.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
    }

    /// Image by node.
    fn images(&self) -> String {
        let mut images: Vec<_> = self.pods.values().map(|pod| format!("{}={}", pod::node_of(pod).unwrap(), image(pod))).collect();
        images.sort();
        images.join(" ")
    }
}

#[test]
fn one_pod_a_node_as_nodes_come_and_go() {
    let mut world = World::new(json!({}), 2);
    world.settle();
    assert_eq!(world.images(), "node-0=a node-1=a");
    world.nodes.push(node("node-2", json!({})));
    world.nodes.remove(0);
    world.settle();
    assert_eq!(world.images(), "node-1=a node-2=a");
    let status = world.set.status.unwrap();
    assert_eq!((status.desired_number_scheduled, status.number_ready, status.number_available), (2, 2, Some(2)));
}

#[test]
fn taints_and_selectors_keep_pods_away() {
    let mut world = World::new(json!({}), 1);
    world.nodes.push(node("tainted", json!({ "taints": [{ "key": "own", "effect": "NoSchedule" }] })));
    world
        .nodes
        .push(node("cordoned", json!({ "taints": [{ "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" }] })));
    world.settle();
    assert_eq!(world.images(), "cordoned=a node-0=a");
    // What is there may stay under NoSchedule and must go under NoExecute.
    world.nodes[0] = node("node-0", json!({ "taints": [{ "key": "own", "effect": "NoSchedule" }] }));
    world.settle();
    assert_eq!(world.images(), "cordoned=a node-0=a");
    assert_eq!(world.set.status.as_ref().unwrap().number_misscheduled, 1);
    world.nodes[0] = node("node-0", json!({ "taints": [{ "key": "own", "effect": "NoExecute" }] }));
    world.settle();
    assert_eq!(world.images(), "cordoned=a");
}

#[test]
fn w2_at_most_max_unavailable_nodes_are_without() {
    for (limit, nodes) in [(1, 5), (2, 5), (5, 5)] {
        let mut world = World::new(json!({ "rollingUpdate": { "maxUnavailable": limit } }), nodes);
        world.settle();
        world.set_image("b");
        world.settle();
        assert_eq!(world.worst, (limit, 0));
        assert!(world.pods.values().all(|pod| image(pod) == "b"));
    }
}

#[test]
fn w2_with_a_surge_no_node_is_ever_without() {
    let mut world = World::new(json!({ "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 2 } }), 5);
    world.settle();
    world.set_image("b");
    world.settle();
    assert_eq!(world.worst, (0, 2));
    assert!(world.pods.values().all(|pod| image(pod) == "b") && world.pods.len() == 5);
}

/// Two nodes have two pods already, both of which are old now.
#[test]
fn a_third_template_in_the_middle_of_a_surge_keeps_within_it() {
    let mut world = World::new(json!({ "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 2 } }), 5);
    world.settle();
    world.set_image(BROKEN);
    world.settle();
    assert_eq!(world.pods.len(), 7);
    world.set_image("b");
    world.settle();
    assert_eq!(world.worst, (0, 2));
    assert!(world.pods.values().all(|pod| image(pod) == "b") && world.pods.len() == 5);
}

/// The node that was surged onto falls silent, and its second pod stays there.
#[test]
fn a_surge_onto_a_node_that_is_lost_still_counts() {
    let mut world = World::new(json!({ "rollingUpdate": { "maxUnavailable": 0, "maxSurge": 1 } }), 3);
    world.settle();
    world.set_image(BROKEN);
    world.settle();
    assert_eq!(world.pods.len(), 4);
    let broken = world.pods.values().find(|pod| image(pod) == BROKEN).unwrap();
    let name = pod::node_of(broken).unwrap().to_owned();
    let lost = world.nodes.iter_mut().find(|node| owner::name(&node.metadata) == name).unwrap();
    *lost = node(&name, json!({ "taints": [{ "key": "node.kubernetes.io/unreachable", "effect": "NoSchedule" }] }));
    world.settle();
    assert_eq!(world.pods.len(), 4);
    // Once its old pod is not ready any more it is not kept, and the surge goes on elsewhere.
    let old = world.pods.values_mut().find(|pod| pod::node_of(pod) == Some(&name) && image(pod) == "a").unwrap();
    let unready = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "False" }] });
    Arc::make_mut(old).status = Some(serde_json::from_value(unready).unwrap());
    world.settle();
    assert_eq!(world.images(), "node-0=broken node-1=a node-1=broken node-2=a");
    assert_eq!(world.worst.1, 1);
}

#[test]
fn a_broken_template_stops_at_the_bound_and_going_back_repairs_it() {
    let mut world = World::new(json!({ "rollingUpdate": { "maxUnavailable": 1 } }), 3);
    world.settle();
    world.set_image(BROKEN);
    world.settle();
    assert_eq!(world.images(), "node-0=broken node-1=a node-2=a");
    world.set_image("a");
    world.settle();
    assert_eq!(world.images(), "node-0=a node-1=a node-2=a");
}

#[test]
fn w1_on_delete_changes_nothing_by_itself() {
    let mut world = World::new(json!({ "type": "OnDelete" }), 2);
    world.settle();
    world.set_image("b");
    world.settle();
    assert_eq!(world.images(), "node-0=a node-1=a");
    world.pods.pop_first();
    world.settle();
    assert_eq!(world.images(), "node-0=b node-1=a");
}

/// A pod that its node refuses again and again.
#[test]
fn failed_pods_are_replaced_after_pauses_that_grow() {
    let mut world = World::new(json!({}), 1);
    let mut ends = Vec::new();
    for second in 0..20 {
        world.now = 1_000_000 + second;
        world.settle();
        let (number, pod) = world.pods.first_key_value().unwrap();
        if !replica::is_finished(pod) {
            ends.push((second, *number));
            let mut failed = Pod::clone(pod);
            failed.status.as_mut().unwrap().phase = Some("Failed".to_owned());
            world.pods = BTreeMap::from([(*number, Arc::new(failed))]);
        }
    }
    assert_eq!(ends, [(0, 1), (1, 2), (2, 3), (4, 4), (8, 5), (16, 6)]);
    world.now += 12;
    let plan = world.plan();
    assert_eq!(plan.wake_at, Some(Timestamp::from_second(1_000_032).unwrap()));
    assert!(plan.steps.is_empty());
}

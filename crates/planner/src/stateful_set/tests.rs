//! Whole rollouts of a small world in which pods become ready when they are told to.

mod claims;
mod model;
mod order;

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Action, Plan, Snapshot, identity, plan};
use crate::{Failures, controller_revision, owner};

/// Pods of these images never become ready.
const BROKEN: &str = "broken";

struct World {
    set: StatefulSet,
    pods: BTreeMap<String, Arc<Pod>>,
    revisions: BTreeMap<String, Arc<ControllerRevision>>,
    claims: BTreeMap<String, Arc<PersistentVolumeClaim>>,
    failures: Failures,
    now: i64,
    made: u32,
    /// What happened, a line a step.
    log: Vec<String>,
}

fn stateful_set(replicas: i32, image: &str, more: Value) -> StatefulSet {
    let mut set = json!({
        "metadata": { "name": "db", "namespace": "default", "uid": "db-uid", "generation": 1 },
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
            "template": {
                "metadata": { "labels": { "app": "db" } },
                "spec": { "containers": [{ "name": "db", "image": image }] },
            },
            "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": {} }],
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        set["spec"][key] = value.clone();
    }
    serde_json::from_value(set).unwrap()
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

impl World {
    fn new(set: StatefulSet) -> Self {
        let (pods, revisions, claims) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { set, pods, revisions, claims, failures: Failures::default(), now: 1_000_000, made: 0, log: Vec::new() }
    }

    fn plan(&self) -> Plan {
        let pods: Vec<_> = self.pods.values().cloned().collect();
        let revisions: Vec<_> = self.revisions.values().cloned().collect();
        let claims: Vec<_> = self.claims.values().cloned().collect();
        let (set, failures) = (&self.set, &self.failures);
        let snapshot = Snapshot { stateful_set: set, pods: &pods, revisions: &revisions, claims: &claims, failures };
        plan(&snapshot, Timestamp::from_second(self.now).unwrap())
    }

    /// Carries out one plan, and then every pod that can becomes ready; says whether anything was done.
    fn step(&mut self) -> bool {
        let acted = self.act();
        self.become_ready() || acted
    }

    /// Carries out one plan; says whether anything was done.
    fn act(&mut self) -> bool {
        let plan = self.plan();
        let changed = self.set.status.as_ref() != Some(&plan.status);
        self.set.status = Some(plan.status);
        self.failures = plan.failures;
        let acted = changed || !plan.revisions.is_empty() || !plan.steps.is_empty();
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
        for step in plan.steps {
            match step.action {
                Action::CreateClaim(claim) => {
                    self.claims.insert(owner::name(&claim.metadata).to_owned(), Arc::new(*claim));
                }
                Action::CreatePod(mut pod) => {
                    self.made += 1;
                    pod.metadata.uid = Some(format!("pod-{}", self.made));
                    self.log.push(format!("+{}={}", owner::name(&pod.metadata), image(&pod)));
                    self.pods.insert(owner::name(&pod.metadata).to_owned(), Arc::new(*pod));
                }
                Action::DeletePod(pod) => {
                    self.log.push(format!("-{} {:?}", owner::name(&pod.metadata), step.reason));
                    self.pods.remove(owner::name(&pod.metadata));
                }
                Action::SetClaimOwners(claim, owners) => {
                    let mut claim = PersistentVolumeClaim::clone(&claim);
                    claim.metadata.owner_references = Some(owners);
                    self.claims.insert(owner::name(&claim.metadata).to_owned(), Arc::new(claim));
                }
                Action::SetPodOwners(pod, owners) => {
                    let mut pod = Pod::clone(&pod);
                    pod.metadata.owner_references = Some(owners);
                    self.pods.insert(owner::name(&pod.metadata).to_owned(), Arc::new(pod));
                }
                Action::SetPodLabels(pod, labels) => {
                    let mut pod = Pod::clone(&pod);
                    self.log.push(format!("={}", owner::name(&pod.metadata)));
                    pod.metadata.labels.get_or_insert_default().extend(labels);
                    self.pods.insert(owner::name(&pod.metadata).to_owned(), Arc::new(pod));
                }
            }
        }
        acted
    }

    fn become_ready(&mut self) -> bool {
        let mut changed = false;
        for pod in self.pods.values_mut().filter(|pod| image(pod) != BROKEN && pod.status.is_none()) {
            let mut ready = Pod::clone(pod);
            let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] });
            ready.status = Some(serde_json::from_value(status).unwrap());
            *pod = Arc::new(ready);
            changed = true;
        }
        changed
    }

    fn settle(&mut self) -> String {
        for _ in 0..200 {
            if !self.step() {
                return std::mem::take(&mut self.log).join("\n");
            }
        }
        panic!("it never settles:\n{}", self.log.join("\n"));
    }

    fn set_image(&mut self, image: &str) {
        self.set.spec.as_mut().unwrap().template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
    }

    fn images(&self) -> String {
        self.pods.values().map(|pod| image(pod)).collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn pods_come_and_go_in_order_with_their_claims() {
    let mut world = World::new(stateful_set(3, "a", json!({})));
    assert_eq!(world.settle(), "+db-0=a\n+db-1=a\n+db-2=a");
    assert_eq!(world.claims.keys().cloned().collect::<Vec<_>>(), ["data-db-0", "data-db-1", "data-db-2"]);
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    assert_eq!(world.settle(), "-db-2 ScaleDown\n-db-1 ScaleDown");
    assert_eq!(world.claims.len(), 3, "claims stay");
    let status = world.set.status.clone().unwrap();
    assert_eq!((status.replicas, status.ready_replicas, status.updated_replicas), (1, Some(1), Some(1)));
}

#[test]
fn the_first_pod_that_is_not_ready_holds_up_the_rest_unless_parallel() {
    let mut world = World::new(stateful_set(3, BROKEN, json!({})));
    assert_eq!(world.settle(), "+db-0=broken");
    let mut world = World::new(stateful_set(3, BROKEN, json!({ "podManagementPolicy": "Parallel" })));
    assert_eq!(world.settle(), "+db-0=broken\n+db-1=broken\n+db-2=broken");
}

#[test]
fn a_pod_that_lost_the_label_with_its_name_gets_it_again() {
    let mut world = World::new(stateful_set(2, "a", json!({})));
    world.settle();
    let made = world.pods.clone();
    let mut stripped = Pod::clone(&made["db-1"]);
    stripped.metadata.labels.as_mut().unwrap().retain(|name, _| name != identity::LABEL_POD_NAME);
    world.pods.insert("db-1".to_owned(), Arc::new(stripped));
    assert_eq!(world.settle(), "=db-1");
    assert_eq!(world.pods, made);
}

#[test]
fn w3_a_partition_keeps_the_lower_ordinals() {
    let partition =
        |number: i32| json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": number } } });
    let mut world = World::new(stateful_set(5, "a", partition(3)));
    world.settle();
    world.set_image("b");
    assert_eq!(world.settle(), "-db-4 Rollout\n+db-4=b\n-db-3 Rollout\n+db-3=b");
    assert_eq!(world.images(), "a a a b b");
    let status = world.set.status.clone().unwrap();
    assert_eq!((status.current_replicas, status.updated_replicas), (Some(3), Some(2)));
    // A pod below the partition that is lost comes back as it was.
    world.pods.remove("db-1");
    assert_eq!(world.settle(), "+db-1=a");
    world.set.spec = stateful_set(5, "b", partition(0)).spec;
    assert_eq!(world.settle(), "-db-2 Rollout\n+db-2=b\n-db-1 Rollout\n+db-1=b\n-db-0 Rollout\n+db-0=b");
    let status = world.set.status.clone().unwrap();
    assert_eq!(status.current_revision, status.update_revision);
}

#[test]
fn a_rollout_stuck_on_a_broken_revision_is_repaired_by_going_back() {
    let mut world = World::new(stateful_set(3, "a", json!({})));
    world.settle();
    world.set_image(BROKEN);
    assert_eq!(world.settle(), "-db-2 Rollout\n+db-2=broken");
    assert_eq!(world.images(), "a a broken");
    world.set_image("a");
    assert_eq!(world.settle(), "-db-2 BrokenRevision\n+db-2=a");
    let numbers: Vec<i64> = world.revisions.values().map(|revision| revision.revision).collect();
    assert_eq!(numbers.iter().max(), Some(&3));
}

#[test]
fn a_third_revision_replaces_a_broken_second_one() {
    let mut world = World::new(stateful_set(2, "a", json!({})));
    world.settle();
    world.set_image(BROKEN);
    world.settle();
    world.set_image("c");
    assert_eq!(world.settle(), "-db-1 BrokenRevision\n+db-1=c\n-db-0 Rollout\n+db-0=c");
}

#[test]
fn w1_on_delete_changes_nothing_by_itself() {
    let mut world = World::new(stateful_set(2, "a", json!({ "updateStrategy": { "type": "OnDelete" } })));
    world.settle();
    world.set_image("b");
    assert_eq!(world.settle(), "");
    world.pods.remove("db-1");
    assert_eq!(world.settle(), "+db-1=b");
    assert_eq!(world.images(), "a b");
}

#[test]
fn several_may_be_unavailable_when_it_is_said_so() {
    let strategy = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": 2 } }, "podManagementPolicy": "Parallel" });
    let mut world = World::new(stateful_set(4, "a", strategy));
    world.settle();
    world.set_image("b");
    let log = world.settle();
    assert!(log.starts_with("-db-3 Rollout\n-db-2 Rollout\n"), "{log}");
    assert_eq!(world.images(), "b b b b");
}

fn strategy(partition: i32, more: Value) -> Value {
    let mut spec = json!({ "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "partition": partition } } });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// kubernetes/kubernetes #67250: going back from a broken revision waited for the broken pod to become ready, which it never does.
#[test]
fn issue_67250_a_pod_that_never_became_ready_does_not_hold_up_its_own_repair() {
    for policy in ["OrderedReady", "Parallel"] {
        let mut world = World::new(stateful_set(3, BROKEN, json!({ "podManagementPolicy": policy })));
        world.settle();
        world.set_image("a");
        world.settle();
        assert_eq!(world.images(), "a a a", "{policy}");
        assert_eq!(world.claims.len(), 3, "claims stay what they were");
    }
}

/// kubernetes/kubernetes #137409: with maxUnavailable, the pods of a first revision that never became available were never replaced, as
/// they alone were as many as may be unavailable.
#[test]
fn issue_137409_a_broken_first_revision_is_replaced_under_max_unavailable() {
    for (policy, replicas, most) in [("OrderedReady", 1, 1), ("Parallel", 1, 1), ("OrderedReady", 3, 2), ("Parallel", 3, 2)] {
        let rolling = json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": most } }, "podManagementPolicy": policy });
        let mut world = World::new(stateful_set(replicas, BROKEN, rolling));
        world.settle();
        world.set_image("a");
        world.settle();
        assert_eq!(world.images(), vec!["a"; world.pods.len()].join(" "), "{policy}");
        assert_eq!(world.images().split(' ').count(), usize::try_from(replicas).unwrap(), "{policy}");
    }
}

/// kubernetes/kubernetes #121534: without pods a rollout counted as done, and a partition lost the revision that it keeps.
#[test]
fn issue_121534_scaled_to_nothing_and_back_a_partition_keeps_its_revision() {
    let mut world = World::new(stateful_set(4, "a", strategy(2, json!({}))));
    world.settle();
    world.set_image("b");
    world.settle();
    assert_eq!(world.images(), "a a b b");
    world.set.spec.as_mut().unwrap().replicas = Some(0);
    world.settle();
    world.set.spec.as_mut().unwrap().replicas = Some(3);
    world.settle();
    assert_eq!(world.images(), "a a b");
}

/// kubernetes/kubernetes #119685: a pod below the partition that was lost came back with the new template.
#[test]
fn issue_119685_a_lost_pod_below_the_partition_comes_back_as_it_was() {
    let mut world = World::new(stateful_set(2, "a", strategy(1, json!({}))));
    world.settle();
    world.set_image("b");
    world.settle();
    world.pods.remove("db-0");
    world.settle();
    assert_eq!(world.images(), "a b");
}

proptest! {
    #[test]
    fn a_partition_parts(replicas in 0..7i32, start in 0..4i32, partition in 0..9i32, most in 1..4i32, parallel: bool) {
        let policy = if parallel { "Parallel" } else { "OrderedReady" };
        let rolling = json!({
            "ordinals": { "start": start }, "podManagementPolicy": policy,
            "updateStrategy": { "rollingUpdate": { "partition": partition, "maxUnavailable": most } },
        });
        let mut world = World::new(stateful_set(replicas, "a", rolling));
        world.settle();
        world.set_image("b");
        let log = world.settle();
        for (name, pod) in &world.pods {
            let ordinal = identity::ordinal_of("db", pod).unwrap();
            prop_assert!((start..start + replicas).contains(&ordinal), "{name}");
            prop_assert_eq!(image(pod), if ordinal < start + partition { "a" } else { "b" }, "{}", name);
        }
        prop_assert_eq!(world.pods.len(), usize::try_from(replicas).unwrap());
        // From the highest ordinal down, each once.
        let gone: Vec<i32> = log.lines().filter_map(|line| line.strip_prefix("-db-")?.split(' ').next()?.parse().ok()).collect();
        prop_assert!(gone.windows(2).all(|pair| pair[0] > pair[1]), "{log}");
        // Lowered to nothing, the partition lets the rest go, too.
        let rolling = world.set.spec.as_mut().unwrap().update_strategy.as_mut().unwrap().rolling_update.as_mut().unwrap();
        rolling.partition = Some(0);
        world.settle();
        prop_assert!(world.pods.values().all(|pod| image(pod) == "b"));
        let status = world.set.status.as_ref().unwrap();
        prop_assert_eq!(&status.current_revision, &status.update_revision);
    }
}

#[test]
fn names_are_members_only_to_the_letter() {
    let pod = |name: &str| Pod {
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        ..Pod::default()
    };
    let cases = [
        ("db-0", Some(0)),
        ("db-12", Some(12)),
        ("db-012", None),
        ("db-x", None),
        ("db", None),
        ("dbx-1", None),
        ("db--1", None),
    ];
    for (name, ordinal) in cases {
        assert_eq!(identity::ordinal_of("db", &pod(name)), ordinal, "{name}");
    }
}

/// A pod that its node refuses again and again.
#[test]
fn failed_pods_are_replaced_after_pauses_that_grow() {
    let mut world = World::new(stateful_set(1, "v1", json!({})));
    let mut replaced = Vec::new();
    for second in 0..20 {
        world.now = 1_000_000 + second;
        if world.settle().contains("+db-0") {
            replaced.push(second);
            let mut failed = Pod::clone(&world.pods["db-0"]);
            failed.status = Some(serde_json::from_value(json!({ "phase": "Failed" })).unwrap());
            world.pods.insert("db-0".to_owned(), Arc::new(failed));
        }
    }
    assert_eq!(replaced, [0, 1, 2, 4, 8, 16]);
    assert_eq!(world.plan().wake_at, Some(Timestamp::from_second(1_000_032).unwrap()));
}

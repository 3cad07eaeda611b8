//! D9: the bounds of a rolling update, checked at every event of a watch.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::json;

use crate::machine::Machine;

/// What a rollout is asked to keep to, and what must be seen of it.
struct Case {
    replicas: usize,
    max_surge: serde_json::Value,
    max_unavailable: serde_json::Value,
    /// Ready pods there must be at every instant.
    least: usize,
    /// Pods there may be.
    most: usize,
}

fn deployment(case: &Case) -> Deployment {
    serde_json::from_value(json!({
        "metadata": { "name": "web" },
        "spec": {
            "replicas": case.replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "strategy": { "rollingUpdate": { "maxSurge": case.max_surge, "maxUnavailable": case.max_unavailable } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [{
                    "name": "nginx", "image": "nginx:1.14.2",
                    "readinessProbe": { "httpGet": { "path": "/", "port": 80 }, "periodSeconds": 1 },
                }] },
            },
        },
    }))
    .unwrap()
}

/// Pods as a watch has shown them so far.
#[derive(Debug, Default)]
struct Seen {
    pods: BTreeMap<String, Pod>,
}

impl Seen {
    fn apply(&mut self, event: Event<Pod>) {
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                self.pods.insert(pod.name_any(), pod);
            }
            Event::Delete(pod) => {
                self.pods.remove(&pod.name_any());
            }
            Event::Init | Event::InitDone => {}
        }
    }

    fn staying(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_none())
    }

    fn ready(&self) -> usize {
        let is_ready = |pod: &&Pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
        };
        self.staying().filter(is_ready).count()
    }

    /// Ready pods of an image, and all pods that stay.
    fn ready_of(&self, image: &str) -> usize {
        let of_image = |pod: &&Pod| pod.spec.as_ref().is_some_and(|spec| spec.containers[0].image.as_deref() == Some(image));
        let ready = Self { pods: self.staying().filter(of_image).map(|pod| (pod.name_any(), pod.clone())).collect() };
        ready.ready()
    }
}

async fn roll(client: Client, case: Case) {
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client);
    deployments.create(&PostParams::default(), &deployment(&case)).await.unwrap();
    let mut events = watcher(pods, watcher::Config::default()).boxed();
    let mut seen = Seen::default();
    while seen.ready() < case.replicas {
        seen.apply(events.try_next().await.unwrap().unwrap());
    }
    let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "nginx", "image": "nginx:1.16.1" }] } } } });
    deployments.patch("web", &PatchParams::default(), &Patch::Strategic(image)).await.unwrap();
    let (mut fewest, mut greatest) = (usize::MAX, 0);
    while seen.ready_of("nginx:1.16.1") < case.replicas {
        seen.apply(events.try_next().await.unwrap().unwrap());
        fewest = fewest.min(seen.ready());
        greatest = greatest.max(seen.staying().count());
    }
    let Case { replicas, max_surge, max_unavailable, least, most } = case;
    println!("{replicas} with {max_surge}/{max_unavailable}: ready never under {fewest}, pods never over {greatest}");
    assert!(fewest >= least, "{fewest} ready where {least} must be");
    assert!(greatest <= most, "{greatest} pods where {most} may be");
}

fn check(flags: &[&str], case: Case) {
    let machine = Machine::start(flags);
    machine.block_on(|client| async move {
        let rolled = roll(client, case);
        tokio::time::timeout(std::time::Duration::from_secs(120), rolled).await.expect("the rollout does not end");
    });
    machine.stop();
}

/// Three real replicas.
fn check_three(max_surge: serde_json::Value, max_unavailable: serde_json::Value, least: usize, most: usize) {
    check(&[], Case { replicas: 3, max_surge, max_unavailable, least, most });
}

/// Many replicas, on nodes that start and stop them at once: there is no better chance to go too far.
fn check_many(max_surge: serde_json::Value, max_unavailable: serde_json::Value, least: usize, most: usize) {
    check(&["--runtime", "hollow", "--nodes", "5"], Case { replicas: 60, max_surge, max_unavailable, least, most });
}

#[test]
fn d9_one_more_none_less() {
    check_three(json!(1), json!(0), 3, 4);
}

#[test]
fn d9_one_more_one_less() {
    check_three(json!(1), json!(1), 2, 4);
}

#[test]
fn d9_percentages() {
    // A third of three, rounded up for the surge and down for the unavailable.
    check_three(json!("25%"), json!("25%"), 3, 4);
}

#[test]
fn d9_many_one_more_none_less() {
    check_many(json!(1), json!(0), 60, 61);
}

#[test]
fn d9_many_percentages() {
    check_many(json!("25%"), json!("10%"), 54, 75);
}

#[test]
fn d9_many_none_more() {
    check_many(json!(0), json!("5%"), 57, 60);
}

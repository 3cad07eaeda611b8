//! W2: a DaemonSet on a machine of several nodes, its bounds checked at every event of a watch.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{apps::v1::DaemonSet, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};

use crate::machine::Machine;

const NODES: usize = 6;

fn agent(rolling_update: &Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": { "name": "agent" },
        "spec": {
            "selector": { "matchLabels": { "app": "agent" } }, "updateStrategy": { "rollingUpdate": rolling_update },
            "template": {
                "metadata": { "labels": { "app": "agent" } },
                "spec": { "containers": [{ "name": "nginx", "image": "nginx:1.14.2" }] },
            },
        },
    }))
    .unwrap()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Nodes that have a ready pod (of an image), and the most pods that one node has.
fn served(pods: &BTreeMap<String, Pod>, image: Option<&str>) -> (usize, usize) {
    let mut by_node: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for pod in pods.values() {
        let Some(spec) = &pod.spec else { continue };
        let Some(node) = spec.node_name.as_deref() else { continue };
        let entry = by_node.entry(node).or_default();
        entry.1 += 1;
        entry.0 += usize::from(is_ready(pod) && image.is_none_or(|image| spec.containers[0].image.as_deref() == Some(image)));
    }
    (by_node.values().filter(|(ready, _)| *ready > 0).count(), by_node.values().map(|(_, all)| *all).max().unwrap_or(0))
}

async fn roll(client: Client, rolling_update: Value, least: usize, most_a_node: usize) {
    let sets: Api<DaemonSet> = Api::default_namespaced(client.clone());
    let pods: Api<Pod> = Api::default_namespaced(client);
    sets.create(&PostParams::default(), &agent(&rolling_update)).await.unwrap();
    let mut events = watcher(pods, watcher::Config::default()).boxed();
    let mut seen: BTreeMap<String, Pod> = BTreeMap::new();
    let mut fewest = None;
    let mut greatest = 0;
    loop {
        match events.try_next().await.unwrap().unwrap() {
            Event::Apply(pod) | Event::InitApply(pod) => drop(seen.insert(pod.name_any(), pod)),
            Event::Delete(pod) => drop(seen.remove(&pod.name_any())),
            Event::Init | Event::InitDone => {}
        }
        let (ready, crowd) = served(&seen, None);
        match &mut fewest {
            None if ready == NODES => {
                let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "nginx", "image": "nginx:1.16.1" }] } } } });
                sets.patch("agent", &PatchParams::default(), &Patch::Strategic(image)).await.unwrap();
                fewest = Some(ready);
            }
            None => {}
            Some(fewest) => {
                *fewest = ready.min(*fewest);
                greatest = crowd.max(greatest);
                if served(&seen, Some("nginx:1.16.1")).0 == NODES && seen.len() == NODES {
                    break;
                }
            }
        }
    }
    let fewest = fewest.unwrap_or_default();
    println!("{rolling_update}: nodes served never under {fewest}, pods a node never over {greatest}");
    assert!(fewest >= least, "{fewest} nodes served where {least} must be");
    assert!(greatest <= most_a_node, "{greatest} pods on a node where {most_a_node} may be");
}

fn check(rolling_update: Value, least: usize, most_a_node: usize) {
    let nodes = NODES.to_string();
    let machine = Machine::start(&["--runtime", "hollow", "--nodes", &nodes]);
    machine.block_on(|client| async move {
        let rolled = roll(client, rolling_update, least, most_a_node);
        tokio::time::timeout(std::time::Duration::from_secs(120), rolled).await.expect("the rollout does not end");
    });
    machine.stop();
}

#[test]
fn w2_one_node_at_a_time() {
    check(json!({ "maxUnavailable": 1 }), NODES - 1, 1);
}

#[test]
fn w2_a_third_of_the_nodes() {
    check(json!({ "maxUnavailable": "34%" }), NODES - 3, 1);
}

#[test]
fn w2_with_a_surge_every_node_is_served_throughout() {
    check(json!({ "maxUnavailable": 0, "maxSurge": 2 }), NODES, 2);
}

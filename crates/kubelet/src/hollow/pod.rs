//! A pod as a hollow node sees it: only the fields that its status is made of are decoded.

use std::{borrow::Cow, net::Ipv4Addr};

use jiff::Timestamp;
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::Resource;
use serde::Deserialize;
use serde_json::{Value, json};

use super::PodName;

/// A pod, in part.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct HollowPod {
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) node_name: Option<String>,
    pub(super) runtime_class_name: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    #[serde(default)]
    image: String,
    restart_policy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl Resource for HollowPod {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "Pod".into()
    }
    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }
    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }
    fn plural((): &()) -> Cow<'_, str> {
        "pods".into()
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl HollowPod {
    pub(super) fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }

    pub(super) fn name(&self) -> PodName<'_> {
        PodName {
            uid: self.uid(),
            image: self.spec.containers.first().map(|container| container.image.as_str()).unwrap_or_default(),
        }
    }

    /// Whether nothing has been said about it yet.
    pub(super) fn is_new(&self) -> bool {
        self.status.phase.as_deref().is_none_or(|phase| phase == "Pending")
    }

    /// Whether it runs and is said not to be ready.
    pub(super) fn is_unready(&self) -> bool {
        let mut conditions = self.status.conditions.iter();
        self.status.phase.as_deref() == Some("Running")
            && conditions.any(|condition| condition.kind == "Ready" && condition.status != "True")
    }

    pub(super) fn path(&self) -> String {
        let namespace = self.metadata.namespace.as_deref().unwrap_or("default");
        let name = self.metadata.name.as_deref().unwrap_or_default();
        format!("/api/v1/namespaces/{namespace}/pods/{name}")
    }

    /// The status patch that makes it Running and Ready. The uid guards against another pod that took the name.
    pub(super) fn running(&self, address: Ipv4Addr, now: Timestamp) -> Value {
        let generation = self.metadata.generation;
        let conditions: Vec<Value> = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"]
            .into_iter()
            .map(|kind| {
                json!({
                    "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
                    "reason": null, "message": null, "observedGeneration": generation,
                })
            })
            .collect();
        let containers: Vec<Value> = self.spec.containers.iter().map(|container| self.container_status(container, now)).collect();
        let init: Vec<Value> = self.spec.init_containers.iter().map(|container| self.container_status(container, now)).collect();
        let mut status = json!({
            "phase": "Running", "conditions": conditions, "containerStatuses": containers,
            "hostIP": "127.0.0.1", "hostIPs": [{ "ip": "127.0.0.1" }],
            "podIP": address, "podIPs": [{ "ip": address }],
            "startTime": now, "observedGeneration": generation,
        });
        if !init.is_empty() {
            status["initContainerStatuses"] = init.into();
        }
        json!({ "metadata": { "uid": self.uid() }, "status": status })
    }

    /// The status patch by which it loses or regains readiness, or says again which it has.
    pub(super) fn readiness(&self, ready: bool, since: Timestamp) -> Value {
        let status = if ready { "True" } else { "False" };
        let conditions =
            ["Ready", "ContainersReady"].map(|kind| json!({ "type": kind, "status": status, "lastTransitionTime": since }));
        json!({ "metadata": { "uid": self.uid() }, "status": { "conditions": conditions } })
    }

    /// Running, or (an init container that is no sidecar) completed.
    fn container_status(&self, container: &Container, now: Timestamp) -> Value {
        let is_init = self.spec.init_containers.iter().any(|init| init.name == container.name);
        let is_sidecar = container.restart_policy.as_deref() == Some("Always");
        let state = if is_init && !is_sidecar {
            json!({ "terminated": { "exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now } })
        } else {
            json!({ "running": { "startedAt": now } })
        };
        json!({
            "name": container.name, "image": container.image, "imageID": "",
            "containerID": format!("hollow://{}/{}", self.uid(), container.name),
            "ready": true, "started": !is_init || is_sidecar, "restartCount": 0, "state": state, "lastState": {},
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_pod_becomes_ready_with_all_its_containers() {
        let pod: HollowPod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "u1", "generation": 3 },
            "spec": {
                "nodeName": "n1",
                "initContainers": [{ "name": "once", "image": "a" }, { "name": "mesh", "image": "b", "restartPolicy": "Always" }],
                "containers": [{ "name": "web", "image": "nginx" }],
            },
        }))
        .unwrap();
        assert!(pod.is_new());
        assert_eq!(pod.path(), "/api/v1/namespaces/shop/pods/web");
        let patch = pod.running(Ipv4Addr::new(10, 128, 0, 1), Timestamp::UNIX_EPOCH);
        assert_eq!(patch["metadata"]["uid"], "u1");
        assert_eq!(patch["status"]["podIP"], "10.128.0.1");
        assert_eq!(patch["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
        assert!(patch["status"]["initContainerStatuses"][1]["state"]["running"].is_object());
        assert_eq!(patch["status"]["containerStatuses"][0]["ready"], true);
        assert_eq!(patch["status"]["conditions"][2]["type"], "Ready");
    }
}

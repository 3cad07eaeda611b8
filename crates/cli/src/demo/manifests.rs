//! What the demo deploys.

use anyhow::{Context as _, Result};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Service};
use serde_json::json;

/// Name of the Deployment, of its Service and of its container.
pub(super) const APP: &str = "shop";

/// Port that the application listens on; the node port is picked by the API server.
const PORT: u16 = 8080;

pub(super) fn service() -> Result<Service> {
    serde_json::from_value(json!({
        "metadata": { "name": APP },
        "spec": { "type": "NodePort", "selector": { "app": APP }, "ports": [{ "port": 80, "targetPort": PORT }] },
    }))
    .context("the demo's Service is malformed")
}

pub(super) fn deployment(image: &str) -> Result<Deployment> {
    serde_json::from_value(json!({
        "metadata": { "name": APP, "labels": { "app": APP }, "annotations": { "kubernetes.io/change-cause": "version 1" } },
        "spec": {
            "replicas": 3,
            "selector": { "matchLabels": { "app": APP } },
            "strategy": { "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } },
            "template": {
                "metadata": { "labels": { "app": APP } },
                "spec": { "containers": [{
                    "name": APP, "image": image, "imagePullPolicy": "IfNotPresent",
                    "ports": [{ "containerPort": PORT }],
                    "readinessProbe": { "httpGet": { "path": "/", "port": PORT }, "periodSeconds": 1 },
                }] },
            },
        },
    }))
    .context("the demo's Deployment is malformed")
}

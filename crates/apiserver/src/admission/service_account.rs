//! Every pod runs as a service account, with its token, the cluster's CA and its namespace in a volume.

use std::sync::Arc;

use serde_json::{Value, json};
use windlass_api::{kind, status::Status};

use super::forbidden;
use crate::{call::Call, metadata};

/// Where containers find the token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// As upstream: an hour and seven seconds, by which its own tokens are told from those that were asked for.
const TOKEN_SECONDS: i64 = 3607;

/// Names the account and mounts its token.
///
/// # Errors
/// 403 when there is no such account.
pub(super) async fn admit(call: &Call, pod: &mut Value) -> Result<(), Status> {
    // A mirror pod shows what a node runs by itself: it gets nothing from the API.
    if !pod["spec"].is_object() || pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string() {
        return Ok(());
    }
    let spec = &mut pod["spec"];
    let name = match spec["serviceAccountName"].as_str() {
        None | Some("") => "default".to_owned(),
        Some(name) => name.to_owned(),
    };
    spec["serviceAccountName"] = name.clone().into();
    spec["serviceAccount"] = name.clone().into();
    let Some(account) = find(call, &name).await? else {
        let why = format!("error looking up service account {}/{name}: serviceaccount \"{name}\" not found", call.namespace);
        return Err(forbidden(call, pod, &why));
    };
    if pod["spec"]["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        && let Some(secrets) = account["imagePullSecrets"].as_array().filter(|secrets| !secrets.is_empty())
    {
        pod["spec"]["imagePullSecrets"] = secrets.clone().into();
    }
    let wants = |value: &Value| value["automountServiceAccountToken"].as_bool();
    if wants(&pod["spec"]).or_else(|| wants(&account)).unwrap_or(true) {
        mount(call, &mut pod["spec"]);
    }
    Ok(())
}

async fn find(call: &Call, name: &str) -> Result<Option<Arc<Value>>, Status> {
    let Some(kind) = kind::find("", "v1", "serviceaccounts") else { return Ok(Some(Arc::default())) };
    call.server.registry.look_up(kind, &call.namespace, name).await
}

/// Adds the volume, and a mount to each container that has nothing else at that path.
fn mount(call: &Call, spec: &mut Value) {
    let volume = format!("kube-api-access-{}", metadata::suffix(&*call.server.random, 5));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().into_iter().flatten();
            if mounts.into_iter().any(|mount| mount["mountPath"] == MOUNT_PATH) || !container.is_object() {
                continue;
            }
            let mount = json!({ "name": volume, "readOnly": true, "mountPath": MOUNT_PATH });
            match container["volumeMounts"].as_array_mut() {
                Some(mounts) => mounts.push(mount),
                None => container["volumeMounts"] = json!([mount]),
            }
            mounted = true;
        }
        if spec[list].is_null()
            && let Some(fields) = spec.as_object_mut()
        {
            fields.remove(list);
        }
    }
    if !mounted {
        return;
    }
    let volume = json!({
        "name": volume,
        "projected": {
            "sources": [
                { "serviceAccountToken": { "expirationSeconds": TOKEN_SECONDS, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [{
                    "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" },
                }] } },
            ],
            "defaultMode": 420,
        },
    });
    match spec["volumes"].as_array_mut() {
        Some(volumes) => volumes.push(volume),
        None => spec["volumes"] = json!([volume]),
    }
}

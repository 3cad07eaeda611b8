//! Pods that are not run here, or whose sandbox cannot be what they ask for.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::world::{World, phase};

fn reason(pod: &Pod) -> (String, String) {
    let status = pod.status.clone().unwrap_or_default();
    (status.reason.unwrap_or_default(), status.message.unwrap_or_default())
}

#[tokio::test]
async fn a_kernel_parameter_that_others_would_feel_is_refused() {
    let world = World::start().await;
    let context = json!({ "sysctls": [{ "name": "vm.swappiness", "value": "10" }] });
    let spec = json!({ "securityContext": context, "containers": [{ "name": "web", "image": "a:1" }] });
    let made = world.create("greedy", spec).await;
    let pod = world.wait("greedy", "refused", |pod| phase(pod) == "Failed").await;
    let why = "Pod was rejected: forbidden sysctl: \"vm.swappiness\" not allowlisted";
    assert_eq!(reason(&pod), ("SysctlForbidden".to_owned(), why.to_owned()));
    assert_eq!(pod.status.unwrap().observed_generation, made.metadata.generation);
    let told = world.events("greedy", 1).await;
    assert_eq!(told, ["Warning SysctlForbidden forbidden sysctl: \"vm.swappiness\" not allowlisted"]);
    assert!(world.runtime.journal().is_empty());
}

#[tokio::test]
async fn no_sandbox_is_made_that_is_not_what_the_pod_asks_for() {
    let world = World::start().await;
    let containers = json!([{ "name": "web", "image": "a:1" }]);
    world.create("isolated", json!({ "hostUsers": false, "containers": containers })).await;
    let why = "can't set `spec.hostUsers: false`, runtime does not support user namespaces";
    let told = world.events("isolated", 1).await;
    assert_eq!(told[0], format!("Warning FailedCreatePodSandBox Failed to create pod sandbox: {why}"));

    let (hostname, subdomain) = ("h".repeat(20), "s".repeat(20));
    let spec = json!({ "hostname": hostname, "subdomain": subdomain, "setHostnameAsFQDN": true, "containers": containers });
    world.create("long", spec).await;
    let why = format!(
        "failed to construct FQDN from pod hostname and cluster domain, FQDN {hostname}.{subdomain}.default.svc.cluster.local is too \
         long (64 characters is the max, 67 characters requested)"
    );
    let told = world.events("long", 1).await;
    assert_eq!(told[0], format!("Warning FailedCreatePodSandBox Failed to create pod sandbox: {why}"));
    assert!(world.runtime.journal().is_empty());
}

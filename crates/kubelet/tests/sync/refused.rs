//! Pods that are not run here, or whose sandbox cannot be what they ask for.

use k8s_openapi::api::{core::v1::Pod, node::v1::RuntimeClass};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::world::{World, condition, first, phase};

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

/// The class `sandboxed`, whose pods ask for a runtime of this name.
async fn class(world: &World, handler: &str) {
    let class = json!({ "metadata": { "name": "sandboxed" }, "handler": handler });
    classes(world).create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
}

fn classes(world: &World) -> Api<RuntimeClass> {
    Api::all(world.client.clone())
}

async fn create(world: &World) {
    let containers = json!([{ "name": "web", "image": "a:1" }]);
    world.create("web", json!({ "runtimeClassName": "sandboxed", "containers": containers })).await;
}

/// Why there is no sandbox, as it was told first.
async fn first_reason(world: &World) -> String {
    let told = world.events("web", 1).await.remove(0);
    told.strip_prefix("Warning FailedCreatePodSandBox Failed to create pod sandbox: ").unwrap().to_owned()
}

#[tokio::test]
async fn a_pod_waits_for_the_runtime_of_its_class() {
    let world = World::start().await;
    class(&world, "kata").await;
    create(&world).await;
    assert_eq!(first_reason(&world).await, "failed to get sandbox runtime: no runtime for \"kata\" is configured");
    let pod = world.wait("web", "taken on", |pod| first(pod).is_some()).await;
    assert_eq!((phase(&pod), world.runtime.journal().len()), ("Pending", 0));
    classes(&world).delete("sandboxed", &DeleteParams::default()).await.unwrap();
    class(&world, "runc").await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
}

#[tokio::test]
async fn a_class_that_goes_keeps_pods_from_starting_and_from_nothing_else() {
    let mut world = World::start().await;
    class(&world, "test-handler").await;
    world.stop_kubelet().await;
    create(&world).await;
    classes(&world).delete("sandboxed", &DeleteParams::default()).await.unwrap();
    world.start_kubelet();
    assert_eq!(first_reason(&world).await, "runtimeclass.node.k8s.io \"sandboxed\" not found");
    assert!(world.runtime.journal().is_empty());
    class(&world, "test-handler").await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    classes(&world).delete("sandboxed", &DeleteParams::default()).await.unwrap();
    world.restart().await;
    world.runtime.exit("web", 1);
    let is_back = |pod: &Pod| first(pod).is_some_and(|status| status["restartCount"] == 1) && condition(pod, "Ready");
    world.wait("web", "restarted", is_back).await;
}

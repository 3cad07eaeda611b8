//! Files of volumes: there before the container, changed while it runs.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::world::{World, condition};

#[tokio::test]
async fn a_config_map_changes_under_a_running_container() {
    let world = World::start().await;
    let spec = json!({
        "containers": [{ "name": "web", "image": "a:1", "volumeMounts": [{ "name": "settings", "mountPath": "/etc/settings" }] }],
        "volumes": [{ "name": "settings", "configMap": { "name": "settings" } }],
    });
    world.create("web", spec).await;
    assert_eq!(
        world.events("web", 1).await,
        ["Warning FailedMount MountVolume.SetUp failed for volume \"settings\" : configmap \"settings\" not found"]
    );
    world.config("settings", json!({ "color": "blue" })).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    let mount = {
        let state = world.runtime.state();
        let container = state.containers.values().next().unwrap();
        container.config.mounts.iter().find(|mount| mount.container_path == "/etc/settings").unwrap().host_path.clone()
    };
    assert_eq!(std::fs::read_to_string(mount.join("color")).unwrap(), "blue");
    world.config("settings", json!({ "color": "green", "size": "big" })).await;
    world.until("updated", |_| std::fs::read_to_string(mount.join("size")).is_ok_and(|size| size == "big")).await;
    assert_eq!(std::fs::read_to_string(mount.join("color")).unwrap(), "green");
    assert_eq!(world.runtime.journal(), ["sandbox web", "start web 0"], "nothing was restarted");
}

#[tokio::test]
async fn every_container_has_its_files() {
    let world = World::start().await;
    let spec = json!({
        "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["db"] }],
        "containers": [{ "name": "web", "image": "a:1", "volumeMounts": [{ "name": "work", "mountPath": "/work", "subPath": "a/b" }] }],
        "volumes": [{ "name": "work", "emptyDir": {} }],
    });
    world.create("web", spec).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    let mounts = world.runtime.state().containers.values().next().unwrap().config.mounts.clone();
    let paths: Vec<&str> = mounts.iter().map(|mount| mount.container_path.as_str()).collect();
    assert_eq!(paths, ["/work", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/dev/termination-log"]);
    assert!(mounts[0].host_path.ends_with("kubernetes.io~empty-dir/work/a/b") && mounts[0].host_path.is_dir());
    let read = |index: usize| std::fs::read_to_string(&mounts[index].host_path).unwrap();
    assert!(read(1).contains("10.0.0.2\tweb\n") && read(1).ends_with("1.2.3.4\tdb\n"));
    assert_eq!(read(2), "search default.svc.cluster.local\nnameserver 10.96.0.10\n");
    assert_eq!(read(3), "web\n");
}

#[tokio::test]
async fn a_pod_on_the_hosts_network_has_the_hosts_name() {
    let world = World::start().await;
    let spec = json!({ "hostNetwork": true, "hostname": "own", "containers": [{ "name": "web", "image": "a:1" }] });
    world.create("web", spec).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
    let state = world.runtime.state();
    assert_eq!(state.sandboxes.values().next().unwrap().config.hostname, host);
    let read = |path: &str| {
        let mounts = &state.containers.values().next().unwrap().config.mounts;
        let mount = mounts.iter().find(|mount| mount.container_path == path).unwrap();
        std::fs::read_to_string(&mount.host_path).unwrap()
    };
    assert_eq!(read("/etc/hostname"), format!("{host}\n"));
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap();
    assert_eq!(read("/etc/hosts"), format!("# Kubernetes-managed hosts file (host network).\n{hosts}"));
}

#[tokio::test]
async fn paths_below_a_volume_that_lead_nowhere() {
    let world = World::start().await;
    let container = |name: &str, path: &str| {
        json!({
            "name": name, "image": "a:1",
            "env": [{ "name": "ROOT", "value": "/tmp" }, { "name": "UP", "value": "a/.." }, { "name": "EMPTY", "value": "" }],
            "volumeMounts": [{ "name": "work", "mountPath": "/work", "subPathExpr": path }],
        })
    };
    let spec = json!({
        "containers": [
            container("none", "$(NOPE)/$(EMPTY)"), container("root", "$(ROOT)"), container("up", "$(UP)"),
            container("out", "out"), container("new", "out/new"), container("good", "a$(ROOT)"),
        ],
        "volumes": [{ "name": "work", "hostPath": { "path": world.directory.path() } }],
    });
    let outside = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), world.directory.path().join("out")).unwrap();
    world.create("web", spec).await;
    let waiting = |pod: &Pod, name: &str| {
        let status = pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|status| status.name == name)?;
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        Some(format!("{}: {}", waiting.reason.as_ref()?, waiting.message.as_ref()?))
    };
    for (name, why) in [
        ("none", "missing value for EMPTY, NOPE"),
        ("root", "error SubPath `/tmp` must not be an absolute path"),
        ("up", "unable to provision SubPath `a/..`: must not contain '..'"),
        ("out", "failed to prepare subPath for volumeMount \"work\" of container \"out\""),
        ("new", "failed to create subPath directory for volumeMount \"work\" of container \"new\""),
    ] {
        let wanted = format!("CreateContainerConfigError: {why}");
        world.wait("web", &wanted, |pod| waiting(pod, name).as_ref() == Some(&wanted)).await;
    }
    assert!(world.directory.path().join("a/tmp").is_dir());
}

#[tokio::test]
async fn tokens_of_the_service_account_are_mounted() {
    let world = World::start().await;
    world.config("kube-root-ca.crt", json!({ "ca.crt": "pem" })).await;
    let pod = json!({ "metadata": { "name": "web" }, "spec": { "nodeName": "node", "containers": [{ "name": "web", "image": "a:1" }] } });
    world.pods().create(&kube::api::PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    let mounts = world.runtime.state().containers.values().next().unwrap().config.mounts.clone();
    let mount = mounts.iter().find(|mount| mount.container_path == "/var/run/secrets/kubernetes.io/serviceaccount").unwrap();
    let read = |file: &str| std::fs::read_to_string(mount.host_path.join(file)).unwrap();
    assert_eq!((read("namespace").as_str(), read("ca.crt").as_str()), ("default", "pem"));
    assert_eq!(read("token").split('.').count(), 3, "a JSON web token has three parts");
}

/// A claim that is bound to a volume, both of that name, on a directory of the test.
async fn bound_claim(world: &World, name: &str, mode: &str, access: &str, annotations: Value) {
    let capacity = json!({ "storage": "1Gi" });
    let volume = json!({
        "metadata": { "name": format!("pv-{name}"), "annotations": annotations },
        "spec": {
            "capacity": capacity, "accessModes": [access], "volumeMode": mode,
            "hostPath": { "path": world.directory.path() }, "claimRef": { "namespace": "default", "name": name },
        },
    });
    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    volumes.create(&PostParams::default(), &serde_json::from_value(volume).unwrap()).await.unwrap();
    let claim = json!({
        "metadata": { "name": name },
        "spec": {
            "accessModes": [access], "volumeMode": mode, "volumeName": format!("pv-{name}"), "storageClassName": "",
            "resources": { "requests": capacity },
        },
    });
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), "default");
    claims.create(&PostParams::default(), &serde_json::from_value(claim).unwrap()).await.unwrap();
    let bound = Patch::Merge(json!({ "status": { "phase": "Bound" } }));
    claims.patch_status(name, &PatchParams::default(), &bound).await.unwrap();
}

fn with_claim(name: &str, how: &str) -> Value {
    let of_use = if how == "volumeMounts" { "mountPath" } else { "devicePath" };
    json!({
        "containers": [{ "name": "web", "image": "a:1", how: [{ "name": "data", of_use: "/data" }] }],
        "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": name } }],
    })
}

#[tokio::test]
async fn a_volume_for_one_pod_is_mounted_for_one_at_a_time() {
    let mut world = World::start().await;
    bound_claim(&world, "once", "Filesystem", "ReadWriteOncePod", Value::Null).await;
    world.create("first", with_claim("once", "volumeMounts")).await;
    world.wait("first", "ready", |pod| condition(pod, "Ready")).await;
    // A pod that outlives its kubelet keeps it.
    world.restart().await;
    world.create("second", with_claim("once", "volumeMounts")).await;
    let text = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";
    let events = world.events("second", 1).await;
    assert_eq!(events, [format!("Warning FailedMount MountVolume.SetUp failed for volume \"pv-once\" : {text}")]);
    world.pods().delete("first", &DeleteParams::default().grace_period(0)).await.unwrap();
    world.wait("second", "ready", |pod| condition(pod, "Ready")).await;
}

#[tokio::test]
async fn a_volume_is_used_as_what_it_is() {
    let world = World::start().await;
    bound_claim(&world, "files", "Filesystem", "ReadWriteOnce", Value::Null).await;
    bound_claim(&world, "block", "Block", "ReadWriteOnce", Value::Null).await;
    let cases = [
        ("a", "files", "volumeDevices", "volume data has volumeMode Filesystem, but is specified in volumeDevices"),
        ("b", "block", "volumeMounts", "volume data has volumeMode Block, but is specified in volumeMounts"),
        (
            "c",
            "block",
            "volumeDevices",
            "no block volume plugin matched persistentvolume \"pv-block\": file systems alone are mounted",
        ),
    ];
    for (pod, claim, how, why) in cases {
        world.create(pod, with_claim(claim, how)).await;
        let events = world.events(pod, 1).await;
        assert_eq!(events, [format!("Warning FailedMount MountVolume.SetUp failed for volume \"data\" : {why}")]);
    }
}

#[tokio::test]
async fn a_volume_may_ask_for_a_group() {
    let world = World::start().await;
    bound_claim(&world, "data", "Filesystem", "ReadWriteOnce", json!({ "pv.beta.kubernetes.io/gid": "777" })).await;
    let mut spec = with_claim("data", "volumeMounts");
    spec["securityContext"] = json!({ "supplementalGroups": [555], "fsGroup": 666 });
    world.create("web", spec).await;
    world.wait("web", "ready", |pod| condition(pod, "Ready")).await;
    let groups = world.runtime.state().containers.values().next().unwrap().config.security.supplemental_groups.clone();
    assert_eq!(groups, [555, 666, 777]);
}

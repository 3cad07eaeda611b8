//! How things come to an end, and what else goes with them.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Endpoints, Namespace, PersistentVolumeClaim, Pod, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
    runtime::conditions::is_deleted,
};
use serde_json::json;

use crate::machine::{Machine, names, rolled_out, web};

async fn delete_web(machine: &Machine, how: DeleteParams) {
    machine.api::<Deployment>().delete("web", &how).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_deployment_owns_goes_after_it() {
    let machine = Machine::start(1).await;
    machine.create::<Deployment>(web(3, "v1")).await;
    machine.until("web", rolled_out).await;
    let pods = machine.list::<Pod>().await;
    delete_web(&machine, DeleteParams::background()).await;
    for pod in &pods {
        machine.until(pod.metadata.name.as_ref().unwrap(), is_deleted::<Pod>(pod.metadata.uid.as_ref().unwrap())).await;
    }
    assert_eq!(names(&machine.list::<ReplicaSet>().await), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_foreground_the_deployment_goes_last() {
    let machine = Machine::start(1).await;
    machine.create::<Deployment>(web(2, "v1")).await;
    machine.until("web", rolled_out).await;
    let uid = machine.api::<Deployment>().get("web").await.unwrap().metadata.uid.unwrap();
    delete_web(&machine, DeleteParams::foreground()).await;
    machine.until("web", is_deleted::<Deployment>(&uid)).await;
    assert_eq!(names(&machine.list::<ReplicaSet>().await), [] as [String; 0]);
    assert_eq!(names(&machine.list::<Pod>().await), [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_stay_and_are_adopted_by_a_deployment_of_the_same_template() {
    let machine = Machine::start(1).await;
    machine.create::<Deployment>(web(2, "v1")).await;
    machine.until("web", rolled_out).await;
    let (sets, pods) = (machine.list::<ReplicaSet>().await, machine.list::<Pod>().await);
    let uid = machine.api::<Deployment>().get("web").await.unwrap().metadata.uid.unwrap();
    delete_web(&machine, DeleteParams::orphan()).await;
    machine.until("web", is_deleted::<Deployment>(&uid)).await;
    assert_eq!(names(&machine.list::<Pod>().await), names(&pods));
    machine.create::<Deployment>(web(2, "v1")).await;
    machine.until("web", rolled_out).await;
    assert_eq!(names(&machine.list::<ReplicaSet>().await), names(&sets));
    assert_eq!(names(&machine.list::<Pod>().await), names(&pods));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_takes_everything_in_it_along() {
    let machine = Machine::start(1).await;
    let namespaces: Api<Namespace> = Api::all(machine.client.clone());
    let metadata = ObjectMeta { name: Some("old".to_owned()), ..ObjectMeta::default() };
    let namespace = Namespace { metadata, ..Namespace::default() };
    let uid = namespaces.create(&PostParams::default(), &namespace).await.unwrap().metadata.uid.unwrap();
    machine.until_in::<ServiceAccount>("old", "default", |object: Option<&ServiceAccount>| object.is_some()).await;
    let inside: Api<Deployment> = Api::namespaced(machine.client.clone(), "old");
    inside.create(&PostParams::default(), &serde_json::from_value(web(2, "v1")).unwrap()).await.unwrap();
    machine.until_in::<Deployment>("old", "web", rolled_out).await;
    namespaces.delete("old", &DeleteParams::default()).await.unwrap();
    machine.until_cluster("old", is_deleted::<Namespace>(&uid)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stateful_pod_waits_for_a_claim_that_goes_and_says_so() {
    let machine = Machine::start(1).await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}});
    let claim = json!({"metadata": {"name": "data-db-0", "finalizers": ["example.com/held"]}, "spec": spec});
    let former = machine.create::<PersistentVolumeClaim>(claim).await;
    machine.api::<PersistentVolumeClaim>().delete("data-db-0", &DeleteParams::default()).await.unwrap();
    // The controllers have seen that it goes: they no longer protect it.
    let unprotected = |claim: Option<&PersistentVolumeClaim>| {
        claim.is_some_and(|claim| claim.metadata.finalizers.as_deref() == Some(&["example.com/held".to_owned()]))
    };
    machine.until("data-db-0", unprotected).await;
    let template = json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": "v1"}]}});
    machine
        .create::<StatefulSet>(json!({"metadata": {"name": "db"}, "spec": {
            "replicas": 1, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}],
        }}))
        .await;
    let told = "FailedCreate: create Pod db-0 in StatefulSet db failed error: pvc data-db-0 is being deleted";
    machine.until_event("db", told).await;
    machine.patch::<PersistentVolumeClaim>("data-db-0", json!({"metadata": {"finalizers": null}})).await;
    machine.until("db-0", |pod: Option<&Pod>| pod.is_some()).await;
    let claim = machine.api::<PersistentVolumeClaim>().get("data-db-0").await.unwrap();
    assert_ne!(claim.metadata.uid, former.metadata.uid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_fits_nowhere_says_why_and_is_placed_when_it_does() {
    let machine = Machine::start(1).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "picky"},
        "spec": {"nodeSelector": {"disk": "fast"}, "containers": [{"name": "c", "image": "i"}]}
    });
    machine.create::<Pod>(pod).await;
    let message = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. no new claims to deallocate, \
                   preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    let says = move |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|condition| {
            condition.reason.as_deref() == Some("Unschedulable") && condition.message.as_deref() == Some(message)
        })
    };
    machine.until("picky", says).await;
    machine.label_node("node-1", "disk", "fast").await;
    machine.until("picky", kube::runtime::conditions::is_pod_running()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_goes_makes_room_where_pods_are_spread() {
    let machine = Machine::start(2).await;
    let pod = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": "web"}, "finalizers": ["example.com/kept"]},
            "spec": {
                "nodeSelector": {"kubernetes.io/hostname": "node-1"}, "containers": [{"name": "c", "image": "i"}],
                "topologySpreadConstraints": [{
                    "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
                    "nodeAffinityPolicy": "Ignore", "labelSelector": {"matchLabels": {"app": "web"}}
                }]
            }
        })
    };
    machine.create::<Pod>(pod("first")).await;
    machine.until("first", kube::runtime::conditions::is_pod_running()).await;
    machine.create::<Pod>(pod("second")).await;
    let is_parked = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|condition| condition.reason.as_deref() == Some("Unschedulable")))
    };
    machine.until("second", is_parked).await;
    machine.api::<Pod>().delete("first", &DeleteParams::default()).await.unwrap();
    machine.until("second", kube::runtime::conditions::is_pod_running()).await;
    assert!(machine.api::<Pod>().get("first").await.is_ok(), "its finalizer keeps it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_waits_for_company_goes_to_it_once_it_is_there() {
    let machine = Machine::start(1).await;
    let pod = |name: &str, spec: serde_json::Value| {
        let mut spec = spec;
        spec["containers"] = json!([{"name": "c", "image": "i"}]);
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
    };
    let by = |selector: serde_json::Value| {
        let term = json!({
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "company"}}, "namespaceSelector": selector
        });
        json!({"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
    };
    let is_parked = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|condition| condition.reason.as_deref() == Some("Unschedulable")))
    };
    machine.create::<Pod>(pod("anywhere", by(json!({})))).await;
    machine.create::<Pod>(pod("labelled", by(json!({"matchLabels": {"team": "ours"}})))).await;
    machine.until("anywhere", is_parked).await;
    machine.until("labelled", is_parked).await;
    machine.create::<Pod>(pod("company", json!({}))).await;
    machine.until("anywhere", kube::runtime::conditions::is_pod_running()).await;
    assert!(is_parked(Some(&machine.api::<Pod>().get("labelled").await.unwrap())));
    let namespaces: Api<Namespace> = Api::all(machine.client.clone());
    let change = json!({"metadata": {"labels": {"team": "ours"}}});
    namespaces.patch("default", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    machine.until("labelled", kube::runtime::conditions::is_pod_running()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_follow_pods_and_go_with_their_service() {
    let machine = Machine::start(1).await;
    machine.create::<Deployment>(web(2, "v1")).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    });
    let service = machine.create::<Service>(service).await;
    let ready = |count: usize| {
        move |endpoints: Option<&Endpoints>| {
            let subsets = endpoints.and_then(|endpoints| endpoints.subsets.clone()).unwrap_or_default();
            subsets.iter().flat_map(|subset| subset.addresses.iter().flatten()).count() == count
        }
    };
    machine.until("web", ready(2)).await;
    machine.patch::<Deployment>("web", json!({"spec": {"replicas": 5}})).await;
    machine.until("web", ready(5)).await;
    let slices = machine.list::<EndpointSlice>().await;
    let slices: Vec<&EndpointSlice> =
        slices.iter().filter(|slice| slice.metadata.name.as_ref().unwrap().starts_with("web-")).collect();
    assert_eq!(slices.len(), 1);
    let (name, uid) = (slices[0].metadata.name.clone().unwrap(), slices[0].metadata.uid.clone().unwrap());
    machine.api::<Service>().delete(&service.metadata.name.unwrap(), &DeleteParams::default()).await.unwrap();
    machine.until(&name, is_deleted::<EndpointSlice>(&uid)).await;
    machine.until("web", |endpoints: Option<&Endpoints>| endpoints.is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disruption_that_was_never_carried_out_is_called_off() {
    let machine = Machine::start(1).await;
    machine.create::<Pod>(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})).await;
    // Who evicted it died before deleting it.
    let target = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let change = Patch::Strategic(json!({"status": {"conditions": [target]}}));
    machine.api::<Pod>().patch_status("p", &PatchParams::default(), &change).await.unwrap();
    let called_off = |pod: Option<&Pod>| {
        let conditions = pod.and_then(|pod| pod.status.as_ref()?.conditions.clone()).unwrap_or_default();
        let target = conditions.iter().find(|condition| condition.type_ == "DisruptionTarget");
        target.is_some_and(|target| (target.status.as_str(), &target.reason, &target.message) == ("False", &None, &None))
    };
    machine.until("p", called_off).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_claim_of_an_ephemeral_volume_is_made_for_its_pod_and_goes_with_it() {
    let machine = Machine::start(0).await;
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}});
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "work", "ephemeral": {"volumeClaimTemplate": {"spec": spec}}}]
    }});
    machine.create::<Pod>(pod).await;
    machine.until("p-work", |claim: Option<&PersistentVolumeClaim>| claim.is_some()).await;
    let uid = machine.api::<PersistentVolumeClaim>().get("p-work").await.unwrap().metadata.uid.unwrap();
    machine.api::<Pod>().delete("p", &DeleteParams::default()).await.unwrap();
    machine.until("p-work", is_deleted::<PersistentVolumeClaim>(&uid)).await;
}

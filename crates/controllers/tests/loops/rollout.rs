//! Rollouts against the real API server and hollow nodes.

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Event, Pod},
};
use serde_json::json;

use crate::machine::{Machine, images, rolled_out, sizes, web};

fn image(image: &str) -> serde_json::Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_rolls_out_and_back() {
    let machine = Machine::start(2).await;
    machine.create::<Deployment>(web(3, "v1")).await;
    machine.until("web", rolled_out).await;
    machine.patch::<Deployment>("web", image("v2")).await;
    machine.until("web", rolled_out).await;
    assert_eq!(images(&machine.list::<Pod>().await), ["v2"]);
    machine.patch::<Deployment>("web", image("v1")).await;
    machine.until("web", rolled_out).await;
    assert_eq!(images(&machine.list::<Pod>().await), ["v1"]);
    let expected = [("2".to_owned(), 0), ("3".to_owned(), 3)];
    assert_eq!(sizes(&machine.list::<ReplicaSet>().await), expected);
    let web = machine.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(web.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_never_runs_leaves_the_old_pods_alone_and_is_undone() {
    let machine = Machine::start(1).await;
    let mut stuck = web(3, "v1");
    stuck["spec"]["progressDeadlineSeconds"] = json!(1);
    machine.create::<Deployment>(stuck).await;
    machine.until("web", rolled_out).await;
    // No node has that label, so no new pod ever runs.
    let nowhere = json!({"spec": {"template": {"spec": {"nodeSelector": {"no": "where"}}}}});
    machine.patch::<Deployment>("web", nowhere).await;
    machine.until("web", |web: Option<&Deployment>| has_condition(web, "Progressing", "False", "ProgressDeadlineExceeded")).await;
    let ready = machine.list::<Pod>().await.iter().filter(|pod| is_ready(pod)).count();
    assert_eq!(ready, 3);
    let back = json!({"spec": {"template": {"spec": {"nodeSelector": null}}}});
    machine.patch::<Deployment>("web", back).await;
    machine.until("web", rolled_out).await;
    machine.until("web", |web: Option<&Deployment>| has_condition(web, "Progressing", "True", "NewReplicaSetAvailable")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_tell_the_story() {
    let machine = Machine::start(1).await;
    machine.create::<Deployment>(web(2, "v1")).await;
    machine.until("web", rolled_out).await;
    let sets = machine.list::<ReplicaSet>().await;
    let set = sets[0].metadata.name.clone().unwrap();
    machine.until_event("web", &format!("ScalingReplicaSet: Scaled up replica set {set} from 0 to 2")).await;
    for pod in machine.list::<Pod>().await {
        let pod = pod.metadata.name.unwrap();
        machine.until_event(&set, &format!("SuccessfulCreate: Created pod: {pod}")).await;
        machine.until_event(&pod, &format!("Scheduled: Successfully assigned default/{pod} to node-1")).await;
    }
}

/// kubectl sorts Events of one second by name, which is when they were: what the kubelet does at once comes after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_was_scheduled_before_anybody_could_know() {
    let machine = Machine::start(1).await;
    machine.create::<Pod>(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})).await;
    machine.until_event("p", "Scheduled: Successfully assigned default/p to node-1").await;
    let answered = machine.bindings.lock().unwrap()["/api/v1/namespaces/default/pods/p/binding"].as_nanosecond();
    let events = machine.list::<Event>().await;
    let scheduled = events.iter().find(|event| event.reason.as_deref() == Some("Scheduled")).unwrap();
    let told = scheduled.metadata.name.as_ref().unwrap().strip_prefix("p.").unwrap();
    assert!(i128::from_str_radix(told, 16).unwrap() < answered, "{told} is after {answered:x}");
}

/// Every state that the watch shows keeps within the bounds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bounds_hold_at_every_instant() {
    for (surge, unavailable) in [(1, 0), (0, 1), (2, 2)] {
        let machine = Machine::start(2).await;
        let mut bounded = web(4, "v1");
        bounded["spec"]["strategy"] =
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
        machine.create::<Deployment>(bounded).await;
        machine.until("web", rolled_out).await;
        let mut watch = machine.watch_pods().await;
        machine.patch::<Deployment>("web", image("v2")).await;
        machine.until("web", rolled_out).await;
        machine.create::<Pod>(json!({"metadata": {"name": "end"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})).await;
        let (mut most, mut least) = (0, usize::MAX);
        loop {
            let pods = watch.next().await;
            if pods.contains_key("end") {
                break;
            }
            let living: Vec<&Pod> = pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
            most = most.max(living.len());
            least = least.min(living.into_iter().filter(|pod| is_ready(pod)).count());
        }
        assert!(most <= 4 + surge, "{most} pods with a surge of {surge}");
        assert!(least >= 4 - unavailable, "{least} ready with {unavailable} unavailable");
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn has_condition(web: Option<&Deployment>, type_: &str, status: &str, reason: &str) -> bool {
    let conditions = web.and_then(|web| web.status.as_ref()?.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == type_ && condition.status == status && condition.reason.as_deref() == Some(reason))
}

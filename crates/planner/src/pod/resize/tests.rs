//! Grants of resources, and the way to them.

use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use super::*;
use crate::pod::{
    Observed, conditions,
    fixture::{at, failed, pod, ready, running},
    plan, status,
};

fn requests(cpu: &str, memory: &str) -> Value {
    json!({ "requests": { "cpu": cpu, "memory": memory } })
}

fn asking(resources: &Value, policy: &Value) -> Arc<Pod> {
    Arc::new(pod(json!({ "containers": [{ "name": "web", "image": "a", "resources": resources, "resizePolicy": policy }] })))
}

fn amounts(cpu: &str, memory: &str) -> Resources {
    Resources::of_pod(asking(&requests(cpu, memory), &json!([])).spec.as_ref().unwrap())
}

#[test]
fn what_there_is_is_granted() {
    let (used, all) = (amounts("1", "1Gi"), amounts("2", "2Gi"));
    let check = |cpu, memory| verdict(&amounts(cpu, memory), &used, &all).map(|pending| format!("{pending:?}"));
    assert_eq!(check("1", "1Gi"), None);
    expect![[r#"Deferred("Node didn't have enough resource: cpu, requested: 1100, used: 1000, capacity: 2000")"#]]
        .assert_eq(&check("1100m", "1Gi").unwrap());
    expect![[
        r#"Deferred("Node didn't have enough resource: memory, requested: 1610612736, used: 1073741824, capacity: 2147483648")"#
    ]]
    .assert_eq(&check("1", "1536Mi").unwrap());
    expect![[r#"Infeasible("Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000")"#]]
        .assert_eq(&check("3", "1Gi").unwrap());
    expect![[r#"Infeasible("Node didn't have enough capacity: memory, requested: 3221225472, capacity: 2147483648")"#]]
        .assert_eq(&check("3", "3Gi").unwrap());
}

#[test]
fn room_goes_first_to_who_gives_back_then_by_priority_class_and_patience() {
    let has = asking(&requests("100m", "64Mi"), &json!([]));
    let pod = |cpu: &str, priority: i32| {
        let mut pod = Pod::clone(&asking(&requests(cpu, "64Mi"), &json!([])));
        pod.spec.as_mut().unwrap().priority = Some(priority);
        pod
    };
    let whole = json!({ "requests": { "cpu": "1", "memory": "1Gi" }, "limits": { "cpu": "1", "memory": "1Gi" } });
    let places = [
        precedence(&pod("50m", 0), &has, at(9)),
        precedence(&pod("1", 5), &has, at(9)),
        precedence(&asking(&whole, &json!([])), &has, at(9)),
        precedence(&pod("1", 0), &has, at(1)),
        precedence(&pod("1", 0), &has, at(2)),
    ];
    assert!(places.is_sorted());
}

#[test]
fn a_pod_is_dealt_with_as_it_was_granted() {
    let (before, after) = (asking(&requests("1", "1Gi"), &json!([])), asking(&requests("2", "1Gi"), &json!([])));
    let allocation = Allocation::of(before.spec.as_ref().unwrap());
    assert!(allocation.covers(before.spec.as_ref().unwrap()) && !allocation.covers(after.spec.as_ref().unwrap()));
    assert_eq!(allocation.apply(&after), before);
    let taken = Allocation::taken_over(after.spec.as_ref().unwrap(), |_| Some(resources_of(&before)));
    assert_eq!(taken, allocation);
}

fn resources_of(pod: &Pod) -> ResourceRequirements {
    pod.spec.as_ref().unwrap().containers[0].resources.clone().unwrap()
}

/// Plans and words a pod that runs with a CPU and 1 GiB, at 100 s.
fn check(pod: &Pod, change: impl FnOnce(&mut Container), expected: &Expect) {
    let mut web = running(0);
    web.latest.as_mut().unwrap().resources = Some(resources_of(&asking(&requests("1", "1Gi"), &json!([]))));
    change(&mut web);
    let observed = ready([("web", web)]);
    let hashes = [("web".to_owned(), "h1".to_owned())].into();
    let planned = plan(pod, &observed, &hashes, at(100));
    let said = status(pod, &observed, &Default::default(), at(100));
    let mut text: String = planned.actions.iter().map(|action| format!("{action:?}\n")).collect();
    text += &planned.wake_at.map(|at| format!("wake at {}\n", at.as_second())).unwrap_or_default();
    for condition in said.conditions.iter().flatten().filter(|condition| conditions::OF_RESIZE.contains(&&*condition.type_)) {
        text += &format!("{}: {:?} {:?}\n", condition.type_, condition.reason, condition.message);
    }
    let container = &said.container_statuses.unwrap()[0];
    let cpu = |list: &Option<BTreeMap<String, _>>| -> String {
        list.as_ref().and_then(|list| list.get("cpu")).map(|amount: &Quantity| amount.0.clone()).unwrap_or_default()
    };
    let actual = container.resources.as_ref().map(|resources| cpu(&resources.requests)).unwrap_or_default();
    text += &format!("granted {}, has {actual}\n", cpu(&container.allocated_resources));
    expected.assert_eq(&text);
}

#[test]
fn a_container_gets_what_it_was_granted_while_it_runs() {
    let granted = asking(&requests("2", "1Gi"), &json!([{ "resourceName": "memory", "restartPolicy": "RestartContainer" }]));
    check(&asking(&requests("1", "1Gi"), &json!([])), |_| {}, &expect![["granted 1, has 1\n"]]);
    check(
        &granted,
        |_| {},
        &expect![[r#"
            Resize { container: "web" }
            PodResizeInProgress: None None
            granted 2, has 1
        "#]],
    );
    let failure = failed("Error", "no", 95, 105).failure;
    check(
        &granted,
        |web| web.resize_failure = failure.clone(),
        &expect![[r#"
            wake at 105
            PodResizeInProgress: Some("Error") Some("no")
            granted 2, has 1
        "#]],
    );
    check(
        &granted,
        |web| web.condemned = Some("failed liveness probe".into()),
        &expect![[r#"
            Kill { container: "web", reason: Condemned("failed liveness probe") }
            PodResizeInProgress: None None
            granted 2, has 1
        "#]],
    );
}

#[test]
fn a_container_is_restarted_for_what_it_wants_to_start_with() {
    let granted = asking(&requests("2", "1Gi"), &json!([{ "resourceName": "cpu", "restartPolicy": "RestartContainer" }]));
    check(
        &granted,
        |_| {},
        &expect![[r#"
            Kill { container: "web", reason: Resized }
            PodResizeInProgress: None None
            granted 2, has 1
        "#]],
    );
}

#[test]
fn a_wish_that_waits_is_a_condition() {
    let observed = Observed { pending_resize: Some(Pending::Deferred("no room".into())), ..ready([("web", running(0))]) };
    let said = status(&asking(&requests("1", "1Gi"), &json!([])), &observed, &Default::default(), at(1));
    let found = said.conditions.unwrap().into_iter().find(|condition| condition.type_ == "PodResizePending").unwrap();
    assert_eq!(
        (found.status.as_str(), found.reason.as_deref(), found.message.as_deref()),
        ("True", Some("Deferred"), Some("no room"))
    );
}

#[test]
fn a_container_that_was_stopped_to_be_started_anew_is_whatever_its_policy_says() {
    let once = pod(json!({ "restartPolicy": "Never", "containers": [{ "name": "web", "image": "a" }] }));
    let mut web = crate::pod::fixture::exited(0, 0, 99, 0);
    let planned = |web: &Container| plan(&once, &ready([("web", web.clone())]), &BTreeMap::new(), at(100)).actions;
    assert_eq!(planned(&web), [crate::pod::Action::Release]);
    web.replaced = true;
    assert_eq!(planned(&web), [crate::pod::Action::Start { container: "web".into(), attempt: 1 }]);
}

#[test]
fn events_list_what_is_asked_for() {
    let pod = pod(json!({
        "initContainers": [{ "name": "once" }, { "name": "mesh", "restartPolicy": "Always", "resources": { "limits": { "cpu": "200m" } } }],
        "containers": [{ "name": "web", "resources": requests("100m", "100") }, { "name": "log" }],
    }));
    expect![[r#"Pod resize Deferred: {"initContainers":[{"name":"mesh","resources":{"limits":{"cpu":"200m"}}}],"containers":[{"name":"web","resources":{"requests":{"cpu":"100m","memory":"100"}}},{"name":"log","resources":{}}],"generation":2,"error":"no room"}"#]]
        .assert_eq(&summary("Pod resize Deferred", &pod, 2, "no room"));
}

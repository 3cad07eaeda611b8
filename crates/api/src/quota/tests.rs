//! Quotas and objects, in and out.

use serde_json::{Value, json};

use super::{amounts, charge, matches, to_value, usage};
use crate::kind::{self, Kind};

fn kind(group: &str, plural: &str) -> &'static Kind {
    kind::find(group, "v1", plural).unwrap()
}

fn pod(resources: Value) -> Value {
    json!({ "metadata": { "name": "p" }, "spec": { "containers": [{ "name": "web", "resources": resources }] } })
}

/// A quota that was counted.
fn quota(hard: Value, used: Value) -> Value {
    json!({ "metadata": { "name": "q" }, "spec": { "hard": hard }, "status": { "hard": hard, "used": used } })
}

fn outcome(quota: &Value, kind: &Kind, new: &Value, old: Option<&Value>) -> Result<Vec<Value>, String> {
    let charged = charge(&[quota], kind, new, old).map_err(|refusal| refusal.to_string())?;
    Ok(charged.into_iter().map(|(_, used)| to_value(&used)).collect())
}

#[test]
fn what_objects_take() {
    let pods = kind("", "pods");
    let own = pod(json!({ "requests": { "cpu": "1", "hugepages-2Mi": "4Mi", "a.b/gpu": "2" }, "limits": { "memory": "1Gi" } }));
    assert_eq!(
        to_value(&usage(pods, &own)),
        json!({
            "pods": "1", "count/pods": "1", "cpu": "1", "requests.cpu": "1", "limits.memory": "1Gi",
            "hugepages-2Mi": "4Mi", "requests.hugepages-2Mi": "4Mi", "requests.a.b/gpu": "2",
        })
    );
    let mut heavy = own.clone();
    heavy["spec"]["overhead"] = json!({ "cpu": "250m", "memory": "1Mi" });
    let used = to_value(&usage(pods, &heavy));
    assert_eq!(["cpu", "memory", "limits.memory"].map(|name| &used[name]), ["1250m", "1Mi", "1025Mi"]);
    assert_eq!(used.get("limits.cpu"), None, "what is not limited is not limited by its overhead");
    let mut ended = own.clone();
    ended["status"] = json!({ "phase": "Succeeded" });
    assert_eq!(to_value(&usage(pods, &ended)), json!({ "count/pods": "1" }));
    let service = json!({ "spec": { "type": "LoadBalancer", "ports": [{}, {}] } });
    assert_eq!(
        to_value(&usage(kind("", "services"), &service)),
        json!({ "services": "1", "count/services": "1", "services.loadbalancers": "1", "services.nodeports": "2" })
    );
    let claim = json!({ "spec": { "storageClassName": "fast", "resources": { "requests": { "storage": "5Gi" } } } });
    assert_eq!(
        to_value(&usage(kind("", "persistentvolumeclaims"), &claim)),
        json!({
            "persistentvolumeclaims": "1", "count/persistentvolumeclaims": "1", "requests.storage": "5Gi",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
            "fast.storageclass.storage.k8s.io/requests.storage": "5Gi",
        })
    );
    assert_eq!(to_value(&usage(kind("apps", "deployments"), &json!({}))), json!({ "count/deployments.apps": "1" }));
    assert_eq!(to_value(&usage(kind("", "secrets"), &json!({}))), json!({ "secrets": "1", "count/secrets": "1" }));
}

#[test]
fn too_much_is_refused_in_upstream_s_words() {
    let limits = quota(json!({ "pods": "2", "requests.cpu": "2" }), json!({ "pods": "1", "requests.cpu": "1500m" }));
    let pods = kind("", "pods");
    let of = |cpu: &str| pod(json!({ "requests": { "cpu": cpu } }));
    assert_eq!(outcome(&limits, pods, &of("500m"), None), Ok(vec![json!({ "pods": "2", "requests.cpu": "2" })]));
    assert_eq!(
        outcome(&limits, pods, &of("600m"), None),
        Err("exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=1500m, limited: requests.cpu=2".to_owned())
    );
    let full = quota(json!({ "pods": "1" }), json!({ "pods": "1" }));
    assert_eq!(
        outcome(&full, pods, &of("1"), None),
        Err("exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1".to_owned())
    );
}

#[test]
fn what_is_limited_must_be_said() {
    let hard = json!({ "limits.cpu": "2", "limits.memory": "2Gi", "requests.cpu": "1", "pods": "9" });
    let limits = quota(hard.clone(), json!({ "limits.cpu": "0", "limits.memory": "0", "requests.cpu": "0", "pods": "0" }));
    let pods = kind("", "pods");
    assert_eq!(
        outcome(&limits, pods, &pod(json!({ "requests": { "cpu": "1" } })), None),
        Err("failed quota: q: must specify limits.cpu for: web; limits.memory for: web".to_owned())
    );
    let mut whole = pod(json!({}));
    whole["spec"]["resources"] = json!({ "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "1" } });
    assert!(outcome(&limits, pods, &whole, None).is_ok(), "the pod says it for its containers");
    assert_eq!(
        outcome(&quota(hard, json!({})), pods, &whole, None),
        Err("status unknown for quota: q, resources: limits.cpu,limits.memory,pods,requests.cpu".to_owned())
    );
}

#[test]
fn a_change_is_charged_by_what_it_adds() {
    let limits = quota(json!({ "services.nodeports": "2" }), json!({ "services.nodeports": "1" }));
    let services = kind("", "services");
    let of = |ports: usize| json!({ "spec": { "type": "NodePort", "ports": vec![json!({}); ports] } });
    assert_eq!(outcome(&limits, services, &of(2), Some(&of(1))), Ok(vec![json!({ "services.nodeports": "2" })]));
    assert_eq!(outcome(&limits, services, &of(1), Some(&of(1))), Ok(vec![]));
    assert_eq!(outcome(&limits, services, &of(0), Some(&of(1))), Ok(vec![]), "what is given back is counted later");
    assert_eq!(
        outcome(&limits, services, &of(3), Some(&of(1))),
        Err("exceeded quota: q, requested: services.nodeports=2, used: services.nodeports=1, limited: services.nodeports=2"
            .to_owned())
    );
    assert_eq!(outcome(&limits, kind("", "secrets"), &json!({}), None), Ok(vec![]));
}

#[test]
fn scopes() {
    let pods = kind("", "pods");
    let in_scope = |quota: Value, pod: &Value| matches(&json!({ "spec": quota }), pods, pod);
    let (best, burst) = (pod(json!({})), pod(json!({ "requests": { "cpu": "1" } })));
    let scoped = |scope: &str| json!({ "hard": { "pods": "1" }, "scopes": [scope] });
    assert!(in_scope(scoped("BestEffort"), &best) && !in_scope(scoped("BestEffort"), &burst));
    assert!(in_scope(scoped("NotBestEffort"), &burst) && in_scope(scoped("NotTerminating"), &burst));
    let mut high = burst.clone();
    high["spec"]["priorityClassName"] = json!("high");
    high["spec"]["activeDeadlineSeconds"] = json!(5);
    assert!(in_scope(scoped("Terminating"), &high) && in_scope(scoped("PriorityClass"), &high));
    let selector = |operator: &str, values: Value| {
        let requirement = json!({ "scopeName": "PriorityClass", "operator": operator, "values": values });
        json!({ "hard": { "cpu": "1" }, "scopeSelector": { "matchExpressions": [requirement] } })
    };
    assert!(in_scope(selector("In", json!(["high"])), &high) && !in_scope(selector("In", json!(["low"])), &high));
    assert!(in_scope(selector("NotIn", json!(["low"])), &burst) && in_scope(selector("DoesNotExist", json!([])), &burst));
    assert!(!in_scope(json!({ "hard": { "services": "1" } }), &best), "it limits nothing of a pod");
    let service = json!({ "spec": { "hard": { "services": "1" }, "scopes": ["BestEffort"] } });
    assert!(!matches(&service, kind("", "services"), &json!({})), "scopes tell pods apart");
    let term = json!({ "namespaceSelector": {} });
    high["spec"]["affinity"] = json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } });
    assert!(in_scope(scoped("CrossNamespacePodAffinity"), &high) && !in_scope(scoped("CrossNamespacePodAffinity"), &best));
}

#[test]
fn what_is_no_quantity_is_left_out() {
    assert_eq!(to_value(&amounts(&json!({ "a": "1", "b": "x", "c": 2 }))), json!({ "a": "1", "c": "2" }));
}

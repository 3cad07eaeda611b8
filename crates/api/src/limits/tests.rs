//! Ranges and pods, in and out.

use serde_json::{Value, json};

use super::{check_claim, check_pod, fill};

fn range(limits: Value) -> Value {
    json!({ "spec": { "limits": limits } })
}

fn pod(resources: &[Value]) -> Value {
    let containers = resources.iter().zip('a'..).map(|(resources, name)| json!({ "name": name, "resources": resources }));
    json!({ "metadata": { "name": "p" }, "spec": { "containers": containers.collect::<Vec<_>>() } })
}

#[test]
fn who_says_nothing_gets_defaults_and_a_note() {
    let range = range(json!([{
        "type": "Container", "default": { "cpu": "1", "memory": "512Mi" }, "defaultRequest": { "cpu": "500m", "memory": "256Mi" },
    }]));
    let mut own = pod(&[json!({}), json!({ "limits": { "cpu": "2" }, "requests": { "cpu": "2", "memory": "1Gi" } })]);
    own["spec"]["initContainers"] = json!([{ "name": "i" }]);
    fill(&[&range], &mut own);
    let expected = json!({ "limits": { "cpu": "1", "memory": "512Mi" }, "requests": { "cpu": "500m", "memory": "256Mi" } });
    assert_eq!(own["spec"]["containers"][0]["resources"], expected);
    assert_eq!(own["spec"]["initContainers"][0]["resources"], expected);
    assert_eq!(own["spec"]["containers"][1]["resources"]["limits"], json!({ "cpu": "2", "memory": "512Mi" }));
    assert_eq!(
        own["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container a; cpu, memory limit for container a; memory limit for \
         container b; cpu, memory request for init container i; cpu, memory limit for init container i"
    );
    let before = own.clone();
    fill(&[&range], &mut own);
    assert_eq!(own, before, "what is set stays");
}

#[test]
fn bounds_of_containers_and_pods() {
    let bounds = range(json!([
        { "type": "Container", "min": { "memory": "500Mi" }, "max": { "memory": "1Gi" } },
        { "type": "Pod", "max": { "cpu": "2" } },
    ]));
    for (resources, expected) in [
        (json!({ "limits": { "memory": "800Mi", "cpu": "1" }, "requests": { "memory": "600Mi" } }), None),
        (
            json!({ "limits": { "memory": "1536Mi", "cpu": "1" }, "requests": { "memory": "800Mi" } }),
            Some("maximum memory usage per Container is 1Gi, but limit is 1536Mi"),
        ),
        (
            json!({ "limits": { "memory": "800Mi", "cpu": "1" }, "requests": { "memory": "100Mi" } }),
            Some("minimum memory usage per Container is 500Mi, but request is 100Mi"),
        ),
        (
            json!({ "limits": { "cpu": "3" } }),
            Some(
                "[minimum memory usage per Container is 500Mi.  No request is specified, maximum memory usage per Container is 1Gi.  \
                 No limit is specified, maximum cpu usage per Pod is 2, but limit is 3]",
            ),
        ),
    ] {
        assert_eq!(check_pod(&[&bounds], &pod(&[resources])).as_deref(), expected);
    }
    let two = [
        json!({ "limits": { "memory": "800Mi", "cpu": "1500m" }, "requests": { "memory": "600Mi" } }),
        json!({ "limits": { "memory": "800Mi", "cpu": "1500m" }, "requests": { "memory": "600Mi" } }),
    ];
    assert_eq!(check_pod(&[&bounds], &pod(&two)).as_deref(), Some("maximum cpu usage per Pod is 2, but limit is 3"));
    let mut whole = pod(&[json!({ "limits": { "memory": "800Mi", "cpu": "2" }, "requests": { "memory": "600Mi" } })]);
    whole["spec"]["overhead"] = json!({ "cpu": "1" });
    assert_eq!(check_pod(&[&bounds], &whole), None, "what its runtime needs is not the pod's choice");
}

#[test]
fn ratios() {
    let range = range(json!([{ "type": "Container", "maxLimitRequestRatio": { "memory": "2" } }]));
    let of = |limit: &str, request: &str| pod(&[json!({ "limits": { "memory": limit }, "requests": { "memory": request } })]);
    assert_eq!(check_pod(&[&range], &of("200Mi", "100Mi")), None);
    assert_eq!(
        check_pod(&[&range], &of("300Mi", "100Mi")).as_deref(),
        Some("memory max limit to request ratio per Container is 2, but provided ratio is 3.000000")
    );
    assert_eq!(
        check_pod(&[&range], &of("300Mi", "0")).as_deref(),
        Some("memory max limit to request ratio per Container is 2, but no request is specified or request is 0")
    );
}

#[test]
fn bounds_of_claims() {
    let range = range(json!([{ "type": "PersistentVolumeClaim", "min": { "storage": "1Gi" }, "max": { "storage": "2Gi" } }]));
    let claim = |size: &str| json!({ "spec": { "resources": { "requests": { "storage": size } } } });
    assert_eq!(check_claim(&[&range], &claim("1Gi")), None);
    assert_eq!(
        check_claim(&[&range], &claim("3Gi")).as_deref(),
        Some("maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")
    );
    assert_eq!(
        check_claim(&[&range], &claim("1Mi")).as_deref(),
        Some("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi")
    );
    assert_eq!(check_pod(&[&range], &pod(&[json!({})])), None);
}

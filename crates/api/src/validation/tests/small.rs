//! Namespace, Node, events, quotas, roles, budgets and the other small kinds.

use expect_test::expect;
use serde_json::json;

use super::{create, lines, update};

#[test]
fn namespaces_and_nodes() {
    create(
        "",
        "Namespace",
        json!({ "spec": { "finalizers": ["kubernetes", "odd"] } }),
        expect![[r#"
        spec.finalizers: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified
    "#]],
    );
    let active = json!({ "metadata": {}, "status": { "phase": "Terminating" } });
    expect![[r#"
        status.Phase: Invalid value: "Terminating": may only be 'Active' if `deletionTimestamp` is empty
    "#]]
    .assert_eq(&lines(&super::super::status("", "Namespace", &active, &active)));
    create(
        "",
        "Node",
        json!({ "spec": {
            "taints": [{ "key": "a", "effect": "Burn" }, { "key": "a", "effect": "NoSchedule" }, { "key": "a", "effect": "NoSchedule" }],
            "podCIDRs": ["10.0.0.0/24", "x"],
        }, "status": { "capacity": { "pods": "1.5", "cpu": "-1" } } }),
        expect![[r#"
            metadata.taints[0].effect: Unsupported value: "Burn": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            metadata.taints[2]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair
            status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0
            status.capacity.pods: Invalid value: "1500m": must be an integer
            status.allocatable.cpu: Invalid value: "-1": must be greater than or equal to 0
            status.allocatable.pods: Invalid value: "1500m": must be an integer
            spec.podCIDRs[1]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.podCIDRs: Invalid value: ["10.0.0.0/24","x"]: may specify no more than one CIDR for each IP family
        "#]],
    );
    update(
        "",
        "Node",
        json!({ "spec": { "podCIDRs": ["10.0.0.0/24"], "providerID": "a" } }),
        |node| {
            node["spec"]["podCIDRs"] = json!(["10.0.1.0/24"]);
            node["spec"]["providerID"] = json!("b");
        },
        expect![[r#"
            spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
            spec.providerID: Forbidden: node updates may not change providerID except from "" to valid
        "#]],
    );
}

#[test]
fn events() {
    create(
        "",
        "Event",
        json!({ "metadata": { "namespace": "a" }, "involvedObject": { "namespace": "b" } }),
        expect![[r#"
        involvedObject.namespace: Invalid value: "b": does not match event.namespace
    "#]],
    );
    create(
        "events.k8s.io",
        "Event",
        json!({ "metadata": { "namespace": "default" }, "eventTime": "2026-01-01T00:00:00Z", "type": "Odd", "series": { "count": 1 } }),
        expect![[r#"
            reportingController: Required value
            reportingController: Invalid value: "": name part must be non-empty
            reportingController: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            reportingInstance: Required value
            action: Required value
            reason: Required value
            series.count: Invalid value: "": should be at least 2
            series.lastObservedTime: Required value
            type: Invalid value: "": has invalid value: Odd
        "#]],
    );
}

#[test]
fn quotas() {
    create(
        "",
        "LimitRange",
        json!({ "spec": { "limits": [
            { "type": "Container", "max": { "cpu": "1" }, "min": { "cpu": "2" }, "default": { "disk": "1" } },
            { "type": "Pod", "default": { "cpu": "1" }, "maxLimitRequestRatio": { "cpu": "0.5" } },
            { "type": "PersistentVolumeClaim" },
            { "type": "Node" },
        ] } }),
        expect![[r#"
            spec.limits[0].default[disk]: Invalid value: "disk": must be a standard resource type or fully qualified
            spec.limits[0].default[disk]: Invalid value: "disk": must be a standard resource for containers
            spec.limits[0].defaultRequest[disk]: Invalid value: "disk": must be a standard resource type or fully qualified
            spec.limits[0].defaultRequest[disk]: Invalid value: "disk": must be a standard resource for containers
            spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
            spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1
            spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1
            spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'
            spec.limits[1].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
            spec.limits[2].limits: Required value: either minimum or maximum storage value is required, but neither was provided
            spec.limits[3].type: Invalid value: "Node": must be a standard limit type or fully qualified
        "#]],
    );
    create(
        "",
        "ResourceQuota",
        json!({ "spec": { "hard": { "pods": "1.5", "disk": "1", "services": "3" }, "scopes": ["BestEffort", "NotBestEffort", "Some"] } }),
        expect![[r#"
            spec.hard[disk]: Invalid value: "disk": must be a standard resource type or fully qualified
            spec.hard[disk]: Invalid value: "disk": must be a standard resource for quota
            spec.hard[pods]: Invalid value: "1500m": must be an integer
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Some"]: unsupported scope applied to resource
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Some"]: unsupported scope applied to resource
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Some"]: unsupported scope
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Some"]: conflicting scopes
        "#]],
    );
    update(
        "",
        "ResourceQuota",
        json!({ "spec": { "hard": { "pods": "1" } } }),
        |quota| quota["spec"]["scopes"] = json!(["BestEffort"]),
        expect![[r#"
            spec.scopes: Invalid value: ["BestEffort"]: field is immutable
        "#]],
    );
}

#[test]
fn roles() {
    create(
        "rbac.authorization.k8s.io",
        "Role",
        json!({ "rules": [{}, { "verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"] }] }),
        expect![[r#"
            rules[0].verbs: Required value: verbs must contain at least one value
            rules[0].apiGroups: Required value: resource rules must supply at least one api group
            rules[0].resources: Required value: resource rules must supply at least one resource
            rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
            rules[1].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs
        "#]],
    );
    create(
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        json!({ "roleRef": { "kind": "Role" }, "subjects": [
            { "kind": "ServiceAccount", "name": "x" }, { "kind": "User" }, { "kind": "Robot", "name": "r" },
        ] }),
        expect![[r#"
            roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"
            roleRef.name: Required value
            subjects[0].namespace: Required value
            subjects[1].name: Required value
            subjects[1].name: Invalid value: "": user name cannot be empty
            subjects[2].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"
        "#]],
    );
    update(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({ "roleRef": { "kind": "Role", "name": "a" } }),
        |binding| binding["roleRef"]["name"] = json!("b"),
        expect![[r#"
            roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef
        "#]],
    );
}

#[test]
fn policies_and_the_rest() {
    create(
        "policy",
        "PodDisruptionBudget",
        json!({ "spec": { "minAvailable": "120%", "maxUnavailable": -1, "unhealthyPodEvictionPolicy": "Never" } }),
        expect![[r#"
            spec: Invalid value: {"MinAvailable":"120%","Selector":null,"MaxUnavailable":-1,"UnhealthyPodEvictionPolicy":"Never"}: minAvailable and maxUnavailable cannot be both set
            spec.minAvailable: Invalid value: "120%": must not be greater than 100%
            spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
            spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", "IfHealthyBudget"
        "#]],
    );
    create(
        "coordination.k8s.io",
        "Lease",
        json!({ "spec": { "leaseDurationSeconds": 0, "leaseTransitions": -1, "preferredHolder": "x" } }),
        expect![[r#"
            spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
            spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
            spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined
        "#]],
    );
    create(
        "autoscaling",
        "Scale",
        json!({ "spec": { "replicas": -1 } }),
        expect![[r#"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    create(
        "",
        "Binding",
        json!({ "target": { "kind": "Pod" } }),
        expect![[r#"
        target.kind: Unsupported value: "Pod": supported values: "Node", "<empty>"
        target.name: Required value
    "#]],
    );
    create(
        "scheduling.k8s.io",
        "PriorityClass",
        json!({ "metadata": { "name": "system-x" }, "value": 1 }),
        expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class
    "#]],
    );
    create(
        "scheduling.k8s.io",
        "PriorityClass",
        json!({ "metadata": { "name": "x" }, "value": 2_000_000_000 }),
        expect![[r#"
            value: Forbidden: maximum allowed value of a user defined priority is 1000000000
        "#]],
    );
    update(
        "scheduling.k8s.io",
        "PriorityClass",
        json!({ "metadata": { "name": "x" }, "value": 1 }),
        |class| {
            class["value"] = json!(2);
            class["preemptionPolicy"] = json!("Never");
        },
        expect![[r#"
            value: Forbidden: may not be changed in an update.
            preemptionPolicy: Invalid value: "Never": field is immutable
        "#]],
    );
}

#[test]
fn runtime_classes() {
    let toleration = json!({ "key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5 });
    create(
        "node.k8s.io",
        "RuntimeClass",
        json!({
            "handler": "Kata_1",
            "overhead": { "podFixed": { "cpu": "-1", "hugepages-2Mi": "2Mi", "pods": "1" } },
            "scheduling": { "nodeSelector": { "a b": "c d" }, "tolerations": [toleration, { "key": "a" }, toleration] },
        }),
        expect![[r#"
            handler: Invalid value: "Kata_1": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
            overhead.limits[pods]: Invalid value: "pods": must be a standard resource for containers
            scheduling.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            scheduling.nodeSelector: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            scheduling.tolerations[2]: Duplicate value: {"Key":"a","Operator":"Exists","Value":"","Effect":"NoExecute","TolerationSeconds":5}
        "#]],
    );
    create(
        "node.k8s.io",
        "RuntimeClass",
        json!({ "overhead": { "podFixed": { "hugepages-2Mi": "2Mi" } } }),
        expect![[r#"
        handler: Required value
        overhead: Forbidden: HugePages require cpu or memory
    "#]],
    );
    update(
        "node.k8s.io",
        "RuntimeClass",
        json!({ "handler": "runc" }),
        |class| {
            class["handler"] = json!("kata");
            class["scheduling"] = json!({ "tolerations": [{ "operator": "Equal" }] });
        },
        expect![[r#"
            scheduling.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
            handler: Invalid value: "kata": field is immutable
        "#]],
    );
    update(
        "node.k8s.io",
        "RuntimeClass",
        json!({ "handler": "runc" }),
        |class| {
            class.as_object_mut().unwrap().remove("handler");
        },
        expect![[r#"
            handler: Required value
            handler: Invalid value: "": field is immutable
        "#]],
    );
}

//! Labels, versions, the table of checks, and what is looked at.

use serde_json::{Value, json};

use super::{at, latest};
use crate::pod_security::{Level, Pod, Policy, changes_what_counts, check::CHECKS, template};

fn labels(labels: &[(&str, &str)]) -> Value {
    labels
        .iter()
        .map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[test]
fn labels_make_a_policy() {
    let silent = Policy { enforce: latest(Level::Privileged), warn: latest(Level::Privileged) };
    for nothing in [json!(null), json!({}), labels(&[("audit", "restricted"), ("audit-version", "v1.30")])] {
        assert_eq!(Policy::of(&nothing), (silent, Vec::new()), "{nothing}");
    }
    let both =
        labels(&[("enforce", "baseline"), ("enforce-version", "v1.25"), ("warn", "restricted"), ("warn-version", "latest")]);
    assert_eq!(Policy::of(&both), (Policy { enforce: at(Level::Baseline, 25), warn: latest(Level::Restricted) }, Vec::new()));
    assert_eq!(at(Level::Baseline, 25).to_string(), "baseline:v1.25");
    assert_eq!(latest(Level::Restricted).to_string(), "restricted:latest");
}

#[test]
fn labels_that_mean_nothing() {
    let all: Vec<(String, &str)> = ["enforce", "audit", "warn"]
        .iter()
        .flat_map(|mode| [(mode.to_string(), "Baseline"), (format!("{mode}-version"), "1.25")])
        .collect();
    let all: Vec<(&str, &str)> = all.iter().map(|(key, value)| (key.as_str(), *value)).collect();
    let (policy, errors) = Policy::of(&labels(&all));
    assert_eq!(policy, Policy { enforce: latest(Level::Restricted), warn: latest(Level::Privileged) });
    let told: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let level = |mode: &str| {
        format!(
            "metadata.labels[pod-security.kubernetes.io/{mode}]: Invalid value: \"Baseline\": must be one of privileged, baseline, restricted"
        )
    };
    let version = |mode: &str| {
        format!(
            "metadata.labels[pod-security.kubernetes.io/{mode}-version]: Invalid value: \"1.25\": must be \"latest\" or \"v1.x\""
        )
    };
    let expected: Vec<String> = ["enforce", "audit", "warn"].iter().flat_map(|mode| [level(mode), version(mode)]).collect();
    assert_eq!(told, expected);
    for (text, fine) in [
        ("v1.0", true),
        ("v1.10000", true),
        ("latest", true),
        ("v1.01", false),
        ("v1.", false),
        ("v1.+1", false),
        ("v2.0", false),
        ("", false),
        ("v1.99999999999999999999", false),
        ("v1.22.1", false),
        ("Latest", false),
    ] {
        assert_eq!(Policy::of(&labels(&[("enforce-version", text)])).1.is_empty(), fine, "{text}");
    }
}

#[test]
fn the_table_is_in_order() {
    let order: Vec<(Level, &str)> = CHECKS.iter().map(|check| (check.level, check.id)).collect();
    assert!(order.is_sorted(), "{order:?}");
    for check in CHECKS {
        assert!(check.versions.is_sorted_by(|(one, _), (next, _)| one < next) && !check.versions.is_empty(), "{}", check.id);
        let replaced = check.replaces.map(|id| CHECKS.iter().find(|other| other.id == id).map(|other| other.level));
        assert!(matches!(replaced, None | Some(Some(Level::Baseline))), "{}", check.id);
    }
}

#[test]
fn faults_are_told_in_order() {
    let pod = json!({ "metadata": {}, "spec": {
        "hostPID": true, "containers": [{ "name": "c", "securityContext": { "privileged": true, "capabilities": { "add": ["SYS_ADMIN"] } } }],
        "volumes": [{ "name": "v", "hostPath": { "path": "/" } }],
    } });
    let violations = latest(Level::Restricted).violations(Pod::of(&pod));
    assert_eq!(
        violations.to_string(),
        "host namespaces (hostPID), privileged (container \"c\" must not set securityContext.privileged=true), \
         allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]; container \"c\" must not include \
         \"SYS_ADMIN\" in securityContext.capabilities.add), restricted volume types (volume \"v\" uses restricted volume type \"hostPath\"), \
         runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must \
         set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(
        latest(Level::Baseline).violations(Pod::of(&pod)).reasons(),
        "non-default capabilities, host namespaces, hostPath volumes, privileged"
    );
    assert_eq!(
        at(Level::Restricted, 0).violations(Pod::of(&pod)).reasons(),
        "non-default capabilities, host namespaces, privileged, restricted volume types, runAsNonRoot != true"
    );
    assert!(latest(Level::Privileged).violations(Pod::of(&pod)).is_empty());
}

#[test]
fn templates_are_found() {
    let template_of = json!({ "metadata": {}, "spec": { "hostPID": true } });
    let (plain, nested) = (
        json!({ "spec": { "template": template_of } }),
        json!({ "spec": { "jobTemplate": { "spec": { "template": template_of } } } }),
    );
    let kinds = [
        ("", "replicationcontrollers", &plain),
        ("apps", "replicasets", &plain),
        ("apps", "deployments", &plain),
        ("apps", "statefulsets", &plain),
        ("apps", "daemonsets", &plain),
        ("batch", "jobs", &plain),
        ("batch", "cronjobs", &nested),
    ];
    for (group, plural, object) in kinds {
        assert!(template(group, plural, object).is_some_and(|pod| pod.spec["hostPID"] == true), "{plural}");
    }
    assert!(template("", "podtemplates", &json!({ "template": template_of })).is_some());
    assert!(template("", "services", &plain).is_none());
    assert!(template("", "replicationcontrollers", &json!({ "spec": {} })).is_none(), "it may have none");
}

#[test]
fn changes_of_containers_and_images_count() {
    let pod = json!({ "metadata": { "annotations": {} }, "spec": {
        "containers": [{ "name": "a", "image": "one" }], "initContainers": [{ "name": "i", "image": "one" }],
        "ephemeralContainers": [{ "name": "e", "image": "one" }, { "name": "f", "image": "one" }],
    } });
    let change = |pointer: &str, value: Value| {
        let mut new = pod.clone();
        *new.pointer_mut(pointer).unwrap() = value;
        changes_what_counts(Pod::of(&new), Pod::of(&pod))
    };
    for pointer in ["/spec/containers/0/image", "/spec/initContainers/0/image", "/spec/ephemeralContainers/1/image"] {
        assert!(change(pointer, json!("two")), "{pointer}");
    }
    assert!(change("/spec/ephemeralContainers/1/name", json!("g")), "a new one");
    assert!(change("/spec/initContainers", json!([])));
    assert!(change("/metadata/annotations", json!({ "container.seccomp.security.alpha.kubernetes.io/a": "unconfined" })));
    for (pointer, value) in [
        ("/metadata/annotations", json!({ "seccomp.security.alpha.kubernetes.io/pod": "unconfined" })),
        ("/metadata", json!({ "labels": { "a": "b" } })),
        ("/spec/ephemeralContainers", json!([{ "name": "f", "image": "one" }])),
        ("/spec/containers/0", json!({ "name": "a", "image": "one", "resources": {} })),
    ] {
        assert!(!change(pointer, value), "{pointer}");
    }
}

//! Newer parts of pods: restart rules, files as environment, resources of the whole pod, operating systems.

use expect_test::expect;
use serde_json::json;

use super::{create, pod};

#[test]
fn restart_rules() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["containers"][0]["restartPolicyRules"] = json!([{ "action": "Hope" }]);
            spec["initContainers"] = json!([{
                "name": "first", "image": "x", "restartPolicy": "Never",
                "resizePolicy": [{ "resourceName": "cpu", "restartPolicy": "RestartContainer" }],
                "restartPolicyRules": [
                    { "action": "Restart", "exitCodes": { "operator": "Is", "values": [42] } },
                    { "action": "RestartAllContainers", "exitCodes": { "operator": "NotIn", "values": vec![1; 256] } },
                ],
            }]);
        }),
        expect![[r#"
            spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used
            spec.containers[0].restartPolicyRules[0].action: Unsupported value: "Hope": supported values: "Restart", "RestartAllContainers"
            spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified
            spec.initContainers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"
            spec.initContainers[0].restartPolicyRules[1].exitCodes.values: Too many: 256: must have at most 255 items
            spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: "RestartContainer": must not be set to 'RestartContainer' for non-sidecar initContainers
        "#]],
    );
}

#[test]
fn files_as_environment() {
    let from = |volume: &str, path: &str| json!({ "fileKeyRef": { "volumeName": volume, "path": path, "key": "KEY" } });
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["volumes"] = json!([{ "name": "empty", "emptyDir": {} }, { "name": "host", "hostPath": { "path": "/x" } }]);
            spec["containers"][0]["env"] = json!([
                { "name": "A", "valueFrom": from("empty", "vars") },
                { "name": "B", "valueFrom": from("host", "../vars") },
                { "name": "C", "valueFrom": from("none", "vars") },
                { "name": "D", "valueFrom": { "fileKeyRef": { "key": "a=b" } } },
            ]);
        }),
        expect![[r#"
            spec.containers[0].env[1].valueFrom.fileKeyRef.path: Invalid value: "../vars": must not contain '..'
            spec.containers[0].env[3].valueFrom.fileKeyRef.key: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].env[3].valueFrom.fileKeyRef.volumeName: Required value
            spec.containers[0].env[3].valueFrom.fileKeyRef.path: Required value
            spec.containers[0].env[1].valueFrom.fileKeyRef.volumeName: Invalid value: "host": referenced volume must be of type emptyDir
            spec.containers[0].env[2].valueFrom.fileKeyRef.volumeName: Not found: "none"
            spec.containers[0].env[3].valueFrom.fileKeyRef.volumeName: Not found: ""
        "#]],
    );
}

#[test]
fn resources_of_the_whole_pod() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["resources"] = json!({
                "claims": [],
                "limits": { "cpu": "2", "memory": "1Gi", "storage": "1Gi" },
                "requests": { "cpu": "1" },
            });
            let takes = |cpu: &str, memory: &str| json!({ "requests": { "cpu": cpu }, "limits": { "memory": memory } });
            spec["containers"][0]["resources"] = takes("600m", "2Gi");
            spec["initContainers"] = json!([
                { "name": "side", "image": "x", "restartPolicy": "Always", "resources": takes("500m", "1Gi") },
                { "name": "first", "image": "x", "resources": takes("550m", "1Gi") },
            ]);
        }),
        expect![[r#"
            spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level
            spec.resources.limits[storage]: Unsupported value: "storage": supported values: "cpu", "hugepages-", "memory"
            spec.resources.requests: Invalid value: "3Gi": must be less than or equal to memory limit of 1Gi
            spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 1100m
            spec.resources.containers[0][memory].limits: Invalid value: "2Gi": must be less than or equal to pod limits of 1Gi
        "#]],
    );
}

#[test]
fn operating_systems() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["os"] = json!({ "name": "linux" });
            spec["securityContext"]["windowsOptions"] = json!({});
            spec["containers"][0]["lifecycle"] = json!({ "stopSignal": "SIGRTMIN+3" });
        }),
        expect![[r#"
            spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod
        "#]],
    );
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["os"] = json!({ "name": "windows" });
            spec["hostPID"] = json!(true);
            spec["hostIPC"] = json!(false);
            spec["securityContext"]["runAsUser"] = json!(1);
            spec["containers"][0]["securityContext"] = json!({ "privileged": false });
            spec["containers"][0]["lifecycle"] = json!({ "stopSignal": "SIGHUP" });
            spec["resources"] = json!({ "limits": { "cpu": 1 } });
        }),
        expect![[r#"
            spec.containers[0].lifecycle.stopSignal: Unsupported value: "SIGHUP": supported values: "SIGKILL", "SIGTERM"
            spec.resources: Forbidden: may not be set for a windows pod
            spec.hostPID: Forbidden: cannot be set for a windows pod
            spec.securityContext.runAsUser: Forbidden: cannot be set for a windows pod
            spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod
        "#]],
    );
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["containers"][0]["lifecycle"] = json!({ "stopSignal": "SIGHUP" });
        }),
        expect![[r#"
            spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`
        "#]],
    );
}

#[test]
fn users_and_hostnames_of_its_own() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["hostUsers"] = json!(false);
            spec["hostNetwork"] = json!(true);
            spec["setHostnameAsFQDN"] = json!(true);
            spec["hostnameOverride"] = json!("My_Host");
            spec["volumes"] = json!([{ "name": "raw", "persistentVolumeClaim": { "claimName": "raw" } }]);
            spec["containers"][0]["volumeDevices"] = json!([{ "name": "raw", "devicePath": "/dev/raw" }]);
            spec["tolerations"] = json!([{ "key": "size", "operator": "Gt", "value": "5" }]);
        }),
        expect![[r#"
            spec.hostNetwork: Forbidden: when `hostUsers` is false
            spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false
            spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true
            spec.hostnameOverride: Forbidden: may not be specified when hostNetwork is true
            spec.hostnameOverride: Invalid value: "My_Host": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.tolerations[0].operator: Unsupported value: "Gt": supported values: "Equal", "Exists", "Lt", "Gt"
        "#]],
    );
}

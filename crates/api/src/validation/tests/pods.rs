//! Pods: containers, volumes, probes, security, scheduling.

use expect_test::expect;
use serde_json::{Value, json};

use super::{create, pod, warn};

#[test]
fn containers() {
    create("", "Pod", pod(|_| {}), expect![[r#""#]]);
    create(
        "",
        "Pod",
        json!({}),
        expect![[r#"
        spec.containers: Required value
    "#]],
    );
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["containers"] = json!([
                {},
                { "name": "Web", "image": " nginx" },
                { "name": "Web", "image": "nginx", "imagePullPolicy": "Sometimes", "terminationMessagePolicy": "Tell" },
            ]);
            spec["initContainers"] = json!([
                { "name": "Web", "image": "x", "readinessProbe": { "exec": { "command": ["x"] } } },
                { "name": "side", "image": "x", "restartPolicy": "Always", "livenessProbe": {} },
            ]);
            spec["restartPolicy"] = json!("Perhaps");
            spec["dnsPolicy"] = json!("Guess");
        }),
        expect![[r#"
            spec.containers[0].name: Required value
            spec.containers[0].image: Required value
            spec.containers[1].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.containers[2].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.containers[2].terminationMessagePolicy: Unsupported value: "Tell": supported values: "File", "FallbackToLogsOnError"
            spec.containers[2].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"
            spec.containers[2].name: Duplicate value: "Web"
            spec.initContainers[0].name: Invalid value: "Web": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.initContainers[0].name: Duplicate value: "Web"
            spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
            spec.initContainers[1].livenessProbe: Required value: must specify a handler type
            spec.restartPolicy: Unsupported value: "Perhaps": supported values: "Always", "OnFailure", "Never"
            spec.dnsPolicy: Unsupported value: "Guess": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"
            spec.containers[1].image: Invalid value: " nginx": must not have leading or trailing whitespace
        "#]],
    );
}

#[test]
fn ports_and_env() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["containers"][0]["ports"] = json!([
                { "name": "web", "containerPort": 80, "hostPort": 8080 },
                { "name": "web", "containerPort": 0, "hostPort": 8080 },
                { "name": "UPPER--", "containerPort": 70000, "protocol": "QUIC" },
            ]);
            spec["containers"][0]["env"] = json!([
                { "value": "x" },
                { "name": "A=B", "value": "x" },
                { "name": "C", "valueFrom": {} },
                { "name": "D", "value": "x", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } },
                { "name": "E", "valueFrom": { "secretKeyRef": { "name": "Bad", "key": "" } } },
                { "name": "F", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels" } } },
                { "name": "G", "valueFrom": { "fieldRef": { "fieldPath": "spec.nothing" } } },
                { "name": "H", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
                { "name": "I", "valueFrom": { "resourceFieldRef": { "resource": "limits.disk" } } },
                { "name": "J", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu", "divisor": "2" } } },
            ]);
            spec["containers"][0]["envFrom"] = json!([{ "prefix": "a=" }, { "configMapRef": {} }]);
        }),
        expect![[r#"
            spec.containers[0].ports[1].name: Duplicate value: "web"
            spec.containers[0].ports[1].containerPort: Required value
            spec.containers[0].ports[2].name: Invalid value: "UPPER--": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].ports[2].name: Invalid value: "UPPER--": must contain at least one letter (a-z)
            spec.containers[0].ports[2].name: Invalid value: "UPPER--": must not contain consecutive hyphens
            spec.containers[0].ports[2].name: Invalid value: "UPPER--": must not begin or end with a hyphen
            spec.containers[0].ports[2].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
            spec.containers[0].ports[2].protocol: Unsupported value: "QUIC": supported values: "SCTP", "TCP", "UDP"
            spec.containers[0].env[0].name: Required value
            spec.containers[0].env[1].name: Invalid value: "A=B": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].env[2].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
            spec.containers[0].env[3].valueFrom: Invalid value: "": may not be specified when `value` is not empty
            spec.containers[0].env[4].valueFrom.secretKeyRef.name: Invalid value: "Bad": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.containers[0].env[4].valueFrom.secretKeyRef.key: Required value
            spec.containers[0].env[5].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"
            spec.containers[0].env[6].valueFrom.fieldRef.fieldPath: Invalid value: "spec.nothing": error converting fieldPath: field label not supported: spec.nothing
            spec.containers[0].env[8].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.disk": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
            spec.containers[0].env[9].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor's values 1m and 1 are supported with the cpu resource
            spec.containers[0].envFrom[0].prefix: Invalid value: "a=": a valid environment variable name must consist only of printable ASCII characters other than '='
            spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
            spec.containers[0].envFrom[1].configMapRef.name: Required value
            spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//8080"
        "#]],
    );
}

#[test]
fn resources() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["containers"][0]["resources"] = json!({
                "limits": { "cpu": "1", "memory": "-1", "disk": "1", "example.com/gpu": "1.5", "hugepages-2Mi": "3Mi" },
                "requests": { "cpu": "2", "example.com/gpu": "1" },
            });
        }),
        expect![[r#"
            spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource type or fully qualified
            spec.containers[0].resources.limits[disk]: Invalid value: "disk": must be a standard resource for containers
            spec.containers[0].resources.limits[example.com/gpu]: Invalid value: "1500m": must be an integer
            spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
            spec.containers[0].resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
            spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource type or fully qualified
            spec.containers[0].resources.requests[disk]: Invalid value: "disk": must be a standard resource for containers
            spec.containers[0].resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 1500m
            spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
            spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
        "#]],
    );
}

#[test]
fn volumes() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["volumes"] = json!([
                { "name": "a" },
                { "name": "a" },
                { "name": "Bad_Name", "secret": {} },
                { "name": "two", "emptyDir": {}, "hostPath": { "path": "/x" } },
                { "name": "c", "configMap": { "name": "c", "defaultMode": 1000, "items": [{ "key": "k", "path": "../x" }, {}] } },
                { "name": "h", "hostPath": { "path": "/a/../b", "type": "Pipe" } },
                { "name": "p", "persistentVolumeClaim": {} },
                { "name": "t", "projected": { "sources": [{ "serviceAccountToken": { "expirationSeconds": 60, "path": "t" } }] } },
                { "name": "d", "downwardAPI": { "items": [{ "path": "/abs" }] } },
            ]);
            spec["containers"][0]["volumeMounts"] = json!([
                { "name": "a", "mountPath": "/a" },
                { "name": "missing", "mountPath": "/a" },
                { "name": "a", "subPath": "/x", "mountPropagation": "Bidirectional" },
            ]);
        }),
        expect![[r#"
            spec.volumes[1].name: Duplicate value: "a"
            spec.volumes[2].secret.secretName: Required value
            spec.volumes[2].name: Invalid value: "Bad_Name": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.volumes[3].hostPath: Forbidden: may not specify more than 1 volume type
            spec.volumes[4].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive
            spec.volumes[4].configMap.items[0].path: Invalid value: "../x": must not contain '..'
            spec.volumes[4].configMap.items[1].key: Required value
            spec.volumes[4].configMap.items[1].path: Required value
            spec.volumes[5].hostPath.path: Invalid value: "/a/../b": must not contain '..'
            spec.volumes[5].hostPath.type: Unsupported value: "Pipe": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"
            spec.volumes[6].persistentVolumeClaim.claimName: Required value
            spec.volumes[7].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes
            spec.volumes[8].downwardAPI.path: Invalid value: "/abs": must be a relative path
            spec.volumes[8].downwardAPI: Required value: one of fieldRef and resourceFieldRef is required
            spec.containers[0].volumeMounts[1].name: Not found: "missing"
            spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique
            spec.containers[0].volumeMounts[2].mountPath: Required value
            spec.containers[0].volumeMounts.subPath: Invalid value: "/x": must be a relative path
            spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers
            spec.volumes[7].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set
        "#]],
    );
}

#[test]
fn probes() {
    create(
        "",
        "Pod",
        pod(|spec| {
            let container = &mut spec["containers"][0];
            container["livenessProbe"] = json!({ "httpGet": { "port": "no such_port", "scheme": "FTP" }, "tcpSocket": { "port": 1 }, "successThreshold": 2 });
            container["readinessProbe"] = json!({ "exec": {}, "periodSeconds": -1, "terminationGracePeriodSeconds": 5 });
            container["startupProbe"] = json!({ "grpc": { "port": 0 }, "terminationGracePeriodSeconds": 0 });
            container["lifecycle"] = json!({ "preStop": { "sleep": { "seconds": 60 } }, "postStart": {} });
        }),
        expect![[r#"
            spec.containers[0].lifecycle.postStart: Required value: must specify a handler type
            spec.containers[0].lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)
            spec.containers[0].livenessProbe.httpGet.port: Invalid value: "no such_port": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"
            spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
            spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
            spec.containers[0].readinessProbe.exec.command: Required value
            spec.containers[0].readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
            spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: must not be set for readinessProbes
            spec.containers[0].startupProbe.grpc.port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.containers[0].startupProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0
        "#]],
    );
}

#[test]
fn security() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["securityContext"] = json!({
                "runAsUser": -1, "fsGroup": 4294967296i64, "fsGroupChangePolicy": "Never",
                "seccompProfile": { "type": "Localhost" }, "sysctls": [{ "name": "" }, { "name": "Bad" }, { "name": "net.core.x" }],
            });
            spec["hostNetwork"] = json!(true);
            spec["containers"][0]["securityContext"] =
                json!({ "allowPrivilegeEscalation": false, "privileged": true, "procMount": "None" });
        }),
        expect![[r#"
            spec.containers[0].securityContext.procMount: Unsupported value: "None": supported values: "Default", "Unmasked"
            spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true,"procMount":"None"}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
            spec.securityContext.fsGroup: Invalid value: 4294967296: must be between 0 and 4294967295, inclusive
            spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive
            spec.securityContext.sysctls[0].name: Required value
            spec.securityContext.sysctls[1].name: Invalid value: "Bad": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
            spec.securityContext.sysctls[2].name: Invalid value: "net.core.x": may not be specified when 'hostNetwork' is true
            spec.securityContext.fsGroupChangePolicy: Unsupported value: "Never": supported values: "Always", "OnRootMismatch"
            spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
        "#]],
    );
}

#[test]
fn scheduling() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["nodeSelector"] = json!({ "bad key": "bad value!" });
            spec["affinity"] = json!({
                "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                    { "matchExpressions": [{ "key": "a", "operator": "In" }, { "key": "a", "operator": "Gt", "values": ["1", "2"] }] },
                ] } },
                "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{ "weight": 0, "podAffinityTerm": {} }] },
            });
            spec["tolerations"] = json!([
                { "operator": "Equal" },
                { "key": "a", "operator": "Exists", "value": "x" },
                { "key": "a", "tolerationSeconds": 1, "effect": "NoSchedule" },
                { "key": "a", "operator": "Like", "effect": "Explode" },
            ]);
            spec["topologySpreadConstraints"] = json!([
                { "maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" },
                { "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["x"] },
            ]);
            spec["nodeName"] = json!("n1");
            spec["schedulingGates"] = json!([{ "name": "example.com/a" }, { "name": "example.com/a" }]);
        }),
        expect![[r#"
            spec.nodeSelector: Invalid value: "bad key": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.nodeSelector: Invalid value: "bad value!": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'
            spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100
            spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty
            spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: "": name part must be non-empty
            spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.schedulingGates[1]: Duplicate value: "example.com/a"
            spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
            spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "{zone, DoNotSchedule}"
            spec.topologySpreadConstraints[1].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set
            spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which means "match all values and all keys"
            spec.tolerations[1].operator: Invalid value: "x": value must be empty when `operator` is 'Exists'
            spec.tolerations[2].effect: Invalid value: "NoSchedule": effect must be 'NoExecute' when `tolerationSeconds` is set
            spec.tolerations[3].operator: Unsupported value: "Like": supported values: "Equal", "Exists"
            spec.tolerations[3].effect: Unsupported value: "Explode": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared
        "#]],
    );
}

#[test]
fn a_label_key_of_an_affinity_is_not_selected_by_as_well() {
    // As it is after the key was merged into the selector.
    let merged = json!({ "key": "hash", "operator": "In", "values": ["1"] });
    let term = |selector: Value| json!({ "topologyKey": "zone", "labelSelector": selector, "matchLabelKeys": ["hash"] });
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = json!([
                term(json!({ "matchExpressions": [merged] })),
                term(json!({ "matchLabels": { "hash": "1" }, "matchExpressions": [merged] })),
                term(json!({ "matchExpressions": [{ "key": "hash", "operator": "Exists" }, merged] })),
            ]);
        }),
        expect![[r#"
            spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[1][0]: Invalid value: "hash": exists in both matchLabelKeys and labelSelector
            spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[2][0]: Invalid value: "hash": exists in both matchLabelKeys and labelSelector
        "#]],
    );
}

#[test]
fn names_and_dns() {
    create(
        "",
        "Pod",
        pod(|spec| {
            spec["hostname"] = json!("a.b");
            spec["activeDeadlineSeconds"] = json!(0);
            spec["serviceAccountName"] = json!("Robot");
            spec["priorityClassName"] = json!("High!");
            spec["preemptionPolicy"] = json!("Maybe");
            spec["hostAliases"] = json!([{ "ip": "x", "hostnames": ["Bad_"] }]);
            spec["dnsPolicy"] = json!("None");
            spec["os"] = json!({ "name": "plan9" });
            spec["overhead"] = json!({ "cpu": "-1", "hugepages-2Mi": "3Mi" });
            spec["runtimeClassName"] = json!("");
        }),
        expect![[r#"
            spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
            spec.serviceAccountName: Invalid value: "Robot": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
            spec.hostname: Invalid value: "a.b": must not contain dots
            spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.hostAliases[0].hostnames[0]: Invalid value: "Bad_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.priorityClassName: Invalid value: "High!": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.runtimeClassName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.preemptionPolicy: Unsupported value: "Maybe": supported values: "PreemptLowerPriority", "Never"
            spec.overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
            spec.overhead.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
            spec.os: Unsupported value: "plan9": supported values: "linux", "windows"
        "#]],
    );
}

#[test]
fn warnings() {
    warn(
        "apps",
        "Deployment",
        super::deployment(|spec| {
            let pod = &mut spec["template"]["spec"];
            pod["nodeSelector"] = json!({ "beta.kubernetes.io/os": "linux" });
            pod["terminationGracePeriodSeconds"] = json!(-1);
            pod["imagePullSecrets"] = json!([{ "name": "a" }, { "name": "a" }]);
            pod["containers"][0]["ports"] = json!([{ "containerPort": 80 }, { "containerPort": 80 }]);
            pod["containers"][0]["env"] =
                json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }, { "name": "A", "value": "$(A)3" }]);
            pod["containers"][0]["resources"] = json!({ "limits": { "memory": "100m" } });
            pod["volumes"] = json!([{ "name": "g", "gitRepo": { "repository": "r" } }]);
            spec["template"]["metadata"]["annotations"] = json!({ "scheduler.alpha.kubernetes.io/critical-pod": "" });
        }),
        expect![[r#"
            spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead
            spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead
            spec.template.spec.volumes[0].gitRepo: deprecated in v1.11
            spec.template.spec.imagePullSecrets[1].name: duplicate name "a"
            spec.template.spec.containers[0].resources.limits[memory]: fractional byte value "100m" is invalid, must be an integer
            spec.template.spec.containers[0].env[1]: hides previous definition of "A", which may be dropped when using apply
            spec.template.spec.containers[0].ports[1]: duplicate port definition with spec.template.spec.containers[0].ports[0]
            spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1
        "#]],
    );
}

//! Bodies that a stock kubectl 1.32 sent, and what the codec makes of bodies that nobody should send.

use base64::Engine as _;
use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn captured(name: &str) -> Vec<u8> {
    let path = format!("{}/src/codec/protobuf/testdata/{name}.b64", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the capture is there");
    base64::engine::general_purpose::STANDARD.decode(text.trim()).expect("the capture is base64")
}

fn check(name: &str, expected: &Expect) {
    let decoded = decode(&captured(name)).expect("kubectl writes what the API reads");
    expected.assert_eq(&serde_json::to_string_pretty(&decoded.value).expect("a value is JSON"));
    assert_eq!(
        (decoded.api_version.as_str(), decoded.kind.as_str()),
        (decoded.value["apiVersion"].as_str().expect("it has a version"), decoded.value["kind"].as_str().expect("it has a kind"),)
    );
    let again = encode(&decoded.value).expect("the kind has a message");
    assert_eq!(decode(&again), Ok(decoded), "what is written is read back");
}

#[test]
fn create_deployment() {
    check(
        "deployment",
        &expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "Deployment",
          "metadata": {
            "labels": {
              "app": "web"
            },
            "name": "web"
          },
          "spec": {
            "replicas": 0,
            "selector": {
              "matchLabels": {
                "app": "web"
              }
            },
            "strategy": {},
            "template": {
              "metadata": {
                "labels": {
                  "app": "web"
                }
              },
              "spec": {
                "containers": [
                  {
                    "image": "nginx:1.14.2",
                    "name": "nginx",
                    "ports": [
                      {
                        "containerPort": 80
                      }
                    ],
                    "resources": {}
                  }
                ]
              }
            }
          },
          "status": {}
        }"#]],
    );
}

#[test]
fn create_configmap() {
    check(
        "configmap",
        &expect![[r#"
        {
          "apiVersion": "v1",
          "data": {
            "a": "b",
            "empty": ""
          },
          "kind": "ConfigMap",
          "metadata": {
            "name": "c"
          }
        }"#]],
    );
}

#[test]
fn create_namespace() {
    check(
        "namespace",
        &expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Namespace",
          "metadata": {
            "name": "blue"
          },
          "spec": {},
          "status": {}
        }"#]],
    );
}

#[test]
fn create_service() {
    check(
        "service",
        &expect![[r#"
        {
          "apiVersion": "v1",
          "kind": "Service",
          "metadata": {
            "labels": {
              "app": "svc"
            },
            "name": "svc"
          },
          "spec": {
            "ports": [
              {
                "name": "80-8080",
                "port": 80,
                "protocol": "TCP",
                "targetPort": 8080
              }
            ],
            "selector": {
              "app": "svc"
            },
            "type": "ClusterIP"
          },
          "status": {
            "loadBalancer": {}
          }
        }"#]],
    );
}

#[test]
fn create_token() {
    check(
        "token_request",
        &expect![[r#"
        {
          "apiVersion": "authentication.k8s.io/v1",
          "kind": "TokenRequest",
          "metadata": {},
          "spec": {
            "expirationSeconds": 3600
          },
          "status": {
            "token": ""
          }
        }"#]],
    );
}

#[test]
fn create_pod_disruption_budget() {
    check(
        "pod_disruption_budget",
        &expect![[r#"
        {
          "apiVersion": "policy/v1",
          "kind": "PodDisruptionBudget",
          "metadata": {
            "name": "p"
          },
          "spec": {
            "minAvailable": "50%",
            "selector": {
              "matchLabels": {
                "a": "b"
              }
            }
          },
          "status": {
            "currentHealthy": 0,
            "desiredHealthy": 0,
            "disruptionsAllowed": 0,
            "expectedPods": 0
          }
        }"#]],
    );
}

#[test]
fn every_special_type_survives_the_wire() {
    for object in [
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "p", "creationTimestamp": "2024-05-06T07:08:09Z", "annotations": { "a": "" } },
            "spec": {
                "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": false, "priority": -5,
                "volumes": [
                    { "name": "e", "emptyDir": {} },
                    { "name": "c", "configMap": { "name": "c", "optional": false, "defaultMode": 0 } },
                ],
                "containers": [{
                    "name": "a",
                    "env": [{ "name": "K", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }],
                    "resources": { "requests": { "cpu": "100m", "memory": "1Gi" } },
                    "livenessProbe": { "httpGet": { "path": "/", "port": "http" }, "periodSeconds": 3 },
                    "readinessProbe": { "tcpSocket": { "port": 80 } },
                }],
            },
        }),
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "k": "AAECAw==", "empty": "" }, "immutable": false }),
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "l" },
            "spec": { "renewTime": "2024-05-06T07:08:09.123456Z", "leaseDurationSeconds": 40 },
        }),
        json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": { "name": "c" },
            "data": { "spec": { "x": [1, "two", null] } }, "revision": 3,
        }),
        json!({ "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "propagationPolicy": "Foreground" }),
        json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "d" }, "spec": { "replicas": 2 } }),
        json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" }, "deleteOptions": { "dryRun": ["All"] } }),
        json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n" } }),
        json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": { "token": "t" },
            "status": { "authenticated": true, "user": { "username": "u", "extra": { "e": ["1", "2"] } } },
        }),
    ] {
        let body = encode(&object).expect("the kind has a message");
        assert_eq!(decode(&body).map(|decoded| decoded.value), Ok(object));
    }
}

#[test]
fn zeros_of_unset_fields_are_left_out_and_said_zeros_kept() {
    let zeros = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d", "generation": 0, "selfLink": "" },
        "spec": { "replicas": 0, "minReadySeconds": 0, "paused": false, "revisionHistoryLimit": 0 },
    });
    let decoded = decode(&encode(&zeros).expect("apps/v1 has Deployment")).expect("it is well-formed");
    assert_eq!(decoded.value["metadata"], json!({ "name": "d" }));
    assert_eq!(decoded.value["spec"], json!({ "replicas": 0, "revisionHistoryLimit": 0 }));
}

#[test]
fn bad_bodies_are_refused() {
    let whole = captured("deployment");
    assert_eq!(decode(b"{\"kind\":1}"), Err(Error::Prefix));
    let object_begins = whole.windows(2).position(|pair| pair == [0x12, 0xbf]).expect("field 2 of the envelope") + 1;
    for length in object_begins..whole.len() - 4 {
        assert_eq!(decode(&whole[..length]), Err(Error::End), "{length} of {}", whole.len());
    }
    let unknown = decode(b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Foo\x12\x00");
    assert_eq!(unknown, Err(Error::Kind { api_version: "v1".to_owned(), kind: "Foo".to_owned() }));
    assert_eq!(decode(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), Err(Error::Overflow));
}

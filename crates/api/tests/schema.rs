//! The table of facts against the types of `k8s-openapi`: an object with every field set passes through all that reads the table.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
    autoscaling::v1::Scale,
    batch::v1::{CronJob, Job},
    coordination::v1::Lease,
    core::v1::{
        Binding, ConfigMap, Endpoints, Event, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service,
        ServiceAccount,
    },
    discovery::v1::EndpointSlice,
    policy::v1::{Eviction, PodDisruptionBudget},
    rbac::v1::{ClusterRole, RoleBinding},
    storage::v1::StorageClass,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use windlass_api::{
    apply::{self, Writer},
    codec::protobuf,
    schema::{self, Field, Message, Shape, Type},
};

/// An object with every field set to something that is not the zero of its type, and no two numbers alike.
fn full(message: &Message, count: &mut i32) -> Value {
    let mut map = Map::new();
    // Fields without a number are not on the wire.
    for field in message.fields().iter().filter(|field| field.number != 0) {
        let value = match field.shape {
            Shape::One => element(field, count),
            Shape::List => json!([element(field, count), element(field, count)]),
            Shape::Map => json!({ "one": element(field, count), "two": element(field, count) }),
        };
        map.insert(field.name.to_owned(), value);
    }
    Value::Object(map)
}

fn element(field: &Field, count: &mut i32) -> Value {
    *count += 1;
    let number = *count;
    match field.ty {
        Type::Bool => json!(true),
        Type::Int32 => json!(number),
        Type::Int64 => json!(i64::from(number) << 32),
        Type::String => json!(format!("text-{number}")),
        Type::Bytes => json!("AAEC"),
        Type::Quantity => json!(format!("{number}m")),
        Type::Time => json!("2024-05-06T07:08:09Z"),
        Type::MicroTime => json!("2024-05-06T07:08:09.000123Z"),
        Type::IntOrString if number % 2 == 0 => json!(number),
        Type::IntOrString => json!(format!("{number}%")),
        Type::RawExtension => json!({ "any": [number, { "thing": null }] }),
        Type::FieldsV1 => json!({ "f:spec": { "f:replicas": {} } }),
        Type::Strings => json!(["a", "b"]),
        Type::Message(_) => full(field.message().expect("a reference leads to a message"), count),
    }
}

/// Where two values differ first; the objects are too large to print.
fn difference(left: &Value, right: &Value, path: &str) -> Option<String> {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            // The types write apiVersion and kind even where an object lies within another.
            let nested = |key: &str| path.contains("volumeClaimTemplates") && matches!(key, "apiVersion" | "kind");
            let keys = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            let keys = keys.filter(|key| !(nested(key) && left.contains_key(*key) != right.contains_key(*key)));
            let null = Value::Null;
            keys.map(|key| (key, left.get(key).unwrap_or(&null), right.get(key).unwrap_or(&null)))
                .find_map(|(key, left, right)| difference(left, right, &format!("{path}.{key}")))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => left
            .iter()
            .zip(right)
            .enumerate()
            .find_map(|(index, (left, right))| difference(left, right, &format!("{path}[{index}]"))),
        _ => (left != right).then(|| format!("{path}: {left} / {right}")),
    }
}

fn read<T: Serialize + DeserializeOwned>(api_version: &str, kind: &str) {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let message = schema::message(group, version, kind).expect("the table has the kind");
    let mut object = full(message, &mut 0);
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();

    assert_eq!(schema::check(message, &object), Vec::<String>::new());
    assert_eq!(schema::decode_error(message, &object), None);
    assert_eq!(schema::convert_error(message, &object), None);
    let mut pruned = object.clone();
    schema::prune(message, &mut pruned);
    assert_eq!(difference(&pruned, &object, kind), None);

    let body = protobuf::encode(&object).expect("the kind has a message");
    let decoded = protobuf::decode(&body).expect("what is written can be read");
    assert_eq!(difference(&decoded.value, &object, kind), None);

    let typed: T = serde_json::from_value(object.clone()).expect("the types agree");
    assert_eq!(difference(&serde_json::to_value(&typed).expect("objects are JSON"), &object, kind), None);

    let writer = Writer { manager: "test", subresource: "", now: Timestamp::UNIX_EPOCH };
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let once = apply::apply(message, None, &object, &writer, false).expect("nobody is in the way");
    let twice = apply::apply(message, Some(&once), &object, &writer, false).expect("its own fields");
    assert_eq!(difference(&twice, &once, kind), None);
}

#[test]
fn every_field_passes_through() {
    read::<Binding>("v1", "Binding");
    read::<ConfigMap>("v1", "ConfigMap");
    read::<Endpoints>("v1", "Endpoints");
    read::<Event>("v1", "Event");
    read::<Namespace>("v1", "Namespace");
    read::<Node>("v1", "Node");
    read::<PersistentVolume>("v1", "PersistentVolume");
    read::<PersistentVolumeClaim>("v1", "PersistentVolumeClaim");
    read::<Pod>("v1", "Pod");
    read::<Secret>("v1", "Secret");
    read::<Service>("v1", "Service");
    read::<ServiceAccount>("v1", "ServiceAccount");
    read::<ControllerRevision>("apps/v1", "ControllerRevision");
    read::<DaemonSet>("apps/v1", "DaemonSet");
    read::<Deployment>("apps/v1", "Deployment");
    read::<ReplicaSet>("apps/v1", "ReplicaSet");
    read::<StatefulSet>("apps/v1", "StatefulSet");
    read::<Scale>("autoscaling/v1", "Scale");
    read::<Job>("batch/v1", "Job");
    read::<CronJob>("batch/v1", "CronJob");
    read::<Lease>("coordination.k8s.io/v1", "Lease");
    read::<EndpointSlice>("discovery.k8s.io/v1", "EndpointSlice");
    read::<Eviction>("policy/v1", "Eviction");
    read::<PodDisruptionBudget>("policy/v1", "PodDisruptionBudget");
    read::<ClusterRole>("rbac.authorization.k8s.io/v1", "ClusterRole");
    read::<RoleBinding>("rbac.authorization.k8s.io/v1", "RoleBinding");
    read::<StorageClass>("storage.k8s.io/v1", "StorageClass");
}

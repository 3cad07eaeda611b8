//! Pod templates: when two are the same, and the short hash that names one.

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;
use windlass_api::names::LABEL_POD_TEMPLATE_HASH;

/// Letters and digits without vowels and look-alikes, so that no hash spells a word.
const SAFE: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Whether pods made from both would be the same, apart from the hash label.
pub fn same(left: &PodTemplateSpec, right: &PodTemplateSpec) -> bool {
    left == right || canonical(left) == canonical(right)
}

/// At most ten letters that name the template; another `collision_count` gives another name.
///
/// The same template gives the same hash on every machine and in every release: it is part of names that users see.
pub fn hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    let mut text = canonical(template).to_string();
    if let Some(count) = collision_count {
        text.push_str(&count.to_string());
    }
    encode(fnv1a(text.as_bytes()))
}

/// `hash` spelled in the safe alphabet.
pub fn encode(hash: u32) -> String {
    hash.to_string().bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}

/// The 32-bit FNV-1a hash.
pub fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The template as JSON with sorted keys, without the hash label and without what is empty.
fn canonical(template: &PodTemplateSpec) -> Value {
    let mut value = serde_json::to_value(template).unwrap_or(Value::Null);
    if let Some(labels) = value.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(LABEL_POD_TEMPLATE_HASH);
    }
    for map in ["labels", "annotations"] {
        let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) else { break };
        if metadata.get(map).is_some_and(|entries| entries.as_object().is_some_and(serde_json::Map::is_empty)) {
            metadata.remove(map);
        }
    }
    prune(&mut value);
    value.sort_all_objects();
    value
}

/// Takes out nulls and empty lists, which mean the same as their absence; an empty object can have a meaning (`emptyDir: {}`).
fn prune(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null() && field.as_array().is_none_or(|list| !list.is_empty()));
            fields.values_mut().for_each(prune);
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn the_hash_label_and_emptiness_do_not_count() {
        let plain =
            template(json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}}));
        let stamped = template(json!({
            "metadata": {"labels": {"app": "web", "pod-template-hash": "x"}, "annotations": {}},
            "spec": {"containers": [{"name": "c", "image": "a", "env": []}], "volumes": []}
        }));
        let other =
            template(json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "b"}]}}));
        assert!(same(&plain, &stamped));
        assert!(!same(&plain, &other));
        assert_eq!(hash(&plain, None), hash(&stamped, None));
        assert_ne!(hash(&plain, None), hash(&plain, Some(1)));
    }

    #[test]
    fn hashes_stay_what_they_were() {
        let web =
            template(json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "a"}]}}));
        expect_test::expect![[r#"
            "78dbf6cfb9"
        "#]]
        .assert_debug_eq(&hash(&web, None));
        assert!(encode(u32::MAX).len() <= 10);
    }
}

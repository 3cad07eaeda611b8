//! Laws of ownership, whatever is written in whatever order.

use std::collections::BTreeSet;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use windlass_api::{
    apply::{self, Writer},
    patch, schema,
};

/// One write to a Deployment.
#[derive(Debug, Clone)]
enum Write {
    Update(Value),
    Apply { config: Value, force: bool },
}

fn some<T: std::fmt::Debug + Clone + 'static>(
    key: &'static str,
    value: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<(String, Value)>>
where
    Value: From<T>,
{
    proptest::option::of(value).prop_map(move |value| value.map(|value| (key.to_owned(), Value::from(value)))).boxed()
}

fn object(fields: Vec<BoxedStrategy<Option<(String, Value)>>>) -> BoxedStrategy<Value> {
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect())).boxed()
}

fn map() -> BoxedStrategy<Value> {
    proptest::collection::btree_map("[abc]", "[xy]", 0..3)
        .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key, value.into())).collect::<Map<_, _>>()))
        .boxed()
}

fn containers() -> BoxedStrategy<Value> {
    let container = object(vec![some("image", "[xy]"), some("tty", any::<bool>()), some("args", Just(json!(["a"])))]);
    proptest::collection::btree_map("[abc]", container, 1..4)
        .prop_shuffle_entries()
        .prop_map(|entries| {
            entries
                .into_iter()
                .map(|(name, mut container)| {
                    container["name"] = name.into();
                    container
                })
                .collect()
        })
        .boxed()
}

trait Entries {
    fn prop_shuffle_entries(self) -> BoxedStrategy<Vec<(String, Value)>>;
}

impl<S: Strategy<Value = std::collections::BTreeMap<String, Value>> + 'static> Entries for S {
    fn prop_shuffle_entries(self) -> BoxedStrategy<Vec<(String, Value)>> {
        self.prop_map(|map| map.into_iter().collect::<Vec<_>>()).prop_shuffle().boxed()
    }
}

fn deployment() -> BoxedStrategy<Value> {
    let pod = object(vec![some("containers", containers()), some("nodeSelector", map()), some("hostNetwork", any::<bool>())]);
    let template = object(vec![some("spec", pod)]);
    let spec = object(vec![some("replicas", 0..3_i32), some("paused", any::<bool>()), some("template", template)]);
    let metadata =
        object(vec![some("labels", map()), some("finalizers", proptest::sample::subsequence(vec!["f/a", "f/b"], 0..=2))]);
    (spec, metadata)
        .prop_map(|(spec, mut metadata)| {
            metadata["name"] = "web".into();
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec })
        })
        .boxed()
}

fn write() -> BoxedStrategy<Write> {
    prop_oneof![
        deployment().prop_map(Write::Update),
        (deployment(), any::<bool>()).prop_map(|(config, force)| Write::Apply { config, force }),
    ]
    .boxed()
}

/// The scalars of an object, and the parts of it that are owned as one, by path as `FieldsV1` writes it.
fn leaves(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() && !path.ends_with("f:nodeSelector") => {
            for (key, value) in map {
                leaves(value, &format!("{path} f:{key}"), found);
            }
        }
        Value::Array(items) if path.ends_with("f:containers") => {
            for item in items {
                leaves(item, &format!("{path} k:{}", json!({ "name": item["name"] })), found);
            }
        }
        Value::Array(items) if path.ends_with("f:finalizers") => {
            found.extend(items.iter().map(|item| format!("{path} v:{item}")))
        }
        Value::Array(items) if items.is_empty() => {}
        // A struct without content is as good as none.
        Value::Object(map) if map.is_empty() => {}
        _ => {
            found.insert(path.to_owned());
        }
    }
}

fn members(set: &Value, path: &str, found: &mut BTreeSet<String>) {
    let Some(map) = set.as_object() else { return };
    if map.is_empty() || map.contains_key(".") {
        found.insert(path.to_owned());
    }
    for (step, set) in map.iter().filter(|(step, _)| *step != ".") {
        members(set, &format!("{path} {step}"), found);
    }
}

fn owned(object: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
        members(&entry["fieldsV1"], "", &mut found);
    }
    found
}

fn content(object: &Value) -> BTreeSet<String> {
    let mut object = object.clone();
    if let Some(map) = object.as_object_mut() {
        map.retain(|key, _| key == "metadata" || key == "spec");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| key == "labels" || key == "finalizers");
    }
    let mut found = BTreeSet::new();
    leaves(&object, "", &mut found);
    found.retain(|path| path != " f:metadata" && path != " f:spec");
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every field has an owner, after any writes by anybody.
    #[test]
    fn no_field_is_without_owner(writes in proptest::collection::vec((write(), "[abc]"), 1..8)) {
        let message = schema::message("apps", "v1", "Deployment").expect("apps/v1 has Deployment");
        let mut live: Option<Value> = None;
        for (second, (write, manager)) in (1..).zip(writes) {
            let writer = Writer { manager: &manager, subresource: "", now: Timestamp::from_second(second).expect("small") };
            let next = match write {
                Write::Update(mut new) => {
                    schema::prune(message, &mut new);
                    apply::track_update(message, live.as_ref(), &mut new, &writer);
                    new
                }
                Write::Apply { config, force } => match apply::apply(message, live.as_ref(), &config, &writer, force) {
                    Ok(next) => {
                        let again = apply::apply(message, Some(&next), &config, &writer, force);
                        prop_assert_eq!(again.as_ref(), Ok(&next), "applying twice is applying once");
                        next
                    }
                    Err(error) => {
                        prop_assert!(!force, "force never conflicts: {}", error);
                        continue;
                    }
                },
            };
            let unowned: Vec<_> = content(&next).difference(&owned(&next)).cloned().collect();
            prop_assert!(unowned.is_empty(), "{unowned:?} of {next:#}");
            live = Some(next);
        }
    }

    /// What a configuration says is what there is, whoever else has written.
    #[test]
    fn what_is_applied_by_force_is_there(live in deployment(), mut config in deployment()) {
        let message = schema::message("apps", "v1", "Deployment").expect("apps/v1 has Deployment");
        schema::prune(message, &mut config);
        let writer = Writer { manager: "ci", subresource: "", now: Timestamp::UNIX_EPOCH };
        let next = apply::apply(message, Some(&live), &config, &writer, true).expect("force never conflicts");
        let missing: Vec<_> = content(&config).difference(&content(&next)).cloned().collect();
        prop_assert!(missing.is_empty(), "{missing:?}");
        prop_assert_eq!(&next["spec"]["replicas"], config["spec"].get("replicas").or(live["spec"].get("replicas")).unwrap_or(&Value::Null));
    }

    /// Where there are no lists, a strategic merge patch is a merge patch.
    #[test]
    fn strategic_and_plain_merge_agree_without_lists(live in deployment(), change in deployment()) {
        let strip = |mut object: Value| {
            if let Some(template) = object["spec"].as_object_mut() {
                template.remove("template");
            }
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("finalizers");
            }
            object
        };
        let (live, change) = (strip(live), strip(change));
        let message = schema::message("apps", "v1", "Deployment").expect("apps/v1 has Deployment");
        let strategic = patch::strategic(message, &live, &change).expect("it is a patch");
        let mut plain = live;
        patch::merge(&mut plain, &change).expect("it is a patch");
        prop_assert_eq!(strategic, plain);
    }
}

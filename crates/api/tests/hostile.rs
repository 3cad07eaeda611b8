//! Whatever a client sends is answered: no panic, no endless work, no object that nobody can read again.

#![allow(clippy::unwrap_used, reason = "in a test, that is how an expectation fails")]

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use windlass_api::{
    kind::{KINDS, Kind, Subresource},
    patch, quota,
    schema::{self, Field, Message, Shape, Type},
};

/// A small generator whose whole state is a seed, so that a failing case is one number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let index = self.below(items.len());
        &items[index]
    }
}

const TEXTS: &[&str] = &[
    "",
    "a",
    "web",
    "A/B",
    "-1",
    "1Gi",
    "0",
    "%",
    "100%",
    "999999999999999999999",
    "é\u{0}\n",
    "Always",
    "ClusterIP",
    "10.0.0.1",
    "*",
];
const NUMBERS: &[i64] = &[0, 1, -1, 80, 65_536, i32::MAX as i64, i64::MAX, i64::MIN];
const DEEPEST: usize = 7;

/// A message with some of its fields, each of its type, with values that nobody would write.
fn message(dice: &mut Dice, message: &Message, depth: usize) -> Value {
    let mut object = Map::new();
    for field in message.fields() {
        // Deeper objects have fewer fields, or a pod would be megabytes.
        if dice.below(2 + depth) == 0 {
            object.insert(field.name.to_owned(), shaped(dice, field, depth));
        }
    }
    Value::Object(object)
}

fn shaped(dice: &mut Dice, field: &Field, depth: usize) -> Value {
    if dice.below(20) == 0 {
        return Value::Null;
    }
    match field.shape {
        Shape::One => one(dice, field, depth),
        Shape::List => (0..dice.below(4)).map(|_| one(dice, field, depth)).collect(),
        Shape::Map => (0..dice.below(4)).map(|_| ((*dice.pick(TEXTS)).to_owned(), one(dice, field, depth))).collect(),
    }
}

fn one(dice: &mut Dice, field: &Field, depth: usize) -> Value {
    match field.ty {
        Type::Bool => (dice.below(2) == 0).into(),
        Type::Int32 => (*dice.pick(&NUMBERS[..6])).into(),
        Type::Int64 => (*dice.pick(NUMBERS)).into(),
        Type::IntOrString | Type::Quantity if dice.below(2) == 0 => (*dice.pick(&NUMBERS[..6])).into(),
        Type::Bytes => "aGk=".into(),
        Type::Time | Type::MicroTime => "2026-01-01T00:00:00Z".into(),
        Type::Strings => json!(["a", ""]),
        Type::RawExtension | Type::FieldsV1 => json!({ "a": { "b": [1, null] } }),
        Type::Message(_) => match field.message() {
            Some(inner) if depth < DEEPEST => message(dice, inner, depth + 1),
            _ => json!({}),
        },
        _ => (*dice.pick(TEXTS)).into(),
    }
}

fn object(dice: &mut Dice, kind: &Kind) -> Value {
    let Some(shape) = schema::message(kind.group, kind.version, kind.kind) else { return json!({}) };
    let mut object = message(dice, shape, 0);
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.into();
    object
}

/// All that happens to an object on its way in and out.
fn admit(kind: &Kind, mut object: Value, old: &Value) -> Value {
    if let Some(shape) = schema::message(kind.group, kind.version, kind.kind) {
        let _ = schema::decode_error(shape, &object);
        let _ = schema::check(shape, &object);
        schema::prune(shape, &mut object);
    }
    kind.apply_defaults(&mut object);
    let mut new = object.clone();
    kind.prepare_create(&mut new);
    kind.prepare_named(&mut new);
    let _ = (kind.validate(&new), kind.creation_warnings(&new), kind.warnings(&new));
    let _ = (kind.row)(&new, Timestamp::UNIX_EPOCH);
    let stored = kind.to_stored(&new).into_owned();
    let _ = kind.from_stored(stored);
    let _ = quota::charge(&[&json!({ "spec": { "hard": { "pods": "1" } } })], kind, &new, Some(old));
    let mut changed = object.clone();
    kind.prepare_update(&mut changed, old);
    let _ = kind.validate_update(&changed, old);
    kind.prepare_status(&mut object, old);
    let _ = kind.validate_status(&object, old);
    for part in [Subresource::Resize, Subresource::EphemeralContainers].into_iter().filter(|part| kind.has(*part)) {
        let mut changed = new.clone();
        kind.prepare_part(part, &mut changed, old);
        let _ = kind.validate_part(part, &changed, old);
    }
    new
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// Operations on the paths that an object has, and on some that it has not.
fn operations(dice: &mut Dice, object: &Value) -> Value {
    let mut paths = vec![String::new(), "/".to_owned(), "/nothing/there".to_owned(), "/-".to_owned(), "no/pointer".to_owned()];
    collect(object, "", &mut paths);
    let any = |dice: &mut Dice| dice.pick(&paths).clone();
    (0..dice.below(30))
        .map(|_| {
            let (path, from) = (any(dice), any(dice));
            match *dice.pick(&["add", "remove", "replace", "move", "copy", "test", "what"]) {
                op @ ("move" | "copy") => json!({ "op": op, "from": from, "path": format!("{path}/x") }),
                op => json!({ "op": op, "path": path, "value": { "a": [*dice.pick(TEXTS)] } }),
            }
        })
        .collect()
}

fn collect(value: &Value, path: &str, paths: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        Value::Object(fields) => fields.iter().map(|(key, field)| (key.replace('~', "~0").replace('/', "~1"), field)).collect(),
        _ => return,
    };
    for (segment, value) in below.into_iter().take(8) {
        paths.push(format!("{path}/{segment}"));
        collect(value, paths.last().cloned().unwrap_or_default().as_str(), paths);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn manifests_are_answered(seed in 1u64..) {
        let mut dice = Dice(seed);
        for kind in KINDS {
            let (new, old) = (object(&mut dice, kind), object(&mut dice, kind));
            let old = admit(kind, old, &json!({}));
            admit(kind, new, &old);
        }
    }

    #[test]
    fn patches_are_answered(seed in 1u64..) {
        let mut dice = Dice(seed);
        for kind in KINDS {
            let (own, other) = (object(&mut dice, kind), object(&mut dice, kind));
            let operations = operations(&mut dice, &own);
            if let Ok(patched) = patch::json(&own, &operations) {
                prop_assert!(depth(&patched) <= 128);
                prop_assert!(patched.to_string().len() <= own.to_string().len() + operations.to_string().len() + 3 * 1024 * 1024);
            }
            let mut merged = own.clone();
            let _ = patch::merge(&mut merged, &other);
            if let Some(shape) = schema::message(kind.group, kind.version, kind.kind) {
                let _ = patch::strategic(shape, &own, &other);
            }
            admit(kind, merged, &own);
        }
    }
}

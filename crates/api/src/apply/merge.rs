//! Lays an applied configuration over a live object, and takes out what it does not say any more.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::set::Set;
use super::types::{Atom, Ty, element_step};
use crate::schema::Field;

/// The live value with the applied one over it: of leaves the applied one counts.
pub(super) fn merge(ty: Ty, live: &Value, applied: &Value) -> Value {
    match (ty.atom(live), ty.atom(applied)) {
        (Atom::Struct(message, live), Atom::Struct(_, applied)) => {
            merge_maps(live, applied, |key| message.field(key).map_or(Ty::Any, Ty::Field))
        }
        (Atom::Map(ty, live), Atom::Map(_, applied)) => merge_maps(live, applied, |_| ty),
        (Atom::List(field, live), Atom::List(_, applied)) => merge_lists(field, live, applied),
        _ => applied.clone(),
    }
}

fn merge_maps(live: &Map<String, Value>, applied: &Map<String, Value>, ty: impl Fn(&str) -> Ty) -> Value {
    let mut merged = Map::new();
    for (key, value) in live {
        let value = match applied.get(key) {
            Some(applied) => merge(ty(key), value, applied),
            None => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    for (key, value) in applied.iter().filter(|(key, _)| !live.contains_key(*key)) {
        merged.insert(key.clone(), value.clone());
    }
    Value::Object(merged)
}

/// Applied elements keep the order of the configuration; elements that only live are woven in where they stood between them.
fn merge_lists(field: &'static Field, live: &[Value], applied: &[Value]) -> Value {
    let identified = |items: &[Value]| -> Vec<String> {
        // An element without identity cannot meet another: its place in the list is as good a name as any.
        let name = |(index, item)| element_step(field, item).unwrap_or_else(|_| format!("i:{index}"));
        items.iter().enumerate().map(name).collect()
    };
    let (live_steps, applied_steps) = (identified(live), identified(applied));
    let place = |steps: &[String]| -> HashMap<String, usize> {
        steps.iter().enumerate().rev().map(|(index, step)| (step.clone(), index)).collect()
    };
    let (live_places, applied_places) = (place(&live_steps), place(&applied_steps));
    let mut shared = applied_steps.iter().filter(|step| live_places.contains_key(*step));
    let mut next_shared = shared.next();
    let mut merged = Vec::with_capacity(live.len().max(applied.len()));
    let one = |applied_place: usize| match live_places.get(&applied_steps[applied_place]) {
        Some(&live_place) => merge(Ty::Element(field), &live[live_place], &applied[applied_place]),
        None => applied[applied_place].clone(),
    };
    let (mut left, mut right) = (0, 0);
    while left < live.len() || right < applied.len() {
        if left < live.len() {
            let step = &live_steps[left];
            match applied_places.get(step) {
                None => {
                    merged.push(live[left].clone());
                    left += 1;
                    continue;
                }
                Some(_) if applied_steps.get(right) == Some(step) => left += 1,
                // Its turn comes where the configuration has it.
                Some(_) if right < applied.len() && next_shared.is_some_and(|next| next != step) => {
                    left += 1;
                    continue;
                }
                // Its turn has been.
                Some(&place) if place < right => left += 1,
                Some(_) => {}
            }
        }
        if right < applied.len() {
            merged.push(one(right));
            if next_shared == Some(&applied_steps[right]) {
                next_shared = shared.next();
            }
            right += 1;
        }
    }
    Value::Array(merged)
}

/// Takes the members of a set out of a value, each with all that is in it.
pub(super) fn remove(ty: Ty, value: &mut Value, gone: &Set) {
    match ty.atom(value) {
        Atom::Leaf => {}
        Atom::Struct(..) | Atom::Map(..) => {
            let Value::Object(map) = value else { return };
            map.retain(|key, value| {
                let step = format!("f:{key}");
                let Some(below) = gone.child(&step) else { return true };
                remove(ty.step(&step), value, below);
                !below.is_member()
            });
        }
        Atom::List(field, _) => remove_elements(field, value, gone),
    }
}

fn remove_elements(field: &'static Field, list: &mut Value, gone: &Set) {
    let Value::Array(items) = list else { return };
    items.retain_mut(|item| {
        let Some(below) = element_step(field, item).ok().and_then(|step| gone.child(&step)) else { return true };
        remove(Ty::Element(field), item, below);
        !below.is_member()
    });
}

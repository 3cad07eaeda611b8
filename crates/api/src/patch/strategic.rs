//! Strategic merge patch: a merge patch that knows which lists have keys, with directives for the rest.
//!
//! What the directives mean is written down in
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::print::{go_print, go_type};
use super::{Error, order};
use crate::schema::{Field, Message, Shape, Type};

/// `replace`, `delete` or `merge`: what happens to the object, or to the list, that this stands in.
const PATCH: &str = "$patch";
/// The only keys that stay in the object that this stands in.
const RETAIN_KEYS: &str = "$retainKeys";
/// Prefix before a list's name: scalars that leave it.
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
/// Prefix before a list's name: the order that its elements should have.
const SET_ORDER: &str = "$setElementOrder";

/// Applies a strategic merge patch to an object of that type.
///
/// # Errors
///
/// [`Error::BadRequest`] for directives of the wrong form, [`Error::Unprocessable`] for lists of lists, [`Error::Internal`] for
/// what upstream answers with 500: an unknown directive, an element without its merge key.
pub fn strategic(message: &Message, object: &Value, patch: &Value) -> Result<Value, Error> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(Error::BadRequest("invalid JSON document".to_owned()));
    };
    let mut merged = object.clone();
    merge_map(&mut merged, patch.clone(), Place::Message(message))?;
    Ok(Value::Object(merged))
}

/// What the types say about the object that is being merged.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// The fields of a message.
    Message(&'a Message),
    /// A map whose values are as the field says.
    Map(&'a Field),
    /// A type that holds anything, under its name.
    Opaque(&'a str),
}

/// What the types say about one key of a [`Place`].
#[derive(Clone, Copy, Default)]
struct Strategy<'a> {
    within: Option<Place<'a>>,
    merge: bool,
    replace: bool,
    merge_key: &'a str,
}

impl<'a> Place<'a> {
    fn strategy(self, key: &str) -> Result<Strategy<'a>, Error> {
        let name = match self {
            Self::Message(message) => match message.field(key) {
                Some(field) => return Ok(Strategy::of(field)),
                None => message.name,
            },
            Self::Map(field) => return Ok(Strategy { within: field.message().map(Self::Message), ..Strategy::default() }),
            Self::Opaque(name) => name,
        };
        Err(Error::Internal(format!("unable to find api field in struct {name} for the json field {key:?}")))
    }
}

impl<'a> Strategy<'a> {
    fn of(field: &'a Field) -> Self {
        let within = match (field.shape, field.ty) {
            (Shape::Map, _) => Some(Place::Map(field)),
            (_, Type::RawExtension) => Some(Place::Opaque("RawExtension")),
            (_, Type::FieldsV1) => Some(Place::Opaque("FieldsV1")),
            _ => field.message().map(Place::Message),
        };
        Self { within, merge: field.merge, replace: field.replace, merge_key: field.merge_key }
    }
}

fn bad_set_order() -> Error {
    Error::BadRequest("invalid patch format of setElementOrder list".to_owned())
}

fn bad_retain_keys() -> Error {
    Error::BadRequest("invalid patch format of retainKeys".to_owned())
}

fn no_merge_key(item: &Value, merge_key: &str) -> Error {
    Error::Internal(format!("map: {} does not contain declared merge key: {merge_key}", go_print(item)))
}

fn unexpected(expected: &str, found: &Value) -> Error {
    Error::Internal(format!("expected a {expected}, but received a {}", go_type(found)))
}

fn list(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(unexpected("[]interface {}", &other)),
    }
}

fn merge_map(original: &mut Map<String, Value>, mut patch: Map<String, Value>, place: Place<'_>) -> Result<(), Error> {
    if let Some(directive) = patch.get(PATCH) {
        match directive.as_str() {
            Some("replace") => {
                patch.remove(PATCH);
                *original = patch;
            }
            Some("delete") => original.clear(),
            _ => {
                let (directive, patch) = (go_print(directive), go_print(&Value::Object(patch.clone())));
                return Err(Error::Internal(format!("unknown patch type: {directive} in map: {patch}")));
            }
        }
        return Ok(());
    }
    retain_keys(original, &mut patch)?;
    merge_ordered_lists(original, &mut patch, place)?;
    for (key, value) in patch {
        match key.strip_prefix(DELETE_FROM) {
            Some(rest) => {
                let name =
                    rest.strip_prefix('/').ok_or_else(|| Error::BadRequest("invalid patch format of primitive list".into()))?;
                if let (Some(Value::Array(items)), Value::Array(gone)) = (original.get_mut(name), value) {
                    let gone = order::Places::of(&gone, "");
                    items.retain(|item| gone.find(item).is_none());
                }
            }
            None => merge_key_value(original, key, value, place)?,
        }
    }
    Ok(())
}

fn merge_key_value(original: &mut Map<String, Value>, key: String, value: Value, place: Place<'_>) -> Result<(), Error> {
    if value.is_null() {
        original.remove(&key);
        return Ok(());
    }
    match (original.get_mut(&key), value) {
        (Some(Value::Object(own)), Value::Object(patch)) => {
            let strategy = place.strategy(&key)?;
            match strategy.within {
                _ if strategy.replace => *own = patch,
                Some(within) => merge_map(own, patch, within)?,
                None => merge_map(own, patch, Place::Opaque("interface {}"))?,
            }
        }
        (Some(Value::Array(own)), Value::Array(patch)) => {
            let strategy = place.strategy(&key)?;
            *own = merge_list(std::mem::take(own), patch, strategy)?;
        }
        (_, value) => match settled(value) {
            Some(value) => {
                original.insert(key, value);
            }
            None => {
                original.remove(&key);
            }
        },
    }
    Ok(())
}

/// A part of a patch that meets nothing to merge with: without its nulls, and without what carries a directive.
fn settled(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(PATCH) => None,
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Some(Value::Object(kept.filter_map(|(key, value)| settled(value).map(|value| (key, value))).collect()))
        }
        Value::Array(items) => Some(Value::Array(items.into_iter().filter_map(settled).collect())),
        scalar => Some(scalar),
    }
}

/// `$retainKeys`: what it does not list leaves the object, which is how a union changes its member.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = keys else { return Err(bad_retain_keys()) };
    let keys: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    let listed = |key: &str| keys.contains(key);
    let directive = |key: &str| key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
    if patch.iter().any(|(key, value)| !value.is_null() && !directive(key) && !listed(key)) {
        return Err(bad_retain_keys());
    }
    original.retain(|key, _| listed(key));
    Ok(())
}

/// `$setElementOrder/x`: merges each list that has one, so that only lists without one are left in the patch.
fn merge_ordered_lists(original: &mut Map<String, Value>, patch: &mut Map<String, Value>, place: Place<'_>) -> Result<(), Error> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let Some(wanted) = patch.remove(&directive) else { continue };
        let wanted = list(wanted)?;
        let name = directive[SET_ORDER.len()..].strip_prefix('/').ok_or_else(bad_set_order)?;
        let strategy = place.strategy(name)?;
        let own = original.remove(name).map(list).transpose()?;
        let patched = patch.remove(name).map(list).transpose()?;
        agrees(patched.as_deref().unwrap_or_default(), &wanted, strategy.merge_key)?;
        let server_order = own.clone().unwrap_or_default();
        let merged = match (own, patched) {
            (None, None) => continue,
            (Some(own), None) => own,
            (None, Some(patched)) => patched.into_iter().filter_map(settled).collect(),
            (Some(own), Some(patched)) => merge_list(own, patched, strategy)?,
        };
        require_merge_keys(&merged, strategy.merge_key)?;
        let ordered = order::merged(merged, &wanted, &server_order, strategy.merge_key);
        original.insert(name.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

/// The elements of the patch must come in the order that the directive asks for.
fn agrees(patched: &[Value], wanted: &[Value], merge_key: &str) -> Result<(), Error> {
    let mut order = wanted.iter();
    for item in patched.iter().filter(|item| item.get(PATCH).is_none()) {
        let identity = order::identity(item, merge_key).ok_or_else(|| no_merge_key(item, merge_key))?;
        if !wanted.is_empty() && !order.any(|other| order::identity(other, merge_key) == Some(identity)) {
            let (patched, wanted) = (go_print(&Value::from(patched)), go_print(&Value::from(wanted)));
            return Err(Error::Internal(format!(
                "The order in patch list:\n{patched}\n doesn't match {SET_ORDER} list:\n{wanted}\n"
            )));
        }
    }
    Ok(())
}

fn require_merge_keys(items: &[Value], merge_key: &str) -> Result<(), Error> {
    match items.iter().find(|item| order::identity(item, merge_key).is_none()) {
        Some(item) if !item.is_object() => Err(unexpected("map[string]interface {}", item)),
        Some(item) => Err(no_merge_key(item, merge_key)),
        None => Ok(()),
    }
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, strategy: Strategy<'_>) -> Result<Vec<Value>, Error> {
    if !strategy.merge {
        return Ok(patch);
    }
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    let of_objects = of_objects(&original, &patch)?;
    if !of_objects {
        let mut known = order::Places::default();
        let items = original.iter().chain(&patch).filter(|item| known.add(item, 0));
        let merged = items.cloned().collect();
        return Ok(order::merged(merged, &patch, &original, ""));
    }
    let merge_key = strategy.merge_key;
    if merge_key.is_empty() {
        let name = match strategy.within {
            Some(Place::Message(message)) => message.name,
            _ => "interface {}",
        };
        return Err(Error::Internal(format!("cannot merge lists without merge key for {name}")));
    }
    let (original, patch) = list_directives(original, patch, merge_key)?;
    let merged = merge_elements(original.clone(), patch.clone(), strategy)?;
    require_merge_keys(&merged, merge_key)?;
    Ok(order::merged(merged, &patch, &original, merge_key))
}

/// Whether the lists hold objects, rather than scalars; they may not mix, nor hold lists.
fn of_objects(original: &[Value], patch: &[Value]) -> Result<bool, Error> {
    let mut items = original.iter().chain(patch);
    let Some(first) = items.next() else { return Ok(false) };
    if first.is_array() {
        return Err(Error::Unprocessable("lists of lists are not supported".to_owned()));
    }
    if items.any(|item| go_type(item) != go_type(first)) {
        let lists = go_print(&Value::Array(vec![original.into(), patch.into()]));
        return Err(Error::Internal(format!("list element types are not identical: {lists}")));
    }
    Ok(first.is_object())
}

/// Carries out `$patch` in the elements of the patch: the originals that are left, and the elements still to merge.
fn list_directives(mut original: Vec<Value>, patch: Vec<Value>, merge_key: &str) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let mut plain = Vec::with_capacity(patch.len());
    let (mut replace, mut gone) = (false, Vec::new());
    for item in patch {
        match item.get(PATCH) {
            None => plain.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    item.get(merge_key).ok_or_else(|| no_merge_key(&item, merge_key))?;
                    gone.push(item);
                }
                Some("replace") => replace = true,
                Some("merge") => return Err(Error::Internal("merging lists cannot yet be specified in the patch".to_owned())),
                _ => {
                    let (directive, item) = (go_print(directive), go_print(&item));
                    return Err(Error::Internal(format!("unknown patch type: {directive} in map: {item}")));
                }
            },
        }
    }
    let gone = order::Places::of(&gone, merge_key);
    original.retain(|own| gone.find(own).is_none());
    Ok(if replace { (plain, Vec::new()) } else { (original, plain) })
}

fn merge_elements(mut merged: Vec<Value>, patch: Vec<Value>, strategy: Strategy<'_>) -> Result<Vec<Value>, Error> {
    let mut places = order::Places::of(&merged, strategy.merge_key);
    for item in patch {
        if item.get(strategy.merge_key).is_none() {
            return Err(no_merge_key(&item, strategy.merge_key));
        }
        let place = places.find(&item);
        match (place.and_then(|place| merged.get_mut(place)), item) {
            (Some(Value::Object(own)), Value::Object(item)) => {
                merge_map(own, item, strategy.within.unwrap_or(Place::Opaque("interface {}")))?;
            }
            (_, item) => {
                places.add(&item, merged.len());
                merged.push(item);
            }
        }
    }
    Ok(merged)
}

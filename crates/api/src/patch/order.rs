//! The order of a merged list: what the patch lists in the patch's order, the rest where the server had it.

use std::collections::BTreeMap;

use serde_json::Value;

/// The merge key's value of a list element, or the element itself in a list of scalars.
pub(super) fn identity<'a>(item: &'a Value, merge_key: &str) -> Option<&'a Value> {
    if merge_key.is_empty() { Some(item) } else { item.get(merge_key) }
}

/// Where the elements of a list stand, by identity: of two that are the same, the first. A list may be as long as a body, so
/// looking for each element in turn would take hours.
#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    merge_key: &'a str,
    places: BTreeMap<String, usize>,
}

impl<'a> Places<'a> {
    pub(super) fn of(list: &[Value], merge_key: &'a str) -> Self {
        let mut places = Self { merge_key, places: BTreeMap::new() };
        for (place, item) in list.iter().enumerate() {
            places.add(item, place);
        }
        places
    }

    /// Where the element stands.
    pub(super) fn find(&self, item: &Value) -> Option<usize> {
        self.places.get(&identity(item, self.merge_key)?.to_string()).copied()
    }

    /// Says that an element stands here; whether it is the first of its identity.
    pub(super) fn add(&mut self, item: &Value, place: usize) -> bool {
        let Some(identity) = identity(item, self.merge_key) else { return false };
        let mut is_first = false;
        self.places.entry(identity.to_string()).or_insert_with(|| {
            is_first = true;
            place
        });
        is_first
    }
}

/// Orders a merged list.
///
/// Elements that `patch_order` names follow it; the others keep the order of `server_order`. The two runs are interleaved as
/// the server had them, as far as it had both sides.
pub(super) fn merged(items: Vec<Value>, patch_order: &[Value], server_order: &[Value], merge_key: &str) -> Vec<Value> {
    let (by_patch, by_server) = (Places::of(patch_order, merge_key), Places::of(server_order, merge_key));
    let (mut patched, mut rest): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| by_patch.find(item).is_some());
    patched.sort_by_cached_key(|item| by_patch.find(item));
    rest.sort_by_cached_key(|item| by_server.find(item));
    let mut all = Vec::with_capacity(patched.len() + rest.len());
    let (mut patched, mut rest) = (patched.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let rest_first = match (rest.peek(), patched.peek()) {
            (None, None) => return all,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(left), Some(right)) => {
                by_server.find(left).zip(by_server.find(right)).is_some_and(|(left, right)| left < right)
            }
        };
        all.extend(if rest_first { rest.next() } else { patched.next() });
    }
}

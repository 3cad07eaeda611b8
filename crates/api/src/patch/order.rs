//! The order of a merged list: what the patch lists in the patch's order, the rest where the server had it.

use serde_json::Value;

/// The merge key's value of a list element, or the element itself in a list of scalars.
pub(super) fn identity<'a>(item: &'a Value, merge_key: &str) -> Option<&'a Value> {
    if merge_key.is_empty() { Some(item) } else { item.get(merge_key) }
}

/// Where an element stands in a list.
pub(super) fn position(list: &[Value], item: &Value, merge_key: &str) -> Option<usize> {
    let wanted = identity(item, merge_key)?;
    list.iter().position(|other| identity(other, merge_key) == Some(wanted))
}

/// Orders a merged list.
///
/// Elements that `patch_order` names follow it; the others keep the order of `server_order`. The two runs are interleaved as
/// the server had them, as far as it had both sides.
pub(super) fn merged(items: Vec<Value>, patch_order: &[Value], server_order: &[Value], merge_key: &str) -> Vec<Value> {
    let (mut patched, mut rest): (Vec<_>, Vec<_>) =
        items.into_iter().partition(|item| position(patch_order, item, merge_key).is_some());
    patched.sort_by_key(|item| position(patch_order, item, merge_key));
    rest.sort_by_key(|item| position(server_order, item, merge_key));
    let mut all = Vec::with_capacity(patched.len() + rest.len());
    let (mut patched, mut rest) = (patched.into_iter().peekable(), rest.into_iter().peekable());
    loop {
        let rest_first = match (rest.peek(), patched.peek()) {
            (None, None) => return all,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(left), Some(right)) => {
                let (left, right) = (position(server_order, left, merge_key), position(server_order, right, merge_key));
                left.zip(right).is_some_and(|(left, right)| left < right)
            }
        };
        all.extend(if rest_first { rest.next() } else { patched.next() });
    }
}

//! What the server itself writes into `metadata`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::options::Random;

/// Letters and digits that spell no words and are not mistaken for each other: upstream's alphabet for names.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Characters that are appended to `generateName`.
const SUFFIX_CHARACTERS: usize = 5;
/// A generated name stays a DNS label: 63 characters, suffix included.
const MAX_GENERATED_BASE: usize = 63 - SUFFIX_CHARACTERS;

/// Seconds of precision, as every timestamp in metadata has.
pub(crate) fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Random characters of upstream's alphabet.
pub(crate) fn suffix(random: &dyn Random, characters: usize) -> String {
    let mut bits = random.next_u64();
    let base = NAME_ALPHABET.len() as u64;
    (0..characters)
        .map(|_| {
            let letter = NAME_ALPHABET[usize::try_from(bits % base).unwrap_or(0)];
            bits /= base;
            char::from(letter)
        })
        .collect()
}

/// The name made from a `generateName`.
pub(crate) fn generated_name(random: &dyn Random, base: &str) -> String {
    let end = base.char_indices().nth(MAX_GENERATED_BASE).map_or(base.len(), |(index, _)| index);
    format!("{}{}", &base[..end], suffix(random, SUFFIX_CHARACTERS))
}

/// A version 4 UUID.
pub(crate) fn uid(random: &dyn Random) -> String {
    let bits = (u128::from(random.next_u64()) << 64) | u128::from(random.next_u64());
    let bits = (bits & !(0xF << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A text in `metadata`; empty where it is absent.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["metadata"][key].as_str().unwrap_or_default()
}

/// Whether the object has finalizers.
pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

/// Whether somebody asked for the object to be deleted.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// Makes sure that `metadata` is a map, and returns it.
pub(crate) fn map(object: &mut Value) -> &mut serde_json::Map<String, Value> {
    if !object.is_object() {
        *object = json!({});
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    object["metadata"].as_object_mut().expect("it was made a map above")
}

/// Marks a new object: uid, time of creation, nothing that only the server may have said.
pub(crate) fn begin(object: &mut Value, now: Timestamp, random: &dyn Random) {
    let metadata = map(object);
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        metadata.remove(key);
    }
    metadata.insert("creationTimestamp".to_owned(), timestamp(now).into());
    metadata.insert("uid".to_owned(), uid(random).into());
}

/// Carries over what no update may change; `(new, old)`.
pub(crate) fn carry_over(new: &mut Value, old: &Value) {
    let metadata = map(new);
    metadata.remove("selfLink");
    let before = &old["metadata"];
    if metadata.get("uid").is_none_or(|uid| uid.as_str().is_none_or(str::is_empty)) {
        metadata.insert("uid".to_owned(), before["uid"].clone());
    }
    metadata.insert("creationTimestamp".to_owned(), before["creationTimestamp"].clone());
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        match before.get(key) {
            Some(value) => metadata.insert(key.to_owned(), value.clone()),
            None => metadata.remove(key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u64);

    impl Random for Fixed {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn uids_are_version_4() {
        assert_eq!(uid(&Fixed(0)), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uid(&Fixed(u64::MAX)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn generated_names_fit_a_label() {
        assert_eq!(generated_name(&Fixed(0), "web-"), "web-bbbbb");
        assert_eq!(generated_name(&Fixed(0), &"a".repeat(80)).len(), 63);
    }
}

//! YAML, and what go-yaml says about keys that come twice.

use std::{collections::HashSet, fmt};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned};
use windlass_api::codec::json::Document;

/// As for JSON: of more mistakes than this the first are told.
const MAX_DUPLICATES: usize = 100;

/// What go-yaml puts before such lines.
const PREFIX: &str = "yaml: unmarshal errors:";

/// Decodes YAML as kubectl reads it; of a duplicate key the last value counts, and there is a line about it:
/// `line 10: key "paused" already set in map`.
///
/// # Errors
/// What the parser says.
pub(crate) fn decode(bytes: &[u8]) -> Result<Document, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let mut document: Document =
        serde_saphyr::from_str_with_options(text, options()).map_err(|error| format!("yaml: {error}"))?;
    if !document.duplicates.is_empty() {
        // Lines are asked for only now: few documents have such keys, and reading with places costs more.
        document.duplicates.clear();
        if let Ok(tree) = serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options()) {
            tree.value.tell(&mut document.duplicates);
        }
    }
    Ok(document)
}

/// These lines in one, as go-yaml's error has them.
pub(crate) fn error(lines: &[String]) -> String {
    format!("{PREFIX}\n  {}", lines.join("\n  "))
}

fn options() -> Options {
    serde_saphyr::options! { legacy_octal_numbers: true, duplicate_keys: DuplicateKeyPolicy::PassThrough }
}

/// A document of which only keys and places are of interest.
#[derive(Debug)]
enum Tree {
    Map(Vec<(String, Spanned<Tree>)>),
    List(Vec<Spanned<Tree>>),
    Leaf,
}

impl Tree {
    /// In go-yaml's order, which reads a value before it puts it under its key, and by the line of the value.
    fn tell(&self, lines: &mut Vec<String>) {
        match self {
            Self::Leaf => {}
            Self::List(items) => items.iter().for_each(|item| item.value.tell(lines)),
            Self::Map(entries) => {
                let mut seen = HashSet::new();
                for (key, value) in entries {
                    value.value.tell(lines);
                    if !seen.insert(key) && lines.len() < MAX_DUPLICATES {
                        lines.push(format!("line {}: key {key:?} already set in map", value.referenced.line()));
                    }
                }
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_of_two_counts_and_the_line_is_told() {
        let text = "a: 1\nspec:\n  paused: true\n  paused: false\n  list:\n  - n: 1\n    n: 2\n  labels:\n    x: y\n  labels:\n    x: z\na: 2\n";
        let document = decode(text.as_bytes()).expect("it is YAML");
        let expected = json!({ "a": 2, "spec": { "paused": false, "list": [{ "n": 2 }], "labels": { "x": "z" } } });
        assert_eq!(document.value, expected);
        assert_eq!(
            document.duplicates,
            [
                r#"line 4: key "paused" already set in map"#,
                r#"line 7: key "n" already set in map"#,
                r#"line 11: key "labels" already set in map"#,
                r#"line 12: key "a" already set in map"#,
            ]
        );
        assert_eq!(
            error(&document.duplicates[..2]),
            "yaml: unmarshal errors:\n  line 4: key \"paused\" already set in map\n  line 7: key \"n\" already set in map"
        );
    }

    #[test]
    fn json_is_yaml() {
        let document = decode(br#"{"a": 1, "a": 2}"#).expect("it is YAML");
        assert_eq!(document.duplicates, [r#"line 1: key "a" already set in map"#]);
    }
}

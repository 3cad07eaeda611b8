//! `clusterIPs`, `ipFamilies` and `ipFamilyPolicy` of a Service, on a cluster that has IPv4.

use serde_json::{Map, Value, json};

/// Whether Services of this type have an address.
pub(super) fn has_address(spec: &Map<String, Value>) -> bool {
    text(spec, "type") != "ExternalName"
}

/// Whether the Service asked for no address of its own.
pub(super) fn is_headless(spec: &Map<String, Value>) -> bool {
    text(spec, "clusterIP") == "None"
}

/// A text of the spec; empty where it is absent.
pub(super) fn text<'a>(spec: &'a Map<String, Value>, key: &str) -> &'a str {
    spec.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// `clusterIP` is the first of `clusterIPs`, whichever of the two the client wrote; `(new, old)`.
pub(super) fn align(spec: &mut Map<String, Value>, old: Option<&Map<String, Value>>) {
    let first = |spec: &Map<String, Value>| {
        spec.get("clusterIPs").and_then(|all| all.get(0)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (one, of_all) = (text(spec, "clusterIP").to_owned(), first(spec));
    let changed = old.is_some_and(|old| text(old, "clusterIP") != one && first(old) == of_all);
    match (one.as_str(), of_all.as_str()) {
        ("", "") => {}
        // An update by a client that knows only the older field: it clears or replaces the list.
        ("", _) if changed => {
            spec.remove("clusterIPs");
        }
        ("", _) => {
            spec.insert("clusterIP".to_owned(), of_all.into());
        }
        (_, other) if other.is_empty() || (changed && other != one) => {
            spec.insert("clusterIPs".to_owned(), json!([one]));
        }
        _ => {}
    }
}

/// Upstream's defaults for a single-stack cluster.
pub(super) fn default_families(spec: &mut Map<String, Value>) {
    if !has_address(spec) {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.remove(key);
        }
        return;
    }
    let selects = spec.get("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    let dual = is_headless(spec) && !selects;
    let given = spec.get("ipFamilies").and_then(Value::as_array).is_some_and(|families| !families.is_empty());
    let policy = text(spec, "ipFamilyPolicy").to_owned();
    if !given {
        // Without a selector a headless Service takes endpoints of any family: whoever writes them decides.
        let families = if dual && policy != "SingleStack" { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
        spec.insert("ipFamilies".to_owned(), families);
    }
    if policy.is_empty() {
        let policy = if dual && !given { "RequireDualStack" } else { "SingleStack" };
        spec.insert("ipFamilyPolicy".to_owned(), policy.into());
    }
}

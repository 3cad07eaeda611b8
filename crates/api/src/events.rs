//! Two shapes of one object: core v1 Event, which is stored, and events.k8s.io/v1 Event.

use serde_json::Value;

/// Field of events.k8s.io/v1 and the field of core v1 that it is; the rest have one name in both.
const RENAMED: [(&str, &str); 7] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

/// An events.k8s.io/v1 Event as core v1 Event; fields that neither knows go along.
pub fn to_core(event: &Value) -> Value {
    renamed(event, "v1", |key| RENAMED.iter().find(|(new, _)| *new == key).map_or(key, |(_, core)| core))
}

/// A core v1 Event as events.k8s.io/v1 Event; fields that neither knows go along.
pub fn from_core(event: &Value) -> Value {
    renamed(event, "events.k8s.io/v1", |key| RENAMED.iter().find(|(_, core)| *core == key).map_or(key, |(new, _)| new))
}

fn renamed<'a>(event: &'a Value, api_version: &str, name: impl Fn(&'a str) -> &'a str) -> Value {
    let fields = event.as_object().into_iter().flatten();
    let mut out: Value = fields.map(|(key, value)| (name(key).to_owned(), value.clone())).collect();
    if let Some(fields) = out.as_object_mut() {
        fields.insert("apiVersion".to_owned(), api_version.into());
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_and_back() {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": { "name": "web.1", "namespace": "default" },
            "involvedObject": { "kind": "Pod", "name": "web" }, "related": { "kind": "Node" },
            "message": "Pulled image", "reason": "Pulled", "type": "Normal", "action": "Pulling",
            "reportingComponent": "kubelet", "reportingInstance": "node-1", "source": { "component": "kubelet" },
            "firstTimestamp": "2024-01-01T00:00:00Z", "lastTimestamp": "2024-01-01T00:00:05Z", "count": 2,
            "eventTime": null, "series": { "count": 2 },
        });
        let newer = from_core(&core);
        assert_eq!(
            newer,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": { "name": "web.1", "namespace": "default" },
                "regarding": { "kind": "Pod", "name": "web" }, "related": { "kind": "Node" },
                "note": "Pulled image", "reason": "Pulled", "type": "Normal", "action": "Pulling",
                "reportingController": "kubelet", "reportingInstance": "node-1", "deprecatedSource": { "component": "kubelet" },
                "deprecatedFirstTimestamp": "2024-01-01T00:00:00Z", "deprecatedLastTimestamp": "2024-01-01T00:00:05Z",
                "deprecatedCount": 2, "eventTime": null, "series": { "count": 2 },
            })
        );
        assert_eq!(to_core(&newer), core);
    }
}

//! What of a ResourceQuota is used, counted afresh.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity,
};
use serde_json::Value;
use windlass_api::{
    kind::{KINDS, Kind},
    quota::{self, Amounts},
};

/// Kinds that quotas look into; of all others they only count the objects.
const LOOKED_INTO: [&str; 3] = ["persistentvolumeclaims", "pods", "services"];

/// Everything the count depends on.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The quota.
    pub quota: &'a ResourceQuota,
    /// Objects of the namespace of the kinds that the quota looks into.
    pub objects: &'a [(&'static Kind, Vec<Value>)],
    /// How many objects of the namespace there are of other kinds.
    pub counts: &'a [(&'static Kind, usize)],
}

/// Kinds whose objects this quota limits: those that it looks into, and those that it only counts.
pub fn concerned(quota: &ResourceQuota) -> (Vec<&'static Kind>, Vec<&'static Kind>) {
    let hard = hard(quota);
    let limits = |kind: &&Kind| hard.keys().any(|resource| quota::concerns(kind, resource));
    let kinds = KINDS.iter().filter(|kind| kind.namespaced && kind.stored_as.is_none()).filter(limits);
    kinds.partition(|kind| kind.group.is_empty() && LOOKED_INTO.contains(&kind.plural))
}

/// The status that the quota should have.
pub fn plan(snapshot: &Snapshot<'_>) -> ResourceQuotaStatus {
    let hard = hard(snapshot.quota);
    let whole = serde_json::to_value(snapshot.quota).unwrap_or_default();
    let mut used: Amounts = hard.keys().map(|resource| (resource.clone(), windlass_api::quantity::Quantity::ZERO)).collect();
    let mut add = |usage: Amounts| {
        for (resource, amount) in usage {
            used.entry(resource).and_modify(|sum| *sum = *sum + amount);
        }
    };
    for (kind, objects) in snapshot.objects {
        for object in objects.iter().filter(|object| quota::matches(&whole, kind, object)) {
            add(quota::usage(kind, object));
        }
    }
    for (kind, count) in snapshot.counts {
        if quota::matches(&whole, kind, &Value::Null) {
            add(quota::usage_of(kind, *count));
        }
    }
    let list = |amounts: &Amounts| {
        let entries = amounts.iter().map(|(name, amount)| (name.clone(), Quantity(amount.to_string())));
        Some(entries.collect::<BTreeMap<_, _>>()).filter(|list| !list.is_empty())
    };
    ResourceQuotaStatus { hard: list(&hard), used: list(&used) }
}

fn hard(quota: &ResourceQuota) -> Amounts {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    hard.map(|hard| quota::amounts(&serde_json::to_value(hard).unwrap_or_default())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use windlass_api::kind;

    use super::*;

    fn quota(spec: Value) -> ResourceQuota {
        serde_json::from_value(json!({ "metadata": { "name": "q" }, "spec": spec })).unwrap()
    }

    fn kind(group: &str, plural: &str) -> &'static Kind {
        kind::find(group, "v1", plural).unwrap()
    }

    fn used(snapshot: &Snapshot<'_>) -> Value {
        serde_json::to_value(plan(snapshot).used).unwrap()
    }

    #[test]
    fn sums_what_objects_take() {
        let hard = json!({ "pods": "5", "requests.memory": "1Gi", "services.nodeports": "1", "count/deployments.apps": "9", "secrets": "3" });
        let quota = quota(json!({ "hard": hard }));
        let pod = |memory: &str| json!({ "spec": { "containers": [{ "resources": { "requests": { "memory": memory } } }] } });
        let mut ended = pod("1Gi");
        ended["status"] = json!({ "phase": "Failed" });
        let objects = [(kind("", "pods"), vec![pod("100Mi"), pod("200Mi"), ended]), (kind("", "services"), vec![json!({})])];
        let counts = [(kind("apps", "deployments"), 2), (kind("", "secrets"), 0), (kind("", "configmaps"), 7)];
        let snapshot = Snapshot { quota: &quota, objects: &objects, counts: &counts };
        assert_eq!(
            used(&snapshot),
            json!({ "pods": "2", "requests.memory": "300Mi", "services.nodeports": "0", "count/deployments.apps": "2", "secrets": "0" })
        );
        assert_eq!(serde_json::to_value(plan(&snapshot).hard).unwrap(), hard);
        let (looked_into, counted) = concerned(&quota);
        assert_eq!(looked_into.iter().map(|kind| kind.plural).collect::<Vec<_>>(), ["pods", "services"]);
        assert_eq!(counted.iter().map(|kind| kind.plural).collect::<Vec<_>>(), ["secrets", "deployments"]);
    }

    #[test]
    fn only_what_is_in_scope_counts() {
        let quota = quota(json!({ "hard": { "pods": "5", "secrets": "1" }, "scopes": ["BestEffort"] }));
        let burst = json!({ "spec": { "containers": [{ "resources": { "requests": { "cpu": "1" } } }] } });
        let objects = [(kind("", "pods"), vec![json!({ "spec": { "containers": [{}] } }), burst])];
        let counts = [(kind("", "secrets"), 4)];
        assert_eq!(used(&Snapshot { quota: &quota, objects: &objects, counts: &counts }), json!({ "pods": "1", "secrets": "0" }));
    }
}

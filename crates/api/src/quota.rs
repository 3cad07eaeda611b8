//! What an object takes of a ResourceQuota, which quotas count it, and what they say when it is too much.
//!
//! Behaviour follows <https://kubernetes.io/docs/concepts/policy/resource-quotas/>.

mod check;
mod scope;
mod usage;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{kind::Kind, pod::any_quantity, quantity::Quantity};

pub use check::{Refusal, charge};
pub use scope::matches;
pub use usage::{usage, usage_of};

/// Amounts by the names that quotas give to resources: `requests.cpu`, `count/deployments.apps`.
pub type Amounts = BTreeMap<String, Quantity>;

/// The amounts in a list such as `spec.hard`; what is no quantity is left out.
pub fn amounts(list: &Value) -> Amounts {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), any_quantity(amount)?))).collect()
}

/// A list as objects carry it.
pub fn to_value(amounts: &Amounts) -> Value {
    amounts.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect()
}

/// Whether a quota on this resource counts objects of this kind.
pub fn concerns(kind: &Kind, resource: &str) -> bool {
    usage::concerns(kind, resource)
}

#[cfg(test)]
mod tests;

//! Whether what a request takes is still there, and what of the quota is used when it has it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    Amounts, amounts,
    scope::matches,
    usage::{compute, concerns, usage},
};
use crate::{kind::Kind, pod, quantity::Quantity};

/// Why a quota does not let an object in, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The quota limits what the object does not say how much it needs of.
    #[error("failed quota: {quota}: must specify {missing}")]
    Unspecified {
        /// Name of the quota.
        quota: String,
        /// Resources and the containers that leave them out.
        missing: String,
    },
    /// Nobody has counted yet what is used.
    #[error("status unknown for quota: {quota}, resources: {resources}")]
    Uncounted {
        /// Name of the quota.
        quota: String,
        /// What is limited and not counted.
        resources: String,
    },
    /// There is not as much left.
    #[error("exceeded quota: {quota}, requested: {requested}, used: {used}, limited: {limited}")]
    Exceeded {
        /// Name of the quota.
        quota: String,
        /// What the object would take.
        requested: String,
        /// What is taken.
        used: String,
        /// What there is.
        limited: String,
    },
}

/// What each of these quotas has used once an object of this kind turns from `old` into `new`: pairs of the place of a quota
/// in the list, and its next `status.used`. Quotas that do not change are left out.
///
/// # Errors
/// When one of them does not let it.
pub fn charge(quotas: &[&Value], kind: &Kind, new: &Value, old: Option<&Value>) -> Result<Vec<(usize, Amounts)>, Refusal> {
    let taken = usage(kind, new);
    let before = old.map(|old| usage(kind, old));
    let mut charged = Vec::new();
    for (place, quota) in quotas.iter().enumerate().filter(|(_, quota)| matches(quota, kind, new)) {
        let name = quota["metadata"]["name"].as_str().unwrap_or_default();
        let (hard, used) = (amounts(&quota["status"]["hard"]), amounts(&quota["status"]["used"]));
        let limited: BTreeSet<&String> = hard.keys().filter(|resource| concerns(kind, resource)).collect();
        if (kind.group, kind.plural) == ("", "pods") {
            specified(name, &limited, &new["spec"])?;
        }
        let uncounted: Vec<&str> = limited.iter().filter(|name| !used.contains_key(**name)).map(|name| name.as_str()).collect();
        if !uncounted.is_empty() {
            let all: Vec<&str> = limited.iter().map(|name| name.as_str()).collect();
            return Err(Refusal::Uncounted { quota: name.to_owned(), resources: all.join(",") });
        }
        let counted_before = before.as_ref().filter(|_| old.is_some_and(|old| matches(quota, kind, old)));
        let delta = delta(&taken, counted_before, &hard);
        if delta.is_empty() {
            continue;
        }
        let mut next = used.clone();
        for (resource, amount) in &delta {
            let sum = used.get(resource).map_or(*amount, |used| *used + *amount);
            next.insert(resource.clone(), sum);
        }
        let exceeded: BTreeSet<&String> =
            delta.keys().filter(|resource| hard.get(*resource).is_some_and(|hard| next[*resource] > *hard)).collect();
        if !exceeded.is_empty() {
            let show = |amounts: &Amounts| print(amounts, &exceeded);
            let (requested, used, limited) = (show(&delta), show(&used), show(&hard));
            return Err(Refusal::Exceeded { quota: name.to_owned(), requested, used, limited });
        }
        charged.push((place, next));
    }
    Ok(charged)
}

/// What is taken on top of before, of the resources that are limited.
fn delta(taken: &Amounts, before: Option<&Amounts>, hard: &Amounts) -> Amounts {
    let more = |(resource, amount): (&String, &Quantity)| {
        let before = before.and_then(|before| before.get(resource)).copied().unwrap_or(Quantity::ZERO);
        (hard.contains_key(resource) && *amount > before).then(|| (resource.clone(), *amount - before))
    };
    taken.iter().filter_map(more).collect()
}

/// Where cpu or memory is limited, every container says how much it needs of it.
fn specified(quota: &str, limited: &BTreeSet<&String>, spec: &Value) -> Result<(), Refusal> {
    const ASKED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];
    let whole = compute(&pod::amounts(spec, "requests"), &pod::amounts(spec, "limits"));
    let required: Vec<&str> =
        ASKED.into_iter().filter(|name| limited.contains(&(*name).to_owned()) && !whole.contains_key(*name)).collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let containers = ["containers", "initContainers"].iter().flat_map(|field| spec[*field].as_array().into_iter().flatten());
    for container in containers {
        let own = compute(&pod::amounts(container, "requests"), &pod::amounts(container, "limits"));
        for name in required.iter().filter(|name| !own.contains_key(**name)) {
            missing.entry(name).or_default().insert(container["name"].as_str().unwrap_or_default());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let texts = missing.iter().map(|(name, containers)| {
        let containers: Vec<&str> = containers.iter().copied().collect();
        format!("{name} for: {}", containers.join(","))
    });
    Err(Refusal::Unspecified { quota: quota.to_owned(), missing: texts.collect::<Vec<_>>().join("; ") })
}

fn print(amounts: &Amounts, of: &BTreeSet<&String>) -> String {
    let shown = amounts.iter().filter(|(name, _)| of.contains(name)).map(|(name, amount)| format!("{name}={amount}"));
    shown.collect::<Vec<_>>().join(",")
}

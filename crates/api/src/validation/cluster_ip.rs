//! Rules of a Service's own addresses and their families.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::address;
use super::errors::Errors;
use super::field::Field;
use super::service::is_headless;

const ONE_PER_FAMILY: &str = "may specify no more than one IP for each IP family";

pub(super) fn cluster_ips(spec: &Field<'_>, errors: &mut Errors) {
    if spec.get("type").text() == "ExternalName" {
        return;
    }
    let (ip, ips, families, policy) =
        (spec.get("clusterIP"), spec.get("clusterIPs"), spec.get("ipFamilies"), spec.get("ipFamilyPolicy"));
    let first = ips.items().next();
    match (ip.text().is_empty(), &first) {
        (false, None) => errors.required(&ips, ""),
        (false, Some(first)) if first.text() != ip.text() => errors.invalid(&ips, "first value must match `clusterIP`"),
        (true, Some(_)) => errors.invalid(&ips, "must be empty when `clusterIP` is not specified"),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for family in families.items() {
        errors.one_of(&family, &["IPv4", "IPv6"]);
        if !seen.insert(family.text()) {
            errors.duplicate(&family);
        }
    }
    if policy.is_set() {
        errors.one_of(&policy, &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    }
    let before = errors.0.len();
    for (index, ip) in ips.items().enumerate() {
        if index > 0 || ip.text() != "None" {
            address::valid_ip(&ip, errors);
        } else if ips.len() > 1 {
            errors.invalid(&ips, "'None' must be the first and only value");
        }
    }
    let unreadable = errors.0.len() > before;
    if ips.len() > 2 {
        errors.invalid(&ips, "may only hold up to 2 values");
    }
    if unreadable {
        return;
    }
    if ips.len() > 1 && !address::is_dual_stack(ips.items().map(|ip| ip.text())) {
        errors.invalid(&ips, ONE_PER_FAMILY);
    }
    if !is_headless(spec) {
        of_their_families(&ips, &families, errors);
    }
}

fn of_their_families(ips: &Field<'_>, families: &Field<'_>, errors: &mut Errors) {
    for (index, (ip, family)) in ips.items().zip(families.items()).enumerate() {
        let is_v6 = matches!(address::parse(ip.text()), Some(IpAddr::V6(_)));
        if matches!((family.text(), is_v6), ("IPv4", true) | ("IPv6", false)) {
            errors.invalid(&ip, format!("expected an {} value as indicated by `ipFamilies[{index}]`", family.text()));
        }
    }
}

/// The first address stays; a second may come and, with `SingleStack`, go.
pub(super) fn may_change(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    if [new, old].iter().any(|spec| spec.get("type").text() == "ExternalName") {
        return;
    }
    let (new_headless, old_headless) = (is_headless(new), is_headless(old));
    if !(new_headless && old_headless) {
        ips_may_change(new, old, errors);
    }
    if !new_headless && !old_headless {
        families_may_change(new, old, errors);
    }
}

fn ips_may_change(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (ips, before) = (new.get("clusterIPs"), old.get("clusterIPs"));
    if ips.len() == before.len() {
        for (ip, _) in ips.items().zip(before.items()).filter(|(ip, before)| ip.text() != before.text()) {
            errors.invalid_as(ip.path(), shown(&ips), "may not change once set");
        }
        return;
    }
    if ips.is_empty() {
        errors.invalid_as(&new.child("clusterIPs[0]"), shown(&ips), "primary clusterIP can not be unset");
    }
    first_stays(&ips, &before, &ips, errors);
    released("clusterIP", &ips, &before, new, errors);
}

fn families_may_change(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (families, before) = (new.get("ipFamilies"), old.get("ipFamilies"));
    if families.len() == before.len() {
        for _ in families.items().zip(before.items()).filter(|(family, before)| family.text() != before.text()) {
            errors.invalid_as(&new.child("ipFamilies[0]"), shown(&families), "may not change once set");
        }
        return;
    }
    if families.len() < before.len() && new.get("clusterIPs").is_empty() {
        errors.invalid_as(&new.child("ipFamilies[0]"), shown(&families), "primary ipFamily can not be unset");
    }
    // Upstream shows the addresses here.
    first_stays(&families, &before, &new.get("clusterIPs"), errors);
    released("ipFamily", &families, &before, new, errors);
}

fn first_stays(list: &Field<'_>, before: &Field<'_>, show: &Field<'_>, errors: &mut Errors) {
    if let (Some(first), Some(before)) = (list.items().next(), before.items().next())
        && first.text() != before.text()
    {
        errors.invalid_as(first.path(), shown(show), "may not change once set");
    }
}

fn released(what: &str, list: &Field<'_>, before: &Field<'_>, new: &Field<'_>, errors: &mut Errors) {
    let policy = new.get("ipFamilyPolicy");
    if list.len() == 1 && before.len() > 1 && policy.text() != "SingleStack" {
        let shown = if policy.is_set() { policy.value().clone() } else { "null".into() };
        errors.invalid_as(policy.path(), shown, format!("must be set to 'SingleStack' when releasing the secondary {what}"));
    }
}

fn shown(list: &Field<'_>) -> Value {
    if list.is_empty() { Value::Null } else { list.value().clone() }
}

//! Rules of the workloads in `apps/v1`, and of ReplicationController, their ancestor.

use serde_json::{Value, json};

use super::equal::same;
use super::errors::Errors;
use super::field::Field;
use super::selector::{map_matches_template, matches_template, workload_selector};
use super::{format, pod, selector};

pub(super) fn deployment(deployment: &Field<'_>, errors: &mut Errors) {
    let spec = deployment.get("spec");
    errors.non_negative(&spec.get("replicas"));
    workload_selector(&spec.get("selector"), "empty selector is invalid for deployment", errors);
    replica_template(&spec, errors);
    deployment_strategy(&spec.get("strategy"), errors);
    errors.non_negative(&spec.get("minReadySeconds"));
    errors.non_negative(&spec.get("revisionHistoryLimit"));
    let deadline = spec.get("progressDeadlineSeconds");
    errors.non_negative(&deadline);
    if deadline.is_set() && deadline.number() <= spec.get("minReadySeconds").number() {
        errors.invalid(&deadline, "must be greater than minReadySeconds");
    }
}

fn deployment_strategy(strategy: &Field<'_>, errors: &mut Errors) {
    let rolling_update = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" => {
            if rolling_update.is_set() {
                errors.forbidden(&rolling_update, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" if !rolling_update.is_set() => {
            errors.required(&rolling_update, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling_update.get("maxUnavailable"), rolling_update.get("maxSurge"));
            int_or_percent(&unavailable, errors);
            int_or_percent(&surge, errors);
            if amount(&unavailable) == 0 && amount(&surge) == 0 {
                errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
            }
            at_most_all(&unavailable, errors);
        }
        _ => errors.unsupported_as(strategy.path(), shown(strategy), &["Recreate", "RollingUpdate"]),
    }
}

pub(super) fn replica_set(replica_set: &Field<'_>, errors: &mut Errors) {
    let spec = replica_set.get("spec");
    errors.non_negative(&spec.get("replicas"));
    errors.non_negative(&spec.get("minReadySeconds"));
    // Upstream says so of ReplicaSets too.
    workload_selector(&spec.get("selector"), "empty selector is invalid for deployment", errors);
    replica_template(&spec, errors);
}

fn replica_template(spec: &Field<'_>, errors: &mut Errors) {
    let template = spec.get("template");
    matches_template(&spec.get("selector"), &template, errors);
    pod::template(&template, errors);
    pod::runs_for_ever(&template, "ReplicaSet", errors);
}

pub(super) fn replication_controller(controller: &Field<'_>, errors: &mut Errors) {
    let spec = controller.get("spec");
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    errors.non_negative(&spec.get("minReadySeconds"));
    if selector.is_empty() {
        errors.required(&selector, "");
    }
    errors.non_negative(&spec.get("replicas"));
    if !template.is_set() {
        return errors.required(&template, "");
    }
    map_matches_template(&selector, &template, errors);
    pod::template(&template, errors);
    pod::runs_for_ever(&template, "ReplicationController", errors);
}

pub(super) fn daemon_set(daemon_set: &Field<'_>, errors: &mut Errors) {
    let spec = daemon_set.get("spec");
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    selector::label_selector(&selector, errors);
    matches_template(&selector, &template, errors);
    if selector.is_set() && selector::is_empty(&selector) {
        errors.invalid(&selector, "empty selector is invalid for daemonset");
    }
    pod::template(&template, errors);
    pod::runs_for_ever(&template, "DaemonSet", errors);
    errors.non_negative(&spec.get("minReadySeconds"));
    daemon_set_strategy(&spec.get("updateStrategy"), errors);
    errors.non_negative(&spec.get("revisionHistoryLimit"));
}

fn daemon_set_strategy(strategy: &Field<'_>, errors: &mut Errors) {
    let rolling_update = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling_update.is_set() => errors.required(&rolling_update, ""),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling_update.get("maxUnavailable"), rolling_update.get("maxSurge"));
            int_or_percent(&unavailable, errors);
            int_or_percent(&surge, errors);
            at_most_all(&unavailable, errors);
            at_most_all(&surge, errors);
            match (amount(&unavailable) != 0, amount(&surge) != 0) {
                (true, true) => errors.invalid(&surge, "may not be set when maxUnavailable is non-zero"),
                (false, false) => errors.required(&unavailable, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => errors.unsupported_as(strategy.path(), shown(strategy), &["RollingUpdate", "OnDelete"]),
    }
}

/// Upstream does not look into the template's pod spec: its volumes may come from claims that only exist later.
pub(super) fn stateful_set(stateful_set: &Field<'_>, errors: &mut Errors) {
    let spec = stateful_set.get("spec");
    let management = spec.get("podManagementPolicy");
    match management.text() {
        "" => errors.required(&management, ""),
        "OrderedReady" | "Parallel" => {}
        _ => errors.invalid(&management, "must be 'OrderedReady' or 'Parallel'"),
    }
    stateful_set_strategy(&spec.get("updateStrategy"), errors);
    let retention = spec.get("persistentVolumeClaimRetentionPolicy");
    if retention.is_set() {
        errors.one_of(&retention.get("whenDeleted"), &["Retain", "Delete"]);
        errors.one_of(&retention.get("whenScaled"), &["Retain", "Delete"]);
    }
    errors.non_negative(&spec.get("replicas"));
    errors.non_negative(&spec.get("minReadySeconds"));
    errors.non_negative(&spec.get("ordinals").get("start"));
    errors.optional_format(&spec.get("serviceName"), format::dns1123_label);
    workload_selector(&spec.get("selector"), "empty selector is invalid for statefulset", errors);
    let template = spec.get("template");
    matches_template(&spec.get("selector"), &template, errors);
    pod::template_metadata(&template, errors);
    pod::runs_for_ever(&template, "StatefulSet", errors);
}

fn stateful_set_strategy(strategy: &Field<'_>, errors: &mut Errors) {
    let rolling_update = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "" => errors.required(strategy, ""),
        "OnDelete" => {
            if rolling_update.is_set() {
                errors.invalid(&rolling_update, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => {
            errors.non_negative(&rolling_update.get("partition"));
            let unavailable = rolling_update.get("maxUnavailable");
            if unavailable.is_set() {
                int_or_percent(&unavailable, errors);
                if amount(&unavailable) == 0 {
                    errors.invalid(&unavailable, "cannot be 0");
                }
                at_most_all(&unavailable, errors);
            }
        }
        _ => errors.invalid_as(strategy.path(), shown(strategy), "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

pub(super) fn stateful_set_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    const MUTABLE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    stateful_set(new, errors);
    let fixed = |set: &Field<'_>| {
        let mut spec = set.get("spec").value().clone();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|name, _| !MUTABLE.contains(&name.as_str()));
        }
        without_status(spec)
    };
    if !same(&fixed(new), &fixed(old)) {
        errors.forbidden(
            &new.get("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}

/// The status of a claim's template says nothing, but clients may leave it away.
fn without_status(mut spec: Value) -> Value {
    for claim in spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(map) = claim.as_object_mut() {
            map.remove("status");
        }
    }
    spec
}

/// A selector decides what a workload owns, and stays.
pub(super) fn immutable_selector(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    errors.immutable(&new.get("spec").get("selector"), &old.get("spec").get("selector"));
}

pub(super) fn controller_revision(revision: &Field<'_>, errors: &mut Errors) {
    if !revision.has("data") {
        errors.required(&revision.get("data"), "data is mandatory");
    }
    errors.non_negative(&revision.get("revision"));
}

pub(super) fn controller_revision_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    controller_revision(new, errors);
    errors.immutable(&new.get("data"), &old.get("data"));
}

pub(super) fn deployment_status(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    counts(
        &new.get("status"),
        &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
        &[
            ("updatedReplicas", "replicas"),
            ("readyReplicas", "replicas"),
            ("availableReplicas", "replicas"),
            ("availableReplicas", "readyReplicas"),
        ],
        errors,
    );
    collisions(new, old, errors);
}

pub(super) fn stateful_set_status(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    counts(
        &new.get("status"),
        &[
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ],
        &[
            ("readyReplicas", "replicas"),
            ("currentReplicas", "replicas"),
            ("updatedReplicas", "replicas"),
            ("availableReplicas", "replicas"),
            ("availableReplicas", "status.readyReplicas"),
        ],
        errors,
    );
    collisions(new, old, errors);
}

pub(super) fn daemon_set_status(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    counts(
        &new.get("status"),
        &[
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ],
        &[],
        errors,
    );
    collisions(new, old, errors);
}

/// Counts in a status: none negative, none above the others that it is part of.
pub(super) fn counts(status: &Field<'_>, fields: &[&str], parts: &[(&str, &str)], errors: &mut Errors) {
    for field in fields {
        errors.non_negative(&status.get(field));
    }
    for (part, whole) in parts {
        let count = status.get(part);
        if count.number() > status.get(whole.trim_start_matches("status.")).number() {
            let whole = if *whole == "replicas" { "status.replicas" } else { whole };
            errors.invalid(&count, format!("cannot be greater than {whole}"));
        }
    }
}

/// Hash collisions are only ever counted up.
pub(super) fn collisions(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    let (count, before) = (new.get("status").get("collisionCount"), old.get("status").get("collisionCount"));
    if before.is_set() && count.int().is_none_or(|count| count < before.number()) {
        errors.invalid_as(count.path(), count.number(), "cannot be decremented");
    }
}

/// A count, or a share such as `25%`.
pub(super) fn int_or_percent(field: &Field<'_>, errors: &mut Errors) {
    if field.value().is_string() { errors.format(field, format::percent) } else { errors.non_negative(field) }
}

/// A share must not be more than everything.
pub(super) fn at_most_all(field: &Field<'_>, errors: &mut Errors) {
    if field.value().is_string() && format::percent(field.text()).is_empty() && amount(field) > 100 {
        errors.invalid(field, "must not be greater than 100%");
    }
}

/// A strategy as upstream shows it.
fn shown(strategy: &Field<'_>) -> Value {
    json!({ "Type": strategy.get("type").text(), "RollingUpdate": strategy.get("rollingUpdate").value() })
}

fn amount(field: &Field<'_>) -> i64 {
    match field.value() {
        Value::String(text) => text.trim_end_matches('%').parse().unwrap_or(if text.ends_with('%') { i64::MAX } else { 0 }),
        _ => field.number(),
    }
}

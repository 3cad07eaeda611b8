//! Defaults of pods and pod templates.

use serde_json::{Map, Value};

use crate::pod::containers_total;

use super::fill::{blank, each, inherit, inside, text, unset, within};
use super::{container, quantities, volume};

const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

/// A Pod has a few defaults that a template has not, so that old templates do not change under a new version.
pub(super) fn pod(pod: &mut Value) {
    within(pod, "spec", |spec| {
        for field in CONTAINERS {
            each(spec, field, requests_from_limits);
        }
        unset(spec, "enableServiceLinks", true);
        if spec["hostNetwork"] == Value::Bool(true) {
            for field in CONTAINERS {
                each(spec, field, |container| each(container, "ports", host_port));
            }
        }
        pod_spec(spec);
        // Of a pod, though not of a template, which changes nothing under an old version.
        if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
            spec["terminationGracePeriodSeconds"] = 1.into();
        }
        whole(spec);
    });
}

/// A pod that limits itself as a whole requests what its containers do, and what it limits where they say nothing; of huge
/// pages, which cannot be requested without a limit, it has what its containers have.
fn whole(spec: &mut Value) {
    let is_compute = |name: &str| matches!(name, "cpu" | "memory");
    let is_huge_page = |name: &str| name.starts_with("hugepages-");
    let given = |spec: &Value| spec["resources"]["limits"].as_object().is_some_and(|limits| !limits.is_empty());
    if !given(spec) {
        return;
    }
    let pages = total(spec, "limits", is_huge_page);
    let requests = total(spec, "requests", is_compute);
    inside(spec, "resources", |resources| {
        inherit(resources, "limits", &pages);
        inherit(resources, "requests", &requests);
        let mut limits = resources["limits"].as_object().cloned().unwrap_or_default();
        limits.retain(|name, _| is_compute(name) || is_huge_page(name));
        inherit(resources, "requests", &limits);
        for list in ["limits", "requests"] {
            quantities::canonical(resources, list);
        }
    });
}

fn total(spec: &Value, list: &str, counts: fn(&str) -> bool) -> Map<String, Value> {
    let all = containers_total(spec, list).into_iter().filter(|(name, _)| counts(name));
    all.map(|(name, amount)| (name, amount.to_string().into())).collect()
}

/// The pod template in a field of `owner`.
pub(super) fn template(owner: &mut Value, field: &str) {
    within(owner, field, |template| {
        unset(template, "metadata", Map::new());
        within(template, "spec", pod_spec);
    });
}

fn pod_spec(spec: &mut Value) {
    blank(spec, "dnsPolicy", "ClusterFirst");
    blank(spec, "restartPolicy", "Always");
    unset(spec, "securityContext", Map::new());
    unset(spec, "terminationGracePeriodSeconds", 30);
    blank(spec, "schedulerName", "default-scheduler");
    service_account(spec);
    each(spec, "volumes", volume::volume);
    for field in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, field, container::container);
    }
    quantities::canonical(spec, "overhead");
}

/// `serviceAccount` is the name that `serviceAccountName` had before 1.0; upstream reads either and writes both.
fn service_account(spec: &mut Value) {
    let (name, alias) = (text(spec, "serviceAccountName").to_owned(), text(spec, "serviceAccount").to_owned());
    match (name.is_empty(), alias.is_empty()) {
        (true, false) => blank(spec, "serviceAccountName", alias),
        (false, _) => spec["serviceAccount"] = name.into(),
        (true, true) => {}
    }
}

fn requests_from_limits(container: &mut Value) {
    if let Some(limits) = container["resources"]["limits"].as_object().cloned() {
        inherit(&mut container["resources"], "requests", &limits);
    }
}

fn host_port(port: &mut Value) {
    if let Some(number) = port["containerPort"].as_u64() {
        blank(port, "hostPort", number);
    }
}

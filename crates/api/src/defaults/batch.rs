//! Defaults of jobs and network policies.

use serde_json::{Value, json};

use super::fill::{blank, each, inside, unset, within};
use super::pod;

pub(super) fn job(job: &mut Value) {
    within(job, "spec", |spec| {
        // Who wants neither so many successes nor so many at a time wants one.
        if spec["completions"].is_null() && spec["parallelism"].is_null() {
            unset(spec, "completions", 1);
        }
        unset(spec, "parallelism", 1);
        let per_index = !spec["backoffLimitPerIndex"].is_null();
        unset(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
        unset(spec, "completionMode", "NonIndexed");
        unset(spec, "suspend", false);
        unset(spec, "manualSelector", false);
        inside(spec, "podFailurePolicy", |policy| {
            each(policy, "rules", |rule| each(rule, "onPodConditions", |pattern| blank(pattern, "status", "True")));
        });
        let replacement = if spec["podFailurePolicy"].is_null() { "TerminatingOrFailed" } else { "Failed" };
        unset(spec, "podReplacementPolicy", replacement);
        pod::template(spec, "template");
    });
    let labels = job["spec"]["template"]["metadata"]["labels"].as_object().filter(|labels| !labels.is_empty()).cloned();
    if let Some(labels) = labels {
        within(job, "metadata", |metadata| {
            if metadata["labels"].as_object().is_none_or(serde_json::Map::is_empty) {
                metadata["labels"] = labels.into();
            }
        });
    }
}

pub(super) fn cron_job(job: &mut Value) {
    within(job, "spec", |spec| {
        blank(spec, "concurrencyPolicy", "Allow");
        unset(spec, "suspend", false);
        unset(spec, "successfulJobsHistoryLimit", 3);
        unset(spec, "failedJobsHistoryLimit", 1);
        within(spec, "jobTemplate", |template| {
            within(template, "metadata", |_| {});
            within(template, "spec", |spec| pod::template(spec, "template"));
        });
    });
}

pub(super) fn network_policy(policy: &mut Value) {
    within(policy, "spec", |spec| {
        within(spec, "podSelector", |_| {});
        for direction in ["ingress", "egress"] {
            each(spec, direction, |rule| {
                each(rule, "ports", |port| unset(port, "protocol", "TCP"));
            });
        }
        if spec["policyTypes"].as_array().is_none_or(Vec::is_empty) {
            let egress = spec["egress"].as_array().is_some_and(|rules| !rules.is_empty());
            spec["policyTypes"] = if egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        }
    });
}

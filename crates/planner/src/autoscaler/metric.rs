//! Why no metric of an autoscaler can be read, source by source, in the words of upstream's clients for them.

use k8s_openapi::{
    api::autoscaling::v2::{HorizontalPodAutoscaler, MetricIdentifier, MetricSpec, MetricTarget},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::{note::Note, owner};

/// Of the autoscaler's metrics, what can be said.
#[derive(Debug)]
pub(super) struct Unmeasured {
    /// Reason of the condition.
    pub(super) reason: &'static str,
    /// Message of the condition.
    pub(super) message: String,
    /// Whether it came as far as asking for metrics.
    pub(super) is_measured: bool,
    /// Events to tell.
    pub(super) notes: Vec<Note>,
}

/// One metric that cannot be read.
struct Failure {
    reason: &'static str,
    /// What the client for the metric says.
    error: String,
    /// What of the autoscaler it was for.
    what: String,
}

pub(super) fn unmeasured(autoscaler: &HorizontalPodAutoscaler, selector: &str) -> Unmeasured {
    const COMPUTE: &str = "FailedComputeMetricsReplicas";
    if selector.is_empty() {
        const REQUIRED: &str = "selector is required";
        return Unmeasured {
            reason: "InvalidSelector",
            message: "the HPA target's scale is missing a selector".to_owned(),
            is_measured: false,
            notes: vec![Note::warning("SelectorRequired", REQUIRED), Note::warning(COMPUTE, REQUIRED)],
        };
    }
    let metrics = autoscaler.spec.metrics.as_deref().unwrap_or_default();
    let namespace = owner::namespace(&autoscaler.metadata);
    let failures: Vec<Failure> = metrics.iter().map(|metric| failure(metric, namespace)).collect();
    let mut notes: Vec<Note> = failures.iter().map(|failure| Note::warning(failure.reason, failure.error.clone())).collect();
    let Some(Failure { reason, error, what }) = failures.first() else {
        return Unmeasured { reason: "InvalidMetricSourceType", message: String::new(), is_measured: true, notes };
    };
    let count = failures.len();
    notes.push(Note::warning(
        COMPUTE,
        format!("invalid metrics ({count} invalid out of {count}), first error is: failed to get {what} value: {error}"),
    ));
    let message = format!("the HPA was unable to compute the replica count: {error}");
    Unmeasured { reason, message, is_measured: true, notes }
}

fn failure(metric: &MetricSpec, namespace: &str) -> Failure {
    if let Some(source) = &metric.resource {
        return Failure {
            reason: "FailedGetResourceMetric",
            error: of_resource(&source.name, &source.target),
            what: format!("{} resource metric", source.name),
        };
    }
    if let Some(source) = &metric.container_resource {
        return Failure {
            reason: "FailedGetContainerResourceMetric",
            error: of_resource(&source.name, &source.target),
            what: format!("{} container metric", source.name),
        };
    }
    if let Some(source) = &metric.pods {
        let error = format!("unable to get metric {}: {}", source.metric.name, custom());
        return Failure { reason: "FailedGetPodsMetric", error, what: "pods metric".to_owned() };
    }
    if let Some(source) = &metric.object {
        let object = &source.described_object;
        // As upstream says it: its words and its arguments are not in the same order.
        let error =
            format!("unable to get metric {}: {} on {namespace} {}/{}", source.metric.name, object.kind, object.name, custom());
        return Failure { reason: "FailedGetObjectMetric", error, what: "object metric".to_owned() };
    }
    let MetricIdentifier { name, selector } = metric.external.as_ref().map(|source| source.metric.clone()).unwrap_or_default();
    let error = format!(
        "unable to get external metric {namespace}/{name}/{}: unable to fetch metrics from external metrics API: \
         the server could not find the requested resource (get {name}.external.metrics.k8s.io)",
        go_selector(selector.as_ref())
    );
    Failure { reason: "FailedGetExternalMetric", error, what: format!("{name} external metric") }
}

fn of_resource(name: &str, target: &MetricTarget) -> String {
    let what = if target.average_value.is_some() { "usage" } else { "utilization" };
    format!(
        "failed to get {name} {what}: unable to get metrics for resource {name}: unable to fetch metrics from resource metrics API: \
         the server could not find the requested resource (get pods.metrics.k8s.io)"
    )
}

fn custom() -> &'static str {
    "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"
}

/// A selector as Go prints the struct.
fn go_selector(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let labels = selector.match_labels.iter().flatten().map(|(key, value)| format!("{key}: {value},"));
    let expressions = selector.match_expressions.iter().flatten().map(|requirement| {
        let values = requirement.values.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", requirement.key, requirement.operator)
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<Vec<_>>().join(" "),
        expressions.collect::<Vec<_>>().join("")
    )
}

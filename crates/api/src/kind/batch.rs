//! Kinds of batch.

use serde_json::{Value, json};

use super::{BASE, Generation, Kind, SelectableField, Subresource, prepare};
use crate::columns;

/// batch/v1 CronJob.
pub const CRON_JOB: Kind = Kind {
    group: "batch",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    initial: prepare::empty_status,
    columns: columns::batch::CRON_JOB,
    row: columns::batch::cron_job,
    ..BASE
};

/// batch/v1 Job.
pub const JOB: Kind = Kind {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    selectable: &[SelectableField { name: "status.successful", pointers: &["/status/succeeded"], default: "0" }],
    initial: prepare::empty_status,
    named: select_own_pods,
    columns: columns::batch::JOB,
    row: columns::batch::job,
    ..BASE
};

const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// A job selects by its own uid, unless its author selects by hand.
fn select_own_pods(job: &mut Value) {
    let [uid, name] = ["uid", "name"].map(|key| job["metadata"][key].as_str().unwrap_or_default().to_owned());
    let Some(spec) = prepare::inside(job, "spec") else { return };
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let Some(template) = spec.get_mut("template").filter(|template| template.is_object()) else { return };
    let Some(metadata) = prepare::inside(template, "metadata") else { return };
    let labels = metadata.entry("labels").or_insert(Value::Null);
    if labels.is_null() {
        *labels = json!({});
    }
    let Some(labels) = labels.as_object_mut() else { return };
    let own = UID_LABELS.map(|key| (key, &uid)).into_iter().chain(NAME_LABELS.map(|key| (key, &name)));
    for (key, value) in own {
        labels.insert(key.to_owned(), value.as_str().into());
    }
    let selector = spec.entry("selector").or_insert(Value::Null);
    if selector.is_null() {
        *selector = json!({});
    }
    if let Some(labels) = prepare::inside(selector, "matchLabels") {
        labels.insert(UID_LABELS[0].to_owned(), uid.into());
    }
}

//! Rows of jobs.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Column, age,
    cell::{self, containers, count, integer, items, text, text_or},
};
use crate::selector::Selector;

pub(crate) const JOB: &[Column] = &[
    Column::NAME,
    Column::text("Status"),
    Column::text("Completions"),
    Column::text("Duration"),
    Column::AGE,
    Column::wide("Containers"),
    Column::wide("Images"),
    Column::wide("Selector"),
];

pub(crate) fn job(job: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&job["spec"], &job["status"]);
    let succeeded = integer(&status["succeeded"]);
    let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, Some(parallelism)) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let duration = age::parse(&status["startTime"]).map(|start| {
        let end = age::parse(&status["completionTime"]).unwrap_or(now);
        age::human_duration(end.duration_since(start).as_secs())
    });
    let [names, images] = containers(&spec["template"]["spec"]);
    let selector = Selector::from_value(&spec["selector"]).map_or_else(|_| String::new(), |selector| selector.to_string());
    vec![
        cell::name(job),
        job_status(job).into(),
        completions.into(),
        duration.unwrap_or_default().into(),
        cell::age(job, now),
        names,
        images,
        selector.into(),
    ]
}

fn job_status(job: &Value) -> &'static str {
    let holds = |kind: &str| {
        let mut conditions = items(&job["status"]["conditions"]);
        conditions.any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let known = [
        ("Complete", "Complete"),
        ("Failed", "Failed"),
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    if let Some((_, shown)) = known.into_iter().take(2).find(|(kind, _)| holds(kind)) {
        return shown;
    }
    if !job["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    known.into_iter().skip(2).find(|(kind, _)| holds(kind)).map_or("Running", |(_, shown)| shown)
}

pub(crate) const CRON_JOB: &[Column] = &[
    Column::NAME,
    Column::text("Schedule"),
    Column::text("Timezone"),
    Column::boolean("Suspend"),
    Column::integer("Active"),
    Column::text("Last Schedule"),
    Column::AGE,
    Column::wide("Containers"),
    Column::wide("Images"),
    Column::wide("Selector"),
];

pub(crate) fn cron_job(job: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&job["spec"], &job["status"]);
    let template = &spec["jobTemplate"]["spec"];
    let last = match &status["lastScheduleTime"] {
        Value::Null => "<none>".to_owned(),
        time => age::since(time, now),
    };
    let [names, images] = containers(&template["template"]["spec"]);
    let selector = match &template["selector"] {
        Value::Null => "<none>".to_owned(),
        selector => Selector::from_value(selector).map_or_else(|_| String::new(), |selector| selector.to_string()),
    };
    vec![
        cell::name(job),
        text(&spec["schedule"]).into(),
        text_or(&spec["timeZone"], "<none>").into(),
        if spec["suspend"] == true { "True" } else { "False" }.into(),
        count(&status["active"]).into(),
        last.into(),
        cell::age(job, now),
        names,
        images,
        selector.into(),
    ]
}

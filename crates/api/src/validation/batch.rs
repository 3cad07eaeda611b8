//! Rules of jobs.

use super::errors::Errors;
use super::field::Field;
use super::pod;
use super::selector::{label_selector, matches_template};

/// A name is eleven characters longer once a job of the schedule has it.
const CRON_JOB_NAME_MAX: usize = 52;
const MODES: &[&str] = &["NonIndexed", "Indexed"];
const POLICIES: &[&str] = &["Allow", "Forbid", "Replace"];
const DESCRIPTORS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];

pub(super) fn job(job: &Field<'_>, errors: &mut Errors) {
    let spec = job.get("spec");
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !selector.is_set() {
        errors.required(&selector, "");
    }
    job_spec(&spec, errors);
    if selector.is_set() {
        label_selector(&selector, errors);
        matches_template(&selector, &template, errors);
    }
}

pub(super) fn job_update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    job(new, errors);
    let (after, before) = (new.get("spec"), old.get("spec"));
    let elastic =
        before.get("completionMode").text() == "Indexed" && after.get("completions").int() == after.get("parallelism").int();
    for field in ["completions", "selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex"] {
        if (field == "completions" && elastic) || (field == "template" && before.get("suspend").is_true()) {
            continue;
        }
        errors.immutable(&after.get(field), &before.get(field));
    }
}

fn job_spec(spec: &Field<'_>, errors: &mut Errors) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    for field in counts {
        errors.non_negative(&spec.get(field));
    }
    let (mode, completions) = (spec.get("completionMode"), spec.get("completions"));
    if mode.is_set() {
        errors.one_of(&mode, MODES);
        if mode.text() == "Indexed" && !completions.is_set() {
            errors.required(&completions, "when completion mode is Indexed");
        }
    }
    let template = spec.get("template");
    pod::template(&template, errors);
    let restart_policy = template.get("spec").get("restartPolicy");
    if !matches!(restart_policy.text(), "OnFailure" | "Never") {
        errors.required(&restart_policy, "valid values: \"OnFailure\", \"Never\"");
    }
}

pub(super) fn cron_job(job: &Field<'_>, errors: &mut Errors) {
    let name = job.get("metadata").get("name");
    if name.text().len() > CRON_JOB_NAME_MAX {
        errors.invalid(&name, format!("must be no more than {CRON_JOB_NAME_MAX} characters"));
    }
    let spec = job.get("spec");
    let schedule = spec.get("schedule");
    if schedule.text().is_empty() {
        errors.required(&schedule, "");
    } else if let Some(wrong) = wrong_schedule(schedule.text()) {
        errors.invalid(&schedule, wrong);
    }
    errors.non_negative(&spec.get("startingDeadlineSeconds"));
    errors.required_one_of(&spec.get("concurrencyPolicy"), POLICIES);
    let template = spec.get("jobTemplate").get("spec");
    job_spec(&template, errors);
    if template.get("manualSelector").is_true() {
        errors.unsupported(&template.get("manualSelector"), &["nil", "false"]);
    }
    errors.non_negative(&spec.get("successfulJobsHistoryLimit"));
    errors.non_negative(&spec.get("failedJobsHistoryLimit"));
}

/// What is wrong with a schedule of five fields, or one of the words that stand for some.
fn wrong_schedule(text: &str) -> Option<String> {
    if text.starts_with('@') {
        let known = DESCRIPTORS.contains(&text) || text.starts_with("@every ");
        return (!known).then(|| format!("unrecognized descriptor: {text}"));
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    fields.iter().zip(bounds).find_map(|(field, bounds)| field.split(',').find_map(|range| wrong_range(range, bounds)))
}

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

fn wrong_range(text: &str, (min, max): (u32, u32)) -> Option<String> {
    let (range, step) = text.split_once('/').map_or((text, None), |(range, step)| (range, Some(step)));
    if let Some(step) = step {
        match step.parse::<u32>() {
            Ok(0) => return Some(format!("step of range should be a positive number: {text}")),
            Ok(_) => {}
            Err(_) => return Some(format!("failed to parse int from {step}: strconv.Atoi: parsing {step:?}: invalid syntax")),
        }
    }
    if matches!(range, "*" | "?") {
        return None;
    }
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    let mut numbers = [0, 0];
    for (number, text) in numbers.iter_mut().zip([low, high]) {
        let lower = text.to_lowercase();
        let named = match (min, max) {
            (1, 12) => MONTHS.iter().position(|name| *name == lower).map(|index| index + 1),
            (0, 6) => DAYS.iter().position(|name| *name == lower),
            _ => None,
        };
        match named.and_then(|index| u32::try_from(index).ok()).map_or_else(|| text.parse(), Ok) {
            Ok(value) => *number = value,
            Err(_) => return Some(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax")),
        }
    }
    let [low, high] = numbers;
    if low < min {
        return Some(format!("beginning of range ({low}) below minimum ({min}): {text}"));
    }
    if high > max {
        return Some(format!("end of range ({high}) above maximum ({max}): {text}"));
    }
    (low > high).then(|| format!("beginning of range ({low}) beyond end of range ({high}): {text}"))
}

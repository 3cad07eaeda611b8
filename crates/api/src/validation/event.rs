//! Rules of events, in the shape of either group: `events.k8s.io` is stricter, and names some fields differently.

use super::errors::Errors;
use super::field::Field;
use super::format;

const TEXT_MAX_BYTES: usize = 128;
const NOTE_MAX_BYTES: usize = 1024;

/// Names of the fields in the group that the event was written in; mistakes are reported under the core names.
struct Names {
    object: &'static str,
    message: &'static str,
    controller: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
    source: &'static str,
}

const CORE: Names = Names {
    object: "involvedObject",
    message: "message",
    controller: "reportingComponent",
    first: "firstTimestamp",
    last: "lastTimestamp",
    count: "count",
    source: "source",
};

const EVENTS: Names = Names {
    object: "regarding",
    message: "note",
    controller: "reportingController",
    first: "deprecatedFirstTimestamp",
    last: "deprecatedLastTimestamp",
    count: "deprecatedCount",
    source: "deprecatedSource",
};

pub(super) fn core(event: &Field<'_>, errors: &mut Errors) {
    legacy(event, &CORE, errors);
}

pub(super) fn create(event: &Field<'_>, errors: &mut Errors) {
    legacy(event, &EVENTS, errors);
    series(event, errors);
    if !event.has("eventTime") {
        errors.required(&event.get("eventTime"), "");
    }
    let kind = event.get("type");
    if !matches!(kind.text(), "Normal" | "Warning") {
        errors.invalid_as(kind.path(), "", format!("has invalid value: {}", kind.text()));
    }
    for (field, reported) in [(EVENTS.first, CORE.first), (EVENTS.last, CORE.last)] {
        if event.has(field) {
            errors.invalid_as(reported, "", "needs to be unset");
        }
    }
    if event.get(EVENTS.count).number() != 0 {
        errors.invalid_as(CORE.count, "", "needs to be unset");
    }
    let source = event.get(EVENTS.source);
    if !source.get("component").text().is_empty() || !source.get("host").text().is_empty() {
        errors.invalid_as(CORE.source, "", "needs to be unset");
    }
}

pub(super) fn update(new: &Field<'_>, old: &Field<'_>, errors: &mut Errors) {
    legacy(new, &EVENTS, errors);
    if new.get("series").value() != old.get("series").value() {
        series(new, errors);
    }
    for (field, reported) in [
        (EVENTS.object, CORE.object),
        ("reason", "reason"),
        (EVENTS.message, CORE.message),
        (EVENTS.source, CORE.source),
        (EVENTS.first, CORE.first),
        (EVENTS.last, CORE.last),
        (EVENTS.count, CORE.count),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        (EVENTS.controller, "reportingController"),
        ("reportingInstance", "reportingInstance"),
    ] {
        errors.immutable(&new.get(field).named(reported), &old.get(field));
    }
}

fn series(event: &Field<'_>, errors: &mut Errors) {
    let series = event.get("series");
    if !series.is_set() {
        return;
    }
    if series.get("count").number() < 2 {
        errors.invalid_as("series.count", "", "should be at least 2");
    }
    if !series.has("lastObservedTime") {
        errors.required(&series.get("lastObservedTime"), "");
    }
}

/// What has held for events since before they had a group of their own.
fn legacy(event: &Field<'_>, names: &Names, errors: &mut Errors) {
    let namespace = event.get("metadata").get("namespace").named("namespace");
    let involved = event.get(names.object).get("namespace").named("involvedObject.namespace");
    let modern = event.has("eventTime");
    let agrees = match (involved.text(), modern) {
        ("", true) => matches!(namespace.text(), "default" | "kube-system"),
        ("", false) => matches!(namespace.text(), "" | "default"),
        (_, true) => true,
        (involved, false) => involved == namespace.text(),
    };
    if !agrees {
        errors.invalid_as(involved.path(), involved.text(), "does not match event.namespace");
    }
    if modern {
        let controller = event.get(names.controller).named("reportingController");
        errors.required_text(&controller);
        for message in format::qualified_name(controller.text()) {
            errors.invalid_as(controller.path(), controller.text(), message);
        }
        for field in ["reportingInstance", "action", "reason"] {
            errors.required_text(&event.get(field));
            at_most(&event.get(field), TEXT_MAX_BYTES, errors);
        }
        at_most(&event.get(names.message).named("message"), NOTE_MAX_BYTES, errors);
    }
    for message in format::dns1123_subdomain(namespace.text()) {
        errors.invalid_as(namespace.path(), namespace.text(), message);
    }
}

fn at_most(field: &Field<'_>, max: usize, errors: &mut Errors) {
    if field.text().len() > max {
        errors.invalid_as(field.path(), "", format!("can have at most {max} characters"));
    }
}

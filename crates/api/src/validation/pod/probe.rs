//! Rules of probes and lifecycle hooks.

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::format;

pub(super) fn probe(probe: &Field<'_>, which: &str, errors: &mut Errors) {
    if !probe.is_set() {
        return;
    }
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], None, errors);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        errors.non_negative(&probe.get(field));
    }
    let (grace_period, success) = (probe.get("terminationGracePeriodSeconds"), probe.get("successThreshold"));
    if grace_period.int().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&grace_period, "must be greater than 0");
    }
    if which == "readinessProbe" {
        if grace_period.is_set() {
            errors.invalid(&grace_period, "must not be set for readinessProbes");
        }
    } else if success.number() != 1 {
        errors.invalid_as(success.path(), success.number(), "must be 1");
    }
}

pub(super) fn lifecycle(lifecycle: &Field<'_>, grace_period_seconds: Option<i64>, errors: &mut Errors) {
    for field in ["postStart", "preStop"] {
        let hook = lifecycle.get(field);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace_period_seconds, errors);
        }
    }
}

fn handler(handler: &Field<'_>, kinds: &[&str], grace_period_seconds: Option<i64>, errors: &mut Errors) {
    let mut found = false;
    for kind in kinds.iter().filter(|kind| handler.has(kind)) {
        let action = handler.get(kind);
        if found {
            errors.forbidden(&action, "may not specify more than 1 handler type");
            continue;
        }
        found = true;
        match *kind {
            "exec" => {
                if action.get("command").is_empty() {
                    errors.required(&action.get("command"), "");
                }
            }
            "httpGet" => http_get(&action, errors),
            "sleep" => sleep(&action, grace_period_seconds, errors),
            _ => port(&action.get("port"), errors),
        }
    }
    if !found {
        errors.required(handler, "must specify a handler type");
    }
}

fn http_get(action: &Field<'_>, errors: &mut Errors) {
    errors.required_text(&action.get("path"));
    port(&action.get("port"), errors);
    errors.one_of(&action.get("scheme"), &["HTTP", "HTTPS"]);
    for header in action.get("httpHeaders").items() {
        errors.format(&header.get("name").named(action.child("httpHeaders")), format::http_header_name);
    }
}

fn sleep(action: &Field<'_>, grace_period_seconds: Option<i64>, errors: &mut Errors) {
    let seconds = action.get("seconds").number();
    if let Some(grace_period) = grace_period_seconds
        && !(0..=grace_period).contains(&seconds)
    {
        let wrong = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_period})");
        errors.invalid_as(action.path(), seconds, wrong);
    }
}

/// A port by number or by name.
pub(in crate::validation) fn port(port: &Field<'_>, errors: &mut Errors) {
    if port.value().is_string() { errors.format(port, format::port_name) } else { errors.in_range(port, 1, 65535) }
}

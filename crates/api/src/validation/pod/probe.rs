//! Rules of probes and lifecycle hooks.

use super::super::errors::Errors;
use super::super::field::Field;
use super::super::format;

/// What can stop a container, sorted as upstream lists it.
#[rustfmt::skip]
const SIGNALS: &[&str] = &[
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO",
    "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGRTMAX", "SIGRTMAX-1", "SIGRTMAX-10",
    "SIGRTMAX-11", "SIGRTMAX-12", "SIGRTMAX-13", "SIGRTMAX-14", "SIGRTMAX-2", "SIGRTMAX-3", "SIGRTMAX-4", "SIGRTMAX-5",
    "SIGRTMAX-6", "SIGRTMAX-7", "SIGRTMAX-8", "SIGRTMAX-9", "SIGRTMIN", "SIGRTMIN+1", "SIGRTMIN+10", "SIGRTMIN+11",
    "SIGRTMIN+12", "SIGRTMIN+13", "SIGRTMIN+14", "SIGRTMIN+15", "SIGRTMIN+2", "SIGRTMIN+3", "SIGRTMIN+4", "SIGRTMIN+5",
    "SIGRTMIN+6", "SIGRTMIN+7", "SIGRTMIN+8", "SIGRTMIN+9", "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM",
    "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU",
    "SIGXFSZ",
];

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

pub(super) fn lifecycle(lifecycle: &Field<'_>, grace_period_seconds: Option<i64>, os: Option<&str>, errors: &mut Errors) {
    for field in ["postStart", "preStop"] {
        let hook = lifecycle.get(field);
        if hook.is_set() {
            handler(&hook, &["exec", "httpGet", "tcpSocket", "sleep"], grace_period_seconds, errors);
        }
    }
    let signal = lifecycle.get("stopSignal");
    match os {
        _ if !signal.is_set() => {}
        None => errors.forbidden(&signal, "may not be set for containers with empty `spec.os.name`"),
        Some("windows") => errors.one_of(&signal, &["SIGKILL", "SIGTERM"]),
        Some("linux") => errors.one_of(&signal, SIGNALS),
        Some(_) => {}
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

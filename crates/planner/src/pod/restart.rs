//! Whether a container that ended is started again.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodSpec};

use super::observed::{Container, Outcome};

/// What follows the end of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It stays as it is.
    Stay,
    /// It is started again now.
    Restart,
    /// It is started again then.
    BackOff(Timestamp),
}

/// An init container that is kept running: `restartPolicy: Always`.
pub fn is_sidecar(init_container: &Spec) -> bool {
    init_container.restart_policy.as_deref() == Some("Always")
}

/// Restart policy of the pod, `Always` by default.
pub fn pod_policy(spec: &PodSpec) -> &str {
    spec.restart_policy.as_deref().unwrap_or("Always")
}

/// Whether the policy of the container (its rules, then its own policy, then the pod's) wants it started again after `outcome`.
pub fn is_wanted_again(pod: &PodSpec, container: &Spec, is_init: bool, outcome: &Outcome) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|code| *code == outcome.exit_code);
        if listed == (codes.operator == "In") {
            return rule.action == "Restart";
        }
    }
    match container.restart_policy.as_deref().unwrap_or_else(|| pod_policy(pod)) {
        "Never" => false,
        "OnFailure" => outcome.exit_code != 0,
        // A regular init container has done its work once it succeeded.
        _ => !is_init || is_sidecar(container) || outcome.exit_code != 0,
    }
}

/// What to do about a container that ended.
pub fn next(pod: &PodSpec, spec: &Spec, is_init: bool, container: &Container, now: Timestamp) -> Next {
    let Some(outcome) = container.outcome() else { return Next::Stay };
    if container.replaced {
        return Next::Restart;
    }
    if !is_wanted_again(pod, spec, is_init, outcome) {
        return Next::Stay;
    }
    match container.backoff.until(outcome.finished_at) {
        Some(until) if until > now => Next::BackOff(until),
        _ => Next::Restart,
    }
}

/// A pod as messages name it: `web-x_default(uid)`.
pub fn pod_reference(pod: &Pod) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    format!("{}_{}({})", text(&pod.metadata.name), text(&pod.metadata.namespace), text(&pod.metadata.uid))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerRestartRule, ContainerRestartRuleOnExitCodes};

    use super::*;

    fn wanted(pod_policy: &str, container_policy: Option<&str>, is_init: bool, exit_code: i32) -> bool {
        let pod = PodSpec { restart_policy: Some(pod_policy.into()), ..PodSpec::default() };
        let container = Spec { restart_policy: container_policy.map(Into::into), ..Spec::default() };
        is_wanted_again(&pod, &container, is_init, &outcome(exit_code))
    }

    fn outcome(exit_code: i32) -> Outcome {
        Outcome { started_at: None, finished_at: Timestamp::UNIX_EPOCH, exit_code, reason: String::new(), message: String::new() }
    }

    #[test]
    fn the_policy_decides() {
        assert!(wanted("Always", None, false, 0));
        assert!(wanted("OnFailure", None, false, 1));
        assert!(!wanted("OnFailure", None, false, 0));
        assert!(!wanted("Never", None, false, 1));
        assert!(!wanted("Always", None, true, 0), "an init container that succeeded is done");
        assert!(wanted("Always", None, true, 1));
        assert!(!wanted("Never", None, true, 1));
        assert!(wanted("Never", Some("Always"), true, 0), "a sidecar is kept whatever the pod's policy");
    }

    #[test]
    fn a_rule_for_an_exit_code_goes_first() {
        let pod = PodSpec { restart_policy: Some("Never".into()), ..PodSpec::default() };
        let rule = ContainerRestartRule {
            action: "Restart".into(),
            exit_codes: Some(ContainerRestartRuleOnExitCodes { operator: "In".into(), values: Some(vec![42]) }),
        };
        let container = Spec { restart_policy_rules: Some(vec![rule]), ..Spec::default() };
        assert!(is_wanted_again(&pod, &container, false, &outcome(42)));
        assert!(!is_wanted_again(&pod, &container, false, &outcome(1)));
    }
}

//! Which run of a container a log request is about.

use k8s_openapi::api::core::v1::{ContainerStatus, PodStatus};

use crate::pod::statuses;

/// The number of the run whose log is asked for.
///
/// # Errors
/// Why there is none, in upstream's words.
pub(crate) fn choose(status: &PodStatus, pod: &str, container: &str, previous: bool) -> Result<u32, String> {
    let found = statuses(status).find(|status| status.name == container);
    let status = found.ok_or_else(|| format!("container \"{container}\" in pod \"{pod}\" is not available"))?;
    let (state, last) = (status.state.clone().unwrap_or_default(), status.last_state.clone().unwrap_or_default());
    let waits = state.running.is_none() && state.terminated.is_none();
    let last_ran = last.terminated.as_ref().is_some_and(|ended| ended.container_id.is_some());
    if previous {
        return if last_ran {
            Ok(attempt(status, !waits))
        } else {
            Err(format!("previous terminated container \"{container}\" in pod \"{pod}\" not found"))
        };
    }
    if state.running.is_some() {
        return Ok(attempt(status, false));
    }
    if let Some(ended) = &state.terminated {
        return match (ended.container_id.is_some(), last_ran) {
            (true, _) => Ok(attempt(status, false)),
            (false, true) => Ok(attempt(status, true)),
            (false, false) => Err(format!("container \"{container}\" in pod \"{pod}\" is terminated")),
        };
    }
    if last_ran {
        return Ok(attempt(status, false));
    }
    let waiting = state.waiting.and_then(|waiting| waiting.reason);
    Err(match waiting.as_deref() {
        Some("ErrImagePull") => format!("container \"{container}\" in pod \"{pod}\" is waiting to start: image can't be pulled"),
        Some("ImagePullBackOff") => {
            format!("container \"{container}\" in pod \"{pod}\" is waiting to start: trying and failing to pull image")
        }
        Some(reason) => format!("container \"{container}\" in pod \"{pod}\" is waiting to start: {reason}"),
        None => format!("container \"{container}\" in pod \"{pod}\" is waiting to start - no logs yet"),
    })
}

/// Runs are counted by restarts: the newest has as many before it.
fn attempt(status: &ContainerStatus, is_one_before: bool) -> u32 {
    u32::try_from(status.restart_count).unwrap_or(0).saturating_sub(u32::from(is_one_before))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(state: serde_json::Value, last: serde_json::Value, restarts: i32, previous: bool) -> Result<u32, String> {
        let status = serde_json::from_value(json!({
            "containerStatuses": [{
                "name": "web", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state, "lastState": last,
            }],
        }))
        .unwrap();
        choose(&status, "x", "web", previous)
    }

    #[test]
    fn the_run_that_is_meant() {
        let running = || json!({ "running": { "startedAt": null } });
        let ended = || json!({ "terminated": { "exitCode": 1, "containerID": "windlass://a" } });
        let waiting = |reason: &str| json!({ "waiting": { "reason": reason } });
        assert_eq!(check(running(), json!({}), 0, false), Ok(0));
        assert_eq!(check(running(), ended(), 3, true), Ok(2));
        assert_eq!(check(waiting("CrashLoopBackOff"), ended(), 3, false), Ok(3));
        assert_eq!(check(waiting("CrashLoopBackOff"), ended(), 3, true), Ok(3));
        assert_eq!(check(ended(), json!({}), 0, false), Ok(0));
        let text = |result: Result<u32, String>| result.unwrap_err();
        assert_eq!(
            text(check(waiting("ContainerCreating"), json!({}), 0, false)),
            "container \"web\" in pod \"x\" is waiting to start: ContainerCreating"
        );
        assert_eq!(
            text(check(waiting("ImagePullBackOff"), json!({}), 0, false)),
            "container \"web\" in pod \"x\" is waiting to start: trying and failing to pull image"
        );
        assert_eq!(text(check(running(), json!({}), 0, true)), "previous terminated container \"web\" in pod \"x\" not found");
    }
}

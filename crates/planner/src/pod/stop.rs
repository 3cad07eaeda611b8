//! How long each step of a pod's way down may take.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

/// Seconds that in-flight connections are waited for, on a pod; always within its grace period.
pub const ANNOTATION_DRAIN_SECONDS: &str = "windlass.dev/drain-seconds";

/// The condition `windlass.dev/Unrouted` comes within milliseconds where something routes at all; a pod network that says
/// nothing for this long is taken for absent.
const UNROUTE_SECONDS: i64 = 5;
/// Enough for a request in flight; an idle keep-alive connection, which nobody will end, must not hold up a rollout for longer.
const DRAIN_SECONDS: i64 = 5;
/// What a container has between SIGTERM and SIGKILL even when its preStop hook used up the grace period, as upstream.
const MIN_GRACE_SECONDS: i64 = 2;
/// Grace period of a pod that names none.
const DEFAULT_GRACE_SECONDS: i64 = 30;

/// Latest ends of the steps: unrouted, drained, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Wait for the last route to be gone until then.
    pub unrouted: Timestamp,
    /// Wait for connections to end until then.
    pub drained: Timestamp,
    /// SIGKILL then, unless hooks need the minimum beyond it.
    pub killed: Timestamp,
}

impl Deadlines {
    /// Deadlines of a pod that was asked to stop at `now` (or, when it was deleted, as its `deletionTimestamp` says).
    /// Half of the grace period at most goes by before SIGTERM.
    pub fn of(pod: &Pod, now: Timestamp) -> Self {
        let grace = grace_seconds(pod);
        let killed = match &pod.metadata.deletion_timestamp {
            // A clock that jumped must not give a pod more than its grace period.
            Some(time) => time.0.min(now + SignedDuration::from_secs(grace)),
            None => now + SignedDuration::from_secs(grace),
        };
        Self::until(killed, pod, now)
    }

    /// Deadlines of one container that is to be stopped from `now` on within `grace_seconds`, while its pod stays.
    pub fn within(grace_seconds: i64, pod: &Pod, now: Timestamp) -> Self {
        Self::until(now + SignedDuration::from_secs(grace_seconds.max(0)), pod, now)
    }

    fn until(killed: Timestamp, pod: &Pod, now: Timestamp) -> Self {
        let remaining = killed.duration_since(now).max(SignedDuration::ZERO);
        let unroute = SignedDuration::from_secs(UNROUTE_SECONDS).min(remaining);
        let drain = SignedDuration::from_secs(drain_seconds(pod));
        let before_term = if is_drain_set(pod) { remaining } else { remaining / 2 };
        let unrouted = now + unroute;
        Self { unrouted, drained: now + before_term.min(unroute + drain), killed }
    }

    /// Time between SIGTERM and SIGKILL for a container whose hook ended at `now`; zero only when the grace period is.
    pub fn grace(&self, pod: &Pod, now: Timestamp) -> SignedDuration {
        if grace_seconds(pod) == 0 {
            return SignedDuration::ZERO;
        }
        self.killed.duration_since(now).max(SignedDuration::from_secs(MIN_GRACE_SECONDS))
    }
}

/// Grace period in seconds: of the deletion, else of the spec.
pub fn grace_seconds(pod: &Pod) -> i64 {
    let spec = || pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    pod.metadata.deletion_grace_period_seconds.or_else(spec).unwrap_or(DEFAULT_GRACE_SECONDS).max(0)
}

fn annotated(pod: &Pod) -> Option<i64> {
    let value = pod.metadata.annotations.as_ref()?.get(ANNOTATION_DRAIN_SECONDS)?;
    value.parse().ok().filter(|seconds| *seconds >= 0)
}

fn is_drain_set(pod: &Pod) -> bool {
    annotated(pod).is_some()
}

fn drain_seconds(pod: &Pod) -> i64 {
    annotated(pod).unwrap_or(DRAIN_SECONDS)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn deadlines(grace: i64, drain: Option<&str>) -> (i64, i64, i64) {
        let mut pod = Pod::default();
        pod.metadata.deletion_grace_period_seconds = Some(grace);
        pod.metadata.deletion_timestamp = Some(Time(Timestamp::from_second(grace).unwrap()));
        pod.metadata.annotations = drain.map(|drain| [(ANNOTATION_DRAIN_SECONDS.to_owned(), drain.to_owned())].into());
        let deadlines = Deadlines::of(&pod, Timestamp::UNIX_EPOCH);
        (deadlines.unrouted.as_second(), deadlines.drained.as_second(), deadlines.killed.as_second())
    }

    #[test]
    fn every_step_is_taken_out_of_the_grace_period() {
        assert_eq!(deadlines(30, None), (5, 10, 30));
        assert_eq!(deadlines(30, Some("20")), (5, 25, 30));
        assert_eq!(deadlines(30, Some("60")), (5, 30, 30));
        assert_eq!(deadlines(30, Some("-1")), (5, 10, 30), "nonsense counts as absent");
        assert_eq!(deadlines(4, None), (4, 2, 4));
        assert_eq!(deadlines(0, None), (0, 0, 0));
    }

    #[test]
    fn a_hook_that_used_up_the_grace_period_leaves_two_seconds() {
        let mut pod = Pod::default();
        pod.metadata.deletion_grace_period_seconds = Some(10);
        let deadlines = Deadlines::of(&pod, Timestamp::UNIX_EPOCH);
        assert_eq!(deadlines.grace(&pod, Timestamp::from_second(3).unwrap()).as_secs(), 7);
        assert_eq!(deadlines.grace(&pod, Timestamp::from_second(11).unwrap()).as_secs(), 2);
        pod.metadata.deletion_grace_period_seconds = Some(0);
        assert_eq!(Deadlines::of(&pod, Timestamp::UNIX_EPOCH).grace(&pod, Timestamp::UNIX_EPOCH).as_secs(), 0);
    }
}

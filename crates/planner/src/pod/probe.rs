//! The state of one probe: thresholds, and when to probe next.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe as Spec;

/// Which of a container's probes it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Holds back the other two until it succeeds; its failure restarts the container.
    Startup,
    /// Whether requests are routed to the pod.
    Readiness,
    /// Its failure restarts the container.
    Liveness,
}

impl Kind {
    /// As events name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// Whether a container counts as healthy in this respect before the first result.
    pub fn initially(self) -> bool {
        self == Self::Liveness
    }
}

/// Delays between the quick tries within the first period: 20 ms, 50 ms, then doubling from 100 ms to this.
const SLOWEST_QUICK_TRY: Duration = Duration::from_secs(1);

/// What one result means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The state changed to this.
    pub changed: Option<bool>,
    /// Whether a failure is worth an event.
    pub is_reported: bool,
    /// When to probe again, after this one began.
    pub next_in: Duration,
}

/// Follows the results of one probe of one run of a container.
///
/// Upstream waits a random part of the period before the first readiness probe, so that the nodes of a cluster don't probe in step, and
/// a container that needs 100 ms to listen waits for the next period. Here the first startup and readiness probes come at once and, while
/// they fail, again after 20 ms, 50 ms, 100 ms and so on within the first period: a rollout goes on as soon as the new pod can serve.
/// Those tries count for nothing when they fail: thresholds and events see only one result a period, as documented.
#[derive(Debug, Clone)]
pub struct Machine {
    kind: Kind,
    period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
    state: bool,
    last: Option<bool>,
    /// How many results in a row were `last`.
    in_a_row: u32,
    quick_tries: u32,
    has_succeeded: bool,
}

fn positive(value: Option<i32>, default: u32) -> u32 {
    value.and_then(|value| u32::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(default)
}

/// Delay before the first probe.
pub fn initial_delay(spec: &Spec) -> Duration {
    Duration::from_secs(u64::try_from(spec.initial_delay_seconds.unwrap_or(0)).unwrap_or(0))
}

/// How long one probe may take; 1 s by default.
pub fn timeout(spec: &Spec) -> Duration {
    Duration::from_secs(u64::from(positive(spec.timeout_seconds, 1)))
}

impl Machine {
    /// A probe that has no result yet.
    pub fn new(kind: Kind, spec: &Spec) -> Self {
        Self {
            kind,
            period: Duration::from_secs(u64::from(positive(spec.period_seconds, 10))),
            success_threshold: positive(spec.success_threshold, 1),
            failure_threshold: positive(spec.failure_threshold, 3),
            state: kind.initially(),
            last: None,
            in_a_row: 0,
            quick_tries: 0,
            has_succeeded: false,
        }
    }

    /// Takes a result that a probe gave which began `since_first` after the first.
    pub fn observe(&mut self, success: bool, since_first: Duration) -> Verdict {
        self.has_succeeded |= success;
        if let Some(next_in) = self.quick_try(since_first) {
            return Verdict { changed: None, is_reported: false, next_in };
        }
        self.in_a_row = if self.last == Some(success) { self.in_a_row.saturating_add(1) } else { 1 };
        self.last = Some(success);
        let threshold = if success { self.success_threshold } else { self.failure_threshold };
        let changed = (self.in_a_row >= threshold && (self.state != success || self.restarts(success))).then_some(success);
        if let Some(state) = changed {
            self.state = state;
        }
        Verdict { changed, is_reported: !success, next_in: self.period }
    }

    /// A startup probe is not healthy to begin with, so its failure is told although the state stays.
    fn restarts(&self, success: bool) -> bool {
        self.kind == Kind::Startup && !success
    }

    fn quick_try(&mut self, since_first: Duration) -> Option<Duration> {
        if self.has_succeeded || self.kind == Kind::Liveness || since_first >= self.period {
            return None;
        }
        let delay = match self.quick_tries {
            0 => Duration::from_millis(20),
            1 => Duration::from_millis(50),
            tries => Duration::from_millis(100) * (1 << (tries - 2).min(8)),
        };
        self.quick_tries += 1;
        Some(delay.min(SLOWEST_QUICK_TRY).min(self.period - since_first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(kind: Kind, success: i32, failure: i32) -> Machine {
        let spec = Spec {
            period_seconds: Some(1),
            success_threshold: Some(success),
            failure_threshold: Some(failure),
            ..Spec::default()
        };
        Machine::new(kind, &spec)
    }

    /// Feeds results at the times the machine asks for, until `results` are used up; what changed, and when in milliseconds.
    fn run(mut machine: Machine, results: &str) -> Vec<(u128, bool)> {
        let mut at = Duration::ZERO;
        let mut changes = Vec::new();
        for result in results.chars() {
            let verdict = machine.observe(result == '+', at);
            changes.extend(verdict.changed.map(|changed| (at.as_millis(), changed)));
            at += verdict.next_in;
        }
        changes
    }

    #[test]
    fn readiness_is_tried_quickly_within_the_first_period() {
        assert_eq!(run(machine(Kind::Readiness, 1, 3), "+"), [(0, true)]);
        assert_eq!(run(machine(Kind::Readiness, 1, 3), "---+"), [(170, true)]);
        // Six quick tries, then one a period; a ready container needs three failures in a row to be unready.
        assert_eq!(run(machine(Kind::Readiness, 1, 3), "+--+---"), [(0, true), (6000, false)]);
        assert_eq!(run(machine(Kind::Readiness, 2, 1), "+-++"), [(3000, true)]);
    }

    #[test]
    fn liveness_fails_after_its_threshold_and_only_then() {
        assert_eq!(run(machine(Kind::Liveness, 1, 3), "--+--"), []);
        assert_eq!(run(machine(Kind::Liveness, 1, 3), "+---"), [(3000, false)]);
    }

    #[test]
    fn startup_failures_count_once_a_period() {
        assert_eq!(run(machine(Kind::Startup, 1, 2), "------+"), [(1000, true)]);
        assert_eq!(run(machine(Kind::Startup, 1, 2), "--------"), [(2000, false)]);
    }
}

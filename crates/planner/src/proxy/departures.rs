//! Pods on their way out: `Leaving` once deletion was asked for, `Gone` once no route leads there; nothing comes back from there.
//! A pod of which one container is to be stopped is `Paused`, for as long as its kubelet says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use windlass_api::names::CONDITION_UNROUTED;

use super::FALLBACK;
use crate::{pod::stop::grace_seconds, replica};

/// How far a pod has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// It is to be deleted; it is sent to only where there is no ready endpoint, and not for long.
    Leaving {
        /// The end of that time.
        until: Timestamp,
    },
    /// No route leads to it, and none ever will, but for one that nobody waits for: [`Departures::left_unready`].
    Gone,
    /// Its kubelet is about to stop a container of it, and has asked for it to be out of every route until that one serves again.
    Paused {
        /// Whether the kubelet knows that no route leads there.
        told: bool,
    },
}

/// Pods that no route leads to as of now, by uid, and that are to be told so.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// They are to be deleted.
    pub gone: Vec<String>,
    /// They stay, and will be routed to again.
    pub paused: Vec<String>,
}

/// What is known of pods, from the watch of pods alone: a slice that still calls a terminating pod ready is behind.
#[derive(Debug, Default, Clone)]
pub struct Departures {
    by_uid: BTreeMap<String, Departure>,
    /// Pods that were not ready when they were to be deleted, until they are away.
    left_unready: BTreeSet<String>,
    /// Pods that own their address, for endpoints that name an address and no pod.
    by_address: BTreeMap<Ipv4Addr, String>,
}

impl Departures {
    /// Takes in a pod as the API has it now. True when its departure has begun or ended by that.
    pub fn observe(&mut self, pod: &Pod, now: Timestamp) -> bool {
        let Some(uid) = pod.metadata.uid.as_deref() else { return false };
        if let Some(address) = own_address(pod) {
            self.by_address.insert(address, uid.to_owned());
        }
        let before = self.by_uid.get(uid).copied();
        if before == Some(Departure::Gone) {
            return false;
        }
        let unrouted = unrouted(pod);
        if pod.metadata.deletion_timestamp.is_none() {
            return self.pause(uid, unrouted, before);
        }
        // Said by an earlier run of ours, or of a pause; a promise that is kept.
        if unrouted == Some(true) {
            self.by_uid.insert(uid.to_owned(), Departure::Gone);
            return true;
        }
        let until = now + fallback(pod);
        // It ends earlier only when the grace period was cut.
        if matches!(before, Some(Departure::Leaving { until: before }) if before <= until) {
            return false;
        }
        self.by_uid.insert(uid.to_owned(), Departure::Leaving { until });
        // Later than at first its containers may have ended.
        let is_first = !matches!(before, Some(Departure::Leaving { .. }));
        if is_first && unrouted.is_none() && !replica::is_ready(pod) {
            self.left_unready.insert(uid.to_owned());
        }
        true
    }

    /// The condition of a pod that stays: `False` asks, `True` was our answer, and without it the pod may be routed to.
    fn pause(&mut self, uid: &str, unrouted: Option<bool>, before: Option<Departure>) -> bool {
        let now = unrouted.map(|told| Departure::Paused { told });
        match now {
            Some(paused) => drop(self.by_uid.insert(uid.to_owned(), paused)),
            None => drop(self.by_uid.remove(uid)),
        }
        now != before
    }

    /// The pod is no longer in the API: whatever a slice says, it is not sent to again.
    pub fn deleted(&mut self, uid: &str) -> bool {
        self.by_address.retain(|_, owner| owner != uid);
        self.left_unready.remove(uid);
        self.by_uid.insert(uid.to_owned(), Departure::Gone) != Some(Departure::Gone)
    }

    /// How far the pod with this uid has gone; none for one that stays.
    #[must_use]
    pub fn of(&self, uid: &str) -> Option<Departure> {
        self.by_uid.get(uid).copied()
    }

    /// Whether a pod that still exists was not ready when it was to be deleted: whoever sends to it does not mind that it may not answer.
    ///
    /// Of a pod that was told already that no route leads to it, by an earlier run or for a pause, that is not known, and it is none.
    #[must_use]
    pub fn left_unready(&self, uid: &str) -> bool {
        self.left_unready.contains(uid)
    }

    /// The pod whose address this is.
    #[must_use]
    pub fn owner(&self, address: Ipv4Addr) -> Option<&str> {
        self.by_address.get(&address).map(String::as_str)
    }

    /// Pods on their way out that `routed` says no committed route leads to. Those that leave are gone from now on.
    pub fn acknowledge(&mut self, routed: impl Fn(&str) -> bool) -> Acknowledged {
        let mut acknowledged = Acknowledged::default();
        for (uid, departure) in &mut self.by_uid {
            match departure {
                Departure::Leaving { .. } if !routed(uid) => {
                    *departure = Departure::Gone;
                    acknowledged.gone.push(uid.clone());
                }
                Departure::Paused { told } if !*told && !routed(uid) => {
                    *told = true;
                    acknowledged.paused.push(uid.clone());
                }
                _ => {}
            }
        }
        acknowledged
    }

    /// Pods that no route leads to, and that have been told so: they serve what was begun with them, and no more.
    pub fn parting(&self) -> impl Iterator<Item = &str> {
        let told = |departure: &Departure| matches!(departure, Departure::Gone | Departure::Paused { told: true });
        self.by_uid.iter().filter(move |(_, departure)| told(departure)).map(|(uid, _)| uid.as_str())
    }

    /// Forgets pods that are gone, and that `mentioned` says neither the API nor any slice knows: they can't come back.
    pub fn forget(&mut self, mentioned: impl Fn(&str) -> bool) {
        self.by_uid.retain(|uid, departure| *departure != Departure::Gone || mentioned(uid));
    }
}

/// How long the pod may be a fallback while it leaves.
fn fallback(pod: &Pod) -> SignedDuration {
    FALLBACK.min(SignedDuration::from_secs(grace_seconds(pod)) / 4)
}

/// What the pod's condition says; none when it has none.
fn unrouted(pod: &Pod) -> Option<bool> {
    let mut conditions = pod.status.iter().filter_map(|status| status.conditions.as_ref()).flatten();
    let condition = conditions.find(|condition| condition.type_ == CONDITION_UNROUTED)?;
    Some(condition.status == "True")
}

/// The address that is this pod's alone: not the machine's, and not one that a finished pod has given back.
pub(super) fn own_address(pod: &Pod) -> Option<Ipv4Addr> {
    let status = pod.status.as_ref()?;
    let host_network = pod.spec.as_ref().and_then(|spec| spec.host_network).unwrap_or(false);
    if host_network || matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return None;
    }
    status.pod_ip.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, terminating: bool, unrouted: bool) -> Pod {
        with_condition(uid, terminating, unrouted.then_some("True"))
    }

    fn with_condition(uid: &str, terminating: bool, unrouted: Option<&str>) -> Pod {
        let mut pod = json!({
            "metadata": { "uid": uid },
            "status": { "podIP": "10.244.0.2", "phase": "Running", "conditions": [] },
        });
        if terminating {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
        }
        if let Some(status) = unrouted {
            pod["status"]["conditions"] = json!([{ "type": CONDITION_UNROUTED, "status": status }]);
        }
        serde_json::from_value(pod).unwrap()
    }

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn a_pod_leaves_once_and_for_all() {
        let mut departures = Departures::default();
        assert!(!departures.observe(&pod("a", false, false), START));
        assert_eq!(departures.of("a"), None);
        assert!(departures.observe(&pod("a", true, false), START));
        assert!(!departures.observe(&pod("a", true, false), START + SEC));
        assert_eq!(departures.of("a"), Some(Departure::Leaving { until: START + FALLBACK }));
        assert_eq!(departures.acknowledge(|_| true), Acknowledged::default());
        assert_eq!(departures.acknowledge(|_| false).gone, ["a"]);
        assert_eq!(departures.acknowledge(|_| false), Acknowledged::default());
        // An event from before the acknowledgement, delivered late.
        assert!(!departures.observe(&pod("a", true, false), START));
        assert_eq!(departures.of("a"), Some(Departure::Gone));
    }

    const SEC: SignedDuration = SignedDuration::from_secs(1);

    #[test]
    fn a_pod_with_little_time_is_sent_to_for_less() {
        let mut departures = Departures::default();
        let with_grace = |seconds: i64| {
            let mut pod = pod("a", true, false);
            pod.metadata.deletion_grace_period_seconds = Some(seconds);
            pod
        };
        let leaving = |milliseconds| Some(Departure::Leaving { until: START + SignedDuration::from_millis(milliseconds) });
        assert!(departures.observe(&with_grace(30), START));
        assert_eq!(departures.of("a"), leaving(2000));
        assert!(departures.observe(&with_grace(1), START + SEC));
        assert_eq!(departures.of("a"), leaving(1250));
        assert!(!departures.observe(&with_grace(1), START + SEC + SEC));
        assert_eq!(departures.of("a"), leaving(1250));
    }

    #[test]
    fn what_an_earlier_run_said_holds() {
        let mut departures = Departures::default();
        assert!(departures.observe(&pod("a", true, true), START));
        assert_eq!(departures.of("a"), Some(Departure::Gone));
        assert_eq!(departures.acknowledge(|_| false), Acknowledged::default());
    }

    #[test]
    fn a_pod_deleted_at_once_is_gone_until_nothing_mentions_it() {
        let mut departures = Departures::default();
        departures.observe(&pod("a", false, false), START);
        assert_eq!(departures.owner(Ipv4Addr::new(10, 244, 0, 2)), Some("a"));
        assert!(departures.deleted("a"));
        assert!(!departures.deleted("a"));
        assert_eq!(departures.owner(Ipv4Addr::new(10, 244, 0, 2)), None);
        departures.forget(|_| true);
        assert_eq!(departures.of("a"), Some(Departure::Gone));
        departures.forget(|_| false);
        assert_eq!(departures.of("a"), None);
    }

    #[test]
    fn a_leaving_pod_is_never_forgotten() {
        let mut departures = Departures::default();
        departures.observe(&pod("a", true, false), START);
        departures.forget(|_| false);
        assert_eq!(departures.of("a"), Some(Departure::Leaving { until: START + FALLBACK }));
    }

    #[test]
    fn a_pause_is_asked_for_answered_and_ended() {
        let mut departures = Departures::default();
        let observed = |departures: &mut Departures, condition| departures.observe(&with_condition("a", false, condition), START);
        assert!(observed(&mut departures, Some("False")));
        assert!(!observed(&mut departures, Some("False")));
        assert_eq!(departures.acknowledge(|_| true), Acknowledged::default());
        assert_eq!(departures.acknowledge(|_| false).paused, ["a"]);
        assert_eq!(departures.acknowledge(|_| false), Acknowledged::default());
        observed(&mut departures, Some("True"));
        assert_eq!(departures.of("a"), Some(Departure::Paused { told: true }));
        assert!(observed(&mut departures, None));
        assert_eq!(departures.of("a"), None);
        // Again, by the next run of the container, and nothing was heard in between.
        observed(&mut departures, Some("True"));
        observed(&mut departures, Some("False"));
        assert_eq!(departures.acknowledge(|_| false).paused, ["a"]);
    }

    #[test]
    fn a_pod_that_is_deleted_before_it_is_ready_has_left_unready() {
        let mut departures = Departures::default();
        let ready = |terminating, status: &str| {
            let mut pod = pod("a", terminating, false);
            let conditions = json!([{ "type": "Ready", "status": status }]);
            pod.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
            pod
        };
        departures.observe(&ready(false, "False"), START);
        assert!(!departures.left_unready("a"));
        departures.observe(&ready(true, "False"), START);
        assert!(departures.left_unready("a"));
        departures.acknowledge(|_| false);
        assert!(departures.left_unready("a"));
        departures.deleted("a");
        assert!(!departures.left_unready("a"));
        // One that was ready does not become such a pod when its containers end.
        let mut departures = Departures::default();
        departures.observe(&ready(true, "True"), START);
        let mut hurried = ready(true, "False");
        hurried.metadata.deletion_grace_period_seconds = Some(1);
        assert!(departures.observe(&hurried, START));
        assert!(!departures.left_unready("a"));
        // Nor does one of which an earlier run said that it is out.
        let mut departures = Departures::default();
        departures.observe(&pod("a", true, true), START);
        assert!(!departures.left_unready("a"));
    }

    #[test]
    fn a_paused_pod_that_is_deleted_does_not_come_back() {
        let mut departures = Departures::default();
        departures.observe(&with_condition("a", false, Some("True")), START);
        departures.observe(&with_condition("a", true, Some("True")), START);
        assert_eq!(departures.of("a"), Some(Departure::Gone));
        departures.observe(&with_condition("b", false, Some("False")), START);
        departures.observe(&with_condition("b", true, Some("False")), START);
        assert_eq!(departures.acknowledge(|_| false).gone, ["b"]);
        assert!(!departures.left_unready("b"));
    }
}

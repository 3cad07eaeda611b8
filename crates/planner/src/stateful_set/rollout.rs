//! A rollout: pods of an older revision are replaced, from the highest ordinal down to the partition.

use std::sync::Arc;

use super::{Planning, Reason, Strategy, WaitingOn, identity};

impl Planning<'_> {
    /// Deletes the next pods of an older revision, as many as may be unavailable; they come back new.
    pub(super) fn roll(&mut self) {
        let Strategy::RollingUpdate { partition, max_unavailable } = self.settings.strategy else {
            self.wait_for_deletion();
            return;
        };
        let first = self.settings.start.saturating_add(partition);
        let slots = self.slots.clone();
        let pods = || slots.iter().filter_map(|slot| Some((slot.ordinal, slot.pod.as_ref()?)));
        let kept = pods().filter(|(ordinal, pod)| *ordinal < first && identity::revision_of(pod) != self.update).count();
        if kept > 0 {
            self.waiting.push(WaitingOn::Partition { pods: i32::try_from(kept).unwrap_or(i32::MAX) });
        }
        let mut unavailable = 0;
        for (_, pod) in pods() {
            if !self.is_available(pod) {
                unavailable += 1;
                self.waits_for(pod);
            }
        }
        for (ordinal, pod) in pods().collect::<Vec<_>>().into_iter().rev() {
            if ordinal < first || unavailable >= max_unavailable {
                break;
            }
            if identity::revision_of(pod) == self.update || pod.metadata.deletion_timestamp.is_some() {
                continue;
            }
            if self.is_available(pod) {
                unavailable += 1;
            }
            self.delete(&Arc::clone(pod), Reason::Rollout);
        }
    }

    fn wait_for_deletion(&mut self) {
        let old = |pod: &&Arc<_>| identity::revision_of(pod) != self.update;
        let pods = self.slots.iter().filter_map(|slot| slot.pod.as_ref()).filter(old).count();
        if pods > 0 {
            self.waiting.push(WaitingOn::Deleted { pods: i32::try_from(pods).unwrap_or(i32::MAX) });
        }
    }
}

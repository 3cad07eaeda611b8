//! A rollout: old pods go, within maxUnavailable; or, with a surge, new ones come beside them first.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use super::{Planning, Reason, WaitingOn};
use crate::replica;

/// A node on which the rollout has something to do or to wait for.
struct Site {
    node: Arc<Node>,
    new: Option<Arc<Pod>>,
    old: Option<Arc<Pod>>,
    /// It has two or more that stay: where the template has changed again, two old ones.
    crowded: bool,
}

impl Planning<'_> {
    pub(super) fn roll(&mut self) {
        if self.settings.on_delete {
            let old = self.places.iter().flat_map(|place| &place.pods).filter(|pod| !self.is_new(pod)).count();
            if old > 0 {
                self.waiting.push(WaitingOn::Deleted { pods: count(old) });
            }
        } else if self.settings.max_surge > 0 {
            self.surge();
        } else {
            self.replace();
        }
    }

    /// Nodes that should have a pod, with the newest of each generation that stays.
    fn sites(&self) -> Vec<Site> {
        let staying = |pod: &&Arc<Pod>| replica::is_active(pod);
        let places = self.places.iter().filter(|place| place.fit.should_run);
        places
            .map(|place| {
                let pods = || place.pods.iter().filter(staying);
                let node = Arc::clone(&place.node);
                // The one that serves is the one that matters.
                let pick = |new: bool| {
                    let wanted = || pods().filter(move |pod| self.is_new(pod) == new);
                    wanted().find(|pod| self.is_available(pod)).or_else(|| wanted().next()).cloned()
                };
                Site { node, new: pick(true), old: pick(false), crowded: pods().count() > 1 }
            })
            .collect()
    }

    fn replace(&mut self) {
        let sites = self.sites();
        let serves = |site: &&Site| [&site.new, &site.old].into_iter().flatten().any(|pod| self.is_available(pod));
        let unavailable = sites.iter().filter(|site| !serves(site)).count();
        let mut budget = self.settings.max_unavailable.saturating_sub(unavailable);
        let old: Vec<Arc<Pod>> = sites.into_iter().filter_map(|site| site.old).collect();
        let rest = old.len();
        let mut going = 0;
        for pod in old {
            if !self.is_available(&pod) {
                self.delete(&pod, Reason::UnavailableOldPod, None);
                going += 1;
            } else if budget > 0 {
                self.delete(&pod, Reason::Rollout, None);
                budget -= 1;
                going += 1;
            }
        }
        if going < rest {
            self.waiting
                .push(WaitingOn::Available { unavailable: count(unavailable), limit: count(self.settings.max_unavailable) });
        }
    }

    fn surge(&mut self) {
        let sites = self.sites();
        // A node whose old pod is on its way out while the new one serves no longer counts as surging; one that fell silent in the
        // middle of it does, as upstream: its second pod is there all the same.
        let is_crowded = |pods: &[Arc<Pod>]| pods.iter().filter(|pod| replica::is_active(pod)).count() > 1;
        let surging = self.places.iter().filter(|place| is_crowded(&place.pods)).count();
        let mut budget = self.settings.max_surge.saturating_sub(surging);
        let mut left = 0;
        for Site { node, new, old, crowded } in sites {
            let Some(old) = old else { continue };
            match new {
                Some(new) if self.is_available(&new) => self.delete(&old, Reason::Superseded, None),
                Some(_) => left += 1,
                None if !self.is_available(&old) => self.delete(&old, Reason::UnavailableOldPod, None),
                None if budget > 0 && !crowded => {
                    self.create(&node, Reason::Surge);
                    budget -= 1;
                }
                None => left += 1,
            }
        }
        if left > 0 {
            self.waiting.push(WaitingOn::Available { unavailable: count(left), limit: count(self.settings.max_surge) });
        }
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

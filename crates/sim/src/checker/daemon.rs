//! A DaemonSet: one pod a node, two only within `maxSurge`, and no more nodes without service than `maxUnavailable`.
//!
//! - Without a surge a pod is made only where no other is left. With one, a second comes beside one that stays, on `maxSurge` nodes at
//!   most.
//! - A pod that serves is taken only if another on its node does, or no more than `maxUnavailable` nodes are without service then.
//!
//! What the controllers may not know yet counts in their favour, as [`Views`] has it. Pods that have ended, pods of nodes that have been
//! silent or removed, and pods of a set that is deleted may be taken at any time.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Checker, Moment,
    views::{Views, made, min_ready, taken},
};
use crate::scene::{Pod, Set};

/// What the controllers may know.
#[derive(Debug, Default)]
pub(crate) struct Daemon {
    views: Views,
}

impl Checker for Daemon {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        self.views.begin(moment);
        let outcome = match (made(moment), taken(moment)) {
            (Some((set, pod)), _) if set.daemon => self.judge_made(set, pod, moment),
            (_, Some((set, pod))) if set.daemon => self.judge_taken(set, pod, moment),
            _ => Ok(()),
        };
        self.views.end(moment);
        outcome
    }
}

impl Daemon {
    fn judge_made(&self, set: &Set, pod: &Pod, moment: &Moment<'_>) -> Result<(), String> {
        let (name, node) = (&pod.meta.name, &pod.place);
        let (sets, nodes) = (self.views.of_set(&set.meta.uid), self.views.of_nodes());
        let surges = nodes.iter().flat_map(|nodes| sets.iter().map(|set| set.max_surge(nodes.len())));
        let surge = surges.max().unwrap_or(0);
        let mut staying: BTreeMap<&str, usize> = BTreeMap::new();
        for other in moment.scene.pods_of(&set.meta.uid).filter(|other| other.is_active()) {
            *staying.entry(&other.place).or_default() += 1;
        }
        // What is left on a node that does not take pods any more is not of the rollout.
        let counts = |place: &str| nodes.iter().all(|nodes| nodes.contains(place));
        let doubled = staying.iter().filter(|(place, pods)| **pods > 1 && counts(place)).count();
        let left = moment.scene.pods_of(&set.meta.uid).filter(|other| !other.finished && other.place == *node).count() - 1;
        if surge == 0 && left > 0 {
            return Err(format!("{name} is made on {node}, where {left} others are"));
        }
        if staying[&**node] > 2 {
            return Err(format!("{name} is the third on {node}"));
        }
        if staying[&**node] == 2 && doubled > surge {
            return Err(format!("{name} is made beside another, which makes {doubled} such nodes, {surge} may be"));
        }
        Ok(())
    }

    fn judge_taken(&self, set: &Set, pod: &Pod, moment: &Moment<'_>) -> Result<(), String> {
        let sets = self.views.of_set(&set.meta.uid);
        let (shortest, longest) = min_ready(sets);
        if self.views.may_fail(&pod.meta.name, longest) {
            return Ok(());
        }
        let others = self.views.pods_of(&set.meta.uid).filter(|(name, _)| *name != pod.meta.name);
        let serving = others.filter(|(name, _)| self.views.may_serve(name, shortest, moment.now));
        let served: BTreeSet<&str> = serving.map(|(_, other)| &*other.place).collect();
        if served.contains(&*pod.place) {
            return Ok(());
        }
        let rolling: Vec<_> = sets.iter().filter(|set| !set.on_delete).collect();
        if rolling.is_empty() {
            return Err(format!("{} is taken, and nothing asks for it", pod.meta.name));
        }
        // A node that was silent is owed nothing.
        let owed = |node: &&String| !served.contains(node.as_str()) && !moment.scene.nodes.is_lost(node);
        let down = |nodes: &BTreeSet<String>| nodes.iter().filter(owed).count();
        let allowed = |nodes: &BTreeSet<String>| rolling.iter().map(|set| set.max_down(nodes.len())).max().unwrap_or(0);
        let nodes = self.views.of_nodes();
        if nodes.iter().all(|nodes| down(nodes) > allowed(nodes)) {
            let counts: Vec<_> = nodes.iter().map(|nodes| (down(nodes), allowed(nodes))).collect();
            return Err(format!("{} is taken, and of nodes without service there are and may be {counts:?}", pod.meta.name));
        }
        Ok(())
    }
}

//! A StatefulSet: each ordinal in its turn, the partition kept, and no more taken down at once than the user allows.
//!
//! - In order, a pod is made only when each one before it is available, and the highest surplus one goes first. Surplus are those
//!   beyond the replicas, and those below the first ordinal.
//! - A pod is made of the revision that its side of the partition asks for.
//! - A pod is taken only if it is surplus, cannot serve and is of another revision than is wanted, or is at or above the partition, of
//!   another revision than the newest, and no more than `maxUnavailable` are down then.
//!
//! What the controllers may not know yet counts in their favour, as [`Views`] has it. Pods that have ended, pods of nodes that have been
//! silent, and pods of a set that is deleted may be taken at any time.

use std::collections::BTreeSet;

use super::{
    Checker, Moment,
    views::{Views, made, min_ready, taken},
};
use crate::scene::{Pod, Set};

/// What the controllers may know.
#[derive(Debug, Default)]
pub(crate) struct Stateful {
    views: Views,
}

impl Checker for Stateful {
    fn look(&mut self, moment: &Moment<'_>) -> Result<(), String> {
        self.views.begin(moment);
        let outcome = match (made(moment), taken(moment)) {
            (Some((set, pod)), _) if !set.daemon => self.judge_made(set, pod, moment),
            (_, Some((set, pod))) if !set.daemon => self.judge_taken(set, pod, moment),
            _ => Ok(()),
        };
        self.views.end(moment);
        outcome
    }
}

fn ordinal(set: &Set, pod: &Pod) -> Result<usize, String> {
    let digits = pod.meta.name.strip_prefix(&set.meta.name).and_then(|rest| rest.strip_prefix('-'));
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| format!("{} has no ordinal", pod.meta.name))
}

fn name(set: &Set, ordinal: usize) -> String {
    format!("{}-{ordinal}", set.meta.name)
}

impl Stateful {
    fn judge_made(&self, set: &Set, pod: &Pod, moment: &Moment<'_>) -> Result<(), String> {
        let (sets, number) = (self.views.of_set(&set.meta.uid), ordinal(set, pod)?);
        let Some(first) = sets.iter().filter(|set| set.has(number)).map(|set| set.start).max() else {
            return Err(format!("{} is made beyond the replicas", pod.meta.name));
        };
        let (shortest, _) = min_ready(sets);
        let waited_for = (first..number).map(|before| name(set, before));
        let missing = waited_for.filter(|_| set.ordered).find(|name| !self.views.may_serve(name, shortest, moment.now));
        if let Some(missing) = missing {
            return Err(format!("{} is made before {missing} is available", pod.meta.name));
        }
        let below = |set: &Set| !set.on_delete && set.keeps(number);
        let wanted: BTreeSet<&str> = sets
            .iter()
            .flat_map(|set| sets.iter().map(|other| if below(set) { &*other.current } else { &*other.update }))
            .collect();
        if !wanted.contains(&*pod.revision) {
            return Err(format!("{} is made of {}, wanted is one of {wanted:?}", pod.meta.name, pod.revision));
        }
        Ok(())
    }

    fn judge_taken(&self, set: &Set, pod: &Pod, moment: &Moment<'_>) -> Result<(), String> {
        let (sets, number) = (self.views.of_set(&set.meta.uid), ordinal(set, pod)?);
        if sets.iter().any(|set| !set.has(number)) {
            let judgement = self.judge_surplus(set, pod, number);
            if judgement.is_ok() || !sets.iter().any(|set| set.has(number)) {
                return judgement;
            }
        }
        let (shortest, longest) = min_ready(sets);
        let another = |wanted: &dyn Fn(&Set) -> &str| sets.iter().any(|set| wanted(set) != pod.revision);
        let broken = self.views.of_pod(&pod.meta.name).iter().flatten().any(|pod| pod.ready_since.is_none());
        if broken && another(&|set| if set.keeps(number) { &set.current } else { &set.update }) {
            return Ok(());
        }
        if !sets.iter().any(|set| !set.on_delete && !set.keeps(number)) {
            return Err(format!("{} is taken, and nothing asks for it", pod.meta.name));
        }
        if !another(&|set| &set.update) {
            return Err(format!("{} is taken although it is of the newest revision", pod.meta.name));
        }
        let allowed = sets.iter().map(|set| set.max_unavailable).max().unwrap_or(0);
        let in_all = |ordinal: &usize| *ordinal != number && sets.iter().all(|set| set.has(*ordinal));
        let others = (set.start..set.start + set.replicas).filter(in_all).map(|other| name(set, other));
        let down = others.filter(|name| !self.views.may_serve(name, shortest, moment.now)).count();
        let costs = usize::from(!self.views.may_fail(&pod.meta.name, longest));
        if costs > 0 && down + costs > allowed {
            return Err(format!("{} is taken while {down} others are down, {allowed} may be", pod.meta.name));
        }
        Ok(())
    }

    fn judge_surplus(&self, set: &Set, pod: &Pod, number: usize) -> Result<(), String> {
        let sets = self.views.of_set(&set.meta.uid);
        let goes_first = |other: usize| other > number && !sets.iter().any(|set| set.has(other));
        let higher = self.views.pods_of(&set.meta.uid).filter(|(_, other)| ordinal(set, other).is_ok_and(goes_first));
        let stays = |name: &str| self.views.of_pod(name).iter().all(Option::is_some);
        match higher.filter(|_| set.ordered).find(|(name, _)| stays(name)) {
            Some((name, _)) => Err(format!("{} is taken while {name} is still there", pod.meta.name)),
            None => Ok(()),
        }
    }
}

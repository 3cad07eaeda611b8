//! What the controllers of sets may take for true: everything that was true at some time since they last knew everything.
//!
//! They act on their caches, each of which may be behind by its own time. What they have done to pods themselves they do know.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Moment;
use crate::{
    actor::Actor,
    scene::{Change, Pod, Set},
};

/// By uid and by name, what each was, the present last; `None` where it was not there.
#[derive(Debug, Default)]
pub(crate) struct Views {
    sets: BTreeMap<String, Vec<Set>>,
    pods: BTreeMap<String, Vec<Option<Pod>>>,
    /// The nodes that take pods.
    nodes: Vec<BTreeSet<String>>,
    /// When they last knew everything: what has become available by time alone since then, they may have decided about before.
    since: Timestamp,
}

fn only_last<T>(views: &mut Vec<T>) {
    views.drain(..views.len().saturating_sub(1));
}

impl Views {
    /// To be called before a change is judged.
    pub(crate) fn begin(&mut self, moment: &Moment<'_>) {
        if moment.all_heard {
            self.since = moment.now;
            self.sets.values_mut().for_each(only_last);
            self.pods.values_mut().for_each(only_last);
            only_last(&mut self.nodes);
        }
        let takers = || moment.scene.nodes.takers();
        if !self.nodes.last().is_some_and(|last| last.iter().map(String::as_str).eq(takers())) {
            self.nodes.push(takers().map(str::to_owned).collect());
        }
    }

    /// To be called after it was judged.
    pub(crate) fn end(&mut self, moment: &Moment<'_>) {
        match moment.change {
            Change::Set(_, Some(set)) => self.sets.entry(set.meta.uid.clone()).or_default().push(set.clone()),
            Change::Set(Some(set), None) => drop(self.sets.remove(&set.meta.uid)),
            Change::Pod(before, after) => {
                let Some(pod) = after.as_ref().or(before.as_ref()) else { return };
                let views = self.pods.entry(pod.meta.name.clone()).or_insert_with(|| vec![before.clone()]);
                views.push(after.clone());
                let goes = |pod: &Option<Pod>| pod.as_ref().is_some_and(|pod| pod.meta.going);
                // The garbage loop writes to pods that are on their way out as well: whoever makes pods need not have heard of that.
                let came_or_goes = before.is_none() || after.is_none() || goes(after) && !goes(before);
                // Pods of a silent node are evicted by another controller.
                if moment.actor == Actor::Controllers && came_or_goes && !moment.scene.nodes.is_lost(&pod.node) {
                    only_last(views);
                }
            }
            _ => {}
        }
    }

    /// What a set may be taken for; empty if there is none of that uid.
    pub(crate) fn of_set(&self, uid: &str) -> &[Set] {
        self.sets.get(uid).map_or(&[], Vec::as_slice)
    }

    /// What the nodes that take pods may be taken for; never empty.
    pub(crate) fn of_nodes(&self) -> &[BTreeSet<String>] {
        &self.nodes
    }

    /// What a pod may be taken for.
    pub(crate) fn of_pod(&self, name: &str) -> &[Option<Pod>] {
        self.pods.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a pod may be taken to be available.
    pub(crate) fn may_serve(&self, name: &str, min_ready_seconds: i64, now: Timestamp) -> bool {
        self.of_pod(name).iter().flatten().any(|pod| pod.is_available(min_ready_seconds, now))
    }

    /// Whether a pod may be taken not to be available.
    pub(crate) fn may_fail(&self, name: &str, min_ready_seconds: i64) -> bool {
        self.of_pod(name).iter().any(|pod| pod.as_ref().is_none_or(|pod| !pod.is_available(min_ready_seconds, self.since)))
    }

    /// Names of pods of an owner that may be there.
    pub(crate) fn pods_of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (&'a str, &'a Pod)> {
        let last = |views: &'a Vec<Option<Pod>>| views.iter().rev().flatten().next();
        let pods = self.pods.iter().filter_map(move |(name, views)| Some((name.as_str(), last(views)?)));
        pods.filter(move |(_, pod)| pod.meta.is_owned_by(owner))
    }
}

/// Shortest and longest `minReadySeconds` among views of a set.
pub(crate) fn min_ready(sets: &[Set]) -> (i64, i64) {
    let seconds = || sets.iter().map(|set| set.min_ready_seconds);
    (seconds().min().unwrap_or(0), seconds().max().unwrap_or(0))
}

/// The pod that the controllers have just marked for deletion or deleted, as it was, if its set stays.
pub(crate) fn taken<'a>(moment: &'a Moment<'_>) -> Option<(&'a Set, &'a Pod)> {
    let Change::Pod(Some(pod), after) = moment.change else { return None };
    let going = after.as_ref().is_none_or(|pod| pod.meta.going);
    let excused = pod.meta.going || pod.finished || moment.scene.nodes.is_lost(&pod.node);
    let set = moment.scene.set_of(pod).filter(|set| !set.meta.going)?;
    (moment.actor == Actor::Controllers && going && !excused).then_some((set, pod))
}

/// The pod that the controllers have just made, if its set is there.
pub(crate) fn made<'a>(moment: &'a Moment<'_>) -> Option<(&'a Set, &'a Pod)> {
    let Change::Pod(None, Some(pod)) = moment.change else { return None };
    moment.scene.set_of(pod).map(|set| (set, pod))
}

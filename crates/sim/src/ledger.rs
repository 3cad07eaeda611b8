//! The store of a world: every write is logged and judged before anybody can act on it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use tokio::sync::Notify;
use windlass_storage::{Change as Write, Entry, Error, Event, Expect, Memory, Page, Range, Revision, Signal, Store, Watch};

use crate::{
    actor::Actor,
    checker::{self, Checker, Known, Moment},
    clock::WorldClock,
    knowledge::Knowledge,
    log::Log,
    panics,
    scene::{Change, Scene},
};

/// A store that looks at what is written.
pub(crate) struct Ledger {
    memory: Memory,
    clock: WorldClock,
    log: Arc<Log>,
    court: Mutex<Court>,
    /// Of the controllers.
    pub(crate) knowledge: Arc<Knowledge>,
    /// Told when the first violation is found.
    pub(crate) violated: Notify,
}

struct Court {
    /// Every write, what the store does by itself included.
    events: Watch,
    scene: Scene,
    checkers: Vec<Box<dyn Checker>>,
    violation: Option<String>,
    /// By uid, the Deployments of which everything that the controllers said after the last write was true.
    true_then: BTreeMap<String, Known>,
    /// By prefix of a kind: the revisions of its writes.
    revisions: BTreeMap<String, Vec<Revision>>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("memory", &self.memory).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Takes over a store in which there are nodes and no workloads yet.
    pub(crate) async fn new(memory: Memory, clock: WorldClock, log: Arc<Log>) -> anyhow::Result<Self> {
        let events = memory.watch("/", memory.revision().await?).await?;
        let nodes = memory.list(Range { prefix: "/registry/core/nodes/".to_owned(), ..Range::default() }).await?;
        let mut scene = Scene::default();
        for entry in nodes.entries {
            let event = Event { revision: entry.mod_revision, entry, previous: None, deleted: false };
            scene.take(&event).map_err(anyhow::Error::msg)?;
        }
        let court = Court {
            events,
            scene,
            checkers: checker::all(),
            violation: None,
            true_then: BTreeMap::new(),
            revisions: BTreeMap::new(),
        };
        Ok(Self { memory, clock, log, court: Mutex::new(court), knowledge: Arc::default(), violated: Notify::new() })
    }

    fn court(&self) -> MutexGuard<'_, Court> {
        self.court.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the store as it is.
    pub(crate) fn look<T>(&self, at: impl FnOnce(&Scene) -> T) -> T {
        at(&self.court().scene)
    }

    /// What did not hold, if anything.
    pub(crate) fn violation(&self) -> Option<String> {
        self.court().violation.clone()
    }

    /// Notes what somebody else has found.
    pub(crate) fn accuse(&self, violation: String) {
        self.log.say(format_args!("VIOLATION {violation}"));
        self.court().violation.get_or_insert(violation);
        self.violated.notify_one();
    }

    /// The first write to a prefix after a revision, if there was one up to `until`.
    pub(crate) fn next_revision(&self, prefix: &str, after: Revision, until: Revision) -> Option<Revision> {
        let court = self.court();
        let revisions = court.revisions.get(prefix)?;
        let next = revisions.get(revisions.partition_point(|revision| *revision <= after)).copied();
        next.filter(|next| *next <= until)
    }

    /// Judges every write that has not been looked at yet.
    fn judge(&self) {
        let mut court = self.court();
        let mut found = None;
        while let Some(Some(Ok(signal))) = court.events.next().now_or_never() {
            let Signal::Event(event) = signal else { continue };
            if let Err(violation) = court.take(&event, self) {
                found.get_or_insert(violation);
            }
        }
        drop(court);
        let found = found.or_else(panics::first);
        if let Some(violation) = found {
            self.accuse(violation);
        }
    }
}

/// What the controllers must have heard of to know everything about a Deployment.
const OF_DEPLOYMENTS: &[&str] = &["/registry/core/pods/", "/registry/apps/replicasets/", "/registry/apps/deployments/"];
/// And about a StatefulSet or DaemonSet.
const OF_SETS: &[&str] = &[
    "/registry/core/pods/",
    "/registry/core/nodes/",
    "/registry/apps/statefulsets/",
    "/registry/apps/daemonsets/",
    "/registry/apps/controllerrevisions/",
];

/// Start of the keys of the kind that a key belongs to, as in `/registry/core/pods/`.
fn prefix_of(key: &str) -> &str {
    key.match_indices('/').nth(3).map_or(key, |(end, _)| &key[..=end])
}

impl Court {
    fn take(&mut self, event: &Event, ledger: &Ledger) -> Result<(), String> {
        let (key, log, now) = (event.entry.key.as_ref(), &ledger.log, ledger.clock.now());
        let looked_at = if self.scene.sets.is_empty() { OF_DEPLOYMENTS } else { OF_SETS };
        let newest = looked_at.iter().map(|prefix| (*prefix, self.revisions.get(*prefix).and_then(|all| all.last().copied())));
        let all_heard = ledger.knowledge.is_complete(newest);
        self.revisions.entry(prefix_of(key).to_owned()).or_default().push(event.revision);
        let actor = Actor::at_work();
        let change = self.scene.take(event)?;
        let verb = if event.deleted { "deletes" } else { "writes" };
        match &change {
            Some(change) => log.say(format_args!("{} {actor} {verb} {change}", event.revision)),
            None => log.say(format_args!("{} {actor} {verb} {key}", event.revision)),
        }
        let Some(change) = change else { return Ok(()) };
        let known = if all_heard { std::mem::take(&mut self.true_then) } else { BTreeMap::new() };
        let moment = Moment { scene: &self.scene, change: &change, actor, now, known, all_heard };
        let outcome = self.checkers.iter_mut().try_for_each(|checker| checker.look(&moment));
        self.true_then = Known::all(&self.scene, now);
        outcome
    }
}

#[async_trait]
impl Store for Ledger {
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        self.memory.get(key).await
    }

    async fn list(&self, range: Range) -> Result<Page, Error> {
        self.memory.list(range).await
    }

    async fn write(&self, key: &str, expect: Expect, change: Write) -> Result<Entry, Error> {
        let outcome = self.memory.write(key, expect, change).await;
        self.judge();
        outcome
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.memory.watch(prefix, after).await
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        self.memory.compact(before).await
    }

    async fn revision(&self) -> Result<Revision, Error> {
        self.memory.revision().await
    }
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pod(before, after) => match after.as_ref().or(before.as_ref()) {
                Some(pod) => write!(f, "pod {} {}", pod.meta.name, pod.state()),
                None => Ok(()),
            },
            Self::ReplicaSet(before, after) => match after.as_ref().or(before.as_ref()) {
                Some(set) => write!(f, "replicaset {} {}", set.meta.name, set.state()),
                None => Ok(()),
            },
            Self::Deployment(before, after) => match after.as_ref().or(before.as_ref()) {
                Some(deployment) => write!(f, "deployment {} {}", deployment.meta.name, deployment.state()),
                None => Ok(()),
            },
            Self::Set(before, after) => match after.as_ref().or(before.as_ref()) {
                Some(set) => write!(f, "set {} {}", set.meta.name, set.state()),
                None => Ok(()),
            },
            Self::Claim(before, after) => match after.as_ref().or(before.as_ref()) {
                Some(claim) => write!(f, "claim {} {}", claim.meta.name, claim.state()),
                None => Ok(()),
            },
            Self::Revision(before, after) => match after.as_ref().or(before.as_ref()) {
                Some(revision) => write!(f, "revision {} number {}", revision.meta.name, revision.number),
                None => Ok(()),
            },
        }
    }
}

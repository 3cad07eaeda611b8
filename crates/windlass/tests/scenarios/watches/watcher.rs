//! Who watches: goes on from where it was, and lists again when that is gone.

use std::{pin::pin, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
};

use super::{
    Counts, Phase, Round, count,
    witness::{Colours, Ledger, NAMESPACES, Object, Revision, Sight, Witness, namespace},
};

/// What a watcher does besides reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Habit {
    Stays,
    /// Breaks its connection after so many events.
    Breaks(usize),
    /// Stops reading, once a round, until there was a compaction.
    Sleeps,
    /// Breaks its connection, once a round, and comes back after a compaction.
    Leaves,
}

#[derive(Debug)]
pub(super) struct Watcher {
    number: usize,
    pub(super) witness: Witness,
    habit: Habit,
    /// Where it was cannot be gone on from: it has to list.
    expired: bool,
    lists: usize,
}

impl Watcher {
    pub(super) fn new(number: usize, ledger: &Arc<Ledger>) -> Self {
        let everything = Sight { namespace: None, name: None, colours: Colours::Any };
        let of_namespace = Sight { namespace: Some(number % NAMESPACES), ..everything };
        let (sight, habit) = match number % 8 {
            // Sees the ballast, too, which fills its connection while it sleeps.
            0 if number < 16 => (everything, Habit::Sleeps),
            0 => (everything, Habit::Breaks(5000)),
            1 => (of_namespace, Habit::Stays),
            2 => (Sight { colours: Colours::Red, ..everything }, Habit::Stays),
            3 => (Sight { colours: Colours::NotRed, ..everything }, Habit::Breaks(700)),
            4 => (Sight { colours: Colours::Red, ..of_namespace }, Habit::Breaks(90)),
            5 => (Sight { colours: Colours::NotRed, ..everything }, Habit::Leaves),
            6 => (Sight { colours: Colours::Red, ..everything }, Habit::Breaks(2000)),
            _ => (Sight { name: Some(Object(number)), ..of_namespace }, Habit::Stays),
        };
        Self { number, witness: Witness::new(sight, ledger), habit, expired: true, lists: 0 }
    }

    pub(super) async fn run(mut self, mut round: Round) -> Result<Self> {
        let outcome = self.watch(&mut round).await;
        round.excuse(outcome).with_context(|| format!("watcher {} of {:?}", self.number, self.witness.sight))?;
        Ok(self)
    }

    async fn watch(&mut self, round: &mut Round) -> Result<()> {
        let config_maps = match self.witness.sight.namespace {
            Some(number) => Api::<ConfigMap>::namespaced(round.client.clone(), &namespace(number)),
            None => Api::<ConfigMap>::all(round.client.clone()),
        };
        let (mut first, mut rested) = (true, false);
        loop {
            self.follow(&config_maps, round, first, &mut rested).await?;
            first = false;
            match round.phase() {
                Phase::Complete(revision) if !self.expired && self.witness.revision >= revision => return Ok(()),
                _ if rested && self.habit == Habit::Leaves => round.until_compacted().await?,
                _ => {}
            }
        }
    }

    /// One watch until it ends, after a list if need be.
    async fn follow(&mut self, config_maps: &Api<ConfigMap>, round: &mut Round, first: bool, rested: &mut bool) -> Result<()> {
        let counts = Arc::clone(&round.counts);
        let asleep_seconds = if self.habit == Habit::Sleeps && !*rested { 60 } else { 1 };
        let mut params = WatchParams {
            label_selector: self.label_selector(),
            field_selector: self.field_selector(),
            ..WatchParams::default()
        }
        .timeout(asleep_seconds);
        let mut resumes = !self.expired;
        let mut initial = None;
        if self.expired {
            self.lists += 1;
            if self.lists.is_multiple_of(3) {
                params = params.initial_events();
                initial = Some(Vec::new());
            } else {
                self.list(config_maps, &counts).await?;
            }
        }
        let mut stream = pin!(config_maps.watch(&params, &self.witness.revision.to_string()).await?);
        let mut read = 0;
        while let Some(event) = stream.try_next().await? {
            let (kind, config_map) = match event {
                WatchEvent::Added(config_map) => ("ADDED", config_map),
                WatchEvent::Modified(config_map) => ("MODIFIED", config_map),
                WatchEvent::Deleted(config_map) => ("DELETED", config_map),
                WatchEvent::Bookmark(bookmark) => {
                    let revision = bookmark.metadata.resource_version.parse()?;
                    match initial.take() {
                        Some(items) => self.listed(revision, &items, &counts)?,
                        None => self.witness.bookmark(revision)?,
                    }
                    continue;
                }
                WatchEvent::Error(status) if status.code == 410 => {
                    ensure!(read == 0 && !self.expired, "a watch expires after it began: {status:?}");
                    count(if first { &counts.expired_by_restart } else { &counts.expired_by_compaction });
                    self.expired = true;
                    return Ok(());
                }
                WatchEvent::Error(status) => bail!("a watch fails: {status:?}"),
            };
            if let Some(items) = &mut initial {
                ensure!(kind == "ADDED", "{kind} among the initial events");
                items.push(config_map);
                continue;
            }
            if std::mem::take(&mut resumes) {
                count(&counts.resumed);
            }
            self.witness.event(kind, &config_map)?;
            count(&counts.events);
            read += 1;
            match self.habit {
                Habit::Breaks(after) if read == after => return Ok(()),
                Habit::Sleeps if !*rested => {
                    *rested = true;
                    round.until_compacted().await?;
                }
                Habit::Leaves if !*rested => {
                    *rested = true;
                    return Ok(());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn label_selector(&self) -> Option<String> {
        match self.witness.sight.colours {
            Colours::Any => None,
            Colours::Red => Some("colour=red".to_owned()),
            Colours::NotRed => Some("colour,colour!=red".to_owned()),
        }
    }

    fn field_selector(&self) -> Option<String> {
        self.witness.sight.name.map(|object| format!("metadata.name={}", object.name()))
    }

    /// In pages, or in one go.
    async fn list(&mut self, config_maps: &Api<ConfigMap>, counts: &Counts) -> Result<()> {
        let limit = if self.lists.is_multiple_of(2) { Some(5) } else { None };
        let mut params = ListParams {
            label_selector: self.label_selector(),
            field_selector: self.field_selector(),
            limit,
            ..ListParams::default()
        };
        let mut items = Vec::new();
        let mut revisions = Vec::new();
        loop {
            let page = config_maps.list(&params).await?;
            items.extend(page.items);
            revisions.push(page.metadata.resource_version.context("a list without a revision")?.parse::<Revision>()?);
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => break,
            }
        }
        ensure!(revisions.iter().all(|revision| *revision == revisions[0]), "pages of several revisions: {revisions:?}");
        self.listed(revisions[0], &items, counts)
    }

    fn listed(&mut self, revision: Revision, items: &[ConfigMap], counts: &Counts) -> Result<()> {
        count(&counts.lists);
        self.expired = false;
        self.witness.list(revision, items)
    }
}

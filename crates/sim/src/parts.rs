//! The parts of a world, each on a line of its own: controllers that are killed and come back, nodes that go and come back.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::Router;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_apiserver::ApiServer;
use windlass_kubelet::hollow::{self, Fate, Lapse};

use crate::{
    actor::Actor,
    chance::Chance,
    clock::WorldClock,
    faults::{Faults, Line},
    ledger::Ledger,
    log::Log,
    user::Requests,
    witness::Count,
};

/// Longest time for which the controllers are away once they were killed.
const AWAY_MS: u64 = 4_000;
/// Image of a container that never becomes ready.
pub(crate) const BROKEN: &str = "broken";

/// What every part needs.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    pub(crate) server: ApiServer,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: WorldClock,
    pub(crate) log: Arc<Log>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) chance: Chance,
    pub(crate) count: Arc<Count>,
    /// Of the world; pods draw from it by their names.
    pub(crate) seed: u64,
}

impl Ground {
    pub(crate) fn line(&self, actor: Actor) -> Arc<Line> {
        Line::new(actor, &self.faults, &self.ledger, &self.log, &self.count, self.chance.fork())
    }

    fn router(&self, user: &str) -> Router {
        self.server.in_process(user)
    }

    /// A client that nothing goes wrong for.
    pub(crate) fn user(&self) -> kube::Client {
        self.line(Actor::User).client(self.router("system:admin"))
    }

    fn controller_options(&self) -> windlass_controllers::Options {
        let (clock, chance) = (self.clock, self.chance.fork());
        let mut options = windlass_controllers::Options::new("CERTIFICATE".to_owned(), Arc::new(move || chance.bits()));
        options.clock = Arc::new(move || clock.now());
        options
    }

    /// Runs the controllers, and again whenever they were killed.
    pub(crate) async fn keep_controllers(self) {
        loop {
            let line = self.line(Actor::Controllers);
            let client = line.client(self.router("system:kube-controller-manager"));
            let mut tasks = JoinSet::new();
            tasks.spawn(windlass_controllers::run(client, self.controller_options(), CancellationToken::new()));
            line.died.notified().await;
            self.log.say(format_args!("the controllers are killed after {} writes", self.faults.writes()));
            tasks.shutdown().await;
            tokio::time::sleep(self.chance.up_to_ms(AWAY_MS)).await;
            self.log.say(format_args!("the controllers are back"));
        }
    }

    /// Runs one node until it is stopped.
    fn node(&self, name: String) -> impl Future<Output = ()> + Send + 'static {
        let client = self.line(Actor::Node).client(self.router("system:nodes"));
        let (clock, ground) = (self.clock, self.clone());
        let options = hollow::Options {
            clock: Arc::new(move || clock.now()),
            conduct: Arc::new(move |pod| ground.fate(pod.uid, pod.image)),
        };
        hollow::run(client, vec![name], options, CancellationToken::new())
    }

    /// How a pod fares: it follows from the seed and the pod, whenever it is asked.
    fn fate(&self, uid: &str, image: &str) -> Fate {
        let (weather, chance) = (&self.faults.weather, Chance::of(self.seed, uid));
        let gone_after = chance.up_to_ms(weather.parting_ms);
        let lapses = chance.hits(weather.lapses) && !self.faults.is_calm();
        let lapse = lapses.then(|| Lapse { after: chance.up_to_ms(10_000), lasts: chance.up_to_ms(10_000) });
        let ready_after = (image != BROKEN).then(|| chance.up_to_ms(weather.slowness_ms));
        Fate { ready_after, lapse, gone_after }
    }
}

/// The nodes of a world.
#[derive(Debug)]
pub(crate) struct Nodes {
    ground: Ground,
    running: BTreeMap<String, JoinSet<()>>,
}

impl Nodes {
    pub(crate) fn start(ground: &Ground, names: impl IntoIterator<Item = String>) -> Self {
        let mut nodes = Self { ground: ground.clone(), running: BTreeMap::new() };
        names.into_iter().for_each(|name| nodes.come(name));
        nodes
    }

    fn come(&mut self, name: String) {
        self.ground.log.say(format_args!("{name} is there"));
        let mut tasks = JoinSet::new();
        tasks.spawn(self.ground.node(name.clone()));
        self.running.insert(name, tasks);
    }

    /// Lets nodes come and go, until nothing goes wrong any more.
    pub(crate) async fn waver(mut self, chance: Chance) {
        loop {
            tokio::time::sleep(Duration::from_secs(1) + chance.up_to_ms(30_000)).await;
            if self.ground.faults.is_calm() {
                return self.stay().await;
            }
            match chance.below(10) {
                0..5 => self.go_silent(&chance).await,
                5..8 => self.be_removed(&chance).await,
                _ => self.come(format!("node-{}", self.running.len() + 1)),
            }
        }
    }

    /// Switches one off for a while.
    async fn go_silent(&mut self, chance: &Chance) {
        // Shorter than its lease, longer than it, or so long that its pods are evicted.
        let away = Duration::from_secs(*chance.pick(&[5, 20, 60, 60, 400]));
        let name = self.switch_off(chance).await;
        self.ground.log.say(format_args!("{name} is gone for {away:?}"));
        tokio::time::sleep(away).await;
        self.come(name);
    }

    /// Switches one off, deletes it as `kubectl delete node` does, and has it register again: volumes are tied to it for good.
    async fn be_removed(&mut self, chance: &Chance) {
        // It is back before its pods are taken for lost, or after that.
        let away = Duration::from_secs(*chance.pick(&[0, 5, 30, 120]));
        let name = self.switch_off(chance).await;
        self.ground.log.say(format_args!("{name} is removed for {away:?}"));
        let removed = Requests::new(self.ground.user()).delete(&format!("/api/v1/nodes/{name}"), "Background").await;
        if let Err(error) = removed {
            self.ground.log.say(format_args!("{name} is not removed: {error}"));
        }
        tokio::time::sleep(away).await;
        self.come(name);
    }

    async fn switch_off(&mut self, chance: &Chance) -> String {
        let names: Vec<String> = self.running.keys().cloned().collect();
        let name = chance.pick(&names).clone();
        if let Some(mut tasks) = self.running.remove(&name) {
            tasks.shutdown().await;
        }
        name
    }

    /// Keeps all nodes for ever.
    pub(crate) async fn stay(self) {
        let _running = self.running;
        std::future::pending::<()>().await;
    }
}

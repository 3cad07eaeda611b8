//! A user who cannot leave a workload alone.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    request::{JSON_PATCH, MERGE, Requests},
    workload::Workload,
};
use crate::{chance::Chance, ledger::Ledger, log::Log, parts::BROKEN};

const ROOT: &str = "/apis/apps/v1/namespaces/default";
const PODS: &str = "/api/v1/namespaces/default/pods";
/// Few, so that a template comes back soon.
const IMAGES: [&str; 5] = ["v1", "v2", "v3", "v4", BROKEN];
/// Longest time that a deletion takes: pods of a node that is away go when it is back.
const GONE_AFTER_SECONDS: u32 = 900;
const REPLICAS: [u64; 8] = [0, 1, 2, 3, 3, 4, 6, 9];

/// What the user does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    SetImage,
    Scale,
    Pause,
    Resume,
    Undo,
    Restart,
    ChangeStrategy,
    ChangeMinReady,
    DeletePod,
    DeleteAll,
    LeaveBehind,
}

/// Plays with the workload `web`.
#[derive(Debug)]
pub(crate) struct User {
    requests: Requests,
    workload: &'static dyn Workload,
    chance: Chance,
    ledger: Arc<Ledger>,
    log: Arc<Log>,
    rollouts: u64,
    restarts: u64,
}

impl User {
    pub(crate) fn new(
        requests: Requests,
        workload: &'static dyn Workload,
        chance: Chance,
        ledger: Arc<Ledger>,
        log: Arc<Log>,
    ) -> Self {
        Self { requests, workload, chance, ledger, log, rollouts: 0, restarts: 0 }
    }

    fn collection(&self) -> String {
        format!("{ROOT}/{}", self.workload.plural())
    }

    fn path(&self) -> String {
        format!("{ROOT}/{}/web", self.workload.plural())
    }

    /// Templates that were asked for so far.
    pub(crate) fn rollouts(&self) -> u64 {
        self.rollouts
    }

    /// Makes the workload, of any size and with any strategy.
    pub(crate) async fn begin(&mut self) {
        let replicas = *self.chance.pick(&REPLICAS[1..]);
        self.begin_with(replicas).await;
    }

    /// Makes the workload, of this size and with any strategy.
    pub(crate) async fn begin_with(&mut self, replicas: u64) {
        let limit = *self.chance.pick(&[0, 1, 2, 10]);
        let mut web = json!({
            "apiVersion": "apps/v1", "kind": self.workload.kind(), "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": limit,
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "v1"}]}}
            }
        });
        for part in [self.workload.spec(replicas, &self.chance), self.workload.strategy(&self.chance)] {
            let fields = part.as_object().cloned().unwrap_or_default();
            web["spec"].as_object_mut().into_iter().for_each(|spec| spec.extend(fields.clone()));
        }
        self.log.say(format_args!("user creates web: {}", web["spec"]));
        self.rolls(self.requests.create(&self.collection(), &web).await);
    }

    /// Does one thing.
    pub(crate) async fn act(&mut self) {
        let mut draw = self.chance.below(self.workload.acts().iter().map(|(_, weight)| weight).sum());
        let act = self.workload.acts().iter().find(|(_, weight)| match draw.checked_sub(*weight) {
            Some(rest) => {
                draw = rest;
                false
            }
            None => true,
        });
        let Some((act, _)) = act else { return };
        self.log.say(format_args!("user wants to {act:?}"));
        match act {
            Act::SetImage => self.set_image(self.chance.pick::<&str>(&IMAGES)).await,
            Act::Undo => self.undo().await,
            Act::Restart => self.restart().await,
            Act::Scale => {
                let replicas = *self.chance.pick(&REPLICAS);
                self.change(json!({"spec": {"replicas": replicas}})).await;
            }
            Act::Pause => self.change(json!({"spec": {"paused": true}})).await,
            Act::Resume => self.change(json!({"spec": {"paused": null}})).await,
            Act::ChangeStrategy => self.change(json!({"spec": self.workload.strategy(&self.chance)})).await,
            Act::ChangeMinReady => {
                let seconds = *self.chance.pick(&[0, 1, 5]);
                self.change(json!({"spec": {"minReadySeconds": seconds}})).await;
            }
            Act::DeletePod => self.delete_pod().await,
            Act::DeleteAll => self.begin_again("Background").await,
            Act::LeaveBehind => self.begin_again("Orphan").await,
        }
    }

    async fn begin_again(&mut self, propagation: &str) {
        self.answered(self.requests.delete(&self.path(), propagation).await);
        self.begin().await;
    }

    /// Leaves it so that it can settle: nothing holds it up, and its image runs.
    pub(crate) async fn make_up(&mut self) {
        // It may have been deleted while its successor could not be made yet.
        if !self.requests.get(&self.path()).await.is_ok_and(|web| web["metadata"]["deletionTimestamp"].is_null()) {
            self.wait_until_gone().await;
            self.begin().await;
        }
        self.change(json!({"spec": self.workload.let_go()})).await;
        self.set_image("v5").await;
    }

    /// Nothing goes wrong any more, so one that is to go does.
    async fn wait_until_gone(&self) {
        for _ in 0..GONE_AFTER_SECONDS {
            if self.requests.get(&self.path()).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    async fn change(&self, change: Value) {
        self.answered(self.requests.patch(&self.path(), MERGE, &change).await);
    }

    async fn set_image(&mut self, image: &str) {
        let path = "/spec/template/spec/containers/0/image";
        let change = json!([{"op": "replace", "path": path, "value": image}]);
        self.rolls(self.requests.patch(&self.path(), JSON_PATCH, &change).await);
    }

    async fn restart(&mut self) {
        self.restarts += 1;
        let at = format!("restart {}", self.restarts);
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": at});
        let change = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        self.rolls(self.requests.patch(&self.path(), MERGE, &change).await);
    }

    /// As `kubectl rollout undo`, to any revision there is; what comes of it is the old template, to the byte.
    async fn undo(&mut self) {
        let Ok(history) = self.requests.get(&format!("{ROOT}/{}", self.workload.history())).await else { return };
        let history: Vec<&Value> = history["items"].as_array().into_iter().flatten().collect();
        if history.is_empty() {
            return;
        }
        let (revision, template) = self.workload.remembered(self.chance.pick::<&Value>(&history));
        self.log.say(format_args!("user goes back to revision {revision}"));
        let change = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        let outcome = self.requests.patch(&self.path(), JSON_PATCH, &change).await;
        if let Ok(web) = &outcome {
            let (was, is) = (template.to_string(), web["spec"]["template"].to_string());
            if was != is {
                self.ledger.accuse(format!("the template of revision {revision} was {was}, and comes back as {is}"));
            }
        }
        self.rolls(outcome);
    }

    async fn delete_pod(&self) {
        let names: Vec<String> = self.ledger.look(|scene| scene.pods.values().map(|pod| pod.meta.name.clone()).collect());
        if !names.is_empty() {
            let name = self.chance.pick(&names);
            self.answered(self.requests.delete(&format!("{PODS}/{name}"), "Background").await);
        }
    }

    fn rolls(&mut self, outcome: Result<Value, String>) {
        self.rollouts += u64::from(outcome.is_ok());
        self.answered(outcome);
    }

    fn answered(&self, outcome: Result<Value, String>) {
        if let Err(error) = outcome {
            self.log.say(format_args!("user is told: {error}"));
        }
    }
}

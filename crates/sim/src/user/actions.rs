//! A user who cannot leave a Deployment alone.

use std::sync::Arc;

use serde_json::{Value, json};

use super::request::{JSON_PATCH, MERGE, Requests};
use crate::{chance::Chance, ledger::Ledger, log::Log, parts::BROKEN};

const COLLECTION: &str = "/apis/apps/v1/namespaces/default/deployments";
const PATH: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const REPLICA_SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Few, so that a template comes back soon.
const IMAGES: [&str; 5] = ["v1", "v2", "v3", "v4", BROKEN];
const REPLICAS: [u64; 8] = [0, 1, 2, 3, 3, 4, 6, 9];

/// What the user does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
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
}

/// How often each is done: what makes rollouts is done most.
const ACTS: [(Act, u64); 10] = [
    (Act::SetImage, 30),
    (Act::Undo, 20),
    (Act::Scale, 15),
    (Act::Restart, 12),
    (Act::Pause, 5),
    (Act::Resume, 8),
    (Act::ChangeStrategy, 8),
    (Act::ChangeMinReady, 3),
    (Act::DeletePod, 8),
    (Act::DeleteAll, 1),
];

/// Plays with the Deployment `web`.
#[derive(Debug)]
pub(crate) struct DeploymentUser {
    requests: Requests,
    chance: Chance,
    ledger: Arc<Ledger>,
    log: Arc<Log>,
    rollouts: u64,
    restarts: u64,
}

impl DeploymentUser {
    pub(crate) fn new(requests: Requests, chance: Chance, ledger: Arc<Ledger>, log: Arc<Log>) -> Self {
        Self { requests, chance, ledger, log, rollouts: 0, restarts: 0 }
    }

    /// Templates that were asked for so far.
    pub(crate) fn rollouts(&self) -> u64 {
        self.rollouts
    }

    /// Makes the Deployment, of any size and with any strategy.
    pub(crate) async fn begin(&mut self) {
        let replicas = *self.chance.pick(&REPLICAS[1..]);
        self.begin_with(replicas, strategy(&self.chance)).await;
    }

    /// Makes the Deployment.
    pub(crate) async fn begin_with(&mut self, replicas: u64, strategy: Value) {
        let limit = *self.chance.pick(&[0, 1, 2, 10]);
        let web = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "revisionHistoryLimit": limit,
                "strategy": strategy,
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "v1"}]}}
            }
        });
        self.log.say(format_args!("user creates web: {} strategy {}", replicas, web["spec"]["strategy"]));
        self.rolls(self.requests.create(COLLECTION, &web).await);
    }

    /// Does one thing.
    pub(crate) async fn act(&mut self) {
        let mut draw = self.chance.below(ACTS.iter().map(|(_, weight)| weight).sum());
        let act = ACTS.iter().find(|(_, weight)| match draw.checked_sub(*weight) {
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
            Act::ChangeStrategy => self.change(json!({"spec": {"strategy": strategy(&self.chance)}})).await,
            Act::ChangeMinReady => {
                let seconds = *self.chance.pick(&[0, 1, 5]);
                self.change(json!({"spec": {"minReadySeconds": seconds}})).await;
            }
            Act::DeletePod => self.delete_pod().await,
            Act::DeleteAll => {
                self.answered(self.requests.delete(PATH).await);
                self.begin().await;
            }
        }
    }

    /// Leaves it so that it can settle: not paused, and with an image that runs.
    pub(crate) async fn make_up(&mut self) {
        // It may have been deleted while its successor could not be made yet.
        if self.requests.get(PATH).await.is_err() {
            self.begin().await;
        }
        self.change(json!({"spec": {"paused": null}})).await;
        self.set_image("v5").await;
    }

    async fn change(&self, change: Value) {
        self.answered(self.requests.patch(PATH, MERGE, &change).await);
    }

    async fn set_image(&mut self, image: &str) {
        let path = "/spec/template/spec/containers/0/image";
        let change = json!([{"op": "replace", "path": path, "value": image}]);
        self.rolls(self.requests.patch(PATH, JSON_PATCH, &change).await);
    }

    async fn restart(&mut self) {
        self.restarts += 1;
        let at = format!("restart {}", self.restarts);
        let annotations = json!({"kubectl.kubernetes.io/restartedAt": at});
        let change = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        self.rolls(self.requests.patch(PATH, MERGE, &change).await);
    }

    /// As `kubectl rollout undo`, to any revision there is; what comes of it is the old template, to the byte.
    async fn undo(&mut self) {
        let Ok(sets) = self.requests.get(REPLICA_SETS).await else { return };
        let sets: Vec<&Value> = sets["items"].as_array().into_iter().flatten().collect();
        if sets.is_empty() {
            return;
        }
        let set = *self.chance.pick(&sets);
        let mut template = set["spec"]["template"].clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        let revision = set["metadata"]["annotations"][REVISION].as_str().unwrap_or_default();
        self.log.say(format_args!("user goes back to revision {revision}"));
        let change = json!([{"op": "replace", "path": "/spec/template", "value": template}]);
        let outcome = self.requests.patch(PATH, JSON_PATCH, &change).await;
        if let Ok(deployment) = &outcome {
            let (was, is) = (template.to_string(), deployment["spec"]["template"].to_string());
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
            self.answered(self.requests.delete(&format!("{PODS}/{name}")).await);
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

/// Any strategy.
pub(crate) fn strategy(chance: &Chance) -> Value {
    if chance.hits(150) {
        return json!({"type": "Recreate", "rollingUpdate": null});
    }
    let bounds: [(Value, Value); 8] = [
        (1.into(), 0.into()),
        (0.into(), 1.into()),
        (1.into(), 1.into()),
        (2.into(), 1.into()),
        ("25%".into(), "25%".into()),
        ("100%".into(), 0.into()),
        (0.into(), "100%".into()),
        ("50%".into(), "50%".into()),
    ];
    let (surge, unavailable) = chance.pick(&bounds);
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}})
}

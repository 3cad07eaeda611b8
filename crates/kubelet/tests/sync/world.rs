//! An API server, a kubelet, and ways to wait for what they do.

use std::{path::Path, sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Pod};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::watch_object,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windlass_apiserver::{ApiServer, pki::Pki};
use windlass_kubelet::{Kubelet, Options};
use windlass_storage::Memory;

use crate::{network::FakeNetwork, runtime::FakeRuntime};

/// A test that waits this long for something has failed; nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) runtime: Arc<FakeRuntime>,
    pub(crate) network: Arc<FakeNetwork>,
    pub(crate) kubelet: Arc<Kubelet>,
    pub(crate) directory: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

pub(crate) async fn api_server() -> Client {
    let pki = Pki::generate(&[]).unwrap();
    let server = ApiServer::new(Arc::new(Memory::new()), windlass_apiserver::Options::new("token", pki)).await.unwrap();
    let client = Client::new(server.in_process("test"), "default");
    let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = Api::namespaced(client.clone(), "default");
    let account = serde_json::from_value(json!({ "metadata": { "name": "default" } })).unwrap();
    accounts.create(&PostParams::default(), &account).await.unwrap();
    client
}

impl World {
    pub(crate) async fn start() -> Self {
        let client = api_server().await;
        let (runtime, network) = (Arc::new(FakeRuntime::new()), Arc::new(FakeNetwork::default()));
        let directory = tempfile::tempdir().unwrap();
        let (kubelet, stop, running) = start(&client, &runtime, &network, directory.path());
        Self { client, runtime, network, kubelet, directory, stop, running }
    }

    /// Ends the kubelet as a crash would, and starts another over what it left.
    pub(crate) async fn restart(&mut self) {
        self.stop_kubelet().await;
        self.start_kubelet();
    }

    pub(crate) async fn stop_kubelet(&mut self) {
        self.stop.cancel();
        (&mut self.running).await.unwrap();
    }

    pub(crate) fn start_kubelet(&mut self) {
        (self.kubelet, self.stop, self.running) = start(&self.client, &self.runtime, &self.network, self.directory.path());
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod that is bound to the node already.
    pub(crate) async fn create(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = "node".into();
        // Tokens are another test's business.
        spec["automountServiceAccountToken"] = false.into();
        let pod = serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap();
        self.pods().create(&PostParams::default(), &pod).await.unwrap()
    }

    pub(crate) async fn patch_status(&self, name: &str, patch: Value) {
        let status = json!({ "status": patch });
        self.pods().patch_status(name, &PatchParams::default(), &Patch::Strategic(status)).await.unwrap();
    }

    /// What `network` says when no route leads to a pod any more.
    pub(crate) async fn unroute(&self, name: &str) {
        self.patch_status(name, json!({ "conditions": [{ "type": "windlass.dev/Unrouted", "status": "True" }] })).await;
    }

    pub(crate) async fn delete(&self, name: &str) {
        self.pods().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn config(&self, name: &str, data: Value) {
        let configs: Api<ConfigMap> = Api::namespaced(self.client.clone(), "default");
        let config = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data });
        let patch = Patch::Merge(&config);
        if configs.get_opt(name).await.unwrap().is_some() {
            configs.patch(name, &PatchParams::default(), &patch).await.unwrap();
        } else {
            configs.create(&PostParams::default(), &serde_json::from_value(config).unwrap()).await.unwrap();
        }
    }

    /// Waits until the pod is as wanted.
    pub(crate) async fn wait(&self, name: &str, what: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let mut last = None;
        let found = tokio::time::timeout(PATIENCE, async {
            let mut states = std::pin::pin!(watch_object(self.pods(), name));
            while let Some(state) = states.next().await {
                last = state.unwrap_or_default();
                if let Some(pod) = last.clone().filter(&wanted) {
                    return pod;
                }
            }
            unreachable!("a watch does not end")
        })
        .await;
        found.unwrap_or_else(|_| panic!("{name} never became {what}: {}", serde_json::to_string_pretty(&last).unwrap()))
    }

    pub(crate) async fn wait_gone(&self, name: &str) {
        let gone = async {
            let mut states = std::pin::pin!(watch_object(self.pods(), name));
            while let Some(state) = states.next().await {
                if state.unwrap().is_none() {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, gone)
            .await
            .unwrap_or_else(|_| panic!("{name} is still there: {:?}", self.runtime.journal()));
    }

    /// Waits for something that nobody tells of.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let poll = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("never {what}: {:?}", self.runtime.journal()));
    }

    /// Events of a pod: `<type> <reason> <fieldPath> <message>`, in the order they happened.
    pub(crate) async fn events(&self, pod: &str, count: usize) -> Vec<String> {
        let api: Api<Event> = Api::namespaced(self.client.clone(), "default");
        let selector = ListParams::default().fields(&format!("involvedObject.name={pod}"));
        let read = async {
            loop {
                let list = api.list(&selector).await.unwrap();
                if list.items.len() >= count {
                    return list.items;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let mut events =
            tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|_| panic!("fewer than {count} events of {pod}"));
        // The name ends with the time in nanoseconds.
        events.sort_by_key(|event| event.metadata.name.clone());
        let text = |event: &Event| {
            let of = |field: &Option<String>| field.clone().unwrap_or_default();
            let path = of(&event.involved_object.field_path);
            format!("{} {} {path} {}", of(&event.type_), of(&event.reason), of(&event.message)).replace("  ", " ")
        };
        events.iter().map(text).collect()
    }
}

fn start(
    client: &Client,
    runtime: &Arc<FakeRuntime>,
    network: &Arc<FakeNetwork>,
    directory: &Path,
) -> (Arc<Kubelet>, CancellationToken, JoinHandle<()>) {
    let stop = CancellationToken::new();
    let options = Options::new("node", "10.0.0.1".parse().unwrap(), directory);
    let kubelet = Kubelet::new(client.clone(), runtime.clone(), network.clone(), options, stop.clone());
    let running = tokio::spawn({
        let kubelet = kubelet.clone();
        async move { kubelet.run().await.unwrap() }
    });
    (kubelet, stop, running)
}

pub(crate) fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == kind && condition.status == "True")
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The waiting reason of the first container.
pub(crate) fn waiting(pod: &Pod) -> String {
    let state = first(pod).and_then(|status| status["state"]["waiting"]["reason"].as_str().map(ToOwned::to_owned));
    state.unwrap_or_default()
}

/// The status of the first container.
pub(crate) fn first(pod: &Pod) -> Option<Value> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    Some(serde_json::to_value(status).unwrap())
}

//! A whole control plane in memory: the real API server and store, the controllers, and hollow nodes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{extract::Request, middleware};
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use jiff::Timestamp;
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Event, Node, Pod, ServiceAccount},
    },
};
use kube::{
    Api, Client,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{
        WatchStreamExt,
        wait::{Condition, await_condition},
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use windlass_apiserver::{ApiServer, pki::Pki};
use windlass_controllers::Options;

/// How long anything may take; far more than it does.
const LIMIT: Duration = Duration::from_secs(60);

/// Everything that runs; it ends with the test.
pub(crate) struct Machine {
    pub(crate) client: Client,
    /// By path: when the API server had answered a binding, before the scheduler knew.
    pub(crate) bindings: Arc<Mutex<BTreeMap<String, Timestamp>>>,
    server: ApiServer,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Machine {
    /// A control plane with that many hollow nodes.
    pub(crate) async fn start(nodes: usize) -> Self {
        let pki = Pki::generate(&[]).unwrap();
        let server = ApiServer::new(Arc::new(windlass_storage::Memory::new()), windlass_apiserver::Options::new("token", pki));
        let server = server.await.unwrap();
        let client = Client::new(server.in_process("system:admin"), "default");
        let (bindings, stop, tasks) = (Arc::default(), CancellationToken::new(), JoinSet::new());
        let mut machine = Self { client, bindings, server, stop, tasks };
        machine.start_controllers();
        if nodes > 0 {
            let names = (1..=nodes).map(|number| format!("node-{number}")).collect();
            let client = Client::new(machine.server.in_process("system:node"), "default");
            machine.tasks.spawn(windlass_kubelet::hollow::run(
                client,
                names,
                windlass_kubelet::hollow::Options::default(),
                machine.stop.clone(),
            ));
        }
        // Pods can be made from now on.
        machine.until("default", |account: Option<&ServiceAccount>| account.is_some()).await;
        machine
    }

    fn start_controllers(&mut self) {
        let options = Options::new("CERTIFICATE".to_owned(), Arc::new(rand::random));
        let bindings = Arc::clone(&self.bindings);
        let noted = middleware::from_fn(move |request: Request, next: middleware::Next| {
            let (bindings, path) = (Arc::clone(&bindings), request.uri().path().to_owned());
            async move {
                let answer = next.run(request).await;
                if path.ends_with("/binding") {
                    bindings.lock().unwrap().insert(path, Timestamp::now());
                }
                answer
            }
        });
        let client = Client::new(self.server.in_process("system:kube-controller-manager").layer(noted), "default");
        self.tasks.spawn(windlass_controllers::run(client, options, self.stop.clone()));
    }

    /// Every object of a kind in the namespace `default`.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    pub(crate) async fn create<K>(&self, value: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + serde::Serialize + DeserializeOwned + Clone + Debug,
    {
        let object: K = serde_json::from_value(value).unwrap();
        self.api::<K>().create(&PostParams::default(), &object).await.unwrap()
    }

    pub(crate) async fn patch<K>(&self, name: &str, change: Value) -> K
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        self.api::<K>().patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap()
    }

    /// Waits for an object in `default` to fulfil a condition, by its watch.
    pub(crate) async fn until<K>(&self, name: &str, condition: impl Condition<K>)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug + Send + 'static,
    {
        self.until_in::<K>("default", name, condition).await;
    }

    /// Waits for an object in any namespace.
    pub(crate) async fn until_in<K>(&self, namespace: &str, name: &str, condition: impl Condition<K>)
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug + Send + 'static,
    {
        self.wait(Api::namespaced(self.client.clone(), namespace), name, condition).await;
    }

    /// Waits for an object without a namespace.
    pub(crate) async fn until_cluster<K>(&self, name: &str, condition: impl Condition<K>)
    where
        K: kube::Resource<DynamicType = (), Scope = ClusterResourceScope> + DeserializeOwned + Clone + Debug + Send + 'static,
    {
        self.wait(Api::all(self.client.clone()), name, condition).await;
    }

    async fn wait<K>(&self, api: Api<K>, name: &str, condition: impl Condition<K>)
    where
        K: kube::Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + 'static,
    {
        if let Ok(found) = tokio::time::timeout(LIMIT, await_condition(api, name, condition)).await {
            found.unwrap();
            return;
        }
        panic!("{name} is not what it should be after {LIMIT:?}: {}", self.dump().await);
    }

    /// Puts a label on a node.
    pub(crate) async fn label_node(&self, name: &str, label: &str, value: &str) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let change = json!({"metadata": {"labels": {label: value}}});
        nodes.patch(name, &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    }

    pub(crate) async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope> + DeserializeOwned + Clone + Debug,
    {
        self.api::<K>().list(&ListParams::default()).await.unwrap().items
    }

    /// What there is, for the message of a test that fails.
    async fn dump(&self) -> String {
        let object = |value: Value| format!("\n{}", value);
        let mut text = String::new();
        for deployment in self.list::<Deployment>().await {
            text += &object(json!({"deployment": deployment.metadata.name, "status": deployment.status}));
        }
        for set in self.list::<ReplicaSet>().await {
            text += &object(
                json!({"replicaSet": set.metadata.name, "spec": set.spec.map(|spec| spec.replicas), "status": set.status}),
            );
        }
        for pod in self.list::<Pod>().await {
            let node = pod.spec.and_then(|spec| spec.node_name);
            text += &object(json!({"pod": pod.metadata.name, "node": node, "status": pod.status}));
        }
        for event in self.list::<Event>().await {
            text += &object(json!({"event": event.message, "about": event.involved_object.name, "count": event.count}));
        }
        text
    }

    /// Waits for an Event about an object, as `Reason: message`.
    pub(crate) async fn until_event(&self, about: &str, wanted: &str) {
        let events: Api<Event> = self.api();
        let stream = kube::runtime::watcher(events, kube::runtime::watcher::Config::default()).applied_objects();
        let found = stream.try_filter(|event| {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            let told = format!("{}: {}", text(&event.reason), text(&event.message));
            std::future::ready(event.involved_object.name.as_deref() == Some(about) && told == wanted)
        });
        let mut found = std::pin::pin!(found);
        if tokio::time::timeout(LIMIT, found.try_next()).await.is_err() {
            panic!("nobody says {wanted:?} of {about}: {}", self.dump().await);
        }
    }

    /// The pods in `default` after each change of one of them.
    pub(crate) async fn watch_pods(&self) -> PodWatch {
        let api: Api<Pod> = self.api();
        let list = api.list(&ListParams::default()).await.unwrap();
        let revision = list.metadata.resource_version.unwrap();
        let events = api.watch(&WatchParams::default(), &revision).await.unwrap().boxed();
        let pods = list.items.into_iter().map(|pod| (pod.metadata.name.clone().unwrap(), pod)).collect();
        PodWatch { pods, events }
    }
}

/// What pods there are, as a watch tells it.
pub(crate) struct PodWatch {
    pods: BTreeMap<String, Pod>,
    events: BoxStream<'static, kube::Result<WatchEvent<Pod>>>,
}

impl PodWatch {
    /// The pods after the next change.
    pub(crate) async fn next(&mut self) -> &BTreeMap<String, Pod> {
        match tokio::time::timeout(LIMIT, self.events.next()).await.expect("within the limit").unwrap().unwrap() {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => drop(self.pods.insert(pod.metadata.name.clone().unwrap(), pod)),
            WatchEvent::Deleted(pod) => drop(self.pods.remove(pod.metadata.name.as_ref().unwrap())),
            other => panic!("not a change: {other:?}"),
        }
        &self.pods
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.abort_all();
    }
}

/// A Deployment `web`.
pub(crate) fn web(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": image}]}}
        }
    })
}

/// The rollout is done: all pods are of the present template and available, and no other is left.
pub(crate) fn rolled_out(deployment: Option<&Deployment>) -> bool {
    let Some((meta, status)) = deployment.and_then(|object| Some((&object.metadata, object.status.as_ref()?))) else {
        return false;
    };
    let replicas = deployment.and_then(|object| object.spec.as_ref()?.replicas).unwrap_or(1);
    let done = |count: Option<i32>| count.unwrap_or(0) == replicas;
    status.observed_generation == meta.generation
        && done(status.updated_replicas)
        && done(status.replicas)
        && done(status.available_replicas)
}

/// Names of those that are left of a kind, for messages.
pub(crate) fn names<K: kube::Resource>(objects: &[K]) -> Vec<String> {
    objects.iter().filter_map(|object| object.meta().name.clone()).collect()
}

/// Image of the pods that count.
pub(crate) fn images(pods: &[Pod]) -> Vec<String> {
    let living = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let mut images: Vec<String> = living.filter_map(|pod| pod.spec.as_ref()?.containers[0].image.clone()).collect();
    images.sort();
    images.dedup();
    images
}

/// The sizes of the ReplicaSets by revision.
pub(crate) fn sizes(sets: &[ReplicaSet]) -> Vec<(String, i32)> {
    let revision = |set: &ReplicaSet| {
        set.metadata.annotations.as_ref().and_then(|map| map.get("deployment.kubernetes.io/revision").cloned())
    };
    let mut sizes: Vec<(String, i32)> =
        sets.iter().map(|set| (revision(set).unwrap_or_default(), set.spec.as_ref().unwrap().replicas.unwrap_or(1))).collect();
    sizes.sort();
    sizes
}

//! The ConfigMaps and Secrets that pods on this machine use, each watched for as long as one does.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How long the first answer about an object is waited for.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    /// As messages about an absent one name it.
    pub(crate) fn lower(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmap",
            Self::Secret => "secret",
        }
    }

    /// As messages about an absent key name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// Kind, namespace, name.
pub(crate) type Key = (Kind, String, String);

/// What an object holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Data {
    /// `data`: text of a ConfigMap, bytes of a Secret.
    pub(crate) data: BTreeMap<String, Vec<u8>>,
    /// `binaryData` of a ConfigMap; files only, never environment.
    pub(crate) binary: BTreeMap<String, Vec<u8>>,
    /// Never changes again.
    pub(crate) immutable: bool,
    /// `type` of a Secret.
    pub(crate) secret_type: String,
}

impl From<ConfigMap> for Data {
    fn from(object: ConfigMap) -> Self {
        Self {
            data: object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.into_bytes())).collect(),
            binary: object.binary_data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
            immutable: object.immutable.unwrap_or(false),
            secret_type: String::new(),
        }
    }
}

impl From<Secret> for Data {
    fn from(object: Secret) -> Self {
        Self {
            data: object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect(),
            binary: BTreeMap::new(),
            immutable: object.immutable.unwrap_or(false),
            secret_type: object.type_.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Clone)]
enum State {
    Unknown,
    Absent,
    Present(Arc<Data>),
}

/// One object, watched until the last user drops it.
#[derive(Debug)]
pub(crate) struct Watched {
    state: watch::Receiver<State>,
    /// Woken on every change; the users that are gone are dropped then.
    users: Mutex<Vec<Weak<Notify>>>,
    _stop_watching: DropGuard,
}

impl Watched {
    /// The object; `None` when it does not exist.
    ///
    /// # Errors
    /// When the API server said nothing for 10 s.
    pub(crate) async fn get(&self) -> Result<Option<Arc<Data>>, String> {
        let mut state = self.state.clone();
        let known = tokio::time::timeout(FIRST_ANSWER, state.wait_for(|state| !matches!(state, State::Unknown)));
        match known.await {
            Ok(Ok(state)) => match &*state {
                State::Present(data) => Ok(Some(Arc::clone(data))),
                _ => Ok(None),
            },
            _ => Err("failed to sync the cache: timed out waiting for the condition".to_owned()),
        }
    }
}

/// The objects in use.
pub(crate) struct Objects {
    client: Client,
    tasks: TaskTracker,
    watched: Mutex<HashMap<Key, Weak<Watched>>>,
}

impl Objects {
    pub(crate) fn new(client: Client, tasks: TaskTracker) -> Self {
        Self { client, tasks, watched: Mutex::new(HashMap::new()) }
    }

    /// Starts to watch an object, or joins those who do; `user` is woken when it changes.
    pub(crate) fn watch(&self, key: &Key, user: &Arc<Notify>) -> Arc<Watched> {
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = all.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
            all.retain(|_, watched| watched.strong_count() > 0);
            let watched = self.start(key);
            all.insert(key.clone(), Arc::downgrade(&watched));
            watched
        });
        watched.users.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(user));
        watched
    }

    fn start(&self, key: &Key) -> Arc<Watched> {
        let (sender, state) = watch::channel(State::Unknown);
        let stop = CancellationToken::new();
        let watched = Arc::new(Watched { state, users: Mutex::default(), _stop_watching: stop.clone().drop_guard() });
        let (kind, namespace, name) = key;
        let users = Arc::downgrade(&watched);
        let client = self.client.clone();
        match kind {
            Kind::ConfigMap => {
                self.tasks.spawn(follow::<ConfigMap>(client, namespace.clone(), name.clone(), sender, users, stop))
            }
            Kind::Secret => self.tasks.spawn(follow::<Secret>(client, namespace.clone(), name.clone(), sender, users, stop)),
        };
        watched
    }
}

async fn follow<K>(
    client: Client,
    namespace: String,
    name: String,
    sender: watch::Sender<State>,
    watched: Weak<Watched>,
    stop: CancellationToken,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Into<Data>
        + 'static,
{
    let api: Api<K> = Api::namespaced(client, &namespace);
    let mut changes = std::pin::pin!(watch_object(api, &name).default_backoff());
    loop {
        let change = tokio::select! {
            () = stop.cancelled() => return,
            change = changes.next() => change,
        };
        let state = match change {
            Some(Ok(Some(object))) => State::Present(Arc::new(object.into())),
            Some(Ok(None)) => State::Absent,
            Some(Err(error)) => {
                tracing::debug!(%error, namespace, name, "watching an object that a pod uses");
                continue;
            }
            None => return,
        };
        let is_last = matches!(&state, State::Present(data) if data.immutable);
        sender.send_replace(state);
        if let Some(watched) = watched.upgrade() {
            let mut users = watched.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.retain(|user| user.upgrade().map(|user| user.notify_one()).is_some());
        }
        if is_last {
            // Immutable: there is nothing more to learn. The sender stays so that readers keep the state.
            stop.cancelled().await;
            return;
        }
    }
}

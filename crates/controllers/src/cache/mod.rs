//! One watch a kind, shared by every controller: what is in the cluster, indexed, and how far the view has come.

mod follow;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    pin::pin,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use windlass_planner::owner;

pub(crate) use self::follow::{Source, Update, follow};

/// Namespace and name, as `namespace/name`; the name alone where there is no namespace.
pub(crate) type Key = Arc<str>;

/// The key of an object.
pub(crate) fn key_of(meta: &ObjectMeta) -> Key {
    key(owner::namespace(meta), owner::name(meta))
}

/// The key of the object of that name.
pub(crate) fn key(namespace: &str, name: &str) -> Key {
    if namespace.is_empty() { name.into() } else { format!("{namespace}/{name}").into() }
}

/// What can be watched and kept.
pub(crate) trait Object: DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;
    /// Its metadata, to be thinned.
    fn meta_mut(&mut self) -> &mut ObjectMeta;
}

/// Under what an object can be found besides its key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Index {
    /// Uid of the owner that controls it.
    Owner(String),
    /// Nobody controls it; the namespace it is in.
    Orphan(String),
    /// The namespace it is in.
    Namespace(String),
    /// The node it runs on.
    Node(String),
    /// The Service it belongs to, as a key.
    Service(String),
    /// A label that the Service selects by, as `namespace/name=value`.
    Selects(String),
}

impl Index {
    /// Of the Services in the namespace that select by this label (and perhaps others).
    pub(crate) fn selects(namespace: &str, name: &str, value: &str) -> Self {
        Self::Selects(format!("{namespace}/{name}={value}"))
    }
}

/// Where an object is found; the same answer for the same object.
pub(crate) type Indexer<K> = fn(&K) -> Vec<Index>;

/// Told of every change, in order, before anybody who waits for a revision.
pub(crate) type Listener<K> = Box<dyn Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync>;

/// What is known of one kind.
pub(crate) struct Cache<K> {
    state: RwLock<State<K>>,
    indexer: Indexer<K>,
    listeners: RwLock<Vec<Listener<K>>>,
    /// Newest revision that the view holds; 0 until the first list is in.
    seen: AtomicU64,
    /// Told when that grows; who waits for it is woken in the order in which they began to.
    grown: Notify,
}

struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    indices: BTreeMap<Index, BTreeMap<Key, Arc<K>>>,
}

impl<K> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("seen", &self.seen).finish_non_exhaustive()
    }
}

/// A view that is being filled; at the end its listeners are let go.
struct Filled<'a, K>(&'a Cache<K>);

impl<K> Drop for Filled<'_, K> {
    fn drop(&mut self) {
        self.0.listeners.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl<K: Object> Cache<K> {
    /// An empty view; [`Cache::fill`] brings it to life.
    pub(crate) fn new(indexer: Indexer<K>) -> Arc<Self> {
        Arc::new(Self {
            state: RwLock::new(State { objects: BTreeMap::new(), indices: BTreeMap::new() }),
            indexer,
            listeners: RwLock::new(Vec::new()),
            seen: AtomicU64::new(0),
            grown: Notify::new(),
        })
    }

    /// Tells `listener` of every change from now on. To be called before [`Cache::fill`].
    pub(crate) fn listen(&self, listener: impl Fn(Option<&Arc<K>>, Option<&Arc<K>>) + Send + Sync + 'static) {
        self.listeners.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    /// Follows the source until `stop`. Listeners are let go at the end: what they hold may hold this view.
    pub(crate) async fn fill(self: Arc<Self>, source: Source, stop: CancellationToken) {
        let _filled = Filled(&self);
        let sink = |update: Update<K>| match update {
            Update::All { objects, revision } => self.replace(objects, revision),
            Update::Set { object, revision } => self.set(object, revision),
            Update::Gone { object, revision } => self.remove(&key_of(object.meta()), revision),
            Update::Bookmark { revision } => self.advance(revision),
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = follow(&source, sink) => {}
        }
    }

    /// Waits until the view holds everything up to `revision`.
    pub(crate) async fn reached(&self, revision: u64) {
        loop {
            let mut grown = pin!(self.grown.notified());
            grown.as_mut().enable();
            if self.seen.load(Ordering::Acquire) >= revision.max(1) {
                return;
            }
            grown.await;
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Arc<K>> {
        self.read().objects.get(key).cloned()
    }

    /// Every object, in the order of keys.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read().objects.values().cloned().collect()
    }

    /// The objects under an index, in the order of keys.
    pub(crate) fn under(&self, index: &Index) -> Vec<Arc<K>> {
        self.read().indices.get(index).map(|found| found.values().cloned().collect()).unwrap_or_default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State<K>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, State<K>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, old: Option<&Arc<K>>, new: Option<&Arc<K>>) {
        for listener in self.listeners.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(old, new);
        }
    }

    fn advance(&self, revision: u64) {
        if self.seen.fetch_max(revision, Ordering::AcqRel) < revision {
            self.grown.notify_waiters();
        }
    }

    fn set(&self, mut object: K, revision: u64) {
        // Bulky, and nobody here reads it.
        object.meta_mut().managed_fields = None;
        let (key, object) = (key_of(object.meta()), Arc::new(object));
        // Deleted and made anew while no watch told: whoever listens hears of both, since what belonged to the old one is not the new one's.
        if self.get(&key).is_some_and(|known| known.meta().uid != object.meta().uid) {
            self.remove(&key, 0);
        }
        let old = self.write().set(key, Arc::clone(&object), self.indexer);
        self.tell(old.as_ref(), Some(&object));
        self.advance(revision);
    }

    fn remove(&self, key: &str, revision: u64) {
        let old = self.write().remove(key, self.indexer);
        if old.is_some() {
            self.tell(old.as_ref(), None);
        }
        self.advance(revision);
    }

    /// A fresh list: what is not in it is gone, and what did not change is not told again.
    fn replace(&self, objects: Vec<K>, revision: u64) {
        let listed: BTreeSet<Key> = objects.iter().map(|object| key_of(object.meta())).collect();
        let gone: Vec<Key> = self.read().objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
        for key in gone {
            self.remove(&key, 0);
        }
        for object in objects {
            let known = self.get(&key_of(object.meta()));
            if known.is_none_or(|known| known.meta().resource_version != object.meta().resource_version) {
                self.set(object, 0);
            }
        }
        self.advance(revision.max(1));
    }
}

impl<K> State<K> {
    fn set(&mut self, key: Key, object: Arc<K>, indexer: Indexer<K>) -> Option<Arc<K>> {
        let old = self.objects.insert(Arc::clone(&key), Arc::clone(&object));
        let indices = indexer(&object);
        if let Some(old) = &old {
            for index in indexer(old).into_iter().filter(|index| !indices.contains(index)) {
                self.forget(&index, &key);
            }
        }
        for index in indices {
            self.indices.entry(index).or_default().insert(Arc::clone(&key), Arc::clone(&object));
        }
        old
    }

    fn remove(&mut self, key: &str, indexer: Indexer<K>) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        for index in indexer(&old) {
            self.forget(&index, key);
        }
        Some(old)
    }

    fn forget(&mut self, index: &Index, key: &str) {
        if let Some(found) = self.indices.get_mut(index) {
            found.remove(key);
            if found.is_empty() {
                self.indices.remove(index);
            }
        }
    }
}

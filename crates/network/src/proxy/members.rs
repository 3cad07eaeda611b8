//! Which pods stand behind which Service, kept as both change.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Pod, Service};
use windlass_api::selector::Selector;
use windlass_planner::{
    endpoints::{selector, shown},
    proxy::{PodRef, ServiceKey},
};

/// A namespace, and one label of it: what a selector is found by before it is compared in full.
type Pair = (String, String, String);

/// Pods and selectors of Services; work for a change grows with what is changed only.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// By namespace and uid.
    pods: BTreeMap<(String, String), Arc<Pod>>,
    /// Each with the pair it is found by.
    selectors: BTreeMap<ServiceKey, (Selector, Pair)>,
    /// Services by the first pair of their selector.
    by_pair: BTreeMap<Pair, BTreeSet<ServiceKey>>,
    /// Services by the uid of a pod behind them, and the other way.
    of_pod: BTreeMap<String, BTreeSet<ServiceKey>>,
    of_service: BTreeMap<ServiceKey, BTreeSet<String>>,
}

impl Members {
    /// Takes in a Service as it is now, or that it is gone.
    pub(super) fn service(&mut self, key: &ServiceKey, service: Option<&Service>) {
        if let Some((_, pair)) = self.selectors.remove(key)
            && let Some(services) = self.by_pair.get_mut(&pair)
        {
            services.remove(key);
            if services.is_empty() {
                self.by_pair.remove(&pair);
            }
        }
        for uid in self.of_service.remove(key).unwrap_or_default() {
            self.unlink(&uid, key);
        }
        let Some(service) = service else { return };
        let (Some(selector), Some(pair)) = (selector(service), first_pair(key, service)) else { return };
        self.by_pair.entry(pair.clone()).or_default().insert(key.clone());
        let first = (key.namespace.clone(), String::new());
        let here = self.pods.range(first..).take_while(|((namespace, _), _)| *namespace == key.namespace);
        let selected = here.filter(|(_, pod)| selector.matches(&pod.metadata.labels.as_ref()));
        let selected: Vec<String> = selected.map(|((_, uid), _)| uid.clone()).collect();
        self.selectors.insert(key.clone(), (selector, pair));
        selected.iter().for_each(|uid| self.link(uid, key));
    }

    /// Takes in a pod as it is now; the Services whose endpoints change by that.
    pub(super) fn pod(&mut self, pod: &Arc<Pod>) -> BTreeSet<ServiceKey> {
        let (namespace, uid) = identity(pod);
        let old = self.pods.insert((namespace.clone(), uid.clone()), Arc::clone(pod));
        if old.is_some_and(|old| shown(&old) == shown(pod)) {
            return BTreeSet::new();
        }
        let pairs = pod.metadata.labels.iter().flatten();
        let candidates =
            pairs.filter_map(|(name, value)| self.by_pair.get(&(namespace.clone(), name.clone(), value.clone()))).flatten();
        let is_selected = |key: &&ServiceKey| {
            self.selectors.get(key).is_some_and(|(selector, _)| selector.matches(&pod.metadata.labels.as_ref()))
        };
        let now: BTreeSet<ServiceKey> = candidates.filter(is_selected).cloned().collect();
        let before = self.of_pod.get(&uid).cloned().unwrap_or_default();
        before.difference(&now).for_each(|key| {
            self.unlink(&uid, key);
            if let Some(members) = self.of_service.get_mut(key) {
                members.remove(&uid);
            }
        });
        now.difference(&before).for_each(|key| self.link(&uid, key));
        before.union(&now).cloned().collect()
    }

    /// Takes in that a pod is no more; the Services whose endpoints change by that.
    pub(super) fn pod_deleted(&mut self, namespace: &str, uid: &str) -> BTreeSet<ServiceKey> {
        self.pods.remove(&(namespace.to_owned(), uid.to_owned()));
        let services = self.of_pod.remove(uid).unwrap_or_default();
        for key in &services {
            if let Some(members) = self.of_service.get_mut(key) {
                members.remove(uid);
            }
        }
        services
    }

    /// A pod, as it is now.
    pub(super) fn find(&self, PodRef { namespace, uid, .. }: &PodRef) -> Option<&Arc<Pod>> {
        self.pods.get(&(namespace.clone(), uid.clone()))
    }

    /// The pods behind a Service.
    pub(super) fn pods_of(&self, key: &ServiceKey) -> Vec<Arc<Pod>> {
        let uids = self.of_service.get(key).into_iter().flatten();
        uids.filter_map(|uid| self.pods.get(&(key.namespace.clone(), uid.clone())).cloned()).collect()
    }

    /// The Services that a pod stands behind.
    pub(super) fn services_of(&self, uid: &str) -> impl Iterator<Item = &ServiceKey> {
        self.of_pod.get(uid).into_iter().flatten()
    }

    fn link(&mut self, uid: &str, key: &ServiceKey) {
        self.of_pod.entry(uid.to_owned()).or_default().insert(key.clone());
        self.of_service.entry(key.clone()).or_default().insert(uid.to_owned());
    }

    fn unlink(&mut self, uid: &str, key: &ServiceKey) {
        if let Some(services) = self.of_pod.get_mut(uid) {
            services.remove(key);
            if services.is_empty() {
                self.of_pod.remove(uid);
            }
        }
    }
}

fn identity(pod: &Pod) -> (String, String) {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.uid.clone().unwrap_or_default())
}

fn first_pair(key: &ServiceKey, service: &Service) -> Option<Pair> {
    let (name, value) = service.spec.as_ref()?.selector.as_ref()?.first_key_value()?;
    Some((key.namespace.clone(), name.clone(), value.clone()))
}

//! The nodes and what is placed on them, kept up to date one pod at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Pod, Service},
    policy::v1::PodDisruptionBudget,
};

use super::{node_state::NodeState, pod_affinity::Wishes};
use crate::owner;

/// Everything the scheduler knows.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    /// Names of nodes with pods that wish something about the company of others: where there are none, none is looked for.
    wishing: BTreeSet<String>,
    /// By uid: the node of each placed pod.
    places: BTreeMap<String, String>,
    /// Pods on nodes that are not known (yet), by node.
    strays: BTreeMap<String, BTreeMap<String, Arc<Pod>>>,
    /// By uid: pods for which room is being made, with the node.
    nominated: BTreeMap<String, (Arc<Pod>, String)>,
    /// By namespace and name.
    budgets: BTreeMap<(String, String), Arc<PodDisruptionBudget>>,
    namespaces: BTreeMap<String, Arc<Namespace>>,
    /// By namespace and name.
    services: BTreeMap<String, BTreeMap<String, Arc<Service>>>,
}

/// The cluster as it is, or with one node as it would be.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    cluster: &'a Cluster,
    instead: Option<&'a NodeState>,
}

impl<'a> View<'a> {
    /// Every node, by name.
    pub(super) fn nodes(self) -> impl Iterator<Item = &'a NodeState> {
        let would_be = move |node: &'a NodeState| self.instead.filter(|instead| instead.name() == node.name()).unwrap_or(node);
        self.cluster.nodes.values().map(would_be)
    }

    /// The labels of a namespace.
    pub(super) fn labels_of(self, namespace: &str) -> Option<&'a BTreeMap<String, String>> {
        self.cluster.namespaces.get(namespace)?.metadata.labels.as_ref()
    }

    /// The labels by which Services select the pod, all together.
    pub(super) fn selected_by(self, pod: &'a Pod) -> BTreeMap<&'a String, &'a String> {
        let services = self.cluster.services.get(owner::namespace(&pod.metadata)).into_iter().flat_map(BTreeMap::values);
        let selectors = services.filter_map(|service| service.spec.as_ref()?.selector.as_ref());
        let label = |name: &String| pod.metadata.labels.as_ref()?.get(name);
        let ours = selectors.filter(|selector| selector.iter().all(|(name, value)| label(name) == Some(value)));
        ours.flatten().collect()
    }

    /// Every placed pod with its node.
    pub(super) fn placed(self) -> impl Iterator<Item = (&'a NodeState, &'a Arc<Pod>)> {
        self.nodes().flat_map(|node| node.pods().map(move |pod| (node, pod)))
    }

    /// What placed pods wish about the company of others, with their nodes.
    pub(super) fn wishing(self) -> impl Iterator<Item = (&'a NodeState, &'a Wishes)> {
        let is_as_it_is = move |node: &&NodeState| self.instead.is_none_or(|instead| instead.name() != node.name());
        let known = self.cluster.wishing.iter().filter_map(|name| self.cluster.node(name)).filter(is_as_it_is);
        known.chain(self.instead).flat_map(|node| node.wishes().map(move |wishes| (node, wishes)))
    }
}

impl Cluster {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every node, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.values()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&NodeState> {
        self.nodes.get(name)
    }

    /// A node is new or has changed; whether pods that did not fit might fit now.
    pub fn set_node(&mut self, node: Arc<Node>) -> bool {
        let name = owner::name(&node.metadata).to_owned();
        if let Some(state) = self.nodes.get_mut(&name) {
            return state.renew(node);
        }
        let mut state = NodeState::new(node);
        self.strays.remove(&name).into_iter().flatten().for_each(|(_, pod)| {
            state.insert(pod);
        });
        self.nodes.insert(name.clone(), state);
        self.look_for_wishes(&name);
        true
    }

    /// A node is gone; its pods stay known until they are gone too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(state) = self.nodes.remove(name) {
            self.wishing.remove(name);
            self.strays.entry(name.to_owned()).or_default().extend(state.into_pods());
        }
    }

    /// A pod takes its place on a node, or is placed there in advance of the API server's word, or is there and has changed; whether it
    /// holds less there than before.
    pub fn place(&mut self, pod: Arc<Pod>, node: &str) -> bool {
        let uid = owner::uid(&pod.metadata).to_owned();
        if self.places.get(&uid).is_some_and(|place| place != node) {
            self.remove(&uid);
        }
        self.nominated.remove(&uid);
        self.places.insert(uid.clone(), node.to_owned());
        let gives_back = match self.nodes.get_mut(node) {
            Some(state) => state.insert(pod),
            None => {
                self.strays.entry(node.to_owned()).or_default().insert(uid, pod);
                false
            }
        };
        self.look_for_wishes(node);
        gives_back
    }

    /// A pod has ended or is gone, or could not be bound after all; whether it had a place, or was to have one.
    pub fn remove(&mut self, uid: &str) -> bool {
        let was_nominated = self.denominate(uid);
        let Some(node) = self.places.remove(uid) else { return was_nominated };
        if let Some(state) = self.nodes.get_mut(&node) {
            state.remove(uid);
            self.look_for_wishes(&node);
        } else if let Some(strays) = self.strays.get_mut(&node) {
            strays.remove(uid);
            if strays.is_empty() {
                self.strays.remove(&node);
            }
        }
        true
    }

    /// What is on the node has changed.
    fn look_for_wishes(&mut self, node: &str) {
        let has_wishes = self.node(node).is_some_and(NodeState::has_wishes);
        if !has_wishes {
            self.wishing.remove(node);
        } else if !self.wishing.contains(node) {
            self.wishing.insert(node.to_owned());
        }
    }

    /// Whether the pod has a place.
    pub fn is_placed(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }

    /// Room is made for the pod on a node.
    pub fn nominate(&mut self, pod: Arc<Pod>, node: &str) {
        self.nominated.insert(owner::uid(&pod.metadata).to_owned(), (pod, node.to_owned()));
    }

    /// No room is made for the pod any more; whether it was.
    pub fn denominate(&mut self, uid: &str) -> bool {
        self.nominated.remove(uid).is_some()
    }

    /// The node on which room is made for the pod.
    pub fn nominated_node(&self, uid: &str) -> Option<&str> {
        self.nominated.get(uid).map(|(_, node)| node.as_str())
    }

    /// Pods for which room is made on the node.
    pub(super) fn nominated_on(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.nominated.values().filter(move |(_, place)| place == node).map(|(pod, _)| pod)
    }

    /// A budget is new or has changed.
    pub fn set_budget(&mut self, budget: Arc<PodDisruptionBudget>) {
        self.budgets.insert(budget_key(&budget), budget);
    }

    /// A budget is gone.
    pub fn remove_budget(&mut self, budget: &PodDisruptionBudget) {
        self.budgets.remove(&budget_key(budget));
    }

    /// A namespace is new or has changed; whether pods that did not fit might fit now.
    pub fn set_namespace(&mut self, namespace: Arc<Namespace>) -> bool {
        let name = owner::name(&namespace.metadata).to_owned();
        let labels = namespace.metadata.labels.clone();
        self.namespaces.insert(name, namespace).is_none_or(|old| old.metadata.labels != labels)
    }

    /// A namespace is gone.
    pub fn remove_namespace(&mut self, name: &str) {
        self.namespaces.remove(name);
    }

    /// A Service is new or has changed.
    pub fn set_service(&mut self, service: Arc<Service>) {
        let (namespace, name) = (owner::namespace(&service.metadata).to_owned(), owner::name(&service.metadata).to_owned());
        self.services.entry(namespace).or_default().insert(name, service);
    }

    /// A Service is gone.
    pub fn remove_service(&mut self, service: &Service) {
        let namespace = owner::namespace(&service.metadata);
        if let Some(services) = self.services.get_mut(namespace) {
            services.remove(owner::name(&service.metadata));
            if services.is_empty() {
                self.services.remove(namespace);
            }
        }
    }

    pub(super) fn budgets(&self) -> impl Iterator<Item = &Arc<PodDisruptionBudget>> {
        self.budgets.values()
    }

    pub(super) fn view(&self) -> View<'_> {
        View { cluster: self, instead: None }
    }

    /// With this in place of the node of the same name.
    pub(super) fn view_with<'a>(&'a self, node: &'a NodeState) -> View<'a> {
        View { cluster: self, instead: Some(node) }
    }

    /// Every placed pod with its node.
    #[cfg(test)]
    pub(super) fn placed(&self) -> impl Iterator<Item = (&NodeState, &Arc<Pod>)> {
        self.view().placed()
    }
}

fn budget_key(budget: &PodDisruptionBudget) -> (String, String) {
    (owner::namespace(&budget.metadata).to_owned(), owner::name(&budget.metadata).to_owned())
}

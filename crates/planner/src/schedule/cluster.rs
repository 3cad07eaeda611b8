//! The nodes and what is placed on them, kept up to date one pod at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};

use super::resources::Resources;
use crate::owner;

/// A port of the host that a pod takes: protocol, port, address.
pub(super) type HostPort = (String, i32, String);

/// A pod on a node.
#[derive(Debug, Clone)]
pub(super) struct Placed {
    pub(super) pod: Arc<Pod>,
    requests: Resources,
    for_score: Resources,
}

/// A node and what it carries.
#[derive(Debug, Clone)]
pub struct NodeState {
    node: Arc<Node>,
    allocatable: Resources,
    requested: Resources,
    for_score: Resources,
    pods: BTreeMap<String, Placed>,
    /// By uid of the owner that controls them: how many pods.
    siblings: BTreeMap<String, i64>,
    ports: BTreeSet<HostPort>,
}

/// Everything the scheduler knows.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    nodes: BTreeMap<String, NodeState>,
    /// By uid: the node of each placed pod.
    places: BTreeMap<String, String>,
    /// Pods on nodes that are not known (yet), by node.
    strays: BTreeMap<String, BTreeMap<String, Arc<Pod>>>,
    /// Uids of placed pods that keep others away by anti-affinity.
    repelling: BTreeSet<String>,
}

impl NodeState {
    fn new(node: Arc<Node>) -> Self {
        let allocatable = allocatable(&node);
        Self {
            node,
            allocatable,
            requested: Resources::default(),
            for_score: Resources::default(),
            pods: BTreeMap::new(),
            siblings: BTreeMap::new(),
            ports: BTreeSet::new(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        owner::name(&self.node.metadata)
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// What it can give to pods.
    pub fn allocatable(&self) -> &Resources {
        &self.allocatable
    }

    /// What its pods ask for.
    pub fn requested(&self) -> &Resources {
        &self.requested
    }

    pub(super) fn requested_for_score(&self) -> &Resources {
        &self.for_score
    }

    /// How many pods it carries.
    pub fn pod_count(&self) -> usize {
        self.pods.len()
    }

    pub(super) fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.pods.values().map(|placed| &placed.pod)
    }

    /// How many pods of that owner it carries.
    pub(super) fn siblings(&self, owner_uid: &str) -> i64 {
        self.siblings.get(owner_uid).copied().unwrap_or(0)
    }

    pub(super) fn ports(&self) -> &BTreeSet<HostPort> {
        &self.ports
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    fn insert(&mut self, pod: Arc<Pod>) {
        let uid = owner::uid(&pod.metadata).to_owned();
        let owner = |pod: &Pod| owner::controller_uid(&pod.metadata).map(str::to_owned);
        if let Some(placed) = self.pods.get_mut(&uid)
            && placed.pod.spec == pod.spec
            && owner(&placed.pod) == owner(&pod)
        {
            placed.pod = pod;
            return;
        }
        self.remove(&uid);
        let spec = pod.spec.as_ref();
        let requests = spec.map(Resources::of_pod).unwrap_or_default();
        let for_score = spec.map(Resources::of_pod_for_score).unwrap_or_default();
        self.requested.add(&requests);
        self.for_score.add(&for_score);
        self.ports.extend(spec.into_iter().flat_map(host_ports));
        if let Some(owner) = owner::controller_uid(&pod.metadata) {
            *self.siblings.entry(owner.to_owned()).or_default() += 1;
        }
        self.pods.insert(uid, Placed { pod, requests, for_score });
    }

    fn remove(&mut self, uid: &str) {
        let Some(placed) = self.pods.remove(uid) else { return };
        self.requested.subtract(&placed.requests);
        self.for_score.subtract(&placed.for_score);
        if let Some(owner) = owner::controller_uid(&placed.pod.metadata)
            && let Some(count) = self.siblings.get_mut(owner)
        {
            *count -= 1;
            if *count == 0 {
                self.siblings.remove(owner);
            }
        }
        if placed.pod.spec.iter().flat_map(host_ports).next().is_some() {
            self.ports = self.pods.values().filter_map(|placed| placed.pod.spec.as_ref()).flat_map(host_ports).collect();
        }
    }
}

fn allocatable(node: &Node) -> Resources {
    let status = node.status.as_ref();
    Resources::of_list(status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref())))
}

/// The ports of the host that a pod wants.
pub(super) fn host_ports(spec: &PodSpec) -> impl Iterator<Item = HostPort> + '_ {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports.filter_map(|port| {
        let number = port.host_port.filter(|number| *number > 0)?;
        let address = port.host_ip.clone().filter(|address| !address.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
        Some((port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), number, address))
    })
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
            let worth_another_look = matters(&state.node) != matters(&node);
            state.allocatable = allocatable(&node);
            state.node = node;
            return worth_another_look;
        }
        let mut state = NodeState::new(node);
        self.strays.remove(&name).into_iter().flatten().for_each(|(_, pod)| state.insert(pod));
        self.nodes.insert(name, state);
        true
    }

    /// A node is gone; its pods stay known until they are gone too.
    pub fn remove_node(&mut self, name: &str) {
        if let Some(state) = self.nodes.remove(name) {
            let pods = state.pods.into_iter().map(|(uid, placed)| (uid, placed.pod));
            self.strays.entry(name.to_owned()).or_default().extend(pods);
        }
    }

    /// A pod takes its place on a node, or is placed there in advance of the API server's word, or is there and has changed.
    pub fn place(&mut self, pod: Arc<Pod>, node: &str) {
        let uid = owner::uid(&pod.metadata).to_owned();
        if self.places.get(&uid).is_some_and(|place| place != node) {
            self.remove(&uid);
        }
        if pod_repels(&pod) {
            self.repelling.insert(uid.clone());
        }
        self.places.insert(uid.clone(), node.to_owned());
        match self.nodes.get_mut(node) {
            Some(state) => state.insert(pod),
            None => drop(self.strays.entry(node.to_owned()).or_default().insert(uid, pod)),
        }
    }

    /// A pod has ended or is gone, or could not be bound after all; whether it had a place.
    pub fn remove(&mut self, uid: &str) -> bool {
        self.repelling.remove(uid);
        let Some(node) = self.places.remove(uid) else { return false };
        if let Some(state) = self.nodes.get_mut(&node) {
            state.remove(uid);
        } else if let Some(strays) = self.strays.get_mut(&node) {
            strays.remove(uid);
            if strays.is_empty() {
                self.strays.remove(&node);
            }
        }
        true
    }

    /// Whether the pod has a place.
    pub fn is_placed(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }

    /// Whether any placed pod keeps others away.
    pub(super) fn has_repelling(&self) -> bool {
        !self.repelling.is_empty()
    }

    /// Every placed pod with its node.
    pub(super) fn placed(&self) -> impl Iterator<Item = (&NodeState, &Arc<Pod>)> {
        self.nodes.values().flat_map(|node| node.pods().map(move |pod| (node, pod)))
    }

    /// Placed pods that keep others away, with their nodes.
    pub(super) fn repelling(&self) -> impl Iterator<Item = (&NodeState, &Arc<Pod>)> {
        self.repelling.iter().filter_map(|uid| {
            let node = self.nodes.get(self.places.get(uid)?)?;
            Some((node, &node.pods.get(uid)?.pod))
        })
    }
}

fn pod_repels(pod: &Pod) -> bool {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()?.pod_anti_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.is_some_and(|terms| !terms.is_empty())
}

/// The parts of a node that decide about placement; a heartbeat changes none of them.
fn matters(node: &Node) -> impl PartialEq + '_ {
    let spec = node.spec.as_ref();
    let status = node.status.as_ref();
    (
        node.metadata.labels.as_ref(),
        spec.and_then(|spec| spec.taints.as_ref()),
        spec.and_then(|spec| spec.unschedulable),
        status.and_then(|status| status.allocatable.as_ref()),
    )
}

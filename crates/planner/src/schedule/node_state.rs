//! A node and the pods on it.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{ContainerImage, Node, Pod, PodSpec};

use super::{pod_affinity::Wishes, priority, resources::Resources};
use crate::{owner, replica};

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
    /// By uid of the owner that controls them: how many pods that stay.
    siblings: BTreeMap<String, usize>,
    ports: BTreeSet<HostPort>,
    /// By uid: what pods wish about the company of others, of those that do.
    wishes: BTreeMap<String, Arc<Wishes>>,
    /// How many pods there are of each priority.
    priorities: BTreeMap<i32, usize>,
    /// By name: sizes of the images that it has.
    images: BTreeMap<String, i64>,
}

impl NodeState {
    pub(super) fn new(node: Arc<Node>) -> Self {
        let allocatable = allocatable(&node);
        let images = images(&node);
        Self {
            node,
            allocatable,
            requested: Resources::default(),
            for_score: Resources::default(),
            pods: BTreeMap::new(),
            siblings: BTreeMap::new(),
            ports: BTreeSet::new(),
            wishes: BTreeMap::new(),
            priorities: BTreeMap::new(),
            images,
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

    /// How many pods of that owner it carries that are not on their way out.
    pub(super) fn siblings(&self, owner_uid: &str) -> i64 {
        self.siblings.get(owner_uid).map_or(0, |count| i64::try_from(*count).unwrap_or(i64::MAX))
    }

    /// Whether it tells of any image.
    pub(super) fn has_images(&self) -> bool {
        !self.images.is_empty()
    }

    /// The size of an image that it has, in bytes.
    pub(super) fn image_size(&self, name: &str) -> Option<i64> {
        self.images.get(name).copied()
    }

    pub(super) fn ports(&self) -> &BTreeSet<HostPort> {
        &self.ports
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.place(key).map(|(_, value)| value)
    }

    /// A label with its value.
    pub(super) fn place(&self, key: &str) -> Option<(&str, &str)> {
        self.node.metadata.labels.as_ref()?.get_key_value(key).map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// What its pods wish about the company of others.
    pub(super) fn wishes(&self) -> impl Iterator<Item = &Wishes> {
        self.wishes.values().map(|wishes| &**wishes)
    }

    /// Whether any of its pods wishes anything about the company of others.
    pub(super) fn has_wishes(&self) -> bool {
        !self.wishes.is_empty()
    }

    /// The least priority of its pods; `None` if it has none.
    pub(super) fn lowest_priority(&self) -> Option<i32> {
        self.priorities.first_key_value().map(|(priority, _)| *priority)
    }

    /// The node has changed; whether pods that did not fit might fit now.
    pub(super) fn renew(&mut self, node: Arc<Node>) -> bool {
        let worth_another_look = matters(&self.node) != matters(&node);
        self.allocatable = allocatable(&node);
        if images_of(&self.node) != images_of(&node) {
            self.images = images(&node);
        }
        self.node = node;
        worth_another_look
    }

    pub(super) fn into_pods(self) -> impl Iterator<Item = (String, Arc<Pod>)> {
        self.pods.into_iter().map(|(uid, placed)| (uid, placed.pod))
    }

    /// A pod comes, or has changed; whether it holds less than before.
    pub(super) fn insert(&mut self, pod: Arc<Pod>) -> bool {
        let uid = owner::uid(&pod.metadata).to_owned();
        let owner = |pod: &Pod| counted_owner(pod).map(str::to_owned);
        let requests = Resources::of_placed(&pod);
        if let Some(placed) = self.pods.get_mut(&uid)
            && placed.pod.spec == pod.spec
            && placed.requests == requests
            && owner(&placed.pod) == owner(&pod)
        {
            placed.pod = pod;
            return false;
        }
        let gives_back =
            self.pods.get(&uid).is_some_and(|placed| placed.requests.iter().any(|(name, held)| held > requests.get(name)));
        self.remove(&uid);
        let spec = pod.spec.as_ref();
        let for_score = spec.map(Resources::of_pod_for_score).unwrap_or_default();
        self.requested.add(&requests);
        self.for_score.add(&for_score);
        self.ports.extend(spec.into_iter().flat_map(host_ports));
        if let Some(owner) = counted_owner(&pod) {
            *self.siblings.entry(owner.to_owned()).or_default() += 1;
        }
        *self.priorities.entry(priority(&pod)).or_default() += 1;
        let wishes = Wishes::of(&pod);
        if !wishes.is_empty() {
            self.wishes.insert(uid.clone(), Arc::new(wishes));
        }
        self.pods.insert(uid, Placed { pod, requests, for_score });
        gives_back
    }

    pub(super) fn remove(&mut self, uid: &str) {
        let Some(placed) = self.pods.remove(uid) else { return };
        self.wishes.remove(uid);
        decrement(&mut self.priorities, &priority(&placed.pod));
        self.requested.subtract(&placed.requests);
        self.for_score.subtract(&placed.for_score);
        if let Some(owner) = counted_owner(&placed.pod) {
            decrement(&mut self.siblings, owner);
        }
        if placed.pod.spec.iter().flat_map(host_ports).next().is_some() {
            self.ports = self.pods.values().filter_map(|placed| placed.pod.spec.as_ref()).flat_map(host_ports).collect();
        }
    }
}

/// Who controls the pod; one on its way out is no longer counted among its owner's.
fn counted_owner(pod: &Pod) -> Option<&str> {
    owner::controller_uid(&pod.metadata).filter(|_| replica::is_active(pod))
}

fn images_of(node: &Node) -> &[ContainerImage] {
    node.status.as_ref().and_then(|status| status.images.as_deref()).unwrap_or_default()
}

fn images(node: &Node) -> BTreeMap<String, i64> {
    let sized = |image: &ContainerImage| {
        let size = image.size_bytes.unwrap_or(0);
        image.names.clone().unwrap_or_default().into_iter().map(move |name| (name, size)).collect::<Vec<_>>()
    };
    images_of(node).iter().flat_map(sized).collect()
}

/// Counts one less; nothing is kept of what there is none of.
fn decrement<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(counts: &mut BTreeMap<K, usize>, key: &Q) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
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

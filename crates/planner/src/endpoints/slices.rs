//! EndpointSlices: at most 100 endpoints each, as few writes as possible.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use windlass_api::names::LABEL_SERVICE_NAME;

use super::{
    ANNOTATION_TRIGGER_TIME, LABEL_HEADLESS, LABEL_MANAGED_BY, MANAGED_BY, Snapshot,
    address::{self, Backend, Port},
    is_headless, selector,
};
use crate::owner;

/// Endpoints a slice: one more pod rewrites no more than this many. Upstream's default.
pub const MAX_ENDPOINTS_A_SLICE: usize = 100;

/// Why a slice is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Endpoints came that fit into no slice.
    NoRoom,
    /// Endpoints came, went or changed, or the Service's labels did.
    Changed,
    /// Nothing is left in it.
    Empty,
    /// The Service has no endpoints: one empty slice says so.
    Placeholder,
}

/// What to do to one slice.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make it, its name to be completed from `generateName`.
    Create(Box<EndpointSlice>),
    /// Replace it.
    Update(Box<EndpointSlice>),
    /// Delete it.
    Delete(Arc<EndpointSlice>),
}

/// One step, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to do.
    pub action: Action,
    /// Why.
    pub reason: Reason,
}

/// What becomes of the slices of a Service. Creations come first, so that no endpoint is ever in none.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlicesPlan {
    /// In order.
    pub steps: Vec<Step>,
}

/// Slices that can share endpoints: one address family, one set of ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    address_type: &'static str,
    ports: Vec<Port>,
}

/// Decides. A Service without a selector is somebody else's, and so are its slices.
pub fn plan(snapshot: &Snapshot<'_>) -> SlicesPlan {
    let service = snapshot.service;
    if selector(service).is_none() || service.metadata.deletion_timestamp.is_some() {
        return SlicesPlan::default();
    }
    let backends = address::backends(service, snapshot.pods);
    let mut wanted: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for backend in &backends {
        for address_type in address_types(service) {
            if let Some(endpoint) = endpoint(service, backend, address_type) {
                wanted.entry(Group { address_type, ports: backend.ports.clone() }).or_default().push(endpoint);
            }
        }
    }
    for address_type in address_types(service) {
        if !wanted.keys().any(|group| group.address_type == address_type) {
            wanted.insert(Group { address_type, ports: Vec::new() }, Vec::new());
        }
    }
    let present = snapshot.slices.iter().filter(|slice| {
        let managed_by = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_MANAGED_BY));
        managed_by.is_some_and(|value| value == MANAGED_BY) && slice.metadata.deletion_timestamp.is_none()
    });
    let mut present: Vec<&Arc<EndpointSlice>> = present.collect();
    let writer = Writer { service, trigger_time: address::trigger_time(service, &backends) };
    let mut steps = Vec::new();
    for (group, endpoints) in wanted {
        let (ours, others) = present.into_iter().partition(|slice| group_of(slice).as_ref() == Some(&group));
        present = others;
        steps.extend(writer.fill(&group, endpoints, ours));
    }
    steps.extend(present.into_iter().map(|slice| Step { action: Action::Delete(Arc::clone(slice)), reason: Reason::Empty }));
    let mut steps = reuse(steps);
    steps.sort_by_key(|step| match step.action {
        Action::Create(_) => 0,
        Action::Update(_) => 1,
        Action::Delete(_) => 2,
    });
    SlicesPlan { steps }
}

/// A slice that would go becomes one that would come: one write in place of two, and a name that stays.
fn reuse(steps: Vec<Step>) -> Vec<Step> {
    let is_deletion = |step: &Step| matches!(step.action, Action::Delete(_));
    let (mut deletions, others): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(is_deletion);
    let mut steps: Vec<Step> = Vec::new();
    for step in others {
        let Action::Create(slice) = &step.action else {
            steps.push(step);
            continue;
        };
        let same_family = |step: &Step| matches!(&step.action, Action::Delete(old) if old.address_type == slice.address_type);
        let found = deletions.iter().position(same_family).map(|index| deletions.remove(index).action);
        let Some(Action::Delete(old)) = found else {
            steps.push(step);
            continue;
        };
        let mut reused = EndpointSlice { metadata: old.metadata.clone(), ..EndpointSlice::clone(slice) };
        reused.metadata.labels.clone_from(&slice.metadata.labels);
        reused.metadata.annotations.get_or_insert_default().extend(slice.metadata.annotations.clone().unwrap_or_default());
        steps.push(Step { action: Action::Update(Box::new(reused)), reason: Reason::Changed });
    }
    steps.extend(deletions);
    steps
}

fn address_types(service: &Service) -> Vec<&'static str> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref()).filter(|families| !families.is_empty());
    let known = families.into_iter().flatten().filter_map(|family| match family.as_str() {
        "IPv4" => Some("IPv4"),
        "IPv6" => Some("IPv6"),
        _ => None,
    });
    let known: BTreeSet<&'static str> = known.collect();
    if known.is_empty() { vec!["IPv4"] } else { known.into_iter().collect() }
}

fn endpoint(service: &Service, backend: &Backend, address_type: &str) -> Option<Endpoint> {
    let of_family = |address: &&IpAddr| address.is_ipv4() == (address_type == "IPv4");
    let address = backend.addresses.iter().find(of_family)?;
    Some(Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(backend.ready),
            serving: Some(backend.serving),
            terminating: Some(backend.terminating),
        }),
        hostname: backend.hostname(service),
        node_name: backend.node_name(),
        target_ref: Some(backend.target()),
        ..Endpoint::default()
    })
}

fn group_of(slice: &EndpointSlice) -> Option<Group> {
    let address_type = match slice.address_type.as_str() {
        "IPv4" => "IPv4",
        "IPv6" => "IPv6",
        _ => return None,
    };
    let port = |port: &EndpointPort| Port {
        name: port.name.clone().unwrap_or_default(),
        port: port.port.unwrap_or(0),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        app_protocol: port.app_protocol.clone(),
    };
    Some(Group { address_type, ports: slice.ports.iter().flatten().map(port).collect() })
}

/// An endpoint is the same as long as it is of the same pod at the same address.
fn identity(endpoint: &Endpoint) -> (Option<&str>, Option<&String>) {
    (endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()), endpoint.addresses.first())
}

struct Writer<'a> {
    service: &'a Service,
    trigger_time: Option<String>,
}

impl Writer<'_> {
    /// Makes the slices of one group hold exactly these endpoints: each stays where it is, new ones go where there is room.
    fn fill(&self, group: &Group, endpoints: Vec<Endpoint>, present: Vec<&Arc<EndpointSlice>>) -> Vec<Step> {
        let placeholder = endpoints.is_empty();
        let mut homeless: Vec<Endpoint> = Vec::new();
        let places: BTreeMap<_, usize> = present
            .iter()
            .enumerate()
            .rev()
            .flat_map(|(index, slice)| slice.endpoints.iter().flatten().map(move |endpoint| (identity(endpoint), index)))
            .collect();
        let mut kept: Vec<Vec<Endpoint>> = vec![Vec::new(); present.len()];
        for endpoint in endpoints {
            match places.get(&identity(&endpoint)) {
                Some(index) if kept[*index].len() < MAX_ENDPOINTS_A_SLICE => kept[*index].push(endpoint),
                _ => homeless.push(endpoint),
            }
        }
        let mut homeless = homeless.into_iter();
        // Slices that change anyway take newcomers first: each write spared is a write that no watcher has to read.
        let mut order: Vec<usize> = (0..present.len()).collect();
        order.sort_by_key(|index| kept[*index].len() == present[*index].endpoints.as_ref().map_or(0, Vec::len));
        for index in order {
            let room = MAX_ENDPOINTS_A_SLICE.saturating_sub(kept[index].len());
            kept[index].extend(homeless.by_ref().take(room));
        }
        let mut steps = Vec::new();
        let mut spared = placeholder;
        for (slice, endpoints) in present.into_iter().zip(kept) {
            if endpoints.is_empty() && !std::mem::take(&mut spared) {
                steps.push(Step { action: Action::Delete(Arc::clone(slice)), reason: Reason::Empty });
            } else {
                steps.extend(self.update(slice, endpoints));
            }
        }
        let mut rest: Vec<Endpoint> = homeless.collect();
        while !rest.is_empty() {
            let next = rest.split_off(rest.len().min(MAX_ENDPOINTS_A_SLICE));
            steps.push(Step { action: Action::Create(Box::new(self.slice(group, rest))), reason: Reason::NoRoom });
            rest = next;
        }
        if spared {
            steps.push(Step { action: Action::Create(Box::new(self.slice(group, Vec::new()))), reason: Reason::Placeholder });
        }
        steps
    }

    fn update(&self, slice: &Arc<EndpointSlice>, mut endpoints: Vec<Endpoint>) -> Option<Step> {
        let present = slice.endpoints.as_deref().unwrap_or_default();
        let labels = self.labels();
        if same_endpoints(present, &endpoints) && slice.metadata.labels.as_ref() == Some(&labels) {
            return None;
        }
        // In the order that is there already, so that readers see as small a difference as there is.
        let position = |endpoint: &Endpoint| present.iter().position(|other| identity(other) == identity(endpoint));
        endpoints.sort_by_key(|endpoint| position(endpoint).unwrap_or(usize::MAX));
        let mut changed = EndpointSlice::clone(slice);
        changed.metadata.labels = Some(labels);
        self.stamp(&mut changed.metadata);
        changed.endpoints = Some(endpoints);
        Some(Step { action: Action::Update(Box::new(changed)), reason: Reason::Changed })
    }

    fn slice(&self, group: &Group, endpoints: Vec<Endpoint>) -> EndpointSlice {
        let port = |port: &Port| EndpointPort {
            name: Some(port.name.clone()),
            port: Some(port.port),
            protocol: Some(port.protocol.clone()),
            app_protocol: port.app_protocol.clone(),
        };
        let mut metadata = ObjectMeta {
            generate_name: Some(format!("{}-", owner::name(&self.service.metadata))),
            namespace: self.service.metadata.namespace.clone(),
            labels: Some(self.labels()),
            owner_references: Some(vec![owner::controller_reference::<Service>(&self.service.metadata)]),
            ..ObjectMeta::default()
        };
        self.stamp(&mut metadata);
        EndpointSlice {
            metadata,
            address_type: group.address_type.to_owned(),
            endpoints: Some(endpoints),
            ports: Some(group.ports.iter().map(port).collect()),
        }
    }

    fn stamp(&self, metadata: &mut ObjectMeta) {
        if let Some(time) = &self.trigger_time {
            metadata.annotations.get_or_insert_default().insert(ANNOTATION_TRIGGER_TIME.to_owned(), time.clone());
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.service.metadata.labels.clone().unwrap_or_default();
        labels.remove(LABEL_HEADLESS);
        if is_headless(self.service) {
            labels.insert(LABEL_HEADLESS.to_owned(), String::new());
        }
        labels.insert(LABEL_SERVICE_NAME.to_owned(), owner::name(&self.service.metadata).to_owned());
        labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
        labels
    }
}

fn same_endpoints(present: &[Endpoint], wanted: &[Endpoint]) -> bool {
    let by_identity: BTreeMap<_, &Endpoint> = present.iter().map(|endpoint| (identity(endpoint), endpoint)).collect();
    // The lengths are compared too: a pod that is in a slice twice is a change.
    present.len() == wanted.len() && wanted.iter().all(|endpoint| by_identity.get(&identity(endpoint)) == Some(&endpoint))
}

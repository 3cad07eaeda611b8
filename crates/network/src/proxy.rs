//! Services in the kernel: what the API says in, one transaction for what changed out.

mod health;
mod http;
mod members;
mod publish;
mod routed;
mod rules;
mod run;
mod unrouted;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use windlass_api::names::{LABEL_CONTROLLER_REVISION_HASH, LABEL_POD_TEMPLATE_HASH, LABEL_SERVICE_NAME};
pub use windlass_planner::proxy::PodRef;
use windlass_planner::proxy::{
    Acknowledged, Departures, Health, Machine as PlannedMachine, Owner, ProxyPlan, Publication, Route, RouteKey, ServiceKey,
    Transport, has_host_ports, plan, plan_host_ports, slices_of,
};

use crate::{Addresses, Holder, Machine, netfilter::NetfilterSocket};
use http::HttpPath;
use members::Members;
use rules::{Change, Rules};

pub use routed::Routed;
pub use run::{Options, RunError, run};

/// What a settled proxy wants done.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Pods on their way out that no route leads to as of now; each is named once.
    pub unrouted: Vec<PodRef>,
    /// The same of pods that stay: their kubelets asked, to stop a container.
    pub paused: Vec<PodRef>,
    /// [`Proxy::publications`], [`Proxy::health`] or the Services that they are of may have changed.
    pub has_host_changed: bool,
    /// When to settle again though nothing has been heard.
    pub wake_at: Option<Timestamp>,
}

/// Keeps the kernel's rules as the Services, slices and pods say that it was told of.
#[derive(Debug)]
pub struct Proxy {
    machine: PlannedMachine,
    rules: Rules,
    /// None where there is no holder: HTTP ports are routed like all others then.
    http: Option<HttpPath>,
    /// Revisions of pods that have one, by uid.
    revisions: BTreeMap<String, String>,
    /// Routes that are planned and not committed yet.
    pending: BTreeMap<RouteKey, Option<Route>>,
    departures: Departures,
    services: BTreeMap<ServiceKey, Arc<Service>>,
    slices: BTreeMap<ServiceKey, BTreeMap<String, Arc<EndpointSlice>>>,
    /// Which Service a slice is of, by namespace and name: its label may change.
    slice_services: BTreeMap<(String, String), ServiceKey>,
    /// Services whose slices name a pod, by the pod's uid, or by an address that no pod is named for.
    mentions: BTreeMap<String, BTreeSet<ServiceKey>>,
    /// Pods of this node, by uid.
    pods: BTreeMap<String, PodRef>,
    /// Their addresses, once they have one.
    pod_addresses: BTreeMap<String, Ipv4Addr>,
    members: Members,
    plans: BTreeMap<Owner, ProxyPlan>,
    wakes: BTreeSet<(Timestamp, Owner)>,
    /// Services, and pods with ports of the node, to be planned again.
    dirty: BTreeSet<Owner>,
    /// Something of what the host is to show has changed, and nobody was told.
    has_host_changed: bool,
}

impl Proxy {
    /// A proxy for the machine. The kernel's rules stay as they are until it is settled for the first time.
    /// Without a holder there is no HTTP path, and no way out for pods.
    ///
    /// # Errors
    /// When the packet filter or the holder can't be reached.
    pub async fn open(machine: &Machine, holder: Option<Holder>, addresses: Addresses, node: &str) -> io::Result<Self> {
        let socket = machine.call(NetfilterSocket::open).await?;
        let status = holder.as_ref().map(Holder::status).transpose().map_err(io::Error::other)?;
        let egress = status.iter().flat_map(|status| {
            let ports = [(Transport::Tcp, status.egress_port), (Transport::Udp, status.egress_udp_port)];
            ports.into_iter().filter_map(|(transport, port)| Some((transport, port?)))
        });
        let egress = egress.collect();
        let http = holder.map(|holder| HttpPath::new(holder, addresses.machine()));
        let planned = PlannedMachine { node: node.to_owned(), address: addresses.machine(), dns: addresses.dns };
        Ok(Self {
            machine: planned,
            rules: Rules::new(socket, addresses, egress),
            http,
            revisions: BTreeMap::new(),
            pending: BTreeMap::new(),
            departures: Departures::default(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            slice_services: BTreeMap::new(),
            mentions: BTreeMap::new(),
            pods: BTreeMap::new(),
            pod_addresses: BTreeMap::new(),
            members: Members::default(),
            plans: BTreeMap::new(),
            wakes: BTreeSet::new(),
            dirty: BTreeSet::new(),
            has_host_changed: true,
        })
    }

    /// Takes in a Service as it is now.
    pub fn service(&mut self, service: Arc<Service>) {
        let key = service_key(&service);
        self.has_host_changed = true;
        self.members.service(&key, Some(&service));
        self.dirty.insert(Owner::Service(key.clone()));
        self.services.insert(key, service);
    }

    /// Takes in that a Service was deleted.
    pub fn service_deleted(&mut self, key: &ServiceKey) {
        self.services.remove(key);
        self.members.service(key, None);
        self.dirty.insert(Owner::Service(key.clone()));
    }

    /// Takes in a slice as it is now.
    pub fn slice(&mut self, slice: Arc<EndpointSlice>) {
        let namespace = slice.metadata.namespace.clone().unwrap_or_default();
        let name = slice.metadata.name.clone().unwrap_or_default();
        self.slice_deleted(&namespace, &name);
        let Some(service) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE_NAME)) else { return };
        let key = ServiceKey { namespace: namespace.clone(), name: service.clone() };
        for mention in mentions(&slice) {
            self.mentions.entry(mention).or_default().insert(key.clone());
        }
        self.slices.entry(key.clone()).or_default().insert(name.clone(), slice);
        self.dirty.insert(Owner::Service(key.clone()));
        self.slice_services.insert((namespace, name), key);
    }

    /// Takes in that a slice was deleted.
    pub fn slice_deleted(&mut self, namespace: &str, name: &str) {
        let Some(key) = self.slice_services.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        let Some(slices) = self.slices.get_mut(&key) else { return };
        let Some(slice) = slices.remove(name) else { return };
        let still: BTreeSet<String> = slices.values().flat_map(|slice| mentions(slice)).collect();
        if slices.is_empty() {
            self.slices.remove(&key);
        }
        for mention in mentions(&slice).filter(|mention| !still.contains(mention)) {
            if let Some(services) = self.mentions.get_mut(&mention) {
                services.remove(&key);
                if services.is_empty() {
                    self.mentions.remove(&mention);
                }
            }
        }
        self.dirty.insert(Owner::Service(key));
    }

    /// Takes in a pod as it is now.
    pub fn pod(&mut self, pod: &Arc<Pod>, now: Timestamp) {
        let Some(uid) = pod.metadata.uid.clone() else { return };
        self.dirty.extend(self.members.pod(pod).into_iter().map(Owner::Service));
        if self.departures.observe(pod, now) {
            self.replan_for(&uid);
            if let Some(address) = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) {
                self.replan_for(address);
            }
        }
        if let Some(revision) = revision_of(pod)
            && self.revisions.insert(uid.clone(), revision.clone()).as_ref() != Some(revision)
            && (self.mentions.contains_key(&uid) || self.members.services_of(&uid).next().is_some())
            && let Some(http) = &mut self.http
        {
            http.invalidate();
        }
        // Pods of other nodes are nobody's to wait for.
        if pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&self.machine.node) {
            let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_ref()?.parse().ok());
            self.pod_addresses.extend(address.map(|address| (uid.clone(), address)));
            let reference = self.pods.entry(uid).or_insert_with(|| PodRef::of(pod));
            if has_host_ports(pod) {
                self.dirty.insert(Owner::Pod(reference.clone()));
            }
        }
    }

    /// Takes in that a pod is no longer in the API.
    pub fn pod_deleted(&mut self, namespace: &str, uid: &str) {
        self.dirty.extend(self.pods.remove(uid).map(Owner::Pod));
        self.pod_addresses.remove(uid);
        self.revisions.remove(uid);
        self.dirty.extend(self.members.pod_deleted(namespace, uid).into_iter().map(Owner::Service));
        if self.departures.deleted(uid) {
            self.replan_for(uid);
        }
    }

    fn replan_for(&mut self, mention: &str) {
        let mentioning = self.mentions.get(mention).into_iter().flatten();
        self.dirty.extend(mentioning.chain(self.members.services_of(mention)).cloned().map(Owner::Service));
    }

    /// Makes the kernel's rules what everything that was taken in asks for, in one transaction. It blocks for some milliseconds.
    ///
    /// # Errors
    /// When the kernel refuses. Its rules are unchanged then, and the next call tries the whole again.
    pub fn settle(&mut self, now: Timestamp) -> io::Result<Settled> {
        while let Some((at, owner)) = self.wakes.first().cloned()
            && at <= now
        {
            self.wakes.remove(&(at, owner.clone()));
            self.dirty.insert(owner);
        }
        for owner in std::mem::take(&mut self.dirty) {
            let changes = self.replan(owner, now);
            self.pending.extend(changes);
        }
        // The holder first: the kernel must not lead to a port that nobody listens on.
        if let Some(http) = &mut self.http {
            self.pending.iter().for_each(|(key, route)| http.record(key, route.as_ref()));
            http.commit(&self.revisions)?;
        }
        let http = &self.http;
        let in_kernel = |route| match http {
            Some(http) => http.in_kernel(route),
            None => route,
        };
        let changes = std::mem::take(&mut self.pending).into_iter();
        let changes = changes.map(|(key, route)| Change { key, route: route.map(in_kernel) }).collect();
        self.rules.commit(changes)?;
        let leads = |uid: &str| self.rules.lead_to(uid) || self.http.as_ref().is_some_and(|http| http.leads_to(uid));
        let Acknowledged { gone, paused } = self.departures.acknowledge(leads);
        if let Some(http) = &mut self.http {
            let address = |uid: &str| self.pod_addresses.get(uid).copied();
            http.part(self.departures.parting().filter_map(address).collect());
            http.leave(gone.iter().chain(&paused).filter_map(|uid| address(uid)).collect());
        }
        let named = |uids: Vec<String>| uids.iter().filter_map(|uid| self.pods.get(uid).cloned()).collect();
        let (unrouted, paused) = (named(gone), named(paused));
        let (pods, mentions) = (&self.pods, &self.mentions);
        self.departures.forget(|uid| pods.contains_key(uid) || mentions.contains_key(uid));
        let has_host_changed = std::mem::take(&mut self.has_host_changed);
        Ok(Settled { unrouted, paused, has_host_changed, wake_at: self.wakes.first().map(|(at, _)| *at) })
    }

    fn plan(&self, owner: &Owner, now: Timestamp) -> ProxyPlan {
        match owner {
            Owner::Service(key) => {
                let Some(service) = self.services.get(key) else { return ProxyPlan::default() };
                let written = self.slices.get(key).into_iter().flat_map(BTreeMap::values);
                let slices = slices_of(service, &self.members.pods_of(key), written);
                let slices: Vec<&EndpointSlice> = slices.iter().map(Arc::as_ref).collect();
                plan(service, &slices, &self.departures, &self.machine, now)
            }
            Owner::Pod(pod) => {
                let pod = self.members.find(pod);
                pod.map(|pod| plan_host_ports(pod, &self.departures, &self.machine)).unwrap_or_default()
            }
        }
    }

    /// Plans anew what one Service or pod asks for, and says which of its routes change.
    fn replan(&mut self, owner: Owner, now: Timestamp) -> Vec<(RouteKey, Option<Route>)> {
        let plan = self.plan(&owner, now);
        if let Some(at) = plan.wake_at {
            self.wakes.insert((at, owner.clone()));
        }
        let old = if plan.routes.is_empty() && plan.publications.is_empty() {
            self.plans.remove(&owner)
        } else {
            self.plans.insert(owner.clone(), plan.clone())
        };
        let old = old.unwrap_or_default();
        self.has_host_changed |= old.publications != plan.publications || old.health != plan.health;
        if let Some(at) = old.wake_at.filter(|_| old.wake_at != plan.wake_at) {
            self.wakes.remove(&(at, owner));
        }
        changes(old.routes, plan.routes)
    }

    /// Ports of the host that Services ask for, in order of their names, and then those that pods ask for.
    #[must_use]
    pub fn publications(&self) -> Vec<Publication> {
        self.plans.values().flat_map(|plan| plan.publications.iter().cloned()).collect()
    }

    /// Health checks that Services ask for, in order of their names.
    #[must_use]
    pub fn health(&self) -> Vec<Health> {
        self.plans.values().filter_map(|plan| plan.health.clone()).collect()
    }

    /// The Service with this key.
    #[must_use]
    pub fn find_service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }
}

fn changes(old: Vec<Route>, new: Vec<Route>) -> Vec<(RouteKey, Option<Route>)> {
    let mut old: BTreeMap<RouteKey, Route> = old.into_iter().map(|route| (route.key.clone(), route)).collect();
    let mut changes = Vec::new();
    for route in new {
        if old.remove(&route.key).as_ref() != Some(&route) {
            changes.push((route.key.clone(), Some(route)));
        }
    }
    changes.extend(old.into_keys().map(|key| (key, None)));
    changes
}

/// What tells pods of one workload apart by their template.
fn revision_of(pod: &Pod) -> Option<&String> {
    let labels = pod.metadata.labels.as_ref()?;
    labels.get(LABEL_POD_TEMPLATE_HASH).or_else(|| labels.get(LABEL_CONTROLLER_REVISION_HASH))
}

/// The name of a Service.
pub(crate) fn service_key(service: &Service) -> ServiceKey {
    ServiceKey {
        namespace: service.metadata.namespace.clone().unwrap_or_default(),
        name: service.metadata.name.clone().unwrap_or_default(),
    }
}

/// What a change of tells that this slice's Service is to be planned again.
fn mentions(slice: &EndpointSlice) -> impl Iterator<Item = String> {
    slice.endpoints.iter().flatten().filter_map(|endpoint| match &endpoint.target_ref {
        Some(target) if target.kind.as_deref() == Some("Pod") => target.uid.clone(),
        _ => endpoint.addresses.first().cloned(),
    })
}

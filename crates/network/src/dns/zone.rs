//! The names of the cluster's domain, as the DNS specification of Kubernetes has them.
//!
//! See <https://github.com/kubernetes/dns/blob/master/docs/specification.md>.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, RwLock},
};

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointSlice},
};
use windlass_api::names::LABEL_SERVICE_NAME;

use crate::Addresses;

/// Written by who hears the API, read by who answers.
pub(crate) type SharedZone = Arc<RwLock<Zone>>;

/// Version of the specification, which `dns-version` answers with.
const VERSION: &str = "1.1.0";

/// What is asked for; everything else has no records here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Ipv4,
    Ipv6,
    Srv,
    Pointer,
    Text,
    NameServer,
    Other,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Data {
    Address(IpAddr),
    Srv { port: u16, target: String },
    Pointer(String),
    Text(String),
    NameServer(String),
}

/// What there is to say about a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is outside of the cluster's domain and ranges.
    NotOurs,
    /// Not everything has been heard from the API yet.
    NotReady,
    NoSuchName,
    /// Records of the name; none when it exists, but has none of the kind.
    Records(Vec<Data>),
    /// It stands for another name.
    Alias(String),
}

/// All names, kept as the objects that they come from.
#[derive(Debug)]
pub(crate) struct Zone {
    addresses: Addresses,
    ready: bool,
    services: BTreeMap<Key, Arc<Service>>,
    slices: BTreeMap<Key, BTreeMap<String, Arc<EndpointSlice>>>,
    slice_services: BTreeMap<Key, Key>,
}

/// Namespace and name.
type Key = (String, String);

impl Zone {
    pub(crate) fn new(addresses: Addresses) -> Self {
        Self { addresses, ready: false, services: BTreeMap::new(), slices: BTreeMap::new(), slice_services: BTreeMap::new() }
    }

    /// All objects have been heard: from now on a name that is not known does not exist.
    pub(crate) fn complete(&mut self) {
        self.ready = true;
    }

    pub(crate) fn service(&mut self, service: Arc<Service>) {
        let metadata = &service.metadata;
        let key = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        self.services.insert(key, service);
    }

    pub(crate) fn service_deleted(&mut self, namespace: &str, name: &str) {
        self.services.remove(&(namespace.to_owned(), name.to_owned()));
    }

    pub(crate) fn slice(&mut self, slice: Arc<EndpointSlice>) {
        let metadata = &slice.metadata;
        let (namespace, name) = (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default());
        self.slice_deleted(&namespace, &name);
        let service = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_SERVICE_NAME));
        if let Some(service) = service {
            let service = (namespace.clone(), service.clone());
            self.slice_services.insert((namespace, name.clone()), service.clone());
            self.slices.entry(service).or_default().insert(name, slice);
        }
    }

    pub(crate) fn slice_deleted(&mut self, namespace: &str, name: &str) {
        if let Some(service) = self.slice_services.remove(&(namespace.to_owned(), name.to_owned()))
            && let Some(slices) = self.slices.get_mut(&service)
        {
            slices.remove(name);
            if slices.is_empty() {
                self.slices.remove(&service);
            }
        }
    }

    /// The domain, such as `cluster.local`.
    pub(super) fn domain(&self) -> &str {
        &self.addresses.cluster_domain
    }

    /// Looks a name up; it is in lower case and has no dot at its end.
    pub(super) fn lookup(&self, name: &str, kind: Kind) -> Answer {
        if let Some(address) = reverse_address(name) {
            if !self.addresses.pods.contains(address) && !self.addresses.services.contains(address) {
                return Answer::NotOurs;
            }
            return if self.ready { self.names_of(address, kind) } else { Answer::NotReady };
        }
        let Some(inner) = name.strip_suffix(self.domain()) else { return Answer::NotOurs };
        let inner = match inner.strip_suffix('.') {
            Some(inner) => inner,
            None if inner.is_empty() => "",
            None => return Answer::NotOurs,
        };
        if !self.ready {
            return Answer::NotReady;
        }
        let mut labels: Vec<&str> = inner.split('.').filter(|label| !label.is_empty()).collect();
        match labels.pop() {
            None => of_kind(kind, Kind::NameServer, || vec![Data::NameServer(format!("ns.dns.{}", self.domain()))]),
            Some("dns-version") if labels.is_empty() => of_kind(kind, Kind::Text, || vec![Data::Text(VERSION.to_owned())]),
            Some("dns") if labels == ["ns"] => addresses([IpAddr::V4(self.addresses.dns)], kind),
            Some("dns") if labels.is_empty() => Answer::Records(Vec::new()),
            Some("svc") => self.service_name(&labels, kind),
            Some("pod") => pod_name(&labels, kind),
            Some(_) => Answer::NoSuchName,
        }
    }

    /// Below `svc`: `[endpoint.]service.namespace` and `_port._transport.service.namespace`.
    fn service_name(&self, labels: &[&str], kind: Kind) -> Answer {
        let (below, service, namespace) = match labels {
            [] => return Answer::Records(Vec::new()),
            [namespace] => {
                let first = ((*namespace).to_owned(), String::new());
                let known = self.services.range(first..).next().is_some_and(|((known, _), _)| known == namespace);
                return if known { Answer::Records(Vec::new()) } else { Answer::NoSuchName };
            }
            [below @ .., service, namespace] => (below, *service, *namespace),
        };
        let key = (namespace.to_owned(), service.to_owned());
        let Some(service) = self.services.get(&key) else { return Answer::NoSuchName };
        let spec = service.spec.as_ref();
        if let Some(external) = spec.filter(|spec| spec.type_.as_deref() == Some("ExternalName")) {
            return match below {
                [] => external_name(external.external_name.as_deref().unwrap_or_default(), kind),
                _ => Answer::NoSuchName,
            };
        }
        let own_name = format!("{}.{}.svc.{}", key.1, key.0, self.domain());
        match below {
            [] if kind == Kind::Srv => Answer::Records(self.services_of(&key, service, &own_name, |_, _| true)),
            [] => {
                let cluster = cluster_addresses(service);
                if cluster.is_empty() { addresses(self.endpoint_addresses(&key), kind) } else { addresses(cluster, kind) }
            }
            [transport] if transport.starts_with('_') => Answer::Records(Vec::new()),
            [hostname] => {
                let named = self.endpoints(&key).filter(|(_, endpoint)| endpoint_name(endpoint).as_deref() == Some(hostname));
                let named: BTreeSet<IpAddr> = named.filter_map(|(_, endpoint)| address_of(endpoint)).collect();
                if named.is_empty() { Answer::NoSuchName } else { addresses(named, kind) }
            }
            [port, transport] => {
                let (Some(port), Some(transport)) = (port.strip_prefix('_'), transport.strip_prefix('_')) else {
                    return Answer::NoSuchName;
                };
                let wanted = |name: &str, protocol: &str| name == port && protocol.eq_ignore_ascii_case(transport);
                let found = self.services_of(&key, service, &own_name, wanted);
                if found.is_empty() {
                    return Answer::NoSuchName;
                }
                of_kind(kind, Kind::Srv, || found)
            }
            _ => Answer::NoSuchName,
        }
    }

    /// SRV records: of a ClusterIP one a port, of a headless Service one a port and endpoint.
    fn services_of(&self, key: &Key, service: &Service, own_name: &str, wanted: impl Fn(&str, &str) -> bool) -> Vec<Data> {
        let wanted = |name: Option<&str>, protocol: Option<&str>| wanted(name.unwrap_or_default(), protocol.unwrap_or("TCP"));
        if !cluster_addresses(service).is_empty() {
            let ports = service.spec.iter().filter_map(|spec| spec.ports.as_ref()).flatten();
            let ports = ports.filter(|port| wanted(port.name.as_deref(), port.protocol.as_deref()));
            let ports = ports.filter_map(|port| u16::try_from(port.port).ok());
            return ports.map(|port| Data::Srv { port, target: own_name.to_owned() }).collect();
        }
        let mut records = BTreeSet::new();
        for (slice, endpoint) in self.endpoints(key) {
            let Some(hostname) = endpoint_name(endpoint) else { continue };
            for port in slice.ports.iter().flatten().filter(|port| wanted(port.name.as_deref(), port.protocol.as_deref())) {
                if let Some(port) = port.port.and_then(|port| u16::try_from(port).ok()) {
                    records.insert(Data::Srv { port, target: format!("{hostname}.{own_name}") });
                }
            }
        }
        records.into_iter().collect()
    }

    fn names_of(&self, address: Ipv4Addr, kind: Kind) -> Answer {
        let name = |(namespace, service): &Key| format!("{service}.{namespace}.svc.{}", self.domain());
        let mut services = self.services.iter().filter(|(_, service)| cluster_addresses(service).contains(&address.into()));
        let mut names: BTreeSet<String> = services.next().map(|(key, _)| name(key)).into_iter().collect();
        if names.is_empty() {
            for key in self.slices.keys() {
                let here = self.endpoints(key).filter(|(_, endpoint)| address_of(endpoint) == Some(address.into()));
                let here = here.filter_map(|(_, endpoint)| endpoint_name(endpoint));
                names.extend(here.map(|hostname| format!("{hostname}.{}", name(key))));
            }
        }
        if names.is_empty() {
            return Answer::NoSuchName;
        }
        of_kind(kind, Kind::Pointer, || names.into_iter().map(Data::Pointer).collect())
    }

    /// Endpoints that are ready, or published although they are not.
    fn endpoints(&self, key: &Key) -> impl Iterator<Item = (&EndpointSlice, &Endpoint)> {
        let slices = self.slices.get(key).into_iter().flat_map(BTreeMap::values);
        let endpoints = slices.flat_map(|slice| slice.endpoints.iter().flatten().map(move |endpoint| (&**slice, endpoint)));
        endpoints.filter(|(_, endpoint)| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true))
    }

    fn endpoint_addresses(&self, key: &Key) -> BTreeSet<IpAddr> {
        self.endpoints(key).filter_map(|(_, endpoint)| address_of(endpoint)).collect()
    }
}

/// Records of one kind, or none of the kind that was asked for.
fn of_kind(asked: Kind, there: Kind, records: impl FnOnce() -> Vec<Data>) -> Answer {
    Answer::Records(if asked == there { records() } else { Vec::new() })
}

fn addresses(addresses: impl IntoIterator<Item = IpAddr>, kind: Kind) -> Answer {
    let wanted = |address: &IpAddr| match kind {
        Kind::Ipv4 => address.is_ipv4(),
        Kind::Ipv6 => address.is_ipv6(),
        _ => false,
    };
    Answer::Records(addresses.into_iter().filter(wanted).map(Data::Address).collect())
}

fn cluster_addresses(service: &Service) -> BTreeSet<IpAddr> {
    let Some(spec) = &service.spec else { return BTreeSet::new() };
    spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter_map(|address| address.parse().ok()).collect()
}

fn external_name(target: &str, kind: Kind) -> Answer {
    match target.parse::<IpAddr>() {
        Ok(address) => addresses([address], kind),
        Err(_) => Answer::Alias(target.trim_end_matches('.').to_ascii_lowercase()),
    }
}

fn address_of(endpoint: &Endpoint) -> Option<IpAddr> {
    endpoint.addresses.first()?.parse().ok()
}

/// What the endpoint is called below its Service: its hostname, or its address with dashes.
fn endpoint_name(endpoint: &Endpoint) -> Option<String> {
    let named = endpoint.hostname.clone().filter(|hostname| !hostname.is_empty());
    named.or_else(|| Some(endpoint.addresses.first()?.replace(['.', ':'], "-")))
}

/// `10-244-0-5.namespace.pod`: whatever address is in the name, as CoreDNS does by default.
fn pod_name(labels: &[&str], kind: Kind) -> Answer {
    match labels {
        [] | [_] => Answer::Records(Vec::new()),
        [address, _] => match address.replace('-', ".").parse::<Ipv4Addr>() {
            Ok(address) => addresses([address.into()], kind),
            Err(_) => Answer::NoSuchName,
        },
        _ => Answer::NoSuchName,
    }
}

fn reverse_address(name: &str) -> Option<Ipv4Addr> {
    let [d, c, b, a] = name.strip_suffix(".in-addr.arpa")?.split('.').collect::<Vec<_>>().try_into().ok()?;
    format!("{a}.{b}.{c}.{d}").parse().ok()
}

#[cfg(test)]
mod tests;

//! HTTP ports: the holder routes their requests, and the kernel's rules lead to the holder.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddr},
};

use tracing::debug;
use windlass_planner::proxy::{Backend, Route, RouteKey};

use crate::{
    Holder,
    holder::{HttpBackend, HttpRoute},
};

/// What the holder was told, and what it is to be told.
#[derive(Debug)]
pub(super) struct HttpPath {
    holder: Holder,
    machine: Ipv4Addr,
    wanted: BTreeMap<RouteKey, Route>,
    /// Ports of the machine on which the holder listens.
    ports: BTreeMap<RouteKey, u16>,
    /// Pods to which the holder sends requests.
    pods: BTreeSet<String>,
    /// Pods whose clients are asked to close, as the holder was told; unknown before the first time.
    parting: Option<BTreeSet<Ipv4Addr>>,
    /// Set while the holder may have been told something else than `wanted`.
    stale: bool,
}

impl HttpPath {
    pub(super) fn new(holder: Holder, machine: Ipv4Addr) -> Self {
        Self {
            holder,
            machine,
            wanted: BTreeMap::new(),
            ports: BTreeMap::new(),
            pods: BTreeSet::new(),
            parting: None,
            stale: true,
        }
    }

    /// Takes a change of a route in, whether it is one of HTTP or not.
    pub(super) fn record(&mut self, key: &RouteKey, route: Option<&Route>) {
        let route = route.filter(|route| route.http.is_some());
        let old = match route {
            Some(route) => self.wanted.insert(key.clone(), route.clone()),
            None => self.wanted.remove(key),
        };
        self.stale |= old.as_ref() != route;
    }

    /// Something else than routes has changed: revisions of pods.
    pub(super) fn invalidate(&mut self) {
        self.stale = true;
    }

    /// Whether requests may go to the pod, as far as is known.
    pub(super) fn leads_to(&self, pod_uid: &str) -> bool {
        self.stale || self.pods.contains(pod_uid)
    }

    /// Tells the holder, if there is anything to tell. When this returns, requests go where they should.
    pub(super) fn commit(&mut self, revisions: &BTreeMap<String, String>) -> io::Result<()> {
        if !self.stale {
            return Ok(());
        }
        let backend = |backend: &Backend| HttpBackend {
            address: SocketAddr::from((backend.address, backend.port)),
            revision: backend.pod.as_ref().and_then(|pod| revisions.get(pod)).cloned().unwrap_or_default(),
        };
        let routes = self.wanted.iter().map(|(key, route)| {
            let http = route.http.clone().unwrap_or_default();
            let backends = route.backends.iter().map(backend).collect();
            HttpRoute {
                name: key.to_string(),
                backends,
                http2: http.http2,
                split: http.split,
                affinity_seconds: route.affinity_seconds,
            }
        });
        let ports = self.holder.set_http_routes(routes.collect()).map_err(io::Error::other)?;
        let ports: BTreeMap<String, u16> = ports.into_iter().map(|port| (port.name, port.port)).collect();
        self.ports = self.wanted.keys().filter_map(|key| Some((key.clone(), *ports.get(&key.to_string())?))).collect();
        let backends = self.wanted.values().flat_map(|route| &route.backends);
        self.pods = backends.filter_map(|backend| backend.pod.clone()).collect();
        self.stale = false;
        Ok(())
    }

    /// Has kept connections of published ports leave these pods.
    pub(super) fn leave(&self, pods: BTreeSet<Ipv4Addr>) {
        if pods.is_empty() {
            return;
        }
        // A holder of an older windlass can't: its connections have the time that all others have.
        if let Err(error) = self.holder.leave(pods) {
            debug!(error = &error as &dyn std::error::Error, "kept connections stay with pods that are to stop");
        }
    }

    /// Makes `pods` the whole set of those whose clients are asked to close.
    pub(super) fn part(&mut self, pods: BTreeSet<Ipv4Addr>) {
        if self.parting.as_ref() == Some(&pods) {
            return;
        }
        match self.holder.part(pods.clone()) {
            Ok(()) => self.parting = Some(pods),
            // A holder of an older windlass can't.
            Err(error) => {
                debug!(error = &error as &dyn std::error::Error, "clients of pods that are to stop are not asked to close")
            }
        }
    }

    /// The route as the kernel is to have it: to the holder, as long as there is a backend.
    pub(super) fn in_kernel(&self, mut route: Route) -> Route {
        if route.http.is_some()
            && !route.backends.is_empty()
            && let Some(&port) = self.ports.get(&route.key)
        {
            route.backends = [Backend { address: self.machine, port, pod: None }].into();
            route.affinity_seconds = None;
        }
        route
    }
}

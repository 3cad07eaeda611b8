//! Ports of the host for node ports, load balancers and host ports of pods, opened by the holder.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};
use windlass_planner::proxy::{Frontend, Owner, PodRef, Publication, Transport};

use crate::{
    Holder,
    holder::{Protocol, PublishFailure, PublishedPort},
};

/// How soon a port that somebody else has is asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// A port that a Service or a pod asks for, and the Service.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) publication: Publication,
    pub(super) service: Option<Arc<Service>>,
}

impl Wanted {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let services = [self, other].map(|wanted| wanted.service.as_ref().map(Arc::as_ptr));
        self.publication == other.publication && services[0] == services[1]
    }

    /// Whom an Event about it regards.
    fn regarding(&self) -> ObjectReference {
        let Owner::Pod(PodRef { namespace, name, uid }) = &self.publication.owner else {
            return self.service.as_ref().map(|service| service.object_ref(&())).unwrap_or_default();
        };
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(namespace.clone()),
            name: Some(name.clone()),
            uid: Some(uid.clone()),
            ..ObjectReference::default()
        }
    }
}

/// Keeps the holder's ports as the last of `wanted` says, until its sender is gone.
pub(super) async fn publish(client: Client, holder: Holder, address: IpAddr, mut wanted: watch::Receiver<Vec<Wanted>>) {
    let reporter = Reporter { controller: "windlass-network".to_owned(), instance: None };
    let mut publisher = Publisher {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        holder,
        address,
        owners: BTreeMap::new(),
        reported: BTreeMap::new(),
    };
    loop {
        let current = wanted.borrow_and_update().clone();
        let settled = publisher.publish(&current).await;
        let changed = tokio::time::timeout(if settled { Duration::MAX } else { RETRY }, wanted.changed());
        if let Ok(Err(_)) = changed.await {
            return;
        }
    }
}

/// Transport, and address and port on the host.
type Port = (Protocol, SocketAddr);

/// A port that is not given to who asks for it.
struct Refused<'a> {
    port: Port,
    wanted: &'a Wanted,
    reason: String,
}

struct Publisher {
    client: Client,
    recorder: Recorder,
    holder: Holder,
    address: IpAddr,
    /// Who has which port, and keeps it when another asks for the same.
    owners: BTreeMap<Port, Owner>,
    /// What was said last about ports that could not be had: it is not said again.
    reported: BTreeMap<(Port, Owner), String>,
}

impl Publisher {
    /// True when everything that is wanted is open, and said.
    async fn publish(&mut self, wanted: &[Wanted]) -> bool {
        let (granted, mut refused) = self.grant(wanted);
        let published = |(&(protocol, listen), wanted): (&Port, &&Wanted)| {
            let Frontend { address, port, .. } = wanted.publication.target;
            PublishedPort { protocol, listen, target: SocketAddr::from((address, port)) }
        };
        let ports = granted.iter().map(published).collect();
        match self.holder.publish(ports).await {
            Ok(failures) => {
                for PublishFailure { protocol, listen, reason } in failures {
                    let port = (protocol, listen);
                    if let Some(&wanted) = granted.get(&port) {
                        refused.push(Refused { port, wanted, reason });
                    }
                }
            }
            Err(error) => {
                warn!(error = &error as &dyn std::error::Error, "the holder can't be told which ports to open");
                return false;
            }
        }
        let unreachable: BTreeSet<&Owner> = refused.iter().map(|refused| &refused.wanted.publication.owner).collect();
        let reachable = wanted.iter().filter(|wanted| !unreachable.contains(&wanted.publication.owner));
        let reachable: BTreeMap<_, _> =
            reachable.filter_map(|wanted| Some((&wanted.publication.owner, wanted.service.as_ref()?))).collect();
        let mut settled = refused.is_empty();
        for service in reachable.values() {
            settled &= self.say_where(service).await;
        }
        self.report(&refused).await;
        settled
    }

    /// One Service or pod a port: whoever has it, else the first by name, Services before pods. The others are told.
    fn grant<'a>(&mut self, wanted: &'a [Wanted]) -> (BTreeMap<Port, &'a Wanted>, Vec<Refused<'a>>) {
        let mut granted: BTreeMap<Port, &Wanted> = BTreeMap::new();
        for wanted in wanted.iter().filter(|wanted| self.owners.get(&self.port(wanted)) == Some(&wanted.publication.owner)) {
            granted.entry(self.port(wanted)).or_insert(wanted);
        }
        let mut refused = Vec::new();
        for wanted in wanted {
            let port = self.port(wanted);
            let winner = *granted.entry(port).or_insert(wanted);
            if winner.publication.owner != wanted.publication.owner {
                refused.push(Refused { port, wanted, reason: format!("{} has it", winner.publication.owner) });
            }
        }
        self.owners = granted.iter().map(|(&port, wanted)| (port, wanted.publication.owner.clone())).collect();
        (granted, refused)
    }

    fn port(&self, Wanted { publication, .. }: &Wanted) -> Port {
        let address = if publication.is_local { Ipv4Addr::LOCALHOST.into() } else { self.address };
        (protocol(publication.target), SocketAddr::new(address, publication.host_port))
    }

    async fn report(&mut self, refused: &[Refused<'_>]) {
        let mut reported = BTreeMap::new();
        for Refused { port: (protocol, listen), wanted, reason } in refused {
            let owner = &wanted.publication.owner;
            let key = ((*protocol, *listen), owner.clone());
            if self.reported.get(&key) != Some(reason) {
                let transport = wanted.publication.target.transport.to_string().to_uppercase();
                let note = format!(
                    "port {}/{transport} of the host can't be opened on {}: {reason}; free it, or choose another port",
                    listen.port(),
                    listen.ip()
                );
                warn!(%owner, "{note}");
                let event = Event {
                    type_: EventType::Warning,
                    reason: "PortNotPublished".to_owned(),
                    note: Some(note),
                    action: "Publish".to_owned(),
                    secondary: None,
                };
                if let Err(error) = self.recorder.publish(&event, &wanted.regarding()).await {
                    warn!(%owner, %error, "an event could not be written");
                }
            }
            reported.insert(key, reason.clone());
        }
        for ((_, listen), owner) in self.reported.keys().filter(|key| !reported.contains_key(*key)) {
            info!(%owner, port = listen.port(), "a port of the host is open, or no longer wanted");
        }
        self.reported = reported;
    }

    /// Writes into a load balancer's status where it is to be reached. True when that is so.
    async fn say_where(&self, service: &Service) -> bool {
        let Some(spec) = &service.spec else { return true };
        let ours = spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none();
        let address = self.address.to_string();
        let ingress = service.status.as_ref().and_then(|status| status.load_balancer.as_ref()?.ingress.as_ref());
        let said = ingress.into_iter().flatten().filter_map(|ingress| ingress.ip.as_deref()).eq([address.as_str()]);
        if !ours || said {
            return true;
        }
        let (Some(namespace), Some(name)) = (&service.metadata.namespace, &service.metadata.name) else { return true };
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        let patch = Patch::Merge(json!({
            "metadata": { "uid": service.metadata.uid },
            "status": { "loadBalancer": { "ingress": [{ "ip": address, "ipMode": "Proxy" }] } },
        }));
        match api.patch_status(name, &PatchParams::default(), &patch).await {
            Ok(_) => true,
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => true,
            Err(error) => {
                warn!(service = %format_args!("{namespace}/{name}"), %error, "the address of a load balancer can't be written");
                false
            }
        }
    }
}

fn protocol(target: Frontend) -> Protocol {
    match target.transport {
        Transport::Tcp => Protocol::Tcp,
        Transport::Udp => Protocol::Udp,
    }
}

//! Ports of the host for node ports and load balancers, opened by the holder.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};
use windlass_planner::proxy::{Frontend, Publication, ServiceKey, Transport};

use crate::{
    Holder,
    holder::{Protocol, PublishFailure, PublishedPort},
};

/// How soon a port that somebody else has is asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// A port that a Service asks for, and the Service.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) publication: Publication,
    pub(super) service: Arc<Service>,
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

type Port = (Protocol, u16);

/// A port that a Service does not get.
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
    /// Which Service has which port: it keeps it when another asks for the same.
    owners: BTreeMap<Port, String>,
    /// What was said last about ports that could not be had: it is not said again.
    reported: BTreeMap<(Port, String), String>,
}

impl Publisher {
    /// True when everything that is wanted is open, and said.
    async fn publish(&mut self, wanted: &[Wanted]) -> bool {
        let (granted, mut refused) = self.grant(wanted);
        let ports = granted.iter().map(|(&port, wanted)| self.published(port, wanted.publication.target)).collect();
        match self.holder.publish(ports).await {
            Ok(failures) => {
                for PublishFailure { protocol, listen, reason } in failures {
                    let port = (protocol, listen.port());
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
        let unreachable: BTreeSet<&ServiceKey> = refused.iter().map(|refused| &refused.wanted.publication.service).collect();
        let reachable = wanted.iter().filter(|wanted| !unreachable.contains(&wanted.publication.service));
        let reachable: BTreeMap<_, _> = reachable.map(|wanted| (&wanted.publication.service, &wanted.service)).collect();
        let mut settled = refused.is_empty();
        for service in reachable.values() {
            settled &= self.say_where(service).await;
        }
        self.report(&refused).await;
        settled
    }

    /// One Service a port: whoever has it, else the first by name. The others are told.
    fn grant<'a>(&mut self, wanted: &'a [Wanted]) -> (BTreeMap<Port, &'a Wanted>, Vec<Refused<'a>>) {
        let port = |wanted: &Wanted| (protocol(wanted.publication.target), wanted.publication.host_port);
        let owner = |wanted: &Wanted| wanted.publication.service.to_string();
        let mut granted: BTreeMap<Port, &Wanted> = BTreeMap::new();
        for wanted in wanted.iter().filter(|wanted| self.owners.get(&port(wanted)) == Some(&owner(wanted))) {
            granted.insert(port(wanted), wanted);
        }
        let mut refused = Vec::new();
        for wanted in wanted {
            let winner = *granted.entry(port(wanted)).or_insert(wanted);
            if winner.publication.service != wanted.publication.service {
                let reason = format!("Service {} has it", winner.publication.service);
                refused.push(Refused { port: port(wanted), wanted, reason });
            }
        }
        self.owners = granted.iter().map(|(&port, wanted)| (port, owner(wanted))).collect();
        (granted, refused)
    }

    fn published(&self, (protocol, port): Port, target: Frontend) -> PublishedPort {
        let target = SocketAddr::from((target.address, target.port));
        PublishedPort { protocol, listen: SocketAddr::new(self.address, port), target }
    }

    async fn report(&mut self, refused: &[Refused<'_>]) {
        let mut reported = BTreeMap::new();
        for Refused { port: (protocol, port), wanted, reason } in refused {
            let service = &wanted.publication.service;
            let key = ((*protocol, *port), service.to_string());
            if self.reported.get(&key) != Some(reason) {
                let transport = wanted.publication.target.transport.to_string().to_uppercase();
                let note = format!(
                    "port {port}/{transport} of the host can't be opened on {}: {reason}; free it, or choose another port",
                    self.address
                );
                warn!(%service, "{note}");
                let event = Event {
                    type_: EventType::Warning,
                    reason: "PortNotPublished".to_owned(),
                    note: Some(note),
                    action: "Publish".to_owned(),
                    secondary: None,
                };
                if let Err(error) = self.recorder.publish(&event, &wanted.service.object_ref(&())).await {
                    warn!(%service, %error, "an event could not be written");
                }
            }
            reported.insert(key, reason.clone());
        }
        for ((_, port), service) in self.reported.keys().filter(|key| !reported.contains_key(*key)) {
            info!(%service, port, "a port of the host is open, or no longer wanted");
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

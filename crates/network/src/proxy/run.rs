//! The loop: hear all there is to hear, settle, and tell whoever waits for it.

use std::{collections::BTreeSet, io, net::IpAddr, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kube::Client;
use tokio::{sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use windlass_planner::proxy::{Health, Owner, ServiceKey};

use super::{
    Proxy, Routed, Settled,
    publish::{Wanted, publish},
    unrouted::{Stays, acknowledge},
    watch::{Change, Heard, Identity, watch},
};
use crate::{
    Addresses, Holder, Machine,
    dns::{self, Names},
};

/// Pause after a transaction that the kernel refused.
const RETRY: Duration = Duration::from_millis(200);

/// How to route on this machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the machine's node.
    pub node: String,
    /// Addresses of pods, Services and the machine itself.
    pub addresses: Addresses,
    /// Address of the host on which node ports and load balancers are published; 127.0.0.1 unless somebody asked for another.
    pub publish_address: IpAddr,
    /// Told of what is in effect.
    pub routed: Routed,
}

/// Why the routing of Services ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The kernel's packet filter can't be used in the machine's namespace, or the holder does not answer.
    #[error("open the packet filter of the machine (is nf_tables missing from the kernel?)")]
    Open(#[source] io::Error),
    /// The thread that talks to the kernel panicked.
    #[error("the task that writes rules has ended")]
    Task(#[source] tokio::task::JoinError),
}

/// Routes Services until `stop`. Rules and published ports stay as they are afterwards: only the end of the machine ends them.
///
/// # Errors
/// When the packet filter can't be used at all. What goes wrong later is logged and tried again.
pub async fn run(
    client: Client,
    machine: Machine,
    holder: Holder,
    options: Options,
    stop: CancellationToken,
) -> Result<(), RunError> {
    let addresses = options.addresses;
    let proxy = Proxy::open(&machine, Some(holder.clone()), addresses.clone(), &options.node).await;
    let proxy = proxy.map_err(RunError::Open)?;
    let names = Names::default();
    let ((wanted, wants), (health, healths)) = (watch::channel(Vec::new()), watch::channel(Vec::new()));
    let mut tasks = JoinSet::new();
    tasks.spawn(dns::tell(holder.clone(), addresses.clone(), names.clone()));
    tasks.spawn(dns::announce(client.clone(), addresses));
    let mut routing = Routing {
        client: client.clone(),
        proxy: Some(proxy),
        names,
        incomplete: KINDS.into(),
        wanted,
        health,
        heard: 0,
        routed: options.routed,
    };
    let mut heard = watch(&client);
    let mut publishing = Some((client, holder, options.publish_address, wants, healths));
    let mut wake = Wake::Never;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Some(first) = heard.next() => {
                routing.take_in(first);
                // What is there already goes into the same transaction.
                while let Some(Some(next)) = heard.next().now_or_never() {
                    routing.take_in(next);
                }
            }
            () = wake.sleep() => {}
            Some(_) = tasks.join_next() => continue,
        }
        if !routing.incomplete.is_empty() {
            continue;
        }
        wake = routing.settle(&mut tasks).await?;
        // Published ports of an earlier run stay until it is known what is wanted.
        if let Some((client, holder, address, wants, healths)) = publishing.take() {
            info!("Services are routed");
            tasks.spawn(super::health::keep(holder.clone(), address, healths));
            tasks.spawn(publish(client, holder, address, wants));
        }
    }
}

/// When to go on without having heard anything.
enum Wake {
    Never,
    At(Timestamp),
    After(Duration),
}

impl Wake {
    async fn sleep(&self) {
        match self {
            Self::Never => std::future::pending().await,
            Self::At(at) => {
                let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
                // The clock of timestamps and that of timers may differ by a little: not too early, or it would be twice.
                tokio::time::sleep(left + Duration::from_millis(1)).await;
            }
            Self::After(pause) => tokio::time::sleep(*pause).await,
        }
    }
}

const KINDS: [&str; 3] = ["services", "slices", "pods"];

struct Routing {
    client: Client,
    /// Away only while it is settled on a thread that may block.
    proxy: Option<Proxy>,
    /// Kinds of which not all objects have been heard yet: rules made of half of them would cut off the other half.
    incomplete: BTreeSet<&'static str>,
    names: Names,
    wanted: watch::Sender<Vec<Wanted>>,
    health: watch::Sender<Vec<Health>>,
    /// Newest revision of a Service that was taken in.
    heard: u64,
    routed: Routed,
}

impl Routing {
    fn take_in(&mut self, heard: Heard) {
        let Some(proxy) = &mut self.proxy else { return };
        match heard {
            Heard::Service(Change::Is(service)) => {
                let revision = service.metadata.resource_version.as_deref().and_then(|revision| revision.parse().ok());
                self.heard = self.heard.max(revision.unwrap_or_default());
                let service = Arc::from(service);
                self.names.service(&service);
                proxy.service(service);
            }
            Heard::Service(Change::Gone(Identity { namespace, name, .. })) => {
                self.names.service_deleted(&namespace, &name);
                proxy.service_deleted(&ServiceKey { namespace, name });
            }
            Heard::Slice(Change::Is(slice)) => {
                let slice = Arc::from(slice);
                self.names.slice(&slice);
                proxy.slice(slice);
            }
            Heard::Slice(Change::Gone(Identity { namespace, name, .. })) => {
                self.names.slice_deleted(&namespace, &name);
                proxy.slice_deleted(&namespace, &name);
            }
            Heard::Pod(Change::Is(pod)) => proxy.pod(&Arc::from(pod), Timestamp::now()),
            Heard::Pod(Change::Gone(identity)) => proxy.pod_deleted(&identity.namespace, &identity.uid),
            Heard::Service(Change::Complete) => drop(self.incomplete.remove("services")),
            Heard::Slice(Change::Complete) => drop(self.incomplete.remove("slices")),
            Heard::Pod(Change::Complete) => drop(self.incomplete.remove("pods")),
        }
        if self.incomplete.is_empty() {
            self.names.complete();
        }
    }

    async fn settle(&mut self, tasks: &mut JoinSet<()>) -> Result<Wake, RunError> {
        let Some(mut proxy) = self.proxy.take() else { return Ok(Wake::Never) };
        let now = Timestamp::now();
        let settle = tokio::task::spawn_blocking(move || (proxy.settle(now), proxy));
        let (result, proxy) = settle.await.map_err(RunError::Task)?;
        let proxy = self.proxy.insert(proxy);
        let Settled { unrouted, paused, has_host_changed, wake_at } = match result {
            Ok(settled) => settled,
            Err(error) => {
                error!(%error, "the rules of Services could not be changed; they stay as they were");
                return Ok(Wake::After(RETRY));
            }
        };
        self.routed.reach(self.heard);
        for (pods, stays) in [(unrouted, Stays::No), (paused, Stays::Yes)] {
            for pod in pods {
                tasks.spawn(acknowledge(self.client.clone(), pod, stays, now));
            }
        }
        let wake = wake_at.map_or(Wake::Never, Wake::At);
        // Most changes are of endpoints, and all Services would be gone through for each.
        if !has_host_changed {
            return Ok(wake);
        }
        let health = proxy.health();
        self.health.send_if_modified(|current| std::mem::replace(current, health.clone()) != health);
        let wanted = proxy.publications().into_iter().filter_map(|publication| {
            let service = match &publication.owner {
                Owner::Service(key) => Some(proxy.find_service(key)?.clone()),
                Owner::Pod(_) => None,
            };
            Some(Wanted { publication, service })
        });
        let wanted: Vec<_> = wanted.collect();
        self.wanted.send_if_modified(|current| {
            let changed = current.len() != wanted.len() || !current.iter().zip(&wanted).all(|(a, b)| a.is_same(b));
            if changed {
                *current = wanted;
            }
            changed
        });
        Ok(wake)
    }
}

//! DNS for the machine: names of Services and pods from the API, everything else from the host's resolvers.
//!
//! The holder answers, so that names are resolved while the main process is away; the main process tells it what there is.

mod forward;
mod handler;
mod names;
mod zone;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use hickory_server::Server;
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::net::{TcpListener, UdpSocket};
use tracing::debug;

use crate::{
    Addresses,
    holder::{HostThread, log},
};
use forward::Forwarder;
use handler::Handler;

pub(crate) use names::{NameChange, NameChanges, Names, tell};
pub(crate) use zone::{SharedZone, Zone};

/// A client may keep a connection open without asking for this long.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers of one connection that may wait to be read, each at most 64 KiB.
const TCP_ANSWERS: usize = 16;

/// Longest pause between two attempts to make the Service.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How soon what did not work is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// Answers on the cluster's DNS address, which this thread's network namespace has, until it is dropped.
pub(crate) async fn serve(addresses: Addresses, zone: SharedZone, host: HostThread) {
    let address = SocketAddr::from((addresses.dns, 53));
    let forwarder = Arc::new(Forwarder::of(host));
    loop {
        let handler = Handler { zone: zone.clone(), forwarder: forwarder.clone() };
        match answer(address, handler).await {
            Ok(()) => log(&format_args!("DNS on {address} has stopped answering; it is started again")),
            Err(error) => log(&format_args!("DNS can't answer on {address}: {error}; it is tried again")),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn answer(address: SocketAddr, handler: Handler) -> io::Result<()> {
    let (socket, listener) = (UdpSocket::bind(address).await?, TcpListener::bind(address).await?);
    let mut server = Server::new(handler);
    server.register_socket(socket);
    server.register_listener(listener, TCP_IDLE, TCP_ANSWERS);
    server.block_until_done().await.map_err(io::Error::other)
}

/// Makes the Service by which people know the address. DNS does not need it, nor does it have endpoints: the machine itself answers.
pub(crate) async fn announce(client: Client, addresses: Addresses) {
    let port = |name: &str, protocol: &str| json!({ "name": name, "port": 53, "targetPort": 53, "protocol": protocol });
    let service = json!({
        "metadata": {
            "name": "kube-dns",
            "labels": { "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true" },
        },
        "spec": {
            "clusterIP": addresses.dns,
            "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")],
        },
    });
    let service: Service = serde_json::from_value(service).expect("the Service is a Service");
    let api: Api<Service> = Api::namespaced(client, "kube-system");
    let mut pause = RETRY;
    loop {
        match api.create(&PostParams::default(), &service).await {
            Ok(_) => return,
            Err(kube::Error::Api(status)) if status.code == 409 => return,
            // The namespace may be about to be made.
            Err(error) => debug!(%error, "the Service kube-dns can't be made yet"),
        }
        tokio::time::sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

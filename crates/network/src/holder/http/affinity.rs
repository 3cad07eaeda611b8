//! Session affinity: a client that comes back in time goes where it was.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::Instant;

/// Clients of one route that are remembered; of more, those that came last are not. Some 4 MiB.
const MAX_CLIENTS: usize = 65_536;

/// Where clients were led last.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    timeout: Option<Duration>,
    clients: HashMap<IpAddr, (SocketAddr, Instant)>,
}

impl Affinity {
    pub(super) fn set_timeout(&mut self, seconds: Option<u32>) {
        self.timeout = seconds.map(|seconds| Duration::from_secs(seconds.into()));
        if self.timeout.is_none() {
            self.clients.clear();
        }
    }

    /// Where the client was, if that is not too long ago.
    pub(super) fn find(&self, client: IpAddr) -> Option<SocketAddr> {
        let timeout = self.timeout?;
        self.clients.get(&client).filter(|(_, last)| last.elapsed() < timeout).map(|(backend, _)| *backend)
    }

    /// The client is led there now.
    pub(super) fn remember(&mut self, client: IpAddr, backend: SocketAddr) {
        let Some(timeout) = self.timeout else { return };
        if self.clients.len() >= MAX_CLIENTS && !self.clients.contains_key(&client) {
            self.clients.retain(|_, (_, last)| last.elapsed() < timeout);
        }
        if self.clients.len() < MAX_CLIENTS || self.clients.contains_key(&client) {
            self.clients.insert(client, (backend, Instant::now()));
        }
    }
}

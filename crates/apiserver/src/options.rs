//! What a server is made of besides its store: identities, address ranges, certificates, and the edges a simulation replaces.

use std::{fmt, net::Ipv4Addr, ops::RangeInclusive, sync::Arc};

use async_trait::async_trait;
use axum::Router;
use jiff::Timestamp;

use crate::pki::Pki;

/// Tells the time that goes into objects (`creationTimestamp`, `deletionTimestamp`) and decides about token expiry.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Where uids, generated names and allocated addresses come from; a simulation hands in a seeded one.
pub trait Random: Send + Sync + fmt::Debug + 'static {
    /// The next 64 bits.
    fn next_u64(&self) -> u64;
}

/// The operating system's randomness, through a generator of the thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn next_u64(&self) -> u64 {
        rand::random()
    }
}

/// Leads to the kubelets, for `pods/log`, `pods/exec` and their kin.
pub trait Nodes: Send + Sync + fmt::Debug + 'static {
    /// The kubelet's own router, or `None` where that node has none here.
    fn router(&self, node: &str) -> Option<Router>;
}

/// No node has a kubelet in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNodes;

impl Nodes for NoNodes {
    fn router(&self, _node: &str) -> Option<Router> {
        None
    }
}

/// Whoever leads clients to Services, as far as this server has to know of it.
#[async_trait]
pub trait Routes: Send + Sync + fmt::Debug + 'static {
    /// Returns once clients are led where the Services of this revision want them.
    async fn reached(&self, revision: u64);

    /// Figures about requests to Services, as families of metrics in the OpenMetrics text format without the mark of its end.
    async fn figures(&self) -> String;
}

/// Nobody routes in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRoutes;

#[async_trait]
impl Routes for NoRoutes {
    async fn reached(&self, _revision: u64) {}

    async fn figures(&self) -> String {
        String::new()
    }
}

/// The parts of a control plane that run besides this server, as far as it knows of them.
pub trait Parts: Send + Sync + fmt::Debug + 'static {
    /// Whether this part runs: `controller-manager` or `scheduler`.
    fn runs(&self, part: &str) -> bool;
}

/// No such part runs in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoParts;

impl Parts for NoParts {
    fn runs(&self, _part: &str) -> bool {
        false
    }
}

/// A bearer token that names a user for good.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticToken {
    /// The token itself.
    pub token: String,
    /// Name of the user who holds it.
    pub user: String,
    /// Groups of that user; `system:masters` may do everything.
    pub groups: Vec<String>,
}

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticToken").field("user", &self.user).field("groups", &self.groups).finish_non_exhaustive()
    }
}

/// An IPv4 range, such as 10.96.0.0/16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    /// First address of the range.
    pub address: Ipv4Addr,
    /// Length of the network prefix in bits, 0 to 32.
    pub prefix: u8,
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Cidr {
    /// How many addresses the range has.
    pub fn size(self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0).saturating_add(1)
    }

    /// The address at this distance from the first.
    pub fn nth(self, offset: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits().saturating_add(offset))
    }

    /// Whether the address is in the range.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits().checked_sub(self.address.to_bits()).is_some_and(|offset| offset < self.size())
    }
}

/// Everything a server needs besides its store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bearer tokens that are accepted, besides those of service accounts.
    pub tokens: Vec<StaticToken>,
    /// Certificates and keys.
    pub pki: Pki,
    /// Range that ClusterIPs come from; its first address is the `kubernetes` Service's.
    pub service_cidr: Cidr,
    /// Range that node ports come from.
    pub node_ports: RangeInclusive<u16>,
    /// Where pods reach this server: becomes the `kubernetes` EndpointSlice.
    pub advertise: (Ipv4Addr, u16),
    /// The kubelets.
    pub nodes: Arc<dyn Nodes>,
    /// Whoever routes.
    pub routes: Arc<dyn Routes>,
    /// What else the control plane is made of.
    pub parts: Arc<dyn Parts>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The randomness.
    pub random: Arc<dyn Random>,
}

impl Options {
    /// Upstream's usual ranges, the machine's clock and randomness, and one token that may do everything.
    pub fn new(admin_token: impl Into<String>, pki: Pki) -> Self {
        let admin = StaticToken {
            token: admin_token.into(),
            user: "kubernetes-admin".to_owned(),
            groups: vec!["system:masters".to_owned()],
        };
        Self {
            tokens: vec![admin],
            pki,
            service_cidr: Cidr { address: Ipv4Addr::new(10, 96, 0, 0), prefix: 16 },
            node_ports: 30000..=32767,
            // Endpoints refuse loopback, which leads every pod to itself: a placeholder (RFC 5737) until there are pods.
            advertise: (Ipv4Addr::new(192, 0, 2, 1), 6443),
            nodes: Arc::new(NoNodes),
            routes: Arc::new(NoRoutes),
            parts: Arc::new(NoParts),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}

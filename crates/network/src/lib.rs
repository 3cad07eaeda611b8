//! Pod network, Services as kernel rules, draining, published ports.

mod cidr;
mod dns;
mod figures;
pub mod holder;
mod machine;
mod netfilter;
pub mod pod;
pub mod proxy;

pub use cidr::{Cidr, CidrError};
pub use figures::figures;
pub use holder::Holder;
pub use machine::Machine;
pub use pod::PodNetwork;
pub use proxy::{Options, Routed, RunError, run};

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

/// The addresses that everything in the machine agrees on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Pods get theirs from here; the first is the machine's own.
    pub pods: Cidr,
    /// Services get theirs from here.
    pub services: Cidr,
    /// Where DNS answers, one of `services`.
    pub dns: Ipv4Addr,
    /// What names of Services end in, without dots at its ends.
    pub cluster_domain: String,
}

impl Default for Addresses {
    /// 10.244.0.0/24, 10.96.0.0/12, 10.96.0.10 and `cluster.local`: what kubeadm and its usual pod networks choose.
    fn default() -> Self {
        Self {
            pods: Cidr::new(Ipv4Addr::new(10, 244, 0, 0), 24),
            services: Cidr::new(Ipv4Addr::new(10, 96, 0, 0), 12),
            dns: Ipv4Addr::new(10, 96, 0, 10),
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

impl Addresses {
    /// The machine's own address: every pod's gateway, and where node ports answer inside the machine.
    #[must_use]
    pub fn machine(&self) -> Ipv4Addr {
        self.pods.nth(1)
    }
}

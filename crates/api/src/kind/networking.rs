//! Kinds of networking.k8s.io.

use super::{BASE, Generation, Kind, Subresource, prepare};
use crate::columns;

const NETWORKING: Kind = Kind { group: "networking.k8s.io", generation: Generation::Spec, ..BASE };

/// networking.k8s.io/v1 Ingress.
pub const INGRESS: Kind = Kind {
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    subresources: &[Subresource::Status],
    initial: prepare::empty_status,
    columns: columns::networking::INGRESS,
    row: columns::networking::ingress,
    ..NETWORKING
};

/// networking.k8s.io/v1 IngressClass.
pub const INGRESS_CLASS: Kind = Kind {
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    namespaced: false,
    columns: columns::networking::INGRESS_CLASS,
    row: columns::networking::ingress_class,
    ..NETWORKING
};

/// networking.k8s.io/v1 IPAddress: a single address, named after it, and whom it belongs to.
pub const IP_ADDRESS: Kind = Kind {
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    namespaced: false,
    generation: Generation::Untracked,
    columns: columns::networking::IP_ADDRESS,
    row: columns::networking::ip_address,
    ..NETWORKING
};

/// networking.k8s.io/v1 NetworkPolicy.
pub const NETWORK_POLICY: Kind = Kind {
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    columns: columns::networking::NETWORK_POLICY,
    row: columns::networking::network_policy,
    ..NETWORKING
};

/// networking.k8s.io/v1 ServiceCIDR: a range that Services have their addresses from.
pub const SERVICE_CIDR: Kind = Kind {
    kind: "ServiceCIDR",
    plural: "servicecidrs",
    singular: "servicecidr",
    namespaced: false,
    subresources: &[Subresource::Status],
    generation: Generation::Untracked,
    // As upstream, a new one may bring its status: `initial` leaves it alone.
    columns: columns::networking::SERVICE_CIDR,
    row: columns::networking::service_cidr,
    ..NETWORKING
};

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

//! Kinds of rbac.authorization.k8s.io.

use super::{BASE, Kind};
use crate::columns;

const RULES: Kind = Kind { group: "rbac.authorization.k8s.io", creates_on_update: true, ..BASE };

/// rbac.authorization.k8s.io/v1 ClusterRole.
pub const CLUSTER_ROLE: Kind =
    Kind { kind: "ClusterRole", plural: "clusterroles", singular: "clusterrole", namespaced: false, ..RULES };

/// rbac.authorization.k8s.io/v1 ClusterRoleBinding.
pub const CLUSTER_ROLE_BINDING: Kind = Kind {
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    namespaced: false,
    columns: columns::rbac::BINDING,
    row: columns::rbac::binding,
    ..RULES
};

/// rbac.authorization.k8s.io/v1 Role.
pub const ROLE: Kind = Kind { kind: "Role", plural: "roles", singular: "role", ..RULES };

/// rbac.authorization.k8s.io/v1 RoleBinding.
pub const ROLE_BINDING: Kind = Kind {
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    columns: columns::rbac::BINDING,
    row: columns::rbac::binding,
    ..RULES
};

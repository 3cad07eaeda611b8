//! The kind of policy.

use super::{BASE, Generation, Kind, Subresource, prepare};
use crate::columns;

/// policy/v1 PodDisruptionBudget.
pub const POD_DISRUPTION_BUDGET: Kind = Kind {
    group: "policy",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    subresources: &[Subresource::Status],
    generation: Generation::Spec,
    initial: prepare::empty_status,
    columns: columns::workload::POD_DISRUPTION_BUDGET,
    row: columns::workload::pod_disruption_budget,
    updates_unconditionally: false,
    ..BASE
};

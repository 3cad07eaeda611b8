//! Whether a pod may be on a node: taints and tolerations, node selectors and node affinity.

mod affinity;
mod taint;

pub use self::{
    affinity::{matches_required, matches_terms, named},
    taint::{Effect, tolerates, untolerated},
};

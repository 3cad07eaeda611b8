//! Nodes that have the images of a pod already.

use super::{part, real, whole};
use crate::schedule::{filter::Candidate, node_state::NodeState};

const MEGABYTE: i64 = 1024 * 1024;
/// Images that are smaller together are as good as none.
const LEAST: i64 = 23 * MEGABYTE;
/// More than this makes no difference, for each container.
const MOST: i64 = 1000 * MEGABYTE;

/// The images of a pod, and how common they are.
#[derive(Debug)]
pub(super) struct Images {
    /// With the share of nodes that have it: what few have would draw all pods there.
    wanted: Vec<(String, f64)>,
}

impl Images {
    pub(super) fn new(candidate: &Candidate<'_>) -> Self {
        let (view, spec) = (candidate.view, candidate.spec);
        // Where no node tells of any, nothing is looked for.
        if !view.nodes().any(NodeState::has_images) {
            return Self { wanted: Vec::new() };
        }
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let count = |nodes: usize| f64::from(u32::try_from(nodes).unwrap_or(u32::MAX));
        let total = count(view.nodes().count());
        let common = |name: String| {
            let holders = view.nodes().filter(|node| node.image_size(&name).is_some()).count();
            (name, count(holders) / total)
        };
        Self { wanted: containers.map(|container| tagged(container.image.as_deref().unwrap_or_default())).map(common).collect() }
    }

    pub(super) fn on(&self, node: &NodeState) -> i64 {
        let found = self.wanted.iter().filter_map(|(name, share)| Some(whole(real(node.image_size(name)?) * share)));
        let most = MOST.saturating_mul(i64::try_from(self.wanted.len().max(1)).unwrap_or(i64::MAX));
        part(found.fold(0_i64, i64::saturating_add).clamp(LEAST, most) - LEAST, most - LEAST)
    }
}

/// As nodes name it.
fn tagged(image: &str) -> String {
    let has_tag = image.rfind(':') > image.rfind('/');
    if has_tag { image.to_owned() } else { format!("{image}:latest") }
}

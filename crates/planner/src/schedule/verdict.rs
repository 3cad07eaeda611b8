//! Why no node takes a pod, worded as upstream words it.

use std::{collections::BTreeMap, fmt};

use super::preemption::Preemption;

/// What keeps one node from taking the pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rejection {
    /// The pod names the nodes that it may go to, and this one is not among them.
    NotNamed,
    /// `spec.unschedulable`: cordoned.
    Cordoned,
    /// A taint that the pod does not tolerate.
    Tainted,
    /// nodeSelector or required node affinity.
    NodeAffinity,
    /// Another pod has the host port.
    HostPort,
    /// It carries as many pods as it may.
    TooManyPods,
    /// Too little of a resource is left.
    Insufficient {
        /// Which.
        resource: String,
        /// Even the empty node has too little.
        for_good: bool,
    },
    /// A claim that one pod alone may use is used, on whichever node.
    VolumeInUse,
    /// A volume of the pod is on other nodes.
    VolumeAffinity,
    /// No volume for a claim is on the node, and none is made.
    VolumeMissing,
    /// A claim of the pod names a volume that does not exist.
    VolumeLost,
    /// A topology spread constraint would be broken.
    Spread,
    /// The node lacks the label that a topology spread constraint counts by.
    SpreadLabel,
    /// The pod wants company that is not there.
    PodAffinity,
    /// The pod keeps away from one that is there.
    PodAntiAffinity,
    /// One that is there keeps away from the pod.
    ExistingPodAntiAffinity,
}

impl Rejection {
    /// Whether taking other pods away could not help.
    pub(super) fn is_for_good(&self) -> bool {
        match self {
            Self::NotNamed | Self::Cordoned | Self::Tainted | Self::NodeAffinity => true,
            Self::SpreadLabel | Self::PodAffinity | Self::VolumeAffinity | Self::VolumeMissing | Self::VolumeLost => true,
            Self::Insufficient { for_good, .. } => *for_good,
            Self::VolumeInUse
            | Self::HostPort
            | Self::TooManyPods
            | Self::Spread
            | Self::PodAntiAffinity
            | Self::ExistingPodAntiAffinity => false,
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotNamed => "node(s) didn't satisfy plugin(s) [NodeAffinity]",
            Self::Cordoned => "node(s) were unschedulable",
            Self::Tainted => "node(s) had untolerated taint(s)",
            Self::NodeAffinity => "node(s) didn't match Pod's node affinity/selector",
            Self::HostPort => "node(s) didn't have free ports for the requested pod ports",
            Self::TooManyPods => "Too many pods",
            Self::Insufficient { resource, .. } => return write!(f, "Insufficient {resource}"),
            Self::VolumeInUse => "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
            Self::VolumeAffinity => "node(s) didn't match PersistentVolume's node affinity",
            Self::VolumeMissing => "node(s) didn't find available persistent volumes to bind",
            Self::VolumeLost => "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
            Self::Spread => "node(s) didn't match pod topology spread constraints",
            Self::SpreadLabel => "node(s) didn't match pod topology spread constraints (missing required label)",
            Self::PodAffinity => "node(s) didn't match pod affinity rules",
            Self::PodAntiAffinity => "node(s) didn't match pod anti-affinity rules",
            Self::ExistingPodAntiAffinity => "node(s) didn't satisfy existing pods anti-affinity rules",
        })
    }
}

/// Why no node takes the pod: `message` is what the condition and the Event say.
#[derive(Debug, Clone, PartialEq)]
pub struct Unschedulable {
    nodes: usize,
    /// How many nodes say so, by what they say.
    rejections: BTreeMap<String, usize>,
    /// What keeps the pod from all nodes alike.
    refusal: Option<String>,
    preemption: Preemption,
}

impl Unschedulable {
    pub(super) fn new(nodes: usize) -> Self {
        Self { nodes, rejections: BTreeMap::new(), refusal: None, preemption: Preemption::default() }
    }

    pub(super) fn reject(&mut self, rejections: &[Rejection]) {
        for rejection in rejections {
            *self.rejections.entry(rejection.to_string()).or_default() += 1;
        }
    }

    /// No node is even looked at.
    pub(super) fn refuse(&mut self, why: &str) {
        self.refusal = Some(why.to_owned());
    }

    pub(super) fn set_preemption(&mut self, preemption: Preemption) {
        self.preemption = preemption;
    }

    /// Whether room is made by taking other pods away.
    pub fn preemption(&self) -> &Preemption {
        &self.preemption
    }

    /// How many nodes were rejected for each reason.
    pub fn rejections(&self) -> &BTreeMap<String, usize> {
        &self.rejections
    }

    /// `message` of the condition `PodScheduled` and of the Event `FailedScheduling`.
    pub fn message(&self) -> String {
        let nodes = self.nodes;
        if nodes == 0 {
            return "no nodes available to schedule pods".to_owned();
        }
        let listed = |counts: &BTreeMap<String, usize>| {
            let mut parts: Vec<String> = counts.iter().map(|(text, count)| format!("{count} {text}")).collect();
            parts.sort();
            parts.join(", ")
        };
        let why = self.refusal.clone().unwrap_or_else(|| listed(&self.rejections));
        let why = format!("0/{nodes} nodes are available: {why}.");
        match &self.preemption {
            Preemption::Possible(_) => why,
            Preemption::NotEligible(reason) => format!("{why} no new claims to deallocate, preemption: {reason}"),
            Preemption::NoHelp(counts) => {
                let preemption = format!("0/{nodes} nodes are available: {}.", listed(counts));
                format!("{why} no new claims to deallocate, preemption: {preemption}")
            }
        }
    }
}

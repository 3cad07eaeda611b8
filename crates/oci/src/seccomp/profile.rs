//! Profiles: which calls a container may make, written as Docker and Kubernetes write them.

use oci_spec::runtime::Capability;
use serde::{Deserialize, Serialize};

/// Families of sockets that reach past the container: `AF_VSOCK`.
const VSOCK: u64 = 40;

/// What makes a namespace of its own, as bits of `clone`.
const NEW_NAMESPACES: u64 = 0x7e02_0000;

/// A profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Profile {
    pub(super) default_action: Action,
    #[serde(default)]
    pub(super) default_errno_ret: Option<u32>,
    #[serde(default)]
    pub(super) syscalls: Vec<Rule>,
}

/// Some calls, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rule {
    pub(super) names: Vec<String>,
    pub(super) action: Action,
    #[serde(default)]
    pub(super) errno_ret: Option<u32>,
    /// All of them must hold.
    #[serde(default)]
    pub(super) args: Vec<Argument>,
}

/// A condition on an argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Argument {
    pub(super) index: u8,
    pub(super) value: u64,
    #[serde(default)]
    pub(super) value_two: u64,
    pub(super) op: Operator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Operator {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    /// `argument & value == value_two`.
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

impl Profile {
    /// What a container runtime allows by default to who has these capabilities.
    pub(crate) fn runtime_default(capabilities: &[Capability]) -> Self {
        let has = |name: &str| name == "*" || name.parse().is_ok_and(|capability| capabilities.contains(&capability));
        let lines = include_str!("default.txt").lines().filter(|line| !line.starts_with('#'));
        let allowed = lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| has(name));
        let names = allowed.flat_map(|(_, names)| names.split_whitespace()).map(str::to_owned).collect();
        let mut syscalls = vec![allow(names, vec![])];
        let personalities = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
        syscalls.extend(personalities.map(|value| allow_if("personality", Operator::Equal, value, 0)));
        syscalls.push(allow_if("socket", Operator::NotEqual, VSOCK, 0));
        if !has("SYS_ADMIN") {
            syscalls.push(allow_if("clone", Operator::MaskedEqual, NEW_NAMESPACES, 0));
            // Its flags lie in memory, where no filter sees them: libraries fall back to clone.
            let errno_ret = u32::try_from(nix::libc::ENOSYS).ok();
            syscalls.push(Rule { names: vec!["clone3".to_owned()], action: Action::Errno, errno_ret, args: vec![] });
        }
        Self { default_action: Action::Errno, default_errno_ret: None, syscalls }
    }
}

fn allow(names: Vec<String>, args: Vec<Argument>) -> Rule {
    Rule { names, action: Action::Allow, errno_ret: None, args }
}

fn allow_if(name: &str, op: Operator, value: u64, value_two: u64) -> Rule {
    allow(vec![name.to_owned()], vec![Argument { index: 0, value, value_two, op }])
}

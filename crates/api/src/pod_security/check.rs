//! The table of checks: which level asks what, since which version.

use super::{Level, LevelVersion, Pod, Version, Violation, capabilities, host, profiles, sysctls, users, volumes};

/// What one version of a check finds wrong.
pub(super) type Rule = fn(Pod<'_>) -> Option<Violation>;

pub(super) struct Check {
    pub(super) id: &'static str,
    /// Baseline, or restricted. What is baseline holds for restricted too.
    pub(super) level: Level,
    /// The first minor version of each rule, ascending.
    pub(super) versions: &'static [(u64, Rule)],
    /// The check of baseline that this one of restricted says the same as, and more.
    pub(super) replaces: Option<&'static str>,
}

const fn baseline(id: &'static str, versions: &'static [(u64, Rule)]) -> Check {
    Check { id, level: Level::Baseline, versions, replaces: None }
}

const fn restricted(id: &'static str, replaces: Option<&'static str>, versions: &'static [(u64, Rule)]) -> Check {
    Check { id, level: Level::Restricted, versions, replaces }
}

/// In the order in which violations are told: by level, and by id within it.
pub(super) const CHECKS: &[Check] = &[
    baseline("appArmorProfile", &[(0, profiles::app_armor)]),
    baseline("capabilities_baseline", &[(0, capabilities::baseline)]),
    baseline("hostNamespaces", &[(0, host::namespaces)]),
    baseline("hostPathVolumes", &[(0, volumes::host_paths)]),
    baseline("hostPorts", &[(0, host::ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, host::probes)]),
    baseline("privileged", &[(0, host::privileged)]),
    baseline("procMount", &[(0, profiles::proc_mount), (35, profiles::proc_mount_1_35)]),
    baseline("seLinuxOptions", &[(0, profiles::se_linux), (31, profiles::se_linux_1_31)]),
    baseline("seccompProfile_baseline", &[(0, profiles::seccomp_annotations), (19, profiles::seccomp)]),
    baseline(
        "sysctls",
        &[(0, sysctls::since_1_0), (27, sysctls::since_1_27), (29, sysctls::since_1_29), (32, sysctls::since_1_32)],
    ),
    baseline("windowsHostProcess", &[(0, host::windows_processes)]),
    restricted("allowPrivilegeEscalation", None, &[(8, users::escalation), (25, users::escalation_1_25)]),
    restricted(
        "capabilities_restricted",
        Some("capabilities_baseline"),
        &[(22, capabilities::restricted), (25, capabilities::restricted_1_25)],
    ),
    restricted("procMount_restricted", Some("procMount"), &[(35, profiles::proc_mount)]),
    restricted("restrictedVolumes", Some("hostPathVolumes"), &[(0, volumes::restricted)]),
    restricted("runAsNonRoot", None, &[(0, users::non_root), (35, users::non_root_1_35)]),
    restricted("runAsUser", None, &[(23, users::root_user), (35, users::root_user_1_35)]),
    restricted(
        "seccompProfile_restricted",
        Some("seccompProfile_baseline"),
        &[(19, profiles::seccomp_required), (25, profiles::seccomp_required_1_25)],
    ),
];

impl Check {
    /// The rule that holds as of this version; `None` before there was one.
    fn rule(&self, version: Version) -> Option<Rule> {
        let minor = match version {
            Version::Minor(minor) => minor,
            Version::Latest => u64::MAX,
        };
        self.versions.iter().rev().find(|(first, _)| *first <= minor).map(|(_, rule)| *rule)
    }
}

/// What holds at this level, as of this version.
pub(super) fn rules(of: LevelVersion) -> impl Iterator<Item = Rule> {
    let holds = move |check: &Check| (check.level <= of.level).then(|| check.rule(of.version)).flatten();
    let is_replaced = move |id: &str| CHECKS.iter().any(|check| check.replaces == Some(id) && holds(check).is_some());
    CHECKS.iter().filter(move |check| !is_replaced(check.id)).filter_map(holds)
}

//! Seccomp: a container's program may make only the calls of a profile.
//!
//! A profile is compiled when the container is made, into filters that are kept in its directory; whoever becomes a program in
//! the container installs them. A container without a profile has none.

mod profile;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use nix::{errno::Errno, libc};
use oci_spec::runtime::{Capability, LinuxCapabilities};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use serde::{Deserialize, Serialize};
use syscalls::Sysno;

use self::profile::{Action, Argument, Operator, Rule};
pub(crate) use profile::Profile;

/// Name of the file in the container's directory.
const FILE: &str = "seccomp.json";

/// A profile is some tens of kilobytes.
const PROFILE_BYTES: u64 = 1 << 20;

/// Which calls a container may make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// All.
    #[default]
    Unconfined,
    /// Those that container runtimes allow by default.
    RuntimeDefault,
    /// Those of a profile in a file, in Docker's format.
    Localhost(PathBuf),
}

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// There is no such file, or it cannot be read.
    #[error("cannot load seccomp profile {path:?}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no profile.
    #[error("cannot load seccomp profile {path:?}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The profile makes no filter.
    #[error("failed to compile seccomp profile")]
    Compile(#[source] seccompiler::BackendError),
    /// This processor has no filters.
    #[error("seccomp is not supported on this architecture")]
    Architecture,
}

/// What is installed before a program starts.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Filters {
    /// Instructions of each filter: code, two jumps, value.
    programs: Vec<Vec<(u16, u8, u8, u32)>>,
    /// What the program may do once they are: to install filters takes more, which is given up then.
    pub(crate) capabilities: Option<LinuxCapabilities>,
}

/// Reads and compiles what is asked for; `None`: nothing is.
///
/// # Errors
/// When there is no such profile, or it makes no filter.
pub(crate) fn compile(seccomp: &Seccomp, capabilities: &[Capability]) -> Result<Option<Filters>, SeccompError> {
    let profile = match seccomp {
        Seccomp::Unconfined => return Ok(None),
        Seccomp::RuntimeDefault => Profile::runtime_default(capabilities),
        Seccomp::Localhost(path) => load(path)?,
    };
    let programs = programs(&profile)?;
    let plain = |program: BpfProgram| program.iter().map(|step| (step.code, step.jt, step.jf, step.k)).collect();
    Ok(Some(Filters { programs: programs.into_iter().map(plain).collect(), capabilities: None }))
}

fn load(path: &Path) -> Result<Profile, SeccompError> {
    let failed = |source| SeccompError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(failed)?.len() > PROFILE_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|source| SeccompError::Parse { path: path.to_owned(), source })
}

impl Filters {
    /// Those of a container; `None`: it has none.
    pub(crate) fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(FILE)) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        fs::write(dir.join(FILE), serde_json::to_vec(self)?)
    }

    /// Binds this thread, and what it becomes, for good.
    ///
    /// # Errors
    /// When the kernel has no seccomp, or this process may not use it.
    pub(crate) fn install(&self) -> io::Result<()> {
        for program in &self.programs {
            let mut steps: Vec<libc::sock_filter> =
                program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
            let len = u16::try_from(steps.len()).map_err(io::Error::other)?;
            let program = libc::sock_fprog { len, filter: steps.as_mut_ptr() };
            // SAFETY: the program points to `len` instructions, which the kernel copies.
            let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
            let installed = Errno::result(result);
            installed.map_err(|errno| io::Error::other(format!("seccomp: {}", errno.desc().to_lowercase())))?;
        }
        Ok(())
    }
}

/// Whether this kernel knows filters at all.
///
/// # Errors
/// When it does not.
pub(crate) fn check_kernel() -> io::Result<()> {
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the call reads the number that the pointer leads to.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    let known = Errno::result(result).map(drop);
    known.map_err(|_| io::Error::other("seccomp: this kernel has no filters of system calls"))
}

/// A filter knows two outcomes. The kernel asks all filters and takes the strictest answer: so the first one lets through what
/// any rule is about, and each further outcome has one of its own.
fn programs(profile: &Profile) -> Result<Vec<BpfProgram>, SeccompError> {
    let default = action(profile.default_action, profile.default_errno_ret);
    let mut outcomes: Vec<(SeccompAction, Vec<&Rule>)> = Vec::new();
    for rule in &profile.syscalls {
        let outcome = action(rule.action, rule.errno_ret);
        match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, rules)) => rules.push(rule),
            None => outcomes.push((outcome, vec![rule])),
        }
    }
    let mut programs = Vec::new();
    if default != SeccompAction::Allow {
        programs.push(program(profile.syscalls.iter(), default, SeccompAction::Allow)?);
    }
    for (outcome, rules) in outcomes.into_iter().filter(|(outcome, _)| *outcome != SeccompAction::Allow) {
        programs.push(program(rules.into_iter(), SeccompAction::Allow, outcome)?);
    }
    Ok(programs)
}

fn program<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    otherwise: SeccompAction,
    matched: SeccompAction,
) -> Result<BpfProgram, SeccompError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|_| SeccompError::Architecture)?;
    let mut calls: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let mut whole = Vec::new();
    for rule in rules {
        // Names of other architectures, and of kernels to come, are passed over.
        for number in rule.names.iter().filter_map(|name| name.parse::<Sysno>().ok()).map(|call| i64::from(call.id())) {
            let chain = calls.entry(number).or_default();
            if rule.args.is_empty() {
                whole.push(number);
            } else {
                let conditions = rule.args.iter().map(condition).collect::<Result<_, _>>().map_err(SeccompError::Compile)?;
                chain.push(SeccompRule::new(conditions).map_err(SeccompError::Compile)?);
            }
        }
    }
    // No conditions mean that the call matches always.
    for number in whole {
        calls.insert(number, Vec::new());
    }
    let filter = SeccompFilter::new(calls, otherwise, matched, arch).map_err(SeccompError::Compile)?;
    filter.try_into().map_err(SeccompError::Compile)
}

fn condition(argument: &Argument) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (op, value) = match argument.op {
        Operator::NotEqual => (SeccompCmpOp::Ne, argument.value),
        Operator::Less => (SeccompCmpOp::Lt, argument.value),
        Operator::LessOrEqual => (SeccompCmpOp::Le, argument.value),
        Operator::Equal => (SeccompCmpOp::Eq, argument.value),
        Operator::GreaterOrEqual => (SeccompCmpOp::Ge, argument.value),
        Operator::Greater => (SeccompCmpOp::Gt, argument.value),
        Operator::MaskedEqual => (SeccompCmpOp::MaskedEq(argument.value), argument.value_two),
    };
    SeccompCondition::new(argument.index, SeccompCmpArgLen::Qword, op, value)
}

fn action(action: Action, errno: Option<u32>) -> SeccompAction {
    match action {
        Action::Allow => SeccompAction::Allow,
        Action::Errno => SeccompAction::Errno(errno.unwrap_or(libc::EPERM.unsigned_abs())),
        Action::KillThread => SeccompAction::KillThread,
        Action::KillProcess => SeccompAction::KillProcess,
        Action::Trap => SeccompAction::Trap,
        Action::Log => SeccompAction::Log,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_profile_knows_its_calls() {
        let known = |name: &str| name.parse::<Sysno>().is_ok();
        let profile = Profile::runtime_default(&[]);
        let names: Vec<&str> = profile.syscalls.iter().flat_map(|rule| rule.names.iter().map(String::as_str)).collect();
        for name in ["read", "execve", "openat", "clone", "socket", "futex", "statx", "rseq"] {
            assert!(names.contains(&name) && known(name), "{name}");
        }
        for name in ["mount", "reboot", "bpf", "unshare", "keyctl"] {
            assert!(!names.contains(&name) && known(name), "{name}");
        }
        let admin = Profile::runtime_default(&[Capability::SysAdmin]);
        assert!(admin.syscalls[0].names.iter().any(|name| name == "mount"));
        assert_eq!(programs(&profile).unwrap().len(), 2, "the calls, and clone3's own error");
        assert_eq!(programs(&admin).unwrap().len(), 1);
    }

    #[test]
    fn profiles_are_read_as_docker_writes_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("profile.json");
        let compile = |text: &str| {
            fs::write(&path, text).unwrap();
            compile(&Seccomp::Localhost(path.clone()), &[])
        };
        let text = r#"{ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"], "syscalls": [
            { "names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 },
            { "names": ["kill"], "action": "SCMP_ACT_KILL", "args": [{ "index": 1, "value": 9, "op": "SCMP_CMP_EQ" }] } ] }"#;
        assert_eq!(compile(text).unwrap().unwrap().programs.len(), 2);
        let error = compile("{").unwrap_err().to_string();
        assert_eq!(error, format!("cannot load seccomp profile {path:?}"));
        let missing = super::compile(&Seccomp::Localhost(dir.path().join("nope")), &[]).unwrap_err();
        assert!(matches!(missing, SeccompError::Read { .. }));
        assert!(super::compile(&Seccomp::Unconfined, &[]).unwrap().is_none());
    }
}

//! Becomes the container's program: the last steps inside the container's first process.

use std::{
    collections::HashMap,
    ffi::CString,
    fs::File,
    io::{self, Write as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
    sync::Arc,
};

use libcontainer::{
    capabilities,
    syscall::syscall::create_syscall,
    workload::{Executor, ExecutorError, ExecutorSetEnvsError, ExecutorValidationError},
};
use nix::{libc, sys::signal::SigSet, unistd::execve};
use oci_spec::runtime::{Process, Spec};

use super::argv::look_path;
use crate::{
    error::chain,
    seccomp::{self, Filters},
};

/// What runc exits with when the program could not be executed after all.
const EXEC_FAILED: i32 = 255;

/// Runs the program of a specification; says what keeps it from running through a pipe.
#[derive(Clone)]
pub(crate) struct Program {
    report: Arc<OwnedFd>,
    filters: Option<Arc<Filters>>,
}

impl Program {
    pub(crate) fn new(report: OwnedFd, filters: Option<Filters>) -> Self {
        Self { report: Arc::new(report), filters: filters.map(Arc::new) }
    }

    /// Says what keeps the program from running.
    fn refuse(&self, text: String) -> ExecutorValidationError {
        if let Ok(fd) = self.report.try_clone() {
            let _ = File::from(fd).write_all(text.as_bytes());
        }
        ExecutorValidationError::ArgValidationError(text)
    }
}

impl Executor for Program {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process = spec.process().as_ref();
        let missing = || ExecutorValidationError::ArgValidationError("no process".to_owned());
        program(process.ok_or_else(missing)?).map_err(|why| self.refuse(format!("exec: {why}")))?;
        match &self.filters {
            Some(_) => seccomp::check_kernel().map_err(|error| self.refuse(error.to_string())),
            None => Ok(()),
        }
    }

    /// The environment goes to the program with execve, in order; ours stays as it is.
    fn setup_envs(&self, _envs: HashMap<String, String>) -> Result<(), ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref().ok_or(ExecutorError::InvalidArg)?;
        let confined = self.filters.as_ref().map_or(Ok(()), |filters| confine(filters));
        let error = confined.map_or_else(|error| chain(&error), |()| execute(process));
        let _ = writeln!(io::stderr(), "{error}");
        std::process::exit(EXEC_FAILED);
    }
}

/// Installs the filters, and gives up what that took.
fn confine(filters: &Filters) -> io::Result<()> {
    filters.install()?;
    match &filters.capabilities {
        Some(own) => capabilities::drop_privileges(own, &*create_syscall()).map_err(io::Error::other),
        None => Ok(()),
    }
}

/// Replaces this process; comes back only to say why it could not.
pub(crate) fn execute(process: &Process) -> String {
    let program = match program(process) {
        Ok(program) => program,
        Err(why) => return format!("exec: {why}"),
    };
    let text = |strings: Option<&Vec<String>>| -> Vec<CString> {
        strings.into_iter().flatten().filter_map(|s| CString::new(s.as_bytes()).ok()).collect()
    };
    let (args, env) = (text(process.args().as_ref()), text(process.env().as_ref()));
    reset_signals();
    let Ok(path) = CString::new(program.as_os_str().as_bytes()) else {
        return format!("exec {}: invalid argument", program.display());
    };
    match execve(&path, &args, &env) {
        Ok(never) => match never {},
        Err(errno) => format!("exec {}: {}", program.display(), errno.desc().to_lowercase()),
    }
}

fn program(process: &Process) -> Result<PathBuf, String> {
    let path = process.env().iter().flatten().find_map(|pair| pair.strip_prefix("PATH=")).unwrap_or_default();
    let program = process.args().as_ref().and_then(|args| args.first()).map_or("", String::as_str);
    look_path(program, path)
}

/// A program starts with no signal blocked and none ignored. Rust ignores SIGPIPE; a shell without job control starts what it puts into
/// the background with SIGINT and SIGQUIT ignored, `nohup` with SIGHUP, glibc's `posix_spawn` with its own two; `execve` keeps all that.
pub(crate) fn reset_signals() {
    // The kernel's `struct sigaction`, all zero: the default. glibc's own call refuses to set the two signals that it uses itself.
    let default = [0_u64; 4];
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: reads `default`, writes nothing, and runs no code of ours. SIGKILL and SIGSTOP are refused; nobody can ignore them.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0_usize, size_of::<u64>()) };
    }
    let _ = SigSet::empty().thread_set_mask();
}

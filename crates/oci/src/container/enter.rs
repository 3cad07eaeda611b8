//! The process that enters a container and runs a command there.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use libcontainer::{capabilities, syscall::syscall::create_syscall};
use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{Signal, killpg},
        wait::{WaitStatus, waitpid},
    },
    unistd::{
        ForkResult, Gid, Pid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown, fork, pipe2, setgroups, setresgid, setresuid,
        setsid,
    },
};
use oci_spec::runtime::{Process, Spec};
use serde::{Deserialize, Serialize};

use super::{
    executor::execute,
    record::Record,
    state::{Phase, State},
};
use crate::{cgroup::Cgroups, error::chain, kernel};

/// How a command ended, told to whoever asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// With that exit code; 128 + signal for a killed one.
    Exited(i32),
    /// Killed after its time.
    TimedOut,
    /// It could not be started.
    Failed(String),
}

/// Entry: the arguments are the container's directory, the time in milliseconds, and the command as JSON.
/// Standard input is where the outcome is written to.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    // Whatever the machine had open must not get into a container.
    kernel::close_from(3);
    let told = || -> io::Result<()> {
        let mut outcome_pipe = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        dup2_stdin(File::open("/dev/null")?)?;
        let outcome = run(args).unwrap_or_else(|error| Outcome::Failed(chain(&error)));
        outcome_pipe.write_all(&serde_json::to_vec(&outcome)?)
    };
    if told().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(args: &[OsString]) -> io::Result<Outcome> {
    let [dir, timeout, command] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    let timeout = timeout.to_str().and_then(|t| t.parse().ok()).map(Duration::from_millis);
    let timeout = timeout.ok_or(io::ErrorKind::InvalidInput)?;
    let command: Vec<String> = serde_json::from_str(command.to_str().unwrap_or_default())?;
    // Nobody in the container may look into this process, whose executable is the machine's own.
    prctl::set_dumpable(false)?;
    let process = enter(Path::new(dir), command)?;
    let (report_read, report_write) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this process has a single thread, so the child finds no lock held and no memory half written.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let why = become_command(&process);
            let _ = File::from(report_write).write_all(why.as_bytes());
            std::process::exit(1)
        }
        ForkResult::Parent { child } => {
            drop(report_write);
            watch(child, report_read, timeout)
        }
    }
}

/// Joins the container's group and namespaces, and gives the process to run in it.
fn enter(dir: &Path, command: Vec<String>) -> io::Result<Process> {
    let not_running = || io::Error::other("container not running");
    let record = Record::read(dir)?;
    let spec = Spec::load(dir.join("config.json")).map_err(io::Error::other)?;
    let state = State::read(dir)?.filter(|state| matches!(state.phase, Phase::Running { .. }) && state.is_of_this_boot());
    let init = state.and_then(|state| state.init).ok_or_else(not_running)?.open()?.ok_or_else(not_running)?;
    Cgroups::detect()?.join(&record.cgroup)?;
    let namespaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    setns(init, namespaces)?;
    let mut process = spec.process().clone().ok_or_else(not_running)?;
    process.set_args(Some(command)).set_terminal(Some(false));
    Ok(process)
}

/// Becomes the command; comes back only with what kept it from that.
fn become_command(process: &Process) -> String {
    let prepare = || -> io::Result<()> {
        setsid()?;
        nix::unistd::chdir(process.cwd())?;
        let user = process.user();
        let groups = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect::<Vec<_>>();
        setgroups(&groups)?;
        // The output, which programs may open anew. What is no pipe of ours refuses, and is none of ours to give.
        let _ = fchown(io::stdout(), Some(Uid::from_raw(user.uid())), None);
        let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        // The bounding set is yet to be dropped, which needs a capability after the change of user.
        prctl::set_keepcaps(true)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        let syscall = create_syscall();
        capabilities::reset_effective(&*syscall).map_err(io::Error::other)?;
        if let Some(set) = process.capabilities() {
            capabilities::drop_privileges(set, &*syscall).map_err(io::Error::other)?;
        }
        prctl::set_keepcaps(false)?;
        if process.no_new_privileges() == Some(true) {
            prctl::set_no_new_privs()?;
        }
        // After the change of user, which clears it: the command does not outlive who waits for it.
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        Ok(())
    };
    match prepare() {
        Ok(()) => execute(process),
        Err(error) => chain(&error),
    }
}

/// Waits for the command, at most its time, and kills its session's processes after that.
fn watch(child: Pid, report: OwnedFd, timeout: Duration) -> io::Result<Outcome> {
    // The output ends with the command, not with this process.
    let null = File::open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    let mut why = String::new();
    File::from(report).read_to_string(&mut why)?;
    if !why.is_empty() {
        waitpid(child, None)?;
        return Ok(Outcome::Failed(why));
    }
    let pidfd: OwnedFd = kernel::pidfd_open(child)?;
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let in_time = poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX))? > 0;
    if !in_time {
        // It leads its own process group.
        let _ = killpg(child, Signal::SIGKILL);
    }
    Ok(match waitpid(child, None)? {
        _ if !in_time => Outcome::TimedOut,
        WaitStatus::Exited(_, code) => Outcome::Exited(code),
        WaitStatus::Signaled(_, signal, _) => Outcome::Exited(128 + signal as i32),
        other => Outcome::Failed(format!("{other:?}")),
    })
}

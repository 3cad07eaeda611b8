//! The process that enters a container and runs a command there.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::ExitCode,
};

use libcontainer::{capabilities, syscall::syscall::create_syscall};
use nix::{
    fcntl::OFlag,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{posix_openpt, unlockpt},
    sched::{CloneFlags, setns},
    sys::{
        prctl,
        signal::{Signal, killpg},
        stat::fstat,
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
use crate::{cgroup::Cgroups, error::chain, kernel, process::may_set_groups, seccomp::Filters};

/// `/dev/null`, which belongs to all.
const NULL_DEVICE: libc::dev_t = libc::makedev(1, 3);

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

/// What is asked of the process that enters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) command: Vec<String>,
    /// Milliseconds until the command is killed; `None`: it has all the time it wants.
    pub(crate) timeout_millis: Option<u64>,
    /// Its standard input comes over the socket first.
    pub(crate) stdin: bool,
    /// It gets a terminal, whose other end goes over the socket first.
    pub(crate) tty: bool,
}

/// Entry: the arguments are the container's directory and an [`Order`]. Standard input is a socket to whoever asks: the
/// [`Outcome`] goes there.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    // Whatever the machine had open must not get into a container.
    kernel::close_from(3);
    let told = || -> io::Result<()> {
        let mut socket = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        dup2_stdin(File::open("/dev/null")?)?;
        let outcome = run(args, &socket).unwrap_or_else(|error| Outcome::Failed(chain(&error)));
        socket.write_all(&serde_json::to_vec(&outcome)?)
    };
    if told().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(args: &[OsString], socket: &File) -> io::Result<Outcome> {
    let [dir, order] = args else { return Err(io::ErrorKind::InvalidInput.into()) };
    let order: Order = serde_json::from_str(order.to_str().unwrap_or_default())?;
    if order.stdin {
        let (_, mut fds) = kernel::receive_fds(socket, &mut [0; 1])?;
        dup2_stdin(fds.pop().ok_or(io::ErrorKind::UnexpectedEof)?)?;
    }
    // Nobody in the container may look into this process, whose executable is the machine's own.
    prctl::set_dumpable(false)?;
    let (process, filters) = enter(Path::new(dir), &order)?;
    let terminal = if order.tty { Some(open_terminal(socket)?) } else { None };
    let (report_read, report_write) = pipe2(OFlag::O_CLOEXEC)?;
    // SAFETY: this process has a single thread, so the child finds no lock held and no memory half written.
    match unsafe { fork() }? {
        ForkResult::Child => {
            let why = become_command(&process, filters.as_ref(), terminal);
            let _ = File::from(report_write).write_all(why.as_bytes());
            std::process::exit(1)
        }
        ForkResult::Parent { child } => {
            drop((report_write, terminal));
            watch(child, report_read, order.timeout_millis)
        }
    }
}

/// A terminal of the container's own; the end that commands its programs goes to whoever asked.
fn open_terminal(socket: &File) -> io::Result<OwnedFd> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    unlockpt(&master)?;
    let peer = kernel::open_terminal_peer(&master)?;
    kernel::send_fds(socket, b"t", &[master.as_fd()])?;
    Ok(peer)
}

/// Joins the container's group and namespaces, and gives the process to run in it.
fn enter(dir: &Path, order: &Order) -> io::Result<(Process, Option<Filters>)> {
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
    let filters = Filters::read(dir)?;
    setns(init, namespaces)?;
    let mut process = spec.process().clone().ok_or_else(not_running)?;
    process.set_args(Some(order.command.clone()));
    if order.tty && !process.env().iter().flatten().any(|pair| pair.starts_with("TERM=")) {
        process.env_mut().get_or_insert_default().push("TERM=xterm".to_owned());
    }
    if let Some(own) = filters.as_ref().and_then(|filters| filters.capabilities.clone()) {
        process.set_capabilities(Some(own));
    }
    Ok((process, filters))
}

/// Becomes the command; comes back only with what kept it from that.
fn become_command(process: &Process, filters: Option<&Filters>, terminal: Option<OwnedFd>) -> String {
    let prepare = || -> io::Result<()> {
        setsid()?;
        if let Some(terminal) = terminal {
            kernel::take_terminal(&terminal)?;
            dup2_stdin(&terminal)?;
            dup2_stdout(&terminal)?;
            dup2_stderr(&terminal)?;
        }
        nix::unistd::chdir(process.cwd())?;
        let user = process.user();
        let groups = user.additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect::<Vec<_>>();
        if may_set_groups() {
            setgroups(&groups)?;
        }
        // The output, which programs may open anew. What is no pipe of ours refuses, and is none of ours to give.
        for fd in [io::stdin().as_fd(), io::stdout().as_fd(), io::stderr().as_fd()] {
            if fstat(fd)?.st_rdev != NULL_DEVICE {
                let _ = fchown(fd, Some(Uid::from_raw(user.uid())), None);
            }
        }
        let (uid, gid) = (Uid::from_raw(user.uid()), Gid::from_raw(user.gid()));
        // The bounding set is yet to be dropped, which needs a capability after the change of user.
        prctl::set_keepcaps(true)?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        let syscall = create_syscall();
        capabilities::reset_effective(&*syscall).map_err(io::Error::other)?;
        let is_bound = process.no_new_privileges() == Some(true);
        // Who may gain privileges needs some to install filters, and has them only now.
        if let Some(filters) = filters.filter(|_| !is_bound) {
            filters.install()?;
        }
        if let Some(set) = process.capabilities() {
            capabilities::drop_privileges(set, &*syscall).map_err(io::Error::other)?;
        }
        prctl::set_keepcaps(false)?;
        if is_bound {
            prctl::set_no_new_privs()?;
            filters.map_or(Ok(()), Filters::install)?;
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
fn watch(child: Pid, report: OwnedFd, timeout_millis: Option<u64>) -> io::Result<Outcome> {
    // The output ends with the command, not with this process.
    let null = File::open("/dev/null")?;
    dup2_stdin(&null)?;
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
    let timeout = timeout_millis.map_or(PollTimeout::NONE, |millis| PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX));
    let in_time = poll(&mut fds, timeout)? > 0;
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

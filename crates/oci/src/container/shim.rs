//! The process that starts one container, writes its log, waits for its end and writes that down.
//!
//! It outlives whoever started it: a container goes on, and its end is not lost, while the machine's main process is away.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read as _},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::ExitCode,
};

use jiff::Timestamp;
use libcontainer::{container::builder::ContainerBuilder, error::LibcontainerError, syscall::syscall::SyscallType};
use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
        stat::{Mode, umask},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{pipe2, setsid},
};
use oci_spec::runtime::Spec;

use super::{
    attach::Clients,
    executor::{Program, reset_signals},
    log::Log,
    record::Record,
    rootfs,
    state::{Phase, START_ERROR_EXIT_CODE, State},
    stdio::{Inside, Stdio, Streams, set_nonblocking},
};
use crate::{cgroup::Cgroups, error::chain, kernel, process::ProcessId, seccomp::Filters};

/// Read at once from a stream. Two of them are all the memory a quiet shim needs.
const READ_BYTES: usize = 16 << 10;

/// What is left of output when the container has ended: at most what a pipe holds, so 4 MiB is never reached by an honest one.
const DRAIN_BYTES: usize = 4 << 20;

/// Entry: the only argument is the container's directory. Standard output is closed once the state file says how it went.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let Some(dir) = args.first().map(PathBuf::from) else { return ExitCode::FAILURE };
    match Shim::start(&dir).and_then(Shim::watch) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

/// A container that runs.
struct Shim {
    dir: PathBuf,
    record: Record,
    state: State,
    cgroups: Cgroups,
    log: Log,
    streams: Streams,
    clients: Clients,
    signals: SignalFd,
}

impl Shim {
    /// Detaches from the starter, starts the container, and reports.
    fn start(dir: &Path) -> io::Result<Self> {
        // A terminal's interrupt and hang-up are meant for the main process, which stops containers in order.
        setsid()?;
        prctl::set_name(c"windlass-shim")?;
        prctl::set_child_subreaper(true)?;
        kernel::close_from(3);
        std::env::set_current_dir("/")?;
        umask(Mode::S_IWGRP | Mode::S_IWOTH);
        State::claim(dir)?;
        let mut state = State::of_this_shim()?;
        state.write(dir)?;
        let record = Record::read(dir)?;
        let cgroups = Cgroups::detect()?;
        let log = Log::open(&record.spec.log_path)?;
        // Before the container's first process: its end must not be missed. That process resets its own mask.
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let input_ends = record.spec.stdin_once && !record.spec.tty;
        let clients = Clients::listen(dir, input_ends)?;
        let begun_at = Timestamp::now();
        let streams = match launch(dir, &record) {
            Ok((init, streams)) => {
                state.init = Some(init);
                let started_at = Timestamp::now();
                state.phase = Phase::Running { started_at };
                for ignored in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGPIPE] {
                    mask.add(ignored);
                }
                mask.thread_block()?;
                streams
            }
            Err(message) => {
                cgroups.kill(&record.cgroup);
                let (finished_at, exit_code) = (Timestamp::now(), START_ERROR_EXIT_CODE);
                state.phase = Phase::Exited { started_at: begun_at, finished_at, exit_code, oom_killed: false, message };
                Streams::default()
            }
        };
        state.write(dir)?;
        close_stdout()?;
        // The container has its own view of it; ours would only make the list of mounts long. Nobody waits for it.
        rootfs::unmount_root(dir);
        Ok(Self { dir: dir.to_owned(), record, state, cgroups, log, streams, clients, signals })
    }

    /// Waits for the container's end.
    fn watch(mut self) -> io::Result<()> {
        let Some(init) = self.state.init else { return Ok(()) };
        let mut buffer = vec![0; READ_BYTES];
        let exit_code = loop {
            if let Some(exit_code) = reap(init.pid)? {
                break exit_code;
            }
            self.wait()?;
            while self.signals.read_signal()?.is_some() {}
            self.clients.serve(&mut self.streams);
            for output in 0..2 {
                if !self.clients.are_behind(output) {
                    self.take(output, &mut buffer, READ_BYTES);
                }
            }
        };
        // Whatever it left behind in a process namespace that goes on must not hold its files or its group.
        self.cgroups.kill(&self.record.cgroup);
        for output in 0..2 {
            self.take(output, &mut buffer, DRAIN_BYTES);
            if let Some(mut output) = self.streams.outputs[output].take() {
                self.log.finish(&mut output.stream);
            }
        }
        let oom_killed = self.cgroups.oom_kills(&self.record.cgroup) > 0;
        if let Phase::Running { started_at } = self.state.phase {
            let finished_at = Timestamp::now();
            self.state.phase = Phase::Exited { started_at, finished_at, exit_code, oom_killed, message: String::new() };
        }
        // The group goes with the container's removal: whoever waits for the end need not wait for that.
        self.state.write_durably(&self.dir)?;
        self.clients.finish();
        Ok(())
    }

    /// Sleeps until a child has ended, or a stream or a client has something.
    fn wait(&self) -> io::Result<()> {
        let outputs = self.streams.outputs.iter().enumerate().filter(|(index, _)| !self.clients.are_behind(*index));
        let outputs = outputs.filter_map(|(_, output)| output.as_ref());
        let mut fds: Vec<_> = outputs.map(|output| PollFd::new(output.fd.as_fd(), PollFlags::POLLIN)).collect();
        self.clients.poll_fds(&self.streams, &mut fds);
        fds.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what a stream has, up to a bound; a stream that has ended is closed.
    fn take(&mut self, output: usize, buffer: &mut [u8], limit: usize) {
        let mut taken = 0;
        while let Some(open) = self.streams.outputs[output].as_mut().filter(|_| taken < limit) {
            match open.fd.read(buffer) {
                Ok(read) if read > 0 => {
                    self.log.write(&mut open.stream, &buffer[..read]);
                    self.clients.write(output, &buffer[..read]);
                    taken += read;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A terminal that nobody has open any more says EIO; it may be opened again, but not waited for.
                Ok(_) | Err(_) => {
                    self.log.finish(&mut open.stream);
                    self.streams.outputs[output] = None;
                }
            }
        }
    }
}

/// Creates and starts the container; an error is the text for its status.
fn launch(dir: &Path, record: &Record) -> Result<(ProcessId, Streams), String> {
    let io = |doing: &str| {
        let doing = doing.to_owned();
        move |error: io::Error| format!("failed to create containerd task: failed to {doing}: {error}")
    };
    rootfs::mount_root(dir, record).map_err(io("mount rootfs component"))?;
    let spec = Spec::load(dir.join("config.json")).map_err(|e| chain(&e))?;
    let process = spec.process().as_ref().ok_or("config.json has no process")?;
    rootfs::make_working_dir(dir, record, process.cwd()).map_err(io("create the working directory"))?;
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from).map_err(io("make a pipe"));
    let (report_read, report_write) = pipe()?;
    let (inside, streams) = Stdio::new(dir, &record.spec, process.user().uid()).map_err(io("set up standard streams"))?;
    let restore = adjust_oom_score(record.spec.resources.oom_score_adj);
    let filters = Filters::read(dir).map_err(io("read its seccomp filters"))?;
    reset_signals();
    let created = create(dir, inside, Program::new(report_write, filters));
    if let Some(before) = restore {
        let _ = fs::write("/proc/self/oom_score_adj", before);
    }
    let pid = created.map_err(|error| {
        let mut report = String::new();
        let _ = set_nonblocking(&report_read).and_then(|()| File::from(report_read).read_to_string(&mut report));
        let cause = if report.is_empty() { chain(&error) } else { report };
        format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: unable to start container \
             process: error during container init: {cause}"
        )
    })?;
    let init = ProcessId::of(pid).map_err(io("look at the container's process"))?;
    let streams = streams.open().map_err(io("set up standard streams"))?;
    Ok((init, streams))
}

/// Makes the container and starts its program; the process id.
fn create(dir: &Path, inside: Inside, program: Program) -> Result<i32, LibcontainerError> {
    let mut builder = ContainerBuilder::new("container".to_owned(), SyscallType::default())
        .with_root_path(dir.join("oci"))?
        .with_executor(program);
    builder = match inside {
        Inside::Terminal(socket) => builder.with_console_socket(Some(socket)),
        Inside::Pipes { stdin, stdout, stderr } => builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr),
    };
    let mut container = builder.as_init(dir).with_systemd(false).with_detach(true).build()?;
    let pid = container.pid().map_or(0, |pid| pid.as_raw());
    container.start()?;
    Ok(pid)
}

/// Sets the score that the container's process inherits, and returns the one to go back to. The shim itself must not be the
/// first victim: then nobody would write down what happened.
fn adjust_oom_score(score: i32) -> Option<String> {
    let before = fs::read_to_string("/proc/self/oom_score_adj").ok()?;
    match fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Ok(()) => Some(before.trim().to_owned()),
        // Lower than our own needs CAP_SYS_RESOURCE; the container runs with ours then.
        Err(error) => {
            tracing::debug!(score, %error, "oom_score_adj refused");
            None
        }
    }
}

/// Reaps every child that has ended; the exit code, if the container's process is among them.
fn reap(init: i32) -> io::Result<Option<i32>> {
    let mut exit_code = None;
    loop {
        let status = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(nix::errno::Errno::ECHILD) => return Ok(exit_code),
            other => other?,
        };
        match status {
            WaitStatus::Exited(pid, code) if pid.as_raw() == init => exit_code = Some(code),
            WaitStatus::Signaled(pid, signal, _) if pid.as_raw() == init => exit_code = Some(128 + signal as i32),
            _ => {}
        }
    }
}

/// Tells the starter that the state file can be read.
fn close_stdout() -> io::Result<()> {
    Ok(nix::unistd::dup2_stdout(File::open("/dev/null")?)?)
}

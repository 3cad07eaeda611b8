//! Runs a command in a running container, and waits for it or talks to it.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    process::Stdio,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    unistd::{self, pipe2},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixStream, unix::pipe},
    process::Child,
};

use super::{
    enter::{Order, Outcome},
    runtime::{Runtime, RuntimeError},
    session::{Parts, Session},
};
use crate::{
    internal::EXEC,
    kernel::{receive_fds, send_fds},
};

/// Output that is kept; as the kubelet keeps of a probe's.
const OUTPUT_BYTES: usize = 10 << 10;

/// What the process that enters the container may take beyond the command's own time.
const ENTER_TIME: Duration = Duration::from_secs(10);

/// What a command gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code; 128 + signal for a killed one.
    pub exit_code: i32,
    /// Standard output and error as they were written, cut at 10 KiB.
    pub output: Vec<u8>,
}

/// A command to talk to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Connect its standard input.
    pub stdin: bool,
    /// Give it a terminal: input and output are that one's then.
    pub tty: bool,
}

impl Runtime {
    /// Runs a command with the container's namespaces, user, environment, working directory and limits.
    ///
    /// # Errors
    /// [`RuntimeError::Timeout`], after the command and its process group were killed; [`RuntimeError::Start`] when there is
    /// no such program, or the container does not run.
    pub async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: format!("failed to exec in container {id}"), source };
        let timeout_millis = Some(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let order = Order { command: command.to_vec(), timeout_millis, stdin: false, tty: false };
        let (output_read, output_write) = pipe2(OFlag::O_CLOEXEC).map_err(|e| io(e.into()))?;
        let stderr = output_write.try_clone().map_err(io)?;
        let (mut child, socket) = self.enter(id, &order, Some((output_write, stderr)))?;
        let finished = tokio::time::timeout(timeout.saturating_add(ENTER_TIME), collect(socket, output_read)).await;
        let Ok(collected) = finished else { return Err(RuntimeError::Timeout(timeout)) };
        let (outcome, output) = collected.map_err(io)?;
        child.wait().await.map_err(io)?;
        let exit_code = exit_code(&outcome, timeout).map_err(|e| e.unwrap_or_else(|| io(io::ErrorKind::UnexpectedEof.into())))?;
        Ok(ExecOutput { exit_code, output })
    }

    /// Starts a command to talk to, as [`Runtime::exec`] does; it has all the time it wants.
    ///
    /// # Errors
    /// When it cannot be started at all; what [`super::End::wait`] says comes later.
    pub async fn exec_session(&self, id: &str, request: &ExecRequest) -> Result<Session, RuntimeError> {
        let doing = format!("failed to exec in container {id}");
        let failed = |source| RuntimeError::Io { doing: doing.clone(), source };
        let stdin = request.stdin && !request.tty;
        let order = Order { command: request.command.clone(), timeout_millis: None, stdin, tty: request.tty };
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from).map_err(failed);
        let id = id.to_owned();
        let parts = if request.tty {
            let (child, socket) = self.enter(&id, &order, None)?;
            let receiving = socket.try_clone().map_err(failed)?;
            let received = tokio::task::spawn_blocking(move || receive_fds(&receiving, &mut [0; 1])).await;
            let (_, mut fds) = received.map_err(io::Error::other).map_err(failed)?.map_err(failed)?;
            let Some(terminal) = fds.pop() else {
                return Err(RuntimeError::Start("failed to exec in container: container not running".to_owned()));
            };
            let copy = |wanted: bool| wanted.then(|| terminal.try_clone()).transpose().map_err(failed);
            let (stdin, stdout) = (copy(request.stdin)?, copy(true)?);
            Parts { stdin, stdout, stderr: None, terminal: Some(terminal), socket, child: Some(child), id: id.clone() }
        } else {
            let ((stdout, stdout_write), (stderr, stderr_write)) = (pipe()?, pipe()?);
            let (child, socket) = self.enter(&id, &order, Some((stdout_write, stderr_write)))?;
            let mut stdin = None;
            if request.stdin {
                let (read, write) = pipe()?;
                send_fds(&socket, b"i", &[read.as_fd()]).map_err(failed)?;
                stdin = Some(write);
            }
            let (stdout, stderr) = (Some(stdout), Some(stderr));
            Parts { stdin, stdout, stderr, terminal: None, socket, child: Some(child), id: id.clone() }
        };
        Session::new(parts).map_err(failed)
    }

    /// Starts the process that enters the container, with a socket to it.
    fn enter(&self, id: &str, order: &Order, output: Option<(OwnedFd, OwnedFd)>) -> Result<(Child, StdUnixStream), RuntimeError> {
        let io = |source| RuntimeError::Io { doing: format!("failed to exec in container {id}"), source };
        let entry = self.0.entry(id)?;
        let order = serde_json::to_string(order).map_err(io::Error::from).map_err(io)?;
        let (ours, theirs) = StdUnixStream::pair().map_err(io)?;
        let mut enter = tokio::process::Command::new(&self.0.config.executable);
        enter.arg0(EXEC).arg(self.0.container_dir(&entry.record.id)).arg(order).env_clear().kill_on_drop(true);
        enter.stdin(Stdio::from(OwnedFd::from(theirs)));
        match output {
            Some((stdout, stderr)) => enter.stdout(stdout).stderr(stderr),
            None => enter.stdout(Stdio::null()).stderr(Stdio::null()),
        };
        // The command, with our copies of the other ends in it, is dropped with this call.
        Ok((enter.spawn().map_err(io)?, ours))
    }
}

/// What an outcome means; `Err(None)` when there is none.
pub(super) fn exit_code(outcome: &[u8], timeout: Duration) -> Result<i32, Option<RuntimeError>> {
    match serde_json::from_slice(outcome) {
        Ok(Outcome::Exited(exit_code)) => Ok(exit_code),
        Ok(Outcome::TimedOut) => Err(Some(RuntimeError::Timeout(timeout))),
        Ok(Outcome::Failed(why)) => Err(Some(RuntimeError::Start(format!(
            "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: unable to start container \
             process: {why}"
        )))),
        Err(_) => Err(None),
    }
}

/// Reads the outcome to its end, and the output as far as it goes meanwhile: a process that the command left behind may hold
/// the pipe for ever.
async fn collect(socket: StdUnixStream, output: OwnedFd) -> io::Result<(Vec<u8>, Vec<u8>)> {
    socket.set_nonblocking(true)?;
    let (mut socket, mut output_pipe) = (UnixStream::from_std(socket)?, pipe::Receiver::from_file(File::from(output))?);
    let (mut outcome, mut output) = (Vec::new(), Vec::new());
    let (mut outcome_chunk, mut chunk) = ([0; 1024], vec![0; OUTPUT_BYTES]);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            read = output_pipe.read(&mut chunk), if open => match read? {
                0 => open = false,
                read => keep(&mut output, &chunk[..read]),
            },
            read = socket.read(&mut outcome_chunk) => match read? {
                0 => break,
                read => outcome.extend_from_slice(&outcome_chunk[..read]),
            },
        }
    }
    // From the kernel itself: the runtime may not have heard yet that there is something to read, and says that there is nothing.
    while open {
        match unistd::read(&output_pipe, &mut chunk) {
            Ok(0) | Err(Errno::EAGAIN) => open = false,
            Ok(read) => keep(&mut output, &chunk[..read]),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((outcome, output))
}

fn keep(output: &mut Vec<u8>, bytes: &[u8]) {
    let room = OUTPUT_BYTES - output.len();
    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

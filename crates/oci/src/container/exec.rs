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

use nix::{fcntl::OFlag, unistd::pipe2};
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixStream, unix::pipe},
    process::Child,
};

use super::{
    enter::{Order, Outcome},
    runtime::{Runtime, RuntimeError},
};
use crate::{
    internal::EXEC,
    kernel::{receive_fds, resize_terminal, send_fds},
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

/// A command that runs. Dropping it kills the command.
#[derive(Debug)]
pub struct ExecSession {
    /// Where its input goes; the terminal, if it has one.
    pub stdin: Option<OwnedFd>,
    /// Where its output comes from; the terminal, if it has one.
    pub stdout: OwnedFd,
    /// Where its errors come from; `None` with a terminal.
    pub stderr: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    socket: StdUnixStream,
    child: Child,
    id: String,
}

impl ExecSession {
    /// Tells the command how large its terminal is; without a terminal, nothing happens.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        self.terminal.as_ref().map_or(Ok(()), |terminal| resize_terminal(terminal, columns, rows))
    }

    /// Waits for the command's end; the exit code, 128 + signal for a killed one.
    ///
    /// # Errors
    /// [`RuntimeError::Start`] when there is no such program, or the container does not run.
    pub async fn wait(mut self) -> Result<i32, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: format!("failed to exec in container {}", self.id), source };
        self.socket.set_nonblocking(true).map_err(io)?;
        let mut socket = UnixStream::from_std(self.socket).map_err(io)?;
        let mut outcome = Vec::new();
        socket.read_to_end(&mut outcome).await.map_err(io)?;
        self.child.wait().await.map_err(io)?;
        exit_code(&outcome, Duration::ZERO).map_err(|e| e.unwrap_or_else(|| io(io::ErrorKind::UnexpectedEof.into())))
    }
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
    /// When it cannot be started at all; what [`ExecSession::wait`] says comes later.
    pub async fn exec_session(&self, id: &str, request: &ExecRequest) -> Result<ExecSession, RuntimeError> {
        let failed = |source| RuntimeError::Io { doing: format!("failed to exec in container {id}"), source };
        let stdin = request.stdin && !request.tty;
        let order = Order { command: request.command.clone(), timeout_millis: None, stdin, tty: request.tty };
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from).map_err(failed);
        if request.tty {
            let (child, socket) = self.enter(id, &order, None)?;
            let receiving = socket.try_clone().map_err(failed)?;
            let received = tokio::task::spawn_blocking(move || receive_fds(&receiving, &mut [0; 1])).await;
            let (_, mut fds) = received.map_err(io::Error::other).map_err(failed)?.map_err(failed)?;
            let Some(terminal) = fds.pop() else {
                return Err(RuntimeError::Start("failed to exec in container: container not running".to_owned()));
            };
            let copy = || terminal.try_clone().map_err(failed);
            let stdin = if request.stdin { Some(copy()?) } else { None };
            let (stdout, id) = (copy()?, id.to_owned());
            return Ok(ExecSession { stdin, stdout, stderr: None, terminal: Some(terminal), socket, child, id });
        }
        let ((stdout, stdout_write), (stderr, stderr_write)) = (pipe()?, pipe()?);
        let (child, socket) = self.enter(id, &order, Some((stdout_write, stderr_write)))?;
        let stdin = match stdin {
            true => {
                let (read, write) = pipe()?;
                send_fds(&socket, b"i", &[read.as_fd()]).map_err(failed)?;
                Some(write)
            }
            false => None,
        };
        Ok(ExecSession { stdin, stdout, stderr: Some(stderr), terminal: None, socket, child, id: id.to_owned() })
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
fn exit_code(outcome: &[u8], timeout: Duration) -> Result<i32, Option<RuntimeError>> {
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
    while open {
        match output_pipe.try_read(&mut chunk) {
            Ok(0) => open = false,
            Ok(read) => keep(&mut output, &chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => open = false,
            Err(error) => return Err(error),
        }
    }
    Ok((outcome, output))
}

fn keep(output: &mut Vec<u8>, bytes: &[u8]) {
    let room = OUTPUT_BYTES - output.len();
    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

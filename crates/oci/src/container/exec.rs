//! Runs a command in a running container and waits for it.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::process::ExitStatusExt as _},
    process::Stdio,
    time::Duration,
};

use nix::{fcntl::OFlag, unistd::pipe2};
use tokio::{io::AsyncReadExt as _, net::unix::pipe};

use super::{
    enter::Outcome,
    runtime::{Runtime, RuntimeError},
};
use crate::internal::EXEC;

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

impl Runtime {
    /// Runs a command with the container's namespaces, user, environment, working directory and limits.
    ///
    /// # Errors
    /// [`RuntimeError::Timeout`], after the command and its process group were killed; [`RuntimeError::Start`] when there is
    /// no such program, or the container does not run.
    pub async fn exec(&self, id: &str, command: &[String], timeout: Duration) -> Result<ExecOutput, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: format!("failed to exec in container {id}"), source };
        let entry = self.0.entry(id)?;
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(io::Error::from).map_err(io);
        let ((outcome_read, outcome_write), (output_read, output_write)) = (pipe()?, pipe()?);
        let command = serde_json::to_string(command).map_err(io::Error::from).map_err(io)?;
        let mut enter = tokio::process::Command::new(&self.0.config.executable);
        enter
            .arg0(EXEC)
            .arg(self.0.container_dir(&entry.record.id))
            .arg(timeout.as_millis().to_string())
            .arg(command)
            .env_clear()
            // Its standard input is where it tells the outcome.
            .stdin(Stdio::from(outcome_write))
            .stdout(Stdio::from(output_write.try_clone().map_err(io)?))
            .stderr(Stdio::from(output_write))
            .kill_on_drop(true);
        let mut child = enter.spawn().map_err(io)?;
        // Our copies of the writing ends are in there.
        drop(enter);
        let finished = tokio::time::timeout(timeout.saturating_add(ENTER_TIME), collect(outcome_read, output_read)).await;
        let Ok(collected) = finished else { return Err(RuntimeError::Timeout(timeout)) };
        let (outcome, output) = collected.map_err(io)?;
        let status = child.wait().await.map_err(io)?;
        match serde_json::from_slice(&outcome) {
            Ok(Outcome::Exited(exit_code)) => Ok(ExecOutput { exit_code, output }),
            Ok(Outcome::TimedOut) => Err(RuntimeError::Timeout(timeout)),
            Ok(Outcome::Failed(why)) => Err(RuntimeError::Start(format!(
                "failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: unable to start \
                 container process: {why}"
            ))),
            Err(_) => Err(io(io::Error::other(format!("the entering process ended early: {}", status.into_raw())))),
        }
    }
}

/// Reads the outcome to its end, and the output as far as it goes meanwhile: a process that the command left behind may hold
/// the pipe for ever.
async fn collect(outcome: OwnedFd, output: OwnedFd) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let receiver = |fd: OwnedFd| pipe::Receiver::from_file(File::from(fd));
    let (mut outcome_pipe, mut output_pipe) = (receiver(outcome)?, receiver(output)?);
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
            read = outcome_pipe.read(&mut outcome_chunk) => match read? {
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

//! A command, or a container, to talk to: its streams, its terminal, its end.

use std::{
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream as StdUnixStream,
    },
    sync::Arc,
    time::Duration,
};

use nix::errno::Errno;
use tokio::{
    io::{AsyncReadExt as _, Interest, unix::AsyncFd},
    net::UnixStream,
    process::Child,
    sync::watch,
};

use super::{exec::exit_code, runtime::RuntimeError, stdio::set_nonblocking};
use crate::kernel::resize_terminal;

/// A command or a container to talk to. A command is killed when its [`End`] is dropped; a container goes on.
#[derive(Debug)]
pub struct Session {
    /// Takes its input, if that was asked for.
    pub stdin: Option<Input>,
    /// Gives its output, if that was asked for; with a terminal, its errors too.
    pub stdout: Option<Output>,
    /// Gives its errors, if they were asked for.
    pub stderr: Option<Output>,
    /// Its terminal, if it has one.
    pub terminal: Option<Terminal>,
    /// Its end. The outputs may be read to their own end only while this is waited for.
    pub end: End,
}

/// What a session is made of.
pub(super) struct Parts {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
    pub(super) terminal: Option<OwnedFd>,
    pub(super) socket: StdUnixStream,
    /// The process that entered the container for a command.
    pub(super) child: Option<Child>,
    pub(super) id: String,
}

impl Session {
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        let (ended, at_end) = watch::channel(false);
        let output = |fd: OwnedFd| Ok::<_, io::Error>(Output { fd: register(fd, Interest::READABLE)?, ended: at_end.clone() });
        parts.socket.set_nonblocking(true)?;
        Ok(Self {
            stdin: parts.stdin.map(|fd| register(fd, Interest::WRITABLE).map(Input)).transpose()?,
            stdout: parts.stdout.map(output).transpose()?,
            stderr: parts.stderr.map(output).transpose()?,
            terminal: parts.terminal.map(|fd| Terminal(Arc::new(fd))),
            end: End { socket: UnixStream::from_std(parts.socket)?, child: parts.child, ended, id: parts.id },
        })
    }
}

fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    set_nonblocking(&fd)?;
    // SAFETY: an `OwnedFd` is the same open descriptor for as long as it lives.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Where input goes; dropping it is the input's end.
#[derive(Debug)]
pub struct Input(AsyncFd<OwnedFd>);

impl Input {
    /// Hands all bytes over.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let written = self.0.async_io(Interest::WRITABLE, |fd| Ok(nix::unistd::write(fd, bytes)?)).await?;
            bytes = &bytes[written..];
        }
        Ok(())
    }
}

/// Where output comes from.
#[derive(Debug)]
pub struct Output {
    fd: AsyncFd<OwnedFd>,
    ended: watch::Receiver<bool>,
}

impl Output {
    /// What there is, at least a byte; 0 at the end. Once the session has ended, what was written until then is all: what a
    /// command left running may hold the stream open for ever.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read_now = |fd: &OwnedFd| match nix::unistd::read(fd, buffer) {
            // A terminal whose programs are gone.
            Err(Errno::EIO) => Ok(0),
            other => other.map_err(io::Error::from),
        };
        tokio::select! {
            biased;
            read = self.fd.async_io(Interest::READABLE, &mut read_now) => return read,
            _ = self.ended.wait_for(|ended| *ended) => {}
        }
        match read_now(self.fd.get_ref()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }
}

/// A terminal that programs run at.
#[derive(Debug, Clone)]
pub struct Terminal(Arc<OwnedFd>);

impl Terminal {
    /// Tells the programs how large it is.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        resize_terminal(self.0.as_fd(), columns, rows)
    }
}

/// The end of a session.
#[derive(Debug)]
pub struct End {
    socket: UnixStream,
    child: Option<Child>,
    ended: watch::Sender<bool>,
    id: String,
}

impl End {
    /// Waits for it: a command's exit code, 128 + signal for a killed one; 0 for a container that ended or let go.
    ///
    /// # Errors
    /// [`RuntimeError::Start`] when there is no such program, or the container does not run.
    pub async fn wait(mut self) -> Result<i32, RuntimeError> {
        let io = |source| RuntimeError::Io { doing: format!("failed to talk to container {}", self.id), source };
        let mut outcome = Vec::new();
        self.socket.read_to_end(&mut outcome).await.map_err(io)?;
        self.ended.send_replace(true);
        let Some(child) = &mut self.child else { return Ok(0) };
        child.wait().await.map_err(io)?;
        exit_code(&outcome, Duration::ZERO).map_err(|e| e.unwrap_or_else(|| io(io::ErrorKind::UnexpectedEof.into())))
    }
}

//! A container's standard streams: pipes, or a terminal.

use std::{
    fs::File,
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    unistd::{Uid, fchown, pipe2},
};

use super::{ContainerSpec, log::Stream};
use crate::kernel::receive_fds;

/// Where the container's terminal is handed over, in its directory.
const CONSOLE_SOCKET: &str = "console.sock";

/// The container's ends.
pub(super) enum Inside {
    /// Socket that the terminal is sent to.
    Terminal(PathBuf),
    Pipes {
        stdin: OwnedFd,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
}

/// The shim's ends, before the container runs.
pub(super) enum Stdio {
    Terminal { listener: UnixListener, stdin: bool },
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
}

/// The shim's ends.
#[derive(Default)]
pub(super) struct Streams {
    pub(super) outputs: [Option<Output>; 2],
    /// Held open, so that a container that was promised a standard input does not see its end.
    pub(super) stdin: Option<File>,
    /// They are one, and it is a terminal.
    pub(super) is_terminal: bool,
}

/// Something to read from.
pub(super) struct Output {
    pub(super) fd: File,
    pub(super) stream: Stream,
}

impl Stdio {
    /// Both ends of what the container asks for. Changes the working directory: the name of a socket must be short.
    ///
    /// The pipes belong to the container's user: programs open `/dev/stdout` anew.
    pub(super) fn new(dir: &Path, spec: &ContainerSpec, user: u32) -> io::Result<(Inside, Self)> {
        if spec.tty {
            std::env::set_current_dir(dir)?;
            let listener = UnixListener::bind(CONSOLE_SOCKET)?;
            std::env::set_current_dir("/")?;
            return Ok((Inside::Terminal(dir.join(CONSOLE_SOCKET)), Self::Terminal { listener, stdin: spec.stdin }));
        }
        let (stdin, stdin_write) = match spec.stdin {
            true => pipe2(OFlag::O_CLOEXEC).map(|(read, write)| (read, Some(write)))?,
            false => (OwnedFd::from(File::open("/dev/null")?), None),
        };
        let (stdout_read, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (stderr_read, stderr) = pipe2(OFlag::O_CLOEXEC)?;
        for fd in [&stdout, &stderr].into_iter().chain(stdin_write.is_some().then_some(&stdin)) {
            fchown(fd, Some(Uid::from_raw(user)), None)?;
        }
        Ok((
            Inside::Pipes { stdin, stdout, stderr },
            Self::Pipes { stdin: stdin_write, stdout: stdout_read, stderr: stderr_read },
        ))
    }

    /// What to read from, once the container runs.
    pub(super) fn open(self) -> io::Result<Streams> {
        let output = |fd: OwnedFd, name| {
            set_nonblocking(&fd)?;
            Ok::<_, io::Error>(Some(Output { fd: File::from(fd), stream: Stream::new(name) }))
        };
        Ok(match self {
            Self::Terminal { listener, stdin } => {
                let terminal = receive(&listener)?;
                let stdin = if stdin { Some(File::from(terminal.try_clone()?)) } else { None };
                Streams { outputs: [output(terminal, "stdout")?, None], stdin, is_terminal: true }
            }
            Self::Pipes { stdin, stdout, stderr } => {
                stdin.as_ref().map(set_nonblocking).transpose()?;
                let outputs = [output(stdout, "stdout")?, output(stderr, "stderr")?];
                Streams { outputs, stdin: stdin.map(File::from), is_terminal: false }
            }
        })
    }
}

/// The terminal that the container's process has sent by now.
fn receive(listener: &UnixListener) -> io::Result<OwnedFd> {
    let (socket, _) = listener.accept()?;
    let (_, mut fds) = receive_fds(&socket, &mut [0; 256])?;
    fds.pop().ok_or_else(|| io::Error::other("no terminal was sent"))
}

pub(super) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}

//! Talking to a running container's first process: the shim passes its streams on to whoever attached.
//!
//! Who attaches hands the shim pipes over a socket, so that each pipe is all the buffer there is: a client that does not read
//! makes the container wait, as it would at a terminal.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::pipe2,
};

use super::{
    Phase,
    runtime::{Runtime, RuntimeError},
    session::{Parts, Session},
    stdio::{Streams, set_nonblocking},
};
use crate::kernel::{receive_fds, send_fds};

/// Where the shim listens, in the container's directory.
const SOCKET: &str = "attach.sock";

/// Clients at a time; the next one waits.
const CLIENTS: usize = 16;

/// Read at once of a client's input.
const INPUT_BYTES: usize = 4 << 10;

/// The shim answers at once, unless it is stopped.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What clients may take to read the last output, while the container's end is not told yet.
const LAST_OUTPUT_TIME: Duration = Duration::from_secs(5);

/// Which streams of a container are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// Its input, if it has any.
    pub stdin: bool,
    /// Its output.
    pub stdout: bool,
    /// Its errors; with a terminal there are none.
    pub stderr: bool,
}

impl Runtime {
    /// Connects to the streams of a running container, from now on.
    ///
    /// # Errors
    /// [`RuntimeError::Start`] when it does not run.
    pub async fn attach(&self, id: &str, request: AttachRequest) -> Result<Session, RuntimeError> {
        let entry = self.0.entry(id)?;
        if !matches!(entry.phase(), Phase::Running { .. }) {
            return Err(RuntimeError::Start("container not running".to_owned()));
        }
        let id = id.to_owned();
        let (stdin, tty) = (request.stdin && entry.record.spec.stdin, entry.record.spec.tty);
        let request = AttachRequest { stdin, stderr: request.stderr && !tty, ..request };
        let in_runtime = tokio::runtime::Handle::current();
        self.blocking(move |inner| {
            let _in_runtime = in_runtime.enter();
            let failed = |source| RuntimeError::Io { doing: format!("failed to attach to container {id}"), source };
            connect(&inner.container_dir(&id), request, &id).map_err(failed)
        })
        .await
    }
}

fn connect(dir: &Path, request: AttachRequest, id: &str) -> io::Result<Session> {
    // By way of the directory's descriptor: the name of a socket must be short.
    let dir = File::open(dir)?;
    let socket = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))?;
    socket.set_read_timeout(Some(ANSWER_TIME))?;
    let pipe = |wanted: bool| if wanted { pipe2(OFlag::O_CLOEXEC).map(Some) } else { Ok(None) };
    let (stdin, stdout, stderr) = (pipe(request.stdin)?, pipe(request.stdout)?, pipe(request.stderr)?);
    let wanted = [request.stdin, request.stdout, request.stderr].map(u8::from);
    let theirs = [stdin.as_ref().map(|(read, _)| read), stdout.as_ref().map(|p| &p.1), stderr.as_ref().map(|p| &p.1)];
    let theirs: Vec<BorrowedFd<'_>> = theirs.into_iter().flatten().map(OwnedFd::as_fd).collect();
    send_fds(&socket, &wanted, &theirs)?;
    let (read, mut terminal) = receive_fds(&socket, &mut [0; 1])?;
    if read == 0 {
        return Err(io::Error::other("container not running"));
    }
    Session::new(Parts {
        stdin: stdin.map(|(_, write)| write),
        stdout: stdout.map(|(read, _)| read),
        stderr: stderr.map(|(read, _)| read),
        terminal: terminal.pop(),
        socket,
        child: None,
        id: id.to_owned(),
    })
}

/// The shim's side.
pub(super) struct Clients {
    listener: UnixListener,
    clients: Vec<Client>,
    input: Feed,
}

/// What clients say to the container.
struct Feed {
    /// A client's end of input is the container's.
    ends: bool,
    /// That end has come.
    ended: bool,
    /// What the container has not taken yet.
    pending: Vec<u8>,
}

impl Feed {
    fn flush(&mut self, streams: &mut Streams) {
        let is_read = streams.stdin.as_mut().is_some_and(|stdin| drain(stdin, &mut self.pending));
        if !is_read || self.ended && self.pending.is_empty() {
            streams.stdin = None;
            self.pending.clear();
        }
    }
}

struct Client {
    /// Closed when one of both is gone.
    socket: UnixStream,
    stdin: Option<File>,
    outputs: [Option<Sink>; 2],
}

/// A client's pipe, with what did not fit into it.
struct Sink {
    pipe: File,
    pending: Vec<u8>,
}

impl Sink {
    /// Writes what fits; false when nobody reads any more.
    fn write(&mut self, bytes: &[u8]) -> bool {
        self.pending.extend_from_slice(bytes);
        drain(&mut self.pipe, &mut self.pending)
    }
}

/// Writes of the bytes what fits; false when nobody reads any more.
fn drain(pipe: &mut File, bytes: &mut Vec<u8>) -> bool {
    while !bytes.is_empty() {
        match pipe.write(bytes) {
            Ok(written) => drop(bytes.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

impl Clients {
    /// Listens in the directory, which becomes the working directory for a moment.
    pub(super) fn listen(dir: &Path, input_ends: bool) -> io::Result<Self> {
        std::env::set_current_dir(dir)?;
        let listener = UnixListener::bind(SOCKET)?;
        std::env::set_current_dir("/")?;
        listener.set_nonblocking(true)?;
        let input = Feed { ends: input_ends, ended: false, pending: Vec::new() };
        Ok(Self { listener, clients: Vec::new(), input })
    }

    /// Whether some client has yet to take what that output gave before.
    pub(super) fn are_behind(&self, output: usize) -> bool {
        self.clients.iter().filter_map(|client| client.outputs[output].as_ref()).any(|sink| !sink.pending.is_empty())
    }

    /// What to wait for on their behalf.
    pub(super) fn poll_fds<'a>(&'a self, streams: &'a Streams, fds: &mut Vec<PollFd<'a>>) {
        if self.clients.len() < CLIENTS {
            fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        }
        if let Some(stdin) = streams.stdin.as_ref().filter(|_| !self.input.pending.is_empty()) {
            fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLOUT));
        }
        for client in &self.clients {
            fds.push(PollFd::new(client.socket.as_fd(), PollFlags::POLLIN));
            let input = client.stdin.as_ref().filter(|_| self.input.pending.is_empty());
            fds.extend(input.map(|stdin| PollFd::new(stdin.as_fd(), PollFlags::POLLIN)));
            let behind = client.outputs.iter().flatten().filter(|sink| !sink.pending.is_empty());
            fds.extend(behind.map(|sink| PollFd::new(sink.pipe.as_fd(), PollFlags::POLLOUT)));
        }
    }

    /// Passes output on.
    pub(super) fn write(&mut self, output: usize, bytes: &[u8]) {
        for client in &mut self.clients {
            client.outputs[output].take_if(|sink| !sink.write(bytes));
        }
    }

    /// Does what can be done at once: new clients, late output, input.
    pub(super) fn serve(&mut self, streams: &mut Streams) {
        self.accept(streams);
        for output in 0..2 {
            self.write(output, &[]);
        }
        self.pass_input(streams);
        self.clients.retain(|client| !is_gone(&client.socket));
    }

    fn accept(&mut self, streams: &Streams) {
        while self.clients.len() < CLIENTS {
            let Ok((socket, _)) = self.listener.accept() else { return };
            if let Ok(client) = Client::greet(socket, streams) {
                self.clients.push(client);
            }
        }
    }

    fn pass_input(&mut self, streams: &mut Streams) {
        let mut buffer = [0; INPUT_BYTES];
        for client in &mut self.clients {
            while let Some(stdin) = client.stdin.as_mut().filter(|_| self.input.pending.is_empty()) {
                match stdin.read(&mut buffer) {
                    Ok(0) => {
                        client.stdin = None;
                        self.input.ended |= self.input.ends;
                        if !self.input.ends {
                            // As upstream: who has no more to say is let go, and the container keeps its input for the next one.
                            client.outputs = [None, None];
                            let _ = client.socket.shutdown(std::net::Shutdown::Both);
                        }
                    }
                    Ok(read) => {
                        self.input.pending.extend_from_slice(&buffer[..read]);
                        self.input.flush(streams);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => client.stdin = None,
                }
            }
        }
        self.input.flush(streams);
    }

    /// Gives clients a moment for the last output. Their sockets close with this, which tells them that all is over.
    pub(super) fn finish(mut self) {
        let deadline = std::time::Instant::now() + LAST_OUTPUT_TIME;
        while self.are_behind(0) || self.are_behind(1) {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                return;
            }
            let sinks = self.clients.iter().flat_map(|client| client.outputs.iter().flatten());
            let behind = sinks.filter(|sink| !sink.pending.is_empty());
            let mut fds: Vec<_> = behind.map(|sink| PollFd::new(sink.pipe.as_fd(), PollFlags::POLLOUT)).collect();
            let _ = poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
            drop(fds);
            self.write(0, &[]);
            self.write(1, &[]);
        }
    }
}

impl Client {
    /// Takes the client's pipes, and answers with the terminal, if there is one.
    fn greet(socket: UnixStream, streams: &Streams) -> io::Result<Self> {
        // The message was sent right after the connection was made.
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut wanted = [0; 3];
        let (_, pipes) = receive_fds(&socket, &mut wanted)?;
        let mut pipes = pipes.into_iter();
        let mut next = |wanted: u8| -> io::Result<Option<File>> {
            let pipe = if wanted == 0 { None } else { Some(pipes.next().ok_or(io::ErrorKind::InvalidData)?) };
            pipe.map(|pipe| set_nonblocking(&pipe).map(|()| File::from(pipe))).transpose()
        };
        let stdin = next(wanted[0])?;
        let mut sink = |wanted| Ok::<_, io::Error>(next(wanted)?.map(|pipe| Sink { pipe, pending: Vec::new() }));
        let outputs = [sink(wanted[1])?, sink(wanted[2])?];
        let terminal = streams.outputs[0].as_ref().filter(|_| streams.is_terminal);
        let terminal: Vec<BorrowedFd<'_>> = terminal.map(|output| output.fd.as_fd()).into_iter().collect();
        send_fds(&socket, b"a", &terminal)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, stdin, outputs })
    }
}

/// Whether the other side has closed its end; it never says anything.
fn is_gone(socket: &UnixStream) -> bool {
    let mut socket = socket;
    !matches!(socket.read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

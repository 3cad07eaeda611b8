//! The holder: a small process that owns the machine's namespaces and its published ports, and outlives the main process.

mod egress;
mod exchanges;
mod health;
mod host;
mod http;
mod kept;
mod names;
mod parting;
mod process;
mod protocol;
mod relay;
mod udp;

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::Ipv4Addr,
    os::{
        fd::AsRawFd,
        unix::{fs::MetadataExt, net::UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::{
    fcntl::{Flock, FlockArg},
    sched::{CloneFlags, setns},
    sys::socket::{getsockopt, sockopt::PeerCredentials},
};

pub(crate) use host::{HostSocket, HostThread};
pub(crate) use http::BOUNDS_MILLISECONDS;
pub(crate) use parting::DEVICE as PARTING_DEVICE;
pub(crate) use process::log;
pub use process::run_if_internal;
pub use protocol::{HealthCheck, HttpBackend, HttpCounts, HttpPort, HttpRoute, Protocol, PublishFailure, PublishedPort, Status};
use protocol::{Request, Response, VERSION};

use crate::dns::NameChanges;

/// Name of the holder's socket in the data directory.
const SOCKET: &str = "holder.sock";
/// Held with `flock` for as long as a holder lives: what tells a living one from a stale socket.
const LOCK: &str = "holder.lock";
/// Where the holder's stderr goes: it outlives the terminal it was started from.
const LOG: &str = "holder.log";
/// How long an answer may take. Binding a thousand ports takes some 20 ms.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What can go wrong between the main process and the holder.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// The data directory can't be opened.
    #[error("open data directory {}", .0.display())]
    DataDir(PathBuf, #[source] std::io::Error),
    /// The process could not be started at all.
    #[error("start the holder process")]
    Spawn(#[source] std::io::Error),
    /// The process started and gave up, with its own words.
    #[error("the holder process could not set up the machine: {0}")]
    Setup(String),
    /// The socket broke, or the answer made no sense.
    #[error("talk to the holder process")]
    Talk(#[source] std::io::Error),
    /// The holder could not do what it was asked to, with its own words.
    #[error("the holder process refuses: {0}")]
    Refused(String),
    /// The holder was started by a windlass of another time.
    #[error(
        "the machine's holder (process {pid}) speaks version {theirs} of the protocol and this windlass version {ours}: stop the machine \
         with the windlass that started it, or end that process, and start again"
    )]
    Version {
        /// Process id of the holder.
        pid: i32,
        /// What it speaks.
        theirs: u32,
        /// What we speak.
        ours: u32,
    },
    /// A namespace of the holder can't be opened or entered.
    #[error("use the holder's {0} namespace")]
    Namespace(&'static str, #[source] std::io::Error),
}

impl HolderError {
    /// Nobody answers: the holder has ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let Self::Talk(error) = self else { return false };
        matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
    }
}

/// A handle to the living holder of one data directory; clones share it.
#[derive(Debug, Clone)]
pub struct Holder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    data_dir: PathBuf,
    pid: i32,
    netns: File,
    mntns: File,
    userns: File,
    /// The process, when it is our own child: reaped when it is stopped.
    child: Mutex<Option<Child>>,
}

impl Holder {
    /// The holder of `data_dir`, if one lives.
    ///
    /// # Errors
    /// When the directory can't be opened, or a holder answers but can't be used.
    pub fn find(data_dir: &Path) -> Result<Option<Self>, HolderError> {
        let data_dir = data_dir.canonicalize().map_err(|error| HolderError::DataDir(data_dir.to_owned(), error))?;
        let stream = match dial(&data_dir) {
            Ok(stream) => stream,
            Err(error) if error.is_gone() => return Ok(None),
            Err(error) => return Err(error),
        };
        let pid = getsockopt(&stream, PeerCredentials).map_err(|errno| HolderError::Talk(errno.into()))?.pid();
        let open = |namespace, file: &str| {
            File::open(format!("/proc/{pid}/ns/{file}")).map_err(|error| HolderError::Namespace(namespace, error))
        };
        let (netns, mntns, userns) = (open("network", "net")?, open("mount", "mnt")?, open("user", "user")?);
        // An answer after the files were opened proves that they are the holder's: its pid was not another's meanwhile.
        let theirs = ask(stream, &Request::Status)?.status.map_or(VERSION, |status| status.version);
        if theirs != VERSION {
            return Err(HolderError::Version { pid, theirs, ours: VERSION });
        }
        Ok(Some(Self { inner: Arc::new(Inner { data_dir, pid, netns, mntns, userns, child: Mutex::new(None) }) }))
    }

    /// Starts a holder for `data_dir` by running this executable again; see [`run_if_internal`].
    ///
    /// # Errors
    /// When the process can't be started or can't make its namespaces.
    pub fn spawn(data_dir: &Path) -> Result<Self, HolderError> {
        Self::spawn_from(data_dir, Path::new("/proc/self/exe"))
    }

    /// Like [`Holder::spawn`], from another executable whose `main` calls [`run_if_internal`] first.
    ///
    /// # Errors
    /// As [`Holder::spawn`].
    pub fn spawn_from(data_dir: &Path, executable: &Path) -> Result<Self, HolderError> {
        let data_dir = data_dir.canonicalize().map_err(|error| HolderError::DataDir(data_dir.to_owned(), error))?;
        let log = File::options()
            .create(true)
            .append(true)
            .open(data_dir.join(LOG))
            .map_err(|error| HolderError::DataDir(data_dir.clone(), error))?;
        let mut child = Command::new(executable)
            .arg(process::ARGUMENT)
            .arg(&data_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(HolderError::Spawn)?;
        let mut said = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut said).map_err(HolderError::Spawn)?;
        }
        if said.trim() != process::READY {
            let _ = child.kill();
            let _ = child.wait();
            let said = if said.is_empty() { "it ended without a word".to_owned() } else { said.trim().to_owned() };
            return Err(HolderError::Setup(said));
        }
        let holder = Self::find(&data_dir)?.ok_or_else(|| HolderError::Setup("it ended at once".to_owned()))?;
        if let Ok(mut slot) = holder.inner.child.lock() {
            *slot = Some(child);
        }
        Ok(holder)
    }

    /// Process id of the holder.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.inner.pid
    }

    /// The machine's network namespace.
    #[must_use]
    pub fn netns(&self) -> &File {
        &self.inner.netns
    }

    /// The machine's mount namespace.
    #[must_use]
    pub fn mntns(&self) -> &File {
        &self.inner.mntns
    }

    /// Moves the calling process into the machine's mount namespace; the working directory becomes `/`.
    ///
    /// # Errors
    /// When the process has a second thread already: a mount namespace is entered by a whole process.
    pub fn enter_mount_namespace(&self) -> Result<(), HolderError> {
        setns(&self.inner.mntns, CloneFlags::CLONE_NEWNS).map_err(|errno| HolderError::Namespace("mount", errno.into()))
    }

    /// Moves the calling process into the user namespace that the machine's others belong to; nothing happens when it is there.
    ///
    /// # Errors
    /// When the process has a second thread already, or the machine is another user's.
    pub fn enter_user_namespace(&self) -> Result<(), HolderError> {
        let failed = |error| HolderError::Namespace("user", error);
        let own = std::fs::metadata("/proc/self/ns/user").map_err(failed)?;
        let machine = self.inner.userns.metadata().map_err(failed)?;
        if (own.dev(), own.ino()) == (machine.dev(), machine.ino()) {
            return Ok(());
        }
        setns(&self.inner.userns, CloneFlags::CLONE_NEWUSER).map_err(|errno| failed(errno.into()))
    }

    /// Makes `ports` the whole set of published ports. Ports that stay keep their listener, and connections of ports that go are left to end.
    ///
    /// Returns the ports that could not be opened; all others are open when this returns.
    ///
    /// # Errors
    /// When the holder can't be reached.
    pub async fn publish(&self, ports: Vec<PublishedPort>) -> Result<Vec<PublishFailure>, HolderError> {
        let data_dir = self.inner.data_dir.clone();
        let answer = tokio::task::spawn_blocking(move || ask(dial(&data_dir)?, &Request::Publish { ports }));
        Ok(answer.await.map_err(|error| HolderError::Talk(std::io::Error::other(error)))??.failed)
    }

    /// Makes `routes` the whole set of HTTP routes, and says on which port of the machine each listens; a route that stays keeps
    /// its port. When this returns, no request goes to a backend that is not named any more.
    ///
    /// It blocks for as long as the holder takes.
    ///
    /// # Errors
    /// When the holder can't be reached, or can't listen.
    pub fn set_http_routes(&self, routes: Vec<HttpRoute>) -> Result<Vec<HttpPort>, HolderError> {
        Ok(ask(dial(&self.inner.data_dir)?, &Request::Http { routes })?.http)
    }

    /// Has connections of published ports that lead to these pods, and are kept by clients that speak HTTP/1, go on to other pods, each
    /// once it is between two requests. No route may lead to the pods any more.
    ///
    /// It blocks for as long as the holder takes to tell, which is not until they have gone.
    ///
    /// # Errors
    /// When the holder can't be reached, or can't tell which connections lead there.
    pub fn leave(&self, pods: BTreeSet<Ipv4Addr>) -> Result<(), HolderError> {
        ask(dial(&self.inner.data_dir)?, &Request::Leave { pods }).map(drop)
    }

    /// Makes `pods` the whole set of those whose clients, if they are pods and speak HTTP/1, are asked to close in each answer.
    /// No route may lead to the pods any more.
    ///
    /// It blocks for as long as the holder takes.
    ///
    /// # Errors
    /// When the holder can't be reached.
    pub fn part(&self, pods: BTreeSet<Ipv4Addr>) -> Result<(), HolderError> {
        ask(dial(&self.inner.data_dir)?, &Request::Part { pods }).map(drop)
    }

    /// Tells of names; see [`NameChanges`].
    pub(crate) async fn tell_names(&self, names: NameChanges) -> Result<(), HolderError> {
        let data_dir = self.inner.data_dir.clone();
        let answer = tokio::task::spawn_blocking(move || ask(dial(&data_dir)?, &Request::Names { names }));
        answer.await.map_err(|error| HolderError::Talk(std::io::Error::other(error)))?.map(drop)
    }

    /// Makes `checks` the whole set of health checks.
    pub(crate) async fn set_health_checks(&self, checks: Vec<HealthCheck>) -> Result<(), HolderError> {
        let data_dir = self.inner.data_dir.clone();
        let answer = tokio::task::spawn_blocking(move || ask(dial(&data_dir)?, &Request::Health { checks }));
        answer.await.map_err(|error| HolderError::Talk(std::io::Error::other(error)))?.map(drop)
    }

    /// What became of requests on the HTTP path so far.
    ///
    /// # Errors
    /// When the holder can't be reached.
    pub fn http_counts(&self) -> Result<Vec<HttpCounts>, HolderError> {
        Ok(ask(dial(&self.inner.data_dir)?, &Request::HttpCounts)?.counts)
    }

    /// What the holder is doing now.
    ///
    /// # Errors
    /// When the holder can't be reached.
    pub fn status(&self) -> Result<Status, HolderError> {
        let response = ask(dial(&self.inner.data_dir)?, &Request::Status)?;
        response.status.ok_or_else(|| HolderError::Talk(std::io::ErrorKind::InvalidData.into()))
    }

    /// Waits until the holder has ended, whatever ended it.
    pub async fn ended(&self) {
        let (told, ended) = tokio::sync::oneshot::channel();
        let path = self.inner.data_dir.join(LOCK);
        // The kernel lets go of the lock with the process. A thread of its own, as it may wait for ever.
        let wait = move || {
            if let Ok(lock) = File::open(path)
                && Flock::lock(lock, FlockArg::LockShared).is_ok()
            {
                let _ = told.send(());
            }
        };
        let started = std::thread::Builder::new().name("holder-end".to_owned()).stack_size(64 << 10).spawn(wait);
        if started.is_err() || ended.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends the holder. Its namespaces go with it once no other process is in them.
    ///
    /// # Errors
    /// When the holder can't be reached.
    pub fn stop(&self) -> Result<(), HolderError> {
        let mut stream = send(dial(&self.inner.data_dir)?, &Request::Stop)?;
        // The end of the stream is the end of the process: nothing of it is left when this returns.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        if let Ok(mut child) = self.inner.child.lock()
            && let Some(mut child) = child.take()
        {
            let _ = child.wait();
        }
        Ok(())
    }
}

/// Connects by way of `/proc/self/fd`, because a socket's path is limited to 107 bytes and a data directory's is not.
fn dial(data_dir: &Path) -> Result<UnixStream, HolderError> {
    let directory = File::open(data_dir).map_err(|error| HolderError::DataDir(data_dir.to_owned(), error))?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())).map_err(HolderError::Talk)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(HolderError::Talk)?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(HolderError::Talk)?;
    Ok(stream)
}

fn send(mut stream: UnixStream, request: &Request) -> Result<UnixStream, HolderError> {
    let mut line = serde_json::to_vec(request).map_err(|error| HolderError::Talk(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(HolderError::Talk)?;
    Ok(stream)
}

fn ask(stream: UnixStream, request: &Request) -> Result<Response, HolderError> {
    let stream = send(stream, request)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(HolderError::Talk)?;
    let response: Response = serde_json::from_str(&line).map_err(|error| HolderError::Talk(error.into()))?;
    match response.error {
        Some(error) => Err(HolderError::Refused(error)),
        None => Ok(response),
    }
}

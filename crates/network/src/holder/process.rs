//! The life of the holder process: namespaces, then requests until it is told to stop.

use std::{
    ffi::OsStr,
    fs::{File, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        resource::{Resource, getrlimit, setrlimit},
        signal::SigSet,
    },
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    signal::unix::{SignalKind, signal},
};

use super::{
    LOCK, SOCKET, egress,
    health::HealthChecks,
    host::HostThread,
    http::HttpPath,
    names::Names,
    parting::Parting,
    protocol::{MAX_LINE_BYTES, Request, Response, Status, VERSION},
    relay::Relay,
};

/// First argument of the process that is to be a holder; the second is the data directory.
pub(super) const ARGUMENT: &str = "internal-holder";
/// What the process says on stdout once it can be reached; anything else there is why it can't.
pub(super) const READY: &str = "ready";

/// Becomes the holder and does not return, if this process was started to be one.
///
/// To be called first thing in `main`, while the process has one thread.
pub fn run_if_internal() {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return;
    }
    let data_dir = PathBuf::from(arguments.next().unwrap_or_default());
    let code = match run(&data_dir) {
        Ok(()) => 0,
        Err(error) => {
            // Before it is ready the starter reads this; afterwards stdout is /dev/null and the log has it.
            let _ = writeln!(std::io::stdout(), "{error}");
            log(&error);
            1
        }
    };
    std::process::exit(code);
}

/// Why a holder can't be one; for the person who started it.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
struct SetupError {
    step: &'static str,
    source: std::io::Error,
}

fn step<T, E: Into<std::io::Error>>(step: &'static str, result: Result<T, E>) -> Result<T, SetupError> {
    result.map_err(|error| SetupError { step, source: error.into() })
}

fn run(data_dir: &Path) -> Result<(), SetupError> {
    // A session of its own: the terminal's signals and its end are not for the holder.
    let _ = nix::unistd::setsid();
    // Whoever starts us lets its own signals wait at that time.
    let _ = SigSet::empty().thread_set_mask();
    step("enter the data directory", std::env::set_current_dir(data_dir))?;
    let lock = step("open the lock", File::options().create(true).truncate(false).write(true).open(LOCK))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| SetupError { step: "another holder lives for this data directory", source: errno.into() })?;
    raise_file_limit();
    let host = step("start the host thread", HostThread::start())?;
    step("make a mount and a network namespace", unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET))?;
    // Mounts of the machine stay in it; what the host unmounts is let go here too, so the host's disks are never kept busy.
    let slave = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    step("keep the machine's mounts to itself", mount(None::<&str>, "/", None::<&str>, slave, None::<&str>))?;
    // Among the machine's own: containers see each other's where they ask for that.
    let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
    step("share the machine's mounts within it", mount(None::<&str>, "/", None::<&str>, shared, None::<&str>))?;
    if in_user_namespace() {
        show_own_cgroups();
    }
    let runtime = step("start the runtime", tokio::runtime::Builder::new_current_thread().enable_all().build())?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, serve(host))
}

/// Whether this machine is an ordinary user's; the first user namespace maps all ids to themselves.
fn in_user_namespace() -> bool {
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| map.split_whitespace().ne(["0", "0", "4294967295"]))
}

/// Makes `/sys/fs/cgroup` of the machine the part of the tree that this user has. Where that fails the host's stays visible, and
/// nobody may write to it.
fn show_own_cgroups() {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let mounted = unshare(CloneFlags::CLONE_NEWCGROUP)
        .and_then(|()| mount(Some("cgroup2"), "/sys/fs/cgroup", Some("cgroup2"), flags, None::<&str>));
    if let Err(errno) = mounted {
        log(&format!("no control groups of this user's own: {errno}"));
    }
}

/// A relayed connection takes two descriptors: with the usual soft limit of 1,024 the 500th would fail.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

async fn serve(host: HostThread) -> Result<(), SetupError> {
    let relay = Relay::new(host.clone());
    let egress_ports = step("listen for what goes to the outside", egress::start(host.clone(), relay.shared()).await)?;
    let mut work = Work {
        http: HttpPath::new(relay.shared()),
        names: Names::new(host.clone()),
        health: HealthChecks::new(host),
        relay,
        parting: Parting::new(),
        egress_ports,
    };
    // Having a handler keeps the default action, death, away.
    let _interrupt = step("ignore SIGINT", signal(SignalKind::interrupt()))?;
    let _hangup = step("ignore SIGHUP", signal(SignalKind::hangup()))?;
    let mut terminate = step("listen to SIGTERM", signal(SignalKind::terminate()))?;

    // The lock is ours, so a socket that is there is stale.
    let _ = std::fs::remove_file(SOCKET);
    let listener = step("open the socket", UnixListener::bind(SOCKET))?;
    step("protect the socket", std::fs::set_permissions(SOCKET, Permissions::from_mode(0o600)))?;
    step("report readiness", report_ready())?;

    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if answer(stream, &mut work).await {
                        break;
                    }
                }
                Err(error) => log(&error),
            },
        }
    }
    let _ = std::fs::remove_file(SOCKET);
    Ok(())
}

/// Says that the socket answers, and lets go of the starter's pipe.
fn report_ready() -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{READY}")?;
    stdout.flush()?;
    nix::unistd::dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    Ok(())
}

/// Everything that the process does for others.
struct Work {
    relay: Relay,
    http: HttpPath,
    names: Names,
    health: HealthChecks,
    parting: Parting,
    egress_ports: (u16, u16),
}

impl Work {
    async fn carry_out(&mut self, request: Request) -> Response {
        match request {
            Request::Publish { ports } => Response { failed: self.relay.publish(ports).await, ..Response::default() },
            Request::Http { routes } => match self.http.set(routes).await {
                Ok(http) => Response { http, ..Response::default() },
                Err(error) => Response { error: Some(error.to_string()), ..Response::default() },
            },
            Request::HttpCounts => Response { counts: self.http.counts(), ..Response::default() },
            Request::Leave { pods } => {
                Response { error: self.relay.leave(&pods).err().map(|error| error.to_string()), ..Response::default() }
            }
            Request::Part { pods } => {
                self.relay.part(&pods);
                self.parting.set(pods).await;
                Response::default()
            }
            Request::Health { checks } => Response { error: self.health.set(checks).await.err(), ..Response::default() },
            Request::Names { names } => {
                self.names.take_in(names);
                Response::default()
            }
            Request::Status | Request::Stop => {
                let (ports, connections) = (self.relay.ports(), self.relay.connections());
                let (tcp, udp) = self.egress_ports;
                let status = Status { ports, connections, egress_port: Some(tcp), egress_udp_port: Some(udp), version: VERSION };
                Response { status: Some(status), ..Response::default() }
            }
        }
    }
}

/// Serves one request; true when it was to stop. One at a time: changes are not reordered.
async fn answer(stream: UnixStream, work: &mut Work) -> bool {
    let mut stream = BufReader::new(stream).take(MAX_LINE_BYTES);
    let mut line = String::new();
    let read = tokio::time::timeout(super::ANSWER_TIMEOUT, stream.read_line(&mut line));
    if !matches!(read.await, Ok(Ok(_))) {
        return false;
    }
    let response = match serde_json::from_str(&line) {
        Ok(Request::Stop) => {
            // The stream is left open: its end tells the other side that this process has ended.
            std::mem::forget(stream);
            return true;
        }
        Ok(request) => work.carry_out(request).await,
        Err(error) => Response { error: Some(format!("not understood: {error}")), ..Response::default() },
    };
    if let Ok(mut bytes) = serde_json::to_vec(&response) {
        bytes.push(b'\n');
        let write = async { stream.get_mut().get_mut().write_all(&bytes).await };
        let _ = tokio::time::timeout(super::ANSWER_TIMEOUT, write).await;
    }
    false
}

/// One line in `holder.log`: nobody else listens when something goes wrong here.
pub(crate) fn log(message: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{} holder: {message}", jiff::Timestamp::now());
}

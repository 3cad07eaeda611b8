//! A machine for one test, and pods in it.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    path::PathBuf,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::socket::{Shutdown, shutdown},
};
use windlass_network::{Addresses, Holder, Machine, PodNetwork};

/// The executable that becomes a holder; cargo builds examples before it runs tests.
pub(crate) fn executable() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples/holder")
}

/// Runs a test in network and mount namespaces of its own, which are "the host" to it: other tests neither disturb it nor see it.
pub(crate) fn on_own_host(test: impl Future<Output = ()> + Send + 'static) {
    let host = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        run("ip", &["link", "set", "lo", "up"]);
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    });
    if let Err(panic) = host.join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) struct World {
    pub(crate) holder: Holder,
    pub(crate) machine: Machine,
    pub(crate) network: PodNetwork,
    pub(crate) data_dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let holder = Holder::spawn_from(data_dir.path(), &executable()).unwrap();
        let machine = Machine::enter(holder.netns()).unwrap();
        let network = PodNetwork::prepare(&machine, Addresses::default(), data_dir.path()).await.unwrap();
        Self { holder, machine, network, data_dir }
    }

    /// A pod on the network.
    pub(crate) async fn pod(&self, uid: &str) -> Pod {
        let namespace = Namespace::new();
        let address = match self.network.attach(uid, &namespace.path).await.unwrap()[..] {
            [std::net::IpAddr::V4(address)] => address,
            ref other => panic!("{other:?}"),
        };
        Pod { namespace, address }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.holder.stop();
    }
}

pub(crate) struct Pod {
    pub(crate) namespace: Namespace,
    pub(crate) address: Ipv4Addr,
}

impl Pod {
    /// Serves `port`: every connection gets `text` once it has sent a byte, and is then closed.
    pub(crate) fn serve(&self, port: u16, text: &'static str) -> Server {
        let listener = self.namespace.run(move || Arc::new(TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()));
        let server = Server { listener: listener.clone() };
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                std::thread::spawn(move || {
                    if stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {
                        let _ = stream.write_all(text.as_bytes());
                    }
                });
            }
        });
        server
    }

    /// Says something to `address` from inside the pod, and gives the whole answer.
    pub(crate) fn ask(&self, address: impl Into<SocketAddr>) -> std::io::Result<String> {
        let address = address.into();
        self.namespace.run(move || ask(TcpStream::connect(address)?))
    }
}

/// What serves a port, until it is told to stop.
pub(crate) struct Server {
    listener: Arc<TcpListener>,
}

impl Server {
    /// Closes the port at once: who is not accepted yet is refused.
    pub(crate) fn stop(self) {
        shutdown(self.listener.as_raw_fd(), Shutdown::Both).unwrap();
    }
}

pub(crate) fn ask(mut stream: TcpStream) -> std::io::Result<String> {
    stream.write_all(b"?")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace that lives as long as its thread does.
pub(crate) struct Namespace {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) path: PathBuf,
}

impl Namespace {
    pub(crate) fn new() -> Self {
        let (jobs, received) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            tell.send(format!("/proc/self/task/{}/ns/net", nix::unistd::gettid())).unwrap();
            for job in received {
                job();
            }
        });
        Self { jobs: Some(jobs), thread: Some(thread), path: PathBuf::from(told.recv().unwrap()) }
    }

    /// Runs `function` in the namespace.
    pub(crate) fn run<T: Send + 'static>(&self, function: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = Box::new(move || tell.send(function()).unwrap());
        self.jobs.as_ref().unwrap().send(job).unwrap();
        told.recv().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// What a person would look at on the host to see whether we left anything.
pub(crate) fn host_state() -> String {
    let mounts = std::fs::read_to_string("/proc/thread-self/mounts").unwrap();
    [run("ip", &["-o", "link"]), run("ip", &["route"]), run("nft", &["list", "ruleset"]), mounts].join("\n--\n")
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

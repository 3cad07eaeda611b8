//! The thread that lives in the machine's network namespace, and makes sockets there for everybody else.

use std::{
    fs::File,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    pin::Pin,
};

use nix::sched::{CloneFlags, setns};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, UdpSocket},
    sync::{mpsc, oneshot},
    task::LocalSet,
};

/// Connections that may wait to be accepted by a listener of the machine.
const BACKLOG: u32 = 4096;

type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// The machine's network namespace; clones share its thread, which ends with the last of them.
///
/// A socket belongs to the namespace of the thread that made it, and can be used from any thread afterwards.
#[derive(Debug, Clone)]
pub struct Machine {
    jobs: mpsc::UnboundedSender<Job>,
}

impl Machine {
    /// Starts the thread in the namespace that `netns` is an open file of.
    ///
    /// # Errors
    /// When the namespace can't be entered.
    pub fn enter(netns: &File) -> std::io::Result<Self> {
        let netns = netns.try_clone()?;
        let (jobs, received) = mpsc::unbounded_channel();
        let (entered, outcome) = std::sync::mpsc::sync_channel(1);
        std::thread::Builder::new().name("machine".to_owned()).spawn(move || {
            let runtime = setns(&netns, CloneFlags::CLONE_NEWNET)
                .map_err(std::io::Error::from)
                .and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
            match runtime {
                Ok(runtime) => {
                    let _ = entered.send(Ok(()));
                    LocalSet::new().block_on(&runtime, work(received));
                }
                Err(error) => {
                    let _ = entered.send(Err(error));
                }
            }
        })?;
        outcome.recv().map_err(std::io::Error::other)??;
        Ok(Self { jobs })
    }

    /// Runs `future` on the machine's thread. It should not compute for long: all others wait for it.
    ///
    /// # Errors
    /// When the future panicked, or the thread has ended.
    pub async fn run<F, T>(&self, future: impl FnOnce() -> F + Send + 'static) -> std::io::Result<T>
    where
        F: Future<Output = T> + 'static,
        T: Send + 'static,
    {
        let (answer, receiver) = oneshot::channel();
        let job: Job = Box::new(move || {
            Box::pin(async move {
                let _ = answer.send(future().await);
            })
        });
        self.jobs.send(job).map_err(|_| std::io::Error::other("the machine's thread has ended"))?;
        receiver.await.map_err(std::io::Error::other)
    }

    /// Runs `function` on the machine's thread, and gives its result.
    ///
    /// # Errors
    /// The function's own, or as [`Machine::run`].
    pub async fn call<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        self.run(|| std::future::ready(function())).await?
    }

    /// Opens a TCP connection from inside the machine.
    ///
    /// # Errors
    /// As [`TcpSocket::connect`].
    pub async fn connect(&self, address: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = self.call(move || new_socket(address)).await?;
        socket.connect(address).await
    }

    /// Listens for TCP connections inside the machine.
    ///
    /// # Errors
    /// As [`TcpSocket::bind`] and [`TcpSocket::listen`].
    pub async fn listen(&self, address: SocketAddr) -> std::io::Result<TcpListener> {
        let socket = self.call(move || new_socket(address)).await?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    }

    /// Binds a UDP socket inside the machine.
    ///
    /// # Errors
    /// As [`UdpSocket::bind`].
    pub async fn udp_bind(&self, address: SocketAddr) -> std::io::Result<UdpSocket> {
        let socket = self
            .call(move || {
                let socket = std::net::UdpSocket::bind(address)?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            })
            .await?;
        UdpSocket::from_std(socket)
    }

    /// Runs `function` on the machine's thread, inside another network namespace for as long as it takes.
    /// It is the way to make a socket in a pod's namespace.
    ///
    /// # Errors
    /// When a namespace can't be entered, or the function's own.
    pub async fn call_within<T: Send + 'static>(
        &self,
        netns: impl AsFd + Send + 'static,
        function: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    ) -> std::io::Result<T> {
        self.call(move || within(netns, function)).await
    }
}

/// Runs `function` with this thread in `netns`, and comes back.
pub(crate) fn within<T>(netns: impl AsFd, function: impl FnOnce() -> std::io::Result<T>) -> std::io::Result<T> {
    let home: OwnedFd = File::open("/proc/thread-self/ns/net")?.into();
    setns(netns, CloneFlags::CLONE_NEWNET)?;
    let result = function();
    // Staying would put every later socket of this thread into the wrong namespace: nothing it does can be trusted then.
    setns(home, CloneFlags::CLONE_NEWNET).expect("a thread can return to the namespace it came from");
    result
}

pub(crate) fn new_socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }
}

async fn work(mut jobs: mpsc::UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        drop(tokio::task::spawn_local(job()));
    }
}

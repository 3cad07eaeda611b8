//! `windlass up`: one machine, from its first file to its last signal.

pub(crate) mod containers;
pub(crate) mod data_dir;
mod ground;
mod kubeconfig;
pub(crate) mod machine;
mod nodes;
mod pod_network;
mod ready;
mod routes;
mod token;

use std::{net::TcpListener, path::PathBuf};

use anyhow::{Context as _, Result};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use windlass_cli::args;

use self::{data_dir::DataDir, machine::Machine};

/// Everything that must happen before there is a second thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) data_dir: DataDir,
    pub(crate) listener: TcpListener,
    pub(crate) ground: machine::Ground,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) started: Instant,
}

pub(crate) fn main(options: &args::Up) -> Result<()> {
    start_logging();
    let prepared = prepare(options)?;
    runtime()?.block_on(async {
        let machine = Machine::start(options, prepared).await?;
        machine.announce();
        wait_for_signal().await?;
        tracing::info!("stopping the machine");
        machine.stop().await
    })
}

/// Logs go to stderr, `info` and up unless `RUST_LOG` says otherwise.
pub(crate) fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,hyper=warn,kube=warn,hickory_server=warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

/// Takes what only one process can have (directory, port, namespaces), in the thread that `main` runs on.
pub(crate) fn prepare(options: &args::Up) -> Result<Prepared> {
    let started = Instant::now();
    let data_dir = DataDir::open(options.data_dir.as_deref())?;
    let listener = listen(options)?;
    let kubeconfig = options.write_kubeconfig.clone().unwrap_or_else(|| data_dir.path().join("kubeconfig"));
    let kubeconfig = std::path::absolute(&kubeconfig).with_context(|| format!("cannot resolve {}", kubeconfig.display()))?;
    let ground = machine::Ground::prepare(options, &data_dir)?;
    Ok(Prepared { data_dir, listener, ground, kubeconfig, started })
}

fn listen(options: &args::Up) -> Result<TcpListener> {
    let listener = TcpListener::bind(options.listen).with_context(|| {
        format!("cannot listen on {}; choose another address with --listen, or port 0 for a free one", options.listen)
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    // Two workers serve a laptop's worth of pods; more threads mean more stacks and more arenas, hence more memory.
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4));
    builder.enable_all().worker_threads(workers).max_blocking_threads(64).build().context("cannot start the async runtime")
}

pub(crate) async fn wait_for_signal() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

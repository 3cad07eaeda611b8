//! `windlass up`: one machine, from its first file to its last signal.

pub(crate) mod containers;
pub(crate) mod data_dir;
pub(crate) mod ground;
mod kubeconfig;
pub(crate) mod machine;
mod nodes;
mod pod_network;
mod ready;
mod routes;
pub(crate) mod signals;
mod token;
mod upgrade;

use std::{net::TcpListener, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::time::Instant;
use windlass_cli::args;

use self::{
    data_dir::DataDir,
    machine::{Interrupted, Machine},
    signals::{Asked, Signals},
    upgrade::Inherited,
};

/// Everything that must happen before there is a second thread.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) data_dir: DataDir,
    pub(crate) listener: TcpListener,
    /// The API's socket inside the machine, kept over an upgrade.
    pub(crate) inside: Option<TcpListener>,
    pub(crate) ground: machine::Ground,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) started: Instant,
}

pub(crate) fn main(options: &args::Up) -> Result<()> {
    start_logging();
    signals::block()?;
    let binary = upgrade::binary()?;
    let inherited = upgrade::inherited()?;
    let is_upgrade = inherited.is_some();
    let prepared = prepare(options, inherited)?;
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let mut machine = match Machine::start(options, prepared, &mut signals).await {
            Err(error) if error.is::<Interrupted>() => return Ok(()),
            started => started?,
        };
        machine.announce(is_upgrade);
        loop {
            let asked = tokio::select! {
                asked = signals.next() => asked,
                () = machine.holder_ended() => {
                    machine.stop().await?;
                    bail!("the process that holds the machine's namespaces was killed, and the machine with it; start it again");
                }
            };
            match asked {
                Asked::Upgrade => machine = machine.upgrade(&binary).await?,
                Asked::Stop => {
                    tracing::info!("stopping the machine");
                    return machine.stop().await;
                }
            }
        }
    })
}

/// Logs go to stderr, `info` and up unless `RUST_LOG` says otherwise.
pub(crate) fn start_logging() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,hyper=warn,kube=warn,hickory_server=warn"));
    // A terminal that has been closed takes no more, and saying so to it would end the process.
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false).init();
}

/// Takes what only one process can have (directory, port, namespaces), in the thread that `main` runs on.
pub(crate) fn prepare(options: &args::Up, inherited: Option<Inherited>) -> Result<Prepared> {
    let started = Instant::now();
    if let Some(Inherited { data_dir, kubeconfig, listener, inside }) = inherited {
        let ground = machine::Ground::prepare(options, &data_dir)?;
        return Ok(Prepared { data_dir, listener, inside, ground, kubeconfig, started });
    }
    let data_dir = DataDir::open(options.data_dir.as_deref())?;
    let listener = listen(options)?;
    let kubeconfig = options.write_kubeconfig.clone().unwrap_or_else(|| data_dir.path().join("kubeconfig"));
    let kubeconfig = std::path::absolute(&kubeconfig).with_context(|| format!("cannot resolve {}", kubeconfig.display()))?;
    let ground = machine::Ground::prepare(options, &data_dir)?;
    Ok(Prepared { data_dir, listener, inside: None, ground, kubeconfig, started })
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

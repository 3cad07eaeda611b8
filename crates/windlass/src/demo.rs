//! `windlass demo`: a machine of its own, images made of this binary, and the story that `cli` tells on it.

pub(crate) mod app;
mod image;
mod registry;

use std::{
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use windlass_cli::{
    args::{self, Runtime},
    demo::Stage,
};

use crate::up::{
    self,
    machine::{Interrupted, Machine},
    signals::Signals,
};

/// Registry that the demo's images seem to come from. The two that exist are imported; the third is asked for in vain.
const REGISTRY: &str = "demo.windlass.dev";

pub(crate) fn main(options: &args::Demo) -> Result<()> {
    quieten();
    let (dir, temporary) = match &options.data_dir {
        Some(dir) => (dir.clone(), false),
        None => (std::env::temp_dir().join(format!("windlass-demo-{}", std::process::id())), true),
    };
    let outcome = play(options, &dir);
    if temporary {
        let removed = match std::fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        return outcome.and(removed.with_context(|| format!("cannot remove {}", dir.display())));
    }
    outcome
}

fn play(options: &args::Demo, dir: &Path) -> Result<()> {
    let registry = registry::Registry::bind()?;
    let up = up_options(dir, registry.address());
    up::signals::block()?;
    let prepared = up::prepare(&up, None)?;
    up::runtime()?.block_on(async {
        registry.serve();
        let mut signals = Signals::listen()?;
        let machine = Machine::start(&up, prepared, &mut signals).await?;
        let told = tokio::select! {
            told = tell(&machine, &up) => told,
            _ = signals.next() => Err(Interrupted.into()),
        };
        if options.keep && told.is_ok() {
            say(&what_next(&machine));
            signals.next().await;
        }
        let stopped = machine.stop().await;
        told.and(stopped)
    })
}

/// The story is what is to be read; the log of the machine below it only when something is wrong.
fn quieten() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "error".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn up_options(dir: &Path, registry: SocketAddr) -> args::Up {
    args::Up {
        data_dir: Some(dir.to_owned()),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        write_kubeconfig: None,
        token: None,
        runtime: Runtime::Oci,
        nodes: 1,
        registry_mirrors: vec![format!("{REGISTRY}=http://{registry}")],
        publish_address: [127, 0, 0, 1].into(),
    }
}

async fn tell(machine: &Machine, up: &args::Up) -> Result<()> {
    let image = |tag: &str| format!("{REGISTRY}/shop:{tag}");
    let containers = machine.containers().context("the demo runs real containers")?;
    for version in ["v1", "v2"] {
        let files = image::files()?;
        let variables = vec![format!("{}={version}", app::VERSION)];
        let command = vec![image::PROGRAM.to_owned(), app::ROLE.to_owned()];
        containers.build_image(&image(version), files, variables, command).await?;
    }
    let stage = Stage {
        image_v1: image("v1"),
        image_v2: image("v2"),
        image_missing: image("v3"),
        publish_address: up.publish_address,
        started: machine.started(),
    };
    windlass_cli::demo::run(&machine.client("windlass-demo", "windlass-demo"), &stage).await
}

#[expect(clippy::print_stdout, reason = "whoever keeps the machine wants to know what to do with it")]
fn say(text: &str) {
    println!("{text}");
}

fn what_next(machine: &Machine) -> String {
    let kubeconfig: PathBuf = machine.kubeconfig().to_owned();
    format!(
        "\nThe machine goes on until Ctrl-C. Try, in another terminal:\n  \
         export KUBECONFIG={}\n  \
         kubectl get pods -o wide\n  \
         kubectl set image deployment/shop shop={REGISTRY}/shop:v1 && kubectl rollout status deployment/shop\n  \
         kubectl rollout history deployment/shop\n  \
         kubectl rollout undo deployment/shop",
        kubeconfig.display()
    )
}

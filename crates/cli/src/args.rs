//! The command line: verbs, flags and their defaults.

use std::{net::IpAddr, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Rolls software out without dropping a request, and rolls it back, with its configuration.
#[derive(Debug, Parser)]
#[command(name = "windlass", version, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What Windlass can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a whole Kubernetes-compatible machine until it is told to stop.
    Up(Up),
    /// Remove everything that a stopped machine has kept.
    Reset(Reset),
    /// See a rollout, a broken rollout and a rollback, on a machine that is started for it.
    Demo(Demo),
}

/// How pods are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Real containers in namespaces of this machine.
    Oci,
    /// Simulated nodes whose pods become Ready at once and stop at once.
    Hollow,
}

/// Flags of `windlass up`.
#[derive(Debug, Clone, Args)]
pub struct Up {
    /// Everything Windlass keeps [default: $XDG_DATA_HOME/windlass, for root /var/lib/windlass]
    #[arg(long, env = "WINDLASS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,

    /// Where the API is served; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "ADDR:PORT")]
    pub listen: SocketAddr,

    /// Where to write the kubeconfig, with mode 0600 [default: DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    pub write_kubeconfig: Option<PathBuf>,

    /// The administrator's bearer token [default: a random one, kept in DIR]
    #[arg(long, env = "WINDLASS_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub token: Option<String>,

    /// How pods are run
    #[arg(long, value_enum, default_value_t = Runtime::Oci)]
    pub runtime: Runtime,

    /// How many nodes to simulate, 0 for a control plane alone; only with `--runtime hollow`
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=5000))]
    pub nodes: u32,

    /// Pull the images of HOST from URL instead, e.g. docker.io=http://127.0.0.1:5000; append ",insecure" to allow
    /// plain HTTP to anything but the loopback interface
    #[arg(long = "registry-mirror", value_name = "HOST=URL")]
    pub registry_mirrors: Vec<String>,

    /// The host's address on which NodePort and LoadBalancer Services are published
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDR")]
    pub publish_address: IpAddr,
}

/// Flags of `windlass reset`.
#[derive(Debug, Clone, Args)]
pub struct Reset {
    /// The directory of the machine [default: as of `windlass up`]
    #[arg(long, env = "WINDLASS_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// Flags of `windlass demo`.
#[derive(Debug, Clone, Args)]
pub struct Demo {
    /// Leave the machine running afterwards, and say what to try next
    #[arg(long)]
    pub keep: bool,

    /// Everything the machine keeps [default: a new temporary directory, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

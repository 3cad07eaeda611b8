//! A machine being measured: the binary as a process of its own.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use tempfile::TempDir;

use super::Bench;

#[derive(Debug)]
pub(crate) struct Machine {
    process: Child,
    dir: TempDir,
    /// From the start of the process to the line that says it is ready.
    pub(crate) ready_after: Duration,
}

impl Machine {
    pub(crate) fn start(bench: &Bench, args: &[&str]) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("windlass-bench-").tempdir()?;
        let log = fs::File::create(dir.path().join("log"))?;
        let started = Instant::now();
        let mut process = Command::new(&bench.binary)
            .args(["up", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir.path().join("data"))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {}", bench.binary.display()))?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("the process has no output")?).read_line(&mut line)?;
        let machine = Self { process, dir, ready_after: started.elapsed() };
        ensure!(line.contains("KUBECONFIG="), "the machine did not start: {}", machine.log());
        Ok(machine)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("data/kubeconfig")
    }

    pub(crate) async fn client(&self) -> Result<Client> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig())?;
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Resident memory of the main process, in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SIGTERM, so that containers, namespaces and mounts go with it.
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

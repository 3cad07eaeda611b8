//! `cargo xtask test`: installs what the tests need, and runs them all.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    fixtures, install, kubectl,
    process::{execute, output},
    sim, tidy,
};

/// Which tests to run; all by default.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only formatting, lints, walls and documentation.
    #[arg(long, conflicts_with_all = ["crates", "sim", "scenarios"])]
    lints: bool,
    /// Only the tests of the crates.
    #[arg(long, conflicts_with_all = ["sim", "scenarios"])]
    crates: bool,
    /// Only a fresh batch of simulated rollouts.
    #[arg(long, conflicts_with = "scenarios")]
    sim: bool,
    /// Only the scenarios: real kubectl, real containers, a real registry.
    #[arg(long)]
    scenarios: bool,
}

pub(crate) fn run_lints() -> Result<()> {
    execute(cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run(&tidy::Options::default())?;
    execute(cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    execute(cargo().args(["doc", "--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", "-D warnings"))
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let all = !(options.lints || options.crates || options.sim || options.scenarios);
    install::packages()?;
    if all || options.lints {
        run_lints()?;
    }
    let fixtures = target_dir()?.join("fixtures");
    let kubectls = kubectl::make(&fixtures)?;
    let mut environment = vec![("WINDLASS_TEST_KUBECTL_OLD", kubectls.old)];
    environment.extend(kubectls.current.map(|path| ("WINDLASS_TEST_KUBECTL", path)));
    if all || options.crates {
        execute(cargo().args(["test", "--workspace", "--exclude", "windlass"]).envs(environment.clone()))?;
    }
    if all || options.sim {
        sim::run_fresh()?;
    }
    if all || options.scenarios {
        install::users()?;
        let registry = fixtures::make(&fixtures)?;
        environment.push(("WINDLASS_TEST_REGISTRY_DATA", registry));
        // One at a time: each starts a whole machine, and two machines at once measure each other.
        let mut command = cargo();
        command
            .args(["test", "--release", "--package", "windlass", "--test", "scenarios", "--", "--test-threads", "1"])
            .envs(environment);
        execute(&mut command)?;
    }
    Ok(())
}

pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo builds.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps", "--offline"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&text)?;
    Ok(metadata["target_directory"].as_str().context("cargo metadata names no target directory")?.into())
}

//! `cargo xtask tidy`: holds the crate walls of ARCHITECTURE.md against `cargo metadata`, and the lengths of files.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    process::output,
    test::{cargo, root},
};

/// What each crate may use of ours. A crate that is not here may not exist.
const WALLS: [(&str, &[&str]); 13] = [
    ("api", &[]),
    ("planner", &["api"]),
    ("storage", &[]),
    ("oci", &[]),
    ("spdy", &[]),
    ("apiserver", &["api", "storage"]),
    ("controllers", &["api", "planner"]),
    ("kubelet", &["api", "planner", "oci", "spdy"]),
    ("network", &["api", "planner"]),
    ("cli", &["api", "planner"]),
    ("dashboard", &["api"]),
    ("sim", &["api", "planner", "storage", "apiserver", "controllers", "kubelet", "network", "oci", "dashboard"]),
    ("windlass", &["api", "planner", "storage", "apiserver", "controllers", "kubelet", "network", "oci", "cli", "dashboard"]),
];

/// What a crate must not use of others', and so cannot do.
const NEVER: [(&str, &[&str]); 4] = [
    ("api", &["tokio", "hyper", "axum", "kube"]),
    ("planner", &["tokio", "hyper", "axum", "kube", "futures", "rand", "tracing", "async-trait"]),
    ("storage", &["hyper", "axum", "kube", "k8s-openapi"]),
    ("oci", &["kube", "k8s-openapi"]),
];

/// Lines beyond which a file is two things.
const LONG_FILE: usize = 400;

/// How to treat what is found.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Write down today's long files as the ones that are allowed. The list may only shrink.
    #[arg(long)]
    bless: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let mut faults = walls()?;
    faults.extend(files(options.bless)?);
    if !faults.is_empty() {
        bail!("not tidy:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

fn walls() -> Result<Vec<String>> {
    let text = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&text)?;
    let allowed: BTreeMap<_, _> = WALLS.into_iter().collect();
    let never: BTreeMap<_, _> = NEVER.into_iter().collect();
    let mut faults = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let name = room(package["name"].as_str().unwrap_or_default());
        if name == "xtask" {
            continue;
        }
        let Some(allowed) = allowed.get(name) else {
            faults.push(format!("crate {name} stands in no table: add it to ARCHITECTURE.md and to WALLS"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"].as_str().unwrap_or_default();
            let in_tests = dependency["kind"] == "dev";
            let ours = other.starts_with("windlass");
            if ours && !in_tests && !allowed.contains(&room(other)) {
                faults.push(format!("{name} uses {}, which stands behind a wall", room(other)));
            }
            if !ours && !in_tests && never.get(name).is_some_and(|never| never.contains(&other)) {
                faults.push(format!("{name} uses {other}, which does not belong in that room"));
            }
        }
    }
    Ok(faults)
}

fn room(package: &str) -> &str {
    package.strip_prefix("windlass-").unwrap_or(package)
}

/// The ratchet: files that are long today, with their length.
fn ratchet_path() -> PathBuf {
    root().join("xtask/long-files.txt")
}

fn files(bless: bool) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut long = BTreeMap::new();
    for path in rust_files()? {
        let text = fs::read_to_string(root().join(&path)).with_context(|| format!("cannot read {path}"))?;
        let opening = text.lines().find(|line| !line.starts_with("#!")).unwrap_or_default();
        if !opening.starts_with("//!") {
            faults.push(format!("{path} does not open with a `//!` line that says its job"));
        }
        let lines = text.lines().count();
        if lines > LONG_FILE {
            long.insert(path, lines);
        }
    }
    if bless {
        let text: String = long.iter().map(|(path, lines)| format!("{lines} {path}\n")).collect();
        fs::write(ratchet_path(), text)?;
        return Ok(faults);
    }
    let ratchet = fs::read_to_string(ratchet_path()).unwrap_or_default();
    let allowed = allowed_lengths(&ratchet);
    for (path, lines) in long {
        let limit = allowed.get(path.as_str()).copied().unwrap_or(LONG_FILE);
        if lines > limit {
            faults.push(format!("{path} has {lines} lines, {limit} are allowed: it is two things"));
        }
    }
    Ok(faults)
}

fn allowed_lengths(text: &str) -> BTreeMap<&str, usize> {
    text.lines().filter_map(|line| line.split_once(' ')).filter_map(|(lines, path)| Some((path, lines.parse().ok()?))).collect()
}

fn rust_files() -> Result<Vec<String>> {
    let listed = output(std::process::Command::new("git").args(["ls-files", "*.rs"]).current_dir(root()))?;
    Ok(listed.lines().filter(|path| root().join(Path::new(path)).exists()).map(str::to_owned).collect())
}

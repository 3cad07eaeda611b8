//! Two kubectls for the tests: an old one and the newest, unpacked beside each other. Neither may hide another one on the PATH.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    install::apt,
    process::{execute, output},
};

/// Where they are.
#[derive(Debug)]
pub(crate) struct Kubectls {
    /// That of Debian's release: 1.20.
    pub(crate) old: PathBuf,
    /// That of Debian's unstable, or else the one on the PATH.
    pub(crate) current: Option<PathBuf>,
}

/// Unpacks them below `dir`, unless they are there already.
pub(crate) fn make(dir: &Path) -> Result<Kubectls> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let old = old(&dir.join("kubernetes-client"))?;
    let current = newest(&dir.join("kubectl")).or_else(|error| {
        eprintln!("the kubectl of Debian's unstable is not to be had ({error:#}): the one on the PATH is taken");
        output(Command::new("sh").args(["-c", "command -v kubectl"])).map(|path| PathBuf::from(path.trim()))
    });
    Ok(Kubectls { old, current: current.ok() })
}

fn old(dir: &Path) -> Result<PathBuf> {
    let kubectl = dir.join("usr/bin/kubectl");
    if !kubectl.exists() {
        fs::create_dir_all(dir)?;
        execute(apt().arg("update").arg("-qq"))?;
        execute(Command::new("apt-get").args(["download", "-qq", "kubernetes-client"]).current_dir(dir))?;
        unpack(dir)?;
    }
    Ok(kubectl)
}

/// Its package needs nothing but libc. apt reads unstable's index into `dir`: the machine's own stays as it is.
fn newest(dir: &Path) -> Result<PathBuf> {
    let kubectl = dir.join("usr/bin/kubectl");
    if kubectl.exists() {
        return Ok(kubectl);
    }
    fs::create_dir_all(dir.join("apt/lists/partial"))?;
    let targets = output(Command::new("apt-get").args(["indextargets", "--format", "$(REPO_URI)", "Origin: Debian"]))?;
    let mirror = targets.lines().find(|mirror| mirror.trim_end_matches('/').ends_with("/debian"));
    let mirror = mirror.context("apt knows no mirror of Debian")?;
    // A mirror may have stood still for a while: what is signed is what counts.
    let source = format!("deb [check-valid-until=no] {mirror} sid main\n");
    fs::write(dir.join("apt/sources.list"), source)?;
    fs::write(dir.join("apt/status"), "")?;
    let setting = |key: &str, value: &str| ["-o".to_owned(), format!("{key}={}", dir.join("apt").join(value).display())];
    let settings: Vec<String> = [
        setting("Dir::Etc::sourcelist", "sources.list"),
        setting("Dir::Etc::sourceparts", "none"),
        setting("Dir::State::lists", "lists"),
        setting("Dir::State::status", "status"),
        setting("Dir::Cache", ""),
    ]
    .concat();
    execute(Command::new("apt-get").args(&settings).args(["update", "-qq"]))?;
    execute(Command::new("apt-get").args(&settings).args(["download", "-qq", "kubectl"]).current_dir(dir))?;
    fs::remove_dir_all(dir.join("apt"))?;
    unpack(dir)?;
    Ok(kubectl)
}

/// Unpacks the package in `dir` there.
fn unpack(dir: &Path) -> Result<()> {
    let package = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .context("apt-get download left no package behind")?;
    execute(Command::new("dpkg").arg("-x").arg(package).arg(dir))
}

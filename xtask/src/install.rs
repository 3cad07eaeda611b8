//! Debian packages that serve as real parts in the tests.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::process::{execute, output};

/// Package, and a file that is there once it is installed.
const PACKAGES: [(&str, &str); 9] = [
    ("busybox-static", "/bin/busybox"),
    ("docker-registry", "/usr/bin/docker-registry"),
    ("iproute2", "/sbin/ip"),
    ("nftables", "/usr/sbin/nft"),
    ("nginx-light", "/usr/sbin/nginx"),
    ("procps", "/bin/ps"),
    ("skopeo", "/usr/bin/skopeo"),
    ("uidmap", "/usr/bin/newuidmap"),
    ("wrk", "/usr/bin/wrk"),
];

/// Installs what is missing.
pub(crate) fn packages() -> Result<()> {
    let missing: Vec<&str> = PACKAGES.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    execute(apt().arg("update").arg("-qq"))?;
    // A test starts the servers that it needs itself; none may start with its package.
    execute(apt().args(["install", "-y", "-qq", "--no-install-recommends"]).args(missing).env("RUNLEVEL", "1"))
}

pub(crate) fn apt() -> Command {
    let mut command = as_root("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn as_root(program: &str) -> Command {
    let root = output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    let mut command = Command::new(if root { program } else { "sudo" });
    if !root {
        command.arg(program);
    }
    command
}

/// Ordinary users that machines without root are tried with: one with subordinate ids, one without.
pub(crate) fn users() -> Result<()> {
    for (name, options) in [("windlass-test", &[][..]), ("windlass-test-one", &["--system"][..])] {
        if output(Command::new("id").arg(name)).is_err() {
            let mut command = as_root("useradd");
            execute(command.args(["--no-create-home", "--shell", "/bin/sh"]).args(options).arg(name))?;
        }
    }
    Ok(())
}

//! Asks the linker for a smaller binary, where the linker is known to understand it.

use std::{env, process::Command};

/// The first release of the GNU C library that starts programs with packed relocations.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // There rustc links with its own lld; elsewhere with whatever the machine has.
    let is_known = env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu");
    if !is_known || env::var("PROFILE").is_ok_and(|profile| profile != "release") {
        return;
    }
    // One copy of functions that came out equal, of which generic code makes many.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    // A list of 2.6 MB as one of 0.1 MB. A binary asks for the C library that it was linked with anyway.
    if env::var("HOST") == env::var("TARGET") && library_version().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// Of this machine's GNU C library.
fn library_version() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

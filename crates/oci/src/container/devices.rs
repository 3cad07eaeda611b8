//! The devices of this machine, for containers that are allowed everything.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::Path,
};

use nix::sys::stat::{major, minor};
use oci_spec::{
    OciSpecError,
    runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType},
};

/// What a container has of its own below `/dev`.
const OWN: [&str; 6] = ["pts", "shm", "fd", "mqueue", "console", "ptmx"];

/// More than a server with all its disks and terminals has.
const MAX: usize = 4096;

/// All character and block devices below `/dev`, as containerd gives them to privileged containers.
pub(super) fn all() -> Result<Vec<LinuxDevice>, OciSpecError> {
    let mut devices = Vec::new();
    // What cannot be looked at cannot be used either.
    let _ = collect(Path::new("/dev"), &mut devices);
    devices.into_iter().collect()
}

fn collect(dir: &Path, devices: &mut Vec<Result<LinuxDevice, OciSpecError>>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if devices.len() >= MAX || OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        // Symbolic links are left out: their targets are found themselves.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let _ = collect(&entry.path(), devices);
        } else if kind.is_char_device() || kind.is_block_device() {
            let metadata = entry.metadata()?;
            let number = |part: u64| i64::try_from(part).unwrap_or(0);
            let device = LinuxDeviceBuilder::default()
                .path(entry.path())
                .typ(if kind.is_char_device() { LinuxDeviceType::C } else { LinuxDeviceType::B })
                .major(number(major(metadata.rdev())))
                .minor(number(minor(metadata.rdev())))
                .file_mode(metadata.mode() & 0o777)
                .uid(metadata.uid())
                .gid(metadata.gid());
            devices.push(device.build());
        }
    }
    Ok(())
}

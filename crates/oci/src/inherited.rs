//! Descriptors that a process hands to the program that it becomes.

use std::{
    env, io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::process::CommandExt as _,
    },
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::{
    fcntl::{FcntlArg, FdFlag, fcntl},
    unistd::dup,
};

/// Environment variable: the process, and its descriptors in order, such as `4711 7 9`.
const VARIABLE: &str = "WINDLASS_DESCRIPTORS";

/// Becomes the program, which finds the descriptors by [`take`]; comes back only with what kept it from that.
pub fn exec(command: &mut Command, descriptors: &[BorrowedFd<'_>]) -> io::Error {
    // Copies stay open across exec; they are closed again if it fails.
    let copies = match descriptors.iter().map(dup).collect::<nix::Result<Vec<OwnedFd>>>() {
        Ok(copies) => copies,
        Err(errno) => return errno.into(),
    };
    let numbers = copies.iter().map(|fd| format!(" {}", fd.as_raw_fd())).collect::<String>();
    command.env(VARIABLE, format!("{}{numbers}", std::process::id())).exec()
}

/// The descriptors that the process before this program handed over; none the second time, and none in a process of its own.
pub fn take() -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let text = env::var(VARIABLE).unwrap_or_default();
    let mut fields = text.split(' ');
    let own = fields.next().is_some_and(|process| process == std::process::id().to_string());
    if !own || TAKEN.swap(true, Ordering::SeqCst) {
        return Vec::new();
    }
    let numbers = fields.filter_map(|field| field.parse::<RawFd>().ok());
    // SAFETY: `exec` left these numbers open for this very process, nothing else of this program knows them, and they are taken once.
    let descriptors: Vec<OwnedFd> = numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect();
    for descriptor in &descriptors {
        // Not for the programs that this one starts; a descriptor that cannot be changed is no descriptor, and shows where it is used.
        let _ = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
    descriptors
}

//! The first process of a process namespace that the containers of a pod share: reaps, and does nothing else.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::Path,
    process::ExitCode,
};

use nix::{
    libc,
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl,
        signal::{SigSet, Signal},
        wait::waitpid,
    },
    unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, fork, setsid},
};

use crate::{kernel, process::ProcessId};

/// File of the namespace in the sandbox's directory.
pub(super) const NAMESPACE: &str = "pid";

/// File that says which process it is.
const PROCESS: &str = "pause.json";

/// Entry: the only argument is the sandbox's directory. Ends once the namespace is held by a file and a process.
pub(crate) fn main(args: &[OsString]) -> ExitCode {
    let made = args.first().map(|dir| make(Path::new(dir)));
    match made {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        None => ExitCode::FAILURE,
    }
}

/// Kills the process of a sandbox, if it has one.
pub(super) fn kill(dir: &Path) -> io::Result<()> {
    let Ok(bytes) = fs::read(dir.join(PROCESS)) else { return Ok(()) };
    let process: ProcessId = serde_json::from_slice(&bytes)?;
    process.signal(libc::SIGKILL)
}

fn make(dir: &Path) -> io::Result<()> {
    setsid()?;
    kernel::close_from(3);
    std::env::set_current_dir("/")?;
    unshare(CloneFlags::CLONE_NEWPID)?;
    // SAFETY: this process has a single thread, so the child finds no lock held and no memory half written.
    match unsafe { fork() }? {
        ForkResult::Child => reap_for_ever(),
        ForkResult::Parent { child } => {
            let process = ProcessId::of(child.as_raw())?;
            fs::write(dir.join(PROCESS), serde_json::to_vec(&process)?)?;
            let file = dir.join(NAMESPACE);
            fs::write(&file, "")?;
            let namespace = format!("/proc/{child}/ns/pid");
            Ok(mount(Some(namespace.as_str()), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
        }
    }
}

fn reap_for_ever() -> ! {
    let _ = prctl::set_name(c"pause");
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        let _ = dup2_stdin(&null).and_then(|()| dup2_stdout(&null)).and_then(|()| dup2_stderr(&null));
    }
    let mut mask = SigSet::empty();
    mask.add(Signal::SIGCHLD);
    let _ = mask.thread_block();
    loop {
        while waitpid(None, Some(nix::sys::wait::WaitPidFlag::WNOHANG)).is_ok_and(|s| s.pid().is_some()) {}
        let _ = mask.wait();
    }
}

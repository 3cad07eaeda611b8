//! The processes that this program starts of itself, before it has threads.

use std::{env, ffi::OsString, process::ExitCode};

/// First argument of a process that watches one container.
pub(crate) const SHIM: &str = "windlass-shim";

/// First argument of a process that enters a container.
pub(crate) const EXEC: &str = "windlass-exec";

/// First argument of a process that holds a process namespace.
pub(crate) const PAUSE: &str = "windlass-pause";

/// First argument of a process that maps ids into the user namespace of another.
pub(crate) const IDS: &str = "windlass-ids";

/// Runs the shim of a container or the like, if that is what this process was started for.
///
/// To be called first thing in `main` of every program (tests too) that uses [`crate::container::Runtime`]: such a process
/// forks, which is only sound while it has a single thread.
pub fn run_if_internal() -> Option<ExitCode> {
    let mut args = env::args_os();
    let name = args.next()?;
    let args: Vec<OsString> = args.collect();
    match name.to_str()? {
        SHIM => Some(crate::container::shim_main(&args)),
        PAUSE => Some(crate::container::pause_main(&args)),
        EXEC => Some(crate::container::enter_main(&args)),
        IDS => Some(crate::user_namespace::main(&args)),
        _ => None,
    }
}

//! Real containers and a real registry, in a mount namespace of the test's own. Needs root.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a test program")]

mod confined;
mod containers;
mod faults;
mod fixture;
mod images;
mod lives;
mod registry;
mod resized;
mod sessions;
mod timing;

use std::{env, process::ExitCode, time::Instant};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

/// A test and its name.
type Test = (&'static str, fn());

fn main() -> ExitCode {
    // The runtime starts this very program as shim.
    if let Some(code) = windlass_oci::internal::run_if_internal() {
        return code;
    }
    let tests: Vec<Test> =
        [containers::TESTS, confined::TESTS, sessions::TESTS, lives::TESTS, resized::TESTS, images::TESTS, faults::TESTS]
            .concat();
    let args: Vec<String> = env::args().skip(1).collect();
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--") && *arg != "terse").collect();
    let exact = args.iter().any(|arg| arg == "--exact");
    let wanted =
        |name: &str| filters.is_empty() || filters.iter().any(|f| if exact { name == *f } else { name.contains(f.as_str()) });
    // As libtest does it, so that cargo and nextest can drive this.
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            tests.iter().filter(|(name, _)| wanted(name)).for_each(|(name, _)| println!("{name}: test"));
        }
        return ExitCode::SUCCESS;
    }
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace of our own (needs root)");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).expect("private mounts");
    if args.iter().any(|arg| arg == "--measure") {
        timing::measure();
        return ExitCode::SUCCESS;
    }
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    match args.as_slice() {
        [mode, data_dir] if mode == lives::VICTIM => lives::be_killed(data_dir),
        [mode, data_dir] if mode == lives::BUSY_VICTIM => lives::be_killed_busy(data_dir),
        _ => {}
    }
    for (name, test) in tests.iter().filter(|(name, _)| wanted(name)) {
        let start = Instant::now();
        // A panic ends the process with an error; what the test made is cleaned up by the fixture's drop.
        test();
        println!("test {name} ... ok ({:?})", start.elapsed());
    }
    ExitCode::SUCCESS
}

//! The demo's application: answers every request with its version and its pod, and exits at once on SIGTERM, as many real ones do.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    thread,
    time::Duration,
};

use nix::sys::signal::{SigSet, Signal};

/// First argument that turns this binary into the application.
pub(crate) const ROLE: &str = "__demo-app";

/// Environment variable with the version that it answers with.
pub(crate) const VERSION: &str = "SHOP_VERSION";

/// A client that sends nothing for so long is hung up on.
const PATIENCE: Duration = Duration::from_secs(30);

/// Threads at once; further connections wait in the kernel's queue.
const THREADS: usize = 16;

pub(crate) fn run_if_internal() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    (args.nth(1).as_deref() == Some(OsStr::new(ROLE))).then(|| match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the demo's application cannot serve: {error}");
            ExitCode::FAILURE
        }
    })
}

/// The first process of a container gets no default action for a signal: it has to end by itself.
fn exit_on_sigterm() -> std::io::Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    // Blocked before there is a second thread, so that no other one takes it.
    signals.thread_block()?;
    thread::spawn(move || {
        if signals.wait().is_ok() {
            std::process::exit(0);
        }
    });
    Ok(())
}

fn serve() -> std::io::Result<()> {
    exit_on_sigterm()?;
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    let version = std::env::var(VERSION).unwrap_or_default();
    let host = std::env::var("HOSTNAME").unwrap_or_default();
    let body = format!("{version} from {host}\n");
    eprintln!("{version} listens on port 8080");
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for stream in listener.incoming().flatten() {
                    // A client that went away is its own affair.
                    let _ = answer(&stream, &body);
                }
            });
        }
    });
    Ok(())
}

/// Answers every request of one connection.
fn answer(mut stream: &TcpStream, body: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream).lines();
    let mut close = false;
    while let Some(line) = lines.next().transpose()? {
        close |= line.eq_ignore_ascii_case("connection: close");
        if !line.is_empty() {
            continue;
        }
        let connection = if close { "close" } else { "keep-alive" };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: {connection}\r\n\r\n"
        );
        stream.write_all(format!("{head}{body}").as_bytes())?;
        if close {
            break;
        }
    }
    Ok(())
}

//! Ends a container: its stop signal, a time of grace, then SIGKILL.

use std::time::Duration;

use nix::{libc, sys::signal::Signal};

use super::{
    Phase,
    runtime::{Runtime, RuntimeError},
};

/// How long a killed container may take to be gone. Only a process in uninterruptible sleep takes longer.
const KILL_WAIT: Duration = Duration::from_secs(30);

impl Runtime {
    /// Sends the image's stop signal (or SIGTERM), waits, then kills; returns when the container has ended.
    ///
    /// # Errors
    /// [`RuntimeError::Unkillable`]; [`RuntimeError::NotFound`].
    pub async fn stop_container(&self, id: &str, grace: Duration) -> Result<(), RuntimeError> {
        let entry = self.0.entry(id)?;
        if !matches!(entry.phase(), Phase::Running { .. }) {
            return Ok(());
        }
        let Some(init) = entry.state.as_ref().and_then(|state| state.init) else { return Ok(()) };
        let failed = |source| RuntimeError::Io { doing: format!("failed to signal container {id}"), source };
        let mut ended = entry.ended.subscribe();
        if !grace.is_zero() {
            init.signal(entry.record.stop_signal).map_err(failed)?;
            if tokio::time::timeout(grace, ended.wait_for(|ended| *ended)).await.is_ok() {
                return Ok(());
            }
        }
        init.signal(libc::SIGKILL).map_err(failed)?;
        match tokio::time::timeout(KILL_WAIT, ended.wait_for(|ended| *ended)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(RuntimeError::Unkillable(id.to_owned())),
        }
    }
}

/// The number of a signal as images name it: `SIGQUIT`, `QUIT`, `3`, `SIGRTMIN+3`.
pub(super) fn signal_number(name: &str) -> Option<i32> {
    let upper = name.trim().to_uppercase();
    let full = if upper.starts_with("SIG") { upper.clone() } else { format!("SIG{upper}") };
    let real_time = |rest: &str, base: i32, sign: i32| {
        let offset = if rest.is_empty() { Some(0) } else { rest.trim_start_matches(['+', '-']).parse::<i32>().ok() };
        offset.map(|offset| base + sign * offset).filter(|n| (libc::SIGRTMIN()..=libc::SIGRTMAX()).contains(n))
    };
    if let Some(rest) = full.strip_prefix("SIGRTMIN") {
        return real_time(rest, libc::SIGRTMIN(), 1);
    }
    if let Some(rest) = full.strip_prefix("SIGRTMAX") {
        return real_time(rest, libc::SIGRTMAX(), -1);
    }
    let number = upper.parse::<i32>().ok().filter(|n| (1..=libc::SIGRTMAX()).contains(n));
    number.or_else(|| full.parse::<Signal>().ok().map(|signal| signal as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for (name, number) in [
            ("SIGQUIT", Some(3)),
            ("quit", Some(3)),
            ("15", Some(15)),
            ("SIGRTMIN+3", Some(libc::SIGRTMIN() + 3)),
            ("RTMAX-1", Some(libc::SIGRTMAX() - 1)),
            ("SIGNOPE", None),
            ("0", None),
            ("999", None),
        ] {
            assert_eq!(signal_number(name), number, "{name}");
        }
    }
}

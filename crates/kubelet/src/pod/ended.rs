//! How a container ended: reason and termination message.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use k8s_openapi::api::core::v1::Pod;
use windlass_planner::pod::{Outcome, RunState};

use super::operation::{Done, Scope};
use crate::{
    paths::Paths,
    pod::{container, uid},
    runtime::{Container, ContainerState},
};

/// A termination message is cut at this many bytes, as upstream.
const MAX_MESSAGE_BYTES: u64 = 4096;
/// What of a log stands in for a message: at most this many bytes and lines of its end.
const MAX_LOG_BYTES: u64 = 2048;
const MAX_LOG_LINES: usize = 80;

/// What is said of a container whose end nobody saw, as upstream.
const UNSEEN_EXIT_CODE: i32 = 137;
const UNSEEN: &str = "ContainerStatusUnknown";

/// Looks at a container that ended, or `was_killed` and has to have.
pub(crate) async fn inspect(scope: Scope, container: String, id: String, was_killed: bool) -> Done {
    let found = scope.kubelet.runtime.container(&id).await;
    let state = match found {
        Ok(found) => state(&scope.kubelet.paths, &scope.pod, &found),
        Err(error) => {
            tracing::warn!(%error, id, "a container that ended cannot be looked at");
            RunState::Exited(lost(jiff::Timestamp::now()))
        }
    };
    Done::Inspected { container, id, state, was_killed }
}

/// The outcome of a container that is gone without a word.
pub(crate) fn lost(at: jiff::Timestamp) -> Outcome {
    Outcome {
        started_at: None,
        finished_at: at,
        exit_code: UNSEEN_EXIT_CODE,
        reason: UNSEEN.to_owned(),
        message: "The container could not be located when the pod was terminated".to_owned(),
    }
}

/// The state of a container as the planner has it.
pub(crate) fn state(paths: &Paths, pod: &Pod, found: &Container) -> RunState {
    match &found.state {
        ContainerState::Created => RunState::Created,
        ContainerState::Running { started_at } => RunState::Running { started_at: *started_at },
        ContainerState::Exited { started_at, finished_at, exit_code, oom_killed, message } => {
            let reason = match (oom_killed, exit_code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                (false, 128) if !message.is_empty() => "StartError",
                // The runtime says why it does not know.
                (false, &UNSEEN_EXIT_CODE) if !message.is_empty() => UNSEEN,
                _ => "Error",
            };
            let written = termination_message(paths, pod, found, *exit_code);
            RunState::Exited(Outcome {
                started_at: Some(*started_at),
                finished_at: *finished_at,
                exit_code: *exit_code,
                reason: reason.to_owned(),
                message: if written.is_empty() { message.clone() } else { written },
            })
        }
    }
}

fn termination_message(paths: &Paths, pod: &Pod, found: &Container, exit_code: i32) -> String {
    let config = &found.config;
    let written = read_start(&paths.termination_log(uid(pod), &config.name, config.attempt)).unwrap_or_default();
    let policy = container(pod, &config.name).and_then(|container| container.termination_message_policy.clone());
    if !written.is_empty() || exit_code == 0 || policy.as_deref() != Some("FallbackToLogsOnError") {
        return written;
    }
    log_end(&config.log_path).unwrap_or_default()
}

fn read_start(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_MESSAGE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last lines of a log, without the prefix that each has.
fn log_end(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    // Prefixes are about 40 bytes a line; reading eight times as much surely holds the text wanted, or 80 lines of it.
    file.seek(SeekFrom::Start(size.saturating_sub(MAX_LOG_BYTES * 8)))?;
    let mut bytes = Vec::new();
    file.take(MAX_LOG_BYTES * 8).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let entries: Vec<(&str, &str)> = text.lines().filter_map(entry).collect();
    let entries = &entries[entries.len().saturating_sub(MAX_LOG_LINES)..];
    let mut end: String = entries.iter().flat_map(|(text, line_end)| [*text, *line_end]).collect();
    let excess = end.len().saturating_sub(usize::try_from(MAX_LOG_BYTES).unwrap_or(usize::MAX));
    let cut = (excess..=end.len()).find(|index| end.is_char_boundary(*index)).unwrap_or(0);
    end.drain(..cut);
    Ok(end)
}

/// Text of an entry, and what ends it: an entry of a part of a line (`P`) goes on in the next, or was the last and had no end.
fn entry(line: &str) -> Option<(&str, &'static str)> {
    let mut fields = line.splitn(4, ' ');
    let (tag, text) = (fields.nth(2)?, fields.next()?);
    Some((text, if tag == "F" { "\n" } else { "" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_is_its_text() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let lines: String = (0..200).map(|n| format!("2026-01-01T00:00:00.000000000Z stderr F line {n}\n")).collect();
        std::fs::write(&path, lines).unwrap();
        let end = log_end(&path).unwrap();
        assert_eq!(end.lines().count(), 80);
        assert!(end.starts_with("line 120\n") && end.ends_with("line 199\n"));
    }

    #[test]
    fn a_line_that_was_not_ended_is_not_ended() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("0.log");
        let entry = |tag: &str, text: &str| format!("2026-01-01T00:00:00.000000000Z stdout {tag} {text}\n");
        std::fs::write(&path, entry("F", "one") + &entry("P", "DO") + &entry("P", "NE")).unwrap();
        assert_eq!(log_end(&path).unwrap(), "one\nDONE");
    }
}

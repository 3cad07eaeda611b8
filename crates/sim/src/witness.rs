//! Hears every watch: no gap, no duplicate, no going back, across cuts, reconnects and forgotten history.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use http::Uri;
use windlass_storage::Revision;

use crate::{actor::Actor, ledger::Ledger};

/// How many events the watches of a world delivered.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn events(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Hears one watch.
#[derive(Debug)]
pub(crate) struct Witness {
    actor: Actor,
    ledger: Arc<Ledger>,
    count: Arc<Count>,
    /// Start of the keys that are watched.
    prefix: String,
    /// Whether every write to them is to be heard of, or only those that match a selector.
    whole: bool,
    /// Everything up to here has been heard of; `None` until the watch has told what there was.
    heard: Option<Revision>,
    /// The beginning of a line.
    half: Vec<u8>,
}

fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| value).next()
}

/// Start of the keys that a path stands for, where it is a collection of all namespaces.
fn prefix_of(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts[..] {
        ["api", _, plural] => Some(format!("/registry/core/{plural}/")),
        ["apis", group, _, plural] => Some(format!("/registry/{group}/{plural}/")),
        _ => None,
    }
}

impl Witness {
    /// A witness of the watch that this request asks for; `None` if it is no watch.
    pub(crate) fn of(uri: &Uri, actor: Actor, ledger: Arc<Ledger>, count: Arc<Count>) -> Option<Self> {
        parameter(uri, "watch").filter(|value| *value == "true")?;
        let mut witness = Self {
            actor,
            ledger,
            count,
            prefix: prefix_of(uri.path())?,
            whole: parameter(uri, "fieldSelector").is_none() && parameter(uri, "labelSelector").is_none(),
            heard: None,
            half: Vec::new(),
        };
        if let Some(revision) = parameter(uri, "resourceVersion").and_then(|text| text.parse().ok()) {
            witness.knows(revision);
        }
        Some(witness)
    }

    fn knows(&mut self, revision: Revision) {
        self.heard = Some(revision);
        if self.actor == Actor::Controllers && self.whole {
            self.ledger.knowledge.hear(&self.prefix, revision);
        }
    }

    /// Hears the next bytes.
    ///
    /// # Errors
    /// What was missing, or heard twice.
    pub(crate) fn hear(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.half.extend_from_slice(bytes);
        while let Some(end) = self.half.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.half.drain(..=end).collect();
            self.hear_line(&line)?;
        }
        Ok(())
    }

    fn hear_line(&mut self, line: &[u8]) -> Result<(), String> {
        let Some(heard) = self.heard else { return Ok(()) };
        if is(line, "ERROR") {
            return Ok(());
        }
        let revision = revision_of(line).ok_or_else(|| format!("an event of {} without resourceVersion", self.prefix))?;
        self.knows(revision);
        if is(line, "BOOKMARK") {
            let missed = self.ledger.next_revision(&self.prefix, heard, revision).filter(|_| self.whole);
            return match missed {
                Some(missed) => Err(format!("a watch of {} misses {missed} before its bookmark at {revision}", self.prefix)),
                None if revision < heard => Err(format!("a bookmark of {} goes back from {heard} to {revision}", self.prefix)),
                None => Ok(()),
            };
        }
        self.count.0.fetch_add(1, Ordering::Relaxed);
        if revision <= heard {
            return Err(format!("a watch of {} goes back from {heard} to {revision}", self.prefix));
        }
        match self.ledger.next_revision(&self.prefix, heard, revision) {
            Some(next) if self.whole && next != revision => {
                Err(format!("a watch of {} misses {next}: it tells of {revision} after {heard}", self.prefix))
            }
            None => Err(format!("a watch of {} tells of {revision}, at which nothing was written", self.prefix)),
            Some(_) => Ok(()),
        }
    }
}

/// Whether an event is of this type, which stands before its object or behind it.
fn is(line: &[u8], kind: &str) -> bool {
    line.starts_with(format!("{{\"type\":\"{kind}\"").as_bytes()) || line.ends_with(format!("\"type\":\"{kind}\"}}\n").as_bytes())
}

/// `metadata.resourceVersion`, which is the first of that name in all objects but Events.
fn revision_of(line: &[u8]) -> Option<Revision> {
    const NAME: &[u8] = b"\"resourceVersion\":\"";
    let start = line.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digits = line[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&line[start..start + digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stand_for_keys() {
        assert_eq!(prefix_of("/api/v1/pods").as_deref(), Some("/registry/core/pods/"));
        assert_eq!(prefix_of("/apis/apps/v1/replicasets").as_deref(), Some("/registry/apps/replicasets/"));
        assert_eq!(prefix_of("/api/v1/namespaces/default/pods"), None);
    }

    #[test]
    fn the_revision_is_read_without_decoding() {
        let line = br#"{"type":"ADDED","object":{"metadata":{"resourceVersion":"17","name":"a"}}}"#;
        assert_eq!(revision_of(line), Some(17));
        assert_eq!(revision_of(b"{}"), None);
        assert!(is(line, "ADDED"));
        assert!(is(b"{\"object\":{},\"type\":\"BOOKMARK\"}\n", "BOOKMARK"));
    }
}

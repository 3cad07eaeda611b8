//! `GET` with `watch`: what is there, then every change, until the client's time is up.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt, stream};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior};
use windlass_api::{kind::Kind, status::Status};
use windlass_storage::{Entry, Error, Event, Range, Revision, Signal, Watch};

use crate::{
    call::Call,
    registry::{self, facts::Cache, selection::Selection, view::Projection},
    reply::{self, Response},
    server::Server,
    verb::list,
};

/// As upstream: about once a minute, so that a quiet watcher need not list again after a break.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// As upstream: a watch without `timeoutSeconds` lasts 30 to 60 minutes.
const MIN_TIMEOUT_SECONDS: u64 = 1800;
/// Events that are ready together leave in one write, up to this size.
const MAX_CHUNK_BYTES: usize = 256 * 1024;

/// Answers with a stream of events.
pub(crate) async fn answer(call: &Call) -> Result<Response, Status> {
    let query = &call.query;
    list::check_options(query, true)?;
    let selection = match call.name.as_str() {
        "" => Selection::parse(call.kind, query)?,
        name => Selection::named(call.kind, name)?,
    };
    let send_initial = query.flag("sendInitialEvents");
    let asked = list::resource_version(query)?;
    let prefix = registry::prefix(call.kind, &call.namespace);
    let server = &call.server;
    // Without a revision the watch begins with what is there now, and so it does where the client asks for that.
    let wants_state = asked.is_none() && query.get("sendInitialEvents").is_none() || send_initial;
    let failed = |error: Error| registry::failed(&error);
    let newest = server.registry.store.revision().await.map_err(failed)?;
    let (initial, after) = if wants_state {
        if let Some(asked) = asked.filter(|asked| *asked > newest) {
            return Err(registry::too_large(asked, newest));
        }
        let page = server.registry.store.list(Range { prefix: prefix.clone(), ..Range::default() }).await.map_err(failed)?;
        (page.entries, page.revision)
    } else {
        (Vec::new(), asked.unwrap_or(newest))
    };
    let projection = call.projection()?;
    let events = match server.registry.store.watch(&prefix, after).await {
        Ok(events) => events,
        Err(error) => return Ok(failed_watch(&expired(&error))),
    };
    let bookmarks = query.flag("allowWatchBookmarks");
    let mut tick = tokio::time::interval_at(Instant::now() + BOOKMARK_INTERVAL, BOOKMARK_INTERVAL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watcher = Watcher {
        deadline: Instant::now() + lifetime(call)?,
        initial_end: (send_initial && bookmarks).then_some(after),
        initial: initial.into(),
        delivered: after,
        first: true,
        ended: false,
        server: Arc::clone(server),
        kind: call.kind,
        selection,
        projection,
        events,
        bookmarks,
        tick,
        _open: server.metrics.watch_opened(),
    };
    let chunks =
        stream::unfold(watcher, async |mut watcher| watcher.next().await.map(|chunk| (Ok::<_, Infallible>(chunk), watcher)));
    Ok(reply::json(200, Body::from_stream(chunks)))
}

/// How long the watch lasts.
fn lifetime(call: &Call) -> Result<Duration, Status> {
    let asked =
        call.query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    let spread = || MIN_TIMEOUT_SECONDS + call.server.random.next_u64() % MIN_TIMEOUT_SECONDS;
    Ok(Duration::from_secs(asked.unwrap_or_else(spread)))
}

/// A watch that cannot begin: one ERROR event, as upstream's watch cache answers.
fn failed_watch(status: &Status) -> Response {
    reply::json(200, format!("{}\n", json!({ "type": "ERROR", "object": status.to_value() })))
}

/// The error that tells a client to list again.
fn expired(error: &Error) -> Status {
    match error {
        Error::Compacted { asked, oldest } => {
            Status::request(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
        }
        error => registry::failed(error),
    }
}

/// One client's watch.
struct Watcher {
    server: Arc<Server>,
    kind: &'static Kind,
    selection: Selection,
    projection: Projection,
    /// Bounded by the store: a watcher that falls behind is ended there.
    events: Watch,
    /// What was there when the watch began.
    initial: VecDeque<Entry>,
    /// Revision of the bookmark that ends the initial events.
    initial_end: Option<Revision>,
    bookmarks: bool,
    tick: tokio::time::Interval,
    /// Everything up to here has been sent, or was not meant for this client.
    delivered: Revision,
    deadline: Instant,
    /// Whether nothing has been sent: a table has its columns only in the first event.
    first: bool,
    ended: bool,
    _open: crate::metrics::OpenWatch,
}

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watcher").field("kind", &self.kind.plural).field("delivered", &self.delivered).finish_non_exhaustive()
    }
}

impl Watcher {
    /// The next bytes to send; `None` ends the watch.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = BytesMut::new();
        while !self.ended && out.is_empty() {
            if !self.initial.is_empty() || self.initial_end.is_some() {
                self.append_initial(&mut out);
                continue;
            }
            tokio::select! {
                biased;
                () = self.server.stopping.cancelled() => self.ended = true,
                () = tokio::time::sleep_until(self.deadline) => self.end(&mut out),
                signal = self.events.next() => self.append_signals(&mut out, signal),
                _ = self.tick.tick(), if self.bookmarks => self.append_bookmark(&mut out, self.delivered, false),
            }
        }
        (!out.is_empty()).then(|| out.freeze())
    }

    /// As upstream: a client that takes bookmarks gets a last one when its time is up.
    fn end(&mut self, out: &mut BytesMut) {
        self.ended = true;
        if self.bookmarks {
            self.append_bookmark(out, self.delivered, false);
        }
    }

    fn append_initial(&mut self, out: &mut BytesMut) {
        while out.len() < MAX_CHUNK_BYTES {
            let Some(entry) = self.initial.pop_front() else { break };
            if self.selection.matches(&self.server.registry.facts, self.kind, &entry) {
                self.append_object(out, "ADDED", &entry, entry.mod_revision);
            }
        }
        if self.initial.is_empty()
            && let Some(revision) = self.initial_end.take()
        {
            self.append_bookmark(out, revision, true);
        }
    }

    /// Takes this signal and all that are ready behind it.
    fn append_signals(&mut self, out: &mut BytesMut, mut signal: Option<Result<Signal, Error>>) {
        loop {
            match signal {
                Some(Ok(Signal::Event(event))) => self.append_change(out, &event),
                Some(Ok(Signal::Progress(revision))) => self.delivered = self.delivered.max(revision),
                // Ending is enough: the client watches again from where it was, and lists again if that is gone.
                Some(Err(Error::Lagged)) | None => self.ended = true,
                Some(Err(error)) => {
                    let status = expired(&error).to_value();
                    out.extend_from_slice(format!("{}\n", json!({ "type": "ERROR", "object": status })).as_bytes());
                    self.ended = true;
                }
            }
            if self.ended || out.len() >= MAX_CHUNK_BYTES {
                return;
            }
            match self.events.next().now_or_never() {
                Some(next) => signal = next,
                None => return,
            }
        }
    }

    fn append_change(&mut self, out: &mut BytesMut, event: &Event) {
        let facts: &Cache = &self.server.registry.facts;
        let selected = |entry: &Entry| self.selection.matches(facts, self.kind, entry);
        let before = event.previous.as_ref().is_some_and(selected);
        // The entry of a delete is the one that was: it counts for what the client had, not for what it gets.
        let after = !event.deleted && selected(&event.entry);
        let had = if event.deleted { selected(&event.entry) } else { before };
        self.delivered = event.revision;
        match (had, after) {
            (false, false) => {}
            (false, true) => self.append_object(out, "ADDED", &event.entry, event.revision),
            (true, true) => self.append_object(out, "MODIFIED", &event.entry, event.revision),
            (true, false) => {
                // As upstream: a client that loses sight of an object gets it as it last saw it, at the new revision.
                let last = event.previous.as_ref().filter(|_| !event.deleted).unwrap_or(&event.entry);
                self.append_object(out, "DELETED", last, event.revision);
            }
        }
    }

    fn append_object(&mut self, out: &mut BytesMut, kind: &str, entry: &Entry, revision: Revision) {
        let start = out.len();
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        if let Err(status) = self.projection.append_event(out, entry, revision, self.first) {
            out.truncate(start);
            out.extend_from_slice(format!("{}\n", json!({ "type": "ERROR", "object": status.to_value() })).as_bytes());
            self.ended = true;
            return;
        }
        out.extend_from_slice(b"}\n");
        self.first = false;
    }

    fn append_bookmark(&mut self, out: &mut BytesMut, revision: Revision, initial_end: bool) {
        let object = self.projection.bookmark(revision, initial_end);
        out.extend_from_slice(format!("{}\n", json!({ "type": "BOOKMARK", "object": object })).as_bytes());
    }
}

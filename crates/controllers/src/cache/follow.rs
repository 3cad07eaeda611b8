//! List, then watch, then list again when the server has forgotten where we were.

use std::time::Duration;

use futures::StreamExt;
use http::{Request, header::ACCEPT};
use kube::{Client, api::WatchEvent};

use super::Object;
use crate::{
    api::{self, Error},
    list::Page,
};

/// Objects a page of a list: about 2 MB of pods, so that neither side holds much at once.
const PAGE_OBJECTS: usize = 500;
/// The server ends a watch after this long; a fresh one goes on from where it was. Upstream's clients take 5 to 10 minutes.
const WATCH_SECONDS: u32 = 480;
/// First and longest pause after a failure; it doubles in between.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where objects come from.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) client: Client,
    /// Path of the collection.
    pub(crate) path: String,
    /// Field selector, empty for everything.
    pub(crate) fields: &'static str,
    /// Metadata alone, or whole objects.
    pub(crate) metadata_only: bool,
}

/// What became known.
pub(crate) enum Update<T> {
    /// This is everything there is.
    All { objects: Vec<T>, revision: u64 },
    /// An object is new or has changed.
    Set { object: T, revision: u64 },
    /// An object is gone; this is how it was last.
    Gone { object: T, revision: u64 },
    /// Nothing up to here concerns us.
    Bookmark { revision: u64 },
}

/// Tells `sink` what is there and then of every change, for ever.
pub(crate) async fn follow<T: Object>(source: &Source, mut sink: impl FnMut(Update<T>)) {
    let mut pause = FIRST_PAUSE;
    let mut known: Option<String> = None;
    loop {
        let outcome = match known.take() {
            None => list(source).await.map(|(objects, revision)| {
                sink(Update::All { objects, revision: revision.parse().unwrap_or(0) });
                Some(revision)
            }),
            Some(revision) => watch(source, revision, &mut sink).await,
        };
        match outcome {
            Ok(revision) => {
                known = revision;
                pause = FIRST_PAUSE;
            }
            Err(error) => {
                if !error.is_gone() {
                    tracing::debug!(path = source.path, %error, "list or watch failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

impl Source {
    fn accept(&self, list: bool) -> &'static str {
        match (self.metadata_only, list) {
            (false, _) => "application/json",
            (true, true) => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            (true, false) => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        }
    }

    fn fields(&self) -> String {
        if self.fields.is_empty() { String::new() } else { format!("&fieldSelector={}", self.fields.replace('=', "%3D")) }
    }
}

/// Everything there is, and the revision at which that is so.
async fn list<T: Object>(source: &Source) -> Result<(Vec<T>, String), Error> {
    let mut objects = Vec::new();
    let mut token = String::new();
    loop {
        let query = format!("{}?limit={PAGE_OBJECTS}{}{token}", source.path, source.fields());
        let page: Page<T> = api::get(&source.client, &query, source.accept(true)).await?;
        let next = page.next();
        objects.extend(page.items);
        match next {
            Some(next) => token = next,
            None => return Ok((objects, page.metadata.resource_version.unwrap_or_default())),
        }
    }
}

/// Every change after `revision`, until the server ends the watch; where to go on then, or `None` if only a list helps.
async fn watch<T: Object>(
    source: &Source,
    mut revision: String,
    sink: &mut impl FnMut(Update<T>),
) -> Result<Option<String>, Error> {
    let query = format!(
        "{}?watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={revision}{}",
        source.path,
        source.fields()
    );
    let request = Request::get(query).header(ACCEPT, source.accept(false)).body(Vec::new());
    let request = request.map_err(|error| Error::Unreadable(error.to_string()))?;
    let events = source.client.request_events::<T>(request).await.map_err(refusal)?;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event.map_err(refusal)? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                note(&mut revision, &object);
                sink(Update::Set { revision: api::revision(object.meta()), object });
            }
            WatchEvent::Deleted(object) => {
                note(&mut revision, &object);
                sink(Update::Gone { revision: api::revision(object.meta()), object });
            }
            WatchEvent::Bookmark(bookmark) => {
                revision = bookmark.metadata.resource_version;
                sink(Update::Bookmark { revision: revision.parse().unwrap_or(0) });
            }
            WatchEvent::Error(status) => return Err(refusal(kube::Error::Api(status))),
        }
    }
    Ok(Some(revision))
}

fn note<T: Object>(revision: &mut String, object: &T) {
    if let Some(newer) = &object.meta().resource_version {
        revision.clone_from(newer);
    }
}

fn refusal(error: kube::Error) -> Error {
    match error {
        kube::Error::Api(status) => {
            Error::Refused { code: status.code, reason: status.reason, message: status.message, causes: Vec::new() }
        }
        other => Error::Unreachable(other.to_string()),
    }
}

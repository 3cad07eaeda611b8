//! Events: told once, counted when they repeat, and held back when an object has too much to say.
//!
//! The figures are upstream's (`client-go/tools/record`): they keep a thousand pods of one ReplicaSet from becoming a
//! thousand Events.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    Resource,
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::Client;
use serde_json::json;
use tokio::sync::mpsc;
use windlass_planner::{note::Note, seconds};

use crate::{
    api::{self, Error},
    options::Clock,
};

/// Events that wait to be written; beyond it they are dropped, as nothing depends on them.
const WAITING_EVENTS: usize = 4096;
/// Texts of one reason about one object within [`SIMILAR_WITHIN`] after which they are told as one.
const SIMILAR_TEXTS: usize = 10;
const SIMILAR_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// Events that one component may tell of one object at once, and how often one more.
const BURST: f64 = 25.0;
const SECONDS_PER_EVENT: f64 = 300.0;
/// How far what is told at one instant may spread.
const ONE_MOMENT: SignedDuration = SignedDuration::from_millis(1);
/// Subjects and Events remembered; past that, memory starts afresh and repeats are told as new.
const REMEMBERED: usize = 4096;

/// Takes Events from the controllers.
#[derive(Clone)]
pub(crate) struct Recorder {
    told: mpsc::Sender<Told>,
    clock: Clock,
    /// The latest moment given.
    latest: Arc<Mutex<Timestamp>>,
}

/// When something happened: no two of one recorder are the same, so that they can name Events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment(Timestamp);

#[derive(Debug)]
struct Told {
    component: &'static str,
    about: ObjectReference,
    note: Note,
    at: Moment,
}

/// The reference by which an Event names the object it is about.
pub(crate) fn reference<K: Resource>(meta: &ObjectMeta) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        resource_version: meta.resource_version.clone(),
        uid: meta.uid.clone(),
        field_path: None,
    }
}

impl Recorder {
    /// A recorder and the task that writes for it, which ends when the last recorder is gone.
    pub(crate) fn new(client: Client, clock: Clock) -> (Self, impl Future<Output = ()> + Send) {
        let (told, mut waiting) = mpsc::channel(WAITING_EVENTS);
        let writer = async move {
            let mut memory = Memory::default();
            while let Some(told) = waiting.recv().await {
                if let Err(error) = write(&client, &mut memory, told).await {
                    tracing::debug!(%error, "an Event was not written");
                }
            }
        };
        (Self { told, clock, latest: Arc::default() }, writer)
    }

    /// Now, for what is told once it has succeeded but must be dated before what follows from it.
    pub(crate) fn moment(&self) -> Moment {
        let now = (self.clock)();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back is followed.
        let is_taken = latest.duration_since(now) < ONE_MOMENT && *latest >= now;
        *latest = if is_taken { latest.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(now) } else { now };
        Moment(*latest)
    }

    /// Tells of an object of kind `K`. Never waits and never fails: an Event too many is dropped.
    pub(crate) fn tell<K: Resource>(&self, component: &'static str, about: &ObjectMeta, note: Note) {
        self.tell_of::<K>(self.moment(), component, about, note);
    }

    /// As [`tell`](Self::tell), of what happened `at` a moment before.
    pub(crate) fn tell_of<K: Resource>(&self, at: Moment, component: &'static str, about: &ObjectMeta, note: Note) {
        let told = Told { component, about: reference::<K>(about), note, at };
        if self.told.try_send(told).is_err() {
            tracing::debug!("an Event was dropped: too many wait");
        }
    }
}

async fn write(client: &Client, memory: &mut Memory, told: Told) -> Result<(), Error> {
    let Moment(at) = told.at;
    let Some(known) = memory.admit(&told) else { return Ok(()) };
    if known.count > 1 {
        let meta =
            ObjectMeta { namespace: Some(known.namespace.clone()), name: Some(known.name.clone()), ..ObjectMeta::default() };
        let change = json!({"count": known.count, "lastTimestamp": seconds(at), "message": known.message});
        match api::merge::<Event>(client, &meta, &change).await {
            Err(error) if error.is_not_found() => known.count = 1,
            other => return other.map(drop),
        }
    }
    known.name = event_name(&told.about, at);
    known.first = seconds(at);
    api::create(client, &event(&told, known)).await.map(drop)
}

fn event_name(about: &ObjectReference, at: Timestamp) -> String {
    format!("{}.{:x}", about.name.as_deref().unwrap_or_default(), at.as_nanosecond())
}

fn event(told: &Told, known: &Known) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(known.name.clone()),
            namespace: Some(known.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: told.about.clone(),
        reason: Some(told.note.reason.to_owned()),
        message: Some(known.message.clone()),
        source: Some(EventSource { component: Some(told.component.to_owned()), host: None }),
        reporting_component: Some(told.component.to_owned()),
        reporting_instance: Some(String::new()),
        first_timestamp: Some(known.first.clone()),
        last_timestamp: Some(seconds(told.at.0)),
        count: Some(known.count),
        type_: Some(told.note.severity.as_str().to_owned()),
        ..Event::default()
    }
}

/// What was told before.
#[derive(Default)]
struct Memory {
    /// By component and object: what it may still say.
    budgets: BTreeMap<String, Budget>,
    /// By component, object, severity and reason: the texts of late.
    similar: BTreeMap<String, Similar>,
    /// By that and the text: the Event it was told in.
    known: BTreeMap<String, Known>,
}

struct Budget {
    events: f64,
    since: Timestamp,
}

struct Similar {
    texts: BTreeSet<String>,
    since: Timestamp,
}

struct Known {
    namespace: String,
    name: String,
    message: String,
    count: i32,
    first: Time,
}

impl Memory {
    /// The Event to write for this, with its count; `None` if the object has said enough for now.
    fn admit(&mut self, told: &Told) -> Option<&mut Known> {
        let Moment(now) = told.at;
        let about = &told.about;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let namespace =
            Some(text(&about.namespace)).filter(|namespace| !namespace.is_empty()).unwrap_or_else(|| "default".to_owned());
        let subject =
            format!("{} {} {} {} {}", told.component, text(&about.kind), namespace, text(&about.name), text(&about.uid));
        let group = format!("{subject} {} {}", told.note.severity.as_str(), told.note.reason);
        let combined = self.is_one_of_many(&group, &told.note.message, now);
        let mut key = group;
        let message = if combined {
            format!("(combined from similar events): {}", told.note.message)
        } else {
            // Writing to a String does not fail.
            let _ = write!(key, " {}", told.note.message);
            told.note.message.clone()
        };
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let known = self.known.entry(key).or_insert_with(|| Known {
            namespace,
            name: String::new(),
            message: String::new(),
            count: 0,
            first: Time(now),
        });
        known.count = known.count.saturating_add(1);
        known.message = message;
        spend(&mut self.budgets, subject, now).then_some(known)
    }

    fn is_one_of_many(&mut self, group: &str, message: &str, now: Timestamp) -> bool {
        if self.similar.len() >= REMEMBERED {
            self.similar.clear();
        }
        let fresh = || Similar { texts: BTreeSet::new(), since: now };
        let similar = self.similar.entry(group.to_owned()).or_insert_with(fresh);
        if now.duration_since(similar.since) > SIMILAR_WITHIN {
            *similar = fresh();
        }
        similar.since = now;
        if similar.texts.len() < SIMILAR_TEXTS {
            similar.texts.insert(message.to_owned());
            return similar.texts.len() >= SIMILAR_TEXTS;
        }
        true
    }
}

fn spend(budgets: &mut BTreeMap<String, Budget>, subject: String, now: Timestamp) -> bool {
    if budgets.len() >= REMEMBERED {
        budgets.clear();
    }
    let budget = budgets.entry(subject).or_insert(Budget { events: BURST, since: now });
    let earned = now.duration_since(budget.since).as_secs_f64().max(0.0) / SECONDS_PER_EVENT;
    budget.events = (budget.events + earned).min(BURST);
    budget.since = now;
    let allowed = budget.events >= 1.0;
    if allowed {
        budget.events -= 1.0;
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: &str, second: i64) -> Told {
        let about = ObjectReference { name: Some("web".to_owned()), ..ObjectReference::default() };
        let at = Moment(Timestamp::from_second(second).unwrap());
        Told { component: "test", about, note: Note::normal("Made", message), at }
    }

    #[test]
    fn moments_of_one_instant_differ_and_a_clock_that_is_set_back_is_followed() {
        let now = Arc::new(Mutex::new(Timestamp::from_second(1_000).unwrap()));
        let clock = Arc::clone(&now);
        let recorder =
            Recorder { told: mpsc::channel(1).0, clock: Arc::new(move || *clock.lock().unwrap()), latest: Arc::default() };
        let moment = || recorder.moment().0.as_nanosecond();
        let first = moment();
        assert_eq!([moment(), moment()], [first + 1, first + 2]);
        *now.lock().unwrap() = Timestamp::from_second(500).unwrap();
        assert_eq!(moment(), 500_000_000_000);
    }

    #[test]
    fn the_same_text_is_counted() {
        let mut memory = Memory::default();
        let counts: Vec<i32> = (0..3).map(|second| memory.admit(&told("a", second)).unwrap().count).collect();
        assert_eq!(counts, [1, 2, 3]);
    }

    #[test]
    fn many_similar_texts_become_one_event_and_then_silence() {
        let mut memory = Memory::default();
        let outcomes: Vec<Option<String>> =
            (0..40).map(|number| memory.admit(&told(&format!("pod {number}"), 0)).map(|known| known.message.clone())).collect();
        assert_eq!(outcomes[8].as_deref(), Some("pod 8"));
        assert_eq!(outcomes[9].as_deref(), Some("(combined from similar events): pod 9"));
        assert_eq!(outcomes.iter().flatten().count(), 25);
        assert!(memory.admit(&told("late", 301)).is_some());
    }
}

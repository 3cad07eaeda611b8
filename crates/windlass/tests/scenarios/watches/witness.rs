//! What a watcher must see: objects that live by a script, and a witness that holds what it is shown against it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;

/// Counted from 1; at step 0 an object has never been.
pub(super) type Step = usize;
pub(super) type Revision = u64;

/// What an object is after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Gone,
    Red,
    Blue,
}

use State::{Blue, Gone, Red};

/// Every object goes through this again and again. Each way from one state to another is in it, so what has to be seen next
/// follows from what was seen last, whatever the selector.
const LIFE: [State; 11] = [Gone, Blue, Blue, Red, Red, Blue, Red, Gone, Red, Red, Blue];

pub(super) fn state(step: Step) -> State {
    LIFE[step % LIFE.len()]
}

pub(super) const NAMESPACES: usize = 4;

/// An object of the script, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object(pub(super) usize);

impl Object {
    pub(super) fn name(self) -> String {
        format!("object-{}", self.0)
    }

    pub(super) fn namespace(self) -> String {
        namespace(self.0 % NAMESPACES)
    }
}

pub(super) fn namespace(number: usize) -> String {
    format!("watched-{number}")
}

/// Object and step that a ConfigMap shows; `None` for those of others.
pub(super) fn read(config_map: &ConfigMap) -> Result<Option<(Object, Step)>> {
    let Some(step) = config_map.data.as_ref().and_then(|data| data.get("step")) else { return Ok(None) };
    let name = config_map.name_any();
    let object = Object(name.strip_prefix("object-").context("a step in an object of others")?.parse()?);
    let step = step.parse()?;
    let colour = match config_map.labels().get("colour").map(String::as_str) {
        Some("red") => Red,
        Some("blue") => Blue,
        other => bail!("{name} has the colour {other:?}"),
    };
    ensure!(colour == state(step), "{name} is {colour:?} at step {step}");
    ensure!(config_map.namespace() == Some(object.namespace()), "{name} is in the namespace {:?}", config_map.namespace());
    Ok(Some((object, step)))
}

pub(super) fn revision(config_map: &ConfigMap) -> Result<Revision> {
    Ok(config_map.resource_version().context("no resourceVersion")?.parse()?)
}

/// The revision of each step, as its writer was told or as the first watcher saw it. All have to agree.
#[derive(Debug)]
pub(super) struct Ledger(Vec<Mutex<BTreeMap<Step, Revision>>>);

impl Ledger {
    pub(super) fn new(objects: usize) -> Self {
        Self((0..objects).map(|_| Mutex::default()).collect())
    }

    pub(super) fn agree(&self, object: Object, step: Step, revision: Revision) -> Result<()> {
        let known = *self.0[object.0].lock().unwrap().entry(step).or_insert(revision);
        ensure!(known == revision, "step {step} of {} is of revision {known}, and then of {revision}", object.name());
        Ok(())
    }

    pub(super) fn revision(&self, object: Object, step: Step) -> Option<Revision> {
        self.0[object.0].lock().unwrap().get(&step).copied()
    }

    /// The steps of an object in the order of their revisions, which is that of the script.
    fn history(&self, object: usize) -> Result<Vec<(Revision, Step)>> {
        let history: Vec<(Revision, Step)> = self.0[object].lock().unwrap().iter().map(|(step, at)| (*at, *step)).collect();
        ensure!(history.is_sorted(), "the steps of {} are not in the order of their revisions", Object(object).name());
        Ok(history)
    }
}

/// Which objects a watcher asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sight {
    pub(super) namespace: Option<usize>,
    pub(super) name: Option<Object>,
    pub(super) colours: Colours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    Any,
    Red,
    NotRed,
}

impl Sight {
    fn covers(&self, object: Object) -> bool {
        self.namespace.is_none_or(|number| object.0 % NAMESPACES == number) && self.name.is_none_or(|name| name == object)
    }

    fn selects(&self, step: Step) -> bool {
        match (state(step), self.colours) {
            (Gone, _) => false,
            (_, Colours::Any) => true,
            (state, Colours::Red) => state == Red,
            (state, Colours::NotRed) => state != Red,
        }
    }

    /// The type of event that a step comes as; `None` if it is not seen.
    fn event(&self, step: Step) -> Option<&'static str> {
        match (self.selects(step - 1), self.selects(step)) {
            (false, false) => None,
            (false, true) => Some("ADDED"),
            (true, true) => Some("MODIFIED"),
            (true, false) => Some("DELETED"),
        }
    }

    /// The last step up to this one that is seen; 0 if there is none.
    fn last(&self, step: Step) -> Step {
        (1..=step).rev().find(|step| self.event(*step).is_some()).unwrap_or(0)
    }
}

/// What a witness knows of an object.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The last step it saw.
    step: Step,
    /// A list has left the object out since: steps may have been missed, but up to that list.
    jumped: bool,
    /// What it knows was so at this revision.
    at: Revision,
}

/// No step of the object can have been seen after one revision and up to the other.
#[derive(Debug)]
struct Silence(Object, Revision, Revision);

/// One watcher's view.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) sight: Sight,
    ledger: Arc<Ledger>,
    objects: BTreeMap<Object, Known>,
    /// Everything up to here has been shown.
    pub(super) revision: Revision,
    /// To be held against the ledger when it is complete.
    silences: Vec<Silence>,
}

impl Witness {
    pub(super) fn new(sight: Sight, ledger: &Arc<Ledger>) -> Self {
        let objects = (0..ledger.0.len()).map(Object).filter(|object| sight.covers(*object));
        let objects = objects.map(|object| (object, Known { step: 0, jumped: false, at: 0 })).collect();
        Self { sight, ledger: Arc::clone(ledger), objects, revision: 0, silences: Vec::new() }
    }

    pub(super) fn bookmark(&mut self, revision: Revision) -> Result<()> {
        ensure!(revision >= self.revision, "a bookmark goes back from {} to {revision}", self.revision);
        self.revision = revision;
        Ok(())
    }

    pub(super) fn event(&mut self, kind: &str, config_map: &ConfigMap) -> Result<()> {
        let at = revision(config_map)?;
        ensure!(at > self.revision, "{kind} {} at {at} after {}", config_map.name_any(), self.revision);
        self.revision = at;
        let Some((object, shown)) = read(config_map)? else { return Ok(()) };
        // What is lost from sight is shown as it was.
        let step = if kind == "DELETED" { shown + 1 } else { shown };
        let known = self.objects.get_mut(&object).context("an object that was not asked for")?;
        let expected = (known.step + 1..).find(|step| self.sight.event(*step).is_some());
        let in_turn = if known.jumped { kind == "ADDED" && step > known.step } else { expected == Some(step) };
        ensure!(
            in_turn && self.sight.event(step) == Some(kind),
            "{kind} {} at {at} is of step {step} where {expected:?} was expected after {known:?}",
            object.name()
        );
        if known.jumped {
            self.silences.push(Silence(object, known.at, at - 1));
        }
        *known = Known { step, jumped: false, at };
        self.ledger.agree(object, step, at)
    }

    /// A list, or the initial events of a watch: what there is at a revision.
    pub(super) fn list(&mut self, revision: Revision, items: &[ConfigMap]) -> Result<()> {
        ensure!(revision >= self.revision, "a list goes back from {} to {revision}", self.revision);
        let mut listed = BTreeMap::new();
        for config_map in items {
            let at = self::revision(config_map)?;
            ensure!(at <= revision, "{} of revision {at} in a list of {revision}", config_map.name_any());
            let Some((object, step)) = read(config_map)? else { continue };
            ensure!(self.sight.selects(step), "{} at step {step} was not asked for", object.name());
            ensure!(self.objects.contains_key(&object), "{} was not asked for", object.name());
            ensure!(listed.insert(object, step).is_none(), "{} is listed twice", object.name());
            self.ledger.agree(object, step, at)?;
        }
        for (object, known) in &mut self.objects {
            self.silences.push(Silence(*object, known.at, self.revision));
            let step = listed.get(object).copied().unwrap_or(known.step);
            ensure!(step >= known.step, "{} goes back from step {} to {step} in a list", object.name(), known.step);
            *known = Known { step, jumped: !listed.contains_key(object), at: revision };
        }
        self.revision = revision;
        Ok(())
    }

    /// Whether everything was seen, now that each object has made its last step and the ledger is complete.
    pub(super) fn finish(mut self, last: &[Step]) -> Result<()> {
        for (object, known) in &self.objects {
            self.silences.push(Silence(*object, known.at, self.revision));
            let last = self.sight.last(last[object.0]);
            let seen = known.step == last || known.jumped && !self.sight.selects(last);
            ensure!(seen, "{} was seen to step {} of {last}", object.name(), known.step);
        }
        let histories = (0..self.ledger.0.len()).map(|object| self.ledger.history(object)).collect::<Result<Vec<_>>>()?;
        for Silence(object, after, until) in self.silences {
            let history = &histories[object.0];
            let missed = history[history.partition_point(|(at, _)| *at <= after)..].iter().take_while(|(at, _)| *at <= until);
            let missed: Vec<_> = missed.filter(|(_, step)| self.sight.event(*step).is_some()).collect();
            ensure!(missed.is_empty(), "{} made steps that were not seen: {missed:?}", object.name());
        }
        Ok(())
    }
}

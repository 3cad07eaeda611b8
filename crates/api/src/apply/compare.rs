//! What a write added, changed and took away.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::set::Set;
use super::types::{Atom, Ty, element_step, is_unowned};
use crate::schema::{Field, Message};

/// The fields in which two objects differ.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// What the new object says otherwise than the old one.
    pub(super) fn written(&self) -> Set {
        let mut written = self.modified.clone();
        written.unite(&self.added);
        written
    }
}

/// One step of the path; spelled out only where something differs.
#[derive(Debug, Clone)]
enum Step<'a> {
    Field(&'a str),
    Element(String),
}

impl Step<'_> {
    fn spelled(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Element(step) => step.clone(),
        }
    }
}

/// Compares two objects of one type; `apiVersion`, `kind` and the metadata that the server keeps are left out.
pub(super) fn compare(message: &'static Message, old: &Value, new: &Value) -> Difference {
    let mut walk = Walk { path: Vec::new(), found: Difference::default() };
    let none = Map::new();
    let (old, new) = (old.as_object().unwrap_or(&none), new.as_object().unwrap_or(&none));
    walk.fields(old, new, |key| message.field(key).map_or(Ty::Any, Ty::Field));
    walk.found
}

struct Walk<'a> {
    path: Vec<Step<'a>>,
    found: Difference,
}

impl<'a> Walk<'a> {
    fn fields(&mut self, old: &'a Map<String, Value>, new: &'a Map<String, Value>, ty: impl Fn(&str) -> Ty) {
        let parent = match self.path.as_slice() {
            [] => Some(None),
            [Step::Field(name)] => Some(Some(*name)),
            _ => None,
        };
        let owned = |key: &str| parent.is_none_or(|parent| !is_unowned(parent, key));
        for (key, value) in old.iter().filter(|(key, _)| owned(key)) {
            self.descend(Step::Field(key), ty(key), Some(value), new.get(key));
        }
        for (key, value) in new.iter().filter(|(key, _)| owned(key) && !old.contains_key(*key)) {
            self.descend(Step::Field(key), ty(key), None, Some(value));
        }
    }

    fn descend(&mut self, step: Step<'a>, ty: Ty, old: Option<&'a Value>, new: Option<&'a Value>) {
        self.path.push(step);
        self.values(ty, old, new);
        self.path.pop();
    }

    fn values(&mut self, ty: Ty, old: Option<&'a Value>, new: Option<&'a Value>) {
        let none: &'static Map<String, Value> = empty();
        match (old.map(|old| ty.atom(old)), new.map(|new| ty.atom(new))) {
            (Some(Atom::Struct(message, old)), Some(Atom::Struct(_, new))) => self.message(message, old, new),
            (Some(Atom::Map(ty, old)), Some(Atom::Map(_, new))) => self.fields(old, new, |_| ty),
            (Some(Atom::List(field, old)), Some(Atom::List(_, new))) => self.elements(field, old, new),
            (None, Some(Atom::Struct(message, new))) if !new.is_empty() => {
                self.message(message, none, new);
                if ty.can_be_absent() {
                    self.found.added.insert(self.spelled());
                }
            }
            (None, Some(Atom::Map(ty, new))) => {
                self.fields(none, new, |_| ty);
                self.found.added.insert(self.spelled());
            }
            (None, Some(Atom::List(field, new))) => {
                self.elements(field, &[], new);
                self.found.added.insert(self.spelled());
            }
            (Some(atom), None) => {
                match atom {
                    Atom::Leaf => {}
                    Atom::Struct(message, old) => self.message(message, old, none),
                    Atom::Map(ty, old) => self.fields(old, none, |_| ty),
                    Atom::List(field, old) => self.elements(field, old, &[]),
                }
                self.found.removed.insert(self.spelled());
            }
            (None, Some(_)) => self.found.added.insert(self.spelled()),
            (Some(_), Some(_)) if old != new => self.found.modified.insert(self.spelled()),
            _ => {}
        }
    }

    fn message(&mut self, message: &'static Message, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        self.fields(old, new, |key| message.field(key).map_or(Ty::Any, Ty::Field));
    }

    fn elements(&mut self, field: &'static Field, old: &'a [Value], new: &'a [Value]) {
        if old == new {
            return;
        }
        let identified = |items: &'a [Value]| -> Vec<(String, &'a Value)> {
            items.iter().filter_map(|item| Some((element_step(field, item).ok()?, item))).collect()
        };
        let (old, new) = (identified(old), identified(new));
        let by_step: HashMap<&str, &'a Value> = new.iter().map(|(step, item)| (step.as_str(), *item)).collect();
        for (step, item) in &old {
            self.element(field, step, Some(item), by_step.get(step.as_str()).copied());
        }
        let known: HashMap<&str, ()> = old.iter().map(|(step, _)| (step.as_str(), ())).collect();
        for (step, item) in new.iter().filter(|(step, _)| !known.contains_key(step.as_str())) {
            self.element(field, step, None, Some(item));
        }
    }

    fn element(&mut self, field: &'static Field, step: &str, old: Option<&'a Value>, new: Option<&'a Value>) {
        self.path.push(Step::Element(step.to_owned()));
        self.values(Ty::Element(field), old, new);
        // An element is owned itself, beside what is in it.
        if old.is_none() {
            self.found.added.insert(self.spelled());
        }
        self.path.pop();
    }

    fn spelled(&self) -> Vec<String> {
        self.path.iter().map(Step::spelled).collect()
    }
}

fn empty() -> &'static Map<String, Value> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    EMPTY.get_or_init(Map::new)
}

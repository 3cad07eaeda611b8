//! How an object falls apart into fields that can have owners.

use serde_json::{Map, Value};

use super::set::Set;
use crate::schema::{Field, ListType, Message, Shape, Type};

/// What the schema says about one place in an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ty {
    /// An object of that type.
    Message(&'static Message),
    /// The value of a field, lists and maps included.
    Field(&'static Field),
    /// One element of a field that is a list or a map.
    Element(&'static Field),
    /// Anything: objects are taken apart, lists are not.
    Any,
}

/// How one value is owned.
#[derive(Debug, Clone, Copy)]
pub(super) enum Atom<'a> {
    /// As a whole.
    Leaf,
    /// Field by field.
    Struct(&'static Message, &'a Map<String, Value>),
    /// Key by key.
    Map(Ty, &'a Map<String, Value>),
    /// Element by element: a set of scalars, or objects told apart by keys.
    List(&'static Field, &'a [Value]),
}

impl Ty {
    pub(super) fn atom(self, value: &Value) -> Atom<'_> {
        match (self, value) {
            (Self::Message(message), Value::Object(map)) if !message.atomic => Atom::Struct(message, map),
            (Self::Any, Value::Object(map)) => Atom::Map(Self::Any, map),
            (Self::Field(field), _) if field.atomic => Atom::Leaf,
            (Self::Field(field), value) => match (field.shape, value) {
                (Shape::One, value) => Self::Element(field).atom(value),
                (Shape::Map, Value::Object(map)) => Atom::Map(Self::Element(field), map),
                (Shape::List, Value::Array(items)) if field.list_type != ListType::Atomic => Atom::List(field, items),
                _ => Atom::Leaf,
            },
            (Self::Element(field), value) => match field.ty {
                Type::RawExtension => Self::Any.atom(value),
                _ => field.message().map_or(Atom::Leaf, |message| Self::Message(message).atom(value)),
            },
            _ => Atom::Leaf,
        }
    }

    /// Whether writing an object here is a choice of its own, beside what is in it.
    pub(super) fn can_be_absent(self) -> bool {
        matches!(self, Self::Field(field) if field.pointer)
    }

    /// The place that one step of a [`Set`] leads to.
    pub(super) fn step(self, step: &str) -> Self {
        match self {
            Self::Message(message) => step.strip_prefix("f:").and_then(|name| message.field(name)).map_or(Self::Any, Self::Field),
            Self::Field(field) if field.shape == Shape::One => Self::Element(field).step(step),
            Self::Field(field) => Self::Element(field),
            Self::Element(field) => field.message().map_or(Self::Any, |message| Self::Message(message).step(step)),
            Self::Any => Self::Any,
        }
    }

    /// Whether a step leads to a field that the schema names, rather than to a key or an element.
    fn names(self, step: &str) -> bool {
        match self {
            Self::Message(message) => step.strip_prefix("f:").is_some_and(|name| message.field(name).is_some()),
            Self::Field(field) if field.shape == Shape::One => Self::Element(field).names(step),
            Self::Element(field) => field.message().is_some_and(|message| Self::Message(message).names(step)),
            Self::Field(_) | Self::Any => false,
        }
    }

    /// The set, and the fields that the schema names on the way to its members.
    ///
    /// Nobody says that they own `spec` when they own `spec.replicas`; when nobody owns anything in it, it can go.
    pub(super) fn with_named_fields(self, set: &Set) -> Set {
        let children = set.children().map(|(step, child)| {
            let mut named = self.step(step).with_named_fields(child);
            if self.names(step) {
                named = Set::build(true, named.children().map(|(step, child)| (step.to_owned(), child.clone())));
            }
            (step.to_owned(), named)
        });
        Set::build(set.is_member(), children)
    }
}

/// Why an element of a list has no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoIdentity(pub(super) String);

/// The step that leads to one element of a set or of a keyed list.
pub(super) fn element_step(field: &Field, item: &Value) -> Result<String, NoIdentity> {
    if field.list_type == ListType::Set {
        return match item {
            Value::Object(_) => Err(NoIdentity("associative list without keys has an element that's a map type".to_owned())),
            Value::Array(_) => Err(NoIdentity("not supported: associative list with lists as elements".to_owned())),
            Value::Null => Err(NoIdentity("associative list without keys has an element that's an explicit null".to_owned())),
            scalar => Ok(format!("v:{scalar}")),
        };
    }
    let Value::Object(map) = item else {
        let what = if item.is_null() { "a null element" } else { "non-map elements" };
        return Err(NoIdentity(format!("associative list with keys may not have {what}")));
    };
    let mut keys = Map::new();
    for key in field.list_keys() {
        let default = || {
            let default = field.message()?.field(key)?.default;
            (!default.is_empty()).then(|| serde_json::from_str(default).ok()).flatten()
        };
        let Some(value) = map.get(key).cloned().or_else(default) else {
            return Err(NoIdentity(format!(
                "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
            )));
        };
        keys.insert(key.to_owned(), value);
    }
    Ok(format!("k:{}", Value::Object(keys)))
}

/// Metadata that the server sets, or that names the object: nobody owns it.
const UNOWNED_METADATA: &[&str] = &[
    "creationTimestamp",
    "clusterName",
    "generation",
    "managedFields",
    "name",
    "namespace",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Whether a field of the object or of its metadata can have no owner.
pub(super) fn is_unowned(parent: Option<&str>, key: &str) -> bool {
    match parent {
        None => matches!(key, "apiVersion" | "kind"),
        Some("metadata") => UNOWNED_METADATA.contains(&key),
        Some(_) => false,
    }
}

/// All fields of an object that can have an owner; nothing of an element that has no identity.
pub(super) fn to_set(message: &'static Message, object: &Value) -> Set {
    let Some(map) = object.as_object() else { return Set::default() };
    let children = map.iter().filter(|(key, _)| !is_unowned(None, key)).map(|(key, value)| {
        let ty = message.field(key).map_or(Ty::Any, Ty::Field);
        let mut child = value_set(ty, value);
        if key == "metadata" {
            let owned = child.children().filter(|(step, _)| !is_unowned(Some("metadata"), step.trim_start_matches("f:")));
            child = Set::build(false, owned.map(|(step, child)| (step.to_owned(), child.clone())).collect::<Vec<_>>());
        }
        (format!("f:{key}"), child)
    });
    Set::build(false, children)
}

fn value_set(ty: Ty, value: &Value) -> Set {
    match ty.atom(value) {
        Atom::Leaf => Set::build(true, []),
        Atom::Struct(message, map) => {
            let fields = map.iter().map(|(key, value)| {
                let ty = message.field(key).map_or(Ty::Any, Ty::Field);
                (format!("f:{key}"), value_set(ty, value))
            });
            Set::build(map.is_empty(), fields)
        }
        Atom::Map(ty, map) => {
            let entries = map.iter().map(|(key, value)| (format!("f:{key}"), as_member(value_set(ty, value))));
            Set::build(map.is_empty(), entries)
        }
        Atom::List(field, items) => {
            let elements = items.iter().filter_map(|item| {
                let step = element_step(field, item).ok()?;
                Some((step, as_member(value_set(Ty::Element(field), item))))
            });
            Set::build(false, elements)
        }
    }
}

/// A key of a map or an element of a list is owned itself, beside what is in it.
fn as_member(mut set: Set) -> Set {
    set.insert([]);
    set
}

//! What upstream's strict decoder says about a body, in the order of the body.

use std::{
    cell::RefCell,
    collections::HashSet,
    fmt::{self, Write as _},
};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Field, Message, Shape};

/// As upstream: who makes more mistakes than this hears of the first ones.
const MAX_LINES: usize = 100;

/// One line for each field that the type does not have, `unknown field "spec.foo"`, and for each key that comes twice,
/// `duplicate field "spec.replicas"`. What lies below an unknown field is not looked at, and no line comes twice.
///
/// A body that is not JSON has no lines, or those up to where it breaks.
pub fn strict(message: &'static Message, body: &[u8]) -> Vec<String> {
    let state = RefCell::new(State::default());
    let node = Node { state: &state, below: Below::One(message) };
    // What breaks here has broken the decoder of the value before.
    let _ = node.deserialize(&mut serde_json::Deserializer::from_slice(body));
    state.into_inner().lines
}

#[derive(Default)]
struct State {
    path: String,
    lines: Vec<String>,
}

impl State {
    fn tell(&mut self, what: &str) {
        if self.lines.len() >= MAX_LINES {
            return;
        }
        let line = format!("{what} field \"{}\"", self.path.escape_debug());
        if !self.lines.contains(&line) {
            self.lines.push(line);
        }
    }
}

/// What a value should be.
#[derive(Clone, Copy)]
enum Below {
    One(&'static Message),
    List(&'static Message),
    Map(&'static Message),
    Anything,
}

impl Below {
    fn field(field: &Field) -> Self {
        match (field.message(), field.shape) {
            (None, _) => Self::Anything,
            (Some(message), Shape::One) => Self::One(message),
            (Some(message), Shape::List) => Self::List(message),
            (Some(message), Shape::Map) => Self::Map(message),
        }
    }

    /// What the value of a key should be; `None` where there is no such key.
    fn key(self, key: &str) -> Option<Self> {
        match self {
            Self::One(message) => match message.field(key) {
                Some(field) => Some(Self::field(field)),
                None => (message.kind && matches!(key, "apiVersion" | "kind")).then_some(Self::Anything),
            },
            Self::Map(message) => Some(Self::One(message)),
            Self::List(_) | Self::Anything => Some(Self::Anything),
        }
    }

    fn item(self) -> Self {
        if let Self::List(message) = self { Self::One(message) } else { Self::Anything }
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    state: &'a RefCell<State>,
    below: Below,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let length = self.state.borrow().path.len();
        let item = Self { below: self.below.item(), ..self };
        for index in 0usize.. {
            // Writing to a string cannot fail.
            let _ = write!(self.state.borrow_mut().path, "[{index}]");
            let found = items.next_element_seed(item)?;
            self.state.borrow_mut().path.truncate(length);
            if found.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let length = self.state.borrow().path.len();
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            {
                let mut state = self.state.borrow_mut();
                if length > 0 {
                    state.path.push('.');
                }
                state.path.push_str(&key);
            }
            match self.below.key(&key) {
                Some(below) => {
                    if !seen.insert(key) {
                        self.state.borrow_mut().tell("duplicate");
                    }
                    entries.next_value_seed(Self { below, ..self })?;
                }
                None => {
                    self.state.borrow_mut().tell("unknown");
                    entries.next_value::<IgnoredAny>()?;
                }
            }
            self.state.borrow_mut().path.truncate(length);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::message;

    fn lines(body: &str) -> Vec<String> {
        strict(message("apps", "v1", "Deployment").expect("apps/v1 has Deployment"), body.as_bytes())
    }

    #[test]
    fn in_the_order_of_the_body() {
        let body = r#"{"kind":"Deployment","metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},
            "spec":{"unknown1":1,"twice":{"a":1,"a":2},"twice":2,"paused":true,"paused":false,
            "template":{"spec":{"containers":[{"name":"c","more":1,"imagePullPolicy":"Always","imagePullPolicy":"Never"}]}}}}"#;
        assert_eq!(
            lines(body),
            [
                r#"duplicate field "metadata.name""#,
                r#"duplicate field "metadata.labels.x""#,
                r#"unknown field "spec.unknown1""#,
                r#"unknown field "spec.twice""#,
                r#"duplicate field "spec.paused""#,
                r#"unknown field "spec.template.spec.containers[0].more""#,
                r#"duplicate field "spec.template.spec.containers[0].imagePullPolicy""#,
            ]
        );
    }

    #[test]
    fn there_is_an_end_to_it() {
        let fields: Vec<String> = (0..1000).map(|index| format!("\"f{index}\":1")).collect();
        assert_eq!(lines(&format!("{{{}}}", fields.join(","))).len(), MAX_LINES);
    }
}

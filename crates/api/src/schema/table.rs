//! Reads the committed table of facts.

use super::{Field, ListType, Message, Shape, Type};

/// All packages and all their messages.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) packages: Vec<Package>,
    /// Package after package, by name within each.
    pub(super) messages: Vec<Message>,
}

/// One package: a range of the messages.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    group_version: &'static str,
    first: usize,
    end: usize,
}

impl Package {
    fn index(&self, messages: &[Message], name: &str) -> Option<usize> {
        let own = messages.get(self.first..self.end)?;
        own.binary_search_by(|message| message.name.cmp(name)).ok().map(|index| self.first + index)
    }

    pub(super) fn message<'a>(&self, messages: &'a [Message], name: &str) -> Option<&'a Message> {
        self.index(messages, name).and_then(|index| messages.get(index))
    }

    /// How types of other packages refer to it: `core` for `io.k8s.api.core.v1`, `autoscaling2` for its second version.
    fn is_called(&self, alias: &str) -> bool {
        let Some((rest, version)) = self.name.rsplit_once(".v") else { return false };
        let last = rest.rsplit('.').next().unwrap_or_default();
        let suffix = if version == "1" { "" } else { version };
        alias.strip_prefix(last) == Some(suffix)
    }
}

impl Table {
    pub(super) fn package(&self, group: &str, version: &str) -> Option<&Package> {
        self.packages.iter().find(|package| match package.group_version.split_once('/') {
            Some((known_group, known_version)) => known_group == group && known_version == version,
            None => group.is_empty() && package.group_version == version,
        })
    }

    /// The text is part of the build, and the tests of this module read all of it: a line that it cannot read is a defect
    /// of `cargo xtask schema`, and is passed over.
    pub(super) fn parse(text: &'static str) -> Self {
        let mut table = Self { packages: Vec::new(), messages: Vec::new() };
        let mut type_names: Vec<Vec<&'static str>> = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut words = line.split(' ');
            match (words.next(), words.next(), words.next()) {
                (Some("p"), Some(name), Some(group_version)) => {
                    let first = table.messages.len();
                    table.packages.push(Package { name, group_version, first, end: first });
                }
                (Some("m"), Some(name), flag) => {
                    let Some(package) = table.packages.last_mut() else { continue };
                    let (mut kind, mut atomic) = (false, false);
                    for flag in flag.into_iter().chain(words) {
                        kind |= flag == "kind";
                        atomic |= flag == "atomic";
                    }
                    package.end += 1;
                    let (package, group_version) = (package.name, package.group_version);
                    table.messages.push(Message { name, package, group_version, kind, atomic, fields: Vec::new() });
                    type_names.push(Vec::new());
                }
                (Some(name), Some(number), Some(spelled)) => {
                    if let (Some(message), Some(names)) = (table.messages.last_mut(), type_names.last_mut()) {
                        let (field, type_name) = field(name, number, spelled, words);
                        message.fields.push(field);
                        names.push(type_name);
                    }
                }
                _ => {}
            }
        }
        table.resolve(&type_names);
        table
    }

    /// Sorts for the searches, and turns names of messages into their places.
    fn resolve(&mut self, type_names: &[Vec<&'static str>]) {
        for package in &self.packages {
            debug_assert!(self.messages[package.first..package.end].is_sorted_by_key(|message| message.name));
            for (position, names) in (package.first..package.end).zip(&type_names[package.first..package.end]) {
                for (place, name) in names.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
                    let (owner, short) = match name.split_once('.') {
                        Some((alias, short)) => (self.packages.iter().find(|other| other.is_called(alias)), short),
                        None => (Some(package), *name),
                    };
                    let index = owner.and_then(|owner| owner.index(&self.messages, short));
                    if let Some(index) = index.and_then(|index| u16::try_from(index).ok()) {
                        self.messages[position].fields[place].ty = Type::Message(index);
                    }
                }
            }
        }
        for message in &mut self.messages {
            message.fields.sort_unstable_by_key(|field| field.name);
            message.fields.shrink_to_fit();
        }
    }
}

/// One field, and the name of its message where its type is one (resolved later; until then any object).
fn field(
    name: &'static str,
    number: &'static str,
    spelled: &'static str,
    flags: impl Iterator<Item = &'static str>,
) -> (Field, &'static str) {
    let (shape, element) = match (spelled.strip_prefix("[]"), spelled.strip_prefix("{}")) {
        (Some(element), _) => (Shape::List, element),
        (None, Some(element)) => (Shape::Map, element),
        (None, None) => (Shape::One, spelled),
    };
    let scalar = scalar(element);
    let mut field = Field {
        name,
        number: number.parse().unwrap_or_default(),
        via: 0,
        ty: scalar.unwrap_or(Type::RawExtension),
        shape,
        required: false,
        pointer: false,
        merge: false,
        retain_keys: false,
        replace: false,
        merge_key: "",
        list_type: ListType::Atomic,
        atomic: false,
        go_type: "",
        default: "",
        keys: "",
    };
    for flag in flags {
        match flag.split_once('=').unwrap_or((flag, "")) {
            ("!", _) => field.required = true,
            ("*", _) => field.pointer = true,
            ("via", number) => field.via = number.parse().unwrap_or_default(),
            ("go", name) => field.go_type = name,
            ("merge", key) => (field.merge, field.merge_key) = (true, key),
            ("retain", _) => field.retain_keys = true,
            ("replace", _) => field.replace = true,
            ("list", "set") => field.list_type = ListType::Set,
            ("list", kind) => {
                if let Some(keys) = kind.strip_prefix("map:") {
                    (field.list_type, field.keys) = (ListType::Map, keys);
                }
            }
            ("atomic", _) => field.atomic = true,
            ("default", json) => field.default = json,
            _ => {}
        }
    }
    (field, if scalar.is_some() { "" } else { element })
}

fn scalar(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "Quantity" => Type::Quantity,
        "Time" => Type::Time,
        "MicroTime" => Type::MicroTime,
        "IntOrString" => Type::IntOrString,
        "RawExtension" => Type::RawExtension,
        "FieldsV1" => Type::FieldsV1,
        "Strings" => Type::Strings,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_understood_and_every_reference_leads_somewhere() {
        let text = include_str!("facts.txt");
        let table = Table::parse(text);
        let fields = table.messages.iter().map(|message| message.fields.len()).sum::<usize>();
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(table.packages.len() + table.messages.len() + fields, lines);
        let opaque: Vec<_> = table
            .messages
            .iter()
            .flat_map(|message| message.fields.iter().map(move |field| (message.name, field)))
            .filter(|(_, field)| field.ty == Type::RawExtension)
            .map(|(message, field)| format!("{message}.{}", field.name))
            .collect();
        assert_eq!(opaque, ["List.items", "WatchEvent.object", "List.items", "ControllerRevision.data"]);
    }

    #[test]
    fn messages_of_each_package_are_sorted() {
        let table = Table::parse(include_str!("facts.txt"));
        for package in &table.packages {
            let names: Vec<_> = table.messages[package.first..package.end].iter().map(|message| message.name).collect();
            assert!(names.is_sorted(), "{}", package.name);
        }
    }

    fn contains(table: &Table, message: &Message, within: &mut Vec<&'static str>) -> bool {
        let name = message.name;
        if within.contains(&name) {
            return true;
        }
        within.push(name);
        let inner = message.fields.iter().filter_map(|field| match field.ty {
            Type::Message(index) => table.messages.get(usize::from(index)),
            _ => None,
        });
        let cyclic = inner.into_iter().any(|inner| contains(table, inner, within));
        within.pop();
        cyclic
    }

    #[test]
    fn no_message_contains_itself() {
        let table = Table::parse(include_str!("facts.txt"));
        for message in &table.messages {
            assert!(!contains(&table, message, &mut Vec::new()), "{}", message.name);
        }
    }
}

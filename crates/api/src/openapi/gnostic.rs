//! Swagger as protobuf: the messages of gnostic's `openapi.v2`, as far as [`super::v2_json`] uses them.
//!
//! The numbers are those of <https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto>.

use serde_json::{Map, Value};

use crate::codec::protobuf::wire::{write_bytes, write_number};

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn text(mut self, number: u32, value: Option<&Value>) -> Self {
        if let Some(text) = value.and_then(Value::as_str) {
            write_bytes(&mut self.0, number, text.as_bytes());
        }
        self
    }

    fn texts(mut self, number: u32, value: Option<&Value>) -> Self {
        for text in value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            write_bytes(&mut self.0, number, text.as_bytes());
        }
        self
    }

    fn flag(mut self, number: u32, value: Option<&Value>) -> Self {
        if value.and_then(Value::as_bool) == Some(true) {
            write_number(&mut self.0, number, 1);
        }
        self
    }

    fn inner(mut self, number: u32, inner: Option<Self>) -> Self {
        if let Some(inner) = inner {
            write_bytes(&mut self.0, number, &inner.0);
        }
        self
    }

    fn each(self, number: u32, inner: impl IntoIterator<Item = Self>) -> Self {
        inner.into_iter().fold(self, |message, inner| message.inner(number, Some(inner)))
    }

    /// The `x-…` members, whose values are YAML, and JSON is YAML.
    fn extensions(self, number: u32, map: &Map<String, Value>) -> Self {
        let extensions = map.iter().filter(|(key, _)| key.starts_with("x-"));
        self.each(number, extensions.map(|(key, value)| named_text(key).inner(2, Some(any(value)))))
    }
}

fn named_text(name: &str) -> Message {
    Message::default().text(1, Some(&name.into()))
}

fn any(value: &Value) -> Message {
    Message::default().text(2, Some(&value.to_string().into()))
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Map<String, Value>)> {
    value.and_then(Value::as_object).into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_object()?)))
}

/// The document as a client that asks for [`super::V2_PROTOBUF`] gets it.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let info = Message::default().text(1, document["info"].get("title")).text(2, document["info"].get("version"));
    let paths = members(document.get("paths")).map(|(path, item)| named_text(path).inner(2, Some(path_item(item))));
    let definitions = named_schemas(document.get("definitions"));
    Message::default()
        .text(1, document.get("swagger"))
        .inner(2, Some(info))
        .inner(8, Some(Message::default().each(2, paths)))
        .inner(9, Some(definitions))
        .0
}

fn path_item(item: &Map<String, Value>) -> Message {
    let operation_of = |method: &str| item.get(method).and_then(Value::as_object).map(operation);
    Message::default()
        .inner(2, operation_of("get"))
        .inner(3, operation_of("put"))
        .inner(4, operation_of("post"))
        .inner(5, operation_of("delete"))
        .inner(8, operation_of("patch"))
        .each(9, parameters(item.get("parameters")))
}

fn operation(operation: &Map<String, Value>) -> Message {
    let responses = members(operation.get("responses")).map(|(code, response)| {
        let schema = response.get("schema").and_then(Value::as_object).map(|map| Message::default().inner(1, Some(schema(map))));
        let response = Message::default().text(1, response.get("description")).inner(2, schema);
        named_text(code).inner(2, Some(Message::default().inner(1, Some(response))))
    });
    Message::default()
        .texts(1, operation.get("tags"))
        .text(3, operation.get("description"))
        .text(5, operation.get("operationId"))
        .texts(6, operation.get("produces"))
        .texts(7, operation.get("consumes"))
        .each(8, parameters(operation.get("parameters")))
        .inner(9, Some(Message::default().each(1, responses)))
        .extensions(13, operation)
}

fn parameters(list: Option<&Value>) -> Vec<Message> {
    let list = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    list.map(|one| Message::default().inner(1, Some(parameter(one)))).collect()
}

fn parameter(parameter: &Map<String, Value>) -> Message {
    let get = |key: &str| parameter.get(key);
    let place = get("in").and_then(Value::as_str).unwrap_or_default();
    let plain =
        |member: u32, message: Message| Message::default().inner(2, Some(Message::default().inner(member, Some(message))));
    match place {
        "body" => {
            let body = Message::default()
                .text(1, get("description"))
                .text(2, get("name"))
                .text(3, get("in"))
                .flag(4, get("required"))
                .inner(5, get("schema").and_then(Value::as_object).map(schema));
            Message::default().inner(1, Some(body))
        }
        "path" => {
            let path = Message::default().flag(1, get("required")).text(2, get("in")).text(3, get("description"));
            plain(4, path.text(4, get("name")).text(5, get("type")).flag(18, get("uniqueItems")))
        }
        _ => {
            let query = Message::default().flag(1, get("required")).text(2, get("in")).text(3, get("description"));
            plain(3, query.text(4, get("name")).text(6, get("type")).flag(20, get("uniqueItems")))
        }
    }
}

fn named_schemas(map: Option<&Value>) -> Message {
    Message::default().each(1, members(map).map(|(name, value)| named_text(name).inner(2, Some(schema(value)))))
}

fn schema(map: &Map<String, Value>) -> Message {
    let get = |key: &str| map.get(key);
    let within = |key: &str| get(key).and_then(Value::as_object).map(schema);
    let additional = within("additionalProperties").map(|inner| Message::default().inner(1, Some(inner)));
    let items = within("items").map(|inner| Message::default().inner(1, Some(inner)));
    let types = get("type").map(|_| Message::default().text(1, get("type")));
    Message::default()
        .text(1, get("$ref"))
        .text(2, get("format"))
        .text(4, get("description"))
        .inner(5, get("default").map(any))
        .texts(19, get("required"))
        .inner(21, additional)
        .inner(22, types)
        .inner(23, items)
        .inner(25, get("properties").map(|_| named_schemas(get("properties"))))
        .extensions(31, map)
}

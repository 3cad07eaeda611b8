//! The links of a page, found while it passes: what is between them is copied to the byte, comments and scripts among it.
//!
//! Upstream's tokenizer with less of a memory: this one knows where it is in the page, and keeps what it may have to change,
//! one attribute at most.

use super::own::Own;

/// An attribute must be shorter for its address to be led; a longer one (a picture within the page, say) is copied.
const ATTRIBUTE_BYTES: usize = 16 * 1024;

/// Elements, and their attributes that hold an address; upstream's table.
const ADDRESSES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Elements whose content is text, whatever it looks like.
const TEXTS: &[&str] = &["iframe", "noembed", "noframes", "noscript", "plaintext", "script", "style", "textarea", "title", "xmp"];

/// Bytes that may have to be seen to tell what `<` or `-` begins in such an element: `</plaintext>`.
const LOOK_AHEAD: usize = 12;

/// Where in the page the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Between tags.
    Text,
    /// In a comment, behind so many dashes, or at a point of the constants below.
    Comment(u8),
    /// In what begins like a comment or an instruction and ends with the first `>`.
    Bogus,
    /// In a tag, between attributes.
    Tag(Tag),
    /// In a value that is copied, which this quote ends; 0 where it has none.
    Value(u8, Tag),
    /// In an element whose content is text. A script may hold the comment `<!-- <script>…</script> -->`: how deep in it we are.
    Content(&'static str, u8),
}

/// Behind `--!`.
const BANG: u8 = 3;
/// At the beginning of a comment: `<!-->` is one.
const BEGINNING: u8 = 4;
/// Behind one dash more: `<!--->` is one.
const BEGINNING_DASH: u8 = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag {
    /// Attributes that hold addresses.
    addresses: &'static [&'static str],
    /// The element, if its content is text.
    text: Option<&'static str>,
}

/// A page that passes.
#[derive(Debug)]
pub(super) struct Links {
    own: Own,
    at: At,
    /// What cannot be told yet: less than [`ATTRIBUTE_BYTES`].
    held: Vec<u8>,
}

impl Links {
    pub(super) fn new(own: Own) -> Self {
        Self { own, at: At::Text, held: Vec::new() }
    }

    /// Takes the next bytes of the page, and gives what can be told of it by now.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut input = std::mem::take(&mut self.held);
        input.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(input.len() + self.own.prefix.len());
        let mut from = 0;
        while from < input.len() {
            match self.step(&input[from..], &mut out) {
                0 => break,
                taken => from += taken,
            }
        }
        self.held = input.split_off(from);
        out
    }

    /// The page has ended: what is left was no link.
    pub(super) fn end(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    /// Deals with the beginning of what is there, and says how much that was; 0 where more has to be seen.
    fn step(&mut self, input: &[u8], out: &mut Vec<u8>) -> usize {
        let (taken, at) = match self.at {
            At::Text => text(input),
            At::Comment(dashes) => (1, comment(input[0], dashes)),
            At::Bogus => until(input, |byte| byte == b'>', At::Text, At::Bogus),
            At::Value(0, tag) => match input.iter().position(|byte| ends_value(*byte)) {
                Some(0) => return self.go(At::Tag(tag), input, out),
                end => (end.unwrap_or(input.len()), self.at),
            },
            At::Value(quote, tag) => until(input, |byte| byte == quote, At::Tag(tag), self.at),
            At::Content(name, depth) => content(input, name, depth),
            At::Tag(tag) => return self.attribute(input, tag, out),
        };
        out.extend_from_slice(&input[..taken]);
        self.at = at;
        taken
    }

    /// The same input, seen from elsewhere.
    fn go(&mut self, at: At, input: &[u8], out: &mut Vec<u8>) -> usize {
        self.at = at;
        self.step(input, out)
    }

    /// The next attribute, with what separates it from the one before; or the end of the tag.
    fn attribute(&mut self, input: &[u8], tag: Tag, out: &mut Vec<u8>) -> usize {
        let skip = |from: usize, skipped: fn(u8) -> bool| {
            input[from..].iter().position(|byte| !skipped(*byte)).map_or(input.len(), |length| from + length)
        };
        let name = skip(0, |byte| is_space(byte) || byte == b'/');
        if name > 0 || input[0] == b'>' {
            let taken = name.max(1);
            out.extend_from_slice(&input[..taken]);
            if name == 0 {
                self.at = tag.text.map_or(At::Text, |name| At::Content(name, 0));
            }
            return taken;
        }
        // A name may begin with `=`, and has none further on.
        let end = skip(1, |byte| !is_space(byte) && !matches!(byte, b'/' | b'>' | b'='));
        let equals = skip(end, is_space);
        let value = skip(equals + usize::from(input.get(equals) == Some(&b'=')), is_space);
        let Some(first) = input.get(value) else { return self.long(input, 0, tag, out) };
        if input[equals] != b'=' {
            out.extend_from_slice(&input[..equals]);
            return equals;
        }
        let quote = if matches!(first, b'"' | b'\'') { *first } else { 0 };
        let value = value + usize::from(quote != 0);
        let length = match quote {
            0 => input[value..].iter().position(|byte| ends_value(*byte)),
            quote => input[value..].iter().position(|byte| *byte == quote),
        };
        let Some(length) = length else { return self.long(input, value, tag, out) };
        let quoted = usize::from(quote != 0);
        let end_of_value = value + length + quoted;
        // Whether a longer one is seen at once is chance.
        let holds_address = end_of_value < ATTRIBUTE_BYTES
            && tag.addresses.iter().any(|address| input[..end].eq_ignore_ascii_case(address.as_bytes()));
        let (head, written) = (&input[..value], &input[value..value + length]);
        let led = std::str::from_utf8(written).ok().filter(|_| holds_address).and_then(|address| self.own.led(address));
        out.extend_from_slice(head);
        out.extend_from_slice(led.as_deref().map_or(written, str::as_bytes));
        out.extend_from_slice(&input[value + length..end_of_value]);
        end_of_value
    }

    /// An attribute without an end so far is waited for, unless it is too long. `value` is where its value begins, 0 if it has none yet.
    fn long(&mut self, input: &[u8], value: usize, tag: Tag, out: &mut Vec<u8>) -> usize {
        if input.len() < ATTRIBUTE_BYTES {
            return 0;
        }
        out.extend_from_slice(input);
        if value > 0 {
            let quote = input[value - 1];
            self.at = At::Value(if matches!(quote, b'"' | b'\'') { quote } else { 0 }, tag);
        }
        input.len()
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b'\x0c')
}

fn ends_value(byte: u8) -> bool {
    is_space(byte) || byte == b'>'
}

/// All up to a byte and with it, after which it goes on elsewhere; or all.
fn until(input: &[u8], is_end: impl Fn(u8) -> bool, after: At, here: At) -> (usize, At) {
    match input.iter().position(|byte| is_end(*byte)) {
        Some(end) => (end + 1, after),
        None => (input.len(), here),
    }
}

fn text(input: &[u8]) -> (usize, At) {
    match input.iter().position(|byte| *byte == b'<') {
        Some(0) => {}
        end => return (end.unwrap_or(input.len()), At::Text),
    }
    let is_closing = input.get(1) == Some(&b'/');
    let name = 1 + usize::from(is_closing);
    match input.get(name) {
        None => (0, At::Text),
        Some(first) if first.is_ascii_alphabetic() => {
            let end = input[name..].iter().position(|byte| is_space(*byte) || matches!(byte, b'/' | b'>'));
            match end {
                Some(end) => (name + end, At::Tag(if is_closing { Tag::NONE } else { Tag::of(&input[name..name + end]) })),
                // No element has so long a name.
                None if input.len() > ATTRIBUTE_BYTES => (input.len(), At::Tag(Tag::NONE)),
                None => (0, At::Text),
            }
        }
        Some(b'>') if is_closing => (name + 1, At::Text),
        Some(b'!') if !is_closing => match input.get(2..4) {
            Some(b"--") => (4, At::Comment(BEGINNING)),
            None if b"<!--".starts_with(input) => (0, At::Text),
            _ => (2, At::Bogus),
        },
        Some(b'?') => (2, At::Bogus),
        Some(_) if is_closing => (2, At::Bogus),
        Some(_) => (1, At::Text),
    }
}

fn comment(byte: u8, dashes: u8) -> At {
    match (byte, dashes) {
        (b'>', 2..) => At::Text,
        (b'-', BEGINNING) => At::Comment(BEGINNING_DASH),
        (b'-', BANG) => At::Comment(1),
        (b'-', dashes) => At::Comment((dashes + 1).min(2)),
        (b'!', 2) => At::Comment(BANG),
        _ => At::Comment(0),
    }
}

fn content(input: &[u8], name: &'static str, depth: u8) -> (usize, At) {
    let here = At::Content(name, depth);
    let begins = |byte: &u8| *byte == b'<' || (*byte == b'-' && depth > 0);
    match input.iter().position(begins) {
        Some(0) if input.len() < LOOK_AHEAD => return (0, here),
        Some(0) => {}
        end => return (end.unwrap_or(input.len()), here),
    }
    let is_tag = |open: &str, name: &str| {
        let end = open.len() + name.len();
        input.starts_with(open.as_bytes())
            && input[open.len()..end].eq_ignore_ascii_case(name.as_bytes())
            && (is_space(input[end]) || matches!(input[end], b'/' | b'>'))
    };
    let script = name == "script";
    match depth {
        0 if script && input.starts_with(b"<!--") => (2, At::Content(name, 1)),
        1.. if input.starts_with(b"-->") => (3, At::Content(name, 0)),
        1 if is_tag("<", name) => (1, At::Content(name, 2)),
        2 if is_tag("</", name) => (2, At::Content(name, 1)),
        0 | 1 if name != "plaintext" && is_tag("</", name) => (2 + name.len(), At::Tag(Tag::NONE)),
        _ => (1, here),
    }
}

impl Tag {
    const NONE: Self = Self { addresses: &[], text: None };

    fn of(name: &[u8]) -> Self {
        let addresses = ADDRESSES.iter().find(|(element, _)| name.eq_ignore_ascii_case(element.as_bytes()));
        Self {
            addresses: addresses.map_or(&[], |(_, attributes)| attributes),
            text: TEXTS.iter().find(|text| name.eq_ignore_ascii_case(text.as_bytes())).copied(),
        }
    }
}

#[cfg(test)]
mod tests;

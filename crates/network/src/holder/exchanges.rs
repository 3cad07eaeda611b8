//! Listens to both sides of a connection, and knows when it rests between two exchanges of HTTP/1: if it is HTTP/1 at all.
//!
//! Nothing is changed, and whatever is not plainly understood is never listened to again.

use std::collections::VecDeque;

/// Servers take heads of 8 to 64 KiB.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// What servers take at most, as a rule.
const MAX_HEADERS: usize = 100;
/// Requests that a client sends ahead; one that sends more need not be understood.
const MAX_AHEAD: usize = 64;

/// There is nothing to listen for any more: it is not HTTP/1, or the connection is about to end.
#[derive(Debug, PartialEq, Eq)]
struct Deaf;

/// Both sides of one connection.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    is_deaf: bool,
    /// Something was asked and answered: until then it may be any protocol.
    is_http: bool,
    requests: Messages,
    answers: Messages,
    /// Whether each request that is not answered yet is a HEAD, whose answer has no body whatever it says.
    asked: VecDeque<bool>,
}

impl Exchanges {
    /// Hears what the client says, in the order in which the other side gets it.
    pub(super) fn client_said(&mut self, bytes: &[u8]) {
        if self.is_deaf {
            return;
        }
        let asked = &mut self.asked;
        let heard = self.requests.hear(bytes, |head| {
            let (is_head, body) = request(head)?;
            asked.push_back(is_head);
            if asked.len() > MAX_AHEAD { Err(Deaf) } else { Ok(body) }
        });
        if heard.is_err() {
            self.give_up();
        }
    }

    /// Hears what the server says.
    pub(super) fn server_said(&mut self, bytes: &[u8]) {
        if self.is_deaf {
            return;
        }
        let asked = &mut self.asked;
        let heard = self.answers.hear(bytes, |head| {
            let (is_last, body) = answer(head, *asked.front().ok_or(Deaf)?)?;
            if is_last {
                asked.pop_front();
            }
            Ok(body)
        });
        if heard.is_err() {
            self.give_up();
        } else if self.asked.is_empty() && self.answers.is_between() {
            self.is_http = true;
        }
    }

    /// One side has said all it will.
    pub(super) fn give_up(&mut self) {
        *self = Self { is_deaf: true, ..Self::default() };
    }

    /// False once it can't rest any more.
    pub(super) fn is_heard(&self) -> bool {
        !self.is_deaf
    }

    /// Every request was answered whole, and not a byte of another was sent.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_http && self.asked.is_empty() && self.requests.is_between() && self.answers.is_between()
    }
}

/// The messages of one side.
#[derive(Debug, Default)]
struct Messages {
    part: Part,
    /// The beginning of a head or line whose end has not come.
    begun: Vec<u8>,
}

/// What comes next.
#[derive(Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    /// The rest of a chunk, with the end of its line.
    Chunk(u64),
    Trailer,
}

/// How long a body is.
#[derive(Debug, PartialEq, Eq)]
enum Body {
    Sized(u64),
    Chunked,
}

impl Messages {
    fn is_between(&self) -> bool {
        self.part == Part::Head && self.begun.is_empty()
    }

    fn hear(&mut self, mut bytes: &[u8], mut on_head: impl FnMut(&[u8]) -> Result<Body, Deaf>) -> Result<(), Deaf> {
        while !bytes.is_empty() {
            self.part = match self.part {
                Part::Head => match self.take_until(b"\r\n\r\n", &mut bytes)? {
                    None => Part::Head,
                    Some(head) => match on_head(&head)? {
                        Body::Sized(0) => Part::Head,
                        Body::Sized(length) => Part::Body(length),
                        Body::Chunked => Part::ChunkSize,
                    },
                },
                Part::Body(left) => match skip(left, &mut bytes) {
                    0 => Part::Head,
                    left => Part::Body(left),
                },
                Part::ChunkSize => match self.take_until(b"\r\n", &mut bytes)? {
                    None => Part::ChunkSize,
                    Some(line) => match chunk_size(&line)? {
                        0 => Part::Trailer,
                        size => Part::Chunk(size.checked_add(2).ok_or(Deaf)?),
                    },
                },
                Part::Chunk(left) => match skip(left, &mut bytes) {
                    0 => Part::ChunkSize,
                    left => Part::Chunk(left),
                },
                Part::Trailer => match self.take_until(b"\r\n", &mut bytes)? {
                    Some(line) if line == b"\r\n" => Part::Head,
                    _ => Part::Trailer,
                },
            };
        }
        Ok(())
    }

    /// Takes what there is up to `end`, which is taken too; none, and all is kept, when it has not come.
    fn take_until(&mut self, end: &[u8], bytes: &mut &[u8]) -> Result<Option<Vec<u8>>, Deaf> {
        let (before, from) = (self.begun.len(), self.begun.len().saturating_sub(end.len() - 1));
        self.begun.extend_from_slice(&bytes[..bytes.len().min(MAX_HEAD_BYTES)]);
        match self.begun[from..].windows(end.len()).position(|window| window == end) {
            Some(position) => {
                let length = from + position + end.len();
                *bytes = &bytes[length - before..];
                self.begun.truncate(length);
                Ok(Some(std::mem::take(&mut self.begun)))
            }
            None if self.begun.len() >= MAX_HEAD_BYTES => Err(Deaf),
            None => {
                *bytes = &[];
                Ok(None)
            }
        }
    }
}

/// Skips as much as there is of `left` bytes; how many are left then.
fn skip(left: u64, bytes: &mut &[u8]) -> u64 {
    let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    *bytes = &bytes[here..];
    left - here as u64
}

fn chunk_size(line: &[u8]) -> Result<u64, Deaf> {
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((_, size))) => Ok(size),
        _ => Err(Deaf),
    }
}

/// Whether it is a HEAD, and its body.
fn request(head: &[u8]) -> Result<(bool, Body), Deaf> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).map_err(|_| Deaf)?;
    let method = request.method.ok_or(Deaf)?;
    if method == "CONNECT" || ends(request.version, request.headers) {
        return Err(Deaf);
    }
    Ok((method == "HEAD", body(request.headers)?.unwrap_or(Body::Sized(0))))
}

/// Whether it is the last one to its request, and its body.
fn answer(head: &[u8], to_head: bool) -> Result<(bool, Body), Deaf> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    answer.parse(head).map_err(|_| Deaf)?;
    match answer.code.ok_or(Deaf)? {
        // Another protocol from here on.
        101 => Err(Deaf),
        100..=199 => Ok((false, Body::Sized(0))),
        _ if ends(answer.version, answer.headers) => Err(Deaf),
        204 | 304 => Ok((true, Body::Sized(0))),
        _ if to_head => Ok((true, Body::Sized(0))),
        // Without a length it ends with the connection.
        _ => Ok((true, body(answer.headers)?.ok_or(Deaf)?)),
    }
}

/// Whether the connection ends after this message.
fn ends(version: Option<u8>, headers: &[httparse::Header<'_>]) -> bool {
    let says = |word: &str| {
        let lists = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("connection"));
        lists
            .filter_map(|header| std::str::from_utf8(header.value).ok())
            .any(|list| list.split(',').any(|token| token.trim().eq_ignore_ascii_case(word)))
    };
    says("close") || (version == Some(0) && !says("keep-alive"))
}

fn body(headers: &[httparse::Header<'_>]) -> Result<Option<Body>, Deaf> {
    let mut body = None;
    for header in headers {
        let found = if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Deaf);
            }
            Body::Chunked
        } else if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(header.value).map_err(|_| Deaf)?;
            Body::Sized(text.trim().parse().map_err(|_| Deaf)?)
        } else {
            continue;
        };
        // Two lengths, even two that agree, are no clear word.
        if body.replace(found).is_some() {
            return Err(Deaf);
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests;

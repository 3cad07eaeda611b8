//! The body of a page whose links are led, in whatever encoding it comes.

use std::io::{self, Write};

use axum::body::{Body, BodyDataStream};
use flate2::{
    Compression,
    write::{DeflateDecoder, DeflateEncoder, GzEncoder, MultiGzDecoder},
};
use futures::{StreamExt as _, stream};
use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};

use super::{links::Links, own::Own};
use crate::reply::Response;

/// Packed bytes that are unpacked at a time: they become a thousand times as many at most.
const PACKED_BYTES: usize = 1024;

/// How a page is packed.
enum Packing {
    No,
    Gzip(MultiGzDecoder<Vec<u8>>, GzEncoder<Vec<u8>>),
    /// Without a frame, as upstream takes the word.
    Deflate(DeflateDecoder<Vec<u8>>, DeflateEncoder<Vec<u8>>),
}

/// A page that passes.
struct Page {
    links: Links,
    packing: Packing,
    /// Whether there was anything of it.
    has_begun: bool,
}

/// Leads the links of the answer if it is a page. It passes as it comes, and its length is not known before its end.
pub(super) fn lead(response: Response, own: Own) -> Response {
    let Some(packing) = packing(response.headers()) else { return response };
    let page = Page { links: Links::new(own), packing, has_begun: false };
    let (mut parts, body) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    let pieces = stream::unfold(Some((body.into_data_stream(), page)), |passing| async {
        let (mut body, mut page) = passing?;
        page.next(&mut body).await.map(|(piece, is_end)| (piece, (!is_end).then_some((body, page))))
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

/// `None` where it is no page, or one that nobody here can read.
fn packing(headers: &HeaderMap) -> Option<Packing> {
    let text = |name| headers.get(name).map_or(Some(""), |value: &http::HeaderValue| value.to_str().ok());
    let kind = text(CONTENT_TYPE)?.split(';').next().unwrap_or_default().trim();
    if kind != "text/html" {
        return None;
    }
    match text(CONTENT_ENCODING)? {
        "" => Some(Packing::No),
        "gzip" => Some(Packing::Gzip(MultiGzDecoder::new(Vec::new()), GzEncoder::new(Vec::new(), Compression::default()))),
        "deflate" => {
            Some(Packing::Deflate(DeflateDecoder::new(Vec::new()), DeflateEncoder::new(Vec::new(), Compression::best())))
        }
        _ => None,
    }
}

impl Page {
    /// The next piece, and whether it is the last; an error is.
    async fn next(&mut self, body: &mut BodyDataStream) -> Option<(io::Result<Vec<u8>>, bool)> {
        match body.next().await {
            Some(Ok(bytes)) => {
                let piece = self.pass(&bytes);
                let is_end = piece.is_err();
                Some((piece, is_end))
            }
            Some(Err(error)) => Some((Err(io::Error::other(error)), true)),
            None => self.end().transpose().map(|piece| (piece, true)),
        }
    }

    fn pass(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.has_begun |= !bytes.is_empty();
        let links = &mut self.links;
        match &mut self.packing {
            Packing::No => Ok(links.pass(bytes)),
            Packing::Gzip(unpack, pack) => {
                for packed in bytes.chunks(PACKED_BYTES) {
                    unpack.write_all(packed)?;
                    pack.write_all(&links.pass(&std::mem::take(unpack.get_mut())))?;
                }
                Ok(std::mem::take(pack.get_mut()))
            }
            Packing::Deflate(unpack, pack) => {
                for packed in bytes.chunks(PACKED_BYTES) {
                    unpack.write_all(packed)?;
                    pack.write_all(&links.pass(&std::mem::take(unpack.get_mut())))?;
                }
                Ok(std::mem::take(pack.get_mut()))
            }
        }
    }

    /// What is left at the end; `None` if the page had no beginning, as the answer to a HEAD.
    fn end(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.has_begun {
            return Ok(None);
        }
        let links = &mut self.links;
        match &mut self.packing {
            Packing::No => Ok(Some(links.end())),
            Packing::Gzip(unpack, pack) => {
                unpack.try_finish()?;
                pack.write_all(&links.pass(&std::mem::take(unpack.get_mut())))?;
                pack.write_all(&links.end())?;
                pack.try_finish()?;
                Ok(Some(std::mem::take(pack.get_mut())))
            }
            Packing::Deflate(unpack, pack) => {
                unpack.try_finish()?;
                pack.write_all(&links.pass(&std::mem::take(unpack.get_mut())))?;
                pack.write_all(&links.end())?;
                pack.try_finish()?;
                Ok(Some(std::mem::take(pack.get_mut())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const PAGE: &str = "<a href='/rewriteme'>test</a>";
    const LED: &str = "<a href='/P/rewriteme'>test</a>";

    async fn led(kind: &str, encoding: &str, body: Vec<u8>) -> (bool, Vec<u8>) {
        let builder = http::Response::builder().header(CONTENT_TYPE, kind).header(CONTENT_LENGTH, body.len());
        let builder = if encoding.is_empty() { builder } else { builder.header(CONTENT_ENCODING, encoding) };
        let own = Own { prefix: "/P".to_owned(), host: String::new(), asked: String::new() };
        let pieces: Vec<Result<Vec<u8>, io::Error>> = body.chunks(5).map(|piece| Ok(piece.to_vec())).collect();
        let response = lead(builder.body(Body::from_stream(stream::iter(pieces))).unwrap(), own);
        let has_length = response.headers().contains_key(CONTENT_LENGTH);
        (has_length, response.into_body().collect().await.unwrap().to_bytes().to_vec())
    }

    #[tokio::test]
    async fn pages_are_led_in_their_encoding() {
        assert_eq!(led("text/html; charset=utf-8", "", PAGE.into()).await, (false, LED.into()));
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(PAGE.as_bytes()).unwrap();
        let mut unpack = MultiGzDecoder::new(Vec::new());
        unpack.write_all(&led("text/html", "gzip", gzip.finish().unwrap()).await.1).unwrap();
        assert_eq!(unpack.finish().unwrap(), LED.as_bytes());
        let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
        deflate.write_all(PAGE.as_bytes()).unwrap();
        let mut unpack = DeflateDecoder::new(Vec::new());
        unpack.write_all(&led("text/html", "deflate", deflate.finish().unwrap()).await.1).unwrap();
        assert_eq!(unpack.finish().unwrap(), LED.as_bytes());
        assert_eq!(led("text/html", "gzip", Vec::new()).await, (false, Vec::new()), "HEAD");
    }

    #[tokio::test]
    async fn what_is_no_page_passes() {
        for (kind, encoding) in [("text/plain", ""), ("text/html", "br"), ("application/xhtml+xml", "gzip")] {
            assert_eq!(led(kind, encoding, PAGE.into()).await, (true, PAGE.into()), "{kind} {encoding}");
        }
    }
}

//! Blocks of headers, compressed in one stream for the life of a connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::{Error, dictionary::DICTIONARY};

/// A block that is longer is no honest one.
const MAX_BLOCK: usize = 64 << 10;

/// Names, in lower case, and values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Headers from pairs; names are made lower case.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect())
    }

    /// The value of that (lower-case) name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let number = |bytes: &mut Vec<u8>, n: usize| bytes.extend_from_slice(&u32::try_from(n).unwrap_or(0).to_be_bytes());
        number(&mut bytes, self.0.len());
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            number(&mut bytes, text.len());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Result<Self, Error> {
        let count = number(&mut bytes)?;
        let mut pairs = Vec::new();
        for _ in 0..count {
            pairs.push((text(&mut bytes)?.to_lowercase(), text(&mut bytes)?));
        }
        Ok(Self(pairs))
    }
}

fn number(bytes: &mut &[u8]) -> Result<usize, Error> {
    let (number, rest) = bytes.split_first_chunk::<4>().ok_or(Error::Protocol("header block cut short"))?;
    *bytes = rest;
    usize::try_from(u32::from_be_bytes(*number)).map_err(|_| Error::Protocol("header block too long"))
}

fn text(bytes: &mut &[u8]) -> Result<String, Error> {
    let length = number(bytes)?;
    let (text, rest) = bytes.split_at_checked(length).ok_or(Error::Protocol("header block cut short"))?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| Error::Protocol("header is not text"))
}

/// Compresses the blocks of one direction.
pub(crate) struct Encoder(Compress);

impl Encoder {
    pub(crate) fn new() -> Result<Self, Error> {
        let mut compress = Compress::new(Compression::default(), true);
        compress.set_dictionary(&DICTIONARY).map_err(|_| Error::Protocol("no compression with a dictionary"))?;
        Ok(Self(compress))
    }

    pub(crate) fn encode(&mut self, headers: &Headers) -> Result<Vec<u8>, Error> {
        let block = headers.encode();
        // Room for what does not compress, with the marks of a flush.
        let mut out = Vec::with_capacity(block.len() + 128);
        let mut taken = 0;
        loop {
            let before = self.0.total_in();
            self.0
                .compress_vec(&block[taken..], &mut out, FlushCompress::Sync)
                .map_err(|_| Error::Protocol("headers cannot be compressed"))?;
            taken += usize::try_from(self.0.total_in() - before).unwrap_or(0);
            if taken == block.len() && out.len() < out.capacity() {
                return Ok(out);
            }
            out.reserve(128);
        }
    }
}

/// Inflates the blocks of one direction.
pub(crate) struct Decoder(Decompress);

impl Decoder {
    pub(crate) fn new() -> Self {
        Self(Decompress::new(true))
    }

    /// # Errors
    /// [`Error::Protocol`] for what is no block, or too long a one.
    pub(crate) fn decode(&mut self, mut bytes: &[u8]) -> Result<Headers, Error> {
        let broken = Error::Protocol("header block cannot be inflated");
        let mut block = Vec::with_capacity(1024);
        loop {
            let before = self.0.total_in();
            let outcome = self.0.decompress_vec(bytes, &mut block, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before).unwrap_or(0);
            bytes = &bytes[taken..];
            match outcome {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| Error::Protocol("another dictionary than SPDY/3's"))?;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(broken),
                Ok(_) if block.len() > MAX_BLOCK => return Err(Error::Protocol("header block too long")),
                Ok(_) if block.len() == block.capacity() => block.reserve(4096),
                Ok(_) if bytes.is_empty() => return Headers::decode(&block),
                Ok(_) if taken == 0 => return Err(broken),
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blocks_come_back_one_after_another() {
        let (mut encoder, mut decoder) = (Encoder::new().unwrap(), Decoder::new());
        for port in ["80", "8080", "443"] {
            let headers = Headers::new([("streamType", "data"), ("port", port), ("requestID", "0")]);
            let block = encoder.encode(&headers).unwrap();
            let decoded = decoder.decode(&block).unwrap();
            assert_eq!(decoded, headers);
            assert_eq!(decoded.get("streamtype"), Some("data"));
        }
    }

    #[test]
    fn the_first_block_names_the_dictionary() {
        let block = Encoder::new().unwrap().encode(&Headers::default()).unwrap();
        assert_eq!(block[2..6], [0xe3, 0xc6, 0xa7, 0xc2]);
    }

    #[test]
    fn long_blocks_are_refused() {
        let long = "x".repeat(MAX_BLOCK + 1);
        let block = Encoder::new().unwrap().encode(&Headers::new([("a", long.as_str())])).unwrap();
        assert!(matches!(Decoder::new().decode(&block), Err(Error::Protocol("header block too long"))));
    }

    proptest! {
        #[test]
        fn any_headers_survive(pairs in proptest::collection::vec(("[a-z-]{1,20}", "\\PC{0,300}"), 0..20)) {
            let headers = Headers::new(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let block = Encoder::new().unwrap().encode(&headers).unwrap();
            prop_assert_eq!(Decoder::new().decode(&block).unwrap(), headers);
        }

        #[test]
        fn any_bytes_are_headers_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            let _ = Decoder::new().decode(&bytes);
            let _ = Headers::decode(&bytes);
        }
    }
}

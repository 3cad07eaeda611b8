//! Netlink attributes: type, length, value, padded to four bytes.

/// Set in the type of an attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// Length and type.
const HEADER: usize = 4;

/// Attributes being written. A netlink message is far below 64 KiB an attribute, except for lists of elements,
/// which whoever writes them splits.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    bytes: Vec<u8>,
}

impl Attributes {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn put(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(HEADER + value.len()).expect("an attribute is shorter than 64 KiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn put_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    pub(super) fn put_u64(&mut self, kind: u16, value: u64) -> &mut Self {
        self.put(kind, &value.to_be_bytes())
    }

    /// Text with the NUL that the kernel expects at its end.
    pub(super) fn put_text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    /// Bytes of a register or of an element (`NFTA_DATA_VALUE`).
    pub(super) fn put_value(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        const DATA_VALUE: u16 = 1;
        self.nest(kind, |data| {
            data.put(DATA_VALUE, value);
        })
    }

    pub(super) fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Self)) -> &mut Self {
        let mut inner = Self::default();
        write(&mut inner);
        self.put(kind | NESTED, &inner.bytes)
    }
}

/// The attributes in `bytes`, types without flags; what is malformed ends the iteration.
pub(super) fn parse(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<HEADER>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & 0x3fff;
        let value = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a type.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    parse(bytes).find(|&(found, _)| found == kind).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut attributes = Attributes::default();
        attributes.put_u32(1, 7).put_text(2, "abcd").nest(3, |inner| {
            inner.put(4, &[9]);
        });
        let bytes = attributes.bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(find(bytes, 1), Some(&[0, 0, 0, 7][..]));
        assert_eq!(find(bytes, 2), Some(&b"abcd\0"[..]));
        assert_eq!(find(find(bytes, 3).unwrap(), 4), Some(&[9][..]));
        assert_eq!(find(bytes, 5), None);
    }

    #[test]
    fn nonsense_is_no_attribute() {
        for bytes in [&[][..], &[1], &[3, 0, 1, 0], &[200, 0, 1, 0, 5], &[0, 0, 0, 0]] {
            assert_eq!(parse(bytes).count(), 0, "{bytes:?}");
        }
    }
}

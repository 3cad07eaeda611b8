//! Protobuf's wire: varints and length-delimited pieces.

use super::Error;

/// Wire type of a varint.
pub(super) const VARINT: u8 = 0;
/// Wire type of a length-delimited piece.
pub(super) const BYTES: u8 = 2;

/// One field as it lies on the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) number: u32,
    pub(super) wire: u8,
    /// The value of a varint; otherwise 0.
    pub(super) varint: u64,
    /// The content of a length-delimited piece; otherwise empty.
    pub(super) bytes: &'a [u8],
}

/// Walks the fields of one message.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The next field, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Piece<'a>>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| Error::Overflow)?;
        let wire = (tag & 7) as u8;
        let mut piece = Piece { number, wire, varint: 0, bytes: &[] };
        match wire {
            VARINT => piece.varint = self.varint()?,
            1 => piece.bytes = self.take(8)?,
            BYTES => {
                let length = usize::try_from(self.varint()?).map_err(|_| Error::Overflow)?;
                piece.bytes = self.take(length)?;
            }
            5 => piece.bytes = self.take(4)?,
            _ => return Err(Error::WireType { field: "of an unknown group", wire }),
        }
        Ok(Some(piece))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Error::End)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0_u64;
        // 64 bits in groups of seven.
        for position in 0..10 {
            let (&byte, rest) = self.0.split_first().ok_or(Error::End)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Overflow)
    }
}

/// Writes a varint.
pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Writes a field that holds a varint.
pub(crate) fn write_number(out: &mut Vec<u8>, number: u32, value: u64) {
    write_varint(out, u64::from(number) << 3 | u64::from(VARINT));
    write_varint(out, value);
}

/// Writes a length-delimited field.
pub(crate) fn write_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    write_varint(out, u64::from(number) << 3 | u64::from(BYTES));
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

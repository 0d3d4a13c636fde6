//! The protocol's basic types over a bounded cursor.

/// A packet that does not say what its kind must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {what} at byte {offset}")]
pub struct Malformed {
    /// The field that could not be read.
    pub what: &'static str,
    /// Where in the payload.
    pub offset: usize,
}

/// Reads basic types from a payload; never past its end.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Offset of the next byte.
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Whether all is read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let malformed = Malformed { what, offset: self.at };
        let end = self.at.checked_add(count).ok_or(malformed)?;
        let bytes = self.bytes.get(self.at..end).ok_or(malformed)?;
        self.at = end;
        Ok(bytes)
    }

    /// An unsigned integer of `size` bytes (at most 8), little endian.
    pub fn int(&mut self, size: usize, what: &'static str) -> Result<u64, Malformed> {
        debug_assert!(size <= 8);
        let bytes = self.take(size, what)?;
        Ok(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    /// One byte.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.take(1, what)?[0])
    }

    /// Two bytes, little endian.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, Malformed> {
        let bytes = self.take(2, what)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// Four bytes, little endian.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A length-encoded integer.
    pub fn lenenc(&mut self, what: &'static str) -> Result<u64, Malformed> {
        match self.u8(what)? {
            small @ 0..=0xfa => Ok(u64::from(small)),
            0xfc => self.int(2, what),
            0xfd => self.int(3, what),
            0xfe => self.int(8, what),
            _ => Err(Malformed { what, offset: self.at - 1 }),
        }
    }

    /// A length-encoded string.
    pub fn lenenc_bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let length = self.lenenc(what)?;
        let length =
            usize::try_from(length).map_err(|_| Malformed { what, offset: self.offset() })?;
        self.take(length, what)
    }

    /// Bytes up to a NUL, which is read too.
    pub fn nul_bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let length =
            memchr::memchr(0, self.remaining()).ok_or(Malformed { what, offset: self.at })?;
        let bytes = self.take(length, what)?;
        self.at += 1;
        Ok(bytes)
    }

    /// Everything left.
    pub fn rest(&mut self) -> &'a [u8] {
        let rest = self.remaining();
        self.at = self.bytes.len();
        rest
    }
}

/// Appends a length-encoded integer.
pub fn put_lenenc(out: &mut Vec<u8>, value: u64) {
    let bytes = value.to_le_bytes();
    match value {
        0..=0xfa => out.push(bytes[0]),
        0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&bytes[..2]);
        }
        0x1_0000..=0xff_ffff => {
            out.push(0xfd);
            out.extend_from_slice(&bytes[..3]);
        }
        _ => {
            out.push(0xfe);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Appends a length-encoded string.
pub fn put_lenenc_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_lenenc(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn length_encoded_integers_survive_a_round_trip(value: u64) {
            let mut out = Vec::new();
            put_lenenc(&mut out, value);
            let mut cursor = Cursor::new(&out);
            prop_assert_eq!(cursor.lenenc("value"), Ok(value));
            prop_assert!(cursor.is_empty());
        }

        #[test]
        fn reading_never_leaves_the_payload(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.lenenc_bytes("string").is_ok() && !cursor.is_empty() {}
            prop_assert!(cursor.offset() <= bytes.len());
        }
    }

    #[test]
    fn a_short_payload_names_the_field() {
        let error = Cursor::new(&[1]).u16("status").expect_err("too short");
        assert_eq!(error, Malformed { what: "status", offset: 0 });
    }
}

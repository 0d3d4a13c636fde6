//! Framing: `length: int<3>, sequence: int<1>, payload`.
//!
//! A payload of 16 MiB - 1 bytes or more continues in the next packet; a last packet shorter
//! than that (possibly empty) ends it.

/// Bytes of a packet header.
pub const HEADER: usize = 4;
/// Length of a packet that is continued in the next one.
pub const FULL: usize = 0xff_ffff;

/// A packet header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload bytes in this packet.
    pub length: usize,
    /// Sequence id.
    pub sequence: u8,
}

impl Header {
    /// Reads a header from the first four bytes, when there are four.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, sequence, ..] = bytes else { return None };
        let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
        Some(Self { length, sequence })
    }

    /// The four bytes. `length` must be at most [`FULL`].
    pub fn bytes(self) -> [u8; HEADER] {
        debug_assert!(self.length <= FULL);
        let length = self.length.to_le_bytes();
        [length[0], length[1], length[2], self.sequence]
    }
}

/// Appends `payload` as one packet, or several when it is long, starting with `sequence`.
/// Returns the sequence id that follows.
pub fn put(out: &mut Vec<u8>, mut sequence: u8, payload: &[u8]) -> u8 {
    let mut rest = payload;
    loop {
        let length = rest.len().min(FULL);
        let (now, later) = rest.split_at(length);
        out.extend_from_slice(&Header { length, sequence }.bytes());
        out.extend_from_slice(now);
        sequence = sequence.wrapping_add(1);
        rest = later;
        if length < FULL {
            return sequence;
        }
    }
}

/// Numbers the packets in `bytes`, which are whole, from `sequence` on.
pub fn renumber(mut bytes: &mut [u8], mut sequence: u8) {
    while let Some(header) = Header::parse(bytes) {
        bytes[HEADER - 1] = sequence;
        sequence = sequence.wrapping_add(1);
        bytes = &mut bytes[HEADER + header.length..];
    }
}

/// A payload as packets on the wire, numbered from 0: where there is one packet, in its own buffer.
pub fn framed(mut payload: Vec<u8>) -> Vec<u8> {
    let length = payload.len();
    if length >= FULL {
        let mut packets = Vec::with_capacity(length + 2 * HEADER);
        put(&mut packets, 0, &payload);
        return packets;
    }
    payload.extend_from_slice(&[0; HEADER]);
    payload.copy_within(..length, HEADER);
    payload[..HEADER].copy_from_slice(&Header { length, sequence: 0 }.bytes());
    payload
}

/// A whole logical packet at the start of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed {
    /// Bytes on the wire, headers included.
    pub wire_length: usize,
    /// Bytes of payload.
    pub payload_length: usize,
    /// Sequence id of the first packet.
    pub first_sequence: u8,
    /// Sequence id of the last packet.
    pub last_sequence: u8,
}

/// Finds a whole logical packet at the start of `bytes`; `Err(n)` tells that at least `n` bytes
/// are needed to know more.
pub fn frame(bytes: &[u8]) -> Result<Framed, usize> {
    let mut at = 0;
    let mut payload_length = 0;
    let mut first_sequence = None;
    loop {
        let Some(header) = bytes.get(at..).and_then(Header::parse) else {
            return Err(at + HEADER);
        };
        let first_sequence = *first_sequence.get_or_insert(header.sequence);
        at += HEADER + header.length;
        payload_length += header.length;
        if bytes.len() < at {
            return Err(at);
        }
        if header.length < FULL {
            return Ok(Framed {
                wire_length: at,
                payload_length,
                first_sequence,
                last_sequence: header.sequence,
            });
        }
    }
}

/// Sequence id of the last packet whose header is in `bytes`, which start with a logical packet; 0 when
/// there is none.
pub fn last_sequence(bytes: &[u8]) -> u8 {
    let (mut at, mut last) = (0, 0);
    while let Some(header) = bytes.get(at..).and_then(Header::parse) {
        last = header.sequence;
        at += HEADER + header.length;
    }
    last
}

/// The payload of a logical packet; borrowed when it is a single one.
pub fn payload<'a>(bytes: &'a [u8], framed: &Framed) -> std::borrow::Cow<'a, [u8]> {
    if framed.payload_length < FULL {
        return bytes[HEADER..framed.wire_length].into();
    }
    let mut joined = Vec::with_capacity(framed.payload_length);
    let mut rest = &bytes[..framed.wire_length];
    while let Some(header) = Header::parse(rest) {
        joined.extend_from_slice(&rest[HEADER..HEADER + header.length]);
        rest = &rest[HEADER + header.length..];
    }
    joined.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_around_the_limit_survive_a_round_trip() {
        for length in [0, 1, FULL - 1, FULL, FULL + 1, 2 * FULL] {
            let sent: Vec<u8> = (0..=250).cycle().take(length).collect();
            let mut wire = Vec::new();
            let next = put(&mut wire, 7, &sent);
            let framed = frame(&wire).expect("whole");
            assert_eq!(framed.wire_length, wire.len());
            assert_eq!(framed.last_sequence.wrapping_add(1), next);
            assert_eq!(payload(&wire, &framed), sent);
            assert!(frame(&wire[..wire.len() - 1]).is_err());
            let mut from_zero = Vec::new();
            put(&mut from_zero, 0, &sent);
            assert_eq!(super::framed(sent), from_zero);
        }
    }
}

//! Framing of a compressed connection: `length: int<3>, sequence: int<1>, plain length: int<3>`,
//! and then `length` bytes that hold `plain length` bytes of the packets' stream.
//!
//! Frames and packets do not care for each other: a frame may hold many packets or a piece of one.
//! Only the frames' sequence ids count; servers and clients do not look at those of the packets
//! inside.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_compression.html>.

use super::capability::Capabilities;

/// Bytes of a frame's header.
pub const HEADER: usize = 7;
/// Most bytes a frame can hold, packed or plain.
pub const FULL: usize = 0xff_ffff;
/// Shorter contents are stored as they are, as the servers do it.
pub const STORED_BELOW: usize = 50;

/// Levels of zstd that a client may ask for.
pub const ZSTD_LEVELS: std::ops::RangeInclusive<u8> = 1..=22;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Bytes behind the header.
    pub length: usize,
    /// Sequence id; starts at 0 with each command.
    pub sequence: u8,
    /// Most bytes they hold when unpacked; 0: they are not packed.
    pub plain_length: usize,
}

impl Frame {
    /// Reads a header from the first seven bytes, when there are seven.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, sequence, d, e, f, ..] = bytes else { return None };
        let int = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) as usize;
        Some(Self { length: int(a, b, c), sequence, plain_length: int(d, e, f) })
    }

    /// The seven bytes. Both lengths must be at most [`FULL`].
    pub fn bytes(self) -> [u8; HEADER] {
        debug_assert!(self.length <= FULL && self.plain_length <= FULL);
        let (length, plain) = (self.length.to_le_bytes(), self.plain_length.to_le_bytes());
        [length[0], length[1], length[2], self.sequence, plain[0], plain[1], plain[2]]
    }
}

/// How the bytes of a frame are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// A zlib stream a frame.
    Zlib,
    /// A zstd frame a frame.
    Zstd {
        /// What the client has asked for, one of [`ZSTD_LEVELS`].
        level: u8,
    },
}

impl Algorithm {
    /// What a client that negotiated `capabilities` gets; zlib comes first when it has both.
    pub fn negotiated(capabilities: Capabilities, zstd_level: u8) -> Option<Self> {
        if capabilities.contains(Capabilities::COMPRESS) {
            Some(Self::Zlib)
        } else if capabilities.contains(Capabilities::ZSTD) {
            Some(Self::Zstd { level: zstd_level })
        } else {
            None
        }
    }

    /// The flag that stands for it in a login.
    pub fn capability(self) -> Capabilities {
        match self {
            Self::Zlib => Capabilities::COMPRESS,
            Self::Zstd { .. } => Capabilities::ZSTD,
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Zlib => "zlib",
            Self::Zstd { .. } => "zstd",
        })
    }
}

/// What makes a compressed stream end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// A frame has another sequence id than the one expected.
    #[error("Got packets out of order")]
    OutOfOrder,
    /// A frame's bytes can't be unpacked, or are more than its header says.
    #[error("Couldn't uncompress communication packet")]
    NotUnpacked,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn headers_survive_a_round_trip(
            length in 0..=FULL,
            sequence: u8,
            plain_length in 0..=FULL,
            rest: Vec<u8>,
        ) {
            let frame = Frame { length, sequence, plain_length };
            let bytes = [&frame.bytes()[..], &rest].concat();
            prop_assert_eq!(Frame::parse(&bytes), Some(frame));
            prop_assert_eq!(Frame::parse(&bytes[..HEADER - 1]), None);
        }
    }

    #[test]
    fn zlib_comes_before_zstd() {
        let negotiated = |capabilities| Algorithm::negotiated(capabilities, 3);
        let both = Capabilities::COMPRESS | Capabilities::ZSTD;
        assert_eq!(negotiated(both), Some(Algorithm::Zlib));
        assert_eq!(negotiated(Capabilities::ZSTD), Some(Algorithm::Zstd { level: 3 }));
        assert_eq!(negotiated(Capabilities::SUPPORTED - both), None);
    }
}

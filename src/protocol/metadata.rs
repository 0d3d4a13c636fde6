//! Column definitions of prepared statements, where they are not sent each time (MariaDB's cached
//! metadata).
//!
//! A server leaves the definitions out of an answer until they differ from those it has sent last
//! for the statement, also when that was to another session of the same connection. So each
//! connection knows what its server has sent, and each session what its client has got; where the
//! two differ, the client is sent what it lacks, and not again what it has.
//!
//! Source: <https://mariadb.com/kb/en/result-set-packets/>.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::packet;

/// Longest column definitions that are kept for clients that may lack them.
const PACKETS_MAX: usize = 64 * 1024;

/// Tells column definitions from others: an equal digest means equal definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataDigest([u8; 32]);

/// Column definitions as a server has sent them.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// Tells them from others.
    pub digest: MetadataDigest,
    /// The packets, numbered from 0 on; `None` when they are too long to be kept.
    pub packets: Option<Arc<[u8]>>,
}

impl Metadata {
    /// Of whole packets.
    pub fn new(mut packets: Vec<u8>) -> Self {
        packet::renumber(&mut packets, 0);
        let digest = MetadataDigest(Sha256::digest(&packets).into());
        let packets = (packets.len() <= PACKETS_MAX).then(|| packets.into());
        Self { digest, packets }
    }
}

/// What a client is to have of the definitions in an answer, where that is not what its connection
/// has sent last. The default is: just what the server sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expected {
    /// Those that the client lacks, should the server leave them out; packets numbered from 0 on.
    pub lacking: Option<Arc<[u8]>>,
    /// Those that the client has: they are left out, should the server send them.
    pub known: Option<MetadataDigest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(sequence: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        packet::put(&mut out, sequence, payload);
        out
    }

    #[test]
    fn what_precedes_definitions_does_not_matter() {
        let [early, late] = [2, 9].map(|sequence| Metadata::new(packets(sequence, b"def")));
        assert_eq!(early.digest, late.digest);
        assert_eq!(early.packets.as_deref(), Some(&packets(0, b"def")[..]));
        assert_ne!(early.digest, Metadata::new(packets(2, b"fed")).digest);
    }

    #[test]
    fn long_definitions_are_known_but_not_kept() {
        let long = Metadata::new(packets(2, &vec![b'x'; PACKETS_MAX]));
        assert!(long.packets.is_none());
        assert_eq!(long.digest, Metadata::new(packets(3, &vec![b'x'; PACKETS_MAX])).digest);
    }
}

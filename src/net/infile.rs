//! LOAD DATA LOCAL: the client's file on its way to the server.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

use super::read::fill;
use super::relay::RelayError;
use super::socket::Socket;
use crate::protocol::packet::{FULL, HEADER, Header};

/// Passes the file, from a client's socket, to the server; the client may pause for `limit`.
///
/// Packets in compressed frames are numbered anew, on from `first`, which the server expects: nobody looks
/// at the numbers they have there, and clients begin with 0 or count their frames.
///
/// # Errors
/// When either side is gone.
///
/// # Cancel safety
/// Not cancel safe: the server waits for the rest.
pub async fn pass_file(
    client: &mut Socket,
    inbox: &mut Vec<u8>,
    server: &mut Socket,
    (first, limit): (u8, Duration),
) -> Result<u64, RelayError> {
    if let Some(numbering) = server.numbering() {
        numbering.begin_file();
    }
    let renumbered = client.is_compressed().then_some(first);
    if let Some(compression) = client.compression() {
        compression.expect_more();
    }
    let passed = pass_packets(client, inbox, server, (renumbered, limit)).await;
    if let Some(compression) = client.compression() {
        compression.begin_answer();
    }
    let passed = passed?;
    if let Some(numbering) = server.numbering() {
        numbering.end_file();
    }
    server.flush().await.map_err(RelayError::Server)?;
    Ok(passed)
}

/// Passes packets from the client on to the server until the empty one that ends the file, which
/// is passed on too. `inbox` holds what the client sent already; what follows the file stays.
///
/// Returns the bytes passed on.
///
async fn pass_packets<C, B>(
    client: &mut C,
    inbox: &mut Vec<u8>,
    server: &mut B,
    (mut sequence, limit): (Option<u8>, Duration),
) -> Result<u64, RelayError>
where
    C: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
{
    let mut passed = 0;
    let mut place = Place::default();
    loop {
        let (ready, is_end) = scan(inbox, &mut place, sequence.as_mut());
        server.write_all(&inbox[..ready]).await.map_err(RelayError::Server)?;
        passed += ready as u64;
        inbox.drain(..ready);
        if is_end {
            return Ok(passed);
        }
        let filled = timeout(limit, fill(client, inbox)).await;
        let filled = filled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if filled.map_err(RelayError::Client)? == 0 {
            return Err(RelayError::Client(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// Where in a file a scan has come to.
#[derive(Debug, Default)]
pub struct Place {
    /// What is left of the packet before.
    skip: usize,
    /// That packet is of the greatest length, and the next one goes on with it, be it empty.
    continues: bool,
}

/// How many leading bytes belong to the file, and whether they end it; on from `place`. With a
/// `sequence` the packets are numbered anew, on from that.
pub fn scan(bytes: &mut [u8], place: &mut Place, mut sequence: Option<&mut u8>) -> (usize, bool) {
    let mut at = place.skip.min(bytes.len());
    place.skip -= at;
    while place.skip == 0 {
        let Some(header) = Header::parse(&bytes[at..]) else { break };
        if let Some(sequence) = &mut sequence {
            bytes[at + HEADER - 1] = **sequence;
            **sequence = sequence.wrapping_add(1);
        }
        if header.length == 0 && !place.continues {
            return (at + HEADER, true);
        }
        place.continues = header.length == FULL;
        let length = HEADER + header.length;
        let here = length.min(bytes.len() - at);
        at += here;
        place.skip = length - here;
    }
    (at, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_file_ends_at_its_empty_packet_wherever_it_is_cut() {
        let file = b"\x03\x00\x00\x02abc\x01\x00\x00\x03d\x00\x00\x00\x04";
        for cut in 0..file.len() {
            let mut inbox = file[..cut].to_vec();
            let rest = [&file[cut..], b"next"].concat();
            let mut server = Vec::new();
            let mut client = &rest[..];
            let passed = pass_packets(&mut client, &mut inbox, &mut server, (None, LIMIT)).await;
            let passed = passed.expect("whole");
            assert_eq!(passed, file.len() as u64);
            assert_eq!(server, file);
            assert_eq!(inbox, b"next");
        }
    }

    #[tokio::test]
    async fn an_empty_packet_behind_one_of_the_greatest_length_ends_that_alone() {
        let long = [&b"\xff\xff\xff\x02"[..], &vec![b'x'; FULL], b"\0\0\0\x03"].concat();
        for rest in [&b"\0\0\0\x04"[..], b"\x01\0\0\x04y\0\0\0\x05"] {
            let file = [&long, rest].concat();
            let (mut server, mut inbox) = (Vec::new(), Vec::new());
            let mut client = &[&file, &b"next"[..]].concat()[..];
            let passed = pass_packets(&mut client, &mut inbox, &mut server, (None, LIMIT)).await;
            assert_eq!(passed.expect("whole"), file.len() as u64);
            let left = [&inbox, client].concat();
            assert!(server == file && left == b"next", "{} bytes are left", left.len());
        }
    }

    #[tokio::test]
    async fn packets_of_frames_are_numbered_anew() {
        let file = b"\x03\x00\x00\x00abc\x01\x00\x00\x77d\x00\x00\x00\x77";
        for cut in 0..file.len() {
            let mut inbox = file[..cut].to_vec();
            let mut server = Vec::new();
            let mut client = &file[cut..];
            let passed =
                pass_packets(&mut client, &mut inbox, &mut server, (Some(0xff), LIMIT)).await;
            passed.expect("whole");
            assert_eq!(server, b"\x03\x00\x00\xffabc\x01\x00\x00\x00d\x00\x00\x00\x01");
        }
    }
}

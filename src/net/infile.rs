//! LOAD DATA LOCAL: the client's file on its way to the server.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::read::fill;
use super::relay::RelayError;
use super::socket::Socket;
use crate::protocol::packet::{HEADER, Header};

/// Passes the file, from a client's socket, to the server. Packets in compressed frames are
/// numbered anew: nobody looks at the numbers they have there, but the server would.
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
) -> Result<u64, RelayError> {
    if let Some(numbering) = server.numbering() {
        numbering.begin_file();
    }
    let is_compressed = client.is_compressed();
    if let Some(compression) = client.compression() {
        compression.expect_more();
    }
    let passed = pass_packets(client, inbox, server, is_compressed).await;
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
    renumbers: bool,
) -> Result<u64, RelayError>
where
    C: AsyncRead + Unpin,
    B: AsyncWrite + Unpin,
{
    let mut passed = 0;
    let mut skip = 0;
    let mut sequence = None;
    loop {
        let (ready, is_end) = scan(inbox, &mut skip, renumbers.then_some(&mut sequence));
        server.write_all(&inbox[..ready]).await.map_err(RelayError::Server)?;
        passed += ready as u64;
        inbox.drain(..ready);
        if is_end {
            return Ok(passed);
        }
        if fill(client, inbox).await.map_err(RelayError::Client)? == 0 {
            return Err(RelayError::Client(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// How many leading bytes belong to the file, and whether they end it. `skip` is what is left of
/// the packet before. With a `sequence` the packets are numbered anew, on from the first one.
pub fn scan(
    bytes: &mut [u8],
    skip: &mut usize,
    mut sequence: Option<&mut Option<u8>>,
) -> (usize, bool) {
    let mut at = (*skip).min(bytes.len());
    *skip -= at;
    while *skip == 0 {
        let Some(header) = Header::parse(&bytes[at..]) else { break };
        if let Some(sequence) = &mut sequence {
            let number = *sequence.get_or_insert(header.sequence);
            bytes[at + HEADER - 1] = number;
            **sequence = Some(number.wrapping_add(1));
        }
        if header.length == 0 {
            return (at + HEADER, true);
        }
        let length = HEADER + header.length;
        let here = length.min(bytes.len() - at);
        at += here;
        *skip = length - here;
    }
    (at, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_ends_at_its_empty_packet_wherever_it_is_cut() {
        let file = b"\x03\x00\x00\x02abc\x01\x00\x00\x03d\x00\x00\x00\x04";
        for cut in 0..file.len() {
            let mut inbox = file[..cut].to_vec();
            let rest = [&file[cut..], b"next"].concat();
            let mut server = Vec::new();
            let mut client = &rest[..];
            let passed = pass_packets(&mut client, &mut inbox, &mut server, false).await;
            let passed = passed.expect("whole");
            assert_eq!(passed, file.len() as u64);
            assert_eq!(server, file);
            assert_eq!(inbox, b"next");
        }
    }

    #[tokio::test]
    async fn packets_of_frames_are_numbered_anew() {
        let file = b"\x03\x00\x00\xffabc\x01\x00\x00\x77d\x00\x00\x00\x77";
        for cut in 0..file.len() {
            let mut inbox = file[..cut].to_vec();
            let mut server = Vec::new();
            let mut client = &file[cut..];
            let passed = pass_packets(&mut client, &mut inbox, &mut server, true).await;
            passed.expect("whole");
            assert_eq!(server, b"\x03\x00\x00\xffabc\x01\x00\x00\x00d\x00\x00\x00\x01");
        }
    }
}

//! Column definitions that are put into an answer, or left out of it, so that a client of cached
//! metadata has them just once; see [`super::super::metadata`].

use super::{Response, State};
use crate::protocol::metadata::Metadata;
use crate::protocol::packet::{self, HEADER, Header};
use crate::protocol::wire::{Cursor, Malformed};

/// Longest definitions that are held back to be compared with those a client has, in bytes.
const COMPARED_MAX: usize = 4 * 1024 * 1024;

/// What became of definitions that a client has.
pub(super) enum LeftOut {
    /// More bytes have to tell.
    Unsure,
    /// So many bytes: the number of columns and the definitions.
    /// [`Response::take_instead`] is what is sent for them.
    Bytes(usize),
    /// They are sent, since they are not those the client has.
    Nothing,
}

impl Response {
    /// Puts in the definitions that a client lacks, behind the packet with their number.
    pub(super) fn put_lacking(&mut self, packet: &[u8]) {
        let Some(lacking) = self.expected.lacking.take() else { return };
        let mut out = packet.to_vec();
        if let Some(follow) = out.last_mut() {
            *follow = 1;
        }
        let mut rest = &lacking[..];
        let mut packets = 0u8;
        while let Ok(framed) = packet::frame(rest) {
            packets = packets.wrapping_add(1);
            let at = out.len();
            out.extend_from_slice(&rest[..framed.wire_length]);
            out[at + 3] = packet[3].wrapping_add(packets);
            rest = &rest[framed.wire_length..];
        }
        self.shift = self.shift.wrapping_add(packets);
        self.summary.definitions = lacking.to_vec();
        self.instead = Some(out);
    }

    /// Whether the next packet may be the number of columns that a client has.
    pub(super) fn expects_known(&self) -> bool {
        self.expected.known.is_some() && self.state == State::First && self.summary.result_sets == 0
    }

    /// Leaves the definitions out of `bytes` that a client has. The first packet of them is
    /// `first` bytes long.
    pub(super) fn leave_out_known(
        &mut self,
        bytes: &[u8],
        first: usize,
    ) -> Result<LeftOut, Malformed> {
        let Some(known) = self.expected.known else { return Ok(LeftOut::Nothing) };
        let Some(columns) = columns_that_follow(&bytes[HEADER..first])? else {
            return Ok(LeftOut::Nothing);
        };
        let mut end = first;
        let mut packets = 0u8;
        for _ in 0..columns {
            let rest = bytes.get(end..).unwrap_or_default();
            let header = Header::parse(rest).zip(rest.get(HEADER));
            let Some((header, &first)) = header else { return Ok(LeftOut::Unsure) };
            if first == 0xff || end > COMPARED_MAX || header.length > COMPARED_MAX {
                self.expected.known = None;
                return Ok(LeftOut::Nothing);
            }
            end += HEADER + header.length;
            packets = packets.wrapping_add(1);
        }
        if end > bytes.len() {
            return Ok(LeftOut::Unsure);
        }
        self.expected.known = None;
        let definitions = bytes[first..end].to_vec();
        if Metadata::new(definitions.clone()).digest != known {
            return Ok(LeftOut::Nothing);
        }
        let mut head = bytes[..first].to_vec();
        head[first - 1] = 0;
        head[3] = head[3].wrapping_add(self.shift);
        self.begin_result_set();
        self.summary.definitions = definitions;
        self.shift = self.shift.wrapping_sub(packets);
        self.state = if self.deprecates_eof { State::Rows } else { State::ColumnsEnd };
        self.is_untouched = false;
        self.instead = Some(head);
        Ok(LeftOut::Bytes(end))
    }
}

/// The number of columns in the payload that begins a result set, if their definitions follow by
/// its own word.
fn columns_that_follow(payload: &[u8]) -> Result<Option<u64>, Malformed> {
    if matches!(payload[0], 0x00 | 0xfb | 0xfe | 0xff) {
        return Ok(None);
    }
    let mut cursor = Cursor::new(payload);
    let columns = cursor.lenenc("number of columns")?;
    let follow = cursor.remaining().len() == 1 && cursor.u8("metadata follow")? != 0;
    Ok(follow.then_some(columns))
}

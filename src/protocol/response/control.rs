//! The packets of a response that are read whole: OK, ERR, EOF, and what begins and ends its parts.

use super::{ANSWER_MAX, PROGRESS, Response, State, TELLING};
use crate::protocol::packet::{HEADER, Header};
use crate::protocol::status::{self, ErrPacket, OkPacket, Status};
use crate::protocol::wire::{Cursor, Malformed};

impl Response {
    /// Reads a whole control packet; returns the length of its payload after tracking was taken
    /// out.
    pub(super) fn control(&mut self, packet: &mut [u8]) -> Result<usize, Malformed> {
        let payload = &packet[HEADER..];
        let length = payload.len();
        if payload[0] == 0xff {
            self.err(ErrPacket::parse(payload)?);
            return Ok(length);
        }
        if let Some(answer) = &mut self.summary.answer {
            match answer.len() + packet.len() <= ANSWER_MAX {
                true => answer.extend_from_slice(packet),
                false => self.summary.answer = None,
            }
        }
        match self.state {
            State::First => match payload[0] {
                0x00 => return self.ok(packet, true),
                0xfb => {
                    self.file_sequence = packet[3].wrapping_sub(self.shift).wrapping_add(1);
                    self.state = State::Infile;
                }
                // With DEPRECATE_EOF it is an OK packet, of at least 7 bytes.
                0xfe if length < 9 && !(self.deprecates_eof && length >= 7) => {
                    self.eof(&mut packet[HEADER..])?;
                    self.finish();
                }
                0xfe => return self.ok(packet, length >= 9),
                _ => {
                    let mut cursor = Cursor::new(payload);
                    let left = cursor.lenenc("number of columns")?;
                    let follow = cursor.is_empty() || cursor.u8("metadata follow")? != 0;
                    if left == 0 {
                        return Err(Malformed { what: "number of columns", offset: 0 });
                    }
                    self.begin_result_set();
                    self.state = match (follow, self.deprecates_eof) {
                        (true, _) => State::Columns { left },
                        (false, true) => State::Rows,
                        (false, false) => State::ColumnsEnd,
                    };
                    if !follow && self.summary.result_sets == 1 {
                        self.put_lacking(packet);
                    }
                }
            },
            State::ColumnsEnd => {
                self.eof(&mut packet[HEADER..])?;
                self.state = State::Rows;
                let out_params = Status::PS_OUT_PARAMS | Status::MORE_RESULTS;
                self.are_out_params = self.summary.status.contains(out_params);
                if self.opens_cursor && self.summary.status.contains(Status::CURSOR_EXISTS) {
                    self.finish();
                }
            }
            State::Rows if !self.ends_rows(payload[0], length) => {
                self.summary.rows += 1;
                let edited = self.editor.as_ref().and_then(|editor| editor.edit(payload));
                return Ok(edited.map_or(length, |edited| self.rewrite(packet, &edited)));
            }
            State::Rows | State::Fields => {
                let length = match self.deprecates_eof && length >= 7 {
                    true => self.ok(packet, false)?,
                    false => {
                        self.eof(&mut packet[HEADER..])?;
                        self.finish();
                        length
                    }
                };
                self.put_more_rows(&packet[..HEADER + length]);
                return Ok(length);
            }
            State::Prepared => self.prepared(packet)?,
            State::DefinitionsEnd { then } => self.state = definitions(then, 0),
            State::EmptyLists { left } => self.state = empty_lists(left - 1),
            State::Text => self.state = State::Done,
            State::Columns { left } => {
                if self.summary.result_sets == 1 {
                    self.summary.definitions.extend_from_slice(packet);
                }
                self.state = self.after_column(left);
            }
            State::Definitions { left, then } => {
                if self.lacks_parameters() {
                    let at = length.saturating_sub(TYPE_AT);
                    self.summary.parameter_types.push(packet[HEADER + at]);
                }
                let has_columns = self.summary.prepared.is_some_and(|(_, columns, _)| columns > 0);
                if then == 0 && has_columns {
                    self.summary.definitions.extend_from_slice(packet);
                }
                self.state = self.after_definition(left, then);
            }
            State::Infile | State::Done => {
                return Err(Malformed { what: "unexpected packet", offset: 0 });
            }
        }
        Ok(length)
    }

    fn err(&mut self, ErrPacket { code, sqlstate, message }: ErrPacket<'_>) {
        self.summary.sqlstate = sqlstate.try_into().unwrap_or_default();
        if TELLING.contains(&code) {
            self.summary.message = message.to_vec();
        }
        if !(self.has_progress && code == PROGRESS) {
            self.summary.error = Some(code);
            self.state = State::Done;
            self.has_ended = true;
        }
    }

    fn ok(&mut self, packet: &mut [u8], is_statement: bool) -> Result<usize, Malformed> {
        let ok = OkPacket::parse(&packet[HEADER..])?;
        let known = if self.tells_just_warnings { self.warnings } else { u16::MAX };
        self.summary.note_warnings(ok.warnings.min(known));
        if self.tells_just_warnings || self.warnings > 0 && ok.warnings == 0 {
            let at = HEADER + ok.warnings_at();
            packet[at..at + 2].copy_from_slice(&self.warnings.to_le_bytes());
        }
        let payload = &packet[HEADER..];
        let ok = OkPacket::parse(payload)?;
        self.summary.status = ok.status;
        self.summary.has_status = true;
        if is_statement {
            self.summary.affected = Some(ok.affected);
        }
        if ok.insert_id != 0 {
            self.summary.insert_id = ok.insert_id;
        }
        let is_tracked = ok.status.contains(Status::SESSION_STATE_CHANGED);
        self.summary.is_tracking_due = false;
        if is_tracked {
            ok.tracked(&mut self.summary.tracked)?;
        }
        let other = match &mut self.teller {
            Some(teller) => teller.retell(payload, &ok)?,
            None if is_tracked => Some(ok.without_tracking(payload)),
            None => None,
        };
        let length = payload.len();
        self.finish();
        Ok(other.map_or(length, |other| self.rewrite(packet, &other)))
    }

    /// Puts rows in front of the packet that ends them.
    fn put_more_rows(&mut self, end: &[u8]) {
        let more = self.editor.take().map(|editor| editor.more()).unwrap_or_default();
        if more.is_empty() {
            return;
        }
        let mut end = self.instead.take().unwrap_or_else(|| end.to_vec());
        let mut out = Vec::new();
        for row in more {
            out.extend(status::packet(end[3], &row));
            end[3] = end[3].wrapping_add(1);
            self.shift = self.shift.wrapping_add(1);
            self.summary.rows += 1;
        }
        out.extend(end);
        self.instead = Some(out);
    }

    /// Puts another payload in a packet's place, or aside if it has grown; returns the length of
    /// the payload that is there then.
    fn rewrite(&mut self, packet: &mut [u8], payload: &[u8]) -> usize {
        let (length, sequence) = (payload.len(), packet[3]);
        if length > packet.len() - HEADER {
            self.instead = Some(status::packet(sequence, payload));
            return packet.len() - HEADER;
        }
        packet[..HEADER].copy_from_slice(&Header { length, sequence }.bytes());
        packet[HEADER..HEADER + length].copy_from_slice(payload);
        length
    }

    fn eof(&mut self, payload: &mut [u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(payload);
        cursor.take(1, "header")?;
        self.summary.note_warnings(cursor.u16("warnings")?);
        let status = Status::from_bits_retain(cursor.u16("status")?);
        self.summary.has_status = true;
        if self.warnings > 0 && self.summary.warnings == 0 {
            payload[1..3].copy_from_slice(&self.warnings.to_le_bytes());
        }
        // An EOF packet says that session tracking is due, which comes with the next OK packet.
        self.summary.is_tracking_due = status.contains(Status::SESSION_STATE_CHANGED);
        self.summary.status = status - Status::SESSION_STATE_CHANGED;
        payload[3..5].copy_from_slice(&self.summary.status.bits().to_le_bytes());
        Ok(())
    }

    fn prepared(&mut self, packet: &mut [u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(&packet[HEADER..]);
        cursor.take(1, "header")?;
        let id = cursor.u32("statement id")?;
        let columns = cursor.u16("number of columns")?;
        let parameters = cursor.u16("number of parameters")?;
        cursor.take(1, "filler")?;
        self.summary.note_warnings(cursor.u16("warnings").unwrap_or(0));
        let follow = cursor.is_empty() || cursor.u8("metadata follow")? != 0;
        self.summary.prepared = Some((id, columns, parameters));
        packet[HEADER + 1..HEADER + 5].copy_from_slice(&self.statement_id.to_le_bytes());
        self.state = match (follow, self.deprecates_eof) {
            (true, _) => definitions(u64::from(parameters), u64::from(columns)),
            (false, true) => State::Done,
            (false, false) => empty_lists(u8::from(parameters > 0) + u8::from(columns > 0)),
        };
        Ok(())
    }

    pub(super) fn begin_result_set(&mut self) {
        self.has_begun = true;
        self.summary.rows = 0;
        self.summary.has_result_set = true;
        self.summary.affected = None;
        self.summary.result_sets = self.summary.result_sets.saturating_add(1);
    }

    fn finish(&mut self) {
        self.has_ended = true;
        let more = self.summary.status.contains(Status::MORE_RESULTS) || self.are_out_params;
        self.are_out_params = false;
        self.state = if more { State::First } else { State::Done };
    }
}

/// The type in a column definition is so many bytes from its end: type, flags, decimals, filler.
const TYPE_AT: usize = 6;

/// The state that expects `left` definitions, and `then` more after them.
pub(super) fn definitions(left: u64, then: u64) -> State {
    match (left, then) {
        (0, 0) => State::Done,
        (0, then) => State::Definitions { left: then, then: 0 },
        (left, then) => State::Definitions { left, then },
    }
}

fn empty_lists(left: u8) -> State {
    if left == 0 { State::Done } else { State::EmptyLists { left } }
}

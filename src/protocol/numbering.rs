//! Sequence ids on a compressed connection to a server.
//!
//! Frames are numbered from 0 with each command, and on through its answer; several commands may
//! be under way. Servers forget what stands behind a command in one frame, so each command begins
//! a frame of its own. The ids of the packets inside follow the servers' frames and mean nothing:
//! those of an answer are made what they are without compression, since a client may look at them.

use std::collections::VecDeque;

use super::command::Command;
use super::packet::{FULL, HEADER, Header};
use super::response::Shape;

/// Where a stream of packets stands.
#[derive(Debug, Default)]
struct Walk {
    /// The first bytes of a header that is cut.
    head: [u8; HEADER],
    /// How many of them there are.
    seen: usize,
    /// Bytes of the current packet's payload still to come.
    left: usize,
}

impl Walk {
    /// Whether a packet has ended, or none has begun.
    fn is_between(&self) -> bool {
        self.seen == 0 && self.left == 0
    }

    /// Goes over the next bytes of a header: how many they are, and the header if it is whole.
    fn header(&mut self, bytes: &[u8]) -> (usize, Option<Header>) {
        let taken = (HEADER - self.seen).min(bytes.len());
        self.head[self.seen..self.seen + taken].copy_from_slice(&bytes[..taken]);
        self.seen += taken;
        if self.seen < HEADER {
            return (taken, None);
        }
        self.seen = 0;
        let header = Header::parse(&self.head);
        self.left = header.map_or(0, |header| header.length);
        (taken, header)
    }

    /// Goes over what there is of the current packet's payload: how many bytes that are.
    fn payload(&mut self, bytes: &[u8]) -> usize {
        let taken = self.left.min(bytes.len());
        self.left -= taken;
        taken
    }
}

/// The ids with which the answer to a command begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Start {
    frame: u8,
    packet: u8,
}

/// Both directions of a connection to a server.
#[derive(Debug, Default)]
pub struct Numbering {
    /// What is written.
    written: Walk,
    /// Its current packet is continued by the next.
    continues: bool,
    /// The id behind that of its last packet.
    follows: u8,
    /// First byte of the command that is being written.
    command: Option<u8>,
    /// Id of its next frame.
    next_frame: u8,
    /// Answers that have not begun, to the commands written so far.
    due: VecDeque<Start>,
    /// What is written is a file that the answer under way has asked for.
    is_file: bool,
    /// What is read.
    read: Walk,
    /// Next ids of the answer under way.
    answer: Start,
    /// A frame of it has come.
    has_begun: bool,
}

impl Numbering {
    /// How many of the next bytes to write go into one frame, and its sequence id: `bytes` up to
    /// the end of a command. Commands have to be whole packets, one after the other.
    pub fn cut(&mut self, bytes: &[u8]) -> (usize, u8) {
        let id = if self.is_file { &mut self.answer.frame } else { &mut self.next_frame };
        let sequence = *id;
        *id = id.wrapping_add(1);
        let mut at = 0;
        while at < bytes.len() {
            at += self.write(&bytes[at..]);
            if self.written.is_between() && !self.continues && !self.is_file {
                self.end_command();
                break;
            }
        }
        (at, sequence)
    }

    /// Goes over a piece of what is written.
    fn write(&mut self, bytes: &[u8]) -> usize {
        if self.written.left > 0 {
            self.command.get_or_insert(bytes[0]);
            return self.written.payload(bytes);
        }
        let (taken, header) = self.written.header(bytes);
        if let Some(header) = header {
            self.continues = header.length == FULL;
            self.follows = header.sequence.wrapping_add(1);
        }
        taken
    }

    fn end_command(&mut self) {
        let command = self.command.take().and_then(Command::from_byte);
        if command.is_none_or(|command| command.shape() != Shape::Nothing) {
            self.due.push_back(Start { frame: self.next_frame, packet: self.follows });
        }
        self.next_frame = 0;
    }

    /// The answer to the first command that has none yet is to be read.
    pub fn begin_answer(&mut self) {
        self.answer = self.due.pop_front().unwrap_or_default();
        self.read = Walk::default();
        self.has_begun = false;
    }

    /// A file is to be written, for the answer under way.
    pub fn begin_file(&mut self) {
        self.is_file = true;
    }

    /// The file is written; the answer goes on behind it.
    pub fn end_file(&mut self) {
        self.is_file = false;
        self.answer.packet = self.follows;
    }

    /// Whether the next frame can have this id. A server that ends the connection says why
    /// unasked, from 0 on.
    pub fn expects(&self, sequence: u8) -> bool {
        sequence == self.answer.frame || sequence == 0 && !self.has_begun
    }

    /// Takes the frame with this id, which has to be an expected one; gives the packets in its
    /// contents the ids they have without compression.
    pub fn take_frame(&mut self, sequence: u8, contents: &mut [u8]) {
        debug_assert!(self.expects(sequence));
        self.answer.frame = sequence.wrapping_add(1);
        self.has_begun = true;
        self.renumber(contents);
    }

    fn renumber(&mut self, contents: &mut [u8]) {
        let mut at = 0;
        while at < contents.len() {
            if self.read.left > 0 {
                at += self.read.payload(&contents[at..]);
                continue;
            }
            let (taken, header) = self.read.header(&contents[at..]);
            at += taken;
            if header.is_some() {
                contents[at - 1] = self.answer.packet;
                self.answer.packet = self.answer.packet.wrapping_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::packet::put;

    fn command(byte: u8, length: usize) -> Vec<u8> {
        let mut wire = Vec::new();
        put(&mut wire, 0, &[&[byte][..], &vec![b'x'; length]].concat());
        wire
    }

    /// Cuts `wire`, which comes in pieces of at most `piece` bytes, into frames: their lengths and ids.
    fn frames(numbering: &mut Numbering, wire: &[u8], piece: usize) -> Vec<(usize, u8)> {
        let mut cut = Vec::new();
        let mut rest = wire;
        while !rest.is_empty() {
            let (length, id) = numbering.cut(&rest[..rest.len().min(piece)]);
            cut.push((length, id));
            rest = &rest[length..];
        }
        cut
    }

    /// Reads an answer of packets numbered anyhow, cut at `at` into two frames.
    fn answer(numbering: &mut Numbering, first: u8, packets: usize, at: usize) -> Vec<u8> {
        let mut contents: Vec<u8> = (0..packets).flat_map(|_| [2, 0, 0, 0xee, 7, 7]).collect();
        let (head, tail) = contents.split_at_mut(at);
        numbering.begin_answer();
        numbering.take_frame(first, head);
        assert!(!numbering.expects(first.wrapping_add(2)));
        assert!(numbering.expects(first.wrapping_add(1)));
        numbering.take_frame(first.wrapping_add(1), tail);
        contents.chunks(6).map(|packet| packet[3]).collect()
    }

    #[test]
    fn each_command_has_frames_of_its_own_and_an_answer_behind_them() {
        let mut numbering = Numbering::default();
        let close = command(Command::StmtClose as u8, 4);
        let (short, long) = (command(3, 10), command(3, 25));
        let wire = [&close[..], &short, &long].concat();
        let cut = frames(&mut numbering, &wire, 15);
        assert_eq!(cut, [(9, 0), (15, 0), (15, 0), (15, 1)]);
        for at in 0..=18 {
            assert_eq!(answer(&mut numbering, 1, 3, at), [1, 2, 3], "to the short one");
            assert_eq!(answer(&mut numbering, 2, 3, at), [1, 2, 3], "to the long one");
            frames(&mut numbering, &wire, 15);
        }
    }

    #[test]
    fn an_answer_to_a_continued_command_goes_on_behind_its_packets() {
        let mut numbering = Numbering::default();
        let wire = command(3, FULL - 1);
        assert_eq!(wire.len(), FULL + 2 * HEADER);
        let cut = frames(&mut numbering, &wire, 1 << 16);
        assert_eq!(cut.len(), 257);
        assert!(cut.iter().enumerate().all(|(index, &(_, id))| usize::from(id) == index % 256));
        assert_eq!(answer(&mut numbering, 1, 2, 6), [2, 3]);
    }

    #[test]
    fn a_file_goes_on_with_the_frames_of_its_answer() {
        let mut numbering = Numbering::default();
        frames(&mut numbering, &command(3, 5), 100);
        numbering.begin_answer();
        numbering.take_frame(1, &mut [1, 0, 0, 1, 0xfb]);
        numbering.begin_file();
        let file = [&[1, 0, 0, 2, b'x'][..], &[0, 0, 0, 3]].concat();
        assert_eq!(frames(&mut numbering, &file, 6), [(6, 2), (3, 3)]);
        numbering.end_file();
        assert!(numbering.expects(4));
        let mut ok = [1, 0, 0, 99, 0];
        numbering.take_frame(4, &mut ok);
        assert_eq!(ok[3], 4);
        assert_eq!(frames(&mut numbering, &command(3, 5), 100), [(10, 0)]);
    }

    #[test]
    fn a_last_word_may_come_unasked() {
        let mut numbering = Numbering::default();
        frames(&mut numbering, &command(3, 5), 100);
        numbering.begin_answer();
        assert!(numbering.expects(0) && numbering.expects(1) && !numbering.expects(2));
        numbering.take_frame(0, &mut [1, 0, 0, 0, 0xff]);
        assert!(numbering.expects(1) && !numbering.expects(0));
    }

    proptest! {
        #[test]
        fn what_is_cut_anywhere_is_numbered_alike(
            lengths in prop::collection::vec(0..40usize, 1..8),
            piece in 1..60usize,
        ) {
            let mut numbering = Numbering::default();
            let wire: Vec<u8> = lengths.iter().flat_map(|&length| command(3, length)).collect();
            let mut cut = frames(&mut numbering, &wire, piece).into_iter();
            for &length in &lengths {
                let mut left = length + 1 + HEADER;
                let mut id = 0;
                while left > 0 {
                    let now = left.min(piece);
                    prop_assert_eq!(cut.next(), Some((now, id)));
                    (left, id) = (left - now, id + 1);
                }
            }
            prop_assert_eq!(cut.next(), None);
            for &length in &lengths {
                let frames = (length + 1 + HEADER).div_ceil(piece);
                let first = u8::try_from(frames).unwrap_or_default();
                prop_assert_eq!(answer(&mut numbering, first, 4, piece % 24), [1, 2, 3, 4]);
            }
            prop_assert!(numbering.due.is_empty());
        }
    }
}

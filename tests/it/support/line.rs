//! A client's socket, with compressed frames when they were agreed to; as strict about them as
//! clients are, and without Fairlane's own code for them.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use fairlane::protocol::compress::Algorithm;

/// Longest contents of a frame.
const FULL: usize = 0xff_ffff;

/// A connected socket.
#[derive(Debug)]
pub struct Line {
    pub socket: TcpStream,
    frames: Option<Frames>,
    /// Read from the socket, from `at` on not yet asked for.
    ahead: Vec<u8>,
    at: usize,
}

/// Bytes asked of the socket at once.
const AHEAD: usize = 16 * 1024;

/// What compression needs to know.
#[derive(Debug)]
struct Frames {
    algorithm: Algorithm,
    /// Of the next frame, whoever sends it.
    sequence: u8,
    plain: Vec<u8>,
    at: usize,
}

impl Line {
    pub fn new(socket: TcpStream) -> Self {
        Self { socket, frames: None, ahead: Vec::new(), at: 0 }
    }

    /// Everything is in frames from here on.
    pub fn compress(&mut self, algorithm: Algorithm) {
        self.frames = Some(Frames { algorithm, sequence: 0, plain: Vec::new(), at: 0 });
    }

    /// A new command begins.
    pub fn begin(&mut self) {
        if let Some(frames) = &mut self.frames {
            frames.sequence = 0;
        }
    }

    /// A frame was written to the socket itself.
    pub fn note_frame(&mut self) {
        if let Some(frames) = &mut self.frames {
            frames.sequence = frames.sequence.wrapping_add(1);
        }
    }

    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }
}

impl Line {
    /// Packets come with few reads of the socket, whose time is most of what a client takes.
    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ahead.len() {
            if buffer.len() >= AHEAD {
                return self.socket.read(buffer);
            }
            self.ahead.resize(AHEAD, 0);
            let read = self.socket.read(&mut self.ahead);
            self.ahead.truncate(*read.as_ref().unwrap_or(&0));
            self.at = 0;
            read?;
        }
        let count = buffer.len().min(self.ahead.len() - self.at);
        buffer[..count].copy_from_slice(&self.ahead[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(frames) = &mut self.frames else { return self.read_plain(buffer) };
        while frames.at == frames.plain.len() {
            let mut header = [0; 7];
            self.socket.read_exact(&mut header)?;
            assert_eq!(header[3], frames.sequence, "a frame out of order");
            frames.sequence = frames.sequence.wrapping_add(1);
            let int = |at: usize| {
                u32::from_le_bytes([header[at], header[at + 1], header[at + 2], 0]) as usize
            };
            let mut body = vec![0; int(0)];
            self.socket.read_exact(&mut body)?;
            let plain_length = int(4);
            frames.plain = match plain_length {
                0 => body,
                _ => unpack(frames.algorithm, &body),
            };
            assert!(plain_length == 0 || frames.plain.len() == plain_length, "a wrong length");
            frames.at = 0;
        }
        let count = buffer.len().min(frames.plain.len() - frames.at);
        buffer[..count].copy_from_slice(&frames.plain[frames.at..frames.at + count]);
        frames.at += count;
        Ok(count)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(frames) = &mut self.frames else { return self.socket.write(bytes) };
        let plain = &bytes[..bytes.len().min(FULL)];
        let packed = match plain.len() {
            ..50 => plain.to_vec(),
            _ => pack(frames.algorithm, plain),
        };
        let is_packed = packed.len() < plain.len();
        let body = if is_packed { &packed[..] } else { plain };
        let plain_length = if is_packed { plain.len() } else { 0 };
        let mut out = body.len().to_le_bytes()[..3].to_vec();
        out.push(frames.sequence);
        out.extend(&plain_length.to_le_bytes()[..3]);
        out.extend(body);
        self.socket.write_all(&out)?;
        frames.sequence = frames.sequence.wrapping_add(1);
        Ok(plain.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// As a client packs.
pub fn pack(algorithm: Algorithm, plain: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Zlib => {
            let level = flate2::Compression::default();
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Algorithm::Zstd { level } => zstd::encode_all(plain, i32::from(level)).unwrap(),
    }
}

fn unpack(algorithm: Algorithm, packed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match algorithm {
        Algorithm::Zlib => {
            flate2::read::ZlibDecoder::new(packed).read_to_end(&mut plain).unwrap();
        }
        Algorithm::Zstd { .. } => plain = zstd::decode_all(packed).unwrap(),
    }
    plain
}

//! Packing and unpacking the contents of compressed frames.
//!
//! The libraries' contexts are large and are of use for one frame only: each thread has one of each
//! kind, made when it is first needed, so that a connection at rest holds none.

use std::cell::RefCell;
use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zstd::bulk::{Compressor, Decompressor};

use crate::protocol::compress::{Algorithm, FULL, Frame, HEADER, STORED_BELOW, Violation};

/// zlib's level: the fastest. The servers' own is 6, which takes three times as long.
const ZLIB_LEVEL: u32 = 1;
/// Highest zstd level used, whatever clients ask for: beyond it one frame would hold up the other
/// sessions of its thread for milliseconds. Every level can be read by every client.
const ZSTD_LEVEL_MAX: u8 = 9;
/// First guess at the space for unpacked bytes: a header can claim 16 MiB with little behind it.
const SPACE_FIRST: usize = 64 * 1024;

thread_local! {
    static DEFLATE: RefCell<Option<Compress>> = const { RefCell::new(None) };
    static INFLATE: RefCell<Option<Decompress>> = const { RefCell::new(None) };
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `plain` (at most [`FULL`] bytes) to `out` as a frame: packed if that makes it shorter.
pub fn pack(algorithm: Algorithm, sequence: u8, plain: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let stored = Frame { length: plain.len(), sequence, plain_length: 0 };
    out.extend_from_slice(&stored.bytes());
    // What does not get shorter does not fit, and is given up.
    let space = plain.len().saturating_sub(1);
    out.resize(start + HEADER + space, 0);
    let target = &mut out[start + HEADER..];
    let packed = match algorithm {
        _ if plain.len() < STORED_BELOW => None,
        Algorithm::Zlib => deflate(plain, target),
        Algorithm::Zstd { level } => compress(level, plain, target),
    };
    match packed {
        Some(length) => {
            let frame = Frame { length, sequence, plain_length: plain.len() };
            out[start..start + HEADER].copy_from_slice(&frame.bytes());
            out.truncate(start + HEADER + length);
        }
        None => {
            out.truncate(start + HEADER);
            out.extend_from_slice(plain);
        }
    }
}

/// Appends what `packed` holds to `out`: at most `length` bytes. Servers mind only more than that.
///
/// # Errors
/// When it holds something else, or more; `out` may then have grown to twice what it needed.
pub fn unpack(
    algorithm: Algorithm,
    packed: &[u8],
    length: usize,
    out: &mut Vec<u8>,
) -> Result<(), Violation> {
    debug_assert!(length <= FULL);
    let start = out.len();
    let unpacked = match algorithm {
        Algorithm::Zlib => inflate(packed, length, out),
        // To zstd nothing at all is a whole stream.
        Algorithm::Zstd { .. } if packed.is_empty() => None,
        Algorithm::Zstd { .. } => decompress(packed, length, out),
    };
    match unpacked {
        Some(()) if out.len() - start <= length => Ok(()),
        _ => Err(Violation::NotUnpacked),
    }
}

fn deflate(plain: &[u8], target: &mut [u8]) -> Option<usize> {
    DEFLATE.with_borrow_mut(|kept| {
        // zlib-rs 0.6 keeps an open block over a reset in the midst of a stream, and the next stream has
        // no block header then: what was given up is not used again.
        let mut context =
            kept.take().unwrap_or_else(|| Compress::new(Compression::new(ZLIB_LEVEL), true));
        let status = context.compress(plain, target, FlushCompress::Finish).ok()?;
        let length = usize::try_from(context.total_out()).ok()?;
        if status != Status::StreamEnd {
            return None;
        }
        context.reset();
        *kept = Some(context);
        Some(length)
    })
}

fn inflate(packed: &[u8], length: usize, out: &mut Vec<u8>) -> Option<()> {
    INFLATE.with_borrow_mut(|context| {
        let context = context.get_or_insert_with(|| Decompress::new(true));
        context.reset(true);
        let start = out.len();
        loop {
            let (read, written) = (context.total_in(), out.len() - start);
            // One byte more than is due, so that a longer stream is seen to be one.
            let space = (written * 2).clamp(SPACE_FIRST.min(length), length) - written + 1;
            out.reserve(space);
            let rest = packed.get(usize::try_from(read).ok()?..)?;
            let status = context.decompress_vec(rest, out, FlushDecompress::None).ok()?;
            let has_moved = context.total_in() > read || out.len() - start > written;
            match status {
                Status::StreamEnd => return Some(()),
                _ if !has_moved || out.len() - start > length => return None,
                Status::Ok | Status::BufError => {}
            }
        }
    })
}

fn compress(level: u8, plain: &[u8], target: &mut [u8]) -> Option<usize> {
    let level = i32::from(level.clamp(1, ZSTD_LEVEL_MAX));
    COMPRESSOR.with_borrow_mut(|context| {
        let context = made(context, || Compressor::new(level))?;
        context.set_compression_level(level).ok()?;
        context.compress_to_buffer(plain, target).ok()
    })
}

fn decompress(packed: &[u8], length: usize, out: &mut Vec<u8>) -> Option<()> {
    DECOMPRESSOR.with_borrow_mut(|context| {
        let context = made(context, Decompressor::new)?;
        // Pages of it are taken only as they are written to.
        let mut plain = Vec::with_capacity(length);
        context.decompress_to_buffer(packed, &mut plain).ok()?;
        match out.is_empty() {
            true => *out = plain,
            false => out.extend_from_slice(&plain),
        }
        Some(())
    })
}

/// The context, made if it is not there yet.
fn made<C>(context: &mut Option<C>, make: impl FnOnce() -> io::Result<C>) -> Option<&mut C> {
    if context.is_none() {
        *context = make().ok();
    }
    context.as_mut()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [Algorithm; 3] =
        [Algorithm::Zlib, Algorithm::Zstd { level: 1 }, Algorithm::Zstd { level: 22 }];

    fn round_trip(algorithm: Algorithm, plain: &[u8]) -> Frame {
        let mut wire = b"before".to_vec();
        pack(algorithm, 7, plain, &mut wire);
        let frame = Frame::parse(&wire[6..]).expect("a header");
        let body = &wire[6 + HEADER..];
        assert_eq!((frame.sequence, frame.length), (7, body.len()));
        if frame.plain_length == 0 {
            assert_eq!(body, plain);
            return frame;
        }
        assert_eq!(frame.plain_length, plain.len());
        let mut back = b"before".to_vec();
        unpack(algorithm, body, plain.len(), &mut back).expect("it can be unpacked");
        assert_eq!(&back[6..], plain);
        let claim = |length| unpack(algorithm, body, length, &mut Vec::new());
        for wrong in [plain.len() - 1, 1] {
            assert_eq!(claim(wrong), Err(Violation::NotUnpacked), "{algorithm:?} {wrong}");
        }
        assert_eq!(claim(FULL), Ok(()));
        frame
    }

    #[test]
    fn what_is_short_or_gets_no_shorter_is_stored() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5000).collect();
        for algorithm in ALL {
            for length in [0, 1, STORED_BELOW - 1] {
                assert_eq!(round_trip(algorithm, &vec![b'x'; length]).plain_length, 0);
            }
            for length in [STORED_BELOW, 1000, SPACE_FIRST, SPACE_FIRST + 1, FULL] {
                let frame = round_trip(algorithm, &vec![b'x'; length]);
                assert_eq!(frame.plain_length, length);
                assert!(frame.length < length / 2, "{frame:?}");
            }
            assert_eq!(round_trip(algorithm, &noise).plain_length, 0);
        }
    }

    #[test]
    fn what_is_given_up_leaves_nothing_to_the_next_frame() {
        // Lengths at which the space ends in the midst of a block.
        for length in [62_000, 64_000, 65_000, 128_000, 195_000] {
            let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(length).collect();
            for algorithm in ALL {
                assert_eq!(round_trip(algorithm, &noise).plain_length, 0);
                assert!(round_trip(algorithm, &b"word ".repeat(99)).plain_length > 0);
            }
        }
    }

    #[test]
    fn a_small_frame_that_claims_much_takes_little() {
        let mut wire = Vec::new();
        pack(Algorithm::Zlib, 0, &[b'x'; 100], &mut wire);
        let mut out = Vec::new();
        unpack(Algorithm::Zlib, &wire[HEADER..], FULL, &mut out).expect("less than claimed");
        assert!(out.capacity() <= 2 * SPACE_FIRST, "{}", out.capacity());
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(bytes: Vec<u8>, length in 1..=FULL) {
            for algorithm in ALL {
                let mut out = Vec::new();
                prop_assert!(unpack(algorithm, &bytes, length, &mut out).is_err());
                prop_assert!(out.len() <= length + 1);
            }
        }

        #[test]
        fn text_survives_a_round_trip(text in "[a-d ]{0,2000}") {
            for algorithm in ALL {
                round_trip(algorithm, text.as_bytes());
            }
        }
    }
}

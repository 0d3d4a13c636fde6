//! One read buffer per worker thread.

use std::cell::RefCell;

/// Bytes read at once: more than a full socket buffer seldom holds, less than would hurt the
/// second-level cache.
pub(super) const SCRATCH: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Runs `use_buffer` with this thread's scratch buffer. Must not be nested: it is for the inside
/// of one poll.
pub(super) fn with_scratch<R>(use_buffer: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with(|buffer| use_buffer(&mut buffer.borrow_mut()))
}

//! libFuzzer around one of the targets, which `FAIRLANE_FUZZ` names.
#![no_main]

#[path = "../targets/mod.rs"]
mod targets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use libfuzzer_sys::fuzz_target;

/// Most bytes a target may hold at once, beyond what stays for the next execution: 64 for each of
/// its input and a fixed part, which has room for a frame's contents and a cache of verdicts.
const MEMORY: usize = 4 << 20;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which remembers how much was held at most.
struct Counting;

impl Counting {
    fn grow(size: usize) {
        PEAK.fetch_max(HELD.fetch_add(size, Relaxed) + size, Relaxed);
    }
}

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::grow(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn target() -> targets::Run {
    let name = std::env::var("FAIRLANE_FUZZ").unwrap_or_default();
    let found = targets::ALL.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("FAIRLANE_FUZZ names no target: {name:?}")).1
}

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<targets::Run> = OnceLock::new();
    let run = TARGET.get_or_init(target);
    let before = HELD.load(Relaxed);
    PEAK.store(before, Relaxed);
    run(data);
    let held = PEAK.load(Relaxed) - before;
    assert!(held <= MEMORY + 64 * data.len(), "{held} bytes held for {}", data.len());
});

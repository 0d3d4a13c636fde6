//! Counters and histograms of the data path: each thread writes to a cell of its own, so that
//! two workers never wait for each other's cache line. A reader collects the cells.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crossbeam_utils::CachePadded;
use parking_lot::Mutex;
use prometheus::local::LocalHistogram;
use prometheus::{Histogram, IntCounter};

/// Beyond this many threads some share a cell, which is slower and still right.
const CELLS_MAX: usize = 64;

thread_local! {
    static SEAT: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

/// One `T` for each of the threads that count.
#[derive(Debug)]
struct Cells<T>(Box<[CachePadded<T>]>);

impl<T> Cells<T> {
    fn new(make: impl Fn() -> T) -> Self {
        // One a worker, and one for the thread of everything else.
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let count = (cores + 1).next_power_of_two().min(CELLS_MAX);
        Self((0..count).map(|_| CachePadded::new(make())).collect())
    }

    fn mine(&self) -> &T {
        // A power of two, so that this is no division.
        &self.0[SEAT.with(|seat| *seat) & (self.0.len() - 1)]
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|cell| &**cell)
    }
}

/// A counter for what happens with every statement.
#[derive(Debug)]
pub struct CellCounter {
    shared: IntCounter,
    cells: Cells<AtomicU64>,
}

impl CellCounter {
    pub(super) fn new(shared: IntCounter) -> Self {
        Self { shared, cells: Cells::new(AtomicU64::default) }
    }

    /// Adds one.
    pub fn inc(&self) {
        self.inc_by(1);
    }

    /// Adds `count`.
    pub fn inc_by(&self, count: u64) {
        self.cells.mine().fetch_add(count, Ordering::Relaxed);
    }

    /// The sum of all threads.
    pub fn get(&self) -> u64 {
        self.collect();
        self.shared.get()
    }

    /// Moves what the threads counted to where a scrape looks.
    pub(super) fn collect(&self) {
        self.cells.all().for_each(|cell| self.shared.inc_by(cell.swap(0, Ordering::Relaxed)));
    }
}

/// A histogram for what happens with every statement.
#[derive(Debug)]
pub struct CellHistogram {
    cells: Cells<Mutex<LocalHistogram>>,
}

impl CellHistogram {
    pub(super) fn new(shared: &Histogram) -> Self {
        Self { cells: Cells::new(|| Mutex::new(shared.local())) }
    }

    /// Takes in one value.
    pub fn observe(&self, value: f64) {
        self.cells.mine().lock().observe(value);
    }

    /// Moves what the threads saw to where a scrape looks.
    pub(super) fn collect(&self) {
        self.cells.all().for_each(|cell| cell.lock().flush());
    }
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    #[test]
    fn what_threads_count_is_summed_and_nothing_twice() {
        let counter = CellCounter::new(IntCounter::new("counted", "by threads").expect("valid"));
        let options = HistogramOpts::new("seen", "by threads").buckets(vec![1.0]);
        let seen = Histogram::with_opts(options).expect("valid");
        let histogram = CellHistogram::new(&seen);
        for round in 1..=3 {
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            counter.inc();
                            histogram.observe(0.5);
                        }
                    });
                }
            });
            assert_eq!(counter.get(), round * 8000);
            histogram.collect();
            histogram.collect();
            assert_eq!(seen.get_sample_count(), round * 8000);
        }
    }
}

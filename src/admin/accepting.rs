//! Accepts that fail, in the log: out of file descriptors each listener has ten a second, for as long as that lasts.

use std::time::Duration;

use tokio::time::Instant;

/// Least time between two lines.
const SPACING: Duration = Duration::from_secs(10);

/// Those of one listener.
#[derive(Debug, Default)]
pub struct Failures {
    told_at: Option<Instant>,
    untold: u64,
}

impl Failures {
    /// One more, at `now`. When it is time for a line, how many there were since the last one that had none.
    pub fn note(&mut self, now: Instant) -> Option<u64> {
        if self.told_at.is_some_and(|at| now.duration_since(at) < SPACING) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_and_then_one_in_ten_seconds_with_the_number_of_the_others() {
        let (start, mut failures) = (Instant::now(), Failures::default());
        let told: Vec<Option<u64>> = (0..=200)
            .map(|tenth| failures.note(start + tenth * Duration::from_millis(100)))
            .collect();
        let lines: Vec<(usize, u64)> = told
            .iter()
            .enumerate()
            .filter_map(|(tenth, untold)| untold.map(|untold| (tenth, untold)))
            .collect();
        assert_eq!(lines, [(0, 0), (100, 99), (200, 99)]);
    }
}

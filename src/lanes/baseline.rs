//! What statements of a kind take by themselves: what their sessions are charged for beside batch work.
//!
//! Beside much batch work a page's statement takes fifty times as long, and the session that sends one after another
//! is busy nearly all the time. That is not its use. So while batch runs, a statement known to be light counts for
//! what it takes without, or for an [`EXCUSED_MOST`]th of its time if that is more: who never rests is found all the same,
//! only later. What it takes without is measured while no more batch runs than the floor, since some may always run.
//!
//! Not so for kinds that batch sessions send as well, be it only part of them: then those are slow because of each other.

/// Statements after which a kind's baseline is known.
const KNOWN: f32 = 5.0;
/// How much of a second's mean goes into the baseline: faster ones say more, since a batch that nobody knows yet makes
/// all of them slower.
const FASTER_WEIGHT: f32 = 0.3;
const SLOWER_WEIGHT: f32 = 0.03;
/// How many times shorter than it was a statement may count at most.
const EXCUSED_MOST: f32 = 8.0;
/// Part of a kind's statements beside batch that may be of batch sessions themselves.
const OF_BATCH_MAX: f32 = 0.25;
/// How many statements one counts for at most that has waited.
const WEIGHT_MAX: f32 = 100.0;
/// What is left of their counts after a second: half of it after 30 s.
const LEFT_AFTER_A_SECOND: f32 = 0.977_16;

/// How much batch work runs on a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Beside {
    /// None.
    #[default]
    Nothing,
    /// No more than the guard's floor.
    Floor,
    /// More.
    More,
}

/// That of one kind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Baseline {
    /// Logarithm of seconds.
    log: f32,
    /// Statements that went into it.
    known: f32,
    /// Those of this second, and the sum of the logarithms of what they took.
    came: f32,
    log_sum: f32,
    /// Statements beside much batch work; and those of them that sessions sent which are batch.
    beside: f32,
    of_batch: f32,
}

impl Baseline {
    /// One took so many seconds, and hardly any batch work ran.
    pub(super) fn took(&mut self, service: f32) {
        self.came += 1.0;
        self.log_sum += service.max(1e-5).ln();
    }

    /// A second has passed.
    pub(super) fn tick(&mut self) {
        self.beside *= LEFT_AFTER_A_SECOND;
        self.of_batch *= LEFT_AFTER_A_SECOND;
        if self.came > 0.0 {
            let mean = self.log_sum / self.came;
            let weight = match mean < self.log {
                _ if self.known == 0.0 => 1.0,
                true => FASTER_WEIGHT,
                false => SLOWER_WEIGHT,
            };
            self.log += weight * (mean - self.log);
            self.known += self.came;
            (self.came, self.log_sum) = (0.0, 0.0);
        }
    }

    /// Seconds for which one counts that took `service` seconds beside batch, after it had waited for others, in a session
    /// that is batch itself or not.
    pub(super) fn charge(&mut self, (waited, service): (f32, f32), is_of_batch: bool) -> f32 {
        // Batch that is held back would have sent more of them.
        let weight = (1.0 + waited / service.max(1e-5)).min(WEIGHT_MAX);
        self.beside += weight;
        self.of_batch += if is_of_batch { weight } else { 0.0 };
        if self.known < KNOWN || self.of_batch > OF_BATCH_MAX * self.beside {
            return service;
        }
        self.log.exp().max(service / EXCUSED_MOST).min(service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(service: f32) -> Baseline {
        let mut baseline = Baseline::default();
        (0..10).for_each(|_| baseline.took(service));
        baseline.tick();
        baseline
    }

    fn charge(baseline: &mut Baseline, statements: u32, is_of_batch: bool) {
        for _ in 0..statements {
            baseline.charge((0.0, 0.05), is_of_batch);
        }
    }

    #[test]
    fn what_is_slower_beside_batch_counts_for_what_it_takes_without() {
        let mut baseline = known(0.02);
        assert!((baseline.charge((0.0, 0.1), false) - 0.02).abs() < 1e-4);
        assert!((baseline.charge((0.0, 0.8), false) - 0.1).abs() < 1e-4, "an eighth at least");
        assert_eq!(baseline.charge((0.0, 0.001), false), 0.001);
        assert_eq!(Baseline::default().charge((0.0, 0.3), false), 0.3, "nothing is known");
    }

    #[test]
    fn what_batch_sends_as_well_counts_in_full() {
        let mut baseline = known(0.01);
        charge(&mut baseline, 9, false);
        charge(&mut baseline, 3, true);
        assert!(baseline.charge((0.0, 0.05), false) < 0.05, "a quarter of them");
        assert_eq!(baseline.charge((0.0, 0.05), true), 0.05);
        // One that has waited stands for many.
        assert_eq!(known(0.01).charge((0.5, 0.05), true), 0.05);
        // Who is known to be batch is so all at once, or not for long.
        charge(&mut baseline, 40, false);
        assert!(baseline.charge((0.0, 0.05), false) < 0.05);
    }

    #[test]
    fn a_batch_that_nobody_knows_yet_moves_it_little_and_its_end_much() {
        let mut baseline = known(0.01);
        for _ in 0..3 {
            (0..100).for_each(|_| baseline.took(0.5));
            baseline.tick();
        }
        assert!((0.01..0.016).contains(&baseline.charge((0.0, 0.1), false)), "{baseline:?}");
        let mut slow = known(0.5);
        for _ in 0..10 {
            slow.took(0.01);
            slow.tick();
        }
        assert!(slow.charge((0.0, 0.1), false) < 0.013, "{slow:?}");
    }
}

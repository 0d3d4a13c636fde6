//! Whether more work comes to a lane than a backend can do, or just much at once.
//!
//! ```text
//!  who waits longest                        ── over `overload_timeout`: the lane is pressed
//!  how long it is pressed, and the queue    ── would not be empty within `queue_timeout`, and the
//!                                              queue has grown: the lane is overloaded
//!  half of `overload_timeout`               ── under it: it is not any more
//! ```
//!
//! A queue is there to take bursts, and one that drains within `queue_timeout` harms nobody who is
//! willing to wait that long: nobody is refused then. One that never drains gives no more answers a
//! second than a short one, only later: to those who have gone. While a lane is overloaded,
//! whoever has waited for `overload_timeout` is refused, and the others get their answers in time.
//!
//! As many as there are slots may go on waiting: the next turn of each is theirs, however long turns
//! take, and no slot idles since too many were refused.
//!
//! That the queue has to grow leaves clients alone that wait for each answer before they ask again:
//! they can't be more than they are, each gets an answer within `queue_timeout`, and refusing some
//! would make nothing better.
//!
//! The wait is the signal and a standing queue the sickness, as in CoDel (Nichols and Jacobson,
//! 2012); two deadlines, and the short one only when the queue has been there for long, as in "Fail at
//! scale" (Maurer, 2015). That what has been begun goes first while a lane is pressed follows DAGOR
//! (Zhou and others, 2018): a page of seven statements is worth nothing when the sixth is refused.

use std::time::Duration;

use super::fair::Precedence;

/// Time in which the measured rate of grants forgets, in seconds.
const RATE_MEMORY: f64 = 2.0;
/// Time in which the best rate known is forgotten, in seconds.
const BEST_MEMORY: f64 = 15.0;
/// Least time with a queue that tells what rate there can be, in seconds.
const MEASURED_MIN: f64 = 0.25;
/// Part of `overload_timeout` from which what goes on comes before its turn.
const PART: f64 = 0.2;
/// Growth of the queue, since the lane is pressed, that is no accident.
const GROWTH: f64 = 1.2;
/// Time of the average that a queue which still grows is over, in seconds.
const GROWTH_MEMORY: f64 = 0.5;

/// What the queue of a lane has become since the last look.
#[derive(Debug, Clone, Copy)]
pub struct QueueNow {
    /// Waiters.
    pub waiting: usize,
    /// Slots the lane has in use.
    pub in_use: usize,
    /// How long the one waits that waits longest.
    pub oldest: Duration,
    /// Grants since the start.
    pub granted: u64,
    /// Those of them to work that did not go on with what was begun.
    pub begun: u64,
}

/// Watches the queue of one lane at one backend.
#[derive(Debug)]
pub struct Overload {
    /// Both in seconds.
    overload_timeout: f64,
    queue_timeout: f64,
    /// How long a lane is pressed at least before anybody is refused, in seconds.
    forbearance: f64,
    was_waiting: bool,
    /// Of all grants, and of those to who begins.
    all: Rate,
    begun: Rate,
    pressed: Option<Pressed>,
    /// The longest wait at the last look.
    oldest: f64,
    /// Waiters of late, on average.
    waiting: f64,
    is_overloaded: bool,
}

/// Since when somebody has waited too long.
#[derive(Debug, Clone, Copy)]
struct Pressed {
    /// Seconds.
    age: f64,
    /// Waiters then.
    waiting: usize,
}

impl Overload {
    /// For a lane with these limits; `None`: it is never overloaded.
    pub fn new(overload_timeout: Option<Duration>, queue_timeout: Duration) -> Self {
        Self {
            overload_timeout: overload_timeout.map_or(f64::INFINITY, |limit| limit.as_secs_f64()),
            queue_timeout: queue_timeout.as_secs_f64(),
            forbearance: 0.0,
            was_waiting: false,
            all: Rate::default(),
            begun: Rate::default(),
            pressed: None,
            oldest: 0.0,
            waiting: 0.0,
            is_overloaded: false,
        }
    }

    /// Refuses nobody before the lane is pressed for so long: what presses it may be batch work that
    /// is not known for what it is yet.
    pub fn with_forbearance(self, forbearance: Duration) -> Self {
        Self { forbearance: forbearance.as_secs_f64(), ..self }
    }

    /// How many of the waiters of an overloaded lane may be refused, those that wait longest first.
    pub fn refusable(queue: QueueNow) -> usize {
        queue.waiting.saturating_sub(queue.in_use)
    }

    /// Looks at the queue again after `passed`, about a tenth of a second: whether the lane is
    /// overloaded.
    pub fn look(&mut self, passed: Duration, queue: QueueNow) -> bool {
        let passed = passed.as_secs_f64().max(1e-3);
        self.measure(passed, queue);
        let oldest = queue.oldest.as_secs_f64();
        self.oldest = oldest;
        self.pressed = match self.pressed {
            _ if oldest <= self.overload_timeout && !self.is_overloaded => None,
            Some(Pressed { age, waiting }) => Some(Pressed { age: age + passed, waiting }),
            None => Some(Pressed { age: oldest, waiting: queue.waiting }),
        };
        self.is_overloaded = match (self.is_overloaded, self.pressed) {
            _ if Self::refusable(queue) == 0 => false,
            (true, _) => oldest > self.overload_timeout / 2.0,
            (false, Some(pressed)) => self.is_hopeless(pressed, queue.waiting as f64),
            (false, None) => false,
        };
        self.waiting +=
            (1.0 - (-passed / GROWTH_MEMORY).exp()) * (queue.waiting as f64 - self.waiting);
        self.is_overloaded
    }

    /// What work should get that goes on with what was begun, as of the last look: that of all while
    /// the lane is overloaded; and that of its kind if somebody has waited a while, but for nobody half
    /// of the time is over.
    pub fn precedence(&self) -> Precedence {
        let wait = PART * self.overload_timeout..self.queue_timeout / 2.0;
        match self.is_overloaded {
            true => Precedence::OfAll,
            false if wait.contains(&self.oldest) => Precedence::OfKind,
            false => Precedence::None,
        }
    }

    fn measure(&mut self, passed: f64, queue: QueueNow) {
        let is_waiting = queue.waiting > 0;
        let is_busy = is_waiting && self.was_waiting;
        self.was_waiting = is_waiting;
        self.all.measure(passed, queue.granted, is_busy);
        self.begun.measure(passed, queue.begun, is_busy);
    }

    /// Whether the queue can't be one that drains within `queue_timeout`.
    fn is_hopeless(&self, pressed: Pressed, waiting: f64) -> bool {
        if pressed.age < self.forbearance {
            return false;
        }
        let drains_in = self.all.time_of(waiting);
        let has_grown = waiting > GROWTH * pressed.waiting as f64 && waiting > self.waiting;
        // Otherwise it is not the queue that makes somebody wait.
        let is_long = drains_in > self.overload_timeout;
        // While pages that were begun go first, who waits is let in as fast as pages begin.
        let is_in_after = self.begun.time_of(waiting).max(drains_in);
        drains_in > self.queue_timeout
            || is_long && has_grown && pressed.age + is_in_after > self.queue_timeout
    }
}

/// How much is granted.
#[derive(Debug, Default)]
struct Rate {
    /// Grants at the last look; `None` before the first.
    granted: Option<u64>,
    /// Grants while there was a queue, and how long that was.
    busy: (f64, f64),
    /// Grants a second, with and without a queue; and the most there was lately.
    mean: f64,
    best: f64,
}

impl Rate {
    /// `granted` until now; with a queue all the time when it `is_busy`.
    fn measure(&mut self, passed: f64, granted: u64, is_busy: bool) {
        // A watch may begin in the middle: lanes are tuned anew while they work.
        let before = self.granted.replace(granted).unwrap_or(granted);
        let new = granted.saturating_sub(before) as f64;
        let left = (-passed / RATE_MEMORY).exp();
        self.mean = self.mean * left + new / passed * (1.0 - left);
        self.busy = match is_busy {
            true => (self.busy.0 * left + new, self.busy.1 * left + passed),
            // The next queue may be of other work.
            false => (0.0, 0.0),
        };
        self.best *= (-passed / BEST_MEMORY).exp();
        self.best = self.best.max(self.mean);
        let (done, time) = self.busy;
        if time >= MEASURED_MIN {
            self.best = self.best.max(done / time);
        }
    }

    /// Seconds in which so many can be granted: at the best rate, since a server that stalls for a
    /// moment goes on as before. While nothing is known nothing is hopeless.
    fn time_of(&self, waiting: f64) -> f64 {
        let is_known = self.best > 0.0 && self.busy.1 >= MEASURED_MIN;
        if is_known { waiting / self.best } else { 0.0 }
    }
}

#[cfg(test)]
#[path = "overload_tests.rs"]
mod tests;

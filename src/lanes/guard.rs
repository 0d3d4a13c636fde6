//! The latency guard: how many slots of a backend batch work may hold at once.
//!
//! ```text
//!  service of interactive statements, in windows of 20 statements or a second
//!  ── over the target, or one had to wait ──► limit × 0.8
//!  ── under it, and batch waits            ──► limit + 1/2
//!  ── none came for five seconds           ──► limit × 1.5, and + 1 at least
//! ```
//!
//! The target of `auto` is [`TOLERANCE`] times the baseline plus [`SLACK`], where the baseline is
//! what such statements took while no more batch work ran than the floor. A batch that never
//! ends shows none: each half minute the guard holds it at the floor for one window, and looks. While nothing
//! is known for sure it waits for long until what runs has ended, once; later only while the limit is the floor anyhow, now
//! and then.
//!
//! Interactive statements can overload a server by themselves. What they take then is no baseline:
//! when more of them come and each takes longer, the baseline follows by half in six minutes; and it is
//! never more than twice the best of late, which is forgotten by half in ten minutes, as a load that
//! grows slowly looks like a server that becomes slower.
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989), with a baseline that is
//! measured anew as in Envoy's adaptive concurrency. The mean is that of logarithms: one statement
//! that takes a thousand times as long does not hide what became of all others.

use std::f64::consts::LN_2;

use crate::config::settings::LatencyTarget;

/// Statements that make a window, unless [`WINDOW_TICKS`] pass before.
const WINDOW_STATEMENTS: u32 = 20;
/// Ticks after which a window ends with fewer statements: a second.
const WINDOW_TICKS: u32 = 10;
/// Fewer statements say nothing; a window with some waits for more of them, for ten seconds at most.
const STATEMENTS_MIN: u32 = 5;
const WINDOW_TICKS_MAX: u32 = 100;
/// Ticks without any after which batch may have more.
const QUIET_TICKS: u32 = 50;
/// Ticks after which a baseline has to be measured anew: half a minute.
const BASE_AGE: u32 = 300;
/// Ticks after which the first one is: what came before may have been batch nobody knew yet.
const FIRST_BASE_AGE: u32 = 50;
/// Ticks after which a look that saw nothing is tried again.
const LOOK_AGAIN: u32 = 100;
/// Ticks that a look takes at most: three seconds, and half a minute for the first one.
const LOOK_MAX: u32 = 30;
const FIRST_LOOK_MAX: u32 = 300;
/// Ticks from the beginning of a look that saw nothing for which batch is to have no more than the limit says: half
/// a minute; and after which that may happen again, when it did not help: five minutes.
const HOLD_MAX: u32 = 300;
const HOLD_AGAIN: u32 = 3000;
/// How much of a new measurement goes into a baseline that is known; and of a faster one into the first,
/// which may have been of batch nobody knew yet.
const BASE_WEIGHT: f64 = 0.3;
const FASTER_WEIGHT: f64 = 0.8;
/// The same for each tick when more statements come than at the baseline, and each takes longer.
const BUSY_WEIGHT: f64 = 0.0002;
/// The same for a look at which far fewer come, and each takes longer: what was measured before was others', such as
/// those of batch nobody knew yet. Half of it, since a server may stand still for the moment of a look.
const OTHERS_WEIGHT: f64 = 0.5;
/// How many times as many statements are more, and how many times as much time is longer.
const BUSIER: f64 = 1.5;
const SLOWER: f64 = 1.25;
/// How many times the best baseline of late one may be, and ticks in which that best doubles: ten
/// minutes.
const BASE_SPAN: f64 = 2.0;
const BEST_DOUBLES: f64 = 6000.0;

/// Target of `auto`: this many times the baseline ...
pub const TOLERANCE: f64 = 2.0;
/// ... and this much more, in seconds: what no user notices.
pub const SLACK: f64 = 0.002;

const DECREASE: f64 = 0.8;
/// The same at most, when statements have taken much longer than the target for this many ticks: a step of load
/// is to be over within seconds, and a disk that stands still for a moment is none.
const DECREASE_MOST: f64 = 0.5;
const OVER_TICKS: u32 = 10;
const INCREASE: f64 = 0.5;
/// How many times as much batch may have after each second without anybody to protect; one slot more at least.
const GROWTH: f64 = 1.5;

/// What batch did during a tick.
#[derive(Debug, Clone, Copy)]
pub struct BatchNow {
    /// Slots it holds.
    pub in_use: usize,
    /// Those of them, and of what counts as batch by now, on which something runs.
    pub running: usize,
    /// Its waiters.
    pub waiting: usize,
}

/// Steers the limit of the batch lane at one backend.
#[derive(Debug)]
pub struct Guard {
    target: LatencyTarget,
    floor: f64,
    ceiling: f64,
    limit: f64,
    /// The baseline, and its age in ticks.
    base: Option<Base>,
    base_age: u32,
    /// Ticks since it holds batch at the floor, to see the baseline; `None` while it does not.
    looking: Option<u32>,
    /// Ticks that a look may take now.
    patience: u32,
    /// Ticks since a look at the floor began that saw nothing, as nothing was seen there since.
    holding: Option<u32>,
    /// Ticks of the windows up to now in which statements took longer than the target.
    over: u32,
    /// Ticks since an interactive statement came, and how many had in this window by the last one.
    quiet: u32,
    came: u32,
    window: Window,
}

/// What interactive statements take without batch.
#[derive(Debug, Clone, Copy)]
struct Base {
    /// Logarithm of seconds.
    log: f64,
    /// The least of late, likewise.
    best: f64,
    /// Statements a tick.
    rate: f64,
    /// It was measured when the guard looked, or for so long that it can't be that of batch nobody knew yet.
    is_confirmed: bool,
    /// Ticks for which it was measured.
    ticks: u32,
}

impl Base {
    /// Takes a new measurement into account, which took `ticks`, and was made by a look or by the way.
    fn measured(&mut self, log: f64, rate: f64, ticks: u32, is_look: bool) {
        let is_slower = log > self.log + SLOWER.ln();
        if is_look && is_slower && rate * BUSIER < self.rate {
            self.log += OTHERS_WEIGHT * (log - self.log);
            (self.best, self.rate) = (self.log, rate);
            return;
        }
        let weight = match is_slower && rate > BUSIER * self.rate {
            true => BUSY_WEIGHT * f64::from(ticks),
            false if log < self.log - SLOWER.ln() && !self.is_confirmed => FASTER_WEIGHT,
            false => BASE_WEIGHT,
        };
        if !is_slower {
            self.rate += BASE_WEIGHT * (rate - self.rate);
        }
        self.log += weight * (log - self.log);
        self.best = (self.best + f64::from(ticks) / BEST_DOUBLES * LN_2).min(self.log);
        self.log = self.log.min(self.best + BASE_SPAN.ln());
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    statements: u32,
    log_sum: f64,
    sum: f64,
    waited: u32,
    ticks: u32,
    /// Most batch slots in use at a tick, and most on which something ran.
    batch: usize,
    running: usize,
    /// Batch could have used more.
    is_wanted: bool,
}

impl Guard {
    /// Between `floor` and `ceiling` slots; the most at first.
    pub fn new(target: LatencyTarget, floor: usize, ceiling: usize) -> Self {
        assert!(floor <= ceiling, "a floor of {floor} over the ceiling of {ceiling}");
        let number = |slots: usize| f64::from(u32::try_from(slots).unwrap_or(u32::MAX));
        Self {
            target,
            floor: number(floor),
            ceiling: number(ceiling),
            limit: number(ceiling),
            base: None,
            base_age: BASE_AGE,
            looking: None,
            patience: FIRST_LOOK_MAX,
            holding: None,
            over: 0,
            quiet: 0,
            came: 0,
            window: Window::default(),
        }
    }

    /// An interactive statement or transaction gave its slot back after `service` seconds.
    pub fn served(&mut self, service: f64) {
        self.window.statements += 1;
        self.window.log_sum += service.max(1e-6).ln();
        self.window.sum += service;
    }

    /// An interactive statement had to wait for its slot.
    pub fn waited(&mut self) {
        self.window.waited += 1;
    }

    /// A tenth of a second has passed. The most slots batch may hold now.
    pub fn tick(&mut self, batch: BatchNow) -> usize {
        let window = &mut self.window;
        window.ticks += 1;
        window.batch = window.batch.max(batch.in_use);
        window.running = window.running.max(batch.running);
        window.is_wanted |= batch.waiting > 0;
        self.base_age = self.base_age.saturating_add(1);
        self.looking = self.looking.map(|ticks| ticks + 1);
        self.holding = self.holding.map(|ticks| ticks + 1).filter(|&ticks| ticks < HOLD_AGAIN);
        let came = window.statements + window.waited;
        self.quiet = match came == self.came {
            true => self.quiet.saturating_add(1),
            false => 0,
        };
        self.came = came;
        let has_some = (1..STATEMENTS_MIN).contains(&window.statements);
        let most = if has_some { WINDOW_TICKS_MAX } else { WINDOW_TICKS };
        let is_over = window.statements >= WINDOW_STATEMENTS
            || window.ticks >= most
            || self.ends_look(&self.window);
        if self.target != LatencyTarget::Off && is_over {
            let window = std::mem::take(&mut self.window);
            self.came = 0;
            self.steer(window);
        }
        self.limit()
    }

    /// The most slots batch may hold now.
    pub fn limit(&self) -> usize {
        whole(if self.looking.is_some() { self.floor } else { self.limit })
    }

    /// Slots that batch may always hold.
    pub fn floor(&self) -> usize {
        whole(self.floor)
    }

    /// Whether batch is to have no more than the limit, to see what the server does without it: for the moment of
    /// a look, and where the limit is the floor for longer, when what runs did not end within that moment.
    pub fn is_strict(&self) -> bool {
        self.looking.is_some() || self.holding.is_some_and(|ticks| ticks < HOLD_MAX)
    }

    /// What interactive statements may take on average now, in seconds; `None` while it is not known
    /// or the guard is off.
    pub fn target_seconds(&self) -> Option<f64> {
        match self.target {
            LatencyTarget::Auto => self.base.map(|base| TOLERANCE * base.log.exp() + SLACK),
            LatencyTarget::Fixed(limit) => Some(limit.as_secs_f64()),
            LatencyTarget::Off => None,
        }
    }

    /// What interactive statements take while batch is at the floor.
    fn measured(&mut self, log: f64, window: &Window) {
        let rate = f64::from(window.statements) / f64::from(window.ticks.max(1));
        let is_look = self.looking.is_some();
        let is_first = self.base.is_none();
        let first = Base { log, best: log, rate, is_confirmed: false, ticks: 0 };
        let base = self.base.get_or_insert(first);
        let is_other = (log - base.log).abs() > SLOWER.ln();
        if !is_look && base.is_confirmed && is_other && log < base.log {
            // It may be of batch nobody knows yet: the next look tells.
            return;
        }
        base.measured(log, rate, window.ticks, is_look);
        base.ticks = base.ticks.saturating_add(window.ticks);
        base.is_confirmed |= is_look || base.ticks >= BASE_AGE;
        self.base_age = match is_first {
            true => BASE_AGE - FIRST_BASE_AGE,
            false if is_look || !is_other => 0,
            // A look is due when it stays so.
            false => self.base_age,
        };
    }

    fn steer(&mut self, window: Window) {
        let is_telling = window.statements >= STATEMENTS_MIN;
        let log_mean = window.log_sum / f64::from(window.statements.max(1));
        let is_at_floor = window.running as f64 <= self.floor;
        // What waited for more statements is older than it looks.
        let is_whole = window.statements >= WINDOW_STATEMENTS || window.ticks <= WINDOW_TICKS;
        let ends_look = self.ends_look(&window);
        let has_seen =
            is_at_floor && (is_telling && is_whole || ends_look && window.statements > 0);
        if has_seen {
            self.measured(log_mean, &window);
            self.holding = None;
        }
        self.looking = match self.looking {
            Some(_) if has_seen || ends_look || !is_telling => self.end_look(has_seen, ends_look),
            Some(ticks) => Some(ticks),
            // What takes less than the slack is within any target.
            None => {
                let is_auto = self.target == LatencyTarget::Auto;
                let is_due = self.base_age >= BASE_AGE && is_telling && is_auto;
                (is_due && log_mean.exp() > SLACK).then_some(0)
            }
        };
        let mean = match self.target {
            LatencyTarget::Fixed(_) => window.sum / f64::from(window.statements.max(1)),
            LatencyTarget::Auto | LatencyTarget::Off => log_mean.exp(),
        };
        let target = self.target_seconds();
        let is_over = target.is_some_and(|target| mean > target);
        let was_over = self.over;
        self.over = if is_telling && is_over { was_over.saturating_add(window.ticks) } else { 0 };
        let holds_more = window.batch as f64 > self.floor;
        let increase = match window.statements {
            _ if is_telling && (is_over || window.waited > 0 && holds_more) => {
                let part = target.map_or(1.0, |target| target / mean);
                let most = if was_over >= OVER_TICKS { DECREASE_MOST } else { DECREASE };
                if part < DECREASE && most < DECREASE {
                    // What runs has to end before it shows.
                    self.over = 0;
                }
                self.limit = (self.limit * part.clamp(most, DECREASE)).max(self.floor);
                return;
            }
            0 if self.quiet >= QUIET_TICKS => (self.limit * (GROWTH - 1.0)).max(1.0),
            // As good as nobody came, and what little did was served well.
            1..STATEMENTS_MIN if !is_over && window.waited == 0 => {
                f64::from(window.ticks) / f64::from(WINDOW_TICKS)
            }
            1.. if window.is_wanted => INCREASE,
            _ => return,
        };
        self.limit = (self.limit + increase).min(self.ceiling);
    }

    /// Whether a look has taken as long as it may. A patient one waits for what runs, and then for a whole
    /// window at the floor, but not for statements.
    fn ends_look(&self, window: &Window) -> bool {
        let is_at_floor = window.running as f64 <= self.floor;
        let has_looked = |ticks| is_at_floor && ticks >= LOOK_MAX && window.ticks >= WINDOW_TICKS;
        self.looking.is_some_and(|ticks| ticks >= self.patience || has_looked(ticks))
    }

    /// A look ends with the first window in which batch was at the floor from the start, in which nobody
    /// came, or when it has lasted for too long.
    fn end_look(&mut self, has_seen: bool, was_long: bool) -> Option<u32> {
        if has_seen || was_long {
            self.patience = LOOK_MAX;
        }
        if was_long && !has_seen && self.limit < self.floor + 1.0 {
            self.holding = self.holding.or(self.looking);
        }
        if !has_seen {
            self.base_age = if was_long { 0 } else { BASE_AGE - LOOK_AGAIN };
        }
        None
    }

    /// Has the target and bounds of `new` from now on, and goes on from where it was.
    pub fn retune(&mut self, new: &Self) {
        (self.target, self.floor, self.ceiling) = (new.target, new.floor, new.ceiling);
        self.limit = self.limit.clamp(self.floor, self.ceiling);
        if self.target == LatencyTarget::Off {
            (self.limit, self.looking) = (self.ceiling, None);
        }
    }
}

/// A number of slots; the bounds fit, so what is between them does.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "its caller sees to that"
)]
fn whole(slots: f64) -> usize {
    slots as usize
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;

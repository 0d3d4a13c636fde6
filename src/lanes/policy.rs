//! Lanes and rules as they are configured now: what can change while Fairlane runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::rule::Rules;
use crate::config::Settings;
use crate::config::settings;

/// One state of the configuration.
#[derive(Debug)]
pub struct Policy {
    /// Rules, and the lanes' names.
    pub rules: Rules,
    /// By priority.
    pub lanes: Vec<settings::Lane>,
    /// Index of the lane for what behaves like a batch, if behaviour decides anything.
    pub batch_lane: Option<usize>,
    /// What statements of the default lane may take.
    pub latency_target: settings::LatencyTarget,
    /// Statements that wait for locks.
    pub lock_guard: settings::LockGuard,
    /// How often a statement is repeated after a deadlock.
    pub deadlock_retries: u32,
    /// Which are.
    pub deadlock_repeat: settings::Repeat,
    /// Which state it is.
    serial: u64,
}

impl Policy {
    fn new(settings: &Settings, serial: u64) -> Self {
        Self {
            rules: Rules::new(settings),
            lanes: settings.lanes.clone(),
            batch_lane: settings.batch_lane,
            latency_target: settings.latency_target,
            lock_guard: settings.lock_guard,
            deadlock_retries: settings.deadlock_retries,
            deadlock_repeat: settings.deadlock_repeat,
            serial,
        }
    }

    /// How many of a server's `slots` the default lane may have: those that no other lane has reserved, up to its
    /// own limit.
    pub fn default_slots(&self, slots: usize) -> usize {
        let default = self.rules.default_lane();
        let others = self.lanes.iter().enumerate().filter(|&(lane, _)| lane != default);
        let reserved: usize = others.map(|(_, lane)| lane.reserved.reserved_of(slots)).sum();
        let max = self.lanes.get(default).map_or(slots, |lane| lane.max.of(slots).max(1));
        slots.saturating_sub(reserved).min(max)
    }

    /// Whether both say the same.
    fn is_as(&self, other: &Self) -> bool {
        self.rules.are_as(&other.rules)
            && self.lanes == other.lanes
            && self.batch_lane == other.batch_lane
            && self.latency_target == other.latency_target
            && self.lock_guard == other.lock_guard
            && self.deadlock_retries == other.deadlock_retries
            && self.deadlock_repeat == other.deadlock_repeat
    }

    fn lane_names(&self) -> Vec<&str> {
        self.lanes.iter().map(|lane| lane.name.as_str()).collect()
    }
}

/// The state of now.
#[derive(Debug)]
pub struct PolicyNow {
    current: ArcSwap<Policy>,
    serial: AtomicU64,
}

impl PolicyNow {
    /// The first state.
    pub fn new(settings: &Settings) -> Self {
        let policy = Policy::new(settings, 0);
        Self { current: ArcSwap::from_pointee(policy), serial: AtomicU64::new(0) }
    }

    /// The state of now.
    pub fn get(&self) -> Arc<Policy> {
        self.current.load_full()
    }

    /// Whether `policy` is that of now; costs one load.
    pub fn is_current(&self, policy: &Policy) -> bool {
        self.serial.load(Ordering::Acquire) == policy.serial
    }

    /// Another state from now on; whether it differs.
    ///
    /// # Errors
    /// With the names of the lanes of now, when those of `settings` are others: sessions and metrics
    /// know lanes by their number.
    pub fn change(&self, settings: &Settings) -> Result<bool, String> {
        let before = self.get();
        let next = Policy::new(settings, before.serial + 1);
        if next.lane_names() != before.lane_names() {
            return Err(before.lane_names().join(", "));
        }
        if next.is_as(&before) {
            return Ok(false);
        }
        let serial = next.serial;
        self.current.store(Arc::new(next));
        self.serial.store(serial, Ordering::Release);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &str) -> Settings {
        let text = format!(
            "[service]\nuser = \"f\"\npassword = \"x\"\n[primary]\naddress = \"db:1\"\n{more}"
        );
        crate::config::parse(&text, "f.toml").expect("valid")
    }

    #[test]
    fn the_default_lane_may_have_what_is_not_reserved_up_to_its_limit() {
        for (interactive, reserved, expected) in
            [("100%", "0%", 40), ("100%", "25%", 30), ("50%", "25%", 20)]
        {
            let lanes = format!(
                "[[lane]]\nname = \"interactive\"\nmax = \"{interactive}\"\n\
                 [[lane]]\nname = \"batch\"\nreserved = \"{reserved}\"\n"
            );
            let now = PolicyNow::new(&settings(&lanes));
            assert_eq!(now.get().default_slots(40), expected, "{interactive} {reserved}");
        }
    }

    #[test]
    fn lanes_change_but_not_their_names() {
        let now = PolicyNow::new(&settings(""));
        let first = now.get();
        assert!(now.is_current(&first) && first.batch_lane == Some(1));
        now.change(&settings("[lanes]\nauto = \"off\"\n")).expect("the same lanes");
        assert!(!now.is_current(&first));
        let second = now.get();
        assert!(now.is_current(&second) && second.batch_lane.is_none());
        let other = settings("[[lane]]\nname = \"interactive\"\n[[lane]]\nname = \"reports\"\n");
        assert_eq!(now.change(&other), Err("interactive, batch".to_owned()));
        assert_eq!(now.change(&settings("[lanes]\nauto = \"off\"\n")), Ok(false));
        assert!(now.is_current(&second));
        let rule = "[[rule]]\nlane = \"batch\"\nuser = \"etl\"\n";
        assert_eq!(now.change(&settings(rule)), Ok(true));
    }
}

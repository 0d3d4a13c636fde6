//! Errors sent to clients, by code. The only label whose values are not known at start, so
//! the only one with a bound: a server that invents codes cannot grow the scrape.

use std::collections::HashMap;

use parking_lot::RwLock;
use prometheus::{IntCounter, IntCounterVec};

use super::catalogue as families;
use super::register::Registrar;

/// Distinct codes that get their own label value; later ones count as `other`.
pub const CODES_MAX: usize = 256;

/// Who made an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A server; relayed unchanged.
    Server,
    /// Fairlane itself.
    Fairlane,
}

impl Origin {
    /// All origins, by their number.
    pub const ALL: [Self; 2] = [Self::Server, Self::Fairlane];

    /// The label value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Fairlane => "fairlane",
        }
    }
}

/// One counter per origin.
type PerOrigin = [IntCounter; Origin::ALL.len()];

/// Counts errors by origin and code.
#[derive(Debug)]
pub(super) struct Errors {
    family: IntCounterVec,
    /// Errors are rare beside statements, and known codes only take the shared lock.
    by_code: RwLock<HashMap<u16, PerOrigin>>,
    other: PerOrigin,
}

impl Errors {
    pub(super) fn register(to: &Registrar<'_>) -> Result<Self, prometheus::Error> {
        let family = to.counters(&families::ERRORS_SENT)?;
        let other = resolve(&family, "other");
        Ok(Self { family, by_code: RwLock::default(), other })
    }

    pub(super) fn count(&self, origin: Origin, code: u16) {
        if let Some(counters) = self.by_code.read().get(&code) {
            return counters[origin as usize].inc();
        }
        let mut by_code = self.by_code.write();
        if by_code.len() >= CODES_MAX && !by_code.contains_key(&code) {
            return self.other[origin as usize].inc();
        }
        let counters =
            by_code.entry(code).or_insert_with(|| resolve(&self.family, &code.to_string()));
        counters[origin as usize].inc();
    }
}

fn resolve(family: &IntCounterVec, code: &str) -> PerOrigin {
    Origin::ALL.map(|origin| family.with_label_values(&[origin.label(), code]))
}

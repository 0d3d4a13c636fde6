//! Verdicts against ground truth: which connections clicked, this program knows; how Fairlane judged
//! their statements, its log tells when they end.

use std::collections::HashSet;

/// Statements of clicks and of everybody else, by verdict.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Verdicts {
    /// Statements of clicks taken for light work, and for batch.
    pub(crate) clicks: (u64, u64),
    /// The same of all others.
    pub(crate) others: (u64, u64),
}

/// Reads them from Fairlane's log.
pub(crate) fn count(log: &str, clicks: &HashSet<u32>) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for line in log.lines().filter(|line| line.contains("session ends")) {
        let number = |key: &str| {
            let mut words = line.split_ascii_whitespace();
            words.find_map(|word| word.strip_prefix(key)?.parse::<u64>().ok())
        };
        let (Some(id), Some(light), Some(batch)) =
            (number("id="), number("light="), number("batch="))
        else {
            continue;
        };
        let is_click = u32::try_from(id).is_ok_and(|id| clicks.contains(&id));
        let of = if is_click { &mut verdicts.clicks } else { &mut verdicts.others };
        of.0 += light;
        of.1 += batch;
    }
    verdicts
}

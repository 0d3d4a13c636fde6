//! The CPU time of processes, as the kernel counts it.

use std::time::Duration;

/// The kernel tells times in hundredths of a second on every Linux.
const TICK_MS: u64 = 10;

/// CPU time the process has used by now, its threads included; `None` where nobody tells.
pub(crate) fn time_of(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold spaces; utime and stime are 12th and 13th after it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(Duration::from_millis((user + system) * TICK_MS))
}

//! Whether a replica's history is that of the primary: it has all that the primary had when Fairlane met it,
//! and nothing that the primary has not.
//!
//! - Whoever wrote through a Fairlane of before reads through this one, which knows nothing of those writes. A
//!   replica is given no reads until it has what the primary had when it was first asked.
//! - A failover may lose transactions that another replica has. MariaDB gives their numbers to the next ones: a
//!   replica that is ahead seems to have what is written from then on. (MySQL's numbers are the server's own, and
//!   come again only after RESET BINARY LOGS AND GTIDS, or of a server that was set back.) It gets no reads until it
//!   was compared, either. A primary that was met while it still applied what others had
//!   written has that later.
//! - A failover may lose transactions of the old primary, which comes back as a replica and still has them. It gets no
//!   reads as long as the primary lacks some that it numbered itself, where that has others of these.
//! - A replica that follows another server from now on, or may, is compared anew: that one may have something else.
//! - A primary whose own position goes back (RESET MASTER) is met anew.
//! - A primary that was a replica and was reset gives numbers anew that it had applied. A replica that has these of
//!   before has to be seen going back: one that asks for what follows them later is never given what is in between.
//! - A replica whose link to its source was cut without its noticing says that it is not behind. It gets no reads
//!   once it has lacked what the primary had for too long.
//!
//! Pure: no socket, no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::route::freshness::{Own, Position};
use crate::route::token::Reading;

/// How often in a row a replica that was late has what it is owed in time until it keeps up again.
const IN_TIME_UNTIL_WELL: u32 = 2;

/// What is known of one replica's.
#[derive(Debug, Default)]
pub(super) struct History {
    /// What the primary had when it was met, once the replica has that or is not waited for any more.
    met: Option<Arc<Position>>,
    /// What it was found to lack something of, and since when.
    lacking: Option<(Arc<Position>, Instant)>,
    /// What it had applied at a look, and how many readings of the primary had begun by then; kept until one
    /// that began later has ended, however many looks that takes.
    looked: Option<(Position, u64)>,
    /// What the primary had when it was met, once the replica was found not to be ahead of it.
    agreed: Option<Arc<Position>>,
    /// What it had applied when it was found ahead of the primary.
    ahead: Option<Position>,
    /// What it had applied when the primary lacked some that the replica has numbered itself.
    lost: Option<Position>,
    /// What it had applied of the numbering before, when the primary had numbered some anew.
    stranded: Option<Position>,
    /// What the primary had at a later reading, and since when the replica is known to lack some of it.
    owed: Option<(Position, Instant)>,
    /// It has lacked that for too long, and has not caught up since.
    is_late: bool,
    /// How often in a row it had that in time, since it was late.
    times_in_time: u32,
    /// It was not waited for: it will never have all that the primary has.
    is_partial: bool,
}

impl History {
    /// The replica has applied `applied`; the primary had `first` when it was met, which is empty when it
    /// did not tell, and `None` before it was asked. After `limit` a replica counts as having it all the same:
    /// it may be set up so that it never will, as one that leaves out a replication domain. Whether that was
    /// so now.
    pub(super) fn look_back(
        &mut self,
        applied: &Position,
        first: Option<&Arc<Position>>,
        limit: Duration,
        now: Instant,
    ) -> bool {
        let Some(first) = first.filter(|_| !self.has(first)) else { return false };
        // Another primary may have what the last one had lost.
        (self.ahead, self.lost) = (None, None);
        // It has taken nothing of the new numbers yet.
        self.stranded.take_if(|stranded| stranded.is_part_of(applied));
        let since = match self.lacking.take() {
            Some((of, since)) if Arc::ptr_eq(&of, first) => since,
            _ => {
                // More of the last one's may have come after that look.
                self.looked = None;
                (self.owed, self.is_late, self.is_partial) = (None, false, false);
                now
            }
        };
        let has_it = applied.covers(first);
        let is_over = !has_it && now.saturating_duration_since(since) >= limit;
        self.is_partial |= is_over;
        match has_it || is_over {
            true => self.met = Some(first.clone()),
            false => self.lacking = Some((first.clone(), since)),
        }
        is_over
    }

    /// It follows another server, or may soon: what it has from now on is not compared.
    pub(super) fn follows_another(&mut self) {
        (self.agreed, self.looked) = (None, None);
    }

    /// What it has applied was changed while its replication stood still: somebody has set it up.
    pub(super) fn is_set_up(&mut self) {
        self.stranded = None;
    }

    /// Compares what it had applied at a look with a reading of the primary that began later, and then
    /// remembers `applied` for the next: `begun` readings have begun by now. Once is enough for a primary
    /// that had `first` when it was met: what comes by another way later, such as an ANALYZE TABLE of a
    /// server in between, has the primary lost nothing for. `own` is what the replica has committed itself.
    pub(super) fn compare(
        &mut self,
        (applied, own): (&Position, &Own),
        (last, first): (&Reading, Option<&Arc<Position>>),
        begun: u64,
    ) {
        let looked = self.looked.take_if(|(_, begun_then)| last.number > *begun_then);
        self.looked.get_or_insert_with(|| (applied.clone(), begun));
        if let Some(stranded) = looked.as_ref().and_then(|(then, _)| last.strands(then)) {
            self.stranded = Some(stranded);
        }
        let agreed = self.agreed.as_ref().zip(first);
        let is_due = !agreed.is_some_and(|(agreed, first)| Arc::ptr_eq(agreed, first));
        let then = looked.filter(|_| is_due);
        if let Some((then, _)) = then.filter(|_| last.tells_numbers()) {
            let theirs = last.domain.and_then(|domain| last.origins.have(&then, domain));
            self.lost = last.has_lost(own, &then).then(|| then.clone());
            if theirs.map_or_else(|| last.is_behind(&then), |has| !has) {
                self.ahead.get_or_insert(then);
            } else {
                // The primary was still applying that when it was met.
                self.ahead.take_if(|_| theirs == Some(true));
                if self.ahead().is_none() {
                    self.agreed = first.cloned();
                }
            }
        }
        // Somebody has set it back.
        self.ahead.take_if(|ahead| !applied.covers(ahead));
        self.lost.take_if(|lost| !applied.covers(lost));
        self.stranded.take_if(|stranded| !applied.covers(stranded));
    }

    /// Finds out whether it keeps up with the primary, which had `first` when it was met: it may lack for up to
    /// `limit` what that had at a reading. Of MariaDB only the domain counts in which the primary commits: others it
    /// may leave out. What it had not at the beginning, and was not waited for, is not missed until the primary has more.
    pub(super) fn keep_up(
        &mut self,
        applied: &Position,
        (last, first): (&Reading, Option<&Arc<Position>>),
        limit: Duration,
        now: Instant,
    ) {
        if last.is_out_of_order {
            // The number of what it has applied last tells nothing.
            self.owed = None;
            return;
        }
        let excused = first.filter(|_| self.is_partial);
        let has = |position: &Position| match last.domain {
            // What it has applied may be of the numbering before.
            Some(domain) if last.is_renumbered => applied.has_reached(position, domain),
            Some(domain) => {
                !position.is_ahead(applied, domain)
                    || excused.is_some_and(|first| !position.is_ahead(first, domain))
            }
            None => excused.is_some() || applied.covers(position),
        };
        // What the primary has applied as a replica may be of another numbering, which its log has left behind.
        let written = last.logged.as_ref().unwrap_or(&last.position);
        if has(written) {
            (self.owed, self.is_late) = (None, false);
            return;
        }
        let (position, since) = self.owed.take().unwrap_or_else(|| (written.clone(), now));
        let is_over = now.saturating_duration_since(since) >= limit;
        if has(&position) {
            // While the primary is read again and again it may never have all of the last reading.
            self.times_in_time = if is_over { 0 } else { self.times_in_time.saturating_add(1) };
            self.is_late &= self.times_in_time < IN_TIME_UNTIL_WELL;
            self.owed = Some((written.clone(), now));
            return;
        }
        if is_over {
            (self.is_late, self.times_in_time) = (true, 0);
        }
        self.owed = Some((position, since));
    }

    /// Whether it does not keep up with the primary.
    pub(super) fn is_late(&self) -> bool {
        self.is_late
    }

    /// Whether it has what the primary had when it was met.
    pub(super) fn has(&self, first: Option<&Arc<Position>>) -> bool {
        let pair = self.met.as_ref().zip(first);
        pair.is_some_and(|(met, first)| Arc::ptr_eq(met, first))
    }

    /// Whether it was compared with the primary that had `first` when it was met, if that tells enough.
    pub(super) fn is_compared(&self, last: &Reading, first: Option<&Arc<Position>>) -> bool {
        let is_told = last.tells_numbers() && first.is_some();
        let mut agreed = self.agreed.iter().zip(first);
        !is_told
            || self.ahead().is_some()
            || agreed.any(|(agreed, first)| Arc::ptr_eq(agreed, first))
    }

    /// What it has applied of the primary's numbering before, since when it was not seen going back.
    pub(super) fn stranded(&self) -> Option<&Position> {
        self.stranded.as_ref()
    }

    /// What it has that the primary has not.
    pub(super) fn ahead(&self) -> Option<&Position> {
        self.ahead.as_ref().or(self.lost.as_ref())
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;

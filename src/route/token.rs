//! What the sessions of one scope have written: the position that a replica must have applied
//! before they read there.
//!
//! Not every write tells its position: an ERR packet has no room for one, nor has the end of a
//! result set before DEPRECATE_EOF, and a server that is lost says nothing at all. Such a write
//! counts as well: until a [`Reading`] of the primary's own position that began after the write,
//! only the primary has it for sure, and from then on the reading's position covers it.
//!
//! A reading also mends a position that the primary itself does not have any more (RESET MASTER,
//! a failover that lost something): no replica would ever cover it.
//!
//! MariaDB without `gtid_strict_mode` takes a transaction with an earlier number than others of its domain,
//! and no position tells who has that. A reading until the next transaction tells nothing. Nor does one of a server
//! that was a replica and numbers from 1 again (RESET MASTER) until it has passed what it applied before.

use std::borrow::Cow;

use parking_lot::{Mutex, MutexGuard};

use super::flights::Flights;
use super::freshness::{Origins, Own, Position};

/// The primary's own position, as it was asked for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    /// Readings are counted as they begin, from 1 on; 0 is none.
    pub number: u64,
    /// What the primary had committed, at least, when the reading began.
    pub position: Position,
    /// Its last transaction has an earlier number than another of the domain in which it commits (MariaDB).
    pub is_out_of_order: bool,
    /// It has applied, as a replica, numbers that its own log has not passed: it gives them anew (MariaDB).
    pub is_renumbered: bool,
    /// What it had of numbers that its log has not passed: applied as a replica, or logged before a reset (MariaDB).
    pub earlier: Position,
    /// It gives these anew for sure: its log was reset ([`Self::begin_anew`]), or has some of them ([`Self::go_on`]).
    pub is_anew: bool,
    /// What its binary log has, if that has something of the domain in which it commits (MariaDB).
    pub logged: Option<Position>,
    /// The replication domain in which it commits (MariaDB).
    pub domain: Option<u32>,
    /// The number of the server itself (MariaDB).
    pub own: Option<u32>,
    /// Whose transactions it had (MariaDB).
    pub origins: Origins,
    /// What it had of domains that it does not know any more, as after `FLUSH BINARY LOGS DELETE_DOMAIN_ID`:
    /// their numbers may come again (MariaDB).
    pub gone: Position,
    /// Its UUID, in lower case: it numbers what it commits under that (MySQL).
    pub server: Option<Box<str>>,
    /// What it was about to commit, which a replica may have before (MySQL).
    pub under_way: Position,
}

impl Reading {
    /// Whether it tells what else would have the numbers that the primary gives.
    pub fn tells_numbers(&self) -> bool {
        self.domain.is_some() || self.server.is_some()
    }

    /// What of a replica's position is the primary's as well. Another server between them, or one that the
    /// replica was made to follow, gives numbers of the same domain: who has such a one need not have what the
    /// primary wrote before. `earlier` is what the replica had, the latest first.
    pub fn trusted(&self, applied: &Position, earlier: &[&Position]) -> Position {
        applied.known_part(earlier, |domain, server, last| match self.own {
            Some(own) => server == own || self.origins.has(domain, server, last),
            None => true,
        })
    }

    /// Whether somebody who has `position` has numbers which the primary would give anew.
    pub fn is_behind(&self, position: &Position) -> bool {
        match (self.domain, &self.server) {
            (Some(domain), _) => position.is_ahead(&self.position, domain),
            (None, Some(uuid)) => position.has_more_of(uuid, &self.shown()),
            (None, None) => false,
        }
    }

    /// All that others may have seen there when the reading began: MySQL shows rows a moment before it counts
    /// their transaction as executed. One that it applies as a replica is under way for as long as it takes.
    fn shown(&self) -> Cow<'_, Position> {
        match &self.server {
            Some(uuid) if !self.under_way.is_empty() => {
                let mut all = self.position.clone();
                all.merge_own(&self.under_way, uuid);
                Cow::Owned(all)
            }
            _ => Cow::Borrowed(&self.position),
        }
    }

    /// What somebody who had `applied` before this reading began has of the numbering before: nothing was
    /// applied there of what has these numbers now. A source that is asked for what follows leaves out
    /// what it has numbered anew up to there (MariaDB).
    pub fn strands(&self, applied: &Position) -> Option<Position> {
        let own = self.trusted(applied, &[]).only(self.domain?);
        (self.is_anew && self.has_not_passed(&own)).then_some(own)
    }

    fn has_not_passed(&self, position: &Position) -> bool {
        self.domain.is_some_and(|domain| match &self.logged {
            Some(logged) => position.outnumbers(logged, domain),
            None => position.has_domain(domain),
        })
    }

    /// Its log was reset since `before`.
    pub fn begin_anew(&mut self, before: &Self) {
        self.earlier.merge(&before.position);
        self.is_anew = self.has_not_passed(&self.earlier);
    }

    /// Whether it lacks what a replica that has `applied` had committed itself, as when that was the primary. It may
    /// have that later, where it still applies it.
    pub fn has_lost(&self, own: &Own, applied: &Position) -> bool {
        match self.domain {
            Some(domain) => own.is_lost_in_domain(&self.origins, domain),
            None => self.server.is_some() && own.is_lost(applied, &self.position),
        }
    }

    /// The primary has had what it had `before` as well. Where it tells less of a domain, its last transaction
    /// has an earlier number.
    pub fn go_on(&mut self, before: &Self) {
        if self.domain.is_none() {
            return;
        }
        let mut known = before.position.clone();
        known.merge(&before.gone);
        self.gone = known.split_off(&self.position);
        if !self.position.covers(&known) {
            self.position.merge(&known);
            self.is_out_of_order = true;
        }
        self.is_anew = self.has_grown(before) && self.has_not_passed(&before.earlier);
        self.keep_numbering(before);
    }

    /// Whether its log has more of the domain in which it commits, and has since `before`.
    fn has_grown(&self, before: &Self) -> bool {
        let Some(domain) = self.domain.filter(|_| self.domain == before.domain) else {
            return false;
        };
        let own = |reading: &Self| reading.logged.as_ref().map(|logged| logged.only(domain));
        self.logged.is_some() && own(self) != own(before)
    }

    /// The same server gives numbers anew as long as its log has not passed them, also after a restart.
    pub fn keep_numbering(&mut self, before: &Self) {
        if self.own == before.own
            && self.domain == before.domain
            && (self.is_anew || before.is_anew)
        {
            self.earlier.merge(&before.earlier);
            self.is_anew = self.has_not_passed(&self.earlier);
        }
    }

    /// Whether it knows the domain no more in which it commits, or its log has nothing of it any more: the next
    /// number is 1, as after RESET MASTER.
    pub fn begins_anew(&self, before: &Self) -> bool {
        if self.has_lost_log(before) {
            return true;
        }
        let has_it = |position: &Position, domain| position.is_ahead(&Position::default(), domain);
        self.domain.is_some_and(|domain| {
            has_it(&before.position, domain) && !has_it(&self.position, domain)
        })
    }

    /// Whether its log has nothing any more of the domain in which it commits.
    pub fn has_lost_log(&self, before: &Self) -> bool {
        self.logged.is_none() && before.logged.is_some() && self.domain == before.domain
    }

    /// Whether the primary had all of `position`, or others of these numbers.
    pub fn had(&self, position: &Position) -> bool {
        self.number > 0 && (self.position.covers(position) || self.gone.covers(position))
    }
}

/// Who adds to a token, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The session's id.
    pub session: u32,
    /// Readings that had begun when the end of the write was known.
    pub readings: u64,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Token {
    position: Position,
    /// Readings that had begun when something was written last.
    readings: u64,
    /// The same for the last write whose position is not known, if that still matters.
    unknown: Option<u64>,
    /// The session that wrote last.
    writer: u32,
    /// Of `position`, what has changed tables and not just their rows.
    tables: Position,
    /// Something was written that no replica will ever have.
    is_unlogged: bool,
}

impl Token {
    /// Adds a write at `position`.
    pub fn add(&mut self, position: &Position, stamp: Stamp) {
        self.position.merge(position);
        self.readings = self.readings.max(stamp.readings);
        self.writer = stamp.session;
    }

    /// Adds a write whose position is not known.
    pub fn add_unknown(&mut self, stamp: Stamp) {
        self.readings = self.readings.max(stamp.readings);
        self.unknown = self.unknown.max(Some(stamp.readings));
        self.writer = stamp.session;
    }

    /// What is at `position`, which was added, has changed tables and not just their rows.
    pub fn add_tables(&mut self, position: &Position) {
        self.tables.merge(position);
    }

    /// What has no known position is before one that was told since.
    pub fn forget_unknown(&mut self) {
        self.unknown = None;
    }

    /// Adds a write that is in no binary log: only the primary has everything from now on.
    pub fn add_unlogged(&mut self, session: u32) {
        self.is_unlogged = true;
        self.writer = session;
    }

    /// Forgets such writes.
    pub fn forget_unlogged(&mut self) {
        self.is_unlogged = false;
    }

    /// Adds all that `other` has.
    pub fn merge(&mut self, other: &Self) {
        self.is_unlogged |= other.is_unlogged;
        self.tables.merge(&other.tables);
        self.position.merge(&other.position);
        self.readings = self.readings.max(other.readings);
        self.unknown = self.unknown.max(other.unknown);
        self.writer = other.writer;
    }

    /// Uses what a reading tells; whether it told anything.
    pub fn settle(&mut self, reading: &Reading) -> bool {
        if reading.is_out_of_order || reading.is_renumbered {
            return false;
        }
        let (places, shown) =
            (self.unknown.is_some_and(|begun| reading.number > begun), reading.shown());
        let has_all = shown.covers(&self.position);
        let is_lost = !has_all && reading.number > self.readings;
        if is_lost || places && has_all {
            self.position.clone_from(&shown);
        } else if places {
            self.position.merge(&shown);
        }
        if is_lost {
            self.tables = Position::default();
        }
        if places {
            self.unknown = None;
        }
        places || is_lost
    }

    /// Has what the primary had at a reading count as written; whether that tells enough.
    pub fn raise(&mut self, reading: &Reading) -> bool {
        let tells = !reading.is_out_of_order && !reading.is_renumbered;
        if tells {
            self.position.merge(&reading.shown());
            // An older one must not tell that this is lost.
            self.readings = self.readings.max(reading.number);
        }
        tells
    }

    /// What a replica must have applied; not all, with [`Self::is_unknown`].
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Only the primary has everything for sure.
    pub fn is_unknown(&self) -> bool {
        self.unknown.is_some()
    }

    /// Something was written that no replica will ever have.
    pub fn is_unlogged(&self) -> bool {
        self.is_unlogged
    }

    /// What a replica must have applied for its tables to be what they are at the primary.
    pub fn tables(&self) -> &Position {
        &self.tables
    }

    /// Whether a replica that has applied `applied` has everything.
    pub fn is_covered_by(&self, applied: &Position) -> bool {
        !self.is_unknown()
            && !self.is_unlogged
            && (self.position.is_empty() || applied.covers(&self.position))
    }

    /// Whether the last write was another session's.
    pub fn is_of_another(&self, session: u32) -> bool {
        self.writer != session
    }
}

/// The token of one scope, shared by its sessions.
///
/// Held for the length of a decision or of an addition, never across anything that waits.
#[derive(Debug, Default)]
pub struct SharedToken {
    token: Mutex<Token>,
    /// What is on its way, and not in the token.
    pub flights: Flights,
}

impl SharedToken {
    /// For sessions that inherit `token`.
    pub fn new(token: Token) -> Self {
        Self { token: Mutex::new(token), flights: Flights::default() }
    }

    /// The token, which no other session can read or change meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, Token> {
        self.token.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    fn stamp(session: u32, readings: u64) -> Stamp {
        Stamp { session, readings }
    }

    fn reading(number: u64, text: &str) -> Reading {
        Reading { number, position: position(text), ..Reading::default() }
    }

    #[test]
    fn a_write_without_a_position_is_covered_by_a_reading_that_began_after_it() {
        let mut token = Token::default();
        token.add(&position("0-1-5"), stamp(1, 2));
        assert!(token.is_covered_by(&position("0-1-5")));
        token.add_unknown(stamp(1, 3));
        assert!(!token.is_covered_by(&position("0-1-99")));
        assert!(!token.settle(&reading(3, "0-1-7")), "it had begun before");
        assert!(token.is_unknown());
        assert!(token.settle(&reading(4, "0-1-7")));
        assert!(!token.is_covered_by(&position("0-1-6")));
        assert!(token.is_covered_by(&position("0-1-7")));
    }

    #[test]
    fn what_may_have_been_seen_counts_as_far_as_a_reading_tells() {
        let mut token = Token::default();
        token.add(&position("0-1-9"), stamp(1, 2));
        let early = Reading { is_out_of_order: true, ..reading(3, "0-1-12") };
        assert!(!token.raise(&early) && token.is_covered_by(&position("0-1-9")));
        assert!(token.raise(&reading(4, "0-1-12")));
        assert!(!token.is_covered_by(&position("0-1-11")));
        assert!(token.raise(&reading(3, "0-1-10")) && !token.is_covered_by(&position("0-1-11")));
        assert!(token.is_covered_by(&position("0-1-12")));
    }

    #[test]
    fn what_mysql_is_about_to_commit_may_have_been_seen() {
        const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let other = A.replace("3e11", "ffff");
        let of_a = |numbers: &str| position(&format!("{A}:{numbers}"));
        let reading = |number, under_way: &str| Reading {
            server: Some(A.into()),
            under_way: position(under_way),
            ..reading(number, &format!("{A}:1-5"))
        };
        let under_way = format!("{A}:6,{other}:9");
        let mut token = Token::default();
        token.add_unknown(stamp(1, 1));
        assert!(token.settle(&reading(2, &under_way)) && !token.is_covered_by(&of_a("1-5")));
        assert!(token.is_covered_by(&of_a("1-6")), "others' numbers may take long");
        assert!(!token.settle(&reading(3, &under_way)) && !token.is_covered_by(&of_a("1-5")));
        assert!(token.settle(&reading(4, "")) && token.is_covered_by(&of_a("1-5")), "undone");
        let mut token = Token::default();
        assert!(token.raise(&reading(2, &under_way)));
        assert!(!token.is_covered_by(&of_a("1-5")) && token.is_covered_by(&of_a("1-6")));
    }

    #[test]
    fn a_later_write_with_a_position_does_not_put_the_cure_off() {
        let mut token = Token::default();
        token.add_unknown(stamp(1, 3));
        token.add(&position("0-1-9"), stamp(2, 4));
        assert!(token.settle(&reading(4, "0-1-8")));
        // What was written after the reading began stays.
        assert!(!token.is_covered_by(&position("0-1-8")));
        assert!(token.is_covered_by(&position("0-1-9")));
    }

    #[test]
    fn what_the_primary_has_lost_is_not_waited_for() {
        let mut token = Token::default();
        token.add(&position("0-1-500"), stamp(1, 7));
        assert!(!token.settle(&reading(7, "0-1-3")), "it may have begun before the write");
        assert!(token.settle(&reading(8, "0-1-3")));
        assert!(token.is_covered_by(&position("0-1-3")));
        assert!(!token.settle(&reading(9, "0-1-4")), "nothing to mend");
        assert!(token.is_covered_by(&position("0-1-3")));
    }

    #[test]
    fn a_write_with_an_earlier_number_is_placed_by_the_next_one() {
        let mut token = Token::default();
        token.add(&position("0-1-95"), stamp(1, 1));
        token.add_unknown(stamp(1, 1));
        let early = Reading { is_out_of_order: true, ..reading(2, "0-1-94") };
        assert!(!token.settle(&early) && token.is_unknown());
        assert!(token.settle(&reading(3, "0-1-96")));
        assert!(!token.is_covered_by(&position("0-1-95")));
        assert!(token.is_covered_by(&position("0-1-96")));
    }

    #[test]
    fn a_write_of_a_number_that_was_applied_before_is_placed_once_the_log_has_passed_that() {
        let mut token = Token::default();
        token.add_unknown(stamp(1, 1));
        let early = Reading { is_renumbered: true, ..reading(2, "0-1-93") };
        assert!(!token.settle(&early) && token.is_unknown());
        assert!(token.settle(&reading(3, "0-2-94")));
        assert!(!token.is_covered_by(&position("0-1-93")));
        assert!(token.is_covered_by(&position("0-2-94")));
    }

    #[test]
    fn a_log_that_is_empty_again_begins_anew_whatever_was_applied_before() {
        let logged = |text: &str| Some(position(text)).filter(|logged| !logged.is_empty());
        let of = |domain, log| Reading {
            domain: Some(domain),
            logged: logged(log),
            ..reading(1, "0-1-93,7-1-1")
        };
        assert!(of(0, "").begins_anew(&of(0, "0-1-93")));
        assert!(!of(0, "").begins_anew(&of(0, "")) && !of(0, "0-2-1").begins_anew(&of(0, "")));
        assert!(!of(7, "").begins_anew(&of(0, "0-1-93")), "it commits in another one now");
    }

    #[test]
    fn numbers_are_given_anew_for_sure_once_the_log_has_some_that_were_applied_before() {
        let of = |log: &str, applied: &str| Reading {
            domain: Some(0),
            is_renumbered: position(applied).outnumbers(&position(log), 0),
            logged: Some(position(log)).filter(|log| !log.is_empty()),
            earlier: position(applied),
            ..reading(1, applied)
        };
        for (before, log, applied, is_anew) in [
            ("0-2-8", "0-2-9", "0-1-92", true),
            ("", "0-2-1", "0-1-92", true),
            ("0-2-91", "0-2-92", "0-1-92", true),
            // It was promoted again, and has not written since.
            ("0-2-8", "0-2-8", "0-1-92", false),
            ("0-2-8", "0-2-93", "0-1-92", false),
            ("0-2-8", "0-2-93", "0-1-94", false),
        ] {
            let mut last = of(log, applied);
            last.go_on(&of(before, "0-1-92"));
            assert_eq!(last.is_anew, is_anew, "{before} {log}");
            assert_eq!(
                last.strands(&position("0-1-92,7-9-5")),
                is_anew.then(|| position("0-1-92"))
            );
            assert!(
                last.strands(&position(log)).is_none()
                    && last.strands(&Position::default()).is_none()
            );
        }
        let anew = Reading { is_anew: true, ..of("0-2-8", "0-1-92") };
        let (mut idle, mut passed) = (of("0-2-8", "0-1-92"), of("0-2-93", "0-1-92"));
        idle.go_on(&anew);
        passed.go_on(&anew);
        assert!(idle.is_anew && !passed.is_anew);
    }

    #[test]
    fn what_another_server_has_committed_counts_once_the_primary_has_it() {
        let mut last = Reading { own: Some(1), ..reading(1, "0-1-9") };
        let before = position("0-1-8");
        let trusted = |last: &Reading, applied| last.trusted(&position(applied), &[&before]);
        assert_eq!(trusted(&last, "0-1-10"), position("0-1-10"), "the next reading has that");
        assert_eq!(trusted(&last, "0-2-10"), before);
        last.origins.add("0-1-9,0-2-10", 1);
        assert_eq!(trusted(&last, "0-2-10"), position("0-2-10"));
        assert_eq!(trusted(&last, "0-2-11"), before);
        let untold = reading(1, "0-1-9");
        assert_eq!(trusted(&untold, "0-2-11"), position("0-2-11"));
    }

    #[test]
    fn numbers_are_given_anew_after_a_reset_until_the_log_is_as_long_as_it_was() {
        let of = |log: &str| Reading {
            domain: Some(0),
            logged: Some(position(log)).filter(|log| !log.is_empty()),
            ..reading(1, log)
        };
        let (before, mut empty) = (of("0-1-92"), of(""));
        empty.begin_anew(&before);
        assert!(empty.strands(&position("0-1-92")).is_some());
        assert!(empty.strands(&Position::default()).is_none());
        let mut next = of("0-1-91");
        next.go_on(&empty);
        assert!(next.strands(&position("0-1-92")).is_some());
        assert!(next.strands(&position("0-1-91")).is_none());
        let mut passed = of("0-1-92");
        passed.go_on(&next);
        assert!(!passed.is_anew);
        let mut long = of("0-1-99");
        long.begin_anew(&before);
        assert!(!long.is_anew);
    }

    #[test]
    fn a_domain_that_is_gone_is_not_waited_for_until_its_numbers_come_again() {
        let next = |before: &Reading, text: &str| {
            let number = before.number + 1;
            let mut next = Reading { domain: Some(0), ..reading(number, text) };
            assert!(!next.begins_anew(before));
            next.go_on(before);
            next
        };
        let before = next(&Reading::default(), "0-1-9,7-1-3");
        let mut token = Token::default();
        token.add(&position("7-1-3"), stamp(1, 1));
        token.add_unknown(stamp(1, 1));
        let gone = next(&before, "0-1-9");
        assert!(token.settle(&gone) && token.is_covered_by(&position("0-1-9")));
        let later = next(&next(&gone, "0-1-10"), "0-1-11");
        assert!(!later.is_out_of_order && later.position == position("0-1-11"));
        assert!(later.had(&position("7-1-3")) && !later.had(&position("7-1-4")));
        // A replica may have others of these.
        let again = next(&later, "0-1-11,7-1-1");
        assert!(again.is_out_of_order && again.had(&position("7-1-3")));
        let passed = next(&again, "0-1-11,7-1-4");
        assert!(!passed.is_out_of_order && passed.position == position("0-1-11,7-1-4"));
        // In the one in which it commits there may be others soon.
        let anew = Reading { domain: Some(0), ..reading(9, "7-1-4") };
        assert!(anew.begins_anew(&passed) && !anew.begins_anew(&anew));
    }

    #[test]
    fn a_token_knows_who_wrote_last() {
        let mut token = Token::default();
        token.add(&position("0-1-1"), stamp(4, 0));
        assert!(!token.is_of_another(4) && token.is_of_another(5));
        token.add_unknown(stamp(5, 0));
        assert!(token.is_of_another(4));
    }
}

//! The account of one session: how much service it has had lately, and what that says of its next
//! statement.
//!
//! ```text
//!  level   ╱╲ holds a slot: 1 s a second        ── credit: beyond it the session is batch
//!         ╱  ╲__ waits for its client: halves in 2 s   ── half of it: it is not any more
//! ```
//!
//! While a session waits for a slot nothing changes: a batch that is kept waiting does not become
//! interactive by that. Nor while it waits for a lock of less urgent work or another program, as far as the
//! lock guard sees it. Holding a slot counts whether or not a statement runs: a transaction that
//! waits for a web page uses the server's locks all the same.
//!
//! A light session's first long statement in a minute may have stood still for reasons that nobody sees here. It
//! makes the session batch, but counts for little more than the credit, and wears off in waits as well: its
//! session is back in a few seconds if it does nothing else of that kind.
//!
//! How much a session may use before it counts as batch hangs on its company (see
//! [`super::evidence`]): nothing when its statements are those of heavy visits, a second when they
//! are those of light ones, and a small credit when nothing is known of it, or when such light ones have so many of
//! the slots all together that others wait.
//!
//! A visit ends with a pause, however short next to others, that is longer than all its service so far, or
//! when its pauses have come to twenty times its service: a connection of an application's own pool serves
//! many users by turns. What rules and hints assign to a lane is not counted.
//!
//! Times are those since an origin that is the caller's to choose.
//!
//! The account is that of foreground-background scheduling (least attained service first; Kleinrock,
//! Queueing Systems II, 1976) with two classes.

use std::time::Duration;

use super::baseline::Beside;
use super::bulk;
use super::evidence::{Evidence, PAGE, Visit};
use super::features::Features;

/// A pause longer than this ends a visit.
const PAUSE: Duration = Duration::from_millis(500);
/// So does one longer than this, if it is longer than its service: the next statement is hardly of the same
/// page. Programs think for less between two statements.
const REST: Duration = Duration::from_millis(15);
/// So do its pauses together when they are this many times its service, and at least as long as this: a
/// connection that many users share is used little, and never rests for long.
const SPARSE: f64 = 20.0;
const SPARSE_MIN: f64 = 0.1;
/// Time in which an idle session's level halves, in seconds; and least time that is worth reckoning so.
const HALF_LIFE: f64 = 2.0;
const REST_MIN: f64 = 0.01;
/// A visit that goes on is counted again after this time.
const COUNTED_AGAIN: Duration = Duration::from_secs(15);
/// A visit's features are weighed anew after this time: others have learned meanwhile.
const WEIGHED_AGAIN: Duration = Duration::from_millis(300);
/// Time for which a session that was granted a slot goes on with what it has begun: a page's worth.
const GOES_ON: Duration = Duration::from_secs(1);
/// Least service of a statement beside batch, in seconds, of which it is asked how much of it counts.
const SLOWED_MIN: f64 = 0.005;
/// A session tells others what its statements take without batch this often, at most.
const TOLD_AGAIN: Duration = Duration::from_millis(100);
/// How many times what makes a visit middling it may have used and still be a short one: what is much
/// heavier needs no other signs.
const SHORT: f64 = 5.0;
/// How many times what makes a visit heavy it may have used and still be a middling one.
const MIDDLING: f64 = 2.0;

/// Logarithm of the odds from which a session counts as batch at once.
const SURE_OF_BATCH: f32 = 1.5;
/// The same up to which it counts as known to be light, if its own features say so too.
const SURE_OF_LIGHT: f32 = -2.0;
const LIGHT_FEATURES: f32 = -0.7;
/// Credit of a session of which nothing is known, and that has sent nothing yet.
const UNKNOWN_CREDIT: f64 = PAGE as f64;
/// Credit of a session that is known to be light, and for whose statements nobody waits: this many times that of
/// others, and at least a second.
const LIGHT_CREDIT: f64 = 3.0;
const LIGHT_CREDIT_MIN: f64 = 1.0;
/// Part of its credit below which a session is no longer batch. A statement that takes more is a long one.
const FORGIVEN: f64 = 0.5;
/// How many times its credit a light session's long statement counts for at most, if it is the first one in
/// this time; and how many seconds another one does.
const ONCE_MAX: f64 = 2.0;
const ONCE_IN: Duration = Duration::from_secs(60);
const LONG_MAX: f64 = 4.0;

/// What behaviour says of a session's next statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// It has used less than its credit.
    #[default]
    Light,
    /// It has used more than its credit.
    Attained,
    /// It sends the statements, or is the client, of heavy visits.
    Company,
}

impl Standing {
    /// Whether the statement belongs to the batch lane.
    pub fn is_batch(self) -> bool {
        self != Self::Light
    }
}

/// One session's account.
#[derive(Debug)]
pub struct Account {
    /// Service of late, in seconds; and pauses in which it has not worn off yet.
    level: f64,
    rested: f64,
    /// That of a single long statement, as part of the credit; and when the last long one was.
    once: f64,
    long_at: Option<Duration>,
    /// What it might use when it was judged, in seconds.
    credit: f64,
    /// Service of this visit, in seconds; for how much of it the session has been charged; that of which others
    /// have been told; and its pauses.
    visit: f64,
    charged: f64,
    told: f64,
    pauses: f64,
    /// Since it held no slot: service, in seconds, and statements that change rows.
    turn: f64,
    changes: u32,
    /// A transaction of this visit was in bulk.
    is_in_bulk: bool,
    /// Up to when both are true.
    at: Duration,
    is_holding: bool,
    /// The statement that was judged last; for how many seconds it has waited; and how much batch ran when its slot was granted.
    digest: u64,
    waited: f64,
    beside: Beside,
    /// It is not run, only prepared.
    only_prepares: bool,
    /// When others were told what one takes without.
    told_baseline: Duration,
    /// A rule or a hint has chosen the lane of its turn: that says nothing of the rest of the session.
    is_assigned: bool,
    /// Those of this visit, and when they were weighed.
    features: Features,
    weighed: Duration,
    standing: Standing,
    /// When this visit was counted as a heavy one.
    counted: Option<Duration>,
    client: u64,
    /// When it was granted a slot and had none to go on from.
    admitted: Option<Duration>,
    /// The statement that waits goes on from there.
    is_going_on: bool,
    /// Service since then, in seconds.
    begun: f64,
    /// Verdicts so far: for light work, and for batch.
    verdicts: (u32, u32),
}

impl Account {
    /// Of a session of `client` (see [`super::evidence::client_feature`]) that begins at `now`.
    pub fn new(client: u64, now: Duration) -> Self {
        Self {
            level: 0.0,
            rested: 0.0,
            once: 0.0,
            long_at: None,
            credit: UNKNOWN_CREDIT,
            visit: 0.0,
            charged: 0.0,
            told: 0.0,
            pauses: 0.0,
            turn: 0.0,
            changes: 0,
            is_in_bulk: false,
            at: now,
            is_holding: false,
            digest: 0,
            waited: 0.0,
            beside: Beside::Nothing,
            only_prepares: false,
            told_baseline: now,
            is_assigned: false,
            features: Features::default(),
            weighed: now,
            standing: Standing::Light,
            counted: None,
            client,
            admitted: None,
            is_going_on: false,
            begun: 0.0,
            verdicts: (0, 0),
        }
    }

    /// A statement came at `now`, and the session holds no slot: what it is.
    pub fn judge(&mut self, now: Duration, digest: u64, evidence: &Evidence) -> Standing {
        self.pause(now, evidence);
        self.is_assigned = false;
        if now.saturating_sub(self.weighed) > WEIGHED_AGAIN {
            self.weighed = now;
            self.tell_service(evidence);
            self.features.weigh(evidence);
        }
        self.note(digest, evidence);
        self.digest = digest;
        self.only_prepares = false;
        let heavy_from = f64::from(evidence.heavy_from());
        let weight = self.features.weight();
        let odds = weight + evidence.prior();
        let is_light = odds <= SURE_OF_LIGHT && weight <= LIGHT_FEATURES;
        let is_light = is_light || self.features.are_light();
        let credit = match odds {
            odds if odds >= SURE_OF_BATCH => 0.0,
            _ if is_light && !self.features.use_much() => {
                (LIGHT_CREDIT * f64::from(evidence.middling_from())).max(LIGHT_CREDIT_MIN)
            }
            _ => heavy_from,
        };
        let part = if self.standing == Standing::Attained { FORGIVEN } else { 1.0 };
        let is_over = self.level + self.once * credit > part * credit;
        self.credit = credit;
        self.standing = match (credit == 0.0, is_over) {
            (true, _) => Standing::Company,
            (false, true) => Standing::Attained,
            (false, false) => Standing::Light,
        };
        let (light, batch) = &mut self.verdicts;
        let count = if self.standing.is_batch() { batch } else { light };
        *count = count.saturating_add(1);
        self.standing
    }

    /// The statement that was judged last is prepared, which says nothing of what it takes.
    pub fn only_prepares(&mut self) {
        self.only_prepares = true;
    }

    /// A statement came at `now` whose lane a rule or a hint has chosen, and the session holds no slot.
    pub fn assigned(&mut self, now: Duration, evidence: &Evidence) {
        self.pause(now, evidence);
        self.is_assigned = true;
    }

    /// A statement was refused at `now`: its wait was no rest.
    pub fn refused(&mut self, now: Duration) {
        self.at = now;
    }

    /// The session has rested up to `now`.
    fn pause(&mut self, now: Duration, evidence: &Evidence) {
        let pause = now.saturating_sub(self.at);
        self.pauses += pause.as_secs_f64();
        let is_sparse = self.pauses >= (SPARSE * self.charged).max(SPARSE_MIN);
        let is_rest = pause > REST && pause.as_secs_f64() > self.charged;
        // Who works most of the time does not rest in between.
        if pause > REST || self.pauses > self.charged {
            self.rested += pause.as_secs_f64();
        }
        if pause > PAUSE || is_sparse || is_rest {
            self.end_visit(evidence);
        }
        // Most pauses are shorter, and change little each.
        if self.rested >= REST_MIN {
            self.level *= left_after(self.rested);
            self.once *= left_after(self.rested);
            self.rested = 0.0;
        }
        self.at = now;
    }

    /// Another statement of this visit.
    pub fn note(&mut self, digest: u64, evidence: &Evidence) {
        if self.is_assigned {
            return;
        }
        self.features.note(self.client, digest, evidence);
    }

    /// It runs in a transaction that `is_open`, or not, and `changes` rows.
    pub fn note_transaction(&mut self, is_open: bool, changes: impl FnOnce() -> bool) {
        self.changes = match is_open {
            false => 0,
            true if self.changes < bulk::CHANGES => self.changes + u32::from(changes()),
            true => self.changes,
        };
    }

    /// A slot was granted at `now`, of a server on which so much batch runs.
    pub fn granted(&mut self, now: Duration, beside: Beside) {
        self.beside = beside;
        self.waited = now.saturating_sub(self.at).as_secs_f64();
        if self.once > 0.0 {
            self.once *= left_after(now.saturating_sub(self.at).as_secs_f64());
        }
        self.at = now;
        self.is_holding = true;
        (self.turn, self.changes) = (0.0, 0);
        if !self.is_going_on {
            (self.admitted, self.begun) = (Some(now), 0.0);
        }
    }

    /// When that was begun with which a statement at `now` goes on: a moment ago a page of which a part
    /// is done already. Who never stops, or uses more than small visits do, has to be admitted anew.
    pub fn continues(&mut self, now: Duration, evidence: &Evidence) -> Option<Duration> {
        let is_small = self.begun < f64::from(evidence.heavy_from());
        let is_recent = |at: &Duration| now.saturating_sub(*at) < GOES_ON;
        let begun = self.admitted.filter(is_recent).filter(|_| is_small);
        self.is_going_on = begun.is_some();
        begun
    }

    /// The client it is the session of.
    pub fn client(&self) -> u64 {
        self.client
    }

    /// Of the command under way it has waited for so long for others, or for a server that did nothing: that is
    /// not its use. To be told before [`Self::rest`].
    pub fn waited(&mut self, time: Duration) {
        if self.is_holding {
            self.at = self.at.saturating_add(time);
        }
    }

    /// A command is done, at `now`; the session still `holds` its slot or gave it back.
    pub fn rest(&mut self, now: Duration, holds: bool, evidence: &Evidence) {
        if self.is_holding {
            let held = now.saturating_sub(self.at).as_secs_f64();
            self.begun += held;
            self.at = now;
            self.is_holding = holds;
            if self.is_assigned {
                return;
            }
            // Nothing is said of transactions: their first statement stands for all, and clients think in between.
            let is_single = !holds && self.turn == 0.0;
            let charged = if is_single { self.charged_for(now, held, evidence) } else { held };
            self.charge(now, charged);
            self.visit += held;
            self.charged += charged;
            self.turn += held;
            if !holds {
                self.end_turn(evidence);
            }
            if !holds || !self.is_short(evidence) {
                self.count_heavy(now, evidence);
            }
        }
    }

    /// Seconds for which a single statement counts that has held a slot for so many.
    fn charged_for(&mut self, now: Duration, held: f64, evidence: &Evidence) -> f64 {
        let is_due = now.saturating_sub(self.told_baseline) >= TOLD_AGAIN;
        if is_due && !self.only_prepares && self.beside != Beside::More && !self.standing.is_batch()
        {
            self.told_baseline = now;
            evidence.took(self.digest, seconds(held));
        }
        if self.beside != Beside::Nothing && held > SLOWED_MIN {
            let is_batch = self.standing.is_batch();
            let took = (seconds(self.waited), seconds(held));
            return f64::from(evidence.charge(self.digest, took, is_batch)).min(held);
        }
        held
    }

    /// A command has held a slot for so many seconds.
    fn charge(&mut self, now: Duration, held: f64) {
        if held <= FORGIVEN * self.credit {
            self.level += held;
            return;
        }
        let is_recent = |at: Duration| now.saturating_sub(at) < ONCE_IN;
        let is_first = !self.long_at.replace(now).is_some_and(is_recent);
        if is_first && self.standing == Standing::Light {
            self.once = (held / self.credit).min(ONCE_MAX);
        } else {
            self.level += held.min(LONG_MAX);
        }
    }

    /// The session is over.
    pub fn close(&mut self, evidence: &Evidence) {
        self.end_visit(evidence);
    }

    /// What it is now.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Verdicts so far: for light work, and for batch.
    pub fn verdicts(&self) -> (u32, u32) {
        self.verdicts
    }

    /// Others shall learn of a heavy visit while it lasts.
    fn count_heavy(&mut self, now: Duration, evidence: &Evidence) {
        if self.charged < f64::from(evidence.heavy_from()) {
            return;
        }
        let is_due = |at: Duration| now.saturating_sub(at) >= COUNTED_AGAIN;
        if self.counted.is_none_or(is_due) {
            self.counted = Some(now);
            self.count(evidence, true);
        }
    }

    fn end_turn(&mut self, evidence: &Evidence) {
        if self.changes >= bulk::CHANGES && self.is_short(evidence) {
            self.is_in_bulk = true;
            evidence.used_in_bulk(seconds(self.turn));
        }
        (self.turn, self.changes) = (0.0, 0);
    }

    fn is_short(&self, evidence: &Evidence) -> bool {
        self.visit < SHORT * f64::from(evidence.middling_from())
    }

    fn end_visit(&mut self, evidence: &Evidence) {
        // Who has used nothing says nothing of what small work is.
        if !self.features.all().is_empty() && self.visit > 0.0 {
            if self.counted.is_none() {
                self.count(evidence, false);
            } else {
                self.features.count_late(self.as_visit(evidence, true), evidence);
            }
            self.tell_service(evidence);
        }
        self.features = Features::default();
        (self.visit, self.charged, self.told, self.pauses) = (0.0, 0.0, 0.0, 0.0);
        (self.is_in_bulk, self.counted) = (false, None);
    }

    fn count(&mut self, evidence: &Evidence, is_heavy: bool) {
        self.features.count(self.as_visit(evidence, is_heavy), evidence);
        self.tell_service(evidence);
    }

    fn as_visit(&self, evidence: &Evidence, is_heavy: bool) -> Visit {
        let is_in_bulk = self.is_in_bulk && self.is_short(evidence);
        let middling =
            f64::from(evidence.middling_from())..MIDDLING * f64::from(evidence.heavy_from());
        let is_middling = middling.contains(&self.visit);
        Visit { service: seconds(self.visit), is_heavy, is_middling, is_in_bulk }
    }

    /// Others learn how much these features use together.
    fn tell_service(&mut self, evidence: &Evidence) {
        let used = self.visit - self.told;
        if used > 0.0 {
            self.told = self.visit;
            evidence.used(self.features.all(), seconds(used));
        }
    }
}

/// What is left of a level after so many seconds.
fn left_after(seconds: f64) -> f64 {
    (-seconds / HALF_LIFE).exp2()
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits of a time are plenty")]
fn seconds(service: f64) -> f32 {
    service as f32
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;

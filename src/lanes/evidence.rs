//! What is known of the kinds of work: how often a visit with this statement, or from this client,
//! turned out to be heavy.
//!
//! A *visit* is what a session does without a longer pause (see [`super::account`]). When it ends it
//! is counted for its *features*: the digests of its statements, and its client (user, address and
//! program together). Scraper and users may share client, user and half of their statements; what
//! tells them apart are the features that occur in the visits of one of them only. Their weights are
//! added as in a naive Bayes classifier (Duda and Hart, 1973): the logarithm of how much more likely
//! a feature is among heavy visits than among all.
//!
//! A visit is heavy when it takes much longer than small ones, and more than a page may. One which is only the first
//! may be a page with many statements. It counts as heavy only while *middling* visits, up to twice a page, have most of
//! the slots for which others wait (see [`super::bulk`]).
//!
//! What speaks for a heavy visit counts in full only for features that use a good part of a slot all
//! together: a page that is opened once a second keeps nobody waiting, however much longer than
//! others it takes.
//!
//! Counts are of visits, not of time, so that a statement which both sides use weighs little however
//! heavy one of them is. They halve in half a minute: what was learned is forgotten when it is no
//! longer true. What heavy means is measured by small visits of the last seconds, so that a server on
//! which everything takes longer for a while makes nobody heavy. At most [`FEATURES_MAX`] features are
//! kept; what does not fit has no weight.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU32, Ordering};

use foldhash::HashMap;
use foldhash::fast::FixedState;
use parking_lot::Mutex;

use super::baseline::Baseline;
use super::bulk::{Bulk, Much, Slots};

/// Most features kept, about 90 bytes each.
pub const FEATURES_MAX: usize = SHARDS * SHARD_MAX;
const SHARDS: usize = 16;
const SHARD_MAX: usize = 512;

/// What is left of a count after a second: half of it after 30 s.
const LEFT_AFTER_A_SECOND: f32 = 0.977_16;
/// The same for what visits take: half of it after 5 s.
const RECENT_AFTER_A_SECOND: f32 = 0.870_55;
/// A feature with fewer visits is forgotten.
const VISITS_MIN: f32 = 0.02;
/// Least part of the last visit in what visits take.
const LAST_VISITS: f32 = 0.1;
/// Recent visits of a digest that comes more than now and then, with this one; and such visits of its own that a
/// feature needs to say what small work is.
const VISITS_RECENT: f32 = 1.5;
const VISITS_TOLD: f32 = 1.0;

/// Bounds of the share of heavy visits: all and those with one feature. That the first is narrower
/// leaves a feature all heavy visits have something to say when nearly all visits are heavy.
const SHARE_OF_ALL: (f32, f32) = (0.02, 0.97);
const SHARE_OF_ONE: (f32, f32) = (0.002, 0.998);
/// Share of heavy visits while nothing is known, which counts like one visit.
const SHARE_AT_FIRST: f32 = 0.2;
/// Light visits after which half of what speaks for a heavy one counts.
const LIGHT_TOLD: f32 = 5.0;
/// Visits after which a feature is known, and the share of heavy ones up to which it is light.
const VISITS_KNOWN: f32 = 10.0;
const LIGHT_SHARE: f32 = 0.12;
/// Service of a feature, in seconds a second, from which what speaks for a heavy visit counts in full.
const LOAD_FULL: f32 = 0.5;
/// The same without which a feature of light visits keeps nobody waiting; and part of that, and of what is much,
/// without which it does not any more.
const LOAD_MUCH: f32 = 1.0;
const STILL_MUCH: f32 = 0.5;
/// Largest weight of one feature.
const WEIGHT_MAX: f32 = 5.0;

/// A small visit's service, in seconds, while nothing is known.
const SMALL_AT_FIRST: f32 = 0.05;
/// Bounds of the service that makes a visit middling, in seconds.
const MIDDLING_FROM: (f32, f32) = (0.03, 1.0);
/// How many times the service of small visits makes a visit middling.
const MIDDLING_FACTOR: f32 = 3.0;
/// Least service that makes a visit heavy, in seconds: a page's worth, one with many statements included.
pub(super) const PAGE: f32 = 0.25;

/// What all sessions have learned.
#[derive(Debug)]
pub struct Evidence {
    shards: [Mutex<HashMap<u64, Tally>>; SHARDS],
    all: Mutex<Tally>,
    /// Share of heavy visits among all, as the bits of an `f32`.
    share: AtomicU32,
    /// Logarithm of its odds, likewise: each statement asks.
    prior: AtomicU32,
    /// Light visits, likewise.
    light: AtomicU32,
    /// Service that makes a visit middling, in seconds, as the bits of an `f32`.
    middling_from: AtomicU32,
    bulk: Mutex<Bulk>,
    middling: Mutex<Bulk>,
    much: Mutex<Much>,
    /// Visits in bulk, and middling ones, that a feature must have for them to be heavy, likewise.
    bulk_least: AtomicU32,
    middling_least: AtomicU32,
}

/// What is known of a feature.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Weighed {
    /// See [`Evidence::weight`].
    pub(super) weight: f32,
    /// Its visits are many enough to be known.
    pub(super) is_known: bool,
    /// So they are, and are light.
    pub(super) is_light: bool,
    /// They use so much all together that others wait for them.
    pub(super) is_much: bool,
}

/// A visit that is counted.
#[derive(Debug, Clone, Copy)]
pub struct Visit {
    /// What it has used, in seconds.
    pub service: f32,
    /// That was so much that it is a heavy one.
    pub is_heavy: bool,
    /// It was more than small visits use, and hardly more than what makes it heavy.
    pub is_middling: bool,
    /// A transaction of it has many statements that change rows (see [`super::bulk`]).
    pub is_in_bulk: bool,
}

/// Visits, with their age taken into account.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    visits: f32,
    heavy: f32,
    /// Visits in bulk, and those of them that are not heavy by themselves.
    in_bulk: f32,
    light_in_bulk: f32,
    /// Likewise middling ones.
    middling: f32,
    light_middling: f32,
    /// Service of the last seconds, also of visits that are not over.
    service: f32,
    /// The most of late that it came to, see [`Tally::load_now`].
    load: f32,
    /// Visits of the last seconds, and those of them that are its own (see [`Evidence::count`]).
    recent: f32,
    own: f32,
    /// Mean of the logarithm of their service in seconds.
    log_service: f32,
    /// Others wait for them, see [`Tally::look`].
    is_much: bool,
    baseline: Baseline,
}

impl Tally {
    fn count(&mut self, visit: Visit) {
        let Visit { is_heavy, is_middling, is_in_bulk, .. } = visit;
        self.visits += 1.0;
        self.heavy += f32::from(u8::from(is_heavy));
        self.in_bulk += f32::from(u8::from(is_in_bulk));
        self.light_in_bulk += f32::from(u8::from(is_in_bulk && !is_heavy));
        self.middling += f32::from(u8::from(is_middling));
        self.light_middling += f32::from(u8::from(is_middling && !is_heavy));
        self.recent += 1.0;
    }

    /// A visit was its own.
    fn own(&mut self, service: f32) {
        self.own += 1.0;
        // The last ten say most: a server can become slow from one moment to the next.
        let part = self.own.recip().max(LAST_VISITS);
        self.log_service += (service.max(1e-5).ln() - self.log_service) * part;
    }

    /// Whether others wait for these visits, light as each of them is: slots are scarce (`much` is a good part of
    /// them all, in seconds a second), and they use that much. Few of them may run at a time then: that is no reason
    /// to let them go at once. What other kinds' visits begin with uses nothing by itself.
    fn look(&mut self, much: Option<f32>) {
        let part = if self.is_much { STILL_MUCH } else { 1.0 };
        let least = |much: f32| part * much.max(LOAD_MUCH);
        let is_own = 2.0 * self.own >= self.recent;
        self.is_much = is_own && much.is_some_and(|much| self.used_now() >= least(much));
    }

    fn fade(&mut self) {
        self.visits *= LEFT_AFTER_A_SECOND;
        self.heavy *= LEFT_AFTER_A_SECOND;
        self.in_bulk *= LEFT_AFTER_A_SECOND;
        self.light_in_bulk *= LEFT_AFTER_A_SECOND;
        self.middling *= LEFT_AFTER_A_SECOND;
        self.light_middling *= LEFT_AFTER_A_SECOND;
        self.recent *= RECENT_AFTER_A_SECOND;
        self.own *= RECENT_AFTER_A_SECOND;
        // What is held back uses less; it is what it was all the same.
        self.load = self.load_now().max(self.load * LEFT_AFTER_A_SECOND);
        self.service *= RECENT_AFTER_A_SECOND;
        self.baseline.tick();
    }

    /// How much of what speaks for a heavy visit counts: the square, since a page has several statements of
    /// its own, which all say the same.
    fn load_now(&self) -> f32 {
        let part = self.used_now() / LOAD_FULL;
        (part * part).min(1.0)
    }

    /// Service of the last seconds, in seconds a second.
    fn used_now(&self) -> f32 {
        self.service * (1.0 - RECENT_AFTER_A_SECOND)
    }

    /// Heavy visits, with those in bulk and the middling ones when they are at least so many. Most are both, or
    /// only one of the two.
    fn heavy(&self, (bulk_least, middling_least): (f32, f32)) -> f32 {
        let in_bulk = if self.in_bulk >= bulk_least { self.light_in_bulk } else { 0.0 };
        let middling = if self.middling >= middling_least { self.light_middling } else { 0.0 };
        self.heavy + in_bulk.max(middling)
    }
}

impl Default for Evidence {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            all: Mutex::default(),
            share: AtomicU32::new(SHARE_AT_FIRST.to_bits()),
            prior: AtomicU32::new(prior(SHARE_AT_FIRST).to_bits()),
            light: AtomicU32::new(0),
            middling_from: AtomicU32::new((MIDDLING_FACTOR * SMALL_AT_FIRST).to_bits()),
            bulk: Mutex::default(),
            middling: Mutex::default(),
            much: Mutex::default(),
            bulk_least: AtomicU32::new(f32::INFINITY.to_bits()),
            middling_least: AtomicU32::new(f32::INFINITY.to_bits()),
        }
    }
}

/// The feature of a client.
pub fn client_feature(user: &str, address: std::net::IpAddr, program: &str) -> u64 {
    FixedState::with_seed(1).hash_one((user, address, program))
}

impl Evidence {
    /// How much more likely a heavy visit is for this feature: a logarithm, 0 when nothing is known,
    /// within [-5, 5]. While few light visits are known, nothing tells heavy ones from them.
    pub fn weight(&self, feature: u64) -> f32 {
        self.weigh(feature).weight
    }

    /// What is known of a feature.
    pub(super) fn weigh(&self, feature: u64) -> Weighed {
        let share = self.share();
        let light = f32::from_bits(self.light.load(Ordering::Relaxed));
        let tally = self.shard(feature).lock().get(&feature).copied().unwrap_or_default();
        let (least, most) = SHARE_OF_ONE;
        let heavy = tally.heavy(self.least());
        let own = ((heavy + share) / (tally.visits + 1.0)).clamp(least, most);
        let weight = (log_odds(own) - log_odds(share)).clamp(-WEIGHT_MAX, WEIGHT_MAX);
        let part = if weight > 0.0 {
            tally.load_now().max(tally.load) * light / (light + LIGHT_TOLD)
        } else {
            1.0
        };
        Weighed {
            weight: weight * part,
            is_known: tally.visits >= VISITS_KNOWN,
            is_light: is_light(&tally, heavy),
            is_much: tally.is_much,
        }
    }

    /// Logarithm of the odds that any visit is heavy; never in favour of it.
    pub fn prior(&self) -> f32 {
        f32::from_bits(self.prior.load(Ordering::Relaxed))
    }

    /// Service that makes a visit middling, in seconds: three times that of small ones, from 0.03 to 1.
    pub fn middling_from(&self) -> f32 {
        f32::from_bits(self.middling_from.load(Ordering::Relaxed))
    }

    /// Service that makes a visit heavy, in seconds: likewise, and a page's worth at least.
    pub fn heavy_from(&self) -> f32 {
        self.middling_from().max(PAGE)
    }

    /// Whether visits in bulk, or middling ones, are heavy now (see [`super::bulk`]).
    pub fn are_short_heavy(&self) -> bool {
        let (bulk, middling) = self.least();
        bulk.min(middling) < f32::INFINITY
    }

    /// A transaction in bulk has used a slot for so many seconds.
    pub fn used_in_bulk(&self, service: f32) {
        self.bulk.lock().used(service);
    }

    /// A visit with these features has used `service` seconds more.
    pub fn used(&self, features: &[u64], service: f32) {
        for feature in features {
            if let Some(tally) = self.shard(*feature).lock().get_mut(feature) {
                tally.service += service;
            }
        }
    }

    /// A single statement of this digest took so many seconds while hardly any batch work ran.
    pub fn took(&self, digest: u64, service: f32) {
        if let Some(tally) = self.shard(digest).lock().get_mut(&digest) {
            tally.baseline.took(service);
        }
    }

    /// Seconds for which one counts that `took` so many seconds beside batch, after a wait; its session is batch itself,
    /// or not.
    pub fn charge(&self, digest: u64, took: (f32, f32), is_of_batch: bool) -> f32 {
        let least = self.least();
        match self.shard(digest).lock().get_mut(&digest) {
            Some(tally) if is_light(tally, tally.heavy(least)) => {
                tally.baseline.charge(took, is_of_batch)
            }
            Some(_) | None => took.1,
        }
    }

    /// Counts a visit for each of its features, of which the first is its client's.
    ///
    /// What small work takes is counted for the rarest digest, the last one of several: others may be those of all
    /// work, with which pages begin. Visits that have only digests which hardly ever come are their client's.
    pub fn count(&self, features: &[u64], visit: Visit) {
        if visit.is_in_bulk {
            self.bulk.lock().visited(visit.service);
        }
        if visit.is_middling {
            let mut middling = self.middling.lock();
            middling.visited(visit.service);
            middling.used(visit.service);
        }
        let all = {
            let mut all = self.all.lock();
            all.count(visit);
            *all
        };
        self.set_share(all);
        let mut rarest: Option<(u64, f32)> = None;
        for (at, &feature) in features.iter().enumerate() {
            let Some(tally) = self.count_late(feature, visit).filter(|_| at > 0) else { continue };
            let is_rarest = rarest.is_none_or(|(_, visits)| tally.visits <= visits);
            if tally.recent >= VISITS_RECENT && is_rarest {
                rarest = Some((feature, tally.visits));
            }
        }
        let own = rarest.map(|(feature, _)| feature).or_else(|| features.first().copied());
        if let Some(feature) = own
            && let Some(tally) = self.shard(feature).lock().get_mut(&feature)
        {
            tally.own(visit.service);
        }
    }

    /// Counts a visit for one more of its features; what is known of that now.
    pub(super) fn count_late(&self, feature: u64, visit: Visit) -> Option<Tally> {
        let mut shard = self.shard(feature).lock();
        if shard.len() >= SHARD_MAX && !shard.contains_key(&feature) {
            return None;
        }
        let tally = shard.entry(feature).or_default();
        tally.count(visit);
        Some(*tally)
    }

    /// Takes a second's ageing into account and sums up anew: one in which slots of the primary were
    /// `used` for so many seconds. To be called once a second; O([`FEATURES_MAX`]).
    pub fn tick(&self, slots: Slots, used: f32) {
        let mut small: Vec<f32> = Vec::new();
        let much = self.look_for_much(slots, used);
        for shard in &self.shards {
            let mut shard = shard.lock();
            let is_full = shard.len() >= SHARD_MAX;
            shard.values_mut().for_each(|tally| {
                tally.look(much);
                tally.fade();
            });
            let least = if is_full { least_kept(&shard) } else { VISITS_MIN };
            shard.retain(|_, tally| tally.visits >= least);
            let told = shard.values().filter(|tally| tally.own >= VISITS_TOLD);
            small.extend(told.map(|tally| tally.log_service));
        }
        let all = {
            let mut all = self.all.lock();
            all.fade();
            *all
        };
        // Each kind of work counts once: a batch of one kind can be nearly all visits.
        small.sort_by(f32::total_cmp);
        let small = small.get(small.len().saturating_sub(1) / 4).map(|log| log.exp());
        if let Some(small) = small {
            let from = (MIDDLING_FACTOR * small).clamp(MIDDLING_FROM.0, MIDDLING_FROM.1);
            self.middling_from.store(from.to_bits(), Ordering::Relaxed);
        }
        let small = small.unwrap_or(f32::INFINITY);
        let bulk_least = self.bulk.lock().tick(slots, used, small, all.in_bulk);
        self.bulk_least.store(bulk_least.to_bits(), Ordering::Relaxed);
        let slots = if matches!(slots, Slots::Busy { .. }) { Slots::Scarce } else { slots };
        let middling_least = self.middling.lock().tick(slots, used, small, all.middling);
        self.middling_least.store(middling_least.to_bits(), Ordering::Relaxed);
        self.set_share(all);
    }

    /// What much is now, see [`Tally::look`].
    fn look_for_much(&self, slots: Slots, used: f32) -> Option<f32> {
        let is_found =
            |shard: &Mutex<HashMap<u64, Tally>>| shard.lock().values().any(|tally| tally.is_much);
        let is_found = self.shards.iter().any(is_found);
        self.much.lock().tick(slots, used, is_found)
    }

    /// Features kept now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn least(&self) -> (f32, f32) {
        let load = |least: &AtomicU32| f32::from_bits(least.load(Ordering::Relaxed));
        (load(&self.bulk_least), load(&self.middling_least))
    }

    fn share(&self) -> f32 {
        f32::from_bits(self.share.load(Ordering::Relaxed))
    }

    fn set_share(&self, all: Tally) {
        let (least, most) = SHARE_OF_ALL;
        let heavy = all.heavy(self.least());
        let share = ((heavy + SHARE_AT_FIRST) / (all.visits + 1.0)).clamp(least, most);
        self.share.store(share.to_bits(), Ordering::Relaxed);
        self.prior.store(prior(share).to_bits(), Ordering::Relaxed);
        self.light.store((all.visits - heavy).max(0.0).to_bits(), Ordering::Relaxed);
    }

    fn shard(&self, feature: u64) -> &Mutex<HashMap<u64, Tally>> {
        // Digests are hashes; their upper bits choose the shard, so that maps can use the lower.
        &self.shards[usize::try_from(feature >> 60).unwrap_or(0) % SHARDS]
    }
}

/// Visits that features of a full shard need to stay: it makes room for what comes more often, for an
/// eighth of its size at least.
fn least_kept(shard: &HashMap<u64, Tally>) -> f32 {
    let mut visits: Vec<f32> = shard.values().map(|tally| tally.visits).collect();
    let (_, last_to_go, _) = visits.select_nth_unstable_by(SHARD_MAX / 8, f32::total_cmp);
    last_to_go.next_up().max(1.0)
}

/// Whether visits of a feature are known, and few of them are `heavy`.
fn is_light(tally: &Tally, heavy: f32) -> bool {
    tally.visits >= VISITS_KNOWN && heavy <= LIGHT_SHARE * tally.visits
}

fn prior(share: f32) -> f32 {
    log_odds(share).min(0.0)
}

fn log_odds(share: f32) -> f32 {
    (share / (1.0 - share)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: u64 = 1 << 60;
    const CLICK: u64 = 2 << 60;
    const UPSERT: u64 = 3 << 60;

    fn light(service: f32) -> Visit {
        Visit { service, is_heavy: false, is_middling: false, is_in_bulk: false }
    }

    fn visit(evidence: &Evidence, features: &[u64], visit: Visit) {
        evidence.count(features, visit);
        evidence.used(features, visit.service);
    }

    /// Clicks of 10 ms and visits of the scraper, each second.
    fn learn(evidence: &Evidence, seconds: u32, clicks: u32, scrapes: u32, scrape: f32) {
        for _ in 0..seconds {
            (0..clicks).for_each(|_| visit(evidence, &[SHARED, CLICK], light(0.01)));
            for _ in 0..scrapes {
                let is_heavy = scrape > evidence.middling_from();
                visit(evidence, &[SHARED, UPSERT], Visit { is_heavy, ..light(scrape) });
            }
            evidence.tick(Slots::Enough, 0.0);
        }
    }

    #[test]
    fn what_only_heavy_visits_have_tells_them_apart_however_many_there_are() {
        for (clicks, scrapes) in [(10, 3), (10, 10), (9, 100)] {
            let evidence = Evidence::default();
            learn(&evidence, 10, clicks, scrapes, 0.2);
            let (click, upsert) = (evidence.weight(CLICK), evidence.weight(UPSERT));
            let shared = evidence.weight(SHARED);
            assert!(upsert + evidence.prior() > 1.5, "{clicks}/{scrapes}: {upsert}");
            assert!(click < -1.5, "{clicks}/{scrapes}: {click}");
            assert!(shared.abs() < 0.3, "{clicks}/{scrapes}: {shared}");
        }
    }

    #[test]
    fn what_uses_little_all_together_keeps_nobody_waiting() {
        let evidence = Evidence::default();
        // A page that takes five times as long as others, and is opened once a second.
        learn(&evidence, 60, 9, 1, 0.05);
        assert!(
            4.0 * evidence.weight(UPSERT) + evidence.prior() < 1.5,
            "{}",
            evidence.weight(UPSERT)
        );
        // So it is when a disk stalls for a moment under one that is seldom opened.
        let evidence = Evidence::default();
        learn(&evidence, 60, 10, 0, 0.0);
        let stalled = Visit { is_heavy: true, ..light(0.15) };
        visit(&evidence, &[SHARED, UPSERT], stalled);
        evidence.tick(Slots::Enough, 0.0);
        assert!(evidence.weight(UPSERT) < 0.3, "{}", evidence.weight(UPSERT));
    }

    #[test]
    fn what_all_work_has_in_common_tells_nothing_before_light_work_is_known() {
        let evidence = Evidence::default();
        let heavy = Visit { is_heavy: true, ..light(0.5) };
        (0..50).for_each(|_| visit(&evidence, &[SHARED, UPSERT], heavy));
        assert!(evidence.weight(SHARED).abs() < 0.1, "{}", evidence.weight(SHARED));
        (0..20).for_each(|_| visit(&evidence, &[SHARED, CLICK], light(0.01)));
        assert!(evidence.weight(SHARED).abs() < 0.3, "{}", evidence.weight(SHARED));
        assert!(evidence.weight(UPSERT) > 1.5, "{}", evidence.weight(UPSERT));
    }

    #[test]
    fn heavy_is_measured_by_the_small() {
        let evidence = Evidence::default();
        learn(&evidence, 30, 10, 10, 0.06);
        assert!(evidence.middling_from() < 0.05, "{}", evidence.middling_from());
        assert_eq!(evidence.heavy_from(), PAGE);
        assert!(evidence.weight(UPSERT) > 1.5);
        let slow = Evidence::default();
        (0..30).for_each(|_| {
            (0..10).for_each(|_| slow.count(&[SHARED, CLICK], light(0.2)));
            slow.tick(Slots::Enough, 0.0);
        });
        assert!((slow.heavy_from() - 0.6).abs() < 0.01, "{}", slow.heavy_from());
    }

    #[test]
    fn what_is_no_longer_true_is_forgotten_and_the_memory_is_bounded() {
        let evidence = Evidence::default();
        learn(&evidence, 10, 10, 10, 0.5);
        (0..400).for_each(|_| evidence.tick(Slots::Enough, 0.0));
        assert!(evidence.weight(UPSERT).abs() < 0.2, "{}", evidence.weight(UPSERT));
        let state = FixedState::with_seed(7);
        for number in 0..3 * FEATURES_MAX as u64 {
            evidence.count(&[state.hash_one(number)], light(0.01));
        }
        assert!(evidence.len() <= FEATURES_MAX);
        evidence.tick(Slots::Enough, 0.0);
        assert!(evidence.len() < FEATURES_MAX / 2, "a full table makes room: {}", evidence.len());
    }

    #[test]
    fn a_table_full_of_kinds_in_steady_use_learns_newcomers() {
        let evidence = Evidence::default();
        let state = FixedState::with_seed(7);
        let mut next = 0;
        for _ in 0..60 {
            // Far more kinds than there is room for, each of them every twenty seconds.
            for _ in 0..2 * FEATURES_MAX as u64 / 20 {
                evidence.count(&[state.hash_one(next % (2 * FEATURES_MAX as u64))], light(0.01));
                next += 1;
            }
            evidence.tick(Slots::Enough, 0.0);
        }
        for _ in 0..10 {
            (0..20)
                .for_each(|_| visit(&evidence, &[UPSERT], Visit { is_heavy: true, ..light(0.2) }));
            evidence.tick(Slots::Enough, 0.0);
        }
        assert!(evidence.weight(UPSERT) > 1.5, "{}", evidence.weight(UPSERT));
        assert!(evidence.len() <= FEATURES_MAX);
    }
}

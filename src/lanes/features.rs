//! The features of one visit: its client, and its digests. Those that tell most are what it is judged by.
//!
//! An application's pages begin with what all of them have in common, and so may its scraper's. What tells the two
//! apart comes behind that. So many digests are counted, and only the few are weighed that tell most; when there are more
//! than can be counted, one takes the place of another that tells less.

use super::evidence::{Evidence, Visit, Weighed};

/// Features that are counted.
const MOST: usize = 24;
/// Digests that are weighed: more of them mostly say the same once more.
const TELLING: usize = 7;
/// What a digest may tell of which little is known: more than what all visits have in common. It would never be known
/// if that had all the places.
const UNKNOWN_TELLS: f32 = 0.5;

/// Those of one visit.
#[derive(Debug, Default)]
pub(super) struct Features {
    /// The client's is the first.
    all: [u64; MOST],
    weighed: [Weighed; MOST],
    len: usize,
    /// Those for which the visit was counted when it was last, as bits.
    counted: u32,
    /// Sum of the weights of the client and of the digests that tell most.
    weight: f32,
    /// Such digests that are not known to be those of light visits; and those of visits for which others wait.
    doubtful: usize,
    much: usize,
}

impl Features {
    /// A statement of `client` came.
    pub(super) fn note(&mut self, client: u64, digest: u64, evidence: &Evidence) {
        if self.len == 0 {
            self.put(0, client, evidence.weigh(client));
        }
        if self.all()[1..].contains(&digest) {
            return;
        }
        let weighed = evidence.weigh(digest);
        let at = if self.len < MOST { self.len } else { self.least_telling() };
        if at == self.len || tells(&weighed) > tells(&self.weighed[at]) {
            self.put(at, digest, weighed);
            self.sum_up();
        }
    }

    /// They are weighed anew: others have learned meanwhile.
    pub(super) fn weigh(&mut self, evidence: &Evidence) {
        for at in 0..self.len {
            self.weighed[at] = evidence.weigh(self.all[at]);
        }
        self.sum_up();
    }

    /// All of them; the client's is the first.
    pub(super) fn all(&self) -> &[u64] {
        &self.all[..self.len]
    }

    /// Sum of the weights of those that tell most.
    pub(super) fn weight(&self) -> f32 {
        self.weight
    }

    /// Whether such digests are all known to be those of light visits.
    pub(super) fn are_light(&self) -> bool {
        self.doubtful == 0
    }

    /// Whether others wait for visits with one of such digests.
    pub(super) fn use_much(&self) -> bool {
        self.much > 0
    }

    /// Counts the visit for each.
    pub(super) fn count(&mut self, visit: Visit, evidence: &Evidence) {
        evidence.count(self.all(), visit);
        self.counted = u32::MAX;
    }

    /// Counts it for those that came after it was counted.
    pub(super) fn count_late(&self, visit: Visit, evidence: &Evidence) {
        for (at, feature) in self.all().iter().enumerate() {
            if self.counted & 1 << at == 0 {
                evidence.count_late(*feature, visit);
            }
        }
    }

    fn put(&mut self, at: usize, feature: u64, weighed: Weighed) {
        (self.all[at], self.weighed[at]) = (feature, weighed);
        self.counted &= !(1 << at);
        self.len = self.len.max(at + 1);
    }

    /// Where the digest is that tells least.
    fn least_telling(&self) -> usize {
        let digests = 1..self.len;
        let least =
            digests.min_by(|&a, &b| tells(&self.weighed[a]).total_cmp(&tells(&self.weighed[b])));
        least.unwrap_or(0)
    }

    fn sum_up(&mut self) {
        let mut weighed = self.weighed;
        let Some((client, digests)) = weighed[..self.len].split_first_mut() else { return };
        if digests.len() > TELLING {
            digests.select_nth_unstable_by(TELLING, |a, b| tells(b).total_cmp(&tells(a)));
        }
        let digests = &digests[..digests.len().min(TELLING)];
        // What a client does may be either.
        self.weight = client.weight + digests.iter().map(|digest| digest.weight).sum::<f32>();
        self.doubtful = digests.iter().filter(|digest| !digest.is_light).count();
        self.much = digests.iter().filter(|digest| digest.is_much).count();
    }
}

/// How much a digest tells of a visit.
fn tells(weighed: &Weighed) -> f32 {
    let least = if weighed.is_known { 0.0 } else { UNKNOWN_TELLS };
    weighed.weight.abs().max(least)
}

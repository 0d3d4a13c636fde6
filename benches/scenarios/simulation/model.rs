//! Visits before the slots of one backend, event by event: no clock, no sockets, the same each time.
//!
//! A visit is a user who wants a page: so many statements, one after the other, each of which has to
//! be granted a slot. Visits come whether or not others were answered (an open loop), at a rate that
//! may change; or so many come again and again (a closed loop). One is *good* when its last answer
//! came within [`PATIENCE`] of its arrival. Nobody gives up, which is the worst case: what nobody
//! reads any more is worked on all the same.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::policy::{Answer, Fate, Policy, Who};

/// What users wait.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// How often the policy looks at its queue.
const LOOK: Duration = Duration::from_millis(100);

/// Who comes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arrivals {
    /// So many visits a second from the second here on, at random.
    Rate(u64, f64),
    /// So many at once, at this second.
    Burst(u64, u32),
    /// So many that come again as soon as they are answered, from this second to that.
    Closed(u64, u64, u32),
}

/// One statement of a visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Statement {
    /// What kind of work it is.
    pub(crate) kind: u64,
    /// How many times the scenario's service it takes.
    pub(crate) cost: f64,
}

/// Who comes, of which client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) client: u64,
    /// Those of a visit.
    pub(crate) statements: &'static [Statement],
    pub(crate) arrivals: &'static [Arrivals],
}

impl Stream {
    /// That of a visit.
    pub(crate) fn cost(&self) -> f64 {
        self.statements.iter().map(|statement| statement.cost).sum()
    }
}

/// One thing to simulate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Slots.
    pub(crate) slots: usize,
    /// What a statement of cost 1 takes on average.
    pub(crate) service: Duration,
    pub(crate) streams: &'static [Stream],
    /// From when to when it takes how many times as long; nothing ends while it is infinite.
    pub(crate) slow: Option<(u64, u64, f64)>,
    /// Seconds.
    pub(crate) length: u64,
}

impl Scenario {
    /// Up to which use a visit is a small one: three times that of pages.
    fn small(&self) -> Duration {
        let cost = self.streams.iter().map(Stream::cost).fold(0.0, f64::max);
        self.service.mul_f64(cost * 3.0).max(Duration::from_millis(30))
    }

    /// Statements of cost 1 that can be served in one second.
    pub(crate) fn capacity(&self, second: usize) -> f64 {
        let all = self.slots as f64 / self.service.as_secs_f64();
        let second = u64::try_from(second).unwrap_or(u64::MAX);
        match self.slow {
            Some((from, to, factor)) if from <= second && second < to => all / factor,
            _ => all,
        }
    }
}

/// What became of the visits of one client.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Visits that came, were good, and were refused, by the second in which they came.
    pub(crate) came: Vec<u32>,
    pub(crate) good: Vec<u32>,
    pub(crate) refused: u64,
    /// Answered too late.
    pub(crate) late: u64,
    /// What refused visits waited for their last answer, in seconds.
    pub(crate) in_vain: f64,
    /// What answered visits took, in seconds.
    pub(crate) took: Vec<f64>,
}

impl Outcome {
    fn at(counts: &mut Vec<u32>, at: Duration) {
        let second = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        if counts.len() <= second {
            counts.resize(second + 1, 0);
        }
        counts[second] += 1;
    }

    /// Good visits a second of those that came from one second to another.
    pub(crate) fn goodput(&self, from: usize, to: usize) -> f64 {
        let good = self.good.iter().take(to).skip(from).sum::<u32>();
        f64::from(good) / (to - from).max(1) as f64
    }

    /// The share of good visits among those that came in one second.
    pub(crate) fn share(&self, second: usize) -> f64 {
        let of = |counts: &[u32]| f64::from(counts.get(second).copied().unwrap_or(0));
        of(&self.good) / of(&self.came).max(1.0)
    }
}

#[derive(Debug)]
struct Visit {
    stream: usize,
    came: Duration,
    /// Statements that are done.
    done: usize,
    asked: Duration,
    admitted: Option<Duration>,
    /// Service since then.
    used: Duration,
    /// Comes again until then.
    again_until: Duration,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The next of a stream's visits: stream, and index of the arrivals.
    Next(usize, usize),
    Ends(usize),
    Look,
}

/// A scenario under a policy, on its way.
struct Run<'a> {
    scenario: &'a Scenario,
    policy: &'a mut dyn Policy,
    random: fastrand::Rng,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    number: u64,
    visits: Vec<Visit>,
    outcomes: Vec<Outcome>,
}

/// What becomes of each stream's visits.
pub(crate) fn run(scenario: &Scenario, policy: &mut dyn Policy) -> Vec<Outcome> {
    let mut run = Run {
        scenario,
        policy,
        random: fastrand::Rng::with_seed(46),
        now: Duration::ZERO,
        events: BinaryHeap::new(),
        number: 0,
        visits: Vec::new(),
        outcomes: vec![Outcome::default(); scenario.streams.len()],
    };
    for (stream, of) in scenario.streams.iter().enumerate() {
        for (index, arrivals) in of.arrivals.iter().enumerate() {
            let (Arrivals::Rate(from, _) | Arrivals::Burst(from, _) | Arrivals::Closed(from, _, _)) =
                arrivals;
            run.at(Duration::from_secs(*from), Event::Next(stream, index));
        }
    }
    run.at(LOOK, Event::Look);
    let length = Duration::from_secs(scenario.length);
    while let Some(Reverse((now, _, event))) = run.events.pop() {
        if now >= length {
            break;
        }
        run.now = now;
        run.happens(event);
    }
    run.outcomes
}

impl Run<'_> {
    fn at(&mut self, at: Duration, event: Event) {
        self.number += 1;
        self.events.push(Reverse((at, self.number, event)));
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Next(stream, index) => self.come(stream, index),
            Event::Ends(visit) => self.end(visit),
            Event::Look => {
                let fates = self.policy.look(self.now);
                self.tell(fates);
                self.at(self.now + LOOK, Event::Look);
            }
        }
    }

    fn come(&mut self, stream: usize, index: usize) {
        let arrivals = self.scenario.streams[stream].arrivals;
        match arrivals[index] {
            Arrivals::Rate(_, rate) => {
                let from = |later: &Arrivals| match later {
                    Arrivals::Rate(from, _) => Some(Duration::from_secs(*from)),
                    Arrivals::Burst(..) | Arrivals::Closed(..) => None,
                };
                let until = arrivals[index + 1..].iter().find_map(from);
                // Exponential gaps; 1 - f64() is never zero.
                let gap = -(1.0 - self.random.f64()).ln() / rate.max(1e-9);
                let next = self.now + Duration::from_secs_f64(gap.min(1e6));
                if until.is_none_or(|until| next < until) {
                    self.at(next, Event::Next(stream, index));
                }
                self.visit(stream, Duration::ZERO);
            }
            Arrivals::Burst(_, count) => {
                (0..count).for_each(|_| self.visit(stream, Duration::ZERO));
            }
            Arrivals::Closed(_, to, count) => {
                (0..count).for_each(|_| self.visit(stream, Duration::from_secs(to)));
            }
        }
    }

    fn visit(&mut self, stream: usize, again_until: Duration) {
        let now = self.now;
        Outcome::at(&mut self.outcomes[stream].came, now);
        self.visits.push(Visit {
            stream,
            came: now,
            done: 0,
            asked: now,
            admitted: None,
            used: Duration::ZERO,
            again_until,
        });
        self.ask(self.visits.len() - 1);
    }

    fn ask(&mut self, number: usize) {
        let visit = &mut self.visits[number];
        visit.asked = self.now;
        // As the session's account has it.
        let goes_on =
            |at: &Duration| self.now - *at < PATIENCE && visit.used < self.scenario.small();
        let begun = visit.admitted.filter(goes_on);
        if begun.is_none() {
            (visit.admitted, visit.used) = (None, Duration::ZERO);
        }
        let Stream { client, statements, .. } = self.scenario.streams[visit.stream];
        let who = Who { client, kind: statements[visit.done].kind, begun };
        match self.policy.ask(self.now, who, number) {
            Answer::Granted => self.begin(number),
            Answer::Waits => {}
            Answer::Refused => self.refuse(number),
        }
    }

    fn begin(&mut self, number: usize) {
        let visit = &mut self.visits[number];
        visit.admitted.get_or_insert(self.now);
        let cost = self.scenario.streams[visit.stream].statements[visit.done].cost;
        let mean = self.scenario.service.as_secs_f64() * cost;
        // Between half and one and a half times the mean.
        let mut takes = Duration::from_secs_f64(mean * (0.5 + self.random.f64()));
        if let Some((from, to, factor)) = self.scenario.slow {
            let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
            if self.now >= from && self.now < to {
                let stalls = factor.is_infinite();
                takes = if stalls { to - self.now + takes } else { takes.mul_f64(factor) };
            }
        }
        self.visits[number].used += takes;
        self.at(self.now + takes, Event::Ends(number));
    }

    fn end(&mut self, number: usize) {
        let fates = self.policy.end(self.now, number);
        let visit = &mut self.visits[number];
        visit.done += 1;
        if visit.done == self.scenario.streams[visit.stream].statements.len() {
            self.answered(number);
        } else {
            self.ask(number);
        }
        self.tell(fates);
    }

    fn answered(&mut self, number: usize) {
        let &Visit { stream, came, again_until, .. } = &self.visits[number];
        let took = self.now - came;
        let outcome = &mut self.outcomes[stream];
        outcome.took.push(took.as_secs_f64());
        match took <= PATIENCE {
            true => Outcome::at(&mut outcome.good, came),
            false => outcome.late += 1,
        }
        if self.now < again_until {
            // The same session goes on.
            let visit = &mut self.visits[number];
            (visit.came, visit.done) = (self.now, 0);
            Outcome::at(&mut self.outcomes[stream].came, self.now);
            self.ask(number);
        }
    }

    fn refuse(&mut self, number: usize) {
        let &Visit { stream, asked, .. } = &self.visits[number];
        let outcome = &mut self.outcomes[stream];
        outcome.refused += 1;
        outcome.in_vain += (self.now - asked).as_secs_f64();
    }

    fn tell(&mut self, fates: Vec<(usize, Fate)>) {
        for (number, fate) in fates {
            match fate {
                Fate::Granted => self.begin(number),
                Fate::Refused => self.refuse(number),
            }
        }
    }
}

//! Who gets the next slot, and who is refused: what Fairlane does, and what it could do instead.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use fairlane::lanes::{
    Admission, Demand, Dismissal, Limits, Overload, QueueNow, Scheduler, Told, Turn, Wake,
};

/// As `queue_timeout` and `overload_timeout` of the default lane.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
const OVERLOAD_TIMEOUT: Duration = Duration::from_millis(500);

/// Answer to who asks for a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Granted,
    Waits,
    Refused,
}

/// What became of who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Granted,
    Refused,
}

/// Who asks for a slot.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Who {
    pub(crate) client: u64,
    /// What kind of work it is.
    pub(crate) kind: u64,
    /// When that was begun with which it goes on.
    pub(crate) begun: Option<Duration>,
}

/// Decides. Who asks is known by a number.
pub(crate) trait Policy {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Somebody asks for a slot.
    fn ask(&mut self, now: Duration, who: Who, number: usize) -> Answer;
    /// Somebody gives his slot back.
    fn end(&mut self, now: Duration, number: usize) -> Vec<(usize, Fate)>;
    /// A tenth of a second has passed.
    fn look(&mut self, now: Duration) -> Vec<(usize, Fate)>;
}

/// How [`Queue`] orders and refuses.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// First come, first served; refused after 5 s. What Fairlane did before.
    First,
    /// The newest first; refused after 5 s.
    Newest,
    /// First come, first served; refused after half a second, always.
    Short,
    /// First come, first served; refused after 5 s, or 20 ms when the queue was not empty for 100 ms.
    Controlled,
}

impl Rule {
    const STANDING: Duration = Duration::from_millis(100);
    const CONTROLLED: Duration = Duration::from_millis(20);
}

/// One queue for all.
#[derive(Debug)]
pub(crate) struct Queue {
    rule: Rule,
    free: usize,
    waiting: VecDeque<(usize, Duration)>,
    empty_at: Duration,
}

impl Queue {
    pub(crate) fn new(rule: Rule, slots: usize) -> Self {
        Self { rule, free: slots, waiting: VecDeque::new(), empty_at: Duration::ZERO }
    }

    fn limit(&self, now: Duration) -> Duration {
        match self.rule {
            Rule::First | Rule::Newest => QUEUE_TIMEOUT,
            Rule::Short => OVERLOAD_TIMEOUT,
            Rule::Controlled if now - self.empty_at > Rule::STANDING => Rule::CONTROLLED,
            Rule::Controlled => QUEUE_TIMEOUT,
        }
    }

    fn refuse(&mut self, now: Duration) -> Vec<(usize, Fate)> {
        let limit = self.limit(now);
        let mut refused = Vec::new();
        while let Some(&(number, _)) =
            self.waiting.front().filter(|(_, since)| now - *since >= limit)
        {
            self.waiting.pop_front();
            refused.push((number, Fate::Refused));
        }
        if self.waiting.is_empty() {
            self.empty_at = now;
        }
        refused
    }
}

impl Policy for Queue {
    fn name(&self) -> &'static str {
        match self.rule {
            Rule::First => "first come, 5 s",
            Rule::Newest => "newest first, 5 s",
            Rule::Short => "first come, 0.5 s",
            Rule::Controlled => "20 ms when standing",
        }
    }

    fn ask(&mut self, now: Duration, _: Who, number: usize) -> Answer {
        if self.waiting.is_empty() {
            self.empty_at = now;
        }
        if self.free > 0 {
            self.free -= 1;
            return Answer::Granted;
        }
        self.waiting.push_back((number, now));
        Answer::Waits
    }

    fn end(&mut self, now: Duration, _: usize) -> Vec<(usize, Fate)> {
        let mut fates = self.refuse(now);
        let next = match self.rule {
            Rule::Newest => self.waiting.pop_back(),
            Rule::First | Rule::Short | Rule::Controlled => self.waiting.pop_front(),
        };
        match next {
            Some((number, _)) => fates.push((number, Fate::Granted)),
            None => self.free += 1,
        }
        fates
    }

    fn look(&mut self, now: Duration) -> Vec<(usize, Fate)> {
        self.refuse(now)
    }
}

type Mail = Rc<RefCell<Vec<(usize, Told)>>>;

/// A waiter of [`Lane`].
#[derive(Debug)]
struct Waiter {
    number: usize,
    since: Duration,
    mail: Mail,
}

impl Wake for Waiter {
    fn wake(self, told: Told) {
        self.mail.borrow_mut().push((self.number, told));
    }
}

/// One lane of Fairlane: its scheduler and its watch for overload, called as the pool calls them.
#[derive(Debug)]
pub(crate) struct Lane {
    scheduler: Scheduler<Waiter>,
    overload: Overload,
    mail: Mail,
    turns: HashMap<usize, (Turn, Duration)>,
    /// In the order of their deadlines.
    deadlines: VecDeque<(Duration, u64, usize)>,
    looked: Duration,
}

impl Lane {
    pub(crate) fn new(slots: usize) -> Self {
        let limits = Limits { reserved: 0, max: slots, queue: 1_000_000 };
        Self {
            scheduler: Scheduler::new(slots, &[limits]),
            overload: Overload::new(Some(OVERLOAD_TIMEOUT), QUEUE_TIMEOUT),
            mail: Mail::default(),
            turns: HashMap::new(),
            deadlines: VecDeque::new(),
            looked: Duration::ZERO,
        }
    }

    fn fates(&mut self, now: Duration) -> Vec<(usize, Fate)> {
        let mail = std::mem::take(&mut *self.mail.borrow_mut());
        let fate = |(number, told)| match told {
            Told::Granted(turn) => {
                self.turns.insert(number, (turn, now));
                (number, Fate::Granted)
            }
            Told::Dismissed(_) => (number, Fate::Refused),
        };
        mail.into_iter().map(fate).collect()
    }
}

impl Policy for Lane {
    fn name(&self) -> &'static str {
        "Fairlane"
    }

    fn ask(&mut self, now: Duration, who: Who, number: usize) -> Answer {
        let Who { client, kind, begun } = who;
        let mail = self.mail.clone();
        let waiter = || Waiter { number, since: now, mail };
        match self.scheduler.enter(Demand { lane: 0, client, kind, crowd: kind, begun }, waiter) {
            Admission::Granted(turn) => {
                self.turns.insert(number, (turn, now));
                Answer::Granted
            }
            Admission::Queued(ticket, _) => {
                self.deadlines.push_back((now + QUEUE_TIMEOUT, ticket, number));
                Answer::Waits
            }
            Admission::Refused => Answer::Refused,
        }
    }

    fn end(&mut self, now: Duration, number: usize) -> Vec<(usize, Fate)> {
        if let Some((turn, since)) = self.turns.remove(&number) {
            self.scheduler.give_back(turn, now - since);
        }
        self.fates(now)
    }

    fn look(&mut self, now: Duration) -> Vec<(usize, Fate)> {
        let mut fates = Vec::new();
        while let Some(&(deadline, ticket, number)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            if self.scheduler.leave(0, ticket) {
                fates.push((number, Fate::Refused));
            }
        }
        let lane = self.scheduler.lane(0);
        let oldest = self.scheduler.oldest(0).map_or(Duration::ZERO, |it| now - it.since);
        let queue = QueueNow {
            waiting: lane.waiting,
            in_use: lane.in_use,
            oldest,
            granted: lane.granted,
            begun: lane.begun,
        };
        let is_overloaded = self.overload.look(now - self.looked, queue);
        self.looked = now;
        self.scheduler.set_precedence(0, self.overload.precedence());
        if is_overloaded {
            let is_old = |waiter: &Waiter| now - waiter.since >= OVERLOAD_TIMEOUT;
            self.scheduler.dismiss_old(
                (0, Dismissal::Overload),
                is_old,
                Overload::refusable(queue),
            );
        }
        fates.append(&mut self.fates(now));
        fates
    }
}

//! The lock guard at work: looks at the slots of the primary, asks it, reports, and has sessions wait
//! or give way. What to do is decided in [`crate::lanes::lock_guard`].

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::admin::snapshot::{LockSide, LockWait, shorten};
use crate::client::Context;
use crate::client::registry::{Activity, Entry, Place};
use crate::config::settings::LockPolicy;
use crate::lanes::LockGuard;
use crate::lanes::lock_guard::{Blocker, Holder, Wait};
use crate::pool::Pool;
use crate::sql::{Mode, digest_text};
use crate::topology::Untold;

/// What `lock_wait = "auto"` is made of: so many times the latency guard's target ...
const TARGETS: u32 = 4;
/// ... at least this, since a server has its moments; and at most, also while there is no target.
const PATIENCE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(100));
/// A look at the slots comes a quarter of the patience after the last, but not sooner or later
/// than this, unless nobody had one.
const LOOKS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(25));
/// Time between looks whether there is anything to do now.
const IDLE_LOOKS: Duration = Duration::from_secs(1);
/// Looks that find nothing before the next ones come as seldom as [`LOOKS`] allows.
const LOOKS_UNTIL_QUIET: u32 = 100;
/// Least time between two reports in the log.
const REPORT_SPACING: Duration = Duration::from_secs(1);
/// A primary that refuses to tell is asked again after this time.
const REFUSAL_PAUSE: Duration = Duration::from_secs(60);

/// Guards while there is a lane behind another, as the policy of the moment says.
pub(super) async fn guard(context: std::sync::Arc<Context>) {
    loop {
        let policy = context.policy.get();
        let settings = policy.lock_guard;
        let guards = settings.policy != LockPolicy::Off && policy.lanes.len() > 1;
        let mut driver = Driver {
            context: &context,
            guard: LockGuard::new(settings.policy, settings.abort_after),
            refused: None,
            resumes_at: context.started,
            reported_at: None,
            unreported: 0,
        };
        // Looks in a row that have found nobody.
        let mut idle = 0;
        while context.policy.is_current(&policy) {
            let patience = patience(settings.wait, context.primary_pool());
            let look = (patience / 4).clamp(LOOKS.0, LOOKS.1);
            sleep(match (guards, idle) {
                (false, _) => IDLE_LOOKS,
                (true, 0) => look,
                // What has begun since can't have waited for long before the look after that.
                (true, 1..LOOKS_UNTIL_QUIET) => patience.saturating_sub(look).max(look),
                // Who comes after a quiet time may be looked at a little later.
                (true, LOOKS_UNTIL_QUIET..) => patience.saturating_sub(look).max(LOOKS.1),
            })
            .await;
            idle = match guards && driver.turn(patience).await {
                true => (idle + 1).min(LOOKS_UNTIL_QUIET),
                false => 0,
            };
        }
        driver.stop();
    }
}

fn patience(fixed: Option<Duration>, pool: &Pool) -> Duration {
    let (least, most) = PATIENCE;
    let auto = || pool.target().map_or(most, |target| (target * TARGETS).clamp(least, most));
    fixed.unwrap_or_else(auto)
}

struct Driver<'a> {
    context: &'a Context,
    guard: LockGuard,
    /// What the primary has refused with, as logged.
    refused: Option<String>,
    resumes_at: Instant,
    reported_at: Option<Instant>,
    /// Waits that were not logged since.
    unreported: u32,
}

impl Driver<'_> {
    /// Looks and acts; whether nobody has a slot and nobody waits.
    async fn turn(&mut self, patience: Duration) -> bool {
        let held = held_now(self.context);
        let look = self.guard.look(self.now(), patience, &held);
        for wait in &look.ended {
            self.end(wait);
            self.excuse(self.guard.excused(wait));
        }
        if !look.ask.is_empty() && Instant::now() >= self.resumes_at {
            self.ask(look.ask).await;
        }
        for (waiter, time) in self.guard.waited(self.now()) {
            if let Some(entry) = self.context.registry.get(waiter.session.into()) {
                entry.add_standstill(waiter.since, time);
            }
        }
        // While nobody waits it does not matter who holds what now.
        let held = if self.guard.waits().is_empty() { held } else { held_now(self.context) };
        let pace = self.guard.pace(self.now(), &held);
        self.context.locks.set_pace(pace, Instant::now());
        self.context.locks.show(self.guard.waits());
        held.is_empty() && self.guard.waits().is_empty()
    }

    /// Leaves nobody held back or told to give way.
    fn stop(&self) {
        for wait in self.guard.waits() {
            self.end(wait);
            self.excuse(wait.told());
        }
        self.context.locks.set_pace(None, Instant::now());
        self.context.locks.show(&[]);
    }

    fn now(&self) -> Duration {
        self.context.started.elapsed()
    }

    async fn ask(&mut self, threads: Vec<u64>) {
        let metrics = &self.context.metrics.locks;
        let answer = match self.context.topology.lock_waits(threads).await {
            Ok(answer) => answer,
            Err(Untold::Unreachable) => {
                metrics.probes_unreachable.inc();
                return;
            }
            Err(Untold::Refused(error)) => {
                metrics.probes_refused.inc();
                self.resumes_at = Instant::now() + REFUSAL_PAUSE;
                if self.refused.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "the lock guard is off: the primary does not tell who waits for whom \
                         (see the grants of the service account)"
                    );
                    self.refused = Some(error);
                }
                return;
            }
        };
        metrics.probes_answered.inc();
        if self.refused.take().is_some() {
            tracing::info!("the lock guard is on again");
        }
        let (now, held) = (self.now(), held_now(self.context));
        for wait in self.guard.learn(now, &held, &answer) {
            self.begin(&wait);
        }
        for session in self.guard.aborts(now, &answer) {
            if let Some(entry) = self.context.registry.get(session.into()) {
                entry.give_way();
                tracing::info!(
                    session,
                    "is told to roll back: more urgent work waits for its locks"
                );
            }
        }
    }

    /// A wait was found.
    fn begin(&mut self, wait: &Wait) {
        let lane = wait.waiter.lane;
        let metrics = &self.context.metrics.locks;
        metrics.waits(lane, wait.blocker_lane(), wait.kind as usize).inc();
        // Two clicks that wait for each other are no news.
        if wait.blocker_lane().is_some_and(|blocker| blocker <= lane) {
            return;
        }
        let now = Instant::now();
        if self.reported_at.is_some_and(|at| now - at < REPORT_SPACING) {
            self.unreported += 1;
            return;
        }
        self.reported_at = Some(now);
        let unreported = std::mem::take(&mut self.unreported);
        let shown = shown_wait(self.context, wait);
        let (waiter, blocker) = (&shown.waiter, shown.blockers.first());
        let blocker = blocker.map_or_else(|| "unknown".to_owned(), words);
        tracing::warn!(
            kind = shown.kind,
            ms = (shown.seconds * 1000.0).round(),
            waiter = words(waiter),
            blocker,
            others = shown.blockers.len().saturating_sub(1),
            unreported,
            "a statement waits for a lock"
        );
    }

    /// A wait is over.
    fn end(&self, wait: &Wait) {
        let waited = self.now().saturating_sub(wait.since);
        let seconds = self.context.metrics.locks.wait_seconds(wait.waiter.lane);
        seconds.observe(waited.as_secs_f64());
    }

    /// Whoever of them has not yet given way need not any more.
    fn excuse(&self, sessions: impl Iterator<Item = u32>) {
        for entry in sessions.filter_map(|session| self.context.registry.get(session.into())) {
            entry.need_not_give_way();
        }
    }
}

/// Who holds a slot of the primary now.
fn held_now(context: &Context) -> Vec<Holder> {
    let primary = context.primary_pool();
    let policy = context.policy.get();
    let (default, judges) = (policy.rules.default_lane(), policy.batch_lane.is_some());
    let seen = |entry: &Entry, place: Place| {
        let holder = holder(entry, place, primary, default)?;
        Some(Holder { is_judged: judges && holder.is_judged, ..holder })
    };
    context.registry.all_of(&primary.holders(), seen)
}

/// `None` when its connection is not to the primary that is there now.
fn holder(entry: &Entry, place: Place, primary: &Pool, default: usize) -> Option<Holder> {
    let Place { backend, thread_id: thread, generation } = place;
    let (activity, since) = entry.activity();
    (backend.is_primary() && primary.has(generation)).then(|| Holder {
        session: entry.id,
        lane: entry.lane(),
        native: if entry.is_in_batch_by_behaviour() { default } else { entry.lane() },
        is_judged: entry.is_judged(),
        thread,
        is_running: activity == Activity::Running,
        since,
        in_transaction: entry.is_in_transaction(),
    })
}

/// What operators see of the waits.
pub(super) fn shown(context: &Context) -> Vec<LockWait> {
    context.locks.waits().iter().map(|wait| shown_wait(context, wait)).collect()
}

fn shown_wait(context: &Context, wait: &Wait) -> LockWait {
    let since_start = context.started.elapsed();
    let own = Blocker {
        thread: wait.waiter.thread,
        session: Some((wait.waiter.session, wait.waiter.lane)),
    };
    // Nobody can say in which mode of the session's the server has read the text it shows: where a
    // string ends that has a backslash is not known, and its text is not to be shown.
    let known = wait.statement.split('\\').next().unwrap_or_default();
    let statement = shorten(&digest_text(known.as_bytes(), Mode::default()));
    LockWait {
        kind: wait.kind.label(),
        seconds: since_start.saturating_sub(wait.since).as_secs_f64(),
        waiter: LockSide { statement, ..side(context, &own) },
        blockers: wait.blockers.iter().map(|blocker| side(context, blocker)).collect(),
    }
}

fn side(context: &Context, blocker: &Blocker) -> LockSide {
    let entry = blocker.session.and_then(|(id, _)| context.registry.get_or_orphan(id));
    let Some((entry, (session, lane))) = entry.zip(blocker.session) else {
        return LockSide {
            session: None,
            thread: blocker.thread,
            user: String::new(),
            client: String::new(),
            lane: String::new(),
            doing: String::new(),
            statement: String::new(),
        };
    };
    let now = entry.now();
    let doing = match now.activity {
        Activity::Running => "runs".to_owned(),
        Activity::Waiting => "waits for a slot".to_owned(),
        Activity::Idle | Activity::Holding => format!("idle for {} ms", now.for_ms),
    };
    LockSide {
        session: Some(session.into()),
        thread: blocker.thread,
        user: entry.labels.lock().user.clone(),
        client: entry.client().to_string(),
        lane: context.policy.get().rules.lane_name(lane).to_owned(),
        doing,
        statement: shorten(&entry.statement()),
    }
}

/// A side in one line.
fn words(side: &LockSide) -> String {
    match side.session {
        None => format!("connection {} of another program", side.thread),
        Some(id) => format!(
            "session {id} of {} from {}, lane {}, {}: {}",
            side.user, side.client, side.lane, side.doing, side.statement
        ),
    }
}

//! One session as others see it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::interrupt::Interrupt;
use crate::backend::Connection;
use crate::metrics::ChosenBy;
use crate::route::view::BackendId;
use crate::sql::Mode;
use crate::state::{Pin, Pins};

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Activity {
    /// Waits for its client's next command.
    Idle,
    /// Waits for its client's next command and holds a connection.
    Holding,
    /// Waits for a slot.
    Waiting,
    /// A statement runs.
    Running,
}

/// One session as others see it. Written by the session with plain stores.
#[derive(Debug)]
pub struct Entry {
    /// The connection id its client sees.
    pub id: u32,
    /// The address it is connected from.
    pub peer: SocketAddr,
    /// Its client's address, where the peer is a load balancer that told it.
    forwarded: OnceLock<SocketAddr>,
    /// User name, schema and program: change seldom.
    pub labels: Mutex<EntryLabels>,
    /// When Fairlane started.
    started: Instant,
    activity: AtomicU8,
    /// Milliseconds after `started`.
    since_ms: AtomicU64,
    lane: AtomicU8,
    /// The backend whose slot it has asked for.
    asked: AtomicU8,
    /// A [`ChosenBy`].
    chosen_by: AtomicU8,
    pins: AtomicU32,
    in_transaction: AtomicBool,
    /// A [`Place`]: backend id + 1 in the upper 8 bits, the generation in 16, the thread id in the other 40; 0
    /// without a connection.
    connection: AtomicU64,
    /// How long the client may be idle.
    idle_limit_ms: AtomicU64,
    /// The `since_ms` of the idle time that has lasted for too long.
    expired_ms: AtomicU64,
    /// The `since_ms` of the statement whose replica is down.
    adrift_ms: AtomicU64,
    /// Milliseconds for which the command under way has stood still for others' sake: they are not its use.
    stood_still_ms: AtomicU64,
    /// The `since_ms` of the idle time in which the connection that the session holds is to be looked at.
    look_ms: AtomicU64,
    /// An [`Order`], as far as there is one.
    order: AtomicU8,
    /// What a KILL QUERY says.
    interrupt: Interrupt,
    /// The lock guard wants its transaction rolled back.
    must_give_way: AtomicBool,
    /// Its current or last statement, if it is in a lane behind the first, or [`Kept`]: whoever waits for
    /// its slot or its locks is told.
    statement: Mutex<LastStatement>,
    /// A [`Kept`].
    kept: AtomicU8,
    /// The session's task, which polls all that the session waits for.
    task: Waker,
}

/// Whether the first lane's statements are kept too. Its slots come and go: most need not be.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
enum Kept {
    /// They are not.
    No,
    /// The slot is held for long: the one under way is to be.
    Wanted,
    /// They are, as long as the slot is held.
    Yes,
}

/// What a session is told from outside.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(in crate::client) enum Order {
    /// To end when it holds no connection.
    Drain = 1,
    /// To end as soon as it is between commands.
    Kill = 2,
}

/// What changes seldom in an entry.
#[derive(Debug, Clone, Default)]
pub struct EntryLabels {
    /// User name.
    pub user: String,
    /// Current schema.
    pub schema: Option<String>,
    /// `program_name`.
    pub program: String,
}

/// The beginning of a statement, as it was sent.
#[derive(Debug, Default)]
struct LastStatement {
    sql: Vec<u8>,
    mode: Mode,
}

/// Bytes of a statement that are kept.
const STATEMENT_MAX: usize = 256;

/// Thread ids have 32 bits where they are told, in greetings.
const THREAD_BITS: u32 = 40;
const THREAD_MASK: u64 = (1 << THREAD_BITS) - 1;

/// Where a session's connection is: a thread of one run of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The backend.
    pub backend: BackendId,
    /// The server's id of it.
    pub thread_id: u64,
    /// Its generation, see `route::whereabouts`.
    pub generation: u16,
}

/// A moment of an entry.
#[derive(Debug, Clone)]
pub struct EntryNow {
    /// What it does.
    pub activity: Activity,
    /// For how long, in milliseconds.
    pub for_ms: u64,
    /// Lane of its current or last work.
    pub lane: usize,
    /// What chose it.
    pub chosen_by: ChosenBy,
    /// Why it is pinned.
    pub pins: Vec<&'static str>,
    /// A transaction is open.
    pub in_transaction: bool,
    /// Backend and thread id of its connection.
    pub connection: Option<(BackendId, u64)>,
    /// The backend whose slot it waits for or has asked for last.
    pub asked: BackendId,
}

impl Entry {
    pub(super) fn new(id: u32, peer: SocketAddr, task: Waker, started: Instant) -> Self {
        Self {
            id,
            peer,
            forwarded: OnceLock::new(),
            labels: Mutex::default(),
            started,
            activity: AtomicU8::new(Activity::Idle as u8),
            since_ms: AtomicU64::new(millis(started.elapsed())),
            lane: AtomicU8::new(0),
            asked: AtomicU8::new(0),
            chosen_by: AtomicU8::new(ChosenBy::Light as u8),
            pins: AtomicU32::new(0),
            in_transaction: AtomicBool::new(false),
            connection: AtomicU64::new(0),
            idle_limit_ms: AtomicU64::new(u64::MAX),
            expired_ms: AtomicU64::new(u64::MAX),
            adrift_ms: AtomicU64::new(u64::MAX),
            stood_still_ms: AtomicU64::new(0),
            look_ms: AtomicU64::new(u64::MAX),
            order: AtomicU8::new(0),
            interrupt: Interrupt::default(),
            must_give_way: AtomicBool::new(false),
            statement: Mutex::default(),
            kept: AtomicU8::new(Kept::No as u8),
            task,
        }
    }

    /// Its client's address.
    pub fn client(&self) -> SocketAddr {
        self.forwarded.get().copied().unwrap_or(self.peer)
    }

    /// The peer has said whom it speaks for, which it can do once.
    pub(in crate::client) fn speaks_for(&self, client: SocketAddr) {
        let _ = self.forwarded.set(client);
    }

    /// What it does from `at` on, a time since the start of Fairlane, as all others here.
    fn set(&self, activity: Activity, at: Duration) {
        self.since_ms.store(millis(at), Ordering::Relaxed);
        self.activity.store(activity as u8, Ordering::Relaxed);
    }

    /// The session waits for its client from `at` on.
    pub(in crate::client) fn set_idle(&self, holds: bool, at: Duration) {
        self.set(if holds { Activity::Holding } else { Activity::Idle }, at);
    }

    /// How long the client may be idle from now on.
    pub(in crate::client) fn set_idle_limit(&self, limit: Duration) {
        self.idle_limit_ms.store(millis(limit), Ordering::Relaxed);
    }

    /// Ends the client's idle time if it lasts for too long. If a command comes in between, that
    /// idle time is over, and another one has begun when the session looks next.
    pub(in crate::client) fn expire(&self, now: Instant) {
        let is_idle = self.activity.load(Ordering::Relaxed) <= Activity::Holding as u8;
        let since = self.since_ms.load(Ordering::Relaxed);
        let idle = millis(now.duration_since(self.started)).saturating_sub(since);
        if is_idle && idle >= self.idle_limit_ms.load(Ordering::Relaxed) {
            self.expired_ms.store(since, Ordering::Release);
            self.task.wake_by_ref();
        }
    }

    /// Whether the client is idle for too long. Only for the session's own task, while it idles.
    pub(in crate::client) fn is_expired(&self) -> bool {
        self.expired_ms.load(Ordering::Acquire) == self.since_ms.load(Ordering::Relaxed)
    }

    /// The session waits for a slot of a backend from `at` on.
    pub(in crate::client) fn set_waiting(
        &self,
        backend: BackendId,
        (lane, by): (usize, ChosenBy),
        at: Duration,
    ) {
        self.chosen_by.store(by as u8, Ordering::Relaxed);
        self.lane.store(u8::try_from(lane).unwrap_or(u8::MAX), Ordering::Relaxed);
        self.set_waiting_to_go_on(backend, at);
    }

    /// The same in the middle of what it has begun, in the lane of that.
    pub(in crate::client) fn set_waiting_to_go_on(&self, backend: BackendId, at: Duration) {
        self.kept.store(Kept::No as u8, Ordering::Relaxed);
        self.asked.store(u8::try_from(backend.index()).unwrap_or(u8::MAX), Ordering::Relaxed);
        self.set(Activity::Waiting, at);
    }

    /// A statement runs on a connection from `at` on.
    pub(in crate::client) fn set_running(
        &self,
        backend: BackendId,
        connection: &Connection,
        at: Duration,
    ) {
        self.set_connection(backend, connection);
        self.set(Activity::Running, at);
    }

    /// What a KILL of the session's statement is for.
    pub(in crate::client) fn set_connection(&self, backend: BackendId, connection: &Connection) {
        let place =
            (backend.index() as u64 + 1) << 56 | u64::from(connection.generation) << THREAD_BITS;
        self.connection.store(place | connection.thread_id & THREAD_MASK, Ordering::Relaxed);
    }

    /// The session is about to give its connection back. In one order with the aims of the pool:
    /// whoever aims at the connection sees this, or the pool sees the aim.
    pub(in crate::client) fn set_released(&self) {
        self.connection.store(0, Ordering::SeqCst);
    }

    /// What binds the session to its connection.
    pub(in crate::client) fn set_bound(&self, pins: Pins, in_transaction: bool) {
        self.pins.store(pins.bits(), Ordering::Relaxed);
        self.in_transaction.store(in_transaction, Ordering::Relaxed);
    }

    /// This moment.
    pub fn now(&self) -> EntryNow {
        let (activity, since) = self.activity();
        let pins = Pins::from_bits_retain(self.pins.load(Ordering::Relaxed));
        EntryNow {
            activity,
            for_ms: millis(self.started.elapsed().saturating_sub(since)),
            lane: self.lane(),
            chosen_by: ChosenBy::ALL[usize::from(self.chosen_by.load(Ordering::Relaxed))],
            pins: pins.reasons().map(Pin::label).collect(),
            in_transaction: self.is_in_transaction(),
            connection: self.connection(),
            asked: BackendId::new(self.asked.load(Ordering::Relaxed).into()),
        }
    }

    /// What it does, and since when: a time since the start of Fairlane.
    pub fn activity(&self) -> (Activity, Duration) {
        let activity = match self.activity.load(Ordering::Relaxed) {
            0 => Activity::Idle,
            1 => Activity::Holding,
            2 => Activity::Waiting,
            _ => Activity::Running,
        };
        (activity, Duration::from_millis(self.since_ms.load(Ordering::Relaxed)))
    }

    /// Whether it has begun what it does a moment ago.
    pub(in crate::client) fn for_less_than(&self, limit: Duration) -> bool {
        self.started.elapsed().saturating_sub(self.activity().1) < limit
    }

    /// Whether a transaction is open.
    pub fn is_in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Relaxed)
    }

    /// Lane of its current or last work.
    pub fn lane(&self) -> usize {
        usize::from(self.lane.load(Ordering::Relaxed))
    }

    /// Backend and thread id of the session's connection.
    pub fn connection(&self) -> Option<(BackendId, u64)> {
        self.place().map(|place| (place.backend, place.thread_id))
    }

    /// Where the session's connection is.
    pub fn place(&self) -> Option<Place> {
        let packed = self.connection.load(Ordering::SeqCst);
        let backend = BackendId::new(usize::try_from(packed >> 56).ok()?.checked_sub(1)?);
        let generation = u16::try_from(packed >> THREAD_BITS & u64::from(u16::MAX)).ok()?;
        Some(Place { backend, thread_id: packed & THREAD_MASK, generation })
    }

    /// Remembers a statement for those who wait for its slot or its locks.
    pub(in crate::client) fn note_statement(&self, sql: &[u8], mode: impl FnOnce() -> Mode) {
        if self.lane() != 0 || self.kept.load(Ordering::Relaxed) != Kept::No as u8 {
            self.keep_statement(sql, mode);
        }
    }

    /// The same, whatever its lane.
    pub(in crate::client) fn keep_statement(&self, sql: &[u8], mode: impl FnOnce() -> Mode) {
        self.kept.store(Kept::Yes as u8, Ordering::Relaxed);
        let mut last = self.statement.lock();
        last.sql.clear();
        last.sql.extend_from_slice(&sql[..sql.len().min(STATEMENT_MAX)]);
        last.mode = mode();
    }

    /// Its slot is held for long: operators want to know by what.
    pub fn want_statement(&self) {
        let (no, wanted) = (Kept::No as u8, Kept::Wanted as u8);
        let kept = self.kept.compare_exchange(no, wanted, Ordering::Relaxed, Ordering::Relaxed);
        if kept.is_ok() {
            self.task.wake_by_ref();
        }
    }

    /// Whether the statement under way is to be remembered, and is not yet. Only for the session's own task.
    pub(in crate::client) fn wants_statement(&self) -> bool {
        self.kept.load(Ordering::Relaxed) == Kept::Wanted as u8
    }

    /// The beginning of its current or last statement, normalised; empty in the first lane, unless its slot
    /// is held for long.
    pub fn statement(&self) -> String {
        let last = self.statement.lock();
        let is_kept = self.lane() != 0 || self.kept.load(Ordering::Relaxed) == Kept::Yes as u8;
        match last.sql.is_empty() || !is_kept {
            true => String::new(),
            false => crate::sql::digest_text(&last.sql, last.mode),
        }
    }

    /// Its statement, which has begun `since`, has stood still for so much longer: others have locks that it waits for,
    /// or the server does nothing.
    pub fn add_standstill(&self, since: Duration, time: Duration) {
        if self.activity() == (Activity::Running, since) {
            self.stood_still_ms.fetch_add(millis(time), Ordering::Relaxed);
        }
    }

    /// For how long the command that is done has stood still. Only for the session's own task.
    pub(in crate::client) fn take_standstill(&self) -> Duration {
        match self.stood_still_ms.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            _ => Duration::from_millis(self.stood_still_ms.swap(0, Ordering::Relaxed)),
        }
    }

    /// Whether behaviour has chosen its lane, which is that of batch then.
    pub fn is_in_batch_by_behaviour(&self) -> bool {
        let by = self.chosen_by.load(Ordering::Relaxed);
        [ChosenBy::AttainedService, ChosenBy::Company, ChosenBy::Crowd]
            .map(|by| by as u8)
            .contains(&by)
    }

    /// Whether behaviour has chosen its lane, whichever that is.
    pub fn is_judged(&self) -> bool {
        let by = self.chosen_by.load(Ordering::Relaxed);
        by == ChosenBy::Light as u8 || self.is_in_batch_by_behaviour()
    }

    /// Has the session's transaction rolled back as soon as that can be done without harm.
    pub fn give_way(&self) {
        self.must_give_way.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }

    /// Nobody waits for the session's locks any more, or it has done what it can.
    pub fn need_not_give_way(&self) {
        self.must_give_way.store(false, Ordering::Release);
    }

    /// Whether its transaction has to be rolled back.
    fn has_to_give_way(&self) -> bool {
        self.must_give_way.load(Ordering::Acquire)
    }

    /// Ready when its transaction has to be rolled back. Only for the session's own task.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::client) async fn told_to_give_way(&self) {
        self.when(|| self.has_to_give_way().then_some(())).await
    }

    /// The replica that runs its statement, which has begun `since`, is down: it may ask another.
    pub(in crate::client) fn set_adrift(&self, since: Duration) {
        self.adrift_ms.store(millis(since), Ordering::Release);
        self.task.wake_by_ref();
    }

    /// Whether that is so of the statement under way. Only for the session's own task.
    pub(in crate::client) fn is_adrift(&self) -> bool {
        self.adrift_ms.load(Ordering::Acquire) == self.since_ms.load(Ordering::Relaxed)
    }

    /// The session has been idle since `since`: whether the connection it holds is still there is worth a
    /// system call.
    pub(in crate::client) fn set_to_look(&self, since: Duration) {
        self.look_ms.store(millis(since), Ordering::Release);
        self.task.wake_by_ref();
    }

    /// Ready once when that is so of the idle time under way. Only for the session's own task.
    ///
    /// # Cancel safety
    /// It is ready again with the next look.
    pub(in crate::client) async fn told_to_look(&self) {
        self.when(|| {
            let look = self.look_ms.load(Ordering::Acquire);
            let is_due = look == self.since_ms.load(Ordering::Relaxed);
            is_due.then(|| self.look_ms.store(u64::MAX, Ordering::Relaxed))
        })
        .await
    }

    /// Has the session look at what it waits for, whatever that is.
    pub(in crate::client) fn rouse(&self) {
        self.task.wake_by_ref();
    }

    /// Ready when `look` finds something. Only for the session's own task, and for what it is woken for.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::client) async fn when<T>(&self, look: impl Fn() -> Option<T>) -> T {
        poll_fn(|_| look().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The next command begins.
    pub(in crate::client) fn begin_command(&self) {
        self.interrupt.begin();
    }

    /// The command under way waits for what others have, and can be stopped until it [sets out](Self::set_out).
    pub(in crate::client) fn begin_wait(&self) {
        self.interrupt.wait();
    }

    /// The command under way goes to a server now; whether it must not, as it was stopped while it waited.
    pub(in crate::client) fn set_out(&self) -> bool {
        self.interrupt.set_out()
    }

    /// The client has the answer to the command under way: what runs on the connection from now on is not
    /// what a KILL QUERY is for.
    pub(in crate::client) fn has_answered(&self) {
        self.interrupt.answer();
    }

    /// Whether a command is answered, or was before the one that is under way.
    pub(in crate::client) fn is_over(&self, command: u64) -> bool {
        self.interrupt.is_over(command)
    }

    /// Whether the command under way was stopped, be it on a server. Only for the session's own task.
    pub(in crate::client) fn is_stopped(&self) -> bool {
        self.interrupt.is_stopped()
    }

    /// Ready when the command under way is stopped while it waits. Only for the session's own task.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::client) async fn stopped_waiting(&self) {
        self.when(|| self.interrupt.is_stopped_waiting().then_some(())).await
    }

    /// Whether the command under way is to be killed where it runs.
    pub(in crate::client) fn is_kill_owed(&self) -> bool {
        self.interrupt.is_owed()
    }

    /// Somebody is told to do so.
    pub(in crate::client) fn kill_is_sent(&self) {
        self.interrupt.pay();
    }

    /// The number of the command under way, or of the last one.
    pub(in crate::client) fn command(&self) -> u64 {
        self.interrupt.command()
    }

    /// Stops a command; whether it ends by itself, or has ended. Else it has to be killed where it runs.
    pub(in crate::client) fn stop_command(&self, command: u64) -> bool {
        let ends = self.interrupt.stop(command);
        if ends {
            self.task.wake_by_ref();
        }
        ends
    }

    /// It was to be killed where it runs, and was not found: its session knows where that is, if anybody does.
    pub(in crate::client) fn owe_kill(&self, command: u64) {
        self.interrupt.owe(command);
        self.task.wake_by_ref();
    }

    /// Ends the session as soon as it is between commands.
    pub fn kill(&self) {
        self.tell(Order::Kill);
    }

    pub(super) fn tell(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.task.wake_by_ref();
    }

    fn was_told(&self, least: Order) -> bool {
        self.order.load(Ordering::Acquire) >= least as u8
    }

    /// Whether it was told to end at once.
    pub(in crate::client) fn is_killed(&self) -> bool {
        self.was_told(Order::Kill)
    }

    /// Ready when it is told to do `least`, or more than that. Only for the session's own task.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::client) async fn told(&self, least: Order) {
        self.when(|| self.was_told(least).then_some(())).await
    }

    /// Like [`Self::told`], and also ready when the client is idle for too long.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(in crate::client) async fn told_or_expired(&self, least: Order) {
        self.when(|| (self.was_told(least) || self.is_expired()).then_some(())).await
    }

    /// Ready when it is told to end at once.
    pub(in crate::client) async fn killed(&self) {
        self.told(Order::Kill).await;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

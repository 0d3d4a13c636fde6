//! All sessions: their ids, what they are doing, and how to end them.

mod entry;
mod interrupt;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

pub(super) use entry::Order;
pub use entry::{Activity, Entry, EntryLabels, EntryNow, Place};

/// What wakes the task that waits for this.
async fn own_task() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// A session's place in the registry; given up on drop, also when the session panics.
#[derive(Debug)]
pub(super) struct Registration {
    entry: Arc<Entry>,
    context: Arc<super::Context>,
}

impl Registration {
    /// A new session with an id nobody has, which is the task that waits for this.
    pub(super) async fn join(context: &Arc<super::Context>, peer: SocketAddr) -> Self {
        let task = own_task().await;
        Self { entry: context.registry.join(peer, task), context: context.clone() }
    }
}

impl Registration {
    /// What the session runs now goes on without it: shown until the answer is dropped.
    pub(super) fn orphan(&self) -> Orphan {
        let orphan = (self.entry.clone(), self.entry.place());
        self.context.registry.inner.lock().orphans.insert(self.entry.id, orphan);
        Orphan { id: self.entry.id, context: self.context.clone() }
    }

    /// The entry, for what borrows the session meanwhile.
    pub(super) fn shared(&self) -> Arc<Entry> {
        self.entry.clone()
    }
}

impl std::ops::Deref for Registration {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.context.registry.leave(self.entry.id);
    }
}

/// A statement that goes on although its client has gone.
#[derive(Debug)]
pub(super) struct Orphan {
    id: u32,
    context: Arc<super::Context>,
}

impl Drop for Orphan {
    fn drop(&mut self) {
        self.context.registry.inner.lock().orphans.remove(&self.id);
    }
}

/// All sessions by id.
#[derive(Debug)]
pub struct Registry {
    started: Instant,
    inner: Mutex<Inner>,
}

/// Room for this many sessions is kept, however few there are.
const ROOM_KEPT: usize = 2048;

#[derive(Debug)]
struct Inner {
    by_id: HashMap<u32, Arc<Entry>>,
    /// Sessions that are over, and where what they ran goes on.
    orphans: HashMap<u32, (Arc<Entry>, Option<Place>)>,
    last_id: u32,
    is_draining: bool,
}

/// The ids sessions have: far above those that servers give to connections, which they count from
/// 1, so that an id tells whose it is; and positive where a client takes them as signed.
const IDS: RangeInclusive<u32> = 1 << 30..=u32::MAX >> 1;

/// Whether an id can be that of a session, and is none that a server has given.
pub(super) fn is_sessions(id: u64) -> bool {
    u32::try_from(id).is_ok_and(|id| IDS.contains(&id))
}

impl Default for Inner {
    /// The first id is any: the sessions of several Fairlanes in front of the same servers should
    /// not have the same ones, or KILL could meet somebody else.
    fn default() -> Self {
        Self {
            by_id: HashMap::default(),
            orphans: HashMap::default(),
            last_id: fastrand::u32(IDS),
            is_draining: false,
        }
    }
}

impl Inner {
    /// What goes on without its session, or a session; and where its connection is.
    fn find(&self, id: u32) -> Option<(&Arc<Entry>, Option<Place>)> {
        let orphan = self.orphans.get(&id).map(|(entry, place)| (entry, *place));
        orphan.or_else(|| self.by_id.get(&id).map(|entry| (entry, entry.place())))
    }
}

impl Registry {
    /// Nobody yet; Fairlane has `started` then.
    pub fn new(started: Instant) -> Self {
        Self { started, inner: Mutex::default() }
    }

    /// A new session, which is this task, with an id nobody has.
    pub fn join(&self, peer: SocketAddr, task: Waker) -> Arc<Entry> {
        let mut inner = self.inner.lock();
        loop {
            let id = if inner.last_id == *IDS.end() { *IDS.start() } else { inner.last_id + 1 };
            inner.last_id = id;
            if !inner.by_id.contains_key(&id) {
                let entry = Arc::new(Entry::new(id, peer, task, self.started));
                if inner.is_draining {
                    entry.tell(Order::Drain);
                }
                inner.by_id.insert(id, entry.clone());
                return entry;
            }
        }
    }

    /// Ends all sessions, also those to come, each as soon as it holds no connection.
    pub fn drain(&self) {
        let mut inner = self.inner.lock();
        inner.is_draining = true;
        inner.by_id.values().for_each(|entry| entry.tell(Order::Drain));
    }

    /// Ends the sessions whose clients are idle for longer than they may; called about once a
    /// second.
    pub fn expire_idle(&self) {
        let now = Instant::now();
        self.inner.lock().by_id.values().for_each(|entry| entry.expire(now));
    }

    /// Looks at each session.
    pub(super) fn look_at_all(&self, look: impl Fn(&Entry)) {
        self.inner.lock().by_id.values().for_each(|entry| look(entry));
    }

    /// A session is over.
    pub fn leave(&self, id: u32) {
        let by_id = &mut self.inner.lock().by_id;
        by_id.remove(&id);
        let (count, room) = (by_id.len(), by_id.capacity());
        if room > ROOM_KEPT && count < room / 8 {
            by_id.shrink_to(room / 4);
        }
    }

    /// A session.
    pub fn get(&self, id: u64) -> Option<Arc<Entry>> {
        self.inner.lock().by_id.get(&u32::try_from(id).ok()?).cloned()
    }

    /// The same, or a session that is over of which a statement goes on.
    pub fn get_or_orphan(&self, id: u32) -> Option<Arc<Entry>> {
        self.inner.lock().find(id).map(|(entry, _)| entry.clone())
    }

    /// What a session does and since when, or what goes on of it now that it is over.
    pub fn activity(&self, id: u32) -> Option<(Activity, Duration)> {
        self.inner.lock().find(id).map(|(entry, _)| entry.activity())
    }

    /// What `look` finds in those of `ids` that are there, or of which a statement goes on; and where that runs.
    pub fn all_of<T>(&self, ids: &[u32], look: impl Fn(&Entry, Place) -> Option<T>) -> Vec<T> {
        let inner = self.inner.lock();
        let look = |id: &u32| inner.find(*id).and_then(|(entry, place)| look(entry, place?));
        ids.iter().filter_map(look).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner.lock().by_id.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.inner.lock().by_id.values().cloned().collect()
    }

    /// Sessions that are over whose last statement goes on, and where.
    pub fn orphans(&self) -> Vec<(Arc<Entry>, Option<Place>)> {
        self.inner.lock().orphans.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn ids_are_none_a_server_gives_and_are_given_once() {
        let registry = Registry::new(Instant::now());
        let peer = SocketAddr::from(([127, 0, 0, 1], 5));
        registry.inner.lock().last_id = *IDS.end() - 1;
        let ids: Vec<u32> = (0..3).map(|_| registry.join(peer, Waker::noop().clone()).id).collect();
        assert_eq!(ids, [*IDS.end(), *IDS.start(), *IDS.start() + 1]);
        registry.inner.lock().last_id = *IDS.end() - 1;
        assert_eq!(registry.join(peer, Waker::noop().clone()).id, *IDS.start() + 2);
        assert!(!is_sessions(5) && !is_sessions(1 << 31) && is_sessions(1 << 30));
    }

    #[test]
    fn a_crowd_that_has_left_takes_no_room() {
        let registry = Registry::new(Instant::now());
        let join = || registry.join(([127, 0, 0, 1], 5).into(), Waker::noop().clone()).id;
        let stays = join();
        let mut crowd = Vec::new();
        crowd.resize_with(20_000, join);
        let room = || registry.inner.lock().by_id.capacity();
        assert!(room() > 20_000);
        crowd.into_iter().for_each(|id| registry.leave(id));
        assert!(room() < 2 * ROOM_KEPT && registry.len() == 1);
        assert!(registry.get(stays.into()).is_some());
    }

    #[tokio::test]
    async fn a_session_is_roused_whatever_it_waits_for() {
        let registry = Registry::new(Instant::now());
        let (tell, told) = oneshot::channel();
        let session = async move {
            let _ = tell.send(registry.join(([127, 0, 0, 1], 5).into(), own_task().await));
            let mut looks = 0;
            poll_fn(|_| {
                looks += 1;
                if looks > 3 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        };
        let session = tokio::spawn(session);
        let entry = told.await.expect("it has joined");
        while !session.is_finished() {
            entry.rouse();
            tokio::task::yield_now().await;
        }
    }
}

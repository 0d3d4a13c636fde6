//! What LAST_INSERT_ID() of a session became on a connection, left there unread.
//!
//! An OK packet does not tell for sure whether its id was generated, and asking after each INSERT
//! would double the statements. So the connection is asked when somebody else is to use it, or
//! when the session needs its id elsewhere; most often neither happens.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

/// The session's end.
#[derive(Debug, Default)]
pub struct UnreadId {
    told: OnceLock<Option<u64>>,
    news: Notify,
}

impl UnreadId {
    /// The id, once it was read; `None` when the connection was lost before. Only the session that
    /// left it may wait.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn wait(&self) -> Option<u64> {
        loop {
            if let Some(told) = self.told.get() {
                return *told;
            }
            self.news.notified().await;
        }
    }

    fn tell(&self, id: Option<u64>) {
        if self.told.set(id).is_ok() {
            self.news.notify_one();
        }
    }
}

/// The connection's end: the session is told when it is read, or dropped.
#[derive(Debug)]
pub struct UnreadHere(Arc<UnreadId>);

impl UnreadHere {
    /// Left by the session that has `unread`.
    pub fn new(unread: &Arc<UnreadId>) -> Self {
        Self(Arc::clone(unread))
    }

    /// Whether it was left by the session that has `unread`.
    pub fn is_of(&self, unread: Option<&Arc<UnreadId>>) -> bool {
        unread.is_some_and(|unread| Arc::ptr_eq(unread, &self.0))
    }

    /// Whether its session may still ask for it.
    pub fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    pub(super) fn tell(&self, id: Option<u64>) {
        self.0.tell(id);
    }
}

impl Drop for UnreadHere {
    fn drop(&mut self) {
        self.0.tell(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_session_is_told_once_also_when_the_connection_is_lost() {
        let (read, lost) = (Arc::new(UnreadId::default()), Arc::new(UnreadId::default()));
        let (here, gone) = (UnreadHere::new(&read), UnreadHere::new(&lost));
        assert!(here.is_of(Some(&read)) && !here.is_of(Some(&lost)) && !here.is_of(None));
        let waiting = tokio::spawn(async move { lost.wait().await });
        tokio::task::yield_now().await;
        here.tell(Some(7));
        drop((here, gone));
        assert_eq!(read.wait().await, Some(7));
        assert_eq!(waiting.await.ok(), Some(None));
    }

    #[test]
    fn nobody_asks_for_what_an_ended_session_left() {
        let unread = Arc::new(UnreadId::default());
        let here = UnreadHere::new(&unread);
        assert!(here.is_wanted());
        drop(unread);
        assert!(!here.is_wanted());
    }
}

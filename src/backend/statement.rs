//! Statements prepared on one backend connection: a bounded cache, closed on the server when
//! evicted.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};

use super::connection::{Connection, Exchange, Failure, command_packet};
use super::life::Life;
use crate::protocol::metadata::Metadata;
use crate::protocol::{Command, code};
use crate::state::kinds::Kinds;
use crate::state::prepared::StatementKey;

/// Most statements one connection keeps prepared, so that a server's
/// `max_prepared_stmt_count` (16,382) lasts for some 80 connections.
const STATEMENTS_MAX: usize = 200;

/// Most bytes of their texts together: a server keeps some hundred for each parameter.
const TEXT_MAX: usize = 1 << 20;

/// So many are closed when the server has no room for one more.
const CLOSED_AT_ONCE: usize = 20;

#[derive(Debug, Clone)]
struct Entry {
    server_id: u32,
    last_use: u64,
    /// What the server has sent last, if that is known.
    metadata: Option<Metadata>,
    /// Whether its first execution opened a cursor, once it was executed.
    began_with_cursor: Option<bool>,
    /// Kinds of its parameters' values so far (MySQL).
    kinds: Kinds,
    /// Parameters that have had numbers (MariaDB).
    numbers: u64,
    /// The one session it serves, if it is not for all with its key.
    owner: Option<Life>,
}

/// Statements prepared on one connection.
#[derive(Debug, Default)]
pub struct StatementCache {
    by_key: HashMap<Arc<StatementKey>, Entry>,
    clock: u64,
    /// Statements with an open cursor or long data: they stay.
    guarded: HashSet<Arc<StatementKey>>,
    /// So many more are taken before room is looked for again, which costs all that are here: last time
    /// all were guarded.
    patience: usize,
    /// How many have an owner.
    owned: usize,
    /// Bytes of all texts.
    text: usize,
}

impl StatementCache {
    /// The server's id of a statement, if it is prepared here.
    pub fn get(&mut self, key: &StatementKey) -> Option<u32> {
        self.clock += 1;
        let entry = self.by_key.get_mut(key)?;
        entry.last_use = self.clock;
        Some(entry.server_id)
    }

    /// Whether a statement is prepared here.
    pub fn has(&self, key: &StatementKey) -> bool {
        self.by_key.contains_key(key)
    }

    /// What the server has sent last of a statement's column definitions, if that is known.
    pub fn metadata(&self, key: &StatementKey) -> Option<&Metadata> {
        self.by_key.get(key)?.metadata.as_ref()
    }

    /// Notes what the server has sent; `None` when that can't be told.
    pub fn set_metadata(&mut self, key: &StatementKey, metadata: Option<Metadata>) {
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.metadata = metadata;
        }
    }

    /// Whether a statement's first execution here opened a cursor: MySQL (9.7) plans for that, and
    /// answers those without one with no rows and no legal end.
    pub fn began_with_cursor(&self, key: &StatementKey) -> bool {
        self.by_key.get(key).is_some_and(|entry| entry.began_with_cursor == Some(true))
    }

    /// Kinds of values the parameters of a statement have had here, if it is prepared here.
    pub fn kinds(&self, key: &StatementKey) -> Option<&Kinds> {
        Some(&self.by_key.get(key)?.kinds)
    }

    /// Notes an execution, and the kinds of values parameters have had after it.
    pub fn note_execution(&mut self, key: &StatementKey, has_cursor: bool, kinds: &Kinds) {
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.began_with_cursor.get_or_insert(has_cursor);
            entry.kinds.clone_from(kinds);
        }
    }

    /// Parameters of a statement that have had numbers here, a bit each.
    pub fn numbers(&self, key: &StatementKey) -> u64 {
        self.by_key.get(key).map_or(0, |entry| entry.numbers)
    }

    /// Notes parameters that have numbers now.
    pub fn note_numbers(&mut self, key: &StatementKey, numbers: u64) {
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.numbers |= numbers;
        }
    }

    /// A copy that other sessions with its key may not use.
    pub fn set_owner(&mut self, key: &StatementKey, session: Life) {
        if let Some(entry) = self.by_key.get_mut(key)
            && entry.owner.replace(session).is_none()
        {
            self.owned += 1;
        }
    }

    /// Whether a copy is for another session than this.
    pub fn is_of_other(&self, key: &StatementKey, session: Life) -> bool {
        let owner = || self.by_key.get(key)?.owner;
        self.owned > 0 && owner().is_some_and(|owner| owner != session)
    }

    /// Forgets all: the server has.
    pub fn clear(&mut self) {
        self.by_key.clear();
        (self.owned, self.text, self.patience) = (0, 0, 0);
    }

    /// Forgets one and returns its server id.
    pub fn remove(&mut self, key: &StatementKey) -> Option<u32> {
        let entry = self.by_key.remove(key)?;
        self.text -= key.sql.len();
        self.owned -= usize::from(entry.owner.is_some());
        Some(entry.server_id)
    }

    /// Names the statements that may not be closed: their cursors and long data are here only.
    pub fn guard(&mut self, keys: impl Iterator<Item = Arc<StatementKey>>) {
        self.guarded.clear();
        self.guarded.extend(keys);
    }

    fn is_full(&self) -> bool {
        self.by_key.len() >= STATEMENTS_MAX || self.text > TEXT_MAX
    }

    /// Notes a statement; returns the server ids of those to close in exchange.
    pub fn insert(&mut self, key: Arc<StatementKey>, server_id: u32) -> Vec<u32> {
        self.clock += 1;
        let before = self.remove(&key).filter(|before| *before != server_id);
        let mut closed: Vec<u32> = before.into_iter().collect();
        self.text += key.sql.len();
        let looks = self.patience == 0;
        self.patience = self.patience.saturating_sub(1);
        while looks && self.is_full() {
            let Some(evicted) = self.evict() else {
                self.patience = self.by_key.len() / 8;
                break;
            };
            closed.push(evicted);
        }
        let last_use = self.clock;
        let kinds = Kinds::default();
        let (metadata, began_with_cursor, numbers, owner) = (None, None, 0, None);
        let entry =
            Entry { server_id, last_use, metadata, began_with_cursor, kinds, numbers, owner };
        self.by_key.insert(key, entry);
        closed
    }

    fn evict(&mut self) -> Option<u32> {
        let free = self.by_key.iter().filter(|(key, _)| !self.guarded.contains(*key));
        let oldest = free.min_by_key(|(_, entry)| entry.last_use)?.0.clone();
        self.remove(&oldest)
    }
}

impl Connection {
    /// Prepares a statement here, for a session that prepared it elsewhere. `Err` inside the
    /// exchange's summary is the server's.
    pub async fn prepare(&mut self, key: &Arc<StatementKey>) -> Result<Exchange, Failure> {
        let mut exchange = self.command(Command::StmtPrepare, &key.sql).await?;
        if exchange.summary.error == Some(code::MAX_PREPARED_STMT_COUNT) {
            // Those that are kept for others count, too.
            if self.close_some().await? {
                exchange = self.command(Command::StmtPrepare, &key.sql).await?;
            }
        }
        if let Some((server_id, ..)) = exchange.summary.prepared {
            self.note_prepared(key.clone(), server_id).await?;
            let sent = self.caches_metadata().then(|| exchange.summary.definitions.clone());
            self.statements.set_metadata(key, sent.map(Metadata::new));
        }
        Ok(exchange)
    }

    /// Closes those that were used longest ago; whether there were any.
    pub async fn close_some(&mut self) -> Result<bool, Failure> {
        let mut closed = 0;
        while closed < CLOSED_AT_ONCE
            && let Some(server_id) = self.statements.evict()
        {
            self.close_statement(server_id).await?;
            closed += 1;
        }
        Ok(closed > 0)
    }

    /// Notes a statement the server has just prepared.
    pub async fn note_prepared(
        &mut self,
        key: Arc<StatementKey>,
        server_id: u32,
    ) -> Result<(), Failure> {
        for evicted in self.statements.insert(key, server_id) {
            self.close_statement(evicted).await?;
        }
        Ok(())
    }

    /// Closes a statement on the server, which does not answer.
    pub async fn close_statement(&mut self, server_id: u32) -> Result<(), Failure> {
        self.send(&command_packet(Command::StmtClose, &server_id.to_le_bytes())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [u32; 0] = [];

    fn key(number: usize) -> Arc<StatementKey> {
        let sql = format!("SELECT {number}").into_bytes().into();
        Arc::new(StatementKey::new(sql, "".into(), 0))
    }

    #[test]
    fn the_statement_unused_longest_is_closed_for_a_new_one() {
        let mut cache = StatementCache::default();
        for number in 0..STATEMENTS_MAX {
            let server_id = u32::try_from(number).expect("small");
            assert_eq!(cache.insert(key(number), server_id), NONE);
        }
        assert_eq!(cache.get(&key(0)), Some(0));
        assert_eq!(cache.insert(key(STATEMENTS_MAX), 999), [1]);
        assert_eq!(cache.get(&key(1)), None);
        assert_eq!(cache.get(&key(0)), Some(0));
        assert_eq!(cache.insert(key(0), 1001), [0], "the older one of a key");
        cache.guard([key(2), key(3)].into_iter());
        assert_eq!(cache.insert(key(STATEMENTS_MAX + 1), 1000), [4]);
        assert_eq!((cache.get(&key(2)), cache.get(&key(3))), (Some(2), Some(3)));
    }

    #[test]
    fn room_is_not_looked_for_each_time_where_there_is_none() {
        let mut cache = StatementCache::default();
        let all = STATEMENTS_MAX + STATEMENTS_MAX / 8;
        cache.guard((0..all).map(key));
        (0..=STATEMENTS_MAX).for_each(|number| assert_eq!(cache.insert(key(number), 7), NONE));
        assert_eq!(cache.patience, STATEMENTS_MAX / 8);
        cache.guard([].into_iter());
        for number in STATEMENTS_MAX + 1..=all {
            assert_eq!(cache.insert(key(number), 7), NONE);
        }
        assert_eq!((cache.patience, cache.by_key.len()), (0, all + 1));
        assert_eq!(cache.insert(key(all + 1), 7).len(), all + 2 - STATEMENTS_MAX);
    }

    #[test]
    fn long_texts_make_room_for_one_another() {
        let mut cache = StatementCache::default();
        let long = |number: u8| {
            let sql = vec![number; TEXT_MAX / 2].into();
            Arc::new(StatementKey::new(sql, "".into(), 0))
        };
        assert_eq!(cache.insert(long(0), 0), NONE);
        assert_eq!(cache.insert(long(1), 1), NONE);
        assert_eq!(cache.insert(long(2), 2), [0]);
        cache.guard([long(1)].into_iter());
        assert_eq!(cache.insert(long(3), 3), [2]);
        assert_eq!((cache.get(&long(1)), cache.text), (Some(1), TEXT_MAX));
    }

    #[test]
    fn a_copy_with_an_owner_is_for_no_other_session() {
        let (seven, eight) = (Life::first(7), Life::first(8));
        let mut cache = StatementCache::default();
        (0..3).for_each(|number| assert_eq!(cache.insert(key(number as usize), number), NONE));
        cache.set_owner(&key(1), seven);
        cache.set_owner(&key(1), seven);
        assert!(cache.is_of_other(&key(1), eight));
        assert!(!cache.is_of_other(&key(1), seven) && !cache.is_of_other(&key(2), eight));
        // Prepared anew it is for all.
        assert_eq!(cache.insert(key(1), 9), [1]);
        assert!(!cache.is_of_other(&key(1), eight));
        cache.set_owner(&key(2), seven);
        assert_eq!((cache.remove(&key(2)), cache.owned), (Some(2), 0));
    }
}

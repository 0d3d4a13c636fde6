//! Answers of servers to COM_STMT_PREPARE, to be given again.
//!
//! PDO and others prepare each statement anew, execute it once and close it. Whatever executes it
//! here prepares it where it is not, so that the answer is all that is wanted of a server: the number
//! of parameters, and what columns there are. It is the same as the one of just before as long as
//! nothing has changed that it hangs on.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::backend::ConnectionKey;
use crate::config::Settings;
use crate::pool::Epochs;
use crate::protocol::metadata::MetadataDigest;
use crate::protocol::packet::{self, HEADER};
use crate::protocol::status::Status;
use crate::route::view::BackendId;
use crate::state::prepared::StatementKey;

/// Bytes of answers and texts that are kept.
const BYTES_MAX: u64 = 8 * 1024 * 1024;
/// About how many that is.
const ANSWERS: usize = 16 * 1024;
/// Longest text whose answer is kept, in bytes.
pub(in crate::client) const TEXT_MAX: usize = 16 * 1024;
/// Least time after a change of tables in which no answer of a replica is given again: it may not
/// have had the change yet.
const QUIET: Duration = Duration::from_secs(60);

/// Who has answered, for whom, what was prepared under which circumstances.
pub(in crate::client) type Key = (BackendId, Arc<ConnectionKey>, Arc<StatementKey>);

/// What an answer hangs on beside that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) struct Terms {
    /// The global variables a session has begun with, and its own choice of a schema.
    begun_after: (u64, u64),
    /// Changes of privileges, schemas and tables.
    changes: [u64; 3],
}

impl Terms {
    /// Of a session as it is now.
    pub(in crate::client) fn new(begun_after: (u64, u64), epochs: &Epochs) -> Self {
        let changes = [epochs.logins(), epochs.schemas(), epochs.tables()];
        Self { begun_after, changes }
    }
}

/// One answer.
#[derive(Debug)]
pub(in crate::client) struct Answer {
    /// As it was when the server was asked.
    pub(in crate::client) terms: Terms,
    /// When that was, since the start of Fairlane.
    pub(in crate::client) asked_at: Duration,
    /// The packets.
    pub(in crate::client) packets: Box<[u8]>,
    /// Number of parameters.
    pub(in crate::client) parameters: u16,
    /// The column definitions in it.
    pub(in crate::client) metadata: Option<MetadataDigest>,
    /// Types of the parameters (MySQL).
    pub(in crate::client) wanted: Box<[u8]>,
}

impl Answer {
    /// The packets for a session in which the statement has this id and the status is this one.
    pub(in crate::client) fn packets_for(&self, id: u32, status: Status) -> Vec<u8> {
        let mut packets = self.packets.to_vec();
        let mut at = 0;
        while let Ok(framed) = packet::frame(&packets[at..]) {
            let end = at + framed.wire_length;
            let payload = &mut packets[at + HEADER..end];
            match payload {
                [0x00, rest @ ..] if at == 0 && rest.len() >= 4 => {
                    rest[..4].copy_from_slice(&id.to_le_bytes());
                }
                // Definitions begin with the length of a name.
                [0xfe, _, _, flags @ ..] if flags.len() == 2 => {
                    flags.copy_from_slice(&status.bits().to_le_bytes());
                }
                _ => {}
            }
            at = end;
        }
        packets
    }
}

/// A bounded number of answers, each for a short time.
#[derive(Debug)]
pub struct Answers {
    kept: Cache<Key, Arc<Answer>, Weight>,
    max_age: Duration,
    quiet: Duration,
    /// The last change of tables that was seen, and when it was.
    changed: Mutex<(u64, Duration)>,
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<Key, Arc<Answer>> for Weight {
    fn weight(&self, key: &Key, answer: &Arc<Answer>) -> u64 {
        let bytes = key.2.size() + answer.packets.len() + answer.wanted.len() + size_of::<Answer>();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

impl Answers {
    /// With what the configuration says of them.
    pub fn new(settings: &Settings) -> Self {
        Self::with(settings.pool.prepared_answer_age, settings.routing.max_lag)
    }

    fn with(max_age: Duration, max_lag: Duration) -> Self {
        Self {
            kept: Cache::with_weighter(ANSWERS, BYTES_MAX, Weight),
            max_age,
            // One that lags more takes no reads, once that is seen.
            quiet: QUIET.max(4 * max_lag),
            changed: Mutex::default(),
        }
    }

    /// Whether any are given.
    pub(in crate::client) fn is_on(&self) -> bool {
        !self.max_age.is_zero()
    }

    /// The answer that a server would give `now`, if it is known.
    pub(in crate::client) fn get(
        &self,
        key: &Key,
        terms: Terms,
        now: Duration,
    ) -> Option<Arc<Answer>> {
        let answer = self.kept.get(key)?;
        let is_new = now.saturating_sub(answer.asked_at) < self.max_age;
        let is_there = is_primarys(key) || self.is_quiet(terms, now);
        (is_new && answer.terms == terms && is_there).then_some(answer)
    }

    /// Keeps an answer, until there is a newer one.
    pub(in crate::client) fn keep(&self, key: Key, answer: Answer) {
        if is_primarys(&key) || self.is_quiet(answer.terms, answer.asked_at) {
            self.kept.insert(key, Arc::new(answer));
        }
    }

    /// Whether replicas have had all changes of tables for sure. A change counts from when it is first
    /// seen here, which is after it was made.
    fn is_quiet(&self, terms: Terms, now: Duration) -> bool {
        let [.., tables] = terms.changes;
        let mut changed = self.changed.lock();
        if changed.0 < tables {
            *changed = (tables, now);
        }
        changed.0 == 0 || now.saturating_sub(changed.1) >= self.quiet
    }
}

fn is_primarys(key: &Key) -> bool {
    key.0.is_primary()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::token::Token;

    const AGE: Duration = Duration::from_secs(1);
    const LAG: Duration = Duration::from_secs(5);

    fn key(backend: usize, sql: &str) -> Key {
        let login = ConnectionKey::of_user("app");
        let statement = StatementKey::new(sql.as_bytes().into(), "".into(), 0);
        (BackendId::new(backend), Arc::new(login), Arc::new(statement))
    }

    fn answer(terms: Terms, asked_at: Duration) -> Answer {
        let (packets, wanted) = (Box::default(), Box::default());
        Answer { terms, asked_at, packets, parameters: 1, metadata: None, wanted }
    }

    #[test]
    fn an_answer_is_given_again_for_a_short_time_on_its_own_terms() {
        let (answers, epochs) = (Answers::with(AGE, LAG), Epochs::default());
        let terms = Terms::new((0, 0), &epochs);
        answers.keep(key(0, "a"), answer(terms, AGE));
        let now = AGE + AGE / 2;
        assert!(answers.get(&key(0, "a"), terms, now).is_some());
        assert!(answers.get(&key(0, "a"), terms, AGE + AGE).is_none(), "too old");
        assert!(answers.get(&key(0, "b"), terms, now).is_none());
        assert!(answers.get(&key(1, "a"), terms, now).is_none());
        for other in [(1, 1), (0, 1)] {
            assert!(answers.get(&key(0, "a"), Terms::new(other, &epochs), now).is_none());
        }
        let note_login_change = |epochs: &Epochs| epochs.note_login_change(Token::default());
        let changes: [fn(&Epochs); 3] =
            [note_login_change, Epochs::note_schema_change, Epochs::note_table_change];
        for change in changes {
            answers.keep(key(0, "a"), answer(Terms::new((0, 0), &epochs), AGE));
            change(&epochs);
            assert!(answers.get(&key(0, "a"), Terms::new((0, 0), &epochs), AGE).is_none());
        }
    }

    #[test]
    fn replicas_need_time_to_have_a_change() {
        let (answers, epochs) = (Answers::with(AGE, LAG), Epochs::default());
        let terms = Terms::new((0, 0), &epochs);
        answers.keep(key(1, "a"), answer(terms, AGE));
        assert!(answers.get(&key(1, "a"), terms, AGE).is_some());
        epochs.note_table_change();
        let terms = Terms::new((0, 0), &epochs);
        let (soon, later) = (2 * AGE, 2 * AGE + QUIET);
        answers.keep(key(1, "a"), answer(terms, soon));
        assert!(answers.get(&key(1, "a"), terms, soon).is_none());
        answers.keep(key(0, "a"), answer(terms, soon));
        assert!(answers.get(&key(0, "a"), terms, soon).is_some(), "the primary has it");
        answers.keep(key(1, "a"), answer(terms, later));
        assert!(answers.get(&key(1, "a"), terms, later).is_some());
    }

    #[test]
    fn an_answer_has_the_id_and_the_status_of_its_session() {
        let terms = Terms::new((0, 0), &Epochs::default());
        let mut packets = Vec::new();
        let payloads: [&[u8]; 3] =
            [&[0, 9, 9, 9, 9, 0, 0, 1, 0, 0, 0, 0], b"\x03def\x00", &[0xfe, 0, 0, 7, 7]];
        let mut sequence = 1;
        for payload in payloads {
            sequence = packet::put(&mut packets, sequence, payload);
        }
        let answer = Answer { packets: packets.clone().into(), ..answer(terms, AGE) };
        packets[5..9].copy_from_slice(&[4, 3, 2, 1]);
        let end = packets.len();
        packets[end - 2..].copy_from_slice(&[2, 0]);
        assert_eq!(answer.packets_for(0x0102_0304, Status::AUTOCOMMIT), packets);
    }
}

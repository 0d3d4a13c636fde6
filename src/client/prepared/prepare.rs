//! COM_STMT_PREPARE: answered by the server where the statement would run, or as that was answered
//! just before.

use std::borrow::Cow;
use std::sync::Arc;

use super::answers::{Answer, TEXT_MAX, Terms};
use crate::client::statement::route::is_system;
use crate::client::statement::{PreparedWork, Work, backend_of, classify};
use crate::client::{Session, Stop};
use crate::error::Error;
use crate::protocol::metadata::MetadataDigest;
use crate::protocol::status::{self, Status};
use crate::protocol::{Command, Shape};
use crate::route::Decision;
use crate::route::view::BackendId;
use crate::sql::{Class, Effects, Leading, Needs, Reason, Verdict, changes_rows};
use crate::state::Pin;
use crate::state::kinds::Kinds;
use crate::state::prepared::{STATEMENTS_MAX, Statement, StatementKey, circumstances};
use crate::state::transaction_names::READ_ONLY;

/// What the answer to COM_STMT_PREPARE told of a statement.
#[derive(Debug)]
pub(in crate::client) struct JustPrepared {
    /// Number of its parameters.
    pub(in crate::client) parameters: u16,
    /// The column definitions its client has got.
    pub(in crate::client) metadata: Option<MetadataDigest>,
    /// Types of its parameters (MySQL).
    pub(in crate::client) wanted: Box<[u8]>,
    /// All of the answer, where it can be given again.
    pub(in crate::client) answer: Option<Vec<u8>>,
    /// Whose it is.
    pub(in crate::client) backend: BackendId,
}

impl Session {
    /// COM_STMT_PREPARE.
    pub(in crate::client) async fn prepare(
        &mut self,
        wire: &[u8],
        payload: &[u8],
    ) -> Result<(), Stop> {
        let sql = &payload[1..];
        self.statements.forget_last();
        if self.statements.len() >= STATEMENTS_MAX {
            return self.send_error(&Error::TooManyStatements { limit: STATEMENTS_MAX }).await;
        }
        let mut of_text = classify(sql, self.mode);
        if of_text.class == Class::Read && self.image.schema.as_deref().is_some_and(is_system) {
            // It stays one of that schema, wherever the session goes.
            (of_text.class, of_text.reason) = (Class::Write, Reason::SystemSchema);
        }
        // Each execution may be on another connection; the client knows one id.
        let replaced = self.put_values(sql, self.mode, self.connection_id(&of_text));
        let is_shared = replaced.is_none() && self.may_share_answer(sql, &of_text);
        let packets = match &replaced {
            Some(sql) => {
                let payload = [&[Command::StmtPrepare as u8], &sql[..]].concat();
                Cow::Owned(status::packet(0, &payload))
            }
            None => Cow::Borrowed(wire),
        };
        let sql = replaced.as_deref().unwrap_or(sql);
        let key = Arc::new(self.new_key(sql));
        let id = self.statements.next_id();
        // Preparing changes nothing, whatever the statement; it only has to go where that runs.
        let verdict = Verdict {
            effects: Effects::empty(),
            needs: Needs::empty(),
            class: match of_text.class {
                Class::Read => Class::Read,
                _ => Class::Write,
            },
            hint: of_text.hint.clone(),
            ..of_text
        };
        let chosen_after = self.choice.map_or(0, |choice| choice.epoch);
        let terms = Terms::new((self.begun_after, chosen_after), &self.context.epochs);
        let asked_at = self.context.now();
        if is_shared {
            let decided = self.would_go(&verdict).await;
            let backend = decided.map_or(BackendId::PRIMARY, |decided| backend_of(decided.target));
            let shared = (backend, self.identity.key.clone(), key.clone());
            if let Some(answer) = self.context.answers.get(&shared, terms, asked_at) {
                self.count_local();
                self.wire.push_raw(&answer.packets_for(id, self.idle_status()));
                let Answer { parameters, metadata, ref wanted, .. } = *answer;
                self.keep_statement(id, key, of_text, (parameters, metadata, wanted.clone()));
                return Ok(());
            }
            self.under_way.decided = decided;
        }
        self.under_way.just_prepared = None;
        let prepared = PreparedWork { id, key: key.clone(), payload, told_id: Some(id) };
        let work = Work {
            command: Command::StmtPrepare,
            packets,
            shape: Shape::Prepared,
            verdict: &verdict,
            prepared: Some(prepared),
            sql,
        };
        self.run_work(&work).await?;
        let Some(just) = self.under_way.just_prepared.take() else { return Ok(()) };
        let JustPrepared { parameters, metadata, wanted, answer, backend } = just;
        if let Some(packets) = answer.filter(|_| is_shared) {
            let (packets, wanted) = (packets.into(), wanted.clone());
            let answer = Answer { terms, asked_at, packets, parameters, metadata, wanted };
            let shared = (backend, self.identity.key.clone(), key.clone());
            self.context.answers.keep(shared, answer);
        }
        self.keep_statement(id, key, of_text, (parameters, metadata, wanted));
        Ok(())
    }

    /// Where a query goes in a session that holds nothing; all else goes to the primary.
    async fn would_go(&self, verdict: &Verdict) -> Option<Decision> {
        if self.held.is_some() || self.begun.is_some() || verdict.class != Class::Read {
            return None;
        }
        Some(self.decide(verdict, true).await)
    }

    /// The identity that a statement has on connections.
    fn new_key(&self, sql: &[u8]) -> StatementKey {
        let typed_variables = self.has_typed_variables(sql);
        let mut circumstances = circumstances(&self.image, typed_variables);
        if typed_variables && (self.pins.has(Pin::UserVariable) || self.pins.has(Pin::StateChanged))
        {
            // What they are is known to its connection only.
            circumstances = format!("{circumstances}\0session {}", self.entry.id).into();
        }
        self.statements.new_key(sql, circumstances)
    }

    fn keep_statement(
        &mut self,
        id: u32,
        key: Arc<StatementKey>,
        verdict: Verdict,
        (parameters, metadata, wanted): (u16, Option<MetadataDigest>, Box<[u8]>),
    ) {
        let statement = Statement {
            key,
            image: self.image.clone(),
            mode: self.mode,
            verdict,
            parameters,
            types: None,
            numbers: 0,
            older_types: None,
            metadata,
            wanted,
            kinds: Kinds::default(),
        };
        self.statements.insert(id, statement);
    }

    /// Whether the answer to a text hangs on nothing but its [`Terms`], and says all there is to say: of a
    /// plain query or change of rows, in a session with nothing of its own on a connection, whose
    /// list of warnings is empty and stays so.
    fn may_share_answer(&self, sql: &[u8], verdict: &Verdict) -> bool {
        let is_plain = match verdict.class {
            Class::Read => verdict.leading == Leading::Select,
            Class::Write => changes_rows(sql, self.mode),
            _ => false,
        };
        self.context.answers.is_on()
            && is_plain
            && verdict.statements == 1
            && sql.len() <= TEXT_MAX
            && verdict.reason != Reason::NotUnderstood
            // What a variable is, is known to its session alone.
            && !sql.contains(&b'@')
            // One can be chosen later, and not be left by where the statement is prepared then.
            && self.image.schema.is_some()
            && self.pins.is_empty()
            && self.autocommit
            && self.is_status_told
            && !self.status.contains(Status::IN_TRANS_READONLY)
            && !READ_ONLY.into_iter().any(|name| self.image.get(name).is_some())
            && !self.characteristics.differ()
            && self.teller.is_none()
            && !self.held_on_replica()
            && !self.asks_conditions
            && !self.owes_deadlock
            && self.identity.key.expired.is_none()
            && self.diagnostics.have_no_list()
    }
}

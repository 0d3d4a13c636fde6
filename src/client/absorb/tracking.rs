//! Session tracking: what a client that asked for it is told, and the trackers clients have set.
//!
//! A connection has Fairlane's own trackers but while it runs a statement that sets or shows
//! them: then it has the client's, and what it tells is passed on as it is.

use std::borrow::Cow;
use std::sync::Arc;

use crate::backend::{Connection, Failure};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::status::{OkPacket, Status, Tracked};
use crate::protocol::tracking::{Reported, Teller};
use crate::protocol::{Capabilities, Command, code};
use crate::sql::{Effects, Leading, Mode, Needs, Verdict, variables_like};
use crate::state::{Pin, Trackers};

/// Whether `work` may begin a transaction with autocommit off.
fn may_begin(work: &Work<'_>) -> bool {
    let Verdict { uses_table, leading, effects, .. } = *work.verdict;
    uses_table && leading != Leading::Show || effects.contains(Effects::OPAQUE)
}

/// Whether `work` may choose a schema, perhaps the one that is chosen already.
fn may_choose_schema(work: &Work<'_>) -> bool {
    work.command == Command::InitDb
        || work.verdict.statements > 1
        || work.verdict.effects.intersects(Effects::OPAQUE | Effects::SCHEMA_DEFAULTS)
        || work.verdict.leading == Leading::Use
}

impl Session {
    /// The session has its server's trackers, and has told its client nothing.
    pub(in crate::client) fn begin_tracking(&mut self) {
        self.trackers = None;
        self.teller = self.capabilities.contains(Capabilities::SESSION_TRACK).then(|| {
            let wanted = self.trackers().wanted();
            Box::new(Teller::new(Arc::new(wanted)))
        });
        self.carry_gtids();
    }

    /// A login with a schema is told of it.
    pub(in crate::client) fn tell_schema(&mut self) {
        if let (Some(teller), Some(schema)) = (&mut self.teller, &self.image.schema) {
            teller.keep(&[Tracked::Schema(schema.to_string())]);
        }
    }

    /// The session's own trackers.
    pub(in crate::client) fn trackers(&self) -> Trackers {
        match &self.trackers {
            Some(trackers) => (**trackers).clone(),
            None => Trackers::of_server(|name| self.facts.variable(name)),
        }
    }

    /// Connections have to be asked for all GTIDs, if anybody wants to be told.
    fn carry_gtids(&mut self) {
        match self.teller.is_some() && self.trackers().wants_all_gtids() {
            true => self.image.set("session_track_gtids", "ALL_GTIDS"),
            false => self.image.unset("session_track_gtids"),
        }
    }

    /// Whether a statement has to find the client's own trackers on its connection. Of several
    /// statements in a text only setting them is worth that Fairlane hears of less.
    pub(in crate::client) fn needs_own_trackers(&self, work: &Work<'_>) -> bool {
        let verdict = work.verdict;
        verdict.effects.contains(Effects::TRACKERS)
            || verdict.needs.contains(Needs::TRACKERS)
                && verdict.statements <= 1
                && !verdict.effects.contains(Effects::OPAQUE)
                && !self.shows_others(work)
    }

    /// `SHOW VARIABLES LIKE` with a pattern that begins unlike the names of the trackers: clients ask
    /// so for single variables, often with every connection.
    fn shows_others(&self, work: &Work<'_>) -> bool {
        let is_others = |first: u8| first.is_ascii_alphabetic() && !b"sS".contains(&first);
        work.verdict.leading == Leading::Show
            && variables_like(work.sql, self.mode_of(work)).is_some_and(is_others)
    }

    /// The teller, for the answer to `work` on a connection.
    pub(in crate::client) fn lend_teller(
        &mut self,
        connection: &Connection,
        work: &Work<'_>,
    ) -> Option<Box<Teller>> {
        let mut teller = self.teller.take()?;
        teller.listen(connection.reported.clone(), self.needs_own_trackers(work));
        if let Some(schema) = self.image.schema.as_deref()
            && self.tells_schema_late()
            && !may_choose_schema(work)
            && !self.is_elsewhere(work)
        {
            teller.expect_late(schema);
        }
        Some(teller)
    }

    /// Whether what a statement with a result does to the schema is told by a later one.
    fn tells_schema_late(&self) -> bool {
        !self.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }

    /// Whether `work` was prepared in another schema than the session's, which the server chooses
    /// for as long as it runs.
    pub(in crate::client) fn is_elsewhere(&self, work: &Work<'_>) -> bool {
        work.command == Command::StmtExecute && self.moves(work)
    }

    /// After `work` with a result: the client is yet to be told of a schema that the server has
    /// left again.
    pub(in crate::client) fn owe_schema(&mut self, work: &Work<'_>, summary: &Summary) {
        // MySQL does not say that there is something to tell.
        let has_changed = match self.facts.is_mariadb() {
            true => summary.is_tracking_due,
            false => summary.has_result_set && summary.error.is_none(),
        };
        let is_due = has_changed && self.tells_schema_late() && self.is_elsewhere(work);
        let Some(teller) = self.teller.as_mut().filter(|_| is_due) else { return };
        match (self.facts.is_mariadb(), self.image.schema.as_deref()) {
            (false, Some(schema)) => teller.keep(&[Tracked::Schema(schema.to_owned())]),
            _ => teller.owe_schema(),
        }
    }

    /// An OK payload of Fairlane's own, with what its client has to be told.
    pub(in crate::client) fn told(&mut self, payload: Vec<u8>) -> Vec<u8> {
        let Some(teller) = &mut self.teller else { return payload };
        let reported = match &mut self.held {
            Some(held) => held.connection().reported.clone(),
            None if self.begun.is_some() => Reported::begun(),
            None => Reported::default(),
        };
        teller.listen(reported, false);
        let Ok(ok) = OkPacket::parse(&payload) else { return payload };
        teller.retell(&payload, &ok).ok().flatten().unwrap_or(payload)
    }

    /// Whether a transaction may be open before `work`, or once it has begun: trackers that can't be
    /// set then must not be changed for it.
    pub(in crate::client) fn may_be_open_with(&self, work: &Work<'_>, was_held: bool) -> bool {
        // What fails with autocommit off may have begun one all the same.
        let is_doubtful = was_held && !self.is_status_told;
        self.status.contains(Status::IN_TRANS)
            || !self.autocommit && (is_doubtful || may_begin(work))
    }

    /// Gives a connection the client's own trackers, for `work`.
    pub(in crate::client) async fn set_trackers(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        was_held: bool,
    ) -> Result<(), Failure> {
        // With other trackers what an error has not told would be told to nobody.
        if was_held && !self.is_status_told && self.learn_before_error(connection).await? {
            self.learn_collation(connection, None).await?;
        }
        let trackers = self.trackers();
        let leaves_gtids = self.may_be_open_with(work, was_held);
        self.under_way.leaves_gtids = leaves_gtids;
        if connection.try_track(trackers.to_set(leaves_gtids)).await? {
            return Ok(());
        }
        tracing::warn!(leaves_gtids, "a server has refused a session's trackers");
        self.under_way.leaves_gtids = true;
        connection.track(trackers.to_set(true)).await
    }

    /// After a statement: learns what trackers the client has now, and gives the connection back
    /// Fairlane's own.
    pub(in crate::client) async fn settle_trackers(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) -> Result<(), Failure> {
        let sets = work.verdict.effects.contains(Effects::TRACKERS);
        if !self.needs_own_trackers(work) && !tells_trackers(summary) {
            return Ok(());
        }
        let beside = self.set_beside(work, summary);
        if summary.error.is_some() && !self.facts.is_mariadb() {
            // It may have begun a transaction, in which they can't all be set back.
            let has_other_charset = Box::pin(self.learn_before_error(connection)).await?;
            if has_other_charset {
                Box::pin(self.learn_collation(connection, None)).await?;
            }
        }
        let in_transaction = self.status.contains(Status::IN_TRANS);
        // Set by what has begun a transaction, they can't all be set back.
        let stays = in_transaction && !self.autocommit && may_begin(work);
        if sets && (work.verdict.statements > 1 || stays) || !sets && tells_trackers(summary) {
            self.pins.add(Pin::Trackers);
        }
        if sets || tells_trackers(summary) {
            Box::pin(self.learn_trackers(connection, !sets)).await?;
        }
        // The connection has answered for Fairlane since.
        self.diagnostics.disturb(Disturbs::Both);
        let all_gtids = connection.image.get("session_track_gtids").is_some();
        // A text may have begun one after the client's own were set: GTIDs are then told no more.
        if in_transaction && sets && work.verdict.statements > 1 {
            self.writes.note_unknown();
        }
        // What was not set is not to be set back; what failed tells not whether one is open.
        let was_left = self.under_way.leaves_gtids && (!sets || summary.error.is_some());
        let undo = self.trackers().to_undo(all_gtids, in_transaction || was_left);
        Box::pin(self.track_again(connection, undo, beside.iter().map(|name| &**name))).await
    }

    /// What a statement has set beside trackers, and may have told to nobody.
    fn set_beside<'a>(&mut self, work: &'a Work<'_>, summary: &Summary) -> Vec<Cow<'a, str>> {
        let effects = work.verdict.effects;
        let is_run = work.command != Command::StmtPrepare;
        let may_be_set = is_run && summary.error != Some(code::PARSE_ERROR);
        if !may_be_set || !effects.contains(Effects::TRACKERS) {
            return Vec::new();
        }
        if effects.contains(Effects::NAMES) && summary.error.is_some() {
            // It may have been done before the error.
            self.pins.add(Pin::StateChanged);
        }
        match effects.contains(Effects::BARE_VARIABLE) {
            true => self.bare_names(work, self.mode_of(work)),
            false => Vec::new(),
        }
    }

    /// Before anything is known of what a statement has set in an open transaction beside trackers.
    pub(in crate::client) fn note_beside(&mut self, work: &Work<'_>) {
        let both = Effects::TRACKERS | Effects::BARE_VARIABLE;
        if work.verdict.effects.contains(both) {
            for name in self.bare_names(work, self.mode_of(work)) {
                self.characteristics.note_variable(&name.to_ascii_lowercase(), true);
            }
        }
    }

    async fn learn_trackers(
        &mut self,
        connection: &mut Connection,
        had_own: bool,
    ) -> Result<(), Failure> {
        let mut trackers = self.trackers();
        let question = trackers.question();
        let sql =
            format!("SELECT @@sql_mode,@@character_set_client,@@autocommit,{question} LIMIT 1");
        let row = self.ask(connection, &sql, Disturbs::Both).await?.first_row();
        let [sql_mode, charset, autocommit, values @ ..] = row.as_slice() else {
            return Ok(());
        };
        trackers.learn(values, had_own);
        if let Some(teller) = &mut self.teller {
            teller.want(Arc::new(trackers.wanted()));
        }
        self.trackers = Some(Box::new(trackers));
        self.carry_gtids();
        // Set beside the trackers, it may have been told to nobody.
        self.set_autocommit(autocommit == "1");
        let (known_mode, known_charset) = (self.image.get("sql_mode"), self.image.client_charset());
        let known = [known_mode.map(str::to_owned), known_charset.map(str::to_owned)];
        let now = [("sql_mode", sql_mode), ("character_set_client", charset)];
        for (known, (name, value)) in known.iter().zip(now) {
            if known.as_ref().is_some_and(|known| known != value) {
                self.image.set(name, value);
                connection.image.set(name, value);
            }
        }
        self.mode = Mode::new(sql_mode, charset, &self.facts.own_version);
        Ok(())
    }
}

/// Whether trackers were set unseen: in a routine, or by EXECUTE.
fn tells_trackers(summary: &Summary) -> bool {
    let is_tracker = |tracked: &Tracked| matches!(tracked, Tracked::Variable { name, .. } if name.starts_with("session_track_"));
    summary.tracked.iter().any(is_tracker)
}

//! What Fairlane itself asks a connection after a statement, while the client already has its
//! answer: things that only this connection knows and nothing reported.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::writes::{LOG, SERVER};
use super::{hides_wait, in_order, is_wait, may_have_found_its_table};
use crate::backend::{Connection, Failure, Ran, means_the_same};
use crate::client::Session;
use crate::client::diagnostics::Disturbs;
use crate::client::diagnostics::warnings::TELL;
use crate::client::statement::Work;
use crate::protocol::response::Summary;
use crate::protocol::status::{Status, Tracked};
use crate::protocol::{Command, code};
use crate::sql::{self, Class, Effects, Leading, Mode, Needs};
use crate::state::Pin;
use crate::state::image::CHARSETS;

/// ER_TABLE_EXISTS_ERROR, as a list of warnings has it.
const TABLE_EXISTS: &str = "1050";

impl Session {
    /// Asks for what is missing. With `keeps` the connection stays, and can be asked later.
    pub(in crate::client) async fn settle(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
        keeps: bool,
        on_primary: bool,
    ) -> Result<(), Failure> {
        let effects = work.verdict.effects;
        if self.is_released || connection.is_restricted {
            return Ok(());
        }
        // MySQL warns of COM_FIELD_LIST, which is to go, and does not say so in its answer.
        let warns_untold = !self.facts.is_mariadb() && work.command == Command::FieldList;
        let has_new = summary.had_warnings || summary.error.is_some() || warns_untold;
        connection.residue.is_dirty |= warns_untold;
        self.settle_list(connection, work, has_new).await?;
        self.settle_created(connection, work, summary).await?;
        // Before anything else that is asked makes the server tell.
        let asks = may_have_left(work, summary) || self.may_have_switched(work, summary);
        let has_other_charset = asks && Box::pin(self.learn_before_error(connection)).await?;
        // Character sets are tracked without the collation that came with them.
        let asks_collation = (effects.intersects(Effects::COLLATION | Effects::NAMES)
            && summary.error.is_none()
            || changes_charset(&summary.tracked))
            && !self.knows_names(connection, work)
            || has_other_charset;
        self.note_conditions(work, summary, has_new);
        // What is set beside trackers is asked for with them.
        let asks_bare = self.facts.is_mariadb()
            && effects.contains(Effects::BARE_VARIABLE)
            && !effects.contains(Effects::TRACKERS)
            && summary.error != Some(code::PARSE_ERROR);
        let asks_bits = self.asks_bits(work, summary);
        let may_have_changed_unseen =
            effects.contains(Effects::OPAQUE) && !connection.deprecates_eof();
        let is_passing = effects.contains(Effects::SET_STATEMENT)
            || !self.facts.is_mariadb() && leaves_untold(connection, work, summary);
        let is_beside = is_passing && effects.contains(Effects::OPAQUE);
        let asks_wait = self.asks_wait(work, summary);
        // After a USE that fails it has yet to choose the session's schema, which ends its list.
        let has_moved = summary.error.is_some() && connection.image.schema != self.image.schema;
        let owes_look = keeps && self.owes_look(connection, work, summary);
        let leaves_list = !keeps
            || has_moved
            || owes_look
            || asks_wait
            || self.needs_own_trackers(work)
            || asks_collation
            || asks_bare
            || asks_bits
            || is_beside
            || (is_passing || may_have_changed_unseen) && !self.facts.is_mariadb();
        if leaves_list && self.has_list_to_take(work, summary) {
            let counted = Some(summary).filter(|_| has_new && !warns_untold);
            let taken = self.take_list(connection, (work, summary), (counted, is_passing));
            Box::pin(taken).await?;
        }
        self.settle_trackers(connection, work, summary).await?;
        if asks_wait {
            Box::pin(self.learn_wait(connection)).await?;
        }
        if asks_bare {
            Box::pin(self.learn_bare(connection, work)).await?;
        }
        if asks_bits {
            Box::pin(self.learn_bits(connection, work)).await?;
        }
        if asks_collation {
            let names = effects.contains(Effects::NAMES).then_some(work);
            Box::pin(self.learn_collation(connection, names)).await?;
        }
        if is_passing {
            let beside = is_beside.then_some(&*summary.tracked);
            let knows_names = effects.contains(Effects::NAMES) && summary.error.is_none();
            Box::pin(self.let_pass(connection, beside, knows_names)).await?;
        } else if may_have_changed_unseen {
            Box::pin(self.learn_untold(connection)).await?;
        }
        if !keeps && connection.residue.has_to_tell == Some(self.life) {
            Box::pin(self.learn_position(connection)).await?;
        }
        if self.under_way.may_be_unchanged || owes_look || !keeps && connection.ran != Ran::Plain {
            let may_call = self.may_have_called(work, summary);
            Box::pin(self.settle_call(connection, work, (keeps, owes_look, may_call))).await?;
        }
        let keeps = keeps || !self.pins.is_empty();
        connection.residue.is_dirty &= keeps;
        match self.diagnostics.is_insert_id_stale && !keeps {
            true => self.settle_insert_id(connection, on_primary).await,
            false => Ok(()),
        }
    }

    /// Whether settling may ask more after `work` than for warnings and counts: without an answer nobody knows what
    /// the session has, and going on would be with something else. Its own server's connection is lost to a client, too.
    pub(super) fn asks_state(
        &self,
        connection: &Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) -> bool {
        let verdict = work.verdict;
        let sets = Effects::OPAQUE
            | Effects::SET_STATEMENT
            | Effects::TRACKERS
            | Effects::BARE_VARIABLE
            | Effects::COLLATION
            | Effects::NAMES;
        let is_set =
            |told: &Tracked| matches!(told, Tracked::Variable { name, .. } if name != "last_gtid");
        verdict.class == Class::Session
            || verdict.statements > 1
            || verdict.effects.intersects(sets)
            || verdict.needs.contains(Needs::TRACKERS)
            || summary.tracked.iter().any(is_set)
            || leaves_untold(connection, work, summary)
            || connection.ran != Ran::Plain
            || connection.residue.has_to_tell == Some(self.life)
            || self.diagnostics.is_insert_id_stale
    }

    /// Whether the connection alone knows the list of warnings or one of the counts.
    fn has_list_to_take(&self, work: &Work<'_>, summary: &Summary) -> bool {
        self.diagnostics.are_on_connection
            || self.diagnostics.is_found_rows_stale()
            || hides_row_count(work, summary)
    }

    /// Takes the list of warnings and the counts off a connection that is about to be asked something, or left.
    async fn take_list(
        &mut self,
        connection: &mut Connection,
        (work, summary): (&Work<'_>, &Summary),
        (counted, is_passing): (Option<&Summary>, bool),
    ) -> Result<(), Failure> {
        if hides_row_count(work, summary) {
            self.learn_row_count(connection).await?;
        }
        let asks_count = self.diagnostics.is_found_rows_stale();
        if asks_count && self.facts.is_mariadb() {
            self.learn_found_rows(connection).await?;
        }
        if self.diagnostics.are_on_connection {
            self.take_warnings(connection, (counted, is_passing)).await?;
        }
        if asks_count && self.diagnostics.is_found_rows_stale() {
            self.learn_found_rows(connection).await?;
        }
        Ok(())
    }

    /// LAST_INSERT_ID() on a connection that goes to others is asked for, or left to be read later.
    async fn settle_insert_id(
        &mut self,
        connection: &mut Connection,
        on_primary: bool,
    ) -> Result<(), Failure> {
        // One that is unread elsewhere is not to be forgotten for this one.
        let may_leave = on_primary && self.diagnostics.unread.is_none();
        if may_leave && connection.insert_id == Some(self.diagnostics.insert_id) {
            self.leave_insert_id(connection);
            return Ok(());
        }
        Box::pin(self.learn_insert_id(connection)).await
    }

    /// Takes what was set for a statement alone for what it is, and keeps what was set beside it; what a SET NAMES
    /// has come to has been asked for where the session `knows_names`.
    async fn let_pass(
        &mut self,
        connection: &mut Connection,
        beside: Option<&[Tracked]>,
        knows_names: bool,
    ) -> Result<(), Failure> {
        let image = connection.image.clone();
        let exchange = self.prompt(connection).await?;
        connection.image = image;
        // The statement's own answer has the flags of the passing sql_mode.
        self.take_status(&exchange);
        let Some(told) = beside else { return Ok(()) };
        // Which of them are passing nobody says.
        let told = told.iter().chain(&exchange.tracked);
        if told.clone().any(|tracked| *tracked == Tracked::StateChanged) {
            self.pins.add(Pin::StateChanged);
        }
        // By its value the character set of results would lose its collation.
        let is_to_set =
            |name: &str| is_settled_by_value(name) && !(knows_names && CHARSETS.contains(&name));
        let names = told.filter_map(|tracked| match tracked {
            Tracked::Variable { name, .. } if is_to_set(name) => Some(&**name),
            _ => None,
        });
        let names: BTreeSet<&str> = names.collect();
        self.track_again(connection, None, names.into_iter()).await
    }

    /// What a statement has changed and not told.
    async fn learn_untold(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let summary = self.prompt(connection).await?;
        // An error has told nothing of the transaction that it may have left open.
        self.take_status(&summary);
        let tracked = summary.tracked;
        if tracked.contains(&Tracked::StateChanged) {
            self.pins.add(Pin::StateChanged);
            self.image = connection.image.clone();
            if changes_charset(&tracked) {
                self.learn_collation(connection, None).await?;
            }
        }
        Ok(())
    }

    /// Whether a CREATE TABLE has counted rows is told by the list of warnings, which stays, and so does FOUND_ROWS().
    async fn settle_created(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) -> Result<(), Failure> {
        if !self.facts.is_mariadb() || !may_have_found_its_table(work, summary) {
            return Ok(());
        }
        let answer = Box::pin(self.ask(connection, "SHOW WARNINGS", Disturbs::RowCount)).await?;
        let rows = answer.rows();
        let is_there = |row: &Vec<String>| row.get(1).is_some_and(|code| code == TABLE_EXISTS);
        if !rows.is_empty() && !rows.iter().any(is_there) {
            self.diagnostics.note_found_unseen();
        }
        Ok(())
    }

    /// What was done before an error, which tells nothing, or before rows; whether a character set was chosen, whose
    /// collation is to be asked for. The list of warnings stays.
    pub(in crate::client) async fn learn_before_error(
        &mut self,
        connection: &mut Connection,
    ) -> Result<bool, Failure> {
        let image = connection.image.clone();
        let mut told = match self.facts.is_mariadb() {
            true => self.ask(connection, TELL, Disturbs::RowCount).await?.summary,
            false => self.ping(connection).await?.summary,
        };
        connection.image = image;
        told.tracked.retain(|tracked| !self.is_of_question(tracked));
        self.take_late(connection, &told);
        Ok(changes_charset(&told.tracked))
    }

    /// Whether something is told just because [`TELL`] sets it.
    fn is_of_question(&self, tracked: &Tracked) -> bool {
        match tracked {
            Tracked::Variable { name, value } if name == "sql_select_limit" => {
                self.image.get(name).or_else(|| self.facts.variable(name)) == Some(&**value)
            }
            // MariaDB's question sets something; MySQL's does not.
            Tracked::StateChanged => self.facts.is_mariadb(),
            _ => false,
        }
    }

    /// Takes over what an answer to Fairlane itself tells of what was done before.
    pub(in crate::client) fn take_late(&mut self, connection: &mut Connection, told: &Summary) {
        let was_open = self.status.contains(Status::IN_TRANS);
        // A statement that could not be prepared there leaves it in the sql_mode it was to be prepared in.
        let has_own_mode = connection.image.get("sql_mode") == self.image.get("sql_mode");
        let kept = if has_own_mode { Status::empty() } else { Status::SQL_MODES };
        if told.has_status {
            self.status = (told.status - kept) | (self.status & kept);
        }
        self.is_status_told = told.has_status;
        if told.has_status && !self.status.contains(Status::IN_TRANS) && !connection.base.only_reads
        {
            self.writes.hold_back(false);
        }
        if let Some(teller) = &mut self.teller {
            teller.keep(&told.tracked);
        }
        // What fails half-way tells what it has set in the next answer; how long MariaDB was told to wait
        // for a lock is the statement's own.
        self.characteristics.start();
        for tracked in in_order(&told.tracked) {
            match tracked {
                Tracked::Variable { name, .. } if self.facts.is_mariadb() && is_wait(name) => {}
                Tracked::Variable { name, value } => {
                    if matches!(&**name, LOG | SERVER) {
                        self.writes.note_unlogged();
                    }
                    self.absorb_variable(connection, name, value);
                }
                Tracked::Schema(_) => self.absorb_schema(connection, tracked),
                Tracked::Characteristics(text) => self.absorb_characteristics(text),
                Tracked::TransactionState(_) | Tracked::Gtids(_) | Tracked::StateChanged => {}
            }
        }
        self.turn(was_open, false);
        self.notice_changes(&told.tracked);
    }

    /// What a function in a view has set on a connection that is about to be left, if it was not told yet.
    pub(in crate::client) async fn learn_left(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        let mut tracked = self.ask(connection, TELL, Disturbs::RowCount).await?.summary.tracked;
        // The question's own.
        tracked.retain(|tracked| !matches!(tracked, Tracked::Variable { name, .. } if name == "sql_select_limit"));
        if let Some(teller) = &mut self.teller {
            teller.keep(&tracked);
        }
        for tracked in &tracked {
            if let Tracked::Variable { name, value } = tracked {
                self.absorb_variable(connection, name, value);
            }
        }
        self.notice_changes(&tracked);
        if changes_charset(&tracked) {
            self.learn_collation(connection, None).await?;
        }
        Ok(())
    }

    /// What a write with rows has had no room to tell. Nobody else finds out whose it is.
    async fn learn_position(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let told = connection.set_aside(TELL).await?.summary;
        if told.error.is_none() {
            connection.residue.has_to_tell = None;
            self.keep_untold(&told.tracked);
        }
        Ok(())
    }

    /// The status flags of an answer to Fairlane itself, which may be that to a KILL of it: that has none.
    pub(in crate::client) fn take_status(&mut self, summary: &Summary) {
        match summary.has_status {
            true => self.status = summary.status,
            false => self.is_status_told = false,
        }
    }

    /// Has the server tell what its trackers still have to tell: it comes with the next OK packet.
    async fn prompt(&mut self, connection: &mut Connection) -> Result<Summary, Failure> {
        // MySQL finds a row, which it sends nobody.
        let disturbs = match self.facts.is_mariadb() {
            true => Disturbs::RowCount,
            false => Disturbs::Both,
        };
        let summary = self.ask(connection, "DO 0", disturbs).await?.summary;
        if let Some(teller) = &mut self.teller {
            teller.keep(&summary.tracked);
        }
        Ok(summary)
    }

    /// Whether a SET TRANSACTION has had its transaction, and on MySQL whatever else an answer has left
    /// untold: it comes with the next change that is tracked (MariaDB), or the next OK packet (MySQL).
    pub(in crate::client) async fn learn_characteristics(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
        summary: &Summary,
    ) -> Result<(), Failure> {
        let image = connection.image.clone();
        let mut tracked = match self.facts.is_mariadb() {
            true => self.ask(connection, TELL, Disturbs::RowCount).await?.summary.tracked,
            // No statement: the list of warnings stays.
            false => self.ping(connection).await?.summary.tracked,
        };
        let is_changed = tracked.contains(&Tracked::StateChanged);
        if !self.facts.is_mariadb() && work.verdict.effects.contains(Effects::OPAQUE) && is_changed
        {
            // Nothing is left for `learn_untold`.
            self.pins.add(Pin::StateChanged);
            self.image = connection.image.clone();
        } else {
            connection.image = image;
            tracked.retain(|tracked| !matches!(tracked, Tracked::Variable { .. }));
        }
        if !self.facts.is_mariadb() && summary.error.is_none() {
            // See `owe_schema`.
            tracked.retain(|tracked| !matches!(tracked, Tracked::Schema(_)));
        }
        if let Some(teller) = &mut self.teller {
            teller.keep(&tracked);
        }
        for tracked in &tracked {
            match tracked {
                Tracked::Characteristics(text) => self.absorb_characteristics(text),
                // Nothing is left for `learn_before_error`.
                Tracked::Schema(_) if summary.error.is_some() => {
                    self.absorb_schema(connection, tracked);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether what a statement told of how long locks are waited for may be passing.
    fn asks_wait(&self, work: &Work<'_>, summary: &Summary) -> bool {
        let is_told =
            |tracked: &Tracked| matches!(tracked, Tracked::Variable { name, .. } if is_wait(name));
        self.facts.is_mariadb() && hides_wait(work) && summary.tracked.iter().any(is_told)
    }

    /// How long locks are waited for now.
    async fn learn_wait(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let question = "SELECT @@lock_wait_timeout,@@innodb_lock_wait_timeout LIMIT 1";
        let answer = self.ask(connection, question, Disturbs::Both).await?;
        if let [tables, rows] = answer.first_row().as_slice() {
            for image in [&mut self.image, &mut connection.image] {
                image.set("lock_wait_timeout", tables);
                image.set("innodb_lock_wait_timeout", rows);
            }
        }
        Ok(())
    }

    /// Takes over what a SET NAMES came to, if its text was seen on this connection before.
    fn knows_names(&mut self, connection: &mut Connection, work: &Work<'_>) -> bool {
        if work.command != Command::Query || !means_the_same(connection.image.variables()) {
            return false;
        }
        let Some((charset, collation)) = connection.names.get(work.sql) else { return false };
        for image in [&mut self.image, &mut connection.image] {
            image.set_names((&charset, &collation), &connection.base);
        }
        true
    }

    /// Has MariaDB track variables that were set as `@@x`, which it does not do by itself: each is
    /// given its own value in a form that is tracked.
    async fn learn_bare(
        &mut self,
        connection: &mut Connection,
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        let names = self.bare_names(work, self.mode_of(work));
        let leaves_out = |name: &Cow<'_, str>| {
            [LOG, SERVER].iter().any(|known| name.eq_ignore_ascii_case(known))
        };
        if work.verdict.statements > 1 && names.iter().any(leaves_out) {
            self.writes.note_unlogged();
        }
        self.track_again(connection, None, names.iter().map(|name| &**name)).await
    }

    /// Names of the variables that `work`, read so, has set without their being told.
    pub(in crate::client) fn bare_names<'a>(
        &self,
        work: &'a Work<'_>,
        mode: Mode,
    ) -> Vec<Cow<'a, str>> {
        let sql = work.prepared.as_ref().map_or(work.sql, |prepared| &prepared.key.sql);
        let names = sql::bare_variables(sql, mode).into_iter();
        names.map(String::from_utf8_lossy).collect()
    }

    /// Gives variables their own values in a form that is tracked, behind a SET of what tracks them.
    pub(in crate::client) async fn track_again(
        &mut self,
        connection: &mut Connection,
        trackers: Option<String>,
        names: impl Iterator<Item = &str>,
    ) -> Result<(), Failure> {
        let is_plain =
            |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let mut set = trackers.clone().unwrap_or_default();
        let length = set.len();
        for name in names.filter(is_plain) {
            let name = keeping_collation(name);
            set.push_str(if set.is_empty() { "SET " } else { "," });
            set.push_str(&format!("SESSION `{name}`=@@SESSION.`{name}`"));
        }
        if set.len() == length {
            return connection.track(trackers).await;
        }
        let exchange = self.ask(connection, &set, Disturbs::Both).await?;
        if exchange.summary.error.is_some() {
            // Not one the session has for itself, or one that can't be set twice.
            connection.residue.is_dirty = true;
            self.pins.add(Pin::StateChanged);
            connection.track(trackers).await?;
        }
        if exchange.summary.warnings > 0 {
            // Nobody's; and so it will be whenever the session's state is carried.
            Box::pin(connection.clear_warnings()).await?;
            self.image_warns = true;
            connection.residue.image_warns = true;
        }
        for tracked in in_order(&exchange.summary.tracked) {
            if let Tracked::Variable { name, value } = tracked {
                self.absorb_variable(connection, name, value);
            }
        }
        self.notice_changes(&exchange.summary.tracked);
        if changes_charset(&exchange.summary.tracked) {
            self.learn_collation(connection, None).await?;
        }
        Ok(())
    }

    /// What collation the connection has now, also for results if it is that of a SET NAMES,
    /// which is remembered then.
    pub(in crate::client) async fn learn_collation(
        &mut self,
        connection: &mut Connection,
        names: Option<&Work<'_>>,
    ) -> Result<(), Failure> {
        let question = "SELECT @@collation_connection,@@character_set_connection,\
                        @@character_set_client,@@character_set_results LIMIT 1";
        let answer = self.ask(connection, question, Disturbs::Both).await?;
        let row = answer.first_row();
        let [collation, charset, client, results] = row.as_slice() else { return Ok(()) };
        for image in [&mut self.image, &mut connection.image] {
            if names.is_none() {
                image.set("collation_connection", collation);
                continue;
            }
            image.set_names((charset, collation), &connection.base);
            // The same SET may have set these to others.
            for (name, value) in
                [("character_set_client", client), ("character_set_results", results)]
            {
                if value != charset {
                    image.set(name, value);
                }
            }
        }
        if let Some(work) = names
            && (client, results) == (charset, charset)
            && work.command == Command::Query
            && means_the_same(connection.image.variables())
        {
            connection.names.remember(work.sql, charset, collation);
        }
        Ok(())
    }

    /// All that only this connection knows; `counted` tells how many warnings there are.
    pub(in crate::client) async fn learn_all(
        &mut self,
        connection: &mut Connection,
        counted: Option<&Summary>,
    ) -> Result<(), Failure> {
        if self.diagnostics.is_found_rows_stale() && self.facts.is_mariadb() {
            self.learn_found_rows(connection).await?;
        }
        if self.diagnostics.are_on_connection {
            self.take_warnings(connection, (counted, false)).await?;
        }
        if self.diagnostics.is_found_rows_stale() {
            self.learn_found_rows(connection).await?;
        }
        if self.diagnostics.is_insert_id_stale {
            self.learn_insert_id(connection).await?;
        }
        Ok(())
    }

    /// What ROW_COUNT() is where a bulk execution has not told it.
    async fn learn_row_count(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        let answer = self.ask(connection, "SELECT ROW_COUNT() LIMIT 1", Disturbs::Both).await?;
        if let [count] = answer.first_row().as_slice() {
            self.diagnostics.note_row_count(count.parse().unwrap_or(-1));
        }
        Ok(())
    }

    /// What FOUND_ROWS() is now; before anything else is asked but, of MySQL, the list of warnings.
    pub(in crate::client) async fn learn_found_rows(
        &mut self,
        connection: &mut Connection,
    ) -> Result<(), Failure> {
        let answer = self.ask(connection, "SELECT FOUND_ROWS() LIMIT 1", Disturbs::Both).await?;
        let found_rows = match answer.first_row().as_slice() {
            [count] => count.parse().unwrap_or(0),
            _ => self.diagnostics.found_rows(),
        };
        self.diagnostics.note_found_rows(found_rows);
        if !self.facts.is_mariadb() {
            // Its list of warnings has one of the question now.
            connection.clear_warnings().await?;
        }
        Ok(())
    }
}

/// Whether the answer to a bulk execution does not tell ROW_COUNT(): results of single rows are not counted as one,
/// and an UPDATE or DELETE is run for each set of values by itself. The answer has the sum, ROW_COUNT() the last one.
fn hides_row_count(work: &Work<'_>, summary: &Summary) -> bool {
    let is_by_set = matches!(work.verdict.leading, Leading::Update | Leading::Delete);
    work.command == Command::StmtBulkExecute
        && (summary.has_result_set || is_by_set && summary.error.is_none())
}

/// Whether a text that has failed may have left a routine's schema again, of which it has told.
fn may_have_left(work: &Work<'_>, summary: &Summary) -> bool {
    summary.error.is_some()
        && work.verdict.statements > 1
        && work.verdict.effects.contains(Effects::OPAQUE)
        && summary.tracked.iter().any(|tracked| matches!(tracked, Tracked::Schema(_)))
}

/// The variable to set in the place of one of a character set, which would take the set's default
/// collation: that sets both.
fn keeping_collation(name: &str) -> Cow<'_, str> {
    let lower = name.to_ascii_lowercase();
    match lower.strip_prefix("character_set_") {
        Some(of @ ("connection" | "database" | "server")) => format!("collation_{of}").into(),
        _ => name.into(),
    }
}

/// Whether a variable can be set to the value it has, and is no different for it.
fn is_settled_by_value(name: &str) -> bool {
    let is_other = matches!(name, "last_gtid" | "last_insert_id" | "identity" | "autocommit");
    !is_other && !name.starts_with("session_track_")
}

/// Whether a statement has chosen a character set: by SET NAMES, by SET CHARACTER SET, which takes
/// the schema's collation, or by a variable.
pub(in crate::client) fn changes_charset(tracked: &[Tracked]) -> bool {
    let is_charset = |tracked: &Tracked| matches!(tracked, Tracked::Variable { name, .. } if name == "character_set_connection");
    tracked.iter().any(is_charset)
}

/// Whether MySQL will tell with the next OK packet, which may be another session's, of a variable that
/// a hint has set for this statement alone: errors tell nothing, nor do EOF packets.
fn leaves_untold(connection: &Connection, work: &Work<'_>, summary: &Summary) -> bool {
    let is_silent = summary.error.is_some() || !connection.deprecates_eof();
    is_silent && sql::has_set_var(work.sql)
}

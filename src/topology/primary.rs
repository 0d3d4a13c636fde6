//! The primary's control connection: greeting, facts, position, accounts, kills.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::Shared;
use super::account::{self, ACCOUNTS_GRANT, Accounts, MAX_ACCOUNTS, RELOAD_SPACING};
use super::control::{Backoff, Doubt, Served, wait};
use super::facts::{LogFilter, ServerFacts, shaping};
use super::greeting::Greeting;
use super::health::FAILURES_UNTIL_DOWN;
use super::line::{Line, Trouble};
use super::probe::{self, LogEnd};
use crate::protocol::Family;
use crate::route::view::{BackendId, Rotation};

pub(super) struct Primary<'a> {
    shared: &'a Shared,
    /// The greeting and the start of the server that sent it; asked for anew when that is another one, has
    /// restarted since, or does not tell.
    greeting: Option<(Greeting, Option<String>)>,
    /// See [`ServerFacts::log_filter`].
    log_filter: Option<LogFilter>,
    /// Where its binary log ended at the last probe, if it tells.
    log_end: Option<LogEnd>,
    /// It was reset since the last reading.
    is_reset: bool,
    doubt: Doubt,
    /// Failed probes in a row.
    failures: u32,
    /// What was last logged about loading the accounts.
    account_error: Option<String>,
    /// What was last logged about `read_only`.
    is_read_only: bool,
    /// What was last logged about GTIDs.
    lacks_gtids: bool,
    /// What was last logged about accounts that are too many.
    are_more_accounts: bool,
}

impl<'a> Primary<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            greeting: None,
            log_filter: None,
            log_end: None,
            is_reset: false,
            doubt: Doubt::default(),
            failures: 0,
            account_error: None,
            is_read_only: false,
            lacks_gtids: false,
            are_more_accounts: false,
        }
    }

    /// Connects and serves until the connection is lost.
    pub(super) async fn serve(&mut self, line: &mut Line, backoff: &mut Backoff) -> Served {
        let (mut greeting, mut family, is_other) = self.connect(line).await?;
        let desk = self.shared.desk(BackendId::PRIMARY);
        self.doubt.looked(desk, is_other);
        if is_other {
            tracing::warn!("the primary's address leads to another server, or it has restarted");
        }
        let routing = &self.shared.settings.routing;
        desk.kills.open();
        // Accounts first: whoever waits for the facts wants to log clients in.
        let ticket = self.shared.ledger.begin();
        let mut accounts_loaded = self.load_accounts(line, family, ticket).await?;
        let readings = &self.shared.readings;
        let (mut next_probe, mut reading_began) = (Instant::now(), Instant::now());
        loop {
            desk.kills.work(line).await?;
            self.shared.locks.work(line, family).await?;
            if Instant::now() >= next_probe || self.doubt.is_due(desk) {
                if line.was_denied() || self.doubt.is_due(desk) {
                    let is_other;
                    (greeting, family, is_other) = self.connect(line).await?;
                    self.doubt.looked(desk, is_other);
                    if is_other {
                        // What is queued was for the other one.
                        desk.kills.close();
                        desk.kills.open();
                        tracing::warn!("the primary's address leads to another server");
                        // Its accounts may be others, too.
                        let ticket = self.shared.ledger.begin();
                        accounts_loaded = self.load_accounts(line, family, ticket).await?;
                    }
                }
                reading_began = Instant::now();
                // Before the facts, with which clients are let in.
                self.read_position(line, family).await?;
                if self.has_shorter_log(line, family).await? {
                    self.meet_anew();
                    self.read_position(line, family).await?;
                }
                if self.probe(line, &greeting, family).await? {
                    backoff.reset();
                }
                next_probe = Instant::now() + routing.probe_interval;
            } else if readings.due(reading_began).is_some_and(|due| Instant::now() >= due) {
                reading_began = Instant::now();
                self.read_position(line, family).await?;
            }
            let mut accounts_due = accounts_loaded + routing.accounts_refresh;
            if self.shared.ledger.is_wanted() {
                accounts_due = accounts_due.min(accounts_loaded + RELOAD_SPACING);
            }
            if Instant::now() >= accounts_due {
                let ticket = self.shared.ledger.begin();
                if self.shared.ledger.is_wanted() {
                    self.probe(line, &greeting, family).await?;
                }
                accounts_loaded = self.load_accounts(line, family, ticket).await?;
                continue;
            }
            let due = readings.due(reading_began).unwrap_or(next_probe);
            wait(&desk.wake, next_probe.min(accounts_due).min(due)).await;
        }
    }

    /// The connection is gone. Who refuses another one is there; who only breaks it off, or has no address any
    /// more, need not be the one that was silent.
    pub(super) fn lost(&self, trouble: &Trouble) {
        self.shared.publish_lost(BackendId::PRIMARY);
        match trouble {
            Trouble::Silent(_) => self.shared.publish_primary_silent(true),
            Trouble::TurnedAway(_) => self.shared.publish_primary_silent(false),
            Trouble::Refused { .. } | Trouble::Lost(_) => {}
        }
    }

    /// Opens the control connection, and reads the greeting if that is not known or may be of the
    /// server's last run: between two logins, so that the server forgives it.
    /// Whether it is another server, or another run of it, than before, comes with them.
    async fn connect(&mut self, line: &mut Line) -> Result<(Greeting, Family, bool), Trouble> {
        line.open().await?;
        self.shared.publish_primary_silent(false);
        let family = probe::family(line).await?;
        probe::compression(line, &self.shared.settings.backends[BackendId::PRIMARY.index()])
            .await?;
        let (is_other, started) = self.arrive(line, family).await?;
        if let Some((greeting, known)) = &self.greeting
            && !is_other
            && known.is_some()
            && *known == started
        {
            return Ok((greeting.clone(), family, is_other));
        }
        let greeting = line.greeting().await?;
        line.open().await?;
        let (is_yet_another, started) = self.arrive(line, family).await?;
        self.greeting = Some((greeting.clone(), started));
        Ok((greeting, family, is_other || is_yet_another))
    }

    /// As [`Shared::arrive`]; of another one nothing is known yet.
    async fn arrive(
        &mut self,
        line: &mut Line,
        family: Family,
    ) -> Result<(bool, Option<String>), Trouble> {
        self.shared.is_primary_met.store(false, Ordering::Release);
        let (is_other, started) = self.shared.arrive(BackendId::PRIMARY, line, family).await?;
        if is_other {
            // Before whatever may fail: nobody says so a second time.
            (self.greeting, self.log_end, self.is_reset) = (None, None, false);
            self.shared.forget_primary();
        }
        self.shared.is_primary_met.store(true, Ordering::Release);
        self.log_filter = probe::log_filter(line, family).await?;
        Ok((is_other, started))
    }

    async fn read_position(&mut self, line: &mut Line, family: Family) -> Result<(), Trouble> {
        let readings = &self.shared.readings;
        let Some(mut reading) = readings.ask(line, family).await? else { return Ok(()) };
        let before = readings.last();
        let mut goes_on = true;
        if readings.goes_back(&reading) || reading.has_lost_log(&before) {
            let end = probe::log_end(line, family).await?;
            // RESET MASTER TO may make it longer.
            goes_on =
                self.log_end.is_some() && end >= self.log_end && !reading.begins_anew(&before);
            if !goes_on {
                // It is known now.
                self.log_end = end;
            }
        }
        let is_met = readings.first().is_some();
        if !goes_on {
            self.meet_anew();
        } else if is_met {
            reading.go_on(&before);
        } else {
            reading.keep_numbering(&before);
        }
        if std::mem::take(&mut self.is_reset) {
            reading.begin_anew(&before);
        }
        if readings.take(reading) {
            self.shared.wake_replicas();
        }
        Ok(())
    }

    /// Whether its binary log ends earlier than at the last probe. One that has been a replica need not tell by its
    /// position that it was reset: that has what it applied before.
    async fn has_shorter_log(&mut self, line: &mut Line, family: Family) -> Result<bool, Trouble> {
        let end = probe::log_end(line, family).await?;
        let is_shorter = end.is_some() && end < self.log_end;
        self.log_end = end;
        Ok(is_shorter)
    }

    /// It was reset: what replicas have in common with it is not known any more.
    fn meet_anew(&mut self) {
        if self.shared.readings.first().is_some() {
            self.is_reset = true;
            tracing::warn!(
                "the primary has not all transactions that it had, as after RESET MASTER: replicas take \
                 no reads until they are compared with it"
            );
        }
        self.shared.forget_primary();
    }

    /// Whether the server answered well.
    async fn probe(
        &mut self,
        line: &mut Line,
        greeting: &Greeting,
        family: Family,
    ) -> Result<bool, Trouble> {
        let answer = match probe::primary(line, family).await {
            Ok(answer) => answer,
            Err(refused @ Trouble::Refused { .. }) => {
                self.failures += 1;
                if self.failures == FAILURES_UNTIL_DOWN {
                    tracing::warn!(error = %refused, "the primary refuses probes");
                    self.shared.publish_primary(false);
                }
                return Ok(false);
            }
            Err(lost) => return Err(lost),
        };
        self.failures = 0;
        let told = (answer.seen_as, self.log_filter.clone());
        let facts = ServerFacts::new(greeting, family, told, answer.variables);
        self.tell_read_only(&facts);
        self.tell_gtids(&facts);
        // Whoever waits for the facts finds the primary up.
        self.shared.publish_primary(true);
        self.shared.publish_facts(facts);
        Ok(true)
    }

    fn tell_read_only(&mut self, facts: &ServerFacts) {
        let is_read_only = !matches!(facts.variable("read_only"), Some("0" | "OFF" | "") | None);
        if is_read_only && !self.is_read_only {
            tracing::warn!("the primary is read-only: is it still the primary?");
        }
        match is_read_only {
            true => self.doubt.suspect(),
            false => self.doubt.trust(),
        }
        self.is_read_only = is_read_only;
    }

    fn tell_gtids(&mut self, facts: &ServerFacts) {
        if !facts.has_gtids && !self.lacks_gtids {
            tracing::warn!(
                "the primary has not gtid_mode = ON: nobody knows the positions of writes, and whoever \
                 has written reads from the primary from then on"
            );
        }
        self.lacks_gtids = !facts.has_gtids;
    }

    fn tell_too_many(&mut self, accounts: &Accounts) {
        if accounts.are_more() && !self.are_more_accounts {
            tracing::warn!(
                limit = MAX_ACCOUNTS,
                "the primary has more accounts than Fairlane loads: users of the others are refused \
                 (1045); drop accounts that nobody needs, or write a [[user]] entry for each user who \
                 is refused"
            );
        }
        self.are_more_accounts = accounts.are_more();
    }

    /// Reloads the accounts for those with a ticket up to `ticket`; when the server refuses, the
    /// old ones stay. Returns when it began.
    async fn load_accounts(
        &mut self,
        line: &mut Line,
        family: Family,
        ticket: u64,
    ) -> Result<Instant, Trouble> {
        let (began, ledger) = (Instant::now(), &self.shared.ledger);
        match account::load(line, family).await {
            Ok(accounts) => {
                tracing::debug!(count = accounts.len(), "accounts loaded");
                self.account_error = None;
                self.tell_too_many(&accounts);
                ledger.settle(ticket, Some(accounts));
            }
            Err(refused @ Trouble::Refused { .. }) => {
                let error = Some(refused.to_string());
                if self.account_error != error {
                    let left = match ledger.is_loaded() {
                        true => "the old ones stay",
                        false => "clients cannot log in",
                    };
                    tracing::warn!(
                        error = %refused,
                        "cannot read the accounts, {left}: the service account needs {ACCOUNTS_GRANT}"
                    );
                }
                self.account_error = error;
                ledger.settle(ticket, None);
            }
            Err(lost) => return Err(lost),
        }
        Ok(began)
    }
}

impl Shared {
    /// The control connection of a backend is on a server: whether that is another one than before, or
    /// another run of it, and when it has started, if it tells.
    pub(super) async fn arrive(
        &self,
        backend: BackendId,
        line: &mut Line,
        family: Family,
    ) -> Result<(bool, Option<String>), Trouble> {
        let server = probe::identity(line, family).await?;
        let started = probe::started(line, family).await?;
        let is_other = self.desk(backend).whereabouts.arrive(&server, started.as_deref());
        Ok((is_other, started))
    }

    fn publish_facts(&self, facts: ServerFacts) {
        self.has_gtids.store(facts.has_gtids, Ordering::Release);
        self.facts.send_if_modified(|known| {
            let is_new = known.as_deref() != Some(&facts);
            if is_new {
                self.doubt_replicas(known.as_deref(), &facts);
                *known = Some(Arc::new(facts));
            }
            is_new
        });
    }

    /// Replicas may differ from the primary as it is now, until they are asked: with their next probe.
    fn doubt_replicas(&self, before: Option<&ServerFacts>, now: &ServerFacts) {
        let is_other = |before: &ServerFacts| {
            shaping().any(|name| before.variable(name) != now.variable(name))
        };
        if before.is_some_and(is_other) || now.log_filter.is_some() {
            self.hold_replicas(
                Rotation::Differs,
                "it is not compared yet with the settings of the primary as they are now",
            );
        }
    }

    /// The primary is another server, has restarted or was reset: it may have lost what replicas have.
    fn forget_primary(&self) {
        self.readings.forget_first();
        self.hold_replicas(
            Rotation::Lagging,
            "it is not compared yet with the primary that is there now",
        );
    }

    /// Takes replicas out until they are looked at.
    fn hold_replicas(&self, rotation: Rotation, why: &str) {
        let mut draft = self.draft.lock();
        for replica in draft.replicas.iter_mut().filter(|it| it.rotation == Rotation::In) {
            replica.rotation = rotation;
            why.clone_into(&mut self.desk(replica.backend).why.lock());
        }
        self.view.store(Arc::new(draft.clone()));
    }
}

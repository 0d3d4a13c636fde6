//! KILL, and EXPLAIN FOR CONNECTION, with the ids clients see: those of Fairlane's sessions, which no server gives, and in the
//! server's own list of processes those of its connections.

use std::time::Duration;

use super::registry::{Entry, Place};
use super::{Session, Stop};
use crate::backend::{Connection, Exchange, Failure};
use crate::config::settings::Abandoned;
use crate::error::Error;
use crate::pool::Checkout;
use crate::protocol::response::Summary;
use crate::protocol::{Command, Family};
use crate::route::view::BackendId;
use crate::sql::{KilledUser, Reason, Verdict, explained_connection, killed_user};

use super::diagnostics::Disturbs;
use super::login::auth::host_name;
use super::login::server_error;
use super::statement::{Refusal, Work};

impl Session {
    /// Ends another session or its statement. The server that runs the statement decides whether
    /// this user may; whether it may end a session without a connection is told by its grants.
    pub(super) async fn kill_session(&mut self, query: bool, id: u64) -> Result<(), Stop> {
        let Some(target) = self.context.registry.get(id) else {
            return self.send_error(&Error::UnknownThread(id)).await;
        };
        let whom = (&*target, target.command());
        let is_own = target.labels.lock().user == self.client.user;
        let allowed = match is_own {
            // Its own user may always; and a slot may be just what there is none of.
            true if self.kill_as_service(whom, query).await => Ok(()),
            // A session ends by itself when it is told to.
            true if !query => Ok(()),
            true => {
                let killed = self.kill_there(whom, query).await;
                if matches!(killed, Ok(false)) {
                    owe(whom, query);
                }
                killed.map(|_| ())
            }
            false => self.kill_as_user(whom, query).await,
        };
        match allowed {
            Ok(()) => {}
            Err(Refusal::Error(error)) => return self.send_error(&error).await,
            Err(Refusal::Gone) => return Err(Stop::Client),
        }
        mark(&target, query);
        if target.id == self.entry.id {
            let error = match self.facts.is_mariadb() && !query {
                true => Error::ConnectionKilled,
                false => Error::Interrupted,
            };
            return self.send_error(&error).await;
        }
        self.settle_status().await?;
        self.end_list().await?;
        self.send_ok();
        Ok(())
    }

    /// For MySQL a KILL is a statement like others: it empties the list of warnings.
    async fn end_list(&mut self) -> Result<(), Stop> {
        if self.facts.is_mariadb() {
            return Ok(());
        }
        self.diagnostics.end_list();
        if std::mem::take(&mut self.diagnostics.are_on_connection)
            && let Some(mut held) = self.held.take()
        {
            let cleared = Box::pin(self.empty_list(held.connection())).await;
            self.held = Some(held);
            return cleared.map_err(|_| Stop::Fatal);
        }
        Ok(())
    }

    async fn empty_list(&mut self, connection: &mut Connection) -> Result<(), Failure> {
        if self.diagnostics.is_found_rows_stale() {
            return self.learn_found_rows(connection).await;
        }
        self.diagnostics.disturb(Disturbs::Both);
        connection.clear_warnings().await
    }

    /// A text that asks for the plan of a session's statement, with the server's id of the connection this
    /// runs on.
    pub(super) fn explain_on_server(&self, verdict: &Verdict, sql: &[u8]) -> Option<Vec<u8>> {
        if verdict.reason != Reason::ServerSpecific {
            return None;
        }
        let (at, id) = explained_connection(sql, self.mode)?;
        let Place { backend, thread_id, generation } = self.context.registry.get(id)?.place()?;
        // On another server the number may be anybody's.
        let is_there = backend.is_primary() && self.context.primary_pool().has(generation);
        let text = [&sql[..at.start], thread_id.to_string().as_bytes(), &sql[at.end..]].concat();
        is_there.then_some(text)
    }

    /// Ends the sessions of a KILL USER that a server has carried out: it knows those that have a connection.
    /// Whether this user may end the others is told by its grants, since a server that finds nobody does
    /// not say.
    pub(super) async fn kill_sessions_of_user(&mut self, work: &Work<'_>, summary: &Summary) {
        if summary.error.is_some() || work.command == Command::StmtPrepare {
            return;
        }
        let (user, host) = match killed_user(work.sql, self.mode) {
            None => return,
            Some(KilledUser::Current) => (self.client.user.as_bytes(), None),
            Some(KilledUser::Named(user, host)) => (user, host),
        };
        let names = self.context.topology.accounts().names();
        let is_meant = |target: &Entry| {
            let is_from = |host: &[u8]| {
                let own = host_name(target.client().ip(), names);
                host.eq_ignore_ascii_case(own.as_bytes())
            };
            target.labels.lock().user.as_bytes() == user && host.is_none_or(is_from)
        };
        let mut targets = self.context.registry.all();
        targets.retain(|target| is_meant(target));
        if targets.is_empty()
            || user != self.client.user.as_bytes() && !self.may_kill_others().await
        {
            return;
        }
        for target in targets {
            if target.id != self.entry.id {
                self.kill_as_service((&target, target.command()), false).await;
            }
            target.kill();
        }
    }

    async fn may_kill_others(&mut self) -> bool {
        let Ok(checkout) = self.elsewhere(BackendId::PRIMARY).await else { return false };
        let grants = ask(checkout, "SHOW GRANTS").await;
        grants.is_ok_and(|grants| may_kill_others(&grants.rows(), self.facts.family))
    }

    /// Whether it is done, or there was nothing to do.
    async fn kill_as_service(&self, whom: Whom<'_>, query: bool) -> bool {
        let (target, command) = whom;
        if query && target.stop_command(command) {
            return true;
        }
        let Some(place) = target.place() else {
            owe(whom, query);
            return true;
        };
        let Place { backend, thread_id, generation } = place;
        let aim = self.context.pool(backend).aim(thread_id);
        if !is_there_still(whom, query, place) {
            owe(whom, query);
            return true;
        }
        let topology = &self.context.topology;
        let is_done = topology.kill(backend, thread_id, query, generation).await;
        mark(target, query);
        make_sure(whom, query);
        // A connection that is killed may still be on its way back to the pool.
        if !is_done || !query {
            aim.stay();
        }
        is_done
    }

    /// By a connection of this user to the server: whether it was still there to be killed.
    async fn kill_there(&mut self, whom: Whom<'_>, query: bool) -> Result<bool, Refusal> {
        let (target, _) = whom;
        let Some(place) = target.place() else { return Ok(false) };
        let Place { backend, thread_id, generation } = place;
        let mut checkout = self.elsewhere(backend).await?;
        let pool = checkout.pool().clone();
        let aim = pool.aim(thread_id);
        // On another server the number may be anybody's.
        let is_there = pool.has(generation) && pool.has(checkout.connection().generation);
        if !is_there || !is_there_still(whom, query, place) {
            checkout.connection().residue.is_dirty = true;
            checkout.check_in();
            return Ok(false);
        }
        let sql = format!("KILL {}{thread_id}", if query { "QUERY " } else { "" });
        let answer = ask(checkout, &sql).await;
        if matches!(answer, Err(Error::LostBackend { .. })) || answer.is_ok() && !query {
            aim.stay();
        }
        answer.map(|_| mark(target, query))?;
        make_sure(whom, query);
        Ok(true)
    }

    async fn kill_as_user(&mut self, whom: Whom<'_>, query: bool) -> Result<(), Refusal> {
        let (target, command) = whom;
        let is_done = self.kill_there(whom, query).await?;
        if !is_done {
            let grants = ask(self.elsewhere(BackendId::PRIMARY).await?, "SHOW GRANTS").await?;
            if !may_kill_others(&grants.rows(), self.facts.family) {
                return Err(Error::NotOwner(u64::from(target.id)).into());
            }
        }
        // What waits, or has waited until now, hears of it only once this user is known to be allowed.
        if query
            && !target.stop_command(command)
            && !is_done
            && !self.kill_there(whom, query).await?
        {
            owe(whom, query);
        }
        Ok(())
    }

    /// A connection of this user beside the session's own.
    async fn elsewhere(&mut self, backend: BackendId) -> Result<Checkout, Refusal> {
        let demand = self.demand(self.plain_lane());
        // A server that has read a KILL carries it out.
        let is_given_up = self.context.settings.pool.abandoned == Abandoned::Kill;
        self.check_out_beside(backend, demand, is_given_up).await
    }
}

/// A session, and the number of the command that it had under way when it was to be killed.
type Whom<'a> = (&'a Entry, u64);

/// Whether a session that is aimed at is where it was, and a KILL QUERY meets the command that it is for.
fn is_there_still((target, command): Whom<'_>, query: bool, place: Place) -> bool {
    target.place() == Some(place) && !(query && target.is_over(command))
}

/// Tells a session that it is killed. While its connection is aimed at, so that it does not take the loss
/// of that for one of the server's.
fn mark(target: &Entry, query: bool) {
    if !query {
        target.kill();
    }
}

/// A KILL QUERY may have overtaken the statement on its way to the server: one that has just set out is killed once more.
fn make_sure(whom: Whom<'_>, query: bool) {
    const JUST: Duration = Duration::from_millis(100);
    if whom.0.for_less_than(JUST) {
        owe(whom, query);
    }
}

/// The statement of a session was not found where it seemed to be.
fn owe((target, command): Whom<'_>, query: bool) {
    if query {
        target.owe_kill(command);
    }
}

/// The answer to a statement, if it is no error.
async fn ask(mut checkout: Checkout, sql: &str) -> Result<Exchange, Error> {
    match checkout.connection().command(Command::Query, sql.as_bytes()).await {
        Ok(exchange) => {
            checkout.connection().residue.is_dirty = true;
            checkout.check_in();
            match server_error(&exchange.bytes, exchange.summary.error) {
                Some(error) => Err(error),
                None => Ok(exchange),
            }
        }
        Err(_) => Err(Error::LostBackend { backend: checkout.pool().name().to_owned() }),
    }
}

/// Whether rows of SHOW GRANTS have what KILL wants for the sessions of others. MySQL protects those
/// of users with SYSTEM_USER, which another session may be: without it nobody is ended here.
fn may_kill_others(grants: &[Vec<String>], family: Family) -> bool {
    let has = |wanted: &str| {
        grants.iter().filter_map(|row| global_privileges(row.first()?)).any(|privileges| {
            privileges.split(',').map(str::trim).any(|it| it == wanted || it == "ALL PRIVILEGES")
        })
    };
    match family {
        Family::MariaDb => has("SUPER") || has("CONNECTION ADMIN"),
        Family::MySql => (has("SUPER") || has("CONNECTION_ADMIN")) && has("SYSTEM_USER"),
    }
}

/// The list of privileges in a row that grants some for everything.
fn global_privileges(grant: &str) -> Option<&str> {
    let (privileges, object) = grant.strip_prefix("GRANT ")?.split_once(" ON ")?;
    object.starts_with("*.* TO ").then_some(privileges)
}

#[cfg(test)]
mod tests {
    use super::may_kill_others;
    use crate::protocol::Family;

    #[test]
    fn a_grant_for_everything_and_no_name_that_looks_like_one_lets_kill_others() {
        let cases: &[(&[&str], bool, bool)] = &[
            (&["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], true, true),
            (&["GRANT `r` TO `a`@`%`", "GRANT CONNECTION ADMIN ON *.* TO `r`"], true, false),
            (&["GRANT SELECT, SUPER ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*00'"], true, false),
            (&["GRANT SUPER ON *.* TO `a`@`%`", "GRANT SYSTEM_USER ON *.* TO `a`@`%`"], true, true),
            (&["GRANT CONNECTION_ADMIN,SYSTEM_USER ON *.* TO `a`@`%`"], false, true),
            (&["GRANT ALL PRIVILEGES ON `SUPER`.* TO `a`@`%`"], false, false),
            (&["GRANT USAGE ON *.* TO `SUPER, SUPER ON *.* TO `@`%`"], false, false),
            (&["GRANT `SUPER ON *.* TO `@`%` TO `a`@`%`"], false, false),
            (&["GRANT PROXY ON ''@'%' TO 'root'@'localhost'"], false, false),
        ];
        for (grants, mariadb, mysql) in cases {
            let rows: Vec<_> = grants.iter().map(|grant| vec![(*grant).to_owned()]).collect();
            assert_eq!(may_kill_others(&rows, Family::MariaDb), *mariadb, "{grants:?}");
            assert_eq!(may_kill_others(&rows, Family::MySql), *mysql, "{grants:?}");
        }
    }
}

//! Making a connection clean: after login, and after a session that left something behind.

use std::sync::Arc;

use super::connection::{Connection, Exchange, Failure};
use super::names::NamesMemory;
use super::persona::{Persona, unhexed};
use super::routine::{LockCounts, Ran};
use crate::protocol::status::{Status, Tracked};
use crate::protocol::tracking::Reported;
use crate::protocol::{Command, Encoding, Family, Malformed, code, packet};
use crate::state::diff::diff;
use crate::state::image::AUTOCOMMIT;
use crate::state::{Base, Kept, begun, kept, own_trackers};

/// The names, which are to be the same in whatever character set answers come, in digits.
const BEGINNINGS: &str = "SELECT @@character_set_client,@@character_set_results,@@collation_connection,\
                          HEX(CONVERT(USER() USING utf8mb4)),\
                          HEX(CONVERT(CURRENT_USER() USING utf8mb4)),\
                          HEX(CONVERT(CURRENT_ROLE() USING utf8mb4)),@@sql_mode,\
                          HEX(DATABASE()),";

/// Columns of the question at set-up before those of [`begun::question`].
const OWN_COLUMNS: usize = 14;

/// Variables that have the server keep texts of statements, to show them.
pub const KEEP_TEXTS: [&str; 2] = ["profiling", "optimizer_trace"];

/// What a reset has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The connection is as after its login.
    Clean,
    /// But for the role: MariaDB (10.11) and MySQL (9.7) leave a session the one it has set, which
    /// nothing but a new login takes off for sure.
    KeepsRole,
    /// But for texts of statements, see [`Residue::keeps_texts`](super::Residue::keeps_texts).
    KeepsTexts,
    /// The server did not do it.
    Refused,
}

impl Connection {
    /// Turns the trackers on and learns what a session begins with; `false` when the server takes nothing
    /// but a new password.
    pub(super) async fn set_up(&mut self, family: Family) -> Result<bool, Failure> {
        self.image.reset_variables();
        let read_only = self.base.transaction.read_only();
        let mut own = own_trackers(family);
        if self.base.only_reads {
            // Sessions that read there have autocommit on, whatever the replica begins with.
            own.push_str(&format!(",{AUTOCOMMIT}=1,{read_only}=1"));
        }
        let mut answer = self.query(&own).await?;
        if answer.summary.error == Some(code::MUST_CHANGE_PASSWORD) {
            return Ok(false);
        }
        if answer.summary.error.is_some() && !family.is_mariadb() {
            // The tracker of GTIDs can't be set in a transaction: `init_connect` may have begun one.
            self.roll_back().await?;
            answer = self.query(&own).await?;
        }
        demand(&answer)?;
        self.reported = Reported::default();
        let identity = family.server_identity();
        let limit = if family.is_mariadb() { "@@max_statement_time" } else { "''" };
        let (kept, begun) = match self.base.only_reads {
            true => ("''".to_owned(), format!(",{}", begun::question(family))),
            false => (kept::question("session", family, self.base.transaction), String::new()),
        };
        let question = format!(
            "{BEGINNINGS}@@{read_only},{kept},{limit},@@wait_timeout,@@{AUTOCOMMIT},{identity}{begun} LIMIT 1"
        );
        let answer = self.query(&question).await?;
        // MariaDB lets SET pass.
        if answer.summary.error == Some(code::MUST_CHANGE_PASSWORD) {
            return Ok(false);
        }
        self.image.reset_variables();
        let mut row = demand(&answer)?.first_row();
        let begun = row.split_off(row.len().min(OWN_COLUMNS));
        let row = <[String; OWN_COLUMNS]>::try_from(row);
        let Ok(
            [
                client,
                results,
                collation,
                user,
                account,
                role,
                sql_mode,
                schema,
                is_read_only,
                kept,
                of_login @ ..,
                server,
            ],
        ) = row
        else {
            // It is the answer to something else.
            return Err(Malformed { what: "no row in answer to a question", offset: 0 }.into());
        };
        let name = unhexed(&schema).ok_or(Malformed { what: "name of a schema", offset: 0 })?;
        let schema = Some(name.into()).filter(|_| !schema.is_empty());
        if self.image.schema != schema {
            (self.image.schema, self.choice) = (schema, None);
        }
        let Base { transaction, only_reads, .. } = self.base;
        let sql_mode = sql_mode.as_str().into();
        let (of_login, kept) = (of_login.map(Arc::from), Kept::told(&kept));
        self.base =
            Base { client, results, collation, sql_mode, of_login, kept, transaction, only_reads };
        let is_as_global = begun.first().is_some_and(|is_as_global| is_as_global == "1");
        self.begun = is_as_global.then(|| begun.into_iter().skip(1).collect());
        self.persona = Persona::of_digits(&user, &account, &role);
        self.role = role;
        self.is_read_only = is_read_only != "0";
        self.has_begun = answer.summary.status.contains(Status::IN_TRANS);
        if self.has_begun && self.base.only_reads {
            // It would go on reading what there is now.
            self.end_begun().await?;
        }
        self.server = server;
        Ok(true)
    }

    /// Sets a restricted connection up if the password has been changed by now.
    pub async fn lift_restriction(&mut self, family: Family) -> Result<(), Failure> {
        self.is_restricted = !self.set_up(family).await?;
        Ok(())
    }

    /// Runs a statement that gives the connection other trackers, if one is needed.
    pub async fn track(&mut self, set: Option<String>) -> Result<(), Failure> {
        match self.try_track(set).await? {
            true => Ok(()),
            false => {
                Err(Malformed { what: "error in answer to a SET of trackers", offset: 0 }.into())
            }
        }
    }

    /// The same; `false` where the server refuses.
    pub async fn try_track(&mut self, set: Option<String>) -> Result<bool, Failure> {
        Ok(match set {
            Some(set) => self.query(&set).await?.summary.error.is_none(),
            None => true,
        })
    }

    /// Rolls back, drops temporary tables, locks, variables and prepared statements, and sets up
    /// anew. The schema stays; it is asked for, since a session that went away may have chosen another.
    pub async fn reset(&mut self, family: Family) -> Result<Reset, Failure> {
        let (base, role) = (self.base.clone(), self.role.clone());
        if self.command(Command::ResetConnection, &[]).await?.summary.error.is_some() {
            return Ok(Reset::Refused);
        }
        self.unread = None;
        self.residue.note_reset();
        self.ran = Ran::Plain;
        self.lock_counts = LockCounts::default();
        self.statements.clear();
        self.names = NamesMemory::default();
        self.insert_id = Some(0);
        self.image.reset_variables();
        if !self.set_up(family).await? {
            return Ok(Reset::Refused);
        }
        // A reset gives the server's global character sets, not those asked for at login; likewise limits.
        let mut now = self.image.clone();
        now.set_base(&self.base);
        now.set_of_login(&self.base, &base);
        // The mode and the like are those of now: nothing asks for them at the login.
        let Base { sql_mode, kept, .. } = self.base.clone();
        self.base = Base { sql_mode, kept, ..base };
        if let Some(set) = diff(&now, &self.image, &self.base, None).set {
            demand(&self.query(&set).await?)?;
            self.image.reset_variables();
        }
        self.image.set_servers_collation();
        let now = std::mem::replace(&mut self.role, role);
        if now != self.role {
            return Ok(Reset::KeepsRole);
        }
        if self.residue.keeps_texts {
            return Ok(Reset::KeepsTexts);
        }
        Ok(Reset::Clean)
    }

    /// Whether the session on it can write.
    pub async fn can_write(&mut self) -> Result<bool, Failure> {
        let question = format!("SELECT @@{} LIMIT 1", self.base.transaction.read_only());
        let answer = self.query(&question).await?;
        Ok(demand(&answer)?.first_row().first().is_some_and(|value| value == "0"))
    }

    /// Lets the session on it write.
    pub async fn let_write(&mut self) -> Result<(), Failure> {
        demand(&self.query(&format!("SET {}=0", self.base.transaction.read_only())).await?)?;
        Ok(())
    }

    /// Takes off the insert id and the warnings of its last session.
    pub async fn clean(&mut self) -> Result<(), Failure> {
        self.read_unread().await?;
        demand(&self.set_aside("SET last_insert_id=0").await?)?;
        self.clear_warnings().await?;
        self.insert_id = Some(0);
        self.residue.is_dirty = false;
        Ok(())
    }

    /// Empties the list of warnings: only a statement that uses a table does so on every server.
    pub async fn clear_warnings(&mut self) -> Result<(), Failure> {
        demand(&self.query("SELECT 1 FROM (SELECT 1) t").await?)?;
        Ok(())
    }

    /// Rolls back what `init_connect` has begun.
    pub async fn end_begun(&mut self) -> Result<(), Failure> {
        self.has_begun = false;
        self.roll_back().await.map(|_| ())
    }

    /// Rolls back an open transaction, whatever `completion_type` is. What the server tracked.
    pub async fn roll_back(&mut self) -> Result<Vec<Tracked>, Failure> {
        let answer = self.query("ROLLBACK AND NO CHAIN NO RELEASE").await?;
        if demand(&answer)?.summary.status.contains(Status::IN_TRANS) {
            return Err(Malformed { what: "transaction after a rollback", offset: 0 }.into());
        }
        Ok(answer.summary.tracked)
    }
}

pub(super) fn demand(exchange: &Exchange) -> Result<&Exchange, Malformed> {
    match exchange.summary.error {
        None => Ok(exchange),
        Some(_) => Err(Malformed { what: "error in answer to a set-up statement", offset: 0 }),
    }
}

impl Exchange {
    /// The columns of the first row of a text result set, whatever character set it is sent in; NULL and
    /// invalid UTF-8 as far as text goes. Only for the few statements of Fairlane's own.
    pub fn first_row(&self) -> Vec<String> {
        self.read_rows(1).pop().unwrap_or_default()
    }

    /// All rows of a text result set, likewise.
    pub fn rows(&self) -> Vec<Vec<String>> {
        self.read_rows(usize::MAX)
    }

    fn read_rows(&self, most: usize) -> Vec<Vec<String>> {
        let mut packets = packets(&self.bytes);
        let (columns, definitions) = match packets.next() {
            Some(&[columns, 0]) => (columns, 0),
            Some(&[columns, ..]) => (columns, columns),
            Some([]) | None => return Vec::new(),
        };
        let is_end = |packet: &[u8]| packet.first() == Some(&0xfe) && packet.len() < 9;
        let mut packets = packets.peekable();
        // A definition begins with "def".
        let begin = packets.peek().filter(|_| definitions > 0);
        let encoding = begin.and_then(|begin| Some(Encoding::of(begin.get(1..)?)));
        let mut packets = packets.skip(usize::from(definitions)).peekable();
        packets.next_if(|packet| is_end(packet));
        packets
            .take_while(|packet| !is_end(packet))
            .map_while(|packet| columns_of(packet, columns, encoding))
            .take(most)
            .collect()
    }
}

/// The columns of a row, or `None` if it is none. Without definitions (`resultset_metadata`) each column shows
/// by itself how it is written.
fn columns_of(row: &[u8], columns: u8, encoding: Option<Encoding>) -> Option<Vec<String>> {
    let mut cursor = crate::protocol::wire::Cursor::new(row);
    let mut values = Vec::new();
    for _ in 0..columns {
        if cursor.remaining().first() == Some(&0xfb) {
            cursor.take(1, "NULL").ok()?;
            values.push(String::new());
        } else {
            let value = cursor.lenenc_bytes("value").ok()?;
            let encoding = encoding.unwrap_or_else(|| Encoding::of(value));
            values.push(encoding.read(value).into_owned());
        }
    }
    Some(values)
}

/// The payloads of whole packets, none of them continued.
fn packets(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let framed = packet::frame(bytes).ok()?;
        let (packet, rest) = bytes.split_at(framed.wire_length);
        bytes = rest;
        Some(&packet[packet::HEADER..])
    })
}

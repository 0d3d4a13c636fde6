//! What a server shows of its connections, told as clients know their sessions.

use super::Session;
use super::registry::{Activity, Entry, EntryNow};
use super::statement::Work;
use crate::protocol::Command;
use crate::protocol::edit::{IdleSession, RowEditor};
use crate::route::view::BackendId;
use crate::sql::{self, Reason, Shown};

impl Session {
    /// What becomes of the rows of `work`, which runs on the session's connection.
    pub(super) async fn row_editor(&self, work: &Work<'_>) -> Option<RowEditor> {
        let shown = match work.command {
            Command::ProcessInfo => Shown::Processes,
            Command::Query if work.verdict.reason == Reason::ServerSpecific => {
                sql::shown(work.sql, self.mode)?
            }
            _ => return None,
        };
        let (backend, _) = self.entry.connection()?;
        Some(match shown {
            Shown::Processes => self.processes(backend),
            Shown::Status => self.status_variables().await,
        })
    }

    /// Of sessions without a connection those of the same user are added: that user may see them
    /// in any case.
    fn processes(&self, backend: BackendId) -> RowEditor {
        let (mut lent, mut idle) = (Vec::new(), Vec::new());
        for entry in self.context.registry.all() {
            let now = entry.now();
            match now.connection {
                Some((at, connection)) if at == backend => lent.push((connection, entry.id)),
                Some(_) => {}
                None => idle.extend(self.idle_session(&entry, &now)),
            }
        }
        idle.sort_by_key(|session| session.id);
        RowEditor::Processes { lent, idle, has_progress: self.facts.is_mariadb() }
    }

    fn idle_session(&self, entry: &Entry, now: &EntryNow) -> Option<IdleSession> {
        let labels = entry.labels.lock();
        let is_shown = labels.user == self.client.user && now.activity != Activity::Running;
        let client = entry.client();
        let host = match client.ip().is_loopback() {
            true => format!("localhost:{}", client.port()),
            false => client.to_string(),
        };
        is_shown.then(|| IdleSession {
            id: entry.id,
            user: labels.user.clone(),
            host,
            schema: labels.schema.clone(),
            seconds: now.for_ms / 1000,
        })
    }

    /// The client's connection is to Fairlane, and the key it may encrypt its password with is
    /// Fairlane's.
    async fn status_variables(&self) -> RowEditor {
        let (version, cipher) = self.tls.as_ref().map_or(("", ""), |tls| (tls.version, tls.cipher));
        let compression = if self.wire.stream.is_compressed() { "ON" } else { "OFF" };
        let mut known = vec![
            ("Ssl_version", version.to_owned()),
            ("Ssl_cipher", cipher.to_owned()),
            ("Compression", compression.to_owned()),
        ];
        if !self.facts.is_mariadb()
            && let Ok(key) = self.context.passwords.public_key().await
        {
            known.extend(
                [("Rsa_public_key", key), ("Caching_sha2_password_rsa_public_key", key)]
                    .map(|(name, key)| (name, key.to_owned())),
            );
        }
        RowEditor::Status(known)
    }
}

//! Rows of text results that Fairlane knows better than the server: the server knows connections,
//! clients know sessions.

use super::wire::{Cursor, put_lenenc_bytes};

/// What is put in the place of rows of one result.
#[derive(Debug, PartialEq, Eq)]
pub enum RowEditor {
    /// A list of processes: the id of a connection becomes that of the session it is lent to.
    Processes {
        /// The server's id and the session's.
        lent: Vec<(u64, u32)>,
        /// Sessions that have no connection, for the end of the list.
        idle: Vec<IdleSession>,
        /// MariaDB has a column more.
        has_progress: bool,
    },
    /// Status variables and the values they have for the client.
    Status(Vec<(&'static str, String)>),
}

/// A session that waits for its client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdleSession {
    /// The id its client sees.
    pub id: u32,
    /// Name of its user.
    pub user: String,
    /// Host and port of its client.
    pub host: String,
    /// Its schema.
    pub schema: Option<String>,
    /// For how many seconds it has waited.
    pub seconds: u64,
}

impl RowEditor {
    /// The row that is sent instead of `row`, if it is another one.
    pub fn edit(&self, row: &[u8]) -> Option<Vec<u8>> {
        let mut cursor = Cursor::new(row);
        let first = cursor.lenenc_bytes("column").ok()?;
        let mut edited = Vec::with_capacity(row.len() + 16);
        match self {
            Self::Processes { lent, .. } => {
                let id: u64 = std::str::from_utf8(first).ok()?.parse().ok()?;
                let &(_, session) = lent.iter().find(|(connection, _)| *connection == id)?;
                put_lenenc_bytes(&mut edited, session.to_string().as_bytes());
                edited.extend_from_slice(cursor.rest());
            }
            Self::Status(known) => {
                let is_it = |name: &str| name.as_bytes().eq_ignore_ascii_case(first);
                let (_, value) = known.iter().find(|(name, _)| is_it(name))?;
                put_lenenc_bytes(&mut edited, first);
                put_lenenc_bytes(&mut edited, value.as_bytes());
            }
        }
        Some(edited)
    }

    /// Rows behind the last one.
    pub fn more(&self) -> Vec<Vec<u8>> {
        match self {
            Self::Processes { idle, has_progress, .. } => {
                idle.iter().map(|session| session.row(*has_progress)).collect()
            }
            Self::Status(_) => Vec::new(),
        }
    }
}

impl IdleSession {
    fn row(&self, has_progress: bool) -> Vec<u8> {
        const NULL: u8 = 0xfb;
        let mut row = Vec::new();
        let mut put = |text: Option<&str>| match text {
            Some(text) => put_lenenc_bytes(&mut row, text.as_bytes()),
            None => row.push(NULL),
        };
        put(Some(&self.id.to_string()));
        put(Some(&self.user));
        put(Some(&self.host));
        put(self.schema.as_deref());
        put(Some("Sleep"));
        put(Some(&self.seconds.to_string()));
        put(Some(""));
        put(None);
        if has_progress {
            put(Some("0.000"));
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lent_connection_has_the_id_of_its_session() {
        let idle =
            IdleSession { id: 9, user: "app".into(), host: "h:1".into(), schema: None, seconds: 5 };
        let editor = RowEditor::Processes {
            lent: vec![(12, 1_200_000_000)],
            idle: vec![idle],
            has_progress: true,
        };
        assert_eq!(editor.edit(b"\x0212\x03app").as_deref(), Some(&b"\x0a1200000000\x03app"[..]));
        assert_eq!(editor.edit(b"\x0213\x03app"), None);
        assert_eq!(editor.edit(b"\xfb"), None);
        assert_eq!(editor.more(), [b"\x019\x03app\x03h:1\xfb\x05Sleep\x015\x00\xfb\x050.000"]);
    }

    #[test]
    fn a_status_variable_has_the_value_it_has_for_the_client() {
        let editor = RowEditor::Status(vec![("Ssl_version", "TLSv1.3".into())]);
        let row = b"\x0bSsl_version\x00";
        assert_eq!(editor.edit(row).as_deref(), Some(&b"\x0bSsl_version\x07TLSv1.3"[..]));
        assert_eq!(editor.edit(b"\x03Ssl\x00"), None);
    }
}

//! How the application sends its statements.

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Result, Value};

/// In which protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// COM_QUERY, with the values in the text.
    #[default]
    Text,
    /// As PDO does it where it does not emulate (Laravel's default): each statement is prepared, executed
    /// once and closed.
    Prepared,
}

impl Form {
    /// Runs a statement whose values are question marks in `sql`; what its first row is, and how
    /// many there are.
    pub(crate) async fn run(
        self,
        conn: &mut Conn,
        sql: &str,
        values: Vec<Value>,
    ) -> Result<(Option<mysql_async::Row>, u32)> {
        let (mut first, mut rows) = (None, 0);
        let mut note = |row| {
            first.get_or_insert(row);
            rows += 1;
        };
        match self {
            Self::Text => {
                let text = with_values(sql, &values);
                conn.query_iter(text).await?.for_each_and_drop(&mut note).await?;
            }
            Self::Prepared => {
                let statement = conn.prep(sql).await?;
                conn.exec_iter(&statement, values).await?.for_each_and_drop(&mut note).await?;
                conn.close(statement).await?;
            }
        }
        Ok((first, rows))
    }
}

/// The text with values in the place of its question marks; texts among them need no escaping.
fn with_values(sql: &str, values: &[Value]) -> String {
    let mut out = String::with_capacity(sql.len() + 16 * values.len());
    let mut values = values.iter();
    for part in sql.split_inclusive('?') {
        match part.strip_suffix('?').zip(values.next()) {
            Some((part, value)) => {
                out.push_str(part);
                out.push_str(&value.as_sql(true));
            }
            None => out.push_str(part),
        }
    }
    out
}

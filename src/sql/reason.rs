//! The words for a verdict: metric labels and sentences.

use super::verdict::Reason;

const TABLE: [(Reason, &str, &str); 21] = [
    (Reason::PlainRead, "plain_read", "a read that any replica answers alike"),
    (
        Reason::DictionaryRead,
        "dictionary_read",
        "a look at the data dictionary, which replicas have too",
    ),
    (Reason::NotARead, "not_a_read", "the statement is not a read"),
    (Reason::LockingClause, "locking_clause", "it locks the rows it reads"),
    (Reason::IntoClause, "into_clause", "it writes its result to a file or a variable"),
    (
        Reason::UserVariable,
        "user_variable",
        "it uses a user variable, which lives in one connection",
    ),
    (
        Reason::SessionFunction,
        "session_function",
        "it calls a function that has effects or depends on the session",
    ),
    (Reason::UnknownFunction, "unknown_function", "it calls a function that may be a stored one"),
    (
        Reason::SystemVariable,
        "system_variable",
        "it reads a system variable, which may differ between servers",
    ),
    (Reason::SystemSchema, "system_schema", "it reads a schema that each server fills on its own"),
    (Reason::Sequence, "sequence", "it uses a sequence"),
    (Reason::MultiStatement, "multi_statement", "the text has several statements"),
    (Reason::WrapsWrite, "wraps_write", "it runs or explains a statement that writes"),
    (Reason::ServerSpecific, "server_specific", "its answer is about one server"),
    (Reason::TransactionControl, "transaction_control", "it controls a transaction"),
    (Reason::SessionControl, "session_control", "it changes the session"),
    (Reason::Diagnostics, "diagnostics", "it asks about the previous statement"),
    (Reason::Kill, "kill", "it ends another session or its statement"),
    (Reason::NotUnderstood, "not_understood", "it was not understood"),
    (Reason::Hint, "hint", "a comment says so"),
    (Reason::Empty, "empty", "there is no statement in it"),
];

impl Reason {
    /// All reasons; the index of each is its number.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::PlainRead; TABLE.len()];
        let mut index = 0;
        while index < TABLE.len() {
            all[index] = TABLE[index].0;
            index += 1;
        }
        all
    };

    /// The metric label.
    pub fn label(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// A clause for people: "because ...".
    pub fn describe(self) -> &'static str {
        TABLE[self as usize].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_reasons() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}

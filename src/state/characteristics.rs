//! Isolation level and access mode of the transaction that is open, or of the next one, where they are
//! not those of the session's variables.

use super::transaction_names::{ISOLATION, READ_ONLY};

/// What a server keeps of them beside the variables.
///
/// Both servers take them back from the variables when a transaction ends, by whatever ends it, but for
/// one: `SET autocommit = 1` commits the open transaction and leaves them as they are, for what comes
/// next. There they stay until a statement reads or writes a table, or until a COMMIT or ROLLBACK.
/// The trackers tell so, but on MySQL not after a SHOW VARIABLES in the transaction, and never of a
/// variable set in one. (MariaDB 10.11, MySQL 9.7.)
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Characteristics {
    differ: bool,
    outlive: bool,
    /// They differed when the last statement began, which has ended their transaction.
    have_differed: bool,
    /// The last statement has turned autocommit on.
    is_turned_on: bool,
}

/// What a statement has done to the session's transaction.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    /// A transaction was open before.
    pub was_open: bool,
    /// One is open now.
    pub is_open: bool,
    /// It was a COMMIT or ROLLBACK, and succeeded.
    pub is_end: bool,
}

impl Characteristics {
    /// The next statement is looked at.
    pub fn start(&mut self) {
        self.have_differed = false;
        self.is_turned_on = false;
    }

    /// They may differ from the variables from now on.
    pub fn note_own(&mut self) {
        self.differ = true;
    }

    /// Takes over what the tracker of the characteristics says, of a session whose variables have this
    /// isolation level, such as `REPEATABLE-READ`, and access mode.
    pub fn note_tracked(&mut self, text: &str, isolation: &str, is_read_only: bool) {
        // What a transaction begins with that has none of its own.
        if matches!(text, "" | "START TRANSACTION;") {
            return;
        }
        let other_mode = if is_read_only { "READ WRITE" } else { "READ ONLY" };
        let level = text.split("ISOLATION LEVEL ").nth(1).map(|rest| rest.replace(' ', "-"));
        self.differ |= text.contains(other_mode)
            || level.is_some_and(|level| !level.starts_with(isolation) || isolation.is_empty());
    }

    /// A variable has changed; with a transaction open, that is not one of the transaction's.
    pub fn note_variable(&mut self, name: &str, is_open: bool) {
        let is_characteristic = ISOLATION.contains(&name) || READ_ONLY.contains(&name);
        self.differ |= is_open && is_characteristic;
    }

    /// The statement has turned autocommit on; whether the session has to stay for what comes next. It
    /// may be known only after its end.
    pub fn turn_autocommit_on(&mut self) -> bool {
        self.is_turned_on = true;
        self.differ |= self.have_differed;
        self.outlive |= self.differ;
        self.outlive
    }

    /// Whether the transaction that is open, or the next one, is other than the session's variables say.
    pub fn differ(self) -> bool {
        self.differ
    }

    /// A statement is over.
    pub fn turn(&mut self, turn: Turn) {
        if !self.is_turned_on && !turn.is_open && (turn.was_open || turn.is_end) {
            self.end();
        }
    }

    /// They are those of the variables again.
    pub fn end(&mut self) {
        let have_differed = self.have_differed || self.differ;
        *self = Self { have_differed, is_turned_on: self.is_turned_on, ..Self::default() };
    }

    /// The trackers have told what comes next, and will tell when that has begun.
    pub fn are_told(&mut self) {
        self.outlive = false;
    }

    /// Whether they have outlived their transaction, and nobody will tell when that ends.
    pub fn outlive(self) -> bool {
        self.outlive
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Turn = Turn { was_open: false, is_open: false, is_end: false };
    const BEGUN: Turn = Turn { is_open: true, ..NOTHING };
    const ENDED: Turn = Turn { was_open: true, ..NOTHING };

    /// After a statement that does `turn`.
    fn outlive(own: &mut Characteristics, turn: Turn) -> bool {
        own.start();
        own.turn(turn);
        own.outlive()
    }

    fn read_only() -> Characteristics {
        let mut own = Characteristics::default();
        own.start();
        own.note_tracked("START TRANSACTION READ ONLY;", "", false);
        own.turn(BEGUN);
        own
    }

    #[test]
    fn those_of_a_transaction_outlive_it_when_autocommit_ends_it() {
        let mut own = read_only();
        own.start();
        assert!(own.turn_autocommit_on());
        own.turn(ENDED);
        assert!(outlive(&mut own, NOTHING), "it may not have reset them");
        assert!(outlive(&mut own, BEGUN), "the next has them");
        assert!(!outlive(&mut own, Turn { is_end: true, ..ENDED }));
    }

    #[test]
    fn that_may_be_known_after_the_end() {
        let mut own = read_only();
        assert!(!outlive(&mut own, ENDED));
        assert!(own.turn_autocommit_on());
        assert!(!outlive(&mut own, Turn { is_end: true, ..NOTHING }));
    }

    #[test]
    fn no_other_end_leaves_them() {
        for end in [ENDED, Turn { is_end: true, ..ENDED }, Turn { is_end: true, ..NOTHING }] {
            let mut own = read_only();
            assert!(!outlive(&mut own, end));
            own.start();
            assert!(!own.turn_autocommit_on(), "{end:?}");
        }
    }

    #[test]
    fn only_those_count_that_are_not_the_variables() {
        for (text, isolation, is_read_only, differ) in [
            ("SET TRANSACTION READ ONLY;", "REPEATABLE-READ", false, true),
            ("SET TRANSACTION READ ONLY;", "REPEATABLE-READ", true, false),
            ("START TRANSACTION READ WRITE;", "REPEATABLE-READ", true, true),
            ("START TRANSACTION READ WRITE;", "REPEATABLE-READ", false, false),
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;", "REPEATABLE-READ", false, true),
            (
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION;",
                "READ-COMMITTED",
                false,
                false,
            ),
            ("", "REPEATABLE-READ", false, false),
        ] {
            let mut own = Characteristics::default();
            own.note_tracked(text, isolation, is_read_only);
            assert_eq!(own.turn_autocommit_on(), differ, "{text}");
        }
    }

    #[test]
    fn a_transaction_that_was_told_to_be_over_leaves_nothing() {
        let mut own = Characteristics::default();
        own.note_own();
        own.start();
        own.end();
        own.start();
        assert!(!own.turn_autocommit_on());
        // In one packet, in either order.
        let mut own = read_only();
        own.start();
        own.end();
        assert!(own.turn_autocommit_on());
    }

    #[test]
    fn a_variable_is_the_transactions_unless_one_is_open() {
        let mut own = Characteristics::default();
        own.note_variable("transaction_read_only", false);
        own.note_variable("sql_mode", true);
        own.note_tracked("START TRANSACTION WITH CONSISTENT SNAPSHOT;", "SERIALIZABLE", true);
        assert!(!own.turn_autocommit_on());
        own.note_variable("transaction_read_only", true);
        assert!(own.turn_autocommit_on());
    }
}

//! The vocabulary of everything above: what one command text means.

use bitflags::bitflags;

/// What one command text (a COM_QUERY or a COM_STMT_PREPARE) means for routing and session.
///
/// A text of several statements is [`Class::Write`] with [`Reason::MultiStatement`]. It has the effects
/// of all, but UNLOCK_TABLES only from the first where no later one locks, and the needs of all, but what later ones ask of the
/// statements before them: ROW_COUNT and DIAGNOSTICS only from the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Where the text may run.
    pub class: Class,
    /// Why it has this class; the label of the route metric and the text of `explain`.
    pub reason: Reason,
    /// The word with which its first statement begins, behind blanks and comments.
    pub leading: Leading,
    /// What it leaves behind in the session.
    pub effects: Effects,
    /// What it reads from the session that is not on every connection.
    pub needs: Needs,
    /// What a `/* fairlane: ... */` comment asked for.
    pub hint: Hint,
    /// Number of statements in the text (0 for an empty one).
    pub statements: u16,
    /// It may use a table: such statements replace the list of warnings, others keep the old one
    /// (MariaDB 10.11).
    pub uses_table: bool,
    /// What kind of statement it is, whatever its literals: the digest of its first tokens (see
    /// [`super::front_digest`]); 0 for what is no text.
    pub digest: u64,
}

impl Verdict {
    /// Whether it is SHOW WARNINGS or the like, and not a SELECT of what such a list comes to.
    pub fn shows_diagnostics(&self) -> bool {
        self.class == Class::Diagnostics && self.leading != Leading::Select
    }
}

/// The first word of a statement, where something hangs on it that its class does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Leading {
    /// SELECT, and not in parentheses.
    Select,
    /// SHOW.
    Show,
    /// SET, also SET STATEMENT.
    Set,
    /// USE.
    Use,
    /// DO.
    Do,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// FLUSH.
    Flush,
    /// Another word, or none.
    #[default]
    Other,
}

/// Where a text may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// May run on a replica.
    Read,
    /// Changes something, reads what only the primary knows, or is not understood.
    Write,
    /// Opens a transaction (`BEGIN`, `START TRANSACTION`).
    Begin {
        /// `START TRANSACTION READ ONLY`.
        read_only: bool,
    },
    /// `COMMIT`, in any form; whether a transaction is open afterwards is the server's word.
    Commit,
    /// `ROLLBACK` (not `TO SAVEPOINT`, which is [`Class::Write`]).
    Rollback,
    /// Changes only the session: `SET` of session variables, `USE`.
    Session,
    /// Reads the diagnostics of the previous statement (`SHOW WARNINGS`, `GET DIAGNOSTICS`, ...).
    Diagnostics,
    /// `KILL [CONNECTION | QUERY]` with a literal id or CONNECTION_ID(), and nothing else in the
    /// text.
    Kill {
        /// `KILL QUERY`.
        query: bool,
        /// The id, as the client sees it; `None`: its own.
        id: Option<u64>,
    },
}

bitflags! {
    /// What a text leaves behind in the session or on its connection.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Effects: u64 {
        /// Creates a temporary table.
        const TEMPORARY_TABLE = 1 << 0;
        /// Takes a user-level lock: GET_LOCK.
        const USER_LOCK = 1 << 1;
        /// LOCK TABLES, FLUSH TABLES ... WITH READ LOCK / FOR EXPORT.
        const TABLE_LOCK = 1 << 2;
        /// UNLOCK TABLES (the only thing it does).
        const UNLOCK_TABLES = 1 << 3;
        /// Writes a user variable: `SET @a`, `@a :=`, `INTO @a`.
        const USER_VARIABLE = 1 << 4;
        /// SQL-level PREPARE.
        const SQL_PREPARE = 1 << 5;
        /// HANDLER ... OPEN.
        const HANDLER = 1 << 6;
        /// SQL_CALC_FOUND_ROWS.
        const FOUND_ROWS = 1 << 7;
        /// XA START / BEGIN / END / PREPARE.
        const XA = 1 << 8;
        /// SET ROLE, SET DEFAULT ROLE for oneself.
        const ROLE = 1 << 9;
        /// SET TRANSACTION for the next transaction only.
        const NEXT_TRANSACTION = 1 << 10;
        /// SET STATEMENT ... FOR (MariaDB): trackers report the variable twice.
        const SET_STATEMENT = 1 << 11;
        /// LAST_INSERT_ID(expr) used where no OK packet reports it.
        const INSERT_ID_EXPRESSION = 1 << 12;
        /// May change anything in the session that no tracker reports: CALL, unknown functions,
        /// EXECUTE IMMEDIATE, BEGIN NOT ATOMIC, texts not understood.
        const OPAQUE = 1 << 13;
        /// SAVEPOINT / RELEASE SAVEPOINT / ROLLBACK TO.
        const SAVEPOINT = 1 << 14;
        /// COMMIT / ROLLBACK ... RELEASE: the server closes the connection.
        const RELEASE = 1 << 15;
        /// Sets a session variable that cannot be replayed (`insert_id`, `rand_seed1`,
        /// `gtid_seq_no`, `pseudo_*`, `debug*`, ...).
        const UNREPLAYABLE_VARIABLE = 1 << 16;
        /// Reads LOCAL INFILE.
        const LOCAL_INFILE = 1 << 17;
        /// Implicit commit (DDL and relatives).
        const IMPLICIT_COMMIT = 1 << 18;
        /// Names a session variable it sets whose tracking the servers leave out, or sets a
        /// collation beside a character set (`SET NAMES x COLLATE y`, `collation_*`).
        const COLLATION = 1 << 19;
        /// KILL in a form other than [`Class::Kill`]: an id in it can only be one the server knows.
        const KILL = 1 << 20;
        /// Takes a value from a sequence: LASTVAL and PREVIOUS VALUE FOR answer for this
        /// connection from now on.
        const SEQUENCE = 1 << 21;
        /// LAST_INSERT_ID(expr) whose value the OK packet reports, unless it is 0; SET
        /// last_insert_id.
        const SETS_INSERT_ID = 1 << 22;
        /// Sets a `session_track_*` variable, of which the connection has Fairlane's own value.
        const TRACKERS = 1 << 23;
        /// Has what is read in another way than the server may read it: what it takes or sets is not known.
        const UNREADABLE = 1 << 31;
        /// INSERT, REPLACE, CREATE TABLE, SET or DO that may run a query, ANALYZE of one, EXPLAIN of one
        /// without a table: MariaDB counts other rows than are sent, or none, as those that
        /// FOUND_ROWS() tells.
        const COUNTS_ROWS = 1 << 24;
        /// SET NAMES: of what results are sent in it sets the collation too, which only shows in
        /// the metadata of columns.
        const NAMES = 1 << 25;
        /// Changes what sessions to come begin with: global variables, privileges, roles. Of PREPARE: its
        /// text does; and so for [`Self::SCHEMA_DEFAULTS`].
        const SERVER_DEFAULTS = 1 << 26;
        /// Changes what a schema gives the sessions in it, or whether it is there: CREATE, ALTER and
        /// DROP DATABASE.
        const SCHEMA_DEFAULTS = 1 << 27;
        /// `SET @@x = ...`, which MariaDB does not track, or what neither server may tell since it is
        /// set beside trackers, see [`super::bare_variables`].
        const BARE_VARIABLE = 1 << 28;
        /// LOCK INSTANCE, BACKUP STAGE, BACKUP LOCK: UNLOCK TABLES does not end it.
        const BACKUP_LOCK = 1 << 29;
        /// COMMIT / ROLLBACK ... NO RELEASE: the connection stays, also where `completion_type` says
        /// that the server closes it.
        const NO_RELEASE = 1 << 30;
        /// Takes a lock of MySQL's locking service or of version tokens: RELEASE_ALL_LOCKS() does not
        /// end it.
        const SERVICE_LOCK = 1 << 32;
        /// Calls a routine of a package (MariaDB), whose variables are the session's until its end.
        const PACKAGE = 1 << 33;
        /// Prepares or runs a text that is not in it: that of a variable, or of an expression.
        const HIDDEN_TEXT = 1 << 34;
    }
}

impl Effects {
    /// What sessions to come may find changed, or may not.
    pub const DEFAULTS: Self =
        Self::SERVER_DEFAULTS.union(Self::SCHEMA_DEFAULTS).union(Self::HIDDEN_TEXT);
}

bitflags! {
    /// What a text reads from its session that another connection would answer differently.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Needs: u8 {
        /// LAST_INSERT_ID(), @@last_insert_id, @@identity, or something that may read it unseen
        /// (CALL, unknown function, INSERT that fires a trigger is not counted).
        const LAST_INSERT_ID = 1 << 0;
        /// ROW_COUNT().
        const ROW_COUNT = 1 << 1;
        /// FOUND_ROWS().
        const FOUND_ROWS = 1 << 2;
        /// SHOW WARNINGS / ERRORS, @@warning_count, @@error_count, GET DIAGNOSTICS.
        const DIAGNOSTICS = 1 << 3;
        /// CONNECTION_ID(), @@pseudo_thread_id.
        const CONNECTION_ID = 1 << 4;
        /// Shows a `session_track_*` variable, of which the connection has Fairlane's own value.
        const TRACKERS = 1 << 5;
        /// @@last_gtid (MariaDB).
        const LAST_GTID = 1 << 6;
    }
}

/// What a `/* fairlane: key=value, ... */` comment asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hint {
    /// `lane=<name>`.
    pub lane: Option<Box<str>>,
    /// `route=primary` or `route=replica`.
    pub route: Option<RouteHint>,
}

/// A hinted target. `Replica` is honoured only for a [`Class::Read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteHint {
    /// To the primary.
    Primary,
    /// To a replica if the text is a read; skips the freshness check.
    Replica,
}

/// Why a text has its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Reason {
    /// A plain read.
    PlainRead,
    /// A dictionary read that replicas answer alike (SHOW TABLES, DESCRIBE, ...).
    DictionaryRead,
    /// The first keyword is not that of a read.
    NotARead,
    /// FOR UPDATE, FOR SHARE, LOCK IN SHARE MODE.
    LockingClause,
    /// INTO OUTFILE, DUMPFILE or a variable.
    IntoClause,
    /// A user variable is written, or read (its value may hang on the connection).
    UserVariable,
    /// A function with effects or session-local meaning.
    SessionFunction,
    /// A function that is not a known built-in: may be a stored function.
    UnknownFunction,
    /// A system variable whose value differs between servers or sessions.
    SystemVariable,
    /// A schema that each server fills on its own (information_schema, performance_schema, ...).
    SystemSchema,
    /// A sequence.
    Sequence,
    /// Several statements in one text.
    MultiStatement,
    /// WITH or EXPLAIN around a statement that writes, or EXPLAIN ANALYZE of one.
    WrapsWrite,
    /// Server-specific SHOW.
    ServerSpecific,
    /// Transaction control.
    TransactionControl,
    /// Session control (SET, USE).
    SessionControl,
    /// Diagnostics of the previous statement.
    Diagnostics,
    /// KILL.
    Kill,
    /// Could not be understood.
    NotUnderstood,
    /// A hint said so.
    Hint,
    /// Nothing but white space and comments.
    Empty,
}

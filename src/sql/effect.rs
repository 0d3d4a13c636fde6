//! What one statement was found to do, collected while its tokens go by.

use super::verdict::{Class, Effects, Needs, Reason};

/// Class and reason of one statement.
pub(super) type Outcome = (Class, Reason);

/// The findings of one statement.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Found {
    /// Why the statement is no plain read; the first reason counts.
    reason: Option<Reason>,
    pub effects: Effects,
    pub needs: Needs,
    /// It has a FROM.
    pub has_from: bool,
    /// It has a FROM that is not FROM DUAL, or names a sequence.
    pub is_from_table: bool,
    /// It sets what the server's lexer goes by: `sql_mode`, the client's character set.
    pub changes_mode: bool,
    /// It asks for rows of another time: FOR SYSTEM_TIME (MariaDB).
    pub is_of_another_time: bool,
    /// It asks for the server's own id of a session: of its tables, or of a function.
    pub asks_owner: bool,
    /// LAST_INSERT_ID(expr) whose value the OK packet reports.
    pub reports_insert_id: bool,
}

impl Found {
    /// Notes a reason against a replica.
    pub(super) fn note(&mut self, reason: Reason) {
        // Reading diagnostics alone has a class of its own; with anything else it is a detail. What
        // writes does so whatever else it reads.
        let outdoes = reason == Reason::WrapsWrite && !self.is_not_understood();
        if outdoes || matches!(self.reason, None | Some(Reason::Diagnostics)) {
            self.reason = Some(reason);
        }
    }

    /// The statement may do anything to the session.
    pub(super) fn note_opaque(&mut self) {
        self.effects |= Effects::OPAQUE;
        self.needs |= Needs::LAST_INSERT_ID;
    }

    /// The statement cannot be read; this outdoes all other reasons.
    pub(super) fn note_not_understood(&mut self) {
        self.reason = Some(Reason::NotUnderstood);
        self.note_opaque();
    }

    /// A subquery in the statement counts as found rows.
    pub(super) fn note_counting(&mut self) {
        if self.is_from_table {
            self.effects |= Effects::COUNTS_ROWS;
        }
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.effects.contains(Effects::OPAQUE)
    }

    fn is_not_understood(&self) -> bool {
        self.reason == Some(Reason::NotUnderstood)
    }

    /// The outcome of a statement that reads, with the reason it has if nothing speaks against.
    pub(super) fn read(&self, plain: Reason) -> Outcome {
        match self.reason {
            None => (Class::Read, plain),
            Some(Reason::Diagnostics) if !self.has_from => {
                (Class::Diagnostics, Reason::Diagnostics)
            }
            Some(reason) => (Class::Write, reason),
        }
    }

    /// The outcome of a statement that goes to the primary anyway.
    pub(super) fn write(&self, reason: Reason) -> Outcome {
        (Class::Write, if self.is_not_understood() { Reason::NotUnderstood } else { reason })
    }

    /// `outcome`, unless the text could not be read.
    pub(super) fn unless_doubtful(&self, outcome: Outcome) -> Outcome {
        if self.is_not_understood() { (Class::Write, Reason::NotUnderstood) } else { outcome }
    }

    /// The first reason noted, or `otherwise`, for statements that run expressions.
    pub(super) fn reason_or(&self, otherwise: Reason) -> Reason {
        self.reason.unwrap_or(otherwise)
    }
}

/// Effects of setting the session variable of this name.
pub(super) fn of_variable(name: &[u8]) -> Effects {
    // A timestamp of DEFAULT is reported as the time it was set.
    const UNREPLAYABLE: [&[u8]; 26] = [
        b"insert_id",
        b"rand_seed1",
        b"rand_seed2",
        b"gtid_seq_no",
        b"gtid_next",
        b"gtid_next_list",
        b"gtid_domain_id",
        b"server_id",
        b"timestamp",
        b"skip_replication",
        b"proxy_user",
        b"external_user",
        b"profiling",
        b"optimizer_trace",
        b"optimizer_trace_features",
        // Read in the time zone of who has it set, and no literal when it is not set.
        b"system_versioning_asof",
        b"wsrep_on",
        b"wsrep_trx_fragment_size",
        b"original_commit_timestamp",
        b"immediate_server_version",
        b"original_server_version",
        b"transaction_allow_batching",
        b"binlog_alter_two_phase",
        // Not everybody who may set it may take it back.
        b"require_row_format",
        // Name a table or a directory, which may be gone by then; and NULL is not an empty text.
        b"innodb_ft_user_stopword_table",
        b"innodb_tmpdir",
    ];
    let starts_with = |prefix: &[u8]| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if starts_with(b"pseudo_")
        || starts_with(b"debug")
        || UNREPLAYABLE.iter().any(|known| known.eq_ignore_ascii_case(name))
    {
        Effects::UNREPLAYABLE_VARIABLE
    } else if [&b"last_insert_id"[..], b"identity"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name))
    {
        Effects::SETS_INSERT_ID
    } else if starts_with(b"collation_") {
        Effects::COLLATION
    } else if is_tracker(name) {
        Effects::TRACKERS
    } else {
        Effects::empty()
    }
}

/// Whether a variable is one of those that say what session tracking tells.
pub(super) fn is_tracker(name: &[u8]) -> bool {
    const PREFIX: &[u8] = b"session_track_";
    name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// Whether a session variable decides how the server reads the statements that follow.
pub(super) fn is_lexical_variable(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"sql_mode") || name.eq_ignore_ascii_case(b"character_set_client")
}

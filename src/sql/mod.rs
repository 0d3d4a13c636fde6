//! Statement text to [`Verdict`]: what a statement means for routing and for the session.
//!
//! Promise: *unsure means primary*. A text is a [`Class::Read`] only when every token is known
//! to be harmless on a replica; whatever this module does not understand is a
//! [`Class::Write`]. It never fails and never panics, whatever the bytes.
//!
//! ```text
//! bytes -> lexer -> tokens -> classify -> a handler per kind of statement -> Verdict
//!            |                              scan: the rules for expressions
//!            |-> digest (hash, or text)
//! ```
//!
//! It works on tokens, not on a syntax tree: a tree would know no more that matters here, and
//! would not know what its grammar does not. What it cannot see is what a view, a trigger, a
//! default value or the current schema hides behind a name.

mod altered;
mod cache;
mod called;
mod classify;
mod column_names;
mod conditions;
mod control;
mod digest;
mod effect;
mod found_rows;
mod function;
mod hint;
mod holding;
mod killed;
mod lexer;
mod mention;
mod mode;
mod qualified;
mod reason;
mod scan;
mod set;
mod show;
mod snapshot;
mod statement;
mod substitute;
mod tables;
mod token;
mod user_variables;
mod verdict;
mod word;

pub use altered::alters_schema;
pub use cache::VerdictCache;
pub use called::{Calls, OwnCalls, called, calls_in, own_calls};
pub use classify::{are_plain_reads, classify};
pub use conditions::{Asked, diagnostics_asked, get_diagnostics_as_set};
pub use digest::{DIGEST_TEXT_BYTES_MAX, digest, digest_text, front_digest};
pub use found_rows::{counts_rows, lists_rows, rows_skipped};
pub use holding::{Held, Holding, Literal, holding};
pub use killed::{KilledUser, killed_user};
pub use mention::{has_set_var, has_word, mentions, sets_by_hint};
pub use mode::{Charset, Mode};
pub use qualified::names_schemas;
pub use set::bare_variables;
pub use show::{Shown, explained_connection, list_limit, shown, variable_written, variables_like};
pub use snapshot::{Snapshot, snapshot_of};
pub use statement::defaults_of;
pub use substitute::{Insertion, Substitution, insertions, substitute};
pub use tables::{changes_rows, leaves_tables, replaces_rows};
pub use user_variables::{calls_package, names_other_variable, names_variable, variable_prepared};
pub use verdict::{Class, Effects, Hint, Leading, Needs, Reason, RouteHint, Verdict};

#[cfg(test)]
mod properties;

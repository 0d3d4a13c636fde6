//! Statement text to [`Verdict`]: what a statement means for routing and for the session.
//!
//! Promise: *unsure means primary*. A text is a [`Class::Read`] only when every token is known
//! to be harmless on a replica; whatever this module does not understand is a
//! [`Class::Write`]. It never fails and never panics, whatever the bytes.
//!
//! It works on tokens, not on a syntax tree: one pass over the text gathers what is in a
//! statement (`scan`), and its first words decide what that means ([`classify`](fn@classify)).
//! A tree would know no more that matters here, and would not know what its grammar does not.

mod classify;
mod control;
mod digest;
mod effect;
mod function;
mod hint;
mod lexer;
mod mode;
mod reason;
mod scan;
mod set;
mod show;
mod statement;
mod substitute;
mod token;
mod verdict;
mod word;

pub use classify::classify;
pub use digest::{DIGEST_TEXT_BYTES_MAX, digest, digest_text};
pub use mode::{Charset, Mode};
pub use substitute::{Substitution, substitute};
pub use verdict::{Class, Effects, Hint, Needs, Reason, RouteHint, Verdict};

#[cfg(test)]
mod properties;

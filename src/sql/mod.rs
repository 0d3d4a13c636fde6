//! Statement text to [`Verdict`]: what a statement means for routing and for the session.
//!
//! Promise: *unsure means primary*. A text is a [`Class::Read`] only when every token is known
//! to be harmless on a replica; whatever this module does not understand is a
//! [`Class::Write`]. It never fails and never panics, whatever the bytes.

mod verdict;

pub use verdict::{Class, Effects, Hint, Needs, Reason, RouteHint, Verdict};

//! Who may run now. Pure: no socket, no clock, no task.
//!
//! ```text
//!  slots of one backend (14)         lane          reserved  limit  queue
//!  ┌──────────────┬──────────────┐   interactive     3        14    ▒▒▒
//!  │ in use       │ free         │   batch           1         1-14  ▒▒▒▒▒▒▒▒▒▒   moved by the guard
//!  └──────────────┴──────────────┘
//! ```
//!
//! A slot is the right to use one connection of a backend. Invariants: slots in use never exceed
//! the total; no slot is granted to a lane beyond its `max`; what others hold leaves a lane the slots
//! that are `reserved` for it, but for those that were granted to it and count for another by now
//! ([`Scheduler::reassign`]); a freed slot goes to the most urgent lane that may take it, in it to
//! the client that has had least, and in that to the kind of work that has (`scheduler.rs`, `fair.rs`). A lane to which more work comes than can be done refuses what has waited for long
//! ([`overload`]).

pub mod account;
mod baseline;
pub mod bulk;
pub mod evidence;
mod fair;
mod features;
mod flows;
pub mod guard;
pub mod lock_guard;
pub mod overload;
mod policy;
pub mod rule;
mod scheduler;
mod wake;

pub use account::{Account, Standing};
pub use baseline::Beside;
pub use bulk::Slots;
pub use evidence::{Evidence, Visit};
pub use fair::Precedence;
pub use guard::{BatchNow, Guard};
pub use lock_guard::LockGuard;
pub use overload::{Overload, QueueNow};
pub use policy::{Policy, PolicyNow};
pub use rule::{ClientFacts, LaneChoice, Rules};
pub use scheduler::{Admission, Demand, LaneNow, Limits, Scheduler, Turn};
pub use wake::{Dismissal, Gone, Told, Wake};

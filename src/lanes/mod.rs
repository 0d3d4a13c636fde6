//! Who may run now. Pure: no socket, no clock, no task.
//!
//! ```text
//!  slots of one backend (14)         lane          reserved  max   queue
//!  ┌──────────────┬──────────────┐   interactive     3        14   ▒▒▒
//!  │ in use       │ free         │   batch           1         7   ▒▒▒▒▒▒▒▒▒▒
//!  └──────────────┴──────────────┘
//! ```
//!
//! A slot is the right to use one connection of a backend. Invariants: slots in use never exceed
//! the total; a lane never exceeds its `max`; a lane below its `reserved` finds a free slot
//! whatever the others do; nobody overtakes an earlier waiter of the same lane; a freed slot
//! goes to the waiter of the most urgent lane that may take it.

pub mod account;
pub mod evidence;
pub mod guard;
pub mod lock_guard;
pub mod rule;
mod scheduler;

pub use account::{Account, Standing};
pub use evidence::Evidence;
pub use guard::{BatchNow, Guard};
pub use lock_guard::LockGuard;
pub use rule::{ClientFacts, LaneChoice, Rules};
pub use scheduler::{Admission, Limits, Scheduler};

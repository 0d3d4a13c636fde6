//! What the statements of its sessions have left on a connection, beside the state an image has.

use super::life::{Life, Strays};

/// What is on a connection and nothing but a question, a reset or a new login takes off.
#[derive(Debug, Default)]
pub struct Residue {
    /// Setting its variables may have raised warnings, and may do so again.
    pub image_warns: bool,
    /// A transaction may have ended, or locks of tables, without an OK packet: until there is one,
    /// MariaDB says of each result set that something has changed.
    pub tells_late: bool,
    /// Since what was told last, a statement that may set variables has ended without an OK packet: what it
    /// has changed is told with the next one that tells anything.
    pub has_untold: bool,
    /// The session of a statement of which it has something to tell, and had no place for it.
    pub has_to_tell: Option<Life>,
    /// An unknown insert id or warnings of its last session may be on it.
    pub is_dirty: bool,
    /// A variable has been set that no image has: a trigger of a statement that failed told nothing, or only
    /// some of the commands that bring it to a session's state were done.
    pub is_astray: bool,
    /// Whose statements may have set user variables without a word, as in a routine.
    pub strays: Strays,
    /// The server has kept texts of statements to show them (SHOW PROFILES, OPTIMIZER_TRACE), or has put the
    /// session in a resource group (MySQL): nothing but a new login takes that off.
    pub keeps_texts: bool,
}

impl Residue {
    /// COM_RESET_CONNECTION has been answered: what it leaves is kept.
    pub(super) fn note_reset(&mut self) {
        *self = Self {
            tells_late: self.tells_late,
            has_untold: self.has_untold,
            keeps_texts: self.keeps_texts,
            ..Self::default()
        };
    }
}

//! Whose it is what is left on a connection.

/// A session from its login, or from its last reset, to its next one: COM_RESET_CONNECTION and
/// COM_CHANGE_USER make it another one, which keeps the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    session: u32,
    resets: u32,
}

impl Life {
    /// The first one of a session.
    pub fn first(session: u32) -> Self {
        Self { session, resets: 0 }
    }

    /// Whether it has gone on since the login.
    pub fn is_first(self) -> bool {
        self.resets == 0
    }

    /// The one after a reset.
    #[must_use]
    pub fn next(self) -> Self {
        Self { resets: self.resets.wrapping_add(1), ..self }
    }
}

/// Which sessions have run, since a connection was clean, what may have called a routine or made a user
/// variable: servers don't tell of all that are set there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strays {
    /// None has.
    #[default]
    None,
    /// One session.
    Of(Life),
    /// Several.
    Many,
}

impl Strays {
    /// `life` has run such a statement.
    pub fn note(&mut self, life: Life) {
        *self = match *self {
            Self::None => Self::Of(life),
            Self::Of(before) if before == life => Self::Of(before),
            Self::Of(_) | Self::Many => Self::Many,
        };
    }

    /// Whether another session than this has.
    pub fn are_of_other(self, life: Life) -> bool {
        match self {
            Self::None => false,
            Self::Of(owner) => owner != life,
            Self::Many => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_reset_a_session_is_another_one() {
        let before = Life::first(7);
        let after = before.next();
        let mut strays = Strays::None;
        assert!(!strays.are_of_other(before));
        strays.note(before);
        assert!(!strays.are_of_other(before));
        assert!(strays.are_of_other(after) && strays.are_of_other(Life::first(8)));
        strays.note(after);
        assert_eq!(strays, Strays::Many);
    }
}

//! What a session holds on its connection by name, so that its pin can be dropped with the last.

use super::pin::Pin;
use crate::sql::{Held, Holding};

/// Most names kept; more of them are not known.
const NAMES_MAX: usize = 64;

/// What is held, as far as it is known.
#[derive(Debug, Default)]
pub struct Holdings([Names; Held::ALL.len()]);

#[derive(Debug, Default)]
struct Names {
    known: Vec<Box<[u8]>>,
    /// Something may be held that is not known.
    has_unknown: bool,
}

impl Held {
    /// The pin of what is held.
    pub fn pin(self) -> Pin {
        match self {
            Self::Table => Pin::TemporaryTable,
            Self::Lock => Pin::UserLock,
            Self::Handler => Pin::Handler,
            Self::Prepared => Pin::SqlPrepare,
        }
    }
}

impl Holdings {
    /// A statement that takes something of this kind has run, or may have.
    pub fn take(&mut self, held: Held, change: Option<&Holding>) {
        let names = &mut self.0[held as usize];
        match change {
            Some(Holding::Takes(kind, name)) if *kind == held && names.known.len() < NAMES_MAX => {
                // A lock counts as often as it is taken.
                if held == Held::Lock || !names.known.contains(name) {
                    names.known.push(name.clone());
                }
            }
            _ => names.has_unknown = true,
        }
    }

    /// Something of this kind may be held under a name that is not known.
    pub fn lose_track(&mut self, held: Held) {
        self.0[held as usize].has_unknown = true;
    }

    /// Nothing is held under this name, however often it was taken; whether nothing of the kind is held any
    /// more.
    pub fn forget(&mut self, held: Held, name: &[u8]) -> bool {
        let names = &mut self.0[held as usize];
        names.known.retain(|known| **known != *name);
        names.known.is_empty() && !names.has_unknown
    }

    /// A statement has succeeded that gives something back; the kind of which nothing is held any
    /// more.
    pub fn free(&mut self, change: &Holding) -> Option<Held> {
        let held = match change {
            Holding::Frees(held, freed) => {
                let known = &mut self.0[*held as usize].known;
                for name in freed {
                    if let Some(index) = known.iter().position(|known| known == name) {
                        known.remove(index);
                    }
                }
                *held
            }
            Holding::FreesAll(held) => {
                self.0[*held as usize] = Names::default();
                *held
            }
            Holding::Takes(..) | Holding::Renames | Holding::Sets(_) => return None,
        };
        let names = &self.0[held as usize];
        (names.known.is_empty() && !names.has_unknown).then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(held: Held, name: &str) -> Holding {
        Holding::Takes(held, name.as_bytes().into())
    }

    fn frees(held: Held, name: &str) -> Holding {
        Holding::Frees(held, vec![name.as_bytes().into()])
    }

    #[test]
    fn the_last_one_frees_its_kind() {
        let mut holdings = Holdings::default();
        holdings.take(Held::Table, Some(&takes(Held::Table, "shop.a")));
        holdings.take(Held::Table, Some(&takes(Held::Table, "shop.b")));
        holdings.take(Held::Table, Some(&takes(Held::Table, "shop.b")));
        assert_eq!(holdings.free(&frees(Held::Table, "shop.b")), None);
        assert_eq!(holdings.free(&frees(Held::Table, "shop.B")), None);
        assert_eq!(holdings.free(&frees(Held::Table, "shop.a")), Some(Held::Table));
    }

    #[test]
    fn a_lock_is_given_back_as_often_as_it_was_taken() {
        let mut holdings = Holdings::default();
        holdings.take(Held::Lock, Some(&takes(Held::Lock, "a")));
        holdings.take(Held::Lock, Some(&takes(Held::Lock, "a")));
        assert_eq!(holdings.free(&frees(Held::Lock, "a")), None);
        assert_eq!(holdings.free(&frees(Held::Lock, "a")), Some(Held::Lock));
    }

    #[test]
    fn a_lock_that_was_not_granted_was_not_taken() {
        let mut holdings = Holdings::default();
        holdings.take(Held::Lock, Some(&takes(Held::Lock, "a")));
        holdings.take(Held::Lock, Some(&takes(Held::Lock, "b")));
        holdings.take(Held::Lock, Some(&takes(Held::Lock, "b")));
        assert!(!holdings.forget(Held::Lock, b"b"));
        assert!(holdings.forget(Held::Lock, b"a"));
        holdings.take(Held::Lock, None);
        assert!(!holdings.forget(Held::Lock, b"a"));
    }

    #[test]
    fn what_is_not_known_stays() {
        let mut holdings = Holdings::default();
        holdings.take(Held::Lock, None);
        holdings.take(Held::Lock, Some(&takes(Held::Lock, "a")));
        assert_eq!(holdings.free(&frees(Held::Lock, "a")), None);
        assert_eq!(holdings.free(&Holding::FreesAll(Held::Lock)), Some(Held::Lock));
        for index in 0..=NAMES_MAX {
            holdings.take(Held::Handler, Some(&takes(Held::Handler, &index.to_string())));
        }
        for index in 0..=NAMES_MAX {
            assert_eq!(holdings.free(&frees(Held::Handler, &index.to_string())), None);
        }
    }
}

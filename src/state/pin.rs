//! Why a session is bound to its backend connection.

use bitflags::bitflags;

use crate::sql::Effects;

macro_rules! pins {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $label:literal;)*) => {
        /// One reason to stay on a connection.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Pin { $($(#[$doc])* $name = $bit,)* }

        impl Pin {
            /// All reasons; the index of each is its number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
            /// Metric labels, in the order of [`Pin::ALL`].
            pub const LABELS: &[&'static str] = &[$($label,)*];
        }
    };
}

pins! {
    /// A temporary table.
    TemporaryTable = 0, "temporary_table";
    /// GET_LOCK.
    UserLock = 1, "user_lock";
    /// LOCK TABLES, FLUSH ... WITH READ LOCK, until UNLOCK TABLES.
    TableLock = 2, "table_lock";
    /// A user variable.
    UserVariable = 3, "user_variable";
    /// SQL-level PREPARE.
    SqlPrepare = 4, "sql_prepare";
    /// HANDLER ... OPEN.
    Handler = 5, "handler";
    /// SQL_CALC_FOUND_ROWS, until its result is replaced.
    FoundRows = 6, "found_rows";
    /// An XA transaction branch.
    Xa = 7, "xa";
    /// SET ROLE.
    Role = 8, "role";
    /// SET TRANSACTION for the next transaction.
    NextTransaction = 9, "next_transaction";
    /// LAST_INSERT_ID(expr) where no OK packet reports it.
    InsertIdExpression = 10, "insert_id_expression";
    /// Something in the session changed that the trackers name no further.
    StateChanged = 11, "state_changed";
    /// A variable that can't be replayed.
    UnreplayableVariable = 12, "unreplayable_variable";
    /// Long data of a prepared statement is on the server.
    LongData = 13, "long_data";
    /// An open cursor.
    Cursor = 14, "cursor";
    /// The client changed the session trackers Fairlane relies on.
    Trackers = 15, "trackers";
    /// A value was taken from a sequence, and LASTVAL answers for the connection.
    Sequence = 16, "sequence";
    /// The password had expired at the login: the connection is the session's to its end.
    ExpiredPassword = 17, "expired_password";
    /// LOCK INSTANCE, BACKUP STAGE, BACKUP LOCK.
    BackupLock = 18, "backup_lock";
    /// A lock of MySQL's locking service or of version tokens.
    ServiceLock = 19, "service_lock";
    /// A package was used, whose variables are the connection's (MariaDB).
    Package = 20, "package";
}

impl Pin {
    /// The metric label.
    pub fn label(self) -> &'static str {
        Self::LABELS[self as usize]
    }
}

bitflags! {
    /// A set of reasons.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Pins: u32 {
        const _ = !0;
    }
}

impl Pins {
    /// The reasons in the set.
    pub fn reasons(self) -> impl Iterator<Item = Pin> {
        let mut left = self.bits();
        std::iter::from_fn(move || {
            let pin = Pin::ALL.get(usize::try_from(left.trailing_zeros()).ok()?)?;
            left &= left - 1;
            Some(*pin)
        })
    }

    /// Whether `pin` is in the set.
    pub fn has(self, pin: Pin) -> bool {
        self.bits() & (1 << pin as usize) != 0
    }

    /// Adds `pin`.
    pub fn add(&mut self, pin: Pin) {
        *self = Self::from_bits_retain(self.bits() | 1 << pin as usize);
    }

    /// Takes `pin` out.
    pub fn drop(&mut self, pin: Pin) {
        *self = Self::from_bits_retain(self.bits() & !(1 << pin as usize));
    }

    /// The reasons a statement with `effects` brings once it has succeeded.
    pub fn of_effects(effects: Effects) -> Self {
        const TABLE: &[(Effects, Pin)] = &[
            (Effects::TEMPORARY_TABLE, Pin::TemporaryTable),
            (Effects::USER_LOCK, Pin::UserLock),
            (Effects::TABLE_LOCK, Pin::TableLock),
            (Effects::USER_VARIABLE, Pin::UserVariable),
            (Effects::SQL_PREPARE, Pin::SqlPrepare),
            (Effects::HANDLER, Pin::Handler),
            (Effects::FOUND_ROWS, Pin::FoundRows),
            (Effects::XA, Pin::Xa),
            (Effects::ROLE, Pin::Role),
            (Effects::NEXT_TRANSACTION, Pin::NextTransaction),
            (Effects::INSERT_ID_EXPRESSION, Pin::InsertIdExpression),
            (Effects::UNREPLAYABLE_VARIABLE, Pin::UnreplayableVariable),
            (Effects::SEQUENCE, Pin::Sequence),
            (Effects::BACKUP_LOCK, Pin::BackupLock),
            (Effects::SERVICE_LOCK, Pin::ServiceLock),
            (Effects::PACKAGE, Pin::Package),
            (Effects::UNREADABLE, Pin::StateChanged),
        ];
        let mut pins = Self::default();
        if effects.is_empty() {
            return pins;
        }
        for &(effect, pin) in TABLE {
            if effects.contains(effect) {
                pins.add(pin);
            }
        }
        pins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_reasons_go_together() {
        let mut pins = Pins::of_effects(Effects::USER_LOCK | Effects::XA);
        assert_eq!(pins.reasons().map(Pin::label).collect::<Vec<_>>(), ["user_lock", "xa"]);
        pins.drop(Pin::Xa);
        assert!(!pins.has(Pin::Xa) && pins.has(Pin::UserLock));
        for (index, pin) in Pin::ALL.iter().enumerate() {
            assert_eq!(*pin as usize, index);
        }
    }
}

//! What a server calls the variables of a session's transactions.

use crate::protocol::Family;

/// Either pair of names. MariaDB has known the second since 11.1, and warns of the first since then; 10.11
/// knows the first alone, MySQL the second.
///
/// FACT(mariadb 11.8): setting `tx_read_only` or `tx_isolation` leaves warning 1287; test:
/// `nobody_has_the_warnings_of_what_carries_a_session`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TransactionNames {
    /// `tx_isolation` and `tx_read_only`.
    Short,
    /// `transaction_isolation` and `transaction_read_only`.
    #[default]
    Long,
}

/// The names of a session's isolation level, short and long.
pub const ISOLATION: [&str; 2] = ["tx_isolation", "transaction_isolation"];

/// The names of a session's access mode, short and long.
pub const READ_ONLY: [&str; 2] = ["tx_read_only", "transaction_read_only"];

impl TransactionNames {
    /// Those of a server whose greeting has this version, which an operator may have chosen: then the names
    /// that all of MariaDB know.
    pub fn of(family: Family, version: &str) -> Self {
        if !version.contains("MariaDB") {
            return if family.is_mariadb() { Self::Short } else { Self::Long };
        }
        let own = version.strip_prefix("5.5.5-").unwrap_or(version);
        let mut numbers = own.split('.').map(|number| number.parse().unwrap_or(0));
        let since = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        if since >= (11, 1) { Self::Long } else { Self::Short }
    }

    /// The variable that says whether a session can only read.
    pub fn read_only(self) -> &'static str {
        self.pick(READ_ONLY)
    }

    /// A variable's name as this server has it.
    pub(super) fn own(self, name: &str) -> &str {
        let pairs = [ISOLATION, READ_ONLY];
        let pair = pairs.into_iter().find(|pair| pair.contains(&name));
        pair.map_or(name, |pair| self.pick(pair))
    }

    fn pick(self, [short, long]: [&'static str; 2]) -> &'static str {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hang_on_the_version() {
        let (long, short) = (TransactionNames::Long, TransactionNames::Short);
        assert_eq!(TransactionNames::of(Family::MariaDb, "8.0.35-ours"), short);
        for (version, names) in [
            ("9.7.0", long),
            ("8.4.3-3", long),
            ("5.5.5-10.11.6-MariaDB-0+deb12u1", short),
            ("10.6.18-MariaDB", short),
            ("11.0.2-MariaDB", short),
            ("11.1.2-MariaDB", long),
            ("11.8.9-MariaDB-4 from Debian", long),
            ("5.5.5-11.4.2-MariaDB", long),
            ("12.0.1-MariaDB", long),
        ] {
            assert_eq!(
                TransactionNames::of(Family::of_version(version), version),
                names,
                "{version}"
            );
        }
        assert_eq!(short.own("transaction_isolation"), "tx_isolation");
        assert_eq!(long.own("tx_read_only"), "transaction_read_only");
        assert_eq!(short.own("time_zone"), "time_zone");
    }
}

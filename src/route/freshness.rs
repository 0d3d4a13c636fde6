//! GTID positions: has a replica applied what a session wrote?
//!
//! MariaDB writes a position as `domain-server-sequence[,...]`; within a domain the sequence
//! grows with commit order, so one number per domain tells what is applied
//! (<https://mariadb.com/kb/en/gtid/>).

/// Highest sequence number per replication domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// (domain, sequence), unordered, one entry per domain; nearly always a single one.
    domains: Vec<(u32, u64)>,
}

impl Position {
    /// Parses a MariaDB GTID list; `None` when it is not one. An empty text is an empty position.
    pub fn parse(text: &str) -> Option<Self> {
        let mut position = Self::default();
        for gtid in text.split(',').map(str::trim).filter(|gtid| !gtid.is_empty()) {
            let mut parts = gtid.splitn(3, '-');
            let domain = parts.next()?.parse().ok()?;
            let _server: u32 = parts.next()?.parse().ok()?;
            let sequence = parts.next()?.parse().ok()?;
            position.advance(domain, sequence);
        }
        Some(position)
    }

    /// Raises one domain to `sequence`; a lower number changes nothing.
    pub fn advance(&mut self, domain: u32, sequence: u64) {
        match self.domains.iter_mut().find(|(known, _)| *known == domain) {
            Some((_, highest)) => *highest = sequence.max(*highest),
            None => self.domains.push((domain, sequence)),
        }
    }

    /// Raises every domain of `self` to that of `other`.
    pub fn merge(&mut self, other: &Self) {
        for &(domain, sequence) in &other.domains {
            self.advance(domain, sequence);
        }
    }

    /// Whether everything in `token` is applied here.
    pub fn covers(&self, token: &Self) -> bool {
        token.domains.iter().all(|(domain, wanted)| {
            self.domains.iter().any(|(known, applied)| known == domain && applied >= wanted)
        })
    }

    /// Nothing written yet.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Sum of the sequences: a single number for a gauge; grows with each applied transaction.
    pub fn sequence_sum(&self) -> u64 {
        self.domains.iter().map(|(_, sequence)| sequence).sum()
    }
}

impl std::fmt::Display for Position {
    /// `domain:sequence`, comma separated.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (domain, sequence)) in self.domains.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{domain}:{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_covers_what_it_has_applied_and_no_more() {
        let applied = Position::parse("0-1-9, 3-2-4").expect("a position");
        assert!(applied.covers(&Position::parse("0-7-9").expect("a position")));
        assert!(!applied.covers(&Position::parse("0-1-10").expect("a position")));
        assert!(!applied.covers(&Position::parse("5-1-1").expect("a position")));
        assert!(applied.covers(&Position::default()));
        assert!(Position::parse("nonsense").is_none());
    }
}

//! GTID positions: has a replica applied what a session wrote?
//!
//! Both families number the transactions of each origin; a position is a set of such numbers.
//!
//! - MariaDB writes `domain-server-sequence[,...]`. Within a replication domain the sequence grows
//!   with commit order, so that one number tells that all before it are applied
//!   (<https://mariadb.com/kb/en/gtid/>).
//! - MySQL writes `uuid[:tag]:first[-last][:...][,...]`: the server that committed, and the ranges
//!   of its numbers that are applied; there may be gaps
//!   (<https://dev.mysql.com/doc/refman/9.7/en/replication-gtids-concepts.html>).

use std::fmt;

/// Most spans kept when positions are merged: those of a session that writes between others'
/// writes on MySQL. Beyond that the oldest ones become one with the gap between them, which asks
/// a replica for more than the session needs and never for less.
const MERGED_SPANS_MAX: usize = 16;

/// What numbers its transactions by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    /// MariaDB's replication domain.
    Domain(u32),
    /// MySQL's server, by its UUID in lower case, with the tag if any.
    Server(Box<str>),
}

/// Consecutive transactions of one origin.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    origin: Origin,
    first: u64,
    last: u64,
    /// The server that has committed the last one (MariaDB; its number is told nowhere else).
    server: u32,
}

/// A set of transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Sorted; spans of one origin neither overlap nor touch. Nearly always a single one.
    spans: Vec<Span>,
}

impl Position {
    /// Parses a GTID list of either family; `None` when it is not one. An empty text is an empty
    /// position.
    pub fn parse(text: &str) -> Option<Self> {
        let mut position = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.contains(':') {
                true => position.add_server(part)?,
                false => position.add_domain(part)?,
            }
        }
        Some(position)
    }

    fn add_domain(&mut self, gtid: &str) -> Option<()> {
        let (domain, server, last) = parts_of(gtid)?;
        self.add(Span { origin: Origin::Domain(domain), first: 1, last, server });
        Some(())
    }

    fn add_server(&mut self, set: &str) -> Option<()> {
        let (uuid, rest) = set.split_once(':')?;
        let is_uuid = uuid.len() == 36 && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if !is_uuid {
            return None;
        }
        let mut name = uuid.to_ascii_lowercase();
        let is_tag = |part: &str| part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let mut parts = rest.split(':').map(str::trim).peekable();
        while let Some(part) = parts.next() {
            // A tag is for the ranges behind it.
            if is_tag(part) && parts.peek().is_some_and(|next| !is_tag(next)) {
                name.truncate(uuid.len());
                name.push(':');
                name.push_str(&part.to_ascii_lowercase());
                continue;
            }
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            let origin = Origin::Server(name.as_str().into());
            self.add(Span { origin, first, last, server: 0 });
        }
        Some(())
    }

    /// Adds a span and joins it with those it overlaps or touches.
    fn add(&mut self, mut span: Span) {
        if span.first > span.last {
            return;
        }
        let is_apart = |known: &Span| {
            known.origin != span.origin
                || known.last.saturating_add(1) < span.first
                || span.last.saturating_add(1) < known.first
        };
        // Apart from parsing, a position nearly always has one span and the new one extends it.
        let (mut first, mut last, mut server) = (span.first, span.last, span.server);
        self.spans.retain(|known| {
            let stays = is_apart(known);
            if !stays {
                first = first.min(known.first);
                (last, server) = (last, server).max((known.last, known.server));
            }
            stays
        });
        (span.first, span.last, span.server) = (first, last, server);
        let index = self.spans.partition_point(|known| *known < span);
        self.spans.insert(index, span);
    }

    /// Adds everything that `other` has.
    pub fn merge(&mut self, other: &Self) {
        other.spans.iter().for_each(|span| self.add(span.clone()));
        while self.spans.len() > MERGED_SPANS_MAX && self.join_oldest() {}
    }

    /// Makes one of the first two spans that have the same origin; `false` when there are none.
    fn join_oldest(&mut self) -> bool {
        let pair = self.spans.windows(2).position(|pair| pair[0].origin == pair[1].origin);
        if let Some(index) = pair {
            self.spans[index].last = self.spans[index + 1].last;
            self.spans.remove(index + 1);
        }
        pair.is_some()
    }

    /// Takes out what is of origins that `other` has nothing of.
    pub fn split_off(&mut self, other: &Self) -> Self {
        let is_known = |span: &Span| other.spans.iter().any(|known| known.origin == span.origin);
        let (known, strange) = std::mem::take(&mut self.spans).into_iter().partition(is_known);
        self.spans = known;
        Self { spans: strange }
    }

    /// Whether everything in `token` is applied here.
    pub fn covers(&self, token: &Self) -> bool {
        token.spans.iter().all(|wanted| self.covers_span(wanted))
    }

    fn covers_span(&self, wanted: &Span) -> bool {
        self.spans.iter().any(|known| {
            known.origin == wanted.origin
                && known.first <= wanted.first
                && known.last >= wanted.last
        })
    }

    /// Whether it has more of a replication domain than `other` (MariaDB).
    pub fn is_ahead(&self, other: &Self, domain: u32) -> bool {
        let last = |position: &Self| position.of_domain(domain).map(|span| span.last);
        last(self) > last(other)
    }

    /// Whether it has something under a server's own numbers that `other` has not (MySQL): `uuid` in lower case.
    pub fn has_more_of(&self, uuid: &str, other: &Self) -> bool {
        self.own(uuid).any(|span| !other.covers_span(span))
    }

    /// Adds what `other` has under a server's own numbers (MySQL): `uuid` in lower case.
    pub fn merge_own(&mut self, other: &Self, uuid: &str) {
        other.own(uuid).for_each(|span| self.add(span.clone()));
    }

    fn own<'a>(&'a self, uuid: &'a str) -> impl Iterator<Item = &'a Span> {
        let is_own = move |name: &str| name.split(':').next() == Some(uuid);
        let own = move |span: &&Span| matches!(&span.origin, Origin::Server(name) if is_own(name));
        self.spans.iter().filter(own)
    }

    /// Whether it has another last transaction of a replication domain, of a number that `other` has not passed
    /// (MariaDB).
    pub fn outnumbers(&self, other: &Self, domain: u32) -> bool {
        let pair = self.of_domain(domain).zip(other.of_domain(domain));
        pair.is_some_and(|(own, other)| {
            own.last > other.last || own.last == other.last && own.server != other.server
        })
    }

    /// Whether its last transaction of a replication domain is that of `other`, or a later one of the same server
    /// (MariaDB).
    pub fn has_reached(&self, other: &Self, domain: u32) -> bool {
        let pair = self.of_domain(domain).zip(other.of_domain(domain));
        pair.is_some_and(|(own, other)| own.server == other.server && own.last >= other.last)
    }

    /// The part of which somebody else knows, who is asked for the domain, server and number of each last
    /// transaction (MariaDB). A domain with another last one is as far as in the first of `earlier` that is known
    /// and no more than this.
    pub fn known_part(&self, earlier: &[&Self], is_known: impl Fn(u32, u32, u64) -> bool) -> Self {
        let is_known = |span: &&Span| match span.origin {
            Origin::Domain(domain) => is_known(domain, span.server, span.last),
            Origin::Server(_) => true,
        };
        let part = |span: &Span| {
            let before = earlier.iter().flat_map(|position| &position.spans);
            let before = before.filter(|it| it.origin == span.origin && it.last <= span.last);
            std::iter::once(span).chain(before).find(is_known).cloned()
        };
        Self { spans: self.spans.iter().filter_map(part).collect() }
    }

    /// What it has of a replication domain (MariaDB).
    pub fn only(&self, domain: u32) -> Self {
        Self { spans: self.of_domain(domain).into_iter().cloned().collect() }
    }

    /// Whether `whole` has the same of all origins that it has something of.
    pub fn is_part_of(&self, whole: &Self) -> bool {
        self.spans.iter().all(|span| whole.spans.contains(span))
    }

    /// Whether it has something of a replication domain (MariaDB).
    pub fn has_domain(&self, domain: u32) -> bool {
        self.of_domain(domain).is_some()
    }

    fn of_domain(&self, domain: u32) -> Option<&Span> {
        self.spans.iter().find(|span| span.origin == Origin::Domain(domain))
    }

    /// Nothing written yet.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// Number of transactions: a single number for a gauge; grows with each applied one.
    pub fn sequence_sum(&self) -> u64 {
        let count = |span: &Span| (span.last - span.first).saturating_add(1);
        self.spans.iter().map(count).fold(0, u64::saturating_add)
    }
}

/// Domain, server and number of MariaDB's GTID.
fn parts_of(gtid: &str) -> Option<(u32, u32, u64)> {
    let mut parts = gtid.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Which transactions of which servers somebody has (MariaDB): where a failover has lost some, their numbers
/// alone do not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins {
    /// Domain, server, and the last one's number.
    known: Vec<(u32, u32, u64)>,
}

impl Origins {
    /// Adds a list of GTIDs, such as `gtid_binlog_state`: who has one has all before it of that server. Those
    /// of the server `own` that tells it are left out: it gives numbers anew when it has lost some.
    pub fn add(&mut self, text: &str, own: u32) {
        let gtids = text.split(',').filter_map(|gtid| parts_of(gtid.trim()));
        self.known.extend(gtids.filter(|(_, server, _)| *server != own));
    }

    /// Whether the last transaction of `position` in this domain is among them; `None` when none of its
    /// server is known.
    pub fn have(&self, position: &Position, domain: u32) -> Option<bool> {
        let Span { server, last, .. } = *position.of_domain(domain)?;
        self.last(domain, server).map(|known| known >= last)
    }

    /// Whether this transaction of that server is among them.
    pub fn has(&self, domain: u32, server: u32, number: u64) -> bool {
        self.last(domain, server).is_some_and(|known| known >= number)
    }

    fn last(&self, domain: u32, server: u32) -> Option<u64> {
        let known = self.known.iter().filter(|known| (known.0, known.1) == (domain, server));
        known.map(|known| known.2).max()
    }
}

/// What is known of the transactions that a replica has committed itself, as when it was the primary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Own {
    /// Its UUID, in lower case (MySQL).
    server: Box<str>,
    /// Domain, its own number as a server, and the last transaction's in its log (MariaDB).
    logged: Vec<(u32, u32, u64)>,
}

impl Own {
    /// `server` is a UUID (MySQL), or the number that is in its GTIDs (MariaDB), of which `logged` is a list.
    pub fn new(server: &str, logged: &str) -> Self {
        let gtids = logged.split(',').filter_map(|gtid| parts_of(gtid.trim()));
        let own = server.parse().ok();
        let logged = gtids.filter(|(_, server, _)| Some(*server) == own).collect();
        Self { server: server.to_ascii_lowercase().into(), logged }
    }

    /// Whether a primary that has some of them, as `origins` tell, lacks others (MariaDB): in the domain in which
    /// that commits.
    pub fn is_lost_in_domain(&self, origins: &Origins, domain: u32) -> bool {
        let mut logged = self.logged.iter().filter(|logged| logged.0 == domain);
        logged.any(|(_, server, last)| origins.last(domain, *server).is_some_and(|had| had < *last))
    }

    /// Whether a primary that has some of them lacks others of those in `applied` (MySQL).
    pub fn is_lost(&self, applied: &Position, primary: &Position) -> bool {
        let has_some = primary.has_more_of(&self.server, &Position::default());
        has_some && applied.has_more_of(&self.server, primary)
    }
}

impl fmt::Display for Position {
    /// `domain:sequence` or `uuid:first-last`, comma separated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Span { origin, first, last, .. }) in self.spans.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            match origin {
                Origin::Domain(domain) => write!(f, "{separator}{domain}:{last}")?,
                Origin::Server(name) => write!(f, "{separator}{name}:{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn position(text: &str) -> Position {
        Position::parse(text).expect("a position")
    }

    #[test]
    fn a_position_covers_what_it_has_applied_and_no_more() {
        let applied = position("0-1-9, 3-2-4");
        assert!(applied.covers(&position("0-7-9")));
        assert!(!applied.covers(&position("0-1-10")));
        assert!(!applied.covers(&position("5-1-1")));
        assert!(applied.covers(&Position::default()));
        assert!(Position::parse("nonsense").is_none());
    }

    #[test]
    fn a_domain_counts_as_far_as_its_last_transaction_is_known() {
        let part = |text: &str, earlier: [&str; 2]| {
            let earlier = earlier.map(position);
            position(text).known_part(&[&earlier[0], &earlier[1]], |domain, server, last| {
                domain == 3 || server == 1 || server == 2 && last <= 5
            })
        };
        assert_eq!(part("0-1-9,3-7-4", ["", ""]), position("0-1-9,3-7-4"));
        assert_eq!(part("0-2-5", ["", ""]), position("0-2-5"));
        assert_eq!(part("0-2-6", ["", ""]), Position::default());
        assert_eq!(part("0-2-9,3-7-4", ["0-2-8", "0-1-7"]), position("0-1-7,3-7-4"));
        assert_eq!(part("0-2-9", ["0-1-8", "0-1-7"]), position("0-1-8"));
        assert_eq!(part("0-2-6", ["0-1-7", "0-2-5"]), position("0-2-5"), "it was set back");
        assert_eq!(part("", ["0-1-7", ""]), Position::default());
        let mysql = format!("{A}:1-9");
        assert_eq!(part(&mysql, ["", ""]), position(&mysql));
    }

    #[test]
    fn a_mysql_position_has_gaps_servers_and_tags() {
        let other = A.replace("3e11", "ffff");
        let applied = position(&format!("{A}:1-5:7:9-12:deploy:1-3,\n{other}:4"));
        for covered in [":1-5", ":7", ":3", ":10-11", ":deploy:2", ":Deploy:1-3:9"] {
            let token = position(&format!("{}{covered}", A.to_ascii_uppercase()));
            let is_covered = !covered.ends_with(":9");
            assert_eq!(applied.covers(&token), is_covered, "{covered}");
        }
        for missing in [format!("{A}:6"), format!("{A}:5-7"), format!("{other}:1-4")] {
            assert!(!applied.covers(&position(&missing)), "{missing}");
        }
        assert_eq!(applied.sequence_sum(), 5 + 1 + 4 + 3 + 1);
        for wrong in [":", ":x", ":1-", ":1-x", ":x:y:1", ":1:"] {
            assert!(Position::parse(&format!("{A}{wrong}")).is_none(), "{wrong}");
        }
        assert!(Position::parse("3e11fa47:1").is_none());
    }

    #[test]
    fn what_is_more_of_a_server_is_that_of_its_tags_as_well_and_of_no_other() {
        let other = A.replace("3e11", "ffff");
        let primary = position(&format!("{A}:1-5:deploy:1-3,{other}:1-4"));
        for (applied, is_more) in [
            (format!("{A}:2-4"), false),
            (format!("{A}:1-5:deploy:1-3"), false),
            (format!("{A}:1-6"), true),
            (format!("{A}:1-5:deploy:4"), true),
            (format!("{A}:1-5:test:1"), true),
            (format!("{A}:1-5,{other}:1-99"), false),
            (String::new(), false),
        ] {
            assert_eq!(position(&applied).has_more_of(A, &primary), is_more, "{applied}");
        }
    }

    #[test]
    fn what_was_applied_outnumbers_a_log_that_begins_anew_until_that_has_passed_it() {
        let applied = position("0-1-93,7-1-5");
        for (log, is_before) in [
            ("0-2-1", true),
            ("0-1-40,0-2-92", true),
            ("0-2-93", true),
            // It was logged as well.
            ("0-1-93", false),
            ("0-2-94", false),
            ("0-1-93,0-2-94,7-2-1", false),
            ("7-2-1", false),
            ("", false),
        ] {
            assert_eq!(applied.outnumbers(&position(log), 0), is_before, "{log}");
        }
        for (own, has_it) in [
            ("0-1-93", false),
            ("0-2-4", false),
            ("0-2-5,7-1-5", true),
            ("0-2-6", true),
            ("", false),
        ] {
            assert_eq!(position(own).has_reached(&position("0-2-5"), 0), has_it, "{own}");
        }
    }

    #[test]
    fn numbers_at_their_limits_are_counted_without_overflow() {
        let whole = position(&format!("{A}:0-{max}, 3-1-{max}", max = u64::MAX));
        assert_eq!(whole.sequence_sum(), u64::MAX);
        assert!(whole.covers(&position(&format!("{A}:{}", u64::MAX))));
        // Servers number from 1: with 0 nothing is written yet.
        let none = position("0-1-0");
        assert!(none.is_empty() && none.sequence_sum() == 0);
    }

    #[test]
    fn merged_positions_join_where_they_touch() {
        let mut token = position("0-1-9");
        token.merge(&position("0-1-12,1-1-1"));
        assert_eq!(token.to_string(), "0:12,1:1");
        let mut token = position(&format!("{A}:5"));
        token.merge(&position(&format!("{A}:7-8")));
        token.merge(&position(&format!("{A}:6")));
        token.merge(&position(&format!("{A}:10")));
        assert_eq!(token.to_string(), format!("{A}:5-8,{A}:10-10"));
    }

    #[test]
    fn whose_the_last_one_is_tells_what_its_number_does_not() {
        let mut primary = Origins::default();
        primary.add("0-1-95, 0-2-200,5-3-7,0-4-210", 4);
        primary.add("0-3-40,", 4);
        for (own, has) in [
            ("0-1-95", Some(true)),
            ("0-1-120", Some(false)),
            ("0-2-120", Some(true)),
            ("0-3-41", Some(false)),
            ("0-9-1", None),
            ("0-4-210", None),
            ("5-1-1", None),
            ("", None),
        ] {
            assert_eq!(primary.have(&position(own), 0), has, "{own}");
        }
        let mut merged = position("0-1-95");
        merged.merge(&position("0-2-96"));
        merged.merge(&position("0-1-94"));
        assert_eq!(merged, position("0-2-96"));
    }

    #[test]
    fn what_a_primary_has_lost_of_a_replicas_own_is_found_unless_it_never_had_any() {
        let mut primary = Origins::default();
        primary.add("0-1-95,0-2-200", 2);
        for (server, logged, is_lost) in [
            ("1", "0-1-95,0-2-200", false),
            ("1", "0-1-96,0-2-200", true),
            ("1", "0-3-99,5-1-120", false),
            ("3", "0-3-120", false),
            ("2", "0-2-300", false),
            ("", "", false),
        ] {
            assert_eq!(
                Own::new(server, logged).is_lost_in_domain(&primary, 0),
                is_lost,
                "{logged}"
            );
        }
        let other = A.replace("3e11", "ffff");
        let primary = position(&format!("{A}:1-20,{other}:1-4"));
        for (server, applied, is_lost) in [
            (A, format!("{A}:1-25"), true),
            (A, format!("{A}:1-20,{other}:1-9"), false),
            (&other, format!("{A}:1-25,{other}:1-4"), false),
            // Nothing of its own was ever the primary's.
            (&A.replace("3e11", "aaaa"), format!("{}:1", A.replace("3e11", "aaaa")), false),
            ("", format!("{A}:1-25"), false),
        ] {
            let own = Own::new(&server.to_ascii_uppercase(), "");
            assert_eq!(own.is_lost(&position(&applied), &primary), is_lost, "{applied}");
        }
    }

    #[test]
    fn a_merged_position_is_bounded_and_never_asks_for_less() {
        let mut token = Position::default();
        let written: Vec<Position> =
            (1..=100).map(|number| position(&format!("{A}:{}", number * 3))).collect();
        written.iter().for_each(|one| token.merge(one));
        assert_eq!(token.spans.len(), MERGED_SPANS_MAX);
        assert!(written.iter().all(|one| token.covers(one)));
        assert!(!position(&format!("{A}:1-299")).covers(&token));
        assert!(position(&format!("{A}:1-300")).covers(&token));
    }
}

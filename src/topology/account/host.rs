//! The host part of an account name: does a client's address match, and which of several matching
//! accounts does the server take? Pure.
//!
//! Rules, as the servers have them (documentation: "Specifying Account Names" and "Access
//! Control, Stage 1" of both families; checked with MariaDB 10.11 and MySQL 9.7, see
//! `tests/topology.rs`):
//!
//! - an empty host is `%`; `%` matches any run of characters, `_` any one, a backslash takes the
//!   next character for itself;
//! - a pattern is compared with the client's address as text and with its name, the name without
//!   letter case;
//! - `10.0.0.0/255.255.0.0` is a network (IPv4 only); MySQL also knows `10.0.0.0/16`;
//! - the most specific matching pattern wins, then a named account before the anonymous one.
//!
//! The only name known here is `localhost`: Fairlane makes no reverse look-ups, so an account for
//! another host *name* (`app@web1.example.net`) never matches.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::protocol::Family;

/// Longest host name the servers store; part of their measure of how general a pattern is.
const MAX_HOST_LENGTH: usize = 255;

/// Whether the server turns addresses into names.
///
/// FACT(mariadb 10.11): with `skip_name_resolve` a client from 127.0.0.1 is not `localhost`, and
/// accounts for that host are only for the Unix socket; test:
/// `accounts_match_without_names_as_well`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Names {
    /// `127.0.0.1` and `::1` are `localhost`.
    #[default]
    Resolved,
    /// `skip_name_resolve`.
    Skipped,
}

/// Who asks: a client's address in the forms the server may know it by.
#[derive(Debug, Clone)]
pub struct Peer {
    address: IpAddr,
    text: String,
    name: Option<&'static str>,
}

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl Peer {
    /// A client of this address. IPv4-mapped IPv6 addresses are IPv4. `127.0.0.1` and `::1` are
    /// also `localhost`; the rest of `127.0.0.0/8` is not, as for the servers.
    pub fn new(client: IpAddr, names: Names) -> Self {
        let address = client.to_canonical();
        let is_named = names == Names::Resolved && LOOPBACK.contains(&address);
        Self { address, text: address.to_string(), name: is_named.then_some("localhost") }
    }

    /// What else a client of a loopback address may be to the server: Fairlane may reach the
    /// server by the other address than the client reached Fairlane.
    pub fn aliases(&self) -> impl Iterator<Item = Self> {
        let is_loopback = LOOPBACK.contains(&self.address);
        LOOPBACK
            .into_iter()
            .filter(move |_| is_loopback)
            .map(|address| Self::new(address, Names::Resolved))
    }
}

/// Host part of an account name.
#[derive(Debug, Clone)]
pub struct HostPattern {
    text: String,
    form: Form,
    rank: Rank,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Network { network: u32, mask: u32 },
    Text(Vec<Token>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    AnyOne,
    AnyRun,
}

/// How general a pattern is; the server tries lower ones first.
///
/// FACT(mariadb 10.11): patterns are ordered by how many texts they match, and when that is
/// equal, a *shorter* literal prefix goes first; names and networks count the same, and among
/// equals the server takes the host text that sorts last (so `localhost` before `127.0.0.1`);
/// test: `accounts_match_as_the_server_matches_them`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank([usize; 4], Reverse<String>);

impl HostPattern {
    /// Any text is a pattern.
    pub fn new(text: &str, family: Family) -> Self {
        let effective = if text.is_empty() { "%" } else { text };
        let tokens = tokens(effective);
        let form = match network(effective, family) {
            Some((network, mask)) => Form::Network { network, mask },
            None => Form::Text(tokens.clone()),
        };
        let measure = match family {
            Family::MariaDb => matched_texts(&tokens),
            Family::MySql => first_wildcard(text, &form, &tokens),
        };
        Self { text: text.to_owned(), form, rank: Rank(measure, Reverse(text.to_owned())) }
    }

    /// The pattern as the server stores it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its place in the server's order.
    pub fn rank(&self) -> &Rank {
        &self.rank
    }

    /// How specific it is, without the server's order among equals.
    pub fn is_as_general_as(&self, other: &Self) -> bool {
        self.rank.0 == other.rank.0
    }

    /// Whether an account with this host is for `peer`.
    pub fn matches(&self, peer: &Peer) -> bool {
        match &self.form {
            Form::Network { network, mask } => {
                matches!(peer.address, IpAddr::V4(address) if u32::from(address) & mask == *network)
            }
            Form::Text(tokens) => {
                wildcard_match(tokens, peer.text.as_bytes(), |a, b| a == b)
                    || peer.name.is_some_and(|name| {
                        wildcard_match(tokens, name.as_bytes(), |a, b| a.eq_ignore_ascii_case(&b))
                    })
            }
        }
    }
}

fn tokens(pattern: &str) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' if tokens.last() == Some(&Token::AnyRun) => {}
            b'%' => tokens.push(Token::AnyRun),
            b'_' => tokens.push(Token::AnyOne),
            b'\\' => tokens.push(Token::Byte(bytes.next().unwrap_or(byte))),
            _ => tokens.push(Token::Byte(byte)),
        }
    }
    tokens
}

/// Base address and mask of `a.b.c.d/mask`.
fn network(text: &str, family: Family) -> Option<(u32, u32)> {
    let (base, mask) = text.split_once('/')?;
    let base: Ipv4Addr = base.parse().ok()?;
    let mask = match (mask.parse::<Ipv4Addr>(), family) {
        (Ok(mask), _) => u32::from(mask),
        (Err(_), Family::MySql) => {
            let bits = mask.parse::<u32>().ok().filter(|bits| (1..=32).contains(bits))?;
            u32::MAX << (32 - bits)
        }
        (Err(_), Family::MariaDb) => return None,
    };
    (mask != 0).then_some((u32::from(base), mask))
}

/// MariaDB's measure: the number of texts a pattern matches, written as numbers that compare the
/// same way. `%` can stand for as many characters as the longest name leaves free, so that room
/// decides; without `%`, the count of `_` does.
fn matched_texts(tokens: &[Token]) -> [usize; 4] {
    let count = |wanted: fn(&Token) -> bool| tokens.iter().filter(|token| wanted(token)).count();
    let literals = count(|token| matches!(token, Token::Byte(_)));
    let ones = count(|token| *token == Token::AnyOne);
    let runs = count(|token| *token == Token::AnyRun);
    if ones + runs == 0 {
        return [0; 4];
    }
    let prefix = tokens.iter().take_while(|token| matches!(token, Token::Byte(_))).count();
    let room = if runs == 0 { 0 } else { MAX_HOST_LENGTH.saturating_sub(literals + ones) };
    if room > ones { [room * 2 + 1, runs, ones, prefix] } else { [ones * 2, room, runs, prefix] }
}

/// MySQL's measure: IPv4 addresses, then networks as `/bits` and as `/mask`, the smaller ones first,
/// then names, then patterns by the place of their first wildcard, the later the more specific,
/// and last `%` alone and the empty text.
///
/// FACT(mysql 9.7): so it is; test: `accounts_match_as_mysql_matches_them`.
fn first_wildcard(text: &str, form: &Form, tokens: &[Token]) -> [usize; 4] {
    let prefix = tokens.iter().take_while(|token| matches!(token, Token::Byte(_))).count();
    let is_in_bits = text.rsplit('/').next().is_some_and(|mask| !mask.contains('.'));
    let (class, place) = match form {
        Form::Network { mask, .. } => (if is_in_bits { 1 } else { 2 }, mask.count_zeros() as usize),
        Form::Text(_) if text.is_empty() => (6, 0),
        Form::Text(_) if text.parse::<Ipv4Addr>().is_ok() => (0, 0),
        Form::Text(_) if prefix == tokens.len() => (3, 0),
        Form::Text(_) if tokens == [Token::AnyRun] => (5, 0),
        Form::Text(_) => (4, MAX_HOST_LENGTH.saturating_sub(prefix)),
    };
    [class, place, 0, 0]
}

/// Whether all of `text` matches; linear in `text` for each `%`.
fn wildcard_match(pattern: &[Token], text: &[u8], same: fn(u8, u8) -> bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut resume: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Token::AnyRun) => {
                resume = Some((p + 1, t));
                p += 1;
            }
            Some(Token::AnyOne) => (p, t) = (p + 1, t + 1),
            Some(Token::Byte(byte)) if same(*byte, text[t]) => (p, t) = (p + 1, t + 1),
            Some(Token::Byte(_)) | None => {
                let Some((after_run, from)) = resume else { return false };
                resume = Some((after_run, from + 1));
                (p, t) = (after_run, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|token| *token == Token::AnyRun)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, client: &str) -> bool {
        let peer = Peer::new(client.parse().expect("an address"), Names::Resolved);
        HostPattern::new(pattern, Family::MariaDb).matches(&peer)
    }

    #[test]
    fn patterns_match_addresses_as_text() {
        for (pattern, client, expected) in [
            ("%", "10.1.2.3", true),
            ("", "10.1.2.3", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3", "::ffff:10.1.2.3", true),
            ("10.1.2.3", "10.1.2.30", false),
            ("10.1.2._", "10.1.2.3", true),
            ("10.1.2._", "10.1.2.33", false),
            ("10.%", "10.1.2.3", true),
            ("10.%.3", "10.1.2.3", true),
            ("10.%.4", "10.1.2.3", false),
            ("%.2.%", "10.1.2.3", true),
            ("10\\_%", "10.1.2.3", false),
            ("10.1.0.0/255.255.0.0", "10.1.2.3", true),
            ("10.1.0.0/255.255.0.0", "10.2.2.3", false),
            ("10.1.0.1/255.255.0.0", "10.1.2.3", false),
            ("10.1.0.0/255.255.0.0", "2001:db8::1", false),
            ("10.1.0.0/16", "10.1.2.3", false),
            ("2001:db8::%", "2001:db8::1", true),
            ("web1.example.net", "10.1.2.3", false),
            ("localhost", "10.1.2.3", false),
        ] {
            assert_eq!(matches(pattern, client), expected, "{pattern} and {client}");
        }
    }

    #[test]
    fn a_loopback_client_is_localhost() {
        for client in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            for pattern in ["localhost", "LOCALHOST", "local%", "%"] {
                assert!(matches(pattern, client), "{pattern} and {client}");
            }
        }
        assert!(!matches("localhost", "127.0.0.5"));
        assert!(matches("127.0.0.0/255.0.0.0", "127.0.0.1"));
        assert!(!matches("::1", "127.0.0.1"));
        let alias = |text: &str| {
            let peer = Peer::new(text.parse().expect("an address"), Names::Skipped);
            peer.aliases().map(|alias| (alias.text, alias.name.is_some())).collect::<Vec<_>>()
        };
        let both = [("127.0.0.1".to_owned(), true), ("::1".to_owned(), true)];
        assert_eq!(alias("127.0.0.1"), both);
        assert_eq!(alias("::1"), both);
        assert!(alias("127.0.0.5").is_empty());
    }

    #[test]
    fn mysql_networks_can_be_given_in_bits() {
        let pattern = HostPattern::new("10.1.0.0/16", Family::MySql);
        assert!(pattern.matches(&Peer::new(IpAddr::from([10, 1, 2, 3]), Names::Resolved)));
        assert!(!pattern.matches(&Peer::new(IpAddr::from([10, 2, 2, 3]), Names::Resolved)));
    }

    fn sorted(family: Family, patterns: &[&str]) -> Vec<String> {
        let mut patterns: Vec<_> =
            patterns.iter().map(|text| HostPattern::new(text, family)).collect();
        patterns.sort_by(|a, b| a.rank().cmp(b.rank()));
        patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect()
    }

    #[test]
    fn the_more_specific_pattern_goes_first() {
        let expected = ["localhost", "127.0.0.1", "127.0.0._", "127.0.0.%", "127.%", "%.%", "%"];
        let mut shuffled = expected;
        shuffled.reverse();
        assert_eq!(sorted(Family::MariaDb, &shuffled), expected);
    }

    #[test]
    fn mysql_puts_addresses_and_networks_before_names_and_patterns() {
        let expected = [
            "127.0.0.1",
            "127.0.0.0/24",
            "127.0.0.0/8",
            "127.0.0.0/255.0.0.0",
            "localhost",
            "local%",
            "127.%",
            "%host",
            "%",
            "",
        ];
        let mut shuffled = expected;
        shuffled.reverse();
        assert_eq!(sorted(Family::MySql, &shuffled), expected);
    }
}

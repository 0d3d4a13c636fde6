//! Which account a client falls under: the servers' own rules.
//!
//! Source: <https://mariadb.com/kb/en/create-user/#account-names>,
//! <https://dev.mysql.com/doc/refman/8.4/en/connection-access.html>: accounts are sorted by host,
//! the most specific first, then by user with the anonymous one last; the first match decides.

use std::net::{IpAddr, Ipv4Addr};

/// How specific a host pattern is: smaller is looked at first.
pub(super) fn rank(host: &str) -> (u8, usize) {
    let first_wildcard = host.find(['%', '_']);
    match first_wildcard {
        None if host.contains('/') => (1, 0),
        None if host.is_empty() => (3, 0),
        None => (0, 0),
        Some(at) => (2, usize::MAX - at),
    }
}

/// Whether a client at `address` comes from `host`. Names other than localhost would need a look
/// at the DNS and match nothing.
pub(super) fn matches(host: &str, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if host.is_empty() || host == "%" {
        return true;
    }
    let is_loopback_name =
        host.eq_ignore_ascii_case("localhost") || host == "127.0.0.1" || host == "::1";
    if is_loopback_name {
        return address.is_loopback();
    }
    if let Some((network, mask)) = host.split_once('/') {
        return matches_mask(network, mask, address);
    }
    if let Ok(exact) = host.parse::<IpAddr>() {
        return exact.to_canonical() == address;
    }
    let text = address.to_string();
    like(host.as_bytes(), text.as_bytes())
        || address.is_loopback() && like(host.as_bytes(), b"localhost")
}

fn matches_mask(network: &str, mask: &str, address: IpAddr) -> bool {
    let IpAddr::V4(address) = address else { return false };
    let Ok(network) = network.parse::<Ipv4Addr>() else { return false };
    let mask = match mask.parse::<Ipv4Addr>() {
        Ok(mask) => mask.to_bits(),
        Err(_) => match mask.parse::<u32>() {
            Ok(bits @ 0..=32) => u32::MAX.checked_shl(32 - bits).unwrap_or(0),
            _ => return false,
        },
    };
    address.to_bits() & mask == network.to_bits()
}

/// SQL LIKE without an escape character, letter case ignored.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut resume = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'%') => {
                resume = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == b'_' || c.eq_ignore_ascii_case(&text[t]) => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((after, from)) = resume else { return false };
                resume = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
        }
    }
    pattern[p..].iter().all(|&c| c == b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_from(host: &str, address: &str) -> bool {
        matches(host, address.parse().expect("an address"))
    }

    #[test]
    fn hosts_match_as_the_servers_match_them() {
        assert!(is_from("%", "10.1.2.3"));
        assert!(is_from("localhost", "127.0.0.1") && is_from("127.0.0.1", "::1"));
        assert!(!is_from("localhost", "10.0.0.1"));
        assert!(is_from("10.1.%", "10.1.2.3") && !is_from("10.1.%", "10.2.2.3"));
        assert!(is_from("10.1.0.0/255.255.0.0", "::ffff:10.1.9.9"));
        assert!(is_from("10.1.0.0/16", "10.1.9.9") && !is_from("10.1.0.0/16", "10.2.9.9"));
        assert!(!is_from("db.example.com", "10.1.2.3"));
        assert!(is_from("local%", "127.0.0.1"));
    }

    #[test]
    fn the_most_specific_host_comes_first() {
        let mut hosts = ["%", "10.%", "10.1.%", "10.0.0.0/255.0.0.0", "10.1.2.3", ""];
        hosts.sort_by_key(|host| rank(host));
        assert_eq!(hosts, ["10.1.2.3", "10.0.0.0/255.0.0.0", "10.1.%", "10.%", "%", ""]);
    }
}

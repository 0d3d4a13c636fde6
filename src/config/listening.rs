//! The part of [`resolve`](super::resolve) about the addresses that Fairlane listens on.

use std::net::SocketAddr;

use super::model::Model;
use super::resolve::{Resolver, is_off};

impl Resolver<'_> {
    pub(super) fn listen(&mut self, model: &Model) -> Vec<SocketAddr> {
        if model.listen.0.is_empty() {
            self.find_invalid("listen", "is empty: clients could connect nowhere");
        }
        let mut addresses = Vec::new();
        for text in &model.listen.0 {
            match text.parse() {
                Ok(address) => addresses.push(address),
                Err(_) => {
                    self.find_invalid("listen", format!("\"{text}\" is not an address with port"));
                }
            }
        }
        self.check_together(&addresses, model.admin.listen.parse().ok());
        addresses
    }

    pub(super) fn admin(&mut self, model: &Model) -> Option<SocketAddr> {
        let text = model.admin.listen.as_str();
        if is_off(text) {
            return None;
        }
        let address = text.parse();
        if address.is_err() {
            self.find_invalid("admin.listen", format!("\"{text}\" is not an address with port"));
        }
        address.ok()
    }

    /// What the system would refuse when Fairlane starts.
    fn check_together(&mut self, addresses: &[SocketAddr], operators: Option<SocketAddr>) {
        for (index, address) in addresses.iter().enumerate() {
            let is_alone = is_v6_only(*address, addresses);
            if addresses[..index].contains(address) && address.port() > 0 {
                self.find(
                    "listen",
                    format!("\"{address}\" stands there twice"),
                    "remove one of them",
                );
            } else if let Some(other) = addresses[..index]
                .iter()
                .find(|other| overlap(*address, is_alone, **other, is_v6_only(**other, addresses)))
            {
                self.find(
                    "listen",
                    format!(
                        "\"{other}\" and \"{address}\" have an address with this port in common"
                    ),
                    "remove the one that is in the other, or give it another port",
                );
            }
            match operators {
                Some(operators) if operators == *address && address.port() > 0 => self.find(
                    "listen",
                    format!("\"{address}\" is also where operators look (admin.listen)"),
                    "give one of the two another port",
                ),
                Some(operators) if overlap(*address, is_alone, operators, false) => self.find(
                    "listen",
                    format!(
                        "\"{address}\" and admin.listen (\"{operators}\") have an address with this \
                         port in common"
                    ),
                    "give one of the two another port",
                ),
                _ => {}
            }
        }
    }
}

/// Whether `[::]` is not to stand for all IPv4 addresses as well: where clients are listened for at
/// one of these with the same port.
pub fn is_v6_only(address: SocketAddr, all: &[SocketAddr]) -> bool {
    let mut others = all.iter().filter(|other| other.is_ipv4());
    // `[::ffff:127.0.0.1]` is an IPv4 address.
    address.ip().to_canonical().is_ipv6() && others.any(|other| other.port() == address.port())
}

/// Whether two listeners would want the same address and port.
fn overlap(
    one: SocketAddr,
    one_is_v6_only: bool,
    other: SocketAddr,
    other_is_v6_only: bool,
) -> bool {
    let takes_all = |wide: SocketAddr, is_v6_only: bool, narrow: SocketAddr| {
        let is_v4 = narrow.ip().to_canonical().is_ipv4();
        wide.ip().is_unspecified() && if wide.is_ipv4() { is_v4 } else { !(is_v4 && is_v6_only) }
    };
    let is_same =
        one.ip().to_canonical() == other.ip().to_canonical() && !are_of_other_links(one, other);
    one.port() == other.port()
        && one.port() > 0
        && (is_same
            || takes_all(one, one_is_v6_only, other)
            || takes_all(other, other_is_v6_only, one))
}

/// Whether two addresses, which may look the same, are of different links.
fn are_of_other_links(one: SocketAddr, other: SocketAddr) -> bool {
    let link = |address| match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    };
    link(one) != link(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_overlap_as_the_system_has_it() {
        for (one, other, expected) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.1:1", true),
            ("0.0.0.0:1", "127.0.0.1:2", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
            ("0.0.0.0:1", "[::1]:1", false),
            ("0.0.0.0:1", "[::ffff:127.0.0.1]:1", true),
            ("127.0.0.1:1", "[::ffff:127.0.0.1]:1", true),
            ("[::]:1", "[::1]:1", true),
            ("[::]:1", "0.0.0.0:1", true),
            ("[::]:1", "127.0.0.1:1", true),
            ("[fe80::1%1]:1", "[fe80::1%2]:1", false),
            ("[fe80::1%1]:1", "[fe80::1%1]:1", true),
        ] {
            let (one, other) = (one.parse().expect("valid"), other.parse().expect("valid"));
            assert_eq!(overlap(one, false, other, false), expected, "{one} {other}");
            assert_eq!(overlap(other, false, one, false), expected, "{other} {one}");
        }
        let (all, one) = ("[::]:1".parse().expect("valid"), "127.0.0.1:1".parse().expect("valid"));
        assert!(!overlap(all, true, one, false) && !overlap(one, false, all, true));
        assert!(is_v6_only(all, &[all, one]) && !is_v6_only(all, &[all]));
        let mapped = "[::ffff:127.0.0.2]:1".parse().expect("valid");
        assert!(!is_v6_only(mapped, &[mapped, one]));
    }
}

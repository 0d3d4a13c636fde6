//! The PROXY protocol: which client a load balancer speaks for, told in front of everything else.
//!
//! What is read follows MariaDB's server: the header may be missing, comes before the client's
//! first packet (in clear text, also if TLS follows), and can't be mistaken for one, since the
//! sequence id of that is neither `X` nor a line feed.
//! Source: <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ppp::{v1, v2};

use crate::config::settings::ProxyProtocol;

/// First bytes of a header of version 1, as many as of a packet's header.
const TEXT: &[u8] = b"PROX";
/// Likewise of version 2.
const BINARY: &[u8] = b"\r\n\r\n";
/// Longest header of version 1, line break included.
const TEXT_MAX: usize = 107;
/// Longest header of version 2 that is taken: addresses and some 4 KiB of what else a load
/// balancer has to tell, such as the client's certificate.
const BINARY_MAX: usize = 16 + 216 + 4096;

/// What a stream begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// No header.
    Absent,
    /// More bytes are needed to tell, or to read the header.
    Incomplete,
    /// A header.
    Header {
        /// Its bytes.
        length: usize,
        /// The client's address; `None` when the peer speaks for itself, or does not know for whom.
        client: Option<SocketAddr>,
    },
    /// Something that begins like a header and is none.
    Malformed,
}

impl Start {
    /// Looks at the first bytes of a stream.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes.get(..TEXT.len()) {
            None => Self::Incomplete,
            Some(TEXT) => text(bytes),
            Some(BINARY) => binary(bytes),
            Some(_) => Self::Absent,
        }
    }

    /// Whether a header, good or bad, begins here.
    pub fn is_header(bytes: &[u8]) -> bool {
        bytes.starts_with(TEXT) || bytes.starts_with(BINARY)
    }
}

fn text(bytes: &[u8]) -> Start {
    let within = &bytes[..bytes.len().min(TEXT_MAX)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return if bytes.len() < TEXT_MAX { Start::Incomplete } else { Start::Malformed };
    };
    let length = end + 1;
    let Ok(header) = v1::Header::try_from(&within[..length]) else { return Start::Malformed };
    let client = match header.addresses {
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Unknown => None,
    };
    Start::Header { length, client }
}

fn binary(bytes: &[u8]) -> Start {
    match v2::Header::try_from(bytes) {
        Ok(header) if header.length() > BINARY_MAX - 16 => Start::Malformed,
        Ok(header) => {
            let client = match header.addresses {
                _ if header.command == v2::Command::Local => None,
                v2::Addresses::IPv4(_) | v2::Addresses::IPv6(_)
                    if header.protocol == v2::Protocol::Datagram =>
                {
                    return Start::Malformed;
                }
                v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
                v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
                // As MariaDB takes it: a client on the load balancer's own host.
                v2::Addresses::Unix(_) => Some((Ipv4Addr::LOCALHOST, 0).into()),
                v2::Addresses::Unspecified => None,
            };
            Start::Header { length: header.len(), client }
        }
        Err(v2::ParseError::Incomplete(_)) => Start::Incomplete,
        Err(v2::ParseError::Partial(_, length)) if length <= BINARY_MAX - 16 => Start::Incomplete,
        Err(_) => Start::Malformed,
    }
}

/// The header that tells `server` that it is spoken to for `client`; empty where `version` is off.
/// There is no port of the client in it, since the connection serves others of that address too.
///
/// # Errors
/// Those of a writer, which in memory has none.
pub fn header(version: ProxyProtocol, client: IpAddr, server: SocketAddr) -> io::Result<Vec<u8>> {
    let client = client.to_canonical();
    let host = match (client, server.ip().to_canonical()) {
        (IpAddr::V4(_), host @ IpAddr::V4(_)) | (IpAddr::V6(_), host @ IpAddr::V6(_)) => host,
        // Both have to be of one family.
        (IpAddr::V4(_), IpAddr::V6(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), IpAddr::V4(_)) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let ends = (SocketAddr::new(client, 0), SocketAddr::new(host, server.port()));
    match version {
        ProxyProtocol::Off => Ok(Vec::new()),
        ProxyProtocol::V1 => Ok(v1::Addresses::from(ends).to_string().into_bytes()),
        ProxyProtocol::V2 => {
            let command = v2::Version::Two | v2::Command::Proxy;
            v2::Builder::with_addresses(command, v2::Protocol::Stream, ends).build()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &[u8] = b"PROXY TCP4 10.9.1.2 10.0.0.1 4444 3306\r\n";

    fn from(client: &str, length: usize) -> Start {
        Start::Header { length, client: Some(client.parse().expect("an address")) }
    }

    /// A header of version 2: command, family and what follows.
    fn second(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length[..], rest].concat()
    }

    const ADDRESSES: &[u8] = &[10, 9, 1, 3, 10, 0, 0, 1, 0x11, 0x5c, 0x0c, 0xea];

    #[test]
    fn headers_of_both_versions_are_read() {
        assert_eq!(Start::of(LINE), from("10.9.1.2:4444", LINE.len()));
        let six = b"PROXY TCP6 2001:db8::7 ::1 4444 3306\r\nrest";
        assert_eq!(Start::of(six), from("[2001:db8::7]:4444", six.len() - 4));
        for unknown in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ::1 ::2 1 2\r\n"] {
            let header = Start::Header { length: unknown.len(), client: None };
            assert_eq!(Start::of(unknown), header);
        }
        let tags = [ADDRESSES, &[4, 1, 44], &[b'x'; 300]].concat();
        for rest in [ADDRESSES, &tags] {
            let bytes = second(1, 0x11, rest);
            assert_eq!(Start::of(&bytes), from("10.9.1.3:4444", bytes.len()));
        }
        let unix = second(1, 0x31, &[b'/'; 216]);
        assert_eq!(Start::of(&unix), from("127.0.0.1:0", unix.len()));
        for own in [second(0, 0, b""), second(0, 0x11, ADDRESSES), second(1, 0, b"")] {
            assert_eq!(Start::of(&own), Start::Header { length: own.len(), client: None });
        }
    }

    #[test]
    fn what_is_no_header_is_malformed_or_absent() {
        for bad in [
            &b"PROXY \r\n"[..],
            b"PROX\n",
            b"PROXY TCP4 10.9.1.999 10.0.0.1 4444 3306\r\n",
            b"PROXY TCP4 10.9.1.2\r\n",
            b"PROXY TCP4 10.9.1.2 10.0.0.1 99999 3306\r\n",
            b"PROXY TCP4 10.9.1.2 10.0.0.1 4444 3306\n",
            b"PROXY TCP4 2001:db8::7 ::1 4444 3306\r\n",
            &[&b"PROXY "[..], &[b'x'; 101]].concat(),
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\0",
            b"\r\n\r\nGET / HTTP/1.0",
            &second(5, 0x11, ADDRESSES),
            &second(1, 0x12, ADDRESSES),
            &second(1, 0x11, b"abc"),
            &second(1, 0x21, ADDRESSES),
            &second(1, 0x11, &[0; BINARY_MAX - 15])[..40],
            &second(0, 0, &[0; BINARY_MAX - 15]),
        ] {
            assert_eq!(Start::of(bad), Start::Malformed, "{}", bad.escape_ascii());
            assert!(Start::is_header(bad));
        }
        for other in [&b"\x20\0\0\x01"[..], b"GET /", b"PRO\x01", b"\r\n\r\x01"] {
            assert_eq!(Start::of(other), Start::Absent);
            assert!(!Start::is_header(other));
        }
    }

    #[test]
    fn a_header_may_come_byte_by_byte() {
        for whole in [LINE.to_vec(), second(1, 0x11, ADDRESSES)] {
            for length in 0..whole.len() {
                assert_eq!(Start::of(&whole[..length]), Start::Incomplete, "{length}");
            }
        }
    }

    #[test]
    fn what_servers_are_told_can_be_read() {
        let server = |text: &str| text.parse().expect("an address");
        for (client, server) in [
            ("10.9.1.2", server("10.0.0.1:3306")),
            ("10.9.1.2", server("[::1]:3306")),
            ("2001:db8::7", server("10.0.0.1:3306")),
            ("2001:db8::7", server("[::1]:3306")),
        ] {
            let client: IpAddr = client.parse().expect("an address");
            for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
                let bytes = header(version, client, server).expect("a header");
                let client = Some(SocketAddr::new(client, 0));
                assert_eq!(Start::of(&bytes), Start::Header { length: bytes.len(), client });
            }
            assert_eq!(header(ProxyProtocol::Off, client, server).ok(), Some(Vec::new()));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_wait_for_ever(kind: bool, rest: Vec<u8>) {
            let start = if kind { TEXT } else { &second(1, 0x11, ADDRESSES)[..12] };
            let _ = Start::of(&[start, &rest].concat());
            let long = [start, &rest, &[b'x'; 16 + (1 << 16)]].concat();
            prop_assert_ne!(Start::of(&long), Start::Incomplete);
        }
    }
}

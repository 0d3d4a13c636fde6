//! What load balancers, servers and certificates say beside the protocol's own packets.

use std::net::{IpAddr, SocketAddr};

use fairlane::backend::Exchange;
use fairlane::config::settings::ProxyProtocol;
use fairlane::net::certificate::Names;
use fairlane::net::proxy_header::{Start, header};
use fairlane::protocol::packet;
use fairlane::protocol::response::Summary;
use fairlane::topology::account::{Accounts, host, parse_global_priv};

use super::input::Input;

/// A header of the PROXY protocol: it ends where it says, whatever follows or is still to come.
pub(crate) fn proxy_header(data: &[u8]) {
    let start = Start::of(data);
    if let Start::Header { length, .. } = start {
        assert!(length <= data.len() && Start::is_header(data));
        assert_eq!(Start::of(&data[..length]), start);
        let cut = length * usize::from(data[length - 1]) / 256;
        assert_eq!(Start::of(&data[..cut]), Start::Incomplete, "{cut} of {length} bytes");
    }
    let more = Start::of(&[data, b"\n"].concat());
    assert!(start == Start::Incomplete || more == start, "what is read once stays so");
    let mut input = Input::new(data);
    let version = if input.bit() { ProxyProtocol::V1 } else { ProxyProtocol::V2 };
    let (client, server) = (address(&mut input), address(&mut input));
    let written = header(version, client, SocketAddr::new(server, 3306)).expect("in memory");
    let expected = Some(SocketAddr::new(client.to_canonical(), 0));
    assert_eq!(Start::of(&written), Start::Header { length: written.len(), client: expected });
}

fn address(input: &mut Input<'_>) -> IpAddr {
    if input.bit() {
        let bytes: [u8; 16] = input.take(16).try_into().unwrap_or([1; 16]);
        return bytes.into();
    }
    let bytes: [u8; 4] = input.take(4).try_into().unwrap_or([127, 0, 0, 1]);
    bytes.into()
}

/// A client's certificate: its names are one line of printable ASCII, not much longer than it.
pub(crate) fn certificate(data: &[u8]) {
    let Some(names) = Names::of(data) else { return };
    for name in [names.issuer, names.subject] {
        assert!(name.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert!(name.is_empty() || name.starts_with('/'));
        assert!(name.len() <= 64 * data.len());
    }
}

/// Accounts of MariaDB: found by their own name and no other.
pub(crate) fn accounts(data: &[u8]) {
    let mut input = Input::new(data);
    let (user, host) = (input.text(), input.text());
    let Some(account) = parse_global_priv(&user, &host, input.rest()) else { return };
    assert_eq!((&account.user, account.host_pattern.as_str()), (&user, &*host));
    assert!(account.required_tls.is_met(None) || account.required_tls != Default::default());
    let client = IpAddr::from([10, 1, 2, 3]);
    let is_for_client =
        account.host_pattern.matches(&host::Peer::new(client, host::Names::default()));
    let accounts = Accounts::new([account], host::Names::default());
    assert_eq!(accounts.len(), 1);
    assert_eq!(accounts.find(&user, client).is_some(), is_for_client);
    let is_anonymous = user.is_empty();
    assert!(accounts.find("somebody else", client).is_none() || is_anonymous);
}

/// Rows that Fairlane reads for itself.
pub(crate) fn rows(data: &[u8]) {
    let mut input = Input::new(data);
    let mut bytes = Vec::new();
    if input.bit() {
        while !input.is_empty() {
            packet::put(&mut bytes, 1, input.piece());
        }
    } else {
        bytes.extend_from_slice(input.rest());
    }
    let size = bytes.len();
    let row = Exchange { summary: Summary::default(), bytes }.first_row();
    assert!(row.len() < 256);
    assert!(row.iter().map(String::len).sum::<usize>() <= 3 * size);
}

//! Authentication: packets of the plugins, and the texts that accounts store.

use fairlane::protocol::Family;
use fairlane::protocol::auth::{NONCE, Proof};
use fairlane::protocol::handshake::{auth_switch, parse_auth_switch};
use fairlane::protocol::{crypt, ed25519, parsec, sha2};
use fairlane::topology::account::PasswordHash;
use fairlane::topology::account::host::{HostPattern, Names, Peer};

use super::input::Input;

/// Packets of an authentication exchange, from either side.
pub(crate) fn auth(data: &[u8]) {
    let mut input = Input::new(data);
    match input.below(5) {
        0 => switch(input.rest()),
        1 => native(&mut input),
        2 => caching_sha2(&mut input),
        3 => signed(&mut input),
        _ => {
            let packet = input.rest();
            if parsec::Recipe::parse(packet).is_some() {
                assert!(packet.len() > 3 && packet[..2] == *b"\x01P" && packet[2] <= 9);
            }
        }
    }
}

fn switch(packet: &[u8]) {
    let Ok((plugin, nonce)) = parse_auth_switch(packet) else { return };
    let again = parse_auth_switch(&auth_switch(&plugin, &nonce)).expect("it was written here");
    assert_eq!(again, (plugin, nonce));
}

/// mysql_native_password: garbage proves nothing, and the right reply gives the proof away.
fn native(input: &mut Input<'_>) {
    let stored: [u8; 20] = input.take(20).try_into().unwrap_or_default();
    let nonce = input.take(NONCE).to_vec();
    let password = input.text();
    assert!(Proof::from_reply(input.rest(), &nonce, &stored).is_none());
    if let Some(proof) = Proof::of_password(password.as_bytes()) {
        let stored = proof.stored();
        let taken = Proof::from_reply(&proof.reply(&nonce), &nonce, &stored);
        assert!(taken == Some(proof));
    }
}

/// caching_sha2_password, likewise; masking twice gives the password back.
fn caching_sha2(input: &mut Input<'_>) {
    let (nonce, password) = (input.piece(), input.piece());
    let double = sha2::double(password);
    assert!(!sha2::is_right(input.rest(), nonce, &double));
    if !password.is_empty() {
        let reply = sha2::reply(password, nonce);
        assert!(sha2::is_right(&reply, nonce, &double));
    }
    let masked = sha2::mask(password, nonce);
    if !nonce.is_empty() {
        assert_eq!(*sha2::mask(&masked, nonce), password);
    }
}

/// A signature has its length, whatever key an account stores.
fn signed(input: &mut Input<'_>) {
    let (nonce, reply) = (input.take(ed25519::NONCE), input.piece());
    assert!(!ed25519::is_right(reply, nonce, input.rest()) || reply.len() == 64);
}

/// Texts that accounts store: read as what they are, or not at all.
pub(crate) fn stored(data: &[u8]) {
    if let Some(hash) = PasswordHash::parse(data) {
        let digits: String = hash.as_bytes().iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(data.to_ascii_uppercase(), format!("*{digits}").into_bytes());
    }
    if let Some((recipe, key)) = parsec::parse_stored(data) {
        assert!(data.starts_with(b"P") && key.len() < data.len());
        let iterations = recipe.iterations().get();
        assert!(iterations.is_power_of_two() && (1 << 10..=1 << 19).contains(&iterations));
    }
    // It is the rounds that take time.
    let mut text = data.to_vec();
    if let Some(digits) = text.get_mut(3..6) {
        digits.copy_from_slice(b"000");
    }
    assert!(!crypt::is_password(b"secret", &text));
}

/// Hosts of accounts: a pattern matches what its plain reading says, and orders are total.
pub(crate) fn hosts(data: &[u8]) {
    let mut input = Input::new(data);
    let family = if input.bit() { Family::MySql } else { Family::MariaDb };
    let names = if input.bit() { Names::Resolved } else { Names::Skipped };
    let address: [u8; 4] = input.take(4).try_into().unwrap_or([127, 0, 0, 1]);
    let (first, second) = (input.text(), input.rest_text());
    let patterns = [HostPattern::new(&first, family), HostPattern::new(&second, family)];
    let peer = Peer::new(address.into(), names);
    for pattern in &patterns {
        let text = std::net::Ipv4Addr::from(address).to_string();
        let is_named = names == Names::Resolved && address == [127, 0, 0, 1];
        let written = if pattern.as_str().is_empty() { "%" } else { pattern.as_str() };
        let is_plain = !written.contains('/');
        let matches = pattern.matches(&peer);
        let runs = written.bytes().filter(|&byte| byte == b'%').count();
        if is_plain && runs < 5 {
            let name = written.to_ascii_lowercase();
            let expected = plainly_matches(written.as_bytes(), text.as_bytes())
                || is_named && plainly_matches(name.as_bytes(), b"localhost");
            assert_eq!(matches, expected, "{written:?} and {text}");
        }
        let as_new = HostPattern::new(pattern.as_str(), family);
        assert_eq!(as_new.rank(), pattern.rank());
    }
    let [a, b] = &patterns;
    assert_eq!(a.rank().cmp(b.rank()), b.rank().cmp(a.rank()).reverse());
    assert_eq!(a.rank() == b.rank(), first == second);
}

/// The meaning of a pattern, tried character by character.
fn plainly_matches(pattern: &[u8], text: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'%', rest @ ..] => {
            (0..=text.len()).any(|skipped| plainly_matches(rest, &text[skipped..]))
        }
        [b'_', rest @ ..] => !text.is_empty() && plainly_matches(rest, &text[1..]),
        [b'\\', byte, rest @ ..] | [byte, rest @ ..] => {
            text.first() == Some(byte) && plainly_matches(rest, &text[1..])
        }
    }
}

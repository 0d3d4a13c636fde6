//! The login: handshake responses of all ages, good and bad, and what they are answered.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use fairlane::protocol::auth::Proof;
use fairlane::protocol::handshake::{Greeting, auth_switch, parse_auth_switch};
use fairlane::protocol::packet::{self, Header};
use fairlane::protocol::wire::{put_lenenc, put_lenenc_bytes};
use fairlane::protocol::{Capabilities, Command};

use crate::describe::describe;
use crate::side::Packet;
use crate::support::{Proxy, servers};

/// A client that writes its handshake response as it likes.
#[derive(Debug, Clone)]
struct Visit {
    name: &'static str,
    capabilities: Capabilities,
    user: &'static str,
    password: &'static str,
    /// Bytes instead of the reply to the nonce.
    reply: Option<&'static [u8]>,
    schema: Option<&'static str>,
    plugin: Option<&'static str>,
    attributes: &'static [(&'static str, &'static str)],
    collation: u8,
    /// Bytes instead of the whole response.
    raw: Option<&'static [u8]>,
}

const MODERN: Capabilities = Capabilities::PROTOCOL_41
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::PLUGIN_AUTH)
    .union(Capabilities::PLUGIN_AUTH_LENENC)
    .union(Capabilities::CONNECT_ATTRS)
    .union(Capabilities::CONNECT_WITH_DB)
    .union(Capabilities::TRANSACTIONS)
    .union(Capabilities::DEPRECATE_EOF);

const TRACKING: Capabilities = MODERN.union(Capabilities::SESSION_TRACK);

/// As clients of MySQL 4.1 logged in.
const OLD: Capabilities = Capabilities::PROTOCOL_41
    .union(Capabilities::SECURE_CONNECTION)
    .union(Capabilities::TRANSACTIONS)
    .union(Capabilities::LONG_FLAG);

const GOOD: Visit = Visit {
    name: "good",
    capabilities: MODERN,
    user: "app",
    password: "app-secret",
    reply: None,
    schema: Some("shop"),
    plugin: Some("mysql_native_password"),
    attributes: &[("_client_name", "x"), ("program_name", "y")],
    collation: 45,
    raw: None,
};

const VISITS: &[Visit] = &[
    GOOD,
    Visit { name: "wrong password", password: "wrong", ..GOOD },
    Visit { name: "no password", password: "", ..GOOD },
    Visit { name: "unknown user", user: "nobody", ..GOOD },
    Visit { name: "unknown user, no password", user: "nobody", password: "", ..GOOD },
    Visit { name: "no user", user: "", ..GOOD },
    Visit { name: "no user, no password", user: "", password: "", ..GOOD },
    Visit { name: "user of another case", user: "APP", ..GOOD },
    Visit { name: "unknown schema", schema: Some("nowhere"), ..GOOD },
    Visit { name: "forbidden schema", schema: Some("mysql"), ..GOOD },
    Visit { name: "no schema", schema: None, ..GOOD },
    Visit { name: "empty schema", schema: Some(""), ..GOOD },
    Visit { name: "account without a password", user: "df_open", password: "", ..GOOD },
    Visit { name: "password for an account without", user: "df_open", password: "x", ..GOOD },
    Visit { name: "locked account", user: "df_locked", password: "x", ..GOOD },
    Visit { name: "locked account, wrong password", user: "df_locked", password: "y", ..GOOD },
    Visit { name: "account of another host", user: "df_far", password: "x", ..GOOD },
    Visit { name: "another plugin", plugin: Some("caching_sha2_password"), ..GOOD },
    Visit { name: "another plugin, wrong", plugin: Some("dialog"), password: "wrong", ..GOOD },
    Visit { name: "a plugin nobody has", plugin: Some("nothing_like_it"), ..GOOD },
    Visit { name: "a long plugin name", plugin: Some(LONG), ..GOOD },
    Visit { name: "session tracking", capabilities: TRACKING, ..GOOD },
    Visit { name: "session tracking, no schema", capabilities: TRACKING, schema: None, ..GOOD },
    Visit { name: "no attributes", attributes: &[], ..GOOD },
    Visit { name: "a long attribute", attributes: &[("a", LONG)], ..GOOD },
    Visit { name: "a reply of 20 bytes", reply: Some(&[7; 20]), ..GOOD },
    Visit { name: "an old client", capabilities: OLD, ..GOOD },
    Visit { name: "an old client, wrong password", capabilities: OLD, password: "z", ..GOOD },
    Visit { name: "an old client, unknown user", capabilities: OLD, user: "nobody", ..GOOD },
    Visit {
        name: "an old client with a schema",
        capabilities: OLD.union(Capabilities::CONNECT_WITH_DB),
        ..GOOD
    },
    Visit {
        name: "plugins without lengths",
        capabilities: MODERN.difference(Capabilities::PLUGIN_AUTH_LENENC),
        ..GOOD
    },
    Visit { name: "a collation nobody has", collation: 255, ..GOOD },
    Visit { name: "a collation no client can have", collation: 35, ..GOOD },
    Visit { name: "nothing", raw: Some(b""), ..GOOD },
    Visit { name: "one byte", raw: Some(b"\x05"), ..GOOD },
    Visit { name: "half a response", raw: Some(&[0x05, 0xa2, 0x3a, 0, 0, 0, 0, 1]), ..GOOD },
];

const LONG: &str = "a_name_that_is_longer_than_any_server_allows_names_of_users_to_be_since_those_end_\
    at_eighty_characters_or_a_hundred_and_twenty_eight_bytes";

impl Visit {
    fn response(&self, nonce: &[u8]) -> Vec<u8> {
        if let Some(raw) = self.raw {
            return raw.to_vec();
        }
        let mut capabilities = self.capabilities;
        capabilities.set(
            Capabilities::CONNECT_WITH_DB,
            self.schema.is_some() && capabilities.contains(Capabilities::CONNECT_WITH_DB),
        );
        let mut out = capabilities.low().to_le_bytes().to_vec();
        out.extend([0, 0, 0, 1, self.collation]);
        out.extend([0; 23]);
        out.extend(self.user.bytes().chain([0]));
        let reply = self.reply(nonce);
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            put_lenenc_bytes(&mut out, &reply);
        } else {
            out.push(reply.len() as u8);
            out.extend(reply);
        }
        if let Some(schema) = self.schema
            && self.capabilities.contains(Capabilities::CONNECT_WITH_DB)
        {
            out.extend(schema.bytes().chain([0]));
        }
        if let Some(plugin) = self.plugin
            && self.capabilities.contains(Capabilities::PLUGIN_AUTH)
        {
            out.extend(plugin.bytes().chain([0]));
        }
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) {
            let mut list = Vec::new();
            for (name, value) in self.attributes {
                put_lenenc_bytes(&mut list, name.as_bytes());
                put_lenenc_bytes(&mut list, value.as_bytes());
            }
            put_lenenc(&mut out, list.len() as u64);
            out.extend(list);
        }
        out
    }

    fn reply(&self, nonce: &[u8]) -> Vec<u8> {
        let proof = Proof::of_password(self.password).map(|proof| proof.reply(nonce).to_vec());
        self.reply.map(<[u8]>::to_vec).or(proof).unwrap_or_default()
    }

    /// All packets after the greeting, and after a login those to COM_PING and a question.
    fn pay(&self, port: u16) -> Vec<Packet> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let greeting = read(&mut stream).expect("a greeting");
        let greeting = Greeting::parse(&greeting.payload).expect("a greeting");
        write(&mut stream, 1, &self.response(&greeting.nonce));
        if self.raw.is_some() {
            // A server may wait for more.
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut said = Vec::new();
        while let Some(mut packet) = read(&mut stream) {
            let next = packet.sequence.wrapping_add(1);
            let first = packet.payload.first().copied();
            if first == Some(0xfe) {
                let (plugin, nonce) = parse_auth_switch(&packet.payload).expect("a switch");
                packet.payload = auth_switch(&plugin, &vec![b'n'; nonce.len()]);
                write(&mut stream, next, &self.reply(&nonce));
            }
            said.push(packet);
            if first == Some(0) {
                write(&mut stream, 0, &[Command::Ping as u8]);
                said.extend(read(&mut stream));
                let look = b"\x03SELECT DATABASE(), CURRENT_USER(), @@collation_connection";
                write(&mut stream, 0, look);
                (0..6).for_each(|_| said.extend(read(&mut stream)));
                break;
            }
        }
        said
    }
}

fn write(stream: &mut TcpStream, sequence: u8, payload: &[u8]) {
    let mut out = Vec::new();
    packet::put(&mut out, sequence, payload);
    let _ = stream.write_all(&out);
}

fn read(stream: &mut TcpStream) -> Option<Packet> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).ok()?;
    let header = Header::parse(&header)?;
    let mut payload = vec![0; header.length];
    stream.read_exact(&mut payload).ok()?;
    Some(Packet { sequence: header.sequence, payload })
}

fn prepare_accounts() {
    let mut root = servers().root();
    for sql in [
        "CREATE OR REPLACE USER df_open@localhost",
        "GRANT ALL ON shop.* TO df_open@localhost",
        "CREATE OR REPLACE USER df_locked@localhost IDENTIFIED BY 'x' ACCOUNT LOCK",
        "CREATE OR REPLACE USER df_far@'10.1.2.3' IDENTIFIED BY 'x'",
    ] {
        root.run(sql);
    }
    servers().wait_replicated();
}

#[test]
fn logins_have_the_same_answers() {
    prepare_accounts();
    let proxy = Proxy::start(servers());
    let mut differences = Vec::new();
    for visit in VISITS {
        let (direct, through) = (visit.pay(servers().primary), visit.pay(proxy.port));
        let count = direct.len().max(through.len());
        let unlike = (0..count).find(|&index| direct.get(index) != through.get(index));
        if let Some(index) = unlike {
            let (a, b) = (describe(direct.get(index), 0), describe(through.get(index), 0));
            let number = index + 1;
            differences.push(format!(
                "login, {}: packet {number}\n    server:   {a}\n    Fairlane: {b}",
                visit.name
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// What a server offers and Fairlane may not, see docs/compatibility.md. Bits from 32 on are
/// MariaDB's: progress reports, bulk execution, cached metadata.
const WITHHELD: Capabilities = Capabilities::SSL
    .union(Capabilities::CAN_HANDLE_EXPIRED_PASSWORDS)
    .union(Capabilities::VERIFY_SERVER_CERT)
    .union(Capabilities::REMEMBER_OPTIONS)
    .union(Capabilities::from_bits_retain(1 << 32 | 1 << 33 | 1 << 34 | 1 << 36));

#[test]
fn the_greeting_is_the_servers() {
    let proxy = Proxy::start(servers());
    let greet = |port| {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let packet = read(&mut stream).expect("a greeting");
        let greeting = Greeting::parse(&packet.payload).expect("a greeting");
        let mut masked = greeting.clone();
        masked.thread_id = 0;
        masked.nonce = vec![b'n'; greeting.nonce.len()];
        masked.capabilities = Capabilities::empty();
        (packet.sequence, masked, greeting.capabilities)
    };
    let (direct, through) = (greet(servers().primary), greet(proxy.port));
    assert_eq!((direct.0, direct.1), (through.0, through.1));
    let more = through.2 - direct.2;
    assert!(more.is_empty(), "offered by Fairlane only: {more:?}");
    let missing = direct.2 - through.2 - WITHHELD;
    assert!(missing.is_empty(), "offered by the server only: {missing:?}");
}

//! The login: handshake responses of all ages, good and bad, and what they are answered.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use fairlane::protocol::handshake::Greeting;
use fairlane::protocol::packet::{self, Header};
use fairlane::protocol::status::{self, OkPacket, Status};
use fairlane::protocol::wire::{put_lenenc, put_lenenc_bytes};
use fairlane::protocol::{Capabilities, Command};

use crate::describe::describe;
use crate::side::{Packet, answer, mask_cache};
use crate::step::default_plugin;
use crate::support::product::Product;
use crate::support::raw::reply;
use crate::support::{Proxy, product, servers};

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
    plugin: Named,
    attributes: &'static [(&'static str, &'static str)],
    collation: u8,
    /// Bytes instead of the whole response.
    raw: Option<&'static [u8]>,
}

macro_rules! twelve {
    ($($text:tt)*) => {
        concat!($($text)*, $($text)*, $($text)*, $($text)*, $($text)*, $($text)*,
            $($text)*, $($text)*, $($text)*, $($text)*, $($text)*, $($text)*)
    };
}

/// The plugin a client names.
#[derive(Debug, Clone, Copy)]
enum Named {
    /// That of the greeting.
    Servers,
    /// Another one.
    As(&'static str),
    /// The response ends before it.
    Missing,
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

/// No attributes follow.
const BARE: Capabilities = MODERN.difference(Capabilities::CONNECT_ATTRS);

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
    plugin: Named::Servers,
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
    Visit { name: "another plugin", plugin: Named::As("caching_sha2_password"), ..GOOD },
    Visit { name: "another plugin, wrong", plugin: Named::As("dialog"), password: "wrong", ..GOOD },
    Visit { name: "a plugin nobody has", plugin: Named::As("nothing_like_it"), ..GOOD },
    Visit { name: "a long plugin name", plugin: Named::As(LONG), ..GOOD },
    Visit { name: "an empty plugin name", plugin: Named::As(""), ..GOOD },
    Visit { name: "an empty plugin name, wrong", plugin: Named::As(""), password: "x", ..GOOD },
    Visit { name: "no plugin name, no attributes", plugin: Named::Missing, ..GOOD },
    Visit { name: "no plugin name", plugin: Named::Missing, capabilities: BARE, ..GOOD },
    Visit {
        name: "no plugin name, wrong",
        plugin: Named::Missing,
        capabilities: BARE,
        password: "x",
        ..GOOD
    },
    Visit { name: "a plugin in capitals", plugin: Named::As("MYSQL_NATIVE_PASSWORD"), ..GOOD },
    Visit { name: "session tracking", capabilities: TRACKING, ..GOOD },
    Visit { name: "session tracking, no schema", capabilities: TRACKING, schema: None, ..GOOD },
    Visit { name: "no attributes", attributes: &[], ..GOOD },
    Visit { name: "a long attribute", attributes: &[("a", LONG)], ..GOOD },
    Visit { name: "a reply of 20 bytes", reply: Some(&[7; 20]), ..GOOD },
    Visit { name: "a reply of 1 byte", reply: Some(&[7]), ..GOOD },
    Visit { name: "a reply of NUL", reply: Some(&[0]), ..GOOD },
    Visit { name: "a reply of 8 bytes", reply: Some(&[7; 8]), ..GOOD },
    Visit { name: "a reply of 19 bytes", reply: Some(&[7; 19]), ..GOOD },
    Visit { name: "a reply of 21 bytes", reply: Some(&[7; 21]), ..GOOD },
    Visit { name: "a reply of 32 bytes", reply: Some(&[7; 32]), ..GOOD },
    Visit { name: "a reply of 200 bytes", reply: Some(&[7; 200]), ..GOOD },
    Visit { name: "8 bytes by nobody", user: "nobody", reply: Some(&[7; 8]), ..GOOD },
    Visit { name: "8 bytes by a locked one", user: "df_locked", reply: Some(&[7; 8]), ..GOOD },
    Visit { name: "8 bytes without a password", user: "df_open", reply: Some(&[7; 8]), ..GOOD },
    Visit { name: "8 bytes after a switch", plugin: Named::As("x"), reply: Some(&[7; 8]), ..GOOD },
    Visit { name: "8 bytes of an old client", capabilities: OLD, reply: Some(&[7; 8]), ..GOOD },
    Visit { name: "a user name of 128 bytes", user: LONG_128, ..GOOD },
    Visit { name: "a user name of 129 bytes", user: LONG_129, ..GOOD },
    Visit { name: "a long user name", user: LONG, ..GOOD },
    Visit { name: "a long user name without a password", user: LONG, password: "", ..GOOD },
    Visit { name: "a user name of many characters", user: WIDE, ..GOOD },
    Visit { name: "a user name that starts like another", user: AFTER_32, password: "x", ..GOOD },
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
    Visit { name: "before 4.1", raw: Some(b"\x05\x20\0\0\x01app\0"), ..GOOD },
    Visit { name: "before 4.1, a reply", raw: Some(b"\x05\x20\0\0\x01app\0abcdefgh"), ..GOOD },
    Visit {
        name: "before 4.1, a reply and NUL",
        raw: Some(b"\x05\0\0\0\x01app\0abcdefgh\0"),
        ..GOOD
    },
    Visit { name: "before 4.1, nobody", raw: Some(b"\x05\x20\0\0\x01nobody\0abcdefgh"), ..GOOD },
    Visit { name: "before 4.1, no user", raw: Some(b"\x05\x20\0\0\x01\0"), ..GOOD },
    Visit { name: "before 4.1, locked", raw: Some(b"\x05\x20\0\0\x01df_locked\0"), ..GOOD },
    Visit { name: "before 4.1, no end", raw: Some(b"\x05\x20\0\0\x01app"), ..GOOD },
    Visit {
        name: "before 4.1, a schema",
        raw: Some(b"\x0d\x20\0\0\x01app\0abcdefgh\0shop\0"),
        ..GOOD
    },
    Visit {
        name: "before 4.1, a new reply",
        raw: Some(b"\x05\xa0\0\0\x01app\0\x14aaaaaaaaaaaaaaaaaaaa"),
        ..GOOD
    },
    Visit { name: "before 4.1, five bytes", raw: Some(b"\x05\x20\0\0\x01"), ..GOOD },
    Visit { name: "before 4.1, two bytes", raw: Some(b"\x05\x20"), ..GOOD },
];

/// Visits of users that MySQL does not know: it asks them for a password by a plugin that it chooses by
/// the name and a number of its own, see docs/compatibility.md.
const UNKNOWN: [&str; 13] = [
    "unknown user",
    "unknown user, no password",
    "no user",
    "no user, no password",
    "user of another case",
    "account of another host",
    "8 bytes by nobody",
    "a user name of 128 bytes",
    "a user name of 129 bytes",
    "a long user name",
    "a long user name without a password",
    "a user name of many characters",
    "a user name that starts like another",
];

const LONG_128: &str = "abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz012345\
    abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz012345";
const LONG_129: &str = "abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz012345\
    abcdefghijklmnopqrstuvwxyz012345abcdefghijklmnopqrstuvwxyz0123456";
/// 144 characters of two bytes each.
const WIDE: &str = twelve!(twelve!("\u{e9}"));
/// Longer than any account's name of MySQL, and no account's: cut to 32 characters it would be one.
const AFTER_32: &str = "df_long_abcdefghijklmnopqrstuvwx_and_more";

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
        let plugin = match self.plugin {
            Named::Servers => default_plugin(),
            Named::As(plugin) => plugin,
            Named::Missing => return out,
        };
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
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

    /// Made with the server's own plugin, whatever the name given with it.
    fn reply(&self, nonce: &[u8]) -> Vec<u8> {
        let proof = || reply(default_plugin(), self.password, nonce);
        self.reply.map_or_else(proof, <[u8]>::to_vec)
    }

    /// All packets after the greeting, and after a login those to COM_PING and a question.
    fn pay(&self, port: u16) -> Vec<Packet> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let greeting = read(&mut stream).expect("a greeting");
        let greeting = Greeting::parse(&greeting.payload).expect("a greeting");
        let mut nonce = greeting.nonce;
        write(&mut stream, 1, &self.response(&nonce));
        if self.raw.is_some() {
            // A server may wait for more.
            let _ = stream.shutdown(Shutdown::Write);
        }
        let mut said = Vec::new();
        while let Some(mut packet) = read(&mut stream) {
            let next = packet.sequence.wrapping_add(1);
            let first = packet.payload.first().copied();
            if let Some(answer) = answer(&mut packet.payload, self.password, &mut nonce) {
                let answer = self.reply.filter(|_| first == Some(0xfe)).map_or(answer, Into::into);
                write(&mut stream, next, &answer);
            }
            if first == Some(0) {
                mask_news(&mut packet.payload);
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

/// Leaves the refusal, wherever in the exchange it came.
fn keep_last(said: &mut Vec<Packet>) {
    said.drain(..said.len().saturating_sub(1));
    said.iter_mut().for_each(|packet| packet.sequence = 0);
}

/// MariaDB 11 proves its certificate to a client with a text that depends on the nonce, and tells the
/// first values of variables, see docs/compatibility.md.
fn mask_news(payload: &mut Vec<u8>) {
    let Ok(ok) = OkPacket::parse(payload) else { return };
    if product() != Product::MariaDbUnstable || ok.tracking.is_empty() && ok.text.is_empty() {
        return;
    }
    let mut status = ok.status;
    status -= Status::SESSION_STATE_CHANGED;
    *payload = status::ok(status, ok.warnings);
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
        "CREATE USER IF NOT EXISTS df_open@localhost",
        "GRANT ALL ON shop.* TO df_open@localhost",
        "CREATE USER IF NOT EXISTS df_locked@localhost IDENTIFIED BY 'x' ACCOUNT LOCK",
        "CREATE USER IF NOT EXISTS df_far@'10.1.2.3' IDENTIFIED BY 'x'",
        "CREATE USER IF NOT EXISTS df_long_abcdefghijklmnopqrstuvwx@localhost IDENTIFIED BY 'x'",
        "GRANT ALL ON shop.* TO df_long_abcdefghijklmnopqrstuvwx@localhost",
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
        let (mut direct, mut through) = (visit.pay(servers().primary), visit.pay(proxy.port));
        mask_cache(&mut direct);
        mask_cache(&mut through);
        if product().is_mysql() && UNKNOWN.contains(&visit.name) {
            keep_last(&mut direct);
            keep_last(&mut through);
        }
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

/// What a server offers and Fairlane does not, see docs/compatibility.md.
const WITHHELD: Capabilities = Capabilities::MULTI_FACTOR.union(Capabilities::MARIADB_COM_MULTI);

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

/// The answers to a login and a command whose packets have these sequence ids, where the first is
/// that of the response; the client names a plugin the account does not have, and has to switch.
fn numbered(port: u16, response: u8, switched: u8, command: u8) -> Vec<Packet> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let greeting = read(&mut stream).expect("a greeting");
    let mut nonce = Greeting::parse(&greeting.payload).expect("a greeting").nonce;
    let visit = Visit { plugin: Named::As("dialog"), ..GOOD };
    write(&mut stream, response, &visit.response(&nonce));
    let mut said = Vec::new();
    let mut next = Some(switched);
    while let Some(mut packet) = read(&mut stream) {
        let first = packet.payload.first().copied();
        if let Some(answer) = answer(&mut packet.payload, GOOD.password, &mut nonce) {
            let sequence = next.take().unwrap_or_else(|| packet.sequence.wrapping_add(1));
            write(&mut stream, sequence, &answer);
        }
        if packet.payload.first() == Some(&0) {
            mask_news(&mut packet.payload);
        }
        said.push(packet);
        if first == Some(0) {
            write(&mut stream, command, &[Command::Ping as u8]);
            // An answer, and behind an error the end.
            said.extend(read(&mut stream));
            if command != 0 {
                said.extend(read(&mut stream));
            }
            break;
        }
    }
    said
}

#[test]
fn wrong_sequence_ids_have_the_same_answers() {
    prepare_accounts();
    let proxy = Proxy::start(servers());
    for (response, switched, command) in
        [(1, 3, 0), (0, 3, 0), (2, 3, 0), (255, 3, 0), (1, 2, 0), (1, 4, 0), (1, 3, 1), (1, 3, 255)]
    {
        let mut direct = numbered(servers().primary, response, switched, command);
        let mut through = numbered(proxy.port, response, switched, command);
        mask_cache(&mut direct);
        mask_cache(&mut through);
        let all = |said: &[Packet]| -> Vec<String> {
            said.iter().map(|packet| describe(Some(packet), 0)).collect()
        };
        let (direct, through) = (all(&direct), all(&through));
        assert_eq!(through, direct, "{response} {switched} {command}");
    }
}

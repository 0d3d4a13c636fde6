//! The connection phase: greeting, response, switch of the authentication plugin, COM_CHANGE_USER.
//!
//! Source: <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>.

use super::auth::NATIVE;
use super::capability::Capabilities;
use super::compress::Algorithm;
use super::wire::{Cursor, Malformed, put_lenenc, put_lenenc_bytes};

/// Most bytes of connection attributes taken from a client, as the servers' own default bound
/// (`performance_schema_session_connect_attrs_size` allows up to 64 KiB).
pub const ATTRIBUTES_MAX: usize = 64 * 1024;

/// Length of a nonce with its NUL.
const NONCE_FIELD: u8 = 21;

/// The server's first packet (protocol version 10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Server version text.
    pub version: String,
    /// Connection id.
    pub thread_id: u32,
    /// Nonce of the authentication plugin.
    pub nonce: Vec<u8>,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// Default collation id.
    pub collation: u8,
    /// Status flags.
    pub status: u16,
    /// Authentication plugin the nonce is for.
    pub plugin: String,
}

impl Greeting {
    /// Reads the payload of a greeting.
    pub fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        if cursor.u8("protocol version")? != 10 {
            return Err(Malformed { what: "protocol version", offset: 0 });
        }
        let version = String::from_utf8_lossy(cursor.nul_bytes("server version")?).into_owned();
        let thread_id = cursor.u32("thread id")?;
        let mut nonce = cursor.take(8, "nonce")?.to_vec();
        cursor.take(1, "filler")?;
        let low = cursor.u16("capabilities")?;
        let collation = cursor.u8("collation")?;
        let status = cursor.u16("status")?;
        let middle = cursor.u16("capabilities")?;
        let nonce_length = usize::from(cursor.u8("nonce length")?);
        cursor.take(6, "filler")?;
        let high = cursor.u32("capabilities")?;
        let mut bits = u64::from(low) | u64::from(middle) << 16;
        if bits & Capabilities::LONG_PASSWORD.bits() == 0 {
            bits |= u64::from(high) << 32;
        }
        let second = nonce_length.saturating_sub(8).max(13);
        let rest = cursor.take(second.min(cursor.remaining().len()), "nonce")?;
        nonce.extend_from_slice(rest.strip_suffix(&[0]).unwrap_or(rest));
        let name = cursor.rest();
        let plugin = String::from_utf8_lossy(name.split(|&byte| byte == 0).next().unwrap_or(name));
        Ok(Self {
            version,
            thread_id,
            nonce,
            capabilities: Capabilities::from_bits_retain(bits),
            collation,
            status,
            plugin: plugin.into_owned(),
        })
    }

    /// The payload of this greeting.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(96);
        out.push(10);
        out.extend_from_slice(self.version.as_bytes());
        out.push(0);
        out.extend_from_slice(&self.thread_id.to_le_bytes());
        let (first, second) = self.nonce.split_at(self.nonce.len().min(8));
        out.extend_from_slice(first);
        out.push(0);
        let low = self.capabilities.low().to_le_bytes();
        out.extend_from_slice(&low[..2]);
        out.push(self.collation);
        out.extend_from_slice(&self.status.to_le_bytes());
        out.extend_from_slice(&low[2..]);
        out.push(NONCE_FIELD);
        out.extend_from_slice(&[0; 6]);
        out.extend_from_slice(&self.capabilities.high().to_le_bytes());
        out.extend_from_slice(second);
        out.push(0);
        out.extend_from_slice(self.plugin.as_bytes());
        out.push(0);
        out
    }
}

/// Length of an SSLRequest: the first half of a response.
const TLS_REQUEST: usize = 32;

/// The payload of an SSLRequest.
pub fn tls_request(capabilities: Capabilities, max_packet: u32, collation: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(TLS_REQUEST);
    out.extend_from_slice(&capabilities.low().to_le_bytes());
    out.extend_from_slice(&max_packet.to_le_bytes());
    out.push(collation);
    out.extend_from_slice(&[0; 19]);
    out.extend_from_slice(&capabilities.high().to_le_bytes());
    out
}

/// Whether a packet where the response should be asks for TLS first.
pub fn asks_for_tls(payload: &[u8]) -> bool {
    let low = payload.first_chunk().map_or(0, |low| u32::from_le_bytes(*low));
    payload.len() == TLS_REQUEST && u64::from(low) & Capabilities::SSL.bits() != 0
}

/// The client's answer to the greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// What the client asks for and was offered.
    pub capabilities: Capabilities,
    /// The client compresses from now on, though it was not offered: it can't be understood.
    pub compresses_unasked: bool,
    /// Largest packet the client takes; informational.
    pub max_packet: u32,
    /// Collation id.
    pub collation: u8,
    /// User name.
    pub user: String,
    /// Authentication reply.
    pub auth: Vec<u8>,
    /// Schema, when one is asked for.
    pub schema: Option<String>,
    /// Plugin the reply is for; empty when the client names none.
    pub plugin: String,
    /// Connection attributes.
    pub attributes: Vec<(String, String)>,
    /// Level of zstd compression, when it is asked for; else 0.
    pub zstd_level: u8,
}

/// Whether a response is of before MySQL 4.1: its sender knows no SQLSTATE.
pub fn is_old(payload: &[u8]) -> bool {
    let low = payload.first_chunk().map(|low| u16::from_le_bytes(*low));
    low.is_some_and(|low| u64::from(low) & Capabilities::PROTOCOL_41.bits() == 0)
}

impl HandshakeResponse {
    /// Reads the payload of a response of before 4.1, of which only who asks matters: the protocol
    /// that would follow is none Fairlane speaks.
    pub fn parse_old(payload: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let low = u64::from(cursor.u16("capabilities")?);
        let max_packet = cursor.take(3, "max packet size")?;
        let user = text(cursor.nul_bytes("user name")?);
        let auth = if low & Capabilities::SECURE_CONNECTION.bits() == 0 {
            nul_or_rest(&mut cursor).to_vec()
        } else {
            let length = usize::from(cursor.u8("authentication reply")?);
            cursor.take(length, "authentication reply")?.to_vec()
        };
        Ok(Self {
            capabilities: Capabilities::from_bits_retain(low) & Capabilities::SECURE_CONNECTION,
            compresses_unasked: false,
            max_packet: u32::from_le_bytes([max_packet[0], max_packet[1], max_packet[2], 0]),
            collation: 0,
            user,
            auth,
            schema: None,
            plugin: String::new(),
            attributes: Vec::new(),
            zstd_level: 0,
        })
    }

    /// Reads the payload of a response; `offered` are the capabilities of the greeting.
    pub fn parse(payload: &[u8], offered: Capabilities) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let low = cursor.u32("capabilities")?;
        let max_packet = cursor.u32("max packet size")?;
        let collation = cursor.u8("collation")?;
        cursor.take(19, "filler")?;
        let high = cursor.u32("MariaDB capabilities")?;
        let mut bits = u64::from(low);
        if bits & Capabilities::LONG_PASSWORD.bits() == 0 {
            bits |= u64::from(high) << 32;
        }
        let asked = Capabilities::from_bits_retain(bits);
        let capabilities = asked & offered;
        let user = text(cursor.nul_bytes("user name")?);
        let auth = if asked.contains(Capabilities::PLUGIN_AUTH_LENENC) {
            cursor.lenenc_bytes("authentication reply")?.to_vec()
        } else if asked.contains(Capabilities::SECURE_CONNECTION) {
            let length = usize::from(cursor.u8("authentication reply")?);
            cursor.take(length, "authentication reply")?.to_vec()
        } else {
            cursor.nul_bytes("authentication reply")?.to_vec()
        };
        let mut schema = None;
        if asked.contains(Capabilities::CONNECT_WITH_DB) {
            if cursor.is_empty() {
                return Err(Malformed { what: "schema", offset: cursor.offset() });
            }
            schema = Some(text(nul_or_rest(&mut cursor))).filter(|name| !name.is_empty());
        }
        let names_plugin = asked.contains(Capabilities::PLUGIN_AUTH);
        let plugin = match names_plugin {
            // FACT(mariadb 10.11, mysql 9.7): a missing name is this one to MariaDB, and an empty one to MySQL; test:
            // `logins_have_the_same_answers`.
            true if cursor.is_empty() && !offered.contains(Capabilities::LONG_PASSWORD) => {
                NATIVE.to_owned()
            }
            true => text(nul_or_rest(&mut cursor)),
            false => String::new(),
        };
        let attributes = match asked.contains(Capabilities::CONNECT_ATTRS) {
            true if names_plugin && cursor.is_empty() => {
                return Err(Malformed { what: "connection attributes", offset: cursor.offset() });
            }
            true => attributes(&mut cursor)?,
            false => Vec::new(),
        };
        let zstd_level = match asked.contains(Capabilities::ZSTD) {
            true => cursor.u8("zstd level").unwrap_or(0),
            false => 0,
        };
        let compresses_unasked = (asked - offered).contains(Capabilities::COMPRESS);
        Ok(Self {
            capabilities,
            compresses_unasked,
            max_packet,
            collation,
            user,
            auth,
            schema,
            plugin,
            attributes,
            zstd_level,
        })
    }

    /// How the stream is compressed after the login.
    pub fn compression(&self) -> Option<Algorithm> {
        Algorithm::negotiated(self.capabilities, self.zstd_level)
    }

    /// The payload of this response.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.extend_from_slice(&self.capabilities.low().to_le_bytes());
        out.extend_from_slice(&self.max_packet.to_le_bytes());
        out.push(self.collation);
        out.extend_from_slice(&[0; 19]);
        out.extend_from_slice(&self.capabilities.high().to_le_bytes());
        out.extend_from_slice(self.user.as_bytes());
        out.push(0);
        debug_assert!(self.auth.len() < 251);
        put_lenenc_bytes(&mut out, &self.auth);
        if let Some(schema) = &self.schema {
            debug_assert!(self.capabilities.contains(Capabilities::CONNECT_WITH_DB));
            out.extend_from_slice(schema.as_bytes());
            out.push(0);
        }
        out.extend_from_slice(self.plugin.as_bytes());
        out.push(0);
        if self.capabilities.contains(Capabilities::CONNECT_ATTRS) {
            let mut list = Vec::new();
            for (name, value) in &self.attributes {
                put_lenenc_bytes(&mut list, name.as_bytes());
                put_lenenc_bytes(&mut list, value.as_bytes());
            }
            put_lenenc(&mut out, list.len() as u64);
            out.extend_from_slice(&list);
        }
        if self.capabilities.contains(Capabilities::ZSTD) {
            out.push(self.zstd_level);
        }
        out
    }
}

/// Asks the peer to answer with another plugin.
pub fn auth_switch(plugin: &str, nonce: &[u8]) -> Vec<u8> {
    let mut out = vec![0xfe];
    out.extend_from_slice(plugin.as_bytes());
    out.push(0);
    out.extend_from_slice(nonce);
    out.push(0);
    out
}

/// Reads an AuthSwitchRequest payload (after its 0xFE): plugin and nonce.
pub fn parse_auth_switch(payload: &[u8]) -> Result<(String, Vec<u8>), Malformed> {
    let mut cursor = Cursor::new(payload);
    cursor.take(1, "header")?;
    let plugin = text(cursor.nul_bytes("plugin name")?);
    let nonce = cursor.rest();
    Ok((plugin, nonce.strip_suffix(&[0]).unwrap_or(nonce).to_vec()))
}

/// COM_CHANGE_USER, without its command byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeUser {
    /// User name.
    pub user: String,
    /// Authentication reply to the connection's first nonce.
    pub auth: Vec<u8>,
    /// Schema, when one is asked for.
    pub schema: Option<String>,
    /// Collation id, when the client sends one.
    pub collation: Option<u16>,
    /// Plugin the reply is for; empty when the client names none.
    pub plugin: String,
    /// Connection attributes.
    pub attributes: Vec<(String, String)>,
}

impl ChangeUser {
    /// Reads the payload after the command byte.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, Malformed> {
        let mut cursor = Cursor::new(payload);
        let user = text(cursor.nul_bytes("user name")?);
        let length = usize::from(cursor.u8("authentication reply")?);
        let auth = cursor.take(length, "authentication reply")?.to_vec();
        let schema = Some(text(nul_or_rest(&mut cursor))).filter(|name| !name.is_empty());
        let collation =
            if cursor.remaining().len() >= 2 { Some(cursor.u16("collation")?) } else { None };
        if capabilities.contains(Capabilities::PLUGIN_AUTH) && cursor.is_empty() {
            return Err(Malformed { what: "plugin name", offset: cursor.offset() });
        }
        let plugin = text(nul_or_rest(&mut cursor));
        let attributes = if capabilities.contains(Capabilities::CONNECT_ATTRS) {
            attributes(&mut cursor)?
        } else {
            Vec::new()
        };
        Ok(Self { user, auth, schema, collation, plugin, attributes })
    }
}

fn attributes(cursor: &mut Cursor<'_>) -> Result<Vec<(String, String)>, Malformed> {
    if cursor.is_empty() {
        return Ok(Vec::new());
    }
    let offset = cursor.offset();
    let list = cursor.lenenc_bytes("connection attributes")?;
    if list.len() > ATTRIBUTES_MAX {
        return Err(Malformed { what: "connection attributes (too long)", offset });
    }
    let mut list = Cursor::new(list);
    let mut found = Vec::new();
    while !list.is_empty() {
        let name = text(list.lenenc_bytes("attribute name")?);
        found.push((name, text(list.lenenc_bytes("attribute value")?)));
    }
    Ok(found)
}

fn nul_or_rest<'a>(cursor: &mut Cursor<'a>) -> &'a [u8] {
    let mut ahead = cursor.clone();
    match ahead.nul_bytes("text") {
        Ok(bytes) => {
            *cursor = ahead;
            bytes
        }
        Err(_) => cursor.rest(),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_greeting_survives_a_round_trip() {
        let greeting = Greeting {
            version: "11.8.3-MariaDB".into(),
            thread_id: 77,
            nonce: (33..53).collect(),
            capabilities: Capabilities::SUPPORTED - Capabilities::LONG_PASSWORD,
            collation: 45,
            status: 2,
            plugin: "mysql_native_password".into(),
        };
        assert_eq!(Greeting::parse(&greeting.encode()), Ok(greeting));
    }

    #[test]
    fn a_response_survives_a_round_trip() {
        let offered = Capabilities::SUPPORTED - Capabilities::LONG_PASSWORD;
        let response = HandshakeResponse {
            capabilities: offered,
            compresses_unasked: false,
            max_packet: 1 << 24,
            collation: 45,
            user: "app".into(),
            auth: vec![7; 20],
            schema: Some("shop".into()),
            plugin: "mysql_native_password".into(),
            attributes: vec![("program_name".into(), "artisan".into())],
            zstd_level: 7,
        };
        assert_eq!(HandshakeResponse::parse(&response.encode(), offered), Ok(response));
    }

    #[test]
    fn the_plugins_name_may_be_missing_at_the_end_and_nothing_else() {
        let asked = Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::CONNECT_WITH_DB;
        let parse = |more: Capabilities, end: &[u8]| {
            let mut packet = (asked | more).low().to_le_bytes().to_vec();
            packet.extend([0, 0, 0, 1, 45]);
            packet.extend([0; 23]);
            packet.extend(b"app\0\x01a");
            packet.extend(end);
            HandshakeResponse::parse(&packet, Capabilities::SUPPORTED - Capabilities::LONG_PASSWORD)
        };
        let none = Capabilities::empty();
        for (end, plugin) in [(&b"shop\0"[..], NATIVE), (b"shop\0\0", ""), (b"shop\0a", "a")] {
            let response = parse(none, end).expect("a response");
            let has = (response.schema.as_deref(), response.plugin.as_str());
            assert_eq!(has, (Some("shop"), plugin));
        }
        assert!(parse(none, b"").is_err(), "no schema");
        assert!(parse(Capabilities::CONNECT_ATTRS, b"shop\0").is_err(), "no attributes");
        assert!(parse(Capabilities::CONNECT_ATTRS, b"shop\0a\0").is_err(), "no attributes");
        assert!(parse(Capabilities::CONNECT_ATTRS, b"shop\0a\0\0").is_ok(), "none of them");
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_a_panic(bytes: Vec<u8>) {
            let _ = Greeting::parse(&bytes);
            let _ = HandshakeResponse::parse(&bytes, Capabilities::SUPPORTED);
            let _ = HandshakeResponse::parse_old(&bytes);
            let _ = ChangeUser::parse(&bytes, Capabilities::SUPPORTED);
            let _ = parse_auth_switch(&bytes);
        }
    }
}

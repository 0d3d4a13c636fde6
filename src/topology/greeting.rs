//! The first packet of a server: what it can do, before anybody logs in.
//!
//! Layout: <https://mariadb.com/kb/en/connection/#initial-handshake-packet>.

/// Longest greeting accepted; real ones have about 100 bytes.
pub(super) const MAX_GREETING: usize = 1024;

const ERR: u8 = 0xff;
const PROTOCOL_10: u8 = 10;
/// `CLIENT_MYSQL`: MariaDB clears it and uses four reserved bytes for its own capabilities.
const CLIENT_MYSQL: u64 = 1;
const CLIENT_PLUGIN_AUTH: u64 = 1 << 19;

/// What the server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// Version text.
    pub version: String,
    /// Default collation.
    pub collation: u8,
    /// Lower half: `CLIENT_*`; upper half: MariaDB's extended capabilities.
    pub capabilities: u64,
    /// Status flags.
    pub status: u16,
    /// Authentication plugin.
    pub auth_plugin: String,
}

/// Why there is no greeting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoGreeting {
    /// An ERR packet.
    #[error("the server refuses: {text} ({code})")]
    Refused {
        /// Error code.
        code: u16,
        /// Message.
        text: String,
    },
    /// Something else.
    #[error("not a greeting of a MySQL or MariaDB server")]
    Malformed,
}

impl Greeting {
    /// Parses the packet's payload, without its header.
    ///
    /// # Errors
    /// When the server refuses the connection, or is none.
    pub fn parse(payload: &[u8]) -> Result<Self, NoGreeting> {
        match payload.first() {
            Some(&ERR) => Err(refusal(&payload[1..]).unwrap_or(NoGreeting::Malformed)),
            Some(&PROTOCOL_10) => accept(&payload[1..]).ok_or(NoGreeting::Malformed),
            _ => Err(NoGreeting::Malformed),
        }
    }
}

fn refusal(rest: &[u8]) -> Option<NoGreeting> {
    let mut reader = Reader(rest);
    let code = reader.u16()?;
    // `#` and an SQLSTATE only when the server takes the client for a new one.
    let text = match reader.0.first() {
        Some(b'#') => reader.0.get(6..).unwrap_or_default(),
        _ => reader.0,
    };
    Some(NoGreeting::Refused { code, text: String::from_utf8_lossy(text).into_owned() })
}

fn accept(rest: &[u8]) -> Option<Greeting> {
    let mut reader = Reader(rest);
    let version = reader.text()?;
    reader.take(4 + 8 + 1)?; // thread id, first part of the scramble, filler
    let lower = u64::from(reader.u16()?);
    let [collation] = *reader.take(1)? else { return None };
    let status = reader.u16()?;
    let mut capabilities = lower | u64::from(reader.u16()?) << 16;
    let [scramble_length] = *reader.take(1)? else { return None };
    reader.take(6)?;
    let extended = u64::from(reader.u16()?) | u64::from(reader.u16()?) << 16;
    if capabilities & CLIENT_MYSQL == 0 {
        capabilities |= extended << 32;
    }
    let mut auth_plugin = String::new();
    if capabilities & CLIENT_PLUGIN_AUTH != 0 {
        reader.take(usize::from(scramble_length).saturating_sub(8).max(13))?;
        // Some servers forget the closing zero here.
        auth_plugin =
            reader.text().unwrap_or_else(|| String::from_utf8_lossy(reader.0).into_owned());
    }
    Some(Greeting { version, collation, capabilities, status, auth_plugin })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    /// Up to the next zero byte.
    fn text(&mut self) -> Option<String> {
        let end = memchr::memchr(0, self.0)?;
        let text = String::from_utf8_lossy(&self.0[..end]).into_owned();
        self.0 = &self.0[end + 1..];
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As MariaDB 10.11 sends it.
    fn sample() -> Vec<u8> {
        let mut packet = b"\x0a5.5.5-10.11.14-MariaDB\0".to_vec();
        packet.extend([9, 0, 0, 0]);
        packet.extend(b"12345678\0");
        packet.extend([0xfe, 0xf7, 45, 2, 0, 0xff, 0x81, 21]);
        packet.extend([0, 0, 0, 0, 0, 0, 0x1d, 0, 0, 0]);
        packet.extend(b"123456789012\0");
        packet.extend(b"mysql_native_password\0");
        packet
    }

    #[test]
    fn a_greeting_is_read_with_the_extended_capabilities() {
        let greeting = Greeting::parse(&sample()).expect("a greeting");
        assert_eq!(
            greeting,
            Greeting {
                version: "5.5.5-10.11.14-MariaDB".to_owned(),
                collation: 45,
                capabilities: 0x1d_81ff_f7fe,
                status: 2,
                auth_plugin: "mysql_native_password".to_owned(),
            }
        );
    }

    #[test]
    fn without_mariadb_the_reserved_bytes_mean_nothing() {
        let mut packet = sample();
        let capabilities = packet.iter().position(|byte| *byte == 0xfe).expect("there");
        packet[capabilities] = 0xff;
        let greeting = Greeting::parse(&packet).expect("a greeting");
        assert_eq!(greeting.capabilities >> 32, 0);
    }

    #[test]
    fn a_refusal_is_told_with_its_text() {
        let refused = |text: &str| Err(NoGreeting::Refused { code: 1040, text: text.to_owned() });
        assert_eq!(Greeting::parse(b"\xff\x10\x04#08004Too many"), refused("Too many"));
        assert_eq!(Greeting::parse(b"\xff\x10\x04Too many"), refused("Too many"));
        assert_eq!(Greeting::parse(b"\xff\x10"), Err(NoGreeting::Malformed));
    }

    #[test]
    fn no_cut_off_greeting_is_accepted_or_panics() {
        let packet = sample();
        for length in 0..packet.len() - b"mysql_native_password\0".len() {
            assert_eq!(Greeting::parse(&packet[..length]), Err(NoGreeting::Malformed), "{length}");
        }
        assert!(Greeting::parse(b"SSH-2.0-OpenSSH").is_err());
    }
}

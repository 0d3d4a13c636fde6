//! A blocking client that speaks the protocol packet by packet, so that tests see every byte.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use fairlane::net::rsa;
use fairlane::protocol::auth::{NATIVE, Proof};
use fairlane::protocol::handshake::{Greeting, HandshakeResponse, parse_auth_switch};
use fairlane::protocol::packet;
use fairlane::protocol::response::{Next, Response, Summary};
use fairlane::protocol::sha2::{self, CACHING_SHA2, SHA256};
use fairlane::protocol::status::{ErrPacket, Status};
use fairlane::protocol::wire::Cursor;
use fairlane::protocol::{Capabilities, Command, Shape};

use socket2::{Domain, Protocol, Socket, Type};

use super::line::Line;
use super::product::product;

/// Nobody waits longer than this in a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// An error packet, or the end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failed {
    Server { code: u16, sqlstate: String, message: String },
    Closed,
}

impl Failed {
    pub fn code(&self) -> u16 {
        match self {
            Self::Server { code, .. } => *code,
            Self::Closed => 0,
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub bytes: Vec<u8>,
    pub summary: Summary,
}

impl Answer {
    /// Payloads of the answer's packets.
    pub fn packets(&self) -> Vec<Vec<u8>> {
        let mut rest = &self.bytes[..];
        let mut payloads = Vec::new();
        while let Ok(framed) = packet::frame(rest) {
            payloads.push(packet::payload(rest, &framed).into_owned());
            rest = &rest[framed.wire_length..];
        }
        assert!(rest.is_empty());
        payloads
    }

    /// The error it is.
    pub fn error(&self) -> Option<Failed> {
        self.summary.error?;
        self.packets().last().map(|packet| failed(packet))
    }
}

fn failed(payload: &[u8]) -> Failed {
    let error = ErrPacket::parse(payload).expect("an error packet");
    Failed::Server {
        code: error.code,
        sqlstate: String::from_utf8_lossy(error.sqlstate).into_owned(),
        message: String::from_utf8_lossy(error.message).into_owned(),
    }
}

/// How to log in.
#[derive(Debug, Clone)]
pub struct Login<'a> {
    pub port: u16,
    pub user: &'a str,
    pub password: &'a [u8],
    pub schema: Option<&'a str>,
    /// Capabilities besides those without which nothing goes.
    pub more: Capabilities,
    pub plugin: &'a str,
    pub program: &'a str,
    pub collation: u8,
    /// Where zstd is asked for.
    pub zstd_level: u8,
    /// The address it comes from.
    pub from: [u8; 4],
    /// What is sent in front of the first packet.
    pub header: &'a [u8],
}

impl<'a> Login<'a> {
    pub fn new(port: u16, user: &'a str, password: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        let password = password.as_ref();
        Self {
            port,
            user,
            password,
            schema: None,
            more: Capabilities::DEPRECATE_EOF
                | Capabilities::MULTI_STATEMENTS
                | Capabilities::MULTI_RESULTS
                | Capabilities::PS_MULTI_RESULTS
                | Capabilities::LOCAL_FILES,
            plugin: "mysql_native_password",
            program: "test",
            collation: 45,
            zstd_level: 3,
            from: [127, 0, 0, 1],
            header: b"",
        }
    }
}

/// A logged-in client.
#[derive(Debug)]
pub struct Raw {
    pub stream: Line,
    pub greeting: Greeting,
    pub capabilities: Capabilities,
}

impl Raw {
    pub fn connect(
        port: u16,
        user: &str,
        password: &str,
        schema: Option<&str>,
    ) -> Result<Self, Failed> {
        Self::login(&Login { schema, ..Login::new(port, user, password) })
    }

    pub fn login(login: &Login<'_>) -> Result<Self, Failed> {
        let stream = connect(login).map_err(|_| Failed::Closed)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self {
            stream: Line::new(stream),
            capabilities: Capabilities::empty(),
            greeting: Greeting {
                version: String::new(),
                thread_id: 0,
                nonce: Vec::new(),
                capabilities: Capabilities::empty(),
                collation: 0,
                status: 0,
                plugin: String::new(),
            },
        };
        let (_, payload) = raw.packet()?;
        if payload[0] == 0xff {
            return Err(failed(&payload));
        }
        raw.greeting = Greeting::parse(&payload).expect("a greeting");
        let own = Capabilities::PROTOCOL_41
            | Capabilities::SECURE_CONNECTION
            | Capabilities::PLUGIN_AUTH
            | Capabilities::PLUGIN_AUTH_LENENC
            | Capabilities::CONNECT_ATTRS
            | Capabilities::TRANSACTIONS
            | Capabilities::LONG_FLAG;
        let mut capabilities = (own | login.more) & raw.greeting.capabilities;
        capabilities.set(Capabilities::CONNECT_WITH_DB, login.schema.is_some());
        raw.capabilities = capabilities;
        let plugin = if raw.greeting.plugin == CACHING_SHA2 { CACHING_SHA2 } else { login.plugin };
        let nonce = raw.greeting.nonce.clone();
        let response = HandshakeResponse {
            capabilities,
            compresses_unasked: false,
            max_packet: 1 << 24,
            collation: login.collation,
            user: login.user.into(),
            auth: reply(plugin, login.password, &raw.greeting.nonce),
            schema: login.schema.map(Into::into),
            plugin: plugin.into(),
            attributes: vec![("program_name".into(), login.program.into())],
            zstd_level: login.zstd_level,
        };
        let _ = raw.stream.write_all(login.header);
        raw.put(1, &response.encode());
        raw.prove_with(login.password, nonce)?;
        if let Some(algorithm) = response.compression() {
            raw.stream.compress(algorithm);
        }
        Ok(raw)
    }

    /// Reads the answer to a login or a change of user, and switches plugins when asked to.
    pub fn prove(&mut self, password: &str) -> Result<(), Failed> {
        let nonce = self.greeting.nonce.clone();
        self.prove_with(password.as_bytes(), nonce)
    }

    fn prove_with(&mut self, password: &[u8], mut nonce: Vec<u8>) -> Result<(), Failed> {
        loop {
            let (sequence, payload) = self.packet()?;
            let answer = match payload[0] {
                0x00 => return Ok(()),
                0xfe => {
                    let (plugin, new) = parse_auth_switch(&payload).expect("a switch");
                    nonce = new;
                    reply(&plugin, password, &nonce)
                }
                sha2::MORE_DATA => match more(&payload, password, &nonce) {
                    Some(answer) => answer,
                    None => continue,
                },
                _ => return Err(failed(&payload)),
            };
            self.put(sequence.wrapping_add(1), &answer);
        }
    }

    /// Writes a payload.
    pub fn put(&mut self, sequence: u8, payload: &[u8]) {
        let mut out = Vec::new();
        packet::put(&mut out, sequence, payload);
        if sequence == 0 {
            self.stream.begin();
        }
        let _ = self.stream.write_all(&out);
    }

    /// Reads one packet: sequence id and payload.
    pub fn packet(&mut self) -> Result<(u8, Vec<u8>), Failed> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).map_err(|_| Failed::Closed)?;
        let header = packet::Header::parse(&header).unwrap();
        let mut payload = vec![0; header.length];
        self.stream.read_exact(&mut payload).map_err(|_| Failed::Closed)?;
        Ok((header.sequence, payload))
    }

    pub fn send(&mut self, command: Command, body: &[u8]) {
        let payload = [&[command as u8], body].concat();
        self.put(0, &payload);
    }

    /// Reads a whole answer.
    pub fn answer(&mut self, shape: Shape) -> Result<Answer, Failed> {
        self.answer_with_file(shape, None)
    }

    pub fn answer_with_file(
        &mut self,
        shape: Shape,
        file: Option<&[u8]>,
    ) -> Result<Answer, Failed> {
        let mut response = Response::on(shape, self.capabilities);
        response.may_open_cursor(true);
        let mut held = Vec::new();
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 * 1024];
        while !response.is_done() {
            let read = self.stream.read(&mut chunk).map_err(|_| Failed::Closed)?;
            if read == 0 {
                return Err(Failed::Closed);
            }
            held.extend_from_slice(&chunk[..read]);
            let advance = response.advance(&mut held).expect("a legal answer");
            held.truncate(advance.length);
            bytes.extend(held.drain(..advance.ready));
            if advance.next == Next::Infile {
                // In frames nobody looks at it, and clients have it from their frames.
                let in_frames = Capabilities::COMPRESS | Capabilities::ZSTD;
                let mut sequence = match self.capabilities.intersects(in_frames) {
                    true => 2,
                    false => response.file_sequence(),
                };
                if let Some(file) = file.filter(|file| !file.is_empty()) {
                    for piece in file.chunks(100_000) {
                        self.put(sequence, piece);
                        sequence = sequence.wrapping_add(1);
                    }
                }
                self.put(sequence, b"");
                response.infile_sent();
            }
        }
        assert!(held.is_empty(), "bytes after the answer");
        Ok(Answer { bytes, summary: response.into_summary() })
    }

    pub fn command(&mut self, command: Command, body: &[u8]) -> Result<Answer, Failed> {
        self.send(command, body);
        self.answer(command.shape())
    }

    /// Runs a statement; an error packet is an `Err`.
    pub fn query(&mut self, sql: &str) -> Result<Answer, Failed> {
        let answer = self.command(Command::Query, sql.as_bytes())?;
        match answer.error() {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Runs a statement that must succeed.
    pub fn run(&mut self, sql: &str) -> Answer {
        self.query(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"))
    }

    /// Begins a transaction that has a connection at once, which a plain BEGIN has not.
    pub fn hold(&mut self) {
        self.run("START TRANSACTION WITH CONSISTENT SNAPSHOT");
    }

    /// Runs a `CREATE OR REPLACE`, in the words of the server.
    pub fn replace(&mut self, sql: &str) {
        product().replacing(sql).iter().for_each(|sql| drop(self.run(sql)));
    }

    /// Rows of the first result set as texts; NULL is `None`.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        let answer = self.run(sql);
        let deprecates_eof = self.capabilities.contains(Capabilities::DEPRECATE_EOF);
        let packets = answer.packets();
        let columns = usize::from(packets[0][0]);
        let first = 1 + columns + usize::from(!deprecates_eof);
        let is_end = |packet: &&Vec<u8>| packet[0] == 0xfe && packet.len() < 0xff_ffff;
        packets[first..]
            .iter()
            .take_while(|packet| !is_end(packet))
            .map(|row| texts(row, columns))
            .collect()
    }

    /// The only value of a statement.
    pub fn text(&mut self, sql: &str) -> String {
        let rows = self.rows(sql);
        rows[0][0].clone().unwrap_or_else(|| "NULL".into())
    }

    pub fn status(&mut self) -> Status {
        self.run("DO 0").summary.status
    }

    pub fn hang_up(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// A connection of that client.
pub fn connect(login: &Login<'_>) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    // A port that is bound first must be free towards all peers, so thousands of them run out.
    if login.from != [127, 0, 0, 1] {
        socket.bind(&SocketAddr::from((login.from, 0)).into())?;
    }
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], login.port)).into())?;
    Ok(socket.into())
}

/// What proves a password to a server with a plugin.
pub fn reply(plugin: &str, password: impl AsRef<[u8]>, nonce: &[u8]) -> Vec<u8> {
    let password = password.as_ref();
    match plugin {
        NATIVE => Proof::of_password(password).map(|proof| proof.reply(nonce).to_vec()),
        CACHING_SHA2 => Some(sha2::reply(password, nonce)),
        SHA256 => Some(vec![u8::from(!password.is_empty())]),
        // Servers hide unknown users behind the plugin of another account.
        _ => Some(vec![0; 64 * usize::from(!password.is_empty())]),
    }
    .unwrap_or_default()
}

/// What follows in caching_sha2_password and sha256_password: nothing, or the key, or with the key the password.
pub fn more(payload: &[u8], password: &[u8], nonce: &[u8]) -> Option<Vec<u8>> {
    match payload[1..] {
        [sha2::FAST_OK] => None,
        [sha2::FULL] => Some(vec![sha2::REQUEST_KEY]),
        ref key => {
            let password = [password, &[0]].concat();
            Some(rsa::encrypt(&sha2::mask(&password, nonce), key).expect("a public key"))
        }
    }
}

fn texts(row: &[u8], columns: usize) -> Vec<Option<String>> {
    let mut cursor = Cursor::new(row);
    (0..columns)
        .map(|_| {
            if cursor.remaining().first() == Some(&0xfb) {
                cursor.take(1, "NULL").unwrap();
                return None;
            }
            let bytes = cursor.lenenc_bytes("value").unwrap();
            Some(String::from_utf8_lossy(bytes).into_owned())
        })
        .collect()
}

//! What clients are told about the server: taken from the primary itself.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::settings::Backend;
use crate::net::read;
use crate::protocol::handshake::Greeting;
use crate::protocol::packet;
use crate::protocol::status::ErrPacket;

/// Most bytes of a greeting.
const GREETING_MAX: usize = 16 * 1024;

/// Facts of the primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Version text of its greeting.
    pub version: String,
    /// Default collation id of its greeting.
    pub collation: u8,
    /// Its capabilities; MariaDB's own are bits 32 and up.
    pub capabilities: u64,
    /// Status flags of its greeting.
    pub status: u16,
    /// It is a MariaDB server.
    pub is_mariadb: bool,
    /// `@@global.sql_mode`.
    pub sql_mode: String,
    /// `@@global.max_allowed_packet`, in bytes.
    pub max_allowed_packet: usize,
    /// `@@global.character_set_client`.
    pub character_set_client: String,
    /// `@@global.character_set_results`.
    pub character_set_results: String,
    /// `@@global.collation_connection`.
    pub collation_connection: String,
}

impl ServerFacts {
    /// Longest command taken from a client, in bytes.
    pub fn packet_limit(&self) -> usize {
        self.max_allowed_packet
    }

    /// Character sets of a session after COM_RESET_CONNECTION: client, results, and the
    /// connection's collation.
    pub fn global_character_sets(&self) -> Option<(&str, &str, &str)> {
        (!self.character_set_client.is_empty()).then_some((
            &self.character_set_client,
            &self.character_set_results,
            &self.collation_connection,
        ))
    }
}

/// Reads a server's greeting and hangs up, the polite way round: the server would count an
/// unauthenticated connection that vanishes as an aborted one.
pub(super) async fn greeting(server: &Backend, limit: Duration) -> Result<Greeting, String> {
    let read = async {
        let address = (server.host.as_str(), server.port);
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let mut inbox = Vec::new();
        let framed = read::packet(&mut stream, &mut inbox, GREETING_MAX)
            .await
            .map_err(|error| error.to_string())?;
        let payload = packet::payload(&inbox, &framed);
        if payload.first() == Some(&0xff) {
            let error = ErrPacket::parse(&payload).map_err(|error| error.to_string())?;
            return Err(String::from_utf8_lossy(error.message).into_owned());
        }
        let greeting = Greeting::parse(&payload).map_err(|error| error.to_string())?;
        // Wait until the server has noticed: its connections are counted.
        inbox.clear();
        drop(tokio::io::AsyncWriteExt::shutdown(&mut stream).await);
        while read::fill(&mut stream, &mut inbox).await.is_ok_and(|read| read > 0) {
            inbox.clear();
        }
        Ok(greeting)
    };
    timeout(limit, read).await.unwrap_or_else(|_| Err(format!("no greeting within {limit:?}")))
}

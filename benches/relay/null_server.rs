//! A server that costs next to nothing, to see each proxy's own ceiling.
//!
//! It stands before a real server and passes everything on to it, logins and Fairlane's questions
//! included, but answers sysbench's point select itself: with the bytes the real server sent when
//! this connection asked for the first time. Which row was asked for makes no difference. It is a
//! process of its own with one thread, so that its CPU time can be told from the load's.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use fairlane::protocol::{Command as Sent, packet};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::oneshot;

/// The statement, up to the number of its row.
const POINT_SELECT: &[u8] = b"SELECT c FROM sbtest1 WHERE id=";
const BUFFER: usize = 16 << 10;

/// The null server as a child process.
#[derive(Debug)]
pub(crate) struct NullServer {
    child: Child,
    /// Where it listens.
    pub(crate) port: u16,
}

impl NullServer {
    /// Starts one before the real server at port `behind`.
    pub(crate) async fn start(behind: u16) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["null-server", "--behind", &behind.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the null server")?;
        let mut said = BufReader::new(child.stdout.take().context("the null server is mute")?);
        let mut line = String::new();
        said.read_line(&mut line).await?;
        let port = line.trim().parse().context("the null server tells no port")?;
        Ok(Self { child, port })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

/// The process itself: tells its port, then serves until its parent is gone.
pub(crate) async fn serve(behind: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;

    let (orphaned, parent_gone) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // The parent writes nothing, so this ends with it.
        let _ = std::io::stdin().read(&mut [0]);
        drop(orphaned);
    });
    let accept = async {
        loop {
            let (client, _) = listener.accept().await?;
            // A session that breaks is the client's to report.
            tokio::spawn(async move { session(client, behind).await.ok() });
        }
    };
    tokio::select! {
        done = accept => done,
        _ = parent_gone => Ok(()),
    }
}

async fn session(mut client: TcpStream, behind: u16) -> Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, behind)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut request, mut response) = (vec![0; BUFFER], vec![0; BUFFER]);
    let mut answers = Answers::default();
    loop {
        tokio::select! {
            biased;
            length = client.read(&mut request) => {
                let bytes = &request[..length?];
                if bytes.is_empty() {
                    return Ok(());
                }
                match answers.to(bytes) {
                    Some(answer) => client.write_all(answer).await?,
                    None => server.write_all(bytes).await?,
                }
            }
            length = server.read(&mut response) => {
                let bytes = &response[..length?];
                if bytes.is_empty() {
                    return Ok(());
                }
                answers.heard(bytes);
                client.write_all(bytes).await?;
            }
        }
    }
}

/// A point select that can be answered without the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Select {
    Text,
    /// Executed by its id. sysbench's point select prepares no other statement.
    Prepared([u8; 4]),
}

impl Select {
    /// What was read from a client, when that is one whole command and a point select.
    fn of(bytes: &[u8]) -> Option<Self> {
        let framed = packet::frame(bytes).ok()?;
        // Answers of a login continue the server's sequence.
        if framed.wire_length != bytes.len() || framed.first_sequence != 0 {
            return None;
        }
        let (&command, rest) = bytes[packet::HEADER..].split_first()?;
        match Sent::from_byte(command)? {
            Sent::Query => {
                let row = rest.strip_prefix(POINT_SELECT)?;
                row.iter().all(u8::is_ascii_digit).then_some(Self::Text)
            }
            Sent::StmtExecute => rest.first_chunk().copied().map(Self::Prepared),
            _ => None,
        }
    }
}

/// What one connection has heard from the real server.
#[derive(Debug, Default)]
struct Answers {
    known: HashMap<Select, Vec<u8>>,
    /// The select the server is answering now, and its answer so far.
    learning: Option<(Select, Vec<u8>)>,
    /// Whether the server has yet to answer at all.
    is_awaited: bool,
}

impl Answers {
    /// The answer to what a client sent; `None`: the server is to answer.
    fn to(&mut self, bytes: &[u8]) -> Option<&[u8]> {
        if !self.is_awaited {
            // The client goes on, so the last answer was whole.
            self.known.extend(self.learning.take());
            if let Some(select) = Select::of(bytes) {
                if self.known.contains_key(&select) {
                    return self.known.get(&select).map(Vec::as_slice);
                }
                self.learning = Some((select, Vec::new()));
            }
        }
        self.is_awaited = true;
        None
    }

    /// The server sent something.
    fn heard(&mut self, bytes: &[u8]) {
        self.is_awaited = false;
        if let Some((_, answer)) = &mut self.learning {
            answer.extend_from_slice(bytes);
        }
    }
}

//! One server of a sandbox: a process that can be stopped, killed, paused and started again.
//!
//! The methods take `&self`, so that a test can break a server while others use the sandbox.
//! A server ends with its [`Server`]: dropping it sends SIGTERM, then SIGKILL.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mysql_async::{Conn, OptsBuilder};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::Options;
use super::accounts::ROOT_PASSWORD;
use super::error::SandboxError;
use super::programs::{Identity, Programs};

/// Where all servers listen.
const HOST: &str = "127.0.0.1";
/// Ports are taken from here: below the range from which the kernel takes those of outgoing
/// connections, one of which could otherwise sit on the port of a server that is down.
const PORTS: std::ops::Range<u16> = 18_000..32_000;
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// Grace between SIGTERM and SIGKILL when a server is dropped.
const DROP_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a process is asked whether it is there yet, or still.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
const PORT_ATTEMPTS_MAX: usize = 20;
/// How much of an error log goes into an error.
const LOG_LINES_MAX: usize = 15;

/// One server process with its data directory and its port, which it keeps over restarts.
#[derive(Debug)]
pub struct Server {
    /// The address it listens on.
    pub host: String,
    /// The TCP port it listens on.
    pub port: u16,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Its directory, with `data/`, `error.log` and `general.log`.
    pub directory: PathBuf,
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    process: Mutex<Option<Child>>,
}

/// What became of an attempt to start.
enum Start {
    Answering,
    PortTaken,
    Failed(String),
}

impl Server {
    /// Describes a server called `name` in its own directory below `parent`; nothing runs yet.
    pub(super) fn new(
        name: String,
        parent: &Path,
        programs: &Programs,
        identity: Identity,
        options: &Options,
    ) -> Result<Self, SandboxError> {
        let directory = parent.join(&name);
        let temporary = directory.join("tmp");
        std::fs::create_dir_all(&temporary).map_err(SandboxError::io("make", temporary))?;
        Ok(Self {
            host: HOST.to_owned(),
            port: free_port()?,
            socket: directory.join("socket"),
            arguments: programs.arguments(&directory, identity, options),
            program: programs.server.clone(),
            directory,
            name,
            process: Mutex::new(None),
        })
    }

    /// What it is called: `primary`, `replica-1`, ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A URL for `user` with `password` and, unless it is empty, a default schema.
    pub fn url(&self, user: &str, password: &str, schema: &str) -> String {
        let (user, password, schema) = (encode(user), encode(password), encode(schema));
        format!("mysql://{user}:{password}@{}:{}/{schema}", self.host, self.port)
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Child::id)
    }

    /// Whether its process is there (also when it is paused).
    pub fn is_running(&self) -> bool {
        self.exit_status().is_none() && self.process().is_some()
    }

    /// The file its general log goes to, if that is on.
    pub fn general_log_path(&self) -> PathBuf {
        self.directory.join("general.log")
    }

    /// The file its error log goes to.
    fn error_log_path(&self) -> PathBuf {
        self.directory.join("error.log")
    }

    /// Logs in over TCP. An empty `schema` is none.
    pub async fn connect(
        &self,
        user: &str,
        password: &str,
        schema: &str,
    ) -> Result<Conn, SandboxError> {
        let login = OptsBuilder::default()
            .ip_or_hostname(self.host.as_str())
            .tcp_port(self.port)
            .prefer_socket(false);
        self.log_in(login, user, Some(password), schema).await
    }

    /// Logs in as `root` over TCP.
    pub async fn root(&self) -> Result<Conn, SandboxError> {
        self.connect("root", ROOT_PASSWORD, "").await
    }

    /// Logs in as `root` over the Unix socket, with the password the server has by now.
    pub(super) async fn root_by_socket(
        &self,
        password: Option<&str>,
    ) -> Result<Conn, SandboxError> {
        let login = OptsBuilder::default().socket(Some(self.socket.display().to_string()));
        self.log_in(login, "root", password, "").await
    }

    async fn log_in(
        &self,
        login: OptsBuilder,
        user: &str,
        password: Option<&str>,
        schema: &str,
    ) -> Result<Conn, SandboxError> {
        let login =
            login.user(Some(user)).pass(password).db_name((!schema.is_empty()).then_some(schema));
        Conn::new(login).await.map_err(|source| self.refused(source))
    }

    /// Wraps the server's own error.
    pub(super) fn refused(&self, source: mysql_async::Error) -> SandboxError {
        SandboxError::Sql { server: self.to_string(), source }
    }

    /// Starts it (again), on the same port and data directory, and waits until it answers.
    ///
    /// # Cancel safety
    /// A dropped start leaves a process that may still be starting; it ends with this value.
    pub async fn start(&self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            self.spawn()?;
            match self.answer(deadline).await? {
                Start::Answering => return Ok(()),
                Start::PortTaken if Instant::now() < deadline => {
                    tokio::time::sleep(POLL_INTERVAL * 10).await;
                }
                Start::PortTaken => return Err(self.not_started("its port is taken".to_owned())),
                Start::Failed(reason) => return Err(self.not_started(reason)),
            }
        }
    }

    /// Waits until a server spawned for the first time answers, on another port if need be.
    pub(super) async fn settle(&mut self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + START_TIMEOUT;
        for _ in 0..PORT_ATTEMPTS_MAX {
            match self.answer(deadline).await? {
                Start::Answering => return Ok(()),
                Start::PortTaken => self.port = free_port()?,
                Start::Failed(reason) => return Err(self.not_started(reason)),
            }
            self.spawn()?;
        }
        Err(self.not_started("no port is free".to_owned()))
    }

    /// Starts the process; does nothing if it runs already.
    pub(super) fn spawn(&self) -> Result<(), SandboxError> {
        if self.is_running() {
            return Ok(());
        }
        let log = self.error_log_path();
        std::fs::write(&log, "").map_err(SandboxError::io("write", log))?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .arg(format!("--port={}", self.port))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Its own group: Ctrl-C in a terminal reaches us alone, and we stop it in order.
            .process_group(0)
            .spawn()
            .map_err(SandboxError::io("run", &self.program))?;
        let recorded = std::fs::write(self.pid_path(), child.id().to_string());
        *self.process() = Some(child);
        recorded.map_err(SandboxError::io("write", self.pid_path()))
    }

    /// Waits for a greeting on the socket, which only our own process can give.
    async fn answer(&self, deadline: Instant) -> Result<Start, SandboxError> {
        while Instant::now() < deadline {
            if let Some(status) = self.exit_status() {
                let log = std::fs::read_to_string(self.error_log_path()).unwrap_or_default();
                return Ok(match log.contains("Address already in use") {
                    true => Start::PortTaken,
                    false => Start::Failed(status.to_string()),
                });
            }
            if self.greets().await {
                return Ok(Start::Answering);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(Start::Failed(format!("no answer within {START_TIMEOUT:?}")))
    }

    async fn greets(&self) -> bool {
        let Ok(mut stream) = UnixStream::connect(&self.socket).await else { return false };
        let mut header = [0; 5];
        let greeting = stream.read_exact(&mut header);
        matches!(tokio::time::timeout(POLL_INTERVAL * 100, greeting).await, Ok(Ok(_)))
    }

    /// Stops it in order (SIGTERM), as an operator would.
    pub async fn stop(&self) -> Result<(), SandboxError> {
        self.signal("CONT")?;
        self.signal("TERM")?;
        if self.is_gone_within(STOP_TIMEOUT).await {
            return Ok(());
        }
        self.kill().await?;
        Err(SandboxError::NotStopped { server: self.to_string(), waited: STOP_TIMEOUT })
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub async fn kill(&self) -> Result<(), SandboxError> {
        self.signal("KILL")?;
        if self.is_gone_within(STOP_TIMEOUT).await {
            return Ok(());
        }
        Err(SandboxError::NotStopped { server: self.to_string(), waited: STOP_TIMEOUT })
    }

    /// Lets it hang (SIGSTOP): its connections stay open and nothing answers once this returns.
    pub async fn pause(&self) -> Result<(), SandboxError> {
        self.signal("STOP")?;
        // On a busy machine some of its threads go on for a while.
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !self.pid().is_none_or(has_stopped) {
            if Instant::now() >= deadline {
                return Err(SandboxError::NotPaused(self.to_string()));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Ends a [`pause`](Self::pause) (SIGCONT).
    pub fn resume(&self) -> Result<(), SandboxError> {
        self.signal("CONT")
    }

    async fn is_gone_within(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        while self.is_running() {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        *self.process() = None;
        true
    }

    /// The exit status of a process that has ended.
    fn exit_status(&self) -> Option<ExitStatus> {
        let status = self.process().as_mut()?.try_wait().ok().flatten();
        if status.is_some() {
            let _ = std::fs::remove_file(self.pid_path());
        }
        status
    }

    /// Sends a signal. The process is ours and not yet reaped, so its id cannot be another's.
    fn signal(&self, signal: &str) -> Result<(), SandboxError> {
        let process = self.process();
        let Some(child) = process.as_ref() else {
            return Err(SandboxError::NotRunning(self.to_string()));
        };
        let status = Command::new("/bin/sh")
            .args(["-c", r#"kill -"$1" "$2""#, "sh", signal, &child.id().to_string()])
            .stderr(Stdio::null())
            .status()
            .map_err(SandboxError::io("run", "/bin/sh"))?;
        match status.success() {
            true => Ok(()),
            false => Err(SandboxError::NotRunning(self.to_string())),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pid_path(&self) -> PathBuf {
        self.directory.join("pid")
    }

    fn not_started(&self, reason: String) -> SandboxError {
        let log = std::fs::read_to_string(self.error_log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n");
        SandboxError::NotStarted { server: self.to_string(), reason, log: tail }
    }

    /// Asks it to stop, without waiting: what a dropped sandbox does with all its servers first.
    pub(super) fn ask_to_stop(&self) {
        if self.is_running() {
            let _ = self.signal("CONT");
            let _ = self.signal("TERM");
        }
    }
}

impl std::fmt::Display for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}:{}", self.name, self.host, self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ask_to_stop();
        let polls = DROP_TIMEOUT.as_millis() / POLL_INTERVAL.as_millis();
        for _ in 0..polls {
            if !self.is_running() {
                return;
            }
            #[expect(clippy::disallowed_methods, reason = "a destructor cannot await")]
            std::thread::sleep(POLL_INTERVAL);
        }
        if let Some(mut child) = self.process().take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_file(self.pid_path());
    }
}

/// A port nobody listens on now. Another process may take it before the server does.
fn free_port() -> Result<u16, SandboxError> {
    let mut last = std::io::ErrorKind::AddrInUse.into();
    for _ in 0..PORT_ATTEMPTS_MAX {
        let port = fastrand::u16(PORTS);
        match std::net::TcpListener::bind((HOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = error,
        }
    }
    Err(SandboxError::io("listen on a port of", HOST)(last))
}

/// Percent-encodes what has a meaning of its own in a URL.
fn encode(part: &str) -> String {
    let mut encoded = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

/// Whether no thread of a process runs any more, as far as the system tells.
fn has_stopped(pid: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.flatten().all(|thread| {
        let status = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // Behind the name, which may be anything.
        let state = status.rsplit(')').next().map_or("", str::trim_start);
        !state.starts_with(['R', 'S', 'D', 'I'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_their_parts_apart() {
        assert_eq!(encode("app-secret"), "app-secret");
        assert_eq!(encode("a:b@c/d"), "a%3Ab%40c%2Fd");
    }
}

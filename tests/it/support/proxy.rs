//! A Fairlane as users run it: the binary with a configuration file.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use super::raw::{Failed, Raw};
use super::{Servers, eventually};

/// A running Fairlane; killed on drop.
pub struct Proxy {
    pub port: u16,
    pub admin: u16,
    child: Child,
    directory: tempfile::TempDir,
    /// The configuration it began with.
    original: OnceLock<String>,
    log: PathBuf,
}

/// A port nobody listens on now, given out once: below the range from which the kernel takes the
/// ports of outgoing connections, one of which could sit on it before Fairlane does.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let next = NEXT.get_or_init(|| AtomicU16::new(fastrand::u16(..)));
    let mut ports =
        std::iter::repeat_with(|| 10_000 + next.fetch_add(1, Ordering::Relaxed) % 8_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// Keys of both servers. The environment variable `FAIRLANE_TEST_COMPRESSION` has every server of
/// every test compressed, if its test says nothing of compression.
fn keys(servers: &Servers) -> String {
    match std::env::var("FAIRLANE_TEST_COMPRESSION") {
        Ok(algorithm) if !servers.keys.contains("compression") => {
            format!("{}\ncompression = \"{algorithm}\"", servers.keys)
        }
        _ => servers.keys.clone(),
    }
}

impl Proxy {
    /// Before the given servers, with defaults.
    pub fn start(servers: &Servers) -> Self {
        Self::with(servers, 15, "")
    }

    /// With so many connections per server and more configuration.
    pub fn with(servers: &Servers, max_connections: usize, more: &str) -> Self {
        let proxy = Self::start_without_waiting(servers, max_connections, more);
        proxy.wait_until_ready();
        proxy
    }

    fn wait_until_ready(&self) {
        eventually("Fairlane is ready", || self.get("/readyz").starts_with("HTTP/1.1 200"));
        eventually("the replica is in rotation", || {
            self.metric("fairlane_backend_in_rotation{backend=\"replica1\"}") == 1.0
        });
    }

    /// With the primary on its Unix socket too.
    pub fn over_sockets(servers: &Servers, max_connections: usize, more: &str) -> Self {
        let primary = servers.primary_socket.display().to_string();
        let proxy = Self::before(&primary, servers, max_connections, more);
        proxy.wait_until_ready();
        proxy
    }

    /// With the primary behind another port of this machine: a hop.
    pub fn behind(port: u16, servers: &Servers, max_connections: usize, more: &str) -> Self {
        let primary = format!("127.0.0.1:{port}");
        let proxy = Self::before(&primary, servers, max_connections, more);
        proxy.wait_until_ready();
        proxy
    }

    pub fn start_without_waiting(servers: &Servers, max_connections: usize, more: &str) -> Self {
        let primary = format!("127.0.0.1:{}", servers.primary);
        Self::before(&primary, servers, max_connections, more)
    }

    /// Before a primary that is not there.
    pub fn unreachable(servers: &Servers) -> Self {
        Self::before(&format!("127.0.0.1:{}", free_port()), servers, 8, "")
    }

    /// Whose log can't be written.
    pub fn on_a_full_disk(servers: &Servers) -> Self {
        let mut proxy = Self::start_without_waiting(servers, 15, "");
        proxy.child.kill().unwrap();
        proxy.child.wait().unwrap();
        let config = proxy.directory.path().join("fairlane.toml");
        proxy.child = Self::spawn(&config, Path::new("/dev/full"));
        proxy.wait_until_ready();
        proxy
    }

    fn spawn(config: &Path, log: &Path) -> Child {
        Command::new(env!("CARGO_BIN_EXE_fairlane"))
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(log).unwrap())
            .spawn()
            .unwrap()
    }

    /// With another service account.
    pub fn as_service(servers: &Servers, service: (&str, &str), more: &str) -> Self {
        let proxy = Self::as_service_without_waiting(servers, service, more);
        proxy.wait_until_ready();
        proxy
    }

    /// Likewise, with one that may lack what it needs.
    pub fn as_service_without_waiting(
        servers: &Servers,
        service: (&str, &str),
        more: &str,
    ) -> Self {
        let primary = format!("127.0.0.1:{}", servers.primary);
        Self::started(&primary, servers, (8, service), more)
    }

    fn before(primary: &str, servers: &Servers, max_connections: usize, more: &str) -> Self {
        Self::started(primary, servers, (max_connections, ("fairlane", "fairlane-secret")), more)
    }

    fn started(
        primary: &str,
        servers: &Servers,
        (max_connections, (service, password)): (usize, (&str, &str)),
        more: &str,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (port, admin) = (free_port(), free_port());
        let config = directory.path().join("fairlane.toml");
        // Keys of no table come first.
        let table = match more.starts_with('[') {
            true => 0,
            false => more.find("\n[").map_or(more.len(), |line_break| line_break + 1),
        };
        let (top, more) = more.split_at(table);
        // Tests fail to log in on purpose.
        let delay = if top.contains("login_delay") { "" } else { "login_delay = \"0s\"" };
        let keys = keys(servers);
        let text = format!(
            "listen = [\"127.0.0.1:{port}\"]\n{delay}\n{top}\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n\
             [service]\nuser = \"{service}\"\npassword = \"{password}\"\n\
             [primary]\naddress = \"{primary}\"\n{keys}\nmax_connections = {max_connections}\n\
             [[replica]]\naddress = \"{}\"\n{keys}\nmax_connections = {max_connections}\n{more}\n",
            servers.replica_address
        );
        std::fs::write(&config, text).unwrap();
        let log = directory.path().join("log");
        let child = Self::spawn(&config, &log);
        Self { port, admin, child, directory, original: OnceLock::new(), log }
    }

    /// The application's user.
    pub fn app(&self) -> Raw {
        self.try_app().unwrap_or_else(|error| panic!("{error:?}\n{}", self.log()))
    }

    pub fn try_app(&self) -> Result<Raw, Failed> {
        Raw::connect(self.port, "app", "app-secret", Some("shop"))
    }

    /// An HTTP answer of the operators' side.
    pub fn get(&self, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.admin)) else {
            return String::new();
        };
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// The value of one metric; NaN when it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(f64::NAN)
    }

    /// Sum of all metrics whose names begin so.
    pub fn sum(&self, prefix: &str) -> f64 {
        let metrics = self.get("/metrics");
        let lines = metrics.lines().filter(|line| line.starts_with(prefix));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until the replica answers a client's plain read: until then Fairlane may not know that
    /// the replica has all that this user has written.
    pub fn until_replica_answers(&self, client: &mut Raw, read: &str) {
        let metric = "fairlane_statements_routed_total{reason=\"plain_read\",target=\"replica\"}";
        let before = self.metric(metric);
        eventually("the replica answers", || {
            client.run(read);
            self.metric(metric) > before
        });
    }

    /// A session in a transaction that is on the replica, which may count as late for a moment.
    pub fn holder_on_replica(&self, read: &str) -> Raw {
        let mut holder = self.app();
        let in_use = "fairlane_lane_slots_in_use{backend=\"replica1\"";
        let before = self.sum(in_use);
        eventually("the transaction is on the replica", || {
            holder.run("START TRANSACTION READ ONLY");
            holder.run(read);
            let is_there = self.sum(in_use) == before + 1.0;
            if !is_there {
                holder.run("ROLLBACK");
            }
            is_there
        });
        holder
    }

    /// The file of its configuration.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("fairlane.toml")
    }

    /// Writes another configuration, with this in place of that, and has it read.
    pub fn reconfigure(&self, old: &str, new: &str) {
        let config = self.config();
        let text = self.original.get_or_init(|| std::fs::read_to_string(&config).unwrap());
        assert!(text.contains(old), "{old}");
        std::fs::write(&config, text.replace(old, new)).unwrap();
        self.signal("HUP");
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends the process a signal.
    pub fn signal(&self, name: &str) {
        let status = Command::new("/bin/kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended, and how.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            eprintln!("what Fairlane has logged:\n{log}");
        } else if log.contains("panicked") {
            panic!("Fairlane panicked:\n{log}");
        }
    }
}

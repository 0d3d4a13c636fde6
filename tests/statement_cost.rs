//! Instructions that a whole statement takes of a worker of Fairlane's, counted under callgrind before a real
//! server: what no case of the pure core shows. More than kept in `benches/statement.toml` is a failure; say in the commit
//! why the kept number has to change, and write it with `FAIRLANE_KEEP_INSTRUCTIONS=1`.

#![allow(unreachable_pub, reason = "the support modules are a small library of their own")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    clippy::needless_collect,
    reason = "these are tests"
)]

#[path = "kept/mod.rs"]
mod kept;
#[path = "it/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the integration tests")]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};

use fairlane::protocol::Command;
use support::proxy::free_port;
use support::raw::Raw;
use support::{servers, within};

/// How often each case runs before it is counted, and while it is.
const BEFORE: u32 = 100;
const COUNTED: u32 = 400;

/// Fairlane under callgrind, with one worker.
struct Counted {
    child: Child,
    directory: tempfile::TempDir,
    port: u16,
    dumps: u32,
}

impl Counted {
    fn start() -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), PathBuf::from);
        let program = target.join("release/fairlane");
        assert!(program.exists(), "{} is missing: cargo build --release", program.display());
        let directory = tempfile::tempdir().unwrap();
        let (port, primary) = (free_port(), servers().primary);
        let config = directory.path().join("fairlane.toml");
        let text = format!(
            "listen = [\"127.0.0.1:{port}\"]\nworkers = 1\n[admin]\nlisten = \"off\"\n\
             [service]\nuser = \"fairlane\"\npassword = \"fairlane-secret\"\n\
             [primary]\naddress = \"127.0.0.1:{primary}\"\nmax_connections = 8\n"
        );
        std::fs::write(&config, text).unwrap();
        let out = format!("--callgrind-out-file={}", directory.path().join("out").display());
        let child = Program::new("valgrind")
            .args(["--tool=callgrind", "--separate-threads=yes", &out])
            .arg(program)
            .args(["serve", "--config"])
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("valgrind runs (install the package valgrind)");
        let counted = Self { child, directory, port, dumps: 0 };
        within(60, "Fairlane answers", || {
            Raw::connect(port, "app", "app-secret", Some("shop"))
                .is_ok_and(|mut client| client.query("SELECT 1").is_ok())
        });
        counted
    }

    /// Instructions of the busiest thread since the last call.
    fn count(&mut self) -> u64 {
        let asked = Program::new("callgrind_control")
            .args(["-d", &self.child.id().to_string()])
            .output()
            .expect("callgrind_control runs (it comes with valgrind)");
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        self.dumps += 1;
        let mine = format!("out.{}-", self.dumps);
        let files = std::fs::read_dir(self.directory.path()).unwrap();
        let of_threads = files.filter_map(|file| {
            let path = file.unwrap().path();
            let is_mine = path.file_name()?.to_str()?.starts_with(&mine);
            let text = is_mine.then(|| std::fs::read_to_string(&path).unwrap())?;
            let line = text.lines().find_map(|line| line.strip_prefix("totals: "))?;
            line.trim().parse().ok()
        });
        of_threads.max().expect("callgrind writes a file for each thread")
    }

    /// Instructions that `run` takes each time.
    fn each(&mut self, mut run: impl FnMut()) -> u64 {
        (0..BEFORE).for_each(|_| run());
        self.count();
        (0..COUNTED).for_each(|_| run());
        self.count() / u64::from(COUNTED)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_statement_needs_no_more_instructions_than_kept() {
    let mut root = servers().root();
    root.run("USE shop");
    root.run("CREATE TABLE cost_t (id INT PRIMARY KEY, a INT)");
    root.run("INSERT INTO cost_t VALUES (1, 1), (2, 2)");
    let mut proxy = Counted::start();
    let port = proxy.port;
    let connect = || Raw::connect(port, "app", "app-secret", Some("shop")).unwrap();
    let mut counted = BTreeMap::new();
    // Two sessions take turns, each on what the other has left.
    let (mut one, mut other) = (connect(), connect());
    let mut read = |sql: &str| {
        std::mem::swap(&mut one, &mut other);
        assert_eq!(one.text(sql), "1");
    };
    counted.insert("select", proxy.each(|| read("SELECT a FROM cost_t WHERE id = 1")));
    one.run("SET NAMES utf8mb4");
    one.run("SET SESSION sql_mode = 'STRICT_ALL_TABLES'");
    one.run("SET time_zone = '+03:00'");
    let select = || assert_eq!(one.text("SELECT a FROM cost_t WHERE id = 1"), "1");
    counted.insert("select-of-a-session-with-variables", proxy.each(select));
    let update = || {
        one.run("UPDATE cost_t SET a = a + 1 WHERE id = 2");
    };
    counted.insert("update", proxy.each(update));
    let transaction = || {
        one.run("BEGIN");
        one.run("SELECT a FROM cost_t WHERE id = 1");
        one.run("SELECT a FROM cost_t WHERE id = 2");
        one.run("COMMIT");
    };
    counted.insert("transaction-of-two-selects", proxy.each(transaction));
    let sql = b"SELECT a FROM cost_t WHERE id = ?";
    let prepared = one.command(Command::StmtPrepare, sql).unwrap().summary.prepared.unwrap();
    let body = [&prepared.0.to_le_bytes()[..], &[0, 1, 0, 0, 0, 0, 1, 3, 0, 1, 0, 0, 0]].concat();
    let execute = || assert_eq!(one.command(Command::StmtExecute, &body).unwrap().error(), None);
    counted.insert("execute", proxy.each(execute));
    let page = || {
        let mut client = connect();
        client.run("SET NAMES utf8mb4");
        assert_eq!(client.text("SELECT a FROM cost_t WHERE id = 1"), "1");
        client.send(Command::Quit, b"");
    };
    counted.insert("page-of-its-own-connection", proxy.each(page));
    let counted = counted.into_iter().map(|(case, count)| (case.to_owned(), count)).collect();
    let head = "Instructions of one operation of a worker; tests/statement_cost.rs compares.";
    kept::compare(&counted, "benches/statement.toml", head, 0.0);
}

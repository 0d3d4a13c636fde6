//! Finding the server's programs, and what differs between server families.
//!
//! Everything that another family (MySQL) would do in another way is a method here.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::error::SandboxError;
use super::options::{Options, as_argument};

/// Directories searched after `PATH`: distributions keep server programs out of a user's `PATH`.
const DIRECTORIES: &[&str] = &[
    "/usr/sbin",
    "/usr/libexec",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/local/mysql/bin",
    "/usr/local/mariadb/bin",
    "/usr/bin",
];

/// InnoDB's redo log, in MiB: small, because each server writes it whole when it is installed.
const REDO_LOG_MB: u32 = 48;

/// Which server software a sandbox runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Family {
    /// MariaDB 10.6 or later.
    #[default]
    MariaDb,
}

/// The programs of one server family on this machine.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    family: Family,
    pub(super) server: PathBuf,
    install: PathBuf,
}

/// What distinguishes one server of a sandbox from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// `server_id`; the primary has 1.
    pub(super) id: usize,
    pub(super) is_primary: bool,
}

impl Programs {
    /// Looks for the programs of `family`.
    pub(super) fn find(family: Family) -> Result<Self, SandboxError> {
        match family {
            Family::MariaDb => Ok(Self {
                family,
                server: find_program("mariadbd", "mariadb-server")?,
                install: find_program("mariadb-install-db", "mariadb-server")?,
            }),
        }
    }

    /// Creates the system tables in `data`, with a `root`@`localhost` that has no password yet.
    /// `temporary` is a directory for this alone: a MariaDB server that starts deletes what looks
    /// like a temporary table in its `tmpdir`, also those of an installation next to it.
    pub(super) async fn install(&self, data: &Path, temporary: &Path) -> Result<(), SandboxError> {
        let Family::MariaDb = self.family;
        let mut command = tokio::process::Command::new(&self.install);
        command
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", temporary.display()))
            .arg("--auth-root-authentication-method=normal")
            .arg("--skip-test-db")
            .arg("--skip-name-resolve")
            .arg(format!("--innodb_log_file_size={REDO_LOG_MB}M"));
        if is_owned_by_root(data) {
            command.arg("--user=root");
        }
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(SandboxError::io("run", &self.install))?;
        if output.status.success() {
            return Ok(());
        }
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Err(SandboxError::Install(text))
    }

    /// The arguments of one server, without its port.
    pub(super) fn arguments(
        &self,
        directory: &Path,
        identity: Identity,
        options: &Options,
    ) -> Vec<String> {
        let Family::MariaDb = self.family;
        let at = |name: &str| directory.join(name).display().to_string();
        let mut arguments = vec!["--no-defaults".to_owned()];
        if is_owned_by_root(directory) {
            arguments.push("--user=root".to_owned());
        }
        arguments.extend([
            format!("--datadir={}", at("data")),
            format!("--tmpdir={}", at("tmp")),
            format!("--socket={}", at("socket")),
            format!("--pid-file={}", at("server.pid")),
            format!("--log-error={}", at("error.log")),
            format!("--general-log-file={}", at("general.log")),
            format!("--server-id={}", identity.id),
            format!("--innodb-buffer-pool-size={}M", options.buffer_pool_mb),
            format!("--innodb-log-file-size={REDO_LOG_MB}M"),
            format!("--max-connections={}", options.max_connections),
        ]);
        arguments.extend(COMMON.iter().map(|option| as_argument(option)));
        let (role, extra) = match identity.is_primary {
            true => (PRIMARY, &options.primary_extra),
            false => (REPLICA, &options.replica_extra),
        };
        arguments.extend(role.iter().map(|option| as_argument(option)));
        if options.replica_general_log && !identity.is_primary {
            arguments.push("--general-log=ON".to_owned());
        }
        arguments.extend(options.extra.iter().chain(extra).map(|option| as_argument(option)));
        arguments
    }
}

/// Options of every server.
const COMMON: &[&str] = &[
    "bind-address=127.0.0.1",
    "skip-name-resolve=OFF",
    "character-set-server=utf8mb4",
    "log-bin=binlog",
    "relay-log=relay",
    "binlog-format=ROW",
    "log-slave-updates=ON",
    "gtid-strict-mode=ON",
    // Functions of an account without SUPER: applications create them, and rows are replicated.
    "log-bin-trust-function-creators=ON",
    // A sandbox outlives its process, not the machine: writes need not reach the disk.
    "innodb-flush-log-at-trx-commit=2",
    "sync-binlog=0",
    "performance-schema=OFF",
    // Packets over 16 MiB are a case of their own in the protocol, so they must be possible.
    "max-allowed-packet=64M",
    "local-infile=ON",
    // Tests break handshakes on purpose; the server would refuse the whole host after 100.
    "max-connect-errors=4294967295",
    "log-warnings=1",
];

/// Options of the primary only.
const PRIMARY: &[&str] = &["read-only=OFF"];

/// Options of replicas only.
const REPLICA: &[&str] =
    &["read-only=ON", "slave-parallel-threads=4", "slave-net-timeout=10", "master-retry-count=0"];

/// The first executable called `program` in `PATH` or the usual server directories.
fn find_program(program: &'static str, package: &'static str) -> Result<PathBuf, SandboxError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(DIRECTORIES.iter().map(PathBuf::from))
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or(SandboxError::MissingProgram { program, package })
}

/// Whether root made `path`. The sandbox makes its own directories, so this tells who runs it;
/// servers refuse to run as root unless told to.
fn is_owned_by_root(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_the_package_to_install() {
        let error = find_program("no-such-server", "mariadb-server").unwrap_err().to_string();
        assert!(error.contains("no-such-server") && error.contains("mariadb-server"), "{error}");
    }
}

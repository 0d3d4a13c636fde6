//! Finding the server's programs, and how to call them.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::dialect::Dialect;
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

/// The programs of one server family on this machine.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    dialect: &'static Dialect,
    pub(super) server: PathBuf,
    installer: PathBuf,
    /// What `basedir` has to be, when the programs are not where they were built for.
    base: Option<PathBuf>,
}

/// What distinguishes one server of a sandbox from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Identity {
    /// `server_id`; the primary has 1.
    pub(super) id: usize,
    pub(super) is_primary: bool,
}

impl Programs {
    /// Looks for the programs that `options` ask for.
    pub(super) fn find(options: &Options) -> Result<Self, SandboxError> {
        let dialect = options.family.dialect();
        let named = options.programs.as_deref();
        let server = find_program(dialect.server, dialect, named)?;
        let installer = find_program(dialect.installer, dialect, named)?;
        let base = match named {
            Some(_) => server.ancestors().nth(2).map(Path::to_owned),
            None => None,
        };
        Ok(Self { dialect, server, installer, base })
    }

    /// Creates the system tables in `data`, with a `root`@`localhost` that has no password yet.
    /// `temporary` is a directory for this alone: a MariaDB server that starts deletes what looks
    /// like a temporary table in its `tmpdir`, also those of an installation next to it.
    pub(super) async fn install(&self, data: &Path, temporary: &Path) -> Result<(), SandboxError> {
        let mut command = tokio::process::Command::new(&self.installer);
        command
            .arg("--no-defaults")
            .args(self.dialect.install.iter().map(|option| as_argument(option)))
            .arg(format!("--datadir={}", data.display()))
            // As an argument the script of MariaDB would break it at its blanks.
            .env("TMPDIR", temporary)
            .args(self.base_argument());
        if is_owned_by_root(data) {
            command.arg("--user=root");
        }
        let output = command
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(SandboxError::io("run", &self.installer))?;
        if !output.status.success() {
            let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.push_str(&String::from_utf8_lossy(&output.stderr));
            return Err(SandboxError::Install(text));
        }
        for file in self.dialect.unique_files {
            let file = data.join(file);
            std::fs::remove_file(&file).map_err(SandboxError::io("remove", file))?;
        }
        Ok(())
    }

    fn base_argument(&self) -> Option<String> {
        self.base.as_ref().map(|base| format!("--basedir={}", base.display()))
    }

    /// The arguments of one server, without its port.
    pub(super) fn arguments(
        &self,
        directory: &Path,
        identity: Identity,
        options: &Options,
    ) -> Vec<String> {
        let at = |name: &str| directory.join(name).display().to_string();
        let mut arguments = vec!["--no-defaults".to_owned()];
        if is_owned_by_root(directory) {
            arguments.push("--user=root".to_owned());
        }
        arguments.extend(self.base_argument());
        arguments.extend([
            format!("--datadir={}", at("data")),
            format!("--tmpdir={}", at("tmp")),
            format!("--socket={}", at("socket")),
            format!("--pid-file={}", at("server.pid")),
            format!("--log-error={}", at("error.log")),
            format!("--general-log-file={}", at("general.log")),
            format!("--server-id={}", identity.id),
            format!("--innodb-buffer-pool-size={}M", options.buffer_pool_mb),
            format!("--max-connections={}", options.max_connections),
        ]);
        arguments.extend(self.dialect.common.iter().map(|option| as_argument(option)));
        let (role, extra) = match identity.is_primary {
            true => (self.dialect.primary, &options.primary_extra),
            false => (self.dialect.replica, &options.replica_extra),
        };
        arguments.extend(role.iter().map(|option| as_argument(option)));
        if options.replica_general_log && !identity.is_primary {
            arguments.push("--general-log=ON".to_owned());
        }
        arguments.extend(options.extra.iter().chain(extra).map(|option| as_argument(option)));
        arguments
    }
}

/// The executable called `program` in the named directory, or the first one in `PATH` and the
/// usual server directories. Links are followed: a server looks for its files near its program.
fn find_program(
    program: &'static str,
    dialect: &Dialect,
    named: Option<&Path>,
) -> Result<PathBuf, SandboxError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = || std::env::split_paths(&path).chain(DIRECTORIES.iter().map(PathBuf::from));
    let directories = named.map_or_else(|| usual().collect(), |named| vec![named.to_owned()]);
    let is_impostor = |candidate: &PathBuf| {
        let name = candidate.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        dialect.impostors.contains(&name)
    };
    directories
        .iter()
        .filter_map(|directory| directory.join(program).canonicalize().ok())
        .find(|candidate| candidate.is_file() && !is_impostor(candidate))
        .ok_or_else(|| SandboxError::MissingProgram {
            program,
            place: named.map_or_else(
                || "PATH, /usr/sbin, /usr/libexec or /usr/local".to_owned(),
                |named| named.display().to_string(),
            ),
            cure: dialect.cure,
        })
}

/// Whether root made `path`. The sandbox makes its own directories, so this tells who runs it;
/// servers refuse to run as root unless told to.
fn is_owned_by_root(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Family;

    #[test]
    fn a_missing_program_is_named_with_its_place_and_the_cure() {
        let dialect = Family::MySql.dialect();
        let named = tempfile::tempdir().unwrap();
        let error = find_program("mysqld", dialect, Some(named.path())).unwrap_err().to_string();
        let place = named.path().display().to_string();
        for part in ["`mysqld`", &place, "mysql-server-core"] {
            assert!(error.contains(part), "{error}");
        }
        let error = find_program("no-such-server", Family::MariaDb.dialect(), None).unwrap_err();
        assert!(error.to_string().contains("mariadb-server"), "{error}");
    }

    #[test]
    fn a_link_to_a_server_of_another_family_is_none_of_this() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("mariadbd"), "").unwrap();
        std::os::unix::fs::symlink("mariadbd", at("mysqld")).unwrap();
        let found =
            |family: Family, name| find_program(name, family.dialect(), Some(directory.path()));
        assert!(found(Family::MariaDb, "mariadbd").is_ok());
        assert!(found(Family::MySql, "mysqld").is_err());
    }
}

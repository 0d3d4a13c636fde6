//! The directory of a sandbox, and what happens to it when the sandbox ends.
//!
//! ```text
//! DIRECTORY/
//!   lock               locked by the process whose sandbox it is
//!   ready              written once the accounts exist: the directory can be started again
//!   primary/           data/ tmp/ socket error.log general.log pid
//!   replica-1/ ...     the same
//! ```
//!
//! Each server's process id is in its `pid` file while it runs. A *guardian*, a small shell
//! process, waits for the end of this process and then ends servers that are still there: a test
//! that is killed leaves nothing behind.

use std::fs::{File, TryLockError};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::SandboxError;

/// Longest path of a Unix socket that every kernel accepts, with some room.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// How long the servers of a sandbox that was killed may take to end.
const GUARDIAN_WAIT: Duration = Duration::from_secs(20);

/// Attempts to find an unused name for a temporary directory.
const NAME_ATTEMPTS_MAX: usize = 100;

/// Waits for the end of its standard input, which this process holds open; `$1` is the
/// directory, `$2` says whether it is temporary. A recorded process is ended only if it has the
/// directory in its command line: its id might have been given to another one since.
const GUARDIAN: &str = r#"
trap '' INT TERM HUP
cat >/dev/null
signal=TERM
[ "$2" = temporary ] && signal=KILL
for file in "$1"/*/pid; do
  [ -r "$file" ] || continue
  pid=$(cat "$file")
  case "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)" in
    *"=$1/"*) kill -CONT "$pid"; kill -"$signal" "$pid" ;;
  esac
done
[ "$2" = temporary ] || exit 0
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$1" 2>/dev/null
  [ -e "$1" ] || exit 0
  sleep 0.2
done
"#;

/// A sandbox's directory. Dropping it removes a temporary one; the servers must be gone by then.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    is_temporary: bool,
    guardian: Option<Child>,
    /// Of a named directory: released when it is closed, however this process ends.
    _lock: Option<File>,
}

impl Directory {
    /// Makes a new temporary directory, or opens (and makes) the named one.
    pub(super) fn open(named: Option<&Path>) -> Result<Self, SandboxError> {
        let (path, is_temporary, lock) = match named {
            None => (make_temporary()?, true, None),
            Some(path) => {
                let (path, lock) = make_named(path)?;
                (path, false, Some(lock))
            }
        };
        let mut directory = Self { path, is_temporary, guardian: None, _lock: lock };
        directory.check_socket_length()?;
        directory.guardian = Some(directory.start_guardian()?);
        Ok(directory)
    }

    /// Waits for the end of the servers of a sandbox that was killed: its guardian is ending them.
    pub(super) async fn wait_for_the_last(&self) -> Result<(), SandboxError> {
        let deadline = Instant::now() + GUARDIAN_WAIT;
        while has_servers(&self.path) {
            if Instant::now() > deadline {
                return Err(SandboxError::InUse(self.path.clone()));
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether an earlier sandbox here got as far as making the accounts.
    pub(super) fn is_ready(&self) -> bool {
        self.path.join("ready").exists()
    }

    pub(super) fn mark_ready(&self) -> Result<(), SandboxError> {
        let mark = self.path.join("ready");
        std::fs::write(&mark, "").map_err(SandboxError::io("write", mark))
    }

    fn check_socket_length(&self) -> Result<(), SandboxError> {
        let longest = self.path.join("replica-100").join("socket");
        if longest.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            return Err(SandboxError::PathTooLong(longest));
        }
        Ok(())
    }

    /// Starts the guardian in a process group of its own, so that Ctrl-C does not reach it.
    fn start_guardian(&self) -> Result<Child, SandboxError> {
        Command::new("/bin/sh")
            .args(["-c", GUARDIAN, "fairlane-sandbox-guardian"])
            .arg(&self.path)
            .arg(if self.is_temporary { "temporary" } else { "kept" })
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(SandboxError::io("run", "/bin/sh"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the sandbox");
        }
        if let Some(mut guardian) = self.guardian.take() {
            // Closing its input ends the guardian, which finds nothing left to do.
            drop(guardian.stdin.take());
            let _ = guardian.wait();
        }
    }
}

fn make_temporary() -> Result<PathBuf, SandboxError> {
    let parent = std::env::temp_dir();
    let mut attempts = 0;
    loop {
        let path = parent.join(format!("fairlane-sandbox-{:08x}", fastrand::u32(..)));
        match std::fs::create_dir(&path) {
            Ok(()) => return path.canonicalize().map_err(SandboxError::io("find", path)),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => attempts += 1,
            Err(error) => return Err(SandboxError::io("make", path)(error)),
        }
        if attempts == NAME_ATTEMPTS_MAX {
            let error = std::io::ErrorKind::AlreadyExists.into();
            return Err(SandboxError::io("make a directory in", parent)(error));
        }
    }
}

fn make_named(path: &Path) -> Result<(PathBuf, File), SandboxError> {
    std::fs::create_dir_all(path).map_err(SandboxError::io("make", path))?;
    let path = path.canonicalize().map_err(SandboxError::io("find", path))?;
    let entries = std::fs::read_dir(&path).map_err(SandboxError::io("read", &path))?;
    let mut others = entries.flatten().filter(|entry| entry.file_name() != "lock");
    if others.next().is_some() && !path.join("ready").exists() {
        return Err(SandboxError::NotASandbox(path));
    }
    let lock = lock(&path)?;
    Ok((path, lock))
}

/// Makes sure that no other sandbox uses the directory.
fn lock(path: &Path) -> Result<File, SandboxError> {
    let name = path.join("lock");
    let lock = File::create(&name).map_err(SandboxError::io("make", &name))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(SandboxError::InUse(path.to_owned())),
        Err(TryLockError::Error(error)) => return Err(SandboxError::io("lock", name)(error)),
    }
    Ok(lock)
}

/// Whether a recorded process is alive and has the directory in its command line.
fn has_servers(path: &Path) -> bool {
    let mark = format!("={}/", path.display());
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| {
        let pid = std::fs::read_to_string(entry.path().join("pid")).unwrap_or_default();
        let known = pid.trim().parse::<u32>().ok();
        let words = known.and_then(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok());
        words.is_some_and(|words| String::from_utf8_lossy(&words).contains(&mark))
    })
}

/// Copies a directory with everything in it.
pub(super) fn copy(source: &Path, target: &Path) -> Result<(), SandboxError> {
    std::fs::create_dir_all(target).map_err(SandboxError::io("make", target))?;
    let entries = std::fs::read_dir(source).map_err(SandboxError::io("read", source))?;
    for entry in entries {
        let entry = entry.map_err(SandboxError::io("read", source))?;
        let (from, to) = (entry.path(), target.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to)?;
        } else {
            std::fs::copy(&from, &to).map_err(SandboxError::io("copy", from))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_directory_is_removed_and_a_named_one_is_kept() {
        let temporary = Directory::open(None).unwrap();
        let path = temporary.path().to_owned();
        assert!(path.is_dir());
        drop(temporary);
        assert!(!path.exists());

        let parent = tempfile::tempdir().unwrap();
        let named = parent.path().join("kept");
        drop(Directory::open(Some(&named)).unwrap());
        assert!(named.is_dir());
    }

    #[test]
    fn a_directory_with_other_things_in_it_is_refused() {
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("letter.txt"), "Dear").unwrap();
        let error = Directory::open(Some(other.path())).unwrap_err();
        assert!(matches!(error, SandboxError::NotASandbox(_)), "{error}");
    }

    #[test]
    fn a_directory_is_one_sandboxs_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let named = parent.path().join("kept");
        let first = Directory::open(Some(&named)).unwrap();
        first.mark_ready().unwrap();
        let error = Directory::open(Some(&named)).unwrap_err();
        assert!(matches!(error, SandboxError::InUse(_)), "{error}");
        drop(first);
        drop(Directory::open(Some(&named)).unwrap());
    }

    #[test]
    fn the_guardian_removes_a_temporary_directory_whose_owner_died() {
        let mut directory = Directory::open(None).unwrap();
        let mut guardian = directory.guardian.take().unwrap();
        // What the kernel does with the pipe when this process dies.
        drop(guardian.stdin.take());
        guardian.wait().unwrap();
        assert!(!directory.path().exists());
    }
}

//! What can go wrong with a sandbox, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a sandbox, or one of its servers, did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A program of the server is not installed.
    #[error("no `{program}` in {place}; {cure}")]
    MissingProgram {
        /// The program looked for.
        program: &'static str,
        /// Where it was looked for.
        place: String,
        /// How to get it.
        cure: &'static str,
    },
    /// The directory given holds something, but no sandbox.
    #[error(
        "{0} is neither empty nor a finished sandbox directory; name an empty or a new directory"
    )]
    NotASandbox(PathBuf),
    /// Another process has a sandbox there.
    #[error("{0} is in use by another sandbox; stop that one, or name another directory")]
    InUse(PathBuf),
    /// A Unix socket's path has an upper bound in the kernel.
    #[error("the socket path {0} has more than 100 bytes; name a directory with a shorter path")]
    PathTooLong(PathBuf),
    /// A file or process operation failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// With which file or program.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The program that creates the system tables failed.
    #[error("creating the data directory failed: {0}")]
    Install(String),
    /// A server exited, or did not answer in time, while starting.
    #[error("the {server} did not start: {reason}\n{log}")]
    NotStarted {
        /// Which server.
        server: String,
        /// How it failed.
        reason: String,
        /// The last lines of its error log.
        log: String,
    },
    /// A server goes on although it was told to pause.
    #[error("the {0} did not pause")]
    NotPaused(String),
    /// A server had to be killed because it did not stop in time.
    #[error("the {server} did not stop within {waited:?} and was killed")]
    NotStopped {
        /// Which server.
        server: String,
        /// How long it was given.
        waited: Duration,
    },
    /// A method that needs a running process was called on a server without one.
    #[error("the {0} is not running")]
    NotRunning(String),
    /// A replica did not apply the primary's writes in time.
    #[error("the {server} did not reach position {position}: {reason}")]
    NotReplicated {
        /// Which replica.
        server: String,
        /// The position it was to reach.
        position: String,
        /// What its replication threads say.
        reason: String,
    },
    /// A server refused a statement or a connection.
    #[error("the {server} refused: {source}")]
    Sql {
        /// Which server.
        server: String,
        /// Its own error.
        source: mysql_async::Error,
    },
}

impl SandboxError {
    /// Wraps an operating system error with what was tried.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl Fn(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path: path.clone(), source }
    }
}

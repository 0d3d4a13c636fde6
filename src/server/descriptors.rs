//! Open files: a client is one, a connection to a server is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::admin::CONNECTIONS_MAX;
use crate::config::Settings;

/// Logs, event queues, listeners, and files that are read.
const OTHERS: usize = 64;

/// Raises the limit as far as it may be raised without a privilege, and says so when it is too low for
/// what the settings allow.
pub(super) fn raise(settings: &Settings) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    let limit = match current == maximum || setrlimit(Resource::Nofile, raised).is_err() {
        true => current,
        false => maximum,
    };
    let connections: usize = settings.backends.iter().map(|it| it.max_connections).sum();
    let wanted = settings.max_clients.saturating_add(connections + CONNECTIONS_MAX + OTHERS);
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    if let Some(limit) = limit.filter(|limit| *limit < wanted) {
        tracing::warn!(
            limit,
            wanted,
            "open files are limited to fewer than max_clients may need: raise the hard limit \
             (LimitNOFILE= of systemd, docker run --ulimit nofile=), or lower max_clients"
        );
    }
}

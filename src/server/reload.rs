//! SIGHUP: what can change without a restart is read anew.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::timeout;

use super::Reread;
use crate::client::Context;
use crate::config::{Problem, Settings};
use crate::net::tls::Acceptor;
use crate::pool::CONTROL_CONNECTIONS;

/// Files that take longer to be read are worth a word.
const SLOW: Duration = Duration::from_secs(2);

/// Reads certificates, lanes and rules anew for each signal, one after the other.
pub(super) async fn on(mut hang_up: Signal, context: Arc<Context>, reread: Option<Reread>) {
    let reread = reread.map(Arc::<dyn Fn() -> _ + Send + Sync>::from);
    while hang_up.recv().await.is_some() {
        let (of_tls, of_lanes) = (context.clone(), reread.clone());
        // A disk may hang, and a file may be a FIFO: this thread has more to do than to wait for them.
        let mut reading = tokio::task::spawn_blocking(move || {
            certificates(&of_tls);
            of_lanes.map(|reread| reread())
        });
        let read = match timeout(SLOW, &mut reading).await {
            Ok(read) => read,
            Err(_) => {
                tracing::warn!(
                    "SIGHUP: the files are still being read: all stays as it is until then"
                );
                reading.await
            }
        };
        if let Ok(Some(settings)) = read {
            lanes(&context, settings);
        }
    }
}

fn certificates(context: &Context) {
    match context.tls.as_ref().map(Acceptor::reload) {
        Some(Ok(())) => tracing::info!("SIGHUP: the certificate for clients was read again"),
        Some(Err(error)) => tracing::error!(%error, "SIGHUP: the old certificate stays"),
        None => {}
    }
    for pool in &context.pools {
        if let Err(error) = pool.reload_tls() {
            let backend = pool.name();
            tracing::error!(%error, backend, "SIGHUP: the old files for TLS with it stay");
        }
    }
}

fn lanes(context: &Context, read: Result<Settings, Problem>) {
    let settings = match read {
        Ok(settings) => settings,
        Err(problem) => {
            return tracing::error!("SIGHUP: lanes and rules stay as they are: {problem}");
        }
    };
    let changed = context.settings.differs_in(&settings).join(", ");
    if !changed.is_empty() {
        tracing::warn!(changed, "SIGHUP: what has changed there takes a restart");
    }
    // What lanes may have was checked against the sizes in the file.
    let sizes = settings.backends.iter().map(|backend| backend.max_connections);
    let sizes_now = context.pools.iter().map(|pool| pool.slots() + CONTROL_CONNECTIONS);
    if !sizes.eq(sizes_now) {
        return tracing::error!(
            "SIGHUP: lanes and rules stay as they are: other servers or another max_connections, \
             of which lanes are shares, take a restart"
        );
    }
    match context.policy.change(&settings) {
        Ok(true) => {}
        Ok(false) => return tracing::info!("SIGHUP: lanes and rules are what they were"),
        Err(lanes) => {
            return tracing::error!(
                "SIGHUP: lanes and rules stay as they are: the lanes are {lanes}; others, or another \
                 order, take a restart"
            );
        }
    }
    context.pools.iter().for_each(|pool| pool.retune(&settings));
    tracing::info!("SIGHUP: lanes and rules were read again; other keys take a restart");
}

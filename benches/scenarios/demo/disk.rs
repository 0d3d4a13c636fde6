//! How long the disk under the servers takes to keep what it is given: a commit takes as long, whoever
//! stands before the server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Time between two writes: few enough to be no load.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes a little, and waits until it is kept, again and again.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    end: oneshot::Sender<()>,
    watch: JoinHandle<std::io::Result<Duration>>,
}

impl DiskWatch {
    /// Begins, in a file of its own in `directory`.
    pub(crate) async fn start(directory: &Path) -> Result<Self> {
        let path = directory.join("disk-watch");
        let file = File::create(&path).await;
        let file = file.with_context(|| format!("creating {}", path.display()))?;
        let (end, ended) = oneshot::channel();
        Ok(Self { end, watch: tokio::spawn(watch(file, ended)) })
    }

    /// The longest time that one took.
    pub(crate) async fn stop(self) -> Result<Duration> {
        drop(self.end);
        self.watch.await?.context("watching the disk")
    }
}

async fn watch(mut file: File, mut ended: oneshot::Receiver<()>) -> std::io::Result<Duration> {
    let mut longest = Duration::ZERO;
    loop {
        let begin = Instant::now();
        file.write_all(&[0; 4096]).await?;
        file.sync_data().await?;
        longest = longest.max(begin.elapsed());
        tokio::select! {
            _ = &mut ended => return Ok(longest),
            () = sleep(PAUSE) => {}
        }
    }
}

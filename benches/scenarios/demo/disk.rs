//! How long the disk under the servers takes to keep what it is given: a commit takes as long, whoever
//! stands before the server.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

/// Time between two writes: few enough to be no load.
const PAUSE: Duration = Duration::from_millis(100);

/// Writes a little, and waits until it is kept, again and again.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    is_over: Arc<AtomicBool>,
    watch: JoinHandle<std::io::Result<Duration>>,
}

impl DiskWatch {
    /// Begins, in a file of its own in `directory`.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        let path = directory.join("disk-watch");
        let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let watch = std::thread::spawn(move || watch(file, &told));
        Ok(Self { is_over, watch })
    }

    /// The longest time that one took.
    pub(crate) fn stop(self) -> Result<Duration> {
        self.is_over.store(true, Ordering::Relaxed);
        let longest = self.watch.join().map_err(|_| anyhow!("the watch of the disk broke"))?;
        longest.context("watching the disk")
    }
}

fn watch(mut file: File, is_over: &AtomicBool) -> std::io::Result<Duration> {
    let mut longest = Duration::ZERO;
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        longest = longest.max(begin.elapsed());
        std::thread::sleep(PAUSE);
    }
    Ok(longest)
}

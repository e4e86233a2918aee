//! What the hosts of a test process log, to be searched.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, OnceLock};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Appender;

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        log().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().expect("no test panics while it logs")
}

/// Begins to record, once for the process.
pub(crate) fn record() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
            .with_writer(|| Appender)
            .init();
    });
}

/// The lines so far that contain all of these.
pub(crate) fn lines(parts: &[&str]) -> Vec<String> {
    String::from_utf8_lossy(&log())
        .lines()
        .filter(|line| parts.iter().all(|part| line.contains(part)))
        .map(str::to_owned)
        .collect()
}

//! The end of a process that its user or a runner interrupts: it says what is kept.

use std::thread;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::progress::{Terminal, event};
use super::text::tell_line;

/// The words on what is kept: everything that is in the store is whole.
const KEPT: &str = "interrupted: what was downloaded and written so far is kept in the store; the same command goes on from there";

/// Watches for SIGINT and SIGTERM, on a thread of its own. Where that cannot be, they end the process at once.
pub(super) fn watch(progress: &Terminal) {
    let progress = progress.clone();
    let _ = thread::Builder::new().name("signals".into()).spawn(move || {
        if let Some(number) = wait() {
            progress.abandon();
            match progress.is_json() {
                true => event(&json!({ "event": "interrupted", "text": KEPT })),
                false => tell_line(KEPT),
            }
            std::process::exit(128 + number);
        }
    });
}

/// The number of the signal that comes; `None` where none can be waited for.
fn wait() -> Option<i32> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt()).ok()?;
        let mut terminated = signal(SignalKind::terminate()).ok()?;
        tokio::select! {
            _ = interrupted.recv() => Some(SignalKind::interrupt().as_raw_value()),
            _ = terminated.recv() => Some(SignalKind::terminate().as_raw_value()),
        }
    })
}

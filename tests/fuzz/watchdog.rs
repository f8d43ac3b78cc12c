//! Ends a run that hangs, and tells with what.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// No input takes longer, even unoptimised and on a busy machine: most take milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

type Running = Option<(Instant, Vec<u8>)>;

/// Watches from a thread of its own.
pub struct Watchdog(Arc<Mutex<Running>>);

impl Watchdog {
    pub fn start() -> Self {
        let running: Arc<Mutex<Running>> = Arc::default();
        let watched = Arc::clone(&running);
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let running = watched.lock().expect("nobody panics while holding it");
                if let Some((_, bytes)) = running.as_ref().filter(|(since, _)| since.elapsed() > PATIENCE) {
                    let path = super::keep(bytes);
                    eprintln!(
                        "an input takes longer than {PATIENCE:?}: IMGFORGE_FUZZ_INPUT={}",
                        path.display()
                    );
                    std::process::abort();
                }
            }
        });
        Self(running)
    }

    pub fn begin(&self, bytes: &[u8]) {
        *self.0.lock().expect("nobody panics while holding it") = Some((Instant::now(), bytes.to_vec()));
    }

    pub fn end(&self) {
        *self.0.lock().expect("nobody panics while holding it") = None;
    }
}

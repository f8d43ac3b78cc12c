//! Ends a run that hangs, and tells with what.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// No input takes longer, even unoptimised and on a busy machine: most take milliseconds.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Watched {
    running: Option<(Instant, Vec<u8>)>,
    longest: (Duration, usize),
}

/// Watches from a thread of its own.
pub struct Watchdog(Arc<Mutex<Watched>>);

impl Watchdog {
    pub fn start(name: &str) -> Self {
        let watched: Arc<Mutex<Watched>> = Arc::default();
        let (seen, name) = (Arc::clone(&watched), name.to_owned());
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_secs(1));
                let watched = seen.lock().expect("nobody panics while holding it");
                if let Some((_, bytes)) =
                    watched.running.as_ref().filter(|(since, _)| since.elapsed() > PATIENCE)
                {
                    let path = super::keep(&name, bytes);
                    eprintln!(
                        "an input takes longer than {PATIENCE:?}: IMGFORGE_FUZZ_INPUT={}",
                        path.display()
                    );
                    std::process::abort();
                }
            }
        });
        Self(watched)
    }

    pub fn begin(&self, bytes: &[u8]) {
        self.0.lock().expect("nobody panics while holding it").running =
            Some((Instant::now(), bytes.to_vec()));
    }

    pub fn end(&self) {
        let mut watched = self.0.lock().expect("nobody panics while holding it");
        if let Some((since, bytes)) = watched.running.take() {
            watched.longest = watched.longest.max((since.elapsed(), bytes.len()));
        }
    }

    /// The time that the slowest input took.
    pub fn longest(&self) -> impl fmt::Display + use<> {
        let (time, size) = self.0.lock().expect("nobody panics while holding it").longest;
        format!("the slowest took {:.3} s, of {size} bytes", time.as_secs_f32())
    }
}

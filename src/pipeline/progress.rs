//! The progress of a build.

use std::fmt;

/// Shows what is going on.
pub trait Progress: Sync {
    /// A stage of the build begins.
    fn stage(&self, text: &str);

    /// A part of the stage is at hand.
    fn at(&self, text: &str);

    /// That many tasks will come, with that many bytes in all.
    fn expect(&self, tasks: usize, bytes: u64);

    /// Something that the user should know of, and that stops nothing.
    fn warn(&self, text: &str);

    /// A task begins; it ends when the meter is dropped. `size` is in bytes.
    fn start(&self, task: Task, name: &str, size: Option<u64>) -> Box<dyn Meter>;
}

/// Counts a task's bytes.
pub trait Meter: Send + Sync {
    /// Adds to the bytes that are done.
    fn add(&self, bytes: u64);
}

/// A task that takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// A download.
    Download,
    /// Reading the layers of an image.
    ReadLayers,
    /// Copying the layers of an image into the store.
    KeepLayers,
    /// Writing a layer.
    WriteLayer,
    /// Bringing an image into a registry.
    Push,
    /// Verifying the store.
    Verify,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Download => "downloading",
            Self::ReadLayers => "reading",
            Self::KeepLayers => "copying",
            Self::WriteLayer => "writing",
            Self::Push => "pushing",
            Self::Verify => "verifying",
        })
    }
}

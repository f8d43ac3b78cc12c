//! Options that several commands share, and the page that they ask for.

use clap::Args;

use super::screen::{self, OutputStream};
use super::text::{Page, View};

/// The extent of a listing.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ViewOptions {
    /// List all distributions and layers, and not only the most important ones.
    #[arg(long)]
    all: bool,
    /// Name every demand, on lines as long as they need.
    #[arg(long)]
    wide: bool,
}

impl ViewOptions {
    /// The view on a stream.
    pub fn on(self, stream: OutputStream) -> View {
        View { page: page(stream, self.wide), all: self.all, wide: self.wide }
    }
}

/// The page of a stream; `wide` ones have no end at their right.
pub(super) fn page(stream: OutputStream, wide: bool) -> Page {
    Page { columns: (!wide).then(|| screen::columns(stream)), unicode: screen::has_unicode() }
}

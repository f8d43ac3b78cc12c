//! Options that several commands share, and the page that they ask for.

use std::path::Path;

use clap::Args;

use super::screen::{self, OutputStream};
use super::text::{Page, View};
use super::values::platform;
use crate::oci::Architecture;
use crate::pipeline::{Locking, PlanOrder};

/// The platforms of a recipe that a command is about.
#[derive(Debug, Clone, Args)]
pub(super) struct RecipePlatforms {
    /// A platform to choose among those of the recipe; may be given several times, or with commas [default: all of them].
    #[arg(long, value_name = "linux/ARCH", value_delimiter = ',', value_parser = platform)]
    pub platform: Vec<Architecture>,
}

impl RecipePlatforms {
    /// The order to plan `recipe` for them.
    pub fn order<'a>(&'a self, recipe: &'a Path, locking: Locking) -> PlanOrder<'a> {
        PlanOrder { recipe, platforms: &self.platform, locking }
    }
}

/// The platform of an image that a command is about.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ImagePlatform {
    /// The platform that is meant, where there are several [default: this machine's].
    #[arg(long, value_name = "linux/ARCH", value_parser = platform)]
    pub platform: Option<Architecture>,
}

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

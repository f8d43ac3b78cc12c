//! `imgforge copy`.

use clap::Args;

use super::options::ImagePlatform;
use super::progress::Terminal;
use super::release::ReleaseOptions;
use super::values::{destination, place};
use crate::failure::Result;
use crate::pipeline::{self, CopyExtent, CopyOrder};
use crate::place::ImagePlace;

/// The arguments of `imgforge copy`.
#[derive(Debug, Args)]
pub(super) struct CopyArguments {
    /// The place of the image, of whatever kind.
    #[arg(value_parser = place)]
    from: ImagePlace,
    /// The places that it goes to.
    #[arg(required = true, value_parser = destination)]
    to: Vec<ImagePlace>,
    /// Copy all that the tag names: the images of every platform as they are, and what goes with them (signatures, bills of
    /// materials, attestations). Without it, the image of one platform alone.
    #[arg(long, short, conflicts_with_all = ["platform", "sbom", "sign_by"])]
    all: bool,
    #[command(flatten)]
    of: ImagePlatform,
    #[command(flatten)]
    release: ReleaseOptions,
    /// Use only what the store has; download nothing.
    #[arg(long)]
    offline: bool,
}

impl CopyArguments {
    /// Copies the image, and prints its digest.
    pub(super) fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let release = self.release.order()?;
        let session = arguments.session(self.offline, progress)?;
        let digest = pipeline::copy(
            &CopyOrder {
                from: &self.from,
                to: &self.to,
                architecture: self.of.platform,
                extent: if self.all { CopyExtent::Everything } else { CopyExtent::OnePlatform },
                release: &release,
            },
            &session,
        )?;
        progress.finish();
        super::ending::print_digest(digest, &self.to, arguments.progress)
    }
}

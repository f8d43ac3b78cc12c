//! The commands on what a release carries: bills of materials, signatures, what is newer.

use clap::Args;

use super::Arguments;
use super::progress::Terminal;
use super::text::PrintedText;
use super::values::{place, platform};
use crate::failure::Result;
use crate::oci::Architecture;
use crate::pipeline;
use crate::place::ImagePlace;
use crate::sbom::BillFormat;

/// The arguments of `imgforge sbom`.
#[derive(Debug, Args)]
pub(super) struct SbomArguments {
    /// The place of the image, of whatever kind.
    #[arg(value_parser = place)]
    image: ImagePlace,
    /// The format of the document: spdx-json (SPDX 2.3) or cyclonedx-json (CycloneDX 1.6).
    #[arg(long, default_value_t = BillFormat::Spdx)]
    format: BillFormat,
    /// The platform of the image, where it is one for several [default: this machine's].
    #[arg(long, value_name = "linux/ARCH", value_parser = platform)]
    platform: Option<Architecture>,
    /// Use only what the store has; download nothing.
    #[arg(long)]
    offline: bool,
}

impl SbomArguments {
    /// Prints the bill.
    pub fn execute(&self, arguments: &Arguments, progress: &Terminal) -> Result<()> {
        let session = arguments.session(self.offline, progress)?;
        let bill = pipeline::sbom(&self.image, self.platform, &session)?;
        progress.finish();
        PrintedText::json(&bill.document(self.format))?.print()
    }
}

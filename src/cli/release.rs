//! The commands on what a release carries: bills of materials, signatures, what is newer.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::options::page;
use super::progress::Terminal;
use super::recipes::RecipeArgument;
use super::screen::OutputStream;
use super::table::{name, prose};
use super::text::{PrintedText, print};
use super::values::{destination, place, platform};
use crate::attest::key::{PublicKey, SigningKey};
use crate::failure::{Context, Failure, Fault, Hinted, Result};
use crate::lock::OutdatedItem;
use crate::oci::Architecture;
use crate::pipeline::{self, DocumentPlacing, RebaseOrder, ReleaseOrder};
use crate::place::ImagePlace;
use crate::plain_file;
use crate::sbom::BillFormat;

/// The bytes of a key: those of cosign have some 650.
const LARGEST_KEY: u64 = 64 << 10;

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

/// The documents that a published image is given.
#[derive(Debug, Args)]
pub(super) struct ReleaseOptions {
    /// Attach the bill of materials to the published image: spdx-json or cyclonedx-json; may be given several times.
    #[arg(long, value_name = "FORMAT")]
    sbom: Vec<BillFormat>,
    /// Sign the published image with a private key, as cosign does: a file of PEM, or env://NAME of a variable; the password
    /// of an encrypted one is in COSIGN_PASSWORD.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    sign_by: Option<KeyPlace>,
}

/// The documents that a built image is given.
#[derive(Debug, Args)]
pub(super) struct BuildReleaseOptions {
    #[command(flatten)]
    release: ReleaseOptions,
    /// Attach to the published image how it was built: SLSA provenance, with all materials by their digests.
    #[arg(long)]
    provenance: bool,
    /// Put bills and provenance beside the image into an index under its tag, as docker buildx does, instead of attaching
    /// them to it.
    #[arg(long)]
    in_index: bool,
}

/// The arguments of `imgforge verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The place of the image: docker://[HOST/]NAME[:TAG] or oci:DIR[:TAG].
    #[arg(value_parser = place)]
    image: ImagePlace,
    /// The public key of whoever is to have signed it: a file of PEM, or env://NAME of a variable.
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    key: KeyPlace,
    /// Use only what the store has; download nothing.
    #[arg(long)]
    offline: bool,
}

/// The arguments of `imgforge outdated`.
#[derive(Debug, Args)]
pub(super) struct OutdatedArguments {
    #[command(flatten)]
    recipe: RecipeArgument,
    /// Print JSON; `imgforge schema outdated` describes it.
    #[arg(long)]
    json: bool,
    /// Let the recipe name files outside of its directory.
    #[arg(long)]
    allow_outside: bool,
}

/// The arguments of `imgforge rebase`.
#[derive(Debug, Args)]
pub(super) struct RebaseArguments {
    /// The place of an image that imgforge made.
    #[arg(value_parser = place)]
    image: ImagePlace,
    /// The place of its new base.
    #[arg(long, value_name = "IMAGE", value_parser = place)]
    base: ImagePlace,
    /// A place to publish the image; may be given several times [default: oci:out/NAME].
    #[arg(long, short, value_name = "DEST", value_parser = destination)]
    output: Vec<ImagePlace>,
    /// The platform of the images, where they are for several [default: this machine's].
    #[arg(long, value_name = "linux/ARCH", value_parser = platform)]
    platform: Option<Architecture>,
    #[command(flatten)]
    release: ReleaseOptions,
    /// Use only what the store has; download nothing.
    #[arg(long)]
    offline: bool,
}

/// The place of a key, which is never an argument itself: other users see those.
#[derive(Debug, Clone)]
enum KeyPlace {
    File(PathBuf),
    Variable(String),
    /// The text of a key, which is refused and not kept.
    Exposed,
}

/// A key on the command line.
#[derive(Debug, thiserror::Error)]
#[error("the key itself is an argument, which other users of the machine see")]
struct KeyAsArgument;

impl Hinted for KeyAsArgument {
    fn hint(&self) -> Option<String> {
        Some("name its file, or env://NAME of a variable; make another key where this one was used".into())
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

impl FromStr for KeyPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("env://") {
            Some("") => Err("name a variable: env://NAME"),
            Some(name) => Ok(Self::Variable(name.to_owned())),
            None if text.contains("-----BEGIN") => Ok(Self::Exposed),
            None => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "env://{name}"),
            Self::Exposed => f.write_str("-----BEGIN…"),
        }
    }
}

impl KeyPlace {
    fn read(&self) -> Result<String> {
        match self {
            Self::File(path) => {
                let bytes = plain_file::read(path, LARGEST_KEY);
                let bytes = bytes.map_err(|error| {
                    let message = format!("could not read the key `{self}`: {error}");
                    Failure::advised(message, "name a file of PEM that you can read, or env://NAME")
                })?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::Exposed => Err(KeyAsArgument.into()),
            Self::Variable(name) => std::env::var(name).map_err(|_| {
                Failure::advised(
                    format!("the key `{self}` is not there: the variable is not set"),
                    format!("set {name} to the text of the key"),
                )
            }),
        }
    }

    fn signing(&self) -> Result<SigningKey> {
        let password = std::env::var("COSIGN_PASSWORD").ok();
        let key = SigningKey::from_pem(&self.read()?, password.as_deref());
        key.with_context(|| format!("the key `{self}` cannot be used"))
    }

    fn public(&self) -> Result<PublicKey> {
        PublicKey::from_pem(&self.read()?).with_context(|| format!("the key `{self}` cannot be used"))
    }
}

impl ReleaseOptions {
    /// The order; the key is read now, before anything is built.
    pub(super) fn order(&self) -> Result<ReleaseOrder> {
        let key = self.sign_by.as_ref().map(KeyPlace::signing).transpose()?;
        Ok(ReleaseOrder { bills: self.sbom.clone(), key, ..ReleaseOrder::default() })
    }
}

impl BuildReleaseOptions {
    /// The same for an image that is built.
    pub(super) fn order(&self) -> Result<ReleaseOrder> {
        if self.in_index && self.release.sbom.is_empty() && !self.provenance {
            let hint = "give --sbom FORMAT or --provenance as well, or leave --in-index out";
            return Err(Failure::advised("--in-index has nothing to put into an index", hint));
        }
        let placing = if self.in_index { DocumentPlacing::Index } else { DocumentPlacing::Referrers };
        Ok(ReleaseOrder { provenance: self.provenance, placing, ..self.release.order()? })
    }
}

impl VerifyArguments {
    /// Verifies, and prints the digest.
    pub(super) fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let key = self.key.public()?;
        let session = arguments.session(self.offline, progress)?;
        let digest = pipeline::verify(&self.image, &key, &session)?;
        progress.finish();
        print(&format!("{digest}\n"))
    }
}

impl OutdatedArguments {
    /// Prints what is newer.
    pub(super) fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let session = arguments.session_for(false, self.allow_outside, progress)?;
        let items = pipeline::outdated(&self.recipe.path()?, &session)?;
        progress.finish();
        if self.json {
            return PrintedText::json(&items)?.print();
        }
        let mut out = PrintedText::on(page(OutputStream::Output, false));
        if items.is_empty() {
            out.line("everything is as new as it can be");
        }
        let cell = |version: Option<String>| version.unwrap_or_else(|| "-".to_owned());
        let row = |item: OutdatedItem| vec![item.name, item.locked, cell(item.allowed), cell(item.newest)];
        let columns = [name("NAME"), prose("LOCKED"), prose("ALLOWED"), prose("NEWEST")];
        out.table(&columns, items.into_iter().map(row).collect());
        out.print()
    }
}

impl RebaseArguments {
    /// Puts the image over its new base, and prints its digest.
    pub(super) fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let session = arguments.session(self.offline, progress)?;
        let order = RebaseOrder {
            image: &self.image,
            base: &self.base,
            destinations: &self.output,
            architecture: self.platform,
            release: &self.release.order()?,
        };
        let image = pipeline::rebase(&order, &session)?;
        progress.finish();
        super::ending::print_digest(image.manifest.digest(), &self.output, arguments.progress)
    }
}

impl SbomArguments {
    /// Prints the bill.
    pub(super) fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let session = arguments.session(self.offline, progress)?;
        let bill = pipeline::sbom(&self.image, self.platform, &session)?;
        progress.finish();
        PrintedText::json(&bill.document(self.format))?.print()
    }
}

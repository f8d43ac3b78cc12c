//! The commands on what a release carries: bills of materials, signatures, what is newer.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::progress::Terminal;
use super::text::{PrintedText, print};
use super::values::{place, platform};
use crate::attest::key::{PublicKey, SigningKey};
use crate::failure::{Context, Failure, Result};
use crate::oci::Architecture;
use crate::pipeline::{self, ReleaseOrder};
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

/// What a published image is given.
#[derive(Debug, Args)]
pub(super) struct ReleaseOptions {
    /// Attach the bill of materials to the published image: spdx-json or cyclonedx-json; may be given several times.
    #[arg(long, value_name = "FORMAT")]
    sbom: Vec<BillFormat>,
    /// Sign the published image with a private key, as cosign does: a file of PEM, or env://NAME of a variable; the password
    /// of one that cosign encrypted is in COSIGN_PASSWORD.
    #[arg(long, value_name = "KEY")]
    sign_by: Option<KeyPlace>,
}

/// What a built image is given.
#[derive(Debug, Args)]
pub(super) struct BuildReleaseOptions {
    #[command(flatten)]
    release: ReleaseOptions,
    /// Attach to the published image how it was built: SLSA provenance, with all materials by their digests.
    #[arg(long)]
    provenance: bool,
}

/// The arguments of `imgforge verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The place of the image: docker://[HOST/]NAME[:TAG] or oci:DIR[:TAG].
    #[arg(value_parser = place)]
    image: ImagePlace,
    /// The public key of whoever is to have signed it: a file of PEM, or env://NAME of a variable.
    #[arg(long, value_name = "KEY")]
    key: KeyPlace,
    /// Use only what the store has; download nothing.
    #[arg(long)]
    offline: bool,
}

/// The place of a key, which is never an argument itself: other users see those.
#[derive(Debug, Clone)]
enum KeyPlace {
    File(PathBuf),
    Variable(String),
}

impl FromStr for KeyPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("env://") {
            Some("") => Err("name a variable: env://NAME"),
            Some(name) => Ok(Self::Variable(name.to_owned())),
            None if text.contains("-----BEGIN") => {
                Err("name a file, or env://NAME: arguments are seen by other users")
            }
            None => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for KeyPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "env://{name}"),
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
    pub fn order(&self) -> Result<ReleaseOrder> {
        let key = self.sign_by.as_ref().map(KeyPlace::signing).transpose()?;
        Ok(ReleaseOrder { bills: self.sbom.clone(), provenance: false, key })
    }
}

impl BuildReleaseOptions {
    /// The same for an image that is built.
    pub fn order(&self) -> Result<ReleaseOrder> {
        Ok(ReleaseOrder { provenance: self.provenance, ..self.release.order()? })
    }
}

impl VerifyArguments {
    /// Verifies, and prints the digest.
    pub fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let key = self.key.public()?;
        let session = arguments.session(self.offline, progress)?;
        let digest = pipeline::verify(&self.image, &key, &session)?;
        progress.finish();
        print(&format!("{digest}\n"))
    }
}

impl SbomArguments {
    /// Prints the bill.
    pub fn execute(&self, arguments: &super::Arguments, progress: &Terminal) -> Result<()> {
        let session = arguments.session(self.offline, progress)?;
        let bill = pipeline::sbom(&self.image, self.platform, &session)?;
        progress.finish();
        PrintedText::json(&bill.document(self.format))?.print()
    }
}

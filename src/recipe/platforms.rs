//! The recipe's `platforms`: those that the image is for.

use serde::Serialize;

use super::decode::{Complaint, Decode, parsed, refuse_duplicates};
use super::diagnostic::{Problem, Problems, quote};
use super::source::Spanned;
use super::yaml::{Node, YamlValue};
use crate::oci::Architecture;

/// The platforms that an image is for, in the order written; none where the base decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Platforms(Vec<Architecture>);

impl Platforms {
    /// The architecture of each platform; all of them are of Linux.
    pub fn architectures(&self) -> &[Architecture] {
        &self.0
    }
}

impl Decode for Platforms {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let platforms: Vec<Spanned<PlatformName>> = Decode::decode(node, problems)?;
        let name = |platform: &PlatformName| platform.0.platform().to_owned();
        refuse_duplicates(&platforms, problems, name, name);
        if matches!(&node.value, YamlValue::Sequence(entries) if entries.is_empty()) {
            let problem = Problem::error(node.span, "`platforms` names no platform");
            problems
                .push(problem.help("name some, `platforms: [linux/amd64, linux/arm64]`, or leave it out"));
        }
        Some(Self(platforms.into_iter().map(|platform| platform.value.0).collect()))
    }
}

struct PlatformName(Architecture);

impl Decode for PlatformName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a platform", problems, |text| platform(text).map(Self))
    }
}

/// The architecture of the platform that `text` names.
pub(super) fn platform(text: &str) -> Result<Architecture, Complaint> {
    Architecture::of_platform(text).ok_or_else(|| {
        let complaint = Complaint::new(format!("{} is not a platform of images", quote(text)));
        complaint.help(match meant(text) {
            Some(architecture) => format!("write `{}`", architecture.platform()),
            None => "images are for `linux/amd64` and `linux/arm64`".to_owned(),
        })
    })
}

/// The architecture that a text means which is no platform: `arm64`, `x86_64`, `linux/aarch64`.
fn meant(text: &str) -> Option<Architecture> {
    let lower = text.to_lowercase();
    let name = lower.strip_prefix("linux/").unwrap_or(&lower);
    let same = |known: &Architecture| [known.as_str(), known.machine_name()].contains(&name);
    Architecture::ALL.into_iter().find(same)
}

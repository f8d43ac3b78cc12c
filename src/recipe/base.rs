//! The recipe's `base`, and the descriptions in `images/`.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;
use url::Url;

use super::decode::{Complaint, Decode, Fields, parsed, refuse_duplicates, word};
use super::diagnostic::{Diagnostics, Problem, Problems, quote};
use super::image::{HostPath, paths};
use super::parse_document;
use super::reference::{check_image, check_reference, is_bare_name};
use super::source::{SourceText, Spanned};
use super::yaml::{Node, YamlValue};
use crate::oci::{Architecture, Digest};

/// The recipe's `base`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseRef {
    /// The description in `images/NAME.yaml`: a text without `/`, `:` and `@`.
    Named(String),
    /// A description within the recipe.
    Inline(BaseDescription),
    /// An image: `ubuntu:24.04`, `docker://HOST/NAME`, `oci:DIR[:TAG]`, `oci-archive:FILE`, …
    Image(String),
}

impl Decode for BaseRef {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let YamlValue::Mapping(_) = node.value {
            return BaseDescription::decode(node, problems).map(Self::Inline);
        }
        parsed(node, "a base", problems, |text| {
            if is_bare_name(text) {
                return Ok(Self::Named(text.to_owned()));
            }
            check_image(text).map(|()| Self::Image(text.to_owned()))
        })
    }
}

/// A file in `images/`: exactly one of the kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseDescription {
    /// `suites:`, unpacked from packages.
    Debian(Debian),
    /// `image:`, pulled from a registry.
    Registry {
        /// Without the digest when that is given apart.
        reference: String,
        /// The manifest's digest, where it is given.
        digest: Option<Digest>,
        /// The recorded inventory of the image.
        #[serde(skip_serializing_if = "Option::is_none")]
        inventory: Option<RecordedInventory>,
    },
    /// `layout:`, an OCI image layout.
    Layout {
        /// Relative to the file that says so.
        path: String,
        /// The recorded inventory of the image.
        #[serde(skip_serializing_if = "Option::is_none")]
        inventory: Option<RecordedInventory>,
    },
    /// `archive:`, an oci-archive or docker-archive.
    Archive {
        /// Relative to the file that says so.
        path: String,
        /// The recorded inventory of the image.
        #[serde(skip_serializing_if = "Option::is_none")]
        inventory: Option<RecordedInventory>,
    },
    /// An image in an engine, which no description has: it is this machine's.
    Engine {
        /// `docker-daemon:NAME[:TAG]`, `podman:NAME[:TAG]` or `containerd:NAME[:TAG]`.
        place: String,
    },
}

/// `inventory:`, what was found in the image, so that nothing need be pulled to plan: JSON, as
/// `imgforge inspect --record` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedInventory(String);

impl RecordedInventory {
    /// The JSON text.
    pub fn json(&self) -> &str {
        &self.0
    }
}

impl Decode for RecordedInventory {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "an inventory", problems, |text| {
            let json = serde_json::from_str::<serde::de::IgnoredAny>(text);
            json.map(|_| Self(text.to_owned())).map_err(|error| {
                Complaint::new(format!("the inventory is not JSON: {error}"))
                    .help("record it again: `imgforge inspect IMAGE --record FILE`")
            })
        })
    }
}

/// The longest description, in bytes: with the inventory of an image of some frameworks it takes a few MB.
const LONGEST_DESCRIPTION: usize = 32 << 20;

/// The keys that decide what kind of base a description is.
const KINDS: [&str; 5] = ["suite", "suites", "image", "layout", "archive"];

impl BaseDescription {
    /// Reads a file of `images/`; `origin` is its name for messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, Diagnostics> {
        let source = Arc::new(SourceText::new(text, origin));
        parse_document(&source, LONGEST_DESCRIPTION, Self::decode)
    }

    /// The recorded inventory of the image.
    pub fn inventory(&self) -> Option<&RecordedInventory> {
        match self {
            Self::Debian(_) | Self::Engine { .. } => None,
            Self::Registry { inventory, .. }
            | Self::Layout { inventory, .. }
            | Self::Archive { inventory, .. } => inventory.as_ref(),
        }
    }

    /// The text of a description with `json` as its inventory: instead of the one it had, or at its end.
    pub fn record(text: &str, json: &str) -> String {
        let mut recorded = String::new();
        let mut in_inventory = false;
        for line in text.lines() {
            let continues = line.is_empty() || line.starts_with([' ', '\t']);
            in_inventory = line.starts_with("inventory:") || (in_inventory && continues);
            if !in_inventory {
                recorded += line;
                recorded.push('\n');
            }
        }
        recorded += "inventory: |\n";
        for line in json.lines() {
            let _ = writeln!(recorded, "  {line}");
        }
        recorded
    }
}

impl Decode for BaseDescription {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, "the description of a base", problems)?;
        let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
        let description = match kinds[..] {
            ["suite"] | ["suites"] => Debian::read(&mut fields, problems).map(Self::Debian),
            ["image"] => read_registry(&mut fields, problems),
            ["layout"] => {
                let path = read_path(&mut fields, "layout", problems);
                let inventory = fields.get("inventory", problems);
                path.map(|path| Self::Layout { path, inventory })
            }
            ["archive"] => {
                let path = read_path(&mut fields, "archive", problems);
                let inventory = fields.get("inventory", problems);
                path.map(|path| Self::Archive { path, inventory })
            }
            _ => {
                problems.push(not_one_kind(&fields, &kinds));
                return None;
            }
        };
        fields.finish(problems);
        description
    }
}

fn not_one_kind(fields: &Fields<'_>, kinds: &[&str]) -> Problem {
    let message = match kinds {
        [] => "the base does not say of which kind it is".to_owned(),
        _ => format!("the base is of more than one kind: it has `{}`", kinds.join("` and `")),
    };
    let help = "give one of `suites` (Debian packages), `image` (a registry), `layout`, `archive` (a path)";
    Problem::error(fields.span(), message).help(help)
}

fn read_registry(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<BaseDescription> {
    let reference: Option<RegistryImage> = fields.get("image", problems);
    let digest = fields.get("digest", problems);
    let inventory = fields.get("inventory", problems);
    Some(BaseDescription::Registry { reference: reference?.0, digest, inventory })
}

fn read_path(fields: &mut Fields<'_>, key: &'static str, problems: &mut Problems) -> Option<String> {
    fields.get(key, problems).map(|path: HostPath| path.0)
}

struct RegistryImage(String);

impl Decode for RegistryImage {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "an image reference", problems, |text| {
            let reference = text.strip_prefix("docker://").unwrap_or(text);
            check_reference(reference).map(|()| Self(reference.to_owned()))
        })
    }
}

impl Decode for Digest {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a digest", problems, |text| {
            text.parse().map_err(|_| {
                Complaint::new(format!("{} is not a digest", quote(text)))
                    .help("write `sha256:` and 64 hexadecimal digits")
            })
        })
    }
}

/// A base unpacked from the packages of Debian, or of a distribution laid out like it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Debian {
    /// The suites, in the order written; at least one.
    pub suites: Vec<Spanned<Suite>>,
    /// The components of each suite: `main`, `contrib`, …; at least one.
    pub components: Vec<String>,
    /// The architecture of the packages.
    pub architecture: Architecture,
    /// The archive of every suite that names none; without it, one is found on the machine.
    pub mirror: Option<Url>,
    /// Paths of keyrings that may sign the suites; when empty, the machine's archive keyrings.
    pub signed_by: Vec<Spanned<String>>,
    /// The packages to install, beside what they depend on.
    pub packages: Vec<Spanned<String>>,
    /// True if the packages marked `Essential: yes` are installed too.
    pub essential: bool,
}

impl Debian {
    /// The same base with the packages of `more` that it does not list.
    #[must_use]
    pub fn with_packages(mut self, more: &[Spanned<String>]) -> Self {
        for package in more {
            if !self.packages.iter().any(|known| known.value == package.value) {
                self.packages.push(package.clone());
            }
        }
        self
    }

    fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let one: Option<Spanned<Suite>> = fields.get("suite", problems);
        let many: Option<Vec<Spanned<Suite>>> = fields.get("suites", problems);
        let components: Option<Vec<Word>> = fields.get("components", problems);
        let architecture = fields.get("architecture", problems);
        let mirror = fields.get("mirror", problems);
        let signed_by = paths(fields, "signed-by", problems);
        let packages = fields.require("packages", "list what to install: `packages: [python3]`", problems);
        let essential = fields.get("essential", problems);

        let suites = many.unwrap_or_else(|| one.into_iter().collect());
        if suites.is_empty() {
            let problem = Problem::error(fields.span(), "the base has no suite to take packages from");
            problems.push(problem.help("name one: `suites: [bookworm]`"));
        }
        refuse_duplicates(&suites, problems, |suite| suite.name.clone(), |suite| suite.name.clone());
        let packages = package_names(packages?, problems);
        let components = components.map(|words| words.into_iter().map(|word| word.0).collect());
        Some(Self {
            suites,
            components: components.unwrap_or_else(|| vec!["main".to_owned()]),
            architecture: architecture.unwrap_or(Architecture::Amd64),
            mirror,
            signed_by,
            packages,
            essential: essential.unwrap_or(true),
        })
    }
}

/// The Debian packages that a recipe adds to its base.
pub(super) fn system_packages(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<Spanned<String>> {
    let packages: Option<Vec<Spanned<PackageEntry>>> = fields.get("system-packages", problems);
    package_names(packages.unwrap_or_default(), problems)
}

fn package_names(packages: Vec<Spanned<PackageEntry>>, problems: &mut Problems) -> Vec<Spanned<String>> {
    let names = packages.into_iter().map(|it| Spanned { value: it.value.0, span: it.span });
    let names: Vec<Spanned<String>> = names.collect();
    refuse_duplicates(&names, problems, String::clone, String::clone);
    names
}

/// One suite: `bookworm`, or `{suite: bookworm-security, mirror: URL}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suite {
    /// The suite's name.
    pub name: String,
    /// The archive that has it; without it, that of the description.
    pub mirror: Option<Url>,
}

impl Decode for Suite {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if !matches!(node.value, YamlValue::Mapping(_)) {
            return Word::decode(node, problems).map(|name| Self { name: name.0, mirror: None });
        }
        let mut fields = Fields::open(node, "a suite", problems)?;
        let help = "name it: `{suite: bookworm-security, mirror: https://…}`";
        let name: Option<Word> = fields.require("suite", help, problems);
        let mirror = fields.get("mirror", problems);
        fields.finish(problems);
        Some(Self { name: name?.0, mirror })
    }
}

/// The name of a suite or component, as a path under `dists/` has it.
struct Word(String);

impl Decode for Word {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a name", problems, |text| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/".contains(&byte);
            let safe = text.split('/').all(|part| !matches!(part, "" | "." | ".."));
            let valid = safe && text.bytes().all(allowed);
            valid.then(|| Self(text.to_owned())).ok_or_else(|| {
                Complaint::new(format!("{} is not the name of a suite or component", quote(text)))
                    .help("write it as sources.list does: `bookworm-updates`, `main`")
            })
        })
    }
}

struct PackageEntry(String);

impl Decode for PackageEntry {
    /// <https://www.debian.org/doc/debian-policy/ch-controlfields.html#source>
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a package name", problems, |text| {
            let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let valid = text.len() >= 2
                && text.bytes().all(|byte| is_word(byte) || b"+-.".contains(&byte))
                && text.bytes().next().is_some_and(is_word);
            valid.then(|| Self(text.to_owned())).ok_or_else(|| {
                Complaint::new(format!("{} is not the name of a Debian package", quote(text)))
                    .help("write the name alone, lowercase: `libgomp1`")
            })
        })
    }
}

impl Decode for Architecture {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        if let YamlValue::Scalar(text) = &node.value
            && let Some(debian) = debian_name(text)
        {
            let message = format!("{} is not Debian's name of an architecture", quote(text));
            problems.push(Problem::error(node.span, message).help(format!("write `{debian}`")));
            return None;
        }
        word(node, "an architecture", &Self::ALL.map(|known| (known.as_str(), known)), problems)
    }
}

/// The architecture that others call `machine`.
fn debian_name(machine: &str) -> Option<Architecture> {
    match machine {
        "x86-64" | "x64" => Some(Architecture::Amd64),
        _ => Architecture::ALL.into_iter().find(|architecture| architecture.machine_name() == machine),
    }
}

//! The recipe's words about the image itself: its name, files, config and layers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use super::accounts::CopyOwner;
use super::container_path::ContainerPath;
use super::decode::{Complaint, Decode, Fields, entries, parsed, refuse_duplicates, text, unexpected};
use super::diagnostic::{Problem, Problems, quote};
use super::healthcheck::Healthcheck;
use super::reference::is_path_component;
use super::size::ByteSize;
use super::source::Spanned;
use super::suggest::closest;
use super::yaml::{Node, YamlValue};
use crate::oci::dockerignore::DockerIgnore;

/// The name of an image: one component of a repository's path, so that it serves as a docker tag too.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ImageName(String);

impl ImageName {
    /// The longest name that every registry takes, in bytes.
    const LONGEST: usize = 128;

    /// `text` as a name; `None` when it is not one.
    pub fn new(text: &str) -> Option<Self> {
        let valid = text.len() <= Self::LONGEST && is_path_component(text);
        valid.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        Self::new(text).ok_or_else(|| {
            Complaint::new(format!("{} is not a name for an image", quote(text)))
                .help("use lowercase letters and digits, joined by `-`, `_` or `.`: `colab-like`")
        })
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Decode for ImageName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a name", problems, Self::parse)
    }
}

/// A file, or what a directory holds, to put into the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCopy {
    /// The path on the host, relative to the recipe.
    pub from: Spanned<String>,
    /// The path of the file or directory in the image.
    pub to: ContainerPath,
    /// True if `to` ends with a slash: a file goes into that directory.
    pub into: bool,
    /// Permission bits of every file; without it, each keeps whether its owner may execute it.
    pub mode: Option<u32>,
    /// The owner of everything that is copied; without it, root.
    pub owner: Option<Spanned<CopyOwner>>,
    /// The files and directories that are left out.
    pub exclude: Vec<String>,
}

impl Decode for FileCopy {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const HELP: &str = "say what goes where: `{from: notebooks, to: /content}`";
        let mut fields = Fields::open(node, "an entry of `files`", problems)?;
        let from: Option<Spanned<HostPath>> = fields.require("from", HELP, problems);
        let to: Option<CopyTarget> = fields.require("to", HELP, problems);
        let mode: Option<FileMode> = fields.get("mode", problems);
        let owner = fields.get("owner", problems);
        let exclude: Option<Vec<Excluded>> = fields.get("exclude", problems);
        fields.finish(problems);
        let (from, CopyTarget { path, into }) = (from?, to?);
        let from = Spanned { value: from.value.0, span: from.span };
        let (mode, exclude) = (mode.map(|mode| mode.0), exclude.unwrap_or_default());
        let exclude = exclude.into_iter().map(|pattern| pattern.0).collect();
        Some(Self { from, to: path, into, mode, owner, exclude })
    }
}

/// A pattern as in a `.dockerignore`.
struct Excluded(String);

impl Decode for Excluded {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a pattern", problems, |text| match DockerIgnore::new([text]) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err((_, error)) => Err(Complaint::new(format!("{} is not a pattern: {error}", quote(text)))
                .help("write it as in a .dockerignore, relative to `from`: `**/*.pyc`, `!kept.pyc`")),
        })
    }
}

/// The place of what is copied: a slash at its end makes a directory of it.
struct CopyTarget {
    path: ContainerPath,
    into: bool,
}

impl Decode for CopyTarget {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let path = ContainerPath::decode(node, problems)?;
        let into = matches!(&node.value, YamlValue::Scalar(text) if text.ends_with('/'));
        Some(Self { path, into })
    }
}

/// A path on the host, as written.
pub(super) struct HostPath(pub(super) String);

impl Decode for HostPath {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a path", problems, |text| {
            let given = !text.trim().is_empty();
            given.then(|| Self(text.to_owned())).ok_or_else(|| Complaint::new("the path is empty"))
        })
    }
}

/// The paths listed under `key`, each once.
pub(super) fn paths(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Vec<Spanned<String>> {
    let paths: Option<Vec<Spanned<HostPath>>> = fields.get(key, problems);
    let text = |path: Spanned<HostPath>| Spanned { value: path.value.0, span: path.span };
    let paths: Vec<Spanned<String>> = paths.unwrap_or_default().into_iter().map(text).collect();
    refuse_duplicates(&paths, problems, String::clone, String::clone);
    paths
}

struct FileMode(u32);

impl Decode for FileMode {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "permission bits", problems, |text| {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            let octal = (3..=5).contains(&digits.len()) && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
            let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o7777);
            mode.map(Self).ok_or_else(|| {
                Complaint::new(format!("{} is not a set of permission bits", quote(text)))
                    .help("write octal digits: `0644`, `0755`")
            })
        })
    }
}

/// The recipe's changes to the image's config.
///
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConfigChanges {
    /// Added to the base's environment, over variables of the same name.
    pub env: BTreeMap<String, String>,
    /// The working directory; without it, the base's.
    pub workdir: Option<ContainerPath>,
    /// `USER[:GROUP]`, names or numbers; without it, the base's.
    pub user: Option<String>,
    /// Replaces the base's, also when empty; without it, the base's.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the base's, also when empty; without it, the base's.
    pub cmd: Option<Vec<String>>,
    /// Added to the base's labels.
    pub labels: BTreeMap<String, String>,
    /// Added to the ports that the base exposes: `8888/tcp`.
    pub ports: BTreeSet<String>,
    /// Added to the base's volumes.
    pub volumes: BTreeSet<ContainerPath>,
    /// The signal that ends a container; without it, the base's.
    pub stop_signal: Option<String>,
    /// Replaces the base's; without it, the base's.
    pub healthcheck: Option<Healthcheck>,
    /// The shell of commands that are one text; without it, the base's.
    pub shell: Option<Vec<String>>,
}

impl Decode for ConfigChanges {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, "`config`", problems)?;
        let env: Option<Environment> = fields.get("env", problems);
        let workdir: Option<Inherited<ContainerPath>> = fields.get("workdir", problems);
        let user: Option<Inherited<User>> = fields.get("user", problems);
        let entrypoint: Option<Arguments> = fields.get("entrypoint", problems);
        let cmd: Option<Arguments> = fields.get("cmd", problems);
        let labels: Option<Annotations> = fields.get("labels", problems);
        let ports: Option<Vec<Port>> = fields.get("ports", problems);
        let volumes: Option<Vec<ContainerPath>> = fields.get("volumes", problems);
        let stop_signal: Option<StopSignal> = fields.get("stop-signal", problems);
        let healthcheck = fields.get("healthcheck", problems);
        let shell: Option<Arguments> = fields.get("shell", problems);
        fields.finish(problems);
        Some(Self {
            env: env.unwrap_or_default().0,
            workdir: workdir.and_then(|workdir| workdir.0),
            user: user.and_then(|user| user.0).map(|user| user.0),
            entrypoint: entrypoint.map(|arguments| arguments.0),
            cmd: cmd.map(|arguments| arguments.0),
            labels: labels.unwrap_or_default().0,
            ports: ports.unwrap_or_default().into_iter().map(|port| port.0).collect(),
            volumes: volumes.unwrap_or_default().into_iter().collect(),
            stop_signal: stop_signal.map(|signal| signal.0),
            healthcheck,
            shell: shell.map(|arguments| arguments.0),
        })
    }
}

/// A value where the empty text stands for the base's.
struct Inherited<T>(Option<T>);

impl<T: Decode> Decode for Inherited<T> {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        match &node.value {
            YamlValue::Scalar(text) if text.is_empty() => Some(Self(None)),
            _ => T::decode(node, problems).map(|value| Self(Some(value))),
        }
    }
}

struct User(String);

impl Decode for User {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a user", problems, |text| {
            let is_name = |part: &str| {
                !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-$".contains(&b))
            };
            let valid = text.splitn(2, ':').all(is_name);
            valid.then(|| Self(text.to_owned())).ok_or_else(|| {
                Complaint::new(format!("{} is not a user", quote(text)))
                    .help("write `USER` or `USER:GROUP`, names or numbers: `1000:1000`")
            })
        })
    }
}

/// A port that is exposed: `8888`, `8888/tcp`, `53/udp`.
struct Port(String);

impl Decode for Port {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a port", problems, |text| {
            let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<u16>().ok().filter(|number| *number > 0 && plain);
            let number = number.filter(|_| ["tcp", "udp", "sctp"].contains(&protocol));
            number.map(|number| Self(format!("{number}/{protocol}"))).ok_or_else(|| {
                Complaint::new(format!("{} is not a port", quote(text))).help(
                    "write a number from 1 to 65535, and the protocol if it is not tcp: `8888`, `53/udp`",
                )
            })
        })
    }
}

/// A signal, by name or number.
struct StopSignal(String);

impl Decode for StopSignal {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a signal", problems, |text| {
            let is_number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
            let is_name = text.strip_prefix("SIG").is_some_and(|name| {
                !name.is_empty()
                    && name
                        .bytes()
                        .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b"+-".contains(&b))
            });
            (is_number || is_name).then(|| Self(text.to_owned())).ok_or_else(|| {
                Complaint::new(format!("{} is not a signal", quote(text)))
                    .help("write its name or number: `SIGINT`, `2`")
            })
        })
    }
}

/// A command in the form that starts no shell.
struct Arguments(Vec<String>);

impl Decode for Arguments {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let YamlValue::Scalar(command) = &node.value else {
            return Vec::decode(node, problems).map(Self);
        };
        let words: Vec<String> = command.split_whitespace().map(|word| format!("{word:?}")).collect();
        let problem = unexpected(node, "a list of arguments");
        problems.push(problem.help(format!(
            "no shell reads it: write `[{}]`, or `[\"sh\", \"-c\", \"…\"]` for a shell",
            words.join(", ")
        )));
        None
    }
}

#[derive(Default)]
struct Environment(BTreeMap<String, String>);

impl Decode for Environment {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut variables = BTreeMap::new();
        for (name, value) in entries(node, "a mapping of variables", problems)? {
            if !is_variable(name) {
                let message = format!("{} is not a name for an environment variable", quote(name));
                let help = "use letters, digits and `_`, and no digit first";
                problems.push(Problem::error(name.span, message).help(help));
            }
            if let Some(value) = text_or_quote(value, name, problems) {
                variables.insert(name.value.clone(), value);
            }
        }
        Some(Self(variables))
    }
}

/// POSIX, 8.1 Environment Variable Definition; lowercase is common too.
fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

/// Labels or annotations.
#[derive(Default)]
pub(super) struct Annotations(pub(super) BTreeMap<String, String>);

impl Decode for Annotations {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut annotations = BTreeMap::new();
        for (name, value) in entries(node, "a mapping of texts", problems)? {
            if name.trim().is_empty() {
                problems.push(Problem::error(name.span, "the name is empty"));
            }
            if let Some(value) = text_or_quote(value, name, problems) {
                annotations.insert(name.value.clone(), value);
            }
        }
        Some(Self(annotations))
    }
}

/// Reads the text of `name`; nothing at all is more likely forgotten than meant.
fn text_or_quote(node: &Node, name: &Spanned<String>, problems: &mut Problems) -> Option<String> {
    if matches!(node.value, YamlValue::Null) {
        let message = format!("{} has no value", quote(name));
        problems.push(Problem::error(name.span, message).help("write `\"\"` for an empty text"));
        return None;
    }
    text(node, "a text", problems).map(str::to_owned)
}

/// The layers of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layers {
    /// The most layers to add to the base's: 1 to 120, as docker refuses an image of more than 125.
    pub budget: u8,
    /// The size, uncompressed, from which on a layer takes no further distribution.
    pub max_size: ByteSize,
    /// The compression of the layers.
    pub compression: Compression,
    /// Files, or directories of them, that a snapshotter fetches before anything is read.
    pub prefetch: Vec<ContainerPath>,
}

impl Default for Layers {
    fn default() -> Self {
        Self { budget: 40, max_size: ByteSize::GIB, compression: Compression::Gzip, prefetch: Vec::new() }
    }
}

impl Decode for Layers {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::open(node, "`layers`", problems)?;
        let budget: Option<Budget> = fields.get("budget", problems);
        let max_size = fields.get("max-size", problems);
        let compression = fields.get("compression", problems);
        let prefetch: Option<Spanned<Vec<ContainerPath>>> = fields.get("prefetch", problems);
        fields.finish(problems);
        if let Some(prefetch) = prefetch.as_ref().filter(|_| compression != Some(Compression::Estargz)) {
            let message = "only layers of eStargz are fetched file by file";
            problems.push(Problem::error(prefetch.span, message).help("add `compression: estargz`"));
        }
        let default = Self::default();
        Some(Self {
            budget: budget.map_or(default.budget, |budget| budget.0),
            max_size: max_size.unwrap_or(default.max_size),
            compression: compression.unwrap_or(default.compression),
            prefetch: prefetch.map(|prefetch| prefetch.value).unwrap_or_default(),
        })
    }
}

struct Budget(u8);

impl Decode for Budget {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a number of layers", problems, |text| {
            let budget = text.parse().ok().filter(|budget| (1..=120).contains(budget));
            budget.map(Self).ok_or_else(|| {
                Complaint::new(format!("{} is not a number of layers", quote(text)))
                    .help("write a number from 1 to 120: docker refuses an image of more than 125 layers")
            })
        })
    }
}

/// The compression of a layer: `gzip`, `zstd`, `zstd:LEVEL` or `estargz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// One gzip member.
    Gzip,
    /// At a level from 1 to 19.
    Zstd {
        /// From 1 to 19.
        level: u8,
    },
    /// Many gzip members, with a table of contents.
    Estargz,
}

impl Compression {
    const WORDS: [&str; 3] = ["gzip", "zstd", "estargz"];
    /// Higher ones cost far more time than they save room.
    const ZSTD: Self = Self::Zstd { level: 3 };

    fn parse(text: &str) -> Result<Self, Complaint> {
        let (word, level) = match text.split_once(':') {
            Some((word, level)) => (word, Some(level)),
            None => (text, None),
        };
        match (word, level) {
            ("gzip", None) => Ok(Self::Gzip),
            ("estargz", None) => Ok(Self::Estargz),
            ("zstd", None) => Ok(Self::ZSTD),
            ("zstd", Some(level)) => {
                let level = level.parse().ok().filter(|level| (1..=19).contains(level));
                level.map(|level| Self::Zstd { level }).ok_or_else(|| {
                    Complaint::new(format!("{} has no such level", quote(text)))
                        .within("zstd:".len()..text.len())
                        .help("write a number from 1 to 19: `zstd:3`")
                })
            }
            ("gzip" | "estargz", Some(_)) => Err(Complaint::new(format!("`{word}` has no level"))
                .within(word.len()..text.len())
                .help(format!("write `{word}`: what is deflated in a wheel stays as it is"))),
            _ => {
                let known = Self::WORDS.map(|word| format!("`{word}`")).join(", ");
                let help = match closest(word, &Self::WORDS) {
                    Some(close) => format!("did you mean `{close}`?"),
                    None => format!("write one of {known}"),
                };
                Err(Complaint::new(format!("{} is not a compression", quote(text))).help(help))
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gzip => f.write_str("gzip"),
            Self::Zstd { level } => write!(f, "zstd:{level}"),
            Self::Estargz => f.write_str("estargz"),
        }
    }
}

impl Serialize for Compression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for Compression {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a compression", problems, Self::parse)
    }
}

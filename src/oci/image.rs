//! The JSON documents of an image, as oci-spec has them, and their bytes.
//!
//! <https://github.com/opencontainers/image-spec>

use std::collections::BTreeMap;

use oci_spec::image as spec;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Digest;

pub use oci_spec::image::MediaType;

/// The settings of a container that a build may change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RuntimeConfig {
    /// The user and perhaps the group: `app:app`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// `NAME=VALUE` each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The program and its first arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    /// The arguments that a command line replaces; the program as well, where there is no entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    /// The directory in which it starts.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// Labels by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The ports that it listens on: `8888/tcp`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// The directories whose content is kept apart from the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Value>,
    /// The signal that ends it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    /// The check of its health, a member of Docker's that the specification of OCI does not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Value>,
    /// The shell of commands that are one text, a member of Docker's too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// The layers' uncompressed digests, bottom first, as a config lists them.
pub fn rootfs(diff_ids: impl IntoIterator<Item = Digest>) -> spec::RootFs {
    let mut rootfs = spec::RootFs::default();
    rootfs.set_diff_ids(diff_ids.into_iter().map(|diff_id| diff_id.to_string()).collect());
    rootfs
}

/// The members of the documents in the order in which they are written; others follow, sorted.
const ORDER: [&str; 24] = [
    "schemaVersion",
    "mediaType",
    "digest",
    "size",
    "created",
    "created_by",
    "architecture",
    "os",
    "config",
    "layers",
    "manifests",
    "annotations",
    "platform",
    "rootfs",
    "history",
    "User",
    "Env",
    "Entrypoint",
    "Cmd",
    "WorkingDir",
    "Labels",
    "type",
    "diff_ids",
    "comment",
];

/// The members whose value is a map of names that anybody may choose: it is sorted.
const MAPS: [&str; 4] = ["annotations", "Labels", "ExposedPorts", "Volumes"];

/// The bytes of a document: the same document always has the same.
///
/// oci-spec's types keep annotations in maps of random order.
pub fn to_json<T: Serialize>(document: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    in_order(document, &mut serde_json::Serializer::new(&mut bytes))?;
    Ok(bytes)
}

/// Writes a document as [`to_json`] does.
pub(super) fn in_order<T: Serialize, S: Serializer>(document: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let value = serde_json::to_value(document).map_err(serde::ser::Error::custom)?;
    Ordered { value: &value, is_map: false }.serialize(serializer)
}

/// The values of a document: an image of a thousand layers has some 10,000, and each takes fifty times its text.
const MOST_VALUES: usize = 1 << 17;

/// Reads a document. Members that are `null` are taken as absent, as writers in Go mean them.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    refuse_many_values(bytes)?;
    from_value(serde_json::from_slice(bytes)?)
}

/// Refuses a document of more values than any has. What separates them is counted within texts, too, where it is rare.
pub fn refuse_many_values(bytes: &[u8]) -> serde_json::Result<()> {
    let separates = |byte: &&u8| matches!(byte, b',' | b'[' | b'{');
    match bytes.iter().filter(separates).count() {
        count if count > MOST_VALUES => {
            Err(de::Error::custom(format!("it has {count} values; documents have {MOST_VALUES} at most")))
        }
        _ => Ok(()),
    }
}

/// Reads a document, as [`from_json`] does.
pub fn from_value<T: DeserializeOwned>(mut value: Value) -> serde_json::Result<T> {
    remove_nulls(&mut value);
    serde_json::from_value(value)
}

fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

/// A value whose members are written in [`ORDER`], or by name where it `is_map`.
struct Ordered<'a> {
    value: &'a Value,
    is_map: bool,
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Object(members) => {
                let mut members: Vec<(&String, &Value)> = members.iter().collect();
                members.sort_by_key(|(name, _)| (rank(name, self.is_map), *name));
                serializer.collect_map(members.into_iter().map(|(name, value)| {
                    (name, Ordered { value, is_map: MAPS.contains(&name.as_str()) && !self.is_map })
                }))
            }
            Value::Array(items) => {
                serializer.collect_seq(items.iter().map(|value| Ordered { value, is_map: false }))
            }
            value => value.serialize(serializer),
        }
    }
}

fn rank(name: &str, is_map: bool) -> usize {
    let known = ORDER.iter().position(|known| *known == name);
    known.filter(|_| !is_map).unwrap_or(ORDER.len())
}

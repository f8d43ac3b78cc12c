//! The difference between files that belong to no distribution.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Change, Summary, changes, told};
use crate::oci::Digest;

/// A file as one side has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Permission bits, with setuid, setgid and sticky; `None` for a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// In bytes.
    pub size: u64,
    /// The digest of its content, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Digest>,
    /// The target of a symlink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The directories that belong to packages of the system alone, by the Filesystem Hierarchy Standard, and those that
/// change with every package. Of a system whose packages differ nothing in them is compared.
///
/// <https://refspecs.linuxfoundation.org/FHS_3.0/fhs/index.html>
const OF_PACKAGES: [&str; 11] =
    ["bin/", "boot/", "etc/", "lib/", "lib32/", "lib64/", "libx32/", "sbin/", "usr/", "var/", "run/"];
/// The directories within those that are the administrator's own.
const OF_OWNER: [&str; 1] = ["usr/local/"];
/// The beginning of toolkits' trees, and the directories that lead to them. Where components differ they do as well.
const OF_TOOLKITS: &str = "usr/local/cuda";
const LEADS_TO_TOOLKITS: &str = "-packages/nvidia/";

/// The files that differ.
pub(super) fn changed(before: &Summary, after: &Summary) -> Vec<Change> {
    let is_whole = |side: &Summary| side.files.as_ref().is_some_and(|files| files.complete);
    let tells_all = before.system_packages == after.system_packages || !is_whole(before) || !is_whole(after);
    let is_same_cuda = before.components.keys().eq(after.components.keys())
        && before
            .components
            .values()
            .zip(after.components.values())
            .all(|(one, other)| one.version == other.version);
    let is_compared =
        |path: &str| (tells_all || !is_of_packages(path)) && (is_same_cuda || !is_of_toolkits(path));
    let differ = |before: &BTreeMap<String, FileState>, after: &BTreeMap<String, FileState>| {
        let mut changes = changes(before, after, FileState::differs, FileState::shown);
        changes.retain(|change| is_compared(&change.name));
        for change in &mut changes {
            if let (Some(before), Some(after)) = (&change.before, &mut change.after)
                && before == after
            {
                after.push_str(", other content");
            }
        }
        changes
    };
    told(&before.files, &after.files, differ)
}

fn is_of_packages(path: &str) -> bool {
    let begins = |starts: &[&str]| starts.iter().any(|start| path.starts_with(start));
    is_of_toolkits(path) || (begins(&OF_PACKAGES) && !begins(&OF_OWNER))
}

fn is_of_toolkits(path: &str) -> bool {
    path.starts_with(OF_TOOLKITS) || path.contains(LEADS_TO_TOOLKITS)
}

impl FileState {
    fn differs(&self, other: &Self) -> bool {
        let contents = self.content.zip(other.content).is_some_and(|(one, other)| one != other);
        (self.mode, self.size, &self.target) != (other.mode, other.size, &other.target) || contents
    }

    fn shown(&self) -> String {
        match (&self.target, self.mode) {
            (Some(target), _) => format!("link to {target}"),
            (None, mode) => format!("{:04o}, {} B", mode.unwrap_or_default(), self.size),
        }
    }
}

//! Paths in the image.

use std::fmt;

use serde::Serialize;

use super::decode::{Complaint, Decode, parsed};
use super::diagnostic::{Problems, quote};
use super::yaml::Node;

/// An absolute path in the image, without `.`, `..`, empty components or a trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ContainerPath(String);

impl ContainerPath {
    /// The path with its leading slash; the root is `/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as a layer's entry has it, without the leading slash; the root is empty.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let complaint = || Complaint::new(format!("{} is not a path in the image", quote(text)));
        if !text.starts_with('/') {
            return Err(complaint().help("start it with `/`: `/content`"));
        }
        let components: Vec<&str> = text.split('/').filter(|part| !part.is_empty()).collect();
        if components.iter().any(|part| matches!(*part, "." | "..")) {
            return Err(complaint().help("write the path without `.` and `..`"));
        }
        if text.chars().any(char::is_control) {
            return Err(complaint().help("write the path without control characters"));
        }
        Ok(Self(format!("/{}", components.join("/"))))
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Decode for ContainerPath {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a path in the image", problems, Self::parse)
    }
}

//! Rules for files as such.

use super::{About, Finding, Level, Observation};
use crate::observe::check_facts::{CheckFacts, FileContent, FileItem, Item};

const SET_USER_ID: u32 = 0o4000;
const STICKY: u32 = 0o1000;
const WRITABLE_BY_ALL: u32 = 0o002;

/// Programs of Debian that are set-user-ID by design.
const KNOWN_SET_USER_ID: [&str; 12] = [
    "usr/bin/chfn",
    "usr/bin/chsh",
    "usr/bin/gpasswd",
    "usr/bin/mount",
    "usr/bin/newgrp",
    "usr/bin/passwd",
    "usr/bin/su",
    "usr/bin/sudo",
    "usr/bin/umount",
    "usr/lib/dbus-1.0/dbus-daemon-launch-helper",
    "usr/lib/openssh/ssh-keysign",
    "usr/bin/fusermount3",
];

/// Directories that are the kernel's while a container runs.
const OF_THE_KERNEL: [&str; 4] = ["/proc/", "/sys/", "/dev/", "/run/"];

pub(super) fn findings(evidence: &CheckFacts) -> Vec<Finding> {
    evidence.items().filter_map(|(path, item)| finding(evidence, path, item)).collect()
}

fn finding(evidence: &CheckFacts, path: &str, item: &Item) -> Option<Finding> {
    let (level, observation) = observation(evidence, path, item)?;
    Some(Finding { level, subject: About::Path(format!("/{path}")), observation })
}

fn observation(evidence: &CheckFacts, path: &str, item: &Item) -> Option<(Level, Observation)> {
    let octal = |mode: &u32| format!("{mode:04o}");
    match item {
        Item::Directory { mode, .. } if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 => {
            Some((Level::Warning, Observation::WorldWritable { mode: octal(mode), directory: true }))
        }
        Item::Directory { .. } => None,
        Item::File(file) if let Some(reason) = damage(file).filter(|_| is_library(path)) => {
            Some((Level::Warning, Observation::DamagedFile { reason: reason.to_owned() }))
        }
        Item::File(file) if file.mode & SET_USER_ID != 0 && !KNOWN_SET_USER_ID.contains(&path) => {
            Some((Level::Warning, Observation::SetUserId { mode: octal(&file.mode) }))
        }
        Item::File(file) if file.mode & WRITABLE_BY_ALL != 0 => {
            // Nobody reads what is empty: uv leaves such files to lock.
            let level = if file.size == 0 { Level::Note } else { Level::Warning };
            Some((level, Observation::WorldWritable { mode: octal(&file.mode), directory: false }))
        }
        Item::File(_) => None,
        Item::Symlink(target) => {
            let from = format!("/{path}");
            let leads = evidence.resolve(path).is_some_and(|real| evidence.exists(&real));
            let absolute = format!("{target}/");
            let outside =
                OF_THE_KERNEL.iter().any(|root| from.starts_with(root) || absolute.starts_with(root));
            let is_broken = !leads && !outside && matters(path);
            is_broken.then(|| (Level::Note, Observation::BrokenLink { target: target.to_string() }))
        }
    }
}

fn damage(file: &FileItem) -> Option<&str> {
    match file.content() {
        FileContent::Damaged(reason) => Some(reason),
        _ => None,
    }
}

fn is_library(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.ends_with(".so") || name.contains(".so."))
}

/// Links of documentation lead into packages that are often left out.
fn matters(path: &str) -> bool {
    let of_documentation = ["usr/share/doc/", "usr/share/man/", "usr/share/locale/"];
    // Those of distributions that are found are told with pip's rules.
    !path.ends_with(".dist-info/METADATA") && !of_documentation.iter().any(|start| path.starts_with(start))
}

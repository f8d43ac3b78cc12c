//! Rules for files as such.

use super::{Finding, Level, Rule};
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
    let found = |level, rule, seen: String, fix: &str| {
        Some(Finding { level, rule, subject: format!("/{path}"), seen, fix: fix.to_owned() })
    };
    match item {
        Item::Directory { mode } if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 => found(
            Level::Warning,
            Rule::WorldWritable,
            format!("its mode is {mode:04o}"),
            "give it the mode 0755, or 1777 for a directory that all shall write to",
        ),
        Item::Directory { .. } => None,
        Item::File(file) if let Some(reason) = damage(file).filter(|_| is_library(path)) => {
            found(Level::Warning, Rule::DamagedFile, reason.to_owned(), "install its package again")
        }
        Item::File(file) if file.mode & SET_USER_ID != 0 && !KNOWN_SET_USER_ID.contains(&path) => found(
            Level::Warning,
            Rule::SetUserId,
            format!("its mode is {:04o}", file.mode),
            "leave its package out, or take the bit away with `files: [{…, mode: \"0755\"}]`",
        ),
        Item::File(file) if file.mode & WRITABLE_BY_ALL != 0 => found(
            Level::Warning,
            Rule::WorldWritable,
            format!("its mode is {:04o}", file.mode),
            "give it the mode 0644",
        ),
        Item::File(_) => None,
        Item::Symlink(target) => {
            let from = format!("/{path}");
            let leads = evidence.resolve(path).is_some_and(|real| evidence.exists(&real));
            let absolute = format!("{target}/");
            let outside =
                OF_THE_KERNEL.iter().any(|root| from.starts_with(root) || absolute.starts_with(root));
            if leads || outside || !matters(path) {
                return None;
            }
            let seen = format!("it leads to `{target}`, which is not there");
            found(Level::Note, Rule::BrokenLink, seen, "install what it leads to, or remove it")
        }
    }
}

fn damage(file: &FileItem) -> Option<&str> {
    match &file.content {
        FileContent::Damaged(reason) => Some(reason),
        _ => None,
    }
}

fn is_library(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.ends_with(".so") || name.contains(".so."))
}

/// Links of documentation lead into packages that are often left out.
fn matters(path: &str) -> bool {
    !["usr/share/doc/", "usr/share/man/", "usr/share/locale/"].iter().any(|start| path.starts_with(start))
}

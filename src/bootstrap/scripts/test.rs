//! `test` and `[`.
//!
//! <https://pubs.opengroup.org/onlinepubs/9799919799/utilities/test.html>

use super::system::System;
use crate::oci::EntryKind;

/// Returns whether the expression holds; `None` where that is not known.
pub(super) fn holds(system: &System<'_, '_>, words: &[String]) -> Option<bool> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    any(system, &words)
}

/// An expression with `-o` between its parts, which binds the least.
fn any(system: &System<'_, '_>, words: &[&str]) -> Option<bool> {
    match split(words, "-o") {
        Some((left, right)) => Some(all(system, left)? || any(system, right)?),
        None => all(system, words),
    }
}

fn all(system: &System<'_, '_>, words: &[&str]) -> Option<bool> {
    match split(words, "-a") {
        Some((left, right)) => Some(all(system, left)? && all(system, right)?),
        None => one(system, words),
    }
}

/// The words before and behind an operator that stands between two expressions.
fn split<'w, 's>(words: &'w [&'s str], operator: &str) -> Option<(&'w [&'s str], &'w [&'s str])> {
    let at = (1..words.len().saturating_sub(1)).find(|at| words[*at] == operator)?;
    Some((&words[..at], &words[at + 1..]))
}

fn one(system: &System<'_, '_>, words: &[&str]) -> Option<bool> {
    match words {
        [] => Some(false),
        ["!", rest @ ..] if !rest.is_empty() => one(system, rest).map(|holds| !holds),
        ["(", inside @ .., ")"] => any(system, inside),
        [text] => Some(!text.is_empty()),
        ["-n", text] => Some(!text.is_empty()),
        ["-z", text] => Some(text.is_empty()),
        [operator, path] => of_path(system, operator, path),
        [left, operator, right] => compared(system, left, operator, right),
        _ => None,
    }
}

fn of_path(system: &System<'_, '_>, operator: &str, path: &str) -> Option<bool> {
    if path.is_empty() {
        return Some(false);
    }
    let kind = system.kind(path);
    let mode = || system.tree.attributes(&system.path(path)).map_or(0, |attributes| attributes.mode);
    Some(match operator {
        "-e" | "-r" | "-w" => kind.is_some() || path == "/dev/null",
        "-f" => system.is_file(path),
        "-d" => kind == Some(EntryKind::Directory),
        "-x" => kind == Some(EntryKind::Directory) || system.is_program(path),
        "-s" => match kind {
            Some(EntryKind::File { size }) => size > 0,
            other => other.is_some(),
        },
        "-L" | "-h" => matches!(system.kind_of_link(path), Some(EntryKind::Symlink { .. })),
        "-u" => mode() & 0o4000 != 0,
        "-g" => mode() & 0o2000 != 0,
        "-k" => mode() & 0o1000 != 0,
        // Devices, pipes and sockets are not in layers, and scripts have no terminal.
        "-b" | "-c" | "-p" | "-S" | "-t" => false,
        _ => return None,
    })
}

fn compared(system: &System<'_, '_>, left: &str, operator: &str, right: &str) -> Option<bool> {
    let numbers = || Some((left.trim().parse::<i64>().ok()?, right.trim().parse::<i64>().ok()?));
    Some(match operator {
        "=" | "==" => left == right,
        "!=" => left != right,
        "<" => left < right,
        ">" => left > right,
        "-eq" => numbers().is_some_and(|(left, right)| left == right),
        "-ne" => numbers().is_some_and(|(left, right)| left != right),
        "-lt" => numbers().is_some_and(|(left, right)| left < right),
        "-le" => numbers().is_some_and(|(left, right)| left <= right),
        "-gt" => numbers().is_some_and(|(left, right)| left > right),
        "-ge" => numbers().is_some_and(|(left, right)| left >= right),
        "-ef" => {
            let place = |path| system.tree.resolved(&system.path(path));
            place(left) == place(right)
        }
        _ => return None,
    })
}

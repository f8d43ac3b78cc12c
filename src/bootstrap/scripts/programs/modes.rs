//! `chmod`, `chown`, `chgrp` and `setcap`.

use super::super::super::tree::Attributes;
use super::super::system::{Done, System};
use super::options::Options;
use crate::oci::{EntryKind, FileCapabilities};

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    Some(match name {
        "chmod" => change_modes(system, arguments),
        "chown" => change_owners(system, arguments, false),
        "chgrp" => change_owners(system, arguments, true),
        "setcap" => set_capabilities(system, arguments),
        _ => return None,
    })
}

/// `mode` as `text` changes it: octal digits, or clauses such as `u+s`; `None` where it is neither.
pub(super) fn apply(text: &str, mode: u32, is_directory: bool, umask: u32) -> Option<u32> {
    if let Ok(mode) = u32::from_str_radix(text, 8) {
        return (mode <= 0o7777).then_some(mode);
    }
    text.split(',').try_fold(mode, |mode, clause| apply_clause(clause, mode, is_directory, umask))
}

fn apply_clause(clause: &str, mode: u32, is_directory: bool, umask: u32) -> Option<u32> {
    let at = clause.find(['+', '-', '='])?;
    let (who, rest) = clause.split_at(at);
    let (operator, permissions) = rest.split_at(1);
    let who_is = |letter: char| who.contains(letter) || who.contains('a') || who.is_empty();
    let mut classes = 0;
    for (letter, mask) in [('u', 0o4700), ('g', 0o2070), ('o', 0o1007)] {
        classes |= if who_is(letter) { mask } else { 0 };
    }
    let mut bits = 0;
    for permission in permissions.chars() {
        bits |= match permission {
            'r' => 0o444,
            'w' => 0o222,
            'x' => 0o111,
            'X' if is_directory || mode & 0o111 != 0 => 0o111,
            'X' => 0,
            's' => 0o6000,
            't' => 0o1000,
            _ => return None,
        };
    }
    // The sticky bit is of nobody, so that `+t` and `u+t` set it alike.
    let sticky = if permissions.contains('t') { 0o1000 } else { 0 };
    let spared = if who.is_empty() { umask } else { 0 };
    let bits = bits & (classes | sticky) & !spared;
    Some(match operator {
        "+" => mode | bits,
        "-" => mode & !bits,
        _ => mode & !(classes & 0o777) | bits,
    })
}

/// The paths that a program with `-R` changes.
fn all(system: &System<'_, '_>, named: &[&str], recursive: bool) -> Vec<String> {
    let mut paths = Vec::new();
    let is_link = |path: &String| matches!(system.tree.kind(path), Some(EntryKind::Symlink { .. }));
    for path in named {
        paths.push((*path).to_owned());
        if recursive && let Some(real) = system.tree.resolved(&system.path(path)) {
            let below = system.tree.below(&real).into_iter().filter(|path| !is_link(path));
            paths.extend(below.map(|path| format!("/{path}")));
        }
    }
    paths
}

const QUIET: [&str; 12] = [
    "-R",
    "--recursive",
    "-f",
    "--silent",
    "--quiet",
    "-v",
    "-c",
    "--changes",
    "--verbose",
    "-h",
    "--no-dereference",
    "--preserve-root",
];

/// The attributes of the file that `--reference=FILE` names, where it is given.
fn reference(system: &System<'_, '_>, arguments: &[String]) -> Option<Option<Attributes>> {
    let path = arguments.iter().find_map(|argument| argument.strip_prefix("--reference="))?;
    Some(system.tree.attributes(&system.path(path)))
}

/// Gives files the owner or the permissions of another.
fn change_as(
    system: &mut System<'_, '_>,
    arguments: &[String],
    model: Option<Attributes>,
    owner: bool,
) -> Done {
    let Some(model) = model else { return Done::FAILURE };
    let mut all = true;
    for path in arguments.iter().filter(|argument| !argument.starts_with('-')) {
        all &= system.change(path, |it| match owner {
            true => (it.uid, it.gid) = (model.uid, model.gid),
            false => it.mode = model.mode,
        });
    }
    Done::of(all)
}

fn change_modes(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    if let Some(model) = reference(system, arguments) {
        return change_as(system, arguments, model, false);
    }
    // `chmod -x FILE` begins with what looks like an option.
    let recursive = arguments.iter().any(|argument| argument == "-R" || argument == "--recursive");
    let operands = arguments.iter().map(String::as_str).filter(|argument| !QUIET.contains(argument));
    let operands: Vec<&str> = operands.collect();
    let Some((mode, paths)) = operands.split_first() else { return Done::FAILURE };
    if mode.starts_with("--") {
        return Done::NotFollowed;
    }
    let mut done = Done::SUCCESS;
    for path in all(system, paths, recursive) {
        let Some(kind) = system.kind(&path) else {
            done = Done::FAILURE;
            continue;
        };
        let umask = system.umask;
        let before = system.tree.attributes(&system.path(&path)).map_or(0, |attributes| attributes.mode);
        let Some(mode) = apply(mode, before, kind == EntryKind::Directory, umask) else {
            return Done::NotFollowed;
        };
        system.change(&path, |attributes| attributes.mode = mode);
    }
    done
}

fn change_owners(system: &mut System<'_, '_>, arguments: &[String], groups: bool) -> Done {
    if let Some(model) = reference(system, arguments) {
        return change_as(system, arguments, model, true);
    }
    let options = Options::of(arguments, &[]);
    let Some((owner, paths)) = options.operands.split_first() else { return Done::FAILURE };
    if !options.are_all(&QUIET) {
        return Done::NotFollowed;
    }
    let (user, group) = match owner.split_once([':', '.']) {
        _ if groups => ("", *owner),
        Some((user, group)) => (user, group),
        None => (*owner, ""),
    };
    let (uid, gid) = (system.user_id(user), system.group_id(group));
    if uid.is_none() && !user.is_empty() || gid.is_none() && !group.is_empty() {
        return Done::FAILURE;
    }
    let recursive = options.has(&["-R", "--recursive"]);
    let mut done = Done::SUCCESS;
    for path in all(system, paths, recursive) {
        let is_file = system.is_file(&path);
        let changed = system.change(&path, |attributes| {
            attributes.uid = uid.unwrap_or(attributes.uid);
            attributes.gid = gid.unwrap_or(attributes.gid);
            if is_file {
                // As the kernel does, so that nobody gets a program that runs as another.
                attributes.mode &= 0o1777;
                attributes.capabilities = None;
            }
        });
        if !changed {
            done = Done::FAILURE;
        }
    }
    done
}

fn set_capabilities(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).filter(|it| *it != "-q").collect();
    let (capabilities, path) = match arguments[..] {
        ["-r", path] => (None, path),
        [text, path] => match FileCapabilities::parse(text) {
            Some(capabilities) => (Some(capabilities), path),
            None => return Done::NotFollowed,
        },
        _ => return Done::NotFollowed,
    };
    // A file that a script made keeps none in a layer of generated files: the script does what it does without.
    let real = system.tree.resolved(&system.path(path)).unwrap_or_default();
    if !system.is_file(path) || !system.tree.input().entries.contains_key(real.as_str()) {
        return Done::FAILURE;
    }
    Done::of(system.change(path, |attributes| attributes.capabilities = capabilities))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_changed_as_chmod_changes_them() {
        for (text, mode, expected) in [
            ("2755", 0o644, Some(0o2755)),
            ("u+s", 0o755, Some(0o4755)),
            ("u-s", 0o4755, Some(0o755)),
            ("g+s,o-rx", 0o755, Some(0o2750)),
            ("+x", 0o644, Some(0o755)),
            ("a=r", 0o755, Some(0o444)),
            ("go=", 0o755, Some(0o700)),
            ("u=rwX,go=rX", 0o600, Some(0o644)),
            ("+t", 0o777, Some(0o1777)),
            ("99", 0o644, None),
            ("u+q", 0o644, None),
            ("", 0o644, None),
        ] {
            assert_eq!(apply(text, mode, false, 0o022), expected, "{text} of {mode:o}");
        }
    }
}

//! Programs on files: `mkdir`, `install`, `ln`, `cp`, `mv`, `rm`, `touch`…

use super::super::system::{Done, System};
use super::modes;
use super::options::Options;
use crate::oci::EntryKind;

/// Does `name` where it is one of these programs.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    Some(match name {
        "mkdir" => make_directories(system, arguments),
        "install" => install(system, arguments),
        "touch" => touch(system, arguments),
        "ln" => link(system, arguments),
        "cp" => copy(system, arguments),
        "mv" => rename(system, arguments),
        "rm" => remove(system, arguments),
        "rmdir" => remove_directories(system, arguments),
        "mktemp" => name_temporary(system, arguments),
        _ => return None,
    })
}

fn make_directories(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-m", "--mode"]);
    if !options.are_all(&["-m", "--mode", "-p", "--parents", "-v", "--verbose", "-Z"]) {
        return Done::NotFollowed;
    }
    let mode = options.value(&["-m", "--mode"]).map(|mode| modes::apply(mode, 0o777, true, system.umask));
    if mode == Some(None) {
        return Done::NotFollowed;
    }
    let parents = options.has(&["-p", "--parents"]);
    let mut all = true;
    for path in &options.operands {
        all &= make(system, path, mode.flatten(), parents);
    }
    Done::of(all)
}

/// Makes a directory, with those that it is in; one that is there is as good with `parents`.
fn make(system: &mut System<'_, '_>, path: &str, mode: Option<u32>, parents: bool) -> bool {
    let path = path.trim_end_matches('/');
    if parents {
        if system.is_directory(path) {
            return true;
        }
        let ends: Vec<usize> = path.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0).collect();
        for end in ends {
            system.make_directory(&path[..end], None);
        }
    }
    let made = system.make_directory(path, mode);
    if let (true, Some(mode)) = (made, mode) {
        system.change(path, |attributes| attributes.mode = mode);
    }
    made
}

fn install(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let with_value = ["-m", "--mode", "-o", "--owner", "-g", "--group", "-t", "--target-directory"];
    let options = Options::of(arguments, &with_value);
    let plain = ["-d", "--directory", "-D", "-p", "-c", "-v", "-C", "--preserve-timestamps", "--verbose"];
    if !options.are_all(&[&with_value[..], &plain[..]].concat()) {
        return Done::NotFollowed;
    }
    let mode = options.value(&["-m", "--mode"]).unwrap_or("755");
    let Some(mode) = modes::apply(mode, 0, false, 0) else { return Done::NotFollowed };
    let owner = options.value(&["-o", "--owner"]).unwrap_or("root");
    let group = options.value(&["-g", "--group"]).unwrap_or("root");
    let (Some(uid), Some(gid)) = (system.user_id(owner), system.group_id(group)) else {
        return Done::FAILURE;
    };
    let mut places = Vec::new();
    if options.has(&["-d", "--directory"]) {
        for path in &options.operands {
            make(system, path, None, true);
            places.push((*path).to_owned());
        }
    } else {
        let (sources, directory) = match options.value(&["-t", "--target-directory"]) {
            Some(directory) => (&options.operands[..], directory),
            None => match options.operands.split_last() {
                Some((target, sources)) => (sources, *target),
                None => return Done::FAILURE,
            },
        };
        if options.has(&["-D"])
            && let Some((parent, _)) = directory.rsplit_once('/')
        {
            make(system, parent, None, true);
        }
        for source in sources {
            let target = target_of(system, source, directory);
            match *source {
                "/dev/null" => system.write_file(&target, "", false),
                source if copy_file(system, source, &target, true) => {}
                _ => return Done::FAILURE,
            }
            places.push(target);
        }
    }
    for path in places {
        system.change(&path, |it| (it.mode, it.uid, it.gid) = (mode, uid, gid));
    }
    Done::SUCCESS
}

/// The path of `source` at `target`: below it where it is a directory.
fn target_of(system: &System<'_, '_>, source: &str, target: &str) -> String {
    match system.is_directory(target) {
        true => {
            let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            format!("{}/{name}", target.trim_end_matches('/'))
        }
        false => target.to_owned(),
    }
}

fn touch(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let with_value = ["-r", "--reference", "-d", "--date", "-t"];
    let options = Options::of(arguments, &with_value);
    for path in &options.operands {
        if system.kind(path).is_none() && !options.has(&["-c", "--no-create", "-h", "--no-dereference"]) {
            system.write_file(path, "", false);
        }
    }
    Done::SUCCESS
}

fn link(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-t"]);
    let known = [
        "-s",
        "--symbolic",
        "-f",
        "--force",
        "-n",
        "--no-dereference",
        "-T",
        "--no-target-directory",
        "-v",
        "--verbose",
    ];
    if !options.has(&["-s", "--symbolic"]) || !options.are_all(&known) {
        return Done::NotFollowed;
    }
    let (target, place) = match options.operands[..] {
        [target, place] => (target, place),
        [target] => (target, "."),
        _ => return Done::NotFollowed,
    };
    let is_link = matches!(system.kind_of_link(place), Some(EntryKind::Symlink { .. }));
    let stays =
        options.has(&["-T", "--no-target-directory"]) || options.has(&["-n", "--no-dereference"]) && is_link;
    let place = if stays { place.to_owned() } else { target_of(system, target, place) };
    if system.kind_of_link(&place).is_some() {
        if !options.has(&["-f", "--force"]) || system.kind_of_link(&place) == Some(EntryKind::Directory) {
            return Done::FAILURE;
        }
        system.remove(&place);
    }
    system.tree.symlink(&system.path(&place), target);
    Done::SUCCESS
}

fn copy(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-t"]);
    let keeps = options.has(&["-a", "--archive", "-p", "--preserve"]);
    let follows = !options.has(&["-a", "--archive", "-d", "-P", "--no-dereference"]);
    let recursive = options.has(&["-a", "--archive", "-r", "-R", "--recursive"]);
    let Some((target, sources)) = options.operands.split_last() else { return Done::FAILURE };
    if options.has(&["-t", "-s", "-l", "--parents"]) {
        return Done::NotFollowed;
    }
    for source in sources {
        let place = target_of(system, source, target);
        if options.has(&["-n", "--no-clobber"]) && system.kind_of_link(&place).is_some() {
            continue;
        }
        match system.kind(source) {
            Some(EntryKind::Directory) if recursive => {
                if !copy_tree(system, source, &place) {
                    return Done::NotFollowed;
                }
            }
            None if follows || system.kind_of_link(source).is_none() => return Done::FAILURE,
            Some(EntryKind::Directory) => return Done::FAILURE,
            _ => {
                let was_there = system.tree.attributes(&system.path(&place));
                if !copy_file(system, source, &place, follows) {
                    return Done::NotFollowed;
                }
                let umask = system.umask;
                match was_there {
                    _ if keeps => {}
                    Some(before) => drop(system.change(&place, |it| *it = before)),
                    None => drop(system.change(&place, |it| {
                        (it.mode, it.uid, it.gid) = (it.mode & 0o777 & !umask, 0, 0);
                    })),
                }
            }
        }
    }
    Done::SUCCESS
}

fn copy_file(system: &mut System<'_, '_>, from: &str, to: &str, follows: bool) -> bool {
    let (from, to) = (system.path(from), system.path(to));
    system.tree.copy(&from, &to, follows)
}

/// Copies a directory with everything in it, as it is.
fn copy_tree(system: &mut System<'_, '_>, from: &str, to: &str) -> bool {
    let Some(real) = system.tree.resolved(&system.path(from)) else { return false };
    let to = system.path(to);
    let attributes = system.tree.attributes(&real);
    system.tree.directory(&to, 0o755, 0);
    attributes.into_iter().for_each(|attributes| system.tree.set_attributes(&to, attributes));
    for path in system.tree.below(&real) {
        let place = format!("{to}{}", &path[real.len()..]);
        if system.tree.kind(&path) == Some(&EntryKind::Directory) {
            let attributes = system.tree.attributes(&path);
            system.tree.directory(&place, 0o755, 0);
            attributes.into_iter().for_each(|attributes| system.tree.set_attributes(&place, attributes));
        } else if !system.tree.copy(&path, &place, false) {
            return false;
        }
    }
    true
}

fn rename(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-t"]);
    let [from, to] = options.operands[..] else { return Done::NotFollowed };
    let into_directory = system.is_directory(to) && !options.has(&["-T", "--no-target-directory"]);
    let to = if into_directory { target_of(system, from, to) } else { to.to_owned() };
    if options.has(&["-n", "--no-clobber"]) && system.kind_of_link(&to).is_some() {
        return Done::SUCCESS;
    }
    let moved = match system.kind_of_link(from) {
        None => return Done::FAILURE,
        Some(EntryKind::Directory) => copy_tree(system, from, &to),
        Some(_) => {
            system.remove(&to);
            copy_file(system, from, &to, false)
        }
    };
    if !moved {
        return Done::NotFollowed;
    }
    system.remove(from);
    Done::SUCCESS
}

fn remove(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &[]);
    let forces = options.has(&["-f", "--force"]);
    let recursive = options.has(&["-r", "-R", "--recursive"]);
    let mut failed = false;
    for path in &options.operands {
        match system.kind_of_link(path) {
            None => failed |= !forces,
            Some(EntryKind::Directory) if !recursive => failed = true,
            Some(_) => system.remove(path),
        }
    }
    Done::of(!failed)
}

fn remove_directories(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &[]);
    let mut failed = false;
    for path in &options.operands {
        let mut path = path.trim_end_matches('/').to_owned();
        loop {
            let is_empty = system.kind_of_link(&path) == Some(EntryKind::Directory)
                && system.tree.names_in(&system.path(&path)).is_empty();
            if !is_empty {
                let ignores = options.has(&["--ignore-fail-on-non-empty"]) && system.is_directory(&path);
                failed |= !ignores;
                break;
            }
            system.remove(&path);
            match path.rsplit_once('/') {
                Some((parent, _)) if options.has(&["-p", "--parents"]) && !parent.is_empty() => {
                    path = parent.to_owned();
                }
                _ => break,
            }
        }
    }
    Done::of(!failed)
}

fn name_temporary(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["-p", "-t", "--tmpdir", "--suffix"]);
    let path = format!("/tmp/imgforge.{}", system.temporary.len());
    match options.has(&["-d", "--directory"]) {
        true => drop(make(system, &path, Some(0o700), true)),
        false => {
            system.write_file(&path, "", false);
            system.change(&path, |attributes| attributes.mode = 0o600);
        }
    }
    system.temporary.push(path.clone());
    system.write(&format!("{path}\n"));
    Done::SUCCESS
}

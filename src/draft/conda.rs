//! Environments of conda: a list of packages, and one of pip's within it.
//!
//! <https://docs.conda.io/projects/conda/en/stable/user-guide/tasks/manage-environments.html>

use super::{Draft, ProjectFiles, python, requirement};

/// Conda's names of distributions that indexes of Python call otherwise.
const OTHER_NAMES: [(&str, &str); 3] =
    [("pytorch", "torch"), ("pytorch-gpu", "torch"), ("tensorflow-gpu", "tensorflow")];
/// Packages of conda that a base or imgforge brings.
const BROUGHT: [&str; 5] = ["pip", "cudatoolkit", "cuda-toolkit", "pytorch-cuda", "cudnn"];

/// Takes over an environment, as far as its lists are written line by line.
pub(super) fn read(text: &str, name: &str, files: &ProjectFiles, draft: &mut Draft) {
    let list = text.lines().skip_while(|line| !line.starts_with("dependencies:")).skip(1);
    let list = list.take_while(|line| line.starts_with([' ', '-', '#']) || line.trim().is_empty());
    let mut pip = None;
    for line in list {
        let indent = line.len() - line.trim_start().len();
        let Some(entry) = line.trim().strip_prefix("- ") else { continue };
        let entry = entry.split(" #").next().unwrap_or(entry).trim().trim_matches(['"', '\'']);
        match pip {
            Some(depth) if indent > depth => read_pip(entry, files, draft),
            _ if entry == "pip:" => pip = Some(indent),
            _ => {
                pip = None;
                read_conda(entry, draft);
            }
        }
    }
    draft.leave_out(
        name,
        "its packages of conda are taken for distributions of package indexes: compare the names",
    );
}

fn read_pip(entry: &str, files: &ProjectFiles, draft: &mut Draft) {
    match entry.strip_prefix("-r ") {
        Some(file) if files.names.contains(file.trim()) => draft.require_file(file.trim()),
        Some(_) => draft.leave_out(entry, "the file is not there: write `requirements: [FILE]`"),
        None if requirement::is_of_index(entry) => draft.require(entry),
        None => draft.leave_out(entry, "name its wheel under `packages`"),
    }
}

fn read_conda(entry: &str, draft: &mut Draft) {
    let entry = entry.rsplit("::").next().unwrap_or(entry);
    let end = entry.find(['=', '<', '>', '!', '~', ' ']).unwrap_or(entry.len());
    let (name, version) = (&entry[..end], entry[end..].trim());
    let version = match version.strip_prefix('=') {
        Some(exact) => exact.trim_start_matches('=').split('=').next().unwrap_or_default(),
        None => version,
    };
    if name == "python" {
        let minor: Vec<&str> = version.split('.').take(2).collect();
        if draft.base.is_none() && minor.len() == 2 {
            draft.base = python::base_for(&format!("=={}.*", minor.join(".")));
        }
        return;
    }
    let known = OTHER_NAMES.iter().find(|(conda, _)| *conda == name).map_or(name, |(_, name)| name);
    if BROUGHT.contains(&known) {
        return;
    }
    let asked = match version {
        "" => known.to_owned(),
        version if version.starts_with(['<', '>', '!', '~']) => format!("{known}{version}"),
        version => format!("{known}=={version}"),
    };
    match requirement::is_of_index(&asked) {
        true => draft.require(&asked),
        false => draft.leave_out(entry, "it is no requirement of a package index"),
    }
}

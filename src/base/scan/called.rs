//! Interpreters by the names under which they are called.

use crate::observe::inventory_facts::InventoryFacts;

/// An interpreter as it is called: the name through which, and the file that it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Called {
    /// Relative to the root: `usr/bin/python3`.
    pub name: String,
    /// Without symlinks: `usr/bin/python3.11`.
    pub file: String,
    /// 11 of Python 3.11.
    pub minor: u8,
}

/// The interpreters in these directories, the one that `python3` is first; where they have none, all that there are.
pub(super) fn called(facts: &InventoryFacts, directories: Vec<&str>) -> Vec<Called> {
    let plain = directories.iter().flat_map(|directory| {
        ["python3", "python"].map(|name| format!("{}/{name}", directory.trim_matches('/')))
    });
    let mut names: Vec<String> = plain.collect();
    for directory in &directories {
        let Some(real) = facts.resolve(directory) else { continue };
        let numbered = facts.below(&real).map(|(path, _)| path).filter(|path| minor(path).is_some());
        names.extend(numbered.filter(|path| !path[real.len() + 1..].contains('/')).map(str::to_owned));
    }
    let mut found: Vec<Called> = Vec::new();
    for name in names {
        let python = call(facts, &name);
        found.extend(python.filter(|python| found.iter().all(|other| other.file != python.file)));
    }
    if found.is_empty() {
        // What conda downloaded is in `pkgs`, beside the environments it was installed into.
        let files = facts.files().map(|(path, _)| path).filter(|path| !path.contains("/pkgs/"));
        found.extend(files.filter(|path| minor(path).is_some()).filter_map(|path| call(facts, path)));
        found.sort();
    }
    found
}

/// The interpreter that goes by a name: a path relative to the root.
pub(super) fn call(facts: &InventoryFacts, name: &str) -> Option<Called> {
    let (file, fact) = facts.file(name)?;
    fact.elf.as_ref()?;
    let minor = minor(&file).or_else(|| two(fact.version.as_deref()?))?;
    Some(Called { name: name.to_owned(), file, minor })
}

/// 11 of `usr/bin/python3.11`.
fn minor(path: &str) -> Option<u8> {
    let (directory, name) = path.rsplit_once('/')?;
    let is_program = directory == "bin" || directory.ends_with("/bin");
    name.strip_prefix("python3.").filter(|_| is_program)?.parse().ok()
}

/// 11 of `3.11.2`.
fn two(version: &str) -> Option<u8> {
    version.split('.').nth(1)?.parse().ok()
}

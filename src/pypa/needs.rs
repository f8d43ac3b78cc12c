//! The libraries that a wheel's binaries need of others: what its ELF files are linked with or open by name, less what the
//! wheel brings itself.

use std::collections::BTreeSet;
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::library::{self, LoaderNames};
use super::wheel::{Outline, Wheel, WheelError};
use super::zip::Bytes;
use crate::cuda::{Component, OpensSearch, library_stem};
use crate::elf::Machine;

/// The most binaries of one wheel that are read: the largest wheels have a thousand.
const MOST_BINARIES: usize = 4096;
/// The most bytes of one binary that are searched for names: no library of a wheel is as large.
const MOST_SEARCHED: u64 = 8 << 30;
/// The times that a binary may grow when it is unpacked to be searched: DEFLATE reaches 1,032, real libraries 20.
const MOST_GROWTH: u64 = 200;
/// The bytes that are searched at once.
const STEP: usize = 64 << 10;

/// Names that every system's C and C++ libraries serve, and that say nothing of other wheels.
const OF_SYSTEM: [&str; 9] =
    ["libc", "libm", "libdl", "libpthread", "librt", "libutil", "libgcc_s", "libstdc++", "ld-linux-x86-64"];

/// The needs of a wheel's binaries from libraries that it does not bring.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryNeeds {
    /// The binaries that need something, in the order of the wheel.
    pub files: Vec<BinaryFile>,
    /// True if the names that they open were searched for.
    pub searched: bool,
}

/// A binary of a wheel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryFile {
    /// Its path in the wheel.
    pub path: String,
    /// The names that it is linked with and that no search path of the wheel leads to, in the loader's order.
    pub linked: Vec<String>,
    /// The names of CUDA's libraries among its strings, sorted, without those that it is linked with.
    pub opened: Vec<String>,
    /// Those of all these names that a file of the wheel has, where no search path of the wheel leads.
    pub elsewhere: Vec<String>,
}

/// A binary as it was read, before it is known what the wheel brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadBinary {
    path: String,
    names: LoaderNames,
    opened: Vec<String>,
}

/// The paths of the files that are named as shared libraries are, and so may need others.
pub fn binaries(outline: &Outline) -> impl Iterator<Item = &str> {
    library::paths(outline).take(MOST_BINARIES)
}

/// Returns whether the files in a wheel tell that its binaries need nothing: none of them is its own.
pub fn are_ruled_out(outline: &Outline) -> bool {
    let is_grafted = |path: &str| {
        path.split_once('/').is_some_and(|(top, rest)| top.ends_with(".libs") && !rest.contains('/'))
    };
    binaries(outline).all(is_grafted)
}

/// Reads the binary at `path`; `None` when the loader links it not, or not on `machine`.
pub fn read<R: Bytes>(
    wheel: &Wheel<R>,
    path: &str,
    machine: Option<Machine>,
    search: bool,
) -> Result<Option<ReadBinary>, WheelError> {
    let Some(names) = library::read_names(wheel, path)? else { return Ok(None) };
    if machine.is_some_and(|machine| names.machine.is_some_and(|of_file| of_file != machine)) {
        return Ok(None);
    }
    let opened = if search { opened(wheel, path)? } else { Vec::new() };
    Ok(Some(ReadBinary { path: path.to_owned(), names, opened }))
}

/// The names of CUDA's libraries among the strings of a file, all of which must be at hand.
fn opened<R: Bytes>(wheel: &Wheel<R>, path: &str) -> Result<Vec<String>, WheelError> {
    let corrupt = |_| WheelError::Corrupt { path: path.to_owned() };
    let mut content = wheel.binary(path, MOST_SEARCHED, MOST_GROWTH)?;
    let mut search = OpensSearch::default();
    let mut buffer = vec![0; STEP];
    loop {
        match content.read(&mut buffer).map_err(corrupt)? {
            0 => return Ok(search.finish()),
            count => search.update(&buffer[..count]),
        }
    }
}

/// The needs of `binaries`, which are those of the wheel with this `outline`.
pub fn of_binaries(outline: &Outline, binaries: Vec<ReadBinary>, searched: bool) -> BinaryNeeds {
    let found: BTreeSet<String> = binaries.iter().flat_map(ReadBinary::search_directories).collect();
    let files: BTreeSet<&str> = outline.entries.iter().map(|entry| installed(&entry.path)).collect();
    let names: BTreeSet<&str> = files.iter().map(|path| file_name(path)).collect();
    let is_own = |name: &str| found.iter().any(|directory| files.contains(joined(directory, name).as_str()));
    let file = |binary: ReadBinary| {
        let is_need = |name: &String| is_plain(name) && !is_of_system(name) && !is_own(name);
        let linked: Vec<String> = binary.names.needed.iter().filter(|name| is_need(name)).cloned().collect();
        let is_new =
            |name: &String| !binary.names.needed.contains(name) && binary.names.soname.as_ref() != Some(name);
        let opened: Vec<String> =
            binary.opened.iter().filter(|name| is_need(name) && is_new(name)).cloned().collect();
        let elsewhere = linked.iter().chain(&opened).filter(|name| names.contains(name.as_str()));
        BinaryFile { elsewhere: elsewhere.cloned().collect(), path: binary.path, linked, opened }
    };
    let files = binaries.into_iter().map(file);
    let files = files.filter(|file| !file.linked.is_empty() || !file.opened.is_empty()).collect();
    BinaryNeeds { files, searched }
}

impl BinaryFile {
    /// The libraries of CUDA that it is linked with, and their components.
    pub fn linked_with_cuda(&self) -> impl Iterator<Item = (Component, &str)> {
        self.linked.iter().filter_map(|name| Some((Component::of_library(name)?, name.as_str())))
    }

    /// The libraries of CUDA that it opens by name, and their components.
    pub fn opens_of_cuda(&self) -> impl Iterator<Item = (Component, &str)> {
        self.opened.iter().filter_map(|name| Some((Component::of_library(name)?, name.as_str())))
    }
}

impl ReadBinary {
    /// The directories of site-packages in which the loader searches for its sake, without a slash at the end.
    fn search_directories(&self) -> Vec<String> {
        let origin = directory_of(installed(&self.path));
        let paths = self.names.search.split(':').filter_map(|directory| {
            let rest = directory.strip_prefix("$ORIGIN").or_else(|| directory.strip_prefix("${ORIGIN}"))?;
            (rest.is_empty() || rest.starts_with('/')).then(|| normalized(&format!("{origin}{rest}")))?
        });
        paths.collect()
    }
}

/// The path below site-packages of a file of a wheel.
fn installed(path: &str) -> &str {
    let of_scheme = path.split_once(".data/").filter(|(top, _)| !top.contains('/'));
    of_scheme
        .and_then(|(_, rest)| rest.strip_prefix("platlib/").or(rest.strip_prefix("purelib/")))
        .unwrap_or(path)
}

/// Returns whether a name is one that linkers and people give to libraries.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte))
}

fn is_of_system(name: &str) -> bool {
    library_stem(name).is_some_and(|stem| OF_SYSTEM.contains(&stem))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn joined(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// A path without `.` and `..`; `None` when it leads out of site-packages.
fn normalized(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pypa::wheel::WheelEntry;

    fn outline(paths: &[&str]) -> Outline {
        let entry = |path: &&str| WheelEntry { path: (*path).to_owned(), size: 1, compressed_size: 1 };
        Outline { entries: paths.iter().map(entry).collect() }
    }

    /// A binary: `PATH NEEDED… [RPATH in brackets]`.
    fn binary(text: &str) -> ReadBinary {
        let (text, search) = text.split_once(" [").unwrap_or((text, ""));
        let mut words = text.split_whitespace().map(str::to_owned);
        ReadBinary {
            path: words.next().unwrap(),
            names: LoaderNames {
                machine: None,
                soname: None,
                needed: words.collect(),
                search: search.trim_end_matches(']').to_owned(),
            },
            opened: Vec::new(),
        }
    }

    #[track_caller]
    fn check(binaries: &[&str], others: &[&str], expected: &[&str]) {
        let binaries: Vec<ReadBinary> = binaries.iter().map(|text| binary(text)).collect();
        let own = binaries.iter().map(|binary| binary.path.as_str());
        let outline = outline(&own.chain(others.iter().copied()).collect::<Vec<_>>());
        let needs = of_binaries(&outline, binaries.clone(), false);
        let needed: Vec<&str> =
            needs.files.iter().flat_map(|file| &file.linked).map(String::as_str).collect();
        assert_eq!(needed, expected);
    }

    #[test]
    fn what_a_search_path_of_the_wheel_leads_to_is_no_need() {
        check(&["demo/ext.so libcublas.so.12 libc.so.6"], &[], &["libcublas.so.12"]);
        check(&["demo/ext.so libcublas.so.12 [$ORIGIN/lib]"], &["demo/lib/libcublas.so.12"], &[]);
        check(&["demo/ext.so libcublas.so.12 [${ORIGIN}/../other]"], &["other/libcublas.so.12"], &[]);
        check(
            &["demo/ext.so libcublas.so.12 [/opt/lib:$ORIGIN/../demo.libs]"],
            &["demo.libs/libcublas.so.12"],
            &[],
        );
        check(
            &["demo-1.0.data/platlib/demo/ext.so libnccl.so.2 [$ORIGIN]"],
            &["demo-1.0.data/purelib/demo/libnccl.so.2"],
            &[],
        );
        check(
            &["demo/ext.so libcublas.so.12", "demo/main.so libcublas.so.12 [$ORIGIN/lib]"],
            &["demo/lib/libcublas.so.12"],
            &[],
        );
    }

    #[test]
    fn names_that_no_library_has_are_no_needs() {
        check(&["demo/ext.so libcublas.so.12\u{1b}[31m libcudart.so.12/x ../libnccl.so.2"], &[], &[]);
    }

    #[test]
    fn a_copy_where_nothing_leads_is_a_need_and_told() {
        let lost = ["demo/lib/libcublas.so.12"];
        check(&["demo/ext.so libcublas.so.12"], &lost, &["libcublas.so.12"]);
        check(&["demo/ext.so libcublas.so.12 [$ORIGIN/../../..]"], &lost, &["libcublas.so.12"]);
        check(&["demo/ext.so libcublas.so.12 [$ORIGINAL/lib]"], &lost, &["libcublas.so.12"]);
        let needs = of_binaries(
            &outline(&["demo/ext.so", lost[0]]),
            vec![binary("demo/ext.so libcublas.so.12")],
            false,
        );
        assert_eq!(needs.files[0].elsewhere, ["libcublas.so.12"]);
    }

    #[test]
    fn wheels_without_binaries_of_their_own_are_ruled_out() {
        let ruled_out = |paths: &[&str]| are_ruled_out(&outline(paths));
        assert!(ruled_out(&["demo/__init__.py", "demo-1.0.dist-info/METADATA"]));
        assert!(ruled_out(&["demo/__init__.py", "demo.libs/libgomp-1.so.1"]));
        assert!(!ruled_out(&["demo/_ext.cpython-311-x86_64-linux-gnu.so", "demo.libs/libdemo-1.so"]));
        assert!(!ruled_out(&["demo/lib.libs/nested/libdemo.so"]));
    }
}

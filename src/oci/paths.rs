//! Paths in a layer: relative to the image's root, without a slash at either end.

use std::collections::BTreeSet;

/// The prefix of a whiteout's name.
///
/// <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>
pub const WHITEOUT: &str = ".wh.";

/// The bytes of a path: Linux's `PATH_MAX`.
pub const LONGEST_PATH: usize = 4096;
/// The bytes of a file's name: Linux's `NAME_MAX`.
pub const LONGEST_NAME: usize = 255;

/// The names in a path: images have some 40; what looks at each directory above a file multiplies them.
pub const MOST_NAMES: usize = 256;

/// The directories above `path`, the highest first; not the root.
pub fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(move |(end, _)| &path[..end])
}

/// The first of `files`, none of which is a directory, that would lie below another of them.
pub fn below_another<'a>(files: &BTreeSet<&'a str>) -> Option<&'a str> {
    let mut seen = None;
    files.iter().copied().find(|path| {
        let directory = path.rsplit_once('/').map(|(directory, _)| directory);
        // Those of one directory mostly follow each other.
        seen.replace(directory) != Some(directory) && ancestors(path).any(|above| files.contains(above))
    })
}

/// The path of the file that stands for `path` being gone.
pub fn whiteout(path: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, name)) => format!("{directory}/{WHITEOUT}{name}"),
        None => format!("{WHITEOUT}{path}"),
    }
}

/// The reason for which no file of an image can have a name or path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum PathFault {
    #[error("it stands for a file that is gone")]
    Whiteout,
    #[error("it has a NUL")]
    Nul,
    #[error("one of its parts is empty, `.` or `..`")]
    Part,
    #[error("one of its names is longer than {LONGEST_NAME} bytes")]
    LongName,
    #[error("it is longer than {LONGEST_PATH} bytes")]
    LongPath,
    #[error("it has more than {MOST_NAMES} names")]
    Deep,
}

/// The reason for which no file can have this name in a directory of an image.
pub fn name_fault(name: &str) -> Option<PathFault> {
    match name {
        "" | "." | ".." => Some(PathFault::Part),
        _ if name.contains('\0') => Some(PathFault::Nul),
        _ if name.contains('/') => Some(PathFault::Part),
        _ if name.starts_with(WHITEOUT) => Some(PathFault::Whiteout),
        _ if name.len() > LONGEST_NAME => Some(PathFault::LongName),
        _ => None,
    }
}

/// The reason for which no file of an image can be at `path`; the root can.
pub fn path_fault(path: &str) -> Option<PathFault> {
    match path {
        "" => None,
        _ => size_fault(path).or_else(|| path.split('/').find_map(name_fault)),
    }
}

/// The reason for which no file system takes `path`: how long or deep it is, or how long one of its names.
fn size_fault(path: &str) -> Option<PathFault> {
    match () {
        () if path.len() > LONGEST_PATH => Some(PathFault::LongPath),
        () if path.split('/').nth(MOST_NAMES).is_some() => Some(PathFault::Deep),
        () if path.split('/').any(|name| name.len() > LONGEST_NAME) => Some(PathFault::LongName),
        () => None,
    }
}

/// Returns whether a file system takes `path`, as long and deep as it is and as long as its names are.
pub fn fits_a_file_system(path: &str) -> bool {
    size_fault(path).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_nothing_below_it() {
        let check = |files: &[&'static str], expected| {
            assert_eq!(below_another(&files.iter().copied().collect()), expected, "{files:?}");
        };
        check(&["a", "b/a", "b-c/a", "ab"], None);
        check(&["a", "a-b", "a/b/c"], Some("a/b/c"));
        check(&["x/y", "x/y/z"], Some("x/y/z"));
    }

    #[test]
    fn what_is_gone_has_a_file_beside_it() {
        assert_eq!((whiteout("a"), whiteout("a/b/c")), (".wh.a".to_owned(), "a/b/.wh.c".to_owned()));
    }

    #[test]
    fn a_path_that_no_file_can_have_is_told_from_others() {
        let check = |path: &str, expected| assert_eq!(path_fault(path), expected, "{path:?}");
        for path in
            ["", "a", "usr/bin/a.wh.b", "a/b.wh.c", "a.wh", "..a/b..", "a b/\n", ".wh", &"n".repeat(255)]
        {
            check(path, None);
        }
        for path in
            [".wh.python3", ".wh.a", ".wh..wh..opq", "a/.wh..wh..opq", "usr/.wh.bin/a", "a/.wh.b/c", "a/.wh."]
        {
            check(path, Some(PathFault::Whiteout));
        }
        check("a\0b", Some(PathFault::Nul));
        for path in ["/a", "a/", "a//b", "./a", "a/..", ".."] {
            check(path, Some(PathFault::Part));
        }
        check(&format!("a/{}/b", "n".repeat(256)), Some(PathFault::LongName));
        check(&"n/".repeat(2049), Some(PathFault::LongPath));
        check(&format!("{}n", "n/".repeat(256)), Some(PathFault::Deep));
    }

    #[test]
    fn a_path_has_bounds() {
        assert!(fits_a_file_system(&"a/".repeat(255)) && fits_a_file_system(&"x".repeat(255)));
        for path in
            ["a/".repeat(256), "x".repeat(256), format!("a/{}/b", "x".repeat(256)), "xx/".repeat(8000)]
        {
            assert!(!fits_a_file_system(&path), "{path}");
        }
        assert!(!fits_a_file_system(&format!("{}x", "0123456789abcde/".repeat(256))));
    }
}

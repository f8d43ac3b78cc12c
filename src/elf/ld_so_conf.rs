//! `/etc/ld.so.conf`: the directories that `ldconfig` searches.
//!
//! One directory a line; `#` begins a comment; `include` takes glob patterns of further files. The C library's `glob` is
//! followed in what configurations use: `*`, `?`, `[…]` and `\`, names beginning with `.` only when the pattern does,
//! and the order of bytes.
//!
//! <https://man7.org/linux/man-pages/man8/ldconfig.8.html>

use super::root::Root;

use crate::failure::Hinted;

/// More than any distribution nests, and less than what an include of itself would need.
const DEEPEST: usize = 16;
/// More files than any configuration has.
const MOST_FILES: usize = 4096;

/// The reason why a configuration cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LdSoConfError {
    #[error("`{path}` is included {DEEPEST} files deep")]
    TooDeep { path: String },
    #[error("`{path}` is one of more than {MOST_FILES} included files")]
    TooMany { path: String },
}

impl Hinted for LdSoConfError {
    fn hint(&self) -> Option<String> {
        Some("look for a file that includes itself".to_owned())
    }
}

/// The directories that the configuration at `path` names, in its order, existing or not.
///
/// A file that does not exist names none.
pub fn directories(path: &str, root: &impl Root) -> Result<Vec<String>, LdSoConfError> {
    let mut reading = Reading { root, files: 0, directories: Vec::new() };
    reading.file(path, 0)?;
    Ok(reading.directories)
}

/// A configuration being read.
struct Reading<'a, R> {
    root: &'a R,
    files: usize,
    directories: Vec<String>,
}

impl<R: Root> Reading<'_, R> {
    fn file(&mut self, path: &str, depth: usize) -> Result<(), LdSoConfError> {
        self.files += 1;
        if depth == DEEPEST {
            return Err(LdSoConfError::TooDeep { path: path.to_owned() });
        }
        if self.files > MOST_FILES {
            return Err(LdSoConfError::TooMany { path: path.to_owned() });
        }
        let text = self.root.text(path).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines().filter_map(Line::parse) {
            match line {
                Line::Directory(directory) => self.directories.push(directory.to_owned()),
                Line::Include(patterns) => {
                    for pattern in patterns {
                        for included in glob(&beside(path, pattern), self.root) {
                            self.file(&included, depth + 1)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// One line that says something.
enum Line<'a> {
    Include(Vec<&'a str>),
    Directory(&'a str),
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.split('#').next().unwrap_or_default().trim_ascii_start();
        let blank = [' ', '\t'];
        if let Some(patterns) = line.strip_prefix("include").filter(|rest| rest.starts_with(blank)) {
            return Some(Self::Include(patterns.split(blank).filter(|word| !word.is_empty()).collect()));
        }
        let keyword = line.split(blank).next().unwrap_or_default();
        if keyword.eq_ignore_ascii_case("hwcap") && keyword.len() < line.len() {
            return None;
        }
        // What follows `=` names a C library, of which only one is left.
        let directory = line.split('=').next().unwrap_or_default().trim_ascii_end().trim_end_matches('/');
        (!directory.is_empty()).then_some(Self::Directory(directory))
    }
}

/// `pattern`, relative to the directory of the file `path`.
fn beside(path: &str, pattern: &str) -> String {
    match path.rsplit_once('/') {
        Some((directory, _)) if !pattern.starts_with('/') => format!("{directory}/{pattern}"),
        _ => pattern.to_owned(),
    }
}

/// The paths that match `pattern`, in the order of their bytes.
fn glob(pattern: &str, root: &impl Root) -> Vec<String> {
    let mut paths = vec![String::new()];
    for component in pattern.split('/').filter(|component| !component.is_empty()) {
        paths = paths.iter().flat_map(|path| children(path, component, root)).collect();
    }
    paths.sort();
    paths
}

/// The paths below the directory `path` whose last component matches.
fn children(path: &str, component: &str, root: &impl Root) -> Vec<String> {
    if !component.contains(['*', '?', '[', '\\']) {
        return vec![format!("{path}/{component}")];
    }
    let directory = if path.is_empty() { "/" } else { path };
    let pattern = ConfToken::parse(component.as_bytes());
    let entries = root.directory(directory).map(|listing| listing.entries).unwrap_or_default();
    let hidden = |name: &str| name.starts_with('.') && !component.starts_with('.');
    let names = entries.iter().map(|entry| entry.name.as_str());
    let matching = names.filter(|name| !hidden(name) && matches(&pattern, name.as_bytes()));
    matching.map(|name| format!("{path}/{name}")).collect()
}

/// A part of a pattern: one byte out of a set, or any bytes.
enum ConfToken {
    Any,
    One { negated: bool, ranges: Vec<(u8, u8)> },
}

impl ConfToken {
    fn parse(mut pattern: &[u8]) -> Vec<Self> {
        let mut tokens = Vec::new();
        while let Some((first, rest)) = pattern.split_first() {
            let (token, rest) = match (first, rest) {
                (b'*', rest) => (Self::Any, rest),
                (b'?', rest) => (Self::One { negated: true, ranges: Vec::new() }, rest),
                (b'[', rest) => Self::set(rest).unwrap_or((Self::literal(b'['), rest)),
                (b'\\', [escaped, rest @ ..]) => (Self::literal(*escaped), rest),
                (byte, rest) => (Self::literal(*byte), rest),
            };
            tokens.push(token);
            pattern = rest;
        }
        tokens
    }

    fn literal(byte: u8) -> Self {
        Self::One { negated: false, ranges: vec![(byte, byte)] }
    }

    /// The set that follows a `[`, and what follows the set; `None` when it does not end.
    fn set(pattern: &[u8]) -> Option<(Self, &[u8])> {
        let negated = matches!(pattern.first(), Some(b'!' | b'^'));
        let pattern = &pattern[usize::from(negated)..];
        // A `]` in the first place is a member.
        let end = 1 + pattern.iter().skip(1).position(|byte| *byte == b']')?;
        let mut ranges = Vec::new();
        let mut members = &pattern[..end];
        while let [first, rest @ ..] = members {
            (ranges, members) = match rest {
                [b'-', last, rest @ ..] => ([ranges, vec![(*first, *last)]].concat(), rest),
                rest => ([ranges, vec![(*first, *first)]].concat(), rest),
            };
        }
        Some((Self::One { negated, ranges }, &pattern[end + 1..]))
    }

    fn accepts(&self, byte: u8) -> bool {
        match self {
            Self::Any => true,
            Self::One { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&byte)) != *negated
            }
        }
    }
}

/// Returns whether the whole name matches: each `*` first takes nothing, and more only when the rest fails.
fn matches(pattern: &[ConfToken], name: &[u8]) -> bool {
    let (mut token, mut byte) = (0, 0);
    let mut retry = None;
    while byte < name.len() {
        match pattern.get(token) {
            Some(ConfToken::Any) => {
                retry = Some((token, byte));
                token += 1;
            }
            Some(one) if one.accepts(name[byte]) => {
                token += 1;
                byte += 1;
            }
            _ => {
                let Some((star, taken)) = retry else { return false };
                retry = Some((star, taken + 1));
                (token, byte) = (star + 1, taken + 1);
            }
        }
    }
    pattern[token..].iter().all(|token| matches!(token, ConfToken::Any))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::elf::{DirectoryEntry, DirectoryListing, FileNode};

    /// Text files by path; their directories follow.
    struct Files(BTreeMap<&'static str, &'static str>);

    impl Root for Files {
        fn directory(&self, path: &str) -> Option<DirectoryListing> {
            let names = self.0.keys().filter_map(|file| {
                let (directory, name) = file.rsplit_once('/')?;
                (directory == path).then(|| name.to_owned())
            });
            let entries = names
                .map(|name| DirectoryEntry { name, symlink: false, node: FileNode::Other })
                .rev()
                .collect();
            Some(DirectoryListing { identity: path.to_owned(), entries })
        }

        fn text(&self, path: &str) -> Option<Vec<u8>> {
            self.0.get(path).map(|text| text.as_bytes().to_vec())
        }
    }

    fn check<const N: usize>(files: [(&'static str, &'static str); N], expected: Result<&str, &str>) {
        let found = directories("/etc/ld.so.conf", &Files(BTreeMap::from(files)));
        let found = found.map(|directories| directories.join(" ")).map_err(|error| error.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn reads_lines_as_ldconfig_does() {
        let text = "/a # comment\n\n  /b/ \n#/c\n/d=libc6\n/e///\nhwcap 1 nosegneg\n/\n/f\t\n";
        check([("/etc/ld.so.conf", text)], Ok("/a /b /d /e /f"));
    }

    #[test]
    fn follows_includes_where_they_stand_in_the_order_of_bytes() {
        check(
            [
                ("/etc/ld.so.conf", "/first\ninclude /etc/ld.so.conf.d/*.conf extra.conf /none/*\n/last\n"),
                ("/etc/ld.so.conf.d/b.conf", "/b"),
                ("/etc/ld.so.conf.d/000_cuda.conf", "/usr/local/cuda/lib64"),
                ("/etc/ld.so.conf.d/Z.conf", "/Z"),
                ("/etc/ld.so.conf.d/.hidden.conf", "/hidden"),
                ("/etc/ld.so.conf.d/a.conf.bak", "/bak"),
                ("/etc/extra.conf", "/extra"),
            ],
            Ok("/first /usr/local/cuda/lib64 /Z /b /extra /last"),
        );
    }

    #[test]
    fn has_no_directories_without_a_configuration() {
        check([], Ok(""));
    }

    #[test]
    fn refuses_a_file_that_includes_itself() {
        check(
            [("/etc/ld.so.conf", "include /etc/ld.so.con?\n")],
            Err("`/etc/ld.so.conf` is included 16 files deep"),
        );
    }

    #[test]
    fn matches_patterns_as_the_shell_does() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", "a.confx", false),
            ("a*b*c", "aXbXbXc", true),
            ("[0-9]?.c", "1x.c", true),
            ("[!0-9]*", "1", false),
            ("[]x]", "]", true),
            ("[x", "[x", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
        ] {
            assert_eq!(
                matches(&ConfToken::parse(pattern.as_bytes()), name.as_bytes()),
                expected,
                "{pattern} {name}"
            );
        }
    }
}

//! Finds the version that a program or library carries, as its content passes.

use super::relevance::VersionText;
use crate::elf::Seam;

/// Looks for a version in bytes that pass in pieces.
#[derive(Debug)]
pub(super) struct VersionSearch {
    text: VersionText,
    seam: Seam<LONGEST_VERSION>,
    pub found: Option<String>,
}

/// No version is longer, in bytes, with what surrounds it.
const LONGEST_VERSION: usize = 256;

impl VersionSearch {
    /// A search for a version in this form.
    pub(super) fn new(text: VersionText) -> Self {
        Self { text, seam: Seam::default(), found: None }
    }

    /// Takes the next bytes of the file.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if self.found.is_some() {
            return;
        }
        let Self { text, seam, found } = self;
        seam.pass(bytes, |bytes| *found = found.take().or_else(|| find(*text, bytes)));
    }
}

/// The first version in `bytes` that is whole.
fn find(text: VersionText, bytes: &[u8]) -> Option<String> {
    match text {
        // A linker lets the version be the end of the path that it was built at, where that is its source's.
        VersionText::Python { .. } => {
            find_behind(text, b"\x003.", bytes).or_else(|| find_behind(text, b"/Python-3.", bytes))
        }
        VersionText::Cuda => find_behind(text, b"Cuda compilation tools, release ", bytes),
        VersionText::GnuLibc => find_behind(text, b"GNU C Library (", bytes),
    }
}

/// The first one behind `marker`, which ends with the first number of a Python.
fn find_behind(text: VersionText, marker: &[u8], bytes: &[u8]) -> Option<String> {
    occurrences(bytes, marker).find_map(|start| {
        let number = match text {
            VersionText::Python { .. } => start + marker.len() - b"\x003.".len(),
            VersionText::Cuda | VersionText::GnuLibc => start,
        };
        let rest = &bytes[number..];
        let rest = &rest[..rest.len().min(LONGEST_VERSION)];
        let read = |bytes| std::str::from_utf8(bytes).ok();
        match text {
            VersionText::Python { minor } => {
                let end = 1 + rest[1..].iter().position(|byte| *byte == 0)?;
                read(&rest[1..end]).and_then(|text| python_version(text, minor))
            }
            VersionText::Cuda => {
                let end = rest.iter().position(|byte| matches!(byte, 0 | b'\n'))?;
                let (_, version) = read(&rest[..end])?.rsplit_once(", V")?;
                Some(version.trim_end().to_owned())
            }
            VersionText::GnuLibc => {
                let end = rest.iter().position(|byte| matches!(byte, 0 | b'\n'))?;
                Some(read(&rest[..end])?.trim_end_matches('.').to_owned())
            }
        }
    })
}

/// `3.11.2` of `3.11.2+`, as builds between releases call themselves; `None` for other texts.
fn python_version(text: &str, minor: Option<u8>) -> Option<String> {
    let text = text.strip_suffix('+').unwrap_or(text);
    let mut parts = text.split('.');
    let (major, found, patch) = (parts.next()?, parts.next()?.parse::<u8>().ok()?, parts.next()?);
    let known = major == "3" && parts.next().is_none() && minor.is_none_or(|minor| minor == found);
    let digits = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
    let release = digits > 0 && patch[digits..].chars().all(|c| c.is_ascii_digit() || "abrc".contains(c));
    // The oldest Python that wheels of CUDA frameworks were made for; older numbers are of other things.
    const OLDEST: u8 = 6;
    (known && release && found >= OLDEST).then(|| text.to_owned())
}

fn occurrences(bytes: &[u8], marker: &[u8]) -> impl Iterator<Item = usize> {
    let first = marker[0];
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let at = from + bytes.get(from..)?.iter().position(|byte| *byte == first)?;
            from = at + 1;
            if bytes[at..].starts_with(marker) {
                return Some(at);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: VersionText, bytes: &[u8], expected: Option<&str>) {
        for step in [1, 7, 300, 1 << 16] {
            let mut search = VersionSearch::new(text);
            bytes.chunks(step).for_each(|chunk| search.update(chunk));
            assert_eq!(search.found.as_deref(), expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_version_is_found_wherever_the_pieces_end() {
        let padded = |text: &[u8]| [&[b'x'; 700][..], text, &[b'y'; 700][..]].concat();
        let python = VersionText::Python { minor: Some(11) };
        check(python, &padded(b"\x003.2.0\x003.11.2\x00"), Some("3.11.2"));
        check(python, &padded(b"\x003.11.0rc1+\x00"), Some("3.11.0rc1"));
        check(python, &padded(b"\x003.12.1\x003.11\x00 3.11.4\x00"), None);
        check(python, &padded(b"\x00/build/Python-3.11.4\x00"), Some("3.11.4"));
        check(python, &padded(b"\x00/build/Python-3.11.4/Python\x00"), None);
        check(VersionText::Python { minor: None }, &padded(b"\x003.2.0\x00\x003.13.5\x00"), Some("3.13.5"));
        check(
            VersionText::Cuda,
            &padded(b"Cuda compilation tools, release 12.2, V12.2.140\nBuild"),
            Some("12.2.140"),
        );
        let banner = b"GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36.\n";
        let expected = "GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36";
        check(VersionText::GnuLibc, &padded(banner), Some(expected));
    }
}

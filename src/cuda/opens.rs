//! Finds the names of CUDA's libraries that a file may hand to `dlopen`, as its content passes.

use std::collections::BTreeSet;

use memchr::memmem;

use super::Component;
use crate::elf::Seam;

/// Looks for strings that are names of CUDA's libraries in bytes that pass in pieces.
#[derive(Debug, Default)]
pub struct OpensSearch {
    seam: Seam<LONGEST>,
    found: BTreeSet<String>,
}

/// No name is longer, in bytes.
const LONGEST: usize = 128;
/// No library has as many names: those of a file that is made of names are not all kept.
const MOST: usize = 4096;
/// The part that every name contains.
const MARKER: &[u8] = b".so";

impl OpensSearch {
    /// Takes the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.seam.pass(bytes, |bytes| find(bytes, &mut self.found));
    }

    /// The names, sorted.
    pub fn finish(self) -> Vec<String> {
        self.found.into_iter().collect()
    }
}

fn find(bytes: &[u8], found: &mut BTreeSet<String>) {
    for at in memmem::find_iter(bytes, MARKER) {
        if let Some(name) = name_around(bytes, at)
            && Component::of_library(name).is_some()
            && !found.contains(name)
            && found.len() < MOST
        {
            found.insert(name.to_owned());
        }
    }
}

/// The string between NULs that has a marker at `at`, when it is a file's name.
fn name_around(bytes: &[u8], at: usize) -> Option<&str> {
    let start = bytes[..at].iter().rposition(|byte| *byte == 0)? + 1;
    let end = at + bytes[at..].iter().take(LONGEST).position(|byte| *byte == 0)?;
    let name = bytes.get(start..end).filter(|name| name.len() <= LONGEST)?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-+".contains(byte);
    name.iter().all(is_name).then(|| std::str::from_utf8(name).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_wherever_the_pieces_end() {
        let content = [
            &[7; 500][..],
            b"\0libcudnn_ops_infer.so.8\0",
            &[9; 300],
            b"\0libcublas.so.12\0libm.so.6\0/usr/lib/libcufft.so.11\0xlibnccl.so.2",
            &[0; 400],
        ]
        .concat();
        for step in [1, 50, 129, 4096] {
            let mut search = OpensSearch::default();
            content.chunks(step).for_each(|chunk| search.update(chunk));
            assert_eq!(search.finish(), ["libcublas.so.12", "libcudnn_ops_infer.so.8"], "in steps of {step}");
        }
    }

    #[test]
    fn a_file_that_is_made_of_names_is_no_reason_to_keep_them_all() {
        let names: String = (0..MOST + 100).map(|number| format!("\0libcudnn_{number}.so.9")).collect();
        let found = |step| {
            let mut search = OpensSearch::default();
            format!("{names}\0").as_bytes().chunks(step).for_each(|chunk| search.update(chunk));
            search.finish()
        };
        assert_eq!(found(64 << 10).len(), MOST);
        assert_eq!(found(64 << 10), found(1000));
    }
}

//! The kept part of a text: of a `status` of a megabyte, the names and versions.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::relevance::{TextForm, has_an_owner_worth_knowing};
use crate::cuda::Component;
use crate::pypa::{metadata, record};

/// The kept part of conda's file on a package.
///
/// <https://docs.conda.io/projects/conda/en/stable/dev-guide/specs/conda-meta.html>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CondaPackage {
    pub name: String,
    pub version: String,
    /// Relative to the prefix; those whose owner matters.
    #[serde(default)]
    pub files: Vec<String>,
}

/// The fields of a METADATA that are kept: large frameworks with all their extras have some 2,000.
const MOST_FIELDS: usize = 1 << 14;
/// The bytes of a line of a script that is kept: Linux reads 256 of the first one.
const LONGEST_SCRIPT_LINE: usize = 512;
/// The lines of a script that are kept: an entrypoint starts its program with one.
const MOST_SCRIPT_LINES: usize = 32;

pub(super) fn condense(form: TextForm, text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match form {
        TextForm::Whole => text.into_owned(),
        TextForm::DpkgStatus => lines(&text, |line| {
            line.is_empty()
                || ["Package:", "Status:", "Version:", "Architecture:"]
                    .iter()
                    .any(|key| line.starts_with(key))
        }),
        TextForm::DpkgList => {
            lines(&text, |line| has_an_owner_worth_knowing(line.trim_start_matches('/').trim_end()))
        }
        TextForm::Metadata => metadata::deciding_fields(&text)
            .take(MOST_FIELDS)
            .fold(String::new(), |kept, line| kept + line + "\n"),
        TextForm::Record => rows(&text),
        TextForm::CondaMeta => conda(&text),
        TextForm::Defines => lines(&text, |line| {
            let mut words = line.split_whitespace();
            let defines = words.next() == Some("#define");
            let name = words.next().unwrap_or_default();
            let number = words.next().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
            defines
                && number
                && ["_MAJOR", "_MINOR", "_PATCH", "_PATCHLEVEL"].iter().any(|end| name.ends_with(end))
        }),
        TextForm::Script => script(&text),
    }
}

/// The line `#!` of a script, and those that start another program or choose an environment.
fn script(text: &str) -> String {
    let starts = |line: &&str| {
        let line = line.trim_start();
        let is_start = ["exec ", "'''exec", ". ", "source "].iter().any(|start| line.starts_with(start));
        line.len() <= LONGEST_SCRIPT_LINE && (is_start || line.contains("python"))
    };
    let mut lines = text.lines();
    let Some(first) = lines.next().filter(|line| line.starts_with("#!")) else { return String::new() };
    let first = first.get(..LONGEST_SCRIPT_LINE).unwrap_or(first);
    let kept = std::iter::once(first).chain(lines.filter(starts).take(MOST_SCRIPT_LINES));
    kept.fold(String::new(), |kept, line| kept + line + "\n")
}

fn lines(text: &str, keep: impl Fn(&str) -> bool) -> String {
    let mut kept = String::new();
    for line in text.lines().filter(|line| keep(line)) {
        let _ = writeln!(kept, "{line}");
    }
    kept
}

/// The paths; with its size, which tells two claims apart, a library of CUDA's. Hashes are as long as all the rest.
fn rows(text: &str) -> String {
    let Ok(mut rows) = record::parse(text) else { return String::new() };
    for row in &mut rows {
        row.hash.clear();
        if Component::of_library(row.path.rsplit('/').next().unwrap_or_default()).is_none() {
            row.size.clear();
        }
    }
    record::write(rows)
}

fn conda(text: &str) -> String {
    let Ok(mut package) = serde_json::from_str::<CondaPackage>(text) else { return String::new() };
    package.files.retain(|path| has_an_owner_worth_knowing(path));
    serde_json::to_string(&package).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_of_a_text_is_kept() {
        let check = |form, text: &str, expected: &str| assert_eq!(condense(form, text.as_bytes()), expected);
        check(
            TextForm::DpkgStatus,
            "Package: a\nStatus: install ok installed\nMaintainer: b\nVersion: 1-2\nDescription: c\n d\n\nPackage: e\n",
            "Package: a\nStatus: install ok installed\nVersion: 1-2\n\nPackage: e\n",
        );
        check(
            TextForm::DpkgList,
            "/.\n/usr\n/usr/lib/x86_64-linux-gnu/libnccl.so.2.19.3\n/usr/share/doc/libnccl2\n",
            "/usr/lib/x86_64-linux-gnu/libnccl.so.2.19.3\n",
        );
        check(
            TextForm::Metadata,
            "Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0\nrequires-dist: sympy\nSummary: s\n\nName: prose\n",
            "Name: torch\nVersion: 2.6.0\nrequires-dist: sympy\n",
        );
        // A line of blanks goes on with the field above it; an empty one ends them all.
        check(
            TextForm::Metadata,
            "Name: pandas\r\nVersion: 1\r\nLicense: BSD\r\n        \r\n        Name: no\r\nRequires-Dist: numpy\r\n\r\n\
             Requires-Dist: prose\r\n",
            "Name: pandas\nVersion: 1\nRequires-Dist: numpy\n",
        );
        check(
            TextForm::Script,
            "#!/bin/sh\nset -e\nexport A=1\n. /opt/venv/bin/activate\nexec serve \"$@\"\n",
            "#!/bin/sh\n. /opt/venv/bin/activate\nexec serve \"$@\"\n",
        );
        check(
            TextForm::Record,
            "b.py,sha256=abc,12\nnvidia/lib/libcublas.so.12,sha256=def,99\na.dist-info/RECORD,,\n",
            "a.dist-info/RECORD,,\nb.py,,\nnvidia/lib/libcublas.so.12,,99\n",
        );
        check(
            TextForm::CondaMeta,
            r#"{"arch": "x", "files": ["lib/libcudnn.so.9", "share/x"], "name": "cudnn", "version": "9.1.1.17"}"#,
            r#"{"name":"cudnn","version":"9.1.1.17","files":["lib/libcudnn.so.9"]}"#,
        );
        check(
            TextForm::Defines,
            "/* c */\n#define CUDNN_MAJOR 8\n#define CUDNN_MINOR 9\n#define CUDNN_VERSION (CUDNN_MAJOR * 1000)\n",
            "#define CUDNN_MAJOR 8\n#define CUDNN_MINOR 9\n",
        );
    }

    proptest::proptest! {
        #[test]
        fn a_condensed_metadata_says_what_the_whole_one_says(
            text in "(Name: a|Version: 1|License: x|Requires-Dist: b>=1|requires-dist: c|  folded|\t|        |\r|\n|:|Provides-Extra: e)*",
        ) {
            let said = |text: &str| metadata::parse(text).ok().map(|it| it.digest());
            assert_eq!(said(&condense(TextForm::Metadata, text.as_bytes())), said(&text));
        }
    }

    #[test]
    fn nothing_is_kept_of_a_text_that_is_not_what_it_should_be() {
        assert_eq!(condense(TextForm::CondaMeta, b"[]"), "");
        assert_eq!(condense(TextForm::Metadata, b"\nbody"), "");
        assert_eq!(condense(TextForm::Script, b"\x7fELF python"), "");
    }
}

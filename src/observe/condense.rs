//! The kept part of a text: of a `status` of a megabyte, the names and versions.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::relevance::{TextForm, has_an_owner_worth_knowing};
use crate::cuda::Component;
use crate::pypa::record;

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
        TextForm::Metadata => {
            let head = text.lines().take_while(|line| !line.trim_end().is_empty());
            let matters = |line: &&str| {
                let key = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
                matches!(key.as_str(), "name" | "version" | "requires-dist" | "provides-extra")
            };
            head.filter(matters).take(MOST_FIELDS).fold(String::new(), |kept, line| kept + line + "\n")
        }
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
    }
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

    #[test]
    fn nothing_is_kept_of_a_text_that_is_not_what_it_should_be() {
        assert_eq!(condense(TextForm::CondaMeta, b"[]"), "");
        assert_eq!(condense(TextForm::Metadata, b"\nbody"), "");
    }
}

//! The choice of one image among several in a layout or an archive.
//!
//! As skopeo writes it, what stands behind the path is a name, a tag or `@N`, the place in the list:
//! <https://github.com/containers/image/blob/main/docs/containers-transports.5.md>

use std::path::{Path, PathBuf};

use crate::oci::ImageReference;

/// The images of a layout or an archive that `wanted` means: all where nothing is said.
///
/// `names` gives the names of the image at a place in the list; in a layout an image has one at most, and it is often a tag
/// alone.
pub(super) fn select<T>(images: Vec<T>, names: impl Fn(&T) -> Vec<String>, wanted: Option<&str>) -> Vec<T> {
    let place = wanted.and_then(|wanted| wanted.strip_prefix('@')?.parse::<usize>().ok());
    let is_meant = |(at, image): &(usize, T)| match (place, wanted) {
        (Some(place), _) => *at == place,
        (None, Some(wanted)) => names(image).iter().any(|name| is_named(name, wanted)),
        (None, None) => true,
    };
    images.into_iter().enumerate().filter(is_meant).map(|(_, image)| image).collect()
}

/// Returns whether `wanted` is the name as it stands, the name as docker completes it, or its tag.
fn is_named(name: &str, wanted: &str) -> bool {
    let whole = |text: &str| text.parse::<ImageReference>().ok();
    let has_repository = |text: &str| text.contains([':', '/']);
    let tag = name.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
    let is_same = || {
        has_repository(name)
            && has_repository(wanted)
            && whole(name).is_some_and(|it| Some(it) == whole(wanted))
    };
    name == wanted || tag == Some(wanted) || is_same()
}

/// The file and the selector of `FILE:NAME:TAG`, which is read as the tag of a file `FILE:NAME` unless there is only `FILE`.
pub(super) fn split(file: &Path, tag: Option<&str>) -> (PathBuf, Option<String>) {
    let as_written = || (file.to_owned(), tag.map(str::to_owned));
    let Some(text) = file.to_str().filter(|_| !file.exists()) else { return as_written() };
    let whole = tag.map_or_else(|| text.to_owned(), |tag| format!("{text}:{tag}"));
    let colons = text.match_indices(':').map(|(at, _)| at);
    let found = colons.rev().find(|at| Path::new(&text[..*at]).exists());
    found.map_or_else(as_written, |at| (text[..at].into(), Some(whole[at + 1..].to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wanted: Option<&str>, expected: &[usize]) {
        let images: [&[&str]; 4] =
            [&["busybox:latest", "host.test:5000/a/b:1"], &["docker.io/library/alpine:latest"], &["v2"], &[]];
        let numbered = images.iter().enumerate().collect();
        let found =
            select(numbered, |(_, names)| names.iter().map(|&name| name.to_owned()).collect(), wanted);
        assert_eq!(found.iter().map(|(at, _)| *at).collect::<Vec<_>>(), expected, "{wanted:?}");
    }

    #[test]
    fn an_image_is_meant_by_name_tag_or_place() {
        check(None, &[0, 1, 2, 3]);
        check(Some("latest"), &[0, 1]);
        check(Some("busybox:latest"), &[0]);
        check(Some("docker.io/library/busybox:latest"), &[0]);
        check(Some("alpine:latest"), &[1]);
        check(Some("library/alpine"), &[1]);
        check(Some("host.test:5000/a/b:1"), &[0]);
        check(Some("a/b:1"), &[]);
        check(Some("1"), &[0]);
        check(Some("v2"), &[2]);
        check(Some("v2:latest"), &[]);
        check(Some("busybox"), &[]);
        check(Some("@3"), &[3]);
        check(Some("@4"), &[]);
        check(Some("5000/a/b:1"), &[]);
    }

    #[test]
    fn a_name_behind_a_file_is_told_from_a_part_of_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["x.tar", "a:b.tar", "a"] {
            std::fs::write(at(name), "").unwrap();
        }
        let check = |file: &str, tag: Option<&str>, expected: (&str, Option<&str>)| {
            let expected = (at(expected.0), expected.1.map(str::to_owned));
            assert_eq!(split(&at(file), tag), expected);
        };
        check("x.tar", None, ("x.tar", None));
        check("x.tar", Some("1"), ("x.tar", Some("1")));
        check("x.tar:busybox", Some("1"), ("x.tar", Some("busybox:1")));
        check("x.tar:localhost:5000/app", Some("1"), ("x.tar", Some("localhost:5000/app:1")));
        check("a:b.tar", Some("1"), ("a:b.tar", Some("1")));
        check("a:b.tar:x", Some("1"), ("a:b.tar", Some("x:1")));
        check("none.tar:x", Some("1"), ("none.tar:x", Some("1")));
        check("x.tar:library/app", None, ("x.tar", Some("library/app")));
    }
}

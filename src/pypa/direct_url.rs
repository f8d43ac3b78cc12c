//! `direct_url.json`: the origin of a distribution that was not chosen from an index.
//!
//! <https://packaging.python.org/en/latest/specifications/direct-url-data-structure/>

use serde_json::{Value, json};

use super::git_reference::GitReference;
use super::subdirectory::Subdirectory;
use crate::oci::Digest;

/// The file's name in the `.dist-info` directory.
pub const NAME: &str = "direct_url.json";

/// The URL of a wheel on the machine that builds: its file's name alone, since its directory has no meaning in the image, and
/// the same wheel from another directory gives the same image.
pub fn of_local(filename: &str) -> String {
    format!("file:///{filename}")
}

/// The URL of a project's directory on the machine that builds: its name alone, as of a wheel.
pub fn of_directory(name: &str) -> String {
    format!("file:///{name}/")
}

/// The URL of a source's archive with its digest, by which it is known among other URLs, and the project's directory in it.
pub fn of_source_archive(url: &str, sha256: &Digest, subdirectory: Option<&Subdirectory>) -> String {
    let subdirectory = subdirectory.map(|directory| format!("&subdirectory={directory}")).unwrap_or_default();
    format!("{url}#sha256={}{subdirectory}", sha256.hex())
}

/// The text for a wheel from `url`, which has no secrets: it was built from a repository, a directory or an archive, or it is
/// the archive, and has the digest `sha256`.
pub fn text(url: &str, sha256: &Digest) -> String {
    if let Ok(reference) = url.parse::<GitReference>() {
        return of_repository(&reference);
    }
    let (place, fragment) = url.split_once('#').unwrap_or((url, ""));
    let word = |key: &str| {
        let mut words = fragment.split('&').filter_map(|word| word.split_once('='));
        words.find(|(found, _)| *found == key).map(|(_, value)| value.to_owned())
    };
    if place.ends_with('/') {
        return json!({"dir_info": {}, "url": place}).to_string();
    }
    let hex = word("sha256").unwrap_or_else(|| sha256.hex());
    let hashes = json!({"hash": format!("sha256={hex}"), "hashes": {"sha256": hex}});
    with_subdirectory(json!({"archive_info": hashes, "url": place}), word("subdirectory"))
}

fn of_repository(reference: &GitReference) -> String {
    let mut info = json!({"vcs": "git"});
    if let Some(commit) = &reference.commit {
        info["commit_id"] = commit.as_str().into();
    }
    if let Some(revision) = &reference.revision {
        info["requested_revision"] = revision.as_str().into();
    }
    let subdirectory = reference.subdirectory.as_ref().map(ToString::to_string);
    with_subdirectory(json!({"url": reference.shown(), "vcs_info": info}), subdirectory)
}

fn with_subdirectory(mut value: Value, subdirectory: Option<String>) -> String {
    if let Some(subdirectory) = subdirectory {
        value["subdirectory"] = subdirectory.into();
    }
    value.to_string()
}

/// Returns whether two URLs name the same place, whatever is known of what is there.
pub fn is_same_place(one: &str, other: &str) -> bool {
    match (one.parse::<GitReference>(), other.parse::<GitReference>()) {
        (Ok(one), Ok(other)) => one.asks_as(&other),
        (Err(_), Err(_)) => one.split('#').next() == other.split('#').next(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_where_an_archive_is_from() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let expected = format!(
            r#"{{"archive_info":{{"hash":"sha256={hex}","hashes":{{"sha256":"{hex}"}}}},"url":"file:///a-1-py3-none-any.whl"}}"#
        );
        assert_eq!(text(&of_local("a-1-py3-none-any.whl"), &Digest::of("")), expected);
        assert_eq!(text(&of_directory("a"), &Digest::of("")), r#"{"dir_info":{},"url":"file:///a/"}"#);
    }

    #[test]
    fn says_which_source_a_wheel_was_built_from() {
        let check = |url: &str, expected: &str| assert_eq!(text(url, &Digest::of("")), expected);
        let commit = "7dff383e825a2a635022027086925c634969f463";
        check(
            &format!("git+https://host/app@v1#commit={commit}&subdirectory=a/b"),
            &format!(
                r#"{{"subdirectory":"a/b","url":"https://host/app","vcs_info":{{"commit_id":"{commit}","requested_revision":"v1","vcs":"git"}}}}"#
            ),
        );
        check(
            "https://host/app.zip#sha256=00&subdirectory=a",
            r#"{"archive_info":{"hash":"sha256=00","hashes":{"sha256":"00"}},"subdirectory":"a","url":"https://host/app.zip"}"#,
        );
        assert!(is_same_place(
            &format!("git+https://host/app@v1#commit={commit}"),
            "git+https://me@host/app@v1"
        ));
        assert!(!is_same_place("git+https://host/app@v1", "git+https://host/app@v2"));
        assert!(is_same_place("https://host/app.zip#sha256=00", "https://host/app.zip"));
    }
}

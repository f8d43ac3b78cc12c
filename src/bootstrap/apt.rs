//! The needs of apt in the image: its sources, and directories to download into.
//!
//! <https://manpages.debian.org/sources.list.5>

use super::tree::Tree;
use crate::debian::sources::{self, AptSource, SignedBy};

const KEYRINGS: &str = "/usr/share/keyrings";

pub(super) fn write(tree: &mut Tree<'_>, list: &[AptSource], archive: &str) {
    if tree.configured("apt").is_none() {
        return;
    }
    // apt, as root, gives these to the user it downloads as; where it cannot, it warns.
    let user = tree.account_id("etc/passwd", "_apt");
    for directory in ["var/lib/apt/lists/partial", "var/cache/apt/archives/partial"] {
        tree.private_directory(directory, user);
    }
    if !list.is_empty() {
        let list: Vec<AptSource> =
            list.iter().map(|source| with_keyring(tree, source.clone(), archive)).collect();
        tree.file(&format!("etc/apt/sources.list.d/{archive}.sources"), 0o644, sources::write(&list));
    }
}

/// The source with keyrings of the image: one that only this machine has would make apt refuse it.
fn with_keyring(tree: &Tree<'_>, source: AptSource, archive: &str) -> AptSource {
    let is_there = |name: &String| !name.starts_with('/') || tree.has(name);
    let own = [
        format!("{KEYRINGS}/{archive}-archive-keyring.gpg"),
        format!("{KEYRINGS}/{archive}-archive-keyring.pgp"),
    ];
    let signed_by = match source.signed_by {
        Some(SignedBy::Key(key)) => Some(SignedBy::Key(key)),
        Some(SignedBy::Names(names)) if names.iter().all(is_there) => Some(SignedBy::Names(names)),
        _ => own.into_iter().find(|path| tree.has(path)).map(|path| SignedBy::Names(vec![path])),
    };
    AptSource { signed_by, ..source }
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    fn source(keyring: &str) -> AptSource {
        AptSource {
            uris: vec!["http://mirror.test/debian/".into()],
            suites: vec!["bookworm".into()],
            components: vec!["main".into()],
            signed_by: Some(SignedBy::Names(vec![keyring.into()])),
            enabled: true,
            ..AptSource::default()
        }
    }

    #[test]
    fn sources_are_signed_by_a_keyring_the_image_has() {
        let example = Example::default()
            .package("apt", &[])
            .directory("etc/apt/sources.list.d")
            .directory("var/lib/apt/lists")
            .directory("var/cache/apt/archives")
            .file("etc/passwd", "_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n")
            .file("usr/share/keyrings/debian-archive-keyring.gpg", "");
        let list = [source("/home/me/only-here.gpg")];
        let expected = [
            "etc/apt/sources.list.d/debian.sources 644 0:0 Types: deb\nURIs: http://mirror.test/debian/\n\
             Suites: bookworm\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n",
            "var/cache/apt/archives/partial/ 700 42:0",
            "var/lib/apt/lists/partial/ 700 42:0",
        ];
        assert_eq!(example.run(|tree| write(tree, &list, "debian")), expected);
    }

    #[test]
    fn without_apt_there_are_no_sources() {
        assert!(Example::default().run(|tree| write(tree, &[source("/a")], "debian")).is_empty());
    }
}

use super::*;
use crate::elf::probe::ProbeBudget;
use crate::observe::{FileObserver, ObservedLayer};
use crate::oci::paths::WHITEOUT;

/// The facts of a layer of these entries: `path/` is a directory, `path -> target` a symlink, `path => target` a hard
/// link, `path: text` a text, and a path alone a file, a whiteout, or a library.
pub(crate) fn layer(entries: &[&str]) -> InventoryFacts {
    let mut learned = ObservedLayer::default();
    for entry in entries {
        let (path, kind) = kind(entry);
        let text = entry.split_once(": ").map(|(_, text)| text);
        let size = text.map_or(1000, |text| text.len() as u64);
        let is_link = entry.contains(['>']);
        let is_directory = kind == EntryKind::Directory;
        let mode = if text.is_some_and(|text| text.starts_with("#!")) { 0o755 } else { 0o644 };
        let entry = Entry { path: path.to_owned(), mode, uid: 0, gid: 0, mtime: 0, kind };
        learned.note(&entry);
        let watched = text.is_some() || !is_link && !path.contains(WHITEOUT);
        let entry = Entry { kind: EntryKind::File { size }, ..entry };
        if let Some(mut watcher) =
            FileObserver::new(&entry, ProbeBudget::LARGE).filter(|_| watched && !is_directory)
        {
            watcher.update(text.unwrap_or("not ELF").as_bytes());
            watcher.finish_once(&mut learned);
        }
    }
    learned.facts
}

fn kind(entry: &str) -> (&str, EntryKind) {
    if let Some((path, target)) = entry.split_once(" -> ") {
        (path, EntryKind::Symlink { target: target.to_owned() })
    } else if let Some((path, target)) = entry.split_once(" => ") {
        (path, EntryKind::Hardlink { target: target.to_owned() })
    } else if let Some((path, text)) = entry.split_once(": ") {
        (path, EntryKind::File { size: text.len() as u64 })
    } else if let Some(path) = entry.strip_suffix('/') {
        (path, EntryKind::Directory)
    } else {
        (entry, EntryKind::File { size: 1000 })
    }
}

/// Checks the stack of these layers, bottom first, in the form of [`layer`]'s entries without directories.
fn check(layers: &[&[&str]], expected: &[&str]) {
    let image = InventoryFacts::stacked(layers.iter().map(|entries| layer(entries)));
    let shown: Vec<String> = image
        .nodes()
        .filter_map(|(path, fact)| match fact {
            Fact::Directory => None,
            Fact::Symlink(target) => Some(format!("{path} -> {target}")),
            Fact::Text(text) => Some(format!("{path}: {text}")),
            Fact::File(_) | Fact::Other => Some(path.to_owned()),
        })
        .collect();
    assert_eq!(shown, expected);
    let record = serde_json::to_string(&image).unwrap();
    assert_eq!(serde_json::from_str::<InventoryFacts>(&record).unwrap(), image);
}

#[test]
fn directories_are_seen_through_symlinks() {
    let facts = InventoryFacts::stacked([layer(&[
        "etc/ld.so.conf: /usr/lib\n",
        "lib -> usr/lib",
        "usr/lib/libz.so.1 -> libz.so.1.2",
        "usr/lib/libz.so.1.2",
        "usr/lib/loop.so -> loop.so",
    ])]);
    let listing = facts.directory("/lib").unwrap();
    assert_eq!(listing.identity, "usr/lib");
    let shown: Vec<(&str, bool, &FileNode)> =
        listing.entries.iter().map(|e| (e.name.as_str(), e.symlink, &e.node)).collect();
    let file = FileNode::File { identity: "usr/lib/libz.so.1.2".into(), elf: None };
    assert_eq!(
        shown,
        [("libz.so.1", true, &file), ("libz.so.1.2", false, &file), ("loop.so", true, &FileNode::Dangling)]
    );
    assert_eq!(facts.text("/etc/ld.so.conf").unwrap(), b"/usr/lib\n");
    assert!(facts.directory("/nowhere").is_none());
    assert!(facts.directory("/usr/lib/libz.so.1").is_none());
}

#[test]
fn an_upper_layer_adds_and_removes() {
    check(
        &[&["usr/lib/liba.so", "usr/lib/libb.so"], &["usr/lib/.wh.liba.so", "usr/lib/libc.so"]],
        &["usr/lib/libb.so", "usr/lib/libc.so"],
    );
}

#[test]
fn a_removed_directory_takes_all_that_was_in_it() {
    check(
        &[&["opt/cuda/lib/libcudart.so.12", "opt/cuda-x", "opt/cuda/bin/ptxas"], &["opt/.wh.cuda"]],
        &["opt/cuda-x"],
    );
    // A whiteout is of lower layers alone, wherever it stands in its own.
    check(
        &[&["opt/cuda/liba.so"], &["opt/cuda/libb.so", "opt/.wh.cuda"], &["opt/cuda/libc.so"]],
        &["opt/cuda/libb.so", "opt/cuda/libc.so"],
    );
    check(
        &[&["etc/os-release: A\n"], &["etc/.wh.os-release"], &["etc/os-release: B\n"]],
        &["etc/os-release: B\n"],
    );
}

#[test]
fn an_opaque_directory_hides_what_was_in_it() {
    check(
        &[
            &["opt/cuda/", "opt/cuda/liba.so", "opt/cuda/sub/libb.so"],
            &["opt/cuda/", "opt/cuda/libc.so", "opt/cuda/.wh..wh..opq"],
        ],
        &["opt/cuda/libc.so"],
    );
}

#[test]
fn a_file_and_a_directory_replace_each_other() {
    check(&[&["usr/local/cuda/liba.so"], &["usr/local/cuda"]], &["usr/local/cuda"]);
    check(
        &[&["usr/local/cuda"], &["usr/local/cuda/", "usr/local/cuda/liba.so"]],
        &["usr/local/cuda/liba.so"],
    );
    check(&[&["usr/local/cuda/liba.so"], &["usr/local/cuda -> cuda-12.2"]], &["usr/local/cuda -> cuda-12.2"]);
    check(
        &[&["lib -> usr/lib", "usr/lib/liba.so"], &["lib/", "lib/libb.so"]],
        &["lib/libb.so", "usr/lib/liba.so"],
    );
}

#[test]
fn a_path_through_a_lower_symlink_leads_where_that_does() {
    check(
        &[&["lib -> usr/lib", "usr/lib/liba.so"], &["lib/liba.so", "lib/libb.so"]],
        &["lib -> usr/lib", "usr/lib/liba.so", "usr/lib/libb.so"],
    );
}

#[test]
fn a_hard_link_outlives_the_name_it_was_made_from() {
    let lower = &["usr/lib/liba.so", "usr/lib/libb.so => usr/lib/liba.so"][..];
    check(&[lower, &["usr/lib/.wh.liba.so"]], &["usr/lib/libb.so"]);
    let facts = layer(lower);
    let identities: Vec<FileNode> =
        facts.directory("usr/lib").unwrap().entries.into_iter().map(|entry| entry.node).collect();
    assert_eq!(identities[0], identities[1]);
}

#[test]
fn real_files_say_what_they_are() {
    #[allow(clippy::disallowed_methods, reason = "the files of this machine are the examples")]
    let learn = |path: &str| {
        let bytes = std::fs::read(path).ok()?;
        let mut learned = ObservedLayer::default();
        let kind = EntryKind::File { size: bytes.len() as u64 };
        let path = path.trim_start_matches('/');
        let entry = Entry { path: path.to_owned(), mode: 0o755, uid: 0, gid: 0, mtime: 0, kind };
        let mut watcher = FileObserver::new(&entry, ProbeBudget::LARGE)?;
        bytes.chunks(65_536).for_each(|chunk| watcher.update(chunk));
        watcher.finish_once(&mut learned);
        let (_, file) = learned.facts.file(path)?;
        Some((file.size == bytes.len() as u64, file.elf.is_some(), file.version.clone()))
    };
    let machine = std::env::consts::ARCH;
    match learn(&format!("/usr/lib/{machine}-linux-gnu/libc.so.6")) {
        Some((true, true, Some(banner))) => assert!(banner.starts_with("GNU C Library ("), "{banner}"),
        None => eprintln!("skipped: this machine has no Debian's libc"),
        other => panic!("{other:?}"),
    }
    match learn("/usr/bin/python3.11") {
        Some((true, true, Some(version))) => assert!(version.starts_with("3.11."), "{version}"),
        None => eprintln!("skipped: this machine has no /usr/bin/python3.11"),
        other => panic!("{other:?}"),
    }
}

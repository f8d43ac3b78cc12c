use std::error::Error;
use std::io::Read;

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzDecoder, MultiGzDecoder};
use proptest::prelude::*;

use super::*;

const TIME: u64 = 315_532_800;

fn entry(path: &str, kind: EntryKind) -> Entry {
    Entry { path: path.into(), mode: 0o644, uid: 0, gid: 0, mtime: TIME, kind }
}

fn file(path: &str, content: &[u8]) -> Entry {
    entry(path, EntryKind::File { size: content.len() as u64 })
}

fn deflate_at(content: &[u8], level: u32) -> (Vec<u8>, Expected) {
    let mut deflated = Vec::new();
    DeflateEncoder::new(content, Compression::new(level)).read_to_end(&mut deflated).unwrap();
    let expected = Expected {
        compressed: deflated.len() as u64,
        size: content.len() as u64,
        crc32: crc32fast::hash(content),
    };
    (deflated, expected)
}

fn deflate(content: &[u8]) -> (Vec<u8>, Expected) {
    deflate_at(content, 6)
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

/// The tar that a reader finds in the blob; one of a single gzip member stops where the first member ends.
fn tar_of(store: &Store, form: &LayerCompression, written: &Written) -> Vec<u8> {
    let mut bytes = Vec::new();
    let blob = store.open_blob(&written.digest).unwrap();
    match form {
        LayerCompression::Gzip => GzDecoder::new(blob).read_to_end(&mut bytes).unwrap(),
        LayerCompression::Estargz { .. } => MultiGzDecoder::new(blob).read_to_end(&mut bytes).unwrap(),
        LayerCompression::Zstd { .. } => ::zstd::Decoder::new(blob).unwrap().read_to_end(&mut bytes).unwrap(),
    };
    assert_eq!(Digest::of(&bytes), written.diff_id);
    assert_eq!(store.blob_size(&written.digest), Some(written.size));
    bytes
}

#[test]
fn a_spliced_layer_reads_as_the_tar_it_stands_for() {
    let (_directory, store) = store();
    let large: Vec<u8> = (0..3_000_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    let contents: [(&str, &[u8]); 4] = [("a", b""), ("b", b"hello"), ("c", &large), ("d", b"end")];
    let mut writer = LayerWriter::new(&store, &LayerCompression::Gzip, &|_| ()).unwrap();
    writer.entry(&entry("dir", EntryKind::Directory)).unwrap();
    for (path, content) in contents {
        let (deflated, expected) = deflate(content);
        writer.splice(&file(path, content), || Ok(deflated.as_slice()), expected).unwrap();
        writer.file(&file(&format!("{path}-plain"), content), || Ok(content)).unwrap();
    }
    let written = writer.finish().unwrap();

    let tar_bytes = tar_of(&store, &LayerCompression::Gzip, &written);
    let mut archive = ::tar::Archive::new(tar_bytes.as_slice());
    let read: Vec<(String, Vec<u8>)> = archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        })
        .collect();
    let mut expected = vec![("dir/".to_owned(), Vec::new())];
    for (path, content) in contents {
        expected.push((path.to_owned(), content.to_vec()));
        expected.push((format!("{path}-plain"), content.to_vec()));
    }
    assert!(read == expected);
}

/// The tar of files whose content is spliced, or compressed here.
fn write(store: &Store, form: &LayerCompression, contents: &[Vec<u8>], levels: Option<&[u32]>) -> Written {
    let mut writer = LayerWriter::new(store, form, &|_| ()).unwrap();
    for (at, content) in contents.iter().enumerate() {
        let entry = file(&format!("file-{at}"), content);
        match levels {
            Some(levels) => {
                let (mut deflated, expected) = deflate_at(content, levels[at % levels.len()]);
                // Where a stream ends within a byte, the rest of that may be anything.
                let last = deflated.len() - 1;
                deflated[last] |= deflated_rest(&deflated);
                writer.splice(&entry, || Ok(deflated.as_slice()), expected).unwrap();
            }
            None => writer.file(&entry, || Ok(content.as_slice())).unwrap(),
        }
    }
    writer.finish().unwrap()
}

/// The bits of the last byte that are not of the stream.
fn deflated_rest(deflated: &[u8]) -> u8 {
    struct Nothing<'a>(&'a [u8]);

    impl Passage for Nothing<'_> {
        type Error = Invalid;

        fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Invalid> {
            Ok(self.0.read(buffer).unwrap())
        }

        fn passed(&mut self, _: &[u8]) -> Result<(), Invalid> {
            Ok(())
        }

        fn inflated(&mut self, _: &[u8]) -> Result<(), Invalid> {
            Ok(())
        }
    }

    let End { unused } = Inflater::default().inflate(&mut Nothing(deflated)).unwrap();
    !(0xff >> unused)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn streams_of_any_ending_are_spliced(
        contents in proptest::collection::vec(proptest::collection::vec(0u8..20, 0..400), 1..20),
        levels in proptest::collection::vec(0u32..10, 1..4),
    ) {
        let (_directory, store) = store();
        let form = LayerCompression::Gzip;
        let spliced = write(&store, &form, &contents, Some(&levels));
        let compressed = write(&store, &form, &contents, None);
        prop_assert_eq!(spliced.diff_id, compressed.diff_id);
        prop_assert_eq!(tar_of(&store, &form, &spliced), tar_of(&store, &form, &compressed));
    }
}

#[test]
fn a_layer_without_entries_is_one() {
    let (_directory, store) = store();
    let written = LayerWriter::new(&store, &LayerCompression::Gzip, &|_| ()).unwrap().finish().unwrap();
    assert_eq!(tar_of(&store, &LayerCompression::Gzip, &written), tar::END);
}

const ESTARGZ: LayerCompression = LayerCompression::Estargz { prefetch: Vec::new() };

/// Code and text, of which some is there again further on.
fn library(size: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match state >> 30 {
            0 => bytes.extend((state >> 8).to_le_bytes()),
            1 => bytes.extend(format!("_ZN{}cuda", state >> 20).into_bytes()),
            2 => bytes.extend([0; 16]),
            _ => {
                let from = bytes.len().saturating_sub((state >> 15 & 0x7fff) as usize);
                bytes.extend_from_within(from..bytes.len().min(from + 40));
            }
        }
    }
    bytes.truncate(size);
    bytes
}

#[test]
fn zstd_has_the_tar_that_gzip_has() {
    let (_directory, store) = store();
    let contents = [b"".to_vec(), b"hello".to_vec(), library(3_000_000)];
    let gzip = write(&store, &LayerCompression::Gzip, &contents, Some(&[6]));
    for level in [1, 3] {
        let form = LayerCompression::Zstd { level };
        for levels in [Some(&[0, 6, 9][..]), None] {
            let written = write(&store, &form, &contents, levels);
            assert_eq!(written.diff_id, gzip.diff_id);
            assert_eq!(written.media_type, crate::oci::image::MediaType::ImageLayerZstd);
            tar_of(&store, &form, &written);
        }
    }
}

/// The table of an eStargz blob, compared with the blob: name and size of each chunk.
fn chunks(blob: &[u8], written: &Written) -> Vec<(String, u64)> {
    let (rest, footer) = blob.split_at(blob.len() - 51);
    let offset = std::str::from_utf8(&footer[16..32]).unwrap();
    assert_eq!(&footer[32..38], b"STARGZ");
    let toc = &rest[usize::from_str_radix(offset, 16).unwrap()..];
    let mut toc_tar = Vec::new();
    GzDecoder::new(toc).read_to_end(&mut toc_tar).unwrap();
    let mut archive = ::tar::Archive::new(toc_tar.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("stargz.index.json"));
    let mut json = Vec::new();
    entry.read_to_end(&mut json).unwrap();
    assert_eq!(
        written.annotations["containerd.io/snapshot/stargz/toc.digest"],
        Digest::of(&json).to_string()
    );
    let toc: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let entries = toc["entries"].as_array().unwrap();
    let mut found = Vec::new();
    let mut file_size = 0;
    for entry in entries {
        let number = |key: &str| entry[key].as_u64().unwrap_or_default();
        if entry["type"] == "reg" {
            file_size = number("size");
        }
        if number("offset") == 0 {
            continue;
        }
        let mut chunk = Vec::new();
        GzDecoder::new(&blob[number("offset") as usize..]).read_to_end(&mut chunk).unwrap();
        let size = if number("chunkSize") == 0 { file_size } else { number("chunkSize") };
        assert_eq!(chunk.len() as u64, size);
        assert_eq!(entry["chunkDigest"], Digest::of(&chunk).to_string());
        found.push((entry["name"].as_str().unwrap().to_owned(), size));
    }
    found
}

#[test]
fn estargz_has_a_member_for_each_chunk() {
    let (_directory, store) = store();
    let large = library(13_000_000);
    let contents = [b"".to_vec(), b"hello".to_vec(), large.clone(), large.clone(), large.clone(), large];
    for levels in [Some(&[0, 4, 6, 9][..]), None] {
        let written = write(&store, &ESTARGZ, &contents, levels);
        let mut blob = Vec::new();
        store.open_blob(&written.digest).unwrap().read_to_end(&mut blob).unwrap();
        let chunks = chunks(&blob, &written);
        let size_of =
            |name: &str| chunks.iter().filter(|(of, _)| of == name).map(|(_, size)| size).sum::<u64>();
        for (at, content) in contents.iter().enumerate() {
            assert_eq!(size_of(&format!("file-{at}")), content.len() as u64);
        }
        for (name, size) in &chunks {
            assert!(*size <= 6 << 20, "a chunk of {name} has {size} bytes");
        }
        assert!(chunks.iter().filter(|(name, _)| name == "file-3").count() > 2);
        let tar = tar_of(&store, &ESTARGZ, &written);
        assert_eq!(written.annotations["io.containers.estargz.uncompressed-size"], tar.len().to_string());
    }
}

#[test]
fn a_landmark_ends_what_is_fetched_at_once() {
    let check = |prefetch: &[&str], expected: &[&str]| {
        let (_directory, store) = store();
        let form =
            LayerCompression::Estargz { prefetch: prefetch.iter().map(|path| path.to_string()).collect() };
        let mut writer = LayerWriter::new(&store, &form, &|_| ()).unwrap();
        writer.entry(&entry("lib", EntryKind::Directory)).unwrap();
        for path in ["lib/first.py", "lib/second.py"] {
            writer.file(&file(path, b"x"), || Ok(&b"x"[..])).unwrap();
        }
        let written = writer.finish().unwrap();
        let tar = tar_of(&store, &form, &written);
        let mut archive = ::tar::Archive::new(tar.as_slice());
        let paths =
            archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        assert_eq!(paths.collect::<Vec<_>>(), expected);
    };
    let toc = "stargz.index.json";
    check(&[], &["lib/", ".no.prefetch.landmark", "lib/first.py", "lib/second.py", toc]);
    check(&["lib/first.py"], &["lib/", "lib/first.py", ".prefetch.landmark", "lib/second.py", toc]);
    check(&["lib"], &["lib/", "lib/first.py", "lib/second.py", ".prefetch.landmark", toc]);
    check(&["li"], &["lib/", ".no.prefetch.landmark", "lib/first.py", "lib/second.py", toc]);
}

fn refused(deflated: &[u8], expected: Expected) -> String {
    let (_directory, store) = store();
    let mut writer = LayerWriter::new(&store, &LayerCompression::Gzip, &|_| ()).unwrap();
    let entry = entry("lib.so", EntryKind::File { size: expected.size });
    let error = writer.splice(&entry, || Ok(deflated), expected).unwrap_err();
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[test]
fn refuses_an_entry_that_is_not_what_it_promised() {
    let (deflated, expected) = deflate(&b"library ".repeat(10_000));
    let check = |deflated: &[u8], expected, message: &str| {
        let error = refused(deflated, expected);
        assert!(error.contains(message), "{error}");
    };
    check(&deflated, Expected { crc32: 1, ..expected }, "damaged");
    check(&deflated, Expected { size: expected.size + 1, ..expected }, "promised");
    check(&deflated, Expected { size: 100, ..expected }, "more than the 100 bytes");
    check(&deflated[..20], expected, "cut short");
    check(&deflated[..20], Expected { compressed: 20, ..expected }, "cut short");
    let longer = [deflated.as_slice(), b"tail"].concat();
    check(&longer, Expected { compressed: longer.len() as u64, ..expected }, "follow");
    check(&[0xff; 40], Expected { compressed: 40, ..expected }, "not DEFLATE");
}

#[test]
fn a_layer_that_was_given_up_leaves_no_blob() {
    let (directory, store) = store();
    let mut writer = LayerWriter::new(&store, &LayerCompression::Gzip, &|_| ()).unwrap();
    let content = vec![7; 3_000_000];
    writer.file(&file("a", &content), || Ok(content.as_slice())).unwrap();
    drop(writer);
    assert_eq!(std::fs::read_dir(directory.path().join("blobs/sha256")).unwrap().count(), 0);
}

#[test]
fn only_a_whiteout_by_kind_hides_files_whoever_names_it() {
    let (_directory, store) = store();
    let (deflated, expected) = deflate(b"x");
    let check = |kind: EntryKind, path: &str, fault: Option<PathFault>| {
        let mut writer = LayerWriter::new(&store, &LayerCompression::Gzip, &|_| ()).unwrap();
        let entry = entry(path, kind);
        let mut written = vec![writer.entry(&entry)];
        if let EntryKind::File { .. } = entry.kind {
            written = vec![
                writer.file(&entry, || Ok(&b"x"[..])),
                writer.splice(&entry, || Ok(deflated.as_slice()), expected),
            ];
        }
        for written in written {
            match (written, fault) {
                (Ok(()), None) => {}
                (Err(WriteError::Path { path: told, fault: found }), Some(fault)) => {
                    assert_eq!((told.as_str(), found), (path, fault));
                }
                (written, _) => panic!("{path:?}: {written:?}"),
            }
        }
    };
    let link = |target: &str| EntryKind::Symlink { target: target.into() };
    let hard = |target: &str| EntryKind::Hardlink { target: target.into() };
    let file = || EntryKind::File { size: 1 };
    for path in ["usr/bin/.wh.python3", ".wh..wh..opq", "a/.wh.b/c"] {
        for kind in [file(), EntryKind::Directory, link("x"), hard("x")] {
            check(kind, path, Some(PathFault::Whiteout));
        }
    }
    check(EntryKind::Whiteout, "usr/bin/.wh.python3", None);
    check(hard("etc/.wh.passwd"), "a", Some(PathFault::Whiteout));
    check(link("../.wh.a"), "a", None);
    check(link("a\0b"), "a", Some(PathFault::Nul));
    check(file(), "usr/bin/a\0b", Some(PathFault::Nul));
    check(file(), "usr/../bin", Some(PathFault::Part));
    check(EntryKind::Directory, &"n".repeat(256), Some(PathFault::LongName));
}

#[test]
fn a_whiteout_is_written_as_an_empty_file() {
    let (_directory, store) = store();
    let zstd = LayerCompression::Zstd { level: 3 };
    for form in [LayerCompression::Gzip, zstd, LayerCompression::Estargz { prefetch: Vec::new() }] {
        let written = |kind: EntryKind| {
            let mut writer = LayerWriter::new(&store, &form, &|_| ()).unwrap();
            let entry = entry("a/.wh.b", kind);
            match entry.kind {
                EntryKind::Whiteout => writer.entry(&entry).unwrap(),
                _ => writer.checked_file(&entry, None, || Ok(io::empty())).unwrap(),
            }
            writer.finish().unwrap()
        };
        assert_eq!(written(EntryKind::Whiteout), written(EntryKind::File { size: 0 }));
    }
}

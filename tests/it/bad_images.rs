//! Bad images are refused with one clear error, whatever is wrong with them, and leave nothing behind.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use imgforge::failure::Hinted;
use imgforge::oci::Architecture;
use imgforge::source::{self, SourceError};
use imgforge::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::layout::{Layout, Packing, Tar, blob_path, gzip, header};
use super::support::{self, sound_blobs};

const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Reads all of an image, as a build upon it does.
fn read(place: &str, store: &Store) -> Result<(), SourceError> {
    let image = support::open(place, Some(Architecture::Amd64))?;
    source::scan(&image, store, 2, &|_| ())?;
    image.fetch_into(store, &|_| ())
}

/// Holds what is refused to what every refusal owes: `said` all in its message, a hint, and a store that is sound, has
/// no record of the layer unless the layer is sound itself, and serves the next image.
#[track_caller]
fn check(transport: &str, write: impl FnOnce(&Path), said: &[&str]) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("image");
    write(&path);
    let root = directory.path().join("store");
    let store = Store::open(&root).unwrap();
    let error = read(&format!("{transport}:{}", path.display()), &store).unwrap_err();
    let message = message(&error);
    for said in said {
        assert!(message.contains(said), "`{said}` is not said: {message}");
    }
    let hint = error.hint().unwrap_or_default();
    assert!(hint.len() > 10, "no hint: {message}");
    assert!(sound_blobs(&root).is_empty(), "{message}");
    let is_of_another_config = matches!(error, SourceError::DiffId { .. });
    assert!(is_of_another_config || !root.join("records/layer-content").exists(), "{message}");

    let good = directory.path().join("good");
    image().write(&good);
    read(&format!("oci:{}", good.display()), &store).unwrap();
    sound_blobs(&root);
}

fn message(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

fn image() -> Layout {
    Layout::new().layer(Tar::new().file("etc/hostname", "test\n"))
}

#[track_caller]
fn check_layout(image: Layout, said: &[&str]) {
    check("oci", |path| image.write(path), said);
}

/// Checks the refusal of an image whose only layer is `tar`.
#[track_caller]
fn check_tar(tar: &[u8], said: &[&str]) {
    for packing in [Packing::Gzip, Packing::Plain, Packing::ZstdFrames] {
        check_layout(Layout::new().packed(tar, packing), said);
    }
}

/// The path of the layer in the layout at `path` of [`image`].
fn layer_path(path: &Path) -> PathBuf {
    let tar = Tar::new().file("etc/hostname", "test\n").finish();
    path.join(blob_path(&gzip(&tar)))
}

#[test]
fn what_is_no_image_is_told_from_one() {
    let text = |path: &Path| fs::write(path, "hello\n".repeat(200)).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    let nothing = |_: &Path| {};
    for transport in ["oci", "oci-archive", "docker-archive"] {
        check(transport, nothing, &["could not read", "image`", "No such file"]);
    }
    for transport in ["oci-archive", "docker-archive"] {
        check(transport, text, &["is not an image archive", "the header at byte 0 has a wrong checksum"]);
        check(transport, directory, &["could not read", "directory"]);
        check(transport, |path| fs::write(path, "short").unwrap(), &["is not an image archive"]);
        check(transport, |path| fs::write(path, "").unwrap(), &["has no `"]);
        check(transport, |path| fs::write(path, gzip(b"x")).unwrap(), &["is compressed"]);
    }
    check("oci", text, &["is not an OCI layout: it has no `oci-layout`"]);
    check("oci", directory, &["is not an OCI layout: it has no `oci-layout`"]);
    check("oci-archive", |path| drop(image().write_docker_archive(path)), &["has no `index.json`"]);
    check("docker-archive", |path| image().write_oci_archive(path), &["has no `manifest.json`"]);
}

#[test]
fn documents_that_are_not_json_or_not_what_they_should_be_are_named() {
    let index = |text: &'static str| {
        move |path: &Path| {
            image().write(path);
            fs::write(path.join("index.json"), text).unwrap();
        }
    };
    check("oci", index("{"), &["the index of", "EOF"]);
    check("oci", index("7"), &["the index of", "invalid type"]);
    let large = |path: &Path| {
        image().write(path);
        fs::write(path.join("index.json"), " ".repeat(9 << 20)).unwrap();
    };
    check("oci", large, &["the index of", "has more than 8388608 bytes"]);
    check("oci", index(r#"{"schemaVersion": 2, "manifests": []}"#), &["has no image"]);
    check_layout(
        image().with(|image| image.config = json!({"os": "linux"})),
        &["the config of", "architecture"],
    );
    check_layout(image().with(|image| image.manifest["layers"] = json!("none")), &["the manifest of"]);
    check_layout(
        image().with(|image| image.config["rootfs"]["diff_ids"] = json!([])),
        &["has 1 layers, and its config tells of 0"],
    );
    check(
        "docker-archive",
        |path| fs::write(path, Tar::new().file("manifest.json", "[{}]").finish()).unwrap(),
        &["`manifest.json` of", "Config"],
    );
    let layers = json!([{"Config": "none.json", "RepoTags": [], "Layers": []}]).to_string();
    check(
        "docker-archive",
        |path| fs::write(path, Tar::new().file("manifest.json", layers).finish()).unwrap(),
        &["lacks the file `none.json`"],
    );
}

#[test]
fn blobs_that_are_missing_or_changed_are_named() {
    let spoil = |spoil: fn(&Path)| {
        move |path: &Path| {
            image().write(path);
            spoil(&layer_path(path));
        }
    };
    check("oci", spoil(|layer| fs::remove_file(layer).unwrap()), &["lacks the blob sha256:"]);
    check(
        "oci",
        spoil(|layer| fs::OpenOptions::new().write(true).open(layer).unwrap().set_len(20).unwrap()),
        &["should have", "bytes, and has 20"],
    );
    let flip = |layer: &Path| {
        let mut bytes = fs::read(layer).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(layer, bytes).unwrap();
    };
    check("oci", spoil(flip), &["is damaged: its digest is sha256:"]);
    check_layout(
        image().with(|image| image.manifest["layers"][0]["size"] = json!(10)),
        &["should have 10 bytes"],
    );
    check_layout(
        image().with(|image| image.config["rootfs"]["diff_ids"] = json!([format!("sha256:{:064}", 0)])),
        &["has the diff_id sha256:", "and the config says sha256:0000"],
    );
    let digest = "sha512:ab";
    check_layout(
        image().with(|image| image.manifest["layers"][0]["digest"] = json!(digest)),
        &["by the digest `sha512:ab`; only sha256 is supported"],
    );
}

#[test]
fn a_docker_archive_that_was_changed_is_refused() {
    let spoil = |from: &'static str, to: &'static str| {
        move |path: &Path| {
            let bytes = image().write_docker_archive(path);
            let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            fs::write(path, [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()).unwrap();
        }
    };
    check("docker-archive", spoil("test\n", "TEST\n"), &["is damaged: its digest is sha256:"]);
    check("docker-archive", spoil("a test", "A test"), &["is damaged: its digest is sha256:"]);
    let cut = |path: &Path| {
        let bytes = image().write_docker_archive(path);
        fs::write(path, &bytes[..bytes.len() - 1500]).unwrap();
    };
    check("docker-archive", cut, &["is not an image archive: it ends within `manifest.json`"]);
}

#[test]
fn media_types_that_cannot_be_built_upon_are_named() {
    let layer =
        |media_type: &str| image().with(|image| image.manifest["layers"][0]["mediaType"] = json!(media_type));
    for foreign in [
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        check_layout(layer(foreign), &["a layer that may not be distributed with it", foreign]);
    }
    for encrypted in [&format!("{GZIP}+encrypted"), "application/vnd.oci.image.layer.v1.tar+encrypted"] {
        check_layout(layer(encrypted), &["has an encrypted layer", encrypted]);
    }
    check_layout(
        layer("application/x-squashfs"),
        &["a layer of the unknown media type `application/x-squashfs`"],
    );
    let chart = "application/vnd.cncf.helm.config.v1+json";
    check_layout(
        image().with(|image| image.manifest["config"]["mediaType"] = json!(chart)),
        &["a config of the unknown media type", chart],
    );
    let signed = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    check_layout(
        image().with(|image| image.manifest["mediaType"] = json!(signed)),
        &["a manifest of the unknown media type", signed],
    );
}

#[test]
fn an_image_of_another_architecture_or_system_is_refused() {
    for (key, value, found) in [("architecture", "arm64", "linux/arm64"), ("os", "windows", "windows/amd64")]
    {
        check_layout(
            image().with(|image| image.config[key] = json!(value)),
            &[&format!("is an image for {found}, not for linux/amd64")],
        );
    }
}

#[test]
fn paths_and_links_cannot_leave_a_layer() {
    for path in ["../evil", "usr/../../evil", "/../evil", "a/./../../etc/passwd"] {
        check_tar(&Tar::new().file(path, "evil").finish(), &[path, "a path that leaves the layer"]);
        let link = Tar::new().hardlink("usr/lib/libc.so.6", path);
        check_tar(&link.finish(), &["usr/lib/libc.so.6", "a hard link that leaves the layer"]);
    }
    let nul = Tar::new().pax(&[("path", "etc/passwd\0x")]).file("x", "");
    check_tar(&nul.finish(), &["a path with a NUL in it"]);
}

#[test]
fn sparse_files_that_would_have_to_be_read_are_refused() {
    let library = "usr/lib/x86_64-linux-gnu/libcudnn.so.9";
    let said = [library, "a sparse file"];
    check_tar(&Tar::new().entry(b'S', library.as_bytes(), b"", b"x").finish(), &said);
    let version = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0")];
    let named = [("GNU.sparse.name", library), ("GNU.sparse.realsize", "99999999999999")];
    let pax = Tar::new().pax(&[version, named].concat()).file("GNUSparseFile.0/x", "1\n0\n0\n");
    check_tar(&pax.finish(), &said);
    let old = Tar::new().pax(&[("GNU.sparse.size", "512"), ("GNU.sparse.numblocks", "0")]);
    check_tar(&old.file(library, "").finish(), &said);
}

#[test]
fn archives_that_lie_or_end_early_are_refused() {
    let large =
        |size: u64, content: &str| Tar::new().content(header(b'0', b"file", b"", size), content.as_bytes());
    let whole = Tar::new().file("file", "content").finish();
    let pax = |text: &str| Tar::new().entry(b'x', b"pax", b"", text.as_bytes()).file("x", "").finish();
    let huge = "x".repeat(2 << 20);
    for (tar, said) in [
        (large(1 << 40, "content").finish(), "it ends within `file`"),
        (large(u64::MAX >> 1, "content").finish(), "has no size that a file can have"),
        (large(u64::MAX, "content").finish(), "has no size that a file can have"),
        (whole[..515].to_vec(), "it ends within `file`"),
        (whole[..100].to_vec(), "it ends within a header"),
        ([&whole[..1024], &[1; 512]].concat(), "the header at byte 1024 has a wrong checksum"),
        ([&whole[..1024], &[0; 512], &whole[..512]].concat(), "follows a block of zeros"),
        (pax("nonsense"), "is not made of PAX records"),
        (pax("99 path=x\n"), "is not made of PAX records"),
        (pax("13 size=-100\n"), "has no size that a file can have"),
        (pax("11 path=x\n\n")[..1024].to_vec(), "it ends within a header"),
        (Tar::new().file(&huge, "").finish(), "more than 1048576 are not read"),
        (Tar::new().pax(&[("comment", &huge)]).file("x", "").finish(), "more than 1048576 are not read"),
        (b"no tar at all".repeat(100), "has a wrong checksum"),
    ] {
        check_tar(&tar, &["the layer sha256:", "it is not a sound tar", said]);
    }
}

#[test]
fn compressed_streams_that_are_damaged_are_refused() {
    let tar = Tar::new().file("file", "content".repeat(5000)).finish();
    let packed = gzip(&tar);
    let cut = packed[..packed.len() - 9].to_vec();
    let zstd = Packing::Zstd.pack(&tar);
    for blob in [
        cut,
        [&packed[..], b"garbage after the end"].concat(),
        [&packed[..40], &packed[60..]].concat(),
        zstd[..zstd.len() - 5].to_vec(),
        [&zstd[..], b"garbage after the end"].concat(),
    ] {
        check_layout(
            Layout::new().blob(GZIP, &tar, blob),
            &["the layer sha256:", "it cannot be decompressed"],
        );
    }
}

#[test]
fn a_bad_layer_among_good_ones_keeps_what_was_learned_of_those() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("image");
    let bad = Tar::new().file("../evil", "").finish();
    Layout::new().layer(Tar::new().file("good", "good")).packed(&bad, Packing::Gzip).write(&path);
    let root = directory.path().join("store");
    let store = Store::open(&root).unwrap();
    let error = read(&format!("oci:{}", path.display()), &store).unwrap_err();
    assert!(message(&error).contains("a path that leaves the layer"), "{error}");
    for record in fs::read_dir(root.join("records/layer-content")).into_iter().flatten() {
        let record: Value = serde_json::from_slice(&fs::read(record.unwrap().path()).unwrap()).unwrap();
        assert_eq!(record["unpacked"], 4);
    }
}

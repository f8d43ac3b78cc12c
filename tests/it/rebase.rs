//! An image's own layers go over another base, unless something would be decided anew.

use serde_json::Value;

use crate::support::elf::library;
use crate::support::image::Image;
use crate::support::layout::{Layout, Tar};
use crate::support::registry::Registry;
use crate::support::{Outcome, World};

const SYSTEM: &str = "usr/lib/x86_64-linux-gnu";

/// Debian 12 with Python 3.11 and what `change` adds.
fn base(change: impl FnOnce(Tar) -> Tar) -> Layout {
    let system = Tar::debian("").file("etc/motd", "old\n").file("etc/group", "root:x:0:\n");
    Layout::new().layer(change(system))
}

/// A world with an image over a base.
fn world() -> World {
    let world = World::new();
    base(|tar| tar).write(&world.path("base"));
    world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [wholesome]\n");
    world.build().check_success();
    world
}

/// Puts the image over a base that differs by `change`.
fn rebase(world: &World, change: impl FnOnce(Tar) -> Tar) -> Outcome {
    let _ = std::fs::remove_dir_all(world.path("newer"));
    base(change).write(&world.path("newer"));
    world.run(&["rebase", "oci:image", "--base", "oci:newer", "-o", "oci:moved"])
}

#[test]
fn an_images_own_layers_lie_over_the_new_base_and_the_loader_finds_what_that_has() {
    let world = world();
    let newer = |tar: Tar| {
        tar.file("etc/motd", "new\n").file(&format!("{SYSTEM}/libnew.so.1"), library("libnew.so.1", b""))
    };
    rebase(&world, newer).check_success();
    let (before, after) = (Image::read(&world.path("image")), Image::read(&world.path("moved")));
    assert_eq!((before.text("etc/motd"), after.text("etc/motd")), ("old\n", "new\n"));
    let module = "usr/local/lib/python3.11/dist-packages/wholesome.py";
    assert_eq!(before.text(module), after.text(module));
    let has_library = |image: &Image| {
        let cache = &image.file("etc/ld.so.cache").content;
        cache.windows(11).any(|bytes| bytes == b"libnew.so.1")
    };
    assert!(!has_library(&before) && has_library(&after));
    let digests = |image: &Image| -> Vec<String> {
        let layers = image.manifest["layers"].as_array().unwrap().iter();
        layers.map(|layer| layer["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (old, new) = (digests(&before), digests(&after));
    assert_eq!(old[1..], new[1..old.len()], "the own layers are the same blobs");
    let base = &after.manifest["annotations"]["org.opencontainers.image.base.digest"];
    assert!(base.as_str().is_some_and(|digest| digest.starts_with("sha256:")), "{}", after.manifest);
    // Again, over the first base: it is the image that was there, but for the name of its base.
    let back = world.run(&["rebase", "oci:moved", "--base", "oci:base", "-o", "oci:back"]);
    back.check_success();
    assert_eq!(digests(&Image::read(&world.path("back"))), old);
}

#[test]
fn what_would_be_decided_anew_is_refused() {
    let world = world();
    let check = |change: &dyn Fn(Tar) -> Tar, said: &str| {
        let outcome = rebase(&world, change);
        outcome.check_failure(1, &["cannot be put over", said]);
        assert!(!world.path("moved").exists(), "something was published");
    };
    let info = "Metadata-Version: 2.1\nName: six\nVersion: 1.0\n";
    check(
        &|tar| tar.file("usr/lib/python3/dist-packages/six-1.0.dist-info/METADATA", info),
        "`six` would be decided anew: the base has none, the new one has 1.0",
    );
    check(
        &|tar| tar.file(&format!("{SYSTEM}/libnccl.so.2.19.3"), library("libnccl.so.2", b"")),
        "nccl would be decided anew: the base has none",
    );
    let foreign = world.run(&["rebase", "oci:base", "--base", "oci:newer", "-o", "oci:moved"]);
    foreign.check_failure(1, &["its history", "images that `imgforge build` made"]);
}

#[test]
fn users_are_made_of_the_accounts_of_their_base() {
    let world = world();
    world.write(
        "recipe.yaml",
        "name: demo\nbase: oci:base\npackages: [wholesome]\nusers: [{name: app, uid: 1234}]\n",
    );
    world.build().check_success();
    rebase(&world, |tar| tar.file("etc/motd", "new\n")).check_success();
    let more = "root:x:0:0::/root:/bin/sh\nmore:x:1:1::/:/bin/sh\n";
    let outcome = rebase(&world, |tar| tar.file("etc/passwd", more));
    outcome.check_failure(1, &["its users were made from `/etc/passwd`"]);
}

#[test]
fn in_a_registry_only_the_new_base_and_documents_are_sent() {
    let world = world();
    let registry = Registry::start();
    let (image, newer) = (registry.place("team/app:v1"), registry.place("team/newer:v1"));
    world.run(&["copy", "oci:image", &image]).check_success();
    base(|tar| tar.file("etc/motd", "new\n")).write(&world.path("newer"));
    world.run(&["copy", "oci:newer", &newer]).check_success();
    registry.take_calls();
    let place = registry.place("team/app:v2");
    let digest = world.run(&["rebase", &image, "--base", &newer, "-o", &place]).check_success();
    let calls = registry.take_calls();
    let sent = calls.iter().filter(|call| call.method == "PUT" && call.path.contains("/uploads/")).count();
    assert!(sent <= 2, "the config, and perhaps the loader's cache: {sent} blobs were sent");
    let content = registry.content();
    let (_, manifest) = &content.manifests[&("team/app".to_owned(), digest.to_string())];
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let name = &manifest["annotations"]["org.opencontainers.image.base.name"];
    assert_eq!(name, newer.strip_prefix("docker://").unwrap_or(&newer));
}

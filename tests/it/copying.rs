//! An image is copied with all that its tag names and what goes with it, as it is.

use std::collections::BTreeSet;
use std::fs;

use imgforge::attest::{referrers_tag, signature_tag};
use imgforge::oci::Digest;
use serde_json::json;

use crate::signatures::keys;
use crate::support::layout::{Layout, Tar};
use crate::support::registry::Registry;
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A registry with the signed images of two platforms and their bills of materials.
fn published() -> (World, Registry, Digest) {
    let mut world = World::new();
    world.archive.architectures = &["amd64", "arm64"];
    world.serve_archive();
    for tag in ["cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-manylinux_2_17_aarch64"] {
        world.publish(Wheel::new("native", "1.0").tag(tag).file("native/machine.txt", tag));
    }
    world.recipe("platforms: [linux/amd64, linux/arm64]\npackages: [native]\n");
    world.write("key.pem", keys::PLAIN);
    world.write("key.pub", keys::PLAIN_PUBLIC);
    let registry = Registry::start();
    registry.content().keeps_referrers = true;
    let place = registry.place("team/app:v1");
    let options = ["--sbom", "spdx-json", "--sign-by", "key.pem"];
    let digest = world.run(&[&["build", "recipe.yaml", "-o", &place], &options[..]].concat()).check_success();
    (world, registry, digest)
}

/// A copy by a machine that knows nothing yet.
fn copy(world: &World, store: &str, from: &str, to: &str) -> Outcome {
    let mut command = world.command(&["copy", "--all", from, to]);
    run(command.env("IMGFORGE_CACHE_DIR", world.path(store)))
}

/// The digests of a repository's manifests, and of its blobs.
fn digests(registry: &Registry, repository: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let content = registry.content();
    let manifests = content.manifests.keys().filter(|(at, name)| at == repository && name.contains(':'));
    let blobs = content.blobs.keys().filter(|(at, _)| at == repository);
    (manifests.map(|(_, it)| it.clone()).collect(), blobs.map(|(_, it)| it.clone()).collect())
}

fn sent(registry: &Registry) -> Vec<String> {
    let calls = registry.take_calls().into_iter().filter(|call| !matches!(&*call.method, "GET" | "HEAD"));
    calls.map(|call| format!("{} {}", call.method, call.path)).collect()
}

#[test]
fn a_copy_of_everything_has_every_platform_and_what_goes_with_it() {
    let (world, from, digest) = published();
    let to = Registry::start();
    to.content().keeps_referrers = true;
    let (source, target) = (from.place("team/app:v1"), to.place("mirror/app:v1"));
    assert_eq!(copy(&world, "first", &source, &target).check_success(), digest);
    let (manifests, blobs) = digests(&from, "team/app");
    assert_eq!(digests(&to, "mirror/app"), (manifests.clone(), blobs));
    // The index and its signature, and two images, each with a bill, the signed bill and a signature.
    assert_eq!(manifests.len(), 10);
    world.run(&["verify", &target, "--key", "key.pub"]).check_success();
    to.take_calls();
    assert_eq!(copy(&world, "first", &source, &target).check_success(), digest);
    assert_eq!(sent(&to), [""; 0], "something was sent again");
}

#[test]
fn it_goes_through_layouts_and_archives_and_comes_out_as_it_went_in() {
    let (world, from, digest) = published();
    let to = Registry::start();
    let (source, target) = (from.place("team/app:v1"), to.place("mirror/app:v1"));
    let ways = [
        (&*source, "oci:layout:v1"),
        ("oci:layout:v1", "oci-archive:whole.tar:v1"),
        ("oci-archive:whole.tar:v1", "oci:other:v2"),
        ("oci:other:v2", &target),
    ];
    for (at, (from, to)) in ways.into_iter().enumerate() {
        assert_eq!(copy(&world, &format!("store-{at}"), from, to).check_success(), digest, "{from} {to}");
        if to.starts_with("oci:") {
            world.run(&["verify", to, "--key", "key.pub"]).check_success();
        }
    }
    world.run(&["verify", &target, "--key", "key.pub"]).check_success();
    // This registry keeps no referrers: their lists are manifests of its own.
    let (mut manifests, blobs) = digests(&to, "mirror/app");
    let tags: BTreeSet<String> = to.content().tags("mirror/app").into_iter().collect();
    let (expected, expected_blobs) = digests(&from, "team/app");
    let lists: BTreeSet<String> =
        tags.iter().filter(|tag| tag.starts_with("sha256-") && !tag.contains('.')).cloned().collect();
    assert_eq!(lists.len(), 2, "{tags:?}");
    manifests.retain(|it| expected.contains(it));
    assert_eq!((manifests, blobs), (expected, expected_blobs));
    assert!(tags.contains(&signature_tag(&digest)) && tags.contains("v1"));
    // What is there is neither fetched nor written again.
    from.take_calls();
    copy(&world, "store-0", &source, "oci:layout:v1").check_success();
    let fetched: Vec<String> = from.take_requests().into_iter().filter(|it| it.contains("/blobs/")).collect();
    assert_eq!(fetched, [""; 0]);
}

/// An index over an image of Linux, one of Windows with a layer that nobody may give, and an attestation; its digest.
fn odd(registry: &Registry) -> Digest {
    let linux = Layout::new().layer(Tar::new().file("etc/motd", "hello"));
    let image = registry.add("odd", "linux", &linux);
    let mut content = registry.content();
    let blob = |content: &mut crate::support::registry::Content, bytes: &[u8], kind: &str| {
        let digest = Digest::of(bytes);
        content.blobs.insert(("odd".to_owned(), digest.to_string()), bytes.to_vec());
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let config = blob(&mut content, b"{}", "application/vnd.oci.image.config.v1+json");
    let own = blob(&mut content, b"a layer of Windows", "application/vnd.oci.image.layer.v1.tar+gzip");
    let statement = blob(&mut content, b"a statement", "application/vnd.in-toto+json");
    let foreign = json!({
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": Digest::of("elsewhere"), "size": 9, "urls": ["https://elsewhere.test/layer"],
    });
    let mut manifest = |layers: serde_json::Value| {
        let bytes = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers})
            .to_string();
        content.put_manifest("odd", &Digest::of(&bytes).to_string(), MANIFEST, bytes.clone().into_bytes());
        json!({"mediaType": MANIFEST, "digest": Digest::of(&bytes), "size": bytes.len()})
    };
    let (mut windows, mut statements) = (manifest(json!([foreign, own])), manifest(json!([statement])));
    windows["platform"] = json!({"os": "windows", "architecture": "amd64", "os.version": "10.0.1"});
    statements["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    let size = content.manifests[&("odd".to_owned(), image.to_string())].1.len();
    let linux = json!({"mediaType": MANIFEST, "digest": image, "size": size, "platform": {"os": "linux", "architecture": "amd64"}});
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [linux, windows, statements], "x": 1})
            .to_string();
    let digest = Digest::of(&index);
    content.put_manifest("odd", "v1", INDEX, index.into_bytes());
    digest
}

#[test]
fn what_is_no_image_of_linux_is_copied_as_it_is() {
    let world = World::new();
    let (from, to) = (Registry::start(), Registry::start());
    let digest = odd(&from);
    let (source, target) = (from.place("odd:v1"), to.place("odd:v1"));
    assert_eq!(copy(&world, "store", &source, "oci:odd:v1").check_success(), digest);
    assert_eq!(copy(&world, "other", "oci:odd:v1", &target).check_success(), digest);
    assert_eq!(digests(&to, "odd"), digests(&from, "odd"));
    assert!(!to.content().tags("odd").contains(&referrers_tag(&digest)));
}

#[test]
fn a_place_for_one_image_says_so_before_anything_is_read() {
    let world = World::new();
    for place in ["docker-archive:x.tar", "podman:app"] {
        let outcome = world.run(&["copy", "--all", "oci:nowhere", place]);
        world.check_failure(&outcome, 1, &["holds one image", "hint: copy it without `--all`"]);
    }
    let outcome = world.run(&["copy", "--all", "--sbom", "spdx-json", "oci:nowhere", "oci:x"]);
    assert_eq!(outcome.code, 2, "{outcome}");
    assert!(!fs::exists(world.path("x.tar")).unwrap());
}

#[test]
fn a_copy_that_a_registry_interrupts_leaves_no_tag() {
    let (world, from, digest) = published();
    let to = Registry::twisted(|call, content| {
        let is_last = call.method == "PUT" && call.path.ends_with(".sig");
        (is_last && content.manifests.len() < 100)
            .then(|| crate::support::registry::Reply::error(403, "DENIED"))
    });
    let outcome = copy(&world, "store", &from.place("team/app:v1"), &to.place("app:v1"));
    world.check_failure(&outcome, 1, &["hint: "]);
    assert!(!to.content().tags("app").contains(&"v1".to_owned()));
    assert_eq!(copy(&world, "store", &from.place("team/app:v1"), "oci:whole").check_success(), digest);
}

#[test]
fn the_place_of_an_image_is_told_when_its_layers_are_read() {
    let world = World::new();
    let registry = Registry::start();
    registry.add("app", "v1", &Layout::new().layer(Tar::debian("")));
    let place = registry.place("app:v1");
    let told = |arguments: &[&str]| {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, 0, "{outcome}");
        // The last line, with the times of slow stages, names it again.
        outcome.stderr.lines().filter(|line| line.starts_with(&format!("reading {place}"))).count()
    };
    assert_eq!(told(&["check", &place]), 1);
    assert_eq!(told(&["check", &place]), 0, "everything of it is known");
    assert_eq!(told(&["copy", &place, "oci:copied", "oci:again"]), 1);
}

//! An image is verified by the key that signed it, and by nothing else.

use std::fs;

use imgforge::attest::{attestation_tag, signature_tag};
use imgforge::oci::Digest;
use serde_json::Value;

use crate::support::registry::Registry;
use crate::support::{Outcome, World};

#[path = "../../src/attest/key/samples.rs"]
#[allow(dead_code, reason = "the crate's own tests use more of them")]
pub mod keys;

/// A world with an image in a layout, and keys.
fn world() -> (World, Digest) {
    let world = World::new();
    world.recipe("packages: [wholesome]\n");
    let digest = world.build().check_success();
    world.write("key.pem", keys::PLAIN);
    world.write("key.pub", keys::PLAIN_PUBLIC);
    world.write("cosign.key", keys::ENCRYPTED);
    world.write("cosign.pub", keys::ENCRYPTED_PUBLIC);
    (world, digest)
}

fn copy(world: &World, to: &str, key: &str) -> Outcome {
    world.run(&["copy", "oci:image", to, "--sign-by", key])
}

fn verify(world: &World, place: &str, key: &str) -> Outcome {
    world.run(&["verify", place, "--key", key])
}

#[test]
fn what_a_key_signed_it_verifies_in_registries_and_layouts() {
    let (world, digest) = world();
    let registry = Registry::start();
    for place in [registry.place("team/app:v1"), "oci:signed".to_owned()] {
        copy(&world, &place, "key.pem").check_success();
        assert_eq!(verify(&world, &place, "key.pub").check_success(), digest);
        let other = verify(&world, &place, "cosign.pub");
        other.check_failure(1, &["is not verified", "none of the 1 signature(s)", "is the key's"]);
    }
    // One tag more is no other image, and another image none more.
    let by_digest = format!("{}@{digest}", registry.place("team/app"));
    verify(&world, &by_digest, "key.pub").check_success();
    // Beside what goes with it, the image is the only one that can be meant.
    assert_eq!(world.run(&["copy", "oci:signed", "oci:again"]).check_success(), digest);
}

#[test]
fn signing_again_changes_nothing_and_another_key_adds_one() {
    let (world, digest) = world();
    let registry = Registry::start();
    let place = registry.place("team/app:v1");
    copy(&world, &place, "key.pem").check_success();
    registry.take_calls();
    copy(&world, &place, "key.pem").check_success();
    let sent = registry.take_calls().into_iter().filter(|call| call.method == "PUT").count();
    assert_eq!(sent, 0, "the same signature was sent again");
    let mut command = world.command(&["copy", "oci:image", &place, "--sign-by", "env://KEY"]);
    command.env("KEY", keys::ENCRYPTED).env("COSIGN_PASSWORD", "tester");
    crate::support::run(&mut command).check_success();
    for key in ["key.pub", "cosign.pub"] {
        assert_eq!(verify(&world, &place, key).check_success(), digest);
    }
}

#[test]
fn an_image_that_was_built_is_signed_where_it_is_pushed() {
    let (world, digest) = world();
    let registry = Registry::start();
    let place = registry.place("team/app:v1");
    let built = world.run(&["build", "recipe.yaml", "-o", &place, "--sign-by", "key.pem"]);
    assert_eq!(built.check_success(), digest);
    verify(&world, &place, "key.pub").check_success();
    let content = registry.content();
    let (_, manifest) = &content.manifests[&("team/app".to_owned(), signature_tag(&digest))];
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
    let payload = &content.blobs[&("team/app".to_owned(), layer["digest"].as_str().unwrap().to_owned())];
    let payload: Value = serde_json::from_slice(payload).unwrap();
    let expected = format!("{}/team/app", registry.host());
    assert_eq!(payload["critical"]["identity"]["docker-reference"], expected);
    assert_eq!(payload["critical"]["image"]["docker-manifest-digest"], digest.to_string());
}

#[test]
fn what_is_attached_is_signed_as_well() {
    let (world, digest) = world();
    let registry = Registry::start();
    let place = registry.place("team/app:v1");
    let options = ["--sbom", "spdx-json", "--provenance", "--sign-by", "key.pem"];
    for _ in 0..2 {
        world.run(&[&["build", "recipe.yaml", "-o", &place][..], &options].concat()).check_success();
    }
    let content = registry.content();
    let (_, manifest) = &content.manifests[&("team/app".to_owned(), attestation_tag(&digest))];
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layers = manifest["layers"].as_array().unwrap().iter();
    let predicates: Vec<&str> =
        layers.map(|layer| layer["annotations"]["predicateType"].as_str().unwrap()).collect();
    assert_eq!(predicates, ["https://spdx.dev/Document", "https://slsa.dev/provenance/v1"]);
}

#[test]
fn an_unsigned_image_and_a_moved_tag_are_told() {
    let (world, digest) = world();
    let registry = Registry::start();
    let place = registry.place("team/app:v1");
    world.run(&["copy", "oci:image", &place]).check_success();
    let unsigned = verify(&world, &place, "key.pub");
    unsigned.check_failure(1, &[&format!("{digest} is not signed"), "--sign-by"]);
    copy(&world, &place, "key.pem").check_success();
    world.recipe("packages: []\n");
    let other = world.run(&["build", "recipe.yaml", "-o", &place]).check_success();
    verify(&world, &place, "key.pub").check_failure(1, &[&format!("{other} is not signed")]);
    // The signature of one image under the tag of another's.
    {
        let mut content = registry.content();
        let key = |digest: &Digest| ("team/app".to_owned(), signature_tag(digest));
        let moved = content.manifests[&key(&digest)].clone();
        content.manifests.insert(key(&other), moved);
    }
    verify(&world, &place, "key.pub").check_failure(1, &["the key signed", "and this is"]);
}

#[test]
fn a_flipped_bit_anywhere_fails() {
    let (world, digest) = world();
    copy(&world, "oci:signed", "key.pem").check_success();
    let index: Value = serde_json::from_slice(&fs::read(world.path("signed/index.json")).unwrap()).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let signature = manifests.iter().find(|entry| entry["digest"] != digest.to_string()).unwrap();
    let blob = |digest: &Value| {
        world.path("signed/blobs/sha256").join(digest.as_str().unwrap().replace("sha256:", ""))
    };
    let manifest = blob(&signature["digest"]);
    let text: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let payload = blob(&text["layers"][0]["digest"]);
    let image = blob(&digest.to_string().into());
    verify(&world, "oci:signed", "key.pub").check_success();
    for (file, said) in [(payload, "was changed"), (manifest, "is damaged"), (image, "is damaged")] {
        let sound = fs::read(&file).unwrap();
        for at in [0, sound.len() / 3, sound.len() / 2, sound.len() - 1] {
            let mut flipped = sound.clone();
            flipped[at] ^= 1;
            fs::remove_file(&file).unwrap();
            fs::write(&file, flipped).unwrap();
            verify(&world, "oci:signed", "key.pub").check_failure(1, &[said]);
        }
        fs::write(&file, sound).unwrap();
    }
    verify(&world, "oci:signed", "key.pub").check_success();
}

#[test]
fn no_key_and_no_password_is_shown_anywhere() {
    let (world, _) = world();
    let secret = keys::PLAIN.lines().nth(1).unwrap();
    let check = |outcome: &Outcome, code: i32, said: &[&str]| {
        outcome.check_failure(code, said);
        assert!(!outcome.stderr.contains(secret) && !outcome.stderr.contains("hunter2"), "{outcome}");
    };
    check(&copy(&world, "oci:signed", "none.pem"), 1, &["could not read the key `none.pem`"]);
    check(&copy(&world, "oci:signed", keys::PLAIN), 2, &["the key itself is an argument", "env://NAME"]);
    check(&copy(&world, "oci:signed", "env://NOTHING"), 1, &["the variable is not set", "set NOTHING"]);
    check(&copy(&world, "oci:signed", "key.pub"), 2, &["a private key is needed"]);
    check(&copy(&world, "oci:signed", "cosign.key"), 2, &["COSIGN_PASSWORD is not set"]);
    let mut command = world.command(&["copy", "oci:image", "oci:signed", "--sign-by", "cosign.key"]);
    check(
        &crate::support::run(command.env("COSIGN_PASSWORD", "hunter2")),
        2,
        &["does not open with the password"],
    );
    check(&verify(&world, "oci:image", "key.pem"), 2, &["a public key is needed"]);
    check(&copy(&world, "oci-archive:signed.tar", "key.pem"), 1, &["takes an image alone"]);
    assert!(!world.path("signed").exists() && !world.path("signed.tar").exists());
}

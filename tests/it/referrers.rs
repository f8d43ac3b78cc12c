//! Bills of materials and provenance refer to their image, wherever registries list that.

use std::collections::BTreeSet;
use std::fs;

use imgforge::attest::referrers_tag;
use imgforge::oci::Digest;
use serde_json::{Value, json};

use crate::signatures::keys;
use crate::support::World;
use crate::support::registry::{Registry, Reply};

const OPTIONS: [&str; 5] = ["--sbom", "spdx-json", "--sbom", "cyclonedx-json", "--provenance"];

/// The types of what goes with an image that is built and pushed.
fn expected() -> BTreeSet<String> {
    ["application/spdx+json", "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"]
        .map(str::to_owned)
        .into()
}

fn build(world: &World, place: &str) -> Digest {
    world.run(&[&["build", "recipe.yaml", "-o", place], &OPTIONS[..]].concat()).check_success()
}

fn types(list: &Value) -> BTreeSet<String> {
    let entries = list["manifests"].as_array().unwrap().iter();
    entries.filter_map(|entry| Some(entry["artifactType"].as_str()?.to_owned())).collect()
}

fn world() -> World {
    let world = World::new();
    world.recipe("packages: [wholesome]\n");
    world
}

/// The document of a type that refers to the image of `digest`.
fn document(registry: &Registry, repository: &str, digest: &Digest, media_type: &str) -> Value {
    let content = registry.content();
    let manifests = content.manifests.iter().filter(|((of, _), _)| of == repository);
    let parsed = manifests.map(|(_, (_, bytes))| serde_json::from_slice::<Value>(bytes).unwrap());
    let is_wanted = |manifest: &Value| {
        manifest["artifactType"] == media_type && manifest["subject"]["digest"] == digest.to_string()
    };
    let manifest = parsed.into_iter().find(is_wanted).unwrap();
    let blob = manifest["layers"][0]["digest"].as_str().unwrap();
    serde_json::from_slice(&content.blobs[&(repository.to_owned(), blob.to_owned())]).unwrap()
}

#[test]
fn a_registry_that_keeps_referrers_lists_them() {
    let world = world();
    let registry = Registry::start();
    registry.content().keeps_referrers = true;
    let digest = build(&world, &registry.place("team/app:v1"));
    let tag = ("team/app".to_owned(), referrers_tag(&digest));
    assert!(!registry.content().manifests.contains_key(&tag), "a tag was made all the same");
    let statement = document(&registry, "team/app", &digest, "application/vnd.in-toto+json");
    assert_eq!(statement["subject"][0]["digest"]["sha256"], digest.hex());
    let materials = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
    let named =
        |name: &str| materials.iter().any(|it| it["name"] == name && it["digest"]["sha256"].is_string());
    assert!(named("wholesome-1.0-py3-none-any.whl") && named("python3"), "{materials:#?}");
    // What was installed has its hash, which the image alone does not tell.
    let spdx = document(&registry, "team/app", &digest, "application/spdx+json");
    let packages = spdx["packages"].as_array().unwrap();
    let wheel = packages.iter().find(|it| it["name"] == "wholesome").unwrap();
    assert_eq!(wheel["checksums"][0]["algorithm"], "SHA256");
}

#[test]
fn another_registry_gets_the_tag_of_the_specification() {
    let world = world();
    let registry = Registry::start();
    let digest = build(&world, &registry.place("team/app:v1"));
    let list = || {
        let content = registry.content();
        let (_, list) = &content.manifests[&("team/app".to_owned(), referrers_tag(&digest))];
        serde_json::from_slice::<Value>(list).unwrap()
    };
    assert_eq!(types(&list()), expected());
    let before = list();
    build(&world, &registry.place("team/app:v1"));
    assert_eq!(list(), before, "the same build attaches the same documents");
}

#[test]
fn what_others_list_at_the_same_time_stays() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let world = world();
    let writes = AtomicUsize::new(0);
    let other = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of("other"), "size": 5,
        "artifactType": "application/other",
    });
    let known = other.clone();
    // Twice, somebody who has read the list before imgforge wrote it writes it afterwards.
    let registry = Registry::twisted(move |call, content| {
        let is_list = |bytes: &[u8]| {
            serde_json::from_slice::<Value>(bytes).is_ok_and(|it| it.get("manifests").is_some())
        };
        if call.method != "PUT" || !is_list(&call.body) || writes.fetch_add(1, Ordering::Relaxed) > 1 {
            return None;
        }
        let reply: Reply = content.answer(call);
        let of_image = "application/vnd.oci.image.manifest.v1+json";
        content.put_manifest("team/app", "other", of_image, b"other".to_vec());
        let media_type = "application/vnd.oci.image.index.v1+json";
        let list = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": [known]});
        let tag = call.path.rsplit('/').next().unwrap();
        content.put_manifest("team/app", tag, media_type, list.to_string().into_bytes());
        Some(reply)
    });
    let digest = build(&world, &registry.place("team/app:v1"));
    let content = registry.content();
    let (_, list) = &content.manifests[&("team/app".to_owned(), referrers_tag(&digest))];
    let list: Value = serde_json::from_slice(list).unwrap();
    let mut wanted = expected();
    wanted.insert("application/other".to_owned());
    assert_eq!(types(&list), wanted);
    assert!(list["manifests"].as_array().unwrap().contains(&other));
}

#[test]
fn a_layout_lists_them_beside_its_image_until_the_image_goes() {
    let world = world();
    let digest = build(&world, "oci:out");
    let index = || {
        let index = fs::read(world.path("out/index.json")).unwrap();
        serde_json::from_slice::<Value>(&index).unwrap()
    };
    assert_eq!(types(&index()), expected());
    assert_eq!(world.run(&["copy", "oci:out", "oci:copied"]).check_success(), digest);
    world.recipe("packages: []\n");
    world.run(&["build", "recipe.yaml", "-o", "oci:out"]).check_success();
    assert_eq!(types(&index()), BTreeSet::new());
    let left = fs::read_dir(world.path("out/blobs/sha256")).unwrap().count();
    let alone = World::new();
    alone.write("recipe.yaml", fs::read(world.path("recipe.yaml")).unwrap());
    assert_eq!(index()["manifests"].as_array().unwrap().len(), 1);
    assert!(left < 10, "{left} blobs are left");
}

#[test]
fn a_registry_that_refuses_an_artifact_is_told_with_its_words() {
    let world = world();
    let registry = Registry::twisted(|call, _| {
        let is_artifact =
            call.method == "PUT" && String::from_utf8_lossy(&call.body).contains("artifactType");
        is_artifact.then(|| Reply::error(400, "MANIFEST_INVALID"))
    });
    let place = registry.place("team/app:v1");
    let outcome = world.run(&["build", "recipe.yaml", "-o", &place, "--sbom", "spdx-json"]);
    outcome.check_failure(1, &["MANIFEST_INVALID"]);
}

/// The JSON of a blob in a layout.
fn read(world: &World, digest: &Value) -> Value {
    let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
    serde_json::from_slice(&fs::read(world.path("image/blobs/sha256").join(hex)).unwrap()).unwrap()
}

#[test]
fn in_an_index_documents_are_a_manifest_beside_the_image() {
    let world = world();
    let alone = world.build().check_success();
    let told =
        world.run(&[&["build", "recipe.yaml", "-o", "oci:image", "--in-index"], &OPTIONS[..]].concat());
    let digest = told.check_success();
    assert!(told.stderr.contains(&format!("index      {digest}")), "{told}");
    let index = read(&world, &json!(digest));
    let [image, beside] = &index["manifests"].as_array().unwrap()[..] else { panic!("{index:#}") };
    assert_eq!(image["digest"], alone.to_string(), "the image is the one that it is without them");
    let annotations = json!({
        "vnd.docker.reference.digest": alone, "vnd.docker.reference.type": "attestation-manifest",
    });
    assert_eq!(beside["annotations"], annotations);
    assert_eq!(beside["platform"], json!({"os": "unknown", "architecture": "unknown"}));
    let manifest = read(&world, &beside["digest"]);
    let layers = manifest["layers"].as_array().unwrap();
    let predicates: Vec<&Value> =
        layers.iter().map(|layer| &layer["annotations"]["in-toto.io/predicate-type"]).collect();
    let expected =
        ["https://spdx.dev/Document", "https://cyclonedx.org/bom", "https://slsa.dev/provenance/v1"];
    assert_eq!(predicates, expected);
    for layer in layers {
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        let statement = read(&world, &layer["digest"]);
        assert_eq!(statement["subject"][0]["digest"]["sha256"], alone.hex());
        assert_eq!(statement["predicateType"], layer["annotations"]["in-toto.io/predicate-type"]);
    }
    let config = read(&world, &manifest["config"]["digest"]);
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["digest"]).collect();
    assert_eq!(config["rootfs"]["diff_ids"], json!(diff_ids));
    // What nothing names any more goes, and the image alone is the same as before.
    assert_eq!(world.build().check_success(), alone);
    let blob = beside["digest"].as_str().unwrap().replace("sha256:", "");
    assert!(!world.path("image/blobs/sha256").join(blob).exists());
}

#[test]
fn an_index_with_documents_is_signed_verified_copied_and_read_as_any_other() {
    let world = world();
    world.write("key.pem", keys::PLAIN);
    world.write("key.pub", keys::PLAIN_PUBLIC);
    let (from, to) = (Registry::start(), Registry::start());
    let (place, target) = (from.place("team/app:v1"), to.place("mirror/app:v1"));
    let options = ["--sbom", "spdx-json", "--provenance", "--in-index", "--sign-by", "key.pem"];
    let digest = world.run(&[&["build", "recipe.yaml", "-o", &place], &options[..]].concat()).check_success();
    let lists = from.content().tags("team/app").into_iter().filter(|tag| tag.starts_with("sha256-"));
    assert!(lists.into_iter().all(|tag| tag.contains('.')), "a list of referrers was made all the same");
    assert_eq!(world.run(&["verify", &place, "--key", "key.pub"]).check_success(), digest);
    for (from, to) in
        [(&*place, "oci:whole"), ("oci:whole", "oci-archive:whole.tar"), ("oci-archive:whole.tar", &target)]
    {
        assert_eq!(world.run(&["copy", "--all", from, to]).check_success(), digest, "{to}");
    }
    assert_eq!(world.run(&["verify", &target, "--key", "key.pub"]).check_success(), digest);
    let archive = ["build", "recipe.yaml", "-o", "oci-archive:alone.tar", "--provenance", "--in-index"];
    world.run(&archive).check_success();
    for place in [&*target, "oci:whole", "oci-archive:alone.tar"] {
        let checked = world.run(&["check", place]);
        assert_eq!(checked.code, 0, "{checked}");
    }
}

#[test]
fn an_index_is_refused_where_there_is_none_or_nothing_to_put_into_it() {
    let world = world();
    for place in ["docker-archive:x.tar", "podman:app"] {
        let outcome = world.run(&["build", "recipe.yaml", "-o", place, "--provenance", "--in-index"]);
        world.check_failure(&outcome, 1, &["takes an image alone"]);
    }
    let nothing = world.run(&["build", "recipe.yaml", "--in-index"]);
    world.check_failure(&nothing, 1, &["--in-index has nothing to put into an index", "--sbom FORMAT"]);
}

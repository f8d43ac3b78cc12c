//! Layers, facts and images in a registry's repository, which machines share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use imgforge::oci::Digest;
use serde_json::{Value, json};

use crate::support::layout::{Layout, Tar};
use crate::support::registry::{Call, Content, Registry, Reply};
use crate::support::{Outcome, World, run};

const CACHE: &str = "team/cache";

/// A world with a locked recipe: a base of packages, a wheel, files and the system's files.
fn world() -> World {
    let world = World::new();
    world.write("notes.txt", "notes\n");
    world.recipe("packages: [wholesome]\nfiles: [{from: notes.txt, to: /srv/notes.txt}]\n");
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    world
}

/// The same world, the image that it builds without a cache, and an empty store.
fn expecting() -> (World, Digest) {
    let world = world();
    let expected = world.build().check_success();
    forget(&world);
    (world, expected)
}

/// The same with a registry that answers by a twist, in whose cache everything is.
fn cached(
    twist: impl Fn(&Call, &mut Content) -> Option<Reply> + Send + Sync + 'static,
) -> (World, Registry, Digest) {
    let (world, expected) = expecting();
    let registry = Registry::twisted(twist);
    let built = push(&world, &registry, "team/first:v1", "--cache");
    assert_eq!(built.check_success(), expected, "{built}");
    forget(&world);
    registry.take_calls();
    world.server.take_requests();
    (world, registry, expected)
}

fn forget(world: &World) {
    fs::remove_dir_all(world.store()).unwrap();
}

/// Builds into the registry, with its cache under an option.
fn push(world: &World, registry: &Registry, name: &str, option: &str) -> Outcome {
    let (place, cache) = (registry.place(name), registry.place(CACHE));
    world.run(&["build", "recipe.yaml", "--locked", "-o", &place, option, &cache])
}

/// Builds into a layout, from the registry's cache.
fn pull(world: &World, registry: &Registry) -> Outcome {
    let cache = registry.place(CACHE);
    world.run(&["build", "recipe.yaml", "--locked", "-o", "oci:image", "--cache-from", &cache])
}

fn warnings(outcome: &Outcome) -> Vec<String> {
    let text = outcome.stderr.replace("\n  ", " ");
    text.lines().filter(|line| line.starts_with("warning")).map(str::to_owned).collect()
}

#[track_caller]
fn check_warned(outcome: &Outcome, said: &[&str]) {
    let warnings = warnings(outcome);
    assert_eq!(warnings.len(), said.len(), "{outcome}");
    for said in said {
        assert!(warnings.iter().any(|warning| warning.contains(said)), "`{said}` is not said:\n{outcome}");
    }
}

/// The digests of the layers and the config of an image.
fn parts(content: &Content, repository: &str, tag: &str) -> (BTreeSet<String>, String) {
    let (_, manifest) = &content.manifests[&(repository.to_owned(), tag.to_owned())];
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let digest = |part: &Value| part["digest"].as_str().unwrap().to_owned();
    (manifest["layers"].as_array().unwrap().iter().map(digest).collect(), digest(&manifest["config"]))
}

/// The requests of a method for blobs that are among `digests`.
fn blob_calls(calls: &[Call], method: &str, digests: &BTreeSet<String>) -> usize {
    let is_one = |call: &&Call| {
        let name = call.path.rsplit('/').next().unwrap_or_default();
        call.method == method && call.path.contains("/blobs/") && digests.contains(name)
    };
    calls.iter().filter(is_one).count()
}

/// The tags of a kind in the cache.
fn tags(content: &Content, kind: &str) -> Vec<String> {
    content.tags(CACHE).into_iter().filter(|tag| tag.starts_with(kind)).collect()
}

/// Changes the documents of the entry under `tag`.
fn change_entry(content: &mut Content, tag: &str, change: impl FnOnce(&mut Value, &mut Value)) {
    let (media_type, manifest) = content.manifests[&(CACHE.to_owned(), tag.to_owned())].clone();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let blob = |digest: &Value| (CACHE.to_owned(), digest.as_str().unwrap().to_owned());
    let mut config: Value =
        serde_json::from_slice(&content.blobs[&blob(&manifest["config"]["digest"])]).unwrap();
    change(&mut manifest, &mut config);
    let bytes = config.to_string().into_bytes();
    manifest["config"]["digest"] = json!(Digest::of(&bytes));
    manifest["config"]["size"] = json!(bytes.len());
    content.blobs.insert(blob(&manifest["config"]["digest"]), bytes);
    content.put_manifest(CACHE, tag, &media_type, manifest.to_string().into_bytes());
}

/// Leaves the entries of layers and of what is known of them: the finished image is asked for first.
fn without_images(registry: &Registry) {
    registry.content().manifests.retain(|(at, tag), _| at != CACHE || !tag.starts_with("i-"));
}

#[test]
fn an_empty_machine_mounts_everything_and_downloads_nothing() {
    let (world, registry, expected) = cached(|_, _| None);
    let built = push(&world, &registry, "team/second:v1", "--cache");
    assert_eq!(built.check_success(), expected, "{built}");
    check_warned(&built, &[]);
    let calls = registry.take_calls();
    let (layers, _) = parts(&registry.content(), "team/second", "v1");
    assert_eq!(blob_calls(&calls, "GET", &layers), 0, "a layer was downloaded");
    let mounts = calls.iter().filter(|call| call.query.contains_key("mount")).count();
    assert_eq!(mounts, layers.len());
    assert!(world.server.take_requests().is_empty(), "neither an index nor an archive is asked");
    // An unchanged build asks for its image, for the commands that were not followed, and for the report of the check.
    let of_cache = calls.iter().filter(|call| call.path.starts_with("/v2/team/cache/manifests/"));
    let asked: BTreeSet<&str> = of_cache.map(|call| call.path.rsplit('/').next().unwrap()).collect();
    let kinds: String = asked.iter().map(|tag| &tag[..1]).collect();
    assert_eq!(kinds, "ffi", "{asked:?}");
}

#[test]
fn layers_are_taken_where_the_image_is_another() {
    let (world, registry, _) = cached(|_, _| None);
    let annotate = |world: &World, arguments: &[&str]| {
        let common = ["build", "recipe.yaml", "--locked", "--annotation", "a=b", "-o"];
        world.run(&[&common[..], arguments].concat()).check_success()
    };
    let (place, cache) = (registry.place("team/third:v1"), registry.place(CACHE));
    let built = annotate(&world, &[&place, "--cache-from", &cache]);
    let (layers, _) = parts(&registry.content(), "team/third", "v1");
    assert_eq!(blob_calls(&registry.take_calls(), "GET", &layers), 0);
    assert!(world.server.take_requests().is_empty());
    forget(&world);
    assert_eq!(annotate(&world, &["oci:other"]), built);
}

#[test]
fn a_layer_that_is_missing_is_made_beside_those_that_are_not() {
    let (world, registry, _) = cached(|_, _| None);
    world.write("notes.txt", "other notes\n");
    let built = push(&world, &registry, "team/fourth:v1", "--cache");
    let digest = built.check_success();
    check_warned(&built, &[]);
    assert!(world.server.take_requests().is_empty(), "the wheel's layer is there");
    assert_eq!(tags(&registry.content(), "i-").len(), 2);
    forget(&world);
    assert_eq!(world.build().check_success(), digest);
}

#[test]
fn a_layout_gets_layers_that_were_read_and_the_store_has_them_from_then_on() {
    for with_image in [true, false] {
        let (world, registry, expected) = cached(|_, _| None);
        if !with_image {
            without_images(&registry);
        }
        let built = pull(&world, &registry);
        assert_eq!(built.check_success(), expected, "{built}");
        check_warned(&built, &[]);
        assert!(world.server.take_requests().is_empty());
        let calls = registry.take_calls();
        let facts = calls.iter().filter(|call| call.path.contains("/manifests/f-")).count();
        // The check's report, and the commands that were not followed: nothing of what layers hold.
        assert!(facts <= 2, "{facts}");
        assert_eq!(pull(&world, &registry).check_success(), expected);
        assert!(registry.take_calls().iter().all(|call| !call.path.contains("/manifests/")));
        world.sound_blobs();
    }
}

#[test]
fn a_registry_that_mounts_nothing_gets_the_blobs() {
    let refused: [fn(&Call) -> bool; 2] = [|_| true, |call| call.query.contains_key("from")];
    for (status, is_meant) in [(202, refused[0]), (405, refused[1]), (401, refused[1])] {
        let (world, registry, expected) = cached(move |call, content| {
            if !call.query.contains_key("mount") || !is_meant(call) || !call.path.contains("/fifth/") {
                return None;
            }
            if status == 202 {
                // Artifactory and ECR begin an upload.
                let plain = Call { query: BTreeMap::new(), ..call.clone() };
                return Some(content.answer(&plain));
            }
            Some(Reply::error(status, "UNSUPPORTED"))
        });
        let built = push(&world, &registry, "team/fifth:v1", "--cache-from");
        assert_eq!(built.check_success(), expected, "{status}: {built}");
        let (layers, _) = parts(&registry.content(), "team/fifth", "v1");
        let calls = registry.take_calls();
        assert_eq!(blob_calls(&calls, "GET", &layers), layers.len(), "each is brought once");
    }
}

#[test]
fn blobs_that_a_registry_shares_are_neither_mounted_nor_moved() {
    let (world, registry, expected) = cached(|call, content| {
        let digest = call.path.rsplit('/').next()?.to_owned();
        let is_there = content.blobs.get(&(CACHE.to_owned(), digest)).cloned();
        (call.method == "HEAD" && call.path.contains("/shared/blobs/")).then_some(())?;
        is_there.map(|blob| Reply::new(200).with("Content-Length", blob.len()))
    });
    // Artifactory shares a blob once a manifest refers to it: here all of them at once.
    let content_of_cache = {
        let content = registry.content();
        content
            .blobs
            .iter()
            .filter(|((at, _), _)| at == CACHE)
            .map(|(key, blob)| (key.1.clone(), blob.clone()))
            .collect::<Vec<_>>()
    };
    for (digest, blob) in content_of_cache {
        registry.content().blobs.insert(("team/shared".to_owned(), digest), blob);
    }
    assert_eq!(push(&world, &registry, "team/shared:v1", "--cache-from").check_success(), expected);
    let calls = registry.take_calls();
    let (layers, _) = parts(&registry.content(), "team/shared", "v1");
    assert_eq!(blob_calls(&calls, "GET", &layers), 0);
    assert_eq!(calls.iter().filter(|call| call.query.contains_key("mount")).count(), 0);
}

#[test]
fn a_cache_that_cannot_be_read_is_told_once_and_the_build_goes_on() {
    let refusal = |status: u16| match status {
        403 => Reply::new(403).body("You have exceeded a secondary rate limit").with("Retry-After", "0"),
        429 => Reply::error(429, "TOOMANYREQUESTS").with("Retry-After", "0"),
        status => Reply::error(status, "DENIED"),
    };
    for status in [401, 403, 429, 500] {
        let (world, expected) = expecting();
        let registry = Registry::twisted(move |call, _| {
            call.path.starts_with("/v2/team/cache/").then(|| refusal(status))
        });
        let built = push(&world, &registry, "team/app:v1", "--cache");
        assert_eq!(built.check_success(), expected, "{status}: {built}");
        check_warned(&built, &["the build goes on without it"]);
        let asked = registry.take_calls().iter().filter(|call| call.path.contains("/team/cache/")).count();
        assert!(asked <= 14, "{status}: {asked} requests");
    }
    // Nothing listens there.
    let (world, expected) = expecting();
    let arguments = ["build", "recipe.yaml", "-o", "oci:image", "--cache", "docker://127.0.0.1:9/team/cache"];
    let built = world.run(&arguments);
    assert_eq!(built.check_success(), expected, "{built}");
    check_warned(&built, &["`127.0.0.1:9/team/cache` cannot be used"]);
}

#[test]
fn a_cache_that_cannot_be_written_is_told_once_and_the_image_is_there() {
    type Quirk = fn(&Call) -> Option<Reply>;
    let quirks: [(&str, Quirk); 3] = [
        ("right to push", |call| (call.method == "POST").then(|| Reply::error(403, "DENIED"))),
        ("answered 400", |call| {
            (call.method == "PUT" && call.path.contains("/manifests/"))
                .then(|| Reply::error(400, "MANIFEST_INVALID"))
        }),
        ("limits requests", |call| {
            let limited = || Reply::new(403).body("secondary rate limit").with("Retry-After", "0");
            (call.method == "PUT").then(limited)
        }),
    ];
    for (said, quirk) in quirks {
        let (world, expected) = expecting();
        let registry =
            Registry::twisted(move |call, _| quirk(call).filter(|_| call.path.contains("/team/cache/")));
        let built = push(&world, &registry, "team/app:v1", "--cache");
        assert_eq!(built.check_success(), expected, "{built}");
        check_warned(&built, &[said]);
        assert!(registry.content().tags(CACHE).is_empty());
    }
}

#[test]
fn entries_that_are_not_what_they_say_are_named_and_ignored() {
    type Poison = fn(&mut Content);
    fn wheel_layer(content: &Content) -> String {
        let is_wheel = |tag: &String| entry_documents(content, tag).1.to_string().contains("wholesome");
        tags(content, "l-").into_iter().find(is_wheel).unwrap()
    }
    let poisons: [(&str, Poison); 6] = [
        ("it has other content than was asked for", |content| {
            let tag = wheel_layer(content);
            let digest = entry_layer(content, &tag);
            let blob = content.blobs.get_mut(&(CACHE.to_owned(), digest)).unwrap();
            blob[20] ^= 1;
        }),
        ("has the diff_id", |content| {
            let tag = wheel_layer(content);
            change_entry(content, &tag, |_, config| {
                config["rootfs"]["diff_ids"][0] = json!(Digest::of("false"));
            });
        }),
        ("it is the entry of another key", |content| {
            let tag = wheel_layer(content);
            let other = tags(content, "l-").into_iter().find(|other| *other != tag).unwrap();
            let manifest = content.manifests[&(CACHE.to_owned(), other)].clone();
            content.put_manifest(CACHE, &tag, &manifest.0, manifest.1);
        }),
        ("not an entry of a cache of version 1", |content| {
            let tag = wheel_layer(content);
            change_entry(content, &tag, |manifest, _| {
                manifest["annotations"]["dev.imgforge.cache.version"] = json!("9");
            });
        }),
        ("its layer is application/vnd.oci.image.layer.v1.tar+zstd where", |content| {
            let tag = wheel_layer(content);
            change_entry(content, &tag, |manifest, _| {
                manifest["layers"][0]["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar+zstd");
            });
        }),
        ("the registry lost a part of it", |content| {
            let tag = wheel_layer(content);
            let digest = entry_layer(content, &tag);
            content.blobs.remove(&(CACHE.to_owned(), digest));
        }),
    ];
    for (said, poison) in poisons {
        let (world, registry, expected) = cached(|_, _| None);
        without_images(&registry);
        poison(&mut registry.content());
        let built = pull(&world, &registry);
        assert_eq!(built.check_success(), expected, "{said}: {built}");
        check_warned(&built, &[said]);
        world.sound_blobs();
    }
}

fn entry_layer(content: &Content, tag: &str) -> String {
    parts(content, CACHE, tag).0.into_iter().next().unwrap()
}

#[test]
fn a_finished_image_that_is_not_that_of_the_plan_is_named_and_ignored() {
    let (world, registry, expected) = cached(|_, _| None);
    let tag = tags(&registry.content(), "i-").remove(0);
    change_entry(&mut registry.content(), &tag, |_, config| config["config"]["User"] = json!("root"));
    let built = push(&world, &registry, "team/sixth:v1", "--cache-from");
    assert_eq!(built.check_success(), expected, "{built}");
    check_warned(&built, &["its layers do not give its config"]);
}

#[test]
fn facts_of_another_layer_are_named_and_ignored() {
    let (world, registry, expected) = cached(|_, _| None);
    without_images(&registry);
    {
        let mut content = registry.content();
        let facts: Vec<String> = tags(&content, "f-")
            .into_iter()
            .filter(|tag| {
                let layer = entry_layer(&content, tag);
                let blob = &content.blobs[&(CACHE.to_owned(), layer)];
                let mut text = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&blob[..]), &mut text).unwrap();
                String::from_utf8_lossy(&text).starts_with("layer-content")
            })
            .collect();
        // Each has the records of the next one: the layers of the two are different.
        let all: Vec<_> = facts.iter().map(|tag| entry_documents(&content, tag)).collect();
        for (at, tag) in facts.iter().enumerate() {
            let (other, config_of_other) = all[(at + 1) % all.len()].clone();
            change_entry(&mut content, tag, |manifest, config| {
                manifest["layers"] = other["layers"].clone();
                config["rootfs"] = config_of_other["rootfs"].clone();
            });
        }
    }
    // Something is made here, for which the facts of all others are wanted.
    world.write("notes.txt", "other notes\n");
    let built = push(&world, &registry, "team/seventh:v1", "--cache-from");
    assert_ne!(built.check_success(), expected);
    assert!(warnings(&built).iter().all(|warning| warning.contains("not those of the layer")), "{built}");
    let digest = built.check_success();
    forget(&world);
    assert_eq!(world.build().check_success(), digest);
}

#[test]
fn under_a_lock_that_pins_layers_nothing_of_a_cache_is_believed() {
    let world = world();
    let pinned = world.run(&["lock", "recipe.yaml", "--layers"]);
    assert_eq!(pinned.code, 0, "{pinned}");
    assert_eq!(fs::read_to_string(world.path("recipe.lock")).unwrap().matches("[[layer]]").count(), 6);
    assert_eq!(world.run(&["lock", "recipe.yaml", "--check", "--layers"]).code, 0);
    let expected = world.build().check_success();
    let registry = Registry::start();
    push(&world, &registry, "team/app:v1", "--cache").check_success();
    forget(&world);
    // What is pinned is taken.
    world.server.take_requests();
    let built = push(&world, &registry, "team/second:v1", "--cache-from");
    assert_eq!(built.check_success(), expected, "{built}");
    check_warned(&built, &[]);
    assert!(world.server.take_requests().is_empty());
    forget(&world);
    // The layers of two keys are exchanged, and everything else with them.
    {
        let mut content = registry.content();
        let layers = tags(&content, "l-");
        let all: Vec<_> = layers.iter().map(|tag| entry_documents(&content, tag)).collect();
        for (at, tag) in layers.iter().enumerate() {
            let (other, config_of_other) = all[(at + 1) % all.len()].clone();
            change_entry(&mut content, tag, |manifest, config| {
                manifest["layers"] = other["layers"].clone();
                config["rootfs"] = config_of_other["rootfs"].clone();
            });
        }
    }
    without_images(&registry);
    let built = pull(&world, &registry);
    assert_eq!(built.check_success(), expected, "{built}");
    check_warned(&built, &["the lock has the digest"; 6]);
    // Without the pins they would have been believed: that is what a writer of a cache is trusted with.
    let unpinned = fs::read_to_string(world.path("recipe.lock")).unwrap();
    let unpinned = unpinned.split("[[layer]]").next().unwrap().to_owned();
    world.write("recipe.lock", unpinned);
    forget(&world);
    let believed = world.run(&[
        "build",
        "recipe.yaml",
        "--locked",
        "--no-check",
        "-o",
        "oci:image",
        "--cache-from",
        &registry.place(CACHE),
    ]);
    assert_ne!(believed.check_success(), expected);
}

#[test]
fn a_layer_that_is_made_here_is_held_against_the_lock() {
    let world = world();
    assert_eq!(world.run(&["lock", "recipe.yaml", "--layers"]).code, 0);
    let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
    let at = lock.find("[[layer]]").unwrap();
    let (before, layers) = lock.split_at(at);
    let digest = layers.lines().find(|line| line.starts_with("digest")).unwrap();
    let other = format!("digest = \"{}\"", Digest::of("other"));
    world.write("recipe.lock", format!("{before}{}", layers.replacen(digest, &other, 1)));
    let failed = world.build();
    world.check_failure(&failed, 1, &["is not what was locked: the digest is", "lock --layers"]);
    assert_eq!(world.run(&["lock", "recipe.yaml", "--layers"]).code, 0);
    assert_eq!(fs::read_to_string(world.path("recipe.lock")).unwrap(), lock);
    // Nothing is made again for the same plans; others are pinned without being asked to.
    forget(&world);
    world.server.take_requests();
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    assert!(world.server.take_requests().is_empty());
    world.write("notes.txt", "other notes\n");
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let other = fs::read_to_string(world.path("recipe.lock")).unwrap();
    assert!(other != lock && other.matches("[[layer]]").count() == 6);
}

#[test]
fn the_same_key_with_another_digest_is_reported_and_stays() {
    let (world, registry, expected) = cached(|_, _| None);
    without_images(&registry);
    let (tag, before) = {
        let mut content = registry.content();
        let layers = tags(&content, "l-");
        let other = entry_layer(&content, &layers[1]);
        let size = content.blobs[&(CACHE.to_owned(), other.clone())].len();
        change_entry(&mut content, &layers[0], |manifest, _| {
            manifest["layers"][0]["digest"] = json!(other);
            manifest["layers"][0]["size"] = json!(size);
        });
        (layers[0].clone(), content.manifests[&(CACHE.to_owned(), layers[0].clone())].clone())
    };
    let built = push(&world, &registry, "team/eighth:v1", "--cache-to");
    assert_eq!(built.check_success(), expected);
    check_warned(&built, &["and what was made here is"]);
    assert_eq!(registry.content().manifests[&(CACHE.to_owned(), tag)], before);
}

#[test]
fn writers_at_once_leave_one_manifest_for_each_key() {
    let (world, expected) = expecting();
    let registry = Registry::start();
    let (place, cache) = (registry.place("team/app"), registry.place(CACHE));
    let built: Vec<Outcome> = std::thread::scope(|scope| {
        let build = |number: usize| {
            let place = format!("{place}:v{number}");
            let mut command =
                world.command(&["build", "recipe.yaml", "--locked", "-o", &place, "--cache", &cache]);
            command.env("IMGFORGE_CACHE_DIR", world.path(&format!("store-{number}")));
            scope.spawn(move || run(&mut command))
        };
        let running: Vec<_> = (0..8).map(build).collect();
        running.into_iter().map(|running| running.join().unwrap()).collect()
    });
    for outcome in built {
        assert_eq!(outcome.check_success(), expected);
        check_warned(&outcome, &[]);
    }
    let content = registry.content();
    let of_cache = content.manifests.keys().filter(|(at, _)| at == CACHE);
    let (digests, tags): (Vec<_>, Vec<_>) = of_cache.partition(|(_, name)| name.contains(':'));
    assert_eq!(digests.len(), tags.len(), "a key has several manifests");
    assert_eq!(tags.iter().filter(|(_, tag)| tag.starts_with("l-")).count(), 6);
}

#[test]
fn a_blob_that_was_collected_between_is_made_anew() {
    let (world, registry, expected) = cached(|_, _| None);
    let gone = {
        let mut content = registry.content();
        let tag = tags(&content, "i-").remove(0);
        let gone = parts(&content, CACHE, &tag).0.into_iter().next().unwrap();
        content.blobs.retain(|(_, digest), _| *digest != gone);
        gone
    };
    let built = push(&world, &registry, "team/ninth:v1", "--cache");
    assert_eq!(built.check_success(), expected, "{built}");
    check_warned(&built, &["the registry lost a part of it"]);
    assert!(registry.content().blobs.contains_key(&("team/ninth".to_owned(), gone)));
}

#[test]
fn a_blob_that_a_registry_only_said_to_have_is_sent_once_again() {
    let refused = AtomicUsize::new(0);
    let (world, registry, expected) = cached(move |call, _| {
        let is_meant = call.method == "PUT" && call.path.ends_with("/team/tenth/manifests/v1");
        if !is_meant || refused.fetch_add(1, Ordering::SeqCst) > 0 {
            return None;
        }
        let manifest: Value = serde_json::from_slice(&call.body).unwrap();
        let digest = &manifest["layers"][3]["digest"];
        let error = json!({"errors": [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "x", "detail": {"digest": digest}}]});
        Some(Reply::new(400).body(error.to_string()))
    });
    let built = push(&world, &registry, "team/tenth:v1", "--cache-from");
    assert_eq!(built.check_success(), expected, "{built}");
    let calls = registry.take_calls();
    let (layers, _) = parts(&registry.content(), "team/tenth", "v1");
    assert_eq!(blob_calls(&calls, "GET", &layers), 1, "one layer is brought");
    let sent = calls.iter().filter(|call| call.method == "PUT" && call.path.contains("/team/tenth/blobs/"));
    assert_eq!(sent.count(), 2, "the config, and that layer");
}

#[test]
fn a_base_of_which_the_cache_knows_the_facts_is_not_downloaded() {
    let registry = Registry::start();
    registry.add("team/base", "v1", &Layout::new().layer(Tar::debian("")));
    let world = World::new();
    world.write(
        "recipe.yaml",
        format!("name: demo\nbase: {}\npackages: [wholesome]\n", registry.place("team/base:v1")),
    );
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let expected = world.build().check_success();
    push(&world, &registry, "team/one:v1", "--cache").check_success();
    for (annotation, name) in [("x=1", "team/two:v1"), ("x=2", "team/three:v1")] {
        forget(&world);
        registry.take_calls();
        world.server.take_requests();
        let place = registry.place(name);
        let cache = registry.place(CACHE);
        let built = world.run(&[
            "build",
            "recipe.yaml",
            "--locked",
            "--annotation",
            annotation,
            "-o",
            &place,
            "--cache",
            &cache,
        ]);
        assert_ne!(built.check_success(), expected);
        check_warned(&built, &[]);
        let (repository, tag) = name.split_once(':').unwrap();
        let (layers, _) = parts(&registry.content(), repository, tag);
        assert_eq!(blob_calls(&registry.take_calls(), "GET", &layers), 0, "{built}");
        assert!(world.server.take_requests().is_empty());
    }
}

#[test]
fn entries_of_long_ago_are_pruned_and_nothing_else() {
    let (world, registry, _) = cached(|_, _| None);
    let cache = registry.place(CACHE);
    let before = registry.content().tags(CACHE);
    registry.add(CACHE, "release", &Layout::new().layer(Tar::debian("")));
    let prune = |arguments: &[&str]| world.run(&[&["cache", "prune", &cache], arguments].concat());
    let kept = prune(&["--older-than", "30d"]);
    assert_eq!(kept.code, 0, "{kept}");
    assert!(kept.stdout.contains(&format!("removed 0 entries; {} left", before.len())), "{kept}");
    assert!(kept.stdout.contains("1 tags are no entries"), "{kept}");
    let tag = before[0].clone();
    change_entry(&mut registry.content(), &tag, |manifest, _| {
        manifest["annotations"]["org.opencontainers.image.created"] = json!("2020-01-01T00:00:00Z");
    });
    let told = prune(&["--dry-run"]);
    assert!(told.stdout.contains("would remove 1 entries"), "{told}");
    assert_eq!(prune(&[]).code, 0);
    let after = registry.content().tags(CACHE);
    assert!(!after.contains(&tag) && after.contains(&"release".to_owned()));
    assert_eq!(after.len(), before.len());
}

#[test]
fn a_registry_without_removals_says_so() {
    let (world, registry, _) =
        cached(|call, _| (call.method == "DELETE").then(|| Reply::error(405, "UNSUPPORTED")));
    let failed = world.run(&["cache", "prune", &registry.place(CACHE), "--older-than", "0s"]);
    assert_eq!(failed.code, 1, "{failed}");
    failed.check_failure(1, &["takes no removals", "let the registry remove old tags itself"]);
}

#[test]
fn a_place_that_is_no_cache_is_refused_on_the_command_line_and_in_the_environment() {
    let world = world();
    for place in
        ["registry.test/team/cache", "docker://registry.test/team/cache:v1", "oci:cache", "docker://A/b"]
    {
        let refused = world.run(&["build", "recipe.yaml", "--cache", place]);
        refused.check_failure(2, &["write docker://HOST/REPOSITORY, without a tag"]);
        let mut command = world.command(&["build", "recipe.yaml"]);
        let refused = run(command.env("IMGFORGE_CACHE", place));
        world.check_failure(&refused, 1, &["IMGFORGE_CACHE is", "write docker://HOST/REPOSITORY"]);
    }
}

#[test]
fn the_environment_names_a_cache_and_an_offline_build_asks_none() {
    let (world, registry, expected) = cached(|_, _| None);
    let place = registry.place(CACHE);
    let build = |arguments: &[&str]| {
        let mut command =
            world.command(&[&["build", "recipe.yaml", "--locked", "-o", "oci:image"], arguments].concat());
        run(command.env("IMGFORGE_CACHE", &place))
    };
    assert_eq!(build(&[]).check_success(), expected);
    assert!(!registry.take_calls().is_empty());
    assert_eq!(build(&["--offline"]).check_success(), expected);
    assert!(registry.take_calls().is_empty());
}

#[test]
fn an_audit_makes_layers_again_and_tells_entries_that_are_false() {
    let (world, registry, _) = cached(|_, _| None);
    let cache = registry.place(CACHE);
    let audit =
        |sample: &str| world.run(&["cache", "audit", &cache, "--recipe", "recipe.yaml", "--sample", sample]);
    let sound = audit("100%");
    assert_eq!(sound.code, 0, "{sound}");
    assert!(sound.stdout.contains("6 of the 6 layers"), "{sound}");
    assert!(audit("1%").stdout.contains("1 of the 6 layers that the cache has of the recipe"));
    // The layers of two keys are exchanged: each entry is sound by itself.
    {
        let mut content = registry.content();
        let layers = tags(&content, "l-");
        let [one, two] = [0, 1].map(|at| entry_documents(&content, &layers[at]));
        for (tag, (other, config_of_other)) in [(&layers[0], two), (&layers[1], one)] {
            change_entry(&mut content, tag, |manifest, config| {
                manifest["layers"] = other["layers"].clone();
                config["rootfs"] = config_of_other["rootfs"].clone();
            });
        }
    }
    let found = audit("100");
    for said in ["error: the cache has entries that are false", "hint: remove their tags"] {
        assert!(found.code == 1 && found.stderr.contains(said), "{found}");
    }
    assert_eq!(found.stdout.matches("when it is made anew").count(), 2, "{found}");
    // An entry that is wrong by itself is one, too.
    let tag = tags(&registry.content(), "l-").pop().unwrap();
    change_entry(&mut registry.content(), &tag, |manifest, _| {
        manifest["annotations"]["dev.imgforge.cache.key"] = json!(Digest::of("other"));
    });
    let found = audit("100%");
    assert!(found.code == 1 && found.stdout.contains("is the entry of another key"), "{found}");
    audit("0%").check_failure(2, &["write 1% to 100%"]);
}

/// The manifest and the config of an entry.
fn entry_documents(content: &Content, tag: &str) -> (Value, Value) {
    let manifest = &content.manifests[&(CACHE.to_owned(), tag.to_owned())].1;
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let digest = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let config = serde_json::from_slice(&content.blobs[&(CACHE.to_owned(), digest)]).unwrap();
    (manifest, config)
}

#[test]
fn a_cache_that_can_only_be_read_serves_whatever_it_refuses() {
    let quirk = |call: &Call, _: &mut Content| {
        let is_write = matches!(call.method.as_str(), "POST" | "PUT" | "PATCH");
        (is_write && call.path.contains("/team/main/")).then(|| Reply::error(403, "DENIED"))
    };
    let (world, registry, expected) = cached(quirk);
    let renamed = |(at, name): &(String, String)| (at.replace(CACHE, "team/main"), name.clone());
    {
        let mut content = registry.content();
        content.blobs = content.blobs.iter().map(|(key, blob)| (renamed(key), blob.clone())).collect();
        content.manifests = content.manifests.iter().map(|(key, it)| (renamed(key), it.clone())).collect();
    }
    // Another registry, which mounts nothing from there.
    let other = Registry::start();
    world.write("notes.txt", "other notes\n");
    let (place, main) = (other.place("team/app:v1"), registry.place("team/main"));
    let built = world.run(&["build", "recipe.yaml", "--locked", "-o", &place, "--cache", &main]);
    assert_ne!(built.check_success(), expected);
    check_warned(&built, &["nothing more is put there"]);
    assert!(world.server.take_requests().is_empty(), "{built}");
}

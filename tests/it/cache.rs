//! The store forgets what nobody needs, notices what is damaged, and is shared by builds that run at once.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use imgforge::oci::Digest;
use imgforge::store::Store;

use crate::support::wheel::Wheel;
use crate::support::{World, sound_blobs};

/// A world with two wheels in different layers, and its lock.
fn world() -> World {
    let mut world = World::new();
    for name in ["alpha", "beta"] {
        world.publish(Wheel::new(name, "1.0").file(&format!("{name}.py"), format!("NAME = '{name}'\n")));
    }
    world.recipe("packages: [alpha, beta]\n");
    let outcome = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    world
}

fn prune(world: &World, arguments: &[&str]) -> String {
    let outcome = world.run(&[&["cache", "prune"], arguments].concat());
    assert_eq!(outcome.code, 0, "{outcome}");
    outcome.stdout
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, mut files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.extend(directories.iter().flat_map(|directory| self::files(directory)));
    files
}

/// Makes everything in the store look as if it was last used so many days ago.
fn age(world: &World, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    for path in files(&world.store()) {
        File::open(path).unwrap().set_times(FileTimes::new().set_accessed(then)).unwrap();
    }
}

/// Puts other bytes in the place of a blob's, not into the file, which the layout has too.
fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_was_pruned_is_made_again_the_same() {
    let world = world();
    let first = world.build().check_success();
    let said = prune(&world, &["--all", "--dry-run"]);
    assert!(said.starts_with("would remove ") && !world.sound_blobs().is_empty(), "{said}");
    let said = prune(&world, &["--all"]);
    assert!(said.starts_with("removed ") && said.ends_with(" 0 B left\n"), "{said}");
    assert_eq!(files(&world.store().join("blobs")), Vec::<PathBuf>::new());
    assert_eq!(files(&world.store().join("records")), Vec::<PathBuf>::new());
    assert_eq!(world.build().check_success(), first);
    sound_blobs(&world.path("image"));
}

#[test]
fn what_builds_use_is_kept_and_the_rest_goes() {
    let world = world();
    let first = world.build().check_success();
    assert!(prune(&world, &[]).starts_with("removed 0 blobs, 0 records"));
    age(&world, 40);
    let before = world.sound_blobs();
    age(&world, 40);
    assert_eq!(world.build().check_success(), first);
    assert!(prune(&world, &["--older-than", "41d"]).starts_with("removed 0 blobs, 0 records"));
    let said = prune(&world, &[]);
    let left = world.sound_blobs();
    assert!(left.len() < before.len() && !left.is_empty(), "{said}");

    let offline = ["build", "recipe.yaml", "--locked", "--offline", "-o", "oci:again"];
    assert_eq!(world.run(&offline).check_success(), first);
    assert_eq!(world.sound_blobs(), left);
}

#[test]
fn what_is_known_of_a_layer_is_learned_again_when_it_is_gone() {
    let world = world();
    let first = world.build().check_success();
    for records in ["layer-evidence", "check"] {
        fs::remove_dir_all(world.store().join("records").join(records)).unwrap();
    }
    assert_eq!(world.build().check_success(), first);
}

#[test]
fn the_store_is_brought_below_a_size() {
    let world = world();
    world.build().check_success();
    let said = prune(&world, &["--keep-size", "1GiB"]);
    assert!(said.starts_with("removed 0 blobs, 0 records"), "{said}");
    prune(&world, &["--keep-size", "4KiB"]);
    let sizes = files(&world.store().join("blobs")).into_iter().map(|path| fs::metadata(path).unwrap().len());
    assert!(sizes.sum::<u64>() <= 4096);
}

#[test]
fn pruning_leaves_what_a_running_build_asked_for() {
    let world = world();
    world.build().check_success();
    let running = Store::open(world.store()).unwrap();
    let used = files(&world.store().join("blobs")).pop().unwrap();
    let digest = Digest::from_hex(used.file_name().unwrap().to_str().unwrap()).unwrap();
    assert!(running.has_blob(&digest, None));
    let outcome = world.run(&["cache", "prune", "--all"]);
    assert!(outcome.stderr.contains("warning: other builds are running"), "{outcome}");
    assert_eq!(files(&world.store().join("blobs")), [used]);
    drop(running);
    prune(&world, &["--all"]);
    assert_eq!(files(&world.store().join("blobs")), Vec::<PathBuf>::new());
}

#[test]
fn what_is_no_age_or_size_is_named() {
    let world = World::new();
    for (arguments, said) in [
        (&["--older-than", "soon"][..], "units s, m, h, d, w"),
        (&["--keep-size", "much"], "`1GiB`"),
        (&["--all", "--keep-size", "1GiB"], "cannot be used with"),
        (&["--older-than", "1d", "--keep-size", "1GiB"], "cannot be used with"),
    ] {
        world.run(&[&["cache", "prune"], arguments].concat()).check_failure(2, &[said]);
    }
}

#[test]
fn damage_is_found_removed_and_mended() {
    let world = world();
    let first = world.build().check_success();
    let outcome = world.run(&["cache", "verify"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(outcome.stdout.ends_with(" records: 0 damaged\n"), "{outcome}");

    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path("image/blobs/sha256").join(first.hex())).unwrap())
            .unwrap();
    let layer: Digest = manifest["layers"][3]["digest"].as_str().unwrap().parse().unwrap();
    let path = world.store().join("blobs/sha256").join(layer.hex());
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    replace(&path, &bytes);

    let outcome = world.run(&["cache", "verify"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stdout.contains(&layer.hex()) && outcome.stdout.contains(" 3 damaged\n"), "{outcome}");
    assert!(outcome.stderr.contains("hint: build again"), "{outcome}");
    assert!(!path.exists());
    assert_eq!(world.build().check_success(), first);
    assert_eq!(world.run(&["cache", "verify"]).code, 0);
    sound_blobs(&world.path("image"));
}

#[test]
fn a_layout_with_a_damaged_blob_gets_the_stores() {
    let world = world();
    let first = world.build().check_success();
    for path in files(&world.path("image/blobs")) {
        let name = path.file_name().unwrap();
        if let Ok(bytes) = fs::read(world.store().join("blobs/sha256").join(name)) {
            replace(&path, &vec![0; bytes.len()]);
        }
    }
    assert_eq!(world.build().check_success(), first);
    sound_blobs(&world.path("image"));
}

#[test]
fn a_rebuild_with_a_lock_reads_no_blob() {
    let world = world();
    let first = world.build().check_success();
    for path in files(&world.store().join("blobs")) {
        // Who looks at a blob's file alone cannot tell.
        let metadata = fs::metadata(&path).unwrap();
        fs::write(&path, vec![0; usize::try_from(metadata.len()).unwrap()]).unwrap();
        fs::File::open(&path).unwrap().set_modified(metadata.modified().unwrap()).unwrap();
    }
    let rebuild = ["build", "recipe.yaml", "--locked", "--offline", "-o", "oci:image", "-o", "oci:other"];
    assert_eq!(world.run(&rebuild).check_success(), first);
}

#[test]
fn one_package_more_writes_one_layer_of_wheels() {
    let mut world = world();
    world.build().check_success();
    let before = layers(&world);
    world.publish(Wheel::new("gamma", "1.0").file("gamma.py", "NAME = 'gamma'\n"));
    world.recipe("packages: [alpha, beta, gamma]\n");
    world.build().check_success();
    let after = layers(&world);
    let new: Vec<&String> =
        after.iter().filter(|(digest, _)| !before.contains_key(*digest)).map(|(_, title)| title).collect();
    assert_eq!(new, ["imgforge: 2 packages, alpha to gamma"]);
}

/// The image's layers, by digest, with what its history calls them.
fn layers(world: &World) -> BTreeMap<String, String> {
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(world.path("image").join(name)).unwrap()).unwrap()
    };
    let blob = |value: &serde_json::Value| {
        read(&format!("blobs/{}", value["digest"].as_str().unwrap().replace(':', "/")))
    };
    let manifest = blob(&read("index.json")["manifests"][0]);
    let config = blob(&manifest["config"]);
    let digests = manifest["layers"].as_array().unwrap().iter();
    let titles = config["history"].as_array().unwrap().iter();
    digests
        .zip(titles)
        .map(|(layer, history)| {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            (text(&layer["digest"]), text(&history["created_by"]))
        })
        .collect()
}

#[test]
fn builds_that_run_at_once_make_every_layer_once() {
    let world = world();
    let start = |image: &str| {
        let mut command = world.command(&["build", "recipe.yaml", "-o", image]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let builds = ["oci:a", "oci:b", "oci:c"].map(start);
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for build in builds {
        let output = build.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        for line in said.lines().filter(|line| line.starts_with("writing ") && *line != "writing layers") {
            *made.entry(line.to_owned()).or_default() += 1;
        }
    }
    assert!(made.len() >= 3 && made.values().all(|count| *count == 1), "{made:?}");
}

#[test]
fn what_killed_builds_left_is_cleared() {
    let world = world();
    world.build().check_success();
    let tar = ["build", "recipe.yaml", "-o", "oci:image", "-o", "oci-archive:archive/image.tar"];
    world.run(&tar).check_success();
    let hex = Digest::of("a layer").hex();
    let left = [
        "store/tmp/use-1-0",
        "store/tmp/making-KEY",
        "store/tmp/.imgforge-a",
        "image/.imgforge-b",
        "image/blobs/sha256/.imgforge-c",
        "archive/.imgforge-d",
    ];
    let left = left.map(|path| world.write(&path.replace("KEY", &hex), "half"));
    let stale = world.write(&format!("store/tmp/partial-{hex}"), "half");
    let then = SystemTime::now() - Duration::from_secs(8 * 24 * 60 * 60);
    File::options().append(true).open(&stale).unwrap().set_modified(then).unwrap();
    let fresh = world.write(&format!("store/tmp/partial-{}", Digest::of("another").hex()), "half");
    world.run(&tar).check_success();
    let there: Vec<_> = left.iter().chain([&stale]).filter(|path| path.exists()).collect();
    assert!(there.is_empty() && fresh.exists(), "{there:?}");
}

//! A store that others changed, planted files in or may write to: what is not imgforge's own is noticed before it is used.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use imgforge::oci::Digest;

use crate::support::layout::{Layout, Tar};
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run, sound_blobs};

fn world() -> World {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0").file("demo.py", "GOOD = 1\n"));
    Layout::new().layer(Tar::debian("")).write(&world.path("base"));
    world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [demo]\n");
    world
}

fn blobs(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root.join("blobs/sha256")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Changes one byte of a file where it is.
fn edit(path: &Path) {
    let mut file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let last = fs::read(path).unwrap().pop().unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&[last ^ 1]).unwrap();
}

fn build_to(world: &World, destination: &str) -> Outcome {
    world.run(&["build", "recipe.yaml", "-o", destination])
}

#[test]
fn what_is_edited_in_a_published_layout_is_published_nowhere_else() {
    let world = world();
    let first = build_to(&world, "oci:first").check_success();
    for path in blobs(&world.path("first")) {
        edit(&path);
    }
    for path in blobs(&world.path("first")) {
        // By another name, with the time that it had.
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        edit(&path);
        edit(&path);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    assert_eq!(build_to(&world, "oci:second").check_success(), first);
    sound_blobs(&world.path("second"));
    assert_eq!(build_to(&world, "oci-archive:third.tar").check_success(), first);
    // The layout itself is mended too.
    assert_eq!(build_to(&world, "oci:first").check_success(), first);
    sound_blobs(&world.path("first"));
    world.sound_blobs();
}

#[test]
fn a_base_that_is_edited_changes_nothing_that_was_taken_from_it() {
    let world = world();
    let first = build_to(&world, "oci:first").check_success();
    for path in blobs(&world.path("base")) {
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 1, "a base's file is shared");
    }
    let layer =
        blobs(&world.path("base")).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    edit(&layer);
    assert_eq!(build_to(&world, "oci:second").check_success(), first);
    sound_blobs(&world.path("second"));
    // Whoever has no copy is told.
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:third"]);
    let outcome = run(command.env("IMGFORGE_CACHE_DIR", world.path("other-store")));
    outcome.check_failure(1, &["hint: "]);
    assert!(!world.path("third").exists());
}

#[test]
fn what_is_known_of_a_layer_holds_for_its_bytes() {
    let world = world();
    build_to(&world, "oci:image").check_success();
    build_to(&world, "oci-archive:image.tar").check_success();
    let commands =
        [["check", "oci:image"], ["inspect", "oci:image"], ["check", "oci:base"], ["inspect", "oci:base"]];
    for arguments in commands {
        assert_eq!(world.run(&arguments).code, 0);
    }
    assert_eq!(world.run(&["check", "oci-archive:image.tar"]).code, 0);
    let largest = |root: &str| {
        blobs(&world.path(root)).into_iter().max_by_key(|path| fs::metadata(path).unwrap().len())
    };
    edit(&largest("image").unwrap());
    edit(&largest("base").unwrap());
    for arguments in commands {
        world.run(&arguments).check_failure(1, &["hint: "]);
    }
    let archive = fs::read(world.path("image.tar")).unwrap();
    let needle = fs::read(largest("base").unwrap()).unwrap();
    let at = archive.windows(32).position(|window| window == &needle[..32]).unwrap();
    let mut file = fs::OpenOptions::new().write(true).open(world.path("image.tar")).unwrap();
    file.seek(SeekFrom::Start(at as u64 + 40)).unwrap();
    file.write_all(b"changed").unwrap();
    world.run(&["check", "oci-archive:image.tar"]).check_failure(1, &["hint: "]);
}

#[test]
fn a_wheel_that_was_replaced_in_the_store_is_downloaded_again() {
    let world = world();
    build_to(&world, "oci:first").check_success();
    let wheels: Vec<PathBuf> =
        blobs(&world.store()).into_iter().filter(|path| fs::read(path).unwrap().starts_with(b"PK")).collect();
    assert_eq!(wheels.len(), 1);
    edit(&wheels[0]);
    world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [demo]\nlayers: {compression: zstd}\n");
    build_to(&world, "oci:second").check_success();
    world.sound_blobs();
    sound_blobs(&world.path("second"));
}

#[test]
fn a_rebuild_hashes_nothing_that_did_not_change() {
    let world = world();
    let first = build_to(&world, "oci:image").check_success();
    let times = || -> BTreeMap<PathBuf, i64> {
        blobs(&world.store())
            .into_iter()
            .map(|path| (path.clone(), fs::metadata(path).unwrap().ctime_nsec()))
            .collect()
    };
    let before = times();
    for path in before.keys() {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o444, "{}", path.display());
    }
    assert_eq!(build_to(&world, "oci:image").check_success(), first);
    assert_eq!(before.len(), times().len());
}

/// The kinds of things that others may have planted at a name of the store.
const PLANTED: [&str; 4] = ["symlink", "dangling", "fifo", "hardlink"];

fn plant(kind: &str, path: &Path, victim: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::remove_file(path).ok();
    match kind {
        "symlink" => symlink(victim, path).unwrap(),
        "dangling" => symlink(victim.with_extension("made"), path).unwrap(),
        "hardlink" => fs::hard_link(victim, path).unwrap(),
        _ => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
    }
}

#[test]
fn what_is_planted_in_the_store_is_neither_followed_nor_waited_for() {
    for kind in PLANTED {
        let mut world = world();
        let wheel = world.publish(Wheel::new("demo", "1.0").file("demo.py", "GOOD = 2\n"));
        let hex = Digest::of(&wheel.bytes).hex();
        let victim = world.write("victim", "precious");
        for name in [
            format!("tmp/partial-{hex}"),
            "tmp/.imgforge-x".to_owned(),
            "tmp/use-1-0".to_owned(),
            format!("tmp/making-{hex}"),
            format!("blobs/sha256/{hex}"),
            format!("seals/{hex}"),
            format!("records/layer/{hex}"),
            "lock".to_owned(),
        ] {
            let planted = world.store().join(&name);
            fs::remove_dir_all(world.store()).ok();
            fs::remove_dir_all(world.path("image")).ok();
            plant(kind, &planted, &victim);
            fs::set_permissions(world.store(), fs::Permissions::from_mode(0o700)).unwrap();
            let outcome = run(Command::new("timeout")
                .arg("60")
                .arg(env!("CARGO_BIN_EXE_imgforge"))
                .args(["build", "recipe.yaml", "-o", "oci:image"])
                .current_dir(world.directory.path())
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("HOME", world.directory.path())
                .env("PIP_CONFIG_FILE", "/dev/null")
                .env("PIP_INDEX_URL", format!("{}/simple/", world.server.url()))
                .env("IMGFORGE_CACHE_DIR", world.store()));
            assert_eq!(outcome.code, 0, "{kind} {name}: {outcome}");
            sound_blobs(&world.path("image"));
            for command in ["info", "prune", "verify"] {
                let mut command = world.command(&["cache", command]);
                let outcome = run(&mut command);
                assert!(
                    outcome.code <= 1 && !outcome.stderr.contains("panicked"),
                    "{kind} {name}: {outcome}"
                );
            }
            assert_eq!(fs::read(&victim).unwrap(), b"precious", "{kind} {name}");
            assert!(!victim.with_extension("made").exists(), "{kind} {name}");
        }
    }
}

#[test]
fn a_store_is_private_whatever_the_umask() {
    for umask in ["0", "0002", "0777"] {
        let world = World::new();
        let script = format!("umask {umask}; exec \"$0\" cache info");
        let outcome = run(Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_imgforge")])
            .env("IMGFORGE_CACHE_DIR", world.store()));
        assert_eq!(outcome.code, 0, "{outcome}");
        for directory in ["", "blobs", "blobs/sha256", "records", "seals", "tmp"] {
            let mode = fs::metadata(world.store().join(directory)).unwrap().mode() & 0o7777;
            assert_eq!(mode, 0o700, "{directory} under umask {umask}");
        }
    }
}

#[test]
fn a_store_that_others_own_or_may_write_to_is_refused() {
    let world = world();
    build_to(&world, "oci:image").check_success();
    let check = |path: &str, mode: u32, said: &[&str]| {
        let path = world.store().join(path);
        let before = fs::metadata(&path).unwrap().permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for arguments in [&["cache", "info"][..], &["build", "recipe.yaml"], &["check", "oci:image"]] {
            world.run(arguments).check_failure(1, said);
        }
        fs::set_permissions(&path, before).unwrap();
    };
    for path in ["", "tmp", "blobs/sha256", "records"] {
        for mode in [0o777, 0o1777, 0o770, 0o702] {
            check(path, mode, &["could not trust", "others may write to it", "hint: run `chmod go-w"]);
        }
    }
    if is_root() {
        for path in ["", "records"] {
            let path = world.store().join(path);
            std::os::unix::fs::chown(&path, Some(12345), None).unwrap();
            world.run(&["cache", "info"]).check_failure(
                1,
                &["it belongs to the user 12345, not to 0", "hint: run imgforge as the user 12345"],
            );
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
        }
    }
    fs::rename(world.store().join("records"), world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), world.store().join("records")).unwrap();
    world.run(&["cache", "info"]).check_failure(1, &["it is not a directory", "hint: remove"]);
}

#[test]
fn an_empty_directory_that_all_may_write_to_becomes_private() {
    let world = World::new();
    fs::create_dir(world.store()).unwrap();
    fs::set_permissions(world.store(), fs::Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(world.run(&["cache", "info"]).code, 0);
    assert_eq!(fs::metadata(world.store()).unwrap().mode() & 0o7777, 0o700);
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

//! A Python of the recipe's own takes the place of the base's, or is put on a base that has none.

use std::fs;

use imgforge::oci::Digest;
use serde_json::Value;

use crate::support::World;
use crate::support::elf::{library, linked};
use crate::support::layout::{Layout, Packing, Tar};
use crate::support::server::Resource;
use crate::support::wheel::Wheel;

const ARCHIVE: &str = "cpython-3.12.4-x86_64-unknown-linux-gnu-install_only.tar.gz";

/// An archive as uv installs it, with pip in it.
fn python(version: &str) -> Tar {
    let minor = &version[..4];
    let said = [b"\0", version.as_bytes(), b"\0"].concat();
    let info = format!("python/lib/python{minor}/site-packages/pip-25.0.dist-info");
    Tar::new()
        .file(&format!("python/bin/python{minor}"), linked("python", &["libc.so.6"], "$ORIGIN/../lib", &said))
        .symlink("python/bin/python3", &format!("python{minor}"))
        .symlink("python/bin/python", &format!("python{minor}"))
        .file("python/bin/pip", "#!/bin/sh\n")
        // The C library of these small bases is a name in a list.
        .file("python/lib/libc.so.6", library("libc.so.6", b""))
        .file(&format!("python/lib/python{minor}/os.py"), "")
        .file(&format!("python/lib/python{minor}/encodings/__init__.py"), "")
        .file(&format!("python/lib/python{minor}/ctypes/__init__.py"), "")
        .file(&format!("{info}/METADATA"), "Metadata-Version: 2.1\nName: pip\nVersion: 25.0\n")
        .file(&format!("{info}/RECORD"), "pip-25.0.dist-info/METADATA,,\n")
}

fn packed(tar: Tar) -> Vec<u8> {
    Packing::Gzip.pack(&tar.finish())
}

/// A world with a project for Python 3.12, and the archive beside the recipe.
fn world(keys: &str) -> World {
    let mut world = World::new();
    for minor in ["11", "12"] {
        let tag = if minor == "11" {
            "cp311-cp311-manylinux_2_17_x86_64"
        } else {
            "cp312-cp312-manylinux_2_17_x86_64"
        };
        world.publish(Wheel::new("native", "1.0").tag(tag).file("native.txt", minor));
    }
    world.write(ARCHIVE, packed(python("3.12.4")));
    world.recipe(&format!("python: {{version: \"3.12\", from: {ARCHIVE}}}\n{keys}packages: [native]\n"));
    world
}

fn plan(world: &World) -> Value {
    let plan = world.run(&["plan", "recipe.yaml", "--json"]);
    serde_json::from_str(&plan.stdout).unwrap_or_else(|_| panic!("{plan}"))
}

/// A base of an image, with or without a Python of its own.
fn image_base(world: &World, python: bool) {
    let libc = Tar::debian("");
    let tar = if python { libc } else { libc.whiteout("usr/bin/python3") };
    let layout = Layout::new().layer(Tar::debian(""));
    let layout = if python { layout } else { layout.layer(tar.whiteout("usr/bin/python3.11")) };
    layout.write(&world.path("base"));
    world.write(
        "recipe.yaml",
        format!("name: demo\nbase: oci:base\npython: {{from: {ARCHIVE}}}\npackages: [native]\n"),
    );
}

#[test]
fn wheels_are_chosen_for_it_and_installed_into_its_own_directory() {
    let world = world("");
    let plan = plan(&world);
    assert_eq!(plan["base"]["python"], "3.12.4");
    let wheel = plan["distributions"][0]["wheel"].as_str().unwrap();
    assert!(wheel.contains("cp312"), "{wheel}");
    let built = world.build();
    built.check_success();
    let image = crate::support::image::Image::read(&world.path("image"));
    assert_eq!(image.text("usr/local/lib/python3.12/site-packages/native.txt"), "12");
    image.file("usr/local/bin/python3.12");
    assert!(built.stderr.contains("Python     3.12.4"), "{built}");
}

#[test]
fn it_is_put_on_images_with_another_python_and_with_none() {
    for python in [true, false] {
        let world = world("");
        image_base(&world, python);
        assert_eq!(plan(&world)["base"]["python"], "3.12.4");
        world.build().check_success();
        let inspected = world.run(&["inspect", "oci:image", "--python", "3.12", "--json"]);
        let inventory: Value =
            serde_json::from_str(&inspected.stdout).unwrap_or_else(|_| panic!("{inspected}"));
        assert_eq!(inventory["python"], "3.12.4");
        let names: Vec<&str> = inventory["distributions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["native", "pip"]);
        assert_eq!(world.run(&["check", "oci:image", "--python", "3.12"]).code, 0);
    }
}

#[test]
fn the_lock_has_its_digest_and_another_archive_is_told() {
    let world = world("");
    let first = world.build().check_success();
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
    let digest = Digest::of(fs::read(world.path(ARCHIVE)).unwrap()).to_string();
    assert!(lock.contains("[python]\n") && lock.contains(&digest), "{lock}");
    let locked = ["build", "recipe.yaml", "--locked", "--offline", "-o", "oci:again"];
    assert_eq!(world.run(&locked).check_success(), first);

    world.write(ARCHIVE, packed(python("3.12.4").file("python/bin/more", "")));
    let outcome = world.run(&locked);
    world.check_failure(&outcome, 2, &["is another than was locked", ARCHIVE, &digest]);
}

#[test]
fn it_comes_from_a_url_once() {
    let world = world("");
    let bytes = packed(python("3.12.4"));
    let url = format!("{}/{ARCHIVE}", world.server.url());
    world.server.set(&format!("/{ARCHIVE}"), Resource::file(bytes.clone()));
    let digest = Digest::of(&bytes).hex();
    for fragment in [format!("#sha256={digest}"), String::new()] {
        world.recipe(&format!("python: {{from: \"{url}{fragment}\"}}\npackages: [native]\n"));
        world.build().check_success();
    }
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    world.server.stop();
    world.run(&["build", "recipe.yaml", "--locked", "--offline", "-o", "oci:again"]).check_success();

    let other = "0".repeat(64);
    let world = self::world("");
    world.server.set(&format!("/{ARCHIVE}"), Resource::file(bytes));
    world.recipe(&format!(
        "python: {{from: \"{}/{ARCHIVE}#sha256={other}\"}}\npackages: [native]\n",
        world.server.url()
    ));
    world.check_failure(&world.build(), 1, &[ARCHIVE, "wrong hash"]);
    world.recipe(&format!("python: {{from: \"{ARCHIVE}#sha256={other}\"}}\npackages: [native]\n"));
    world.check_failure(&world.build(), 2, &[ARCHIVE, "has the wrong hash", &other]);
}

#[test]
fn an_archive_that_is_no_python_for_the_image_is_refused() {
    let machine = |number: u8| {
        let mut program = linked("python", &["libc.so.6"], "", b"\x003.12.4\x00");
        program[18] = number;
        Tar::new().file("python/bin/python3.12", program).symlink("python/bin/python3", "python3.12")
    };
    let musl = linked("python", &["libc.musl-x86_64.so.1"], "", b"\x003.12.4\x00");
    let musl = Tar::new().file("python/bin/python3.12", musl).symlink("python/bin/python3", "python3.12");
    let cases: [(Vec<u8>, &[&str]); 7] = [
        (b"no archive".to_vec(), &["could not use the Python", "not a sound archive"]),
        (packed(Tar::new().file("demo-1.0/setup.py", "")), &["has no `bin/python3`", "install_only"]),
        (packed(python("3.13.1")), &["is 3.13.1, and the recipe asks for 3.12", "take a build of 3.12"]),
        (packed(machine(183)), &["is for arm64, and the base for amd64", "x86_64-unknown-linux-gnu"]),
        (packed(musl), &["is not linked with glibc", "unknown-linux-gnu"]),
        (
            packed(python("3.12.4").symlink("python/lib/x", "../../../etc/passwd")),
            &["`python/lib/x` leads out of its directory"],
        ),
        (packed(python("3.12.4"))[..200].to_vec(), &["could not use the Python"]),
    ];
    for (bytes, said) in cases {
        let world = world("");
        world.write(ARCHIVE, bytes);
        world.check_failure(&world.build(), 2, said);
        assert!(!world.path("image").exists());
    }
    let world = world("");
    fs::remove_file(world.path(ARCHIVE)).unwrap();
    world.check_failure(&world.build(), 2, &["could not read the Python", ARCHIVE, "check the path"]);
}

#[test]
fn each_platform_needs_its_own() {
    let world = world("");
    for (keys, said) in [
        (
            format!("platforms: [linux/amd64, linux/arm64]\npython: {{from: {ARCHIVE}}}\n"),
            "one Python is given for several platforms",
        ),
        (format!("python: {{from: {{linux/amd64: {ARCHIVE}}}}}\n"), "the recipe names none"),
        (
            format!("platforms: [linux/amd64, linux/arm64]\npython: {{from: {{linux/amd64: {ARCHIVE}}}}}\n"),
            "a platform of the recipe has no Python",
        ),
        ("python: {from: cpython.exe}\n".to_owned(), "is no archive of a Python"),
        (format!("python: {{from: {{amd64: {ARCHIVE}}}}}\n"), "write `linux/amd64`"),
    ] {
        world.recipe(&format!("{keys}packages: [native]\n"));
        world.check_failure(&world.build(), 2, &[said]);
    }
    world.recipe(&format!(
        "platforms: [linux/amd64]\npython: {{from: {{linux/amd64: {ARCHIVE}}}}}\npackages: [native]\n"
    ));
    world.build().check_success();
}

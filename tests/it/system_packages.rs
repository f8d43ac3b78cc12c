//! Debian packages are added to an image, against its own dpkg's database and its own archives.

use std::fs;

use serde_json::json;

use crate::gpus::publish_torch;
use crate::support::debian::{File, Package};
use crate::support::image::Image;
use crate::support::layout::{Layout, Tar};
use crate::support::{Outcome, World};

/// A package of the base beside the C library: one library that a newer package replaces.
const INSTALLED: &str = "Package: libdemo1\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n\
                         Depends: libc6\n\n";

fn paragraph(name: &str, version: &str, more: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n{more}\n"
    )
}

/// Debian 12 with a merged /usr, apt's source in this world, and `packages` in dpkg's status.
fn base(world: &World, packages: &str, sources: &str) -> Layout {
    let status = paragraph("libc-bin", "2.36-9+deb12u10", "")
        + &paragraph("libc6", "2.36-9+deb12u10", "Essential: yes\n")
        + packages;
    let tar = Tar::debian("")
        .file("var/lib/dpkg/status", status)
        .file(
            "var/lib/dpkg/info/libdemo1.list",
            "/.\n/usr\n/usr/share\n/usr/share/old\n/usr/lib\n/usr/lib/libdemo.conf\n",
        )
        .file("usr/share/old", "old\n")
        .file("usr/lib/libdemo.conf", "old\n")
        .file("etc/group", "root:x:0:\nvideo:x:44:\n")
        .file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")
        .symlink("lib", "usr/lib")
        .symlink("bin", "usr/bin")
        .directory("var/lib/apt")
        .file("etc/apt/sources.list.d/world.sources", sources)
        .file("usr/share/keyrings/world.asc", world.archive.keyring());
    Layout::new().layer(tar)
}

fn sources(world: &World, more: &str) -> String {
    format!("Types: deb\nURIs: {}/debian\nSuites: bookworm\nComponents: main\n{more}", world.server.url())
}

const SIGNED: &str = "Signed-By: /usr/share/keyrings/world.asc\n";

/// A world whose archive has a tool with a library, one that conflicts, and one that needs a newer library.
fn world() -> World {
    use File::{Directory, Regular};
    let mut world = World::new();
    let package = |name, version, fields, files| Package { name, version, fields, files };
    world.archive.packages.extend([
        package(
            "demo-tool",
            "2.0",
            "Depends: libtool1, libc6 (>= 2.30)\n",
            vec![
                Directory("bin/"),
                Regular("bin/tool", "a tool\n", 0o755),
                Directory("usr/"),
                Directory("usr/share/"),
                Directory("usr/share/doc/"),
                Regular("usr/share/doc/tool", "words\n", 0o644),
            ],
        ),
        package("libtool1", "1.1", "", vec![Regular("lib/x86_64-linux-gnu/tool.conf", "lib\n", 0o644)]),
        package(
            "demo-newer",
            "1.0",
            "Depends: libdemo1 (>= 2.0)\n",
            vec![Regular("usr/share/newer", "n\n", 0o644)],
        ),
        package("libdemo1", "2.0", "", vec![Regular("usr/lib/libdemo.conf", "new\n", 0o644)]),
        package("demo-rival", "1.0", "Conflicts: libc6\n", vec![]),
        package("demo-thief", "1.0", "", vec![Regular("usr/lib/libdemo.conf", "mine\n", 0o644)]),
    ]);
    world.serve_archive();
    world
}

/// A base with these variables, whose archive has the forward-compatibility package of CUDA 12.8; and torch for CUDA 12.4.
fn with_forward_compatibility(env: &[&str]) -> World {
    let mut world = World::new();
    let driver = |version| File::Regular("usr/local/cuda-12.8/compat/libcuda.so.1", version, 0o644);
    world.archive.packages.push(Package {
        name: "cuda-compat-12-8",
        version: "570.124.06-1",
        fields: "",
        files: vec![driver("570.124.06\n")],
    });
    publish_torch(&mut world);
    world.serve_archive();
    let base = base(&world, "", &sources(&world, SIGNED)).with(|layout| {
        layout.config["config"]["Env"].as_array_mut().unwrap().extend(env.iter().map(|it| json!(it)));
    });
    base.write(&world.path("base"));
    world
}

fn with_cuda(world: &World, cuda: &str) -> Outcome {
    world.write(
        "recipe.yaml",
        format!("name: demo\nbase: oci:base\nframeworks: {{torch: 2.6.0}}\ncuda: {cuda}\n"),
    );
    world.build()
}

#[test]
fn the_forward_compatibility_package_of_a_cuda_is_added() {
    for (env, cuda) in [
        (&["CUDA_VERSION=12.8.1"][..], "{compat: true}"),
        (&[], "{compat: \"12.8\"}"),
        (&["CUDA_VERSION=12.1.0"], "{compat: 12.8, driver: \"470.57.02\"}"),
    ] {
        let world = with_forward_compatibility(env);
        let built = with_cuda(&world, cuda);
        built.check_success();
        let plan = world.run(&["plan", "recipe.yaml"]).stdout;
        let words = plan.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words.contains("older ones of data-centre GPUs with cuda-compat-12-8"), "{plan}");
        let image = Image::read(&world.path("image"));
        assert_eq!(image.text("usr/local/cuda-12.8/compat/libcuda.so.1"), "570.124.06\n");
        // Runtimes look below the default toolkit, which is the one that the wheels serve.
        let target = |path: &str| image.files[path].target.as_deref();
        assert_eq!(target("usr/local/cuda"), Some("cuda-12.4"));
        assert_eq!(target("usr/local/cuda-12.4/compat"), Some("../cuda-12.8/compat"));
        let required = "NVIDIA_REQUIRE_CUDA=cuda>=12.0 brand=tesla brand=nvidia";
        let env = image.config["config"]["Env"].as_array().unwrap();
        assert!(env.contains(&json!(required)), "{env:?}");
        let digest = built.check_success();
        world.run(&["lock", "recipe.yaml"]);
        let locked = world.run(&["build", "recipe.yaml", "-o", "oci:again", "--locked", "--offline"]);
        assert_eq!(locked.check_success(), digest);
    }
    let world = with_forward_compatibility(&["CUDA_VERSION=12.8.1"]);
    with_cuda(&world, "{compat: false}").check_success();
    assert!(!Image::read(&world.path("image")).files.contains_key("usr/local/cuda-12.8/compat/libcuda.so.1"));
}

#[test]
fn a_forward_compatibility_that_cannot_be_had_is_refused() {
    for (env, cuda, said) in [
        (&[][..], "{compat: true}", "its environment has no `CUDA_VERSION`"),
        (&["CUDA_VERSION=devel"], "{compat: true}", "its environment has no `CUDA_VERSION`"),
        (&[], "{compat: \"12.6\"}", "cuda-compat-12-6"),
        (&["CUDA_VERSION=11.8.0"], "{compat: true}", "cuda-compat-11-8"),
        (&[], "{compat: newest}", "`newest` is not a version of CUDA"),
        (&[], "{compat: 12.8.1}", "`12.8.1` is not a version of CUDA"),
        (&[], "{driver: \"470.57.02\"}", "driver 470.57.02 does not run CUDA 12"),
    ] {
        let outcome = with_cuda(&with_forward_compatibility(env), cuda);
        assert_ne!(outcome.code, 0, "{cuda}: {outcome}");
        let told = outcome.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(said), "`{said}` is not said of {cuda} over {env:?}: {outcome}");
    }
}

fn recipe(world: &World, packages: &str) {
    world.write(
        "recipe.yaml",
        format!("name: demo\nbase: oci:base\npackages: [wholesome]\nsystem-packages: {packages}\n"),
    );
}

fn with_base(packages: &str, more: &str) -> World {
    let world = world();
    base(&world, packages, &sources(&world, more)).write(&world.path("base"));
    world
}

#[test]
fn packages_are_one_layer_above_the_image_and_dpkg_knows_them() {
    let world = with_base(INSTALLED, SIGNED);
    recipe(&world, "[demo-tool]");
    let built = world.build();
    let digest = built.check_success();
    assert!(built.stderr.contains("4, 1 of them the base's"), "{built}");
    let image = Image::read(&world.path("image"));
    assert_eq!(image.text("usr/bin/tool"), "a tool\n", "below the directory that the base's link leads to");
    assert_eq!(image.text("usr/lib/x86_64-linux-gnu/tool.conf"), "lib\n");
    assert_eq!(image.layers, 4, "the base, the packages, the wheel, the system");
    let status = image.text("var/lib/dpkg/status");
    let names: Vec<&str> = status.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
    assert_eq!(names, ["demo-tool", "libc-bin", "libc6", "libdemo1", "libtool1"]);
    assert!(status.contains(INSTALLED), "what was installed is told as before: {status}");
    assert!(
        image.text("var/lib/dpkg/info/demo-tool.list").contains("/bin/tool\n"),
        "as the package spells it"
    );
    let automatic = image.text("var/lib/apt/extended_states");
    assert_eq!(automatic, "Package: libtool1\nArchitecture: amd64\nAuto-Installed: 1\n\n");

    world.run(&["lock", "recipe.yaml"]);
    let locked = world.run(&["build", "recipe.yaml", "-o", "oci:again", "--locked", "--offline"]);
    assert_eq!(locked.check_success(), digest);
    fs::remove_dir_all(world.store()).unwrap();
    let anew = world.run(&["build", "recipe.yaml", "-o", "oci:anew", "--locked"]);
    assert_eq!(anew.check_success(), digest);
}

#[test]
fn a_package_that_is_there_stays_unless_another_needs_a_newer_one() {
    let world = with_base(INSTALLED, SIGNED);
    recipe(&world, "[libdemo1]");
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!((image.text("usr/lib/libdemo.conf"), image.layers), ("old\n", 3));

    fs::remove_dir_all(world.path("image")).unwrap();
    recipe(&world, "[demo-newer]");
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!(image.text("usr/lib/libdemo.conf"), "new\n");
    assert!(!image.files.contains_key("usr/share/old"), "the new version does not have it");
    let status = image.text("var/lib/dpkg/status");
    assert!(status.contains("Package: libdemo1\nStatus: install ok installed\n"), "{status}");
    assert!(status.contains("Version: 2.0\n") && !status.contains(INSTALLED), "{status}");
    assert!(!image.files.contains_key("var/lib/apt/extended_states"), "it was there before");
    assert!(!image.files.contains_key("etc/machine-id"), "no package makes one");
}

#[test]
fn the_list_joins_that_of_a_base_of_packages() {
    let world = world();
    world.recipe("packages: [wholesome]\nsystem-packages: [demo-tool, python3]\n");
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!(image.text("usr/bin/tool"), "a tool\n");
    assert!(image.text("var/lib/dpkg/status").contains("Package: libtool1\n"));
}

#[test]
fn what_does_not_fit_the_base_is_refused() {
    let check = |installed: &str, more: &str, packages: &str, said: &[&str]| {
        let world = with_base(installed, more);
        recipe(&world, packages);
        let outcome = world.build();
        world.check_failure(&outcome, 1, said);
        assert!(!world.path("image").exists());
    };
    check(INSTALLED, SIGNED, "[demo-tol]", &["there is no package `demo-tol`", "did you mean `demo-tool`?"]);
    check(
        INSTALLED,
        SIGNED,
        "[demo-rival]",
        &["`demo-rival` conflicts with `libc6`", "`libc6` is in the base", "hint: leave one of them out"],
    );
    check(
        INSTALLED,
        SIGNED,
        "[demo-thief]",
        &["`usr/lib/libdemo.conf` is in both `libdemo1` of the base and `demo-thief`"],
    );
    check(INSTALLED, "Trusted: yes\n", "[demo-tool]", &["takes suite `bookworm` without a signature"]);
    check(INSTALLED, "", "[demo-tool]", &["the base has no keyring for suite `bookworm`"]);
    check(
        INSTALLED,
        "Signed-By: /usr/share/keyrings/gone.gpg\n",
        "[demo-tool]",
        &["`/usr/share/keyrings/gone.gpg`, which the base does not have"],
    );
    check(INSTALLED, "Enabled: no\n", "[demo-tool]", &["apt of the base has no source"]);
    check(
        &[INSTALLED, INSTALLED].concat(),
        SIGNED,
        "[demo-tool]",
        &["dpkg's database of the base", "`libdemo1` is there twice", "hint: "],
    );
    check(
        &INSTALLED.replace("Depends: libc6", "Depends: libgone"),
        SIGNED,
        "[demo-tool]",
        &["the base's `libdemo1` needs `libgone`, which the base does not have"],
    );
    check(
        &INSTALLED.replace("ok installed", "ok half-configured"),
        SIGNED,
        "[demo-tool]",
        &["`libdemo1` of the base is not configured"],
    );
}

#[test]
fn a_suite_that_another_key_signed_is_refused() {
    let mut world = world();
    world.archive.sign_with_another_key();
    world.serve_archive();
    base(&world, INSTALLED, &sources(&world, SIGNED)).write(&world.path("base"));
    recipe(&world, "[demo-tool]");
    let outcome = world.build();
    world.check_failure(
        &outcome,
        1,
        &["suite `bookworm`", "cannot be trusted", "usr/share/keyrings/world.asc"],
    );
}

#[test]
fn an_image_without_dpkg_is_refused_by_the_name_of_what_it_has() {
    let world = world();
    let alpine = Tar::new().file("lib/apk/db/installed", "").whiteout("var/lib/dpkg/status");
    Layout::new().layer(Tar::debian("")).layer(alpine).write(&world.path("base"));
    world.write(
        "recipe.yaml",
        "name: demo\nbase: oci:base\npackages: [wholesome]\nsystem-packages: [demo-tool]\n",
    );
    let outcome = world.build();
    world.check_failure(&outcome, 1, &["`system-packages` are Debian's", "apk"]);
}

#[test]
fn names_are_checked_at_once() {
    let world = world();
    world.write("recipe.yaml", "name: demo\nbase: oci:base\nsystem-packages: [Git, git, git, \"a b\"]\n");
    let outcome = world.build();
    world.check_failure(
        &outcome,
        2,
        &["`Git` is not the name of a Debian package", "`git` is listed twice", "`a b` is not the name"],
    );
}

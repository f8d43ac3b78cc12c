//! One recipe becomes an image for each of its platforms, and an index over them.

use std::fs;

use imgforge::oci::{Architecture, Digest};
use serde_json::Value;

use crate::support::layout::{Layout, Tar};
use crate::support::registry::Registry;
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, open};

const BOTH: &str = "platforms: [linux/amd64, linux/arm64]\n";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LINUX: [(&str, &str); 2] =
    [("amd64", "cp311-cp311-manylinux_2_17_x86_64"), ("arm64", "cp311-cp311-manylinux_2_17_aarch64")];

/// A world whose archive and whose project `native` are for both platforms.
fn world(lines: &str) -> World {
    let mut world = World::new();
    world.archive.architectures = &["amd64", "arm64"];
    world.serve_archive();
    for (architecture, tag) in LINUX {
        let wheel = Wheel::new("native", "1.0").tag(tag);
        world.publish(wheel.file("native/machine.txt", architecture));
    }
    world.recipe(&format!("{lines}packages: [native]\n"));
    world
}

fn json(world: &World, path: &str) -> Value {
    serde_json::from_slice(&fs::read(world.path(path)).unwrap()).unwrap()
}

/// The index that the only entry of the layout `image` leads to, and its digest.
fn index(world: &World) -> (Value, Digest) {
    let entries = json(world, "image/index.json");
    assert_eq!(entries["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(entries["manifests"][0]["mediaType"], INDEX);
    let digest: Digest = entries["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    (json(world, &format!("image/blobs/sha256/{}", digest.hex())), digest)
}

fn digest_on(index: &Value, at: usize) -> Digest {
    index["manifests"][at]["digest"].as_str().unwrap().parse().unwrap()
}

fn lock(world: &World, arguments: &[&str]) -> Outcome {
    world.run(&[&["lock", "recipe.yaml"], arguments].concat())
}

fn lock_text(world: &World) -> String {
    fs::read_to_string(world.path("recipe.lock")).unwrap()
}

#[test]
fn an_index_leads_to_the_image_of_each_platform() {
    let world = world(BOTH);
    let built = world.build();
    let (index, digest) = index(&world);
    assert_eq!(built.check_success(), digest);
    for (at, (architecture, _)) in LINUX.into_iter().enumerate() {
        assert_eq!(index["manifests"][at]["platform"]["architecture"], architecture);
        let place = format!("oci:{}", world.path("image").display());
        let image = open(&place, architecture.parse().ok()).unwrap();
        assert_eq!(image.digest, Some(digest_on(&index, at)));
        assert_eq!(image.architecture.as_str(), architecture);
        let said = format!("demo for linux/{architecture}");
        assert!(built.stderr.contains(&said), "{built}");
    }
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn each_image_is_the_one_of_a_recipe_for_its_platform_alone() {
    let world = world(BOTH);
    world.build().check_success();
    let (index, _) = index(&world);
    for (at, (architecture, _)) in LINUX.into_iter().enumerate() {
        let platform = format!("linux/{architecture}");
        let one = world.run(&["build", "recipe.yaml", "--platform", &platform, "-o", "oci:one"]);
        assert_eq!(one.check_success(), digest_on(&index, at));
        world.recipe(&format!("platforms: [{platform}]\npackages: [native]\n"));
        assert_eq!(
            world.run(&["build", "recipe.yaml", "-o", "oci:only"]).check_success(),
            digest_on(&index, at)
        );
        world.recipe(&format!("{BOTH}packages: [native]\n"));
    }
    world.recipe("packages: [native]\n");
    let plain = world.run(&["build", "recipe.yaml", "-o", "oci:plain"]).check_success();
    assert_eq!(plain, digest_on(&index, 0));
}

#[test]
fn a_platform_has_its_own_wheels_and_packages() {
    let world = world(BOTH);
    world.build().check_success();
    for (architecture, _) in LINUX {
        let platform = format!("linux/{architecture}");
        let json = world.run(&["plan", "recipe.yaml", "--platform", &platform, "--json"]);
        let plan: Value = serde_json::from_str(&json.stdout).unwrap();
        assert_eq!(plan["base"]["architecture"], architecture);
        let wheel = plan["distributions"][0]["wheel"].as_str().unwrap();
        let tag = LINUX.iter().find(|(name, _)| *name == architecture).unwrap().1;
        assert!(wheel.ends_with(&format!("{tag}.whl")), "{wheel}");
        assert_eq!(world.run(&["check", "oci:image", "--platform", &platform]).code, 0);
    }
}

#[test]
fn a_plan_tells_of_every_platform_and_of_what_differs() {
    let mut world = world(BOTH);
    world.publish(Wheel::new("native", "2.0").tag(LINUX[0].1).file("native/machine.txt", "amd64"));
    let plan = world.run(&["plan", "recipe.yaml"]);
    assert_eq!(plan.code, 0, "{plan}");
    for said in ["demo for linux/amd64", "demo for linux/arm64", "DIFFERS", "native   2.0          1.0"] {
        assert!(plan.stdout.contains(said), "`{said}`: {plan}");
    }
    let json = world.run(&["plan", "recipe.yaml", "--json"]);
    let plans: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(plans["platforms"]["linux/amd64"]["distributions"][0]["version"], "2.0");
    assert_eq!(plans["platforms"]["linux/arm64"]["distributions"][0]["version"], "1.0");

    world.write("plan.json", json.stdout);
    let diff = |platform| {
        world.run(&["diff", "plan.json", "recipe.yaml", "--platform", platform, "--exit-code"]).code
    };
    assert_eq!((diff("linux/amd64"), diff("linux/arm64")), (0, 0));
}

#[test]
fn a_framework_that_has_cuda_on_one_platform_alone_is_told() {
    let mut world = world(BOTH);
    let cuda = "nvidia-cuda-runtime-cu12==12.6.77";
    world.publish(Wheel::new("nvidia-cuda-runtime-cu12", "12.6.77").tag("py3-none-manylinux2014_x86_64"));
    let torch = Wheel::new("torch", "2.6.0").requires(&format!("{cuda} ; platform_machine == 'x86_64'"));
    world.publish(torch);
    world.recipe(&format!("{BOTH}frameworks: {{torch: 2.6.0}}\n"));
    let plan = world.run(&["plan", "recipe.yaml"]);
    let said = "torch 2.6.0 uses CUDA on linux/amd64, and its wheel for linux/arm64 asks for none";
    assert!(plan.stderr.contains(said), "{plan}");
    world.recipe(&format!("{BOTH}frameworks: {{torch: 2.6.0}}\ncuda: {{policy: cpu}}\n"));
    let plan = world.run(&["plan", "recipe.yaml"]);
    assert!(!plan.stderr.contains("uses CUDA"), "{plan}");
}

#[test]
fn a_lock_holds_every_platform() {
    let mut world = world(BOTH);
    let first = world.build().check_success();
    assert_eq!(lock(&world, &[]).code, 0);
    let text = lock_text(&world);
    assert!(text.contains("\nversion = 2\n") && text.contains("[platform.arm64.base"), "{text}");
    for (_, tag) in LINUX {
        world.publish(Wheel::new("native", "1.1").tag(tag).file("native/machine.txt", "newer"));
    }
    let locked = ["build", "recipe.yaml", "--locked", "-o", "oci:image"];
    assert_eq!(world.run(&locked).check_success(), first);
    assert_eq!((lock(&world, &["--check"]).code, lock_text(&world)), (0, text.clone()));

    // One platform moves, and the other stays.
    let moved = lock(&world, &["--upgrade", "--platform", "linux/arm64"]);
    assert!(moved.stderr.contains("linux/arm64: moved native 1.0 to 1.1"), "{moved}");
    assert!(!moved.stderr.contains("linux/amd64"), "{moved}");
    let (amd64, arm64) = (text.find("[platform.amd64").unwrap(), text.find("[platform.arm64").unwrap());
    assert!(amd64 < arm64);
    assert_eq!(lock_text(&world)[..arm64], text[..arm64]);
    assert_ne!(world.run(&locked).check_success(), first);
    let diff = world.run(&["diff", "recipe.lock", "recipe.yaml", "--platform", "linux/arm64", "--exit-code"]);
    assert_eq!(diff.code, 0, "{diff}");
}

#[test]
fn the_lock_of_one_platform_is_kept_when_another_is_added() {
    let mut world = world("");
    lock(&world, &[]);
    for (_, tag) in LINUX {
        world.publish(Wheel::new("native", "1.1").tag(tag).file("native/machine.txt", "newer"));
    }
    world.recipe(&format!("{BOTH}packages: [native]\n"));
    let locked = ["build", "recipe.yaml", "--locked", "-o", "oci:image"];
    world.check_failure(&world.run(&locked), 2, &["out of date: the recipe's `platforms` changed"]);
    let amd64 = ["--platform", "linux/amd64"];
    world.run(&[&locked[..], &amd64].concat()).check_success();
    assert_eq!(lock(&world, &["--check"]).code, 1);
    assert_eq!(lock(&world, &[]).code, 0);
    assert_eq!(lock_text(&world).matches("version = \"1.0\"").count(), 2, "{}", lock_text(&world));
    world.run(&locked).check_success();

    // Back again: the part of a platform is no lock of a recipe that leaves it to its base.
    world.recipe("packages: [native]\n");
    world.check_failure(&world.run(&locked), 2, &["the recipe's `platforms` changed"]);
    assert_eq!(lock(&world, &[]).code, 0);
    assert!(lock_text(&world).contains("\nversion = 1\n"));
}

#[test]
fn other_tools_get_one_lock_of_all_platforms() {
    let mut world = world(BOTH);
    world.publish(Wheel::new("machine-only", "1.0").file("only.py", "1\n"));
    world.recipe(&format!(
        "{BOTH}packages: [native, wholesome, \"machine-only ; platform_machine == 'aarch64'\"]\n"
    ));
    lock(&world, &[]);
    let exported = lock(&world, &["--format", "pylock"]).stdout;
    let pylock: toml::Value = toml::from_str(&exported).unwrap();
    assert_eq!(pylock["environments"].as_array().unwrap().len(), 2);
    let told = pylock["packages"].as_array().unwrap().iter().map(|package| {
        let marker = package.get("marker").and_then(toml::Value::as_str).unwrap_or("everywhere");
        format!("{} {} {marker}", package["name"], package["wheels"].as_array().unwrap().len())
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            "\"machine-only\" 1 platform_machine == 'aarch64'",
            "\"native\" 2 everywhere",
            "\"wholesome\" 1 everywhere"
        ]
    );
}

#[test]
fn a_registry_gets_the_images_first_and_the_tag_names_the_index() {
    let registry = Registry::start();
    let world = world(BOTH);
    let digest = world.run(&["build", "recipe.yaml", "-o", &registry.place("team/demo:v1")]).check_success();
    let puts: Vec<String> = registry
        .take_requests()
        .into_iter()
        .filter(|request| request.starts_with("PUT") && request.contains("/manifests/"))
        .collect();
    assert_eq!(puts.len(), 3, "{puts:#?}");
    assert!(puts[..2].iter().all(|put| put.contains("/manifests/sha256:")), "{puts:#?}");
    assert_eq!(puts[2], "PUT /v2/team/demo/manifests/v1");
    {
        let content = registry.content();
        let (media_type, index) = &content.manifests[&("team/demo".to_owned(), "v1".to_owned())];
        assert_eq!((media_type.as_str(), Digest::of(index)), (INDEX, digest));
    }
    for (at, (architecture, _)) in LINUX.into_iter().enumerate() {
        let platform = format!("linux/{architecture}");
        let copy = ["copy", &registry.place("team/demo:v1"), "oci:copied", "--platform", &platform];
        world.run(&["build", "recipe.yaml", "-o", "oci:image"]).check_success();
        assert_eq!(world.run(&copy).check_success(), digest_on(&index(&world).0, at));
    }
}

#[test]
fn a_base_that_lacks_a_platform_is_refused_by_name() {
    let world = World::new();
    Layout::new().layer(Tar::debian("")).write(&world.path("base"));
    world.write("recipe.yaml", format!("name: demo\nbase: oci:base\n{BOTH}packages: [wholesome]\n"));
    world.check_failure(&world.build(), 1, &["oci:", "base", "linux/amd64", "arm64"]);

    world.recipe(&format!("{BOTH}packages: [wholesome]\n"));
    world.check_failure(&world.build(), 1, &["suite `bookworm` has no component `main` for arm64"]);
    assert!(!world.path("image").exists());
}

#[test]
fn what_holds_one_platform_takes_this_machines() {
    let world = world(BOTH);
    let here = Architecture::here().unwrap();
    let place = |kind: &str, name: &str| format!("{kind}:{}", world.path(name).display());
    let build = |place: &str| world.run(&["build", "recipe.yaml", "-o", place]).check_success();
    build(&place("docker-archive", "image.tar"));
    assert_eq!(open(&place("docker-archive", "image.tar"), None).unwrap().architecture, here);
    build(&place("oci-archive", "both.tar"));
    for architecture in Architecture::ALL {
        let image = open(&place("oci-archive", "both.tar"), Some(architecture)).unwrap();
        assert_eq!(image.architecture, architecture);
    }
}

#[test]
fn images_beside_an_index_leave_its_blobs() {
    let world = world(BOTH);
    world.build().check_success();
    world.recipe("packages: [wholesome]\n");
    world.run(&["build", "recipe.yaml", "-o", "oci:image:other"]).check_success();
    for architecture in Architecture::ALL {
        let place = format!("oci:{}:latest", world.path("image").display());
        open(&place, Some(architecture)).unwrap();
    }
    // The index goes, and with it what only it needs.
    let blobs = || fs::read_dir(world.path("image/blobs/sha256")).unwrap().count();
    let before = blobs();
    world.build().check_success();
    assert!(blobs() < before);
}

#[test]
fn what_would_run_another_machines_programs_is_refused_when_it_is_planned() {
    let other = Architecture::ALL.into_iter().find(|it| Some(*it) != Architecture::here()).unwrap();
    let world = world(&format!("platforms: [{}]\npython: {{bytecode: true}}\n", other.platform()));
    // The PATH of these tests has the machine's Python 3.11.2 or another one: none is what is needed.
    let mut command = world.command(&["plan", "recipe.yaml"]);
    let outcome = crate::support::run(command.env("PATH", "/nowhere"));
    let said = format!("nothing here compiles for Python 3.11.2 of a base for {other}");
    world.check_failure(&outcome, 1, &[&said, "build on a machine for"]);
    assert!(!outcome.stderr.contains("downloading"), "{outcome}");

    world.recipe(&format!("platforms: [{}]\npackages: [native]\n", other.platform()));
    world.build().check_success();
    let imported = world.run(&["check", "oci:image", "--platform", other.platform(), "--import"]);
    let said = format!("the image is for {}, whose programs this machine does not run", other.platform());
    world.check_failure(&imported, 1, &[&said]);
}

#[test]
fn platforms_that_are_not_of_the_recipe_are_refused() {
    let world = world("");
    let asked = ["build", "recipe.yaml", "--platform", "linux/arm64"];
    world.check_failure(&world.run(&asked), 2, &["names no platforms", "write `platforms: [linux/arm64]`"]);
    world.recipe("platforms: [linux/amd64]\npackages: [native]\n");
    world.check_failure(
        &world.run(&asked),
        2,
        &["is not for linux/arm64", "`platforms: [linux/amd64, linux/arm64]`"],
    );
    let unknown = world.run(&["build", "recipe.yaml", "--platform", "linux/riscv64"]);
    world.check_failure(&unknown, 2, &["write linux/amd64 or linux/arm64"]);
    for (written, said) in [
        ("[]", "`platforms` names no platform"),
        ("[arm64]", "write `linux/arm64`"),
        ("[linux/x86_64]", "write `linux/amd64`"),
        ("[windows/amd64]", "images are for `linux/amd64` and `linux/arm64`"),
        ("[linux/arm64, linux/arm64/v8]", "`linux/arm64` is listed twice"),
    ] {
        world.recipe(&format!("platforms: {written}\npackages: [native]\n"));
        world.check_failure(&world.build(), 2, &[said]);
    }
}

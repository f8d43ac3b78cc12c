//! A lock keeps what was decided: the same bytes, whatever happens to the indexes since.

use std::fs;

use crate::support::server::{Manner, Resource};
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run};

const RECIPE: &str = "packages: [demo]\n";
const LOCKED: [&str; 5] = ["build", "recipe.yaml", "--locked", "-o", "oci:image"];

/// A project that needs two others, of which newer versions can be had from [`publish_newer`] on.
fn world() -> World {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0").requires("helper>=2").requires("other").file("demo.py", "1\n"));
    world.publish(Wheel::new("helper", "2.5").file("helper.py", "def help(): pass\n"));
    world.publish(Wheel::new("other", "1.0").file("other.py", "1\n"));
    world.recipe(RECIPE);
    world
}

fn publish_newer(world: &mut World) {
    world.publish(Wheel::new("helper", "2.6").file("helper.py", "def help(): return 1\n"));
    world.publish(Wheel::new("other", "1.1").file("other.py", "2\n"));
    // The page lists the older one last now.
    world.publish(Wheel::new("helper", "2.5").file("helper.py", "def help(): pass\n"));
}

fn lock(world: &World, arguments: &[&str]) -> Outcome {
    let outcome = world.run(&[&["lock", "recipe.yaml"], arguments].concat());
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, ""), "{outcome}");
    outcome
}

fn text(world: &World) -> String {
    fs::read_to_string(world.path("recipe.lock")).unwrap()
}

/// The locked versions: `demo 1.0, helper 2.5, …`.
fn versions(world: &World) -> String {
    let text = text(world);
    let distributions = text.split("[[distribution]]").skip(1).map(|table| {
        let value = |key: &str| {
            let line = table.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
            line.trim_matches('"').to_owned()
        };
        format!("{} {}", value("name"), value("version"))
    });
    distributions.collect::<Vec<_>>().join(", ")
}

/// Refused as the command line's or the recipe's fault.
#[track_caller]
fn check_refused(world: &World, arguments: &[&str], said: &[&str]) {
    let outcome = world.run(arguments);
    world.check_failure(&outcome, 2, said);
}

#[test]
fn a_locked_build_gives_the_digest_of_the_unlocked_one() {
    let world = world();
    let unlocked = world.build().check_success();
    lock(&world, &[]);
    assert_eq!(world.build().check_success(), unlocked);
    assert_eq!(world.run(&LOCKED).check_success(), unlocked);
}

#[test]
fn a_locked_build_asks_for_nothing_that_the_store_has() {
    let world = world();
    lock(&world, &[]);
    world.build().check_success();
    world.server.take_requests();
    world.run(&LOCKED).check_success();
    world.run(&["plan", "recipe.yaml", "--locked"]);
    assert_eq!(world.server.take_requests(), Vec::<String>::new());
}

#[test]
fn what_is_published_later_changes_nothing() {
    let mut world = world();
    lock(&world, &[]);
    let first = world.build().check_success();
    publish_newer(&mut world);
    world.archive.packages[0].version = "12.4+deb12u6";
    world.serve_archive();
    assert_eq!(world.run(&LOCKED).check_success(), first);
    assert_eq!(world.build().check_success(), first);
    let mut command = world.command(&LOCKED);
    command.env("IMGFORGE_CACHE_DIR", world.path("empty"));
    // The archive of the base has only the newer package now.
    world.server.set("/debian/pool/base-files_12.4+deb12u5_amd64.deb", first_package());
    assert_eq!(run(&mut command).check_success(), first);

    fs::remove_file(world.path("recipe.lock")).unwrap();
    assert_ne!(world.build().check_success(), first);
}

/// A package that an archive of the past serves.
fn first_package() -> Resource {
    let archive = crate::support::debian::Archive::small();
    let (_, bytes) = archive.files().into_iter().find(|(path, _)| path.contains("base-files")).unwrap();
    Resource::file(bytes)
}

#[test]
fn an_offline_locked_build_needs_no_network() {
    let world = world();
    lock(&world, &[]);
    let first = world.build().check_success();
    fs::remove_dir_all(world.path("image")).unwrap();
    for records in ["simple-page", "core-metadata", "wheel-outline", "debian-release"] {
        fs::remove_dir_all(world.store().join("records").join(records)).unwrap();
    }
    world.server.stop();
    assert_eq!(world.run(&[&LOCKED[..], &["--offline"]].concat()).check_success(), first);
}

#[test]
fn an_offline_locked_build_says_what_is_missing() {
    let world = world();
    lock(&world, &[]);
    let mut command = world.command(&[&LOCKED[..], &["--offline"]].concat());
    command.env("IMGFORGE_CACHE_DIR", world.path("empty"));
    run(&mut command).check_failure(1, &["demo-1.0-py3-none-any.whl", "offline"]);
}

#[test]
fn the_lock_is_the_same_when_it_is_made_again() {
    let world = world();
    lock(&world, &[]);
    let first = text(&world);
    let again = lock(&world, &[]);
    assert!(again.stderr.contains("recipe.lock is up to date"), "{again}");
    assert_eq!(text(&world), first);
    lock(&world, &["--upgrade"]);
    assert_eq!(text(&world), first);
    fs::remove_file(world.path("recipe.lock")).unwrap();
    lock(&world, &["--offline"]);
    assert_eq!(text(&world), first);
    world.recipe(&format!("{RECIPE}config: {{workdir: /content}}\n"));
    lock(&world, &[]);
    assert_eq!(text(&world), first, "what an image is configured to do decides nothing that is locked");
}

#[test]
fn a_lock_names_no_package_index() {
    let world = world();
    lock(&world, &[]);
    let text = text(&world);
    assert!(!text.contains("/simple") && !text.contains("/files/"), "{text}");
}

#[test]
fn a_changed_recipe_is_refused_by_the_key_that_changed() {
    let world = world();
    check_refused(&world, &LOCKED, &["no lock `recipe.lock`", "imgforge lock recipe.yaml"]);
    lock(&world, &[]);
    for (lines, key) in [
        ("packages: [demo, wholesome]\n", "`packages`"),
        ("packages: [demo]\npython: \"3.11\"\n", "`python`"),
        ("packages: [demo]\nexclude-newer: 2025-01-01\n", "`exclude-newer`"),
        ("packages: [demo]\ncuda: {policy: pip}\n", "`cuda`"),
        ("packages: [demo]\nindexes: ['http://127.0.0.1:9/simple']\n", "`indexes`"),
        ("frameworks: {demo: '1.0'}\n", "`frameworks`, `packages`"),
    ] {
        world.recipe(lines);
        check_refused(&world, &LOCKED, &[key, "changed", "imgforge lock recipe.yaml"]);
    }
    let recipe = fs::read_to_string(world.recipe(RECIPE)).unwrap();
    world.write("recipe.yaml", recipe.replace("packages: [python3]", "packages: [python3, libc6]"));
    check_refused(&world, &LOCKED, &["`base` changed"]);
    world.recipe("# A comment, and another order of words.\n\npackages:\n  - demo\n");
    world.run(&LOCKED).check_success();
}

#[test]
fn what_requirements_files_say_belongs_to_the_recipe() {
    let world = world();
    world.write("more.txt", "demo\n");
    world.write("bounds.txt", "helper<3\n");
    world.recipe("requirements: [more.txt]\nconstraints: [bounds.txt]\n");
    lock(&world, &[]);
    world.write("more.txt", "# The same.\ndemo\n");
    world.run(&LOCKED).check_success();
    world.write("bounds.txt", "helper<4\n");
    check_refused(&world, &LOCKED, &["`constraints` changed"]);
    world.write("more.txt", "demo>=1\n");
    check_refused(&world, &LOCKED, &["`constraints`, `requirements` changed"]);
}

#[test]
fn a_build_with_a_lock_that_is_out_of_date_moves_only_what_it_must() {
    let mut world = world();
    lock(&world, &[]);
    let before = text(&world);
    publish_newer(&mut world);
    world.recipe("packages: [demo, other>1.0, wholesome]\n");
    let built = world.build();
    built.check_success();
    assert!(built.stderr.contains("warning: the lock `recipe.lock` is out of date"), "{built}");
    assert_eq!(text(&world), before);
    let locked = lock(&world, &[]);
    assert_eq!(versions(&world), "demo 1.0, helper 2.5, other 1.1, wholesome 1.0");
    for said in ["moved other 1.0 to 1.1\n", "added wholesome 1.0\n", "wrote recipe.lock"] {
        assert!(locked.stderr.contains(said), "{locked}");
    }
    assert_eq!(world.run(&LOCKED).check_success(), built.check_success());
}

#[test]
fn an_upgrade_moves_what_it_names() {
    let mut world = world();
    lock(&world, &[]);
    publish_newer(&mut world);
    world.archive.packages[0].version = "12.4+deb12u6";
    world.serve_archive();
    lock(&world, &[]);
    assert_eq!(versions(&world), "demo 1.0, helper 2.5, other 1.0");
    lock(&world, &["--upgrade=other"]);
    assert_eq!(versions(&world), "demo 1.0, helper 2.5, other 1.1");
    assert!(text(&world).contains("12.4+deb12u5"), "{}", text(&world));
    let all = lock(&world, &["--upgrade"]);
    assert_eq!(versions(&world), "demo 1.0, helper 2.6, other 1.1");
    for said in ["moved base-files 12.4+deb12u5 to 12.4+deb12u6\n", "moved helper 2.5 to 2.6\n"] {
        assert!(all.stderr.contains(said), "{all}");
    }
    check_refused(&world, &["lock", "recipe.yaml", "--upgrade=hepler"], &["`hepler`", "spelling"]);
}

#[test]
fn a_damaged_lock_is_one_error_at_its_line() {
    let world = world();
    lock(&world, &[]);
    let sound = text(&world);
    let line_with = |text: &str, part: &str| 1 + text.lines().position(|line| line.contains(part)).unwrap();
    let damage: [(&str, &str, &str); 7] = [
        ("version = \"2.5\"", "version = \"2.5", "version = \"2.5"),
        ("[[distribution]]\nname = \"helper\"", "<<<<<<< ours\nname = \"helper\"", "<<<<<<<"),
        ("[[distribution]]\nname = \"helper\"", "[[distribution]]\nnaame = \"helper\"", "naame"),
        ("name = \"helper\"\nversion = \"2.5\"", "name = \"helper\"\nversion = \"2.5.1\"", "helper-2.5-py3"),
        ("role = \"package\"", "role = \"passenger\"", "passenger"),
        ("because = \"essential\"", "because = \"so\"", "\"so\""),
        ("digest = \"sha256:", "digest = \"sha256:zz", "sha256:zz"),
    ];
    for (from, to, at) in damage {
        let damaged = sound.replacen(from, to, 1);
        assert_ne!(damaged, sound, "{from}");
        world.write("recipe.lock", &damaged);
        for command in [&LOCKED[..], &["build", "recipe.yaml"], &["lock", "recipe.yaml"]] {
            let outcome = world.run(command);
            world.check_failure(&outcome, 2, &["`recipe.lock`", "restore the file"]);
            let line = line_with(&damaged, at);
            assert!(outcome.stderr.contains(&format!("line {line} of the lock")), "line {line}: {outcome}");
        }
    }
    world.write("recipe.lock", sound.replacen("version = 1\n", "version = 3\nnews = true\n", 1));
    check_refused(&world, &LOCKED, &["version 3", "newer imgforge"]);
    lock(&world, &["--upgrade"]);
    assert_eq!(text(&world), sound);
}

#[test]
fn an_index_that_serves_something_else_is_refused() {
    let mut world = world();
    lock(&world, &[]);
    let empty = |world: &World| {
        drop(fs::remove_dir_all(world.path("empty")));
        let mut command = world.command(&LOCKED);
        command.env("IMGFORGE_CACHE_DIR", world.path("empty"));
        run(&mut command)
    };
    let listed = world.publish(Wheel::new("helper", "2.5").file("helper.py", "import os\n"));
    let outcome = empty(&world);
    let said = ["`helper-2.5-py3-none-any.whl`", "is locked", "is listed", "--upgrade=helper"];
    outcome.check_failure(1, &said);

    let genuine = Wheel::new("helper", "2.5").file("helper.py", "def help(): pass\n");
    world.publish(genuine.clone());
    world.server.set(&format!("/files/{}", listed.filename), Resource::file(listed.bytes));
    empty(&world).check_failure(1, &["helper-2.5-py3-none-any.whl"]);

    let listing = serde_json::json!({"meta": {"api-version": "1.1"}, "name": "helper", "files": []});
    world.server.set("/simple/helper/", Resource::json(&listing));
    empty(&world).check_failure(1, &["does not list `helper-2.5-py3-none-any.whl`", "--upgrade=helper"]);

    world.publish(genuine);
    world.server.behave("/simple/demo/", Manner::Status(404));
    empty(&world).check_failure(1, &["could not find `demo-1.0-py3-none-any.whl` again"]);
}

/// A framework whose CUDA is shared, with everything a lock has to keep of that.
#[test]
fn a_locked_plan_gives_the_same_reasons() {
    let mut world = World::new();
    for version in ["12.4.5.8", "12.5.3.2"] {
        world.publish(
            Wheel::new("nvidia-cublas-cu12", version)
                .tag("py3-none-manylinux2014_x86_64")
                .file("nvidia/cublas/lib/libcublas.so.12", version),
        );
    }
    for version in ["8.9.7.29", "9.1.0.70"] {
        world.publish(
            Wheel::new("nvidia-cudnn-cu12", version)
                .tag("py3-none-manylinux2014_x86_64")
                .file(&format!("nvidia/cudnn/lib/libcudnn.so.{}", &version[..1]), version),
        );
    }
    world.publish(
        Wheel::new("nvidia-cuda-runtime-cu12", "12.4.127")
            .tag("py3-none-manylinux2014_x86_64")
            .file("nvidia/cuda_runtime/lib/libcudart.so.12", "12.4.127"),
    );
    world.publish(
        Wheel::new("torch", "2.6.0")
            .requires("nvidia-cublas-cu12==12.4.5.8; platform_system == 'Linux'")
            .requires("nvidia-cudnn-cu12==9.1.0.70")
            .file("torch/__init__.py", "1\n"),
    );
    world.publish(
        Wheel::new("jax", "0.4.26")
            .extra("cuda12")
            .requires("nvidia-cudnn-cu12>=8.9.2.26,<9.0; extra == 'cuda12'")
            .requires("nvidia-cublas-cu12>=12.1; extra == 'cuda12'")
            .file("jax/__init__.py", "1\n"),
    );
    world.recipe("frameworks: {torch: 2.6.0, jax: 0.4.26}\npackages: [nvidia-cublas-cu12]\n");

    let unlocked = world.build().check_success();
    let told = |arguments: &[&str]| world.run(&[&["plan", "recipe.yaml"], arguments].concat());
    let (table, json) = (told(&[]).stdout, told(&["--json"]).stdout);
    lock(&world, &[]);
    let locked = text(&world);
    for line in [
        "toolkits = [\"12.4\"]",
        "role = \"libraries\"",
        "demands = [\"jax 0.4.26 needs nvidia-cudnn-cu12>=8.9.2.26,<9.0\"]",
        "    \"the recipe needs nvidia-cublas-cu12\",",
        "demands = [\"the layout needs nvidia-cuda-runtime-cu12\"]",
        "    \"nvidia-cudnn-cu12==9.1.0.70\",",
    ] {
        assert!(locked.lines().any(|other| other == line), "{line}\n{locked}");
    }
    assert_eq!(told(&["--locked"]).stdout, table);
    assert_eq!(told(&["--locked", "--json"]).stdout, json);
    assert_eq!(world.run(&LOCKED).check_success(), unlocked);
}

#[test]
fn packages_of_the_base_may_come_from_another_mirror() {
    let world = world();
    let recipe = fs::read_to_string(world.recipe(RECIPE)).unwrap();
    let mirror = |name: &str| format!("{}/{name}", world.server.url());
    world.write("recipe.yaml", recipe.replace(&format!("  mirror: {}\n", mirror("debian")), ""));
    let with_mirror = |name: &str, arguments: &[&str], store: &str| {
        let mut command = world.command(arguments);
        command.env("IMGFORGE_DEBIAN_MIRROR", mirror(name)).env("IMGFORGE_CACHE_DIR", world.path(store));
        run(&mut command)
    };
    assert_eq!(with_mirror("debian", &["lock", "recipe.yaml"], "store").code, 0);
    let first = with_mirror("debian", &LOCKED, "store").check_success();
    for (path, bytes) in world.archive.files() {
        world.server.set(&format!("/elsewhere/{path}"), Resource::file(bytes));
        world.server.set(&format!("/debian/{path}"), Resource::status(404));
    }
    assert_eq!(with_mirror("elsewhere", &LOCKED, "empty").check_success(), first);
}

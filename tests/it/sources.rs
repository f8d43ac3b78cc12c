//! Source distributions are built where a recipe says so: once, and locked as what they were built to.
#![cfg(target_arch = "x86_64")]

use std::fs;

use crate::support::image::Image;
use crate::support::sdist::{Sdist, recipe, world};
use crate::support::wheel::{Built, Wheel};
use crate::support::{World, run};

const SITE: &str = "usr/local/lib/python3.11/dist-packages";

#[track_caller]
fn module(world: &World) -> String {
    Image::read(&world.path("image")).text(&format!("{SITE}/demo.py")).to_owned()
}

#[test]
fn a_source_is_built_once_and_installed_as_any_wheel() {
    let Some(world) = world(Sdist::new()) else { return };
    let outcome = world.build();
    let first = outcome.check_success();
    assert!(outcome.stderr.contains("building demo 1.0 from its source"), "{outcome}");
    assert_eq!(module(&world), "X = 1\n");
    let image = Image::read(&world.path("image"));
    let info = format!("{SITE}/demo-1.0.dist-info");
    image.check_record(&info);
    assert_eq!(image.text(&format!("{info}/INSTALLER")), "imgforge\n");
    assert!(!image.files.contains_key(&format!("{info}/direct_url.json")));

    let planned = world.run(&["plan", "recipe.yaml"]);
    assert!(
        planned.stdout.contains("BUILT FROM SOURCE") && planned.stdout.contains("demo-1.0.tar.gz"),
        "{planned}"
    );

    let again = world.build();
    assert_eq!(again.check_success(), first);
    assert!(!again.stderr.contains("building demo"), "{again}");
}

#[test]
fn a_lock_has_the_wheel_and_a_locked_build_needs_neither_a_build_nor_the_network() {
    let Some(world) = world(Sdist::new()) else { return };
    let outcome = world.run(&["lock", "recipe.yaml"]);
    assert!(outcome.stderr.contains("wrote recipe.lock"), "{outcome}");
    let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
    assert!(lock.contains("[distribution.source]\nfile = \"demo-1.0.tar.gz\""), "{lock}");
    let locked = world.run(&["build", "--locked", "--offline", "recipe.yaml", "-o", "oci:image"]);
    let digest = locked.check_success();
    assert!(!locked.stderr.contains("building demo"), "{locked}");
    // Another machine builds it again, and gets the same.
    let mut elsewhere = world.command(&["build", "--locked", "recipe.yaml", "-o", "oci:image"]);
    let elsewhere = run(elsewhere.env("IMGFORGE_CACHE_DIR", world.path("elsewhere")));
    assert_eq!(elsewhere.check_success(), digest);
    assert!(elsewhere.stderr.contains("building demo 1.0 from its source"), "{elsewhere}");
}

#[test]
fn a_wheel_of_the_same_version_is_taken_and_a_newer_source_goes_before_it() {
    let Some(mut world) = world(Sdist::new()) else { return };
    world.publish(Wheel::new("demo", "0.9").file("demo.py", "X = 0\n"));
    world.build().check_success();
    assert_eq!(module(&world), "X = 1\n");
    recipe(&world, "packages: [demo]\n");
    world.build().check_success();
    assert_eq!(module(&world), "X = 0\n");
    world.publish(Wheel::new("demo", "1.0").file("demo.py", "X = 2\n"));
    recipe(&world, "packages: [demo]\npython: {build: all}\n");
    world.build().check_success();
    assert_eq!(module(&world), "X = 2\n");
}

#[test]
fn a_build_has_the_distributions_that_it_declares_and_nothing_of_the_machine() {
    let before = "import helper, json\n\
        assert helper.X == 2, helper\n\
        places = [os.environ['HOME'], os.getcwd(), sys.prefix, os.environ['SOURCE_DATE_EPOCH']]\n\
        assert places == ['/tmp', '/imgforge/work/source/demo-1.0', '/imgforge/environment', '315532800'], places\n\
        assert set(os.listdir('/')) <= {'dev', 'etc', 'imgforge', 'lib', 'lib64', 'tmp', 'usr', 'var'}, os.listdir('/')";
    let sdist = Sdist::new().before(before).requires("helper>=2");
    let Some(mut world) = world(sdist) else { return };
    world.publish(Wheel::new("helper", "2.0").file("helper.py", "X = 2\n"));
    world.build().check_success();
    let lock = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(lock.code, 0, "{lock}");
    let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
    assert!(lock.contains("wheel = \"helper-2.0-py3-none-any.whl\""), "{lock}");
}

#[test]
fn what_a_source_says_of_its_wheels_is_enough_to_pass_it_over() {
    let told = "Metadata-Version: 2.2\nName: demo\nVersion: 1.0\nRequires-Dist: wholesome>=99\n";
    let sdist = Sdist::new().before("raise SystemExit('built')").file("PKG-INFO", told);
    let Some(mut world) = world(sdist) else { return };
    world.publish(Wheel::new("demo", "0.9").file("demo.py", "X = 0\n"));
    world.build().check_success();
    assert_eq!(module(&world), "X = 0\n");
}

#[test]
fn the_refusal_of_projects_without_wheels_has_the_line_to_add() {
    let mut world = World::new();
    let file = Built { filename: "demo-1.0.tar.gz".into(), bytes: b"source".to_vec() };
    world.publish_file("demo", &file, |_| {});
    world.publish_file(
        "old",
        &Built { filename: "old-1.0.tar.gz".into(), bytes: b"source".to_vec() },
        |_| {},
    );
    world.publish(Wheel::new("old", "1.0").tag("py2-none-any"));
    world.recipe("packages: [demo, old]\n");
    let outcome = world.build();
    let said = [
        "2 projects publish",
        "python: {build: [demo, old]}",
        "pip wheel --no-deps -w wheels demo==1.0 old==1.0",
    ];
    world.check_failure(&outcome, 1, &said);
}

#[test]
fn a_zip_is_a_source_too() {
    let Some(mut world) = world(Sdist::new()) else { return };
    let zip = Sdist::new().content("'X = 3\\n'").zip();
    world.publish_file("demo", &zip, |_| {});
    world.publish_file("demo", &Sdist::new().build(), |listed| listed["yanked"] = true.into());
    world.build().check_success();
    assert_eq!(module(&world), "X = 3\n");
}

/// Writes the source of `demo` as a project in the directory `app`.
fn write_project(world: &World, sdist: Sdist) {
    for (path, content) in sdist.all_files() {
        let path = world.path("app").join(path.strip_prefix("demo-1.0/").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

#[test]
fn a_projects_directory_is_built_installed_and_locked() {
    let Some(world) = world(Sdist::new()) else { return };
    let named = "[project]\nname = 'demo'\nversion = '1.0'\n";
    write_project(&world, Sdist::new().content("'X = 5\\n'").project(named));
    recipe(&world, "packages: [./app]\n");
    let first = world.build().check_success();
    assert_eq!(module(&world), "X = 5\n");
    let origin = format!("{SITE}/demo-1.0.dist-info/direct_url.json");
    assert_eq!(Image::read(&world.path("image")).text(&origin), r#"{"dir_info":{},"url":"file:///demo/"}"#);

    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let locked = || world.run(&["build", "--locked", "--offline", "recipe.yaml", "-o", "oci:image"]);
    assert_eq!(locked().check_success(), first);
    fs::create_dir(world.path("app/.git")).unwrap();
    fs::write(world.path("app/.git/HEAD"), "").unwrap();
    assert_eq!(locked().check_success(), first);
    fs::write(world.path("app/data.txt"), "").unwrap();
    locked().check_failure(2, &["`./app` is another than was locked", "imgforge lock"]);
}

#[test]
fn a_project_without_a_name_or_a_directory_is_told() {
    let Some(world) = world(Sdist::new()) else { return };
    write_project(&world, Sdist::new());
    for (packages, said) in [
        ("./app", "names no project"),
        ("./nowhere", "`./nowhere` is not a Python project"),
        ("other @ ./app", "its build gave a wheel of demo 1.0, and other 1.0 was asked for"),
        ("demo @ ../app", "it is outside of the directory of the recipe"),
    ] {
        recipe(&world, &format!("packages: ['{packages}']\n"));
        let outcome = world.build();
        assert!(
            outcome.stderr.contains(said)
                && ["hint: ", "help: "].iter().any(|next| outcome.stderr.contains(next)),
            "{packages}: {outcome}"
        );
    }
    recipe(&world, "packages: ['demo @ ./app']\n");
    world.build().check_success();
}

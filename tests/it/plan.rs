//! The plan alone determines the image: a process that has neither recipe nor index makes the same one of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::wheel::Wheel;
use crate::support::{World, run};

/// The program that writes a plan's image: it is built beside the tests.
fn realize() -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_imgforge")).parent().unwrap();
    let program = directory.join("examples/realize");
    assert!(program.exists(), "`cargo test` and `cargo nextest` build {}", program.display());
    program
}

/// The digests of the plan's wheels and packages.
fn parts(plan: &Value) -> Vec<String> {
    let layers = plan["layers"].as_array().unwrap().iter();
    let digests = layers.flat_map(|layer| {
        let wheels = layer["wheels"].as_array().into_iter().flatten().map(|wheel| &wheel["wheel"]);
        let packages = layer["base"]["packages"].as_array().into_iter().flatten();
        wheels.chain(packages.map(|package| &package["deb"])).collect::<Vec<_>>()
    });
    digests.map(|digest| digest.as_str().unwrap().to_owned()).collect()
}

/// Builds the recipe of `lines`, and its plan in another process whose store has the wheels and packages alone.
fn check(lines: &str) {
    let mut world = World::new();
    world.publish(Wheel::new("helper", "2.5").file("helper.py", "def help(): pass\n"));
    world
        .publish(Wheel::new("demo", "1.0").requires("helper>=2").file("demo/__init__.py", "import helper\n"));
    world.recipe(lines);
    let built = world.build().check_success();
    let planned = world.run(&["plan", "recipe.yaml", "--json"]);
    let printed: Value = serde_json::from_str(&planned.stdout).unwrap();

    let other = world.path("other-store");
    fs::create_dir_all(other.join("blobs/sha256")).unwrap();
    for digest in parts(&printed["plan"]) {
        let blob = format!("blobs/{}", digest.replace(':', "/"));
        fs::copy(world.store().join(&blob), other.join(&blob)).unwrap();
    }
    let plan = world.write("plan.json", &planned.stdout);
    world.server.stop();
    let realized = run(Command::new(realize()).arg(&plan).arg(&other).env_clear());
    assert_eq!(realized.stdout.trim(), built.to_string(), "{}", realized.stderr);
}

#[test]
fn a_plan_read_by_another_process_gives_the_same_image() {
    check("packages: [demo]\nconfig: {workdir: /content, env: {A: b}}\n");
    check("packages: [demo]\nlayers: {compression: zstd}\nannotations: {a: b}\n");
}

//! `imgforge init` writes recipes that plan, and replaces nothing unasked; recipes come from standard input, too.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::support::wheel::Wheel;
use crate::support::{Outcome, World};

/// A world whose `debian-bookworm` is its own, with what the projects of these tests need.
fn world() -> World {
    let mut world = World::with_named_base();
    for (name, version) in [("torch", "2.6.0"), ("numpy", "2.2.0"), ("rich", "13.9.4"), ("jax", "0.5.3")] {
        world.publish(Wheel::new(name, version));
    }
    world
}

/// The outcome of a run with this text as its standard input.
fn with_input(world: &World, arguments: &[&str], input: &str) -> Outcome {
    let mut child = world
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Outcome {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory with these files gives a recipe that plans these distributions.
#[track_caller]
fn check(files: &[(&str, &str)], distributions: &[&str]) {
    let world = world();
    for (name, text) in files {
        world.write(name, text);
    }
    let written = world.run(&["init"]);
    assert_eq!(written.code, 0, "{written}");
    assert!(written.stderr.contains("next: imgforge plan recipe.yaml"), "{written}");
    let recipe = fs::read_to_string(world.path("recipe.yaml")).unwrap();
    let planned = world.run(&["plan", "recipe.yaml", "--json"]);
    assert_eq!(planned.code, 0, "{planned}\n{recipe}");
    for distribution in distributions {
        assert!(planned.stdout.contains(distribution), "{distribution} is not planned: {planned}\n{recipe}");
    }
    assert_eq!(world.run(&["init", "-"]).stdout, recipe);
}

#[test]
fn what_is_in_a_directory_becomes_a_recipe_that_plans() {
    check(&[], &["\"torch\""]);
    check(&[("requirements.txt", "numpy\nrich>=13\n")], &["\"numpy\"", "\"rich\""]);
    check(
        &[(
            "pyproject.toml",
            "[project]\nname = 'app'\nversion = '1'\ndependencies = ['jax==0.5.3', 'rich']\n",
        )],
        &["\"jax\"", "\"rich\""],
    );
    check(
        &[(
            "environment.yml",
            "name: app\ndependencies:\n  - python=3.11\n  - numpy\n  - pip:\n    - rich\n",
        )],
        &["\"numpy\"", "\"rich\""],
    );
}

#[test]
fn a_dockerfile_becomes_a_recipe() {
    let world = world();
    fs::create_dir(world.path("app")).unwrap();
    world.write("app/main.py", "print('x')\n");
    world.write(
        "Dockerfile",
        "FROM debian-bookworm\nENV A=1\nRUN pip install torch==2.6.0 && ./configure\nCOPY app /app\nWORKDIR /app\n\
         CMD [\"python3\", \"main.py\"]\n",
    );
    let written = world.run(&["init"]);
    assert!(written.stderr.contains("1 line is left out"), "{written}");
    let built = world.run(&["build", "recipe.yaml", "-o", "oci:image"]);
    built.check_success();
    let recipe = fs::read_to_string(world.path("recipe.yaml")).unwrap();
    assert!(recipe.contains("#   ./configure: no command runs while an image is built"), "{recipe}");
}

#[test]
fn a_command_without_a_recipe_takes_the_only_one() {
    let world = world();
    let none = world.run(&["plan"]);
    world.check_failure(
        &none,
        2,
        &["no recipe is named, and this directory has none", "hint: `imgforge init`"],
    );
    world.write("app.yaml", "base: debian-bookworm\npackages: [numpy]\n");
    world.write("compose.yaml", "services: {}\n");
    assert_eq!(world.run(&["plan"]).stdout, world.run(&["plan", "app.yaml"]).stdout);
    assert_eq!(world.run(&["lock"]).code, 0);
    assert!(world.path("app.lock").exists());
    world.write("other.yaml", "base: debian-bookworm\npackages: [rich]\n");
    let several = world.run(&["build"]);
    world.check_failure(&several, 2, &["this directory has several: app.yaml, other.yaml", "hint: name one"]);
    assert_eq!(world.run(&["init"]).code, 0);
    assert!(world.run(&["plan"]).stdout.contains("torch"));
}

#[test]
fn a_base_of_packages_alone_is_a_recipe() {
    let world = world();
    let described = fs::read_to_string(world.path("images/debian-bookworm.yaml")).unwrap();
    let base: String = described.lines().map(|line| format!("  {line}\n")).collect();
    let base = base.replace("../archive.asc", "archive.asc");
    world.write("alone.yaml", format!("base:\n{base}"));
    world.write("written.yaml", format!("name: alone\nbase:\n{base}packages: []\n"));
    let digest = world.run(&["build", "alone.yaml", "-o", "oci:alone"]).check_success();
    assert_eq!(world.run(&["build", "written.yaml", "-o", "oci:written"]).check_success(), digest);
}

#[test]
fn a_recipe_that_is_there_stays() {
    let world = world();
    world.write("recipe.yaml", "base: mine\n");
    let refused = world.run(&["init"]);
    world.check_failure(&refused, 1, &["`recipe.yaml` is there already", "--force"]);
    assert_eq!(fs::read_to_string(world.path("recipe.yaml")).unwrap(), "base: mine\n");
    assert_eq!(world.run(&["init", "--force"]).code, 0);
    assert!(fs::read_to_string(world.path("recipe.yaml")).unwrap().contains("base: debian-bookworm"));
    world.check_failure(
        &world.run(&["init", "gone/recipe.yaml"]),
        1,
        &["could not write `gone/recipe.yaml`"],
    );
}

#[test]
fn a_recipe_comes_from_standard_input() {
    let world = world();
    let recipe = "base: debian-bookworm\npackages: [numpy]\nfiles: [{from: images, to: /srv}]\n";
    let of_file = {
        world.write("image.yaml", recipe);
        world.run(&["build", "image.yaml", "-o", "oci:first"]).check_success()
    };
    let built = with_input(&world, &["build", "-", "-o", "oci:second"], recipe);
    assert_eq!(built.check_success(), of_file, "{built}");
    assert!(with_input(&world, &["plan", "-"], recipe).stdout.contains("numpy"));
    let locked = with_input(&world, &["build", "-", "--locked"], recipe);
    world.check_failure(&locked, 2, &["a recipe from standard input has no file", "hint: "]);
    let wrong = with_input(&world, &["plan", "-"], "base: debian-bookworm\npakcages: [numpy]\n");
    world.check_failure(&wrong, 2, &["standard input:2:1", "did you mean `packages`?"]);
    assert!(!world.path("-.lock").exists() && !world.path("-").exists());
}

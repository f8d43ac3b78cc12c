//! A recipe reaches the files of its directory and no others, and nothing of another file is shown.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::support::image::Image;
use crate::support::{World, run};

const SECRET: &str = "machine x login u password hunter2secret";

/// A world with a recipe in `project`, and a secret beside that.
fn world() -> World {
    let world = World::new();
    fs::create_dir_all(world.path("project/sub")).unwrap();
    world.write("secret", format!("{SECRET}\n"));
    world.write("project/inside", "inside\n");
    symlink("/etc", world.path("project/etc")).unwrap();
    symlink("..", world.path("project/up")).unwrap();
    symlink("../secret", world.path("project/secret")).unwrap();
    symlink("../inside", world.path("project/sub/inside")).unwrap();
    world
}

fn recipe(world: &World, lines: &str) {
    let text = fs::read_to_string(world.recipe(lines)).unwrap().replace("archive.asc", "../archive.asc");
    world.write("project/recipe.yaml", text);
}

fn hidden(text: &str) -> bool {
    !["hunter2", "machine x", "ghp_", "root:"].iter().any(|secret| text.contains(secret))
}

#[test]
fn files_outside_of_the_recipes_directory_are_refused() {
    let world = world();
    let absolute = world.path("secret").display().to_string();
    for from in
        ["../secret", "sub/../../secret", "etc/shadow", "up/secret", "..", "/etc/shadow", "/", &absolute]
    {
        recipe(&world, &format!("packages: [wholesome]\nfiles: [{{from: '{from}', to: /x}}]\n"));
        let outcome = world.run(&["build", "project/recipe.yaml", "-o", "oci:image"]);
        world.check_failure(
            &outcome,
            2,
            &["could not read", "outside of the directory of the recipe", "--allow-outside"],
        );
        assert!(hidden(&outcome.stderr), "{outcome}");
        assert!(!world.path("image").exists());
    }
}

#[test]
fn files_and_links_below_it_are_copied_as_they_are() {
    let world = world();
    let inside = world.path("project/inside").display().to_string();
    recipe(
        &world,
        &format!(
            "packages: [wholesome]\nfiles: [{{from: ., to: /all}}, {{from: sub/../inside, to: /a}}, {{from: '{inside}', to: /b}}]\n"
        ),
    );
    for recipe in ["project/recipe.yaml", "./project/recipe.yaml"] {
        world.run(&["build", recipe, "-o", "oci:image"]).check_success();
        let image = Image::read(&world.path("image"));
        assert_eq!(
            (image.text("a"), image.text("b"), image.text("all/inside")),
            ("inside\n", "inside\n", "inside\n")
        );
        assert_eq!(image.file("all/secret").target.as_deref(), Some("../secret"));
        assert_eq!(image.file("all/etc").target.as_deref(), Some("/etc"));
    }
}

#[test]
fn the_user_may_allow_what_the_recipe_may_not() {
    let world = world();
    recipe(&world, "packages: [wholesome]\nfiles: [{from: ../secret, to: /x}, {from: up/secret, to: /y}]\n");
    world.run(&["build", "project/recipe.yaml", "-o", "oci:image", "--allow-outside"]).check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!((image.text("x").trim_end(), image.text("y").trim_end()), (SECRET, SECRET));
    recipe(&world, "packages: [wholesome]\nallow-outside: true\n");
    assert_eq!(world.run(&["plan", "project/recipe.yaml"]).code, 2, "a recipe cannot allow itself");
}

#[test]
fn what_is_no_file_is_refused_wherever_it_is() {
    let world = world();
    assert!(Command::new("mkfifo").arg(world.path("project/fifo")).status().unwrap().success());
    let _socket = std::os::unix::net::UnixListener::bind(world.path("project/socket")).unwrap();
    for from in
        ["fifo", "socket", ".", "/proc/self/environ", "/proc/sys/kernel/hostname", "/dev/zero", "/dev/null"]
    {
        recipe(&world, &format!("packages: [wholesome]\nfiles: [{{from: {from}, to: /x}}]\n"));
        let mut command =
            world.command(&["build", "project/recipe.yaml", "-o", "oci:image", "--allow-outside"]);
        let outcome = run(command.env("CI_TOKEN", "ghp_secret"));
        world.check_failure(
            &outcome,
            2,
            &["could not read", "neither file, directory nor symbolic link", "hint: "],
        );
    }
    for from in ["fifo", "socket", "/dev/zero", "sub"] {
        for key in ["requirements", "constraints"] {
            recipe(&world, &format!("packages: [wholesome]\n{key}: [{from}]\n"));
            let outcome = world.run(&["build", "project/recipe.yaml", "--allow-outside"]);
            world.check_failure(&outcome, 2, &["could not read", "recipe.yaml:", "help: "]);
        }
    }
}

#[test]
fn nothing_of_a_file_outside_is_shown() {
    let world = world();
    world.write("project/sub/leads.txt", "-r ../../secret\n");
    world.write("project/sub/constrains.txt", "-c ../../secret\n");
    let absolute = world.path("secret").display().to_string();
    let named = [
        "../secret",
        "secret",
        "up/secret",
        "sub/leads.txt",
        "sub/constrains.txt",
        &absolute,
        "/proc/self/environ",
        "/etc/shadow",
    ];
    for (name, key) in named.into_iter().flat_map(|name| [(name, "requirements"), (name, "constraints")]) {
        recipe(&world, &format!("packages: [wholesome]\n{key}: ['{name}']\n"));
        for flag in ["--offline", "--allow-outside"] {
            let mut command = world.command(&["plan", "project/recipe.yaml", flag]);
            let outcome = run(command.env("CI_TOKEN", "ghp_secret"));
            assert_eq!(outcome.code, 2, "{name}: {outcome}");
            assert!(hidden(&outcome.stderr) && hidden(&outcome.stdout), "{name}: {outcome}");
            let said = if flag == "--offline" { "--allow-outside" } else { "" };
            assert!(outcome.stderr.contains(said), "{name}: {outcome}");
        }
    }
    recipe(&world, "packages: [wholesome]\nrequirements: [../secret]\n");
    let outcome = world.run(&["plan", "project/recipe.yaml", "--allow-outside"]);
    assert!(outcome.stderr.contains("secret:1") && outcome.stderr.contains("cannot be read"), "{outcome}");
}

#[test]
fn the_text_of_the_recipes_own_files_is_shown() {
    let world = world();
    world.write("project/sub/requirements.txt", "numpy\nwhat is this?\n");
    recipe(&world, "requirements: [sub/requirements.txt]\n");
    let outcome = world.run(&["plan", "project/recipe.yaml"]);
    world.check_failure(&outcome, 2, &["requirements.txt:2:", "what is this?"]);
}

#[test]
fn a_lock_or_a_base_that_is_a_link_elsewhere_shows_nothing() {
    let world = world();
    fs::create_dir(world.path("project/images")).unwrap();
    symlink("../../secret", world.path("project/images/mine.yaml")).unwrap();
    world.write("project/recipe.yaml", "name: demo\nbase: mine\npackages: [wholesome]\n");
    for flag in ["--offline", "--allow-outside"] {
        let outcome = world.run(&["plan", "project/recipe.yaml", flag]);
        assert_eq!(outcome.code, 2, "{outcome}");
        assert!(hidden(&outcome.stderr), "{outcome}");
    }
    recipe(&world, "packages: [wholesome]\n");
    symlink("../secret", world.path("project/recipe.lock")).unwrap();
    for arguments in [&["plan", "project/recipe.yaml", "--locked"][..], &["lock", "project/recipe.yaml"]] {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, 2, "{outcome}");
        assert!(hidden(&outcome.stderr), "{outcome}");
    }
    assert_eq!(fs::read_to_string(world.path("secret")).unwrap(), format!("{SECRET}\n"));
}

//! Names of others' choosing drive neither the terminal nor a runner of CI, whatever command prints them.

use std::fs;

use imgforge::escape::is_visible;
use serde_json::json;

use crate::support::layout::{Layout, Tar};
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run};

/// Names that end their line, hide what stands before them, or are commands.
const HOSTILE: [&str; 9] = [
    "x\nINJECTED: ok",
    "x\r\n::error::INJECTED",
    "x\x1b]0;INJECTED\x07\x1b[2J",
    "x\u{9b}31mINJECTED",
    "x\u{202e}\u{2066}INJECTED",
    "x\u{2028}INJECTED\u{2029}",
    "x\u{200b}\u{feff}\u{ad}INJECTED",
    "::stop-commands::INJECTED",
    "x##[error]INJECTED##vso[task.complete]",
];

/// Holds what was printed to what everything that people read owes.
#[track_caller]
fn check(outcome: &Outcome) {
    for text in [&outcome.stdout, &outcome.stderr] {
        let raw: Vec<char> = text.chars().filter(|c| !is_visible(*c) && *c != '\n').collect();
        assert!(raw.is_empty(), "{raw:?}\n{outcome}");
        assert!(!text.contains("##[") && !text.contains("##vso["), "{outcome}");
        let begins =
            |line: &str| line.trim_start().starts_with("::") || line.trim_start().starts_with("INJECTED");
        assert!(!text.lines().any(begins), "{outcome}");
    }
    assert!(!outcome.stderr.contains("panicked"), "{outcome}");
}

/// Paths of an image may have everything but a NUL.
fn image() -> Layout {
    let mut tar = Tar::debian("");
    for (number, name) in HOSTILE.iter().enumerate() {
        let path = |directory: &str| format!("{directory}/{number}{name}");
        let long = |records: &[(&str, &str)], flag: u8| Tar::new().pax(records).entry(flag, b"x", b"x", b"");
        let set_user_id = long(&[("path", &path("opt"))], b'2');
        let link = long(&[("path", &path("bin")), ("linkpath", name)], b'2');
        tar = tar.raw(&set_user_id.unfinished()).raw(&link.unfinished());
        let info = format!("usr/local/lib/python3.11/dist-packages/demo{number}-1.0.dist-info");
        let metadata = format!(
            "Metadata-Version: 2.1\nName: demo{number}\nVersion: 1.0\nRequires-Dist: missing{number}\n"
        );
        tar = tar.file(&format!("{info}/METADATA"), metadata);
        tar = tar.file(&format!("{info}/RECORD"), format!("\"{name}/gone.py\",sha256=aaaa,3\n"));
    }
    Layout::new().layer(tar).with(|layout| {
        let env: Vec<String> = HOSTILE.iter().map(|name| format!("LD_LIBRARY_PATH=/{name}")).collect();
        layout.config["config"]["Env"] = json!(env);
    })
}

#[test]
fn names_in_an_image_are_escaped_by_every_command() {
    let world = World::new();
    image().write(&world.path("base"));
    Layout::new().layer(Tar::debian("")).write(&world.path("other"));
    for arguments in [
        &["check", "oci:base"][..],
        &["check", "oci:base", "--json"],
        &["check", "oci:base", "--format", "sarif"],
        &["check", "oci:base", "--graph", "graph.svg"],
        &["inspect", "oci:base"],
        &["inspect", "oci:base", "--json"],
        &["diff", "oci:base", "oci:other"],
        &["diff", "oci:base", "oci:other", "--json"],
    ] {
        check(&world.run(arguments));
    }
    let commands = world.run(&["check", "oci:base", "--format", "github"]).stdout;
    assert!(commands.contains("INJECTED"), "{commands}");
    let is_own = |line: &str| {
        ["::error title=", "::warning title=", "::notice title="].iter().any(|own| line.starts_with(own))
    };
    assert!(commands.lines().all(is_own), "{commands}");
    assert!(commands.chars().all(|c| is_visible(c) || c == '\n'), "{commands:?}");
    world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [wholesome]\nfrom-here: 1\n");
    check(&world.build());
    world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [wholesome]\n");
    for arguments in
        [&["plan", "recipe.yaml"][..], &["build", "recipe.yaml", "--no-check"], &["lock", "recipe.yaml"]]
    {
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, 0, "{outcome}");
        check(&outcome);
    }
}

#[test]
fn names_on_the_command_line_and_in_recipes_are_escaped() {
    let world = World::new();
    for name in HOSTILE {
        for arguments in [
            &["build", name][..],
            &["plan", name],
            &["lock", name],
            &["check", name],
            &["check", &format!("oci:{name}")],
            &["inspect", &format!("docker-archive:{name}")],
            &["diff", &format!("oci:{name}"), name],
            &["build", "recipe.yaml", "-o", name],
            &["build", "recipe.yaml", "--color", name],
            &["lock", "recipe.yaml", &format!("--upgrade={name}")],
            &["cache", "prune", "--older-than", name],
            &["--", name],
            &[name],
        ] {
            let outcome = world.run(arguments);
            assert_ne!(outcome.code, 0, "{outcome}");
            check(&outcome);
        }
        let quoted = json!(name).to_string();
        for lines in [
            format!("packages: [{quoted}]\n"),
            format!("packages: [wholesome]\nfiles: [{{from: {quoted}, to: /x}}]\n"),
            format!("packages: [wholesome]\nrequirements: [{quoted}]\n"),
            format!("packages: [wholesome]\n{quoted}: 1\n"),
            format!("packages: [wholesome] # {}\nextra: 1\n", name.replace(['\n', '\r'], " ")),
            format!("packages: [wholesome]\nconfig: {{user: {quoted}, entrypoint: {quoted}}}\n"),
        ] {
            world.recipe(&lines);
            check(&world.build());
            check(&world.run(&["plan", "recipe.yaml"]));
        }
        world.write("recipe.yaml", format!("base: {quoted}\npackages: [wholesome]\n"));
        check(&world.build());
    }
}

#[test]
fn names_of_files_are_escaped_where_a_build_writes_them() {
    let world = World::new();
    for name in HOSTILE {
        world.recipe("packages: [wholesome]\n");
        fs::rename(world.path("recipe.yaml"), world.path(name)).unwrap();
        let output = format!("oci:{name}-out:latest");
        for arguments in [
            &["build", name, "-o", &output][..],
            &["lock", name],
            &["build", name, "-o", &output, "--locked"],
        ] {
            let outcome = world.run(arguments);
            assert_eq!(outcome.code, 0, "{outcome}");
            check(&outcome);
        }
        let store = world.path(&format!("{name}-store"));
        for command in ["info", "verify", "prune"] {
            check(&run(world.command(&["cache", command]).env("IMGFORGE_CACHE_DIR", &store)));
        }
        fs::write(store.join("blobs/sha256").join(name), "").unwrap();
        let outcome = run(world.command(&["cache", "verify"]).env("IMGFORGE_CACHE_DIR", &store));
        assert!(outcome.stdout.contains("removed `"), "{outcome}");
        check(&outcome);
    }
}

#[test]
fn names_in_wheels_and_on_pages_are_escaped() {
    let mut world = World::new();
    for (number, name) in HOSTILE.iter().enumerate() {
        let project = format!("hostile{number}");
        let wheel = Wheel::new(&project, "1.0").file(&format!("{project}/{name}"), "").file("../x", "");
        world.publish(wheel);
        world.recipe(&format!("packages: [{project}]\n"));
        let outcome = world.build();
        assert_eq!(outcome.code, 1, "{outcome}");
        check(&outcome);
        world.publish_listed(Wheel::new(&project, "2.0").file("a.py", ""), |listed| {
            listed["requires-python"] = json!(name);
            listed["yanked"] = json!(name);
        });
        world.recipe(&format!("packages: [{project}==2.0]\n"));
        check(&world.build());
        world.publish(Wheel::new(&project, "3.0").requires(name).file("a.py", ""));
        world.recipe(&format!("packages: [{project}==3.0]\n"));
        check(&world.build());
    }
}

#[test]
fn the_progress_for_programs_is_json_whatever_a_name_is() {
    let world = World::new();
    for name in HOSTILE {
        world.recipe("packages: [wholesome]\n");
        let outcome = world.run(&[
            "build",
            "recipe.yaml",
            "--progress",
            "json",
            "-q",
            "-o",
            &format!("oci:{name}:latest"),
        ]);
        outcome.check_success();
        let outcome =
            world.run(&["build", "recipe.yaml", "--progress", "json", "-o", &format!("oci:{name}:latest")]);
        let lines = outcome.stderr.lines().filter(|line| line.starts_with('{'));
        let events: Vec<serde_json::Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(events.len() > 2, "{outcome}");
    }
}

//! Every message that a mistake meets, in one file to be read: `tests/it/messages/messages.snap`, each with what was written
//! and a score.
//!
//! Each mistake is made in a directory of its own, in one small world. The scores are judgements of people who read the
//! file: a message that changes is read and scored anew, and the snapshot accepted with `INSTA_UPDATE=always`.

mod commands;
mod machine;
mod recipes;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::World;
use crate::support::layout::{Layout, Tar};
use crate::support::registry::Registry;
use crate::support::server::Resource;
use crate::support::wheel::{Built, Wheel};

/// A mistake, and the score of its message: 0 misleads, 1 says what, 2 what and where, 3 what, where and what to do.
pub(super) struct Mistake {
    title: &'static str,
    score: u8,
    files: &'static [(&'static str, &'static str)],
    /// Read by a shell, for redirections and permissions.
    command: &'static str,
}

/// A mistake in `recipe.yaml`, which is planned.
const fn recipe(title: &'static str, score: u8, files: &'static [(&'static str, &'static str)]) -> Mistake {
    Mistake { title, score, files, command: "imgforge plan recipe.yaml --quiet" }
}

/// A mistake on the command line.
const fn command(title: &'static str, score: u8, command: &'static str) -> Mistake {
    Mistake { title, score, files: &[("recipe.yaml", GOOD)], command }
}

/// A recipe without a mistake.
const GOOD: &str = "base: debian-bookworm\npackages: [wholesome]\n";

#[test]
fn every_mistake_is_answered_with_what_where_and_what_to_do() {
    let scene = Scene::new();
    let all: Vec<&Mistake> =
        recipes::MISTAKES.iter().chain(commands::MISTAKES).chain(machine::MISTAKES).collect();
    let titles: BTreeSet<&str> = all.iter().map(|mistake| mistake.title).collect();
    assert_eq!(titles.len(), all.len(), "two mistakes have one title");
    let mut scores: Vec<u8> = all.iter().map(|mistake| mistake.score).collect();
    scores.sort_unstable();
    assert!(scores[0] >= 2, "a message that does not tell where the mistake is");
    assert_eq!(scores[scores.len() / 2], 3, "the median");

    let mut table = String::from("| mistake | score |\n|---|---:|\n");
    let mut messages = String::new();
    for (index, mistake) in all.iter().enumerate() {
        let number = index + 1;
        let _ = writeln!(table, "| {} | {} |", mistake.title, mistake.score);
        let _ = write!(messages, "\n## {}\n\n{}", mistake.title, mistake.made_in(&scene, number));
    }
    insta::with_settings!({
        snapshot_path => "messages",
        prepend_module_to_snapshot => false,
        omit_expression => true,
        description => "Mistakes and their messages. 0 misleads, 1 says what, 2 what and where, 3 what, where and what to do.",
    }, {
        insta::assert_snapshot!("messages", format!("{table}{messages}"));
    });
}

impl Mistake {
    /// Makes the mistake, and tells what was written and said.
    #[track_caller]
    fn made_in(&self, scene: &Scene, number: usize) -> String {
        let world = &scene.world;
        let directory = world.path(&format!("mistake-{number}"));
        fs::create_dir(&directory).unwrap();
        let mut told = String::new();
        for (name, text) in self.files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, scene.made_real(text)).unwrap();
            if *text != GOOD {
                let _ = write!(told, "`{name}`:\n\n{}\n", indented(text));
            }
        }
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &scene.made_real(self.command)]).current_dir(&directory).stdin(Stdio::null());
        let of_world = world.command(&[]);
        shell.env_clear().envs(of_world.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell.env("PATH", format!("{}:/usr/bin:/bin", world.path("bin").display()));
        let output = shell.output().unwrap();
        let (code, stderr) = (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap());
        assert!(!stderr.contains("panicked"), "{}: {stderr}", self.title);
        assert!(code == 1 || code == 2, "{}: exit code {code}\n{stderr}", self.title);
        let said = scene.made_readable(&stderr).replace(&format!("/home/user/mistake-{number}"), "/work");
        let _ = write!(told, "`{}` ends with {code}:\n\n{}", self.command, indented(&said));
        told
    }
}

/// A world, and a registry, which have other names in what is read than for the program.
struct Scene {
    world: World,
    registry: Registry,
}

impl Scene {
    fn new() -> Self {
        let registry = Registry::start();
        registry.add("team/base", "v1", &Layout::new().layer(Tar::debian("")));
        Self { world: world(), registry }
    }

    fn names(&self) -> [(&'static str, String); 2] {
        [("http://index.test", self.world.server.url()), ("registry.test", self.registry.host())]
    }

    fn made_real(&self, text: &str) -> String {
        self.names().iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, real))
    }

    fn made_readable(&self, text: &str) -> String {
        let text = text.replace(&self.world.directory.path().display().to_string(), "/home/user");
        self.names().iter().fold(text, |text, (shown, real)| text.replace(real, shown))
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect()
}

/// A world in which `debian-bookworm` is its own base, with a handful of projects.
fn world() -> World {
    let mut world = World::with_named_base();
    fs::create_dir(world.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_imgforge"), world.path("bin/imgforge")).unwrap();
    for version in ["2.5.0", "2.5.1", "2.6.0", "2.7.0", "2.7.1", "2.8.0", "2.9.0"] {
        world.publish(Wheel::new("torch", version));
    }
    world.publish(Wheel::new("torchvision", "0.21.0").requires("torch==2.6.0"));
    world.publish(Wheel::new("numpy", "1.26.4"));
    world.publish(Wheel::new("numpy", "2.2.0"));
    world.publish(Wheel::new("pandas", "2.2.0").requires("numpy>=2"));
    for tag in [
        "cp37-cp37m-macosx_10_14_x86_64",
        "cp38-cp38-macosx_10_14_x86_64",
        "cp39-cp39-macosx_10_14_x86_64",
        "cp310-cp310-macosx_10_14_x86_64",
        "cp37-cp37m-win_amd64",
        "cp38-cp38-win_amd64",
        "cp39-cp39-win_amd64",
        "cp310-cp310-win_amd64",
        "cp37-cp37m-manylinux_2_17_x86_64",
        "cp38-cp38-manylinux_2_17_x86_64",
        "cp39-cp39-manylinux_2_17_x86_64",
        "cp310-cp310-manylinux_2_17_x86_64",
    ] {
        world.publish(Wheel::new("tensorflow", "2.10.0").tag(tag));
    }
    let source = Built { filename: "antlr4_runtime-4.9.3.tar.gz".to_owned(), bytes: b"no archive".to_vec() };
    world.publish_file("antlr4-runtime", &source, |_| {});
    world.server.set("/simple/private/", Resource::status(401));
    world.server.set("/simple/forbidden/", Resource::status(403));
    let page = json!({"meta": {"api-version": "1.1"}, "name": "hollow", "files": []});
    world.server.set("/simple/hollow/", Resource::json(&page));
    world
}

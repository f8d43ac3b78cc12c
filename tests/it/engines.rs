//! Images go into engines, and come out of them.

use std::collections::BTreeSet;

use imgforge::oci::Digest;
use serde_json::Value;

use crate::support::docker::Docker;
use crate::support::layout::{Layout, Tar};
use crate::support::registry::Registry;
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run};

fn world() -> World {
    let world = World::new();
    world.recipe("packages: [wholesome]\n");
    world
}

fn command(world: &World, docker: &Docker, arguments: &[&str]) -> Outcome {
    run(world.command(arguments).env("DOCKER_HOST", docker.host()))
}

fn build(world: &World, docker: &Docker, name: &str) -> Outcome {
    command(world, docker, &["build", "recipe.yaml", "-o", &format!("docker-daemon:{name}")])
}

/// The image's config in a layout, and the digest of that.
fn config(world: &World, layout: &str) -> (Value, String) {
    let read = |path: String| -> Value {
        serde_json::from_slice(&std::fs::read(world.path(&path)).unwrap()).unwrap()
    };
    let blob = |digest: &Value| format!("{layout}/blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    let index = read(format!("{layout}/index.json"));
    let manifest = read(blob(&index["manifests"][0]["digest"]));
    let digest = &manifest["config"]["digest"];
    (read(blob(digest)), digest.as_str().unwrap().to_owned())
}

#[test]
fn an_image_in_docker_has_its_configs_digest_and_its_layers_as_plain_tars() {
    let (world, docker) = (world(), Docker::start());
    let digest = build(&world, &docker, "registry.test/team/app:v1").check_success();
    assert_eq!(world.build().check_success(), digest);
    let (config, id) = config(&world, "image");
    let state = docker.state.lock().unwrap();
    assert_eq!(state.names["registry.test/team/app:v1"], id);
    // Nothing that was sent on the way is left.
    assert_eq!(state.images.keys().collect::<Vec<_>>(), [&id]);
    assert_eq!(serde_json::to_value(&state.images[&id]).unwrap(), config["rootfs"]["diff_ids"]);
}

/// The digests of the layers' tars of a named image.
fn layers(docker: &Docker, name: &str) -> Vec<String> {
    let state = docker.state.lock().unwrap();
    let (_, id) = state.names.iter().find(|(known, _)| known.ends_with(name)).unwrap();
    state.images[id].clone()
}

/// The layers that were sent since the last call.
fn sent(docker: &Docker) -> BTreeSet<String> {
    let paths = docker.take_loaded().concat();
    paths.iter().filter_map(|path| Some(format!("sha256:{}", path.strip_suffix(".tar")?))).collect()
}

#[test]
fn what_docker_has_is_not_sent_again() {
    let (mut world, docker) = (world(), Docker::start());
    build(&world, &docker, "app").check_success();
    let first = layers(&docker, "/library/app:latest");
    assert_eq!(sent(&docker), first.iter().cloned().collect());
    build(&world, &docker, "app").check_success();
    build(&world, &docker, "other:v2").check_success();
    assert!(docker.take_loaded().is_empty());
    assert_eq!(layers(&docker, "/library/other:v2"), first);

    world.publish(Wheel::new("further", "1.0").file("further.py", "X = 1\n"));
    world.recipe("packages: [wholesome, further]\n");
    build(&world, &docker, "app").check_success();
    let second = layers(&docker, "/library/app:latest");
    let shared = first.iter().zip(&second).take_while(|(one, other)| one == other).count();
    assert!(shared > 0 && shared < second.len());
    assert_eq!(sent(&docker), second[shared..].iter().cloned().collect());
}

#[test]
fn what_docker_lost_meanwhile_is_sent_after_all() {
    let (world, docker) = (world(), Docker::start());
    build(&world, &docker, "app").check_success();
    let all = layers(&docker, "app:latest");
    docker.take_loaded();
    {
        let mut state = docker.state.lock().unwrap();
        state.images = [(Digest::of("another").to_string(), all[..1].to_vec())].into();
        state.names.clear();
        state.is_forgetful = true;
    }
    build(&world, &docker, "app").check_success();
    let loaded = docker.take_loaded();
    let tars = |paths: &Vec<String>| paths.iter().filter(|path| path.ends_with(".tar")).count();
    let unique = all.iter().collect::<BTreeSet<_>>().len();
    assert_eq!(loaded.iter().map(tars).collect::<Vec<_>>(), [unique - 1, unique]);
}

#[test]
fn an_engine_that_refuses_is_told_with_its_own_words() {
    let (world, docker) = (world(), Docker::start());
    docker.state.lock().unwrap().broken = Some("no space left on device".into());
    let outcome = build(&world, &docker, "app");
    world.check_failure(&outcome, 1, &["Docker did not take the image: no space left on device", "hint: "]);
    assert!(docker.state.lock().unwrap().images.is_empty());

    let mut nobody = world.command(&["build", "recipe.yaml", "-o", "docker-daemon:app"]);
    let outcome = run(nobody.env("DOCKER_HOST", "unix:///nowhere/docker.sock"));
    world.check_failure(
        &outcome,
        1,
        &["could not reach Docker at `unix:///nowhere/docker.sock`", "hint: start the engine"],
    );
    let outcome =
        run(world.command(&["build", "recipe.yaml", "-o", "containerd:app"]).env("PATH", "/nowhere"));
    world.check_failure(&outcome, 1, &["could not run `ctr`", "hint: install it"]);
}

#[test]
fn an_image_that_was_built_here_is_read_in_docker_without_being_saved() {
    let (world, docker) = (world(), Docker::start());
    build(&world, &docker, "app").check_success();
    let digest = world.build().check_success();
    for arguments in [
        &["check", "docker-daemon:app"][..],
        &["sbom", "docker-daemon:app"],
        &["diff", "docker-daemon:app", "oci:image"],
    ] {
        let outcome = command(&world, &docker, arguments);
        assert_eq!(outcome.code, 0, "{}", outcome.stderr);
    }
    let copied =
        command(&world, &docker, &["copy", "docker-daemon:app", "oci:copied", "docker-archive:copied.tar"]);
    copied.check_success();
    assert_eq!(config(&world, "copied").1, config(&world, "image").1);
    assert_eq!(docker.state.lock().unwrap().saves, 0);
    // From a place that has a manifest it is the same one.
    assert_eq!(world.run(&["copy", "oci:image", "oci-archive:again.tar"]).check_success(), digest);
    assert_eq!(world.run(&["copy", "oci-archive:again.tar", "oci:last:v1"]).check_success(), digest);
}

#[test]
fn an_image_of_others_is_saved_once_and_known_then() {
    let (world, docker) = (world(), Docker::start());
    build(&world, &docker, "app").check_success();
    world.build().check_success();
    let saves = || docker.state.lock().unwrap().saves;
    let elsewhere = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        run(command.env("DOCKER_HOST", docker.host()).env("IMGFORGE_CACHE_DIR", world.path("another")))
    };
    let first = elsewhere(&["check", "docker-daemon:app", "--format", "json"]);
    assert_eq!((first.code, saves()), (0, 1), "{}", first.stderr);
    let second = elsewhere(&["check", "docker-daemon:app", "--format", "json"]);
    assert_eq!((second.code, saves()), (0, 1), "{}", second.stderr);
    assert_eq!(first.stdout, second.stdout);
    // Its layers were looked into and not kept: who wants their bytes has them saved, and then they are kept.
    for _ in 0..2 {
        elsewhere(&["copy", "docker-daemon:app", "oci:copied"]).check_success();
        assert_eq!(saves(), 2);
    }
    assert_eq!(config(&world, "copied").1, config(&world, "image").1);
    let none = elsewhere(&["check", "docker-daemon:other"]);
    world.check_failure(&none, 1, &["Docker has no image `", "hint: check the name"]);
}

#[test]
fn a_recipe_builds_on_an_image_in_docker() {
    let (world, docker) = (world(), Docker::start());
    let base = |stop: &str| {
        let system = Tar::debian("Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\n\n")
            .file("usr/lib/python3.11/EXTERNALLY-MANAGED", "");
        Layout::new().layer(system).with(|layout| layout.config["config"]["StopSignal"] = stop.into())
    };
    let tag = |stop: &str| {
        base(stop).write(&world.path(stop));
        command(&world, &docker, &["copy", &format!("oci:{stop}"), "docker-daemon:app:dev"]).check_success();
    };
    tag("SIGINT");
    world.write("recipe.yaml", "name: demo\nbase: docker-daemon:app:dev\npackages: [wholesome]\n");
    let saves = || docker.state.lock().unwrap().saves;
    let elsewhere = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        run(command.env("DOCKER_HOST", docker.host()).env("IMGFORGE_CACHE_DIR", world.path("another")))
    };
    assert_eq!(elsewhere(&["lock", "recipe.yaml"]).code, 0);
    let lock = std::fs::read_to_string(world.path("recipe.lock")).unwrap();
    let id = docker
        .state
        .lock()
        .unwrap()
        .names
        .iter()
        .find(|(name, _)| name.ends_with("app:dev"))
        .unwrap()
        .1
        .clone();
    assert!(lock.contains(&id), "{lock}");
    let digest = elsewhere(&["build", "recipe.yaml", "-o", "oci:built", "--locked"]).check_success();
    assert_eq!(saves(), 1);
    assert_eq!(elsewhere(&["build", "recipe.yaml", "-o", "oci:built", "--locked"]).check_success(), digest);
    assert_eq!(saves(), 1);
    // Where the base was read at another place it is the same image, and nothing is saved.
    assert_eq!(world.run(&["check", "oci:SIGINT"]).code, 0);
    let known = command(&world, &docker, &["build", "recipe.yaml", "-o", "oci:known"]);
    assert_eq!((known.check_success(), saves()), (digest, 1));
    let (config, _) = config(&world, "built");
    assert_eq!(config["rootfs"]["diff_ids"][0], layers(&docker, "/library/app:dev")[0].as_str());
    assert_eq!(config["config"]["StopSignal"], "SIGINT");

    tag("SIGTERM");
    let moved = elsewhere(&["build", "recipe.yaml", "-o", "oci:built", "--locked"]);
    world.check_failure(&moved, 2, &["the image that the recipe builds on is another now", "hint: "]);
    docker.state.lock().unwrap().names.clear();
    let gone = elsewhere(&["plan", "recipe.yaml"]);
    world.check_failure(&gone, 1, &["Docker has no image `", "hint: check the name"]);
}

#[test]
fn an_image_that_only_docker_has_is_told_by_its_place_there() {
    let (world, docker, registry) = (world(), Docker::start(), Registry::start());
    let name = format!("{}/team/app:dev", registry.host());
    build(&world, &docker, &name).check_success();
    let outcome = command(&world, &docker, &["check", &name]);
    let place = format!("hint: Docker on this machine has an image of that name: write docker-daemon:{name}");
    world.check_failure(&outcome, 1, &["could not read `docker://", &place]);
    let other = command(&world, &docker, &["check", &format!("{}/team/other:dev", registry.host())]);
    assert!(!other.stderr.contains("Docker on this machine"), "{other}");
}

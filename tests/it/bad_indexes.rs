//! An index that cannot be asked, or has nothing that fits, is named with the reason.

use std::io::Write;
use std::net::TcpListener;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

use crate::support::server::Resource;
use crate::support::wheel::{Built, Wheel};
use crate::support::{World, run};

/// A build of these packages fails and says all of `said`.
#[track_caller]
fn check(world: &mut World, packages: &str, said: &[&str]) {
    world.recipe(&format!("packages: [{packages}]\n"));
    world.check_bad(said);
}

#[test]
fn an_index_that_nobody_serves_is_named() {
    let unused = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let mut world = World::new();
    world.recipe("packages: [demo]\n");
    let mut command = world.command(&["build", "recipe.yaml"]);
    command.env("PIP_INDEX_URL", format!("http://{unused}/simple/"));
    let outcome = run(&mut command);
    let url = format!("http://{unused}/simple/demo/");
    world.check_failure(&outcome, 1, &["demo", &url, "refused", "hint: check the network"]);
    world.check_good_build();
}

#[test]
fn an_index_that_is_not_a_url_is_named_without_its_password() {
    let world = World::new();
    world.recipe("packages: [demo]\n");
    for (value, shown) in
        [("nowhere", "`nowhere`"), ("host:8080/simple", "`host:8080/simple`"), ("me:secret@host", "`host`")]
    {
        let outcome = run(world.command(&["build", "recipe.yaml"]).env("PIP_INDEX_URL", value));
        world.check_failure(&outcome, 1, &["PIP_INDEX_URL", shown, "not a URL", "hint: "]);
        assert!(!outcome.stderr.contains("secret"), "{outcome}");
    }
}

#[test]
fn an_index_that_is_out_of_order_is_asked_again_and_then_named() {
    let mut world = World::new();
    world.server.set("/simple/demo/", Resource::status(500));
    check(&mut world, "demo", &["/simple/demo/` answered 500", "hint: "]);
    let asked = world.server.take_requests().iter().filter(|request| *request == "GET /simple/demo/").count();
    assert_eq!(asked, 6, "one attempt and five more");
}

#[test]
fn an_index_that_forbids_wants_credentials() {
    let mut world = World::new();
    world.server.set("/simple/demo/", Resource::status(401));
    check(&mut world, "demo", &["answered 401", "hint: give credentials"]);
}

#[test]
fn a_page_that_is_none_is_named() {
    let mut world = World::new();
    world.server.set("/simple/demo/", Resource::json(&json!({"hello": 1})));
    check(&mut world, "demo", &["the page of `demo` is not the JSON", "hint: is the index URL that of"]);
}

#[test]
fn a_page_without_end_is_not_kept_in_memory() {
    let mut world = World::new();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    (0..40).for_each(|_| gzip.write_all(&[b' '; 1 << 20]).unwrap());
    world.server.set("/simple/demo/", Resource::gzip(gzip.finish().unwrap()));
    check(&mut world, "demo", &["/simple/demo/` sent more than 33554432 bytes", "hint: "]);
}

#[test]
fn an_unknown_project_is_named() {
    check(&mut World::new(), "demo", &["demo", "no package index", "hint: check the spelling of `demo`"]);
}

#[test]
fn an_unknown_project_that_another_needs_is_named_with_it() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0").requires("missing>=1"));
    check(&mut world, "demo", &["demo", "missing", "hint: check the spelling of `missing`"]);
}

#[test]
fn wheels_that_do_not_fit_are_listed_with_the_reason_for_each() {
    let mut world = World::new();
    let wheels = [
        ("cp310-cp310-manylinux2014_x86_64", "cp310"),
        ("cp311-cp311-win_amd64", "win_amd64"),
        ("cp311-cp311-manylinux2014_aarch64", "aarch64"),
        ("cp311-cp311-manylinux_2_39_x86_64", "glibc 2.39"),
    ];
    for (tag, _) in wheels {
        world.publish(Wheel::new("demo", "1.0").tag(tag));
    }
    let filenames: Vec<String> = wheels.iter().map(|(tag, _)| format!("demo-1.0-{tag}.whl")).collect();
    let said = filenames.iter().map(String::as_str).chain(wheels.iter().map(|(_, why)| *why));
    check(&mut world, "demo", &said.chain(["hint: "]).collect::<Vec<_>>());
}

#[test]
fn a_wheel_for_another_python_is_refused_with_what_it_wants() {
    let mut world = World::new();
    world.publish_listed(Wheel::new("demo", "1.0"), |file| file["requires-python"] = ">=3.12".into());
    check(&mut world, "demo", &["demo-1.0-py3-none-any.whl", "3.12", "hint: "]);
}

#[test]
fn a_project_with_sources_only_is_refused() {
    let mut world = World::new();
    let sdist = Built { filename: "demo-1.0.tar.gz".into(), bytes: b"source".to_vec() };
    world.publish_file("demo", &sdist, |_| {});
    check(&mut world, "demo", &["demo", "demo-1.0.tar.gz", "hint: "]);
}

#[test]
fn requirements_that_exclude_each_other_are_explained_in_prose() {
    let mut world = World::new();
    for version in ["1.0", "2.0"] {
        world.publish(Wheel::new("core", version));
    }
    world.publish(Wheel::new("old", "1.0").requires("core<2"));
    world.publish(Wheel::new("new", "1.0").requires("core>=2"));
    check(&mut world, "old, new", &["old 1.0", "core<2", "new 1.0", "core>=2", "hint: relax or drop one of"]);
}

#[test]
fn a_version_that_is_not_there_is_answered_with_those_that_are() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0"));
    check(&mut world, "demo==7", &["demo", "7", "1.0", "hint: "]);
}

#[test]
fn components_that_no_version_serves_are_named_with_the_demands() {
    let mut world = World::new();
    world.publish(Wheel::new("nvidia-cublas-cu12", "12.1.0.26").tag("py3-none-manylinux1_x86_64"));
    world.publish(Wheel::new("torch", "2.6.0").requires("nvidia-cublas-cu12==12.4.5.8"));
    check(
        &mut world,
        "torch",
        &["`nvidia-cublas-cu12`", "torch 2.6.0 (==12.4.5.8)", "hint: the index offers 12.1.0.26"],
    );
}

#[test]
fn metadata_with_another_hash_is_refused() {
    let mut world = World::new();
    let wheel = world.publish_listed(Wheel::new("demo", "1.0"), |file| {
        file["core-metadata"] = json!({"sha256": "0".repeat(64)});
    });
    let path = format!("/files/{}.metadata", wheel.filename);
    world.server.set(&path, Resource::file("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"));
    check(&mut world, "demo", &[&path, "has the wrong hash", "hint: "]);
}

#[test]
fn a_wheel_that_is_gone_is_named() {
    let mut world = World::new();
    let wheel = world.publish(Wheel::new("demo", "1.0"));
    let path = format!("/files/{}", wheel.filename);
    world.server.set(&path, Resource::status(404));
    check(&mut world, "demo", &[&path, "answered 404", "hint: "]);
}

#[test]
fn a_hash_that_requirements_do_not_allow_is_refused() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0"));
    world.write("requirements.txt", format!("demo==1.0 --hash=sha256:{}\n", "0".repeat(64)));
    world.recipe("requirements: [requirements.txt]\n");
    world.check_bad(&["`demo-1.0-py3-none-any.whl` has none of the hashes", "`demo`", "hint: "]);
}

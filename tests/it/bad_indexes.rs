//! An index that cannot be asked, or has nothing that fits, is named with the reason.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use imgforge::oci::Digest;
use serde_json::json;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

use crate::support::server::{Resource, Server};
use crate::support::wheel::{Built, Wheel};
use crate::support::{Outcome, World, run};

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
    world.check_failure(&outcome, 1, &["demo", &url, "refused", "hint: check the address and the network"]);
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

/// A build of `demo`, which the default index has, where the one before it answers `status`.
fn build_behind(world: &World, status: u16, missing: &str) -> Outcome {
    let private = format!("{}/private", world.server.url());
    world.server.set("/private/demo/", Resource::status(status));
    let index = format!("{{url: '{private}', missing: [{missing}]}}");
    world.recipe(&format!("packages: [demo]\nindexes: [{index}]\n"));
    world.build()
}

#[test]
fn an_index_that_may_have_a_project_is_not_passed_over() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0"));
    let index = format!("{}/private", world.server.url());
    for (status, advice) in [
        (400, "hint: check the index URL"),
        (401, "hint: give credentials"),
        (403, "hint: give credentials"),
        (407, "hint: give credentials"),
        (451, "hint: check the index URL"),
        (501, "hint: check the index URL"),
    ] {
        let outcome = build_behind(&world, status, "");
        let missing = format!("missing: [{status}]");
        let said = [index.as_str(), "`demo`", &format!("answered {status}"), advice, &missing];
        world.check_failure(&outcome, 1, &said);
        assert!(!world.path("image").exists());
        // Nor is one that the machine names.
        world.recipe("packages: [demo]\n");
        let mut command = world.command(&["build", "recipe.yaml"]);
        let outcome = run(command.env("PIP_EXTRA_INDEX_URL", &index));
        world.check_failure(&outcome, 1, &[&index, "`demo`", &format!("answered {status}"), advice]);
        assert!(!world.server.take_requests().iter().any(|request| request == "GET /simple/demo/"));
    }
    for (status, said) in [(429, "answered 429"), (500, "answered 500"), (503, "answered 503")] {
        let outcome = build_behind(&world, status, "");
        world.check_failure(&outcome, 1, &["/private/demo/`", said, "hint: "]);
        assert!(!world.server.take_requests().iter().any(|request| request == "GET /simple/demo/"));
    }
}

#[test]
fn an_index_that_does_not_have_a_project_is_passed_over() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0"));
    for (status, missing) in [(404, ""), (410, ""), (403, "403"), (401, "403, 401")] {
        build_behind(&world, status, missing).check_success();
    }
    for wrong in ["200", "500", "429", "407", "4O3", "-403"] {
        let outcome = build_behind(&world, 404, wrong);
        world.check_failure(&outcome, 2, &["recipe.yaml:", wrong, "missing: [403]"]);
    }
}

#[test]
fn a_page_is_not_believed_for_as_long_as_it_claims() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0"));
    let lasting = |world: &World, name: &str| {
        let filename = format!("{name}-1.0-py3-none-any.whl");
        let url = format!("../../files/{filename}");
        let hash = Digest::of(Wheel::new(name, "1.0").build().bytes).hex();
        let file = json!({"filename": filename, "url": url, "hashes": {"sha256": hash}});
        world.server.set(&format!("/simple/{name}/"), Resource::lasting_json(&json!({"files": [file]})));
    };
    lasting(&world, "demo");
    world.recipe("packages: [demo]\n");
    let asked = |world: &World, arguments: &[&str], version: &str| {
        world.server.take_requests();
        let outcome = world.run(arguments);
        assert_eq!(outcome.code, 0, "{outcome}");
        let told = format!(
            "{}{}",
            outcome.stdout,
            fs::read_to_string(world.path("recipe.lock")).unwrap_or_default()
        );
        assert!(told.contains(version), "{version}: {told}");
        world.server.take_requests().iter().any(|request| request == "GET /simple/demo/")
    };
    assert!(asked(&world, &["plan", "recipe.yaml"], "1.0"));
    assert!(!asked(&world, &["plan", "recipe.yaml"], "1.0"), "a page may be believed for some minutes");
    world.publish(Wheel::new("demo", "2.0"));
    // Records of a page that is believed for too long are as good as none.
    let pages = world.store().join("records/simple-page");
    for page in fs::read_dir(&pages).unwrap().map(|page| page.unwrap().path()) {
        let text = fs::read_to_string(&page).unwrap();
        let (before, after) = text.split_once("\"fresh_until\":").unwrap();
        let end = after.find('}').unwrap();
        fs::write(&page, format!("{before}\"fresh_until\":101764430000{}", &after[end..])).unwrap();
    }
    assert!(asked(&world, &["plan", "recipe.yaml"], "2.0"));
}

#[test]
fn an_upgrade_asks_every_index_again() {
    for arguments in [&["lock", "recipe.yaml", "--upgrade"][..], &["lock", "recipe.yaml", "--upgrade=demo"]] {
        let mut world = World::new();
        let old = world.publish(Wheel::new("demo", "1.0"));
        let file = json!({
            "filename": old.filename, "url": format!("../../files/{}", old.filename),
            "hashes": {"sha256": Digest::of(&old.bytes).hex()},
        });
        world.server.set("/simple/demo/", Resource::lasting_json(&json!({"files": [file]})));
        world.recipe("packages: [demo]\n");
        assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
        world.publish(Wheel::new("demo", "2.0"));
        assert_eq!(world.run(arguments).code, 0);
        let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
        assert!(lock.contains("demo-2.0-py3-none-any.whl"), "{lock}");
    }
}

#[test]
fn a_login_goes_to_the_index_and_not_to_a_server_that_its_page_links_to() {
    let mut world = World::new();
    let elsewhere = Server::start();
    let wheel = Wheel::new("demo", "1.0").build();
    elsewhere.set("/files/demo-1.0-py3-none-any.whl", Resource::file(wheel.bytes.clone()));
    let linked = format!("{}/files/{}", elsewhere.url(), wheel.filename);
    world.publish_file("demo", &wheel, |file| file["url"] = linked.clone().into());
    world.recipe("packages: [demo]\n");
    let index = world.server.url().replace("http://", "http://me:pass@") + "/simple/";
    for (netrc, index) in [
        ("default login me password pass\n", None),
        ("machine other login x password y\ndefault login me password \"pass\"\n", None),
        ("", Some(index.as_str())),
    ] {
        let netrc = world.write("netrc", netrc);
        fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
        drop(fs::remove_dir_all(world.store()));
        let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
        index.map(|index| command.env("PIP_INDEX_URL", index));
        run(command.env("NETRC", &netrc)).check_success();
        let logins = world.server.take_logins();
        assert!(logins.iter().any(|(path, login)| path == "/simple/demo/" && login == "Basic bWU6cGFzcw=="));
        assert_eq!(elsewhere.take_logins(), []);
    }
}

#[test]
fn no_password_is_shown_or_kept() {
    let world = World::new();
    world.recipe("packages: [wholesome, gone]\n");
    let netrc = world.write("netrc", "machine 127.0.0.1 login me password netr0cs3cret\n");
    fs::set_permissions(&netrc, fs::Permissions::from_mode(0o600)).unwrap();
    let with_login = |text: &str| text.replace("http://", "http://me:urls3cret@");
    let recipe = fs::read_to_string(world.path("recipe.yaml")).unwrap();
    let index = with_login(&world.server.url()) + "/simple/?token=querys3cret";
    for (path, status) in [("/simple/gone/?token=querys3cret", 404), ("/simple/gone/?token=querys3cret", 403)]
    {
        world.server.set(path, Resource::status(status));
        world.server.set("/simple/wholesome/?token=querys3cret", Resource::status(status));
        world.write("recipe.yaml", with_login(&recipe));
        for command in [&["plan", "recipe.yaml"][..], &["lock", "recipe.yaml"], &BUILD] {
            let mut command = world.command(command);
            let outcome = run(command.env("PIP_INDEX_URL", &index).env("NETRC", &netrc));
            assert_eq!(outcome.code, 1, "{outcome}");
            assert!(!outcome.stderr.contains("s3cret"), "{outcome}");
        }
    }
    world.write("recipe.yaml", with_login(&recipe.replace(", gone", "")));
    let index = with_login(&world.server.url()) + "/simple/";
    for command in [&["lock", "recipe.yaml"][..], &BUILD] {
        let outcome = run(world.command(command).env("PIP_INDEX_URL", &index).env("NETRC", &netrc));
        assert!(outcome.code == 0 && !outcome.stderr.contains("s3cret"), "{outcome}");
    }
    for place in ["store", "image", "recipe.lock"] {
        let grep = Command::new("grep").args(["-rl", "s3cret"]).arg(world.path(place)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
    }
}

/// An index that lists `wheel` of `demo`, and says something of it that is not so.
struct LyingIndex {
    server: Server,
}

impl LyingIndex {
    const WHEEL: &str = "/files/demo-1.0-py3-none-any.whl";

    fn new(wheel: &Built, change: impl FnOnce(&mut serde_json::Value)) -> Self {
        let server = Server::start();
        let mut file = json!({
            "filename": wheel.filename, "url": format!("../..{}", Self::WHEEL),
            "hashes": {"sha256": Digest::of(&wheel.bytes).hex()}, "upload-time": "2024-05-06T07:08:09Z",
        });
        change(&mut file);
        server.set("/simple/demo/", Resource::json(&json!({"files": [file]})));
        server.set(Self::WHEEL, Resource::file(wheel.bytes.clone()));
        for name in ["evil", "helper"] {
            let other = Wheel::new(name, "1.0").file(&format!("{name}.py"), "1\n").build();
            let file = json!({
                "filename": other.filename, "url": format!("../../files/{}", other.filename),
                "hashes": {"sha256": Digest::of(&other.bytes).hex()},
            });
            server.set(&format!("/simple/{name}/"), Resource::json(&json!({"files": [file]})));
            server.set(&format!("/files/{}", other.filename), Resource::file(other.bytes));
        }
        Self { server }
    }

    fn with_metadata(wheel: &Built, metadata: &str, hash: serde_json::Value) -> Self {
        let lying = Self::new(wheel, |file| file["core-metadata"] = hash);
        lying.server.set(&format!("{}.metadata", Self::WHEEL), Resource::file(metadata));
        lying
    }

    fn with_parts(wheel: &Built, of: Wheel) -> Self {
        let lying = Self::new(wheel, |_| {});
        lying.server.set(Self::WHEEL, Resource::two_faced(wheel.bytes.clone(), of.build().bytes));
        lying
    }

    /// One of every kind: each with the subject of its lie.
    fn all(wheel: &Built) -> Vec<(Self, &'static str)> {
        let metadata = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n";
        let evil = format!("{metadata}Requires-Dist: helper\nRequires-Dist: evil\n");
        let hash = json!({"sha256": Digest::of(&evil).hex()});
        let honest = || Wheel::new("demo", "1.0").file("demo.py", "1\n");
        vec![
            (Self::with_metadata(wheel, &evil, true.into()), "the core metadata"),
            (Self::with_metadata(wheel, &evil, hash), "the core metadata"),
            (Self::with_metadata(wheel, metadata, true.into()), "the core metadata"),
            (Self::with_parts(wheel, honest().requires("helper").requires("evil")), "the core metadata"),
            (
                Self::with_parts(wheel, honest().requires("helper").file("demo.txt", "1\n")),
                "the list of files",
            ),
        ]
    }

    fn run(&self, world: &World, arguments: &[&str]) -> Outcome {
        run(world.command(arguments).env("PIP_INDEX_URL", format!("{}/simple/", self.server.url())))
    }
}

/// A world with the honest index of `demo`, which needs `helper`, and the wheel.
fn world_of_demo() -> (World, Built) {
    let mut world = World::new();
    world.publish(Wheel::new("helper", "1.0").file("helper.py", "1\n"));
    let wheel = world.publish(Wheel::new("demo", "1.0").requires("helper").file("demo.py", "1\n"));
    world.recipe("packages: [demo]\n");
    (world, wheel)
}

const BUILD: [&str; 4] = ["build", "recipe.yaml", "-o", "oci:image"];

#[test]
fn the_false_word_of_one_index_is_not_believed_of_another() {
    let (world, wheel) = world_of_demo();
    let expected = world.build().check_success();
    for (lying, _) in LyingIndex::all(&wheel) {
        drop(fs::remove_dir_all(world.store()));
        drop(fs::remove_file(world.path("recipe.lock")));
        assert_eq!(lying.run(&world, &["plan", "recipe.yaml"]).code, 0);
        assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
        let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
        assert!(!lock.contains("\"evil\"") && lock.contains("\"helper\""), "{lock}");
        fs::remove_file(world.path("recipe.lock")).unwrap();
        assert_eq!(world.build().check_success(), expected);
        let verified = world.run(&["cache", "verify"]);
        assert_eq!(verified.code, 1, "{verified}");
        assert!(verified.stdout.contains("it is not true of the wheel it is about"), "{verified}");
        assert_eq!(world.run(&["cache", "verify"]).code, 0);
        // Nor of its own, once the wheel is there.
        assert_eq!(lying.run(&world, &BUILD).check_success(), expected);
    }
}

#[test]
fn a_false_word_about_a_wheel_is_an_error_that_heals() {
    let (world, wheel) = world_of_demo();
    let expected = world.build().check_success();
    for (lying, subject) in LyingIndex::all(&wheel) {
        drop(fs::remove_dir_all(world.store()));
        fs::remove_dir_all(world.path("image")).unwrap();
        let outcome = lying.run(&world, &BUILD);
        let index = format!("`{}/simple/`", lying.server.url());
        let said = [subject, "`demo-1.0-py3-none-any.whl`", &index, "hint: what it said was forgotten"];
        world.check_failure(&outcome, 1, &said);
        assert!(!world.path("image").exists());
        assert_eq!(world.run(&["cache", "verify"]).code, 0, "nothing of it is left");
        assert_eq!(lying.run(&world, &BUILD).check_success(), expected);
    }
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
    for tag in [
        "cp310-cp310-manylinux2014_x86_64",
        "cp311-cp311-win_amd64",
        "cp311-cp311-manylinux2014_aarch64",
        "cp311-cp311-manylinux_2_39_x86_64",
    ] {
        world.publish(Wheel::new("demo", "1.0").tag(tag));
    }
    let said = [
        "demo-1.0-cp311-cp311-manylinux_2_39_x86_64.whl needs glibc 2.39",
        "demo-1.0-cp310-cp310-manylinux2014_x86_64.whl is for cp310, not cp311",
        "and 2 wheels for Linux on arm64, Windows",
        "hint: ",
    ];
    check(&mut world, "demo", &said);
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
    let said =
        ["a project publishes source distributions only", "demo 1.0, for the recipe", "hint: no other base"];
    check(&mut world, "demo", &said);
}

#[test]
fn requirements_that_exclude_each_other_are_explained_in_prose() {
    let mut world = World::new();
    for version in ["1.0", "2.0"] {
        world.publish(Wheel::new("core", version));
    }
    world.publish(Wheel::new("old", "1.0").requires("core<2"));
    world.publish(Wheel::new("new", "1.0").requires("core>=2"));
    check(
        &mut world,
        "old, new",
        &["old 1.0", "core<2", "new 1.0", "core>=2", "hint: change a version in, or drop, one of"],
    );
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
    for (algorithm, digits) in [("sha256", 64), ("sha384", 96), ("sha512", 128)] {
        let mut world = World::new();
        let demo = world.publish(Wheel::new("demo", "1.0"));
        world.recipe("requirements: [requirements.txt]\n");
        world.write("requirements.txt", format!("demo==1.0 --hash={algorithm}:{}\n", "0".repeat(digits)));
        world.check_bad(&["`demo-1.0-py3-none-any.whl` has none of the hashes", "`demo`", "hint: "]);
        let right = match algorithm {
            "sha256" => hex::encode(Sha256::digest(&demo.bytes)),
            "sha384" => hex::encode(Sha384::digest(&demo.bytes)),
            _ => hex::encode(Sha512::digest(&demo.bytes)),
        };
        let text = format!("demo==1.0 --hash=sha256:{} --hash={algorithm}:{right}\n", "1".repeat(64));
        world.write("requirements.txt", text);
        world.recipe("requirements: [requirements.txt]\n");
        world.build().check_success();
    }
}

#[test]
fn pre_releases_are_taken_where_they_are_asked_for() {
    let cases = [
        ("packages: [demo]\n", "1.0"),
        ("packages: [demo]\nprereleases: [other]\n", "1.0"),
        ("packages: [demo]\nprereleases: [demo]\n", "2.0rc1"),
        ("packages: [demo]\nprereleases: all\n", "2.0rc1"),
        ("packages: ['demo>=1.0rc1']\n", "2.0rc1"),
        ("packages: ['demo!=1.0rc1']\n", "1.0"),
        ("packages: [demo]\nconstraints: ['demo<2.0rc2']\n", "2.0rc1"),
        ("requirements: [early.txt]\n", "2.0rc1"),
    ];
    for (lines, expected) in cases {
        let mut world = World::new();
        world.publish(Wheel::new("demo", "1.0"));
        world.publish(Wheel::new("demo", "2.0rc1"));
        world.write("early.txt", "--pre\ndemo\n");
        world.recipe(lines);
        let plan: serde_json::Value =
            serde_json::from_str(&world.run(&["plan", "recipe.yaml", "--json"]).stdout).unwrap();
        assert_eq!(plan["distributions"][0]["version"], expected, "{lines}");
    }
}

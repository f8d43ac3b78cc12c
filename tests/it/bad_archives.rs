//! A Debian archive is believed only what its key signed.

use std::fs;

use imgforge::oci::Digest;

use crate::support::debian::{Archive, File};
use crate::support::server::{Manner, Resource};
use crate::support::{Outcome, World, run};

/// A build from an archive changed like this fails and says all of `said`.
#[track_caller]
fn check(change: impl FnOnce(&mut Archive), said: &[&str]) {
    let mut world = World::new();
    change(&mut world.archive);
    world.serve_archive();
    world.recipe("packages: [wholesome]\n");
    world.check_bad(said);
}

const INRELEASE: &str = "dists/bookworm/InRelease";

/// A build where the server has other bytes at `path` than the archive.
#[track_caller]
fn check_served(path: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>, said: &[&str]) {
    let mut world = World::new();
    let (_, bytes) = world.archive.files().into_iter().find(|(file, _)| file == path).unwrap();
    world.server.set(&format!("/debian/{path}"), Resource::file(change(bytes)));
    world.recipe("packages: [wholesome]\n");
    world.check_bad(said);
}

fn replaced(bytes: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(from));
    text.replace(from, to).into_bytes()
}

#[test]
fn a_release_whose_text_was_changed_is_not_trusted() {
    check_served(
        INRELEASE,
        |bytes| replaced(bytes, "Version: 12.5", "Version: 12.6"),
        &["suite `bookworm`", "cannot be trusted", "does not verify: the text was changed", "hint: "],
    );
}

#[test]
fn a_release_signed_by_another_key_is_not_trusted() {
    check(
        Archive::sign_with_another_key,
        &[
            "suite `bookworm`",
            "cannot be trusted",
            "is by a key in no trusted keyring",
            "archive.asc",
            "hint: ",
        ],
    );
}

#[test]
fn a_release_that_nobody_signed_is_not_trusted() {
    let unsigned = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        let body = text.split("-----BEGIN PGP SIGNATURE").next().unwrap();
        body.split_once("\n\n").unwrap().1.as_bytes().to_vec()
    };
    check_served(INRELEASE, unsigned, &["suite `bookworm`", "is not a signed text", "hint: "]);
}

#[test]
fn a_release_that_has_expired_is_refused() {
    let expire =
        |archive: &mut Archive| archive.release_lines = "Valid-Until: Sat, 17 Feb 2024 11:07:25 UTC\n";
    check(expire, &["`bookworm`", "expired", "hours ago", "hint: the mirror is stale"]);
}

#[test]
fn a_release_of_another_suite_is_refused() {
    check_served(INRELEASE, |_| b"<html>log in first</html>".to_vec(), &["is not a signed text", "hint: "]);
    let mut world = World::new();
    let (_, inrelease) = world.archive.files().into_iter().find(|(path, _)| path == INRELEASE).unwrap();
    world.server.set("/debian/dists/trixie/InRelease", Resource::file(inrelease));
    let recipe = std::fs::read_to_string(world.recipe("packages: [wholesome]\n")).unwrap();
    world.write("recipe.yaml", recipe.replace("[bookworm]", "[trixie]"));
    world.check_bad(&["calls itself `bookworm` where suite `trixie` was asked for", "hint: "]);
}

#[test]
fn a_mirror_without_the_suite_is_named() {
    let world = World::new();
    let recipe = std::fs::read_to_string(world.recipe("packages: [wholesome]\n")).unwrap();
    world.write("recipe.yaml", recipe.replace("[bookworm]", "[sid]"));
    let outcome = world.build();
    world.check_failure(&outcome, 1, &["suite `sid`", &world.server.url(), "hint: "]);
}

/// A world whose suite has two mirrors, `debian-security` and then `debian`; the first one serves `wrong`.
fn behind(wrong: impl FnOnce(&World, &mut Archive)) -> World {
    let mut world = World::new();
    world.archive.suite = "bookworm-security";
    world.serve_archive();
    let mut first = world.archive.clone();
    for (path, bytes) in first.files() {
        world.server.set(&format!("/debian-security/{path}"), Resource::file(bytes));
    }
    wrong(&world, &mut first);
    let recipe = fs::read_to_string(world.recipe("packages: [wholesome]\n")).unwrap();
    let recipe = recipe.replace("[bookworm]", "[bookworm-security]");
    world.write("recipe.yaml", recipe.replace(&format!("  mirror: {}/debian\n", world.server.url()), ""));
    world
}

fn build_by_environment(world: &World) -> Outcome {
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    run(command.env("IMGFORGE_DEBIAN_MIRROR", format!("{}/debian", world.server.url())))
}

/// Serves a changed archive at the first mirror.
fn served_first(change: impl FnOnce(&mut Archive)) -> impl FnOnce(&World, &mut Archive) {
    |world, archive| {
        change(archive);
        for (path, bytes) in archive.files() {
            world.server.set(&format!("/debian-security/{path}"), Resource::file(bytes));
        }
    }
}

/// Serves something else than a file of the archive at the first mirror.
fn instead(path: &'static str, resource: Resource) -> impl FnOnce(&World, &mut Archive) {
    move |world, _| world.server.set(&format!("/debian-security/dists/bookworm-security/{path}"), resource)
}

#[test]
fn a_mirror_that_is_down_or_wrong_does_not_end_the_search() {
    let sound = |world: World| {
        build_by_environment(&world).check_success();
        let asked = world.server.take_requests();
        let first = "GET /debian-security/dists/bookworm-security/InRelease".to_owned();
        assert!(asked.contains(&first), "{asked:?}");
    };
    for status in [401, 403, 404, 410, 500, 503] {
        sound(behind(instead("InRelease", Resource::status(status))));
    }
    sound(behind(instead("InRelease", Resource::html("<html>log in first</html>"))));
    sound(behind(instead("main/binary-amd64/Packages", Resource::file("Package: other\n"))));
    sound(behind(instead("main/binary-amd64/Packages", Resource::status(404))));
    sound(behind(served_first(Archive::sign_with_another_key)));
    sound(behind(served_first(|archive| {
        archive.release_lines = "Valid-Until: Sat, 17 Feb 2024 11:07:25 UTC\n"
    })));
}

#[test]
fn a_package_that_one_mirror_lost_comes_from_another() {
    for resource in [Resource::status(404), Resource::status(503), Resource::file("another package")] {
        let world = behind(|_, _| {});
        let location = format!("/debian-security/{}", world.archive.packages[2].location());
        world.server.set(&location, resource);
        build_by_environment(&world).check_success();
        assert!(world.server.take_requests().contains(&format!("GET {location}")));
    }
}

#[test]
fn of_mirrors_that_are_all_wrong_each_is_named() {
    let world = behind(instead("InRelease", Resource::status(403)));
    let url = world.server.url();
    world.server.set("/debian/dists/bookworm-security/InRelease", Resource::html("<html></html>"));
    let outcome = build_by_environment(&world);
    let said = [
        "no mirror serves suite `bookworm-security`",
        &format!("`{url}/debian-security/`: "),
        "answered 403",
        &format!("`{url}/debian/`: "),
        "is not a signed text",
        "hint: ",
    ];
    world.check_failure(&outcome, 1, &said);
    let world = behind(instead("InRelease", Resource::status(404)));
    world.server.set("/debian/dists/bookworm-security/InRelease", Resource::status(404));
    let outcome = build_by_environment(&world);
    world.check_failure(&outcome, 1, &["none of the mirrors has suite `bookworm-security`", "hint: "]);
}

#[test]
fn a_release_that_is_older_than_one_seen_before_is_refused() {
    let mut world = World::new();
    world.recipe("packages: [wholesome]\n");
    let serve = |world: &mut World, date: &'static str| {
        world.archive.date = date;
        world.serve_archive();
    };
    let check_older = |world: &World| {
        let said =
            ["older release of suite `bookworm`", "2024-02-10T11:07:25Z was seen", "hint: the mirror lags"];
        world.check_failure(&world.build(), 1, &said);
    };
    world.build().check_success();
    serve(&mut world, "Sat, 10 Feb 2024 11:07:24 UTC");
    check_older(&world);
    world.archive.packages[0].version = "12.4+deb12u4";
    serve(&mut world, "Fri, 09 Feb 2024 11:07:25 UTC");
    check_older(&world);
    world.run(&["build", "recipe.yaml", "-o", "oci:image", "--offline"]);
    check_older(&world);
    serve(&mut world, "Sat, 10 Feb 2024 11:07:25 UTC");
    world.build().check_success();
    // A snapshot of the past is another archive.
    serve(&mut world, "Sun, 11 Feb 2024 00:00:00 UTC");
    world.build().check_success();
    let mut past = world.archive.clone();
    past.date = "Mon, 01 Jan 2024 00:00:00 UTC";
    for (path, bytes) in past.files() {
        world.server.set(&format!("/snapshot/{path}"), Resource::file(bytes));
    }
    let recipe = fs::read_to_string(world.path("recipe.yaml")).unwrap();
    world.write("recipe.yaml", recipe.replace("/debian\n", "/snapshot\n"));
    world.build().check_success();
}

/// A world with a lock, and the lock's text.
fn locked_world() -> (World, String) {
    let world = World::new();
    world.recipe("packages: [wholesome]\n");
    let outcome = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
    (world, lock)
}

/// A locked build with an empty store.
fn locked_build(world: &World) -> Outcome {
    drop(fs::remove_dir_all(world.path("empty")));
    let mut command = world.command(&["build", "recipe.yaml", "--locked", "-o", "oci:image"]);
    run(command.env("IMGFORGE_CACHE_DIR", world.path("empty")))
}

#[test]
fn a_lock_names_no_place_outside_the_archives_of_its_recipe() {
    let (world, lock) = locked_world();
    let location = world.archive.packages[1].location();
    let other = "http://127.0.0.1:9/debian";
    let check = |from: &str, to: &str, said: &[&str]| {
        let changed = lock.replacen(from, to, 1);
        assert_ne!(changed, lock, "{from}");
        world.write("recipe.lock", changed);
        world.server.take_requests();
        world.check_failure(&locked_build(&world), 2, said);
        assert_eq!(world.server.take_requests(), Vec::<String>::new(), "{to}");
    };
    for path in [
        "http://127.0.0.1:9/x.deb",
        "https:127.0.0.1:9/x.deb",
        "//127.0.0.1:9/x.deb",
        "/x.deb",
        "../x.deb",
        "pool/../../x.deb",
        "pool/%2e%2E/%2e%2e/x.deb",
        "x.deb?token",
        "",
    ] {
        check(&location, path, &["line", "is no path below an archive", "hint: restore the file"]);
    }
    let mirror = format!("{}/debian/", world.server.url());
    check(
        &mirror,
        &format!("{other}/"),
        &["takes suite `bookworm` from `http://127.0.0.1:9/debian/`", "hint: restore"],
    );
    check(&mirror, &format!("{mirror}other/"), &["takes suite `bookworm` from", "hint: restore"]);
    check(
        &mirror,
        "http://me:pw@127.0.0.1:9/debian/",
        &["`http://127.0.0.1:9/debian/` is no archive's root"],
    );
    check(&mirror, "file:///debian/", &["is no archive's root"]);
    check("name = \"bookworm\"", "name = \"trixie\"", &["the lock has the suites `trixie`", "hint: restore"]);
    check("components = [\"main\"]", "components = [\"main\\nTrusted: yes\"]", &["the lock has the suites"]);
    check("components = [\"main\"]", "components = [\"main\", \"evil\"]", &["the lock has the suites"]);
    check(
        "architecture = \"amd64\"\nfilename",
        "architecture = \"arm64\"\nfilename",
        &["for arm64", "is for amd64"],
    );
    check("name = \"libc6\"", "name = \"../libc6\"", &["is no name of a package"]);
    check(
        "origin = \"Debian\"",
        "keyring = \"/usr/share/keyrings/a.gpg\\nTrusted: yes\"\norigin = \"Debian\"",
        &["is no keyring of an image"],
    );
    check(
        "origin = \"Debian\"",
        "keyring = \"/tmp/a.gpg\"\norigin = \"Debian\"",
        &["is no keyring of an image"],
    );
    world.write("recipe.lock", &lock);
    locked_build(&world).check_success();
}

#[test]
fn a_package_of_a_lock_is_held_against_the_signed_index() {
    let (world, lock) = locked_world();
    let honest = world.archive.packages[1].deb();
    let mut package = world.archive.packages[1].clone();
    package.files.push(File::Regular("usr/lib/evil", "evil\n", 0o644));
    let evil = package.deb();
    let location = format!("/debian/{}", package.location());
    world.server.set(&location, Resource::file(evil.clone()));
    let changed = lock
        .replace(&Digest::of(&honest).to_string(), &Digest::of(&evil).to_string())
        .replace(&format!("size = {}\n", honest.len()), &format!("size = {}\n", evil.len()));
    let said = [
        "another package `libc6 2.36-9+deb12u7` than the signed index of suite `bookworm`",
        &Digest::of(&evil).to_string(),
        &Digest::of(&honest).to_string(),
        "hint: restore the lock",
    ];
    for (from, to) in [("", ""), ("2.36-9+deb12u7\"\narch", "0:2.36-9+deb12u7\"\narch")] {
        world.write("recipe.lock", changed.replacen(from, to, 2));
        let said = if from.is_empty() { &said[..] } else { &said[1..] };
        world.check_failure(&locked_build(&world), 2, said);
        assert!(!world.path("image").exists());
        assert!(!world.server.take_requests().contains(&format!("GET {location}")));
    }
    // Of a version that no suite lists any more the lock is the only witness.
    world.write(
        "recipe.lock",
        changed.replace("version = \"2.36-9+deb12u7\"", "version = \"2.36-9+deb12u6\""),
    );
    let outcome = locked_build(&world);
    outcome.check_success();
    assert!(outcome.stderr.contains("the lock alone vouches for packages"), "{outcome}");
    assert!(outcome.stderr.contains("libc6 2.36-9+deb12u6"), "{outcome}");
    // So it is where no suite is served.
    world.write("recipe.lock", &lock);
    world.server.set(&location, Resource::file(honest));
    for (manner, reason) in
        [(Manner::Status(404), "none of the mirrors"), (Manner::Status(403), "answered 403")]
    {
        world.server.behave(&format!("/debian/{INRELEASE}"), manner);
        let outcome = locked_build(&world);
        outcome.check_success();
        let said = outcome.stderr.replace("\n  ", " ");
        assert!(said.contains("could not be held against the signed index of suite `bookworm`"), "{outcome}");
        assert!(said.contains(reason), "{outcome}");
    }
}

#[test]
fn a_keyring_that_is_missing_or_none_is_named() {
    let mut world = World::new();
    world.write("archive.asc", "not a key\n");
    world.recipe("packages: [wholesome]\n");
    world.check_bad(&["archive.asc", "hint: "]);

    std::fs::remove_file(world.path("archive.asc")).unwrap();
    let outcome = world.build();
    world.check_failure(&outcome, 1, &["could not read keyring", "archive.asc", "hint: "]);
}

#[test]
fn an_index_with_another_hash_is_refused() {
    check_served(
        "dists/bookworm/main/binary-amd64/Packages",
        |bytes| replaced(bytes, "3.11.2-6", "3.11.2-7"),
        &["bookworm main/binary-amd64/Packages", "has the wrong hash", "hint: "],
    );
}

#[test]
fn a_package_with_another_hash_is_refused() {
    let flip = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let location = Archive::small().packages[4].location();
    check_served(&location, flip, &["`python3.11-minimal` has the wrong hash", "nothing of it was kept"]);
}

#[test]
fn a_package_that_ends_early_is_refused() {
    let mut world = World::new();
    let location = format!("/debian/{}", world.archive.packages[4].location());
    world.server.behave(&location, Manner::Short(100));
    world.recipe("packages: [wholesome]\n");
    world.check_bad(&["`python3.11-minimal` has the wrong size", "hint: "]);
}

#[test]
fn a_package_cannot_leave_the_image() {
    for (path, reason) in [
        ("../evil", "a path that leaves the package"),
        ("usr/../../evil", "a path that leaves the package"),
        ("/etc/evil", "an absolute path"),
        ("usr/bin/.wh.sh", "it stands for a file that is gone"),
        ("etc/.wh..wh..opq", "it stands for a file that is gone"),
        ("usr/.wh.lib/evil", "it stands for a file that is gone"),
    ] {
        check(
            |archive| archive.packages[3].files.push(File::Regular(path, "evil\n", 0o644)),
            &["the package `python3` cannot be read", path, reason, "hint: "],
        );
    }
}

#[test]
fn a_link_of_a_package_does_not_carry_files_out_of_the_image() {
    check(
        |archive| {
            let files = &mut archive.packages[3].files;
            files.push(File::Link("opt", "opt"));
            files.push(File::Regular("opt/evil", "evil\n", 0o644));
        },
        &["opt/evil`", "leads through links in a circle, or out of the image", "hint: "],
    );
}

#[test]
fn two_packages_with_the_same_file_are_named() {
    check(
        |archive| archive.packages[3].files.push(File::Regular("etc/os-release", "ID=other\n", 0o644)),
        &["`etc/os-release` is in both `base-files` and `python3`", "hint: "],
    );
}

#[test]
fn a_package_that_nobody_has_is_named() {
    let world = World::new();
    let recipe = std::fs::read_to_string(world.recipe("packages: [wholesome]\n")).unwrap();
    world.write("recipe.yaml", recipe.replace("[python3]", "[pyhton3]"));
    let outcome = world.build();
    world.check_failure(&outcome, 1, &["there is no package `pyhton3`", "hint: did you mean `python3`?"]);
}

#[test]
fn a_dependency_that_nobody_has_is_named_with_who_needs_it() {
    check(
        |archive| archive.packages[3].fields = "Depends: python3.11-minimal (>= 4)\n",
        &["python3", "python3.11-minimal (>= 4)", "3.11.2-6", "hint: "],
    );
}

#[test]
fn a_base_without_python_is_refused() {
    let world = World::new();
    let recipe = std::fs::read_to_string(world.recipe("packages: [wholesome]\n")).unwrap();
    world.write("recipe.yaml", recipe.replace("[python3]", "[base-files]"));
    let outcome = world.build();
    world.check_failure(&outcome, 2, &["the base has no Python", "hint: ", "add `python3`"]);
}

//! A Debian archive is believed only what its key signed.

use crate::support::World;
use crate::support::debian::{Archive, File};
use crate::support::server::{Manner, Resource};

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

//! A wheel that is broken, or means harm, stops the build and leaves nothing of itself.

use std::process::Stdio;
use std::time::Duration;

use imgforge::oci::Digest;
use sha2::Digest as _;

use crate::support::World;
use crate::support::image::Image;
use crate::support::server::Manner;
use crate::support::wheel::{Built, Wheel};
use crate::support::zip::{self, Member};

/// A wheel large enough to be damaged in the middle.
fn demo() -> Wheel {
    let content: Vec<u8> =
        (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    Wheel::new("demo", "1.0").file("demo/__init__.py", "").file("demo/data.bin", content)
}

/// A build fails over a project `demo` with only this wheel.
#[track_caller]
fn check(wheel: Wheel, said: &[&str]) {
    let mut world = World::new();
    world.publish(wheel);
    world.recipe("packages: [demo]\n");
    world.check_bad(said);
}

/// A build fails over a member that this wheel contains.
#[track_caller]
fn check_member(member: Member, said: &[&str]) {
    check(Wheel::new("demo", "1.0").file("demo.py", "").member(member), said);
}

/// A build fails when the server treats downloads like this.
#[track_caller]
fn check_served(manner: Manner, said: &[&str]) {
    let mut world = World::new();
    let wheel = world.publish(demo());
    world.server.behave(&format!("/files/{}", wheel.filename), manner);
    world.recipe("packages: [demo]\n");
    world.check_bad(said);
}

const WHEEL: &str = "`demo-1.0-py3-none-any.whl`";

#[test]
fn a_wheel_with_another_hash_is_not_kept() {
    let mut world = World::new();
    let wheel = demo().build();
    let mut changed = wheel.bytes.clone();
    changed[400_000] ^= 1;
    world.publish_file("demo", &Built { bytes: changed, ..wheel.clone() }, |file| {
        file["hashes"]["sha256"] = imgforge::oci::Digest::of(&wheel.bytes).hex().into();
    });
    world.recipe("packages: [demo]\n");
    world.check_bad(&[WHEEL, "has the wrong hash: expected sha256:", "nothing of it was kept"]);
    let partial = std::fs::read_dir(world.store().join("tmp")).unwrap().count();
    assert_eq!(partial, 0, "something waits in the store's tmp");
}

#[test]
fn a_wheel_that_the_server_cuts_short_is_not_kept() {
    check_served(Manner::Short(300_000), &[WHEEL, "has the wrong size: expected", "got 300000"]);
}

#[test]
fn a_wheel_that_is_half_there_is_not_a_wheel() {
    let mut world = World::new();
    let whole = demo().build();
    let bytes = whole.bytes[..whole.bytes.len() / 2].to_vec();
    world.publish_file("demo", &Built { bytes, ..whole }, |_| {});
    world.recipe("packages: [demo]\n");
    world.check_bad(&["demo-1.0-py3-none-any.whl", "it is not a sound zip archive"]);
}

#[test]
fn a_wheel_without_a_hash_is_locked_as_it_came_and_is_that_one_from_then_on() {
    let mut world = World::new();
    let unlisted = |file: &mut serde_json::Value| file["hashes"] = serde_json::json!({"md5": "00"});
    let first = world.publish_listed(demo(), unlisted);
    world.recipe("packages: [demo]\n");
    let locked = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(locked.code, 0, "{locked}");
    assert!(locked.stderr.contains("no hash is listed for demo-1.0-py3-none-any.whl"), "{}", locked.stderr);
    let lock = std::fs::read_to_string(world.path("recipe.lock")).unwrap();
    assert!(lock.contains(&Digest::of(&first.bytes).to_string()), "{lock}");
    let other = demo().file("demo/other.py", "1\n").build();
    world.publish_file("demo", &other, unlisted);
    std::fs::remove_dir_all(world.store()).unwrap();
    world.check_failure(
        &world.run(&["build", "recipe.yaml", "-o", "oci:image", "--locked"]),
        1,
        &[WHEEL, "has the wrong"],
    );
}

#[test]
fn a_wheel_has_the_hash_that_its_index_lists_whatever_the_algorithm() {
    for (algorithm, digits) in [("sha384", 96), ("sha512", 128)] {
        let mut world = World::new();
        let wrong = "0".repeat(digits);
        world.publish_listed(demo(), |file| file["hashes"] = serde_json::json!({algorithm: wrong}));
        world.recipe("packages: [demo]\n");
        world.check_bad(&[WHEEL, "has not the hash that its package index lists", algorithm, "hint: "]);
    }
    let mut world = World::new();
    let sum = hex::encode(sha2::Sha512::digest(&demo().build().bytes));
    world.publish_listed(demo(), |file| file["hashes"] = serde_json::json!({"sha512": sum}));
    world.recipe("packages: [demo]\n");
    world.build().check_success();
}

#[test]
fn members_cannot_leave_the_directory_they_are_unpacked_into() {
    for name in ["../evil.py", "demo/../../evil.py", "/etc/evil", "./demo/../x"] {
        let shown = format!("`{name}`");
        check_member(Member::file(name, b"evil\n"), &[WHEEL, &shown, "leaves the directory", "hint: "]);
    }
    for name in ["demo\\evil.py", "\\demo.py", "demo/..\\evil.py"] {
        check_member(Member::file(name, b"evil\n"), &[WHEEL, "has a backslash in its name", "hint: "]);
    }
}

#[test]
fn a_path_that_no_file_system_takes_is_refused() {
    for name in
        [format!("demo/{}", "x".repeat(256)), "x/".repeat(300) + "x", "0123456789abcde/".repeat(256) + "x"]
    {
        check_member(Member::file(&name, b""), &[WHEEL, "has a path of more than 4096 bytes", "hint: "]);
    }
}

#[test]
fn data_cannot_leave_its_scheme() {
    let wheel = Wheel::new("demo", "1.0").file("demo-1.0.data/data/../../../etc/evil", "evil\n");
    check(wheel, &[WHEEL, "leaves the directory"]);
    let wheel = Wheel::new("demo", "1.0").file("demo-1.0.data/nowhere/x", "");
    check(wheel, &[WHEEL, "`.data/nowhere`", "hint: "]);
    let wheel = Wheel::new("demo", "1.0").entry_points("[console_scripts]\n../../evil = a:b\n");
    check(wheel, &[WHEEL, "entry_points.txt names no script in `../../evil = a:b`", "hint: "]);
}

#[test]
fn a_symbolic_link_is_refused() {
    let link = Member { mode: 0o120_777, ..Member::stored("demo/link", b"/etc/passwd") };
    check_member(link, &[WHEEL, "`demo/link`", "is a symbolic link", "hint: "]);
}

#[test]
fn a_member_with_another_crc_is_refused() {
    let wrong = Member { crc32: 7, ..Member::file("demo/wrong.py", b"wrong\n") };
    check_member(
        wrong.clone(),
        &[WHEEL, "`demo/wrong.py`", "have the CRC-32 that the wheel promises", "hint: "],
    );
    let listed = Wheel::new("demo", "1.0").listed(wrong, b"wrong\n");
    check(listed, &[WHEEL, "demo/wrong.py` is damaged: its CRC-32", "hint: "]);
    let wrong = Member { crc32: 7, ..Member::stored("demo/wrong.py", b"wrong\n") };
    check_member(wrong, &[WHEEL, "demo/wrong.py`", "hint: "]);
}

#[test]
fn a_member_that_lies_about_its_size_is_refused() {
    let honest = Member::file("demo/liar.py", b"twelve bytes");
    for size in [0, 11, 13, 1 << 20] {
        check_member(Member { size, ..honest.clone() }, &[WHEEL, "demo/liar.py`", "hint: "]);
    }
    let honest = Member::stored("demo/liar.py", b"twelve bytes");
    for size in [0, 11, 13] {
        check_member(Member { size, ..honest.clone() }, &[WHEEL, "demo/liar.py`", "hint: "]);
    }
}

#[test]
fn what_is_said_of_a_member_twice_is_the_same() {
    let honest = Member::file("demo/liar.py", b"twelve bytes");
    let local = Member { local_size: Some(11), ..honest.clone() };
    check_member(
        local,
        &[WHEEL, "demo/liar.py`", "has other sizes or another CRC-32 in its local header", "hint: "],
    );
    for wrong in 0..3 {
        let mut member = honest.clone().described();
        member.descriptor.as_mut().unwrap()[wrong] += 1;
        check_member(
            member,
            &[WHEEL, "demo/liar.py`", "has other sizes or another CRC-32 behind its bytes", "hint: "],
        );
    }
    let stored = Member { size: 11, ..Member::stored("demo/liar.py", b"twelve bytes") };
    check_member(stored, &[WHEEL, "demo/liar.py`", "is not compressed, and yet has two sizes", "hint: "]);
}

#[test]
fn sizes_may_follow_the_bytes() {
    let mut world = World::new();
    world.publish(
        Wheel::new("demo", "1.0").member(Member::file("demo/late.py", b"late = True\n").described()),
    );
    world.recipe("packages: [demo]\n");
    world.build().check_success();
}

#[test]
fn an_archive_ends_where_its_directory_does() {
    let damage = |change: &dyn Fn(&mut Vec<u8>), said: &str| {
        let mut world = World::new();
        let mut wheel = demo().build();
        change(&mut wheel.bytes);
        world.publish_file("demo", &wheel, |_| {});
        world.recipe("packages: [demo]\n");
        world.check_bad(&["demo-1.0-py3-none-any.whl", said]);
    };
    damage(&|bytes| bytes.extend(b"more"), "goes on behind its end");
    // The numbers of members, of this disk and of all.
    damage(&|bytes| bytes.iter_mut().rev().skip(11).take(4).for_each(|byte| *byte = 1), "number of members");
}

#[test]
fn members_of_the_metadata_are_held_against_their_crc() {
    for name in ["demo-1.0.dist-info/entry_points.txt", "demo-1.0.data/scripts/run"] {
        let wrong = Member { crc32: 7, ..Member::file(name, b"#!python\n") };
        check_member(wrong, &[WHEEL, name, "cannot be read", "CRC-32", "hint: "]);
    }
}

#[test]
fn a_name_that_hides_a_file_of_the_base_is_refused() {
    for name in ["demo/.wh.other.py", ".wh..wh..opq", "demo/.wh.other/x.py"] {
        check_member(Member::file(name, b""), &[WHEEL, name, "stands for a file that is gone", "hint: "]);
    }
    for name in [
        "demo-1.0.data/scripts/.wh.python3",
        "demo-1.0.data/data/.wh..wh..opq",
        "demo-1.0.data/purelib/.wh.a/b",
    ] {
        check_member(Member::file(name, b""), &[WHEEL, name, "stands for a file that is gone", "hint: "]);
    }
    for (text, shown) in [
        ("[console_scripts]\n.wh.python3 = a:b\n", "`.wh.python3 = a:b`"),
        ("[gui_scripts]\n.wh..wh..opq = a:b\n", "`.wh..wh..opq = a:b`"),
        ("[console_scripts]\na\0b = a:b\n", "`a\\0b = a:b`"),
        ("[console_scripts]\n.. = a:b\n", "`.. = a:b`"),
    ] {
        let wheel = Wheel::new("demo", "1.0").entry_points(text);
        check(wheel, &[WHEEL, "entry_points.txt names no script in", shown, "hint: "]);
    }
}

#[test]
fn a_file_has_nothing_below_it() {
    check_member(Member::file("demo.py/x", b""), &[WHEEL, "`demo.py/x` lies below another member", "hint: "]);
    let scripts = Member::file("demo-1.0.data/scripts", b"");
    check_member(scripts, &[WHEEL, "`demo-1.0.data/scripts` is a file where a directory", "hint: "]);
    let purelib = Member::file("demo-1.0.data/purelib/demo.py/x", b"");
    check_member(purelib, &[WHEEL, "demo.py/x` would be installed below a file", "hint: "]);
    let mut world = World::new();
    world.publish(Wheel::new("one", "1").file("same", "one\n"));
    world.publish(Wheel::new("two", "1").file("same/two.py", "two\n"));
    world.recipe("packages: [one, two]\nlayers: {budget: 2}\n");
    world.check_bad(&["`two-1-py3-none-any.whl`", "same/two.py` would be installed below a file", "hint: "]);
}

#[test]
fn two_members_of_one_name_are_refused() {
    let other = Member::file("demo.py", b"again\n");
    check_member(other.clone(), &[WHEEL, "`demo.py` is there twice", "hint: "]);
    let executable = Member { mode: 0o100_755, ..Member::file("demo.py", b"") };
    check_member(executable, &[WHEEL, "`demo.py` is there twice", "hint: "]);
    // What only says to be the same.
    let forged = Member { crc32: 0, size: 0, ..other };
    check_member(forged, &[WHEEL, "`demo.py`", "hint: "]);
}

/// Builds over a wheel that pip and uv install as well, and gives the image.
#[track_caller]
fn installed(wheel: &Built) -> Image {
    let mut world = World::new();
    world.publish_file("demo", wheel, |_| {});
    world.recipe("packages: [demo]\n");
    world.build().check_success();
    Image::read(&world.path("image"))
}

/// The wheel `demo` of these files, in `.dist-info` named `info`.
fn odd(version: &str, info: &str, metadata: &[u8], files: &[(&str, &[u8])]) -> Built {
    let texts: [(&str, &[u8]); 3] = [
        ("METADATA", metadata),
        ("WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
        ("RECORD", b""),
    ];
    let texts = texts.map(|(name, text)| Member::file(&format!("{info}/{name}"), text));
    let files = files.iter().map(|(path, content)| Member::file(path, content));
    let members: Vec<Member> = files.chain(texts).collect();
    Built { filename: format!("demo-{version}-py3-none-any.whl"), bytes: zip::archive(&members) }
}

#[test]
fn what_pip_and_uv_install_is_installed() {
    const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";
    let (info, sound) = ("demo-1.0.dist-info", b"Name: demo\nVersion: 1.0\n");
    for metadata in ["Name: demo\nVersion: 1.0\nVersion: 2.0\n", "Name: demo\nName: other\nVersion: 1.0\n"] {
        installed(&odd("1.0", info, metadata.as_bytes(), &[("demo.py", b"")]));
    }
    let latin1 = b"Name: demo\nVersion: 1.0\nAuthor: Andr\xe9\n";
    let image = installed(&odd("1.0", info, latin1, &[("demo.py", b"")]));
    assert_eq!(image.file(&format!("{PACKAGES}/{info}/METADATA")).content, latin1);
    for (version, info, told) in
        [("1.0.post1", "demo-1.0-1.dist-info", "1.0-1"), ("1.0", "Demo-1.0.dist-info", "1.0")]
    {
        let metadata = format!("Name: demo\nVersion: {told}\n");
        let image = installed(&odd(version, info, metadata.as_bytes(), &[("demo.py", b"")]));
        image.file(&format!("{PACKAGES}/{info}/METADATA"));
    }
    let image =
        installed(&odd("1.0", info, sound, &[("twice.py", b"x"), ("twice.py", b"x"), ("twice.py", b"x")]));
    assert_eq!(image.text(&format!("{PACKAGES}/twice.py")), "x");
    let image = installed(&odd("1.0", info, sound, &[("DEMO-1.0.data/scripts/tool", b"#!python\n")]));
    assert_eq!(image.text("usr/local/bin/tool"), "#!/usr/bin/python3\n");
    let entry_points = format!("{info}/entry_points.txt");
    let files: [(&str, &[u8]); 2] = [
        ("demo-1.0.data/scripts/both", b"#!python\n"),
        (&entry_points, b"[console_scripts]\nboth = demo:main\n"),
    ];
    let image = installed(&odd("1.0", info, sound, &files));
    assert!(image.text("usr/local/bin/both").ends_with("sys.exit(main())\n"));
}

#[test]
fn a_script_of_a_reserved_name_is_refused() {
    for name in ["python", "python3", "python3.11", "pythonw", "pip", "pip3", "sh", "env"] {
        let script = Member::file(&format!("demo-1.0.data/scripts/{name}"), b"#!/bin/false\n");
        check_member(script, &[WHEEL, &format!("the script `{name}`, a reserved name"), "hint: "]);
    }
    for text in ["[console_scripts]\npython3 = a:b\n", "[gui_scripts]\npythonw = a:b\n"] {
        check(Wheel::new("demo", "1.0").entry_points(text), &[WHEEL, "a reserved name", "hint: "]);
    }
    for text in [
        "[console_scripts]\n.wh.python3 = a:b\n",
        "[console_scripts]\n.wh..wh..opq = a:b\n",
        "[gui_scripts]\na\0b = a:b\n",
    ] {
        check(
            Wheel::new("demo", "1.0").entry_points(text),
            &[WHEEL, "entry_points.txt names no script", "hint: "],
        );
    }
}

#[test]
fn gigabytes_of_zeros_are_a_zip_bomb() {
    let mut wheel = Wheel::new("demo", "1.0");
    for part in 0..4 {
        wheel = wheel.member(Member::zeros(&format!("demo/{part}"), 2000));
    }
    check(wheel, &[WHEEL, "it inflates from", "as only a zip bomb does", "hint: "]);
}

#[test]
fn a_zip_bomb_that_hides_its_size_is_stopped_early() {
    let bomb = Member { size: 10, ..Member::zeros("demo/small", 2000) };
    check_member(bomb, &[WHEEL, "demo/small`", "hint: "]);
}

#[test]
fn a_zip_bomb_in_the_metadata_is_stopped_early() {
    let bomb = Member { size: 10, ..Member::zeros("demo-1.0.dist-info/entry_points.txt", 2000) };
    check_member(bomb, &[WHEEL, "entry_points.txt`", "hint: "]);
}

#[test]
fn members_that_share_their_bytes_are_a_zip_bomb() {
    let kernel = Member::zeros("demo/kernel", 200);
    let around = Member { compressed_size: Some(kernel.stored_size()), ..Member::stored("demo/around", b"") };
    let around = Member { size: kernel.stored_size(), ..around };
    let wheel = Wheel::new("demo", "1.0").member(around).member(kernel);
    check(wheel, &[WHEEL, "`demo/kernel`", "shares its bytes with another member", "hint: "]);
}

#[test]
fn metadata_of_another_project_is_refused() {
    check(
        Wheel::new("demo", "1.0").metadata_name("other"),
        &["demo-1.0-py3-none-any.whl", "has the metadata of other 1.0"],
    );
}

#[test]
fn a_file_that_two_wheels_install_is_refused_or_the_same_every_time() {
    let mut world = World::new();
    world.publish(Wheel::new("one", "1").file("same.py", "one\n"));
    world.publish(Wheel::new("two", "1").file("same.py", "two\n"));
    world.recipe("packages: [one, two]\n");
    let first = world.build().check_success();
    world.recipe("packages: [two, one]\n");
    assert_eq!(world.build().check_success(), first);
}

#[test]
fn an_interrupted_download_is_resumed() {
    let mut world = World::new();
    let wheel = world.publish(demo());
    let path = format!("/files/{}", wheel.filename);
    world.server.behave(&path, Manner::Cut(300_000));
    world.recipe("packages: [demo]\n");
    world.build().check_success();
    let requests = world.server.take_requests();
    assert!(requests.contains(&format!("GET {path} bytes=300000-")), "{requests:#?}");
    world.sound_blobs();
}

#[test]
fn a_build_that_is_killed_leaves_a_download_to_resume() {
    let mut world = World::new();
    let wheel = world.publish(demo());
    let path = format!("/files/{}", wheel.filename);
    world.server.behave(&path, Manner::StallOnce(300_000));
    world.recipe("packages: [demo]\n");
    let mut build = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    let mut build = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let digest = imgforge::oci::Digest::of(&wheel.bytes);
    let partial = world.store().join("tmp").join(format!("partial-{}", digest.hex()));
    while std::fs::metadata(&partial).map_or(0, |partial| partial.len()) < 300_000 {
        assert!(build.try_wait().unwrap().is_none(), "the build ended by itself");
        std::thread::sleep(Duration::from_millis(5));
    }
    build.kill().unwrap();
    build.wait().unwrap();
    assert!(!world.sound_blobs().contains(&digest.hex()));
    assert!(!world.path("image").exists());

    world.server.take_requests();
    world.build().check_success();
    let requests = world.server.take_requests();
    assert!(requests.contains(&format!("GET {path} bytes=300000-")), "{requests:#?}");
    world.sound_blobs();
}

#[test]
fn a_stalled_download_is_resumed() {
    let mut world = World::new();
    let wheel = world.publish(demo());
    let path = format!("/files/{}", wheel.filename);
    world.server.behave(&path, Manner::StallOnce(300_000));
    world.recipe("packages: [demo]\n");
    world.build().check_success();
    let requests = world.server.take_requests();
    assert!(requests.contains(&format!("GET {path} bytes=300000-")), "{requests:#?}");
    world.sound_blobs();
}

#[test]
fn a_server_without_ranges_does() {
    let mut world = World::new();
    let wheel = world.publish(demo());
    world.server.behave(&format!("/files/{}", wheel.filename), Manner::NoRanges);
    world.recipe("packages: [demo]\n");
    world.build().check_success();
}

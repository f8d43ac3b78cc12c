//! A source distribution is a stranger's program: whatever it does, it does nothing to the machine, its build ends, and one
//! error tells the reason. Nothing of it is kept.
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::support::layout::Tar;
use crate::support::sdist::{Sdist, world};
use crate::support::wheel::Built;
use crate::support::{World, run};

/// Longer than a hostile build may take with the limit that these tests set.
const SOON: Duration = Duration::from_secs(120);

/// Builds from this source: it must fail soon, for the reason that is `said`.
#[track_caller]
fn check(sdist: Sdist, said: &[&str]) {
    if let Some(world) = world(sdist) {
        check_in(&world, said);
    }
}

#[track_caller]
fn check_in(world: &World, said: &[&str]) {
    let begin = Instant::now();
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    let outcome = run(command.env("IMGFORGE_BUILD_SECONDS", "8"));
    world.check_failure(&outcome, 1, said);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(!world.path("image").exists());
    assert!(!world.path("store/records/built-wheel").exists(), "a wheel was kept");
    let left = fs::read_dir(world.path("store/tmp")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| !name.to_string_lossy().starts_with("use-")).collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
}

#[test]
fn a_source_that_writes_outside_is_told() {
    check(
        Sdist::new().before("open('/etc/evil', 'w')"),
        &[
            "could not build `demo 1.0`",
            "its build writes to `/etc/evil`, outside of its own directories",
            "pip wheel --no-deps",
        ],
    );
}

#[test]
fn a_source_that_opens_the_network_reaches_nobody_and_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let quiet = format!(
        "import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 2)\nexcept OSError:\n    pass\n\
         import urllib.request\nurllib.request.urlopen('http://files.test/model.bin')"
    );
    check(
        Sdist::new().before(&quiet),
        &["its build wants to reach `http://files.test/model.bin`", "a build has no network: name an index"],
    );
    assert!(listener.accept().is_err(), "somebody came");
}

#[test]
fn a_source_that_forks_forever_ends() {
    check(Sdist::new().before("while True:\n    os.fork()"), &["could not build `demo 1.0`"]);
    check(
        Sdist::new().before("while True:\n    try:\n        os.fork()\n    except OSError:\n        pass"),
        &["its build did not end within 8 s"],
    );
}

#[test]
fn a_source_that_sleeps_forever_ends() {
    check(Sdist::new().before("import time\ntime.sleep(10000)"), &["its build did not end within 8 s"]);
}

#[test]
fn a_missing_compiler_is_named_with_the_next_step() {
    check(
        Sdist::new().before(
            "import subprocess\nsubprocess.run(['x86_64-linux-gnu-gcc', '-c', 'demo.c'], check=True)",
        ),
        &[
            "its build needs the program `x86_64-linux-gnu-gcc`, which the base lacks",
            "`g++` and `python3-dev` on Debian",
        ],
    );
}

#[test]
fn the_end_of_a_builds_output_is_shown_escaped() {
    check(
        Sdist::new().before("print('\\x1b[2Jdeep trouble')\nraise ValueError('in the backend')"),
        &["its build failed", "\n  ValueError: in the backend", "deep trouble"],
    );
    let Some(world) = world(Sdist::new().before("print('\\x1b[2J'); sys.exit(1)")) else { return };
    assert!(!world.build().stderr.contains('\x1b'));
}

#[test]
fn a_source_that_changes_between_two_builds_is_not_what_was_locked() {
    let Some(world) = world(Sdist::new().content("'X = %r\\n' % os.urandom(8)")) else { return };
    let lock = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(lock.code, 0, "{lock}");
    world.run(&["build", "--locked", "recipe.yaml", "-o", "oci:image"]).check_success();
    let mut elsewhere = world.command(&["build", "--locked", "recipe.yaml", "-o", "oci:elsewhere"]);
    let outcome = run(elsewhere.env("IMGFORGE_CACHE_DIR", world.path("other")));
    outcome.check_failure(
        1,
        &["could not build `demo 1.0`: its build is not reproducible: the wheel sha256:", "--upgrade=demo"],
    );
    assert!(!world.path("elsewhere").exists() && !world.path("other/records/built-wheel").exists());
}

#[test]
fn a_backend_that_answers_nonsense_is_told() {
    let Some(mut world) = world(Sdist::new()) else { return };
    for (answer, said) in [
        (
            "return '../../../etc/passwd'",
            "its build gave `../../../etc/passwd`, which is not the name of a wheel",
        ),
        ("return 7", "its build gave no answer that can be used"),
        ("return 'demo-1.0-py3-none-any.whl'", "its build gave a wheel that could not be read"),
        (
            "os.symlink('/etc/passwd', directory + '/demo-1.0-py3-none-any.whl')\nreturn 'demo-1.0-py3-none-any.whl'",
            "its build gave a wheel that could not be read",
        ),
        (
            "open(directory + '/demo-1.0-py3-none-any.whl', 'w').close()\nreturn 'demo-1.0-py3-none-any.whl'",
            "its build gave a wheel that is refused",
        ),
        ("os.symlink('/etc/passwd', directory + '/answer.json')\nos._exit(0)", "its build failed"),
    ] {
        world.publish_file("demo", &Sdist::new().before(answer).build(), |_| {});
        check_in(&world, &[said]);
    }
}

#[test]
fn a_wheel_with_other_requirements_than_its_source_tells_is_refused() {
    let metadata = "Metadata-Version: 2.2\nName: demo\nVersion: 1.0\nRequires-Dist: wholesome\n";
    check(
        Sdist::new().file("PKG-INFO", metadata),
        &["its wheel has other requirements than its PKG-INFO says"],
    );
}

#[test]
fn an_archive_that_leaves_its_directory_is_refused() {
    type Change = fn(Tar) -> Tar;
    let cases: [(Change, &str); 5] = [
        (|tar| tar.file("../evil", ""), "its member `../evil` has a path that leaves the directory"),
        (|tar| tar.file("/tmp/evil", ""), "its member `/tmp/evil` has a path that leaves the directory"),
        (
            |tar| tar.symlink("demo-1.0/a", "/etc"),
            "its member `demo-1.0/a` is a link that leaves the directory",
        ),
        (|tar| tar.hardlink("demo-1.0/a", "../../b"), "its member `../../b` has a path that leaves"),
        (|tar| tar.entry(b'6', b"demo-1.0/pipe", b"", b""), "is neither file, directory nor link"),
    ];
    let Some(mut world) = world(Sdist::new()) else { return };
    for (change, said) in cases {
        world.publish_file("demo", &Sdist::new().members(change).build(), |_| {});
        check_in(&world, &[said, "exclude this version"]);
    }
}

#[test]
fn what_is_no_source_distribution_is_told() {
    let Some(mut world) = world(Sdist::new()) else { return };
    for (bytes, said) in [
        (&b"no archive"[..], "could not build `demo 1.0`"),
        (&[0x1f, 0x8b, 8, 0][..], "its archive could not be read"),
    ] {
        let file = Built { filename: "demo-1.0.tar.gz".into(), bytes: bytes.to_vec() };
        world.publish_file("demo", &file, |_| {});
        let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
        let store = format!("store-{}", bytes.len());
        run(command.env("IMGFORGE_CACHE_DIR", world.path(&store))).check_failure(1, &[said]);
    }
}

#[test]
fn without_a_sandbox_nothing_is_built() {
    let Some(world) = world(Sdist::new()) else { return };
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    let outcome = run(command.env("IMGFORGE_UNCONFINED", "1"));
    world.check_failure(&outcome, 1, &["sources are built in a sandbox", "unset IMGFORGE_UNCONFINED"]);
}

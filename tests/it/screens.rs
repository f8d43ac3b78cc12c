//! The screens of imgforge as people see them: at several widths, on terminals of several kinds, in logs of CI.
//!
//! The screens are in `tests/it/screens/`. After a change, look at each of them as a stranger would, and take it over by
//! `INSTA_UPDATE=always`.

use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::{Value, json};

use crate::support::elf::library;
use crate::support::gpu::{fatbin, sass_image};
use crate::support::layout::{Layout, Tar};
use crate::support::server::Manner;
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run};

const LINUX: &str = "cp311-cp311-manylinux_2_17_x86_64";
const ANY_PYTHON: &str = "py3-none-manylinux2014_x86_64";

/// The components of two toolkits' wheels, with the library of each.
const COMPONENTS: [(&str, &str, &str); 7] = [
    ("nvidia-cublas-cu12", "12.4.5.8", "cublas/lib/libcublas.so.12"),
    ("nvidia-cublas-cu12", "12.5.3.2", "cublas/lib/libcublas.so.12"),
    ("nvidia-cuda-runtime-cu12", "12.4.127", "cuda_runtime/lib/libcudart.so.12"),
    ("nvidia-cuda-runtime-cu12", "12.5.82", "cuda_runtime/lib/libcudart.so.12"),
    ("nvidia-cudnn-cu12", "9.1.0.70", "cudnn/lib/libcudnn.so.9"),
    ("nvidia-cudnn-cu12", "9.3.0.75", "cudnn/lib/libcudnn.so.9"),
    ("nvidia-nccl-cu12", "2.21.5", "nccl/lib/libnccl.so.2"),
];

/// A world whose `serving-kit` brings torch, which shares its CUDA with TensorFlow, over a Debian with an older cuDNN.
fn world() -> World {
    let mut world = World::new();
    let packages = "Package: libcudnn9\nStatus: install ok installed\nVersion: 9.0.0.312-1\n\n";
    let cudnn = "usr/lib/x86_64-linux-gnu/libcudnn.so.9.0.0";
    let base = Tar::debian(packages)
        .file(cudnn, library("libcudnn.so.9", &[0; 3000]))
        .symlink("usr/lib/x86_64-linux-gnu/libcudnn.so.9", "libcudnn.so.9.0.0")
        .file("var/lib/dpkg/info/libcudnn9.list", format!("/{cudnn}\n"));
    Layout::new().layer(base).write(&world.path("base"));
    for (name, version, path) in COMPONENTS {
        let soname = path.rsplit('/').next().unwrap();
        world.publish(
            Wheel::new(name, version)
                .tag(ANY_PYTHON)
                .file(&format!("nvidia/{path}"), library(soname, &[0; 20_000])),
        );
    }
    let code = fatbin(&[sass_image(75, "", 500), sass_image(90, "a", 500)]);
    let torch = Wheel::new("torch", "2.6.0")
        .tag(LINUX)
        .requires("nvidia-cublas-cu12==12.4.5.8")
        .requires("nvidia-cuda-runtime-cu12==12.4.127")
        .requires("nvidia-cudnn-cu12==9.1.0.70")
        .requires("nvidia-nccl-cu12==2.21.5")
        .requires("sympy")
        .file("torch/__init__.py", "import ctypes\n")
        .file("torch/lib/libtorch_cuda.so", library("libtorch_cuda.so", &code));
    let tensorflow = Wheel::new("tensorflow", "2.18.0")
        .tag(LINUX)
        .extra("and-cuda")
        .requires("nvidia-cublas-cu12==12.5.3.2 ; extra == 'and-cuda'")
        .requires("nvidia-cuda-runtime-cu12==12.5.82 ; extra == 'and-cuda'")
        .requires("nvidia-cudnn-cu12==9.3.0.75 ; extra == 'and-cuda'")
        .requires("keras>=3")
        .file("tensorflow/__init__.py", "");
    world.publish(torch);
    world.publish(tensorflow);
    world.publish(Wheel::new("serving-kit", "0.9").requires("torch>=2").file("serving_kit.py", ""));
    world.publish(Wheel::new("sympy", "1.13.1").requires("mpmath").file("sympy.py", ""));
    world.publish(Wheel::new("mpmath", "1.3.0").file("mpmath.py", ""));
    world.publish(Wheel::new("keras", "3.9.0").file("keras.py", ""));
    world.write(
        "recipe.yaml",
        "name: demo\nbase: oci:base\nframeworks: {tensorflow: 2.18.0}\npackages: [serving-kit]\n\
         config: {user: me, workdir: /srv}\n",
    );
    world
}

/// The program in a terminal of `columns`, with the signs of UTF-8.
fn seen(world: &World, arguments: &[&str], columns: usize) -> Outcome {
    let mut command = world.command(arguments);
    run(command.env("COLUMNS", columns.to_string()).env("LC_ALL", "C.UTF-8"))
}

/// Compares a screen with the recorded one, and holds it to its width: a line may be longer for one word alone.
#[track_caller]
fn check(name: &str, screen: &str, columns: usize) {
    for line in screen.lines().filter(|line| line.chars().count() > columns) {
        let words = line.split_whitespace().count();
        assert!(words <= 2, "{name} has a line of {} columns: {line}", line.chars().count());
    }
    insta::with_settings!({
        snapshot_path => "screens",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, screen);
    });
}

#[test]
fn a_plan_fits_the_terminal() {
    let world = world();
    for columns in [60, 80, 120, 200] {
        let plan = seen(&world, &["plan", "recipe.yaml"], columns);
        check(&format!("plan-{columns}"), &plan.stdout, columns);
    }
    let all = seen(&world, &["plan", "recipe.yaml", "--all"], 80);
    check("plan-all-80", &all.stdout, 80);
    let wide = seen(&world, &["plan", "recipe.yaml", "--wide"], 80);
    check("plan-wide", &wide.stdout, usize::MAX);
    let plain = world.run(&["plan", "recipe.yaml"]);
    assert!(plain.stdout.is_ascii(), "{plain}");
}

#[test]
fn a_build_an_inspection_and_a_difference_fit_the_terminal() {
    let world = world();
    for columns in [60, 120] {
        let built = seen(&world, &["build", "recipe.yaml", "-o", "oci:image"], columns);
        built.check_success();
        let report = built.stderr.find("\nimage ").map(|at| &built.stderr[at + 1..]).unwrap_or_default();
        check(&format!("build-{columns}"), report, columns);
        check(
            &format!("inspect-{columns}"),
            &seen(&world, &["inspect", "oci:image"], columns).stdout,
            columns,
        );
    }
    let own = seen(&world, &["diff", "recipe.yaml", "oci:image"], 80);
    assert_eq!(own.stdout, "nothing changed\n", "{own}");
    for columns in [60, 120] {
        let difference = seen(&world, &["diff", "oci:base", "oci:image"], columns);
        check(&format!("diff-{columns}"), &difference.stdout, columns);
    }
}

/// Debian with these packages, settings and files.
fn image(world: &World, name: &str, packages: &str, user: &str, files: &[(&str, &str)]) {
    let tar = files.iter().fold(Tar::debian(packages), |tar, (path, text)| tar.file(path, text));
    let layout = Layout::new().layer(tar).with(|layout| {
        layout.config["config"]["User"] = json!(user);
        layout.config["config"]["Env"] = json!([format!("USER={user}"), "LANG=C"]);
        layout.config["config"]["ExposedPorts"] = json!({ "80/tcp": {} });
    });
    layout.write(&world.path(name));
}

#[test]
fn a_difference_tells_of_settings_packages_and_files() {
    let world = World::new();
    let curl = |version| format!("Package: curl\nStatus: install ok installed\nVersion: {version}\n\n");
    image(&world, "one", &curl("7.88-1"), "me", &[("srv/a.py", "one"), ("srv/b.py", "b"), ("etc/x", "1")]);
    let files = [("srv/a.py", "two"), ("srv/c.py", "c"), ("etc/x", "12")];
    image(&world, "two", &curl("7.88-1"), "root", &files);
    image(&world, "three", &curl("7.88-2"), "me", &files);
    let changes = |before: &str, after: &str| {
        let outcome = world.run(&["diff", before, after, "--json"]);
        let difference: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}"));
        let kinds = ["system_packages", "config", "files"].map(|kind| difference[kind].clone());
        let changes = kinds.into_iter().flat_map(|kind| kind.as_array().unwrap().clone());
        let side = |side: &Value| side.as_str().unwrap_or("-").to_owned();
        let told =
            |it: Value| format!("{}: {} to {}", side(&it["name"]), side(&it["before"]), side(&it["after"]));
        changes.map(told).collect::<Vec<_>>()
    };
    assert_eq!(
        changes("oci:one", "oci:two"),
        [
            "env USER: me to root",
            "user: me to root",
            "etc/x: 0644, 1 B to 0644, 2 B",
            "srv/a.py: 0644, 3 B to 0644, 3 B, other content",
            "srv/b.py: 0644, 1 B to -",
            "srv/c.py: - to 0644, 1 B",
        ]
    );
    assert_eq!(
        changes("oci:one", "oci:three"),
        [
            "curl: 7.88-1 to 7.88-2",
            "srv/a.py: 0644, 3 B to 0644, 3 B, other content",
            "srv/b.py: 0644, 1 B to -",
            "srv/c.py: - to 0644, 1 B",
        ],
        "of packages that differ, their files do"
    );
    let difference = seen(&world, &["diff", "oci:one", "oci:two"], 80);
    check("diff-settings-80", &difference.stdout, 80);
    for (before, after, code) in [("oci:one", "oci:one", 0), ("oci:one", "oci:two", 1)] {
        let outcome = world.run(&["diff", before, after, "--exit-code"]);
        assert_eq!((outcome.code, outcome.stderr.contains("error")), (code, false), "{outcome}");
        assert_eq!(world.run(&["diff", before, after]).code, 0);
    }
}

#[test]
fn the_changes_of_a_lock_are_told_before_they_are_made() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0").requires("helper").file("demo.py", ""));
    world.publish(Wheel::new("helper", "2.5").file("helper.py", ""));
    world.recipe("packages: [demo]\n");
    let lock = |world: &World, arguments: &[&str]| {
        seen(world, &[&["lock", "recipe.yaml", "--progress", "plain"], arguments].concat(), 80)
    };
    let told = |outcome: &Outcome| {
        let line = |line: &&str| line.contains("recipe.lock") || line.starts_with("moved");
        outcome.stderr.lines().filter(line).map(str::to_owned).collect::<Vec<_>>().join("; ")
    };
    let dry = lock(&world, &["--dry-run"]);
    assert_eq!(
        (dry.code, told(&dry)),
        (0, "there is no recipe.lock: `imgforge lock` would write 2 distributions and their base".into())
    );
    assert_eq!(lock(&world, &["--check"]).code, 1);
    assert!(!world.path("recipe.lock").exists());
    assert_eq!(lock(&world, &[]).code, 0);
    let before = fs::read(world.path("recipe.lock")).unwrap();
    fs::copy(world.path("recipe.lock"), world.path("old.lock")).unwrap();
    assert_eq!(lock(&world, &["--check"]).code, 0);

    world.publish(Wheel::new("helper", "2.6").file("helper.py", "1"));
    let dry = lock(&world, &["--dry-run", "--upgrade=helper"]);
    let expected =
        "moved helper 2.5 to 2.6; recipe.lock is out of date: nothing was written; `imgforge lock` writes it";
    assert_eq!((dry.code, told(&dry)), (0, expected.into()));
    assert_eq!(fs::read(world.path("recipe.lock")).unwrap(), before);
    world.recipe("packages: [demo, helper>2.5]\n");
    let checked = lock(&world, &["--check"]);
    assert_eq!((checked.code, told(&checked)), (1, expected.into()));
    assert_eq!(fs::read(world.path("recipe.lock")).unwrap(), before);
    assert_eq!(lock(&world, &[]).code, 0);
    let difference = world.run(&["diff", "old.lock", "recipe.lock"]).stdout;
    assert_eq!(difference, "DISTRIBUTION  BEFORE  AFTER\nhelper        2.5     2.6\n\n");

    world.publish(Wheel::new("helper", "2.6").file("helper.py", "another file under the same name"));
    let replaced = lock(&world, &["--upgrade=helper"]);
    assert!(told(&replaced).starts_with("moved helper helper-2.6-py3-none-any.whl"), "{}", told(&replaced));
}

#[test]
fn a_debian_package_of_a_lock_is_upgraded_alone() {
    let mut world = World::new();
    world.recipe("packages: [wholesome]\n");
    let lock = |world: &World, arguments: &[&str]| {
        let outcome = world.run(&[&["lock", "recipe.yaml"], arguments].concat());
        let moved =
            outcome.stderr.lines().filter(|line| line.starts_with("moved")).collect::<Vec<_>>().join("; ");
        (outcome.code, moved + if outcome.code == 0 { "" } else { &outcome.stderr })
    };
    assert_eq!(lock(&world, &[]).0, 0);
    let names: Vec<String> = world.archive.packages.iter().map(|it| it.name.to_string()).collect();
    for package in &mut world.archive.packages {
        package.version = format!("{}+b9", package.version).leak();
    }
    world.serve_archive();
    assert_eq!(lock(&world, &[]), (0, String::new()), "a lock that agrees stays");
    let (code, moved) = lock(&world, &[&format!("--upgrade={}", names[0])]);
    assert!(code == 0 && moved.starts_with(&format!("moved {} ", names[0])), "{names:?}: {moved}");
    assert!(moved.matches("moved ").count() < names.len(), "{moved}");
    let (code, moved) = lock(&world, &["--upgrade=base"]);
    assert!(code == 0 && !moved.is_empty(), "{moved}");
    world.run(&["build", "recipe.yaml", "--locked", "-o", "oci:image"]).check_success();
    let unknown = world.run(&["lock", "recipe.yaml", "--upgrade=no-such-package"]);
    unknown.check_failure(2, &["`no-such-package` cannot be upgraded"]);
}

#[test]
fn a_plan_as_json_tells_which_demand_decides_and_what_is_saved() {
    let world = world();
    let plan: Value = serde_json::from_str(&world.run(&["plan", "recipe.yaml", "--json"]).stdout).unwrap();
    let cublas =
        plan["components"].as_array().unwrap().iter().find(|it| it["component"] == "cublas").unwrap();
    let decide = |demand: &Value| (demand["by"]["distribution"]["name"].clone(), demand["decides"].clone());
    let demands: Vec<_> = cublas["demands"].as_array().unwrap().iter().map(decide).collect();
    assert_eq!(demands, [(json!("tensorflow"), json!(true)), (json!("torch"), json!(false))]);
    let private: u64 =
        plan["private_cuda_bytes"].as_object().unwrap().values().filter_map(Value::as_u64).sum();
    let shared: u64 =
        plan["components"].as_array().unwrap().iter().filter_map(|it| it["unpacked_bytes"].as_u64()).sum();
    assert_eq!(plan["saved_bytes"], json!(private - shared));
    let sympy = plan["distributions"].as_array().unwrap().iter().find(|it| it["name"] == "sympy").unwrap();
    assert_eq!(sympy["required_by"], json!(["torch"]));
    assert_eq!(plan["size"]["layers"], json!(plan["plan"]["layers"].as_array().unwrap().len()));
}

#[test]
fn savings_are_told_only_where_there_are_some() {
    let world = world();
    let plan = |recipe: &str| {
        world.write("recipe.yaml", recipe);
        world.run(&["plan", "recipe.yaml"]).stdout
    };
    let one = plan("base: oci:base\nframeworks: {torch: 2.6.0}\n");
    assert!(one.contains("DECIDED BY") && !one.contains("saved"), "{one}");
    assert!(plan("base: oci:base\nframeworks: {torch: 2.6.0, tensorflow: '*'}\n").contains("\nsaved "));
    assert!(plan("base: oci:base\npackages: [keras]\n").contains("CUDA       none"));
}

/// The lines of a log, without the times at its end.
fn log(world: &World, variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    let outcome = run(command.envs(variables.iter().copied()));
    outcome.check_success();
    outcome.stderr.lines().map(str::to_owned).collect()
}

#[test]
fn runners_of_ci_fold_the_stages() {
    let mut world = World::new();
    let long = format!("{}-name", "long".repeat(50));
    world.publish(Wheel::new(&long, "1.0").file("long.py", ""));
    world.recipe(&format!("packages: [{long}]\n"));
    let github = log(&world, &[("GITHUB_ACTIONS", "true")]);
    let groups = |mark: &str| github.iter().filter(|line| line.starts_with(mark)).count();
    assert!(groups("::group::writing layers") >= 1, "{github:#?}");
    assert_eq!(groups("::group::"), groups("::endgroup::"), "{github:#?}");
    let summary = github.iter().position(|line| line.starts_with("image ")).unwrap();
    assert!(github[summary..].iter().all(|line| !line.starts_with("::")), "{github:#?}");
    fs::remove_dir_all(world.store()).unwrap();
    let gitlab = log(&world, &[("GITLAB_CI", "true")]);
    let sections = |mark: &str| gitlab.iter().filter(|line| line.contains(mark)).count();
    assert!(sections("section_start:") > 1, "{gitlab:#?}");
    assert_eq!(sections("section_start:"), sections("section_end:"), "{gitlab:#?}");
    fs::remove_dir_all(world.store()).unwrap();
    for line in log(&world, &[]) {
        let is_name = line.split_whitespace().any(|word| word.len() > 160);
        assert!(line.chars().count() <= 160 || is_name, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}

/// A terminal of so many columns, as the two ends of a pseudoterminal: the program's, and the one that shows.
fn terminal(columns: u16) -> (OwnedFd, OwnedFd) {
    let (mut shows, mut program) = (0, 0);
    let size = libc::winsize { ws_row: 40, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: `openpty` fills in both numbers, and reads the size.
    let opened =
        unsafe { libc::openpty(&mut shows, &mut program, std::ptr::null_mut(), std::ptr::null(), &size) };
    assert_eq!(opened, 0, "no pseudoterminal: {}", std::io::Error::last_os_error());
    // SAFETY: both are open, and nobody else's.
    unsafe { (OwnedFd::from_raw_fd(program), OwnedFd::from_raw_fd(shows)) }
}

/// The bytes that a program shows on a terminal, and its exit code; `act` is called with the process while it runs.
fn shown(mut command: Command, columns: u16, act: impl FnOnce(u32)) -> (String, i32) {
    let (program, shows) = terminal(columns);
    let mut child = command.stdout(Stdio::null()).stderr(program.try_clone().unwrap()).spawn().unwrap();
    drop(command);
    drop(program);
    let reader = thread::spawn(move || {
        let mut shown = Vec::new();
        // The end of a pseudoterminal whose program is gone is an error.
        let _ = fs::File::from(shows).read_to_end(&mut shown);
        String::from_utf8(shown).unwrap()
    });
    act(child.id());
    let code = child.wait().unwrap().code().unwrap_or(-1);
    (reader.join().unwrap(), code)
}

/// A world with one wheel.
fn small_world() -> World {
    let mut world = World::new();
    world.recipe("packages: [slow]\n");
    world.publish(Wheel::new("slow", "1.0").file("slow.bin", vec![7; 200_000]));
    world
}

/// The same, where the server sends the first bytes of the wheel at once, and then nothing.
fn slow_world() -> World {
    let world = small_world();
    world.server.behave("/files/slow-1.0-py3-none-any.whl", Manner::StallOnce(100));
    world
}

/// A build on a terminal that a signal ends in the middle of a download.
fn interrupted(world: &World, variables: &[(&str, &str)], columns: u16) -> (String, i32) {
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    command.envs(variables.iter().copied());
    shown(command, columns, |process| {
        let partial = || {
            let names = fs::read_dir(world.store().join("tmp")).into_iter().flatten().flatten();
            names.into_iter().any(|it| it.file_name().to_string_lossy().starts_with("partial-"))
        };
        let begun = Instant::now();
        while !partial() && begun.elapsed() < Duration::from_secs(60) {
            thread::sleep(Duration::from_millis(50));
        }
        // Some pictures of it.
        thread::sleep(Duration::from_millis(600));
        // SAFETY: the process is a child that was not waited for.
        unsafe { libc::kill(process as i32, libc::SIGINT) };
    })
}

/// The text that a terminal shows, without the commands that it obeys.
fn without_commands(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
            '\r' => plain.push('\n'),
            c => plain.push(c),
        }
    }
    plain
}

#[test]
fn progress_on_a_terminal_is_one_picture_that_an_interrupt_ends() {
    for (columns, variables, is_ascii) in [
        (40, &[("TERM", "xterm"), ("LC_ALL", "C")][..], true),
        (250, &[("TERM", "xterm-256color"), ("LC_ALL", "C.UTF-8")][..], false),
    ] {
        let world = slow_world();
        let (screen, code) = interrupted(&world, variables, columns);
        assert_eq!(code, 130, "{screen}");
        let plain = without_commands(&screen);
        assert!(plain.contains("kept in the store"), "{plain}");
        let is_whole = |line: &str| line.starts_with('[') && line.contains(" of ");
        assert!(plain.lines().any(is_whole) && plain.contains("downloading slow"), "{plain}");
        // Whether a picture with a spinner was drawn at all is a matter of time.
        assert!(screen.is_ascii() || !is_ascii, "{plain}");
        let again = world.run(&["build", "recipe.yaml", "-o", "oci:image"]);
        again.check_success();
    }
}

#[test]
fn a_terminal_that_cannot_move_gets_lines() {
    for variables in [&[("TERM", "dumb")][..], &[]] {
        let world = slow_world();
        let (screen, code) = interrupted(&world, variables, 80);
        assert_eq!(code, 130, "{screen}");
        assert!(!screen.contains('\u{1b}') && screen.is_ascii(), "{screen}");
        assert!(screen.contains("interrupted: "), "{screen}");
    }
}

#[test]
fn colours_are_left_out_where_they_are_not_wanted() {
    let colored = |variables: &[(&str, &str)]| {
        let world = slow_world();
        let (screen, _) = interrupted(&world, &[&[("TERM", "xterm")], variables].concat(), 80);
        screen.contains("\u{1b}[36m")
    };
    assert!(colored(&[]) && !colored(&[("NO_COLOR", "1")]));
}

#[test]
fn json_progress_is_nothing_but_json() {
    let world = small_world();
    let mut command = world.command(&["build", "recipe.yaml", "--progress", "json", "-o", "oci-archive:-"]);
    let outcome = command.stdout(Stdio::null()).output().unwrap();
    let text = String::from_utf8(outcome.stderr).unwrap();
    let events: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    assert_eq!(events.last().unwrap()["event"], "built", "{text}");
    assert!(events.iter().any(|event| event["event"] == "expected" && event["tasks"] == 1), "{text}");
}

#[test]
fn the_store_is_counted_by_kind() {
    let world = small_world();
    world.build().check_success();
    let usage: Value = serde_json::from_str(&world.run(&["cache", "info", "--json"]).stdout).unwrap();
    assert_eq!(usage["blob_kinds"]["wheels"]["count"], 1);
    assert_eq!(usage["path"], world.store().display().to_string());
    let text = world.run(&["cache", "info"]).stdout;
    assert!(text.contains("BLOBS") && text.contains("wheels"), "{text}");
}

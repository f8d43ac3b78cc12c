//! A recipe that is wrong is told everything that is wrong with it, at its place, before anything is fetched.

use crate::support::World;

/// A base that is described well, for recipes that are wrong elsewhere.
const BASE: &str = "base: {suites: [bookworm], packages: [python3]}\n";

/// Planning and building with this recipe fails, and says all of `said`.
#[track_caller]
fn check(recipe: impl AsRef<[u8]>, said: &[&str]) {
    let world = World::new();
    world.write("recipe.yaml", recipe);
    for command in ["plan", "build"] {
        let outcome = world.run(&[command, "recipe.yaml"]);
        world.check_failure(&outcome, 2, said);
    }
    assert_eq!(world.server.take_requests(), Vec::<String>::new());
    assert!(!world.path("out").exists());
}

#[track_caller]
fn check_with_base(lines: &str, said: &[&str]) {
    check(format!("{BASE}{lines}"), said);
}

#[test]
fn an_unknown_key_is_shown_with_what_was_meant() {
    check_with_base(
        "framworks: {torch: 2.6.0}\n",
        &["recipe.yaml:2:1", "framworks: {torch: 2.6.0}", "did you mean `frameworks`?"],
    );
}

#[test]
fn a_wrong_type_is_shown_with_the_right_one() {
    check_with_base("packages: {numpy: 2}\n", &["recipe.yaml:2:11", "list"]);
    check_with_base("frameworks: [torch]\n", &["recipe.yaml:2:13", "mapping"]);
}

#[test]
fn a_wrong_version_or_requirement_is_shown() {
    check_with_base("frameworks: {torch: 2..6}\n", &["recipe.yaml:2:21", "2..6"]);
    check_with_base("packages: [numpy=2]\n", &["recipe.yaml:2:", "numpy=2"]);
}

#[test]
fn a_key_that_is_there_twice_is_shown_with_the_first() {
    check_with_base("packages: [a]\npackages: [b]\n", &["recipe.yaml:3:1", "packages", "first"]);
}

#[test]
fn a_recipe_that_is_not_yaml_is_shown_where_it_stops_being_so() {
    check_with_base("packages: [a\nframeworks: ]: {\n", &["recipe.yaml:"]);
    check("", &["the file is empty"]);
}

#[test]
fn every_problem_is_told_at_once() {
    check_with_base(
        "framworks: {}\npackages: {}\ncuda: {policy: shaerd}\nfrmae: 1\n",
        &["recipe.yaml:2:1", "recipe.yaml:3:", "recipe.yaml:4:", "recipe.yaml:5:1"],
    );
}

#[test]
fn files_that_are_missing_are_named() {
    let world = World::new();
    let outcome = world.run(&["build", "nothing.yaml"]);
    world.check_failure(&outcome, 2, &["there is no recipe `nothing.yaml`", "hint: check the path"]);
    check_with_base("requirements: [gone.txt]\n", &["gone.txt`", "No such file", "recipe.yaml:", "help: "]);
    check_with_base(
        "packages: [wholesome]\nconstraints: [gone.txt]\n",
        &["gone.txt`", "No such file", "recipe.yaml:", "help: "],
    );
}

#[test]
fn a_missing_file_to_copy_is_named() {
    let world = World::new();
    world.recipe("packages: [wholesome]\nfiles: [{from: gone, to: /content}]\n");
    let outcome = world.build();
    world.check_failure(&outcome, 2, &["could not read", "gone`", "hint: check `files:`"]);
}

#[test]
fn a_file_to_copy_cannot_hide_others_or_lie_below_one() {
    let world = World::new();
    std::fs::create_dir(world.path("tree")).unwrap();
    world.write("tree/.wh.passwd", "");
    world.write("plain", "text");
    let check = |files: &str, said: &[&str]| {
        world.recipe(&format!("packages: [wholesome]\nfiles: {files}\n"));
        world.check_failure(&world.build(), 2, said);
    };
    check(
        "[{from: tree, to: /etc}]",
        &["tree/.wh.passwd` would be `/etc/.wh.passwd`", "stands for a file that is gone", "hint: rename it"],
    );
    check(
        "[{from: plain, to: /opt/a}, {from: plain, to: /opt/a/b}]",
        &["plain` would be `/opt/a/b`", "below a file of `files:`", "hint: rename it"],
    );
}

#[test]
fn a_recipe_that_is_not_utf_8_is_said_to_be_so() {
    check(
        b"name: \xff\xfe\n",
        &["could not read `recipe.yaml`", "valid UTF-8", "hint: write it as UTF-8 text"],
    );
}

#[test]
fn a_directory_is_no_recipe() {
    let world = World::new();
    let outcome = world.run(&["build", "."]);
    world.check_failure(&outcome, 2, &["`.` is a directory, and a recipe is a file", "hint: "]);
}

#[test]
fn problems_in_requirements_files_are_shown_at_their_place() {
    let world = World::new();
    world.write("requirements.txt", "numpy\nwhat is this?\n");
    world.recipe("requirements: [requirements.txt]\n");
    let outcome = world.build();
    world.check_failure(&outcome, 2, &["requirements.txt:2:", "what is this?"]);

    world.write("requirements.txt", "-r requirements.txt\n");
    let outcome = world.build();
    world.check_failure(&outcome, 2, &["requirements.txt` includes itself", "hint: "]);
}

#[test]
fn an_unknown_base_is_answered_with_the_known_ones() {
    check(
        "base: debian-bookwrm\npackages: [wholesome]\n",
        &["there is no base `debian-bookwrm`", "recipe.yaml:1:7", "help: ", "debian-bookworm"],
    );
}

#[test]
fn a_base_that_is_not_there_or_cannot_be_reached_yet_says_so() {
    check(
        "base: containers-storage:ubuntu\npackages: [wholesome]\n",
        &["recipe.yaml:1:7", "cannot be read from a local storage", "help: "],
    );
    for base in ["{layout: some/where}", "oci:some/where", "{archive: some/where}"] {
        let world = World::new();
        world.write("recipe.yaml", format!("base: {base}\npackages: [wholesome]\n"));
        world.check_failure(&world.build(), 1, &["some/where", "hint: "]);
    }
}

#[test]
fn a_description_in_images_is_shown_with_its_problems() {
    let world = World::new();
    std::fs::create_dir(world.path("images")).unwrap();
    world.write("images/mine.yaml", "suites: [bookworm]\npackges: [python3]\n");
    world.write("recipe.yaml", "base: mine\npackages: [wholesome]\n");
    let outcome = world.build();
    world.check_failure(&outcome, 2, &["images/mine.yaml:2:1", "did you mean `packages`?"]);
}

#[test]
fn a_component_that_nobody_knows_is_shown_at_its_place() {
    check_with_base(
        "packages: [wholesome]\ncuda: {components: {cublsa: shared}}\n",
        &["`cublsa`", "not a CUDA component", "help: did you mean `cublas`?"],
    );
}

#[test]
fn another_python_than_the_bases_is_refused() {
    let world = World::new();
    world.recipe("packages: [wholesome]\npython: \"3.12\"\n");
    let outcome = world.build();
    world.check_failure(&outcome, 2, &["the base has Python 3.11.2; the recipe asks for", "3.12", "hint: "]);
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let world = World::new();
    world.recipe("packages: [wholesome]\n");
    for (arguments, said) in [
        (&["check"][..], "<IMAGE>"),
        (&["biuld", "recipe.yaml"], "'build'"),
        (&["build", "recipe.yaml", "--ofline"], "'--offline'"),
        (&["build", "recipe.yaml", "-o", "nonsense"], "write docker-daemon:nonsense or podman:nonsense"),
        (&["build", "recipe.yaml", "-o", "oci:"], "write oci:DIR[:TAG]"),
        (&["build", "recipe.yaml", "-o", "docker:host/x"], "`docker:` is not a kind of place"),
        (&["build", "recipe.yaml", "-o", "docker://host.test/X"], "is not an image reference"),
        (&["build", "recipe.yaml", "-o", "oci:image:-x"], "is not a valid tag"),
    ] {
        let outcome = world.run(arguments);
        world.check_failure(&outcome, 2, &[said]);
    }
}

#[test]
fn a_job_of_github_is_told_what_is_wrong_and_json_stays_json() {
    let world = World::new();
    world.write("recipe.yaml", "base: debian-bookworm\nframworks: {}\n");
    let summary = world.path("summary.md");
    let build = |options: &[&str]| {
        let mut command = world.command(&[&["build", "recipe.yaml"], options].concat());
        crate::support::run(command.env("GITHUB_ACTIONS", "true").env("GITHUB_STEP_SUMMARY", &summary))
    };
    let plain = build(&[]);
    assert!(plain.stderr.contains("::error title=imgforge::error: unknown key `framworks`"), "{plain}");
    let summary = std::fs::read_to_string(&summary).unwrap();
    assert!(summary.contains("### imgforge failed") && summary.contains("recipe.yaml:2:1"), "{summary}");
    let json = build(&["--progress", "json"]);
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    assert!(json.stderr.lines().all(is_json), "{json}");
}

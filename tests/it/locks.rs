//! Locks and projects of other tools, and sources in repositories of git: installed as these tools would install them.
#![cfg(target_arch = "x86_64")]

use std::fs;
use std::path::Path;
use std::process::Command;

use imgforge::oci::Digest;

use crate::support::image::Image;
use crate::support::sdist::{Sdist, recipe, world};
use crate::support::server::Resource;
use crate::support::wheel::{Built, Wheel};
use crate::support::{World, run};

const SITE: &str = "usr/local/lib/python3.11/dist-packages";
const LOCKED: [&str; 5] = ["build", "recipe.yaml", "-o", "oci:image", "--locked"];

/// Runs git in a directory of a world, and gives what it prints.
fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").current_dir(directory).args(identity).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes the source of `demo`, under the name `name`, into a directory of a world.
fn write_source(world: &World, directory: &str, name: &str, sdist: Sdist) {
    for (path, content) in sdist.all_files() {
        let path = world.path(directory).join(path.strip_prefix("demo-1.0/").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, String::from_utf8(content).unwrap().replace("demo", name)).unwrap();
    }
}

/// Commits all of a directory, and gives the commit.
fn commit(world: &World, directory: &str) -> String {
    let path = world.path(directory);
    if !path.join(".git").exists() {
        git(&path, &["init", "-q", "-b", "main"]);
    }
    git(&path, &["add", "-A"]);
    git(&path, &["commit", "-q", "-m", "change"]);
    git(&path, &["rev-parse", "HEAD"])
}

/// A world that can build, with the repository `repo` of `tool`; its URL and its commit.
fn with_repository() -> Option<(World, String, String)> {
    let world = world(Sdist::new())?;
    write_source(&world, "repo", "tool", Sdist::new().content("'X = 1\\n'"));
    let commit = commit(&world, "repo");
    let url = format!("file://{}", world.path("repo").display());
    Some((world, url, commit))
}

fn module(world: &World, name: &str) -> String {
    Image::read(&world.path("image")).text(&format!("{SITE}/{name}.py")).to_owned()
}

fn has(world: &World, name: &str) -> bool {
    Image::read(&world.path("image")).files.contains_key(&format!("{SITE}/{name}.py"))
}

fn direct_url(world: &World, name: &str) -> serde_json::Value {
    let path = format!("{SITE}/{name}-1.0.dist-info/direct_url.json");
    serde_json::from_str(Image::read(&world.path("image")).text(&path)).unwrap()
}

#[test]
fn a_repository_is_built_at_the_commit_that_was_locked_until_it_is_upgraded() {
    let Some((world, url, first)) = with_repository() else { return };
    recipe(&world, &format!("packages: ['tool @ git+{url}@main']\n"));
    let refused = world.build();
    let said =
        ["nothing says that they are built", "  tool @ git+file:", "hint: have them built", "build: [tool]"];
    world.check_failure(&refused, 2, &said);
    recipe(&world, &format!("packages: ['tool @ git+{url}@main']\npython: {{build: [tool]}}\n"));
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let digest = world.run(&LOCKED).check_success();
    let info = serde_json::json!({
        "url": url, "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": first},
    });
    assert_eq!(direct_url(&world, "tool"), info);

    // The branch moves: the lock does not, wherever it is built.
    write_source(&world, "repo", "tool", Sdist::new().content("'X = 2\\n'"));
    let second = commit(&world, "repo");
    let mut elsewhere = world.command(&LOCKED);
    let elsewhere = run(elsewhere.env("IMGFORGE_CACHE_DIR", world.path("elsewhere")));
    assert_eq!(elsewhere.check_success(), digest);
    assert!(elsewhere.stderr.contains("building tool 1.0 from its source"), "{elsewhere}");
    let offline = [&LOCKED[..], &["--offline"]].concat();
    assert_eq!(world.run(&offline).check_success(), digest);
    let relocked = world.run(&["lock", "recipe.yaml", "--upgrade=wholesome"]);
    assert_eq!(relocked.code, 2, "{relocked}");
    assert_eq!(world.run(&["lock", "recipe.yaml", "--upgrade=tool"]).code, 0);
    world.run(&LOCKED).check_success();
    assert_eq!(module(&world, "tool"), "X = 2\n");
    assert_eq!(direct_url(&world, "tool")["vcs_info"]["commit_id"], *second);

    let exported = world.run(&["lock", "recipe.yaml", "--format", "pylock"]);
    assert!(exported.stdout.contains(&format!("commit-id = \"{second}\"")), "{exported}");
    world.write("pylock.toml", &exported.stdout);
    fs::remove_file(world.path("recipe.lock")).unwrap();
    recipe(&world, "requirements: [pylock.toml]\npython: {build: [tool]}\n");
    world.build().check_success();
    assert_eq!(direct_url(&world, "tool")["vcs_info"]["commit_id"], *second);
}

#[test]
fn what_is_wrong_with_a_repository_is_told() {
    let Some((world, url, _)) = with_repository() else { return };
    let gone = "0123456789012345678901234567890123456789";
    let (absent, branch) = (format!("{url}/absent"), "feature");
    let check = |place: &str, code: i32, said: &[&str]| {
        recipe(&world, &format!("packages: ['tool @ git+{place}']\npython: {{build: all}}\n"));
        world.check_failure(&world.build(), code, said);
    };
    check(&format!("{url}@{branch}"), 1, &["has no branch, tag or commit `feature`", "hint: check the name"]);
    check(&format!("{url}@{gone}"), 1, &[gone, "which is locked", "hint: its history was rewritten"]);
    check(&absent, 2, &["could not read the repository", "No such file"]);
    check(
        "file:///srv",
        2,
        &["could not read the repository `/srv`", "outside of the directory of the recipe"],
    );
    check(&format!("{url}#subdirectory=none"), 1, &["its source has no directory `none`"]);
    check(&format!("{url}@a..b"), 2, &["`a..b` is not the name of a branch"]);
    recipe(&world, &format!("packages: ['other @ git+{url}']\npython: {{build: all}}\n"));
    world.check_failure(&world.build(), 1, &["a wheel of tool 1.0, and other 1.0 was asked for"]);
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    recipe(&world, &format!("packages: ['tool @ git+{url}']\npython: {{build: all}}\n"));
    run(command.env("PATH", world.path("nowhere")))
        .check_failure(1, &["there is no program `git`", "hint: install git"]);
}

#[test]
fn a_repositorys_hooks_and_submodules_have_no_say() {
    let Some((world, url, _)) = with_repository() else { return };
    let repository = world.path("repo");
    fs::write(repository.join(".gitmodules"), format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n"))
        .unwrap();
    let head = git(&repository, &["rev-parse", "HEAD"]);
    git(&repository, &["update-index", "--add", "--cacheinfo", &format!("160000,{head},x")]);
    git(&repository, &["add", ".gitmodules"]);
    git(&repository, &["commit", "-q", "-m", "submodule"]);
    recipe(&world, &format!("packages: ['tool @ git+{url}']\npython: {{build: all}}\n"));
    world.check_failure(&world.build(), 1, &["needs the submodules that could not be fetched", "hint: "]);
}

#[test]
fn a_source_distribution_is_named_by_its_path_and_its_url() {
    let Some(world) = world(Sdist::new()) else { return };
    let built = Sdist::new().content("'X = 7\\n'").build();
    let hex = Digest::of(&built.bytes).hex();
    world.write("demo-1.0.tar.gz", &built.bytes);
    world.server.set("/elsewhere/demo-1.0.tar.gz", Resource::file(built.bytes.clone()));
    let url = format!("{}/elsewhere/demo-1.0.tar.gz", world.server.url());
    let mut places = vec![("./demo-1.0.tar.gz".to_owned(), "file:///demo-1.0.tar.gz".to_owned())];
    places.push((format!("demo @ {url}"), url.clone()));
    for (place, recorded) in places {
        recipe(&world, &format!("packages: ['{place}']\npython: {{build: [demo]}}\n"));
        assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
        let digest = world.run(&LOCKED).check_success();
        assert_eq!(module(&world, "demo"), "X = 7\n");
        let expected = serde_json::json!({
            "url": recorded, "archive_info": {"hash": format!("sha256={hex}"), "hashes": {"sha256": hex}},
        });
        assert_eq!(direct_url(&world, "demo"), expected);
        let mut elsewhere = world.command(&LOCKED);
        let store = world.path("elsewhere");
        assert_eq!(run(elsewhere.env("IMGFORGE_CACHE_DIR", &store)).check_success(), digest);
        fs::remove_dir_all(store).unwrap();
    }
    recipe(
        &world,
        &format!("packages: ['demo @ {url}#sha256={}']\npython: {{build: [demo]}}\n", "0".repeat(64)),
    );
    world.check_failure(&world.build(), 1, &["demo-1.0.tar.gz", "wrong hash"]);
}

/// A `uv.lock` of `demo` at the lock's directory, with `tool` of a repository, `one` at a URL, and `two` in groups and extras.
fn uv_lock(world: &World, url: &str, commit: &str) -> String {
    let package = |wheel: Wheel| {
        let built: Built = wheel.build();
        let path = format!("/elsewhere/{}", built.filename);
        world.server.set(&path, Resource::file(built.bytes.clone()));
        format!(
            "source = {{ registry = \"http://localhost/simple\" }}\nwheels = [\n    {{ url = \"{}{path}\", hash = \"sha256:{}\", size = {} }},\n]\n",
            world.server.url(),
            Digest::of(&built.bytes).hex(),
            built.bytes.len()
        )
    };
    let one =
        |version: &str| package(Wheel::new("one", version).file("one.py", format!("V = {version:?}\n")));
    let two = package(Wheel::new("two", "1.0").requires("one").file("two.py", "1\n"));
    let three = package(Wheel::new("three", "1.0").file("three.py", "1\n"));
    format!(
        r#"version = 1
revision = 3
requires-python = ">=3.11"
resolution-markers = ["python_full_version >= '3.12'", "python_full_version < '3.12'"]
conflicts = [[{{ package = "demo", extra = "cpu" }}, {{ package = "demo", extra = "gpu" }}]]

[[package]]
name = "demo"
version = "1.0"
source = {{ editable = "." }}
dependencies = [
    {{ name = "one", version = "1.0", source = {{ registry = "http://localhost/simple" }}, marker = "python_full_version < '3.12'" }},
    {{ name = "one", version = "2.0", source = {{ registry = "http://localhost/simple" }}, marker = "python_full_version >= '3.12'" }},
    {{ name = "tool" }},
]

[package.optional-dependencies]
cpu = []
gpu = [{{ name = "two" }}]

[package.dev-dependencies]
dev = [{{ name = "three" }}]
serve = [{{ name = "two", marker = "sys_platform == 'linux'" }}]

[[package]]
name = "one"
version = "1.0"
{}
[[package]]
name = "one"
version = "2.0"
{}
[[package]]
name = "three"
version = "1.0"
{three}
[[package]]
name = "tool"
version = "1.0"
source = {{ git = "{url}?rev=main#{commit}" }}

[[package]]
name = "two"
version = "1.0"
{two}dependencies = [{{ name = "one", version = "1.0", source = {{ registry = "http://localhost/simple" }} }}]
"#,
        one("1.0"),
        one("2.0")
    )
}

#[test]
fn a_uv_lock_is_installed_with_its_project_repositories_and_groups() {
    let Some((world, url, _)) = with_repository() else { return };
    let named = "[project]\nname = 'demo'\nversion = '1.0'\n";
    write_source(&world, "app", "demo", Sdist::new().project(named));
    // The history from which a backend would take the version is not there: it is told.
    let told = "assert os.environ['SETUPTOOLS_SCM_PRETEND_VERSION'] == '1.0'";
    write_source(&world, "repo", "tool", Sdist::new().before(told));
    let commit = commit(&world, "repo");
    world.write("app/uv.lock", uv_lock(&world, &url, &commit));
    let build = |entry: &str| {
        recipe(&world, &format!("requirements: [{entry}]\npython: {{build: [tool]}}\n"));
        world.server.take_requests();
        world.build().check_success();
        ["demo", "tool", "one", "two", "three"].map(|name| has(&world, name))
    };
    assert_eq!(build("app/uv.lock"), [true, true, true, false, true]);
    let asked = world.server.take_requests();
    assert!(asked.iter().all(|request| !request.contains("/simple/")), "{asked:?}");
    assert_eq!(module(&world, "one"), "V = \"1.0\"\n");
    assert_eq!(direct_url(&world, "demo"), serde_json::json!({"dir_info": {}, "url": "file:///demo/"}));
    assert_eq!(direct_url(&world, "tool")["vcs_info"]["requested_revision"], "main");
    let plain = |rest: &str| format!("{{file: app/uv.lock, default-groups: false{rest}}}");
    assert_eq!(build(&plain("")), [true, true, true, false, false]);
    assert_eq!(build(&plain(", groups: [serve]")), [true, true, true, true, false]);
    assert_eq!(build(&plain(", extras: [gpu], project: false")), [false, true, true, true, false]);
    assert_eq!(build(&plain(", packages: [demo]")), [true, true, true, false, false]);
    world.write(
        "app/pyproject.toml",
        fs::read_to_string(world.path("app/pyproject.toml")).unwrap()
            + "\n[tool.uv]\ndefault-groups = ['serve']\n",
    );
    assert_eq!(build("app/uv.lock"), [true, true, true, true, false]);

    let lock = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(lock.code, 0, "{lock}");
    let first = world.run(&LOCKED).check_success();
    let mut elsewhere = world.command(&LOCKED);
    let elsewhere = run(elsewhere.env("IMGFORGE_CACHE_DIR", world.path("elsewhere")));
    assert_eq!(elsewhere.check_success(), first);
}

#[test]
fn what_is_wrong_with_a_uv_lock_is_told() {
    let Some((world, url, commit)) = with_repository() else { return };
    let text = uv_lock(&world, &url, &commit);
    let check = |text: &str, entry: &str, code: i32, said: &[&str]| {
        world.write("uv.lock", text);
        recipe(&world, &format!("requirements: [{entry}]\npython: {{build: [tool]}}\n"));
        world.check_failure(&world.build(), code, said);
    };
    let with = |rest: &str| format!("{{file: uv.lock, {rest}}}");
    check(
        &text.replacen(">=3.11", ">=3.12", 1),
        "uv.lock",
        2,
        &["uv.lock` is for Python >=3.12", "3.11", "hint: lock again"],
    );
    check(
        &text.replacen("version = 1", "version = 2", 1),
        "uv.lock",
        2,
        &["of version 2", "reads version 1 of uv's locks"],
    );
    check(&text, &with("extras: [tpu]"), 2, &["has no extra `tpu`", "hint: it has `cpu`, `gpu`"]);
    check(
        &text,
        &with("groups: [docs]"),
        2,
        &["has no dependency group `docs`", "hint: it has `dev`, `serve`"],
    );
    check(
        &text,
        &with("packages: [other]"),
        2,
        &["has no project `other` of its own", "hint: it has `demo`"],
    );
    let said = ["the extra `cpu` of `demo` and the extra `gpu` of `demo` exclude each other"];
    check(&text, &with("extras: [cpu, gpu]"), 2, &said);
    check(
        &text.replace("name = \"tool\"\nv", "name = \"tools\"\nv"),
        "uv.lock",
        2,
        &["does not have `tool`, which it requires"],
    );
    check(
        &text.replace(&commit, "1"),
        "uv.lock",
        2,
        &["locks `tool` in a way that cannot be followed: `1` is not a commit"],
    );
    let other = commit.replace(|c: char| c.is_ascii_hexdigit(), "0");
    check(
        &text.replace(&commit, &other),
        &with("project: false"),
        1,
        &["does not have the commit 000000", "hint: its history was rewritten"],
    );
    check("[[package\n", "uv.lock", 2, &["line 1 of", "hint: is it a whole lock"]);
}

#[test]
fn a_pyproject_is_read_with_uvs_sources() {
    let Some((mut world, url, _)) = with_repository() else { return };
    for (name, requires) in [("one", "two>=1"), ("two", "wholesome"), ("three", "two"), ("wholesome", "")] {
        for version in ["1.0", "2.0"] {
            let wheel = Wheel::new(name, version).file(&format!("{name}.py"), format!("V = {version:?}\n"));
            world.publish(if requires.is_empty() { wheel } else { wheel.requires(requires) });
        }
    }
    fs::create_dir_all(world.path("app")).unwrap();
    let text = format!(
        r#"
[project]
name = "app"
version = "1.0"
dependencies = ["one", "tool>=0.5"]
optional-dependencies = {{ more = ["three"], all = ["app[more]"] }}
[dependency-groups]
base = ["three"]
serve = [{{ include-group = "base" }}]
[tool.uv]
override-dependencies = ["two==1.0"]
constraint-dependencies = ["one<2"]
[tool.uv.sources]
tool = {{ git = "{url}", branch = "main" }}
"#
    );
    let build = |text: &str, entry: &str| {
        world.write("app/pyproject.toml", text);
        recipe(&world, &format!("requirements: [{entry}]\npython: {{build: [tool]}}\n"));
        world.build()
    };
    build(&text, "app/pyproject.toml").check_success();
    let found = ["one", "two", "three", "tool"].map(|name| has(&world, name).then(|| module(&world, name)));
    let expected = [Some("V = \"1.0\"\n"), Some("V = \"1.0\"\n"), None, Some("X = 1\n")];
    assert_eq!(found.each_ref().map(Option::as_deref), expected);
    for part in ["extras: [all]", "groups: [serve]"] {
        build(&text, &format!("{{file: app/pyproject.toml, {part}}}")).check_success();
        assert!(has(&world, "three"), "{part}");
    }
    for (change, said) in [
        (
            ("[tool.uv]\n", "[tool.uv]\nresolution = \"lowest\"\n"),
            "says `tool.uv.resolution`, which imgforge does not follow",
        ),
        (("branch = \"main\"", "lfs = true"), "files of Git LFS are not fetched"),
        (("version = \"1.0\"\n", "dynamic = [\"dependencies\"]\n"), "`dependencies` are dynamic"),
        (("base = [", "base = [{ include-group = \"serve\" }, "), "includes itself"),
        (("[project]", "[tool.poetry]"), "has no table `project`"),
    ] {
        let entry = if said.contains("itself") {
            "{file: app/pyproject.toml, groups: [serve]}"
        } else {
            "app/pyproject.toml"
        };
        let outcome = build(&text.replace(change.0, change.1), entry);
        world.check_failure(&outcome, 2, &[said, "hint: "]);
    }
}

#[test]
fn an_environment_of_conda_gives_its_pip_part_and_a_sentence_about_the_rest() {
    let Some(mut world) = world(Sdist::new()) else { return };
    world.publish(Wheel::new("one", "1.0").file("one.py", "1\n"));
    world.write("environment.yml", "name: x\ndependencies:\n- python=3.11\n- numpy\n- pip:\n  - one==1.0\n");
    recipe(&world, "requirements: [environment.yml]\n");
    let outcome = world.build();
    outcome.check_success();
    assert!(has(&world, "one"));
    assert!(outcome.stderr.contains("and not what conda has: `python=3.11`, `numpy`"), "{outcome}");
    world.write("environment.yml", "dependencies:\n- pip:\n  - one==\n");
    world.check_failure(&world.build(), 2, &["environment.yml:3:", "`one==` is not a requirement"]);
}

#[test]
fn a_poetry_lock_is_installed_by_its_groups_and_hashes() {
    let Some((mut world, url, commit)) = with_repository() else { return };
    let mut package = |name: &str, groups: &str, more: &str| {
        let built = world.publish(Wheel::new(name, "1.0").file(&format!("{name}.py"), "1\n"));
        world.publish(Wheel::new(name, "2.0").file(&format!("{name}.py"), "2\n"));
        let hash = Digest::of(&built.bytes).hex();
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1.0\"\noptional = false\npython-versions = \"*\"\ngroups = [{groups}]\n{more}files = [{{file = \"{}\", hash = \"sha256:{hash}\"}}]\n\n",
            built.filename
        )
    };
    let text = [
        package("one", "\"main\"", ""),
        package("two", "\"main\", \"dev\"", "markers = {main = \"extra == 'more'\", dev = \"python_version >= '3.11'\"}\n"),
        package("three", "\"main\"", "markers = \"sys_platform == 'win32'\"\n"),
        format!("[[package]]\nname = \"tool\"\nversion = \"1.0\"\ngroups = [\"main\"]\nfiles = []\n[package.source]\ntype = \"git\"\nurl = \"{url}\"\nreference = \"main\"\nresolved_reference = \"{commit}\"\n\n"),
        "[extras]\nmore = [\"two\"]\n\n[metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.11\"\ncontent-hash = \"\"\n".to_owned(),
    ]
    .concat();
    let build = |text: &str, entry: &str| {
        world.write("poetry.lock", text);
        recipe(&world, &format!("requirements: [{entry}]\npython: {{build: [tool]}}\n"));
        world.build()
    };
    let found = || ["one", "two", "three", "tool"].map(|name| has(&world, name));
    build(&text, "poetry.lock").check_success();
    assert_eq!(found(), [true, false, false, true]);
    assert_eq!(module(&world, "one"), "1\n");
    for part in ["groups: [dev]", "extras: [more]"] {
        build(&text, &format!("{{file: poetry.lock, {part}}}")).check_success();
        assert_eq!(found(), [true, true, false, true], "{part}");
    }
    let forged = text.replacen("hash = \"sha256:", "hash = \"sha256:0000", 1);
    let outcome = build(&forged.replacen("0000", "", 0), "{file: poetry.lock, groups: [docs]}");
    world.check_failure(&outcome, 2, &["has no dependency group `docs`", "hint: it has `dev`"]);
    let old = text.replace("groups = [", "groups_ = [");
    world.check_failure(&build(&old, "poetry.lock"), 2, &["reads lock-version 2.1 of Poetry 2"]);
    let first = text.find("sha256:").unwrap() + "sha256:".len();
    let other = format!("{}{}{}", &text[..first], "0".repeat(64), &text[first + 64..]);
    world.check_failure(
        &build(&other, "poetry.lock"),
        1,
        &["one-1.0-py3-none-any.whl", "none of the hashes"],
    );
}

#[test]
fn what_a_build_needs_is_built_too_where_the_recipe_says_so() {
    let sdist = Sdist::new().requires("helper").before("import helper; assert helper.X == 4");
    let Some(mut world) = world(sdist) else { return };
    let files = Sdist::new().content("'X = 4\\n'");
    write_source(&world, "helper-1.0", "helper", files);
    let tar = Command::new("tar")
        .args(["-czf", "helper-1.0.tar.gz", "helper-1.0"])
        .current_dir(world.path("."))
        .status();
    assert!(tar.unwrap().success());
    let bytes = fs::read(world.path("helper-1.0.tar.gz")).unwrap();
    world.publish_file("helper", &Built { filename: "helper-1.0.tar.gz".into(), bytes }, |_| {});
    world.check_failure(
        &world.build(),
        1,
        &["could not build `demo 1.0`", "hint: have what it needs built, too: add `helper`"],
    );
    recipe(&world, "packages: [demo]\npython: {build: [demo, helper]}\n");
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let lock = fs::read_to_string(world.path("recipe.lock")).unwrap();
    assert!(lock.contains("helper-1.0.tar.gz"), "{lock}");
    let digest = world.run(&LOCKED).check_success();
    let mut elsewhere = world.command(&LOCKED);
    assert_eq!(run(elsewhere.env("IMGFORGE_CACHE_DIR", world.path("elsewhere"))).check_success(), digest);
}

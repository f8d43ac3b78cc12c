//! Wheels of the user's own: named by their places, in directories, on pages of links. Right and wrong.

use std::fs;

use imgforge::oci::Digest;

use crate::support::image::Image;
use crate::support::server::Resource;
use crate::support::wheel::{Built, Wheel};
use crate::support::{Outcome, World};

const LOCKED: [&str; 5] = ["build", "recipe.yaml", "-o", "oci:image", "--locked"];
const SITE: &str = "usr/local/lib/python3.11/dist-packages";

fn app(version: &str) -> Wheel {
    Wheel::new("app", version)
        .requires("wholesome")
        .extra("more")
        .requires("helper ; extra == 'more'")
        .file("app.py", "1\n")
}

/// A world with the wheel of `app` 1.0 in `dist`, and `helper` on the index.
fn world() -> (World, Built) {
    let mut world = World::new();
    world.publish(Wheel::new("helper", "1.0").file("helper.py", "1\n"));
    let built = app("1.0").build();
    put(&world, "dist", &built);
    (world, built)
}

fn put(world: &World, directory: &str, built: &Built) {
    fs::create_dir_all(world.path(directory)).unwrap();
    world.write(&format!("{directory}/{}", built.filename), &built.bytes);
}

fn hex(built: &Built) -> String {
    Digest::of(&built.bytes).hex()
}

fn serve(world: &World, built: &Built) -> String {
    let path = format!("/elsewhere/{}", built.filename);
    world.server.set(&path, Resource::file(built.bytes.clone()));
    format!("{}{path}", world.server.url())
}

/// The `direct_url.json` of `app` in the image at `image`, which RECORD lists.
#[track_caller]
fn direct_url(world: &World) -> Option<serde_json::Value> {
    let image = Image::read(&world.path("image"));
    assert!(image.files.contains_key(&format!("{SITE}/app.py")));
    let record = &image.files[&format!("{SITE}/app-1.0.dist-info/RECORD")].content;
    let file = image.files.get(&format!("{SITE}/app-1.0.dist-info/direct_url.json"));
    let is_listed = String::from_utf8_lossy(record).contains("app-1.0.dist-info/direct_url.json,sha256=");
    assert_eq!(is_listed, file.is_some());
    file.map(|file| serde_json::from_slice(&file.content).unwrap())
}

#[track_caller]
fn has(world: &World, module: &str) -> bool {
    Image::read(&world.path("image")).files.contains_key(&format!("{SITE}/{module}.py"))
}

#[test]
fn a_wheel_is_installed_from_wherever_it_is_named() {
    let (world, built) = world();
    let url = serve(&world, &built);
    let hex = hex(&built);
    let check = |packages: &str, recorded: &str, helper: bool| {
        world.recipe(packages);
        world.build().check_success();
        let expected = serde_json::json!({
            "url": recorded,
            "archive_info": {"hash": format!("sha256={hex}"), "hashes": {"sha256": hex}},
        });
        assert_eq!(direct_url(&world), Some(expected), "{packages}");
        assert_eq!(has(&world, "helper"), helper, "{packages}");
        assert!(has(&world, "wholesome"));
    };
    let file = &built.filename;
    let local = format!("file:///{file}");
    check(&format!("packages: [./dist/{file}]\n"), &local, false);
    check(&format!("packages: ['app[more] @ file:dist/{file}']\n"), &local, true);
    check(&format!("packages: ['{url}']\n"), &url, false);
    check(&format!("packages: ['app[more] @ {url}#sha256={hex} ; python_version > \"3\"']\n"), &url, true);
    world.write("requirements.txt", format!("./dist/{file}[more] --hash=sha256:{hex}\nwholesome\n"));
    check("requirements: [requirements.txt]\n", &local, true);
    world.write("requirements.txt", "wholesome\n");
    let other = "app @ ./nowhere/app-9-py3-none-any.whl ; sys_platform == 'win32'";
    check(&format!("packages: [./dist/{file}, \"{other}\"]\n"), &local, false);
}

#[test]
fn equal_wheels_give_equal_images_wherever_they_are() {
    let (world, built) = world();
    put(&world, "other/place", &built);
    world.recipe(&format!("packages: [./dist/{}]\n", built.filename));
    let first = world.build().check_success();
    world.recipe(&format!("packages: ['app @ ./other/place/{}#sha256={}']\n", built.filename, hex(&built)));
    assert_eq!(world.build().check_success(), first);
}

#[test]
fn directories_and_pages_of_wheels_are_indexes() {
    let (mut world, built) = world();
    let file = &built.filename;
    let url = serve(&world, &built);
    fs::create_dir_all(world.path("simple/app")).unwrap();
    world.write(
        "simple/app/index.html",
        format!("<a href='../../dist/{file}#sha256={}'>{file}</a>", hex(&built)),
    );
    let page = format!("<a href='/elsewhere/{file}#sha256={}'>{file}</a><a href=x.tar.gz>x</a>", hex(&built));
    world.server.set("/links.html", Resource::html(&page));
    put(&world, "tree/app", &built);
    let server = world.server.url();
    world.write("find.txt", "app\n--find-links dist\n");
    world.write("only.txt", format!("app\nwholesome\n--no-index\n-f {server}/links.html -f ./more\n"));
    let wholesome = Wheel::new("wholesome", "1.0").file("wholesome.py", "X = 1\n").build();
    put(&world, "more", &wholesome);
    let check = |recipe: &str| {
        world.recipe(recipe);
        world.build().check_success();
        assert_eq!(direct_url(&world), None, "{recipe}");
    };
    check("packages: [app]\nindexes: [{path: dist}]\n");
    check("packages: [app]\nindexes: [./simple]\n");
    check("packages: [app]\nindexes: [{path: tree, packages: [app]}]\n");
    check("packages: [app]\nfind-links: [./dist]\n");
    check(&format!("packages: [app]\nfind-links: ['{server}/links.html']\n"));
    check(&format!("packages: [app]\nfind-links: ['{url}#sha256={}']\n", hex(&built)));
    world.server.set("/plain.html", Resource::html(&format!("<a href=elsewhere/{file}>{file}</a>")));
    check(&format!("packages: [app]\nfind-links: ['{server}/plain.html']\n"));
    check("requirements: [find.txt]\n");
    check("requirements: [only.txt]\n");
    check("packages: [app]\nfind-links: [./dist]\nexclude-newer: 2024-06-01\n");
    // The newest of links and index together is taken, where an index of its own goes before others.
    world.publish(app("1.1"));
    world.recipe("packages: [app]\nfind-links: [./dist]\n");
    assert!(world.run(&["lock", "recipe.yaml"]).code == 0);
    assert!(fs::read_to_string(world.path("recipe.lock")).unwrap().contains("app-1.1-py3-none-any.whl"));
    fs::remove_file(world.path("recipe.lock")).unwrap();
    world.recipe("packages: [app]\nindexes: [{path: dist}]\n");
    world.build().check_success();
    assert_eq!(direct_url(&world), None);
}

#[test]
fn the_machines_links_are_read() {
    let (world, _) = world();
    world.recipe("packages: [app]\n");
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    command.env("PIP_FIND_LINKS", world.path("dist"));
    crate::support::run(&mut command).check_success();
    assert_eq!(direct_url(&world), None);
}

fn lock(world: &World) -> String {
    let outcome = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    fs::read_to_string(world.path("recipe.lock")).unwrap()
}

#[test]
fn a_url_without_a_hash_is_hashed_once_and_locked() {
    let (world, built) = world();
    let url = serve(&world, &built);
    world.recipe(&format!("packages: ['{url}']\n"));
    assert!(lock(&world).contains(&hex(&built)));
    let first = world.build().check_success();
    let other = Wheel::new("app", "1.0").requires("wholesome").file("app.py", "2\n").build();
    assert_eq!(serve(&world, &other), url);
    assert_eq!(world.run(&LOCKED).check_success(), first);
    let mut elsewhere = world.command(&LOCKED);
    elsewhere.env("IMGFORGE_CACHE_DIR", world.path("empty"));
    crate::support::run(&mut elsewhere)
        .check_failure(1, &["app-1.0-py3-none-any.whl", "wrong hash", &hex(&built), &hex(&other)]);
    let outcome = world.run(&["lock", "recipe.yaml", "--upgrade=app"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(fs::read_to_string(world.path("recipe.lock")).unwrap().contains(&hex(&other)));
}

#[test]
fn a_build_without_a_network_takes_what_it_has() {
    let (world, built) = world();
    let url = serve(&world, &built);
    for recipe in [
        format!("packages: ['{url}']\n"),
        format!("packages: [./dist/{}]\n", built.filename),
        "packages: [app]\nindexes: [{path: dist}]\n".to_owned(),
    ] {
        world.recipe(&recipe);
        let first = world.build().check_success();
        let offline = ["build", "recipe.yaml", "-o", "oci:image", "--offline"];
        assert_eq!(world.run(&offline).check_success(), first, "{recipe}");
    }
    world.server.stop();
    assert_eq!(world.run(&["build", "recipe.yaml", "-o", "oci:image", "--offline"]).code, 0);
}

#[test]
fn a_local_wheel_that_changed_is_told_with_both_hashes() {
    let (world, built) = world();
    world.recipe(&format!("packages: [./dist/{}]\n", built.filename));
    lock(&world);
    world.run(&LOCKED).check_success();
    let other = app("1.0").file("more.py", "1\n").build();
    put(&world, "dist", &other);
    let said = ["./dist/app-1.0-py3-none-any.whl", &hex(&built), &hex(&other), "imgforge lock recipe.yaml"];
    world.check_failure(&world.run(&LOCKED), 2, &said);
    let outcome = world.build();
    outcome.check_success();
    for said in said {
        assert!(outcome.stderr.contains(said), "{outcome}");
    }
    assert!(has(&world, "more"));
    assert!(lock(&world).contains(&hex(&other)));
    world.run(&LOCKED).check_success();
}

/// A recipe with these lines fails, and says all of `said`.
#[track_caller]
fn check_bad(world: &World, lines: &str, code: i32, said: &[&str]) {
    world.recipe(lines);
    for command in [&["plan", "recipe.yaml"][..], &["build", "recipe.yaml", "-o", "oci:image"]] {
        let outcome: Outcome = world.run(command);
        world.check_failure(&outcome, code, said);
        assert_eq!(outcome.stderr.matches("error: ").count(), 1, "{outcome}");
    }
    assert!(!world.path("image").exists());
}

#[test]
fn what_is_wrong_with_a_wheel_is_told() {
    let (world, built) = world();
    let file = &built.filename;
    let check = |lines: &str, code: i32, said: &[&str]| check_bad(&world, lines, code, said);
    check(
        "packages: [./gone/app-1.0-py3-none-any.whl]\n",
        2,
        &["./gone/app-1.0-py3-none-any.whl", "the recipe", "No such file", "hint: check the path"],
    );
    fs::create_dir_all(world.path("app-2.0-py3-none-any.whl")).unwrap();
    check(
        "packages: [./app-2.0-py3-none-any.whl]\n",
        2,
        &["app-2.0-py3-none-any.whl", "it is a directory", "hint: "],
    );
    put(
        &world,
        "tags",
        &Built { filename: "app-1.0-cp312-cp312-linux_x86_64.whl".into(), bytes: built.bytes.clone() },
    );
    check(
        "packages: [./tags/app-1.0-cp312-cp312-linux_x86_64.whl]\n",
        2,
        &["is for cp312, not cp311", "hint: build or fetch a wheel for CPython 3.11 on x86_64"],
    );
    check("packages: [./tags/app-1.0-cp311-cp311-win_amd64.whl]\n", 2, &["is for win_amd64, not Linux"]);
    let liar = Wheel::new("app", "1.0").metadata_name("other").build();
    put(&world, "lies", &liar);
    check(&format!("packages: [./lies/{file}]\n"), 1, &["./lies/app-1.0", "has the metadata of other 1.0"]);
    let snake = Wheel::new("app", "3.0").build();
    put(&world, "dist", &snake);
    check(
        &format!("packages: [./dist/{file}, ./dist/app-3.0-py3-none-any.whl]\n"),
        2,
        &["`app` is listed twice"],
    );
    world.write("more.txt", "./dist/app-3.0-py3-none-any.whl\n");
    check(
        &format!("packages: [./dist/{file}]\nrequirements: [more.txt]\n"),
        2,
        &["two wheels of `app`", "from the recipe", "more.txt", "hint: keep one"],
    );
    world.write("pins.txt", "app>=2\n");
    check(
        &format!("packages: [./dist/{file}]\nrequirements: [pins.txt]\n"),
        1,
        &[&format!("recipe asks for app @ ./dist/{file}"), "app>=2"],
    );
    world.write("page.whl", "<html>");
    fs::copy(world.path("page.whl"), world.path("dist/page-1.0-py3-none-any.whl")).unwrap();
    check("packages: [./dist/page-1.0-py3-none-any.whl]\n", 1, &["./dist/page-1.0", "hint: is it a wheel"]);
    let zeros = "0".repeat(64);
    check(&format!("packages: ['./dist/{file}#sha256={zeros}']\n"), 2, &["wrong hash", &zeros, &hex(&built)]);
    check(
        "packages: [../app-1.0-py3-none-any.whl]\n",
        2,
        &["outside of the directory of the recipe", "--allow-outside"],
    );
    check("packages: [app]\nindexes: [./none]\n", 2, &["none`", "No such file", "hint: name a directory"]);
}

#[test]
fn what_is_wrong_at_a_url_is_told() {
    let (world, built) = world();
    let server = world.server.url();
    let url = serve(&world, &built);
    let zeros = "0".repeat(64);
    let check = |lines: &str, said: &[&str]| check_bad(&world, lines, 1, said);
    check(
        &format!("packages: ['{server}/gone/{}']\n", built.filename),
        &["could not fetch the wheel", "answered 404", "hint: check the URL"],
    );
    check(
        &format!("packages: ['{server}/gone/{}#sha256={zeros}']\n", built.filename),
        &["answered 404", "hint: check the URL"],
    );
    let page = "/page/app-1.0-py3-none-any.whl";
    world.server.set(page, Resource::html("<html>please log in</html>"));
    check(
        &format!("packages: ['{server}{page}']\n"),
        &["could not use the wheel", "page/app-1.0", "hint: is it a wheel"],
    );
    world.recipe(&format!("packages: ['{url}#sha256={zeros}']\n"));
    world.check_failure(&world.build(), 1, &["wrong hash", &zeros, &hex(&built)]);
    world.server.set("/parts/app-1.0-py3-none-any.whl", Resource::status(403));
    check(
        &format!("packages: ['{server}/parts/{}']\n", built.filename),
        &["answered 403", "hint: give credentials"],
    );
}

#[test]
fn a_wheel_of_ones_own_replaces_the_bases_and_serves_a_framework() {
    let (world, built) = world();
    world.recipe(&format!("frameworks: {{app: '*'}}\npackages: [./dist/{}]\n", built.filename));
    world.build().check_success();
    assert!(direct_url(&world).is_some());
}

#[test]
fn a_distribution_names_no_file_that_the_recipe_does_not() {
    let (mut world, built) = world();
    let url = serve(&world, &built);
    world.publish(Wheel::new("parent", "1.0").requires(&format!("app @ {url}")).file("parent.py", "1\n"));
    check_bad(
        &world,
        "packages: [parent]\n",
        1,
        &["by URL", &url, "hint: imgforge takes no file that parent alone names"],
    );
    world.recipe(&format!("packages: [parent, '{url}']\n"));
    world.build().check_success();
    assert!(direct_url(&world).is_some());
}

#[test]
fn an_override_stands_in_place_of_all_requirements_and_pip_agrees() {
    let mut world = World::new();
    world.publish(Wheel::new("old", "1.0").file("old.py", "1\n"));
    world.publish(Wheel::new("old", "2.0").file("old.py", "2\n"));
    world.publish(Wheel::new("parent", "1.0").requires("old<2").requires("gone>9").file("parent.py", "1\n"));
    let overrides = "overrides: ['old>=2', \"gone ; sys_platform == 'never'\"]\n";
    world.recipe(&format!("packages: [parent]\n{overrides}"));
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!(image.files[&format!("{SITE}/old.py")].content, b"2\n");
    let metadata = &image.files[&format!("{SITE}/parent-1.0.dist-info/METADATA")].content;
    let metadata = String::from_utf8_lossy(metadata);
    assert!(metadata.contains("Requires-Dist: old>=2\n"), "{metadata}");
    assert!(metadata.contains("Requires-Dist: gone ; sys_platform == 'never'\n"), "{metadata}");
    lock(&world);
    world.run(&LOCKED).check_success();
    world.recipe("packages: [parent]\n");
    world.check_failure(&world.run(&LOCKED), 2, &["`overrides` changed"]);
}

#[test]
fn bounds_in_a_recipe_are_constraints() {
    let mut world = World::new();
    world.publish(Wheel::new("old", "1.0").file("old.py", "1\n"));
    world.publish(Wheel::new("old", "2.0").file("old.py", "2\n"));
    world.recipe("packages: [old]\nconstraints: ['old<2', 'absent>1']\n");
    world.build().check_success();
    assert!(
        Image::read(&world.path("image")).files.contains_key(&format!("{SITE}/old-1.0.dist-info/METADATA"))
    );
}

#[test]
fn all_projects_that_publish_sources_only_are_told_at_once() {
    let mut world = World::new();
    for (name, version) in [("alpha", "1.2"), ("beta", "4.9.3")] {
        let file = Built { filename: format!("{name}-{version}.tar.gz"), bytes: b"source".to_vec() };
        world.publish_file(name, &file, |_| {});
    }
    world.publish(Wheel::new("beta", "5.0"));
    world.publish(Wheel::new("parent", "1.0").requires("beta<5"));
    world.recipe("packages: [parent, alpha, wholesome]\n");
    let outcome = world.build();
    world.check_failure(
        &outcome,
        1,
        &[
            "2 projects publish source distributions only",
            "alpha 1.2, for the recipe",
            "beta 4.9.3, for parent 1.0",
            "no other base or Python helps",
            "pip wheel --no-deps -w wheels alpha==1.2 beta==4.9.3",
            "indexes: [{path: wheels, packages: [alpha, beta]}]",
        ],
    );
    for (name, version) in [("alpha", "1.2"), ("beta", "4.9.3")] {
        put(&world, "wheels", &Wheel::new(name, version).build());
    }
    world
        .recipe("packages: [parent, alpha, wholesome]\nindexes: [{path: wheels, packages: [alpha, beta]}]\n");
    world.build().check_success();
}

/// A `pylock.toml` of `app` 1.0 at a URL, `wholesome` at a path, and what else is given.
fn pylock(world: &World, built: &Built, more: &str) -> String {
    let wholesome = Wheel::new("wholesome", "1.0").file("wholesome.py", "X = 1\n").build();
    put(world, "locked", &wholesome);
    let url = serve(world, built);
    let package = |name: &str, marker: &str, place: &str, built: &Built| {
        let hash = hex(built);
        format!(
            "[[packages]]\nname = \"{name}\"\nversion = \"1.0\"\n{marker}wheels = [{{name = \"{}\", {place}, hashes = {{sha256 = \"{hash}\"}}}}]\n",
            built.filename
        )
    };
    let helper = Wheel::new("helper", "1.0").file("helper.py", "1\n").build();
    [
        "lock-version = \"1.0\"\nrequires-python = \">=3.11\"\ncreated-by = \"test\"\n".to_owned(),
        package("app", "", &format!("url = \"{url}\""), built),
        package("wholesome", "", &format!("path = \"../locked/{}\"", wholesome.filename), &wholesome),
        package(
            "helper",
            "marker = \"'more' in extras\"\n",
            &format!("url = \"{}\"", serve(world, &helper)),
            &helper,
        ),
        more.to_owned(),
    ]
    .concat()
}

#[test]
fn a_pylock_is_installed_as_it_stands() {
    let (mut world, built) = world();
    fs::create_dir_all(world.path("sub")).unwrap();
    world.publish(app("1.1"));
    world.write("sub/pylock.toml", pylock(&world, &built, ""));
    world.recipe("requirements: [sub/pylock.toml]\n");
    let first = world.build().check_success();
    assert!(has(&world, "app") && has(&world, "wholesome") && !has(&world, "helper"));
    assert_eq!(direct_url(&world), None);
    let asked = world.server.take_requests();
    assert!(asked.iter().all(|request| !request.contains("/simple/")), "{asked:?}");
    lock(&world);
    let mut command = world.command(&LOCKED);
    command.env("IMGFORGE_CACHE_DIR", world.path("empty"));
    assert_eq!(crate::support::run(&mut command).check_success(), first);
    world.recipe("requirements: [{file: sub/pylock.toml, extras: [more]}]\n");
    world.build().check_success();
    assert!(has(&world, "helper"));
}

#[test]
fn what_is_wrong_with_a_pylock_is_told() {
    let (world, built) = world();
    let other = app("1.0").requires("missing").build();
    let text = pylock(&world, &built, "");
    fs::create_dir_all(world.path("sub")).unwrap();
    let check = |text: &str, code: i32, said: &[&str]| {
        world.write("sub/pylock.toml", text);
        check_bad(&world, "requirements: [sub/pylock.toml]\n", code, said);
    };
    check(
        &text.replace(">=3.11", ">=3.12"),
        2,
        &["sub/pylock.toml` is for Python >=3.12", "3.11", "hint: lock again"],
    );
    check(
        &text.replace("1.0\"\nreq", "9.0\"\nreq"),
        2,
        &["of version 9.0, and imgforge reads lock-version 1.0"],
    );
    check(
        &text.replace("[[packages]]\nname = \"wholesome\"", "[[packages]]\nname = \"wholesame\""),
        2,
        &["`wholesome` is needed", "does not have it"],
    );
    world.write("sub/pylock.toml", text.replace(&hex(&built), &hex(&other)));
    world.check_failure(
        &world.build(),
        1,
        &["app-1.0-py3-none-any.whl", "wrong hash", &hex(&built), &hex(&other)],
    );
    check("[[packages\n", 2, &["line 1 of", "hint: is it a whole lock"]);
    check_bad(&world, "requirements: [pdm.lock]\n", 2, &["pdm export -f pylock"]);
}

#[test]
fn a_lock_is_written_for_pip_and_uv() {
    let (mut world, built) = world();
    let url = serve(&world, &built);
    world.recipe(&format!("packages: ['{url}', other]\nfind-links: [./dist]\n"));
    put(&world, "dist", &Wheel::new("other", "2.0").file("other.py", "1\n").build());
    let outcome = world.run(&["lock", "recipe.yaml", "--format", "pylock"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    for line in [
        "lock-version = \"1.0\"".to_owned(),
        "requires-python = \"==3.11.*\"".to_owned(),
        format!("url = \"{url}\""),
        "path = \"dist/other-2.0-py3-none-any.whl\"".to_owned(),
        format!("sha256 = \"{}\"", hex(&built)),
        "name = \"wholesome\"".to_owned(),
    ] {
        assert!(outcome.stdout.contains(&line), "`{line}` is not in:\n{}", outcome.stdout);
    }
    let first = world.build().check_success();
    // It says the same to imgforge, apart from the origin of what was named.
    world.write("pylock.toml", &outcome.stdout);
    fs::remove_file(world.path("recipe.lock")).unwrap();
    world.recipe("requirements: [pylock.toml]\n");
    assert_ne!(world.build().check_success(), first);
    assert!(has(&world, "app") && has(&world, "other") && has(&world, "wholesome"));
    world.publish(app("9.0"));
    assert_eq!(direct_url(&world), None);
}

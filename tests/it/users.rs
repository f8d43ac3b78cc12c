//! Users of the recipe, what they own, and how a container of theirs is run.

use serde_json::json;

use crate::support::World;
use crate::support::image::Image;
use crate::support::layout::{Layout, Tar};

/// A base with accounts and a skeleton of homes.
fn world() -> World {
    let world = World::new();
    let tar = Tar::debian("")
        .file("etc/group", "root:x:0:\nvideo:x:44:\n")
        .file("etc/shadow", "root:*:19000:0:99999:7:::\n")
        .file("etc/gshadow", "root:*::\nvideo:*::\n")
        .file("etc/login.defs", "UMASK 022\nPASS_MIN_DAYS 0\nPASS_MAX_DAYS 99999\nPASS_WARN_AGE 7\n")
        .file("etc/skel/.profile", "umask 022\n");
    let base = Layout::new().layer(tar).with(|layout| {
        layout.config["config"]["ExposedPorts"] = json!({"80/tcp": {}});
        layout.config["config"]["Healthcheck"] = json!({"Test": ["CMD", "true"]});
    });
    base.write(&world.path("base"));
    world
}

fn recipe(world: &World, lines: &str) {
    world.write("recipe.yaml", format!("name: demo\nbase: oci:base\npackages: [wholesome]\n{lines}"));
}

#[test]
fn a_user_is_made_and_owns_what_is_copied_for_it() {
    let world = world();
    std::fs::create_dir_all(world.path("app/cache")).unwrap();
    for (path, text) in
        [("app/main.py", "run\n"), ("app/main.pyc", "x"), ("app/cache/a", "a"), ("app/cache/keep", "k")]
    {
        world.write(path, text);
    }
    recipe(
        &world,
        "users: [{name: app, uid: 2000, groups: [video], home: /srv/app, shell: /bin/bash}]\n\
         files:\n\
         - {from: app, to: /srv/code/, owner: app, exclude: [\"**/*.pyc\", cache, \"!cache/keep\"]}\n\
         - {from: app/main.py, to: /usr/local/bin/, mode: 0755, owner: \"7:8\"}\n\
         config: {user: app, workdir: /srv/code}\n",
    );
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    let ends = |path: &str, line: &str| assert_eq!(image.text(path).lines().last(), Some(line), "{path}");
    ends("etc/passwd", "app:x:2000:2000::/srv/app:/bin/bash");
    ends("etc/group", "app:x:2000:");
    assert!(image.text("etc/group").contains("video:x:44:app\n"));
    assert!(image.text("etc/shadow").lines().last().unwrap().starts_with("app:!:"));
    assert!(image.text("etc/shadow").ends_with(":0:99999:7:::\n"));
    ends("etc/gshadow", "app:!::");
    let owned = |path: &str, owner: (u64, u64), mode: u32| {
        let file = image.file(path);
        assert_eq!((file.owner, file.mode), (owner, mode), "{path}");
    };
    owned("srv/app", (2000, 2000), 0o755);
    owned("srv/app/.profile", (2000, 2000), 0o644);
    owned("srv/code/main.py", (2000, 2000), 0o644);
    owned("srv/code/cache/keep", (2000, 2000), 0o644);
    owned("usr/local/bin/main.py", (7, 8), 0o755);
    for gone in ["srv/code/main.pyc", "srv/code/cache/a"] {
        assert!(!image.files.contains_key(gone), "{gone}");
    }
    assert_eq!(image.config["config"]["User"], "app");
}

#[test]
fn a_user_for_whom_the_base_has_no_room_is_refused_with_its_line() {
    let check = |user: &str, said: &[&str]| {
        let world = world();
        recipe(&world, &format!("users: [{user}]\n"));
        let outcome = world.build();
        world.check_failure(&outcome, 2, said);
        assert!(!world.path("image").exists());
    };
    check("{name: me, uid: 2000}", &["has the name already", "me:x:1000:1000::/home/me:/bin/sh"]);
    check("{name: app, uid: 1000}", &["has the number already", "me:x:1000:1000"]);
    check(
        "{name: app, uid: 2000, groups: [gpu]}",
        &["the group `gpu`, which the base does not have", "video"],
    );
    check("{name: App, uid: 2000}", &["`App` is not a name for a user"]);
    check("{name: app, uid: -1}", &["`-1` is not the number of a user"]);
    check("{name: app}", &["needs the key `uid`"]);
    check("{name: a, uid: 2000}, {name: a, uid: 2000}", &["`a` is listed twice", "`2000` is listed twice"]);
}

#[test]
fn what_is_wrong_with_files_is_told_by_the_plan() {
    let check = |file: &str, said: &[&str]| {
        let world = world();
        world.write("there", "");
        recipe(&world, &format!("files: [{file}]\n"));
        let outcome = world.run(&["plan", "recipe.yaml"]);
        world.check_failure(&outcome, 2, said);
    };
    check("{from: missing, to: /x}", &["missing", "paths in a recipe are relative to the recipe"]);
    check("{from: there, to: /x, owner: app}", &["the owner `app` is not defined under `users`"]);
    check("{from: there, to: /x, owner: \"app:\"}", &["is not a name for a user or group"]);
    check("{from: there, to: /x, exclude: [\"a[\"]}", &["`a[` is not a pattern"]);
}

#[test]
fn the_config_says_how_a_container_is_run() {
    let world = world();
    recipe(
        &world,
        "config:\n  ports: [8888, 53/udp]\n  volumes: [/data]\n  stop-signal: SIGINT\n  shell: [/bin/bash, -c]\n  \
         healthcheck: {test: [curl, -f, \"http://localhost:8888/\"], interval: 1m30s, timeout: 5s, retries: 2}\n",
    );
    world.build().check_success();
    let config = Image::read(&world.path("image")).config["config"].clone();
    assert_eq!(config["ExposedPorts"], json!({"53/udp": {}, "80/tcp": {}, "8888/tcp": {}}));
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["Shell"], json!(["/bin/bash", "-c"]));
    let expected = json!({"Test": ["CMD", "curl", "-f", "http://localhost:8888/"],
        "Interval": 90_000_000_000_u64, "Timeout": 5_000_000_000_u64, "Retries": 2});
    assert_eq!(config["Healthcheck"], expected);

    recipe(&world, "config: {healthcheck: none}\n");
    world.build().check_success();
    let config = Image::read(&world.path("image")).config["config"].clone();
    assert_eq!((&config["Healthcheck"], config.get("Volumes")), (&json!({"Test": ["NONE"]}), None));

    recipe(&world, "config: {ports: [0, http], stop-signal: int, healthcheck: {interval: soon}}\n");
    let outcome = world.build();
    world.check_failure(
        &outcome,
        2,
        &[
            "`0` is not a port",
            "`http` is not a port",
            "`int` is not a signal",
            "needs the key `test`",
            "`soon` is not a time",
        ],
    );
}

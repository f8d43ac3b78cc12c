//! Images come from registries and go to registries, whatever their quirks are.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use imgforge::oci::Digest;
use serde_json::{Value, json};

use crate::support::layout::{Layout, Packing, Tar, descriptor};
use crate::support::registry::{Call, Content, Registry, Reply};
use crate::support::wheel::base64;
use crate::support::{Outcome, World};

/// Debian with Python, in two layers, of which the second is not small.
fn base() -> Layout {
    let noise: Vec<u8> =
        (0..300_000_u32).flat_map(|number| Digest::of(number.to_le_bytes()).bytes()[..1].to_vec()).collect();
    Layout::new().layer(Tar::debian("")).layer(Tar::new().file("srv/noise", noise))
}

/// A world whose recipe builds on `base` in the registry.
fn world(registry: &Registry) -> World {
    let world = World::new();
    registry.add("team/base", "v1", &base());
    world.write(
        "recipe.yaml",
        format!("name: demo\nbase: {}\npackages: [wholesome]\n", registry.place("team/base:v1")),
    );
    world
}

fn push(world: &World, registry: &Registry, name: &str) -> Outcome {
    world.run(&["build", "recipe.yaml", "-o", &registry.place(name)])
}

/// The digest of the image that the recipe makes over the same base from a layout.
fn expected(world: &World) -> Digest {
    let local = World::new();
    base().write(&local.path("base"));
    local.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [wholesome]\n");
    let mut command = local.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    command.env("PIP_INDEX_URL", format!("{}/simple/", world.server.url()));
    crate::support::run(&mut command).check_success()
}

/// A registry that answers by a twist pushes a whole image all the same; gives the requests that it took.
#[track_caller]
fn check_push(twist: impl Fn(&Call, &mut Content) -> Option<Reply> + Send + Sync + 'static) -> Vec<Call> {
    let registry = Registry::twisted(twist);
    let world = world(&registry);
    let expected = expected(&world);
    assert_eq!(push(&world, &registry, "team/out:v2").check_success(), expected);
    let calls = registry.take_calls();
    let content = registry.content();
    let (_, manifest) = &content.manifests[&("team/out".to_owned(), "v2".to_owned())];
    assert_eq!(Digest::of(manifest), expected);
    let last = calls.last().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str()), ("PUT", "/v2/team/out/manifests/v2"));
    calls
}

fn is_upload(call: &Call) -> bool {
    call.path.contains("/blobs/uploads/")
}

fn methods(calls: &[Call], of: impl Fn(&Call) -> bool) -> String {
    let methods = calls.iter().filter(|call| of(call)).map(|call| call.method.clone());
    methods.collect::<Vec<_>>().join(" ")
}

#[test]
fn an_image_over_a_registrys_base_is_the_one_over_the_same_layout() {
    let registry = Registry::start();
    let world = world(&registry);
    assert_eq!(world.build().check_success(), expected(&world));
    let requests = registry.take_requests();
    let blobs = requests.iter().filter(|request| request.contains("/blobs/")).count();
    assert_eq!((requests.len(), blobs), (4, 3), "{requests:#?}");
    // Nothing is asked again but the digest of the tag, and offline not even that.
    world.build().check_success();
    assert_eq!(registry.take_requests(), ["GET /v2/team/base/manifests/v1"]);
    let offline = world.run(&["build", "recipe.yaml", "--offline", "-o", "oci:offline"]);
    offline.check_success();
    assert!(registry.take_requests().is_empty());
}

#[test]
fn a_plan_downloads_the_layers_that_a_build_then_has() {
    let registry = Registry::start();
    let world = world(&registry);
    assert_eq!(world.run(&["plan", "recipe.yaml"]).code, 0);
    assert_eq!(registry.take_requests().len(), 4);
    world.build().check_success();
    assert_eq!(registry.take_requests(), ["GET /v2/team/base/manifests/v1"]);
}

#[test]
fn the_lock_holds_the_digest_of_a_tag_and_an_upgrade_moves_it() {
    let registry = Registry::start();
    let world = world(&registry);
    let first = world.build().check_success();
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let other = base().layer(Tar::new().file("etc/more", ""));
    let moved = registry.add("team/base", "v1", &other);
    registry.take_requests();

    for arguments in
        [&["build", "recipe.yaml", "--locked", "-o", "oci:a"][..], &["build", "recipe.yaml", "-o", "oci:b"]]
    {
        assert_eq!(world.run(arguments).check_success(), first);
    }
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    assert!(registry.take_requests().is_empty(), "a lock asks for no tag");
    let upgraded = world.run(&["lock", "recipe.yaml", "--upgrade=base"]);
    assert_eq!(upgraded.code, 0, "{upgraded}");
    assert!(upgraded.stderr.replace("\n  ", " ").contains(&format!("to {moved}")), "{upgraded}");
    assert_ne!(world.run(&["build", "recipe.yaml", "--locked", "-o", "oci:c"]).check_success(), first);

    // With an empty store the locked digest is fetched, not the tag.
    registry.add("team/base", "v1", &base());
    fs::remove_dir_all(world.store()).unwrap();
    registry.take_requests();
    assert_ne!(world.run(&["build", "recipe.yaml", "--locked", "-o", "oci:d"]).check_success(), first);
    assert!(registry.take_requests().iter().all(|request| !request.ends_with("/v1")));
}

#[test]
fn every_command_that_reads_an_image_takes_one_of_a_registry() {
    let registry = Registry::start();
    let world = world(&registry);
    let place = registry.place("team/base:v1");
    let bare = place.strip_prefix("docker://").unwrap().to_owned();
    let inspected = world.run(&["inspect", &bare]);
    assert!(inspected.code == 0 && inspected.stdout.contains("3.11"), "{inspected}");
    let layers = |world: &World| world.sound_blobs().len();
    // A manifest and a config: layers that are only looked into are not kept.
    assert_eq!(layers(&world), 2);
    let checked = world.run(&["check", &place]);
    assert_eq!(checked.code, 0, "{checked}");
    let difference = world.run(&["diff", &place, &bare]);
    assert_eq!((difference.code, difference.stdout.as_str()), (0, "nothing changed\n"), "{difference}");
    assert_eq!(world.run(&["check", &place, "--offline"]).code, 0);
    assert_eq!(layers(&world), 2);
    let blobs = |requests: Vec<String>| requests.iter().filter(|it| it.contains("/blobs/")).count();
    assert_eq!(blobs(registry.take_requests()), 3, "each layer and the config came once");

    fs::create_dir(world.path("images")).unwrap();
    let recorded = world.run(&["inspect", &place, "--record", "images/there.yaml"]);
    assert_eq!(recorded.code, 0, "{recorded}");
    let text = fs::read_to_string(world.path("images/there.yaml")).unwrap();
    assert!(text.starts_with(&format!("image: \"{bare}\"\ndigest: sha256:")), "{text}");
    world.write("recipe.yaml", "name: demo\nbase: there\npackages: [wholesome]\n");
    assert_eq!(world.build().check_success(), expected(&world));
}

#[test]
fn a_download_goes_on_where_its_connection_broke() {
    for command in ["build", "check"] {
        let cuts = AtomicUsize::new(0);
        let registry = Registry::twisted(move |call, content| {
            let reply = content.answer(call);
            let is_large = call.path.contains("/blobs/") && reply.body.len() > 150_000;
            (is_large && cuts.fetch_add(1, Ordering::SeqCst) < 2)
                .then_some(Reply { cut: Some(60_000), ..reply })
        });
        let world = world(&registry);
        match command {
            "build" => drop(world.build().check_success()),
            _ => assert_eq!(world.run(&["check", &registry.place("team/base:v1")]).code, 0),
        }
        let ranges: Vec<String> =
            registry.take_calls().iter().filter_map(|call| call.headers.get("range").cloned()).collect();
        assert_eq!(ranges, ["bytes=60000-", "bytes=120000-"], "{command}");
    }
}

#[test]
fn a_registry_that_serves_no_ranges_begins_again() {
    let cuts = AtomicUsize::new(0);
    let registry = Registry::twisted(move |call, content| {
        let mut call = call.clone();
        call.headers.remove("range");
        let reply = content.answer(&call);
        let is_large = call.path.contains("/blobs/") && reply.body.len() > 150_000;
        let is_cut = is_large && cuts.fetch_add(1, Ordering::SeqCst) == 0;
        Some(Reply { cut: is_cut.then_some(60_000), ..reply })
    });
    let world = world(&registry);
    assert_eq!(world.run(&["check", &registry.place("team/base:v1")]).code, 0);
}

#[test]
fn the_image_of_an_index_is_the_one_for_this_machine_and_its_least_variant() {
    let registry = Registry::start();
    let world = world(&registry);
    let of = |layer: &str, media_type: &str| {
        let image = Layout::new().layer(Tar::debian("").file("etc/which", layer));
        let digest = registry.add("team/base", layer, &image);
        json!({"mediaType": media_type, "digest": digest, "size": size(&registry, layer)})
    };
    let entry = |layer: &str, platform: Value| {
        let mut entry = of(layer, "application/vnd.oci.image.manifest.v1+json");
        entry["platform"] = platform;
        entry
    };
    let amd64 = |variant: &str| json!({"architecture": "amd64", "os": "linux", "variant": variant});
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
        "manifests": [
            entry("windows", json!({"architecture": "amd64", "os": "windows"})),
            entry("arm", json!({"architecture": "arm", "os": "linux", "variant": "v7"})),
            entry("three", amd64("v3")),
            entry("plain", json!({"architecture": "amd64", "os": "linux"})),
            entry("two", amd64("v2")),
        ],
    });
    let media_type = index["mediaType"].as_str().unwrap().to_owned();
    registry.content().put_manifest("team/base", "all", &media_type, index.to_string().into_bytes());
    registry.take_requests();
    let inspected = world.run(&["inspect", &registry.place("team/base:all")]);
    assert_eq!(inspected.code, 0, "{inspected}");
    let plain = registry.content().manifests[&("team/base".to_owned(), "plain".to_owned())].1.clone();
    let requests = registry.take_requests();
    assert_eq!(requests[1], format!("GET /v2/team/base/manifests/{}", Digest::of(&plain)), "{requests:#?}");
}

fn size(registry: &Registry, tag: &str) -> usize {
    registry.content().manifests[&("team/base".to_owned(), tag.to_owned())].1.len()
}

#[test]
fn documents_and_layers_of_docker_and_of_every_packing_are_read() {
    let registry = Registry::start();
    let world = World::new();
    for (tag, packing) in [("plain", Packing::Plain), ("gzip", Packing::Gzip), ("zstd", Packing::Zstd)] {
        registry.add("team/base", tag, &Layout::new().packed(&Tar::debian("").finish(), packing));
        assert_eq!(world.run(&["inspect", &registry.place(&format!("team/base:{tag}"))]).code, 0, "{tag}");
    }
    let docker = Layout::new().layer(Tar::debian("")).with(|image| {
        image.manifest["mediaType"] = json!("application/vnd.docker.distribution.manifest.v2+json");
        image.manifest["config"]["mediaType"] = json!("application/vnd.docker.container.image.v1+json");
        image.manifest["layers"][0]["mediaType"] = json!("application/vnd.docker.image.rootfs.diff.tar.gzip");
    });
    registry.add("team/base", "docker", &docker);
    assert_eq!(world.run(&["inspect", &registry.place("team/base:docker")]).code, 0);

    let refused = |tag: &str, image: &Layout, said: &[&str]| {
        registry.add("team/base", tag, image);
        world.run(&["inspect", &registry.place(&format!("team/base:{tag}"))]).check_failure(1, said);
    };
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let image = docker.clone().with(|image| image.manifest["layers"][0]["mediaType"] = json!(foreign));
    refused("foreign", &image, &["may not be distributed", foreign, "hint: "]);
    let schema_1 =
        json!({"schemaVersion": 1, "name": "team/base", "tag": "old", "fsLayers": [], "history": []});
    let media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    registry.content().put_manifest("team/base", "old", media_type, schema_1.to_string().into_bytes());
    world
        .run(&["inspect", &registry.place("team/base:old")])
        .check_failure(1, &["schema 1", "names no config", "hint: push the image again"]);
}

#[test]
fn what_a_registry_lies_about_is_not_believed() {
    let check = |twist: fn(&Call, Reply) -> Reply, said: &str| {
        let registry = Registry::twisted(move |call, content| {
            let reply = content.answer(call);
            Some(if call.method == "GET" { twist(call, reply) } else { reply })
        });
        let world = world(&registry);
        let outcome = world.build();
        world.check_failure(&outcome, 1, &[said, "hint: "]);
        assert!(!world.path("image").exists());
    };
    fn changed(call: &Call, reply: Reply, of: &str) -> Reply {
        let mut body = reply.body.clone();
        // Of blobs the layers: the config is small.
        if call.path.contains(of) && (of != "/blobs/" || body.len() > 1000) {
            let last = body.len() - 1;
            body[last] ^= 1;
        }
        Reply { body, ..reply }
    }
    check(|call, reply| changed(call, reply, "/manifests/"), "sent another document for");
    check(|call, reply| changed(call, reply, "/blobs/"), "wrong hash");
    check(
        |call, reply| match call.path.contains("/blobs/") && reply.body.len() > 1000 {
            true => Reply { body: reply.body[..1000].to_vec(), ..reply },
            false => reply,
        },
        "wrong size",
    );
    check(|_, _| Reply::error(404, "MANIFEST_UNKNOWN"), "does not have");
    check(
        |_, _| Reply::error(403, "DENIED"),
        "answered 403 Forbidden to pulling from `team/base`: DENIED: DENIED it is",
    );
}

#[test]
fn mirrors_are_asked_first_and_blocked_registries_never() {
    let (empty, mirror) = (Registry::start(), Registry::start());
    let world = world(&mirror);
    let configuration = format!(
        "[[registry]]\nprefix = \"registry.test/team\"\nlocation = \"{}/team\"\n[[registry.mirror]]\nlocation = \"{}/x\"\n\
         [[registry]]\nlocation = \"blocked.test\"\nblocked = true\n",
        mirror.host(),
        empty.host()
    );
    let file = world.write("registries.conf", configuration);
    let inspect = |name: &str| {
        let mut command = world.command(&["inspect", &format!("docker://{name}")]);
        crate::support::run(command.env("CONTAINERS_REGISTRIES_CONF", &file))
    };
    assert_eq!(inspect("registry.test/team/base:v1").code, 0);
    assert_eq!(empty.take_requests(), ["GET /v2/x/base/manifests/v1"]);
    assert_eq!(mirror.take_requests()[0], "GET /v2/team/base/manifests/v1");
    let blocked = inspect("blocked.test/a:v1");
    world.check_failure(&blocked, 1, &["`blocked.test/a:v1` is of a registry that this machine blocks"]);
    world.write("registries.conf", "registry = 7\n");
    let broken = inspect("registry.test/team/base:v1");
    world.check_failure(&broken, 1, &["registries.conf` cannot be used", "hint: mend the file"]);
}

#[test]
fn a_bases_layers_that_the_registry_has_are_neither_downloaded_nor_sent() {
    let registry = Registry::start();
    let world = world(&registry);
    // What the layers hold is learned from a stream.
    assert_eq!(world.run(&["inspect", &registry.place("team/base:v1")]).code, 0);
    registry.take_calls();
    push(&world, &registry, "other/out:v2").check_success();
    let calls = registry.take_calls();
    let downloaded =
        calls.iter().filter(|call| call.method == "GET" && call.path.contains("/blobs/")).count();
    let mounted = calls.iter().filter(|call| call.query.contains_key("mount")).count();
    assert_eq!((downloaded, mounted), (0, 2));
    // A place that has nothing gets them, and a layout all the same.
    let elsewhere = Registry::start();
    push(&world, &elsewhere, "team/out:v2").check_success();
    world.build().check_success();
}

#[test]
fn pushing_again_only_asks() {
    let registry = Registry::start();
    let world = world(&registry);
    let digest = push(&world, &registry, "team/out:v2").check_success();
    let (_, manifest) = registry.content().manifests[&("team/out".to_owned(), "v2".to_owned())].clone();
    assert_eq!(Digest::of(&manifest), digest);
    let calls = registry.take_calls();
    // The base's two layers come from the repository beside.
    assert_eq!(calls.iter().filter(|call| call.query.contains_key("mount")).count(), 2);
    let file = world.path("digest");
    let again = world.run(&[
        "build",
        "recipe.yaml",
        "-o",
        &registry.place("team/out:v2"),
        "-o",
        &registry.place("team/out:v3"),
        "--digest-file",
        file.to_str().unwrap(),
    ]);
    assert_eq!(again.check_success(), digest);
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{digest}\n"));
    let calls = registry.take_calls();
    let layers = serde_json::from_slice::<Value>(&manifest).unwrap()["layers"].as_array().unwrap().len();
    assert_eq!(
        methods(&calls, |call| call.path.contains("team/out/blobs")),
        ["HEAD"; 2].repeat(layers + 1).join(" ")
    );
    assert_eq!(methods(&calls, |call| call.path.contains("team/out/manifests")), "HEAD HEAD PUT");
    // Another repository gets everything by mounts, but for the manifest.
    let other = push(&world, &registry, "other/out:v1");
    assert_eq!(other.check_success(), digest);
    let calls = registry.take_calls();
    let posts = calls.iter().filter(|call| call.method == "POST");
    assert!(
        posts.clone().count() == layers + 1 && posts.into_iter().all(|call| call.query.contains_key("mount"))
    );
    assert_eq!(methods(&calls, |call| call.method == "PUT"), "PUT");
}

#[test]
fn whatever_a_mount_is_answered_the_blob_arrives() {
    for status in [202, 400, 401, 403, 404, 405] {
        let calls = check_push(move |call, content| {
            let mut plain = call.clone();
            match plain.query.remove("mount") {
                None => None,
                Some(_) if status == 202 => Some(content.answer(&plain)),
                Some(_) => Some(Reply::error(status, "UNSUPPORTED")),
            }
        });
        let posts = calls.iter().filter(|call| call.method == "POST" && is_upload(call)).count();
        let puts = calls.iter().filter(|call| call.method == "PUT" && is_upload(call)).count();
        // What a refused mount begins is used.
        assert_eq!(posts == puts, status == 202, "{status}: {posts} {puts}");
    }
}

#[test]
fn uploads_go_where_the_registry_says() {
    // Absolute, as most say it.
    check_push(|call, content| {
        let host = call.headers["host"].clone();
        let mut reply = content.answer(call);
        for (name, value) in &mut reply.headers {
            if name == "Location" {
                *value = format!("http://{host}{value}");
            }
        }
        Some(reply)
    });
    let registry = Registry::twisted(|call, _| (call.method == "POST").then(|| Reply::new(202)));
    let world = world(&registry);
    let outcome = push(&world, &registry, "team/out:v2");
    world.check_failure(&outcome, 1, &["does not say where to", "`team/out`", "hint: "]);
}

#[test]
fn large_requests_that_are_refused_are_sent_in_parts() {
    // A proxy that takes 4 MiB, as GHCR does of a PATCH.
    let limit = |call: &Call| call.body.len() > 4 << 20;
    let registry =
        Registry::twisted(move |call, _| limit(call).then(|| Reply::new(413).body("<html>too large</html>")));
    let world = World::new();
    large().write(&world.path("base"));
    world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [wholesome]\n");
    push(&world, &registry, "team/out:v2").check_success();
    let calls = registry.take_calls();
    let parts: Vec<&str> =
        calls.iter().filter_map(|call| call.headers.get("content-range")).map(String::as_str).collect();
    assert_eq!(parts.len(), 3, "{parts:?}");
    assert_eq!(&parts[..2], ["0-4194303", "4194304-8388607"]);

    let registry = Registry::twisted(move |call, _| {
        (is_upload(call) && call.body.len() > 1000).then(|| Reply::new(413))
    });
    let outcome = push(&world, &registry, "team/out:v2");
    world.check_failure(&outcome, 1, &["answered 413", "`team/out`", "hint: ", "max-size"]);
}

#[test]
fn registries_that_take_content_by_patch_alone_get_it_so() {
    let calls = check_push(|call, _| {
        let is_whole = call.method == "PUT" && is_upload(call) && !call.body.is_empty();
        is_whole.then(|| Reply::error(405, "UNSUPPORTED"))
    });
    assert!(calls.iter().any(|call| call.method == "PATCH" && !call.headers.contains_key("content-range")));
}

#[test]
fn large_blobs_are_sent_by_patch_and_by_put_where_that_is_refused() {
    for is_refused in [false, true] {
        let registry = Registry::twisted(move |call, _| {
            (is_refused && call.method == "PATCH").then(|| Reply::error(405, "UNSUPPORTED"))
        });
        let world = World::new();
        large().write(&world.path("base"));
        world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [wholesome]\n");
        push(&world, &registry, "team/out:v2").check_success();
        let calls = registry.take_calls();
        let patched = calls.iter().find(|call| call.method == "PATCH").unwrap();
        assert!(!patched.headers.contains_key("content-range"));
        let largest = calls.iter().filter(|call| call.method == "PUT").map(|call| call.body.len()).max();
        assert_eq!(largest > Some(4 << 20), is_refused);
    }
}

/// An image with a layer of 9.6 MB.
fn large() -> Layout {
    let noise: Vec<u8> =
        (0..300_000_u32).flat_map(|number| *Digest::of(number.to_le_bytes()).bytes()).collect();
    let noise = Tar::new().file("srv/noise", noise).finish();
    Layout::new().layer(Tar::debian("")).packed(&noise, Packing::Plain)
}

#[test]
fn an_upload_goes_on_where_its_connection_broke() {
    let begun = AtomicUsize::new(0);
    let calls = check_push(move |call, content| {
        // No mounts: the large layer is sent, and the connection breaks in its midst.
        if call.query.contains_key("mount") {
            return Some(Reply::new(405));
        }
        if call.method == "POST" && begun.fetch_add(1, Ordering::SeqCst) == 0 {
            content.cut_upload = Some(50_000);
        }
        None
    });
    let ranges: Vec<&String> = calls.iter().filter_map(|call| call.headers.get("content-range")).collect();
    assert!(ranges.len() == 1 && ranges[0].starts_with("50000-"), "{ranges:?}");
    // Nothing that arrived is sent again.
    let sent: usize = calls.iter().filter(|call| is_upload(call)).map(|call| call.body.len()).sum();
    let manifest: Value = serde_json::from_slice(&calls.last().unwrap().body).unwrap();
    let parts = manifest["layers"].as_array().unwrap().iter().chain([&manifest["config"]]);
    let size: u64 = parts.map(|part| part["size"].as_u64().unwrap()).sum();
    assert_eq!(sent as u64, size);
}

#[test]
fn an_upload_that_the_registry_forgot_is_begun_again() {
    let forgotten = AtomicUsize::new(0);
    check_push(move |call, _| {
        let is_put = call.method == "PUT" && is_upload(call);
        (is_put && forgotten.fetch_add(1, Ordering::SeqCst) < 2)
            .then(|| Reply::error(404, "BLOB_UPLOAD_UNKNOWN"))
    });
}

#[test]
fn busy_registries_are_waited_for() {
    let answers = [
        Reply::error(429, "TOOMANYREQUESTS"),
        Reply::new(503),
        Reply::new(502),
        Reply::error(403, "DENIED").body("You have exceeded a secondary rate limit"),
    ];
    for answer in answers {
        let count = AtomicUsize::new(0);
        check_push(move |_, _| {
            let is_busy = count.fetch_add(1, Ordering::SeqCst) % 3 == 1;
            is_busy.then(|| answer.clone().with("Retry-After", "0"))
        });
    }
}

#[test]
fn a_registry_that_lacks_what_it_said_to_have_gets_it() {
    check_push(|call, content| {
        // It has everything, it says.
        let is_head = call.method == "HEAD" && call.path.contains("/blobs/");
        (is_head && !content.manifests.contains_key(&("x".into(), "x".into()))).then(|| Reply::new(200))
    });
}

#[test]
fn a_tag_never_names_what_is_not_there() {
    let registry = Registry::twisted(|call, _| {
        (call.method == "PUT" && is_upload(call)).then(|| Reply::error(400, "DIGEST_INVALID"))
    });
    let world = world(&registry);
    let outcome = push(&world, &registry, "team/out:v2");
    world.check_failure(&outcome, 1, &["answered 400", "DIGEST_INVALID", "`team/out`", "hint: "]);
    assert!(!registry.content().manifests.contains_key(&("team/out".to_owned(), "v2".to_owned())));
    let check = |status: u16, code: &'static str, said: &str| {
        let registry = Registry::twisted(move |call, _| {
            (call.method == "POST" && call.path.contains("team/out")).then(|| Reply::error(status, code))
        });
        registry.add("team/base", "v1", &base());
        let world = self::world(&registry);
        let outcome = push(&world, &registry, "team/out:v2");
        world.check_failure(&outcome, 1, &[&format!("answered {status}"), "`team/out`", said]);
    };
    check(403, "DENIED", "right to push");
    check(404, "NAME_UNKNOWN", "create the repository `team/out`");
    check(401, "UNAUTHORIZED", "log in with `docker login 127.0.0.1:");
}

/// A registry with a token server, which lets everyone pull from `team/base` and `me` do everything; tokens are good for
/// `uses` requests each.
fn with_tokens(uses: usize) -> Registry {
    let given = AtomicUsize::new(0);
    let used = std::sync::Mutex::new(std::collections::BTreeMap::<String, usize>::new());
    Registry::twisted(move |call, _| {
        let authorization = call.headers.get("authorization").map(String::as_str).unwrap_or_default();
        let is_me = authorization == format!("Basic {}", base64_of("me:s3cret"));
        let host = &call.headers["host"];
        if call.path == "/token" {
            let refreshed = String::from_utf8_lossy(&call.body).contains("refresh_token=s3cret");
            let may_push = is_me || refreshed;
            if !may_push
                && (call.query.get("scope").is_none_or(|scope| scope != "repository:team/base:pull")
                    || !authorization.is_empty())
            {
                return Some(Reply::new(401).body(r#"{"details":"incorrect username or password"}"#));
            }
            let token = format!("token-{may_push}-{}", given.fetch_add(1, Ordering::SeqCst));
            return Some(Reply::new(200).body(json!({"token": token, "expires_in": 300}).to_string()));
        }
        let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\",scope=\"\"");
        let refused = Reply::error(401, "UNAUTHORIZED").with("WWW-Authenticate", challenge);
        let Some(token) = authorization.strip_prefix("Bearer ") else { return Some(refused) };
        let mut used = used.lock().unwrap();
        let count = used.entry(token.to_owned()).or_default();
        *count += 1;
        let is_pull = call.path.contains("team/base") && matches!(call.method.as_str(), "GET" | "HEAD");
        let may = token.starts_with("token-true") || is_pull;
        (*count > uses || !may).then_some(refused)
    })
}

fn base64_of(text: &str) -> String {
    // The helper's alphabet is that of URLs, which these do not differ in; the padding is left out there.
    let encoded = base64(text.as_bytes());
    let padding = "=".repeat((4 - encoded.len() % 4) % 4);
    encoded + &padding
}

/// Writes docker's file of logins.
fn log_in(world: &World, document: &Value) {
    fs::create_dir_all(world.path(".docker")).unwrap();
    world.write(".docker/config.json", document.to_string());
}

#[test]
fn tokens_are_got_with_the_logins_of_docker_and_podman_and_renewed() {
    for uses in [1000, 5] {
        let registry = with_tokens(uses);
        let world = world(&registry);
        // Everyone may pull.
        world.build().check_success();
        let outcome = push(&world, &registry, "team/out:v2");
        world.check_failure(&outcome, 1, &["answered 401", "`team/out`", "hint: log in with `docker login"]);
        let wrong = json!({"auths": {registry.host(): {"auth": base64_of("me:wrong")}}});
        log_in(&world, &wrong);
        let outcome = push(&world, &registry, "team/out:v2");
        world.check_failure(&outcome, 1, &["answered 401", "incorrect username or password", "log in again"]);
        assert!(!outcome.stderr.contains("wrong"), "{outcome}");
        let path_scoped = json!({"auths": {
            registry.host(): {"auth": base64_of("me:wrong")},
            format!("{}/team", registry.host()): {"auth": base64_of("me:s3cret")},
        }});
        log_in(&world, &path_scoped);
        let pushed = push(&world, &registry, "team/out:v2");
        assert_eq!(pushed.check_success(), expected(&world));
        assert!(!format!("{pushed}").contains("s3cret"));
    }
}

#[test]
fn identity_tokens_and_helpers_are_asked() {
    let registry = with_tokens(1000);
    let world = world(&registry);
    log_in(&world, &json!({"auths": {registry.host(): {"identitytoken": "s3cret"}}}));
    push(&world, &registry, "team/one:v2").check_success();

    fs::create_dir(world.path("bin")).unwrap();
    let helper = world.write(
        "bin/docker-credential-test",
        "#!/bin/sh\nread -r server\n[ \"$1 $server\" = \"get $REGISTRY\" ] || { echo credentials not found in native keychain; exit 1; }\n\
         echo '{\"Username\":\"me\",\"Secret\":\"s3cret\"}'\n",
    );
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    for document in [
        json!({"credHelpers": {registry.host(): "test"}}),
        json!({"credsStore": "test", "auths": {registry.host(): {}}}),
    ] {
        log_in(&world, &document);
        let mut command = world.command(&["build", "recipe.yaml", "-o", &registry.place("team/two:v2")]);
        command
            .env("PATH", format!("{}:/usr/bin:/bin", world.path("bin").display()))
            .env("REGISTRY", registry.host());
        crate::support::run(&mut command).check_success();
    }
    log_in(&world, &json!({"credsStore": "missing"}));
    let outcome = push(&world, &registry, "team/three:v2");
    world.check_failure(&outcome, 1, &["docker-credential-missing", "hint: install it, or remove it from"]);
}

#[test]
fn passwords_are_shown_to_the_registry_alone() {
    let elsewhere = Registry::start();
    let target = elsewhere.host();
    let registry = Registry::twisted(move |call, content| {
        let is_me = call.headers.get("authorization") == Some(&format!("Basic {}", base64_of("me:s3cret")));
        if !is_me {
            return Some(Reply::new(401).with("WWW-Authenticate", "Basic realm=\"x\""));
        }
        let is_layer = call.method == "GET" && call.path.contains("/blobs/");
        is_layer.then(|| {
            // Layers are elsewhere, as in most clouds.
            let reply = content.answer(call);
            let location = format!("http://{target}{}", call.path);
            Reply::new(307).with("Location", location).body(reply.body)
        })
    });
    let world = world(&registry);
    elsewhere.add("team/base", "v1", &base());
    let outcome = world.build();
    world.check_failure(&outcome, 1, &["answered 401", "hint: log in"]);
    log_in(&world, &json!({"auths": {registry.host(): {"auth": base64_of("me:s3cret")}}}));
    world.build().check_success();
    let calls = elsewhere.take_calls();
    assert!(
        calls.len() == 3 && calls.iter().all(|call| !call.headers.contains_key("authorization")),
        "{calls:#?}"
    );
}

#[test]
fn a_descriptor_that_lies_is_no_reason_to_read_without_end() {
    let registry = Registry::start();
    let world = World::new();
    let blob = vec![7; 4_000_000];
    let mut layer = descriptor("application/vnd.oci.image.layer.v1.tar", &blob);
    layer["size"] = json!(1000);
    let image = Layout::new().blob("application/vnd.oci.image.layer.v1.tar", &blob, blob.clone());
    let image = image.with(|image| image.manifest["layers"] = json!([layer]));
    registry.add("team/base", "v1", &image);
    let outcome = world.run(&["inspect", &registry.place("team/base:v1")]);
    world.check_failure(&outcome, 1, &["should have 1000 bytes, and has more"]);
}

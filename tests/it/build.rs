//! A build does what its recipe says, the same every time.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::support::debian::{File, Package};
use crate::support::image::Image;
use crate::support::server::Resource;
use crate::support::wheel::Wheel;
use crate::support::{World, run, sound_blobs};

const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";

/// Two wheels, one of which needs the other, with something for every scheme.
fn two_wheels() -> World {
    let mut world = World::new();
    world.publish(Wheel::new("helper", "2.5").file("helper.py", "def help(): pass\n"));
    world.publish(
        Wheel::new("demo", "1.0")
            .requires("helper>=2")
            .entry_points("[console_scripts]\ndemo-run = demo.cli:main\n")
            .file("demo/__init__.py", "import helper\n")
            .file("demo/cli.py", "def main(): return 0\n")
            .file("demo/empty.txt", "")
            .executable("demo/tool", "#!/bin/sh\n")
            .file("demo-1.0.data/scripts/demo-old", "#!python\nprint('old')\n")
            .file("demo-1.0.data/data/share/demo.txt", "shared\n"),
    );
    world.recipe("packages: [demo]\nconfig: {workdir: /content}\n");
    world
}

#[test]
fn cuda_is_found_in_a_debian_base_with_a_second_python() {
    let mut world = World::new();
    let interpreter = |path| vec![File::Library(path, "python")];
    let package = |name, version, files| Package { name, version, fields: "Depends: libc6\n", files };
    world.archive.packages[4].files = interpreter("usr/bin/python3.11");
    world.archive.packages.extend([
        package("python3.12-minimal", "3.12.3-1", interpreter("usr/bin/python3.12")),
        package(
            "cuda-cudart-12-2",
            "12.2.140-1",
            vec![File::Library(
                "usr/local/cuda-12.2/targets/x86_64-linux/lib/libcudart.so.12",
                "libcudart.so.12",
            )],
        ),
    ]);
    world.serve_archive();
    let recipe = fs::read_to_string(world.recipe("packages: [wholesome]\n")).unwrap();
    let packages = "packages: [python3, python3.12-minimal, cuda-cudart-12-2]";
    world.write("recipe.yaml", recipe.replace("packages: [python3]", packages));
    let outcome = world.run(&["plan", "recipe.yaml"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    assert!(outcome.stdout.contains("Python     3.11.2"), "{outcome}");
}

#[test]
fn the_layers_contain_what_the_wheels_and_packages_do() {
    let world = two_wheels();
    world.build().check_success();
    sound_blobs(&world.path("image"));
    let image = Image::read(&world.path("image"));

    assert_eq!(image.text(&format!("{PACKAGES}/helper.py")), "def help(): pass\n");
    assert_eq!(image.text(&format!("{PACKAGES}/demo/empty.txt")), "");
    assert_eq!(image.file(&format!("{PACKAGES}/demo/cli.py")).mode, 0o644);
    assert_eq!(image.file(&format!("{PACKAGES}/demo/tool")).mode, 0o755);
    assert_eq!(image.text("usr/local/share/demo.txt"), "shared\n");
    assert_eq!(image.text("usr/local/bin/demo-old"), "#!/usr/bin/python3\nprint('old')\n");
    let launcher = image.file("usr/local/bin/demo-run");
    assert_eq!(launcher.mode, 0o755);
    assert!(launcher.content.starts_with(b"#!/usr/bin/python3\n"));

    let dist_info = format!("{PACKAGES}/demo-1.0.dist-info");
    assert_eq!(image.text(&format!("{dist_info}/INSTALLER")), "imgforge\n");
    assert_eq!(image.text(&format!("{dist_info}/REQUESTED")), "");
    assert!(!image.files.contains_key(&format!("{PACKAGES}/helper-2.5.dist-info/REQUESTED")));
    image.check_record(&dist_info);
    image.check_record(&format!("{PACKAGES}/helper-2.5.dist-info"));

    assert_eq!(image.file("usr/bin/python3").target.as_deref(), Some("python3.11"));
    assert_eq!(image.file("usr/local/bin/python").target.as_deref(), Some("/usr/bin/python3"));
    assert_eq!(image.file("usr/bin/python3.11").mode, 0o755);
    assert_eq!(image.file("content").kind, tar::EntryType::Directory);
    assert!(image.text("var/lib/dpkg/status").contains("Package: python3.11-minimal\n"));
    assert!(image.file("etc/ld.so.cache").content.starts_with(b"glibc-ld.so.cache1.1"));
    assert_eq!(image.whiteouts, ["usr/lib/python3.11/EXTERNALLY-MANAGED"]);
}

#[test]
fn the_config_describes_every_layer() {
    let world = two_wheels();
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!(image.config["architecture"], "amd64");
    assert_eq!(image.config["config"]["WorkingDir"], "/content");
    assert_eq!(image.config["created"], "2024-05-06T07:08:09Z");
    assert_eq!(image.config["history"].as_array().unwrap().len(), image.layers);
    assert_eq!(image.config["rootfs"]["diff_ids"].as_array().unwrap().len(), image.layers);
}

#[test]
fn the_form_of_the_layers_changes_no_file() {
    let world = two_wheels();
    let build = |layers: &str| {
        world.recipe(&format!("packages: [demo]\nlayers: {layers}\n"));
        let outcome =
            run(&mut world.command(&["build", "recipe.yaml", "-o", "oci:image", "-o", "oci-archive:a.tar"]));
        outcome.check_success();
        let warned = outcome.stderr.contains("Docker before 23 does not load layers of zstd");
        assert_eq!(warned, layers.contains("zstd"), "{}", outcome.stderr);
        let mut files = Image::read(&world.path("image")).files;
        for own in ["stargz.index.json", ".no.prefetch.landmark", ".prefetch.landmark"] {
            assert_eq!(
                files.remove(own).is_some(),
                layers.contains("estargz") && !own.starts_with(".prefetch")
            );
        }
        files
    };
    let files = build("{compression: gzip}");
    for layers in ["{compression: zstd}", "{compression: \"zstd:9\"}", "{compression: estargz}"] {
        assert!(build(layers) == files, "{layers}");
    }
}

#[test]
fn a_recipe_may_keep_the_externally_managed_marker() {
    let world = two_wheels();
    world.recipe("packages: [demo]\npython: {externally-managed: keep}\n");
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert!(image.files.contains_key("usr/lib/python3.11/EXTERNALLY-MANAGED"));
    assert!(image.whiteouts.is_empty());
}

#[test]
fn a_second_build_gives_the_same_digest_and_writes_no_blob() {
    let world = two_wheels();
    let first = world.build().check_success();
    let blobs = world.sound_blobs();
    world.server.take_requests();
    assert_eq!(world.build().check_success(), first);
    assert_eq!(world.sound_blobs(), blobs);
    let downloads: Vec<String> = world
        .server
        .take_requests()
        .into_iter()
        .filter(|request| request.contains("/files/") || request.contains("/pool/"))
        .collect();
    assert!(downloads.is_empty(), "{downloads:?}");
}

#[test]
fn threads_and_an_empty_store_do_not_change_the_digest() {
    let world = two_wheels();
    let first = world.build().check_success();
    for threads in ["1", "7"] {
        let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:again"]);
        command.env("IMGFORGE_THREADS", threads).env("IMGFORGE_CACHE_DIR", world.path(threads));
        assert_eq!(run(&mut command).check_success(), first, "{threads} threads");
    }
}

#[test]
fn two_builds_at_once_share_a_store() {
    let world = two_wheels();
    let start = |image: &str| {
        let mut command = world.command(&["build", "recipe.yaml", "-o", image]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let builds = ["oci:a", "oci:b", "oci:c"].map(start);
    let digests = builds.map(|build| {
        let output = build.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    });
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
    world.sound_blobs();
}

#[test]
fn a_page_in_html_gives_the_same_image_as_one_in_json() {
    let mut world = two_wheels();
    let first = world.build().check_success();
    let wheel = world.publish(Wheel::new("helper", "2.5").file("helper.py", "def help(): pass\n"));
    let digest = imgforge::oci::Digest::of(&wheel.bytes).hex();
    world.server.set(
        "/simple/helper/",
        Resource::html(&format!(
            "<!DOCTYPE html><a href=\"../../files/{0}#sha256={digest}\">{0}</a>",
            wheel.filename
        )),
    );
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:html"]);
    command.env("IMGFORGE_CACHE_DIR", world.path("empty"));
    assert_eq!(run(&mut command).check_success(), first);
}

#[test]
fn an_offline_build_needs_only_the_store() {
    let world = two_wheels();
    let first = world.build().check_success();
    world.server.take_requests();
    let offline = ["build", "recipe.yaml", "--offline", "-o", "oci:image"];
    assert_eq!(world.run(&offline).check_success(), first);
    assert_eq!(world.server.take_requests(), Vec::<String>::new());
}

#[test]
fn an_offline_build_says_what_is_missing() {
    let world = two_wheels();
    let offline = ["build", "recipe.yaml", "--offline", "-o", "oci:image"];
    let outcome = world.run(&offline);
    world.check_failure(
        &outcome,
        1,
        &[
            "/dists/bookworm/InRelease",
            "offline",
            "once without `--offline`: what it fetches stays in the store",
        ],
    );

    world.recipe("packages: [helper]\n");
    world.build().check_success();
    world.recipe("packages: [demo]\n");
    let outcome = world.run(&offline);
    world.check_failure(
        &outcome,
        1,
        &["/simple/demo/", "offline", "once without `--offline`: what it fetches stays in the store"],
    );

    world.run(&["plan", "recipe.yaml"]);
    let outcome = world.run(&offline);
    world.check_failure(
        &outcome,
        1,
        &[
            "demo-1.0-py3-none-any.whl",
            "offline",
            "once without `--offline`: what it fetches stays in the store",
        ],
    );
}

#[test]
fn one_build_publishes_at_several_destinations() {
    let world = two_wheels();
    let arguments =
        ["build", "recipe.yaml", "-o", "oci:a", "-o", "oci-archive:b.tar:v2", "-o", "oci:a:other"];
    let digest = world.run(&arguments).check_success();

    let index: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path("a/index.json")).unwrap()).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let digests: Vec<_> = manifests.iter().map(|manifest| manifest["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [digest.to_string(), digest.to_string()]);

    let mut archive = tar::Archive::new(fs::File::open(world.path("b.tar")).unwrap());
    archive.unpack(world.path("b")).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path("b/manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest[0]["RepoTags"], json!(["demo:v2"]));
    for layer in manifest[0]["Layers"].as_array().unwrap() {
        assert!(world.path("b").join(layer.as_str().unwrap()).exists(), "{layer}");
    }
    assert_eq!(sound_blobs(&world.path("b")), sound_blobs(&world.path("a")));
    assert_eq!(Image::read(&world.path("b")).files, Image::read(&world.path("a")).files);
}

#[test]
fn the_default_destination_is_named_after_the_image() {
    let world = two_wheels();
    world.run(&["build", "recipe.yaml"]).check_success();
    assert!(world.path("out/demo/index.json").exists());
}

/// A framework that pins its CUDA, another that pins a newer one behind an extra, and both versions of each part.
fn two_frameworks() -> World {
    let mut world = World::new();
    for (version, cuda) in [("12.4.5.8", "12.4.127"), ("12.5.3.2", "12.5.82")] {
        world.publish(
            Wheel::new("nvidia-cublas-cu12", version)
                .tag("py3-none-manylinux2014_x86_64")
                .file("nvidia/__init__.py", "")
                .file("nvidia/cublas/__init__.py", "")
                .file("nvidia/cublas/include/cublas.h", "// cublas\n")
                .executable("nvidia/cublas/lib/libcublas.so.12", version),
        );
        world.publish(
            Wheel::new("nvidia-cuda-runtime-cu12", cuda)
                .tag("py3-none-manylinux2014_x86_64")
                .file("nvidia/cuda_runtime/lib/libcudart.so.12", cuda),
        );
    }
    world.publish(
        Wheel::new("torch", "2.6.0")
            .requires("nvidia-cublas-cu12==12.4.5.8; platform_system == 'Linux'")
            .requires("nvidia-cuda-runtime-cu12==12.4.127; platform_system == 'Linux'")
            .file("torch/__init__.py", "import ctypes\n"),
    );
    world.publish(
        Wheel::new("tensorflow", "2.18.0")
            .extra("and-cuda")
            .requires("nvidia-cublas-cu12==12.5.3.2; extra == 'and-cuda'")
            .requires("nvidia-cuda-runtime-cu12==12.5.82; extra == 'and-cuda'")
            .file("tensorflow/__init__.py", "import ctypes\n"),
    );
    world.recipe("frameworks: {torch: 2.6.0, tensorflow: 2.18.0}\n");
    world
}

#[test]
fn frameworks_share_one_cuda_in_the_system_tree() {
    let world = two_frameworks();
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    let lib = "usr/local/cuda-12.5/targets/x86_64-linux/lib";
    assert_eq!(image.text(&format!("{lib}/libcublas.so.12")), "12.5.3.2");
    assert_eq!(image.text(&format!("{lib}/libcudart.so.12")), "12.5.82");
    assert_eq!(image.file(&format!("{lib}/libcublas.so")).target.as_deref(), Some("libcublas.so.12"));
    assert_eq!(image.text("usr/local/cuda-12.5/targets/x86_64-linux/include/cublas.h"), "// cublas\n");
    assert_eq!(image.file("usr/local/cuda").kind, tar::EntryType::Symlink);
    let below_nvidia =
        image.files.iter().filter(|(path, _)| path.starts_with(&format!("{PACKAGES}/nvidia/")));
    let private: Vec<_> =
        below_nvidia.filter(|(_, file)| file.kind == tar::EntryType::Regular).map(|(path, _)| path).collect();
    assert!(private.is_empty(), "{private:?}");
    let link = image.file(&format!("{PACKAGES}/nvidia/cublas/lib"));
    let target = format!("../../../../../{}", lib.strip_prefix("usr/local/").unwrap());
    assert_eq!(link.target, Some(target));
    let environment = image.config["config"]["Env"].to_string();
    assert!(environment.contains("CUDA_HOME=/usr/local/cuda"), "{environment}");
}

#[test]
fn pins_on_shared_components_are_relaxed_where_pip_reads_them() {
    let world = two_frameworks();
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    for (dist_info, relaxed) in [
        ("torch-2.6.0.dist-info", "nvidia-cublas-cu12>=12.4.5.8,<13"),
        ("tensorflow-2.18.0.dist-info", "nvidia-cublas-cu12>=12.5.3.2,<13"),
    ] {
        let dist_info = format!("{PACKAGES}/{dist_info}");
        let metadata = image.text(&format!("{dist_info}/METADATA"));
        assert!(metadata.contains(relaxed), "{metadata}");
        assert!(!metadata.contains("cu12=="), "{metadata}");
        image.check_record(&dist_info);
    }
    for component in ["nvidia_cublas_cu12-12.5.3.2", "nvidia_cuda_runtime_cu12-12.5.82"] {
        image.check_record(&format!("{PACKAGES}/{component}.dist-info"));
    }
}

#[test]
fn a_plan_says_who_decides_and_writes_no_layer() {
    let world = two_frameworks();
    let outcome = world.run(&["plan", "recipe.yaml", "--wide"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let row = outcome.stdout.lines().find(|line| line.starts_with("cublas ")).unwrap();
    assert!(row.contains("12.5.3.2") && row.contains("tensorflow 2.18.0 (==12.5.3.2)"), "{row}");
    assert!(row.contains("torch 2.6.0 (==12.4.5.8)"), "{row}");
    assert!(!world.server.take_requests().iter().any(|request| request.contains(".deb")));

    let plan = world.run(&["plan", "recipe.yaml", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["trees"][0]["path"], "/usr/local/cuda-12.5");
}

#[test]
fn a_component_larger_than_a_layer_may_be_is_cut_by_its_files() {
    let mut world = World::new();
    let library = |letter: &str, count| letter.repeat(count);
    world.publish(
        Wheel::new("nvidia-cublas-cu12", "12.4.5.8")
            .tag("py3-none-manylinux2014_x86_64")
            .file("nvidia/cublas/include/cublas.h", "// cublas\n")
            .file("nvidia/cublas/lib/libcublas.so.12", library("a", 300_000))
            .file("nvidia/cublas/lib/libcublasLt.so.12", library("b", 500_000)),
    );
    world.publish(
        Wheel::new("nvidia-cuda-runtime-cu12", "12.4.127")
            .tag("py3-none-manylinux2014_x86_64")
            .file("nvidia/cuda_runtime/lib/libcudart.so.12", "12.4.127"),
    );
    world.publish(
        Wheel::new("torch", "2.6.0")
            .requires("nvidia-cublas-cu12==12.4.5.8")
            .requires("nvidia-cuda-runtime-cu12==12.4.127")
            .file("torch/__init__.py", ""),
    );
    world.recipe("frameworks: {torch: 2.6.0}\nlayers: {max-size: 600kB}\n");
    let outcome = world.build();
    let first = outcome.check_success();
    let begun = outcome.stderr.lines().filter(|line| line.starts_with("downloading nvidia_cublas"));
    assert_eq!(begun.count(), 1, "both parts wait for one download: {outcome}");
    let image = Image::read(&world.path("image"));
    let lib = "usr/local/cuda-12.4/targets/x86_64-linux/lib";
    assert_eq!(image.text(&format!("{lib}/libcublas.so.12")), library("a", 300_000));
    assert_eq!(image.text(&format!("{lib}/libcublasLt.so.12")), library("b", 500_000));
    image.check_record(&format!("{PACKAGES}/nvidia_cublas_cu12-12.4.5.8.dist-info"));
    let history = image.config["history"].to_string();
    for part in ["part 1 of 2", "part 2 of 2"] {
        assert!(history.contains(&format!("nvidia-cublas-cu12 12.4.5.8, {part}")), "{history}");
    }
    assert_eq!(world.build().check_success(), first);
}

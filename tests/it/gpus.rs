//! The GPUs and drivers that an image runs on are known: what it is compiled for, and what it lacks.

use serde_json::{Value, json};

use crate::support::elf::library;
use crate::support::gpu::{cubin, fatbin, ptx_image, sass_image};
use crate::support::image::Image;
use crate::support::layout::{Layout, Tar};
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World};

const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";
const LINUX: &str = "cp311-cp311-manylinux_2_17_x86_64";

/// A library with machine code for these architectures, and PTX for these.
fn compiled(soname: &str, sass: &[(u32, &str)], ptx: &[u32]) -> Vec<u8> {
    let sass = sass.iter().map(|(architecture, suffix)| sass_image(*architecture, suffix, 500));
    let ptx = ptx.iter().map(|architecture| ptx_image(*architecture, (8, 4), 100));
    library(soname, &fatbin(&sass.chain(ptx).collect::<Vec<_>>()))
}

/// Debian with the distribution `demo`, and these files of it.
fn image(files: &[(&str, Vec<u8>)]) -> Layout {
    let info = format!("{PACKAGES}/demo-1.0.dist-info");
    let rows: String = files.iter().map(|(path, _)| format!("{path},,\n")).collect();
    let tar = Tar::debian("")
        .file(&format!("{info}/METADATA"), "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n")
        .file(&format!("{info}/WHEEL"), format!("Wheel-Version: 1.0\nTag: {LINUX}\n"))
        .file(&format!("{info}/RECORD"), rows + "demo-1.0.dist-info/METADATA,,\n");
    let add = |tar: Tar, (path, bytes): &(&str, Vec<u8>)| tar.file(&format!("{PACKAGES}/{path}"), bytes);
    Layout::new().layer(files.iter().fold(tar, add))
}

/// The support in the JSON of a command on the image.
fn support(files: &[(&str, Vec<u8>)], command: &str) -> (String, Value) {
    let world = World::new();
    image(files).write(&world.path("image"));
    let text = world.run(&[command, "oci:image"]);
    let json = world.run(&[command, "oci:image", "--json"]);
    let json: Value = serde_json::from_str(&json.stdout).unwrap_or_else(|_| panic!("{json}"));
    (text.stdout, json["gpus"].clone())
}

#[test]
fn an_image_says_what_it_is_compiled_for() {
    let torch = compiled("libdemo.so", &[(75, ""), (80, ""), (90, ""), (90, "a"), (100, "f")], &[]);
    for (files, line) in [
        (
            vec![("demo/libdemo.so", torch)],
            "demo 1.0: compiled for 7.5 8.0 9.0 9.0a 10.0f; PTX for newer: no",
        ),
        (
            vec![
                ("demo/a.so", compiled("a.so", &[(50, "")], &[])),
                ("demo/b.so", compiled("b.so", &[], &[120])),
            ],
            "demo 1.0: compiled for 5.0; PTX for newer: yes",
        ),
        (vec![("demo/kernels/gemm.cubin", cubin(90))], "demo 1.0: compiled for 9.0; PTX for newer: no"),
        (
            vec![
                ("demo/gemm.fatbin", fatbin(&[sass_image(86, "", 9)])),
                ("demo/x.ptx", b".version 8.4\n.target sm_70\n".to_vec()),
            ],
            "demo 1.0: compiled for 8.6; PTX for newer: yes",
        ),
        (vec![("demo/plain.so", library("plain.so", b"no code"))], "no code for GPUs"),
    ] {
        for command in ["inspect", "check"] {
            let (text, _) = support(&files, command);
            assert!(text.lines().any(|told| told == line), "{command} does not say `{line}`:\n{text}");
        }
    }
}

#[test]
fn what_an_image_is_compiled_for_is_data() {
    let files = [("demo/libdemo.so", compiled("libdemo.so", &[(90, "a")], &[90]))];
    let expected = json!({
        "code": [{
            "owner": {"distribution": {"name": "demo", "version": "1.0"}},
            "compiled_for": ["9.0a"],
            "ptx_for_newer": true,
            "libraries": [{
                "path": format!("/{PACKAGES}/demo/libdemo.so"),
                "images": [
                    {"place": "linked", "form": "sass", "target": "9.0a", "ptx": null, "count": 1},
                    {"place": "linked", "form": "ptx", "target": "9.0", "ptx": "8.4", "count": 1},
                ],
            }],
            "more_libraries": 0,
        }],
        // A runtime that is linked into the library tells no version, its PTX does.
        "driver": {"lowest": "525.60.13", "because": {"major": 12}, "for_newer_gpus": "550.54.14"},
    });
    for command in ["inspect", "check"] {
        assert_eq!(support(&files, command).1, expected, "{command}");
    }
    assert_eq!(support(&[], "check").1, json!({"code": [], "driver": null}));
}

/// The findings of a check for these GPUs, notes left out: `error missing-gpu …`.
fn findings(files: &[(&str, Vec<u8>)], options: &[&str]) -> (i32, Vec<Value>) {
    let world = World::new();
    image(files).write(&world.path("image"));
    let outcome = world.run(&[&["check", "oci:image", "--json"], options].concat());
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}"));
    let all = report["findings"].as_array().unwrap().iter();
    (outcome.code, all.filter(|finding| finding["level"] != "note").cloned().collect())
}

#[test]
fn a_gpu_that_nothing_is_compiled_for_is_an_error() {
    let files = [("demo/libdemo.so", compiled("libdemo.so", &[(75, ""), (80, ""), (90, "a")], &[]))];
    for (options, lacking) in [
        (&["--gpu", "T4,A100", "--gpu", "H100"][..], &[][..]),
        (&["--gpu", "V100"], &["V100 (7.0)"]),
        (&["--gpu", "RTX 4090,B200,12.0"], &["12.0", "B200 (10.0)"]),
    ] {
        let (code, findings) = findings(&files, options);
        let told: Vec<&str> = findings.iter().filter_map(|it| it["seen"].as_str()).collect();
        assert_eq!(told.len(), lacking.len(), "{told:?}");
        for (told, gpu) in told.iter().zip(lacking) {
            let expected = format!(
                "/{PACKAGES}/demo/libdemo.so is compiled for 7.5 8.0 9.0a; PTX for newer: no: {gpu} does not run it"
            );
            assert_eq!(*told, expected);
        }
        assert_eq!(code, i32::from(!lacking.is_empty()));
        assert!(findings.iter().all(|it| it["subject"] == "demo 1.0" && it["rule"] == "missing-gpu"));
    }
}

#[test]
fn a_driver_that_cannot_compile_the_only_code_for_a_gpu_is_an_error() {
    let files = [("demo/libdemo.so", compiled("libdemo.so", &[(75, "")], &[75]))];
    assert_eq!(findings(&files, &["--gpu", "T4", "--driver", "535.86.10"]).1, [] as [Value; 0]);
    assert_eq!(findings(&files, &["--gpu", "H100", "--driver", "550.54.15"]).1, [] as [Value; 0]);
    let (_, findings) = findings(&files, &["--gpu", "H100", "--driver", "535.86.10"]);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0]["rule"], "old-driver");
    let seen = findings[0]["seen"].as_str().unwrap();
    assert!(seen.contains("PTX 8.4 for H100 (9.0)") && seen.contains("before 550.54.14"), "{seen}");
}

#[test]
fn a_gpu_that_no_option_or_recipe_can_mean_is_refused() {
    let world = World::new();
    let outcome = world.run(&["check", "oci:image", "--gpu", "T5"]);
    assert_eq!(outcome.code, 2, "{outcome}");
    assert!(outcome.stderr.contains("neither a card"), "{outcome}");
}

/// A world over Debian with [torch](publish_torch).
fn world() -> World {
    let mut world = World::new();
    Layout::new().layer(Tar::debian("")).write(&world.path("base"));
    publish_torch(&mut world);
    world
}

/// Publishes torch for CUDA 12.4: 2.6.0 is compiled for 7.0 and 7.5, and 2.15.0 for 7.5 alone.
pub fn publish_torch(world: &mut World) {
    world.publish(
        Wheel::new("nvidia-cuda-runtime-cu12", "12.4.127")
            .tag("py3-none-manylinux2014_x86_64")
            .file("nvidia/cuda_runtime/lib/libcudart.so.12", library("libcudart.so.12", b"")),
    );
    for (version, architectures) in [("2.6.0", &[(70, ""), (75, "")][..]), ("2.15.0", &[(75, "")])] {
        world.publish(
            Wheel::new("torch", version)
                .tag(LINUX)
                .requires("nvidia-cuda-runtime-cu12==12.4.127")
                .file("torch/__init__.py", "import ctypes\n")
                .file("torch/lib/libtorch_cuda.so", compiled("libtorch_cuda.so", architectures, &[])),
        );
    }
}

fn recipe(world: &World, version: &str, cuda: &str) {
    world.write(
        "recipe.yaml",
        format!("name: demo\nbase: oci:base\nframeworks: {{torch: {version}}}\n{cuda}"),
    );
}

/// The words of an outcome, without the breaks that make them fit.
fn on_one_line(outcome: &Outcome) -> String {
    outcome.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_recipe_that_asks_for_a_gpu_is_not_published_without_and_told_which_version_has_it() {
    let world = world();
    recipe(&world, "2.15.0", "cuda: {gpus: [T4, Tesla V100]}\n");
    let outcome = world.build();
    assert_eq!(outcome.code, 1, "{outcome}");
    for said in ["error[missing-gpu]: torch 2.15.0", "libtorch_cuda.so is compiled for 7.5", "V100 (7.0)"] {
        assert!(on_one_line(&outcome).contains(said), "`{said}` is not said: {outcome}");
    }
    assert!(!world.path("image").exists());
    recipe(&world, "2.6.0", "cuda: {gpus: [T4, Tesla V100]}\n");
    world.build().check_success();
    recipe(&world, "2.15.0", "cuda: {gpus: [V100]}\n");
    let outcome = world.build();
    assert!(on_one_line(&outcome).contains("use 2.6.0, which runs on V100 (7.0)"), "{outcome}");
    let plan = world.run(&["plan", "recipe.yaml"]).stdout;
    assert!(plan.contains("torch 2.15.0 does not run on V100 (7.0)"), "{plan}");
}

#[test]
fn a_plan_knows_what_was_built_before() {
    let world = world();
    recipe(&world, "2.6.0", "");
    let plan = || world.run(&["plan", "recipe.yaml"]).stdout;
    assert!(plan().contains("torch 2.6.0: known after the build\n"), "{}", plan());
    assert!(plan().contains("driver     at least 525.60.13 (CUDA 12)\n"), "{}", plan());
    let built = world.build();
    built.check_success();
    let coverage = "torch 2.6.0: compiled for 7.0 7.5; PTX for newer: no\n";
    assert!(built.stderr.contains(coverage), "{built}");
    assert!(built.stderr.contains("driver     at least 525.60.13 (CUDA 12)\n"), "{built}");
    assert!(plan().contains(coverage), "{}", plan());
    let json = world.run(&["plan", "recipe.yaml", "--json"]).stdout;
    let gpus = &serde_json::from_str::<Value>(&json).unwrap()["gpus"];
    let torch = json!({
        "distribution": {"name": "torch", "version": "2.6.0"},
        "known": true, "compiled_for": ["7.0", "7.5"], "ptx_for_newer": false,
    });
    assert_eq!(gpus["distributions"], json!([torch]));
    assert_eq!(gpus["driver"]["lowest"], "525.60.13");
}

#[test]
fn the_config_has_runtimes_refuse_drivers_that_are_too_old() {
    let required = |base: &str, recipe: &str| {
        let world = world();
        let layout = Layout::new().layer(Tar::debian("")).with(|layout| {
            let env = layout.config["config"]["Env"].as_array_mut().unwrap();
            env.extend((!base.is_empty()).then(|| json!(format!("NVIDIA_REQUIRE_CUDA={base}"))));
        });
        layout.write(&world.path("base"));
        let text = format!("name: demo\nbase: oci:base\n{recipe}");
        world.write("recipe.yaml", text);
        world.build().check_success();
        let image = Image::read(&world.path("image"));
        let env = image.config["config"]["Env"].as_array().unwrap().clone();
        let value = |it: &Value| Some(it.as_str()?.strip_prefix("NVIDIA_REQUIRE_CUDA=")?.to_owned());
        env.iter().find_map(value)
    };
    const TORCH: &str = "frameworks: {torch: 2.6.0}\n";
    const NEWER: &str = "cuda>=12.4 brand=tesla,driver>=470,driver<471";
    assert_eq!(required("", TORCH).as_deref(), Some("cuda>=12.0"));
    assert_eq!(
        required("cuda>=11.8 brand=tesla,driver>=450,driver<451", TORCH).as_deref(),
        Some("cuda>=12.0")
    );
    assert_eq!(required(NEWER, TORCH).as_deref(), Some(NEWER));
    let own = format!("{TORCH}config: {{env: {{NVIDIA_REQUIRE_CUDA: \"cuda>=12.4\"}}}}\n");
    assert_eq!(required("", &own).as_deref(), Some("cuda>=12.4"));
    assert_eq!(required("", "packages: [wholesome]\n"), None);
}

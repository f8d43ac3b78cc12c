//! A recipe builds on an image that others made: what it has serves where it meets the demands.

use std::fs;

use serde_json::json;

use crate::support::World;
use crate::support::elf::library;
use crate::support::image::Image;
use crate::support::layout::{Layout, Tar};
use crate::support::wheel::Wheel;

const LIB: &str = "usr/local/cuda-12.4/targets/x86_64-linux/lib";
const SYSTEM: &str = "usr/lib/x86_64-linux-gnu";
const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";

/// Debian 12 with Python 3.11, and a CUDA 12.4 of cuBLAS and the runtime as NVIDIA's packages lay it.
pub fn base() -> Layout {
    let packages = "Package: libcublas-12-4\nStatus: install ok installed\nVersion: 12.4.5.8-1\n\n\
                  Package: cuda-cudart-12-4\nStatus: install ok installed\nVersion: 12.4.127-1\n\n";
    let system = Tar::debian(packages)
        .file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")
        .file("usr/lib/python3.11/EXTERNALLY-MANAGED", "");
    let cuda = Tar::new()
        .file("etc/ld.so.conf.d/000_cuda.conf", format!("/{LIB}\n"))
        .symlink("usr/local/cuda", "cuda-12.4")
        .file(&format!("{LIB}/libcublas.so.12.4.5.8"), library("libcublas.so.12", b""))
        .symlink(&format!("{LIB}/libcublas.so.12"), "libcublas.so.12.4.5.8")
        .file(&format!("{LIB}/libcublasLt.so.12.4.5.8"), library("libcublasLt.so.12", b""))
        .symlink(&format!("{LIB}/libcublasLt.so.12"), "libcublasLt.so.12.4.5.8")
        .file(&format!("{LIB}/libcudart.so.12.4.127"), library("libcudart.so.12", b""))
        .symlink(&format!("{LIB}/libcudart.so.12"), "libcudart.so.12.4.127")
        .file(
            "var/lib/dpkg/info/libcublas-12-4.list",
            format!("/{LIB}/libcublas.so.12.4.5.8\n/{LIB}/libcublasLt.so.12.4.5.8\n"),
        )
        .file("var/lib/dpkg/info/cuda-cudart-12-4.list", format!("/{LIB}/libcudart.so.12.4.127\n"));
    Layout::new().layer(system).layer(cuda).with(|layout| {
        layout.config["config"]["User"] = json!("me");
        layout.config["config"]["StopSignal"] = json!("SIGINT");
    })
}

/// The base in a world whose torch needs cuBLAS, the runtime and cuDNN.
pub fn world(base: &Layout) -> World {
    let mut world = World::new();
    base.write(&world.path("base"));
    for (name, version, file) in [
        ("nvidia-cublas-cu12", "12.4.5.8", "nvidia/cublas/lib/libcublas.so.12"),
        ("nvidia-cuda-runtime-cu12", "12.4.127", "nvidia/cuda_runtime/lib/libcudart.so.12"),
        ("nvidia-cudnn-cu12", "9.1.0.70", "nvidia/cudnn/lib/libcudnn.so.9"),
    ] {
        world.publish(Wheel::new(name, version).tag("py3-none-manylinux2014_x86_64").file(file, version));
    }
    world.publish(
        Wheel::new("torch", "2.6.0")
            .requires("nvidia-cublas-cu12==12.4.5.8")
            .requires("nvidia-cuda-runtime-cu12==12.4.127")
            .requires("nvidia-cudnn-cu12==9.1.0.70")
            .file("torch/__init__.py", "import ctypes\n"),
    );
    world.write("recipe.yaml", "name: demo\nbase: oci:base\nframeworks: {torch: 2.6.0}\n");
    world
}

#[test]
fn what_the_base_has_serves_and_the_rest_comes_from_wheels() {
    let world = world(&base());
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!(image.text(&format!("{LIB}/libcudnn.so.9")), "9.1.0.70");
    assert_eq!(
        image.file(&format!("{LIB}/libcublas.so.12")).target.as_deref(),
        Some("libcublas.so.12.4.5.8")
    );
    assert_eq!(image.file("usr/local/cuda").target.as_deref(), Some("cuda-12.4"));
    let stub = format!("{PACKAGES}/nvidia_cublas_cu12-12.4.5.8.dist-info");
    image.check_record(&stub);
    assert!(
        image.text(&format!("{stub}/METADATA")).contains("Name: nvidia-cublas-cu12\nVersion: 12.4.5.8\n")
    );
    let metadata = image.text(&format!("{PACKAGES}/torch-2.6.0.dist-info/METADATA"));
    assert!(metadata.contains("nvidia-cublas-cu12>=12.4.5.8,<13"), "{metadata}");
    let link = image.file(&format!("{PACKAGES}/nvidia/cublas/lib/libcublas.so.12"));
    assert!(
        link.target.as_ref().unwrap().ends_with("/cuda-12.4/targets/x86_64-linux/lib/libcublas.so.12.4.5.8")
    );
    let constraints = image.text("etc/imgforge/constraints.txt");
    for pin in ["torch==2.6.0", "nvidia-cublas-cu12==12.4.5.8", "nvidia-cudnn-cu12==9.1.0.70"] {
        assert!(constraints.lines().any(|line| line == pin), "{constraints}");
    }
}

#[test]
fn the_base_keeps_its_layers_and_what_its_config_says() {
    let world = world(&base());
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    let config = &image.config["config"];
    assert_eq!(config["User"], "me");
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["Cmd"], json!(["sh"]));
    let environment = config["Env"].to_string();
    assert!(environment.contains("PIP_CONSTRAINT=/etc/imgforge/constraints.txt"), "{environment}");
    assert!(environment.contains("PATH=/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/bin"), "{environment}");
    let of_base = base().config["rootfs"]["diff_ids"].as_array().unwrap().clone();
    assert_eq!(image.config["rootfs"]["diff_ids"].as_array().unwrap()[..of_base.len()], of_base);
}

#[test]
fn a_copy_that_is_too_old_is_hidden_where_the_wheel_is_laid_out() {
    let mut world = world(&base());
    world.publish(
        Wheel::new("nvidia-cublas-cu12", "12.9.1.4")
            .tag("py3-none-manylinux2014_x86_64")
            .file("nvidia/cublas/lib/libcublas.so.12", "newer"),
    );
    world.write(
        "recipe.yaml",
        "name: demo\nbase: oci:base\nframeworks: {torch: 2.6.0}\npackages: [nvidia-cublas-cu12>=12.9]\n",
    );
    world.build().check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!(image.text(&format!("{LIB}/libcublas.so.12")), "newer");
    assert!(!image.files.contains_key(&format!("{LIB}/libcublas.so.12.4.5.8")));
    let plan = world.run(&["plan", "recipe.yaml"]);
    assert!(plan.stdout.contains("OF THE BASE, NOT USED"), "{plan}");
}

#[test]
fn the_policy_base_refuses_what_is_missing_with_who_needs_it() {
    let world = world(&base());
    world.write(
        "recipe.yaml",
        "name: demo\nbase: oci:base\nframeworks: {torch: 2.6.0}\ncuda: {policy: base}\n",
    );
    let outcome = world.build();
    world.check_failure(
        &outcome,
        1,
        &["the base does not serve cudnn", "torch 2.6.0 (==9.1.0.70)", "hint: "],
    );
}

#[test]
fn a_recorded_inventory_spares_a_plan_the_layers() {
    let world = world(&base());
    fs::create_dir(world.path("images")).unwrap();
    let recorded = world.run(&["inspect", "oci:base", "--record", "images/cuda.yaml"]);
    assert_eq!(recorded.code, 0, "{recorded}");
    world.write("recipe.yaml", "name: demo\nbase: cuda\nframeworks: {torch: 2.6.0}\n");
    let plan = world.run(&["plan", "recipe.yaml", "--wide"]);
    assert!(plan.stdout.contains(&format!("base /{LIB}")), "{plan}");
    world.build().check_success();

    let more = base().layer(Tar::new().file(&format!("{SYSTEM}/libnccl.so.2"), library("libnccl.so.2", b"")));
    fs::remove_dir_all(world.path("base")).unwrap();
    more.write(&world.path("base"));
    let outcome = world.build();
    world.check_failure(&outcome, 1, &["the inventory that was recorded", "hint: record it again"]);
}

#[test]
fn a_lock_holds_what_was_decided_over_an_image() {
    let world = world(&base());
    let unlocked = world.build().check_success();
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let locked = world.run(&["build", "recipe.yaml", "--locked", "--offline", "-o", "oci:locked"]);
    assert_eq!(locked.check_success(), unlocked);

    fs::remove_dir_all(world.path("base")).unwrap();
    base().layer(Tar::new().file("etc/more", "")).write(&world.path("base"));
    let outcome = world.run(&["build", "recipe.yaml", "--locked"]);
    world.check_failure(&outcome, 2, &["recipe.lock` is out of date", "builds on is another", "hint: "]);

    let before = world.build();
    assert!(before.stderr.contains("is out of date"), "{before}");
    assert_ne!(before.check_success(), unlocked);
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let again = world.run(&["build", "recipe.yaml", "--locked", "-o", "oci:again"]);
    assert_eq!(again.check_success(), before.check_success());
}

#[test]
fn a_difference_is_told_between_images_plans_and_recipes() {
    let world = world(&base());
    world.build().check_success();
    let told = |before: &str, after: &str| {
        let outcome = world.run(&["diff", before, after]);
        assert_eq!(outcome.code, 0, "{outcome}");
        outcome.stdout
    };
    assert_eq!(told("oci:base", "oci:base"), "nothing changed\n");
    let added = told("oci:base", "oci:image");
    let row =
        |name: &str| added.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{added}"));
    assert!(row("torch ").ends_with("-       2.6.0"), "{added}");
    assert!(row("unpacked layers: ").contains("(+"), "{added}");

    let plan = world.run(&["plan", "recipe.yaml", "--json"]).stdout;
    world.write("plan.json", plan);
    assert_eq!(told("recipe.yaml", "plan.json"), "nothing changed\n");
    let built = told("recipe.yaml", "oci:image");
    assert!(!built.contains("cublas"), "{built}");
    world.write("other.yaml", "base: oci:base\npackages: [wholesome]\n");
    let other = told("plan.json", "other.yaml");
    assert!(other.contains("wholesome") && other.contains("cudnn 9 for CUDA 12"), "{other}");

    // A file is no image, though a reference could be written so.
    fs::create_dir(world.path("v1.0")).unwrap();
    world.write("v1.0/other.yaml", "base: oci:../base\npackages: [wholesome]\n");
    assert_eq!(told("v1.0/other.yaml", "other.yaml"), "nothing changed\n");
    let outcome = world.run(&["check", "v1.0/other.yaml"]);
    world.check_failure(
        &outcome,
        2,
        &["`v1.0/other.yaml` is no image: build it, `imgforge build v1.0/other.yaml"],
    );

    world.write("broken.json", "{}");
    let outcome = world.run(&["diff", "broken.json", "recipe.yaml"]);
    world.check_failure(&outcome, 2, &["`broken.json` is not a plan", "hint: "]);
    let outcome = world.run(&["diff", "docker://No/Where", "recipe.yaml"]);
    world.check_failure(&outcome, 2, &["`No/Where` is not an image reference"]);
}

#[test]
fn an_image_of_our_own_is_seen_through() {
    let world = world(&base());
    world.build().check_success();
    let outcome = world.run(&["inspect", "oci:image", "--json"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    let inventory: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let names: Vec<&str> = inventory["distributions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["nvidia-cublas-cu12", "nvidia-cuda-runtime-cu12", "nvidia-cudnn-cu12", "torch"]);
    let cublas =
        inventory["cuda"].as_array().unwrap().iter().find(|copy| copy["component"] == "cublas").unwrap();
    assert_eq!((&cublas["version"], &cublas["directory"]), (&json!("12.4.5.8"), &json!(LIB)));
}

//! The needs of binaries: what ELF files are linked with is planned, locked and built, and their CUDA fits what is beside
//! them.

use serde_json::Value;

use crate::support::World;
use crate::support::elf::linked;
use crate::support::wheel::Wheel;
use crate::support::zip::Member;

const LINUX: &str = "cp311-cp311-manylinux_2_17_x86_64";

/// A wheel of a component: its library, of this SONAME.
fn component(name: &str, version: &str, path: &str) -> Wheel {
    let soname = path.rsplit('/').next().unwrap();
    Wheel::new(name, version).tag("py3-none-manylinux_2_17_x86_64").file(path, linked(soname, &[], "", b""))
}

/// A wheel with a module that is linked with `needs`.
fn native(name: &str, version: &str, needs: &[&str]) -> Wheel {
    let module = format!("{name}/_ext.cpython-311-x86_64-linux-gnu.so");
    Wheel::new(name, version)
        .tag(LINUX)
        .file(&format!("{name}/__init__.py"), "")
        .file(&module, linked("", needs, "", b""))
}

/// A world with components of CUDA 12 and 13.
fn world() -> World {
    let mut world = World::new();
    for (major, suffix, runtime, blas) in
        [(12, "-cu12", "12.4.127", "12.4.5.8"), (13, "", "13.0.96", "13.1.0.3")]
    {
        let runtime_library = format!("nvidia/cu{major}/lib/libcudart.so.{major}");
        world.publish(component(&format!("nvidia-cuda-runtime{suffix}"), runtime, &runtime_library));
        let blas_library = |name| format!("nvidia/cu{major}/lib/{name}.so.{major}");
        let light = linked(&format!("libcublasLt.so.{major}"), &[], "", b"");
        let blas_wheel = component(&format!("nvidia-cublas{suffix}"), blas, &blas_library("libcublas"));
        world.publish(blas_wheel.file(&blas_library("libcublasLt"), light));
    }
    world
}

fn planned(world: &World) -> Value {
    let outcome = world.run(&["plan", "recipe.yaml", "--json"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// The components of a plan with their versions, sorted.
fn components(plan: &Value) -> Vec<String> {
    let components = plan["components"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    components.map(|it| format!("{} {}", text(&it["component"]), text(&it["version"]))).collect()
}

/// A recipe of `demo`, which is this wheel, has these components.
#[track_caller]
fn check(wheel: Wheel, expected: &[&str]) {
    let mut world = world();
    world.publish(wheel);
    world.recipe("packages: [demo]\n");
    assert_eq!(components(&planned(&world)), expected);
}

#[test]
fn what_a_module_is_linked_with_is_planned() {
    check(native("demo", "1.0", &["libcudart.so.12"]), &["cuda-runtime 12.4.127"]);
    check(native("demo", "1.0", &["libcublas.so.13"]), &["cublas 13.1.0.3", "cuda-runtime 13.0.96"]);
    check(native("demo", "1.0", &["libcuda.so.1", "libz.so.1"]), &[]);
    let large = native("demo", "1.0", &["libcudart.so.12"]).file("demo/data.bin", noise(3 << 20));
    check(large, &["cuda-runtime 12.4.127"]);
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(next).collect()
}

#[test]
fn bundled_copies_are_no_needs() {
    let own = |runpath, path| {
        Wheel::new("demo", "1.0")
            .tag(LINUX)
            .file("demo/_ext.so", linked("", &["libcudart.so.12"], runpath, b""))
            .file(path, linked("libcudart.so.12", &[], "", b""))
    };
    check(own("$ORIGIN/../demo.libs", "demo.libs/libcudart.so.12"), &[]);
    check(own("$ORIGIN", "demo/libcudart.so.12"), &[]);
    check(own("$ORIGIN/elsewhere", "demo/lib/libcudart.so.12"), &["cuda-runtime 12.4.127"]);
    let renamed = Wheel::new("demo", "1.0")
        .tag(LINUX)
        .file("demo/_ext.so", linked("", &["libcudart-1a2b3c4d.so.12"], "$ORIGIN/../demo.libs", b""))
        .file("demo.libs/libcudart-1a2b3c4d.so.12", linked("libcudart-1a2b3c4d.so.12", &[], "", b""));
    check(renamed, &[]);
}

#[test]
fn files_that_are_no_libraries_are_no_needs() {
    let with = |content: &[u8]| Wheel::new("demo", "1.0").tag(LINUX).file("demo/lib/libfake.so", content);
    check(with(b"INPUT(libcublas.so.12)"), &[]);
    check(with(b"\x7fELF"), &[]);
    check(with(&linked("", &["libcublas.so.12\n\x1b[31m"], "", b"")), &[]);
    check(with(&linked("", &["libcublas.so.12"], "", b"")[..150]), &[]);
    let mut foreign = linked("", &["libcublas.so.12"], "", b"");
    foreign[18] = 183;
    check(with(&foreign), &[]);
    let damaged = Member { crc32: 7, ..Member::file("demo/lib/libfake.so", b"\x7fELF") };
    check(Wheel::new("demo", "1.0").tag(LINUX).member(damaged), &[]);
}

#[test]
fn needs_are_learned_once_and_locked() {
    let mut world = world();
    world.publish(native("demo", "1.0", &["libcudart.so.12"]));
    world.recipe("packages: [demo]\n");
    let first = world.run(&["plan", "recipe.yaml"]);
    let because = "demo 1.0 is linked with libcudart.so.12";
    assert!(first.stdout.contains(because), "{first}");
    assert!(first.stderr.contains("reading the libraries of demo 1.0"), "{first}");
    world.server.take_requests();
    let again = world.run(&["plan", "recipe.yaml"]);
    assert_eq!(again.stdout, first.stdout);
    assert!(!again.stderr.contains("reading the libraries"), "{again}");
    let offline = world.run(&["plan", "recipe.yaml", "--offline"]);
    assert_eq!(offline.stdout, first.stdout, "{offline}");

    let unlocked = world.build().check_success();
    let fetched = world.server.take_requests();
    let wheels = fetched.iter().filter(|request| request.starts_with("GET /files/demo-1.0"));
    assert_eq!(wheels.count(), 0, "the plan has fetched the wheel: {fetched:?}");
    world.run(&["lock", "recipe.yaml"]);
    let lock = std::fs::read_to_string(world.path("recipe.lock")).unwrap();
    assert!(lock.contains(&format!("{because} by demo/_ext")), "{lock}");
    let locked = world.run(&["plan", "recipe.yaml", "--locked", "--offline"]);
    // The GPUs that demo is compiled for, and the image's size, are known since it was built.
    assert!(first.stdout.contains("demo 1.0: known after the build\n"), "{first}");
    let decided = |plan: &str| plan.split_once("\nCOMPONENT").map(|(_, decided)| decided.to_owned());
    assert!(decided(&first.stdout).is_some(), "{first}");
    assert_eq!(decided(&locked.stdout), decided(&first.stdout), "{locked}");
    assert_eq!(world.run(&["build", "recipe.yaml", "--locked", "--offline"]).check_success(), unlocked);
}

/// A world with a framework for CUDA 12, and an extension of which the newest version is for CUDA 13.
fn mixed() -> World {
    let mut world = world();
    let framework = |version: &str, requirement: &str| {
        Wheel::new("torch", version).tag(LINUX).requires(requirement).file("torch/__init__.py", "")
    };
    world.publish(framework("2.6.0", "nvidia-cuda-runtime-cu12==12.4.127"));
    world.publish(framework("2.11.0", "nvidia-cuda-runtime==13.0.96"));
    world.publish(native("extension", "1.0", &["libcudart.so.12"]));
    world.publish(native("extension", "1.1", &["libcudart.so.12", "libcublas.so.12"]));
    world.publish(native("extension", "2.0", &["libcudart.so.13"]));
    world.publish(native("extension", "2.1", &["libcublas.so.13"]));
    world.publish(native("fixed", "1.0", &["libcudart.so.13"]));
    world
}

#[test]
fn another_cuda_is_refused_with_the_version_that_fits() {
    let world = mixed();
    let refused = |packages: &str, said: &[&str]| {
        world.recipe(&format!("frameworks: {{torch: 2.6.0}}\npackages: [{packages}]\n"));
        world.run(&["plan", "recipe.yaml"]).check_failure(1, said);
    };
    refused(
        "extension==2.1",
        &[
            "extension 2.1 is built for CUDA 13 (libcublas.so.13), torch 2.6.0 serves CUDA 12: extension 1.1 fits",
            "hint: write `extension==1.1`",
        ],
    );
    refused("extension==2.0", &["(libcudart.so.13)", "extension 1.1 fits"]);
    refused(
        "fixed",
        &["fixed 1.0 is built for CUDA 13 (libcudart.so.13), torch 2.6.0 serves CUDA 12\n", "hint: "],
    );
}

#[test]
fn another_cuda_is_avoided_where_the_version_is_open() {
    let world = mixed();
    world.recipe("frameworks: {torch: 2.6.0}\npackages: [extension]\n");
    let plan = planned(&world);
    assert_eq!(components(&plan), ["cublas 12.4.5.8", "cuda-runtime 12.4.127"]);
    assert_eq!(plan["passed_over"][0]["taken"], "1.1");
    assert_eq!(plan["passed_over"][0]["conflict"]["unserved"]["because"], "libcublas.so.13");
    world.run(&["lock", "recipe.yaml"]);
    let said = "extension 2.1 is built for CUDA 13 (libcublas.so.13), torch 2.6.0 serves CUDA 12: extension 1.1 is taken";
    let locked = world.run(&["plan", "recipe.yaml", "--locked", "--wide"]);
    assert!(locked.stdout.contains(said), "{locked}");
}

#[test]
fn a_framework_gives_way_where_its_version_is_open() {
    let world = mixed();
    world.recipe("frameworks: {torch: '*'}\npackages: [extension==1.0]\n");
    let plan = planned(&world);
    assert_eq!(components(&plan), ["cuda-runtime 12.4.127"]);
    world.recipe("frameworks: {torch: '*'}\npackages: [extension]\n");
    assert_eq!(components(&planned(&world)), ["cublas 13.1.0.3", "cuda-runtime 13.0.96"]);
}

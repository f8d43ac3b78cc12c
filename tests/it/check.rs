//! `imgforge check` finds what would not load, and what pip would say, without running anything.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::World;
use crate::support::elf::library;
use crate::support::layout::{Layout, Tar};
use crate::support::linked::{Source, Workshop, defining};
use crate::support::wheel::Wheel;

const SYSTEM: &str = "usr/lib/x86_64-linux-gnu";
const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";
const CUDA: &str = "usr/local/cuda-12.4/targets/x86_64-linux/lib";

/// A distribution's metadata, and a RECORD of these rows.
fn installed(tar: Tar, name: &str, version: &str, requires: &[&str], rows: &[&str]) -> Tar {
    let info = format!("{PACKAGES}/{name}-{version}.dist-info");
    let requires: String = requires.iter().map(|it| format!("Requires-Dist: {it}\n")).collect();
    let own = ["METADATA", "WHEEL", "RECORD"].map(|file| format!("{name}-{version}.dist-info/{file},,"));
    let record: Vec<&str> = rows.iter().copied().chain(own.iter().map(String::as_str)).collect();
    tar.file(
        &format!("{info}/METADATA"),
        format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}"),
    )
    .file(&format!("{info}/WHEEL"), "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_x86_64\n")
    .file(&format!("{info}/RECORD"), record.join("\n"))
}

/// An extension module `core` of the distribution `demo` that needs these libraries.
fn module(workshop: &Workshop, calls: &str, needs: &[&str], flags: &[&str]) -> Vec<u8> {
    let code = format!("void {calls}(void); void PyInit_core(void) {{ {calls}(); }}");
    workshop.link(&Source { soname: "core.so", code: &code, needs, flags })
}

/// Debian with `demo`, its module, and these libraries.
fn demo(module: Vec<u8>, libraries: &[(&str, Vec<u8>)]) -> Layout {
    let path = format!("{PACKAGES}/demo/core.so");
    let mut tar = installed(Tar::debian(""), "demo", "1.0", &[], &["demo/core.so,,"]).file(&path, module);
    for (path, bytes) in libraries {
        tar = tar.file(path, bytes.clone());
    }
    Layout::new().layer(tar)
}

/// The findings of a check of the image: `error missing-library demo …` by level, rule and subject.
fn findings(layout: &Layout) -> (i32, Vec<Value>) {
    let world = World::new();
    layout.write(&world.path("image"));
    let outcome = world.run(&["check", "oci:image", "--json"]);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
    (outcome.code, report["findings"].as_array().unwrap().clone())
}

#[track_caller]
fn check(layout: &Layout, expected: &[&str]) -> String {
    let (code, findings) = findings(layout);
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let relevant = findings.iter().filter(|finding| finding["level"] != "note");
    let told: BTreeSet<String> =
        relevant.clone().map(|it| format!("{} {}", text(it, "level"), text(it, "rule"))).collect();
    assert_eq!(told, expected.iter().map(|&it| it.to_owned()).collect(), "{findings:#?}");
    let has_errors = expected.iter().any(|finding| finding.starts_with("error"));
    assert_eq!(code, i32::from(has_errors));
    relevant.map(|it| text(it, "seen")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_library_that_nothing_finds_is_an_error() {
    let workshop = Workshop::new();
    let library = workshop.link(&defining("libcusparseLt.so.0", "void f(void) {}"));
    let core = module(&workshop, "f", &["libcusparseLt.so.0"], &[]);
    let seen = check(&demo(core.clone(), &[]), &["error missing-library"]);
    assert!(seen.contains("demo 1.0") && seen.contains("core.so needs libcusparseLt.so.0"), "{seen}");
    check(&demo(core, &[(&format!("{SYSTEM}/libcusparseLt.so.0"), library)]), &[]);
}

#[test]
fn the_data_of_a_finding_says_who_needs_what_and_where_it_was_searched() {
    let workshop = Workshop::new();
    workshop.link(&defining("libcusparseLt.so.0", "void f(void) {}"));
    let core = module(&workshop, "f", &["libcusparseLt.so.0"], &["-Wl,-rpath,$ORIGIN/lib"]);
    let (_, findings) = findings(&demo(core, &[]));
    let found = findings.iter().find(|finding| finding["rule"] == "missing-library").unwrap();
    let object = format!("/{PACKAGES}/demo/core.so");
    assert_eq!(found["about"], json!({"path": object}));
    let evidence = json!({
        "kind": "missing-libraries",
        "chain": {"distribution": {"name": "demo", "version": "1.0"}, "objects": [object]},
        "missing": [{"name": "libcusparseLt.so.0", "refused": null}],
        "searched": [
            {"by": "runpath", "directories": [format!("/{PACKAGES}/demo/lib")]},
            {"by": "cache", "directories": []},
            {
                "by": "default",
                "directories": ["/lib/x86_64-linux-gnu", format!("/{SYSTEM}"), "/lib", "/usr/lib"],
            },
        ],
    });
    assert_eq!(found["evidence"], evidence);
    let recipe = json!({"cuda": {"components": {"cusparselt": "shared"}}});
    let advice = json!({"kind": "serve-component", "component": "cusparselt", "recipe": recipe});
    assert_eq!(found["advice"], advice);
}

#[test]
fn a_library_that_a_module_of_the_standard_library_lacks_is_told() {
    let workshop = Workshop::new();
    let library = workshop.link(&defining("libtk8.6.so", "void f(void) {}"));
    let tar = Tar::debian("")
        .file("usr/lib/python3.11/lib-dynload/core.so", module(&workshop, "f", &["libtk8.6.so"], &[]));
    check(&Layout::new().layer(tar.clone()), &["warning missing-library"]);
    check(&Layout::new().layer(tar.file(&format!("{SYSTEM}/libtk8.6.so"), library)), &[]);
}

#[test]
fn what_a_library_lacks_that_only_code_opens_is_worth_a_note() {
    let workshop = Workshop::new();
    workshop.link(&defining("libnvinfer.so.10", "void f(void) {}"));
    let code = "void f(void); void g(void) { f(); }";
    let plugin =
        workshop.link(&Source { soname: "libplugin.so", code, needs: &["libnvinfer.so.10"], flags: &[] });
    let tar = installed(Tar::debian(""), "demo", "1.0", &[], &["demo/libplugin.so,,"])
        .file(&format!("{PACKAGES}/demo/libplugin.so"), plugin);
    let (code, findings) = findings(&Layout::new().layer(tar));
    let told = findings.iter().find(|finding| finding["rule"] == "missing-library").unwrap();
    assert_eq!((code, &told["level"]), (0, &json!("note")), "{told}");
    assert!(told["seen"].as_str().unwrap().ends_with("libplugin.so needs libnvinfer.so.10"), "{told}");
}

#[test]
fn a_library_without_the_symbol_is_an_error() {
    let workshop = Workshop::new();
    let old = workshop.link(&defining("libnvJitLink.so.12", "void __nvJitLinkCreate_12_2(void) {}"));
    let new = workshop.link(&defining("libnvJitLink.so.12", "void __nvJitLinkCreate_12_8(void) {}"));
    let core = module(&workshop, "__nvJitLinkCreate_12_8", &["libnvJitLink.so.12"], &[]);
    let path = format!("{SYSTEM}/libnvJitLink.so.12");
    let seen = check(&demo(core.clone(), &[(&path, old)]), &["error missing-symbol"]);
    assert!(seen.contains("__nvJitLinkCreate_12_8") && seen.contains(&path), "{seen}");
    check(&demo(core, &[(&path, new)]), &[]);
}

#[test]
fn a_version_that_a_library_does_not_define_is_an_error() {
    let workshop = Workshop::new();
    let script = |version: &str| {
        let world = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(world.path(), format!("{version} {{ f; }};")).unwrap();
        world
    };
    let (old, new) = (script("API_1"), script("API_2"));
    let flag = |file: &tempfile::NamedTempFile| format!("-Wl,--version-script={}", file.path().display());
    let link = |flags: &[&str]| {
        workshop.link(&Source { soname: "libapi.so.1", code: "void f(void) {}", needs: &[], flags })
    };
    let before = link(&[&flag(&old)]);
    let after = link(&[&flag(&new)]);
    let core = module(&workshop, "f", &["libapi.so.1"], &[]);
    let path = format!("{SYSTEM}/libapi.so.1");
    let seen = check(&demo(core.clone(), &[(&path, before)]), &["error missing-version"]);
    assert!(seen.contains("API_2"), "{seen}");
    check(&demo(core, &[(&path, after)]), &[]);
}

#[test]
fn the_search_paths_come_in_the_loaders_order() {
    let workshop = Workshop::new();
    let right = workshop.link(&defining("libx.so.1", "void right(void) {}"));
    let wrong = workshop.link(&defining("libx.so.1", "void wrong(void) {}"));
    workshop.link(&defining("libx.so.1", "void right(void) {} void wrong(void) {}"));
    let origin = format!("{PACKAGES}/demo/lib/libx.so.1");
    let in_path = "opt/lib/libx.so.1";
    let system = format!("{SYSTEM}/libx.so.1");
    let with_path = |layout: Layout| {
        layout.with(|layout| layout.config["config"]["Env"] = json!(["LD_LIBRARY_PATH=/opt/lib"]))
    };
    // DT_RPATH before LD_LIBRARY_PATH, that before DT_RUNPATH, and all before the default directories.
    for (tags, expected) in
        [("--disable-new-dtags", &[][..]), ("--enable-new-dtags", &["error missing-symbol"])]
    {
        let flags = ["-Wl,-rpath,$ORIGIN/lib", &format!("-Wl,{tags}")];
        let core = module(&workshop, "right", &["libx.so.1"], &flags);
        let libraries = [(&*origin, right.clone()), (in_path, wrong.clone()), (&*system, wrong.clone())];
        check(&with_path(demo(core, &libraries)), expected);
    }
    let core = module(&workshop, "right", &["libx.so.1"], &["-Wl,-rpath,$ORIGIN/lib"]);
    check(&demo(core, &[(&origin, right.clone()), (&system, wrong)]), &[]);
}

#[test]
fn what_pip_check_says_is_said() {
    let tar = installed(
        Tar::debian(""),
        "torch",
        "2.2.1",
        &["nvidia-cublas-cu12==12.1.3.1", "sympy; extra == 'all'"],
        &[],
    );
    let tar = installed(tar, "nvidia_cublas_cu12", "12.5.3.2", &[], &[]);
    let tar = installed(tar, "torchvision", "0.17.1", &["torch==2.2.1", "numpy"], &[]);
    let seen = check(&Layout::new().layer(tar), &["error unmet-requirement"]);
    assert!(seen.contains("it requires `nvidia-cublas-cu12==12.1.3.1`, and 12.5.3.2 is installed"), "{seen}");
    assert!(seen.contains("it requires `numpy`, and it is not installed"), "{seen}");
    assert!(!seen.contains("sympy"), "{seen}");
}

#[test]
fn the_last_of_two_distributions_that_write_a_file_is_told() {
    let row = |hash: &str, size: u64| format!("nvidia/nccl/lib/libnccl.so.2,sha256={hash},{size}");
    let path = format!("{PACKAGES}/nvidia/nccl/lib/libnccl.so.2");
    let tar = installed(Tar::debian(""), "nvidia_nccl_cu12", "2.27.5", &[], &[&row("AAAA", 3)]);
    let tar = installed(tar, "nvidia_nccl_cu13", "2.28.9", &[], &[&row("BBBB", 4)]).file(&path, "abc");
    let seen = check(&Layout::new().layer(tar), &["error file-collision", "warning record-mismatch"]);
    assert!(seen.contains("are also of nvidia-nccl-cu13 2.28.9"), "{seen}");
    assert!(seen.contains("has another size than its RECORD says"), "{seen}");
}

#[test]
fn variants_of_one_package_and_a_tag_that_is_none_are_no_errors() {
    let row = |hash: &str| format!("cv2/cv2.abi3.so,sha256={hash},3");
    let path = format!("{PACKAGES}/cv2/cv2.abi3.so");
    let tar = installed(Tar::debian(""), "opencv_contrib_python", "4.11.0.86", &[], &[&row("AAAA")]);
    let tar = installed(tar, "opencv_python", "4.11.0.86", &[], &[&row("BBBB")])
        .file(&path, library("cv2.abi3.so", b""));
    let wheel = format!("{PACKAGES}/opencv_python-4.11.0.86.dist-info/WHEEL");
    let tar = tar.file(&wheel, "Wheel-Version: 1.0\nTag: py3-manylinux_2_28_x86_64\n");
    check(
        &Layout::new().layer(tar),
        &["warning file-collision", "warning record-mismatch", "warning record-mismatch"],
    );
}

#[test]
fn a_library_of_the_driver_in_the_image_is_an_error() {
    let stubs = "usr/local/cuda-12.4/targets/x86_64-linux/lib/stubs";
    let tar = Tar::debian("").file(&format!("{stubs}/libcuda.so.1"), library("libcuda.so.1", b""));
    let image = Layout::new().layer(tar);
    check(&image, &[]);
    let leads = |path: String| json!([format!("LD_LIBRARY_PATH={path}")]);
    let image = image.with(|layout| layout.config["config"]["Env"] = leads(format!("/{stubs}")));
    check(&image, &["error driver-from-image"]);
}

#[test]
fn cuda_that_serves_another_build_of_cudnn_is_an_error() {
    let cudnn = format!("{SYSTEM}/libcudnn.so.9");
    let packages = "Package: libcudnn9-cuda-12\nStatus: install ok installed\nVersion: 9.8.0.87-1\n\n";
    let tar = Tar::debian(packages)
        .file("var/lib/dpkg/info/libcudnn9-cuda-12.list", format!("/{cudnn}\n"))
        .file(&cudnn, library("libcudnn.so.9", b""))
        .file(&format!("{CUDA}/libcudart.so.12"), library("libcudart.so.12", b""));
    let workshop = Workshop::new();
    workshop.link(&defining("libcudnn.so.9", "void f(void) {}"));
    let core = workshop.link(&Source {
        soname: "core.so",
        code: "void PyInit_core(void) {}",
        needs: &["libcudnn.so.9"],
        flags: &[],
    });
    let tar = installed(tar, "demo", "1.0", &["nvidia-cudnn-cu12==9.10.2.21"], &["demo/core.so,,"])
        .file(&format!("{PACKAGES}/demo/core.so"), core);
    let tar = installed(tar, "nvidia_cudnn_cu12", "9.10.2.21", &[], &[]);
    let seen = check(&Layout::new().layer(tar), &["error old-component"]);
    assert!(seen.contains("the loader finds cudnn 9.8.0.87 in /usr/lib/x86_64-linux-gnu"), "{seen}");
}

#[test]
fn an_image_that_would_not_load_is_not_published() {
    let workshop = Workshop::new();
    workshop.link(&defining("libmissing.so.1", "void f(void) {}"));
    let core = module(&workshop, "f", &["libmissing.so.1"], &[]);
    let mut world = World::new();
    Layout::new().layer(Tar::debian("")).write(&world.path("base"));
    let wheel = Wheel::new("demo", "1.0").tag("py3-none-manylinux2014_x86_64");
    world.publish(wheel.file("demo/__init__.py", "").file("demo/core.so", core));
    let recipe = |more: &str| {
        world.write("recipe.yaml", format!("name: demo\nbase: oci:base\npackages: [demo]\n{more}"));
        world.run(&["build", "recipe.yaml", "-o", "oci:image"])
    };
    let outcome = recipe("config: {healthcheck: {test: [curl, localhost]}}\n");
    assert_eq!(outcome.code, 1, "{outcome}");
    // The count comes first, and what keeps the image from being published last, where logs end.
    let told = [
        "the check found 1 error and 1 warning",
        "warning[image-config]: ",
        "error[missing-library]: /usr/local/lib/python3.11/dist-packages/demo/core.so",
        "error: the image would not work: the check found 1 error",
    ];
    let places = told.map(|text| outcome.stderr.find(text).unwrap_or_else(|| panic!("{text}: {outcome}")));
    assert!(places.is_sorted(), "{outcome}");
    assert_eq!(outcome.stderr.matches("reading oci:./base").count(), 1, "{outcome}");
    assert!(outcome.stderr.contains("hint: ") && outcome.stderr.contains("--no-check"), "{outcome}");
    assert!(!world.path("image").exists());
    recipe("ignore: [{rule: missing-library, path: '*/demo/core.so', reason: the host brings it}]")
        .check_success();
    world.write("recipe.yaml", "name: demo\nbase: oci:base\npackages: [demo]\n");
    world.run(&["build", "recipe.yaml", "-o", "oci:other", "--no-check"]).check_success();
}

#[test]
fn a_library_that_is_opened_under_a_name_of_another_version_is_told() {
    let workshop = Workshop::new();
    let core = workshop.link(&Source {
        soname: "core.so",
        code: "const char name[] = \"\\0libcudnn_ops_infer.so.8\"; void PyInit_core(void) {}",
        needs: &[],
        flags: &[],
    });
    let image = |soname: &str| {
        let path = format!("{SYSTEM}/{soname}");
        demo(core.clone(), &[(&path, library(soname, b""))])
    };
    let seen = check(&image("libcudnn.so.9"), &["warning other-soname"]);
    assert!(seen.contains("core.so opens libcudnn_ops_infer.so.8"), "{seen}");
    check(&image("libcudnn_ops_infer.so.8"), &[]);
}

#[test]
fn a_toolkit_that_the_driver_does_not_run_is_an_error() {
    let world = World::new();
    let tar = Tar::debian("").file(&format!("{CUDA}/libcudart.so.12.4.127"), library("libcudart.so.12", b""));
    let tar = tar.symlink(&format!("{CUDA}/libcudart.so.12"), "libcudart.so.12.4.127");
    let image = Layout::new().layer(tar).with(|layout| {
        layout.config["config"]["Env"] = json!([format!("LD_LIBRARY_PATH=/{CUDA}")]);
    });
    image.write(&world.path("image"));
    let with = |driver: &str| world.run(&["check", "oci:image", "--driver", driver]);
    let old = with("470.57.02");
    assert_eq!(old.code, 1, "{old}");
    assert!(old.stdout.contains("error[old-driver]") && old.stdout.contains("525.60.13"), "{old}");
    assert_eq!(with("550.54.15").code, 0);
}

/// Debian with two frameworks: `torch`, whose module needs cuBLAS of the system, and `jax`, whose plugin brings a copy of
/// it, and opens cuDNN.
fn two_frameworks() -> Layout {
    let workshop = Workshop::new();
    let cublas = workshop.link(&defining("libcublas.so.12", "void f(void) {}"));
    let core = module(
        &workshop,
        "f",
        &["libcublas.so.12"],
        &["-Wl,-rpath,/usr/local/cuda-12.4/targets/x86_64-linux/lib"],
    );
    let plugin = workshop.link(&Source {
        soname: "plugin.so",
        code: "const char name[] = \"\\0libcudnn.so.9\"; void f(void); void GetPjrtApi(void) { f(); }",
        needs: &["libcublas.so.12"],
        flags: &["-Wl,-rpath,$ORIGIN"],
    });
    let tar = installed(Tar::debian(""), "torch", "2.6.0", &[], &["torch/core.so,,"])
        .file(&format!("{PACKAGES}/torch/core.so"), core)
        .file(&format!("{CUDA}/libcublas.so.12"), cublas.clone())
        .file(&format!("{CUDA}/libcufft.so.11"), library("libcufft.so.11", b""))
        .file("opt/old/libcudnn.so.9", library("libcudnn.so.9", b""))
        .file(&format!("{SYSTEM}/libcudnn.so.9"), library("libcudnn.so.9", b""));
    let tar = installed(tar, "jax", "0.5.3", &["jax-plugin; extra == 'cuda12'"], &[]);
    let rows = ["jax_plugin/plugin.so,,", "jax_plugin/libcublas.so.12,,"];
    let tar = installed(tar, "jax_plugin", "0.5.3", &[], &rows)
        .file(&format!("{PACKAGES}/jax_plugin/plugin.so"), plugin)
        .file(&format!("{PACKAGES}/jax_plugin/libcublas.so.12"), cublas);
    Layout::new().layer(tar)
}

#[test]
fn a_graph_shows_who_reaches_which_copy() {
    let world = World::new();
    two_frameworks().write(&world.path("image"));
    let plain = world.run(&["check", "oci:image"]);
    let drawn = world.run(&["check", "oci:image", "--graph", "graph.svg"]);
    assert_eq!((plain.code, &plain.stdout), (drawn.code, &drawn.stdout), "{drawn}");
    let svg = std::fs::read_to_string(world.path("graph.svg")).unwrap();
    let expect = |text: &str| assert!(svg.contains(text), "{text} is not in {svg}");
    expect("Who reaches CUDA in oci:image");
    expect("2 frameworks, 5 libraries of CUDA of");
    expect("1 served once, 2 duplicate, 1 shadowed, 1 not reached");
    expect("jax 0.5.3, ");
    expect("with jax-plugin 0.5.3");
    expect(&format!(
        "torch 2.6.0\n&gt; /{PACKAGES}/torch/core.so (imported by Python)\n&gt; /{CUDA}/libcublas.so.12 (DT_NEEDED, found by DT_RUNPATH)"
    ));
    expect(&format!("&gt; /{SYSTEM}/libcudnn.so.9 (dlopen, found in a default directory)"));

    world.run(&["check", "oci:image", "--graph", "again.svg"]);
    assert_eq!(std::fs::read_to_string(world.path("again.svg")).unwrap(), svg);
    world.run(&["check", "oci:image", "--graph", "graph.html"]);
    let html = std::fs::read_to_string(world.path("graph.html")).unwrap();
    assert!(html.contains(&svg[svg.find("<svg").unwrap()..]), "{html}");
    assert!(html.replace("<wbr>", "").contains(
        "<td>/opt/old/libcudnn.so.9</td><td class=\"mark\" style=\"border-left-style:dashed;border-left-color:#b83280\">\
         shadowed</td>"
    ));
}

#[test]
fn a_graph_is_drawn_in_no_other_form() {
    let world = World::new();
    let outcome = world.run(&["check", "oci:nowhere", "--graph", "graph.png"]);
    assert_eq!(outcome.code, 2, "{outcome}");
    assert!(outcome.stderr.contains("graph.png") && outcome.stderr.contains("FILE.svg"), "{outcome}");
    two_frameworks().write(&world.path("image"));
    let outcome = world.run(&["check", "oci:image", "--graph", "nowhere/graph.svg"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(outcome.stderr.contains("could not write `nowhere/graph.svg`"), "{outcome}");
}

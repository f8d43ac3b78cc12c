//! `imgforge check` judges what the interpreter that a container starts would import, by its own `sys.path`.

use serde_json::{Value, json};

use crate::support::World;
use crate::support::elf::library;
use crate::support::layout::{Layout, Tar, header, seal};
use crate::support::linked::{Source, Workshop, defining};

const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";

/// A distribution of version 1.0 with these files, which its RECORD lists; one whose content begins with `GONE` is only
/// listed.
fn distribution(tar: Tar, site: &str, name: &str, requires: &[&str], files: &[(&str, &[u8])]) -> Tar {
    let info = format!("{site}/{name}-1.0.dist-info");
    let requires: String = requires.iter().map(|it| format!("Requires-Dist: {it}\n")).collect();
    let rows: String = files.iter().map(|(path, _)| format!("{path},,\n")).collect();
    let metadata = format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}");
    let tar = tar.file(&format!("{info}/METADATA"), metadata).file(&format!("{info}/RECORD"), rows);
    let present = files.iter().filter(|(_, content)| !content.starts_with(b"GONE"));
    present.fold(tar, |tar, (path, content)| tar.file(&format!("{site}/{path}"), content))
}

/// The distribution `app` of these files in Debian.
fn app(files: &[(&str, &[u8])]) -> Layout {
    Layout::new().layer(distribution(Tar::debian(""), PACKAGES, "app", &[], files))
}

fn with(layout: Layout, member: &'static str, value: Value) -> Layout {
    layout.with(move |layout| layout.config["config"][member] = value)
}

/// Checks the errors of an image: `missing-module text` is a rule and a part of what was seen. None is expected where
/// `expected` is empty.
#[track_caller]
fn check(layout: &Layout, expected: &[&str]) {
    let world = World::new();
    layout.write(&world.path("image"));
    let outcome = world.run(&["check", "oci:image", "--json"]);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
    let findings = report["findings"].as_array().unwrap();
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding["level"] == "error")
        .map(|it| format!("{} {} {}", it["rule"], it["subject"], it["seen"]).replace('"', ""))
        .collect();
    assert_eq!(errors.len(), expected.len(), "{errors:#?}");
    for expected in expected {
        let (rule, text) = expected.split_once(' ').unwrap();
        let is_told = errors.iter().any(|it| it.starts_with(&format!("{rule} ")) && it.contains(text));
        assert!(is_told, "{expected}: {errors:#?}");
    }
}

/// An extension module `name` that needs a library which the image does not have.
fn lacking(name: &str) -> Vec<u8> {
    let workshop = Workshop::new();
    workshop.link(&defining("libspeed.so.1", "void speed(void) {}"));
    let code = format!("void speed(void); void PyInit_{name}(void) {{ speed(); }}");
    let soname = format!("{name}.so");
    workshop.link(&Source { soname: &soname, code: &code, needs: &["libspeed.so.1"], flags: &[] })
}

/// A library that is no module, and needs another which the image does not have.
fn lacking_library() -> Vec<u8> {
    let workshop = Workshop::new();
    workshop.link(&defining("libspeed.so.1", "void speed(void) {}"));
    let code = "void speed(void); void app(void) { speed(); }";
    workshop.link(&Source { soname: "libapp.so", code, needs: &["libspeed.so.1"], flags: &[] })
}

/// An interpreter as a program, which needs these libraries.
fn interpreter(needs: &[&str]) -> Vec<u8> {
    let workshop = Workshop::new();
    for soname in needs {
        workshop.link(&defining(soname, "void f(void) {}"));
    }
    let code = "const char loader[] __attribute__((section(\".interp\"))) = \"/lib64/ld-linux-x86-64.so.2\";\n\
                const char version[] = \"\\0\" \"3.11.2\";";
    workshop.link(&Source { soname: "python", code, needs, flags: &[] })
}

#[test]
fn an_interpreter_that_does_not_start_is_an_error() {
    let workshop = Workshop::new();
    let loader = workshop.link(&defining("ld-linux-x86-64.so.2", "void f(void) {}"));
    let with_python = |needs: &[&str]| Tar::debian("").file("usr/bin/python3.11", interpreter(needs));
    let with_loader = |tar: Tar| tar.file("lib64/ld-linux-x86-64.so.2", &loader);
    check(&Layout::new().layer(with_loader(with_python(&[]))), &[]);
    check(
        &Layout::new().layer(with_python(&[])),
        &["missing-loader /usr/bin/python3.11 ask for /lib64/ld-linux-x86-64.so.2"],
    );
    check(
        &Layout::new().layer(with_loader(with_python(&["libexpat.so.1"]))),
        &["missing-library /usr/bin/python3.11 needs libexpat.so.1"],
    );
    let removed = Tar::new().whiteout("usr/lib/python3.11/encodings");
    let image = Layout::new().layer(Tar::debian("")).layer(removed);
    check(&image, &["broken-python the module `encodings`, which is not in /usr/lib/python3.11"]);
    let elsewhere = with(Layout::new().layer(Tar::debian("")), "Env", json!(["PYTHONHOME=/opt/python"]));
    check(&elsewhere, &["broken-python which is not in /opt/python/lib/python3.11"]);
    let renamed = Tar::new().symlink("usr/bin/python3", "python3.12");
    let image = Layout::new().layer(Tar::debian("")).layer(renamed);
    check(&image, &["broken-python /usr/bin/python3 it leads to `python3.12`"]);
}

#[test]
fn an_image_of_one_program_is_checked_without_a_c_library() {
    let program = |bytes: &[u8]| {
        let mut member = header(b'0', b"bin/prog", b"", bytes.len() as u64);
        member[100..108].copy_from_slice(b"0000755\0");
        with(Layout::new().layer(Tar::new().content(seal(member), bytes)), "Cmd", json!(["/bin/prog"]))
    };
    check(&program(&library("prog", b"")), &[]);
    check(&program(&interpreter(&[])), &["missing-loader /bin/prog ask for /lib64/ld-linux-x86-64.so.2"]);
}

#[test]
fn a_module_that_cannot_be_imported_is_an_error_where_nothing_guards_it() {
    let module = lacking("_fast");
    let import: &[u8] = b"from . import _fast\n";
    let guarded: &[u8] = b"try:\n    from . import _fast\nexcept ImportError:\n    pass\n";
    let init = |code| ("app/__init__.py", code);
    check(&app(&[init(import), ("app/_fast.so", &module)]), &["missing-library libspeed.so.1"]);
    check(&app(&[init(guarded), ("app/_fast.so", &module)]), &[]);
    check(&app(&[init(b"def f():\n    from . import _fast\n"), ("app/_fast.so", &module)]), &[]);
    check(
        &app(&[init(import), ("app/_fast.so", b"GONE")]),
        &["missing-module /app/_fast.so was installed and is gone"],
    );
    check(&app(&[init(guarded), ("app/_fast.so", b"GONE")]), &[]);
    let other = "app/_fast.cpython-312-x86_64-linux-gnu.so";
    check(&app(&[init(import), (other, b"")]), &["missing-module is for another interpreter"]);
    check(
        &app(&[init(import), ("app/_fast.abi3.so", b"version https://git-lfs")]),
        &["missing-module is no library"],
    );
    let mut machine = module.clone();
    machine[18] = 0xb7;
    check(&app(&[init(import), ("app/_fast.so", &machine)]), &["missing-module is for another machine"]);
    check(&app(&[init(b"import nowhere\n")]), &["missing-module imports `nowhere`"]);
    check(&app(&[init(b"import _thread, sys, os, math\n")]), &[]);
    check(&app(&[("app.py", b"GONE")]), &["missing-module `app`"]);
    check(
        &app(&[init(b"GONE"), ("app/data.py", b"")]),
        &["missing-module /app/__init__.py was installed and is gone"],
    );
    check(&app(&[("app.py", b"GONE"), ("app.pyc", b"")]), &[]);
    check(&app(&[("space/app/__init__.py", b"import space.app.data\n"), ("space/app/data.py", b"")]), &[]);
    check(&app(&[("_backend.so", b"GONE"), ("app.py", b"")]), &["missing-module `_backend`"]);
}

#[test]
fn a_module_that_a_distribution_carries_and_finds_by_its_own_path_is_there() {
    let init = |code| ("app/__init__.py", code);
    let carried = ("app/_vendor/extra/__init__.py", &b""[..]);
    let extends: &[u8] = b"import os, sys\nsys.path.append(os.path.join(os.path.dirname(__file__), '_vendor'))\nfrom . import use\n";
    let used = ("app/use.py", &b"import extra.text\n"[..]);
    let missing = &["missing-module imports `extra`"];
    check(&app(&[init(extends), used, carried]), &[]);
    check(&app(&[init(extends), used]), missing);
    check(&app(&[init(b"from . import use\n"), used, carried]), missing);
    check(
        &app(&[init(b"import sys\nif 'x' in sys.path: pass\nfrom . import use\n"), used, carried]),
        missing,
    );
    check(&app(&[init(extends), used, ("app/_vendor/extra.py", b"")]), &[]);
    check(&app(&[init(extends), used, ("app/_vendor/extra.txt", b"")]), missing);
    let finder: &[u8] = b"from . import path\nfrom . import use\n";
    let path = ("app/path.py", &b"import sys\ndef f():\n    sys.meta_path.insert(0, Finder())\nf()\n"[..]);
    check(&app(&[init(finder), path, used, carried]), &[]);
    let makes: &[u8] = b"import sys\nsys.modules['extra'] = sys\nfrom . import use\n";
    check(&app(&[init(makes), used]), &[]);
    // What another distribution carries is there for those that import it first.
    let both = |code: &[u8]| {
        let first = [("first/__init__.py", extends), ("first/use.py", b""), ("first/_vendor/extra.py", b"")];
        let tar = distribution(Tar::debian(""), PACKAGES, "first", &[], &first);
        Layout::new().layer(distribution(tar, PACKAGES, "app", &[], &[("app/__init__.py", code)]))
    };
    check(&both(b"import first\nimport extra\n"), &[]);
    check(&both(b"import extra\n"), missing);
}

#[test]
fn a_library_that_a_module_opens_is_needed_like_one_that_it_is_linked_with() {
    let library = lacking_library();
    let beside: &[u8] =
        b"import ctypes, os\nctypes.CDLL(os.path.join(os.path.dirname(__file__), 'lib/libapp.so'))\n";
    check(
        &app(&[("app/__init__.py", beside), ("app/lib/libapp.so", &library)]),
        &["missing-library libspeed.so.1"],
    );
    let named: &[u8] = b"import ctypes\nctypes.CDLL('libcublas.so.12')\n";
    check(&app(&[("app.py", named)]), &["missing-library opens libcublas.so.12"]);
    check(&app(&[("app.py", b"import ctypes\nctypes.CDLL('libcuda.so.1')\n")]), &[]);
    // What works by its library alone, wherever its code opens it.
    let later: &[u8] = b"import ctypes\ndef load():\n    return ctypes.CDLL(find())\n";
    check(
        &app(&[("app/__init__.py", later), ("app/libapp.so", &library)]),
        &["missing-library libspeed.so.1"],
    );
}

#[test]
fn what_was_built_for_another_version_of_a_framework_is_an_error() {
    let workshop = Workshop::new();
    workshop.link(&defining("libframe.so", "void conv1d(void) {} void conv2d(void) {}"));
    let linked = |soname: &str, code: &str| {
        workshop.link(&Source { soname, code, needs: &["libframe.so"], flags: &[] })
    };
    let module = linked("_c.so", "void conv1d(void); void PyInit__c(void) { conv1d(); }");
    let library = linked("libops.so", "void conv1d(void); void ops(void) { conv1d(); }");
    let fits = linked("libfine.so", "void conv2d(void); void fine(void) { conv2d(); }");
    let frame = Workshop::new().link(&defining("libframe.so", "void conv2d(void) {}"));
    let image = |code: &str, files: &[(&str, &[u8])]| {
        let frames = [("frame/__init__.py", &b""[..]), ("frame/libframe.so", &frame)];
        let tar = distribution(Tar::debian(""), PACKAGES, "frame", &[], &frames);
        let files: Vec<_> =
            [("app/__init__.py", code.as_bytes())].into_iter().chain(files.iter().copied()).collect();
        Layout::new().layer(distribution(tar, PACKAGES, "app", &["frame"], &files))
    };
    let told: &[&str] = &["missing-symbol the symbol `conv1d`; it is linked with frame 1.0, which has none"];
    let module = ("app/_c.so", &module[..]);
    let library = ("app/libops.so", &library[..]);
    let fine = ("app/libfine.so", &fits[..]);
    let opens = "import frame\nframe.ops.load_library(path('libops'))\n";
    for (code, files, expected) in [
        ("import app._c\n", &[module][..], told),
        // A condition asks whether a module is there, not whether it fits.
        ("if frame.is_available():\n    import app._c\n", &[module], told),
        ("from . import more\n", &[module, ("app/more.py", b"if X:\n  from . import _c\n")], told),
        ("try:\n    import app._c\nexcept ImportError: pass\n", &[module], &[]),
        ("try:\n    if X: import app._c\nexcept ImportError: pass\n", &[module], &[]),
        // By whatever means code opens them: nothing that is linked with the framework fits.
        (opens, &[library], told),
        (opens, &[library, ("app/_c.so", module.1)], &[told[0], "missing-symbol app/libops.so"]),
        (opens, &[library, fine], &[]),
        (opens, &[fine], &[]),
    ] {
        check(&image(code, files), expected);
    }
}

#[test]
fn what_is_preloaded_is_found() {
    let library = Workshop::new().link(&defining("libspeed.so.1", "void speed(void) {}"));
    let tar = distribution(
        Tar::debian(""),
        PACKAGES,
        "app",
        &[],
        &[("app/__init__.py", b"from . import _fast\n"), ("app/_fast.so", &lacking("_fast"))],
    );
    let image = Layout::new().layer(tar.file("opt/libspeed.so.1", library));
    check(&image, &["missing-library libspeed.so.1"]);
    check(&with(image, "Env", json!(["LD_PRELOAD=/opt/libspeed.so.1"])), &[]);
}

#[test]
fn what_an_imported_distribution_loads_first_is_found() {
    let library = Workshop::new().link(&defining("libspeed.so.1", "void speed(void) {}"));
    let loads: &[u8] =
        b"import ctypes, os\nctypes.CDLL(os.path.dirname(__file__) + '/libspeed.so.1', ctypes.RTLD_GLOBAL)\n";
    let image = |first: &[u8]| {
        let files = [("first/__init__.py", loads), ("first/libspeed.so.1", &library[..])];
        let tar = distribution(Tar::debian(""), PACKAGES, "first", &[], &files);
        let files = [("app/__init__.py", first), ("app/_fast.so", &lacking("_fast"))];
        Layout::new().layer(distribution(tar, PACKAGES, "app", &[], &files))
    };
    check(&image(b"import first\nfrom . import _fast\n"), &[]);
    check(&image(b"from . import _fast\n"), &["missing-library libspeed.so.1"]);
}

#[test]
fn the_path_is_the_interpreters_own() {
    let needy = |site| distribution(Tar::debian(""), site, "app", &["six"], &[("app.py", b"import six\n")]);
    let unmet = ["unmet-requirement `six`", "missing-module `six`"];
    let image = Layout::new().layer(needy("app/lib"));
    check(&image, &[]);
    check(&with(image, "Env", json!(["PYTHONPATH=/app/lib"])), &unmet);
    let user = "home/me/.local/lib/python3.11/site-packages";
    let image = with(Layout::new().layer(needy(user)), "User", json!("me"));
    check(&image, &unmet);
    let venv = "opt/venv/lib/python3.11/site-packages";
    let tar = needy(venv)
        .file("opt/venv/pyvenv.cfg", "home = /usr/bin\n")
        .symlink("opt/venv/bin/python", "/usr/bin/python3")
        .file("start.sh", "#!/bin/sh\nexec /opt/venv/bin/python -m app\n");
    let image = Layout::new().layer(tar.clone());
    check(&image, &[]);
    for command in [json!(["/opt/venv/bin/python"]), json!(["sh", "-c", "exec /opt/venv/bin/python -m app"])]
    {
        check(&with(Layout::new().layer(tar.clone()), "Entrypoint", command), &unmet);
    }
    let editable = [("__editable__.app-1.0.pth", &b"/src\n"[..])];
    let tar = distribution(Tar::debian(""), PACKAGES, "app", &[], &editable);
    check(&Layout::new().layer(tar.clone()), &["missing-module `app`"]);
    check(&Layout::new().layer(tar.clone().file("src/app.py", "")), &[]);
    check(
        &Layout::new().layer(tar.file("src/app.py", "import nowhere")),
        &["missing-module imports `nowhere`"],
    );
}

#[test]
fn what_was_installed_for_nobody_is_an_error() {
    let image =
        |site| Layout::new().layer(distribution(Tar::debian(""), site, "six", &[], &[("six.py", b"")]));
    let elsewhere = "usr/local/lib/python3.11/site-packages";
    check(&image(elsewhere), &["unfound-packages /usr/bin/python3 does not look there for six"]);
    check(&image("opt/venv/lib/python3.11/site-packages"), &[]);
}

#[test]
fn distributions_behind_links_are_seen() {
    let cache = "root/.cache/uv/archive-v0/x";
    let info = "app-1.0.dist-info";
    let metadata = "Metadata-Version: 2.1\nName: app\nVersion: 1.0\nLicense: A\n        \n        B\nRequires-Dist: nowhere\n";
    let files = [("METADATA", metadata), ("RECORD", "app.py,,\n")];
    let cached = files
        .iter()
        .fold(Tar::debian(""), |tar, (name, text)| tar.file(&format!("{cache}/{info}/{name}"), text));
    let cached = cached.file(&format!("{cache}/app.py"), "");
    let linked = |hard: bool| {
        let names = [format!("{info}/METADATA"), format!("{info}/RECORD"), "app.py".to_owned()];
        names.iter().fold(cached.clone(), |tar, name| match hard {
            true => tar.hardlink(&format!("{PACKAGES}/{name}"), &format!("{cache}/{name}")),
            false => tar.symlink(&format!("{PACKAGES}/{name}"), &format!("/{cache}/{name}")),
        })
    };
    for hard in [true, false] {
        check(&Layout::new().layer(linked(hard)), &["unmet-requirement `nowhere`"]);
    }
    let gone = Tar::new().whiteout("root/.cache");
    check(&Layout::new().layer(linked(true)).layer(gone), &["unmet-requirement `nowhere`"]);
}

#[test]
fn a_config_names_what_the_image_has() {
    let base = || Layout::new().layer(Tar::debian(""));
    check(&with(base(), "User", json!("me")), &[]);
    check(&with(base(), "User", json!("1234")), &[]);
    check(&with(base(), "User", json!("you")), &["image-config no user or group `you`"]);
    check(
        &with(base(), "Entrypoint", json!(["/usr/bin/serve"])),
        &["image-config no program `/usr/bin/serve`"],
    );
    check(&with(base(), "Entrypoint", json!(["python3", "-m", "app"])), &[]);
    check(&with(base(), "WorkingDir", json!("/nowhere")), &[]);
}

#[test]
fn a_check_of_health_without_its_program_is_warned_of() {
    let missing = |test: Value| {
        let world = World::new();
        with(Layout::new().layer(Tar::debian("")), "Healthcheck", json!({"Test": test}))
            .write(&world.path("image"));
        let outcome = world.run(&["check", "oci:image", "--json"]);
        assert_eq!(outcome.code, 0, "{outcome}");
        let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let warnings = findings.filter(|it| it["level"] == "warning" && it["rule"] == "image-config");
        warnings.map(|it| it["seen"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let curl = ["the image has no program `curl`: every container would be unhealthy"];
    assert_eq!(missing(json!(["CMD", "curl", "-f", "http://localhost/"])), curl);
    assert_eq!(missing(json!(["CMD-SHELL", "curl -f http://localhost/ || exit 1"])), curl);
    for test in [json!(["CMD", "python3", "-c", ""]), json!(["CMD-SHELL", "test -e /ready"]), json!(["NONE"])]
    {
        assert_eq!(missing(test.clone()), [""; 0], "{test}");
    }
}

#[test]
fn calls_that_another_cuda_would_answer_are_told_with_the_order_that_is_safe() {
    let workshop = Workshop::new();
    let cublas = |soname| workshop.link(&defining(soname, "void cublasCreate_v2(void) {}"));
    let (older, newer) = (cublas("libcublas.so.12"), cublas("libcublas.so.13"));
    let stubs = workshop.link(&Source {
        soname: "_pywrap_tensorflow_internal.so",
        code: "const char name[] = \"\\0libcublas.so.12\"; void cublasCreate_v2(void) {}",
        needs: &[],
        flags: &[],
    });
    let versions = workshop.link(&Source {
        soname: "_versions.so",
        code: "void cublasCreate_v2(void); void PyInit__versions(void) { cublasCreate_v2(); }",
        needs: &["libcublas.so.13"],
        flags: &[],
    });
    let lib = |minor: &str| format!("usr/local/cuda-{minor}/targets/x86_64-linux/lib");
    let tensorflow = [("tensorflow/python/_pywrap_tensorflow_internal.so", &stubs[..])];
    let tar = distribution(Tar::debian(""), PACKAGES, "tensorflow", &[], &tensorflow)
        .file(&format!("{}/libcublas.so.12", lib("12.5")), older)
        .file(&format!("{}/libcublas.so.13", lib("13.0")), newer);
    let tar =
        distribution(tar, PACKAGES, "jax-cuda13-plugin", &[], &[("plugin/_versions.so", &versions[..])]);
    let env = json!([format!("LD_LIBRARY_PATH=/{}:/{}", lib("12.5"), lib("13.0"))]);
    let world = World::new();
    with(Layout::new().layer(tar), "Env", env).write(&world.path("image"));
    let outcome = world.run(&["check", "oci:image", "--json"]);
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome:?}"));
    let findings = report["findings"].as_array().unwrap();
    let interposed = findings.iter().find(|it| it["evidence"]["kind"] == "interposed");
    let found = interposed.unwrap_or_else(|| panic!("{findings:#?}"));
    assert_eq!(found["evidence"]["symbol"], "cublasCreate_v2");
    assert_eq!(found["evidence"]["first"]["name"], "tensorflow");
    let advice = json!({"kind": "import-first", "name": "jax-cuda13-plugin", "before": "tensorflow"});
    assert_eq!(found["advice"], advice);
}

#[test]
fn libraries_in_directories_of_wheels_are_no_modules() {
    let library = library("libblas.so", b"");
    check(
        &app(&[
            ("other/__init__.py", b""),
            ("app.libs/libblas-f650aae0.3.3.so", &library),
            ("app-data/libx.so", &library),
        ]),
        &[],
    );
}

#[test]
fn the_extension_module_that_opencv_loads_by_its_own_machinery_must_load() {
    let init: &[u8] =
        b"import sys\ndef bootstrap():\n    sys.modules['importlib'].import_module('cv2')\nbootstrap()\n";
    let files: &[(&str, &[u8])] = &[("cv2/__init__.py", init), ("cv2/cv2.so", &lacking("cv2"))];
    check(&app(files), &["missing-library libspeed.so.1"]);
}

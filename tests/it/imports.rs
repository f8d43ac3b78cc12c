//! `imgforge check --import` imports what an image has with its own interpreter, in a sandbox.
#![cfg(target_arch = "x86_64")]

use serde_json::{Value, json};

use crate::support::World;
use crate::support::layout::{Layout, Tar};
use crate::support::sdist::base;

const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";

/// The image of this machine's Python with the distributions `name`, each one module.
fn image(modules: &[(&str, &str)]) -> Option<Layout> {
    let installed = |tar: Tar, (name, code): &(&str, &str)| {
        let info = format!("{PACKAGES}/{name}-1.0.dist-info");
        tar.file(&format!("{info}/METADATA"), format!("Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"))
            .file(&format!("{info}/RECORD"), format!("{name}.py,,\n"))
            .file(&format!("{PACKAGES}/{name}.py"), code)
    };
    Some(Layout::new().layer(modules.iter().fold(base()?, installed)))
}

/// The outcome of `check` with these options: its exit code and its report.
fn check(world: &World, options: &[&str]) -> (i32, Value) {
    let arguments = [&["check", "oci:image", "--json"], options].concat();
    let outcome = world.run(&arguments);
    (outcome.code, serde_json::from_str(&outcome.stdout).unwrap_or_else(|_| panic!("{outcome}")))
}

/// The level, the subject and the error of each import that failed.
fn failed(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap().iter();
    let failed = findings.filter(|it| it["rule"] == "failed-import");
    failed
        .map(|it| format!("{} {} {}", it["level"], it["subject"], it["evidence"]["error"]).replace('"', ""))
        .collect()
}

#[test]
fn errors_that_only_a_run_shows_are_findings() {
    let modules = [
        ("fine", "import json\nX = 1\n"),
        ("libmagic", "def load(name):\n    raise ImportError('no lib' + name)\nload('magic')\n"),
        ("gpu", "raise OSError('libcuda.so.1: cannot open shared object file: No such file or directory')\n"),
        ("crash", "import os\nos.abort()\n"),
        (
            "framed",
            "try:\n    raise OSError('libcuda.so.1: cannot open shared object file')\n\
             except OSError as error:\n    raise ImportError('\\n======\\nFailed to import.\\n\\n1. ') from error\n",
        ),
        ("leaves", "import os\nos._exit(3)\n"),
        ("exits", "raise SystemExit\n"),
    ];
    let Some(image) = image(&modules) else { return };
    let world = World::new();
    image.write(&world.path("image"));
    let (code, report) = check(&world, &[]);
    assert_eq!((code, &report["looked_at"]["imported"], failed(&report).len()), (0, &Value::Null, 0));
    let (code, report) = check(&world, &["--import"]);
    assert_eq!((code, &report["looked_at"]["imported"]), (1, &json!(7)));
    assert_eq!(
        failed(&report),
        [
            "error crash 1.0 the import ends the process with SIGABRT",
            "error exits 1.0 SystemExit",
            "error leaves 1.0 the import ends the process with exit code 3",
            "error libmagic 1.0 ImportError: no libmagic",
            "note framed 1.0 ImportError: Failed to import. (before it: OSError: libcuda.so.1: cannot open shared object file)",
            "note gpu 1.0 OSError: libcuda.so.1: cannot open shared object file: No such file or directory",
        ]
    );
    // What was found once is no part of the report without imports.
    assert_eq!(check(&world, &[]).0, 0);
}

#[test]
fn an_import_has_the_environment_of_a_container_and_nothing_of_the_machine() {
    let code = "import os, sys\n\
        assert sys.argv == ['-c'] and sys.path[0] == '', (sys.argv, sys.path)\n\
        assert os.environ['WORD'] == 'a=b' and os.environ['HOME'] == '/tmp', os.environ\n\
        assert set(os.listdir('/')) <= {'dev', 'etc', 'imgforge', 'lib', 'lib64', 'proc', 'sys', 'tmp', 'usr', 'var'}, os.listdir('/')\n\
        assert os.listdir('/proc') == ['cpuinfo', 'meminfo'] or os.listdir('/proc') == ['meminfo', 'cpuinfo']\n\
        assert open('/sys/devices/system/cpu/possible').read()[0] == '0' and os.listdir('/sys') == ['devices']\n\
        assert os.getcwd() == '/usr/lib', os.getcwd()\n\
        open('/tmp/written', 'w').close()\n\
        try:\n    open('/usr/written', 'w')\n\
        except OSError: pass\n\
        else: raise AssertionError('it writes into the image')\n\
        import socket\n\
        try: socket.create_connection(('127.0.0.1', 9), 1)\n\
        except OSError: pass\n";
    let Some(image) = image(&[("looks", code)]) else { return };
    let world = World::new();
    let image = image.with(|layout| {
        layout.config["config"]["Env"] = json!(["WORD=a=b", "HOME=/root"]);
        layout.config["config"]["WorkingDir"] = json!("/usr/lib");
    });
    image.write(&world.path("image"));
    let (code, report) = check(&world, &["--import"]);
    assert_eq!((code, failed(&report)), (0, vec![]), "{report:#}");
}

#[test]
fn an_interpreter_that_says_nothing_proves_nothing() {
    let Some(image) = image(&[("fine", "")]) else { return };
    let world = World::new();
    let image = image.layer(Tar::new().file("usr/lib/python3.11/encodings/__init__.py", "raise OSError\n"));
    image.write(&world.path("image"));
    let outcome = world.run(&["check", "oci:image", "--import"]);
    assert_eq!(outcome.code, 1, "{outcome}");
    assert!(
        outcome.stderr.contains("`/usr/bin/python3` of the image did not import what it was asked to"),
        "{outcome}"
    );
}

//! A recipe may ask for bytecode: it lies beside every module, and is the same however it was made.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::elf::library;
use crate::support::image::Image;
use crate::support::layout::{Layout, Tar};
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run, sound_blobs};

const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";
const RECIPE: &str = "packages: [demo]\npython: {bytecode: true}\n";

/// An interpreter that claims to be the one of the base, which itself cannot run.
const INTERPRETER: &str = "#!/usr/bin/python3\n\
    import sys\n\
    exec(open(sys.argv[-1]).read().replace('{sys.version.split()[0]}', '3.11.2'))\n";

fn demo() -> Wheel {
    Wheel::new("demo", "1.0")
        .requires("helper>=2")
        .file("demo/__init__.py", "import helper\nHELP = 'help me', helper.__name__\n")
        .executable("demo/cli.py", "def main(): return 'demo'\n")
        .file("demo/template.py", "print 'of Python 2'\n")
        .file("demo/__pycache__/cli.cpython-311.pyc", "of whoever made the wheel")
        .file("demo/data.txt", "text\n")
        .file("demo-1.0.data/scripts/demo-script.py", "#!python\n")
}

fn world() -> World {
    let mut world = World::new();
    world.publish(Wheel::new("helper", "2.5").file("helper.py", "def help(): pass\n"));
    world.publish(demo());
    fs::create_dir(world.path("bin")).unwrap();
    let interpreter = world.write("bin/python3.11", INTERPRETER);
    fs::set_permissions(interpreter, fs::Permissions::from_mode(0o755)).unwrap();
    world.recipe(RECIPE);
    world
}

fn build(world: &World, threads: &str, store: &str) -> Outcome {
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image"]);
    command.env("PATH", world.path("bin")).env("IMGFORGE_THREADS", threads);
    run(command.env("IMGFORGE_CACHE_DIR", store))
}

#[test]
fn every_module_has_its_bytecode_beside_it() {
    let world = world();
    build(&world, "2", "store").check_success();
    sound_blobs(&world.path("image"));
    let image = Image::read(&world.path("image"));
    let compiled: Vec<&str> = image
        .files
        .keys()
        .filter_map(|path| path.strip_prefix(PACKAGES))
        .filter(|path| path.ends_with(".pyc"))
        .collect();
    let expected = [
        "/__pycache__/helper.cpython-311.pyc",
        "/demo/__pycache__/__init__.cpython-311.pyc",
        "/demo/__pycache__/cli.cpython-311.pyc",
    ];
    assert_eq!(compiled, expected);
    for path in expected {
        const UNCHECKED_HASH: [u8; 4] = [1, 0, 0, 0];
        assert_eq!(image.file(&format!("{PACKAGES}{path}")).content[4..8], UNCHECKED_HASH, "{path}");
    }
    let compiled = image.file(&format!("{PACKAGES}{}", expected[2]));
    assert_eq!(compiled.mode, 0o755);
    let path = format!("/{PACKAGES}/demo/cli.py");
    assert!(compiled.content.windows(path.len()).any(|window| window == path.as_bytes()));
}

#[test]
fn record_lists_bytecode_without_a_hash_as_pip_does() {
    let world = world();
    build(&world, "2", "store").check_success();
    let image = Image::read(&world.path("image"));
    let dist_info = format!("{PACKAGES}/demo-1.0.dist-info");
    image.check_record(&dist_info);
    let record = image.text(&format!("{dist_info}/RECORD"));
    let rows: Vec<&str> = record.lines().filter(|row| row.contains("__pycache__")).collect();
    let module = |name| format!("demo/__pycache__/{name}.cpython-311.pyc,,");
    assert_eq!(rows, [module("__init__"), module("cli")]);
}

#[test]
fn threads_and_an_empty_store_do_not_change_the_bytecode() {
    let world = world();
    let first = build(&world, "1", "store").check_success();
    assert_eq!(build(&world, "5", "other").check_success(), first);
}

#[test]
fn a_wheel_is_compiled_once_for_every_layer_that_it_is_in() {
    let world = world();
    build(&world, "2", "store").check_success();
    let kept = || fs::read_dir(world.path("store/records/bytecode")).unwrap().count();
    assert_eq!(kept(), 2);
    world.recipe("packages: [demo, helper]\npython: {bytecode: true}\n");
    build(&world, "2", "store").check_success();
    assert_eq!(kept(), 2);
}

#[test]
fn the_recipes_own_modules_are_not_hidden_behind_the_bytecode_of_others() {
    let world = world();
    world.write("patch.py", "def help(): return 1\n");
    world.recipe(&format!("{RECIPE}files: [{{from: patch.py, to: /{PACKAGES}/helper.py}}]\n"));
    build(&world, "2", "store").check_success();
    let image = Image::read(&world.path("image"));
    assert_eq!(image.text(&format!("{PACKAGES}/helper.py")), "def help(): return 1\n");
    assert!(image.whiteouts.contains(&format!("{PACKAGES}/__pycache__/helper.cpython-311.pyc")));
}

#[test]
fn without_an_interpreter_of_the_bases_version_bytecode_is_refused() {
    let world = world();
    fs::remove_file(world.path("bin/python3.11")).unwrap();
    build(&world, "2", "store").check_failure(1, &["compile", "hint: put", "python.bytecode"]);
    let other = INTERPRETER.replace("3.11.2", "3.11.3");
    let path = world.write("bin/python3.11", other);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    build(&world, "2", "store").check_failure(1, &["compile", "hint: put", "python.bytecode"]);
    world.recipe("packages: [demo]\n");
    build(&world, "2", "store").check_success();
}

/// dpkg's paragraphs on a C library.
const LIBC: &str = "Package: libc-bin\nStatus: install ok installed\nVersion: 2.36-9+deb12u10\n\n\
                    Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u10\n\n";

/// This machine's Python 3.11 as a base: its program and what is not its own, or all that it needs to run.
fn base_of_machine(python: &Path, is_whole: bool) -> Tar {
    let mut base = Tar::new()
        .file("etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n")
        .file("usr/bin/python3.11", fs::read(python).unwrap())
        .symlink("usr/bin/python3", "python3.11")
        .symlink("lib", "usr/lib")
        .symlink("lib64", "usr/lib64")
        .file("var/lib/dpkg/status", LIBC);
    if !is_whole {
        return base
            .file("usr/lib/python3.11/os.py", "")
            .file("usr/lib/x86_64-linux-gnu/libc.so.6", library("libc.so.6", b""));
    }
    let linked = Command::new("ldd").arg(python).output().unwrap();
    for word in
        String::from_utf8(linked.stdout).unwrap().split_whitespace().filter(|word| word.starts_with('/'))
    {
        let name = Path::new(word).file_name().unwrap().to_str().unwrap();
        let directory = if name.starts_with("ld-linux") { "usr/lib64" } else { "usr/lib/x86_64-linux-gnu" };
        base = base.file(&format!("{directory}/{name}"), fs::read(word).unwrap());
    }
    let library = "/usr/lib/python3.11";
    let codecs = fs::read_dir(format!("{library}/encodings")).unwrap();
    let codecs = codecs.map(|entry| format!("encodings/{}", entry.unwrap().file_name().display()));
    let modules = ["os.py", "abc.py", "codecs.py", "io.py"].map(str::to_owned);
    for name in codecs.filter(|name| name.ends_with(".py")).chain(modules) {
        base =
            base.file(&format!("usr/lib/python3.11/{name}"), fs::read(format!("{library}/{name}")).unwrap());
    }
    base
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_bases_own_interpreter_gives_the_machines_bytes_from_its_sandbox() {
    let python = Path::new("/usr/bin/python3.11");
    if !python.exists() {
        return eprintln!("skipped: this machine has no /usr/bin/python3.11");
    }
    let world = world();
    let compiled = |base: &str, path: &str| {
        Layout::new().layer(base_of_machine(python, base == "own")).write(&world.path(base));
        world.write("recipe.yaml", format!("name: demo\nbase: oci:{base}\n{RECIPE}"));
        let mut command =
            world.command(&["build", "recipe.yaml", "-o", &format!("oci:image-{base}"), "--no-check"]);
        run(command.env("PATH", path).env("IMGFORGE_CACHE_DIR", format!("store-{base}"))).check_success();
        let image = Image::read(&world.path(&format!("image-{base}")));
        let files = image.files.into_iter().filter(|(path, _)| path.ends_with(".pyc"));
        files.map(|(path, file)| (path, file.content)).collect::<Vec<_>>()
    };
    let own = compiled("own", "/nowhere");
    assert_eq!(own.len(), 3);
    assert!(own == compiled("lacking", "/usr/bin:/bin"));
}

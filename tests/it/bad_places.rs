//! A store or destination that cannot be written, or is full, is named, and stays sound.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run, sound_blobs};

/// A world with a wheel of so many bytes that do not compress.
fn with_wheel_of(bytes: usize) -> World {
    let mut world = World::new();
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    world.publish(Wheel::new("demo", "1.0").file("demo/data.bin", noise.take(bytes).collect::<Vec<u8>>()));
    world.recipe("packages: [demo]\n");
    world
}

/// A file system in memory, unmounted when dropped.
struct Tmpfs {
    path: PathBuf,
}

impl Tmpfs {
    /// `None`, with the reason on stderr, where this may not mount.
    fn mount(path: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "imgforge-test"])
            .arg(&path)
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self { path }),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                eprintln!("skipped: a full disk needs a small tmpfs, and mounting one failed: {reason}");
                None
            }
            Err(error) => {
                eprintln!("skipped: a full disk needs a small tmpfs, and there is no `mount`: {error}");
                None
            }
        }
    }
}

impl Tmpfs {
    /// Makes room.
    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        let resized = Command::new("mount").args(["-o", &options]).arg(&self.path).status();
        assert!(resized.unwrap().success(), "could not resize {}", self.path.display());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.path).status();
        assert!(unmounted.unwrap().success(), "could not unmount {}", self.path.display());
    }
}

#[test]
fn a_directory_of_something_else_is_refused_before_anything_is_read() {
    let world = World::new();
    std::fs::create_dir(world.path("notes")).unwrap();
    world.write("notes/todo.txt", "write a recipe");
    world.write("file", "");
    for (place, path) in [("oci:notes", "notes"), ("oci:file:v1", "file")] {
        for arguments in [&["build", "gone.yaml", "-o", place][..], &["copy", "oci:gone", place]] {
            let outcome = world.run(arguments);
            let said = format!("`{path}` is there and is not an OCI layout");
            world.check_failure(&outcome, 1, &[&said, "hint: choose another directory"]);
        }
    }
}

#[test]
fn a_full_disk_during_a_download_leaves_the_store_sound() {
    let world = with_wheel_of(2 << 20);
    let Some(tmpfs) = Tmpfs::mount(world.store(), "1m") else { return };
    let outcome = world.build();
    world.check_failure(
        &outcome,
        1,
        &["No space left on device", "hint: free some space, or point IMGFORGE_CACHE_DIR"],
    );
    let begun = |what: &str| outcome.stderr.lines().any(|line| line.starts_with(what));
    assert!(begun("downloading demo") && !begun("writing demo"), "{outcome}");
    tmpfs.resize("16m");
    world.build().check_success();
    world.sound_blobs();
}

#[test]
fn a_full_disk_during_a_layer_leaves_the_store_sound() {
    let world = with_wheel_of(2 << 20);
    let Some(tmpfs) = Tmpfs::mount(world.store(), "3m") else { return };
    let outcome = world.build();
    world.check_failure(
        &outcome,
        1,
        &["No space left on device", "hint: free some space, or point IMGFORGE_CACHE_DIR"],
    );
    assert!(outcome.stderr.lines().any(|line| line.starts_with("writing demo")), "{outcome}");
    tmpfs.resize("16m");
    world.build().check_success();
    world.sound_blobs();
}

#[test]
fn a_full_destination_is_named_and_keeps_nothing() {
    let world = with_wheel_of(2 << 20);
    let Some(_tmpfs) = Tmpfs::mount(world.path("small"), "1m") else { return };
    let said = ["No space left on device", "hint: free some space, or write to another place with -o"];
    for destination in ["oci-archive:small/image.tar", "oci:small/image"] {
        let outcome = world.run(&["build", "recipe.yaml", "-o", destination]);
        world.check_failure(&outcome, 1, &said);
    }
    assert!(!world.path("small/image.tar").exists());
    assert!(!world.path("small/image/index.json").exists());
    sound_blobs(&world.path("small/image"));
    world.build().check_success();
}

#[test]
fn a_destination_below_a_file_is_named() {
    let mut world = with_wheel_of(10);
    world.write("file", "");
    for (destination, path) in [("oci:file/image", "file/image"), ("oci-archive:file/image.tar", "`file`")] {
        let outcome = world.run(&["build", "recipe.yaml", "-o", destination]);
        world.check_failure(&outcome, 1, &["could not write", path, "hint: "]);
    }
    assert_eq!(fs::read(world.path("file")).unwrap(), b"");
    world.check_good_build();
}

#[test]
fn a_directory_that_is_something_else_is_left_alone() {
    let world = with_wheel_of(10);
    fs::create_dir(world.path("mine")).unwrap();
    world.write("mine/thesis.txt", "important");
    let outcome = world.run(&["build", "recipe.yaml", "-o", "oci:mine"]);
    world.check_failure(&outcome, 1, &["`mine` is there and is not an OCI layout", "hint: choose another"]);
    let outcome = world.run(&["build", "recipe.yaml", "-o", "oci-archive:mine"]);
    world.check_failure(&outcome, 1, &["could not write `mine`", "hint: "]);
    assert_eq!(fs::read_dir(world.path("mine")).unwrap().count(), 1);
}

#[test]
fn a_store_below_a_file_is_named() {
    let world = with_wheel_of(10);
    world.write("file", "");
    let mut command = world.command(&["build", "recipe.yaml"]);
    let outcome = run(command.env("IMGFORGE_CACHE_DIR", world.path("file/store")));
    outcome.check_failure(1, &["could not create", "file/store", "in the store", "hint: "]);
}

#[test]
fn files_of_the_store_that_lost_their_end_are_made_again() {
    let world = with_wheel_of(1000);
    let first = world.build().check_success();
    let blobs = world.sound_blobs();
    for name in &blobs {
        // Not in place: the layout has the same files.
        let path = world.store().join("blobs/sha256").join(name);
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let again = world.run(&["build", "recipe.yaml", "-o", "oci:again"]);
    assert_eq!(again.check_success(), first);
    assert_eq!(world.sound_blobs(), blobs);
    sound_blobs(&world.path("again"));
}

#[test]
fn a_time_that_is_none_is_named() {
    let world = with_wheel_of(10);
    let mut command = world.command(&["build", "recipe.yaml"]);
    let outcome = run(command.env("SOURCE_DATE_EPOCH", "yesterday"));
    outcome.check_failure(1, &["SOURCE_DATE_EPOCH is `yesterday`", "hint: "]);
}

/// Runs the program in a shell, as `$0`, with what `script` makes of its standard files.
fn in_shell(world: &World, script: &str) -> Outcome {
    let mut command = Command::new("sh");
    let program = world.command(&[]);
    command.args(["-c", script, env!("CARGO_BIN_EXE_imgforge")]).current_dir(world.directory.path());
    command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    run(&mut command)
}

#[test]
fn an_archive_goes_into_a_pipe_as_into_a_file() {
    let world = with_wheel_of(2 << 20);
    world.run(&["build", "recipe.yaml", "-o", "oci-archive:file.tar"]).check_success();
    let file = fs::read(world.path("file.tar")).unwrap();
    assert!(Command::new("mkfifo").arg(world.path("fifo")).status().unwrap().success());
    for (script, is_shown) in [
        ("$0 build recipe.yaml -q -o oci-archive:- | cat > piped.tar", false),
        ("$0 build recipe.yaml -q -o oci-archive:- > piped.tar", false),
        ("$0 build recipe.yaml -q -o oci-archive:/dev/stdout | cat > piped.tar", false),
        ("$0 build recipe.yaml -q -o oci-archive:-:latest | cat > piped.tar", false),
        ("cat fifo > piped.tar & $0 build recipe.yaml -q -o oci-archive:fifo; wait", true),
        ("$0 build recipe.yaml -q -o oci-archive:/dev/fd/3 3>&1 >&2 | cat > piped.tar", false),
    ] {
        let outcome = in_shell(&world, script);
        assert_eq!(outcome.code, 0, "{script}: {outcome}");
        assert_eq!(outcome.stdout.contains("sha256:"), is_shown, "{script}: {outcome}");
        assert!(fs::read(world.path("piped.tar")).unwrap() == file, "{script}: another archive");
        fs::remove_file(world.path("piped.tar")).unwrap();
    }
    assert!(!fs::symlink_metadata(world.path("fifo")).unwrap().is_file());
    let kinds = |path: &str| fs::symlink_metadata(path).unwrap().file_type();
    assert!(kinds("/dev/stdout").is_symlink() && !kinds("/dev/null").is_file());
}

#[test]
fn a_link_to_an_archive_stays_one() {
    let world = with_wheel_of(10);
    fs::create_dir(world.path("there")).unwrap();
    world.write("there/image.tar", "old");
    std::os::unix::fs::symlink("there/image.tar", world.path("link.tar")).unwrap();
    world.run(&["build", "recipe.yaml", "-o", "oci-archive:link.tar"]).check_success();
    assert!(fs::symlink_metadata(world.path("link.tar")).unwrap().is_symlink());
    assert!(fs::metadata(world.path("there/image.tar")).unwrap().len() > 1000);
}

#[test]
fn a_device_is_written_to_and_stays_one() {
    let world = with_wheel_of(10);
    world.run(&["build", "recipe.yaml", "-o", "oci-archive:/dev/null"]).check_success();
    let outcome = world.run(&["build", "recipe.yaml", "-o", "oci-archive:/dev/full"]);
    world.check_failure(&outcome, 1, &["could not write `/dev/full`", "No space left on device", "hint: "]);
    use std::os::unix::fs::FileTypeExt;
    for device in ["/dev/null", "/dev/full"] {
        assert!(fs::symlink_metadata(device).unwrap().file_type().is_char_device(), "{device}");
    }
    let _socket = std::os::unix::net::UnixListener::bind(world.path("socket")).unwrap();
    let outcome = world.run(&["build", "recipe.yaml", "-o", "oci-archive:socket"]);
    world.check_failure(&outcome, 1, &["`socket` is neither a file nor a pipe", "hint: "]);
}

#[test]
fn standard_files_that_are_closed_or_full_are_no_panic() {
    let world = with_wheel_of(10);
    world.build().check_success();
    for (script, code) in [
        ("$0 build recipe.yaml -o oci:image 2>&-", 0),
        ("$0 build recipe.yaml -o oci:image 2>/dev/full", 0),
        ("$0 build recipe.yaml -o oci:image --progress json 2>/dev/full", 0),
        ("$0 build recipe.yaml -o oci:image >&- 2>&-", 0),
        ("$0 lock recipe.yaml 2>/dev/full", 0),
        ("$0 build gone.yaml 2>/dev/full", 2),
        ("$0 build gone.yaml 2>&-", 2),
        ("$0 build --nonsense 2>/dev/full", 2),
        ("$0 check oci:image 2>/dev/full >/dev/null", 0),
        ("$0 plan recipe.yaml >/dev/full", 1),
        ("$0 plan recipe.yaml --json >/dev/full", 1),
        ("$0 check oci:image >/dev/full", 1),
        ("$0 check oci:image --json >/dev/full 2>/dev/full", 1),
        ("$0 cache verify >/dev/full", 1),
        ("$0 cache info >/dev/full", 1),
        ("$0 build recipe.yaml -o oci:image >/dev/full", 1),
        ("$0 --help >/dev/full", 1),
        ("$0 completions bash >/dev/full", 1),
        ("{ $0 plan recipe.yaml --json; echo $? >code; } | true; exit $(cat code)", 0),
        ("{ $0 completions bash; echo $? >code; } | true; exit $(cat code)", 0),
        ("{ $0 build recipe.yaml -q -o oci-archive:-; echo $? >code; } | true; exit $(cat code)", 1),
    ] {
        let outcome = in_shell(&world, script);
        assert_eq!(outcome.code, code, "{script}: {outcome}");
        assert!(!outcome.stderr.contains("panicked"), "{script}: {outcome}");
        if script.contains(">/dev/full") && code == 1 && !script.contains("2>") && !script.contains("help") {
            assert!(outcome.stderr.contains("could not write to standard output"), "{script}: {outcome}");
        }
    }
}

//! A program that tries to get out, behind every kind of wall that this machine can make.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::prepared::{Prepared, Walls};
use super::*;

const LIMITS: SandboxLimits =
    SandboxLimits { cpu: 10, address_space: 1 << 30, file_size: 1000, open_files: 32, processes: 4 };
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory with the probe, which is linked statically.
static TREE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sandbox/probe.c");
    let probe = directory.path().join("probe");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-O1", "-w", source, "-o"]).arg(&probe);
    assert!(cc.status().expect("cc, which cargo links with").success());
    // Its mode forbids nothing: the sandbox must.
    let data = directory.path().join("data");
    fs::write(&data, "data").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o666)).unwrap();
    directory
});

fn walls() -> Vec<Walls> {
    use rustix::thread::{CapabilitySet, capabilities};
    // Root of a container lacks it.
    match capabilities(None).unwrap().effective.contains(CapabilitySet::SYS_ADMIN) {
        true => vec![Walls::OfRoot, Walls::OfUser],
        false => vec![Walls::OfUser],
    }
}

fn command(arguments: &[&str]) -> SandboxCommand {
    let tree = |source: &std::path::Path, target: &str, access| SandboxTree {
        source: source.to_owned(),
        target: target.into(),
        access,
    };
    SandboxCommand {
        program: "/tree/probe".into(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: vec![("ONLY".into(), "this".into())],
        trees: vec![tree(TREE.path(), "/tree", TreeAccess::ReadOnly)],
        links: Vec::new(),
        limits: LIMITS,
    }
}

#[test]
fn links_at_the_root_lead_within_the_sandbox() {
    for walls in walls() {
        let link = SandboxLink { path: "/link".into(), target: "/tree".into() };
        let linked = SandboxCommand { program: "/link/probe".into(), links: vec![link], ..command(&["ids"]) };
        assert_eq!(said(&linked, walls), said(&command(&["ids"]), walls), "{walls:?}");
    }
}

fn start(command: &SandboxCommand, walls: Walls) -> SandboxedProcess {
    let prepared = Arc::new(Prepared::new(command).unwrap());
    let mut process = process::start_behind(&prepared, walls).unwrap().unwrap();
    process.output.allow(PATIENCE);
    process
}

/// The output of the probe, with its lines sorted and joined by spaces.
fn said(command: &SandboxCommand, walls: Walls) -> String {
    let mut text = String::new();
    start(command, walls).output.read_to_string(&mut text).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join(" ")
}

#[track_caller]
fn check(cases: &[(&[&str], &str)]) {
    for walls in walls() {
        for (arguments, expected) in cases {
            assert_eq!(said(&command(arguments), walls), *expected, "{walls:?} {arguments:?}");
        }
    }
}

#[test]
fn a_program_sees_its_tree_four_devices_and_nothing_of_the_machine() {
    check(&[
        (&["list", "/"], "dev tree"),
        (&["list", "/tree"], "data probe"),
        (&["list", "/dev"], "null random urandom zero"),
        (&["open", "/dev/urandom"], "allowed"),
        (&["open", "/etc/passwd"], "ENOENT"),
        (&["open", "/proc/self/environ"], "ENOENT"),
        (&["open", "/proc/1/root/etc/passwd"], "ENOENT"),
        (&["open", "/sys/kernel"], "ENOENT"),
        (&["open", "/tree/../../../../etc/hostname"], "ENOENT"),
        (&["open", TREE.path().to_str().unwrap()], "ENOENT"),
        (&["environment"], "ONLY=this"),
        (&["host"], "sandbox"),
        (&["ids"], "65534 65534 1 1"),
        (&["descriptors"], "0 1 2"),
        (&["capabilities"], "0 0 0"),
    ]);
}

#[test]
fn a_program_writes_nowhere() {
    check(&[
        (&["create", "/file"], "EROFS"),
        (&["create", "/dev/file"], "EROFS"),
        (&["create", "/tree/file"], "EROFS"),
        (&["create", "/tree/data"], "EROFS"),
        (&["create", "/tmp/file"], "ENOENT"),
        (&["create", "/dev/shm/file"], "ENOENT"),
        (&["mkdir", "/directory"], "EROFS"),
        (&["symlink", "/tree/link"], "EROFS"),
        (&["chmod", "/tree/data"], "EROFS"),
        (&["chmod", "/dev/null"], "EROFS"),
        (&["create", "/dev/null"], "allowed"),
    ]);
}

#[test]
fn a_program_reaches_no_network_and_no_other_process() {
    let listening = |name: &str| {
        use std::os::linux::net::SocketAddrExt;
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap()
    };
    let name = format!("imgforge-test-{}", std::process::id());
    let _listener = listening(&name);
    let families = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET, libc::AF_VSOCK];
    for family in families.map(|family| family.to_string()) {
        check(&[(&["socket", &family], "ENOSYS")]);
    }
    check(&[
        (&["abstract", &name], "ECONNREFUSED"),
        (&["kill", &std::process::id().to_string()], "ESRCH"),
        (&["kill-parent"], "ESRCH"),
    ]);
}

#[test]
fn the_calls_by_which_sandboxes_are_left_do_not_exist() {
    let calls = [
        "mount",
        "umount",
        "unshare",
        "setns",
        "clone-namespaces",
        "clone3",
        "ptrace",
        "keyctl",
        "bpf",
        "perf",
        "userfaultfd",
        "io_uring",
        "module",
        "mknod",
        "chroot",
        "setuid",
        "personality",
        "outlive",
        "type",
        "type-high-bits",
        "x32",
    ];
    for call in calls {
        check(&[(&["call", call], "ENOSYS")]);
    }
    #[cfg(target_arch = "x86_64")]
    check(&[(&["call", "i386"], "")]);
}

#[test]
fn resources_have_limits() {
    for walls in walls() {
        let megabytes: u64 = said(&command(&["memory"]), walls).parse().unwrap();
        assert!((900..1024).contains(&megabytes), "{megabytes}");
        // The kernel sets no limit to the processes of root, which it knows even as nobody in a user namespace.
        let is_root = rustix::process::geteuid().is_root();
        if walls == Walls::OfRoot || !is_root {
            assert_eq!(said(&command(&["processes"]), walls), LIMITS.processes.to_string());
        }
    }
}

#[test]
fn a_scratch_directory_takes_files_up_to_their_limit() {
    for walls in walls() {
        let scratch = tempfile::tempdir().unwrap();
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let tree = SandboxTree {
            source: scratch.path().to_owned(),
            target: "/work/scratch".into(),
            access: TreeAccess::Scratch,
        };
        let mut command = command(&["fill", "/work/scratch/file"]);
        command.trees.push(tree);
        assert_eq!(said(&command, walls), LIMITS.file_size.to_string());
        assert_eq!(fs::metadata(scratch.path().join("file")).unwrap().len(), LIMITS.file_size);
    }
}

#[test]
fn every_process_ends_with_the_sandbox() {
    for walls in walls() {
        let begin = Instant::now();
        let mut process = start(&command(&["daemon"]), walls);
        let mut said = [0; 2];
        process.output.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"1\n");
        // The daemon holds the other end of the pipe as long as it lives.
        process.end();
        assert_eq!(process.output.read(&mut [0]).unwrap(), 0);
        assert!(begin.elapsed() < PATIENCE);
    }
}

#[test]
fn what_does_not_start_is_named() {
    let started = |program: &str, source: &str| {
        let mut command = command(&[]);
        command.program = program.into();
        command.trees[0].source = source.into();
        command.start(Confinement::Sandboxed).unwrap_err()
    };
    let tree = TREE.path().to_str().unwrap();
    let missing = started("/tree/missing", tree);
    assert!(
        matches!(&missing, SandboxError::Exec { source, .. } if source.kind() == io::ErrorKind::NotFound)
    );
    assert!(matches!(
        started("/tree/probe", "/no/such/tree"),
        SandboxError::Refused { step: SetupStep::Trees, .. }
    ));
    let unconfined = command(&[]).start(Confinement::Unconfined).unwrap_err();
    assert!(matches!(unconfined, SandboxError::Exec { .. }));
}

#[test]
fn without_a_sandbox_environment_files_and_group_are_still_bounded() {
    let run = |arguments: &[&str]| {
        let mut command = command(arguments);
        command.program = TREE.path().join("probe");
        said(&command, Walls::Absent)
    };
    assert_eq!(run(&["environment"]), "ONLY=this");
    assert_eq!(run(&["descriptors"]), "0 1 2");
    assert!(run(&["memory"]).parse::<u64>().unwrap() < 1024);
}

#[test]
fn the_switch_is_one_or_nothing() {
    let check = |value: &str, expected| assert_eq!(Confinement::of(Some(OsStr::new(value))), expected);
    check("1", Some(Confinement::Unconfined));
    check("0", Some(Confinement::Sandboxed));
    check("", Some(Confinement::Sandboxed));
    check("yes", None);
    assert_eq!(Confinement::of(None), Some(Confinement::Sandboxed));
}

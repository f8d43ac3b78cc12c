//! A base's interpreter is a stranger's program: whatever it does, it does nothing to the machine, to other images or to
//! the next build, and a build upon it ends.
#![cfg(target_arch = "x86_64")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::image::Image;
use crate::support::layout::{Layout, Tar};
use crate::support::wheel::Wheel;
use crate::support::{Outcome, World, run};

const LOADER: &str = "usr/lib64/ld-linux-x86-64.so.2";
const COMPILED: &str = "usr/local/lib/python3.11/dist-packages/__pycache__/demo.cpython-311.pyc";
const RECIPE: &str = "packages: [demo]\npython: {bytecode: true}\n";
/// Longer than a hostile interpreter may keep a build.
const SOON: Duration = Duration::from_secs(60);

/// The beginning of every hostile program.
const PRELUDE: &str = r#"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
extern char **environ;
static void answer(char kind, const char *content, unsigned size) {
    write(1, &kind, 1);
    write(1, &size, 4);
    write(1, content, size);
}
static void greet(void) { answer('+', "cpython 3.11.2", 14); }
static void take(void) {
    unsigned lengths[2];
    char byte;
    for (int got = 0; got < 8; got++)
        if (read(0, (char *)lengths + got, 1) != 1) _exit(0);
    for (unsigned left = lengths[0] + lengths[1]; left; left--) read(0, &byte, 1);
}
"#;

/// A base whose loader, which runs its interpreter, is the program with this `body` of its main function.
fn hostile(world: &World, body: &str) {
    let (source, program) =
        (world.write("loader.c", format!("{PRELUDE}int main(void) {{{body}}}")), world.path("loader"));
    let mut cc = Command::new("cc");
    cc.args(["-static", "-O1", "-w", "-o"]).arg(&program).arg(source);
    assert!(cc.status().expect("cc, which cargo links with").success());
    let base = Tar::debian("")
        .file(LOADER, fs::read(program).unwrap())
        .symlink("lib64", "usr/lib64")
        .symlink("lib", "usr/lib");
    Layout::new().layer(base).write(&world.path("hostile"));
    recipe(world, "hostile");
}

fn recipe(world: &World, base: &str) {
    world.write("recipe.yaml", format!("name: demo\nbase: oci:{base}\n{RECIPE}"));
}

fn world() -> World {
    let mut world = World::new();
    let more = (0..12).map(|number| format!("more/module{number}.py"));
    let wheel = Wheel::new("demo", "1.0").file("demo.py", "X = 1\n");
    world.publish(more.fold(wheel, |wheel, path| wheel.file(&path, "")));
    world
}

fn command(world: &World) -> Command {
    let mut command = world.command(&["build", "recipe.yaml", "-o", "oci:image", "--no-check"]);
    // No interpreter of the machine shall take its place.
    command.env("PATH", world.path("bin")).env("IMGFORGE_THREADS", "12");
    command
}

/// Builds upon the hostile base: it must fail soon, for the reason that is `said`, and leave no process.
#[track_caller]
fn check(body: &str, said: &[&str]) {
    let world = world();
    hostile(&world, body);
    let begin = Instant::now();
    let outcome = run(&mut command(&world));
    world.check_failure(&outcome, 1, said);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(!world.path("image").exists());
}

/// A program that tries everything that the machine must not allow, and says how each try ended: 0, or an error number.
fn report(world: &World, port: u16, name: &str) -> String {
    let (secret, made) = (world.path("home/.netrc"), world.path("made"));
    format!(
        r#"
    char said[256], path[64];
    int size = 0, variables = 0;
    #define TRY(name, call) size += sprintf(said + size, name "=%d ", (call) < 0 ? errno : 0)
    while (environ[variables]) variables++;
    size += sprintf(said, "variables=%d ", variables);
    sprintf(path, "/proc/%d/environ", getppid());
    TRY("parent", open(path, O_RDONLY));
    TRY("passwd", open("/etc/passwd", O_RDONLY));
    TRY("secret", open("{secret}", O_RDONLY));
    TRY("file", open("{made}", O_CREAT | O_WRONLY, 0644));
    TRY("directory", mkdir("{made}-directory", 0755));
    TRY("link", symlink("x", "{made}-link"));
    struct sockaddr_in v4 = {{.sin_family = AF_INET, .sin_port = htons({port}), .sin_addr = {{htonl(0x7f000001)}}}};
    TRY("v4", connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&v4, sizeof v4));
    struct sockaddr_in6 v6 = {{.sin6_family = AF_INET6, .sin6_port = htons({port}), .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    TRY("v6", connect(socket(AF_INET6, SOCK_STREAM, 0), (void *)&v6, sizeof v6));
    struct sockaddr_un local = {{AF_UNIX, "\0{name}"}};
    TRY("local", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&local, 3 + strlen("{name}")));
    TRY("parent", kill(getppid() ? getppid() : 1 << 21, SIGTERM));
    TRY("type", ioctl(open("/dev/tty", O_RDWR), TIOCSTI, "x"));
    long room = 0;
    while (room < 1 << 16 && mmap(0, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) != MAP_FAILED) room++;
    size += sprintf(said + size, "room=%d", room > 4096);
    answer('+', said, size);
    "#,
        secret = secret.display(),
        made = made.display(),
    )
}

#[test]
fn an_interpreter_reaches_nothing_of_the_machine() {
    let world = world();
    fs::create_dir(world.path("home")).unwrap();
    world.write("home/.netrc", "machine x login u password hunter2\n");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let name = format!("imgforge-it-{}", std::process::id());
    let local = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    local.set_nonblocking(true).unwrap();
    hostile(&world, &report(&world, tcp.local_addr().unwrap().port(), &name));
    let outcome = run(command(&world).env("AWS_SECRET_ACCESS_KEY", "AKIA").env("HOME", world.path("home")));
    // ENOENT 2, ESRCH 3, EBADF 9, ENOSYS 38, ECONNREFUSED 111
    let found = "variables=1 parent=2 passwd=2 secret=2 file=2 directory=2 link=2 v4=9 v6=9 local=111 parent=3 type=38 room=0";
    world.check_failure(&outcome, 1, &[found, "hint: "]);
    for made in ["made", "made-directory", "made-link"] {
        assert!(!world.path(made).exists() && !world.path(made).is_symlink(), "{made}");
    }
    assert!(tcp.accept().is_err() && local.accept().is_err(), "somebody called");
}

#[test]
fn an_interpreter_that_is_none_is_told_at_once() {
    check("_exit(0);", &["it ended", "hint: put"]);
    check("abort();", &["it ended"]);
    check("close(1); for (;;) pause();", &["it ended"]);
    check("close(0); close(1); close(2); for (;;) pause();", &["it ended"]);
    check("for (;;) write(1, \"\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\", 8);", &["the most"]);
    check("for (;;) answer('+', \"cpython 3.12.0\", 14);", &["is cpython 3.12.0"]);
    check("write(2, \"why\", 3); _exit(1);", &["does not run: why"]);
}

#[test]
fn an_interpreter_that_does_not_answer_does_not_keep_the_build() {
    std::thread::scope(|scope| {
        for (body, said) in [
            ("if (!fork()) { setsid(); for (;;) pause(); } for (;;) pause();", "it does not answer"),
            ("for (;;) write(2, \"flood\", 5);", "it does not answer"),
            (
                "for (;;) { write(1, \"+\\xff\\0\\0\\0\", 5); for (;;) { write(1, \"x\", 1); usleep(200000); } }",
                "it does not answer",
            ),
            ("greet(); for (;;) pause();", "it does not answer"),
            ("greet(); take(); for (;;) pause();", "it does not answer"),
            ("greet(); take(); write(1, \"+\\xff\", 2); for (;;) pause();", "it does not answer"),
        ] {
            scope.spawn(move || check(body, &[said, "hint: "]));
        }
    });
}

#[test]
fn an_answer_that_is_no_bytecode_of_the_source_is_refused() {
    let header = r#""\xa7\r\r\n\x01\0\0\0\0\0\0\0\0\0\0\0EVIL", 20"#;
    for (answer, said) in [
        ("answer('+', \"EVIL BYTECODE OF THE BASE\", 25);", "is no bytecode of it"),
        (&format!("answer('+', {header});"), "another source"),
        ("answer('+', \"\", 0);", "0 bytes"),
        ("answer('?', \"\", 0);", "neither bytecode nor a refusal"),
        ("write(1, \"+\\xff\\xff\\xff\\xff\", 5); for (;;) write(1, said, 4096);", "the most"),
        ("write(1, \"+\\x10\\0\\0\\0abc\", 8); _exit(0);", "it ended"),
        ("kill(getpid(), SIGKILL); _exit(1);", "it ended"),
    ] {
        check(&format!("static char said[4096]; greet(); for (;;) {{ take(); {answer} }}"), &[said]);
    }
}

#[test]
fn bytecode_of_a_hostile_base_is_never_served_to_another() {
    let world = world();
    // As good as evil bytecode, and easier to make: none at all.
    hostile(&world, "greet(); for (;;) { take(); answer('-', \"\", 0); }");
    let build = |world: &World| {
        run(&mut command(world)).check_success();
        Image::read(&world.path("image")).files.contains_key(COMPILED)
    };
    assert!(!build(&world));

    let other = "#!/usr/bin/python3\nimport sys\n\
        exec(open(sys.argv[-1]).read().replace('{sys.version.split()[0]}', '3.11.2'))\n";
    fs::create_dir(world.path("bin")).unwrap();
    let interpreter = world.write("bin/python3.11", other);
    fs::set_permissions(interpreter, fs::Permissions::from_mode(0o755)).unwrap();
    Layout::new().layer(Tar::debian("")).write(&world.path("honest"));
    recipe(&world, "honest");
    assert!(build(&world));
    // Nor the other way round: each has its own.
    recipe(&world, "hostile");
    assert!(!build(&world));
}

/// The processes in the process namespaces of `parent`'s children, but not in its own.
fn confined(parent: u32) -> BTreeSet<String> {
    let namespace = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace("self");
    let is_child = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{parent}"))
    };
    let all = || {
        let names =
            fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let spaces: BTreeSet<_> = all().filter(is_child).filter_map(|pid| namespace(&pid)).collect();
    let is_within = |pid: &String| {
        namespace(pid).is_some_and(|space| Some(&space) != own.as_ref() && spaces.contains(&space))
    };
    all().filter(is_within).collect()
}

/// Waits until `done`.
#[track_caller]
fn wait(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < SOON, "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn nothing_of_a_base_outlives_a_build_that_is_killed() {
    let world = world();
    hostile(
        &world,
        "signal(SIGTERM, SIG_IGN); if (!fork()) { setsid(); if (fork()) _exit(0); for (;;) pause(); } for (;;) pause();",
    );
    for signal in ["KILL", "TERM", "INT"] {
        let mut build = command(&world).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait(|| confined(build.id()).len() >= 2);
        let processes = confined(build.id());
        let kill = Command::new("kill").args(["-s", signal, &build.id().to_string()]).status().unwrap();
        assert!(kill.success());
        build.wait().unwrap();
        wait(|| processes.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
    }
}

/// A command in a user namespace that may have no other below it; `None` where this machine has none at all.
fn without_namespaces(world: &World) -> Option<Command> {
    let forbids = "echo 0 > /proc/sys/user/max_user_namespaces && PATH=/nowhere exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "/bin/sh", "-c", forbids, "sh"]);
    if !Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .status()
        .is_ok_and(|it| it.success())
    {
        eprintln!("skipped: no user namespaces here");
        return None;
    }
    let build = self::command(world);
    command.arg(build.get_program()).args(build.get_args()).current_dir(world.directory.path());
    command.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(command)
}

#[test]
fn a_machine_without_sandboxes_refuses_and_names_its_own_switch() {
    let world = world();
    hostile(&world, "greet(); for (;;) { take(); answer('-', \"\", 0); }");
    let Some(mut command) = without_namespaces(&world) else { return };
    command.env("PATH", "/usr/bin:/bin");
    let refused = run(&mut command);
    world.check_failure(
        &refused,
        1,
        &["refuses a sandbox", "`sysctl user.max_user_namespaces` is 0", "IMGFORGE_UNCONFINED=1"],
    );
    run(command.env("IMGFORGE_UNCONFINED", "1")).check_success();
    let unclear: Outcome = run(command.env("IMGFORGE_UNCONFINED", "yes"));
    unclear.check_failure(1, &["IMGFORGE_UNCONFINED is `yes`", "hint: "]);
}

#[test]
fn unconfined_the_environment_the_time_and_the_group_are_bounded() {
    let world = world();
    let marker = world.path("running");
    let body = format!(
        "int variables = 0; while (environ[variables]) variables++; if (!fork()) for (;;) pause();\
         char said[64]; int size = sprintf(said, \"variables=%d pid=%d\", variables, getpid());\
         int file = open(\"{}\", O_CREAT | O_WRONLY, 0644); write(file, said, size); for (;;) pause();",
        marker.display()
    );
    hostile(&world, &body);
    let outcome = run(command(&world).env("IMGFORGE_UNCONFINED", "1").env("SECRET", "1"));
    world.check_failure(&outcome, 1, &["it does not answer"]);
    // Its limit on the size of files holds from the first instruction.
    assert_eq!(fs::read_to_string(&marker).unwrap(), "");
    let of_base = world.path("store/interpreters").display().to_string();
    let is_of_base = |entry: std::io::Result<fs::DirEntry>| {
        let mut text = String::new();
        let file = fs::File::open(entry.unwrap().path().join("cmdline"));
        file.and_then(|mut file| file.read_to_string(&mut text)).is_ok() && text.contains(&of_base)
    };
    // Killed, they are gone once the kernel has taken their memory.
    wait(|| !fs::read_dir("/proc").unwrap().any(is_of_base));
}

//! The programs that are done natively, by their names.

mod accounts;
mod alternatives;
mod debconf;
mod dpkg;
mod expressions;
mod files;
mod filter;
mod modes;
mod options;
mod sysusers;
mod text;
mod tmpfiles;
mod units;

use super::system::{Done, System};

pub(super) use alternatives::groups_of;

/// Programs that act on a running system, on caches that an image need not have, or on what another step makes (the loader's
/// cache, bytecode, certificates, PAM's stacks): they succeed, and leave the image as it is.
const WITHOUT_EFFECT: [&str; 39] = [
    "aa-status",
    "apparmor_parser",
    "chcon",
    "dbus-send",
    "deb-systemd-invoke",
    "depmod",
    "dpkg-maintscript-helper",
    "dpkg-trigger",
    "invoke-rc.d",
    "ischroot",
    "journalctl",
    "kill",
    "killall",
    "ldconfig",
    "logger",
    "mountpoint",
    "nscd",
    "pam-auth-update",
    "pkill",
    "py3clean",
    "py3compile",
    "pyclean",
    "pycompile",
    "restorecon",
    "dbus-uuidgen",
    "service",
    "shadowconfig",
    "sleep",
    "sync",
    "telinit",
    "udevadm",
    "update-ca-certificates",
    "update-grub",
    "update-initramfs",
    "update-passwd",
    "db_go",
    "db_stop",
    "db_version",
    "systemd-machine-id-setup",
];

/// Programs that fail where no system is running.
const FAILING: [&str; 6] = ["aa-enabled", "pgrep", "pidof", "selinuxenabled", "systemd-detect-virt", "tty"];

/// Programs that tell of the running system, which is not known.
const TELLING: [&str; 13] = [
    "apt-config",
    "awk",
    "date",
    "df",
    "du",
    "free",
    "hostname",
    "lsb_release",
    "netstat",
    "ps",
    "ss",
    "uptime",
    "uuidgen",
];

/// Does the program `name`; `None` where it is none of those that are done natively.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if is_idle(name, &words) {
        return Some(Done::SUCCESS);
    }
    let base = base(name)?;
    if WITHOUT_EFFECT.contains(&base) {
        return Some(Done::SUCCESS);
    }
    if FAILING.contains(&base) {
        return Some(Done::FAILURE);
    }
    if TELLING.contains(&base) {
        system.write_unknown();
        return Some(Done::Unknown);
    }
    text::run(system, base, arguments)
        .or_else(|| files::run(system, base, arguments))
        .or_else(|| modes::run(system, base, arguments))
        .or_else(|| accounts::run(system, base, arguments))
        .or_else(|| dpkg::run(system, base, arguments))
        .or_else(|| alternatives::run(system, base, arguments))
        .or_else(|| debconf::run(system, base, arguments))
        .or_else(|| sysusers::run(system, base, arguments))
        .or_else(|| tmpfiles::run(system, base, arguments))
        .or_else(|| units::run(system, base, arguments))
}

/// Does the program `name` with arguments that are not known.
pub(super) fn run_unknown(system: &mut System<'_, '_>, name: &str, known: &[&str]) -> Option<Done> {
    if is_idle(name, known) {
        return Some(Done::SUCCESS);
    }
    let base = base(name)?;
    if WITHOUT_EFFECT.contains(&base) {
        return Some(Done::SUCCESS);
    }
    let tells = TELLING.contains(&base) || text::tells(base) || FAILING.contains(&base);
    if tells {
        system.write_unknown();
    }
    tells.then_some(Done::Unknown)
}

/// Commands of the shell that write nothing.
const SILENT: [&str; 20] = [
    ":", "[", "test", "true", "false", "set", "shift", "cd", "umask", "unset", "read", "exit", "return",
    "break", "continue", "local", "export", "readonly", "trap", "wait",
];

/// Returns whether a program may write to its standard output.
pub(super) fn may_write(name: &str) -> bool {
    !SILENT.contains(&name)
}

/// Returns whether a program changes an image, or may do so.
pub(super) fn has_effect(name: &str) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    let is_of = |names: &[&str]| names.contains(&base);
    !(is_of(&SILENT)
        || is_of(&["command", "getent", "which"])
        || is_of(&WITHOUT_EFFECT)
        || is_of(&FAILING)
        || is_of(&TELLING)
        || text::tells(base)
        || base.starts_with("db_"))
}

/// The name of a program without the directory it is in; `None` for a path elsewhere.
fn base(name: &str) -> Option<&str> {
    const DIRECTORIES: [&str; 7] =
        ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/lib/systemd", "/usr/lib/systemd"];
    match name.rsplit_once('/') {
        None => Some(name),
        Some((directory, base)) => DIRECTORIES.contains(&directory).then_some(base).or_else(|| {
            // Hooks that compile bytecode for another version.
            (directory == "/usr/share/python3/runtime.d").then_some("py3compile")
        }),
    }
}

/// Returns whether Python is called to compile bytecode, or Perl to see if it is there.
pub(super) fn is_idle(name: &str, arguments: &[&str]) -> bool {
    let base = name.rsplit('/').next().unwrap_or(name);
    let compiles =
        |argument: &&str| argument.ends_with("/py_compile.py") || argument.ends_with("/compileall.py");
    base.starts_with("python3") && arguments.iter().any(compiles) || base == "perl" && arguments == ["-e", ""]
}

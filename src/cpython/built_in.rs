//! Modules that an interpreter has without a file.
//!
//! <https://docs.python.org/3/library/sys.html#sys.builtin_module_names>

/// Modules of the standard library that some builds have compiled into the interpreter, and those of other systems, which
/// code asks for when it is elsewhere.
const BUILT_IN: [&str; 39] = [
    "array",
    "atexit",
    "audioop",
    "binascii",
    "builtins",
    "cmath",
    "errno",
    "faulthandler",
    "fcntl",
    "gc",
    "grp",
    "itertools",
    "marshal",
    "math",
    "mmap",
    "msvcrt",
    "nis",
    "nt",
    "ossaudiodev",
    "parser",
    "posix",
    "pwd",
    "pyexpat",
    "readline",
    "resource",
    "select",
    "spwd",
    "sys",
    "syslog",
    "termios",
    "time",
    "unicodedata",
    "winreg",
    "winsound",
    "xxsubtype",
    "zipimport",
    "zlib",
    "java",
    "org",
];

/// Returns whether a module of this name may be part of the interpreter: also every one whose name is private.
pub fn is_built_in(name: &str) -> bool {
    name.starts_with('_') || BUILT_IN.contains(&name)
}

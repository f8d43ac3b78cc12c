//! The reason why a build failed, as far as its output tells.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

/// The most that is shown of a name in a build's output, in bytes.
const LONGEST_NAME: usize = 200;

/// The reason why a build failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFault {
    /// It wanted to reach a server.
    Network {
        /// The name, address or URL; empty where nothing tells.
        place: String,
    },
    /// A program is not in the base: `gcc`.
    NoProgram {
        /// The program's name.
        program: String,
    },
    /// A header of C is not in the base: `Python.h`.
    NoHeader {
        /// The header's name.
        header: String,
    },
    /// A module is in none of the distributions that it said it needs.
    NoModule {
        /// The module's name.
        module: String,
    },
    /// It wanted to write outside of its own directories.
    ReadOnly {
        /// The path.
        path: String,
    },
    /// It took too long, and was ended.
    Time {
        /// The seconds that it had.
        seconds: u64,
    },
    /// It wrote too much, and was ended.
    Disk {
        /// The bytes that it may write.
        most: u64,
    },
    /// It made as many processes as it may have, and wanted more.
    Processes,
    /// It needed more memory than it may have.
    Memory,
    /// Another, which its output tells.
    Other,
}

impl fmt::Display for BuildFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network { place } if place.is_empty() => f.write_str("its build wants to reach a server"),
            Self::Network { place } => write!(f, "its build wants to reach `{place}`"),
            Self::NoProgram { program } => {
                write!(f, "its build needs the program `{program}`, which the base lacks")
            }
            Self::NoHeader { header } => {
                write!(f, "its build needs the C header `{header}`, which the base lacks")
            }
            Self::NoModule { module } => write!(
                f,
                "its build needs the module `{module}`, which is in none of the distributions that it declares"
            ),
            Self::ReadOnly { path } => {
                write!(f, "its build writes to `{path}`, outside of its own directories")
            }
            Self::Time { seconds } => write!(f, "its build did not end within {seconds} s"),
            Self::Disk { most } => write!(f, "its build wrote more than {most} bytes"),
            Self::Processes => f.write_str("its build makes more processes than it may have"),
            Self::Memory => f.write_str("its build needs more memory than it may have"),
            Self::Other => f.write_str("its build failed"),
        }
    }
}

impl BuildFault {
    /// The user's next step; `wheel` is that of those who build the wheel themselves.
    pub fn hint(&self, wheel: &str) -> String {
        match self {
            Self::Network { .. } => {
                format!(
                    "a build has no network: name an index that has wheels of it under `indexes`, or {wheel}"
                )
            }
            Self::NoProgram { program } => format!(
                "add the package that has `{program}` to the base's packages{}, take a base that has it, or {wheel}",
                compiler_packages(program)
            ),
            Self::NoHeader { header } => format!(
                "add the development package that has `{header}`{} to the base's packages, take a base that has it, \
                 or {wheel}",
                if header == "Python.h" { " (`python3-dev` on Debian)" } else { "" }
            ),
            Self::NoModule { .. } => format!("it cannot be built in an environment of its own: {wheel}"),
            Self::ReadOnly { .. }
            | Self::Time { .. }
            | Self::Disk { .. }
            | Self::Processes
            | Self::Memory
            | Self::Other => format!("choose another version, or {wheel}"),
        }
    }

    /// The fault that a build's `output` tells.
    pub(super) fn of_output(output: &str) -> Self {
        let found = PATTERNS.iter().filter_map(|(pattern, fault)| {
            let captures = pattern.captures(output)?;
            let at = captures.get(0)?.start();
            let name = captures.iter().skip(1).flatten().next().map_or("", |name| name.as_str());
            let name: String = name.chars().take(LONGEST_NAME).collect();
            Some((at, fault(name)))
        });
        // What fails first is the reason of the rest.
        found.min_by_key(|(at, _)| *at).map_or(Self::Other, |(_, fault)| fault)
    }
}

/// The packages of Debian with a compiler.
fn compiler_packages(program: &str) -> &'static str {
    let name = program.rsplit('/').next().unwrap_or_default();
    match ["gcc", "cc", "c++", "g++"].iter().any(|compiler| name.ends_with(compiler)) {
        true => " (`g++` and `python3-dev` on Debian)",
        false => "",
    }
}

/// The fault that a name in the output tells.
type ToFault = fn(String) -> BuildFault;
type Told = (Regex, ToFault);

/// Lines by which compilers, build tools and Python tell why they fail.
static PATTERNS: LazyLock<Vec<Told>> = LazyLock::new(|| {
    const NO_PROGRAM: [&str; 7] = [
        r"error: command '([^'\n]+)' failed: No such file or directory",
        r"unable to execute '([^'\n]+)': No such file",
        r"FileNotFoundError: \[Errno 2\] No such file or directory: '([A-Za-z0-9_+.-]+)'",
        r"Unknown compiler\(s\): \[\['?([^'\],\n]+)",
        r"(?m)^(?:/bin/)?(?:ba|da)?sh: (?:line )?\d+: ([^:\s]+): (?:command )?not found",
        r"No CMAKE_(?:C|CXX)_COMPILER could be (found)",
        r"(?i)can't find (rust) compiler",
    ];
    let program = |name: String| BuildFault::NoProgram {
        program: match name.as_str() {
            "found" => "cc".to_owned(),
            "rust" | "Rust" => "rustc".to_owned(),
            _ => name,
        },
    };
    let others: [(&str, ToFault); 7] = [
        (r"fatal error: ([^:\n]+): No such file or directory", |header| BuildFault::NoHeader { header }),
        (r"ModuleNotFoundError: No module named '([^'\n]+)'", |module| BuildFault::NoModule { module }),
        (r"Read-only file system: '([^'\n]+)'", |path| BuildFault::ReadOnly { path }),
        (
            r"BlockingIOError: \[Errno 11\] Resource temporarily unavailable|fork: Resource temporarily unavailable|can't start new thread",
            |_| BuildFault::Processes,
        ),
        (r"MemoryError|std::bad_alloc|virtual memory exhausted|Cannot allocate memory", |_| {
            BuildFault::Memory
        }),
        (r"Could not resolve host: ([^\s]+)", |place| BuildFault::Network { place }),
        (r"Temporary failure in name resolution|Network is unreachable|Name or service not known", |_| {
            BuildFault::Network { place: String::new() }
        }),
    ];
    let programs = NO_PROGRAM.iter().map(|pattern| (*pattern, program as ToFault));
    let all = programs.chain(others);
    all.filter_map(|(pattern, fault)| Some((Regex::new(pattern).ok()?, fault))).collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(PATTERNS.len(), 14);
    }

    #[test]
    fn the_first_reason_is_told() {
        let program = |name: &str| BuildFault::NoProgram { program: name.into() };
        for (output, expected) in [
            (
                "building 'demo' extension\nerror: command 'x86_64-linux-gnu-gcc' failed: No such file or directory\n",
                program("x86_64-linux-gnu-gcc"),
            ),
            ("FileNotFoundError: [Errno 2] No such file or directory: 'git'\n", program("git")),
            ("FileNotFoundError: [Errno 2] No such file or directory: 'data/x.txt'\n", BuildFault::Other),
            ("ERROR: Unknown compiler(s): [['cc'], ['gcc'], ['clang']]\n", program("cc")),
            ("CMake Error: No CMAKE_CXX_COMPILER could be found.\n", program("cc")),
            ("error: can't find Rust compiler\n", program("rustc")),
            ("/bin/sh: 1: cython: not found\n", program("cython")),
            (
                "demo.c:1:10: fatal error: Python.h: No such file or directory\nerror: command '/usr/bin/gcc' failed with exit code 1\n",
                BuildFault::NoHeader { header: "Python.h".into() },
            ),
            (
                "ModuleNotFoundError: No module named 'torch'\n",
                BuildFault::NoModule { module: "torch".into() },
            ),
            (
                "OSError: [Errno 30] Read-only file system: '/etc/demo'\nMemoryError\n",
                BuildFault::ReadOnly { path: "/etc/demo".into() },
            ),
            ("BlockingIOError: [Errno 11] Resource temporarily unavailable\n", BuildFault::Processes),
            (
                "curl: (6) Could not resolve host: host.test\n",
                BuildFault::Network { place: "host.test".into() },
            ),
            ("SyntaxError: invalid syntax\n", BuildFault::Other),
        ] {
            assert_eq!(BuildFault::of_output(output), expected, "{output}");
        }
    }
}

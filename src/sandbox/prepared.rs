//! All that a process needs on its way to its program, made before it is cloned: afterwards nothing allocates.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Resource, getegid, geteuid};
use seccompiler::BpfProgram;

use super::{SandboxCommand, SandboxLink, SandboxTree, TreeAccess, syscalls};

/// The user of a sandbox, as it sees itself: nobody.
pub(super) const NOBODY: u32 = 65534;
/// The devices of a sandbox, and their paths in it.
pub(super) const DEVICES: [(&std::ffi::CStr, &std::ffi::CStr, &std::ffi::CStr); 4] = [
    (c"/dev/null", c"dev/null", c"/proc/self/fd/4"),
    (c"/dev/zero", c"dev/zero", c"/proc/self/fd/5"),
    (c"/dev/random", c"dev/random", c"/proc/self/fd/6"),
    (c"/dev/urandom", c"dev/urandom", c"/proc/self/fd/7"),
];
/// The descriptor of the first device; those of the trees follow.
pub(super) const FIRST_DESCRIPTOR: usize = 4;
/// The processes of one user where they are counted together: before Linux 5.14, or for nobody without a user namespace.
pub(super) const MOST_OF_USER: u64 = 4096;

/// The walls around a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walls {
    /// Namespaces that root makes, who then becomes nobody.
    OfRoot,
    /// Namespaces of a user who is root in one of them, until all is mounted.
    OfUser,
    /// None.
    Absent,
}

/// A program that is ready to be run.
pub(super) struct Prepared {
    pub program: CString,
    /// With its own name.
    pub arguments: Vec<CString>,
    pub environment: Vec<CString>,
    pub trees: Vec<PreparedTree>,
    /// The paths of links, relative to the root, and their targets.
    pub links: Vec<(CString, CString)>,
    pub limits: [(Resource, u64); 6],
    /// The lines of `uid_map` and `gid_map` in proc.
    pub maps: (String, String),
    pub filter: BpfProgram,
}

/// A directory that is ready to be mounted.
pub(super) struct PreparedTree {
    pub source: CString,
    /// Relative to the root, as all that follows.
    pub target: CString,
    /// The directories on the way to the target, and the target.
    pub directories: Vec<CString>,
    /// The path of its open descriptor.
    pub handle: CString,
    pub access: TreeAccess,
}

impl Prepared {
    pub(super) fn new(command: &SandboxCommand) -> io::Result<Self> {
        let own_name = command.program.as_os_str();
        let arguments = std::iter::once(own_name).chain(command.arguments.iter().map(|argument| &**argument));
        let variable = |(name, value): &(String, String)| Ok(CString::new(format!("{name}={value}"))?);
        let map = |outside: u32| format!("{NOBODY} {outside} 1\n");
        Ok(Self {
            program: text(own_name)?,
            arguments: arguments.map(text).collect::<io::Result<_>>()?,
            environment: command.environment.iter().map(variable).collect::<io::Result<_>>()?,
            trees: command.trees.iter().enumerate().map(prepared_tree).collect::<io::Result<_>>()?,
            links: command.links.iter().map(prepared_link).collect::<io::Result<_>>()?,
            limits: limits(command),
            maps: (map(geteuid().as_raw()), map(getegid().as_raw())),
            filter: syscalls::filter()?,
        })
    }
}

fn prepared_tree((number, tree): (usize, &SandboxTree)) -> io::Result<PreparedTree> {
    let target = tree.target.strip_prefix("/").map_err(|_| io::ErrorKind::InvalidFilename)?;
    let ancestors: Vec<&Path> = target.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
    let descriptor = FIRST_DESCRIPTOR + DEVICES.len() + number;
    Ok(PreparedTree {
        source: text(tree.source.as_os_str())?,
        target: text(target.as_os_str())?,
        directories: ancestors.iter().rev().map(|path| text(path.as_os_str())).collect::<io::Result<_>>()?,
        handle: CString::new(format!("/proc/self/fd/{descriptor}"))?,
        access: tree.access,
    })
}

fn prepared_link(link: &SandboxLink) -> io::Result<(CString, CString)> {
    let path = link.path.strip_prefix("/").map_err(|_| io::ErrorKind::InvalidFilename)?;
    Ok((text(path.as_os_str())?, text(link.target.as_os_str())?))
}

fn limits(command: &SandboxCommand) -> [(Resource, u64); 6] {
    let limits = command.limits;
    let processes = match counts_by_namespace(rustix::system::uname().release().to_str().unwrap_or_default())
    {
        true => limits.processes,
        false => limits.processes.max(MOST_OF_USER),
    };
    [
        (Resource::Cpu, limits.cpu),
        (Resource::As, limits.address_space),
        (Resource::Fsize, limits.file_size),
        (Resource::Nofile, limits.open_files),
        (Resource::Core, 0),
        (Resource::Nproc, processes),
    ]
}

/// Returns whether this release of Linux counts the processes of a user in each namespace.
fn counts_by_namespace(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let version: (u32, u32) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    version >= (5, 14)
}

fn text(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_counted_by_namespace_since_linux_5_14() {
        for (release, expected) in [
            ("5.4.0-150-generic", false),
            ("5.13", false),
            ("5.14.0-70.el9", true),
            ("6.1.0", true),
            ("", false),
        ] {
            assert_eq!(counts_by_namespace(release), expected, "{release}");
        }
    }

    #[test]
    fn a_trees_target_comes_with_the_directories_on_its_way() {
        let tree = |target: &str| SandboxTree {
            source: "/".into(),
            target: target.into(),
            access: TreeAccess::ReadOnly,
        };
        let prepared = prepared_tree((1, &tree("/a/b"))).unwrap();
        assert_eq!(prepared.target.as_c_str(), c"a/b");
        assert_eq!(prepared.directories, [c"a".to_owned(), c"a/b".to_owned()]);
        assert_eq!(prepared.handle.as_c_str(), c"/proc/self/fd/9");
        assert!(prepared_tree((0, &tree("a"))).is_err());
        assert!(prepared_tree((0, &tree("/a\0b"))).is_err());
    }
}

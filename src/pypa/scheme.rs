//! The directories that an interpreter searches.

use serde::{Deserialize, Serialize};

/// The paths of one install scheme, relative to the image's root, and the interpreter that uses them.
///
/// <https://docs.python.org/3/library/sysconfig.html#installation-paths>
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstallScheme {
    /// The directory of pure Python modules.
    pub purelib: String,
    /// The directory of modules with binary parts.
    pub platlib: String,
    /// The directory of programs.
    pub scripts: String,
    /// The directory of headers, each distribution's in one named after it.
    pub include: String,
    /// The directory that data files are relative to.
    pub data: String,
    /// The interpreter's absolute path, for `#!` lines.
    pub interpreter: String,
    /// `(3, 11)` for Python 3.11.
    pub version: (u8, u8),
}

impl InstallScheme {
    /// The scheme of Debian's and Ubuntu's system Python for software that Debian did not package:
    /// `posix_local`, below `/usr/local`, in `dist-packages`.
    ///
    /// <https://www.debian.org/doc/packaging-manuals/python-policy/#module-path>
    pub fn debian((major, minor): (u8, u8)) -> Self {
        let packages = format!("usr/local/lib/python{major}.{minor}/dist-packages");
        Self {
            purelib: packages.clone(),
            platlib: packages,
            scripts: "usr/local/bin".into(),
            include: format!("usr/local/include/python{major}.{minor}"),
            data: "usr/local".into(),
            interpreter: "/usr/bin/python3".into(),
            version: (major, minor),
        }
    }

    /// Returns whether what is at `path` is where the interpreter imports modules from.
    pub fn has_module(&self, path: &str) -> bool {
        let below =
            |packages: &String| path.strip_prefix(&**packages).is_some_and(|rest| rest.starts_with('/'));
        [&self.purelib, &self.platlib].into_iter().any(below)
    }

    /// The scheme `posix_prefix` below `prefix`, as Python's own installation, conda and virtual environments use it;
    /// `interpreter` is an absolute path.
    pub fn prefix(prefix: &str, (major, minor): (u8, u8), interpreter: &str) -> Self {
        let packages = format!("{prefix}/lib/python{major}.{minor}/site-packages");
        Self {
            purelib: packages.clone(),
            platlib: packages,
            scripts: format!("{prefix}/bin"),
            include: format!("{prefix}/include/python{major}.{minor}"),
            data: prefix.to_owned(),
            interpreter: interpreter.to_owned(),
            version: (major, minor),
        }
    }
}

/// `to`, seen from the directory `from`, both relative to the image's root: `../../../bin/f2py`.
pub fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').collect();
    let to: Vec<&str> = to.split('/').collect();
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    up.chain(to[common..].iter().copied()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_seen_from_site_packages_by_going_up() {
        let scheme = InstallScheme::debian((3, 11));
        assert_eq!(relative(&scheme.purelib, "usr/local/bin/f2py"), "../../../bin/f2py");
        assert_eq!(relative(&scheme.purelib, &format!("{}/a/b.py", scheme.purelib)), "a/b.py");
        assert_eq!(relative(&scheme.purelib, "usr/local/cuda-12.5/lib"), "../../../cuda-12.5/lib");
    }
}

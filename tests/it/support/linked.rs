//! Libraries that a real linker made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A place where libraries are linked, so that later ones can be linked with earlier ones.
pub struct Workshop(TempDir);

/// A library to link.
pub struct Source<'a> {
    pub soname: &'a str,
    /// C.
    pub code: &'a str,
    /// SONAMEs of libraries that were linked before.
    pub needs: &'a [&'a str],
    /// Further flags of the linker: `-Wl,-rpath,$ORIGIN`.
    pub flags: &'a [&'a str],
}

impl Workshop {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// Links a library; gives its bytes.
    pub fn link(&self, source: &Source<'_>) -> Vec<u8> {
        let (code, output) = (self.path("source.c"), self.path(source.soname));
        fs::write(&code, source.code).unwrap();
        let needs = source.needs.iter().map(|soname| self.path(soname));
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-nostdlib", "-Wl,--no-as-needed"]).arg(&code).args(needs);
        command.arg(format!("-Wl,-soname,{}", source.soname)).args(source.flags).arg("-o").arg(&output);
        let done = command.output().expect("cc, which cargo links with");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::read(&output).unwrap()
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }
}

/// A library with one function, which does nothing.
pub fn defining<'a>(soname: &'a str, code: &'a str) -> Source<'a> {
    Source { soname, code, needs: &[], flags: &[] }
}

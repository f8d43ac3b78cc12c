//! The machine, the loader and the library directory of each architecture.

use super::header::Machine;
use crate::oci::Architecture;

impl From<Architecture> for Machine {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::Amd64 => Self::X86_64,
            Architecture::Arm64 => Self::Aarch64,
        }
    }
}

impl Machine {
    /// The architecture whose programs have this machine.
    pub fn architecture(self) -> Option<Architecture> {
        Architecture::ALL.into_iter().find(|architecture| Self::from(*architecture) == self)
    }
}

/// The path of glibc's loader, by the ABI of the architecture.
pub fn loader_path(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Amd64 => "/lib64/ld-linux-x86-64.so.2",
        Architecture::Arm64 => "/lib/ld-linux-aarch64.so.1",
    }
}

/// Debian's library directory, below the root and below `usr`.
///
/// <https://wiki.debian.org/Multiarch/Tuples>
pub fn library_directory(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Amd64 => "lib/x86_64-linux-gnu",
        Architecture::Arm64 => "lib/aarch64-linux-gnu",
    }
}

//! The rules, and why each of them matters.

use serde::{Deserialize, Serialize};

/// A rule. Its name in reports and in a recipe's `ignore` is [`Rule::id`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A needed library is not found.
    MissingLibrary,
    /// A library lacks a needed symbol version.
    MissingVersion,
    /// Nothing defines a needed symbol.
    MissingSymbol,
    /// A component that a framework opens is missing.
    MissingComponent,
    /// A component is older than a framework asks for.
    OldComponent,
    /// A component has another SONAME than a framework opens.
    OtherSoname,
    /// Two CUDA majors meet in one process.
    TwoMajors,
    /// Libraries of one family come from different copies.
    MixedCopies,
    /// Parts of cuDNN are of different versions.
    MixedCudnn,
    /// Two libraries with one SONAME can be loaded.
    DuplicateSoname,
    /// NVRTC lacks the builtins of its own version.
    NvrtcBuiltins,
    /// A library of the driver is in the image.
    DriverFromImage,
    /// The loader does not search the driver's directory.
    DriverPath,
    /// The driver is too old for a toolkit.
    OldDriver,
    /// A library has no code for a GPU that the image shall run on.
    MissingGpu,
    /// XLA finds no `ptxas`.
    NoPtxas,
    /// XLA finds no libdevice.
    NoLibdevice,
    /// A library that compiles CUDA code finds no headers.
    NoHeaders,
    /// `nvcc` is of another CUDA major than the framework.
    OtherNvcc,
    /// A requirement of a distribution is not met.
    UnmetRequirement,
    /// A requirement of an installed extra is not met.
    UnmetExtra,
    /// A file is not the one in its RECORD.
    RecordMismatch,
    /// Two distributions wrote one file.
    FileCollision,
    /// A wheel is for another interpreter, C library or processor.
    WheelTag,
    /// The loader's cache cannot be read.
    LoaderCache,
    /// An ELF file is damaged.
    DamagedFile,
    /// An unexpected program is set-user-ID.
    SetUserId,
    /// Everybody may change a file.
    WorldWritable,
    /// A symlink leads to nothing.
    BrokenLink,
    /// A program asks for a loader that is not there.
    MissingLoader,
    /// The interpreter does not start.
    BrokenPython,
    /// A module that is imported cannot be loaded.
    MissingModule,
    /// A module was imported, and ended with an error.
    FailedImport,
    /// Distributions lie where the interpreter does not look.
    UnfoundPackages,
    /// The config names what the image does not have.
    ImageConfig,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 35] = [
        Self::MissingLibrary,
        Self::MissingVersion,
        Self::MissingSymbol,
        Self::MissingComponent,
        Self::OldComponent,
        Self::OtherSoname,
        Self::TwoMajors,
        Self::MixedCopies,
        Self::MixedCudnn,
        Self::DuplicateSoname,
        Self::NvrtcBuiltins,
        Self::DriverFromImage,
        Self::DriverPath,
        Self::OldDriver,
        Self::MissingGpu,
        Self::NoPtxas,
        Self::NoLibdevice,
        Self::NoHeaders,
        Self::OtherNvcc,
        Self::UnmetRequirement,
        Self::UnmetExtra,
        Self::RecordMismatch,
        Self::FileCollision,
        Self::WheelTag,
        Self::LoaderCache,
        Self::DamagedFile,
        Self::SetUserId,
        Self::WorldWritable,
        Self::BrokenLink,
        Self::MissingLoader,
        Self::BrokenPython,
        Self::MissingModule,
        Self::FailedImport,
        Self::UnfoundPackages,
        Self::ImageConfig,
    ];

    /// Its name.
    pub fn id(self) -> &'static str {
        match self {
            Self::MissingLibrary => "missing-library",
            Self::MissingVersion => "missing-version",
            Self::MissingSymbol => "missing-symbol",
            Self::MissingComponent => "missing-component",
            Self::OldComponent => "old-component",
            Self::OtherSoname => "other-soname",
            Self::TwoMajors => "two-majors",
            Self::MixedCopies => "mixed-copies",
            Self::MixedCudnn => "mixed-cudnn",
            Self::DuplicateSoname => "duplicate-soname",
            Self::NvrtcBuiltins => "nvrtc-builtins",
            Self::DriverFromImage => "driver-from-image",
            Self::DriverPath => "driver-path",
            Self::OldDriver => "old-driver",
            Self::MissingGpu => "missing-gpu",
            Self::NoPtxas => "no-ptxas",
            Self::NoLibdevice => "no-libdevice",
            Self::NoHeaders => "no-headers",
            Self::OtherNvcc => "other-nvcc",
            Self::UnmetRequirement => "unmet-requirement",
            Self::UnmetExtra => "unmet-extra",
            Self::RecordMismatch => "record-mismatch",
            Self::FileCollision => "file-collision",
            Self::WheelTag => "wheel-tag",
            Self::LoaderCache => "loader-cache",
            Self::DamagedFile => "damaged-file",
            Self::SetUserId => "set-user-id",
            Self::WorldWritable => "world-writable",
            Self::BrokenLink => "broken-link",
            Self::MissingLoader => "missing-loader",
            Self::BrokenPython => "broken-python",
            Self::MissingModule => "missing-module",
            Self::FailedImport => "failed-import",
            Self::UnfoundPackages => "unfound-packages",
            Self::ImageConfig => "image-config",
        }
    }

    /// The reason why it breaks.
    pub fn why(self) -> &'static str {
        match self {
            Self::MissingLibrary => {
                "the loader finds no library of this name, so what needs it cannot be loaded"
            }
            Self::MissingVersion => {
                "the loader refuses a library that lacks a version which another one needs"
            }
            Self::MissingSymbol => {
                "nothing that is loaded defines the symbol: loading ends with `undefined symbol`"
            }
            Self::MissingComponent => {
                "the framework loads the library by name when it first uses the GPU, and goes on without one"
            }
            Self::OldComponent => {
                "the framework was built for a newer version, and refuses or misuses this one"
            }
            Self::OtherSoname => {
                "it opens a library by a name that no version in the image has, when it first uses the GPU"
            }
            Self::TwoMajors => {
                "libraries of two CUDA majors end up in one process, and share names but not ABIs"
            }
            Self::MixedCopies => {
                "libraries that belong together come from different copies, whose versions may not fit"
            }
            Self::MixedCudnn => "cuDNN refuses its own parts when they are of another version",
            Self::DuplicateSoname => "which of the two is loaded depends on what is imported first",
            Self::NvrtcBuiltins => {
                "NVRTC opens the builtins of exactly its own minor version, and fails without"
            }
            Self::DriverFromImage => {
                "the driver's library must be the machine's: another one fails with error 803, or has no functions"
            }
            Self::DriverPath => "the container runtime puts the driver where the loader does not look",
            Self::OldDriver => "the driver does not run a toolkit as new as this",
            Self::MissingGpu => {
                "the library's kernels end with `no kernel image is available for execution on the device`"
            }
            Self::NoPtxas => "XLA compiles with ptxas, and fails when it first compiles a kernel",
            Self::NoLibdevice => "XLA links libdevice into kernels, and fails when it first needs one",
            Self::NoHeaders => {
                "the library compiles CUDA code while it runs, and needs the toolkit's headers"
            }
            Self::OtherNvcc => "extensions would be compiled for another CUDA major than the framework's",
            Self::UnmetRequirement => {
                "pip installs what is required with the next package, with gigabytes of CUDA where that is among it"
            }
            Self::UnmetExtra => "what the extra stands for is not installed, and libraries are missing",
            Self::RecordMismatch => {
                "files are not those that were installed: another distribution wrote over them"
            }
            Self::FileCollision => "the last one that was installed won, whatever the others' metadata says",
            Self::WheelTag => "the wheel was made for another interpreter, C library or processor",
            Self::LoaderCache => "the loader finds nothing by a cache that it cannot read",
            Self::DamagedFile => "the loader refuses the file",
            Self::SetUserId => "whoever starts it acts as its owner",
            Self::WorldWritable => "any user of a container can change it for all others",
            Self::BrokenLink => "the link leads to nothing",
            Self::MissingLoader => {
                "the kernel does not start a program whose loader is missing: it says `no such file or directory`"
            }
            Self::BrokenPython => "the interpreter does not start, and nothing of Python can be used",
            Self::MissingModule => "what imports the module ends with an error",
            Self::FailedImport => {
                "the image's own interpreter imported it, in a sandbox without network and GPU"
            }
            Self::UnfoundPackages => {
                "what was installed for one interpreter is searched for by another: imports end with `No module named`"
            }
            Self::ImageConfig => "a container is started as its config says, with what the image has",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(names.len(), Rule::ALL.len());
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_string(&rule).unwrap(), format!("\"{}\"", rule.id()));
        }
    }
}

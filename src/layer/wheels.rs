//! Writes a layer of installed wheels.

use std::collections::{BTreeMap, BTreeSet};

use super::bytecode::{Bytecode, BytecodeError, Compiler, ModuleSource};
use super::wheel::{RefusedWheel, WheelFile};
use super::writer::{LayerWriter, WriteError, Written};
use crate::cpython::bytecode;
use crate::cuda::Toolkit;
use crate::failure::Hinted;
use crate::oci::paths::{ancestors, below_another};
use crate::oci::{Entry, EntryKind};
use crate::plan::{self, WheelInstall, WheelLayer, WheelPart};
use crate::pypa::direct_url;
use crate::pypa::install::{
    self, Bookkeeping, Choices, Content, InstallError, InstallPlace, InstalledFile, WheelContents,
};
use crate::pypa::metadata::{self, MetadataError, rewrite_requirements};
use crate::pypa::scheme::InstallScheme;
use crate::store::{Store, StoreError};

/// The modification time of every file that comes from a wheel: zip, hence wheel, cannot store years before 1980.
pub const ZIP_EPOCH: u64 = 315_532_800;

/// The reason why a layer of wheels could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum WheelLayerError {
    #[error("could not read wheel `{wheel}`")]
    Wheel { wheel: String, source: RefusedWheel },
    #[error("could not install wheel `{wheel}`")]
    Install { wheel: String, source: InstallError },
    #[error("could not read the metadata of wheel `{wheel}`")]
    Metadata { wheel: String, source: MetadataError },
    #[error("the metadata in wheel `{wheel}` is not what the package index gave for it")]
    OtherMetadata { wheel: String },
    #[error("could not compile the modules of wheel `{wheel}`")]
    Bytecode { wheel: String, source: BytecodeError },
    #[error("could not transcode wheel `{wheel}`")]
    Write { wheel: String, source: WriteError },
    #[error(transparent)]
    Finish(#[from] WriteError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for WheelLayerError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Metadata { source, .. } => source.hint(),
            Self::Bytecode { source, .. } => source.hint(),
            Self::OtherMetadata { .. } => {
                Some("run again; if it stays so, the index or a proxy before it alters what it serves".into())
            }
            Self::Wheel { source: RefusedWheel::Read(_), .. } => None,
            Self::Write { source: source @ (WriteError::Write(_) | WriteError::Store(_)), .. }
            | Self::Finish(source) => source.hint(),
            Self::Wheel { .. } | Self::Install { .. } | Self::Write { .. } => Some(
                "the wheel is broken: exclude this version with a constraint such as `NAME!=VERSION`".into(),
            ),
            Self::Store(error) => error.hint(),
        }
    }
}

/// A wheel and what becomes of it.
struct Installed<'a> {
    install: &'a WheelInstall,
    file: WheelFile,
    bytecode: Option<Bytecode>,
}

/// Writes `layer` from wheels in `store`, with what `compiler` makes of their modules where there is one; `progress` is told
/// of the uncompressed bytes as they are written.
pub fn write(
    layer: &WheelLayer,
    store: &Store,
    compiler: Option<&Compiler<'_>>,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Written, WheelLayerError> {
    let mut wheels = Vec::new();
    let mut files: BTreeMap<String, (usize, InstalledFile)> = BTreeMap::new();
    for install in &layer.wheels {
        let (wheel, installed) = decide(layer, install, store, compiler)?;
        let installed = match install.part {
            Some(part) => of_part(installed, &wheel, part),
            None => installed,
        };
        files.extend(installed.into_iter().map(|file| (file.path.clone(), (wheels.len(), file))));
        wheels.push(wheel);
    }
    if let Some(path) = below_another(&files.keys().map(String::as_str).collect()) {
        let wheel = wheels[files[path].0].install.filename.clone();
        return Err(WheelLayerError::Install {
            wheel,
            source: InstallError::Below { path: path.to_owned() },
        });
    }
    let mut directories = directories(files.keys(), &layer.scheme);
    let mut writer = LayerWriter::new(store, &layer.compression, progress)?;
    for (path, (wheel, file)) in layer.compression.in_order(&files) {
        for directory in ancestors(path) {
            if directories.remove(directory) {
                writer.entry(&entry(directory, 0o755, EntryKind::Directory))?;
            }
        }
        write_file(&mut writer, &wheels[*wheel], file)?;
    }
    Ok(writer.finish()?)
}

fn decide<'a>(
    layer: &WheelLayer,
    install: &'a WheelInstall,
    store: &Store,
    compiler: Option<&Compiler<'_>>,
) -> Result<(Installed<'a>, Vec<InstalledFile>), WheelLayerError> {
    let name = || install.filename.clone();
    let unreadable = |source| WheelLayerError::Wheel { wheel: name(), source };
    let file = WheelFile::open(&store.blob_path(&install.wheel)).map_err(unreadable)?;
    let contents = file.contents().map_err(unreadable)?;
    let metadata = metadata::parse(&contents.metadata)
        .map_err(|source| WheelLayerError::Metadata { wheel: name(), source })?;
    if metadata.digest() != install.metadata {
        return Err(WheelLayerError::OtherMetadata { wheel: name() });
    }
    let installed = |bytecode: &BTreeMap<usize, usize>| {
        installed_files(layer, install, &contents, bytecode)
            .map_err(|source| WheelLayerError::Install { wheel: name(), source })
    };
    let files = installed(&BTreeMap::new())?;
    let sources = modules(&files, &layer.scheme);
    let Some(compiler) = compiler.filter(|_| !sources.is_empty()) else {
        return Ok((Installed { install, file, bytecode: None }, files));
    };
    let bytecode = compiler
        .compile(&install.wheel, &file, &sources)
        .map_err(|source| WheelLayerError::Bytecode { wheel: name(), source })?;
    let files = installed(&bytecode.by_source)?;
    Ok((Installed { install, file, bytecode: Some(bytecode) }, files))
}

/// The modules among `files` that an interpreter imports.
fn modules(files: &[InstalledFile], scheme: &InstallScheme) -> Vec<ModuleSource> {
    let source = |file: &InstalledFile| {
        let is_module = bytecode::cached(&file.path, scheme.version).is_some();
        match file.content {
            Content::Member(member) if is_module && scheme.has_module(&file.path) => {
                Some(ModuleSource { member, path: file.path.clone() })
            }
            _ => None,
        }
    };
    files.iter().filter_map(source).collect()
}

/// The files that are in one of a wheel's layers.
fn of_part(files: Vec<InstalledFile>, wheel: &Installed<'_>, part: WheelPart) -> Vec<InstalledFile> {
    let size = |file: &InstalledFile| match &file.content {
        Content::Bytes(bytes) => bytes.len() as u64,
        Content::Link(_) => 0,
        Content::Member(index) => wheel.file.size(*index),
        Content::Bytecode(index) => wheel.bytecode.as_ref().map_or(0, |bytecode| bytecode.file.size(*index)),
    };
    let sizes: Vec<(&str, u64)> = files.iter().map(|file| (file.path.as_str(), size(file))).collect();
    let parts = plan::parts(&sizes, part.of);
    files.into_iter().zip(parts).filter(|(_, of_file)| *of_file == part.index).map(|(file, _)| file).collect()
}

fn installed_files(
    layer: &WheelLayer,
    install: &WheelInstall,
    contents: &WheelContents,
    bytecode: &BTreeMap<usize, usize>,
) -> Result<Vec<InstalledFile>, InstallError> {
    let relocate = |path: &str| match &install.place {
        plan::WheelPlacement::Toolkit(toolkit) => component_place(toolkit, &install.distribution, path),
        plan::WheelPlacement::ToolkitLibraries(toolkit) => {
            library_place(toolkit, &install.distribution, path)
        }
        plan::WheelPlacement::SitePackages => InstallPlace::SitePackages,
    };
    let choices = Choices {
        scheme: &layer.scheme,
        bookkeeping: match install.place {
            plan::WheelPlacement::ToolkitLibraries(_) => Bookkeeping::Nothing,
            _ => Bookkeeping::DistInfo { requested: install.requested },
        },
        metadata: (!install.relaxed.is_empty()).then(|| {
            rewrite_requirements(&contents.metadata, |requirement| {
                install.relaxed.get(&requirement.to_string()).cloned()
            })
        }),
        direct_url: install.direct_url.as_ref().map(|url| direct_url::text(url, &install.wheel)),
        relocate: &relocate,
        bytecode,
    };
    install::install(contents, &choices)
}

/// The place of a component's file; a library gets the link that `cc -l` looks for beside it.
fn component_place(toolkit: &Toolkit, distribution: &str, wheel_path: &str) -> InstallPlace {
    let Some(path) = toolkit.place(distribution, wheel_path) else {
        return InstallPlace::Dropped;
    };
    let directory = format!("{}/", toolkit.library_directory());
    let library = path.strip_prefix(&directory).filter(|name| !name.contains('/'));
    match library.and_then(|name| name.split_once(".so.")) {
        Some((stem, version)) if !version.contains('.') => {
            InstallPlace::Linked { link: format!("{directory}{stem}.so"), path }
        }
        _ => InstallPlace::At(path),
    }
}

/// The place of a component's library beside those of another SONAME; headers and links are the other's.
fn library_place(toolkit: &Toolkit, distribution: &str, wheel_path: &str) -> InstallPlace {
    match component_place(toolkit, distribution, wheel_path) {
        InstallPlace::Linked { path, .. } => InstallPlace::At(path),
        InstallPlace::At(path) if path.contains(".so.") => InstallPlace::At(path),
        _ => InstallPlace::Dropped,
    }
}

fn write_file(
    writer: &mut LayerWriter<'_>,
    wheel: &Installed<'_>,
    file: &InstalledFile,
) -> Result<(), WheelLayerError> {
    let failed = |source| WheelLayerError::Write { wheel: wheel.install.filename.clone(), source };
    match &file.content {
        Content::Bytes(bytes) => {
            let entry = entry(&file.path, file.mode, EntryKind::File { size: bytes.len() as u64 });
            writer.file(&entry, || Ok(bytes.as_slice())).map_err(failed)
        }
        Content::Link(target) => {
            let entry = entry(&file.path, file.mode, EntryKind::Symlink { target: target.clone() });
            writer.entry(&entry).map_err(failed)
        }
        Content::Member(index) => write_member(writer, wheel, &wheel.file, file, *index),
        Content::Bytecode(index) => match &wheel.bytecode {
            Some(bytecode) => write_member(writer, wheel, &bytecode.file, file, *index),
            None => Ok(()),
        },
    }
}

fn write_member(
    writer: &mut LayerWriter<'_>,
    wheel: &Installed<'_>,
    archive: &WheelFile,
    file: &InstalledFile,
    index: usize,
) -> Result<(), WheelLayerError> {
    let name = || wheel.install.filename.clone();
    let failed = |source| WheelLayerError::Write { wheel: name(), source };
    let entry = entry(&file.path, file.mode, EntryKind::File { size: archive.size(index) });
    match archive.deflated(index) {
        Some(expected) => writer.splice(&entry, || Ok(archive.raw(index)), expected).map_err(failed),
        None => writer.file(&entry, || Ok(archive.checked(index))).map_err(failed),
    }
}

fn entry(path: &str, mode: u32, kind: EntryKind) -> Entry {
    Entry { path: path.to_owned(), mode, uid: 0, gid: 0, mtime: ZIP_EPOCH, kind }
}

/// The directories above `paths` that a base does not have already, so that the layer leaves the base's modes alone.
fn directories<'a>(paths: impl Iterator<Item = &'a String>, scheme: &InstallScheme) -> BTreeSet<String> {
    let bases: BTreeSet<String> =
        [&scheme.purelib, &scheme.platlib, &scheme.scripts, &scheme.data, &scheme.include]
            .into_iter()
            .flat_map(|path| ancestors(path).map(str::to_owned).chain([path.clone()]))
            .chain(
                ["etc", "games", "include", "lib", "man", "sbin", "share", "src"]
                    .map(|name| format!("usr/local/{name}")),
            )
            .collect();
    paths.flat_map(|path| ancestors(path)).filter(|path| !bases.contains(*path)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_the_base_are_left_alone() {
        let scheme = InstallScheme::debian((3, 11));
        let paths = [
            "usr/local/bin/x".to_owned(),
            "usr/local/cuda-12.5/bin/ptxas".to_owned(),
            "usr/local/lib/python3.11/dist-packages/a/b/c.py".to_owned(),
        ];
        let found: Vec<String> = directories(paths.iter(), &scheme).into_iter().collect();
        assert_eq!(
            found,
            [
                "usr/local/cuda-12.5",
                "usr/local/cuda-12.5/bin",
                "usr/local/lib/python3.11/dist-packages/a",
                "usr/local/lib/python3.11/dist-packages/a/b"
            ]
        );
    }

    #[test]
    fn a_library_gets_the_link_a_linker_looks_for() {
        let toolkit = Toolkit { version: (12, 5), architecture: crate::oci::Architecture::Amd64 };
        let directory = toolkit.library_directory();
        assert_eq!(
            component_place(&toolkit, "nvidia-cublas-cu12", "nvidia/cublas/lib/libcublas.so.12"),
            InstallPlace::Linked {
                path: format!("{directory}/libcublas.so.12"),
                link: format!("{directory}/libcublas.so")
            }
        );
        assert_eq!(
            component_place(
                &toolkit,
                "nvidia-cuda-nvrtc-cu12",
                "nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.5"
            ),
            InstallPlace::At(format!("{directory}/libnvrtc-builtins.so.12.5"))
        );
    }
}

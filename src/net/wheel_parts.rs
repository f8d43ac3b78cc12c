//! The part of a wheel that is fetched first, and the facts that are read of the parts at hand.

use std::ops::Range;

use uv_distribution_filename::WheelFilename;

use super::http::ByteSpan;
use crate::cuda;
use crate::elf::Machine;
use crate::pypa::library;
use crate::pypa::needs::{self, BinaryNeeds, ReadBinary};
use crate::pypa::simple::DistFile;
use crate::pypa::wheel::{Outline, Wheel, WheelError};
use crate::pypa::zip::{Bytes, Local, TAIL};
use crate::resolve::solve::WheelLibrary;

/// The result of reading in parts.
pub(super) enum Learnt<T> {
    Is(T),
    /// The server does not serve them.
    NoParts,
}

impl<T> Learnt<T> {
    pub(super) fn is(self) -> Option<T> {
        match self {
            Self::Is(learnt) => Some(learnt),
            Self::NoParts => None,
        }
    }
}

/// The part of a wheel that is fetched first.
pub(super) fn first_part(wheel: &DistFile) -> ByteSpan {
    let (share, bounds) = FIRST_PART;
    match wheel.size {
        Some(size) => {
            let part = (size / share).clamp(bounds.start, bounds.end);
            ByteSpan::Range(size.saturating_sub(part)..size)
        }
        None => ByteSpan::Suffix(bounds.start * 2),
    }
}
/// The part of a wheel's end that is fetched first: a fraction of its size, within bounds. It should hold the central
/// directory and the metadata, which usually stand last.
const FIRST_PART: (u64, Range<u64>) = (40, TAIL..1 << 20);

/// The text of METADATA and the outline.
pub(super) fn text_and_outline<R: Bytes>(
    filename: &WheelFilename,
    wheel: Wheel<R>,
) -> Result<(String, Outline), WheelError> {
    let metadata = format!("{}/METADATA", wheel.outline().dist_info(filename)?);
    Ok((wheel.metadata(&metadata)?, wheel.into_outline()))
}

/// The libraries of a wheel that is all at hand.
pub(super) fn all_libraries(local: &Local) -> Result<Vec<WheelLibrary>, WheelError> {
    let wheel = Wheel::open(local)?;
    let outline = wheel.outline().clone();
    library::paths(&outline).filter_map(|path| wheel_library(&wheel, path).transpose()).collect()
}

/// The library at `path`; `None` when it is not one that the loader links.
pub(super) fn wheel_library<R: Bytes>(
    wheel: &Wheel<R>,
    path: &str,
) -> Result<Option<WheelLibrary>, WheelError> {
    let Some(library) = library::read(wheel, path)? else { return Ok(None) };
    let name = path.rsplit('/').next().unwrap_or(path);
    Ok(Some(WheelLibrary {
        path: path.to_owned(),
        soname: library.soname.unwrap_or_else(|| name.to_owned()),
        needed: library.needed,
        symbols: library.symbols,
    }))
}

/// The bytes that a request for a part costs beside the part, as time.
const REQUEST: u64 = 64 << 10;

/// Returns whether a wheel is better fetched as a whole than in the parts that tell the needs of its binaries: a build
/// fetches it anyway.
pub(super) fn is_better_whole(wheel: &DistFile, outline: &Outline) -> bool {
    let binaries = outline.entries.iter().filter(|entry| cuda::library_stem(&entry.path).is_some());
    let parts: u64 = binaries.map(|entry| library::likely_fetched(entry.compressed_size) + REQUEST).sum();
    let stored = || outline.entries.iter().map(|entry| entry.compressed_size).sum();
    parts.saturating_mul(2) >= wheel.size.unwrap_or_else(stored)
}

/// The needs of the binaries of a wheel that is all at hand.
pub(super) fn all_binaries(
    local: &Local,
    machine: Option<Machine>,
    search: bool,
) -> Result<BinaryNeeds, WheelError> {
    let wheel = Wheel::open(local)?;
    let read = needs::binaries(wheel.outline())
        .filter_map(|path| wheel_binary(&wheel, path, machine, search).transpose());
    let read = read.collect::<Result<_, _>>()?;
    Ok(needs::of_binaries(wheel.outline(), read, search))
}

/// The binary at `path`; `None` when it is not one that the loader links. Damage is for the build and the check to find.
pub(super) fn wheel_binary<R: Bytes>(
    wheel: &Wheel<R>,
    path: &str,
    machine: Option<Machine>,
    search: bool,
) -> Result<Option<ReadBinary>, WheelError> {
    match needs::read(wheel, path, machine, search) {
        Err(WheelError::Library { .. } | WheelError::Corrupt { .. } | WheelError::TooLarge { .. }) => {
            Ok(None)
        }
        read => read,
    }
}

/// The machine that the tags in a wheel's name stand for.
pub(super) fn machine(wheel: &WheelFilename) -> Option<Machine> {
    let of_tag = |tag: String| match () {
        () if tag.ends_with("x86_64") => Some(Machine::X86_64),
        () if tag.ends_with("aarch64") => Some(Machine::Aarch64),
        () => None,
    };
    wheel.platform_tags().iter().find_map(|tag| of_tag(tag.to_string()))
}

/// Returns whether the binaries of a wheel are known to open what they need by name.
pub(super) fn searches(wheel: &DistFile) -> bool {
    !cuda::binary_use(wheel.filename.name.as_ref()).opens.is_empty()
}

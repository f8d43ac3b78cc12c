//! The part of a wheel that is fetched first, and the facts that are read of the parts at hand.

use std::ops::Range;

use super::http::ByteSpan;
use crate::pypa::library;
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
    pub fn is(self) -> Option<T> {
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
    file: &DistFile,
    wheel: Wheel<R>,
) -> Result<(String, Outline), WheelError> {
    let metadata = format!("{}/METADATA", wheel.outline().dist_info(&file.filename)?);
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

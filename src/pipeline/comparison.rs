//! Reads the two sides of a comparison, whatever they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Locking, Planned, Session, image_base, plan};
use crate::compare::{self, Difference, Summary};
use crate::failure::{Context, Fault, Hinted, Result};
use crate::place::{ImagePlace, PlaceError};
use crate::plain_file;
use crate::source;

/// A plan of more bytes is not read: that of a thousand wheels has 2 MB.
const LONGEST_PLAN: u64 = 16 << 20;

/// One side of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    /// An image.
    Image(ImagePlace),
    /// The output of `imgforge plan --json`.
    Plan(PathBuf),
    /// A recipe, which is resolved.
    Recipe(PathBuf),
}

impl Side {
    /// The side that `text` names: the place of an image, a file of JSON, or a recipe.
    pub fn of(text: &str) -> Result<Self, PlaceError> {
        let place = text.parse();
        // What can be a file and a reference is the file that is there.
        let is_written_out = |place: &ImagePlace| !place.is_bare(text);
        match plain_file::read(Path::new(text), LONGEST_PLAN) {
            Err(_) if place.is_ok() => place.map(Self::Image),
            Ok(_) if place.as_ref().is_ok_and(is_written_out) => place.map(Self::Image),
            Ok(bytes) if bytes.trim_ascii_start().starts_with(b"{") => Ok(Self::Plan(text.into())),
            Err(_) if text.contains(':') => place.map(Self::Image),
            _ => Ok(Self::Recipe(text.into())),
        }
    }
}

/// The difference between two sides.
pub fn compare(before: &Side, after: &Side, session: &Session<'_>) -> Result<Difference> {
    let before = summary(before, session)?;
    Ok(compare::compare(&before, &summary(after, session)?))
}

fn summary(side: &Side, session: &Session<'_>) -> Result<Summary> {
    match side {
        Side::Image(place) => of_image(place, session),
        Side::Plan(path) => of_json(path),
        Side::Recipe(path) => Ok(summary_of(&plan(path, Locking::Preferred, session)?)),
    }
}

fn of_image(place: &ImagePlace, session: &Session<'_>) -> Result<Summary> {
    let image = source::open(place, None, session.sources())?;
    let contents = image_base::scan(&image, session)?;
    let mut summary = Summary::of_image(&image_base::inventory(&image, &contents, None)?);
    let compressed = image.layers.iter().map(|layer| layer.descriptor.size()).sum();
    summary.bytes.insert("compressed layers".into(), compressed);
    summary.bytes.insert("unpacked layers".into(), contents.iter().map(|content| content.unpacked).sum());
    Ok(summary)
}

/// The part of a plan's JSON that a comparison reads.
#[derive(serde::Deserialize)]
struct Printed {
    summary: Summary,
}

/// A file that is no such plan.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` is not a plan that imgforge printed")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct NotAPlan {
    path: PathBuf,
}

impl Hinted for NotAPlan {
    fn hint(&self) -> Option<String> {
        Some("write it with `imgforge plan RECIPE --json > FILE`".into())
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

fn of_json(path: &Path) -> Result<Summary> {
    let bytes = plain_file::read(path, LONGEST_PLAN)
        .with_context(|| format!("could not read `{}`", path.display()))?;
    let not_a_plan = || NotAPlan { path: path.to_owned() };
    let plan: Printed = serde_json::from_slice(&bytes).map_err(|_| not_a_plan())?;
    Ok(plan.summary)
}

/// The summary in a plan's JSON, for a later comparison.
pub fn summary_of(planned: &Planned) -> Summary {
    let mut summary = Summary::of_plan(&planned.base, &planned.resolution);
    let wheels: BTreeMap<&str, u64> =
        planned.plan.wheels().map(|wheel| (wheel.filename.as_str(), wheel.unpacked)).collect();
    summary.bytes.insert("unpacked wheels".into(), wheels.values().sum());
    summary
}

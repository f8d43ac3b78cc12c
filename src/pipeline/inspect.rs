//! The inventory of an image, and the description of a base with it.

use std::path::{Path, PathBuf};

use super::check::{Checked, WantedMachines};
use super::{Session, image_base};
use crate::base::{BaseInventory, InventoryError};
use crate::check::GpuSupport;
use crate::failure::Result;
use crate::oci::{Architecture, Digest};
use crate::place::ImagePlace;
use crate::pypa::scheme::relative;
use crate::recipe::BaseDescription;
use crate::source;

/// The content of an image.
#[derive(Debug)]
pub struct Inspected {
    /// The digest of its manifest, where it has one.
    pub digest: Option<Digest>,
    /// The inventory.
    pub inventory: BaseInventory,
    /// The GPUs and drivers that it runs on.
    pub gpus: GpuSupport,
}

/// Reads the layers of the image at `place` that were never read before, and says what is installed in it; of several
/// platforms it is that of `architecture`, or this machine's, and `python` is the version meant, such as `3.11`, where there are several.
pub fn inspect(
    place: &ImagePlace,
    architecture: Option<Architecture>,
    python: Option<&str>,
    session: &Session<'_>,
) -> Result<Inspected> {
    let image = source::open(place, architecture, session.sources())?;
    let contents = image_base::scan(&image, session)?;
    let inventory = image_base::inventory(&image, &contents, python).map_err(InventoryError::of_image)?;
    let gpus = Checked::of(&image, python, WantedMachines::default())?.gpu_support(&session.store)?;
    Ok(Inspected { digest: image.digest, inventory, gpus })
}

/// The text of the description in `file` with this inventory; `text` is what it had, where it is there already.
pub fn describe(file: &Path, text: Option<&str>, place: &ImagePlace, inspected: &Inspected) -> String {
    let json = inspected.inventory.to_record();
    match text {
        Some(text) => BaseDescription::record(text, &json),
        None => BaseDescription::record(&format!("{}\n", kind(file, place, inspected.digest)), &json),
    }
}

/// `layout: ../out/base`: the place, seen from the directory of the description. What a tag in a registry names may change:
/// there the inventory is that of a digest.
fn kind(file: &Path, place: &ImagePlace, digest: Option<Digest>) -> String {
    let (kind, path, tag) = match place {
        ImagePlace::OciLayout { directory, tag } => ("layout", directory, tag),
        ImagePlace::OciArchive { file, tag } | ImagePlace::DockerArchive { file, tag } => {
            ("archive", file, tag)
        }
        // The name of an engine's image is that of the registry's it came from.
        ImagePlace::Registry(reference) | ImagePlace::Engine { name: reference, .. } => {
            let digest = digest.map(|digest| format!("\ndigest: {digest}")).unwrap_or_default();
            return format!(
                "image: {}{digest}",
                serde_json::Value::from(reference.clone().without_digest().to_string())
            );
        }
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let text = |path: PathBuf| path.to_string_lossy().trim_matches('/').to_owned();
    let directory = absolute(file).parent().map(Path::to_owned).unwrap_or_default();
    let seen = if path.is_absolute() {
        path.to_string_lossy().into_owned()
    } else {
        relative(&text(directory), &text(absolute(path)))
    };
    let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
    format!("{kind}: {}", serde_json::Value::from(format!("{seen}{tag}")))
}

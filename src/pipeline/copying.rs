//! `copy`: an image from one place to another, as it is.

use super::{Session, publish};
use crate::failure::Result;
use crate::image::{self, Image, ImageLayer, PublishedImage};
use crate::oci::Architecture;
use crate::place::ImagePlace;
use crate::source::{self, SourceImage};

/// An order to copy.
#[derive(Debug)]
pub struct CopyOrder<'a> {
    /// The place of the image.
    pub from: &'a ImagePlace,
    /// The places that it goes to.
    pub to: &'a [ImagePlace],
    /// The architecture of the image, where there are several; this machine's without one.
    pub architecture: Option<Architecture>,
}

/// Copies an image; its layers are brought only as far as the destinations lack them.
pub fn copy(order: &CopyOrder<'_>, session: &Session<'_>) -> Result<PublishedImage> {
    session.progress.stage(&format!("reading {}", order.from));
    let source = source::open(order.from, order.architecture, session.sources())?;
    let image = taken_over(&source)?.into();
    publish(&image, &name(order.from), &[&source], order.to, session)?;
    Ok(image)
}

fn taken_over(source: &SourceImage) -> Result<Image> {
    let layers = source.layers.iter().map(|layer| ImageLayer {
        title: String::new(),
        media_type: layer.descriptor.media_type().clone(),
        annotations: layer.descriptor.annotations(),
        digest: layer.descriptor.digest(),
        size: layer.descriptor.size(),
        diff_id: layer.diff_id,
        unpacked: 0,
    });
    let manifest = source.manifest.clone().map(|manifest| (manifest.media_type, manifest.bytes));
    Ok(image::taken_over(source.architecture, source.config.clone(), manifest, layers.collect())?)
}

/// The name in archives: the last part of the place's.
fn name(place: &ImagePlace) -> String {
    let path = match place {
        ImagePlace::OciLayout { directory, .. } => directory.file_name(),
        ImagePlace::OciArchive { file, .. } | ImagePlace::DockerArchive { file, .. } => file.file_stem(),
        ImagePlace::Registry(name) | ImagePlace::Engine { name, .. } => {
            return name.repository().rsplit('/').next().unwrap_or_default().to_owned();
        }
    };
    let stem = path.unwrap_or_default().to_string_lossy().to_lowercase();
    let is_usual = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let usual: String = stem.chars().map(|c| if is_usual(c) { c } else { '-' }).collect();
    match usual.trim_matches('-') {
        "" => "image".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_named_after_the_place() {
        let check = |place: &str, expected: &str| assert_eq!(name(&place.parse().unwrap()), expected);
        check("oci:/srv/My Image:v1", "my-image");
        check("oci-archive:/srv/app.tar", "app");
        check("docker://registry.test/team/app:v1", "app");
        check("docker-daemon:app", "app");
        check("oci:/", "image");
    }
}

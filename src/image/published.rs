//! An image as a tag names it: that of one platform, or an image index over those of several.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/image-index.md>

use std::collections::BTreeMap;

use oci_spec::image::{ImageIndexBuilder, MediaType, SCHEMA_VERSION};

use super::{AssembleError, Image, json};
use crate::oci::{Architecture, Descriptor, Digest};

/// An image as it is published under a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishedImage {
    /// That of one platform.
    Single(Box<Image>),
    /// Those of several platforms, and the index over them.
    Indexed(Box<IndexedImages>),
}

/// Images of several platforms, and the index over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexedImages {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    images: Vec<Image>,
    companions: Vec<IndexCompanion>,
}

/// A manifest in an index that is about one of its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexCompanion {
    /// Its entry in the index, whose annotations name the image.
    pub descriptor: Descriptor,
    /// Its text.
    pub bytes: Vec<u8>,
    /// The blobs that it names.
    pub blobs: Vec<(Descriptor, Vec<u8>)>,
}

/// A document of a published image.
#[derive(Debug, Clone, Copy)]
pub struct ImageDocument<'a> {
    /// Its descriptor.
    pub descriptor: &'a Descriptor,
    /// Its text.
    pub bytes: &'a [u8],
}

impl PublishedImage {
    /// The images of different platforms under one tag: an index where there are several, or where anything is `beside` one.
    pub fn of(mut images: Vec<Image>, beside: Vec<IndexCompanion>) -> Result<Self, AssembleError> {
        match images.pop() {
            Some(only) if images.is_empty() && beside.is_empty() => Ok(Self::Single(Box::new(only))),
            last => {
                images.extend(last);
                IndexedImages::new(images, beside).map(|indexed| Self::Indexed(Box::new(indexed)))
            }
        }
    }

    /// The descriptor that the tag names.
    pub fn descriptor(&self) -> &Descriptor {
        match self {
            Self::Single(image) => &image.manifest,
            Self::Indexed(indexed) => &indexed.descriptor,
        }
    }

    /// The image of each platform.
    pub fn images(&self) -> &[Image] {
        match self {
            Self::Single(image) => std::slice::from_ref(&**image),
            Self::Indexed(indexed) => &indexed.images,
        }
    }

    /// The only image, or else that of `architecture`.
    pub fn only_or_on(&self, architecture: Option<Architecture>) -> Option<&Image> {
        match self {
            Self::Single(image) => Some(image),
            Self::Indexed(indexed) => {
                indexed.images.iter().find(|image| Some(image.architecture) == architecture)
            }
        }
    }

    /// The layers of all images, each once, with their sizes in bytes.
    pub fn layers(&self) -> BTreeMap<Digest, u64> {
        let layers = self.images().iter().flat_map(|image| &image.layers);
        layers.map(|layer| (layer.digest, layer.size)).collect()
    }

    /// The blobs that are no layers of images, each once: configs, and what is said about images beside them.
    pub fn small_blobs(&self) -> BTreeMap<Digest, ImageDocument<'_>> {
        let configs = self.images().iter().map(Image::config_document);
        let told = self.companions().iter().flat_map(|companion| &companion.blobs);
        let told = told.map(|(descriptor, bytes)| ImageDocument { descriptor, bytes });
        configs.chain(told).map(|document| (document.descriptor.digest(), document)).collect()
    }

    fn companions(&self) -> &[IndexCompanion] {
        match self {
            Self::Single(_) => &[],
            Self::Indexed(indexed) => &indexed.companions,
        }
    }

    /// The manifests, and last what the tag names.
    pub fn manifests(&self) -> Vec<ImageDocument<'_>> {
        let of_images = self.images().iter().map(Image::manifest_document);
        let beside = self.companions().iter();
        let beside = beside.map(|it| ImageDocument { descriptor: &it.descriptor, bytes: &it.bytes });
        let mut manifests: Vec<ImageDocument<'_>> = of_images.chain(beside).collect();
        if let Self::Indexed(indexed) = self {
            manifests.push(ImageDocument { descriptor: &indexed.descriptor, bytes: &indexed.bytes });
        }
        manifests
    }
}

impl IndexedImages {
    fn new(images: Vec<Image>, companions: Vec<IndexCompanion>) -> Result<Self, AssembleError> {
        let beside = companions.iter().map(|companion| &companion.descriptor);
        let manifests = images.iter().map(|image| &image.manifest).chain(beside);
        let manifests = manifests.map(|descriptor| descriptor.clone().into());
        let index = ImageIndexBuilder::default()
            .schema_version(SCHEMA_VERSION)
            .media_type(MediaType::ImageIndex)
            .manifests(manifests.collect::<Vec<_>>())
            .build()
            .map_err(|source| AssembleError { document: "index", source })?;
        let bytes = json(&index, "index")?;
        let descriptor = Descriptor::of(MediaType::ImageIndex, &bytes);
        Ok(Self { descriptor, bytes, images, companions })
    }
}

impl Image {
    fn config_document(&self) -> ImageDocument<'_> {
        ImageDocument { descriptor: &self.config, bytes: &self.config_bytes }
    }

    fn manifest_document(&self) -> ImageDocument<'_> {
        ImageDocument { descriptor: &self.manifest, bytes: &self.manifest_bytes }
    }
}

impl From<Image> for PublishedImage {
    fn from(image: Image) -> Self {
        Self::Single(Box::new(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image;

    fn image(architecture: Architecture) -> Image {
        let config = format!("{{\"architecture\":\"{architecture}\"}}");
        image::taken_over(architecture, config.into_bytes(), None, Vec::new()).unwrap()
    }

    #[test]
    fn one_image_has_no_index() {
        let only = image(Architecture::Arm64);
        let published = PublishedImage::of(vec![only.clone()], Vec::new()).unwrap();
        assert_eq!(published.descriptor(), &only.manifest);
        assert_eq!(published.only_or_on(Some(Architecture::Amd64)), Some(&only));
        assert_eq!(published.manifests().len(), 1);
    }

    #[test]
    fn an_index_names_the_image_of_each_platform() {
        let images = Architecture::ALL.map(image);
        let published = PublishedImage::of(images.to_vec(), Vec::new()).unwrap();
        let last = published.manifests().pop().unwrap();
        let manifest = |image: &Image| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"platform":{{"architecture":"{}","os":"linux"}}}}"#,
                image.manifest.digest(),
                image.manifest.size(),
                image.architecture
            )
        };
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}]}}"#,
            manifest(&images[0]),
            manifest(&images[1])
        );
        assert_eq!(String::from_utf8_lossy(last.bytes), expected);
        assert_eq!(last.descriptor.digest(), Digest::of(&expected));
        assert_eq!(published.only_or_on(Some(Architecture::Arm64)), Some(&images[1]));
        assert_eq!(published.only_or_on(None), None);
    }
}

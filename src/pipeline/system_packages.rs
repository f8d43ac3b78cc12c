//! Debian packages that are added to an image.

use super::base_source::DebianSource;
use super::debian::{self, WantedPackages};
use super::debian_lock::{EarlierPackages, LockedPackages, PackageSuites, check_image_suites};
use super::{Session, inputs, shared_records};
use crate::bootstrap::groups::{DebianPackages, added_packages};
use crate::bootstrap::image_archives::{ImageArchives, is_told_by};
use crate::bootstrap::inventory::may_change;
use crate::debian::usrmerge::UsrLayout;
use crate::failure::{Failure, Result};
use crate::layer::Written;
use crate::layer::system_files::SystemFiles;
use crate::lock::DebianBase;
use crate::net::debian::{directory_url, mirrors_instead};
use crate::oci::Digest;
use crate::plan::LayerPlan;
use crate::recipe::RecipeInputs;
use crate::source::SourceImage;

/// Part of the key of what is recorded of an image: raised when something else shall be.
const FORMAT: u32 = 1;
/// The records of what images say of their packages, by their layers.
pub(super) const ARCHIVES: &str = "image-archives";

/// The packages that are added to an image, before anything of them is fetched.
pub(super) struct AddedPackages {
    pub decided: DebianBase,
    /// The layer of them; none where the image has them all.
    pub layers: Vec<LayerPlan>,
    pub source: DebianSource,
    /// True if Python, the C library or CUDA may be another with them.
    pub may_change_inventory: bool,
}

/// Chooses the packages that the recipe adds to `image`, or takes those that were `locked`; `None` where it adds none.
pub(super) fn open(
    inputs: &RecipeInputs,
    image: &SourceImage,
    locked: Option<EarlierPackages<'_>>,
    session: &Session<'_>,
) -> Result<Option<AddedPackages>> {
    let wanted = inputs::system_packages(&inputs.recipe, &image.env)?;
    let wanted: Vec<String> = wanted.into_iter().map(|name| name.value).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    session.progress.stage("choosing system packages");
    let archives = archives(image, session)?;
    let suites = archives.suites(image.architecture.as_str())?;
    match locked {
        Some(EarlierPackages { decided, given_up }) if given_up.is_empty() => {
            check_image_suites(&suites, decided)?;
            let mut mirrors = Vec::new();
            for suite in &suites {
                let own = suite.uris.iter().filter_map(|uri| directory_url(uri).ok());
                mirrors.push(mirrors_instead(&suite.name)?.into_iter().chain(own).collect());
            }
            mirrors.iter().flatten().for_each(|mirror| session.http.remember(mirror));
            let suites = PackageSuites::OfImage { suites, architecture: image.architecture };
            let locked = LockedPackages { suites, decided: decided.clone() };
            let source = DebianSource {
                fetches: debian::fetches(decided, &mirrors)?,
                locked: Some(Box::new(locked)),
                ..DebianSource::default()
            };
            Ok(Some(added(decided.clone(), image, &archives, source)))
        }
        earlier => {
            if let Some(earlier) = earlier {
                check_image_suites(&suites, earlier.decided)?;
            }
            let suites = PackageSuites::OfImage { suites, architecture: image.architecture };
            choose(&wanted, image, &archives, suites, earlier, session).map(Some)
        }
    }
}

fn choose(
    wanted: &[String],
    image: &SourceImage,
    archives: &ImageArchives,
    suites: PackageSuites,
    earlier: Option<EarlierPackages<'_>>,
    session: &Session<'_>,
) -> Result<AddedPackages> {
    let opened = debian::open_suites(&suites, session)?;
    let architecture = image.architecture.as_str();
    let request = WantedPackages { names: wanted, architecture, essential: false, status: &archives.status };
    let selection = debian::select_packages(&request, &opened, &session.store)?;
    let selection = debian::with_earlier(selection, earlier, &opened, &session.store)?;
    let mirrors = debian::mirrors_of(&opened);
    let components: Vec<Vec<String>> =
        suites.requests().iter().map(|request| request.components.to_vec()).collect();
    let locked = opened.into_iter().zip(&components);
    let locked = locked.map(|(suite, components)| debian::locked_suite(suite, components)).collect();
    let decided = DebianBase::new(image.architecture, locked, selection);
    let held = earlier.map(|_| Box::new(LockedPackages { suites, decided: decided.clone() }));
    let fetches = debian::fetches(&decided, &mirrors)?;
    let source = DebianSource { fetches, locked: held, ..DebianSource::default() };
    Ok(added(decided, image, archives, source))
}

fn added(
    decided: DebianBase,
    image: &SourceImage,
    archives: &ImageArchives,
    source: DebianSource,
) -> AddedPackages {
    let selection = decided.selection();
    let packages = DebianPackages {
        onto: image.layers.iter().map(|layer| layer.diff_id).collect(),
        packages: added_packages(&selection),
        layout: UsrLayout::Separate,
        archive: archives.distribution.clone(),
        sources: Vec::new(),
        published: decided.published(),
    };
    let layers = if selection.packages.is_empty() { Vec::new() } else { packages.layers() };
    let may_change_inventory = may_change(&selection);
    let layers = layers.into_iter().map(LayerPlan::Debian).collect();
    AddedPackages { decided, layers, source, may_change_inventory }
}

/// The key of what an image of layers with these diff_ids says of its packages.
pub(super) fn archives_key(diff_ids: impl Iterator<Item = Digest>) -> Digest {
    let diff_ids: Vec<String> = diff_ids.map(|diff_id| diff_id.to_string()).collect();
    Digest::of(format!("{FORMAT}\n{}", diff_ids.join("\n")))
}

/// The word of `image` on its packages; read from its layers once.
fn archives(image: &SourceImage, session: &Session<'_>) -> Result<ImageArchives> {
    let store = &session.store;
    let key = archives_key(image.layers.iter().map(|layer| layer.diff_id));
    shared_records::bring(ARCHIVES, &key, session);
    session.shared.note_record(ARCHIVES, key);
    if let Some(archives) = store.record(ARCHIVES, &key) {
        return Ok(archives);
    }
    session.progress.stage("reading the base's files");
    let blobs = image.layers.iter().map(|layer| layer.descriptor.clone());
    let layers = blobs.map(|blob| -> Result<Box<dyn std::io::Read>> {
        match store.has_blob(&blob.digest(), Some(blob.size())) {
            true => Ok(Box::new(store.open_blob(&blob.digest())?)),
            false => Ok(Box::new(image.open_blob(&blob)?)),
        }
    });
    let layers = layers.collect::<Result<Vec<_>>>()?;
    let files = SystemFiles::read(layers, &is_told_by, store.scratch()?)?;
    let archives = ImageArchives::of(&files.entries, &files)?;
    store.put_record(ARCHIVES, &key, &archives)?;
    Ok(archives)
}

impl AddedPackages {
    /// Writes the layer above the layers of `image`, which are brought into the store where it has to be made.
    pub(super) fn write_early(&self, image: &SourceImage, session: &Session<'_>) -> Result<Vec<Written>> {
        if self.layers.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(written) = self.source.recall(&self.layers, session) {
            return Ok(written);
        }
        image.fetch_into(&session.store, &|_| ())?;
        let below: Vec<Digest> = image.layers.iter().map(|layer| layer.descriptor.digest()).collect();
        self.source.write(&self.layers, &below, session)
    }
}

/// Splits the layers of a base: those of an image, and those of packages.
pub(super) fn split(layers: &[LayerPlan]) -> Result<(Vec<Digest>, &[LayerPlan])> {
    let (image, packages) =
        layers.split_at(layers.iter().take_while(|layer| matches!(layer, LayerPlan::Base(_))).count());
    let digest = |layer: &LayerPlan| match layer {
        LayerPlan::Base(layer) => Ok(layer.descriptor.digest()),
        other => Err(Failure::new(format!("the layer `{}` is not one of an image", other.title()))),
    };
    Ok((image.iter().map(digest).collect::<Result<_>>()?, packages))
}

//! Wheels that a recipe names by their places: found, hashed, and held against what was locked.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use url::Url;
use uv_normalize::PackageName;

use super::Session;
use crate::beneath::{FileRoot, ReachError};
use crate::credentials::redacted;
use crate::failure::{Fault, Hinted, Result};
use crate::lock::Lock;
use crate::net::config::PackageSources;
use crate::net::directory::local_wheel;
use crate::net::http::HttpError;
use crate::net::index::{Freshness, PackageIndex};
use crate::oci::Digest;
use crate::pypa::direct_url;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::target::{Misfit, Target};
use crate::recipe::{FilePlace, NamedWheel, RecipeInputs, WheelReference};
use crate::resolve::DirectUrls;
use crate::resolve::solve::{Catalog, CatalogError};

/// The kind of the records of wheels whose hash nobody gave: what was there when they were fetched.
const FETCHED: &str = "direct-wheel";

/// The reason why a wheel that is named by its place cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum NamedWheelError {
    #[error("could not read the wheel `{wheel}` (from {origin})")]
    Reach { wheel: String, origin: String, source: ReachError },
    #[error("the wheel `{wheel}` has the wrong hash: {expected} is asked for, {found} was found")]
    Hash { wheel: String, expected: Digest, found: Digest },
    #[error("the wheel `{wheel}` {misfit}")]
    Misfit { wheel: String, misfit: Misfit, fitting: String },
    #[error("two wheels of `{project}` are named: `{}` (from {}) and `{}` (from {})", first.0, first.1, second.0, second.1)]
    Two { project: PackageName, first: (String, String), second: (String, String) },
    #[error("could not fetch the wheel `{wheel}`")]
    Fetch { wheel: String, source: HttpError },
    #[error("could not use the wheel `{wheel}` (from {origin})")]
    Unusable { wheel: String, origin: String, source: CatalogError },
}

impl Hinted for NamedWheelError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Reach { source: ReachError::Io(_), .. } => {
                "check the path: it begins at the recipe's directory, in requirements files too".into()
            }
            Self::Reach { source, .. } => return source.hint(),
            Self::Hash { .. } => {
                "find out which of the two is right, and write its hash behind `#sha256=`".into()
            }
            Self::Misfit { fitting, .. } => format!(
                "build or fetch a wheel for {fitting}; a marker keeps this one from images that it is not for: `; \
                 python_version == '3.12'`"
            ),
            Self::Two { .. } => "keep one of the two, or tell them apart by markers".into(),
            Self::Fetch { source, .. } => return source.hint(),
            Self::Unusable { source: CatalogError::BadMetadata { .. }, .. } => {
                "is it a wheel, as it was built? `python -m zipfile -l FILE` lists what is in it".into()
            }
            Self::Unusable { source, .. } => return source.hint(),
        })
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Fetch { .. } | Self::Unusable { .. } => Fault::Job,
            _ => Fault::Input,
        }
    }
}

/// The digests of wheels that were named before, by the URLs that are recorded of them.
pub(super) type KnownWheels = BTreeMap<String, Digest>;

/// A wheel that is named by its place, as it was found.
struct FoundWheel {
    named: NamedWheel,
    file: DistFile,
}

/// The wheels that are named for a target, by their projects.
#[derive(Default)]
pub(super) struct NamedWheels(BTreeMap<PackageName, FoundWheel>);

/// A local wheel that is not the one that was locked.
pub(super) struct ChangedWheel {
    pub wheel: String,
    pub locked: Digest,
    pub found: Digest,
}

impl NamedWheels {
    /// Finds the wheels that the recipe and its locks (`locked`) name for `target`. Of a URL without a hash, `known` has what it gave before;
    /// otherwise it is fetched now.
    pub(super) fn find(
        inputs: &RecipeInputs,
        locked: &[NamedWheel],
        target: &Target,
        known: &KnownWheels,
        session: &Session<'_>,
    ) -> Result<Self> {
        let finder = WheelFinder { inputs, target, known, session };
        let mut found: BTreeMap<PackageName, FoundWheel> = BTreeMap::new();
        let wheels = inputs.wheels.iter().chain(locked);
        for named in wheels.filter(|named| is_meant(named, target)) {
            let file = finder.file(named)?;
            match found.get(&named.requirement.name) {
                Some(first) if first.file.sha256 == file.sha256 => {}
                Some(first) => return Err(two(&first.named, named).into()),
                None => {
                    let name = named.requirement.name.clone();
                    found.insert(name, FoundWheel { named: named.clone(), file });
                }
            }
        }
        Ok(Self(found))
    }

    /// Reads the metadata of each: what is wrong with a wheel is told before anything is solved.
    pub(super) fn check(&self, target: &Target, session: &Session<'_>) -> Result<(), NamedWheelError> {
        let (http, store) = (Arc::clone(&session.http), session.store.clone());
        let catalog = PackageIndex::new(http, store, PackageSources::default(), Freshness::Believed);
        for FoundWheel { named, file } in self.0.values() {
            let (wheel, origin) = (named.wheel.to_string(), named.source.clone());
            let metadata = catalog.metadata(file);
            let metadata = metadata.map_err(|source| NamedWheelError::Unusable { wheel, origin, source })?;
            if let Some(asked) = metadata.requires_python.as_ref().filter(|asked| !target.admits(asked)) {
                let (asked, python) = (asked.clone(), target.python().clone());
                return Err(misfit(
                    &named.wheel,
                    Misfit::RequiresPython { wheel: asked, target: python },
                    target,
                ));
            }
        }
        Ok(())
    }

    /// As an index would list them.
    pub(super) fn projects(&self) -> impl Iterator<Item = (PackageName, Project)> {
        self.0.iter().map(|(name, found)| {
            let project = Project { files: vec![found.file.clone()], ..Project::empty(name.clone()) };
            (name.clone(), project)
        })
    }

    /// The URLs that are recorded of them.
    pub(super) fn direct_urls(&self) -> DirectUrls {
        self.0.iter().map(|(name, found)| (name.clone(), recorded(&found.named.wheel))).collect()
    }

    /// The first that is not what `lock` has.
    pub(super) fn changed(&self, lock: &Lock) -> Option<ChangedWheel> {
        self.0.iter().find_map(|(name, found)| {
            let locked = lock.distributions.iter().find(|locked| locked.name() == name)?;
            let (filename, locked) = locked.wheel();
            let digest = found.file.sha256?;
            let is_other = *filename != found.file.filename || *locked != digest;
            is_other.then(|| ChangedWheel {
                wheel: found.named.wheel.to_string(),
                locked: *locked,
                found: digest,
            })
        })
    }
}

/// The wheels of a lock that were named by their places.
pub(super) fn known_wheels(lock: &Lock) -> KnownWheels {
    lock.distributions
        .iter()
        .filter_map(|locked| Some((locked.direct_url()?.to_owned(), *locked.wheel().1)))
        .collect()
}

/// The URL that is recorded of a wheel in the image.
fn recorded(wheel: &WheelReference) -> String {
    match &wheel.place {
        FilePlace::Path(_) => direct_url::of_local(&wheel.filename.to_string()),
        FilePlace::Url(url) => redacted(url),
    }
}

/// Returns whether a wheel is for `target` by its marker.
fn is_meant(named: &NamedWheel, target: &Target) -> bool {
    named.requirement.evaluate_markers(target.markers(), &[])
}

fn two(first: &NamedWheel, second: &NamedWheel) -> NamedWheelError {
    let told = |named: &NamedWheel| (named.wheel.to_string(), named.source.clone());
    NamedWheelError::Two { project: first.requirement.name.clone(), first: told(first), second: told(second) }
}

fn misfit(wheel: &WheelReference, misfit: Misfit, target: &Target) -> NamedWheelError {
    let (major, minor) = target.python_minor();
    let (glibc, machine) = (target.glibc(), target.architecture().machine_name());
    let fitting =
        format!("CPython {major}.{minor} on {machine}, with glibc {}.{} or older", glibc.0, glibc.1);
    NamedWheelError::Misfit { wheel: wheel.to_string(), misfit, fitting }
}

struct WheelFinder<'a> {
    inputs: &'a RecipeInputs,
    target: &'a Target,
    known: &'a KnownWheels,
    session: &'a Session<'a>,
}

impl WheelFinder<'_> {
    /// A wheel as an index would list it.
    fn file(&self, named: &NamedWheel) -> Result<DistFile> {
        let wheel = &named.wheel;
        if let Err(reason) = self.target.fit(&wheel.filename) {
            return Err(misfit(wheel, reason, self.target).into());
        }
        match &wheel.place {
            FilePlace::Path(path) => Ok(self.local(path, named)?),
            FilePlace::Url(url) => Ok(self.remote(url, named)?),
        }
    }

    fn local(&self, path: &str, named: &NamedWheel) -> Result<DistFile, NamedWheelError> {
        let wheel = &named.wheel;
        let unreadable = |source| NamedWheelError::Reach {
            wheel: wheel.to_string(),
            origin: named.source.clone(),
            source,
        };
        let directory = &self.inputs.directory;
        let absolute = |path: &Path| std::path::absolute(path).map_err(|error| unreadable(error.into()));
        let root =
            FileRoot::open(directory, self.session.outside).map_err(|error| unreadable(error.into()))?;
        let path = absolute(&directory.join(path))?;
        let file =
            local_wheel(&root, &path, wheel.filename.clone(), &self.session.store).map_err(unreadable)?;
        match (wheel.sha256, file.sha256) {
            (Some(expected), Some(found)) if expected != found => {
                Err(NamedWheelError::Hash { wheel: wheel.to_string(), expected, found })
            }
            _ => Ok(file),
        }
    }

    fn remote(&self, url: &Url, named: &NamedWheel) -> Result<DistFile, NamedWheelError> {
        let wheel = &named.wheel;
        self.session.http.remember(url);
        let known = || self.known.get(&recorded(wheel)).copied();
        let sha256 = match wheel.sha256.or_else(known) {
            Some(digest) => digest,
            None => fetched(url, self.session)
                .map_err(|source| NamedWheelError::Fetch { wheel: wheel.to_string(), source })?,
        };
        let file = DistFile::bare(wheel.filename.clone(), url.clone());
        Ok(DistFile { sha256: Some(sha256), ..file.unlisted() })
    }
}

/// The digest of a wheel of which nobody tells it: that of what is there now, or was when there was a network.
pub(super) fn fetched(url: &Url, session: &Session<'_>) -> Result<Digest, HttpError> {
    let (http, store) = (&session.http, &session.store);
    let key = Digest::of(redacted(url));
    let known: Option<Digest> = store.record(FETCHED, &key);
    if let Some(known) = known.filter(|known| http.is_offline() && store.has_blob(known, None)) {
        return Ok(known);
    }
    let (digest, _) = http.download_unverified(store, url, &|_| {})?;
    store.put_record(FETCHED, &key, &digest)?;
    Ok(digest)
}

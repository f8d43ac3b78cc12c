//! The packages of a lock, held against the recipe and against the signed indexes of their suites.
//!
//! A lock is a file that anybody who may propose a change can write. Its suites must be the recipe's, and a package that a
//! signed index still lists must have the digest that is listed. Of a package that no suite lists any more the lock is the only
//! witness, and that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use url::Url;

use super::Session;
use crate::bootstrap::image_archives::ImageSuite;
use crate::credentials::without_secrets;
use crate::debian::packages::{self as package_index, IndexedPackage};
use crate::debian::version::DebianVersion;
use crate::failure::{Failure, Fault, Hinted, Result};
use crate::lock::{DebianBase, LockedPackage, LockedSuite};
use crate::net::debian::{
    ArchiveError, MachineArchives, SuiteKeys, SuiteRequest, VerifiedSuite, directory_url, open_suite,
};
use crate::oci::{Architecture, Digest};
use crate::recipe::{Debian, Spanned, Suite};

/// Names of packages in one message; the rest are counted.
const MOST_NAMED: usize = 5;

/// The reason why a lock's packages are not taken.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub(super) enum LockedPackagesError {
    #[error("the lock has the suites {locked}, and the recipe's base {described}")]
    Suites { locked: String, described: String },
    #[error("the lock takes suite `{suite}` from `{locked}`, and the recipe's base from `{described}`")]
    Mirror { suite: String, locked: String, described: String },
    #[error("the lock has a package `{package}` for {locked}, and the base is for {described}")]
    Architecture { package: String, locked: String, described: String },
    #[error(
        "the lock has another package `{package}` than the signed index of suite `{suite}`: {locked} is locked, {listed} is listed"
    )]
    Differs { package: String, suite: String, locked: Digest, listed: Digest },
}

impl Hinted for LockedPackagesError {
    fn hint(&self) -> Option<String> {
        Some("restore the lock as it was committed; if you trust the archive, make it anew with `imgforge lock --upgrade`".into())
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// The suites that packages are taken from.
pub(super) enum PackageSuites {
    /// Those of a description.
    Described {
        description: Debian,
        /// The directory from which its paths start.
        directory: PathBuf,
    },
    /// Those of an image.
    OfImage {
        suites: Vec<ImageSuite>,
        /// The architecture of its packages.
        architecture: Architecture,
    },
}

impl PackageSuites {
    /// The request for each suite.
    pub(super) fn requests(&self) -> Vec<SuiteRequest<'_>> {
        match self {
            Self::Described { description, directory } => {
                let signed_by: Vec<PathBuf> =
                    description.signed_by.iter().map(|path| directory.join(&path.value)).collect();
                let request = |suite| described_request(description, suite, &signed_by);
                description.suites.iter().map(request).collect()
            }
            Self::OfImage { suites, architecture } => {
                suites.iter().map(|suite| image_request(suite, *architecture)).collect()
            }
        }
    }
}

fn described_request<'a>(
    description: &'a Debian,
    suite: &'a Spanned<Suite>,
    signed_by: &[PathBuf],
) -> SuiteRequest<'a> {
    SuiteRequest {
        name: &suite.name,
        mirror: suite.mirror.as_ref().or(description.mirror.as_ref()),
        uris: Vec::new(),
        keys: SuiteKeys::Files(signed_by.to_vec()),
        components: &description.components,
        architecture: description.architecture.as_str(),
    }
}

fn image_request(suite: &ImageSuite, architecture: Architecture) -> SuiteRequest<'_> {
    SuiteRequest {
        name: &suite.name,
        mirror: None,
        uris: suite.uris.iter().filter_map(|uri| directory_url(uri).ok()).collect(),
        keys: SuiteKeys::OfImage {
            keyrings: suite.keyrings.clone(),
            fingerprints: suite.fingerprints.clone(),
        },
        components: &suite.components,
        architecture: architecture.as_str(),
    }
}

/// Compares the suites of a lock with those of the image that its packages are added to.
pub(super) fn check_image_suites(
    suites: &[ImageSuite],
    decided: &DebianBase,
) -> Result<(), LockedPackagesError> {
    let described = listed_suites(suites.iter().map(|suite| (&suite.name, &suite.components)));
    let locked = listed_suites(decided.suites.iter().map(|suite| (&suite.name, &suite.components)));
    if described == locked { Ok(()) } else { Err(LockedPackagesError::Suites { locked, described }) }
}

/// The names of suites with their components, for messages.
fn listed_suites<'a>(suites: impl Iterator<Item = (&'a String, &'a Vec<String>)>) -> String {
    let shown = suites.map(|(name, components)| format!("`{name}` ({})", components.join(" ")));
    shown.collect::<Vec<_>>().join(", ")
}

/// Compares the suites of a lock with those that the recipe describes.
pub(super) fn check_suites(description: &Debian, decided: &DebianBase) -> Result<(), LockedPackagesError> {
    let described =
        listed_suites(description.suites.iter().map(|suite| (&suite.name, &description.components)));
    let locked = listed_suites(decided.suites.iter().map(|suite| (&suite.name, &suite.components)));
    if described != locked {
        return Err(LockedPackagesError::Suites { locked, described });
    }
    for (suite, locked) in description.suites.iter().zip(&decided.suites) {
        if let Some(mirror) = suite.mirror.as_ref().or(description.mirror.as_ref()) {
            check_mirror(mirror, locked)?;
        }
    }
    let architecture = description.architecture.as_str();
    let is_foreign = |package: &&LockedPackage| !["all", architecture].contains(&&*package.architecture);
    match decided.packages.iter().find(is_foreign) {
        None => Ok(()),
        Some(package) => Err(LockedPackagesError::Architecture {
            package: package.name.clone(),
            locked: package.architecture.clone(),
            described: architecture.to_owned(),
        }),
    }
}

fn check_mirror(described: &Url, locked: &LockedSuite) -> Result<(), LockedPackagesError> {
    let described = without_secrets(&directory_url(described.as_str()).unwrap_or_else(|_| described.clone()));
    match described == without_secrets(&locked.mirror) {
        true => Ok(()),
        false => Err(LockedPackagesError::Mirror {
            suite: locked.name.clone(),
            locked: without_secrets(&locked.mirror).into(),
            described: described.into(),
        }),
    }
}

/// The packages of a lock of which some are chosen anew.
#[derive(Clone, Copy)]
pub(super) struct EarlierPackages<'a> {
    pub decided: &'a DebianBase,
    /// The names of those that are chosen anew.
    pub given_up: &'a BTreeSet<String>,
}

/// The packages of a lock that are still to be held against their suites.
pub(super) struct LockedPackages {
    pub suites: PackageSuites,
    pub decided: DebianBase,
}

impl LockedPackages {
    /// Compares the packages with the signed indexes of their suites. What cannot be compared is said.
    pub(super) fn hold(&self, session: &Session<'_>, now: u64) -> Result<()> {
        let mut listed = ListedPackages::none_of(&self.decided.packages);
        for (request, locked) in self.suites.requests().into_iter().zip(&self.decided.suites) {
            match self.open(request, locked, session, now)? {
                Ok(suite) => listed.compare(&suite, session)?,
                Err(problem) => session.progress.warn(&format!(
                    "the lock's packages could not be held against the signed index of suite `{}`: {problem}",
                    locked.name
                )),
            }
        }
        if let Some(differs) = listed.differing.into_values().next() {
            return Err(differs.into());
        }
        if !listed.open.is_empty() {
            session.progress.warn(&alone(listed.open.values().copied()));
        }
        Ok(())
    }

    /// A suite of the recipe as it is served now, or the reason why it is not.
    fn open<'a>(
        &'a self,
        mut request: SuiteRequest<'a>,
        locked: &'a LockedSuite,
        session: &Session<'_>,
        now: u64,
    ) -> Result<Result<VerifiedSuite, String>> {
        let machine = MachineArchives::read()?;
        if machine.mirrors(&request).is_empty() {
            request.mirror = Some(&locked.mirror);
        }
        match open_suite(&request, &machine, &session.http, &session.store, now) {
            Ok(suite) => Ok(Ok(suite)),
            Err(error @ ArchiveError::Store(_)) => Err(error.into()),
            Err(error) => Ok(Err(Failure::from(error).to_string())),
        }
    }
}

/// A package's name and version: no suite has two of one architecture.
type PackageIdentity = (String, DebianVersion);

/// The packages of a lock, by what the signed indexes say of them.
struct ListedPackages<'a> {
    /// Those that no index lists with the locked digest.
    open: BTreeMap<PackageIdentity, &'a LockedPackage>,
    /// Those of them that an index lists with another digest.
    differing: BTreeMap<PackageIdentity, LockedPackagesError>,
}

impl<'a> ListedPackages<'a> {
    fn none_of(packages: &'a [LockedPackage]) -> Self {
        let identity = |package: &LockedPackage| (package.name.clone(), package.version.clone());
        let open = packages.iter().map(|package| (identity(package), package)).collect();
        Self { open, differing: BTreeMap::new() }
    }

    fn compare(&mut self, suite: &VerifiedSuite, session: &Session<'_>) -> Result<()> {
        for index in &suite.indexes {
            let text = index.text(&session.store)?;
            for listed in package_index::parse(&text)? {
                self.note(&suite.name, &listed);
            }
        }
        Ok(())
    }

    fn note(&mut self, suite: &str, listed: &IndexedPackage<'_>) {
        let identity = (listed.package.name.to_owned(), listed.package.version.clone());
        let Some(locked) = self.open.get(&identity) else { return };
        if locked.digest == listed.sha256 {
            self.open.remove(&identity);
            self.differing.remove(&identity);
            return;
        }
        let differs = LockedPackagesError::Differs {
            package: format!("{} {}", locked.name, locked.version),
            suite: suite.to_owned(),
            locked: locked.digest,
            listed: listed.sha256,
        };
        self.differing.entry(identity).or_insert(differs);
    }
}

/// The warning of packages that no signed index lists.
fn alone<'a>(packages: impl ExactSizeIterator<Item = &'a LockedPackage>) -> String {
    let count = packages.len();
    let named = packages.take(MOST_NAMED).map(|package| format!("{} {}", package.name, package.version));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = count.checked_sub(MOST_NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    format!("the lock alone vouches for packages of the base that no signed index lists: {named}{more}")
}

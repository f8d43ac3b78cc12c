//! A Python that the recipe gives in place of the base's: found, hashed, held against the lock, and written as a layer.

use std::path::Path;

use url::Url;

use super::Session;
use super::named_wheels::fetched;
use super::progress::Task;
use crate::base::InventoryError;
use crate::base::scan::{self, ImageConfigFacts, ScannedInterpreter};
use crate::beneath::{FileRoot, ReachError};
use crate::failure::{Fault, Hinted, Result};
use crate::layer::python::{self, PythonArchiveError};
use crate::layer::{Written, cache, records};
use crate::lock::LockedPython;
use crate::net::download::Download;
use crate::net::http::HttpError;
use crate::observe::inventory_facts::InventoryFacts;
use crate::oci::{Architecture, Digest};
use crate::plan::{LayerCompression, LayerPlan, PythonLayer};
use crate::recipe::{FilePlace, PythonPlace, PythonVersion, RecipeInputs};

/// The reason why a Python that is given cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum OwnPythonError {
    #[error("could not read the Python `{place}`")]
    Reach { place: String, source: ReachError },
    #[error("could not fetch the Python `{place}`")]
    Fetch { place: String, source: HttpError },
    #[error("the Python `{place}` has the wrong hash: {expected} is asked for, {found} was found")]
    Hash { place: String, expected: Digest, found: Digest },
    #[error("could not use the Python `{place}`")]
    Archive { place: String, source: PythonArchiveError },
    #[error("could not use the Python `{place}`")]
    Interpreter { place: String, source: InventoryError },
    #[error("the Python `{place}` is for {found}, and the base for {wanted}")]
    Machine { place: String, found: &'static str, wanted: Architecture },
    #[error("the Python `{place}` is not linked with glibc, as wheels for Linux are")]
    Libc { place: String },
    #[error("the Python `{place}` is {found}, and the recipe asks for {asked}")]
    Version { place: String, found: String, asked: String },
}

impl Hinted for OwnPythonError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Reach { source: ReachError::Io(_), .. } => {
                "check the path of `python.from`: it begins at the recipe's directory".into()
            }
            Self::Reach { source, .. } => return source.hint(),
            Self::Fetch { source, .. } => return source.hint(),
            Self::Hash { .. } => {
                "find out which of the two is right, and write its hash behind `#sha256=`".into()
            }
            Self::Archive { source, .. } => return source.hint(),
            Self::Interpreter { .. } | Self::Libc { .. } => {
                "take the build for Linux with glibc: `cpython-…-unknown-linux-gnu-install_only.tar.gz`"
                    .into()
            }
            Self::Machine { wanted, .. } => {
                let machine = wanted.machine_name();
                format!("take the build for it: `cpython-…-{machine}-unknown-linux-gnu-install_only.tar.gz`")
            }
            Self::Version { asked, .. } => {
                format!("take a build of {asked}, or write its version under `python.version`")
            }
        })
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Fetch { .. } => Fault::Job,
            Self::Archive { source, .. } => source.fault(),
            _ => Fault::Input,
        }
    }
}

/// A Python that is given, with its layer.
pub(super) struct OwnPython {
    place: String,
    pub locked: LockedPython,
    pub layer: LayerPlan,
    /// The facts of its layer.
    pub facts: InventoryFacts,
    /// The version that the recipe asks for.
    asked: Option<PythonVersion>,
}

impl OwnPython {
    /// The Python that the recipe gives for its platform, if it gives one; of a URL without a hash it is the one that was `locked`.
    pub(super) fn find(
        inputs: &RecipeInputs,
        locked: Option<&LockedPython>,
        session: &Session<'_>,
    ) -> Result<Option<Self>> {
        let Some(place) = inputs.python_place() else { return Ok(None) };
        let digest = bring(place, inputs, locked, session)?;
        let compression = LayerCompression::of(&inputs.recipe.layers);
        let plan = PythonLayer { archive: digest, compression };
        let layer = LayerPlan::Python(plan.clone());
        let shown = place.place.to_string();
        let failed = |source| OwnPythonError::Archive { place: shown.clone(), source };
        let written = write(&plan, session).map_err(failed)?;
        let facts = records::content_of(&session.store, &written.digest)?.facts;
        let asked = inputs.recipe.python.version.as_ref().map(|version| version.value);
        let locked = LockedPython { from: shown.clone(), digest };
        Ok(Some(Self { place: shown, locked, layer, facts, asked }))
    }

    /// The interpreter, which must be for `architecture`.
    pub(super) fn scan(&self, architecture: Architecture) -> Result<ScannedInterpreter, OwnPythonError> {
        let place = || self.place.clone();
        let scanned = scan::interpreter(&self.facts, &ImageConfigFacts::new(architecture, []));
        let scanned = scanned.map_err(|source| match source {
            InventoryError::OtherMachine { found, architecture, .. } => {
                OwnPythonError::Machine { place: place(), found, wanted: architecture }
            }
            source => OwnPythonError::Interpreter { place: place(), source },
        })?;
        if !scanned.needed.iter().any(|library| library == "libc.so.6") {
            return Err(OwnPythonError::Libc { place: place() });
        }
        let is_asked =
            |asked: &PythonVersion| scanned.version.parse().is_ok_and(|version| asked.admits(&version));
        match self.asked.as_ref().filter(|asked| !is_asked(asked)) {
            Some(asked) => Err(OwnPythonError::Version {
                place: place(),
                found: scanned.version.clone(),
                asked: asked.to_string(),
            }),
            None => Ok(scanned),
        }
    }
}

/// Writes the layer, unless the store has it.
pub(super) fn write(layer: &PythonLayer, session: &Session<'_>) -> Result<Written, PythonArchiveError> {
    let key = LayerPlan::Python(layer.clone()).key();
    cache::recall_or_write(&session.store, &key, || {
        session.progress.stage("unpacking Python");
        let meter = session.progress.start(Task::WriteLayer, "Python", None);
        python::write(layer, &session.store, &|bytes| meter.add(bytes))
    })
}

/// Brings the archive into the store; gives its digest.
fn bring(
    place: &PythonPlace,
    inputs: &RecipeInputs,
    locked: Option<&LockedPython>,
    session: &Session<'_>,
) -> Result<Digest> {
    let shown = place.place.to_string();
    let (url, digest) = match &place.place {
        FilePlace::Path(path) => {
            let (url, found) = local(Path::new(path), inputs, session)
                .map_err(|source| OwnPythonError::Reach { place: shown.clone(), source })?;
            match place.sha256.filter(|expected| *expected != found) {
                Some(expected) => return Err(OwnPythonError::Hash { place: shown, expected, found }.into()),
                None => (url, found),
            }
        }
        FilePlace::Url(url) => {
            session.http.remember(url);
            let known = locked.filter(|locked| locked.from == shown).map(|locked| locked.digest);
            let fetch = || fetched(url, session);
            let digest = place.sha256.or(known).map_or_else(fetch, Ok);
            (url.clone(), digest.map_err(|source| OwnPythonError::Fetch { place: shown.clone(), source })?)
        }
    };
    if !session.store.has_blob(&digest, None) {
        let name = place.place.filename();
        let meter = session.progress.start(Task::Download, &name, None);
        let download = Download { url, name: name.clone(), digest, size: None };
        let fetched = session.http.download(&session.store, &download, &|bytes| meter.add(bytes));
        fetched.map_err(|source| OwnPythonError::Fetch { place: shown, source })?;
    }
    Ok(digest)
}

/// The URL and the digest of a file of this machine.
fn local(path: &Path, inputs: &RecipeInputs, session: &Session<'_>) -> Result<(Url, Digest), ReachError> {
    let root = FileRoot::open(&inputs.directory, session.outside)?;
    let path = std::path::absolute(inputs.directory.join(path))?;
    let (digest, _) = session.store.digest_of(&mut root.open_linked(&path)?)?;
    Ok((Url::from_file_path(&path).map_err(|()| ReachError::Kind)?, digest))
}

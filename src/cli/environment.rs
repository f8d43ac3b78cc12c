//! The means of a process, as its environment and its arguments give them.

use std::path::PathBuf;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::net::registry::RegistrySettings;
use crate::pipeline::{CachePlaces, CachedBlobs, Network, Outside, Progress, Session, SharedCache};
use crate::place::ImagePlace;
use crate::sandbox::{Confinement, UNCONFINED_VARIABLE};
use crate::store::Store;

impl super::Arguments {
    /// The means of this process: the only place below `main` that asks for them.
    pub(super) fn session<'a>(&self, offline: bool, progress: &'a dyn Progress) -> Result<Session<'a>> {
        self.session_on(Store::open(cache_directory()?)?, offline, progress)
    }

    /// The same on another store.
    pub(super) fn session_on<'a>(
        &self,
        store: Store,
        offline: bool,
        progress: &'a dyn Progress,
    ) -> Result<Session<'a>> {
        let network = if offline { Network::Offline } else { Network::Online };
        let session = Session::new(store, network, self.registries(), progress)?;
        let threads = threads()?.unwrap_or(session.threads);
        Ok(Session {
            threads,
            confinement: confinement()?,
            source_date_epoch: source_date_epoch()?,
            longest_build: longest_build()?.unwrap_or(session.longest_build),
            ..session
        })
    }

    fn registries(&self) -> RegistrySettings {
        let insecure = self.insecure_registry.iter().cloned().collect();
        RegistrySettings { insecure, ..RegistrySettings::here() }
    }

    /// The same, with caches for an image that goes to `destinations`; without a network there are none.
    pub(super) fn with_caches<'a>(
        &self,
        session: Session<'a>,
        places: &CachePlaces,
        destinations: &[ImagePlace],
    ) -> Result<Session<'a>> {
        let is_registry = |place: &ImagePlace| matches!(place, ImagePlace::Registry(_));
        let blobs = match !destinations.is_empty() && destinations.iter().all(is_registry) {
            true => CachedBlobs::Left,
            false => CachedBlobs::Brought,
        };
        if session.http.is_offline() {
            return Ok(session);
        }
        let shared = SharedCache::open(places, blobs, self.registries(), &session.store, session.progress)?;
        Ok(Session { shared, ..session })
    }

    /// The same, for a command that reads a recipe.
    pub(super) fn session_for<'a>(
        &self,
        offline: bool,
        allow_outside: bool,
        progress: &'a dyn Progress,
    ) -> Result<Session<'a>> {
        let outside = if allow_outside { Outside::Allowed } else { Outside::Refused };
        Ok(Session { outside, ..self.session(offline, progress)? })
    }
}

/// `IMGFORGE_CACHE_DIR`, else the XDG cache directory.
fn cache_directory() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("IMGFORGE_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("imgforge")))
        .or_else(|| std::env::home_dir().map(|path| path.join(".cache/imgforge")))
        .ok_or_else(|| {
            Failure::advised("there is no home directory to keep the store in", "set IMGFORGE_CACHE_DIR")
        })
}

/// `IMGFORGE_THREADS`, where it is set.
fn threads() -> Result<Option<usize>> {
    let Some(value) = std::env::var("IMGFORGE_THREADS").ok().filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let threads = value.parse().ok().filter(|threads| *threads > 0);
    threads.map(Some).ok_or_else(|| {
        Failure::advised(format!("IMGFORGE_THREADS is `{value}`"), "give it a number of threads, or unset it")
    })
}

/// `IMGFORGE_UNCONFINED`: the choice of the machine's owner, which no recipe makes.
fn confinement() -> Result<Confinement> {
    let value = std::env::var_os(UNCONFINED_VARIABLE);
    Confinement::of(value.as_deref()).ok_or_else(|| {
        Failure::advised(
            format!("{UNCONFINED_VARIABLE} is `{}`", value.unwrap_or_default().display()),
            "set it to 1 to run the base's Python without a sandbox, or unset it",
        )
    })
}

/// `IMGFORGE_BUILD_SECONDS`, where it is set: the time that the build of one source may take.
fn longest_build() -> Result<Option<Duration>> {
    let Some(value) = std::env::var("IMGFORGE_BUILD_SECONDS").ok().filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let seconds = value.parse().ok().filter(|seconds| *seconds > 0);
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(|| {
        Failure::advised(
            format!("IMGFORGE_BUILD_SECONDS is `{value}`"),
            "give it a number of seconds, or unset it",
        )
    })
}

/// <https://reproducible-builds.org/specs/source-date-epoch/>
fn source_date_epoch() -> Result<Option<u64>> {
    let Some(value) = std::env::var("SOURCE_DATE_EPOCH").ok().filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let seconds = value.parse().map_err(|_| {
        Failure::advised(
            format!("SOURCE_DATE_EPOCH is `{value}`"),
            "give it whole seconds since 1970, or unset it",
        )
    })?;
    Ok(Some(seconds))
}

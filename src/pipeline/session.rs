//! The means of a process: store, network, threads, progress, and the rights of programs. Decisions never take them.

use std::sync::Arc;
use std::time::Duration;

use super::Progress;
use super::decision_memory::DecisionMemory;
use super::shared_cache::SharedCache;
use crate::beneath::Outside;
use crate::failure::Hinted;
use crate::net::config::MachineConfig;
use crate::net::engine::{EngineSettings, Engines};
use crate::net::http::{Http, HttpError, HttpSettings};
use crate::net::netrc::Netrc;
use crate::net::registry::{Registries, RegistrySettings};
use crate::sandbox::Confinement;
use crate::source::SourceAccess;
use crate::store::Store;

/// The time that the build of one source may take, unless the user gives another: of what needs no GPU, the longest take
/// some ten minutes.
const LONGEST_BUILD: Duration = Duration::from_secs(30 * 60);

/// The means of a process.
pub struct Session<'a> {
    /// The store.
    pub store: Store,
    /// The network.
    pub http: Arc<Http>,
    /// The registries of images.
    pub registries: Registries,
    /// The container engines.
    pub engines: Engines,
    /// The caches in registries.
    pub shared: SharedCache,
    /// The inputs that the images of a matrix share; `None` where there is one image.
    pub memory: Option<DecisionMemory>,
    /// The number of layers that are written at once. It has no influence on their bytes.
    pub threads: usize,
    /// The rights of programs that are not the machine's own.
    pub confinement: Confinement,
    /// The time that the build of one source may take.
    pub longest_build: Duration,
    /// <https://reproducible-builds.org/specs/source-date-epoch/>
    pub source_date_epoch: Option<u64>,
    /// The use of files that a recipe names outside of its directory.
    pub outside: Outside,
    /// The progress of the process.
    pub progress: &'a dyn Progress,
}

/// The use of the network by a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Everything may be downloaded.
    Online,
    /// Only the store is asked.
    Offline,
}

impl<'a> Session<'a> {
    /// A session on `store`, with as many threads as the machine has cores.
    pub fn new(
        store: Store,
        network: Network,
        registries: RegistrySettings,
        progress: &'a dyn Progress,
    ) -> Result<Self, HttpError> {
        let settings = HttpSettings {
            offline: network == Network::Offline,
            netrc: netrc(progress),
            ..HttpSettings::default()
        };
        let http = Arc::new(Http::new(settings)?);
        Ok(Self {
            registries: Registries::new(Arc::clone(&http), store.clone(), registries),
            engines: Engines::new(Arc::clone(&http), EngineSettings::here()),
            store,
            http,
            shared: SharedCache::default(),
            memory: None,
            threads: std::thread::available_parallelism().map_or(1, Into::into),
            confinement: Confinement::Sandboxed,
            longest_build: LONGEST_BUILD,
            source_date_epoch: None,
            outside: Outside::Refused,
            progress,
        })
    }
}

impl Session<'_> {
    /// The places that images are read from.
    pub(super) fn sources(&self) -> SourceAccess<'_> {
        SourceAccess { registries: &self.registries, engines: &self.engines }
    }
}

/// The logins of the user's netrc file. One that cannot be used is none, and said to be so.
fn netrc(progress: &dyn Progress) -> Netrc {
    let Some(path) = MachineConfig::here().netrc() else { return Netrc::default() };
    Netrc::read(&path).map(Option::unwrap_or_default).unwrap_or_else(|problem| {
        let hint = problem.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
        progress.warn(&format!("`{}` is not used for logins: {problem}{hint}", path.display()));
        Netrc::default()
    })
}

//! Debian archives: which mirror has a suite, and what the suite's signed release says.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use url::Url;

use super::download::Download;
use super::http::{Http, HttpError};
use crate::credentials::redacted;
use crate::debian::packages::{self, PackagesError};
use crate::debian::release::{Release, ReleaseError};
use crate::debian::signature::{self, Keyring, SignatureError};
use crate::debian::sources::{self, AptSource, SignedBy, SourcesError};
use crate::failure::Hinted;
use crate::oci::Digest;
use crate::oci::time::rfc3339;
use crate::plain_file;
use crate::store::{Store, StoreError};

/// The variable that names the mirror of suites whose description names none.
pub const MIRROR_VARIABLE: &str = "IMGFORGE_DEBIAN_MIRROR";
/// The largest InRelease file of a real archive has 300 kB.
const MAX_RELEASE: u64 = 16 << 20;
/// A list of sources or a keyring is no larger: that of Debian has 100 kB.
const MAX_CONFIGURED: u64 = 4 << 20;
/// The largest Packages index of a real component has 60 MB.
const MAX_INDEX: u64 = 512 << 20;

/// The machine's Debian archives.
#[derive(Debug, Clone, Default)]
pub struct MachineArchives {
    /// The mirror that [`MIRROR_VARIABLE`] names.
    pub mirror: Option<Url>,
    /// apt's sources.
    pub sources: Vec<AptSource>,
    /// The keyrings of archives, wherever Debian and Ubuntu keep them.
    pub keyrings: Vec<PathBuf>,
}

/// A suite to open.
#[derive(Debug, Clone)]
pub struct SuiteRequest<'a> {
    /// The suite's name.
    pub name: &'a str,
    /// The mirror that the description names.
    pub mirror: Option<&'a Url>,
    /// The roots of its archive that an image's own source names.
    pub uris: Vec<Url>,
    /// The keys that may sign it.
    pub keys: SuiteKeys,
    /// The components to take packages from.
    pub components: &'a [String],
    /// `amd64`
    pub architecture: &'a str,
}

/// The keys that may sign a suite.
#[derive(Debug, Clone)]
pub enum SuiteKeys {
    /// Those in the files that a description names; when empty, the machine's.
    Files(Vec<PathBuf>),
    /// Those of an image.
    OfImage {
        /// Keyrings, with their paths in the image.
        keyrings: Vec<(String, Vec<u8>)>,
        /// The fingerprints of the only keys that may; all when empty.
        fingerprints: Vec<String>,
    },
}

/// A suite whose release was verified and whose indexes are in the store.
#[derive(Debug, Clone)]
pub struct VerifiedSuite {
    /// The suite's name.
    pub name: String,
    /// The archive's root.
    pub mirror: Url,
    /// Further mirrors, which may have packages that this one lost.
    pub others: Vec<Url>,
    /// Its verified release.
    pub release: Release,
    /// The keyring files that were trusted.
    pub keyrings: Vec<PathBuf>,
    /// Its package indexes, in the order of the components; one for a suite without.
    pub indexes: Vec<IndexBlob>,
}

/// A Packages index in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBlob {
    /// Its path in the archive, whose extension says how it is compressed.
    pub path: String,
    /// The digest of the blob.
    pub digest: Digest,
}

/// The reason why a suite could not be opened.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum ArchiveError {
    #[error("no mirror is known for Debian suite `{suite}`")]
    NoMirror { suite: String },
    #[error("none of the mirrors has suite `{suite}`: {tried}")]
    NotFound { suite: String, tried: String },
    #[error("it has no suite `{suite}`")]
    NoSuite { suite: String },
    #[error("no mirror serves suite `{suite}` soundly: {}", reasons.join("; "))]
    NoneSound { suite: String, reasons: Vec<String>, hint: Option<String> },
    #[error(
        "`{mirror}` serves an older release of suite `{suite}` than before: of {date}, where one of {seen} was seen"
    )]
    RolledBack { suite: String, mirror: String, date: String, seen: String },
    #[error("`{value}` in {MIRROR_VARIABLE} is not a URL")]
    Mirror { value: String, source: url::ParseError },
    #[error("suite `{suite}` at `{mirror}` cannot be trusted")]
    Untrusted { suite: String, mirror: String, source: Box<SignatureError> },
    #[error(
        "suite `{suite}` at `{mirror}` is signed by the key {fingerprint}, which its source does not name"
    )]
    OtherKey { suite: String, mirror: String, fingerprint: String },
    #[error("there is no keyring to verify suite `{suite}` with")]
    NoKeyring { suite: String },
    #[error("could not read keyring `{path}`")]
    Keyring { path: PathBuf, source: io::Error },
    #[error("the release of suite `{suite}` cannot be used")]
    Release { suite: String, source: ReleaseError },
    #[error("`{mirror}` calls itself `{found}` where suite `{suite}` was asked for")]
    OtherSuite { suite: String, found: String, mirror: String },
    #[error("suite `{suite}` has no component `{component}` for {architecture}")]
    NoComponent { suite: String, component: String, architecture: String, offered: Vec<String> },
    #[error("could not read apt's sources in `{path}`")]
    Sources { path: PathBuf, source: SourcesError },
    #[error("could not read the index `{path}`")]
    Index { path: String, source: Box<PackagesError> },
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Hinted for ArchiveError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotFound { .. } | Self::NoSuite { .. } => format!(
                "check the suite's name (`bookworm`, `trixie`, `noble`), or name an archive that has it: `mirror:` in the \
                 base's description, or {MIRROR_VARIABLE}"
            ),
            Self::NoMirror { .. } => format!(
                "name one: set {MIRROR_VARIABLE} to the root of an archive, or write `mirror:` into the base's description"
            ),
            Self::Mirror { .. } => "write it as http://HOST/debian".into(),
            Self::Untrusted { source, .. } => return source.hint(),
            Self::OtherKey { .. } => {
                "if the archive has a new key, name its fingerprint in `Signed-By` of the base's source".into()
            }
            Self::NoKeyring { .. } | Self::Keyring { .. } => {
                "install the archive's keyring package (debian-archive-keyring), or name a keyring file in `signed-by`".into()
            }
            Self::Release { source, .. } => return source.hint(),
            Self::NoneSound { hint, .. } => return hint.clone(),
            Self::RolledBack { .. } => "the mirror lags behind, or somebody replays an old release to keep back security updates: try again later, or name another mirror".into(),
            Self::OtherSuite { .. } => "check the suite's name and the mirror's address".into(),
            Self::NoComponent { offered, .. } => format!("it has {}", offered.join(", ")),
            Self::Sources { source, .. } => return source.hint(),
            Self::Index { source, .. } => return source.hint(),
            Self::Http(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
        })
    }
}

impl ArchiveError {
    /// Returns whether the mirror is at fault, so that another one may do.
    fn is_of_mirror(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Http(HttpError::Store(_) | HttpError::Write { .. }))
    }

    /// The error of a suite that every mirror `refused`.
    fn of_mirrors(suite: String, mut refused: Vec<(Url, Self)>) -> Self {
        if refused.iter().all(|(_, error)| matches!(error, Self::NoSuite { .. })) {
            let tried: Vec<String> = refused.iter().map(|(mirror, _)| redacted(mirror)).collect();
            return Self::NotFound { suite, tried: tried.join(", ") };
        }
        // That it is not there says less than any other reason.
        let hint = refused.iter().filter(|(_, error)| !matches!(error, Self::NoSuite { .. }));
        let hint = hint.map(|(_, error)| error.hint()).next().flatten();
        let reasons =
            || refused.iter().map(|(mirror, error)| format!("`{}`: {}", redacted(mirror), told(error)));
        match refused.len() {
            1 => refused.remove(0).1,
            _ => Self::NoneSound { suite, reasons: reasons().collect(), hint },
        }
    }
}

/// An error with its causes.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

impl MachineArchives {
    /// Reads the environment, apt's sources and the installed keyrings of this machine.
    pub fn read() -> Result<Self, ArchiveError> {
        Ok(Self {
            mirror: environments_mirror()?,
            sources: read_sources(Path::new("/etc/apt"))?,
            keyrings: keyrings(),
        })
    }

    /// The mirrors to try for `suite`, best first.
    pub fn mirrors(&self, request: &SuiteRequest<'_>) -> Vec<Url> {
        if let Some(mirror) = request.mirror {
            return directory_url(mirror.as_str()).into_iter().collect();
        }
        if let Some(mirror) = &self.mirror {
            // An image may name archives that the mirror does not have.
            return beside_security(mirror, request.name)
                .into_iter()
                .chain(request.uris.iter().cloned())
                .collect();
        }
        if !request.uris.is_empty() {
            return request.uris.clone();
        }
        let named = sources::find(&self.sources, request.name).into_iter();
        let others = self.sources.iter().filter(|source| source.enabled);
        let mut seen = BTreeSet::new();
        named
            .chain(others)
            .flat_map(|source| &source.uris)
            .filter_map(|uri| directory_url(uri).ok())
            .filter(|url| matches!(url.scheme(), "http" | "https") && seen.insert(url.clone()))
            .collect()
    }

    /// The keyring files of this machine that may sign what `request` asks for, of which a description names `files`.
    fn keyrings(&self, request: &SuiteRequest<'_>, files: &[PathBuf]) -> Vec<PathBuf> {
        if !files.is_empty() {
            return files.to_vec();
        }
        let of_sources = sources::find(&self.sources, request.name).into_iter().filter_map(|source| {
            match &source.signed_by {
                Some(SignedBy::Names(names)) => Some(names),
                _ => None,
            }
        });
        let named = of_sources.flatten().filter(|name| name.starts_with('/')).map(PathBuf::from);
        let mut seen = BTreeSet::new();
        named
            .chain(self.keyrings.iter().cloned())
            .filter(|path| path.exists() && seen.insert(path.clone()))
            .collect()
    }
}

/// The mirrors of the packages of `suite` that the environment names, whatever mirror they were chosen from.
pub fn mirrors_instead(suite: &str) -> Result<Vec<Url>, ArchiveError> {
    Ok(environments_mirror()?.map(|mirror| beside_security(&mirror, suite)).unwrap_or_default())
}

fn environments_mirror() -> Result<Option<Url>, ArchiveError> {
    let value = std::env::var(MIRROR_VARIABLE).ok().filter(|value| !value.is_empty());
    let mirror =
        value.map(|value| directory_url(&value).map_err(|source| ArchiveError::Mirror { value, source }));
    mirror.transpose()
}

/// An archive's security suites usually lie beside it: `/debian-security` beside `/debian`.
fn beside_security(mirror: &Url, suite: &str) -> Vec<Url> {
    let security =
        suite.ends_with("-security").then(|| format!("{}-security/", mirror.as_str().trim_end_matches('/')));
    let security = security.and_then(|url| Url::parse(&url).ok());
    security.into_iter().chain([mirror.clone()]).collect()
}

/// The URL of a directory, to which paths can be relative.
pub fn directory_url(text: &str) -> Result<Url, url::ParseError> {
    Url::parse(&format!("{}/", text.trim_end_matches('/')))
}

fn read_sources(apt: &Path) -> Result<Vec<AptSource>, ArchiveError> {
    let mut files = vec![apt.join("sources.list")];
    let mut parts: Vec<PathBuf> = fs::read_dir(apt.join("sources.list.d"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    parts.sort();
    files.extend(parts);
    let mut found = Vec::new();
    for path in files {
        let Ok(text) = plain_file::read_text(&path, MAX_CONFIGURED) else { continue };
        let parsed = match path.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => sources::parse_sources(&text),
            Some("list") => sources::parse_list(&text),
            _ => continue,
        };
        found.extend(parsed.map_err(|source| ArchiveError::Sources { path, source })?);
    }
    Ok(found)
}

fn keyrings() -> Vec<PathBuf> {
    let known = ["debian-archive-keyring.gpg", "debian-archive-keyring.pgp", "ubuntu-archive-keyring.gpg"];
    let shared = known.iter().map(|name| Path::new("/usr/share/keyrings").join(name));
    let mut trusted: Vec<PathBuf> = fs::read_dir("/etc/apt/trusted.gpg.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    trusted.sort();
    let is_keyring =
        |path: &PathBuf| path.extension().is_some_and(|extension| extension == "gpg" || extension == "asc");
    shared.chain(trusted.into_iter().filter(is_keyring)).filter(|path| path.exists()).collect()
}

/// Opens a suite: finds a mirror that serves it soundly, verifies its release, and brings its indexes into the store.
pub fn open_suite(
    request: &SuiteRequest<'_>,
    machine: &MachineArchives,
    http: &Http,
    store: &Store,
    now: u64,
) -> Result<VerifiedSuite, ArchiveError> {
    let suite = request.name.to_owned();
    let mirrors = machine.mirrors(request);
    if mirrors.is_empty() {
        return Err(ArchiveError::NoMirror { suite });
    }
    let (paths, trusted) = trusted(request, machine)?;
    let mut refused = Vec::new();
    for mirror in &mirrors {
        http.remember(mirror);
        let opening = SuiteOpening { request, mirror, http, store };
        match opening.open(&trusted, now) {
            Ok((release, indexes)) => {
                let others = mirrors.iter().filter(|other| *other != mirror).cloned().collect();
                let mirror = mirror.clone();
                return Ok(VerifiedSuite { name: suite, mirror, others, release, keyrings: paths, indexes });
            }
            Err(error) if error.is_of_mirror() => refused.push((mirror.clone(), error)),
            Err(error) => return Err(error),
        }
    }
    Err(ArchiveError::of_mirrors(suite, refused))
}

/// The keys that may sign a suite.
struct TrustedKeys {
    keyrings: Vec<Keyring>,
    /// The fingerprints of the only ones that may; all when empty.
    fingerprints: Vec<String>,
}

/// The keys that may sign what `request` asks for, and the paths of their keyrings.
fn trusted(
    request: &SuiteRequest<'_>,
    machine: &MachineArchives,
) -> Result<(Vec<PathBuf>, TrustedKeys), ArchiveError> {
    let suite = request.name;
    match &request.keys {
        SuiteKeys::Files(files) => {
            let paths = machine.keyrings(request, files);
            let keyrings = read_keyrings(&paths, suite)?;
            Ok((paths, TrustedKeys { keyrings, fingerprints: Vec::new() }))
        }
        SuiteKeys::OfImage { keyrings, fingerprints } => {
            let paths = keyrings.iter().map(|(path, _)| Path::new("/").join(path)).collect();
            let parsed = keyrings.iter().map(|(path, bytes)| parse_keyring(path, bytes, suite));
            let keyrings = parsed.collect::<Result<_, _>>()?;
            Ok((paths, TrustedKeys { keyrings, fingerprints: fingerprints.clone() }))
        }
    }
}

/// A suite as one mirror serves it.
struct SuiteOpening<'a> {
    request: &'a SuiteRequest<'a>,
    mirror: &'a Url,
    http: &'a Http,
    store: &'a Store,
}

/// The record of a release that was verified: for builds without a network, and against mirrors that go back in time.
#[derive(Serialize, Deserialize)]
struct SeenRelease {
    /// `Date` of the release, in Unix seconds.
    date: u64,
    inrelease: Digest,
}

impl SuiteOpening<'_> {
    const RECORD: &'static str = "debian-release";

    fn open(&self, trusted: &TrustedKeys, now: u64) -> Result<(Release, Vec<IndexBlob>), ArchiveError> {
        let (suite, mirror) = (self.request.name, redacted(self.mirror));
        let key = Digest::of(format!("{mirror}\n{suite}"));
        let seen: Option<SeenRelease> = self.store.record(Self::RECORD, &key);
        let inrelease = self.inrelease(seen.as_ref())?;
        let untrusted = |source: SignatureError| ArchiveError::Untrusted {
            suite: suite.to_owned(),
            mirror,
            source: source.into(),
        };
        let signed = signature::verify(&inrelease, &trusted.keyrings, now).map_err(untrusted)?;
        if !trusted.fingerprints.is_empty() && !trusted.fingerprints.contains(&signed.fingerprint) {
            let (suite, mirror) = (suite.to_owned(), redacted(self.mirror));
            return Err(ArchiveError::OtherKey { suite, mirror, fingerprint: signed.fingerprint });
        }
        let unusable = |source| ArchiveError::Release { suite: suite.to_owned(), source };
        let release = Release::parse(&signed.text).map_err(unusable)?;
        if !self.http.is_offline() {
            release.check_valid_until(now).map_err(unusable)?;
            self.check_date(&release, seen.as_ref())?;
        }
        let indexes = match self.is_directory() {
            true => vec![self.index("", &release)?],
            false => {
                check_name(&release, suite, self.mirror)?;
                let components = self.request.components.iter();
                components.map(|component| self.index(component, &release)).collect::<Result<_, _>>()?
            }
        };
        if !self.http.is_offline() {
            let inrelease = self.store.put_blob(&inrelease)?;
            self.store.put_record(Self::RECORD, &key, &SeenRelease { date: release.date, inrelease })?;
        }
        Ok((release, indexes))
    }

    /// The InRelease file; without a network, the one that was `seen`.
    fn inrelease(&self, seen: Option<&SeenRelease>) -> Result<Vec<u8>, ArchiveError> {
        if let Some(seen) = seen.filter(|_| self.http.is_offline()) {
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut self.store.open_blob(&seen.inrelease)?, &mut bytes)
                .map_err(|source| HttpError::Write { path: self.store.blob_path(&seen.inrelease), source })?;
            return Ok(bytes);
        }
        let path = format!("{}InRelease", self.directory());
        let missing = || ArchiveError::NoSuite { suite: self.request.name.to_owned() };
        let url = self.mirror.join(&path).map_err(|_| missing())?;
        let answer = self.http.get(&url, &[], MAX_RELEASE)?;
        match answer.status {
            status if status.is_success() => Ok(answer.body),
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(missing()),
            status => Err(HttpError::Status { url: redacted(&url), status }.into()),
        }
    }

    /// Returns whether the suite is a directory of the archive, without components.
    ///
    /// <https://wiki.debian.org/DebianRepository/Format#Flat_Repository_Format>
    fn is_directory(&self) -> bool {
        self.request.name.ends_with('/')
    }

    /// The place of the suite below the archive's root.
    fn directory(&self) -> String {
        match self.is_directory() {
            true => self.request.name.trim_start_matches(['.', '/']).to_owned(),
            false => format!("dists/{}/", self.request.name),
        }
    }

    /// Refuses a release that is older than the one that was `seen`: it may be replayed, to keep back security updates.
    fn check_date(&self, release: &Release, seen: Option<&SeenRelease>) -> Result<(), ArchiveError> {
        match seen.filter(|seen| release.date < seen.date) {
            None => Ok(()),
            Some(seen) => Err(ArchiveError::RolledBack {
                suite: self.request.name.to_owned(),
                mirror: redacted(self.mirror),
                date: rfc3339(release.date),
                seen: rfc3339(seen.date),
            }),
        }
    }

    fn index(&self, component: &str, release: &Release) -> Result<IndexBlob, ArchiveError> {
        let Self { request, mirror, http, store } = self;
        let missing = || ArchiveError::NoComponent {
            suite: request.name.to_owned(),
            component: component.to_owned(),
            architecture: request.architecture.to_owned(),
            offered: release.components.clone(),
        };
        let index = match self.is_directory() {
            true => release.index("Packages").or_else(|| release.index("./Packages")),
            false => release.packages_index(component, request.architecture),
        };
        let (path, file) = index.ok_or_else(missing)?;
        let location = self.directory() + &release.location(&path, &file);
        let download = Download {
            url: mirror.join(&location).map_err(|_| missing())?,
            name: format!("{} {path}", request.name),
            digest: file.digest,
            size: Some(file.size),
        };
        http.download(store, &download, &|_| ())?;
        Ok(IndexBlob { path, digest: file.digest })
    }
}

impl IndexBlob {
    /// The index's text.
    pub fn text(&self, store: &Store) -> Result<String, ArchiveError> {
        let file = store.open_blob(&self.digest)?;
        packages::read_text(&self.path, file, MAX_INDEX)
            .map_err(|source| ArchiveError::Index { path: self.path.clone(), source: source.into() })
    }
}

fn read_keyrings(paths: &[PathBuf], suite: &str) -> Result<Vec<Keyring>, ArchiveError> {
    if paths.is_empty() {
        return Err(ArchiveError::NoKeyring { suite: suite.to_owned() });
    }
    paths
        .iter()
        .map(|path| {
            let bytes = plain_file::read(path, MAX_CONFIGURED)
                .map_err(|source| ArchiveError::Keyring { path: path.clone(), source })?;
            parse_keyring(&path.display().to_string(), &bytes, suite)
        })
        .collect()
}

fn parse_keyring(name: &str, bytes: &[u8], suite: &str) -> Result<Keyring, ArchiveError> {
    Keyring::parse(name, bytes).map_err(|source| ArchiveError::Untrusted {
        suite: suite.to_owned(),
        mirror: name.to_owned(),
        source: source.into(),
    })
}

/// A mirror must not serve another suite, however well signed, under this one's name.
fn check_name(release: &Release, suite: &str, mirror: &Url) -> Result<(), ArchiveError> {
    let plain = |name: &str| name.trim_end_matches("/updates").replace('/', "-");
    let names = [release.suite.as_deref(), release.codename.as_deref()];
    match names.iter().flatten().any(|name| plain(name) == plain(suite)) {
        true => Ok(()),
        false => Err(ArchiveError::OtherSuite {
            suite: suite.to_owned(),
            found: release.name().to_owned(),
            mirror: redacted(mirror),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> SuiteRequest<'_> {
        let keys = SuiteKeys::Files(Vec::new());
        SuiteRequest { name, mirror: None, uris: Vec::new(), keys, components: &[], architecture: "amd64" }
    }

    fn check(machine: &MachineArchives, suite: &str, expected: &[&str]) {
        let mirrors: Vec<String> = machine.mirrors(&request(suite)).iter().map(Url::to_string).collect();
        assert_eq!(mirrors, expected);
    }

    #[test]
    fn the_environment_comes_before_apts_sources() {
        let mirror = directory_url("http://mirror.test/debian").ok();
        let machine = MachineArchives { mirror, ..MachineArchives::default() };
        check(&machine, "trixie", &["http://mirror.test/debian/"]);
        check(
            &machine,
            "trixie-security",
            &["http://mirror.test/debian-security/", "http://mirror.test/debian/"],
        );
    }

    #[test]
    fn apts_source_of_the_suite_comes_first() {
        let list =
            "deb http://a.test/debian bookworm main\ndeb http://b.test/security bookworm-security main\n";
        let machine =
            MachineArchives { sources: sources::parse_list(list).unwrap(), ..MachineArchives::default() };
        check(&machine, "bookworm-security", &["http://b.test/security/", "http://a.test/debian/"]);
        check(&machine, "trixie", &["http://a.test/debian/", "http://b.test/security/"]);
        check(&MachineArchives::default(), "trixie", &[]);
    }
}

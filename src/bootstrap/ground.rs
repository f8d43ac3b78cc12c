//! The system that packages are unpacked and configured on: nothing but the layout of `/usr` for a new base, the files and
//! dpkg's database for one that is an image.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::contents::Contents;
use crate::debian::archive::{Control, ControlFile};
use crate::debian::diversions::{self, Diversion};
use crate::debian::dpkg::{DpkgError, InstalledPackage};
use crate::debian::filters::PathFilters;
use crate::debian::status::{self, PackageState, StatusError, StatusParagraph};
use crate::debian::usrmerge::{self, UsrLayout};
use crate::failure::Hinted;
use crate::oci::{Entry, EntryKind};

/// dpkg's database of packages.
pub const STATUS: &str = "var/lib/dpkg/status";
const INFO: &str = "var/lib/dpkg/info";
const CONFIGURATION: &str = "etc/dpkg/dpkg.cfg";
const CONFIGURATIONS: &str = "etc/dpkg/dpkg.cfg.d";

/// The system below the packages.
#[derive(Debug)]
pub struct Ground {
    /// The layout of `/bin`, `/lib` and their like, where nothing below says it.
    pub layout: UsrLayout,
    /// Its entries, by path.
    pub entries: BTreeMap<String, Entry>,
    /// The packages that are installed.
    pub packages: Vec<InstalledPackage>,
    /// The paragraphs of dpkg's `status`, of packages in any state.
    pub status: Vec<KnownPackage>,
    /// The files of packages that are put elsewhere.
    pub diversions: Vec<Diversion>,
    /// The files of packages that are left out.
    pub filters: PathFilters,
}

/// A package in dpkg's `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownPackage {
    /// The package's name.
    pub name: String,
    /// Debian's name of its architecture.
    pub architecture: String,
    /// Its paragraph.
    pub text: String,
}

/// The reason why nothing can be installed on an image.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum GroundError {
    #[error("dpkg's database of the base cannot be read")]
    Status(#[from] StatusError),
    #[error("`{package}` of the base is not configured: dpkg was interrupted there")]
    Unfinished { package: String },
    #[error("what dpkg knows of the base's `{package}` cannot be read")]
    Package { package: String, source: DpkgError },
    #[error("could not read `{path}` of the base")]
    Read { path: String, source: io::Error },
}

impl Hinted for GroundError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Status(error) => error.hint(),
            Self::Unfinished { .. } => Some(
                "run `dpkg --configure --pending` in a container of the base, and build on what that makes"
                    .into(),
            ),
            Self::Package { source, .. } => source.hint(),
            Self::Read { source, .. } => source.hint(),
        }
    }
}

impl Ground {
    /// A system on which nothing is, laid out as `layout` says.
    pub fn empty(layout: UsrLayout) -> Self {
        Self {
            layout,
            entries: BTreeMap::new(),
            packages: Vec::new(),
            status: Vec::new(),
            diversions: Vec::new(),
            filters: PathFilters::default(),
        }
    }

    /// The system that `entries` are, of which `contents` are the files.
    pub fn of_image(entries: BTreeMap<String, Entry>, contents: &dyn Contents) -> Result<Self, GroundError> {
        let mut ground = Self { entries, ..Self::empty(UsrLayout::Separate) };
        let text = ground.text(STATUS, contents)?;
        let paragraphs = read_status(&text)?;
        let mut info = ground.info_files();
        for paragraph in &paragraphs {
            if paragraph.state == PackageState::Installed {
                ground.packages.push(installed(paragraph, &mut info, contents)?);
            }
        }
        ground.status = paragraphs.iter().map(KnownPackage::from).collect();
        ground.diversions = diversions::parse(&ground.text("var/lib/dpkg/diversions", contents)?);
        for path in ground.configurations() {
            ground.filters.read(&ground.text(&path, contents)?);
        }
        Ok(ground)
    }

    /// The files of dpkg's configuration, in the order in which it reads them.
    fn configurations(&self) -> Vec<String> {
        let parts = self.below(CONFIGURATIONS).map(|(path, _)| path.to_owned());
        parts.chain([CONFIGURATION.to_owned()]).collect()
    }

    /// The files below `info` by the packages they are of: `NAME` or `NAME:ARCHITECTURE`.
    fn info_files(&self) -> BTreeMap<String, Vec<String>> {
        let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (path, _) in self.below(INFO) {
            let name = path.rsplit('/').next().unwrap_or_default();
            if let Some((package, _)) = name.rsplit_once('.') {
                files.entry(package.to_owned()).or_default().push(path.to_owned());
            }
        }
        files
    }

    /// The text of a file, empty where there is none.
    fn text(&self, path: &str, contents: &dyn Contents) -> Result<String, GroundError> {
        match self.entries.get(path).map(|entry| &entry.kind) {
            Some(EntryKind::File { .. }) => {
                read(path, contents).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            }
            _ => Ok(String::new()),
        }
    }

    /// Everything below `directory`, in the order of the paths.
    pub fn below<'g>(&'g self, directory: &str) -> impl Iterator<Item = (&'g str, &'g Entry)> + use<'g> {
        let prefix = format!("{directory}/");
        let range = self.entries.range(prefix.clone()..);
        range
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, entry)| (path.as_str(), entry))
    }

    /// The target of the link at `path`.
    pub fn link(&self, path: &str) -> Option<String> {
        match self.entries.get(path).map(|entry| &entry.kind) {
            Some(EntryKind::Symlink { target }) => Some(target.clone()),
            Some(_) => None,
            None => self.layout.link(path),
        }
    }

    /// `path` with the links of its directories followed.
    pub fn real(&self, path: &str) -> Option<String> {
        usrmerge::follow(path, &|path| self.link(path))
    }

    /// Returns whether a directory is at `path`, or a link to one.
    pub fn has_directory(&self, path: &str) -> bool {
        let real = self.real(&format!("{path}/."));
        let is_directory = |path: &str| {
            self.entries.get(path).is_some_and(|entry| entry.kind == EntryKind::Directory)
                || self.below(path).next().is_some()
        };
        real.is_some_and(|real| is_directory(&real))
    }

    /// The installed package of this name and architecture.
    pub fn package(&self, name: &str, architecture: &str) -> Option<&InstalledPackage> {
        self.packages.iter().find(|package| package.name == name && fits(&package.architecture, architecture))
    }
}

/// The paragraphs of dpkg's `status`, none of which is of a package between two states.
pub fn read_status(text: &str) -> Result<Vec<StatusParagraph<'_>>, GroundError> {
    let paragraphs = status::parse(text)?;
    match paragraphs.iter().find(|paragraph| paragraph.state == PackageState::Unfinished) {
        Some(paragraph) => Err(GroundError::Unfinished { package: paragraph.package.name.to_owned() }),
        None => Ok(paragraphs),
    }
}

/// Returns whether a package of one architecture takes the place of one of the other.
fn fits(one: &str, other: &str) -> bool {
    one == other || one == "all" || other == "all"
}

fn read(path: &str, contents: &dyn Contents) -> Result<Vec<u8>, GroundError> {
    contents.read(path).map_err(|source| GroundError::Read { path: path.to_owned(), source })
}

/// A package as dpkg's database has it.
fn installed(
    paragraph: &StatusParagraph<'_>,
    info: &mut BTreeMap<String, Vec<String>>,
    contents: &dyn Contents,
) -> Result<InstalledPackage, GroundError> {
    let control = ControlFile { mode: 0o644, bytes: paragraph.control().into_bytes() };
    let mut files = BTreeMap::from([("control".to_owned(), control)]);
    let mut paths = Vec::new();
    let package = &paragraph.package;
    let names = [format!("{}:{}", package.name, package.architecture), package.name.to_owned()];
    for path in names.iter().filter_map(|name| info.remove(name)).flatten() {
        let bytes = read(&path, contents)?;
        match path.rsplit('.').next().unwrap_or_default() {
            "list" => paths.extend(listed(&bytes)),
            kind => drop(files.insert(kind.to_owned(), ControlFile { mode: 0o644, bytes })),
        }
    }
    let conffiles = paragraph.conffiles().into_iter().collect();
    let unreadable = |source| GroundError::Package { package: package.name.to_owned(), source };
    InstalledPackage::new(Control { files }, paths, conffiles).map_err(unreadable)
}

/// The paths of a `.list`, relative to the root, without the root.
fn listed(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let paths =
        text.lines().filter_map(|line| line.strip_prefix('/')).filter(|path| !matches!(*path, "" | "."));
    paths.map(str::to_owned).collect()
}

impl From<&StatusParagraph<'_>> for KnownPackage {
    fn from(paragraph: &StatusParagraph<'_>) -> Self {
        let package = &paragraph.package;
        Self {
            name: package.name.to_owned(),
            architecture: package.architecture.to_owned(),
            text: format!("{}\n", paragraph.text),
        }
    }
}

/// The packages that ship each path, by its real place.
#[derive(Debug, Default)]
pub struct PathOwners<'g>(BTreeMap<String, Vec<&'g InstalledPackage>>);

impl<'g> PathOwners<'g> {
    /// The owners of those of `paths` that packages of `ground` ship.
    pub fn of(ground: &'g Ground, paths: &BTreeSet<&str>) -> Self {
        let mut owners: BTreeMap<String, Vec<&InstalledPackage>> = BTreeMap::new();
        for package in &ground.packages {
            for real in package.paths.iter().filter_map(|path| ground.real(path)) {
                if paths.contains(real.as_str()) {
                    owners.entry(real).or_default().push(package);
                }
            }
        }
        Self(owners)
    }

    /// The packages that ship `path`.
    pub fn owners(&self, path: &str) -> &[&'g InstalledPackage] {
        self.0.get(path).map_or(&[], Vec::as_slice)
    }
}

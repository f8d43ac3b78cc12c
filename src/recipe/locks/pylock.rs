//! `pylock.toml`: what another tool has locked, with a marker for each package.
//!
//! <https://packaging.python.org/en/latest/specifications/pylock-toml/>

use serde::Deserialize;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::Version;
use uv_pep508::{MarkerEnvironment, MarkerTree};

use super::super::source_place::SourcePlace;
use super::super::wheel_reference::{FilePlace, WheelReference, below};
use super::package::{FileText, ForeignPackage, LockedContent, LockedFiles};
use super::{ForeignLockError, LockReader, LockSelection};
use crate::pypa::git_reference::GitReference;

/// The content of such a lock.
#[derive(Debug, Clone, PartialEq)]
pub struct Pylock {
    /// The packages, in the file's order, each for the environments, extras and groups of its marker.
    pub packages: Vec<(MarkerTree, ForeignPackage)>,
}

/// Returns whether a file of this name is such a lock.
pub(super) fn is_pylock(name: &str) -> bool {
    name == "pylock.toml" || (name.starts_with("pylock.") && name.ends_with(".toml"))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PylockText {
    lock_version: String,
    requires_python: Option<String>,
    #[serde(default)]
    packages: Vec<PackageText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PackageText {
    name: PackageName,
    version: Option<Version>,
    marker: Option<String>,
    #[serde(default)]
    wheels: Vec<FileText>,
    sdist: Option<FileText>,
    archive: Option<FileText>,
    vcs: Option<VcsText>,
    directory: Option<DirectoryText>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct VcsText {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    path: Option<String>,
    requested_revision: Option<String>,
    commit_id: String,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct DirectoryText {
    path: String,
    subdirectory: Option<String>,
}

/// Reads a lock, and the Pythons that it is for.
pub(super) fn read(reader: &LockReader<'_>) -> Result<(Option<String>, Pylock), ForeignLockError> {
    let read: PylockText = reader.document()?;
    if read.lock_version != "1.0" {
        return Err(reader.version(read.lock_version, "lock-version 1.0"));
    }
    let packages = read.packages.into_iter().map(|package| {
        let marker = reader.marker(&package.name, package.marker.as_deref())?;
        Ok((marker, package.read(reader)?))
    });
    Ok((read.requires_python, Pylock { packages: packages.collect::<Result<_, _>>()? }))
}

impl Pylock {
    /// The packages for a target.
    pub(super) fn select(
        &self,
        markers: &MarkerEnvironment,
        selection: &LockSelection,
    ) -> Vec<&ForeignPackage> {
        let is_meant =
            |marker: &MarkerTree| marker.evaluate_pep751(markers, &selection.extras, &selection.groups);
        self.packages.iter().filter(|(marker, _)| is_meant(marker)).map(|(_, package)| package).collect()
    }
}

impl PackageText {
    fn read(self, reader: &LockReader<'_>) -> Result<ForeignPackage, ForeignLockError> {
        let content = match (&self.vcs, &self.directory, &self.archive) {
            (Some(vcs), _, _) => LockedContent::Source(self.git(vcs, reader)?),
            (_, Some(directory), _) => {
                let path = directory.subdirectory.as_deref().map(|inner| below(&directory.path, inner));
                let path = path.unwrap_or_else(|| directory.path.clone());
                LockedContent::Source(SourcePlace::Directory(path))
            }
            (_, _, Some(archive)) => self.archive(archive, reader)?,
            _ => LockedContent::Files(self.files(reader)?),
        };
        let version = self.version.clone().or_else(|| told_version(&content));
        if let (LockedContent::Files(_), None) = (&content, &version) {
            return Err(reader.syntax(0, format!("`{}` has no version", self.name)));
        }
        Ok(ForeignPackage { name: self.name, version, content })
    }

    fn git(&self, vcs: &VcsText, reader: &LockReader<'_>) -> Result<SourcePlace, ForeignLockError> {
        if vcs.kind != "git" {
            return Err(reader.place(&self.name, format!("it is in a repository of `{}`", vcs.kind)));
        }
        let Some(url) = &vcs.url else {
            let path = vcs.path.as_deref().unwrap_or_default();
            return Err(reader.place(&self.name, format!("its repository `{path}` is at no URL")));
        };
        let git = reader.git(&self.name);
        let reference = GitReference::of_remote(url).map_err(&git)?;
        let reference = reference.at(vcs.requested_revision.as_deref()).map_err(&git)?;
        let reference = reference.below(vcs.subdirectory.as_deref()).map_err(&git)?;
        Ok(SourcePlace::Git(reference.locked(vcs.commit_id.parse().map_err(&git)?)))
    }

    /// A wheel or a source at a place of its own.
    fn archive(&self, file: &FileText, reader: &LockReader<'_>) -> Result<LockedContent, ForeignLockError> {
        let place = file.file_place();
        let place = place.ok_or_else(|| reader.place(&self.name, "its archive is at no place"))?;
        let sha256 = Some(sha256_of(file, reader)?);
        reader.archive(&self.name, place, sha256, file.subdirectory.as_deref())
    }

    fn files(&self, reader: &LockReader<'_>) -> Result<LockedFiles, ForeignLockError> {
        let mut files = LockedFiles::default();
        for file in &self.wheels {
            let Ok(filename) = file.filename().parse::<WheelFilename>() else {
                files.others.push(file.filename());
                continue;
            };
            let sha256 = sha256_of(file, reader)?;
            match (file.remote(), &file.path) {
                (Some(url), _) => files.wheels.push(file.listed(filename, url)),
                (None, Some(path)) => {
                    let place = FilePlace::Path(path.clone());
                    files.local.push(WheelReference { place, filename, sha256: Some(sha256) });
                }
                (None, None) => {
                    let reason = format!("`{filename}` has neither a URL of HTTP nor a path");
                    return Err(reader.syntax(0, reason));
                }
            }
        }
        files.others.extend(self.sdist.as_ref().map(FileText::filename));
        let sdist = self.sdist.as_ref().and_then(|file| file.source(&self.name));
        files.sdists.extend(sdist.filter(|source| source.sha256.is_some()));
        Ok(files)
    }
}

fn sha256_of(file: &FileText, reader: &LockReader<'_>) -> Result<crate::oci::Digest, ForeignLockError> {
    file.sha256()
        .ok_or_else(|| ForeignLockError::NoHash { origin: reader.origin.to_owned(), file: file.filename() })
}

/// The version that the names of wheels tell.
fn told_version(content: &LockedContent) -> Option<Version> {
    match content {
        LockedContent::Files(files) => {
            let local = files.local.iter().map(|wheel| &wheel.filename);
            let mut names = files.wheels.iter().map(|file| &file.filename).chain(local);
            names.next().map(|wheel| wheel.version.clone())
        }
        LockedContent::Wheel(wheel) => Some(wheel.filename.version.clone()),
        LockedContent::Source(_) | LockedContent::Hashes(_) | LockedContent::Nothing => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ForeignLock, LockContent, LockKind};
    use super::*;
    use crate::oci::Digest;

    fn parse(text: &str) -> Result<Pylock, ForeignLockError> {
        let lock = ForeignLock::parse(LockKind::Pylock, text, "pylock.toml")?;
        let LockContent::Pylock(lock) = lock.content else { panic!("another lock") };
        Ok(lock)
    }

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn refuse(text: &str, expected: &str) {
        let error = parse(&text.replace("HEX", HEX)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn reads_wheels_wherever_they_are() {
        let text = format!(
            r#"
lock-version = "1.0"
requires-python = ">=3.11"
created-by = "test"
[[packages]]
name = "Demo.App"
version = "1.0"
marker = "'gpu' in extras and python_version < '4'"
sdist = {{ url = "http://localhost/demo_app-1.0.tar.gz", hashes = {{ sha256 = "{HEX}" }} }}
wheels = [
    {{ url = "http://localhost/demo_app-1.0-py3-none-any.whl", upload-time = 1970-01-02T00:00:01Z, size = 7, hashes = {{ sha256 = "{HEX}" }} }},
    {{ path = "dist/demo_app-1.0-cp311-cp311-linux_x86_64.whl", hashes = {{ sha256 = "{HEX}" }} }},
]
"#
        );
        let lock = parse(&text).unwrap();
        let (marker, package) = &lock.packages[0];
        let version = package.version.as_ref().unwrap().to_string();
        assert_eq!((package.name.as_ref(), version), ("demo-app", "1.0".into()));
        let LockedContent::Files(files) = &package.content else { panic!("other content") };
        assert_eq!((files.wheels[0].size, files.wheels[0].upload_time), (Some(7), Some(86_401)));
        assert_eq!(files.wheels[0].sha256, Some(Digest::of("")));
        assert_eq!(
            files.local[0].to_string(),
            format!("dist/demo_app-1.0-cp311-cp311-linux_x86_64.whl#sha256={HEX}")
        );
        assert_eq!(files.others, ["demo_app-1.0.tar.gz"]);
        assert!(!marker.is_true());
    }

    #[test]
    fn says_what_cannot_be_used() {
        refuse(
            "lock-version = 1\n",
            "line 1 of `pylock.toml` cannot be read: invalid type: integer `1`, expected a string",
        );
        refuse(
            "lock-version = \"2.0\"\n",
            "`pylock.toml` is of version 2.0, and imgforge reads lock-version 1.0",
        );
        let package = |lines: &str| format!("lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\n{lines}\n");
        refuse(
            &package(
                "version = \"1\"\nwheels = [{url = \"http://h/a-1-py3-none-any.whl\", hashes = {md5 = \"0\"}}]",
            ),
            "`pylock.toml` has no sha256 hash for `a-1-py3-none-any.whl`",
        );
        refuse(
            &package("vcs = {type = \"hg\", url = \"https://h/a\", commit-id = \"0\"}"),
            "`pylock.toml` locks `a` in a way that cannot be followed: it is in a repository of `hg`",
        );
        refuse(&package(""), "line 1 of `pylock.toml` cannot be read: `a` has no version");
    }

    #[test]
    fn reads_sources_wherever_they_are() {
        let commit = "7dff383e825a2a635022027086925c634969f463";
        let check = |lines: &str, expected: &str| {
            let text = format!("lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\n{lines}\n");
            let lock = parse(&text).unwrap();
            let LockedContent::Source(place) = &lock.packages[0].1.content else { panic!("no source") };
            assert_eq!(place.to_string(), expected);
        };
        check("directory = {path = \"..\", subdirectory = \"a\"}", "../a");
        check(
            &format!(
                "vcs = {{type = \"git\", url = \"https://h/a\", requested-revision = \"v1\", commit-id = \"{commit}\"}}"
            ),
            &format!("git+https://h/a@v1#commit={commit}"),
        );
        check(
            &format!("archive = {{path = \"a-1.tar.gz\", hashes = {{sha256 = \"{HEX}\"}}}}"),
            &format!("a-1.tar.gz#sha256={HEX}"),
        );
    }
}

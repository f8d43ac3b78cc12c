//! The inventory of a base of packages, known from its package list before anything is unpacked.

use super::select::{Selected, Selection};
use crate::base::scan::{ScannedInterpreter, glibc_version};
use crate::base::{BaseInventory, InventoryError};
use crate::cuda::is_debian_package;
use crate::debian::version::DebianVersion;
use crate::oci::Architecture;
use crate::pypa::scheme::InstallScheme;

/// The versions that a package list tells.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PackageFacts {
    /// The C library's version: `2.36`.
    glibc: Option<String>,
    /// The version of the package with `ldconfig`.
    libc_bin: Option<DebianVersion>,
    /// The default Python, when the base has one.
    python: Option<DebianPython>,
}

/// The interpreter that `python3` is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DebianPython {
    /// `3.11`
    short: String,
    /// `3.11.2`
    full: String,
}

/// The inventory of the packages selected for `architecture` from the archive of `origin`, Debian's where it does not
/// say, with `own` as its Python where that is given. CUDA is none of it: a package's name does not tell its libraries,
/// [`with_cuda`] adds them.
pub fn inventory(
    selection: &Selection,
    origin: Option<&str>,
    architecture: Architecture,
    own: Option<ScannedInterpreter>,
) -> Result<BaseInventory, InventoryError> {
    let facts = PackageFacts::of(selection);
    let python = match own {
        Some(own) => own,
        None => facts.python.as_ref().and_then(DebianPython::scanned).ok_or(InventoryError::NoPython)?,
    };
    let glibc = facts.glibc.as_deref().and_then(glibc_version).ok_or(InventoryError::NoLibc)?;
    let is_ubuntu = origin.is_some_and(|origin| origin.eq_ignore_ascii_case("ubuntu"));
    Ok(BaseInventory {
        architecture,
        vendor: if is_ubuntu { "Ubuntu" } else { "Debian" }.to_owned(),
        glibc,
        libc_bin: facts.libc_bin.ok_or(InventoryError::NoLibc)?,
        externally_managed: python.externally_managed,
        python: python.version,
        scheme: python.scheme,
        distributions: python.distributions,
        cuda: Vec::new(),
        default_toolkit: None,
        library_path: Vec::new(),
    })
}

/// `inventory` with the CUDA that a scan of the written layers found.
pub fn with_cuda(inventory: BaseInventory, scanned: BaseInventory) -> BaseInventory {
    BaseInventory { cuda: scanned.cuda, default_toolkit: scanned.default_toolkit, ..inventory }
}

/// Returns whether an image's Python, its distributions, its C library or its CUDA may be another with the packages of
/// `selection`: only their files tell.
pub fn may_change(selection: &Selection) -> bool {
    let is_told = |name: &str| {
        let starts = ["python3", "pypy3", "libpython3", "libc6", "libc-bin"];
        starts.iter().any(|start| name.starts_with(start)) || is_debian_package(name)
    };
    selection.packages.iter().any(|package| is_told(&package.name))
}

/// `(3, 11)` of `3.11`.
fn python_version(short: &str) -> Option<(u8, u8)> {
    let (major, minor) = short.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

impl DebianPython {
    /// The facts that are known of it before its packages are there.
    fn scanned(&self) -> Option<ScannedInterpreter> {
        Some(ScannedInterpreter {
            version: self.full.clone(),
            scheme: InstallScheme::debian(python_version(&self.short)?),
            externally_managed: format!("usr/lib/python{}/EXTERNALLY-MANAGED", self.short),
            distributions: Vec::new(),
            needed: Vec::new(),
        })
    }
}

impl PackageFacts {
    fn of(selection: &Selection) -> Self {
        let package = |name: &str| -> Option<&Selected> {
            selection.packages.iter().find(|package| package.name == name)
        };
        let upstream = |name: &str| Some(package(name)?.version.upstream().to_owned());
        Self {
            glibc: upstream("libc6").map(|version| numeric_prefix(&version).to_owned()),
            libc_bin: package("libc-bin").map(|package| package.version.clone()),
            python: default_python(&upstream),
        }
    }
}

/// `python3` (or its minimal part) says which Python is the default; that Python's package has the full version.
fn default_python(upstream: &impl Fn(&str) -> Option<String>) -> Option<DebianPython> {
    let default = ["python3", "python3-minimal"].into_iter().find_map(upstream)?;
    let short: Vec<&str> = numeric_prefix(&default).split('.').take(2).collect();
    let short = short.join(".");
    let full = upstream(&format!("python{short}-minimal"))?;
    Some(DebianPython { short, full: numeric_prefix(&full).to_owned() })
}

/// The leading numbers and dots of a version: `3.13.5` of `3.13.5~rc1`.
fn numeric_prefix(version: &str) -> &str {
    let end = version.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(version.len());
    version[..end].trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::super::select::Reason;
    use super::*;
    use crate::oci::Digest;

    fn selection(packages: &[(&str, &str)]) -> Selection {
        let selected = |(name, version): &(&str, &str)| Selected {
            name: (*name).to_owned(),
            version: version.parse().expect("the example is a version"),
            architecture: "amd64".into(),
            index: 0,
            filename: String::new(),
            size: 0,
            sha256: Digest::of(b""),
            reason: Reason::Requested,
            system: *name == "libc6",
        };
        Selection { packages: packages.iter().map(selected).collect() }
    }

    fn facts(packages: &[(&str, &str)]) -> PackageFacts {
        PackageFacts::of(&selection(packages))
    }

    #[test]
    fn the_package_list_tells_the_c_library_and_the_python() {
        let packages = [
            ("libc6", "2.36-9+deb12u10"),
            ("libc-bin", "2.36-9+deb12u10"),
            ("python3", "3.11.2-1+b1"),
            ("python3.11-minimal", "3.11.2-6+deb12u8"),
            ("python3.12-minimal", "3.12.1~rc1-1"),
        ];
        let facts = facts(&packages);
        let python = DebianPython { short: "3.11".into(), full: "3.11.2".into() };
        assert_eq!((facts.glibc.as_deref(), facts.python), (Some("2.36"), Some(python)));

        let inventory = |origin| inventory(&selection(&packages), origin, Architecture::Amd64, None).unwrap();
        let debian = inventory(None);
        assert_eq!(
            (debian.glibc, debian.python.as_str(), debian.vendor.as_str()),
            ((2, 36), "3.11.2", "Debian")
        );
        assert_eq!(debian.externally_managed, "usr/lib/python3.11/EXTERNALLY-MANAGED");
        assert_eq!(inventory(Some("Ubuntu")).vendor, "Ubuntu");
    }

    #[test]
    fn a_base_may_be_without_python() {
        assert_eq!(facts(&[("libc6", "2.41-12"), ("python3.13-minimal", "3.13.5-2")]).python, None);
        assert_eq!(numeric_prefix("3.13.0~rc1"), "3.13.0");
    }
}

//! The C that library a base has, and whose `ldconfig`.

use super::packages::Dpkg;
use crate::base::InventoryError;
use crate::debian::version::DebianVersion;
use crate::observe::inventory_facts::InventoryFacts;

/// A base's GNU C library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Libc {
    /// `Debian` or `Ubuntu`, as it calls itself.
    pub vendor: String,
    /// `(2, 36)`
    pub version: (u16, u16),
    /// The version of the package with `ldconfig`.
    pub libc_bin: DebianVersion,
}

impl Libc {
    pub(super) fn read(facts: &InventoryFacts, dpkg: &Dpkg) -> Result<Self, InventoryError> {
        let banner = facts.files().find_map(|(_, file)| Banner::parse(file.version.as_deref()?));
        let libc6 = dpkg.version("libc6");
        let Some(upstream) = libc6.map(DebianVersion::upstream).or(banner.map(|banner| banner.upstream()))
        else {
            return Err(without_glibc(facts));
        };
        let version = glibc_version(upstream).ok_or(InventoryError::NoLibc)?;
        let vendor = match banner.and_then(|banner| banner.debian()) {
            Some((vendor, _)) => vendor.to_owned(),
            None if libc6.is_some() => vendor_of_os(facts),
            None => return Err(InventoryError::NotDebian { system: name(facts) }),
        };
        let from_banner = || banner?.debian()?.1.parse().ok();
        let libc_bin = dpkg.version("libc-bin").or(libc6).cloned().or_else(from_banner);
        Ok(Self { vendor, version, libc_bin: libc_bin.ok_or(InventoryError::NoLibc)? })
    }
}

/// `GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release version 2.36`
#[derive(Debug, Clone, Copy)]
struct Banner<'a> {
    packaged: &'a str,
    release: &'a str,
}

impl<'a> Banner<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (packaged, rest) = text.strip_prefix("GNU C Library (")?.split_once(')')?;
        Some(Self { packaged, release: rest.rsplit(' ').next()? })
    }

    fn upstream(self) -> &'a str {
        self.release
    }

    /// The vendor and its package's version, which Debian and what is made from it say so.
    fn debian(self) -> Option<(&'a str, &'a str)> {
        let (vendor, version) = self.packaged.split_once(" GLIBC ")?;
        Some((vendor, version))
    }
}

fn without_glibc(facts: &InventoryFacts) -> InventoryError {
    let musl =
        |(path, _): (&str, _)| path.rsplit('/').next().is_some_and(|name| name.starts_with("ld-musl-"));
    if facts.nodes().any(musl) {
        InventoryError::Musl { system: name(facts) }
    } else {
        InventoryError::NoLibc
    }
}

fn vendor_of_os(facts: &InventoryFacts) -> String {
    let id = os_release(facts, "ID");
    if id.as_deref() == Some("ubuntu") { "Ubuntu".into() } else { "Debian".into() }
}

/// The system's own name: `Alpine Linux v3.20`.
fn name(facts: &InventoryFacts) -> String {
    os_release(facts, "PRETTY_NAME").unwrap_or_else(|| "a system without a name".into())
}

/// A field of os-release.
///
/// <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>
pub(super) fn os_release(facts: &InventoryFacts, field: &str) -> Option<String> {
    let text = facts.read("etc/os-release").or_else(|| facts.read("usr/lib/os-release"))?;
    let value = text.lines().find_map(|line| line.split_once('=').filter(|(key, _)| *key == field))?.1;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The version of a GNU C library: `(2, 36)` of `2.36`, `2.36.1` or `2.36-9`.
pub fn glibc_version(version: &str) -> Option<(u16, u16)> {
    let mut numbers = version.split('.');
    let minor = numbers.nth(1)?;
    let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
    Some((version.split('.').next()?.parse().ok()?, minor[..digits].parse().ok()?))
}

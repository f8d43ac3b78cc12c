//! The packages that have a library, by its SONAME, in the suites that most bases are of.
//!
//! `libraries.tsv` was read from the indexes of the archives' contents; `tests/acceptance/library_packages` makes it, and tells
//! when the archives have something else.
//!
//! <https://wiki.debian.org/DebianRepository/Format#A.22Contents.22_indices>

use std::fmt;

use serde::Serialize;

/// A header with the suites, then sorted lines: a SONAME, and the package that all suites have it in, or one for each.
const TABLE: &str = include_str!("libraries.tsv");

/// A package, and the suites in which it has a library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageOfSuites {
    /// The package's name.
    pub package: &'static str,
    /// The codenames of the suites; none where it is the package in all of them.
    pub suites: Vec<&'static str>,
}

impl PackageOfSuites {
    /// Returns whether every suite has the library in this package.
    pub fn is_of_all(&self) -> bool {
        self.suites.is_empty()
    }
}

impl fmt::Display for PackageOfSuites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.suites.as_slice() {
            [] => write!(f, "`{}`", self.package),
            suites => write!(f, "`{}` (on {})", self.package, suites.join(", ")),
        }
    }
}

/// The packages with the library of this SONAME; none where no suite has one.
pub fn packages_of(soname: &str) -> Vec<PackageOfSuites> {
    let mut lines = TABLE.lines();
    let suites: Vec<&str> = lines.next().unwrap_or_default().split('\t').skip(1).collect();
    let Some(line) = lines.find(|line| line.split('\t').next() == Some(soname)) else { return Vec::new() };
    let columns: Vec<&str> = line.split('\t').skip(1).collect();
    if let [package] = columns[..] {
        return vec![PackageOfSuites { package, suites: Vec::new() }];
    }
    let mut found: Vec<PackageOfSuites> = Vec::new();
    for (suite, package) in suites.into_iter().zip(columns).filter(|(_, package)| *package != "-") {
        match found.iter_mut().find(|known| known.package == package) {
            Some(known) => known.suites.push(suite),
            None => found.push(PackageOfSuites { package, suites: vec![suite] }),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_that_wheels_need_are_found() {
        let check = |soname: &str, expected: &str| {
            let told: Vec<String> = packages_of(soname).iter().map(ToString::to_string).collect();
            assert_eq!(told.join(", "), expected, "{soname}");
        };
        check("libGL.so.1", "`libgl1`");
        check("libSM.so.6", "`libsm6`");
        check("libsndfile.so.1", "`libsndfile1`");
        check("libglib-2.0.so.0", "`libglib2.0-0` (on bookworm), `libglib2.0-0t64` (on trixie, noble)");
        check(
            "libmpi.so.40",
            "`libopenmpi3` (on bookworm), `libopenmpi40` (on trixie), `libopenmpi3t64` (on noble)",
        );
        check("libavcodec.so.59", "`libavcodec59` (on bookworm)");
        check("libcuda.so.1", "");
        check("libGL.so", "");
        check("", "");
    }

    #[test]
    fn every_line_of_the_table_has_a_package() {
        let mut lines = TABLE.lines();
        let columns = lines.next().map_or(0, |header| header.split('\t').count());
        let is_sound = |line: &&str| {
            let fields: Vec<&str> = line.split('\t').collect();
            let is_full = fields.len() == 2 || fields.len() == columns;
            is_full
                && fields.iter().all(|field| !field.is_empty())
                && fields[1..].iter().any(|field| *field != "-")
        };
        assert_eq!(lines.clone().filter(|line| !is_sound(line)).collect::<Vec<_>>(), Vec::<&str>::new());
        assert!(lines.count() > 10_000);
    }
}

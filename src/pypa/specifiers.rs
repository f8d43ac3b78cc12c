//! The bounds that version specifiers set.
//!
//! <https://packaging.python.org/en/latest/specifications/version-specifiers/>

use uv_pep440::{Operator, Version, VersionSpecifier, VersionSpecifiers};
use uv_pep508::VersionOrUrl;

use super::metadata::Requirement;

/// The version specifiers of a requirement; `None` where it has none, or names a URL.
pub fn specifiers(requirement: &Requirement) -> Option<&VersionSpecifiers> {
    match &requirement.version_or_url {
        Some(VersionOrUrl::VersionSpecifier(specifiers)) => Some(specifiers),
        Some(VersionOrUrl::Url(_)) | None => None,
    }
}

/// The specifiers that older versions do not satisfy.
pub fn floors(specifiers: &VersionSpecifiers) -> impl Iterator<Item = &VersionSpecifier> {
    specifiers.iter().filter(|specifier| {
        is_pin(specifier)
            || matches!(
                specifier.operator(),
                Operator::GreaterThan | Operator::GreaterThanEqual | Operator::TildeEqual
            )
    })
}

/// The highest version that one of the floors of `requirement` names.
pub fn floor(requirement: &Requirement) -> Option<Version> {
    floors(specifiers(requirement)?).map(|specifier| specifier.version().clone()).max()
}

/// Returns whether a specifier allows one version, or those that begin with it.
pub fn is_pin(specifier: &VersionSpecifier) -> bool {
    matches!(specifier.operator(), Operator::Equal | Operator::EqualStar | Operator::ExactEqual)
}

/// The local part of a version that a requirement names: `cu124` of `torch==2.6.0+cu124`.
pub fn local_version(requirement: &Requirement) -> Option<String> {
    let mut versions = specifiers(requirement)?.iter().map(|specifier| specifier.version());
    versions.find(|version| version.is_local()).map(|version| version.local().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operator_that_excludes_older_versions_sets_a_floor() {
        let check = |specifiers: &str, expected: Option<&str>| {
            let requirement: Requirement = format!("demo{specifiers}").parse().unwrap();
            let floor = floor(&requirement).map(|version| version.to_string());
            assert_eq!(floor.as_deref(), expected, "{specifiers}");
        };
        for specifiers in ["==9.1", "==9.1.*", "===9.1", ">=9.1", ">9.1", "~=9.1", ">=8,>9.1,<10"] {
            check(specifiers, Some("9.1"));
        }
        for specifiers in ["", "<10", "<=10", "!=9.1", "!=9.1.*", " @ http://localhost/demo-9.1.tar.gz"] {
            check(specifiers, None);
        }
    }
}

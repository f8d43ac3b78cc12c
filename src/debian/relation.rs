//! Relationships between packages: `Depends`, `Provides`, `Conflicts` and their siblings.
//!
//! <https://www.debian.org/doc/debian-policy/ch-relationships.html>

use std::fmt;

use super::version::{DebianVersion, VersionError};

use crate::failure::Hinted;

/// One element of a dependency field: any of its alternatives is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// In the order written: the first is preferred.
    pub alternatives: Vec<Relation>,
}

/// A package, or a range of its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's name, or a virtual one.
    pub name: String,
    /// The qualifier after the colon: `any` in `python3:any`.
    pub qualifier: Option<String>,
    /// The versions that it admits; `None` for any.
    pub constraint: Option<Constraint>,
    /// The architectures it is for, `!` in front of the excluded; empty means all.
    pub architectures: Vec<String>,
}

/// A range of versions: `(>= 2.36)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// The comparison.
    pub operator: VersionRelation,
    /// The version to compare with.
    pub version: DebianVersion,
}

/// The comparison of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionRelation {
    /// `<<`
    Earlier,
    /// `<=`
    EarlierOrEqual,
    /// `=`
    Exactly,
    /// `>=`
    LaterOrEqual,
    /// `>>`
    Later,
}

/// A relationship that cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RelationError {
    #[error("`{text}` is not a relationship between packages")]
    Syntax { text: String },
    #[error("the version in `{text}` cannot be read")]
    Version { text: String, source: VersionError },
}

impl Hinted for RelationError {
    fn hint(&self) -> Option<String> {
        Some("a relationship is written `name (>= version) | other`".into())
    }
}

/// Reads a field such as `Depends`. An empty field is no dependency.
pub fn parse(text: &str) -> Result<Vec<Dependency>, RelationError> {
    elements(text).map(parse_dependency).collect()
}

/// Reads a field without alternatives, such as `Provides` and `Conflicts`.
pub fn parse_list(text: &str) -> Result<Vec<Relation>, RelationError> {
    elements(text).map(parse_relation).collect()
}

fn elements(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim_ascii).filter(|element| !element.is_empty())
}

fn parse_dependency(text: &str) -> Result<Dependency, RelationError> {
    Ok(Dependency { alternatives: text.split('|').map(parse_relation).collect::<Result<_, _>>()? })
}

fn parse_relation(text: &str) -> Result<Relation, RelationError> {
    let text = text.trim_ascii();
    let syntax = || RelationError::Syntax { text: text.to_owned() };
    let end = text.find(|c: char| c.is_ascii_whitespace() || "([".contains(c)).unwrap_or(text.len());
    let (name, qualifier) = match text[..end].split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (&text[..end], None),
    };
    if !is_package_name(name) || qualifier.is_some_and(|qualifier| !is_package_name(qualifier)) {
        return Err(syntax());
    }
    let (constraint, rest) = bracketed(&text[end..], ['(', ')']).ok_or_else(syntax)?;
    let (architectures, rest) = bracketed(rest, ['[', ']']).ok_or_else(syntax)?;
    if !rest.is_empty() {
        return Err(syntax());
    }
    Ok(Relation {
        name: name.to_owned(),
        qualifier: qualifier.map(str::to_owned),
        constraint: constraint.map(|inner| parse_constraint(inner, text)).transpose()?,
        architectures: architectures.unwrap_or("").split_ascii_whitespace().map(str::to_owned).collect(),
    })
}

/// Takes a leading `(…)` off `text`: what is inside, and what follows. `None` when it does not close.
fn bracketed(text: &str, [open, close]: [char; 2]) -> Option<(Option<&str>, &str)> {
    let text = text.trim_ascii_start();
    match text.strip_prefix(open) {
        None => Some((None, text)),
        Some(inner) => {
            let (inner, rest) = inner.split_once(close)?;
            Some((Some(inner.trim_ascii()), rest.trim_ascii_start()))
        }
    }
}

fn parse_constraint(inner: &str, text: &str) -> Result<Constraint, RelationError> {
    // The one-character forms are obsolete and mean the inclusive ones.
    const OPERATORS: [(&str, VersionRelation); 7] = [
        ("<<", VersionRelation::Earlier),
        ("<=", VersionRelation::EarlierOrEqual),
        (">>", VersionRelation::Later),
        (">=", VersionRelation::LaterOrEqual),
        ("=", VersionRelation::Exactly),
        ("<", VersionRelation::EarlierOrEqual),
        (">", VersionRelation::LaterOrEqual),
    ];
    let (operator, version) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| Some((*operator, inner.strip_prefix(sign)?)))
        .ok_or_else(|| RelationError::Syntax { text: text.to_owned() })?;
    let version = version
        .trim_ascii()
        .parse()
        .map_err(|source| RelationError::Version { text: text.to_owned(), source })?;
    Ok(Constraint { operator, version })
}

/// Returns whether `name` is spelled as a package name may be.
///
/// <https://www.debian.org/doc/debian-policy/ch-controlfields.html#source>
pub fn is_package_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

impl Constraint {
    /// Returns whether `version` is in the range.
    pub fn admits(&self, version: &DebianVersion) -> bool {
        let order = version.cmp(&self.version);
        match self.operator {
            VersionRelation::Earlier => order.is_lt(),
            VersionRelation::EarlierOrEqual => order.is_le(),
            VersionRelation::Exactly => order.is_eq(),
            VersionRelation::LaterOrEqual => order.is_ge(),
            VersionRelation::Later => order.is_gt(),
        }
    }
}

impl Relation {
    /// Returns whether a package of this name with `version` is meant.
    pub fn admits(&self, version: &DebianVersion) -> bool {
        self.constraint.as_ref().is_none_or(|constraint| constraint.admits(version))
    }

    /// Returns whether a `Provides` of this name is enough; a virtual package with a constraint must be
    /// provided with a version (policy 7.5).
    pub fn admits_provided(&self, version: Option<&DebianVersion>) -> bool {
        match (&self.constraint, version) {
            (None, _) => true,
            (Some(constraint), Some(version)) => constraint.admits(version),
            (Some(_), None) => false,
        }
    }

    /// Returns whether it concerns `architecture`.
    pub fn applies_to(&self, architecture: &str) -> bool {
        let mut named = self.architectures.iter().map(|name| match name.strip_prefix('!') {
            Some(excluded) => (excluded, false),
            None => (name.as_str(), true),
        });
        let matches = |name: &str| name == architecture || name == "any" || name == "linux-any";
        match self.architectures.first() {
            None => true,
            Some(first) if first.starts_with('!') => !named.any(|(name, _)| matches(name)),
            Some(_) => named.any(|(name, included)| included && matches(name)),
        }
    }
}

impl fmt::Display for VersionRelation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Exactly => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        })
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        if let Some(qualifier) = &self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some(Constraint { operator, version }) = &self.constraint {
            write!(f, " ({operator} {version})")?;
        }
        if !self.architectures.is_empty() {
            write!(f, " [{}]", self.architectures.join(" "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, relation) in self.alternatives.iter().enumerate() {
            write!(f, "{}{relation}", if at == 0 { "" } else { " | " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_real_packages_say() {
        let texts = [
            "libc6 (>= 2.34)",
            "debconf (>= 0.5) | debconf-2.0",
            "python3:any (>= 3.11~)",
            "gpgv | gpgv2 | gpgv1",
            "linux-libc-dev (= 6.1-1) [amd64 i386]",
            "perlapi-5.36.0 [!hurd-any]",
        ];
        let written: Vec<String> =
            parse(&texts.join(",\n ")).unwrap().iter().map(Dependency::to_string).collect();
        assert_eq!(written, texts);
        assert_eq!(parse(" , ").unwrap(), []);
    }

    #[test]
    fn spaces_and_old_operators_do_not_matter() {
        let relation = &parse_list("a(>2)").unwrap()[0];
        assert_eq!(relation.to_string(), "a (>= 2)");
        assert_eq!(parse_list("a ( << 2 ) [ amd64 ]").unwrap()[0].to_string(), "a (<< 2) [amd64]");
    }

    #[test]
    fn a_constraint_admits_its_range() {
        let admits =
            |text: &str, version: &str| parse_list(text).unwrap()[0].admits(&version.parse().unwrap());
        for (text, inside, outside) in [
            ("a (<< 2)", "1", "2"),
            ("a (<= 2)", "2", "2.1"),
            ("a (= 2)", "0:2", "2-1"),
            ("a (>= 2)", "2", "2~"),
            ("a (>> 2)", "2-1", "2"),
        ] {
            assert!(admits(text, inside) && !admits(text, outside), "{text}");
        }
    }

    #[test]
    fn a_virtual_package_meets_a_constraint_only_with_a_version() {
        let relation = &parse_list("mta (>= 2)").unwrap()[0];
        assert!(relation.admits_provided(Some(&"2".parse().unwrap())));
        assert!(!relation.admits_provided(Some(&"1".parse().unwrap())));
        assert!(!relation.admits_provided(None));
    }

    #[test]
    fn an_architecture_list_includes_or_excludes() {
        let applies = |text: &str| parse_list(text).unwrap()[0].applies_to("amd64");
        assert!(
            applies("a") && applies("a [i386 amd64]") && applies("a [!i386]") && applies("a [linux-any]")
        );
        assert!(!applies("a [i386]") && !applies("a [!amd64 !i386]"));
    }

    #[test]
    fn refuses_what_is_not_a_relationship() {
        for text in [
            "a b",
            "a (2)",
            "a (>= )",
            "a (>= 2",
            "a [amd64",
            "|",
            "a |",
            "-a",
            "a:",
            "(>= 2)",
            "a <!nocheck>",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

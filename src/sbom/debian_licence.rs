//! The licences of Debian packages, from the short names of their copyright files to expressions of SPDX.
//!
//! <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/#license-specification>

use std::collections::BTreeSet;

use spdx::{Expression, ParseMode};

use super::licence::{Licence, NamedLicence};
use crate::debian::copyright::{self, LicenceTerm};

/// Debian's short names of licences that SPDX calls otherwise, and that are these and no others.
const NAMES: [(&str, &str); 8] = [
    ("Expat", "MIT"),
    ("GFDL-NIV-1.2", "GFDL-1.2-no-invariants-only"),
    ("GFDL-NIV-1.2+", "GFDL-1.2-no-invariants-or-later"),
    ("GFDL-NIV-1.3", "GFDL-1.3-no-invariants-only"),
    ("GFDL-NIV-1.3+", "GFDL-1.3-no-invariants-or-later"),
    ("PSF-2", "PSF-2.0"),
    ("Zope-2.0", "ZPL-2.0"),
    ("Zope-2.1", "ZPL-2.1"),
];

/// The families whose versions SPDX names with `-only` and `-or-later`, and Debian with `+` or without.
const GNU: [&str; 4] = ["AGPL", "GFDL", "GPL", "LGPL"];

/// The exceptions that have one text each.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("bison", "Bison-exception-2.2"),
    ("classpath", "Classpath-exception-2.0"),
    ("font", "Font-exception-2.0"),
    ("libtool", "Libtool-exception"),
];

/// The licence of all files of a package: `synopses` are those of its copyright file, which lies at `path`.
pub(super) fn licence(synopses: &str, path: &str) -> Licence {
    let mut composing = Composing { path, named: BTreeSet::new() };
    let mut all = BTreeSet::new();
    for synopsis in synopses.lines() {
        match copyright::term(synopsis) {
            Some(LicenceTerm::All(terms)) => all.extend(terms.iter().map(|term| composing.text(term, true))),
            Some(term) => drop(all.insert(composing.text(&term, true))),
            None => drop(all.insert(composing.reference(synopsis))),
        }
    }
    // One choice alone needs no brackets.
    let text = match &all.iter().collect::<Vec<_>>()[..] {
        [only] => only.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(only).to_owned(),
        several => several.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" AND "),
    };
    match (Expression::parse_mode(&text, ParseMode::STRICT), composing.named.is_empty()) {
        (Err(_), _) => Licence::Unknown,
        (Ok(_), true) => Licence::Expression(text),
        (Ok(_), false) => Licence::Composed { expression: text, named: composing.named },
    }
}

/// An expression on its way, and the licences of it that have no identifier.
struct Composing<'a> {
    path: &'a str,
    named: BTreeSet<NamedLicence>,
}

impl Composing<'_> {
    /// The expression of a term; `is_part` of one whose members all apply.
    fn text(&mut self, term: &LicenceTerm<'_>, is_part: bool) -> String {
        match term {
            LicenceTerm::Named(name) => id(name).unwrap_or_else(|| self.reference(name)),
            LicenceTerm::With(name, exception) => {
                let known = EXCEPTIONS.iter().find(|(debian, _)| debian.eq_ignore_ascii_case(exception));
                match (id(name), known) {
                    (Some(id), Some((_, known))) => format!("{id} WITH {known}"),
                    _ => self.reference(&format!("{name} with {exception} exception")),
                }
            }
            LicenceTerm::All(terms) => {
                let texts: Vec<String> = terms.iter().map(|term| self.text(term, true)).collect();
                texts.join(" AND ")
            }
            LicenceTerm::Any(terms) => {
                let texts: Vec<String> = terms.iter().map(|term| self.text(term, false)).collect();
                let text = texts.join(" OR ");
                if is_part { format!("({text})") } else { text }
            }
        }
    }

    /// A reference to what this copyright file calls by a name: another one may mean something else by it.
    fn reference(&mut self, name: &str) -> String {
        let text = format!("`{name}`, as /{} says", self.path);
        let named = NamedLicence { name: name.to_owned(), text, url: None };
        let reference = named.reference();
        self.named.insert(named);
        reference
    }
}

/// The identifier of SPDX for one of Debian's short names.
fn id(name: &str) -> Option<String> {
    let same = |(debian, _): &&(&str, &str)| debian.eq_ignore_ascii_case(name);
    if let Some((_, id)) = NAMES.iter().find(same) {
        return Some((*id).to_owned());
    }
    let listed = |id: &str| spdx::license_id(id).filter(|found| !found.is_deprecated());
    gnu(name)
        .and_then(|id| listed(&id))
        .or_else(|| {
            // Letters may change their case.
            let mut known = spdx::identifiers::LICENSES.iter().map(|license| license.name);
            listed(known.find(|known| known.eq_ignore_ascii_case(name))?)
        })
        .map(|id| id.name.to_owned())
}

/// `LGPL-2.1+` as `LGPL-2.1-or-later`, `GPL-3` as `GPL-3.0-only`.
fn gnu(name: &str) -> Option<String> {
    let (family, version) = name.split_once('-')?;
    let family = GNU.iter().find(|known| known.eq_ignore_ascii_case(family))?;
    let (version, end) = match version.strip_suffix('+') {
        Some(version) => (version, "or-later"),
        None => (version, "only"),
    };
    let version = if version.contains('.') { version.to_owned() } else { format!("{version}.0") };
    Some(format!("{family}-{version}-{end}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_become_the_identifiers_that_mean_the_same() {
        let check = |name: &str, expected: Option<&str>| assert_eq!(id(name).as_deref(), expected, "{name}");
        check("GPL-2", Some("GPL-2.0-only"));
        check("GPL-2+", Some("GPL-2.0-or-later"));
        check("GPL-2.0+", Some("GPL-2.0-or-later"));
        check("LGPL-2.1+", Some("LGPL-2.1-or-later"));
        check("GFDL-1.3", Some("GFDL-1.3-only"));
        check("GPL-9", None);
        check("Expat", Some("MIT"));
        check("BSD-3-clause", Some("BSD-3-Clause"));
        check("ZLIB", Some("Zlib"));
        check("Apache-2.0", Some("Apache-2.0"));
        for unclear in ["Artistic", "BSD", "GPL", "public-domain", "other"] {
            check(unclear, None);
        }
    }

    #[test]
    fn the_names_of_the_tables_are_listed() {
        assert!(NAMES.is_sorted() && EXCEPTIONS.is_sorted());
        for (_, id) in NAMES {
            assert!(
                spdx::license_id(id).is_some_and(|found| found.name == id && !found.is_deprecated()),
                "{id}"
            );
        }
        for (_, id) in EXCEPTIONS {
            assert!(spdx::exception_id(id).is_some_and(|found| found.name == id), "{id}");
        }
    }

    #[test]
    fn what_has_no_identifier_is_a_reference_of_its_file() {
        let path = "usr/share/doc/x/copyright";
        let expression = |text: &str| match licence(text, path) {
            Licence::Expression(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(expression("Expat\nGPL-2+ or ISC"), "(GPL-2.0-or-later OR ISC) AND MIT");
        assert_eq!(expression("Expat or ISC"), "MIT OR ISC");
        assert_eq!(expression("Expat and ISC\nISC"), "ISC AND MIT");
        assert_eq!(expression("Expat or GPL-1+, and ISC"), "(MIT OR GPL-1.0-or-later) AND ISC");
        assert_eq!(expression("ISC and Expat, or Zlib"), "ISC AND MIT OR Zlib");
        assert_eq!(expression("GPL-2+ with Bison exception"), "GPL-2.0-or-later WITH Bison-exception-2.2");
        let Licence::Composed { expression, named } = licence("GPL-2+ with OpenSSL exception\nExpat", path)
        else {
            panic!("it has an identifier")
        };
        let [only] = &Vec::from_iter(named)[..] else { panic!("one has none") };
        assert_eq!(expression, format!("{} AND MIT", only.reference()));
        assert_eq!(only.text, "`GPL-2+ with OpenSSL exception`, as /usr/share/doc/x/copyright says");
    }
}

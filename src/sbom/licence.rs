//! Licences, from core metadata to expressions of SPDX.
//!
//! <https://packaging.python.org/en/latest/specifications/license-expression/> · <https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>

use std::collections::BTreeSet;

use spdx::{Expression, ParseMode};

use crate::oci::Digest;
use crate::pypa::described::DistributionDescription;

/// The characters of a licence's name; what is longer is its text.
const LONGEST_NAME: usize = 100;

/// A licence, as a package states it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Licence {
    /// An expression of SPDX, in its canonical form.
    Expression(String),
    /// An expression in which licences without an identifier are referred to.
    Composed {
        /// The expression.
        expression: String,
        /// These licences.
        named: BTreeSet<NamedLicence>,
    },
    /// Words that are none, or the text of a licence.
    Named(NamedLicence),
    /// Nothing is stated.
    Unknown,
}

/// A licence that has no identifier of SPDX.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedLicence {
    /// The words, or the first line of the text.
    pub name: String,
    /// The words or the text.
    pub text: String,
    /// The page that has the text.
    pub url: Option<&'static str>,
}

impl NamedLicence {
    /// The reference to it in an expression: `LicenseRef-imgforge-<digits>-NVIDIA-Proprietary-Software`.
    pub(super) fn reference(&self) -> String {
        let usual = |c: char| if c.is_ascii_alphanumeric() { c } else { ' ' };
        let words: String = self.name.chars().map(usual).collect();
        let words: String = words.split_whitespace().collect::<Vec<_>>().join("-").chars().take(60).collect();
        let digits = &Digest::of(format!("{}\n{}", self.name, self.text)).hex()[..8];
        format!("LicenseRef-imgforge-{digits}-{words}").trim_end_matches('-').to_owned()
    }

    fn of(text: &str) -> Self {
        let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        Self { name: first.chars().take(LONGEST_NAME).collect(), text: text.to_owned(), url: None }
    }
}

/// The classifiers that mean one licence of SPDX each; `BSD License` or `GNU General Public License (GPL)` do not.
///
/// <https://packaging.python.org/en/latest/specifications/core-metadata/#classifier-multiple-use>
const CLASSIFIERS: [(&str, &str); 33] = [
    ("Academic Free License (AFL)", "AFL-3.0"),
    ("Apache Software License", "Apache-2.0"),
    ("Artistic License", "Artistic-2.0"),
    ("Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"),
    ("CC0 1.0 Universal (CC0 1.0) Public Domain Dedication", "CC0-1.0"),
    ("Common Development and Distribution License 1.0 (CDDL-1.0)", "CDDL-1.0"),
    ("Eclipse Public License 1.0 (EPL-1.0)", "EPL-1.0"),
    ("Eclipse Public License 2.0 (EPL-2.0)", "EPL-2.0"),
    ("European Union Public Licence 1.1 (EUPL 1.1)", "EUPL-1.1"),
    ("European Union Public Licence 1.2 (EUPL 1.2)", "EUPL-1.2"),
    ("GNU Affero General Public License v3", "AGPL-3.0-only"),
    ("GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"),
    ("GNU General Public License v2 (GPLv2)", "GPL-2.0-only"),
    ("GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"),
    ("GNU General Public License v3 (GPLv3)", "GPL-3.0-only"),
    ("GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"),
    ("GNU Lesser General Public License v2 (LGPLv2)", "LGPL-2.0-only"),
    ("GNU Lesser General Public License v2 or later (LGPLv2+)", "LGPL-2.0-or-later"),
    ("GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"),
    ("GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"),
    ("Historical Permission Notice and Disclaimer (HPND)", "HPND"),
    ("ISC License (ISCL)", "ISC"),
    ("MIT License", "MIT"),
    ("MIT No Attribution License (MIT-0)", "MIT-0"),
    ("Mozilla Public License 1.1 (MPL 1.1)", "MPL-1.1"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
    ("Python Software Foundation License", "PSF-2.0"),
    ("SIL Open Font License 1.1 (OFL-1.1)", "OFL-1.1"),
    ("The Unlicense (Unlicense)", "Unlicense"),
    ("Universal Permissive License (UPL)", "UPL-1.0"),
    ("W3C License", "W3C"),
    ("Zope Public License", "ZPL-2.1"),
    ("zlib/libpng License", "Zlib"),
];

impl Licence {
    /// An expression that is known to be one.
    pub(super) fn expression(text: &str) -> Self {
        Self::Expression(text.to_owned())
    }

    /// The licence of a distribution: its expression, or else what `License` says where that means a licence of SPDX, or else
    /// the one that its classifiers mean, or else its own words.
    pub fn of_metadata(description: &DistributionDescription) -> Self {
        let stated = description.licence.as_deref();
        let strictly = |text: &str| canonical(text, ParseMode::STRICT);
        let expression = description.licence_expression.as_deref().and_then(strictly);
        // A sentence is no licence's name, whatever words it begins with.
        let short = stated.filter(|text| !text.contains('\n') && text.len() <= LONGEST_NAME);
        let known = expression.or_else(|| short.and_then(meant)).or_else(|| of_classifiers(description));
        if let Some(expression) = known {
            return Self::Expression(expression);
        }
        let classifiers = description.licence_classifiers.join("\n");
        match description.licence_expression.as_deref().or(stated).unwrap_or(&classifiers) {
            "" => Self::Unknown,
            text => Self::Named(NamedLicence::of(text)),
        }
    }
}

/// The canonical form of an expression. One that names licences which no list has is none: what these are is not known.
fn canonical(text: &str, mode: ParseMode) -> Option<String> {
    let form = Expression::canonicalize(text).ok()?.unwrap_or_else(|| text.to_owned());
    // Letters may change their case: other words are guesses.
    if !form.eq_ignore_ascii_case(text) {
        return None;
    }
    let expression = Expression::parse_mode(&form, mode).ok()?;
    let is_listed = expression.requirements().all(|it| it.req.license.id().is_some());
    is_listed.then(|| expression.to_string())
}

/// The words of `License` that mean one licence of SPDX each: `BSD` or `GPL` do not.
const WORDS: [(&str, &str); 18] = [
    ("3-clause bsd license", "BSD-3-Clause"),
    ("apache 2", "Apache-2.0"),
    ("apache 2.0", "Apache-2.0"),
    ("apache license 2.0", "Apache-2.0"),
    ("apache license version 2.0", "Apache-2.0"),
    ("apache software license 2.0", "Apache-2.0"),
    ("bsd 2-clause", "BSD-2-Clause"),
    ("bsd 3-clause", "BSD-3-Clause"),
    ("bsd 3-clause license", "BSD-3-Clause"),
    ("isc license", "ISC"),
    ("mit license", "MIT"),
    ("modified bsd license", "BSD-3-Clause"),
    ("mpl 2.0", "MPL-2.0"),
    ("new bsd license", "BSD-3-Clause"),
    ("psf license", "PSF-2.0"),
    ("simplified bsd license", "BSD-2-Clause"),
    ("the mit license", "MIT"),
    ("zlib license", "Zlib"),
];

/// The licence that the words of `License` mean: an expression, or a usual name of one licence.
fn meant(text: &str) -> Option<String> {
    let usual = || {
        let words = text.to_ascii_lowercase().replace(',', "");
        let known = WORDS.iter().find(|(name, _)| *name == words)?;
        Some(known.1.to_owned())
    };
    canonical(text, ParseMode::STRICT).or_else(usual)
}

/// The one licence that classifiers mean. Several may be a choice or a heap: nothing says which.
fn of_classifiers(description: &DistributionDescription) -> Option<String> {
    let named = description.licence_classifiers.iter().map(|text| text.rsplit(" :: ").next().unwrap_or(text));
    let [only] = named.filter(|name| *name != "OSI Approved").collect::<Vec<_>>()[..] else { return None };
    let known = CLASSIFIERS.iter().find(|(name, _)| *name == only)?;
    Some(known.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pypa::described::description;

    #[track_caller]
    fn check(fields: &str, expected: &str) {
        let told = match Licence::of_metadata(&description(&format!("{fields}\n"))) {
            Licence::Expression(expression) => expression,
            Licence::Named(named) => format!("`{}`", named.name),
            Licence::Unknown => "unknown".to_owned(),
            Licence::Composed { expression, .. } => expression,
        };
        assert_eq!(told, expected, "{fields}");
    }

    #[test]
    fn the_licence_of_a_distribution_is_what_its_metadata_means() {
        check("License-Expression: MIT OR Apache-2.0\nLicense: BSD", "MIT OR Apache-2.0");
        check("License-Expression: mit", "MIT");
        check("License: MIT", "MIT");
        check("License: Apache-2.0", "Apache-2.0");
        check("License: Apache License, Version 2.0", "Apache-2.0");
        check("License: BSD", "`BSD`");
        check("License: BSD\nClassifier: License :: OSI Approved :: MIT License", "MIT");
        check(
            "Classifier: License :: OSI Approved\nClassifier: License :: OSI Approved :: MIT License",
            "MIT",
        );
        check("License: BSD-3-Clause", "BSD-3-Clause");
        check("License: NVIDIA Proprietary Software", "`NVIDIA Proprietary Software`");
        check("Classifier: License :: Other/Proprietary License", "`Other/Proprietary License`");
        check(
            "Classifier: License :: OSI Approved :: MIT License\nClassifier: License :: OSI Approved :: BSD License",
            "`OSI Approved :: MIT License`",
        );
        check("License: Copyright (c) 2020 A\n        All rights reserved.", "`Copyright (c) 2020 A`");
        check("License: UNKNOWN", "unknown");
        check("License-Expression: LicenseRef-Own", "`LicenseRef-Own`");
        check("License: MIT )", "`MIT )`");
    }

    #[test]
    fn classifiers_are_sorted_and_mean_listed_licences() {
        assert!(CLASSIFIERS.is_sorted() && WORDS.is_sorted());
        for (_, id) in CLASSIFIERS.iter().chain(&WORDS) {
            assert_eq!(canonical(id, ParseMode::STRICT).as_deref(), Some(*id));
        }
    }
}

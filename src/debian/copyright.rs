//! Copyright files of packages, as far as they say in a readable form which licences there are.
//!
//! <https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/>

use std::collections::BTreeSet;

use super::deb822;

/// The licences of one package: those of browsers have some hundred.
const MOST_LICENCES: usize = 512;

/// The bytes of one synopsis: what is longer is no name of a licence.
const LONGEST_SYNOPSIS: usize = 512;

/// The licences of a copyright file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LicenceTerm<'a> {
    /// One licence, by its short name: `GPL-2+`.
    Named(&'a str),
    /// One licence with an exception: `GPL-2+ with Bison exception`.
    With(&'a str, &'a str),
    /// Each of these applies.
    All(Vec<Self>),
    /// One of these applies.
    Any(Vec<Self>),
}

/// The synopses of the licences of all files, each once and sorted; `None` where the file is not in the readable form.
pub fn synopses(text: &str) -> Option<Vec<String>> {
    let mut paragraphs = deb822::paragraphs(text);
    let head = paragraphs.next()?.ok()?;
    let format = head.get("Format").or_else(|| head.get("Format-Specification"))?.to_ascii_lowercase();
    if !["copyright-format", "dep5", "dep-5"].iter().any(|form| format.contains(form)) {
        return None;
    }
    let mut found = BTreeSet::new();
    for paragraph in paragraphs {
        let paragraph = paragraph.ok()?;
        if paragraph.get("Files").is_some() {
            let synopsis = paragraph.get("License")?.lines().next()?.trim();
            let words: Vec<&str> = synopsis.split_ascii_whitespace().collect();
            found.insert(words.join(" "));
        }
    }
    let is_bounded = found.len() <= MOST_LICENCES && found.iter().all(|it| it.len() <= LONGEST_SYNOPSIS);
    (is_bounded && !found.is_empty()).then(|| found.into_iter().collect())
}

/// The licences that a synopsis names: `and` binds more tightly than `or`, and a comma less than both. `None` where the words
/// are none of the form.
pub fn term(synopsis: &str) -> Option<LicenceTerm<'_>> {
    let mut parts = synopsis.split(',').map(str::trim);
    let mut whole = of_part(parts.next()?)?;
    for part in parts {
        let (word, rest) = part.split_once(' ')?;
        let next = of_part(rest)?;
        whole = match word {
            "and" => LicenceTerm::All(vec![whole, next]),
            "or" => LicenceTerm::Any(vec![whole, next]),
            _ => return None,
        };
    }
    Some(whole)
}

/// A part without commas.
fn of_part(part: &str) -> Option<LicenceTerm<'_>> {
    let choices = part.split(" or ").map(|choice| {
        let all: Vec<_> = choice.split(" and ").map(single).collect::<Option<_>>()?;
        Some(one_or(all, LicenceTerm::All))
    });
    Some(one_or(choices.collect::<Option<_>>()?, LicenceTerm::Any))
}

fn one_or<'a>(
    mut terms: Vec<LicenceTerm<'a>>,
    several: fn(Vec<LicenceTerm<'a>>) -> LicenceTerm<'a>,
) -> LicenceTerm<'a> {
    match (terms.pop(), terms.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            terms.extend(last);
            several(terms)
        }
    }
}

fn single(text: &str) -> Option<LicenceTerm<'_>> {
    let is_name = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '|');
    match text.split_once(" with ") {
        None => is_name(text).then_some(LicenceTerm::Named(text)),
        Some((name, exception)) => {
            let lower = exception.to_ascii_lowercase();
            let end = lower.strip_suffix(" exception").or_else(|| lower.strip_suffix("-exception"))?.len();
            is_name(name).then_some(LicenceTerm::With(name, &exception[..end]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_licences_of_all_files_are_found_where_the_form_is_readable() {
        let head = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n";
        let check = |body: &str, expected: Option<&[&str]>| {
            let expected = expected.map(|all| all.iter().map(|it| (*it).to_owned()).collect());
            assert_eq!(synopses(body), expected, "{body}");
        };
        let files =
            "\nFiles: *\nCopyright: A\nLicense: GPL-2+\n Text.\n\nFiles: debian/*\nLicense: Expat  or\tISC\n";
        let alone = "\nLicense: GPL-2+\n The text of it.\n";
        check(&format!("{head}{files}{alone}"), Some(&["Expat or ISC", "GPL-2+"]));
        check(&format!("{head}{files}{files}"), Some(&["Expat or ISC", "GPL-2+"]));
        check(
            &format!("Format: http://dep.debian.net/deps/dep5/\n{files}"),
            Some(&["Expat or ISC", "GPL-2+"]),
        );
        check(&format!("Format: mine\n{files}"), None);
        check(&format!("{head}{alone}"), None);
        check(&format!("{head}\nFiles: *\nCopyright: A\n"), None);
        check(&format!("{head}{files}\nthis is no field\n"), None);
        check(&format!("{head}\nFiles: *\nLicense: {}\n", "x".repeat(LONGEST_SYNOPSIS + 1)), None);
        check("This package was debianized by hand.\n", None);
        check("", None);
    }

    #[test]
    fn a_synopsis_is_read_as_the_specification_groups_it() {
        use LicenceTerm::{All, Any, Named, With};
        let check =
            |text: &str, expected: Option<LicenceTerm<'_>>| assert_eq!(term(text), expected, "{text}");
        check("GPL-2+", Some(Named("GPL-2+")));
        check("A or B and C", Some(Any(vec![Named("A"), All(vec![Named("B"), Named("C")])])));
        check("A or B, and C", Some(All(vec![Any(vec![Named("A"), Named("B")]), Named("C")])));
        check("GPL-2+ with OpenSSL exception", Some(With("GPL-2+", "OpenSSL")));
        check("GPL-3+ with Autoconf-exception or X", Some(Any(vec![With("GPL-3+", "Autoconf"), Named("X")])));
        for odd in ["", "BSD 3 clause", "A, B", "A | B", "A with B", "A and", "or B"] {
            check(odd, None);
        }
    }
}

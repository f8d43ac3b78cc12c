//! The fields of core metadata that describe a distribution to people: its licence, its authors, its home.
//!
//! <https://packaging.python.org/en/latest/specifications/core-metadata/>

use super::metadata;

/// The characters of a value that are kept: of `License`, which may be a whole licence.
const LONGEST_VALUE: usize = 64 << 10;
/// The fields of one name that are kept: the longest lists of classifiers have some hundred.
const MOST_VALUES: usize = 1024;

/// The descriptive fields of a `METADATA` file. A value that says nothing is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DistributionDescription {
    /// `License-Expression`, of SPDX.
    pub licence_expression: Option<String>,
    /// `License`, in whatever words; several lines where it is a whole licence.
    pub licence: Option<String>,
    /// The classifiers of licences, without their beginning: `OSI Approved :: MIT License`.
    pub licence_classifiers: Vec<String>,
    /// `Author`, or else `Maintainer`.
    pub author: Option<String>,
    /// `Home-page`, or else the project URL of that label.
    pub home_page: Option<String>,
}

/// The descriptive fields of the text of a `METADATA` file.
pub fn description(text: &str) -> DistributionDescription {
    let first = |key: &str| values(text, key).into_iter().next();
    let classifiers = values(text, "Classifier");
    let of_licence = classifiers.iter().filter_map(|it| it.strip_prefix("License :: "));
    DistributionDescription {
        licence_expression: first("License-Expression"),
        licence: first("License"),
        licence_classifiers: of_licence.map(str::to_owned).collect(),
        author: ["Author", "Maintainer"].into_iter().find_map(first),
        home_page: first("Home-page").or_else(|| home_page(&values(text, "Project-URL"))),
    }
}

/// The URL that is labelled as a project's home.
fn home_page(urls: &[String]) -> Option<String> {
    let labelled = urls.iter().filter_map(|url| url.split_once(','));
    let is_home = |label: &str| {
        let label: String = label.chars().filter(char::is_ascii_alphanumeric).collect();
        matches!(label.to_ascii_lowercase().as_str(), "home" | "homepage")
    };
    labelled.filter(|(label, _)| is_home(label)).map(|(_, url)| url.trim().to_owned()).next()
}

/// The values of the fields of this name, each with its folded lines.
fn values(text: &str, key: &str) -> Vec<String> {
    let named = metadata::fields(text).filter(|field| field.key.eq_ignore_ascii_case(key));
    let unfolded = named.map(|field| unfolded(field.value, &text[field.value_start + field.value.len()..]));
    unfolded.filter(|value| !matches!(value.as_str(), "" | "UNKNOWN" | "None")).take(MOST_VALUES).collect()
}

/// A value with the lines behind it that go on with it, as setuptools and flit indent them.
fn unfolded(value: &str, rest: &str) -> String {
    let mut lines = vec![value];
    let behind = rest.split_once('\n').map_or("", |(_, behind)| behind);
    let mut left = LONGEST_VALUE.saturating_sub(value.len());
    for line in behind.lines().take_while(|line| line.starts_with([' ', '\t'])) {
        let Some(after) = left.checked_sub(line.len() + 1) else { break };
        left = after;
        lines.push(line.trim().trim_start_matches('|'));
    }
    let text = lines.join("\n");
    text.trim().chars().take(LONGEST_VALUE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptive_fields_are_read_with_their_folded_lines() {
        let text = "Metadata-Version: 2.1\nName: a\nAuthor: UNKNOWN\nMaintainer: M\nLicense: BSD 3-Clause License\n        \
                    \n        Copyright (c) x\nProject-URL: Home Page, https://a.test/\n\
                    Classifier: Programming Language :: Python\nClassifier: License :: OSI Approved :: BSD License\n\n\
                    License: prose\n";
        let read = description(text);
        assert_eq!(read.licence.as_deref(), Some("BSD 3-Clause License\n\nCopyright (c) x"));
        assert_eq!(read.licence_expression, None);
        assert_eq!(read.licence_classifiers, ["OSI Approved :: BSD License"]);
        assert_eq!(read.author.as_deref(), Some("M"));
        assert_eq!(read.home_page.as_deref(), Some("https://a.test/"));
        assert_eq!(description(""), DistributionDescription::default());
    }
}

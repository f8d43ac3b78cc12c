//! Core metadata: what a distribution is called and what it requires.
//!
//! <https://packaging.python.org/en/latest/specifications/core-metadata/>

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uv_normalize::{ExtraName, PackageName};
use uv_pep440::{Version, VersionSpecifiers};
use uv_pep508::VerbatimUrl;
use uv_pypi_types::{LenientRequirement, LenientVersionSpecifiers};

use super::complexity::{TooComplex, check_specifiers, weigh_requirement};
use crate::failure::Hinted;
use crate::oci::Digest;

/// A METADATA file of more bytes is refused: real ones stay below 1 MB, most of which is the description.
pub const LONGEST_METADATA: u64 = 4 << 20;
/// The requirements of one distribution: large frameworks with all their extras list some 1,000.
pub const MOST_REQUIREMENTS: usize = 8192;
/// The weight of all requirements of one distribution: those of a hundred conditions weigh a million, and are few.
const MOST_WEIGHT: usize = 16 << 20;
/// The characters of a field's value in a message.
const LONGEST_SHOWN: usize = 200;

/// A dependency specifier, as in a `Requires-Dist` field or a line of a recipe.
///
/// <https://packaging.python.org/en/latest/specifications/dependency-specifiers/>
pub type Requirement = uv_pep508::Requirement<VerbatimUrl>;

/// The fields of a `METADATA` file that decide what is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreMetadata {
    /// The normalized name.
    pub name: PackageName,
    /// The version.
    pub version: Version,
    /// `Requires-Dist`, in the order of the file.
    pub requires_dist: Vec<Requirement>,
    /// `Requires-Python`.
    pub requires_python: Option<VersionSpecifiers>,
    /// `Provides-Extra`.
    pub provides_extra: Vec<ExtraName>,
}

impl CoreMetadata {
    /// A digest that is the same for the same fields; locks keep it for years.
    pub fn digest(&self) -> Digest {
        let mut text = format!("{} {}\n", self.name, self.version);
        let requires = self.requires_dist.iter().map(|requirement| format!("requires {requirement}\n"));
        let python = self.requires_python.iter().map(|python| format!("python {python}\n"));
        let extras = self.provides_extra.iter().map(|extra| format!("extra {extra}\n"));
        text.extend(requires.chain(python).chain(extras));
        Digest::of(text)
    }
}

/// The reason why a text is not core metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum MetadataError {
    #[error("the metadata has no field `{field}`")]
    Missing { field: &'static str },
    #[error("the metadata says `{field}: {value}`: {reason}")]
    Invalid { field: &'static str, value: String, reason: String },
    #[error("the metadata says `{field}: {value}`")]
    Complex { field: &'static str, value: String, source: TooComplex },
    #[error("the metadata has more than {MOST_REQUIREMENTS} requirements")]
    ManyRequirements,
    #[error("the conditions of all requirements in the metadata are too many and too large together")]
    Weight,
}

impl Hinted for MetadataError {
    fn hint(&self) -> Option<String> {
        Some("exclude this version with a constraint such as `NAME!=VERSION`".into())
    }
}

/// The text of a `METADATA` file: UTF-8, or else Latin-1, as old tools wrote it; pip and uv read both.
pub fn decoded(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
}

/// The bytes of a text that [`decoded`] gave, which were UTF-8 or not.
pub fn encoded(text: String, is_utf8: bool) -> Vec<u8> {
    let latin1 = || text.chars().map(|c| u8::try_from(c).ok()).collect::<Option<Vec<u8>>>();
    match is_utf8 {
        true => text.into_bytes(),
        false => latin1().unwrap_or_else(|| text.into_bytes()),
    }
}

/// Parses the text of a `METADATA` file.
///
/// Mistakes that old releases are known for, such as `>=1.0<2` or `>=3.6,`, are read as they were meant,
/// with the same corrections as uv. Of a field that may be there once, the first counts, as for pip and uv.
pub fn parse(text: &str) -> Result<CoreMetadata, MetadataError> {
    let (mut name, mut version, mut requires_python) = (None, None, None);
    let (mut requires_dist, mut provides_extra) = (Vec::new(), Vec::new());
    let mut weight = 0;
    for field in fields(text) {
        match Key::of(field.key) {
            Some(Key::Name) if name.is_none() => {
                name = Some(invalid("Name", field.value, PackageName::from_str)?);
            }
            Some(Key::Version) if version.is_none() => {
                version = Some(invalid("Version", field.value, Version::from_str)?);
            }
            Some(Key::RequiresDist) => {
                let (requirement, its_weight) = requirement(field.value)?;
                weight += its_weight;
                refuse_many(requires_dist.len(), weight)?;
                requires_dist.push(requirement);
            }
            Some(Key::RequiresPython) if requires_python.is_none() => {
                requires_python = Some(python_specifiers(field.value)?);
            }
            // An extra whose name is not one can be asked for by nobody.
            Some(Key::ProvidesExtra) => provides_extra.extend(ExtraName::from_str(field.value).ok()),
            Some(_) | None => {}
        }
    }
    Ok(CoreMetadata {
        name: name.ok_or(MetadataError::Missing { field: "Name" })?,
        version: version.ok_or(MetadataError::Missing { field: "Version" })?,
        requires_dist,
        requires_python,
        provides_extra,
    })
}

/// The core metadata in the `PKG-INFO` of a source distribution, where it says that all its wheels have the same.
///
/// <https://peps.python.org/pep-0643/>
pub fn of_wheels(text: &str) -> Option<CoreMetadata> {
    const DECIDING: [&str; 3] = ["requires-dist", "requires-python", "provides-extra"];
    const FIRST: [u64; 2] = [2, 2];
    let values = |key: &'static str| {
        fields(text).filter(move |field| field.key.eq_ignore_ascii_case(key)).map(|field| field.value)
    };
    let version = Version::from_str(values("Metadata-Version").next()?).ok()?;
    let is_open = values("Dynamic").any(|field| DECIDING.contains(&field.to_ascii_lowercase().as_str()));
    match version.release()[..] >= FIRST[..] && !is_open {
        true => parse(text).ok(),
        false => None,
    }
}

/// The lines of the fields that decide what is installed, as written but for the blanks around their values.
pub fn deciding_fields(text: &str) -> impl Iterator<Item = &str> {
    let decides = |field: &Field<'_>| !matches!(Key::of(field.key), None | Some(Key::RequiresPython));
    fields(text).filter(decides).map(|field| &text[field.start..field.value_start + field.value.len()])
}

/// Rewrites chosen `Requires-Dist` fields of a `METADATA` text; every other byte stays as it is.
///
/// `rewrite` is given each requirement that can be parsed and returns the new value of the field, or `None` to
/// leave it alone.
pub fn rewrite_requirements(text: &str, rewrite: impl Fn(&Requirement) -> Option<String>) -> String {
    let mut rewritten = String::with_capacity(text.len());
    let mut copied = 0;
    for field in fields(text).filter(|field| matches!(Key::of(field.key), Some(Key::RequiresDist))) {
        let Some(value) = requirement(field.value).ok().and_then(|(requirement, _)| rewrite(&requirement))
        else {
            continue;
        };
        rewritten.push_str(&text[copied..field.value_start]);
        rewritten.push_str(&value);
        copied = field.value_start + field.value.len();
    }
    rewritten.push_str(&text[copied..]);
    rewritten
}

fn refuse_many(requirements: usize, weight: usize) -> Result<(), MetadataError> {
    match () {
        () if requirements >= MOST_REQUIREMENTS => Err(MetadataError::ManyRequirements),
        () if weight > MOST_WEIGHT => Err(MetadataError::Weight),
        () => Ok(()),
    }
}

fn complex(field: &'static str, value: &str) -> impl FnOnce(TooComplex) -> MetadataError {
    move |source| MetadataError::Complex { field, value: shown(value), source }
}

/// The start of a field's value, for a message.
fn shown(value: &str) -> String {
    match value.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}

fn python_specifiers(value: &str) -> Result<VersionSpecifiers, MetadataError> {
    check_specifiers(value).map_err(complex("Requires-Python", value))?;
    let lenient = invalid("Requires-Python", value, LenientVersionSpecifiers::from_str)?;
    Ok(VersionSpecifiers::from(lenient))
}

/// Parses a requirement that imgforge or a user wrote.
pub fn parse_requirement(text: &str) -> Result<Requirement, MetadataError> {
    weigh_requirement(text).map_err(complex("Requires-Dist", text))?;
    let requirement = invalid("Requires-Dist", text, Requirement::from_str)?;
    if text.len() > SHORT_REQUIREMENT {
        // It is written into locks and METADATA, where its marker is in a normal form, which may be much longer.
        weigh_requirement(&requirement.to_string()).map_err(complex("Requires-Dist", text))?;
    }
    Ok(requirement)
}

/// The bytes of a requirement whose marker has too few terms to become long in its normal form.
const SHORT_REQUIREMENT: usize = 128;

/// The requirements of an `.egg-info` in the form of `Requires-Dist`: of the `requires.txt` of setuptools, whose
/// sections are `[extra]`, `[:marker]` or `[extra:marker]`.
///
/// <https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html#requires-txt>
pub fn requires_of_egg(text: &str) -> Vec<String> {
    let (mut requires, mut condition) = (Vec::new(), String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            condition = condition_of(section);
        } else if requires.len() < MOST_REQUIREMENTS {
            requires.push(format!("{line}{condition}"));
        }
    }
    requires
}

/// ` ; (os_name == 'nt') and extra == 'all'` of the section `all:os_name == 'nt'`.
fn condition_of(section: &str) -> String {
    match section.split_once(':').unwrap_or((section, "")) {
        ("", "") => String::new(),
        ("", marker) => format!(" ; ({marker})"),
        (extra, "") => format!(" ; extra == '{extra}'"),
        (extra, marker) => format!(" ; ({marker}) and extra == '{extra}'"),
    }
}

/// The requirements among `texts`, as leniently read as pip does; what is none, or too much, is passed over.
pub fn requirements<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Requirement> {
    let (mut requirements, mut weight) = (Vec::new(), 0);
    for (requirement, its_weight) in texts.into_iter().filter_map(|text| requirement(text).ok()) {
        weight += its_weight;
        if refuse_many(requirements.len(), weight).is_err() {
            break;
        }
        requirements.push(requirement);
    }
    requirements
}

/// Parses a requirement with the corrections of [`parse`]; also returns its weight.
fn requirement(value: &str) -> Result<(Requirement, usize), MetadataError> {
    let weight = weigh_requirement(value).map_err(complex("Requires-Dist", value))?;
    let lenient = invalid("Requires-Dist", value, LenientRequirement::<VerbatimUrl>::from_str)?;
    Ok((lenient.into(), weight))
}

fn invalid<T, E: std::fmt::Display>(
    field: &'static str,
    value: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, MetadataError> {
    parse(value).map_err(|error| {
        // Parsers of requirements draw a picture below the first line.
        let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
        MetadataError::Invalid { field, value: shown(value), reason: shown(&reason) }
    })
}

enum Key {
    Name,
    Version,
    RequiresDist,
    RequiresPython,
    ProvidesExtra,
}

impl Key {
    fn of(key: &str) -> Option<Self> {
        Some(match key.to_ascii_lowercase().as_str() {
            "name" => Self::Name,
            "version" => Self::Version,
            "requires-dist" => Self::RequiresDist,
            "requires-python" => Self::RequiresPython,
            "provides-extra" => Self::ProvidesExtra,
            _ => return None,
        })
    }
}

pub(super) struct Field<'a> {
    /// The start of the key in the text, in bytes.
    start: usize,
    pub(super) key: &'a str,
    pub(super) value: &'a str,
    /// The start of the value in the text, in bytes.
    pub(super) value_start: usize,
}

/// The header fields, up to the empty line that starts the description. Folded lines belong to the field above
/// them: none of the fields read here may be folded, so they are passed over.
pub(super) fn fields(text: &str) -> impl Iterator<Item = Field<'_>> {
    let mut start = 0;
    let lines = text.split_inclusive('\n').map(move |line| {
        let at = start;
        start += line.len();
        (at, line)
    });
    lines
        .take_while(|(_, line)| !line.trim_end_matches(['\r', '\n']).is_empty())
        .filter(|(_, line)| !line.starts_with([' ', '\t']))
        .filter_map(|(at, line)| {
            let (key, rest) = line.split_once(':')?;
            let value = rest.trim();
            let value_start = at + key.len() + 1 + (rest.len() - rest.trim_start().len());
            Some(Field { start: at, key, value, value_start })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = "Metadata-Version: 2.1\r\nName: Some_Project\r\nVersion: 1.0\r\n\
        Requires-Python: >=3.8,\r\nRequires-Dist: numpy (>=1.21<2)\r\n\
        requires-dist:  nvidia-cublas-cu12 ==12.4.5.8 ; platform_system == \"Linux\"\r\n\
        Provides-Extra: GPU\r\nDescription: folded\r\n        Name: not-a-field\r\n\r\nRequires-Dist: prose\r\n";

    #[test]
    fn a_source_tells_its_wheels_metadata_where_nothing_of_it_is_dynamic() {
        let told =
            |head: &str| of_wheels(&format!("{head}\nName: a\nVersion: 1\nRequires-Dist: b\n")).is_some();
        assert!(told("Metadata-Version: 2.2"));
        assert!(told("Metadata-Version: 2.4\nDynamic: License-File"));
        assert!(!told("Metadata-Version: 2.1"));
        assert!(!told("Metadata-Version: 2.2\nDynamic: Requires-Dist"));
        assert!(!told(""));
    }

    #[test]
    fn reads_the_fields_that_decide() {
        let metadata = parse(METADATA).unwrap();
        assert_eq!(metadata.name.as_str(), "some-project");
        assert_eq!(metadata.version.to_string(), "1.0");
        assert_eq!(metadata.requires_python.unwrap().to_string(), ">=3.8");
        assert_eq!(metadata.provides_extra[0].as_str(), "gpu");
        let requires: Vec<_> = metadata.requires_dist.iter().map(ToString::to_string).collect();
        let expected = ["numpy>=1.21,<2", "nvidia-cublas-cu12==12.4.5.8 ; sys_platform == 'linux'"];
        assert_eq!(requires.len(), expected.len());
        assert_eq!(requires[0], expected[0]);
        assert!(requires[1].starts_with("nvidia-cublas-cu12==12.4.5.8 ;"), "{}", requires[1]);
    }

    #[test]
    fn rewrites_one_requirement_and_no_other_byte() {
        let rewritten = rewrite_requirements(METADATA, |requirement| {
            (requirement.name.as_str() == "nvidia-cublas-cu12").then(|| "nvidia-cublas-cu12>=12.4.5.8".into())
        });
        let expected = METADATA.replace(
            "nvidia-cublas-cu12 ==12.4.5.8 ; platform_system == \"Linux\"",
            "nvidia-cublas-cu12>=12.4.5.8",
        );
        assert_eq!(rewritten, expected);
        assert_eq!(rewrite_requirements(METADATA, |_| None), METADATA);
    }

    #[test]
    fn requirements_of_an_egg_are_those_of_a_distribution() {
        let text =
            "six>=1\n\n[:python_version < \"3\"]\nenum34\n\n[all]\nnumpy\n[all:os_name == 'nt']\nwin\n";
        let expected = [
            "six>=1",
            "enum34 ; (python_version < \"3\")",
            "numpy ; extra == 'all'",
            "win ; (os_name == 'nt') and extra == 'all'",
        ];
        assert_eq!(requires_of_egg(text), expected);
        assert_eq!(requirements(expected).len(), 4);
    }

    #[test]
    fn names_what_is_missing_or_wrong() {
        let check = |text: &str, expected: &str| assert_eq!(parse(text).unwrap_err().to_string(), expected);
        check("", "the metadata has no field `Name`");
        check("Name: a\n", "the metadata has no field `Version`");
        check(
            "Name: a\nVersion: x y\nVersion: 1\n",
            "the metadata says `Version: x y`: expected version to start with a number, but no leading ASCII digits \
             were found",
        );
        assert!(matches!(
            parse("Name: a\nVersion: 1\nRequires-Dist: !\n"),
            Err(MetadataError::Invalid { field: "Requires-Dist", .. })
        ));
    }
}

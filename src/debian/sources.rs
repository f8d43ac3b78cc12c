//! apt's lists of where packages come from: deb822 `.sources` and one-line `.list` texts.
//!
//! <https://manpages.debian.org/sources.list.5>

use serde::{Deserialize, Serialize};

use super::deb822::{self, Deb822Error, Paragraph};

use crate::failure::Hinted;

/// One source of binary packages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AptSource {
    /// Roots of the same archive, each ending in `/`.
    pub uris: Vec<String>,
    /// Suites by name or codename; one ending in `/` is a directory.
    pub suites: Vec<String>,
    /// The components of the suites.
    pub components: Vec<String>,
    /// The architectures it is limited to; empty means all.
    pub architectures: Vec<String>,
    /// The keys that may sign it; `None` for apt's default.
    pub signed_by: Option<SignedBy>,
    /// True unless it is switched off.
    pub enabled: bool,
    /// True if its user gave up checking signatures.
    pub trusted: bool,
}

/// The keys that may sign a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignedBy {
    /// Keyring files, or fingerprints of keys that apt trusts anyway.
    Names(Vec<String>),
    /// An armored public key, written into the list.
    Key(String),
}

/// A list of sources that cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum SourcesError {
    #[error("the list of sources cannot be read")]
    Syntax { source: Deb822Error },
    #[error("line {line} is not a source: `{text}`")]
    Line { line: usize, text: String },
}

impl Hinted for SourcesError {
    fn hint(&self) -> Option<String> {
        Some("apt reads the same lists: `apt-get indextargets` tells what it makes of them".into())
    }
}

/// Reads the text of a `.sources` file.
pub fn parse_sources(text: &str) -> Result<Vec<AptSource>, SourcesError> {
    let mut sources = Vec::new();
    for paragraph in deb822::paragraphs(text) {
        let fields = paragraph.map_err(|source| SourcesError::Syntax { source })?;
        if fields.words("Types").any(|kind| kind == "deb") {
            sources.push(source(&fields));
        }
    }
    Ok(sources)
}

fn source(fields: &Paragraph<'_>) -> AptSource {
    let words = |name: &str| fields.words(name).map(str::to_owned).collect::<Vec<_>>();
    let signed_by = fields.get("Signed-By").map(|value| match value.contains("-----BEGIN") {
        true => SignedBy::Key(embedded_key(value)),
        false => SignedBy::Names(words("Signed-By")),
    });
    AptSource {
        uris: fields.words("URIs").map(directory).collect(),
        suites: words("Suites"),
        components: words("Components"),
        architectures: words("Architectures"),
        signed_by,
        enabled: fields.get("Enabled").is_none_or(is_yes),
        trusted: fields.get("Trusted").is_some_and(is_yes),
    }
}

/// The sources as the text of a `.sources` file.
pub fn write(sources: &[AptSource]) -> String {
    let paragraphs: Vec<String> = sources.iter().map(paragraph).collect();
    paragraphs.join("\n")
}

fn paragraph(source: &AptSource) -> String {
    let signed_by = match &source.signed_by {
        None => String::new(),
        Some(SignedBy::Names(names)) => names.join(" "),
        Some(SignedBy::Key(key)) => {
            let lines =
                key.lines().map(|line| if line.is_empty() { "\n .".into() } else { format!("\n {line}") });
            lines.collect()
        }
    };
    let fields = [
        ("Types", "deb".to_owned()),
        ("Enabled", if source.enabled { String::new() } else { "no".into() }),
        ("URIs", source.uris.join(" ")),
        ("Suites", source.suites.join(" ")),
        ("Components", source.components.join(" ")),
        ("Architectures", source.architectures.join(" ")),
        ("Signed-By", signed_by),
        ("Trusted", if source.trusted { "yes".into() } else { String::new() }),
    ];
    let present = fields.iter().filter(|(_, value)| !value.is_empty());
    let separated =
        |value: &str| if value.starts_with('\n') { value.to_owned() } else { format!(" {value}") };
    present.map(|(name, value)| format!("{name}:{}\n", separated(value))).collect()
}

/// A key in a field: its lines are indented, and ` .` is an empty one.
fn embedded_key(value: &str) -> String {
    let lines = value.lines().map(str::trim_ascii).skip_while(|line| line.is_empty());
    lines.map(|line| if line == "." { "\n".into() } else { format!("{line}\n") }).collect()
}

/// Reads the text of a `.list` file.
pub fn parse_list(text: &str) -> Result<Vec<AptSource>, SourcesError> {
    let mut sources = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let entry = line.split_once('#').map_or(line, |(entry, _)| entry).trim_ascii();
        if entry.is_empty() || entry.starts_with("deb-src") {
            continue;
        }
        let wrong = || SourcesError::Line { line: at + 1, text: line.chars().take(200).collect() };
        sources.push(parse_line(entry).ok_or_else(wrong)?);
    }
    Ok(sources)
}

/// `deb [option=value …] uri suite component…`
fn parse_line(entry: &str) -> Option<AptSource> {
    let rest = entry.strip_prefix("deb")?;
    let rest = rest.starts_with([' ', '\t', '[']).then(|| rest.trim_ascii_start())?;
    let (options, rest) = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let mut source = AptSource {
        uris: vec![directory(words.next()?)],
        suites: vec![words.next()?.to_owned()],
        components: words.map(str::to_owned).collect(),
        enabled: true,
        ..AptSource::default()
    };
    for option in options.split_ascii_whitespace() {
        let (name, value) = option.split_once('=')?;
        let values = || value.split(',').map(str::to_owned).collect();
        match name {
            "signed-by" => source.signed_by = Some(SignedBy::Names(values())),
            "arch" => source.architectures = values(),
            "trusted" => source.trusted = is_yes(value),
            _ => {}
        }
    }
    Some(source)
}

fn directory(uri: &str) -> String {
    format!("{}/", uri.trim_end_matches('/'))
}

fn is_yes(value: &str) -> bool {
    ["yes", "true", "1", "on", "with", "enable"].contains(&value.to_ascii_lowercase().as_str())
}

/// The sources in use that offer `suite`, in their order.
pub fn find<'a>(sources: &'a [AptSource], suite: &str) -> Vec<&'a AptSource> {
    let offers = |source: &&AptSource| source.enabled && source.suites.iter().any(|name| name == suite);
    sources.iter().filter(offers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

    fn expected() -> AptSource {
        AptSource {
            uris: vec!["http://mirror.test/debian/".into()],
            suites: vec!["bookworm".into()],
            components: vec!["main".into(), "contrib".into()],
            architectures: vec![],
            signed_by: Some(SignedBy::Names(vec![KEYRING.into()])),
            enabled: true,
            trusted: false,
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let modern = format!(
            "# written by the installer\nTypes: deb deb-src\nURIs: http://mirror.test/debian\nSuites: bookworm\n\
             Components: main\n# also\n contrib\nSigned-By: {KEYRING}\n\nTypes: deb-src\nURIs: http://other.test\nSuites: x\n"
        );
        let classic = format!(
            "# comment\ndeb [signed-by={KEYRING}] http://mirror.test/debian/ bookworm main contrib # more\n\
             deb-src http://mirror.test/debian bookworm main\n"
        );
        assert_eq!(parse_sources(&modern).unwrap(), [expected()]);
        assert_eq!(parse_list(&classic).unwrap(), [expected()]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let key = SignedBy::Key("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAA\n".into());
        let other = AptSource { enabled: false, trusted: true, signed_by: Some(key), ..expected() };
        let sources = [expected(), other];
        assert_eq!(parse_sources(&write(&sources)).unwrap(), sources);
    }

    #[test]
    fn finds_the_enabled_sources_of_a_suite() {
        let text = "Types: deb\nURIs: http://a.test\nSuites: bookworm bookworm-updates\nComponents: main\n\n\
                    Types: deb\nURIs: http://b.test\nSuites: bookworm\nComponents: main\nEnabled: no\n";
        let sources = parse_sources(text).unwrap();
        let uris =
            |suite| find(&sources, suite).iter().flat_map(|source| source.uris.clone()).collect::<Vec<_>>();
        assert_eq!(uris("bookworm-updates"), ["http://a.test/"]);
        assert_eq!(uris("bookworm"), ["http://a.test/"]);
        assert!(uris("sid").is_empty());
    }

    #[test]
    fn a_key_may_be_written_into_the_list() {
        let text = "Types: deb\nURIs: http://a.test\nSuites: x\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n AA\n";
        let key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAA\n";
        assert_eq!(parse_sources(text).unwrap()[0].signed_by, Some(SignedBy::Key(key.into())));
    }

    #[test]
    fn a_line_that_is_no_source_is_named() {
        for text in [
            "\nrpm http://a.test x main",
            "\ndeb http://a.test",
            "\ndeb [arch=amd64 http://a.test x",
            "\ndebug a b",
        ] {
            let error = parse_list(text).unwrap_err();
            assert!(matches!(error, SourcesError::Line { line: 2, .. }), "{text}: {error}");
        }
        assert!(matches!(parse_sources("deb http://a.test x main"), Err(SourcesError::Syntax { .. })));
    }
}

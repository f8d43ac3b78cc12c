//! A repository of git as the source of a distribution: `git+https://host/repo@REVISION#subdirectory=DIR`.
//!
//! <https://pip.pypa.io/en/stable/topics/vcs-support/> ·
//! <https://packaging.python.org/en/latest/specifications/direct-url-data-structure/>

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use url::Url;

use super::subdirectory::Subdirectory;

/// The start of such a reference.
pub const PREFIX: &str = "git+";
/// The bytes of a revision: names of branches are short.
const LONGEST_REVISION: usize = 256;
/// The lengths of commits in hexadecimal digits: SHA-1, and SHA-256.
const COMMITS: [usize; 2] = [40, 64];

/// The name of a commit: all of its hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitCommit(String);

/// A tree of files in a repository of git.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitReference {
    /// The repository, without `git+`. A login in it is used and never shown.
    pub repository: Url,
    /// The branch, tag or commit that is asked for; without one, the repository's default branch.
    pub revision: Option<String>,
    /// The commit, where it is known.
    pub commit: Option<GitCommit>,
    /// The directory of the project in it.
    pub subdirectory: Option<Subdirectory>,
}

/// The reason why a text is no such reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum GitReferenceError {
    #[error("it is not a URL behind `git+`")]
    Url,
    #[error("repositories are fetched by `https`, `ssh`, `http` or from a `file`, and it says `{0}`")]
    Scheme(String),
    #[error("`{0}` is not the name of a branch, tag or commit")]
    Revision(String),
    #[error("`{0}` is not a commit: 40 hexadecimal digits")]
    Commit(String),
    #[error("its subdirectory `{0}` leads out of the repository")]
    Subdirectory(String),
    #[error("`{0}` behind `#` means nothing for a repository")]
    Fragment(String),
}

impl GitCommit {
    /// Its hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GitCommit {
    type Err = GitReferenceError;

    fn from_str(text: &str) -> Result<Self, GitReferenceError> {
        let is_commit = COMMITS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_commit {
            true => Ok(Self(text.to_ascii_lowercase())),
            false => Err(GitReferenceError::Commit(text.chars().take(LONGEST_REVISION).collect())),
        }
    }
}

impl TryFrom<String> for GitCommit {
    type Error = GitReferenceError;

    fn try_from(text: String) -> Result<Self, GitReferenceError> {
        text.parse()
    }
}

impl From<GitCommit> for String {
    fn from(commit: GitCommit) -> Self {
        commit.0
    }
}

impl fmt::Display for GitCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl GitReference {
    /// The tree of `repository`, of which nothing else is known yet.
    pub fn new(repository: Url) -> Result<Self, GitReferenceError> {
        match repository.scheme() {
            "https" | "ssh" | "http" | "file" => {
                Ok(Self { repository, revision: None, commit: None, subdirectory: None })
            }
            scheme => Err(GitReferenceError::Scheme(scheme.to_owned())),
        }
    }

    /// The tree of the repository at `text`, which is a URL, or `git@host:team/app.git` as git itself takes it.
    pub fn of_remote(text: &str) -> Result<Self, GitReferenceError> {
        let text = text.strip_prefix(PREFIX).unwrap_or(text);
        let by_ssh = text.split_once(':').filter(|(host, path)| {
            !text.contains("://") && host.contains('@') && !host.contains('/') && !path.is_empty()
        });
        let url = match by_ssh {
            Some((host, path)) => Url::parse(&format!("ssh://{host}/{}", path.trim_start_matches('/'))),
            None => Url::parse(text),
        };
        Self::new(url.map_err(|_| GitReferenceError::Url)?)
    }

    /// It at a branch, tag or commit; one that is a commit is known by that.
    pub fn at(self, revision: Option<&str>) -> Result<Self, GitReferenceError> {
        let Some(revision) = revision else { return Ok(self) };
        match is_revision(revision) {
            true => Ok(Self { commit: revision.parse().ok(), revision: Some(revision.to_owned()), ..self }),
            false => {
                let shown = revision.chars().take(LONGEST_REVISION).collect();
                Err(GitReferenceError::Revision(shown))
            }
        }
    }

    /// The project in a directory of it.
    pub fn below(self, subdirectory: Option<&str>) -> Result<Self, GitReferenceError> {
        let Some(text) = subdirectory else { return Ok(self) };
        match Subdirectory::new(text) {
            Ok(subdirectory) => Ok(Self { subdirectory, ..self }),
            Err(_) => Err(GitReferenceError::Subdirectory(text.to_owned())),
        }
    }

    /// It at a commit that is known.
    pub fn locked(self, commit: GitCommit) -> Self {
        Self { commit: Some(commit), ..self }
    }

    /// Returns whether `other` asks for the same, whichever commit either has come to.
    pub fn asks_as(&self, other: &Self) -> bool {
        let asked = |reference: &Self| {
            let Self { repository, revision, subdirectory, .. } = reference.without_login();
            (repository, revision, subdirectory)
        };
        asked(self) == asked(other)
    }

    /// It as it may be shown and kept. The user of `ssh` is part of the address.
    pub fn without_login(&self) -> Self {
        let mut repository = self.repository.clone();
        repository.set_query(None);
        repository.set_password(None).ok();
        if repository.scheme() != "ssh" {
            repository.set_username("").ok();
        }
        Self { repository, ..self.clone() }
    }

    /// The repository as it may be shown.
    pub fn shown(&self) -> String {
        self.without_login().repository.into()
    }
}

/// Returns whether git would take a text for one name, and for nothing else.
fn is_revision(text: &str) -> bool {
    let is_odd = |c: char| c.is_control() || " ~^:?*[\\@{}".contains(c);
    !text.is_empty()
        && text.len() <= LONGEST_REVISION
        && !text.starts_with(['-', '+', '/', '.'])
        && !text.ends_with(['/', '.'])
        && !text.contains("..")
        && !text.contains("//")
        && !text.contains(is_odd)
}

/// With everything that is known: what [`FromStr`] reads again, the commit behind `#commit=`.
impl fmt::Display for GitReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.repository)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        let commit = self.commit.as_ref().filter(|commit| self.revision.as_deref() != Some(commit.as_str()));
        let words = [
            commit.map(|commit| format!("commit={commit}")),
            self.subdirectory.as_ref().map(|subdirectory| format!("subdirectory={subdirectory}")),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        if words.is_empty() { Ok(()) } else { write!(f, "#{}", words.join("&")) }
    }
}

impl FromStr for GitReference {
    type Err = GitReferenceError;

    fn from_str(text: &str) -> Result<Self, GitReferenceError> {
        let text = text.strip_prefix(PREFIX).ok_or(GitReferenceError::Url)?;
        let (place, fragment) = text.split_once('#').unwrap_or((text, ""));
        // The last `@` of the path: one before it belongs to the login.
        let path = place.find("://").map_or(0, |at| at + "://".len());
        let path = place[path..].find('/').map_or(place.len(), |at| path + at);
        let revision = place[path..].rfind('@').map(|at| path + at);
        let (repository, revision) = match revision {
            Some(at) => (&place[..at], Some(decoded(&place[at + 1..]))),
            None => (place, None),
        };
        let repository = Url::parse(repository).map_err(|_| GitReferenceError::Url)?;
        let mut found = Self::new(repository)?.at(revision.as_deref())?;
        for word in fragment.split('&').filter(|word| !word.is_empty()) {
            found = match word.split_once('=') {
                Some(("subdirectory", directory)) => found.below(Some(&decoded(directory)))?,
                Some(("commit", commit)) => found.locked(commit.parse()?),
                Some(("egg", _)) => found,
                _ => return Err(GitReferenceError::Fragment(word.to_owned())),
            };
        }
        Ok(found)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "7dff383e825a2a635022027086925c634969f463";

    #[track_caller]
    fn check(text: &str, expected: Result<&str, &str>) {
        let found = text.replace("COMMIT", COMMIT).parse::<GitReference>();
        let shown = found.map(|reference| reference.to_string()).map_err(|error| error.to_string());
        let wanted = expected.map(|text| text.replace("COMMIT", COMMIT)).map_err(str::to_owned);
        assert_eq!(shown, wanted, "{text}");
    }

    #[test]
    fn a_reference_names_a_repository_a_revision_and_a_directory() {
        for text in [
            "git+https://host/team/app.git",
            "git+https://me:secret@host/team/app@v1.0",
            "git+ssh://git@host/team/app.git@feature/x",
            "git+file:///srv/app@main#commit=COMMIT&subdirectory=python/app",
            "git+https://host/app@COMMIT",
        ] {
            check(text, Ok(text));
        }
        check(
            "git+https://host/app@v1#egg=app&subdirectory=./a%2Fb/",
            Ok("git+https://host/app@v1#subdirectory=a/b"),
        );
        check("git+https://host/app#subdirectory=.", Ok("git+https://host/app"));
    }

    #[test]
    fn what_git_could_misread_is_refused() {
        let scheme = |scheme: &str| {
            format!(
                "repositories are fetched by `https`, `ssh`, `http` or from a `file`, and it says `{scheme}`"
            )
        };
        check("git+git://host/app", Err(&scheme("git")));
        check("git+ext::sh -c true", Err(&scheme("ext")));
        check("git+host", Err("it is not a URL behind `git+`"));
        for revision in ["--upload-pack=x", "a:b", "v1^", "a..b", "", "HEAD~1", "+main", "a b"] {
            let refused = format!("`{revision}` is not the name of a branch, tag or commit");
            check(&format!("git+https://host/app@{revision}"), Err(&refused));
        }
        for directory in ["../x", "/etc", "a/../../b"] {
            let refused = format!("its subdirectory `{directory}` leads out of the repository");
            check(&format!("git+https://host/app#subdirectory={directory}"), Err(&refused));
        }
        check("git+https://host/app#md5=0", Err("`md5=0` behind `#` means nothing for a repository"));
        check("git+https://host/app#commit=1", Err("`1` is not a commit: 40 hexadecimal digits"));
    }

    #[test]
    fn a_remote_is_a_url_or_what_git_takes_for_one() {
        let check = |text: &str, expected: &str| {
            assert_eq!(GitReference::of_remote(text).unwrap().to_string(), expected);
        };
        check("git@host:team/app.git", "git+ssh://git@host/team/app.git");
        check("https://host/team/app", "git+https://host/team/app");
        assert!(GitReference::of_remote("../app").is_err());
    }

    #[test]
    fn a_login_is_neither_shown_nor_part_of_what_is_asked() {
        let read = |text: &str| text.parse::<GitReference>().unwrap();
        let shown = |text: &str| read(text).without_login().to_string();
        assert_eq!(shown("git+https://me:secret@host/app@v1"), "git+https://host/app@v1");
        assert_eq!(shown("git+ssh://git:secret@host/app"), "git+ssh://git@host/app");
        assert_eq!(shown("git+https://host/app?token=secret"), "git+https://host/app");
        let locked = format!("git+https://host/app@v1#commit={COMMIT}");
        assert!(read("git+https://me@host/app@v1").asks_as(&read(&locked)));
        assert!(!read("git+https://host/app@v2").asks_as(&read(&locked)));
        assert!(!read("git+https://host/app@v1#subdirectory=a").asks_as(&read(&locked)));
    }
}

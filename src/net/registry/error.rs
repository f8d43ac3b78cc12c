//! The refusals of registries, and the reasons why one cannot be used.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;

use super::logins::LoginError;
use crate::failure::Hinted;
use crate::oci::Digest;

/// The characters of a registry's own words that are shown.
const MOST_SAID: usize = 300;

/// The reason why a registry cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RegistryError {
    #[error(transparent)]
    Refused(Box<RegistryRefusal>),
    #[error("`{registry}` does not have `{image}`")]
    NoImage { registry: String, image: String },
    #[error("`{registry}` sent another document for `{image}`: expected {expected}, got {got}")]
    OtherDocument { registry: String, image: String, expected: Digest, got: Digest },
    #[error("`{registry}` noted another digest for `{image}`: expected {expected}, got {got}")]
    OtherDigest { registry: String, image: String, expected: Digest, got: String },
    #[error("`{registry}` takes an upload to `{repository}` and does not say where to")]
    NoLocation { registry: String, repository: String },
    #[error("`{registry}` did not take the blob {digest} for `{repository}` in {attempts} attempts")]
    Unfinished { registry: String, repository: String, digest: Digest, attempts: u32 },
    #[error("the certificate or key `{path}` for `{registry}` cannot be used: {reason}")]
    Certificate { registry: String, path: PathBuf, reason: String },
    #[error("`{path}` cannot be used: {reason}")]
    Configuration { path: PathBuf, reason: String },
    #[error("`{image}` is of a registry that this machine blocks")]
    Blocked { image: String },
    #[error("`{registry}` is no host of a registry")]
    Host { registry: String },
    #[error(transparent)]
    Login(#[from] LoginError),
}

impl RegistryError {
    /// Returns whether the registry answered that it does not have what was asked for.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NoImage { .. } => true,
            Self::Refused(refusal) => refusal.status == StatusCode::NOT_FOUND,
            _ => false,
        }
    }
}

impl Hinted for RegistryError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused(refusal) => return refusal.hint(),
            Self::NoImage { .. } => {
                "check the name and the tag; a locked image that was removed is replaced by `imgforge lock --upgrade=base`".into()
            }
            Self::OtherDocument { .. } | Self::OtherDigest { .. } => {
                "nothing of it is believed; a proxy before the registry may be out of step: try again, or name the registry itself".into()
            }
            Self::NoLocation { .. } | Self::Unfinished { .. } => {
                "a proxy before the registry may be in the way: try again, or push past it".into()
            }
            Self::Certificate { .. } => "mend or remove the file; certificates are PEM".into(),
            Self::Configuration { .. } => "mend the file: containers-registries.conf(5) describes it".into(),
            Self::Blocked { .. } => "registries.conf says so, in ~/.config/containers or /etc/containers".into(),
            Self::Host { .. } => "write HOST[:PORT]".into(),
            Self::Login(error) => return error.hint(),
        })
    }
}

/// The purpose of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessPurpose {
    /// To read.
    Pull,
    /// To write.
    Push,
}

impl fmt::Display for AccessPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pulling from",
            Self::Push => "pushing to",
        })
    }
}

/// An answer by which a registry, or its token server, refuses something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryRefusal {
    /// The registry's name.
    pub registry: String,
    /// The repository that it was about.
    pub repository: String,
    /// The purpose of the request.
    pub purpose: AccessPurpose,
    /// The HTTP status.
    pub status: StatusCode,
    /// The registry's own words.
    pub said: String,
    /// The digests that they name.
    pub digests: BTreeSet<Digest>,
    /// True if a login was sent along.
    pub logged_in: bool,
    /// The wait that it asks for.
    pub after: Option<Duration>,
}

impl std::error::Error for RegistryRefusal {}

impl fmt::Display for RegistryRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { registry, repository, purpose, status, said, .. } = self;
        write!(f, "`{registry}` answered {status} to {purpose} `{repository}`")?;
        if said.is_empty() { Ok(()) } else { write!(f, ": {said}") }
    }
}

impl RegistryRefusal {
    /// Returns whether the same request may be granted later: the registry is busy, or counts requests.
    pub fn may_pass(&self) -> bool {
        let status = self.status.as_u16();
        matches!(status, 408 | 429)
            || (self.status.is_server_error() && self.status != StatusCode::NOT_IMPLEMENTED)
            || (status == 403 && self.is_rate_limit())
    }

    /// GHCR says by 403 that it counts requests.
    fn is_rate_limit(&self) -> bool {
        self.status == StatusCode::TOO_MANY_REQUESTS
            || self.after.is_some()
            || self.said.to_ascii_lowercase().contains("rate limit")
    }
}

impl Hinted for RegistryRefusal {
    fn hint(&self) -> Option<String> {
        let Self { registry, repository, .. } = self;
        Some(match (self.status.as_u16(), self.purpose) {
            (403 | 429, _) if self.is_rate_limit() => {
                let wait = match self.after {
                    Some(after) => format!("wait {} s", after.as_secs()),
                    None => "wait some minutes".to_owned(),
                };
                let login = if self.logged_in { "" } else { ", or log in: anonymous requests are counted most" };
                format!("the registry limits requests: {wait}{login}; what has arrived is not sent again")
            }
            (401, _) if !self.logged_in => {
                format!("log in with `docker login {registry}` or `podman login {registry}`; check the image's name as well")
            }
            (401, _) => format!("the login for `{registry}` is refused or has run out: log in again"),
            (403, AccessPurpose::Pull) => format!("the login may not read `{repository}`: ask its owner for the right to pull"),
            (403, AccessPurpose::Push) => format!("the login may not write `{repository}`: ask its owner for the right to push"),
            (404, AccessPurpose::Pull) => {
                "check the image's name; registries also say so of private repositories: log in for those".into()
            }
            (404, AccessPurpose::Push) => format!("create the repository `{repository}` first, if `{registry}` makes none by itself"),
            (413, _) => "the registry, or a proxy before it, takes no request of this size: lower `layers: {max-size: …}`, or raise its limit".into(),
            (500..=599, _) => "the registry fails, or a proxy before it does: try again later; what has arrived is not sent again".into(),
            _ => format!("see what `{registry}` says, and check the name `{repository}`"),
        })
    }
}

/// The digests in the body of a refusal: those of blobs that a registry lacks stand in its `detail`, in various forms.
pub(super) fn digests(body: &[u8]) -> BTreeSet<Digest> {
    const PREFIX: &str = "sha256:";
    let text = String::from_utf8_lossy(body);
    let at = |(start, _): (usize, &str)| text.get(start..start + PREFIX.len() + 64)?.parse().ok();
    text.match_indices(PREFIX).filter_map(at).collect()
}

/// The words in the body of a refusal.
///
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes>
pub(super) fn said(body: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct ErrorBody {
        errors: Vec<ErrorEntry>,
        details: Option<String>,
        message: Option<String>,
    }
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct ErrorEntry {
        code: String,
        message: String,
    }
    let text = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(told) => {
            let errors = told.errors.into_iter().take(3).map(|one| match one.message.is_empty() {
                true => one.code,
                false => format!("{}: {}", one.code, one.message),
            });
            errors.chain(told.details).chain(told.message).collect::<Vec<_>>().join("; ")
        }
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            if text.trim_start().starts_with('<') { String::new() } else { text.into_owned() }
        }
    };
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(MOST_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, purpose: AccessPurpose, said: &str, logged_in: bool) -> RegistryRefusal {
        RegistryRefusal {
            registry: "registry.test".into(),
            repository: "team/app".into(),
            purpose,
            status: StatusCode::from_u16(status).unwrap(),
            said: said.into(),
            digests: BTreeSet::new(),
            logged_in,
            after: None,
        }
    }

    #[test]
    fn every_refusal_names_registry_repository_and_the_next_step() {
        let check = |status, purpose, text: &str, logged_in, hint: &str| {
            let refusal = refusal(status, purpose, text, logged_in);
            let told = refusal.to_string();
            assert!(told.contains("`registry.test`") && told.contains("`team/app`"), "{told}");
            assert!(told.contains(&status.to_string()) && told.ends_with(text), "{told}");
            let given = refusal.hint().unwrap();
            assert!(given.contains(hint), "{given}");
        };
        check(401, AccessPurpose::Pull, "UNAUTHORIZED: x", false, "log in with `docker login registry.test`");
        check(401, AccessPurpose::Push, "", true, "log in again");
        check(403, AccessPurpose::Push, "DENIED: x", true, "right to push");
        check(403, AccessPurpose::Pull, "DENIED: x", true, "right to pull");
        check(
            403,
            AccessPurpose::Push,
            "you have exceeded a secondary rate limit",
            true,
            "limits requests: wait some minutes;",
        );
        check(404, AccessPurpose::Pull, "", false, "private repositories");
        check(404, AccessPurpose::Push, "NAME_UNKNOWN: x", true, "create the repository `team/app`");
        check(413, AccessPurpose::Push, "", true, "max-size");
        check(429, AccessPurpose::Pull, "TOOMANYREQUESTS: x", false, "or log in");
        check(503, AccessPurpose::Pull, "", false, "try again later");
        check(418, AccessPurpose::Pull, "", false, "check the name");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let passes = |status, said| refusal(status, AccessPurpose::Push, said, true).may_pass();
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(passes(status, ""), "{status}");
        }
        for status in [400, 401, 403, 404, 405, 413, 501] {
            assert!(!passes(status, ""), "{status}");
        }
        assert!(passes(403, "You have exceeded a secondary rate limit"));
    }

    #[test]
    fn the_digests_that_a_registry_names_are_read_from_every_form() {
        let [one, two] = ["one", "two"].map(Digest::of);
        for body in [
            format!(r#"{{"errors":[{{"code":"X","detail":{{"digest":"{one}"}}}},{{"detail":"{two}"}}]}}"#),
            format!("unknown blob {two}, {one}: sha256:12"),
        ] {
            assert_eq!(digests(body.as_bytes()), BTreeSet::from([one, two]), "{body}");
        }
        assert!(digests(b"sha256:\xff\xff sha256:").is_empty());
    }

    #[test]
    fn a_registrys_words_are_read_from_every_form_and_bounded() {
        let check = |body: &str, expected: &str| assert_eq!(said(body.as_bytes()), expected);
        check(
            r#"{"errors":[{"code":"DENIED","message":"no","detail":{"x":1}},{"code":"X"}]}"#,
            "DENIED: no; X",
        );
        check(r#"{"details":"incorrect username or password"}"#, "incorrect username or password");
        check("too\nmany\n", "too many");
        check("<html><body>413</body></html>", "");
        check("", "");
        assert_eq!(said(&[b'x'; 10_000]).len(), MOST_SAID);
    }
}

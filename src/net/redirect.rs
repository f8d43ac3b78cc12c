//! Redirects: how far they are followed, and that none leads from HTTPS to plain HTTP.
//!
//! A login goes no further than the origin that it is for: the client drops it where a redirect leads elsewhere, and sends no
//! `Referer`, whose query may be a secret.

use std::error::Error;

use reqwest::redirect;
use url::Url;

use crate::credentials::redacted;
use crate::failure::Hinted;

/// The most redirects that one request follows: indexes and mirrors need one or two, pip and browsers follow 20 or 30.
const MOST_REDIRECTS: usize = 10;

/// The reason why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum RedirectError {
    #[error("it redirects from HTTPS to plain HTTP, to `{to}`")]
    Downgrade { to: String },
    #[error("it redirects more than {MOST_REDIRECTS} times")]
    TooMany,
}

impl Hinted for RedirectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Downgrade { .. } => {
                "nothing was sent there: name the server's own https URL, or ask its operator to redirect to one".into()
            }
            Self::TooMany => "check the URL".into(),
        })
    }
}

/// The client's policy.
pub(super) fn policy() -> redirect::Policy {
    redirect::Policy::custom(|attempt| match check(attempt.previous(), attempt.url()) {
        Ok(()) => attempt.follow(),
        Err(refused) => attempt.error(refused),
    })
}

/// Refuses to go on to `next`, where `previous` were asked before.
pub(super) fn check(previous: &[Url], next: &Url) -> Result<(), RedirectError> {
    if previous.len() > MOST_REDIRECTS {
        return Err(RedirectError::TooMany);
    }
    let was_secure = previous.iter().any(|url| url.scheme() == "https");
    match was_secure && next.scheme() != "https" {
        true => Err(RedirectError::Downgrade { to: redacted(next) }),
        false => Ok(()),
    }
}

/// The refusal among the causes of an error of the client.
pub(super) fn refusal(error: &reqwest::Error) -> Option<RedirectError> {
    let causes = std::iter::successors(error.source(), |cause| (**cause).source());
    causes.filter_map(|cause| cause.downcast_ref::<RedirectError>()).next().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_redirect_leads_from_https_to_http() {
        let refused = |to: &str| Err(RedirectError::Downgrade { to: to.into() });
        let check = |previous: &[&str], next: &str, expected: Result<(), RedirectError>| {
            let previous: Vec<Url> = previous.iter().map(|url| Url::parse(url).unwrap()).collect();
            assert_eq!(super::check(&previous, &Url::parse(next).unwrap()), expected, "{previous:?} {next}");
        };
        check(&["https://a/simple/"], "http://a/simple/", refused("http://a/simple/"));
        check(&["https://a/"], "http://u:pw@b:8080/x?token=t", refused("http://b:8080/x"));
        check(&["https://a:8443/"], "http://a:8443/", refused("http://a:8443/"));
        check(&["http://a/", "https://a/"], "http://a/", refused("http://a/"));
        check(&["https://a/"], "ftp://a/", refused("ftp://a/"));
        check(&["https://a/"], "https://b/", Ok(()));
        check(&["http://a/"], "https://a/", Ok(()));
        check(&["http://a/"], "http://b/", Ok(()));
    }

    #[test]
    fn redirects_come_to_an_end() {
        let url = Url::parse("https://a/").unwrap();
        assert_eq!(check(&vec![url.clone(); MOST_REDIRECTS], &url), Ok(()));
        assert_eq!(check(&vec![url.clone(); MOST_REDIRECTS + 1], &url), Err(RedirectError::TooMany));
    }
}

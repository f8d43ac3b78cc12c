//! Secrets, and those in URLs: they are used for requests, and neither shown nor kept.
//!
//! <https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1>

use std::fmt;

use url::Url;

/// Text that is used and never shown: a password, a token.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret that `text` is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for who it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `url` without user and password.
pub fn without_credentials(url: &Url) -> Url {
    let mut url = url.clone();
    // Only URLs without a host refuse, and those have no credentials.
    url.set_username("").and_then(|()| url.set_password(None)).ok();
    url
}

/// `url` without user, password, query and fragment, any of which may be a secret.
pub fn without_secrets(url: &Url) -> Url {
    let mut url = without_credentials(url);
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// `url` as it may be shown.
pub fn redacted(url: &Url) -> String {
    without_secrets(url).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_may_be_a_secret_is_shown() {
        let check = |url: &str, expected: &str| {
            let url = Url::parse(url).unwrap();
            assert_eq!(redacted(&url), expected);
            assert_eq!(without_credentials(&url).query(), url.query());
        };
        check("https://me:p%40ss@localhost/simple/?token=s3cret#fragment", "https://localhost/simple/");
        check("https://token@localhost:8080", "https://localhost:8080/");
        check("https://:password@localhost/", "https://localhost/");
        check("file:///srv/wheels", "file:///srv/wheels");
    }
}

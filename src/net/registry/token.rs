//! Tokens, and the servers that give them.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>, and for identity tokens
//! <https://distribution.github.io/distribution/spec/auth/oauth/>

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Deserialize;
use url::Url;

use super::logins::RegistryLogin;
use crate::credentials::Secret;

/// The bytes of a token server's answer: tokens of cloud registries have some KB.
pub(super) const LONGEST_REPLY: u64 = 1 << 20;
/// The time for which a token is good where nothing is said of it.
const USUAL_LIFE: Duration = Duration::from_secs(60);
/// The time before its end from which on a token is not used.
const SPARE: Duration = Duration::from_secs(10);

/// A token for some scopes.
#[derive(Clone)]
pub(super) struct AccessToken {
    pub value: Secret,
    until: Instant,
}

impl AccessToken {
    pub(super) fn is_good(&self) -> bool {
        Instant::now() < self.until
    }
}

/// A question to a token server.
pub(super) struct TokenRequest {
    pub url: Url,
    /// The body of a POST; a GET has none.
    pub form: Option<String>,
    /// User and password.
    pub basic: Option<(String, Secret)>,
}

/// The question for a token of these scopes.
pub(super) fn request(
    realm: &Url,
    service: Option<&str>,
    scopes: &BTreeSet<String>,
    login: Option<&RegistryLogin>,
) -> TokenRequest {
    if let Some(RegistryLogin::Identity(token)) = login {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("client_id", "imgforge");
        form.extend_pairs(service.map(|service| ("service", service)));
        form.append_pair("scope", &scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
        form.append_pair("refresh_token", token.reveal());
        return TokenRequest { url: realm.clone(), form: Some(form.finish()), basic: None };
    }
    let mut url = realm.clone();
    url.query_pairs_mut()
        .extend_pairs(service.map(|service| ("service", service)))
        .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
    let basic = match login {
        Some(RegistryLogin::Password { user, password }) => {
            url.query_pairs_mut().append_pair("account", user);
            Some((user.clone(), password.clone()))
        }
        _ => None,
    };
    TokenRequest { url, form: None, basic }
}

/// The token in an answer; `None` where it has none.
pub(super) fn parse(body: &[u8]) -> Option<AccessToken> {
    #[derive(Deserialize)]
    struct TokenReply {
        token: Option<String>,
        access_token: Option<String>,
        expires_in: Option<u64>,
    }
    let answer: TokenReply = serde_json::from_slice(body).ok()?;
    let value = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
    // Older clients were given 60 s at least, whatever is said.
    let life = answer.expires_in.map_or(USUAL_LIFE, Duration::from_secs).clamp(SPARE * 2, SPARE * 6 * 60);
    Some(AccessToken { value: Secret::new(value), until: Instant::now() + life - SPARE })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_asked_for_as_the_login_wants() {
        let realm = Url::parse("https://auth.test/token?x=1").unwrap();
        let scopes = BTreeSet::from(["repository:a/b:pull".to_owned(), "repository:c:pull,push".to_owned()]);
        let check = |login: Option<RegistryLogin>, url: &str, form: Option<&str>, basic: bool| {
            let asked = request(&realm, Some("registry.test"), &scopes, login.as_ref());
            assert_eq!(
                (asked.url.as_str(), asked.form.as_deref(), asked.basic.is_some()),
                (url, form, basic)
            );
        };
        let query = "https://auth.test/token?x=1&service=registry.test&scope=repository%3Aa%2Fb%3Apull&scope=repository%3Ac%3Apull%2Cpush";
        check(None, query, None, false);
        let password = RegistryLogin::Password { user: "me".into(), password: Secret::new("p") };
        check(Some(password), &format!("{query}&account=me"), None, true);
        let form = "grant_type=refresh_token&client_id=imgforge&service=registry.test&scope=repository%3Aa%2Fb%3Apull+repository%3Ac%3Apull%2Cpush&refresh_token=t%26";
        check(Some(RegistryLogin::Identity(Secret::new("t&"))), realm.as_str(), Some(form), false);
    }

    #[test]
    fn a_token_is_read_under_both_names() {
        let read = |body: &str| {
            parse(body.as_bytes()).map(|token| (token.value.reveal().to_owned(), token.is_good()))
        };
        assert_eq!(read(r#"{"token":"a","expires_in":300}"#), Some(("a".into(), true)));
        assert_eq!(read(r#"{"access_token":"b"}"#), Some(("b".into(), true)));
        assert_eq!(read(r#"{"token":"","access_token":"b","expires_in":0}"#), Some(("b".into(), true)));
        assert_eq!(read(r#"{"token":"c","expires_in":18446744073709551615}"#), Some(("c".into(), true)));
        assert_eq!(read("{}"), None);
        assert_eq!(read("<html>"), None);
    }
}

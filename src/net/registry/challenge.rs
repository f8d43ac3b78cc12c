//! The logins that a registry asks for.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/>

use std::collections::BTreeSet;

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};
use url::Url;

/// A login that a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user and a password.
    Basic,
    /// A token of a token server.
    Bearer {
        /// The token server.
        realm: Url,
        /// The registry's name there; some leave it out.
        service: Option<String>,
        /// The scopes that the request needs.
        scopes: BTreeSet<String>,
    },
}

/// The challenge in the headers of a 401: for a token rather than for a password.
pub(super) fn challenge(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let parsed = values.filter_map(|value| http_auth::parse_challenges(value).ok()).flatten();
    let mut understood: Vec<Challenge> = parsed.filter_map(|challenge| understand(&challenge)).collect();
    understood.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    understood.into_iter().next()
}

fn understand(challenge: &http_auth::ChallengeRef<'_>) -> Option<Challenge> {
    let parameter = |name: &str| {
        let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    if challenge.scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    let realm = parameter("realm").filter(|_| challenge.scheme.eq_ignore_ascii_case("bearer"))?;
    let realm =
        Url::parse(&realm).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())?;
    let scopes = parameter("scope").unwrap_or_default();
    Some(Challenge::Bearer {
        realm,
        service: parameter("service").filter(|service| !service.is_empty()),
        scopes: scopes.split_whitespace().map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(headers: &[&str], expected: &str) {
        let headers = headers.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap()));
        let shown = match challenge(&headers.collect()) {
            Some(Challenge::Basic) => "basic".to_owned(),
            Some(Challenge::Bearer { realm, service, scopes }) => format!("{realm} {service:?} {scopes:?}"),
            None => "none".to_owned(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn challenges_are_read_in_every_form() {
        const BEARER: &str = r#"Bearer realm="https://auth.test/token",service="registry.test",scope="repository:a/b:pull,push""#;
        check(&[BEARER], r#"https://auth.test/token Some("registry.test") {"repository:a/b:pull,push"}"#);
        check(
            &["Basic realm=\"x\"", BEARER],
            r#"https://auth.test/token Some("registry.test") {"repository:a/b:pull,push"}"#,
        );
        check(
            &[&format!("Basic realm=\"x\", {BEARER}")],
            r#"https://auth.test/token Some("registry.test") {"repository:a/b:pull,push"}"#,
        );
        check(&[r#"bearer Realm="https://auth.test/token""#], "https://auth.test/token None {}");
        check(&[r#"BASIC realm="a, b=\"c\"", charset="UTF-8""#], "basic");
        check(&[r#"Bearer realm="/token""#], "none");
        check(&[r#"Bearer realm="file:///etc/passwd""#], "none");
        check(&["Negotiate"], "none");
        check(&["\"", ""], "none");
        check(&[], "none");
    }
}

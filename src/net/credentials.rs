//! Logins by server, and the servers that get them.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode_str;
use url::Url;

use super::netrc::{Login, Netrc};

/// The logins of a build, by the server they are for.
///
/// | login | goes to |
/// |---|---|
/// | in a URL | the origin of that URL: scheme, host and port |
/// | netrc's, of a host | the host; not by plain HTTP where the user names it by HTTPS only |
/// | netrc's default | the origins of the indexes and mirrors that the user names: never one that a page links to |
#[derive(Default)]
pub(super) struct Credentials {
    /// By origin: scheme, host and port.
    origins: BTreeMap<String, Login>,
    /// The origins that the user names.
    named: BTreeSet<String>,
    /// The hosts that the user names, by scheme.
    named_hosts: BTreeSet<(String, String)>,
    netrc: Netrc,
}

impl Credentials {
    pub(super) fn new(netrc: Netrc) -> Self {
        Self { netrc, ..Self::default() }
    }

    /// Notes a server that the user names, and its login where the URL has one.
    pub(super) fn remember(&mut self, url: &Url) {
        let origin = url.origin().ascii_serialization();
        if let Some(login) = login_in(url) {
            self.origins.insert(origin.clone(), login);
        }
        self.named.insert(origin);
        self.named_hosts.extend(url.host_str().map(|host| (url.scheme().to_owned(), host.to_owned())));
    }

    pub(super) fn login(&self, url: &Url) -> Option<Login> {
        let origin = url.origin().ascii_serialization();
        let of_default = || self.netrc.default.clone().filter(|_| self.named.contains(&origin));
        login_in(url).or_else(|| self.origins.get(&origin).cloned()).or_else(|| {
            match self.netrc.hosts.get(url.host_str()?) {
                Some(login) => Some(login.clone()).filter(|_| !self.is_downgrade(url)),
                None => of_default(),
            }
        })
    }

    /// Returns whether `url` is plain HTTP on a host that the user names by HTTPS only.
    fn is_downgrade(&self, url: &Url) -> bool {
        let is_named = |scheme: &str| {
            url.host_str()
                .is_some_and(|host| self.named_hosts.contains(&(scheme.to_owned(), host.to_owned())))
        };
        url.scheme() == "http" && is_named("https") && !is_named("http")
    }
}

fn login_in(url: &Url) -> Option<Login> {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = url.password().map(decode);
    (!url.username().is_empty() || password.is_some())
        .then(|| Login { user: decode(url.username()), password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_goes_to_the_server_that_it_is_for() {
        let netrc =
            "machine files login u password p\nmachine index login i password p\ndefault login d password p";
        let mut credentials = Credentials::new(Netrc::parse(netrc));
        for url in ["https://me:pw@private/simple", "https://index/simple", "http://plain:8080/simple"] {
            credentials.remember(&Url::parse(url).unwrap());
        }
        let check = |url: &str, expected: Option<&str>| {
            let login = credentials.login(&Url::parse(url).unwrap());
            assert_eq!(login.map(|login| login.user).as_deref(), expected, "{url}");
        };
        check("https://private/files/a.whl", Some("me"));
        check("https://private:8443/a.whl", None);
        check("http://private/a.whl", None);
        check("https://sub.private/a.whl", None);
        check("https://private.evil/a.whl", None);
        check("https://files/a.whl", Some("u"));
        check("http://files/a.whl", Some("u"));
        check("https://index/a.whl", Some("i"));
        check("http://index/a.whl", None);
        check("http://plain:8080/a.whl", Some("d"));
        check("http://plain:8081/a.whl", None);
        check("http://linked/a.whl", None);
        check("https://x:y@linked/a.whl", Some("x"));
    }
}

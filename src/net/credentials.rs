//! Logins by server.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use url::Url;

/// A user, and the password where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub user: String,
    pub password: Option<String>,
}

/// The logins of a build, by the server they are for.
#[derive(Debug, Default)]
pub(super) struct Credentials {
    /// By origin: scheme, host and port.
    origins: BTreeMap<String, Login>,
    /// By host, from netrc.
    hosts: BTreeMap<String, Login>,
    /// For hosts that netrc does not name.
    default: Option<Login>,
}

impl Credentials {
    /// Reads `machine HOST login USER password PASSWORD` entries and `default`.
    ///
    /// <https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html>
    pub fn from_netrc(text: &str) -> Self {
        let mut credentials = Self::default();
        let mut words = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(str::split_whitespace);
        let (mut host, mut login) = (None::<Option<String>>, Login { user: String::new(), password: None });
        let mut keep = |host: Option<Option<String>>, login: &mut Login| {
            let login = std::mem::replace(login, Login { user: String::new(), password: None });
            match host {
                Some(Some(host)) => drop(credentials.hosts.entry(host).or_insert(login)),
                Some(None) => credentials.default = Some(login),
                None => {}
            }
        };
        while let Some(word) = words.next() {
            match word {
                "machine" => {
                    keep(host.take(), &mut login);
                    host = Some(words.next().map(str::to_owned));
                }
                "default" => {
                    keep(host.take(), &mut login);
                    host = Some(None);
                }
                "login" => login.user = words.next().unwrap_or_default().to_owned(),
                "password" => login.password = words.next().map(str::to_owned),
                _ => {}
            }
        }
        keep(host, &mut login);
        credentials
    }

    pub fn remember(&mut self, url: &Url) {
        if let Some(login) = login_in(url) {
            self.origins.insert(url.origin().ascii_serialization(), login);
        }
    }

    pub fn login(&self, url: &Url) -> Option<Login> {
        login_in(url)
            .or_else(|| self.origins.get(&url.origin().ascii_serialization()).cloned())
            .or_else(|| self.hosts.get(url.host_str()?).cloned())
            .or_else(|| self.default.clone())
    }
}

fn login_in(url: &Url) -> Option<Login> {
    let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let password = url.password().map(decode);
    (!url.username().is_empty() || password.is_some())
        .then(|| Login { user: decode(url.username()), password })
}

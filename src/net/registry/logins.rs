//! Logins for registries, as docker and podman keep them.
//!
//! <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::helper::{self, HelperLogin};
use crate::credentials::Secret;
use crate::failure::Hinted;
use crate::oci::ImageReference;
use crate::plain_file;

/// The bytes of a file of logins: each login takes some KB.
const LONGEST_FILE: u64 = 4 << 20;

/// The user by which helpers say that the secret is an identity token.
const TOKEN_USER: &str = "<token>";

/// A login for a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RegistryLogin {
    /// A user and a password.
    Password { user: String, password: Secret },
    /// A token that the token server exchanges for others.
    Identity(Secret),
    /// A token for the registry itself.
    Registry(Secret),
}

/// The reason why a login cannot be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum LoginError {
    #[error("could not read the logins in `{path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error("`{origin}` has no logins as docker and podman write them")]
    Form { origin: String },
    #[error("`{origin}` names the credential helper `{name}`, which is no name of a program")]
    Name { origin: String, name: String },
    #[error("the credential helper `{program}` gave no login for `{server}`")]
    Helper { program: String, server: String, origin: String, source: io::Error },
}

impl Hinted for LoginError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read { .. } => "make the file readable, or name another one in REGISTRY_AUTH_FILE".into(),
            Self::Form { .. } => "log in again with `docker login` or `podman login`, which write it".into(),
            Self::Name { .. } => "write the part behind `docker-credential-`".into(),
            Self::Helper { origin, source, .. } if source.kind() == io::ErrorKind::NotFound => {
                format!("install it, or remove it from {origin}")
            }
            Self::Helper { program, .. } => format!("try it: `echo SERVER | {program} get`; or log in again"),
        })
    }
}

/// The places of a machine's logins.
#[derive(Debug, Clone, Default)]
pub struct Logins {
    /// The content of a variable, which goes before all files.
    text: Option<Secret>,
    /// The file that holds before others.
    files: Vec<PathBuf>,
}

impl Logins {
    /// The places that the environment names, of the user `uid`.
    ///
    /// `REGISTRY_AUTH_FILE` names the only file. `DOCKER_CONFIG` goes before the files of podman, since somebody has set it.
    pub fn of(variable: &dyn Fn(&str) -> Option<String>, uid: u32) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(PathBuf::from);
        let text = set("DOCKER_AUTH_CONFIG").map(Secret::new);
        if let Some(file) = path("REGISTRY_AUTH_FILE") {
            return Self { text, files: vec![file] };
        }
        let home = path("HOME");
        let in_home = |below: &str| home.as_ref().map(|home| home.join(below));
        let runtime = path("XDG_RUNTIME_DIR").map(|directory| directory.join("containers"));
        let runtime = runtime.unwrap_or_else(|| Path::new("/run/containers").join(uid.to_string()));
        let config = path("XDG_CONFIG_HOME").or_else(|| in_home(".config"));
        let files = [
            path("DOCKER_CONFIG").map(|directory| directory.join("config.json")),
            Some(runtime.join("auth.json")),
            config.map(|config| config.join("containers/auth.json")),
            in_home(".docker/config.json").filter(|_| set("DOCKER_CONFIG").is_none()),
        ];
        Self { text, files: files.into_iter().flatten().collect() }
    }

    /// The login for the repository of `reference`; the first place that has one holds.
    pub(super) fn find(&self, reference: &ImageReference) -> Result<Option<RegistryLogin>, LoginError> {
        if let Some(text) = &self.text {
            let document = parse(text.reveal().as_bytes(), "DOCKER_AUTH_CONFIG")?;
            if let Some(login) = document.login(reference)? {
                return Ok(Some(login));
            }
        }
        for path in &self.files {
            let bytes = match plain_file::read(path, LONGEST_FILE) {
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                bytes => bytes.map_err(|source| LoginError::Read { path: path.clone(), source })?,
            };
            if let Some(login) = parse(&bytes, &path.display().to_string())?.login(reference)? {
                return Ok(Some(login));
            }
        }
        Ok(None)
    }
}

/// A file of logins.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct AuthDocument {
    #[serde(skip)]
    origin: String,
    auths: BTreeMap<String, AuthEntry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct AuthEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// serde's own words may quote a password: they are not kept.
fn parse(bytes: &[u8], origin: &str) -> Result<AuthDocument, LoginError> {
    // podman's file is empty before the first login.
    if bytes.trim_ascii().is_empty() {
        return Ok(AuthDocument::default());
    }
    let document =
        serde_json::from_slice(bytes).map_err(|_| LoginError::Form { origin: origin.to_owned() })?;
    Ok(AuthDocument { origin: origin.to_owned(), ..document })
}

impl AuthDocument {
    /// The login for a repository: of the registry's own helper, of the helper for all, or else in the file itself.
    fn login(&self, reference: &ImageReference) -> Result<Option<RegistryLogin>, LoginError> {
        let own = self.cred_helpers.iter().find(|(key, _)| is_of(key, reference)).map(|(_, name)| name);
        let helpers = own.into_iter().chain(self.creds_store.iter().filter(|name| !name.is_empty()));
        for helper in helpers {
            if let Some(login) = self.ask(helper, reference)? {
                return Ok(Some(login));
            }
        }
        self.entry(reference)
            .map(|(key, entry)| entry.login(key, &self.origin))
            .transpose()
            .map(Option::flatten)
    }

    /// The entry of the longest path that the repository is below.
    fn entry(&self, reference: &ImageReference) -> Option<(&String, &AuthEntry)> {
        let paths = paths(reference.repository());
        paths.iter().find_map(|path| {
            self.auths.iter().find(|(key, entry)| {
                let (host, below) = key_parts(key);
                names(reference).contains(&host) && below == *path && !entry.is_empty()
            })
        })
    }

    fn ask(&self, helper: &str, reference: &ImageReference) -> Result<Option<RegistryLogin>, LoginError> {
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        if !is_name(helper) {
            return Err(LoginError::Name { origin: self.origin.clone(), name: helper.to_owned() });
        }
        let program = format!("docker-credential-{helper}");
        for server in servers(reference) {
            let answer = helper::ask(&program, &server).map_err(|source| LoginError::Helper {
                program: program.clone(),
                server: server.clone(),
                origin: format!("`{}`", self.origin),
                source,
            })?;
            match answer {
                Some(HelperLogin { user, secret }) if user == TOKEN_USER => {
                    return Ok(Some(RegistryLogin::Identity(secret)));
                }
                Some(HelperLogin { user, secret }) => {
                    return Ok(Some(RegistryLogin::Password { user, password: secret }));
                }
                None => {}
            }
        }
        Ok(None)
    }
}

impl AuthEntry {
    /// With a helper for all, docker leaves an empty entry for each registry.
    fn is_empty(&self) -> bool {
        let all = [&self.auth, &self.password, &self.identitytoken, &self.registrytoken];
        all.iter().all(|text| text.as_deref().unwrap_or_default().is_empty())
    }

    fn login(&self, key: &str, origin: &str) -> Result<Option<RegistryLogin>, LoginError> {
        let told = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = told(&self.registrytoken) {
            return Ok(Some(RegistryLogin::Registry(Secret::new(token))));
        }
        if let Some(token) = told(&self.identitytoken) {
            return Ok(Some(RegistryLogin::Identity(Secret::new(token))));
        }
        if let (Some(user), Some(password)) = (told(&self.username), told(&self.password)) {
            return Ok(Some(RegistryLogin::Password { user, password: Secret::new(password) }));
        }
        let Some(auth) = told(&self.auth) else { return Ok(None) };
        let wrong = || LoginError::Form { origin: format!("{origin}, {key}") };
        let decoded = STANDARD.decode(auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or_else(wrong)?;
        let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
        // Docker once wrote the end of its buffer, too.
        let password = Secret::new(password.trim_end_matches('\0'));
        Ok(Some(RegistryLogin::Password { user: user.to_owned(), password }))
    }
}

/// The names of the registry of a reference.
fn names(reference: &ImageReference) -> [&str; 2] {
    [reference.registry(), reference.host()]
}

/// The names by which helpers are asked: for the default registry the URL under which docker logs in there.
fn servers(reference: &ImageReference) -> Vec<String> {
    let [name, host] = names(reference);
    match name == host {
        true => vec![name.to_owned()],
        false => vec![format!("https://{host}/v1/"), name.to_owned()],
    }
}

fn is_of(key: &str, reference: &ImageReference) -> bool {
    let (host, below) = key_parts(key);
    below.is_empty() && names(reference).contains(&host)
}

/// The host and the path below it that a key names: older files have URLs of the registry's API.
fn key_parts(key: &str) -> (&str, &str) {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let path = bare.unwrap_or(key).trim_end_matches('/');
    let path = ["/v1", "/v2"].iter().find_map(|api| path.strip_suffix(api)).unwrap_or(path);
    path.split_once('/').unwrap_or((path, ""))
}

/// A repository's path and those above it, the longest first; the registry itself is the empty one.
fn paths(repository: &str) -> Vec<&str> {
    let ends = repository.match_indices('/').map(|(at, _)| at).chain([repository.len()]);
    let mut paths: Vec<&str> = ends.map(|end| &repository[..end]).collect();
    paths.push("");
    paths.sort_by_key(|path| std::cmp::Reverse(path.len()));
    paths
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(login: Result<Option<RegistryLogin>, LoginError>) -> String {
        match login {
            Ok(Some(RegistryLogin::Password { user, password })) => format!("{user}:{}", password.reveal()),
            Ok(Some(RegistryLogin::Identity(token))) => format!("identity {}", token.reveal()),
            Ok(Some(RegistryLogin::Registry(token))) => format!("registry {}", token.reveal()),
            Ok(None) => "none".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn check(document: &serde_json::Value, reference: &str, expected: &str) {
        let document = parse(document.to_string().as_bytes(), "auth.json").unwrap();
        assert_eq!(shown(document.login(&reference.parse().unwrap())), expected, "{reference}");
    }

    fn auth(text: &str) -> serde_json::Value {
        json!({"auth": STANDARD.encode(text)})
    }

    #[test]
    fn the_longest_path_that_a_repository_is_below_holds() {
        let document = json!({"auths": {
            "registry.test": auth("host:h:1"),
            "registry.test/team": auth("team:t"),
            "registry.test/team/app": auth("app:a"),
            "registry.test:5000": auth("port:p"),
        }});
        check(&document, "registry.test/other", "host:h:1");
        check(&document, "registry.test/team/other", "team:t");
        check(&document, "registry.test/team/app", "app:a");
        check(&document, "registry.test/team/app/below", "app:a");
        check(&document, "registry.test/teams", "host:h:1");
        check(&document, "registry.test:5000/team", "port:p");
        check(&document, "other.test/team", "none");
    }

    #[test]
    fn keys_and_entries_are_read_in_every_form() {
        let default: ImageReference = "python".parse().unwrap();
        let one = |key: &str, entry: serde_json::Value| json!({"auths": {key: entry}});
        check(&one(&format!("https://{}/v1/", default.host()), auth("u:p")), "python", "u:p");
        check(&one(default.registry(), auth("u:p")), "python", "u:p");
        check(&one("https://registry.test/v2/", auth("u:p\0\0")), "registry.test/a", "u:p");
        check(&one("http://registry.test", auth("u:p")), "registry.test/a", "u:p");
        check(&one("registry.test", json!({"username": "u", "password": "p"})), "registry.test/a", "u:p");
        check(
            &one("registry.test", json!({"auth": STANDARD.encode("u:"), "identitytoken": "t"})),
            "registry.test/a",
            "identity t",
        );
        check(&one("registry.test", json!({"registrytoken": "t"})), "registry.test/a", "registry t");
        check(&one("registry.test", json!({})), "registry.test/a", "none");
        let wrong = "`auth.json, registry.test` has no logins as docker and podman write them";
        check(&one("registry.test", json!({"auth": "s3cret"})), "registry.test/a", wrong);
        assert_eq!(
            shown(Err(parse(b"{\"auths\": s3cret}", "x").err().unwrap())),
            "`x` has no logins as docker and podman write them"
        );
        assert!(parse(b" \n", "x").is_ok());
    }

    #[test]
    fn only_programs_by_name_are_helpers() {
        let document =
            json!({"credHelpers": {"registry.test": "../../bin/sh"}, "auths": {"other.test": auth("u:p")}});
        check(
            &document,
            "registry.test/a",
            "`auth.json` names the credential helper `../../bin/sh`, which is no name of a program",
        );
        check(&document, "other.test/a", "u:p");
    }

    #[test]
    fn the_files_of_docker_and_podman_are_read_in_order() {
        let files = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            let files = Logins::of(&variable, 7).files;
            files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let (home, runtime) = (("HOME", "/h"), ("XDG_RUNTIME_DIR", "/r"));
        let usual = ["/r/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"];
        assert_eq!(files(&[home, runtime]), usual);
        assert_eq!(files(&[]), ["/run/containers/7/auth.json"]);
        let named = files(&[home, runtime, ("DOCKER_CONFIG", "/d"), ("XDG_CONFIG_HOME", "/c")]);
        assert_eq!(named, ["/d/config.json", "/r/containers/auth.json", "/c/containers/auth.json"]);
        assert_eq!(files(&[home, runtime, ("REGISTRY_AUTH_FILE", "/f")]), ["/f"]);
    }
}

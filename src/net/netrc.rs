//! The netrc file: logins by host.
//!
//! <https://www.gnu.org/software/inetutils/manual/html_node/The-_002enetrc-file.html>

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::failure::Hinted;

/// A larger file is no netrc: thousands of entries fit into this one.
const MAX_NETRC: u64 = 1 << 20;

/// A user, and the password where there is one.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Login {
    pub user: String,
    pub password: Option<String>,
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// The logins of a netrc file. `Debug` shows none of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Netrc {
    /// By host.
    pub(super) hosts: BTreeMap<String, Login>,
    /// For hosts that no entry names.
    pub(super) default: Option<Login>,
}

impl fmt::Debug for Netrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Netrc").field("hosts", &self.hosts.len()).finish_non_exhaustive()
    }
}

/// The reason why a netrc file is not used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum NetrcError {
    #[error("it could not be read")]
    Read(#[from] io::Error),
    #[error("it is no regular file")]
    Irregular,
    #[error("it has more than {MAX_NETRC} bytes")]
    TooLarge,
    #[error("others than its owner may write it")]
    Writable,
    #[error("it belongs to another user")]
    Foreign,
}

impl Hinted for NetrcError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Read(source) => return source.hint(),
            Self::Irregular | Self::TooLarge => "name a netrc file in NETRC".into(),
            Self::Writable => "run `chmod go-w` on it".into(),
            Self::Foreign => "copy it, and name the copy in NETRC".into(),
        })
    }
}

impl Netrc {
    /// Reads the file at `path`; `None` when there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, NetrcError> {
        // A FIFO is opened without waiting for its other end.
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let file = match File::options().read(true).custom_flags(flags).open(path) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            file => file?,
        };
        check_file(&file.metadata()?)?;
        let mut text = Vec::new();
        file.take(MAX_NETRC + 1).read_to_end(&mut text)?;
        match text.len() as u64 > MAX_NETRC {
            true => Err(NetrcError::TooLarge),
            false => Ok(Some(Self::parse(&String::from_utf8_lossy(&text)))),
        }
    }

    /// Parses `machine HOST login USER password PASSWORD` entries, and `default`.
    ///
    /// A word may be quoted, and a backslash takes the next character as it is, as in ftp and Python. A `#` begins a comment
    /// where a keyword could stand, and is part of a value otherwise.
    pub fn parse(text: &str) -> Self {
        let mut words = Words(text);
        let mut netrc = Self::default();
        let mut entry: Option<(Option<String>, Login)> = None;
        while let Some(word) = words.next() {
            match (word.as_str(), &mut entry) {
                ("machine", _) => {
                    netrc.add(entry.take());
                    entry = words.next().map(|host| (Some(host), Login::default()));
                }
                ("default", _) => {
                    netrc.add(entry.replace((None, Login::default())));
                }
                ("login" | "user", Some((_, login))) => login.user = words.next().unwrap_or_default(),
                ("password", Some((_, login))) => login.password = words.next(),
                ("login" | "user" | "password" | "account", _) => drop(words.next()),
                ("macdef", _) => words.skip_macro(),
                (word, _) if word.starts_with('#') => words.skip_line(),
                _ => {}
            }
        }
        netrc.add(entry);
        netrc
    }

    /// Adds an entry. The first of a host holds.
    fn add(&mut self, entry: Option<(Option<String>, Login)>) {
        match entry {
            Some((Some(host), login)) => drop(self.hosts.entry(host.to_ascii_lowercase()).or_insert(login)),
            Some((None, login)) => drop(self.default.get_or_insert(login)),
            None => {}
        }
    }
}

/// The file holds passwords: who else may write it could send them elsewhere.
fn check_file(file: &fs::Metadata) -> Result<(), NetrcError> {
    let (owner, us) = (file.uid(), rustix::process::geteuid().as_raw());
    match () {
        () if !file.is_file() => Err(NetrcError::Irregular),
        () if file.len() > MAX_NETRC => Err(NetrcError::TooLarge),
        () if file.mode() & 0o022 != 0 => Err(NetrcError::Writable),
        () if owner != us && owner != 0 => Err(NetrcError::Foreign),
        () => Ok(()),
    }
}

/// The words of a netrc file.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn next(&mut self) -> Option<String> {
        self.0 = self.0.trim_start();
        let mut characters = self.0.char_indices();
        let is_quoted = self.0.starts_with('"');
        if is_quoted {
            characters.next();
        }
        let mut word = String::new();
        loop {
            match characters.next() {
                None => break,
                Some((_, '"')) if is_quoted => break,
                // The space stays: a line ends there.
                Some((at, space)) if !is_quoted && space.is_whitespace() => {
                    self.0 = &self.0[at..];
                    return Some(word);
                }
                Some((_, '\\')) => word.extend(characters.next().map(|(_, character)| character)),
                Some((_, character)) => word.push(character),
            }
        }
        let is_end = self.0.is_empty();
        self.0 = characters.as_str();
        (!is_end).then_some(word)
    }

    fn skip_line(&mut self) {
        self.0 = self.0.split_once('\n').map_or("", |(_, rest)| rest);
    }

    /// A macro goes on to the next empty line.
    fn skip_macro(&mut self) {
        self.skip_line();
        while !self.0.is_empty() {
            let line = self.0.lines().next().unwrap_or_default();
            let is_last = line.trim().is_empty();
            self.skip_line();
            if is_last {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// The logins as `HOST USER PASSWORD`, and the default's after `*`.
    fn told(netrc: &Netrc) -> Vec<String> {
        let show = |host: &str, login: &Login| {
            format!("{host} {} {}", login.user, login.password.as_deref().unwrap_or("-"))
        };
        let hosts = netrc.hosts.iter().map(|(host, login)| show(host, login));
        hosts.chain(netrc.default.iter().map(|login| show("*", login))).collect()
    }

    #[test]
    fn reads_a_netrc_file_as_other_programs_do() {
        let check = |text: &str, expected: &[&str]| assert_eq!(told(&Netrc::parse(text)), expected, "{text}");
        check("machine a login u password p", &["a u p"]);
        check("machine a\n\tlogin u\n\tpassword p\nmachine b login v password q\n", &["a u p", "b v q"]);
        check("machine a login u password pa#ss", &["a u pa#ss"]);
        check("machine a login u password #pass", &["a u #pass"]);
        check("machine a login u#1 password p # note password q\nmachine b password r", &["a u#1 p", "b  r"]);
        check("# machine x login y\nmachine a login u password p\n#end", &["a u p"]);
        check(r#"machine a login u password "two words""#, &["a u two words"]);
        check(r#"machine a login "u" password "q\"uo\\te""#, &[r#"a u q"uo\te"#]);
        check(r"machine a login u password p\ q", &["a u p q"]);
        check(r#"machine a login u password p"q"#, &[r#"a u p"q"#]);
        check(r#"machine a login u password """#, &["a u "]);
        check("machine a account machine login u password p", &["a u p"]);
        check(
            "machine a login u password p\nmacdef init\nmachine x login y\npassword z\n\nmachine b login v",
            &["a u p", "b v -"],
        );
        check("macdef end\nmachine x login y", &[]);
        check("machine a login u password p\ndefault login d password e\n", &["a u p", "* d e"]);
        check("machine a login u password p\nmachine a login v password q", &["a u p"]);
        check("machine A.Example login u password p", &["a.example u p"]);
        check("login u password p machine", &[]);
        check("", &[]);
    }

    #[test]
    fn a_file_that_others_may_change_or_that_is_none_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("netrc");
        let check = |expected: &str| {
            let told = match Netrc::read(&path) {
                Ok(netrc) => netrc.map_or_else(String::new, |netrc| told(&netrc).join(", ")),
                Err(error) => error.to_string(),
            };
            assert_eq!(told, expected);
        };
        check("");
        let write = |text: &[u8], mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write(b"machine a login u password p", 0o600);
        check("a u p");
        write(b"machine a login u password \xff", 0o644);
        check("a u \u{fffd}");
        write(b"machine a login u password p", 0o622);
        check("others than its owner may write it");
        write(&vec![b' '; 2 << 20], 0o600);
        check("it has more than 1048576 bytes");
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        check("it is no regular file");
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        check("it is no regular file");
    }

    #[test]
    fn no_password_is_shown() {
        let login = Login { user: "u".into(), password: Some("s3cret".into()) };
        assert_eq!(format!("{login:?}"), "Login { user: \"u\", .. }");
    }
}

//! The users that a recipe makes, and the owners of its files.

use std::fmt;

use serde::{Serialize, Serializer};

use super::container_path::ContainerPath;
use super::decode::{Complaint, Decode, Fields, parsed, refuse_duplicates};
use super::diagnostic::{Problem, Problems, quote};
use super::source::Spanned;
use super::yaml::Node;

/// A user to make, as `useradd --create-home` does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserAccount {
    /// The user's name, and that of the group of its own.
    pub name: AccountName,
    /// The user's number.
    pub uid: u32,
    /// The number of its group, which is made unless it is there; without it, the user's number.
    pub gid: Option<u32>,
    /// Further groups, which are there.
    pub groups: Vec<AccountName>,
    /// The home directory; without it, `/home/NAME`.
    pub home: Option<ContainerPath>,
    /// The login shell; without it, `/bin/sh`.
    pub shell: Option<ContainerPath>,
    /// True for an account of the system: its password does not age, and it gets no subordinate ids.
    pub system: bool,
}

impl Decode for UserAccount {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const HELP: &str = "say who it is: `{name: app, uid: 1000}`";
        let mut fields = Fields::open(node, "an entry of `users`", problems)?;
        let name = fields.require("name", HELP, problems);
        let uid: Option<AccountNumber> = fields.require("uid", HELP, problems);
        let gid: Option<AccountNumber> = fields.get("gid", problems);
        let groups: Option<Vec<Spanned<AccountName>>> = fields.get("groups", problems);
        let home = fields.get("home", problems);
        let shell = fields.get("shell", problems);
        let system = fields.get("system", problems);
        fields.finish(problems);
        let groups = groups.unwrap_or_default();
        refuse_duplicates(&groups, problems, |group| group.clone(), ToString::to_string);
        Some(Self {
            name: name?,
            uid: uid?.0,
            gid: gid.map(|gid| gid.0),
            groups: groups.into_iter().map(|group| group.value).collect(),
            home,
            shell,
            system: system.unwrap_or_default(),
        })
    }
}

impl UserAccount {
    /// The number of its group.
    pub fn group(&self) -> u32 {
        self.gid.unwrap_or(self.uid)
    }
}

/// Refuses two users of one name or one number.
pub(super) fn refuse_equal_users(users: &[Spanned<UserAccount>], problems: &mut Problems) {
    refuse_duplicates(users, problems, |user| user.name.clone(), |user| user.name.to_string());
    refuse_duplicates(users, problems, |user| user.uid, |user| user.uid.to_string());
}

/// The name of a user or group.
///
/// <https://manpages.debian.org/useradd.8#CAVEATS>
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AccountName(String);

impl AccountName {
    /// The longest name that `utmp` has room for.
    const LONGEST: usize = 32;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, Complaint> {
        let plain = text.strip_suffix('$').unwrap_or(text);
        let starts = plain.bytes().next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_');
        let is_of_name =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        let valid = starts && plain.bytes().all(is_of_name) && text.len() <= Self::LONGEST;
        valid.then(|| Self(text.to_owned())).ok_or_else(|| {
            Complaint::new(format!("{} is not a name for a user or group", quote(text))).help(format!(
                "use at most {} lowercase letters, digits, `_` and `-`, and a letter or `_` first",
                Self::LONGEST
            ))
        })
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Decode for AccountName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a name", problems, Self::parse)
    }
}

/// The number of a user or group: the last one stands for none.
struct AccountNumber(u32);

impl AccountNumber {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| *number < u32::MAX).map(Self)
    }
}

impl Decode for AccountNumber {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a number", problems, |text| {
            Self::parse(text).ok_or_else(|| {
                Complaint::new(format!("{} is not the number of a user or group", quote(text)))
                    .help("write a whole number below 4294967295: `1000`")
            })
        })
    }
}

/// The owner of files: `app`, `app:staff`, `1000`, `1000:1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOwner {
    user: NameOrNumber,
    group: Option<NameOrNumber>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum NameOrNumber {
    Name(AccountName),
    Number(u32),
}

impl NameOrNumber {
    fn parse(text: &str) -> Result<Self, Complaint> {
        match AccountNumber::parse(text) {
            Some(number) => Ok(Self::Number(number.0)),
            None => AccountName::parse(text).map(Self::Name),
        }
    }

    /// The number, where `of_name` knows that of a name.
    fn number(&self, of_name: impl Fn(&str) -> Option<u32>) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Name(name) if name.as_str() == "root" => Some(0),
            Self::Name(name) => of_name(name.as_str()),
        }
    }
}

impl CopyOwner {
    /// The numbers of user and group, by the accounts that the recipe makes; `None` for a name that it does not make. A
    /// user without a group has its own one, a number the same.
    pub fn ids(&self, users: &[Spanned<UserAccount>]) -> Option<(u32, u32)> {
        let account = |name: &str| users.iter().find(|user| user.name.as_str() == name);
        let uid = self.user.number(|name| account(name).map(|user| user.uid))?;
        let of_group = |name: &str| account(name).map(|user| user.group());
        let gid = self.group.as_ref().unwrap_or(&self.user).number(of_group)?;
        Some((uid, gid))
    }
}

impl fmt::Display for NameOrNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl fmt::Display for CopyOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.user.fmt(f)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

impl Serialize for CopyOwner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Decode for CopyOwner {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "an owner", problems, |text| {
            let (user, group) = match text.split_once(':') {
                Some((user, group)) => (user, Some(group)),
                None => (text, None),
            };
            let group = group.map(NameOrNumber::parse).transpose().map_err(Complaint::anywhere)?;
            Ok(Self { user: NameOrNumber::parse(user).map_err(Complaint::anywhere)?, group })
        })
    }
}

/// Complains of an owner that no user of the recipe is.
pub(super) fn check_owner(
    owner: &Spanned<CopyOwner>,
    users: &[Spanned<UserAccount>],
    problems: &mut Problems,
) {
    if owner.ids(users).is_none() {
        let message = format!("the owner {} is not defined under `users`", quote(&owner.value.to_string()));
        let help = "add it, `users: [{name: app, uid: 1000}]`, or write numbers, `1000:1000`: accounts of the base cannot be used by name here";
        problems.push(Problem::error(owner.span, message).help(help));
    }
}

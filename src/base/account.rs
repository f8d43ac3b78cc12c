//! The users of an image.

/// A user as a container's runtime finds it.
///
/// <https://man7.org/linux/man-pages/man5/passwd.5.html>
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's number.
    pub uid: u64,
    /// The number of the user's group, or of the one that the config names.
    pub gid: u64,
    /// The home directory: absolute.
    pub home: String,
}

impl Account {
    /// The user that `config.User` names, by the texts of `/etc/passwd` and `/etc/group`; `None` for a name that they
    /// do not have.
    pub fn named(user: &str, passwd: &str, group: &str) -> Option<Self> {
        let (user, its_group) = match user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (user, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let known = passwd.lines().find_map(|line| Self::of_line(line, user));
        let unknown = |uid| Self { uid, gid: 0, home: if uid == 0 { "/root" } else { "/" }.to_owned() };
        let mut account = known.or_else(|| user.parse().ok().map(unknown))?;
        if let Some(name) = its_group {
            let in_file = group.lines().find_map(|line| group_number(line, name));
            account.gid = in_file.or_else(|| name.parse().ok())?;
        }
        Some(account)
    }

    /// `app:x:1000:1000::/home/app:/bin/sh`, where its name or number is `user`.
    fn of_line(line: &str, user: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let &[name, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
        let is_meant = name == user || uid == user;
        is_meant.then_some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()?, home: home.to_owned() })
    }
}

/// The number of the group `name` in `app:x:1000:`.
fn group_number(line: &str, name: &str) -> Option<u64> {
    let mut fields = line.split(':');
    let is_meant = fields.next() == Some(name);
    fields.nth(1).filter(|_| is_meant)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name_or_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:100::/home/app:/bin/sh\n";
        let check = |user: &str, expected: Option<(u64, u64, &str)>| {
            let found = Account::named(user, passwd, "users:x:100:\nstaff:x:50:app\n");
            let shown = found.as_ref().map(|it| (it.uid, it.gid, it.home.as_str()));
            assert_eq!(shown, expected, "{user}");
        };
        check("", Some((0, 0, "/root")));
        check("app", Some((1000, 100, "/home/app")));
        check("1000", Some((1000, 100, "/home/app")));
        check("app:staff", Some((1000, 50, "/home/app")));
        check("1000:7", Some((1000, 7, "/home/app")));
        check("2000", Some((2000, 0, "/")));
        check("nobody-here", None);
        check("app:nothing", None);
    }
}

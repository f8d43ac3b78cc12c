//! The merged `/usr`: `/bin`, `/sbin` and `/lib*` are links to the directories of that name in `/usr`.
//!
//! <https://wiki.debian.org/UsrMerge>

/// The top directories that are links on a merged system.
pub const MERGED_DIRECTORIES: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];

/// The layout of `/bin`, `/lib` and their like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum UsrLayout {
    /// In `/usr`: Debian 12, Ubuntu 20.04, and everything later.
    Merged,
    /// The path of the package, unchanged.
    Separate,
}

impl UsrLayout {
    /// The layout of a release, by its codename: merged, but for those that end before it was.
    pub fn of_codename(codename: &str) -> Self {
        const SEPARATE: [&str; 9] =
            ["wheezy", "jessie", "stretch", "buster", "bullseye", "trusty", "xenial", "artful", "bionic"];
        let name = codename.split(['-', '/']).next().unwrap_or(codename);
        if SEPARATE.contains(&name) { Self::Separate } else { Self::Merged }
    }

    /// The link that stands at `path`, relative to the root, and where it leads.
    pub fn link(self, path: &str) -> Option<String> {
        let merged = self == Self::Merged && MERGED_DIRECTORIES.contains(&path);
        merged.then(|| format!("usr/{path}"))
    }

    /// The real place of `path`, relative to the root.
    pub fn place(self, path: &str) -> String {
        let (top, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
        match self.link(top) {
            Some(directory) => directory + rest,
            None => path.to_owned(),
        }
    }
}

/// Resolves the links in the directories of `path`, within the root; `link` tells where the link at a path
/// leads. The last part of the path is not followed. `None` when the links form a circle.
pub fn follow(path: &str, link: &impl Fn(&str) -> Option<String>) -> Option<String> {
    const MOST_LINKS: usize = 40;
    let mut rest: Vec<String> = path.rsplit('/').map(str::to_owned).collect();
    let (mut done, mut followed) = (String::new(), 0);
    while let Some(part) = rest.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            _ => {}
        }
        let parent = done.len();
        if !done.is_empty() {
            done.push('/');
        }
        done.push_str(&part);
        if let Some(target) = link(&done).filter(|_| !rest.is_empty()) {
            followed += 1;
            if followed > MOST_LINKS {
                return None;
            }
            // The top directories of a merged /usr are links relative to the root, where they stand.
            done.truncate(if target.starts_with('/') { 0 } else { parent });
            rest.extend(target.rsplit('/').map(str::to_owned));
        }
    }
    Some(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merged_system_keeps_everything_in_usr() {
        for (path, placed) in [
            ("bin", "usr/bin"),
            ("bin/sh", "usr/bin/sh"),
            ("lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
            ("library/x", "library/x"),
            ("usr/bin/env", "usr/bin/env"),
            ("etc/bin", "etc/bin"),
        ] {
            assert_eq!(UsrLayout::Merged.place(path), placed);
            assert_eq!(UsrLayout::Separate.place(path), path);
        }
    }

    #[test]
    fn releases_are_merged_from_debian_12_and_ubuntu_20_on() {
        for codename in ["bookworm", "trixie-updates", "jammy", "sid"] {
            assert_eq!(UsrLayout::of_codename(codename), UsrLayout::Merged);
        }
        for codename in ["bullseye", "buster/updates", "bionic-security"] {
            assert_eq!(UsrLayout::of_codename(codename), UsrLayout::Separate);
        }
    }
}

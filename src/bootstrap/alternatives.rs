//! `update-alternatives --install`, as the maintainer scripts call it.
//!
//! <https://manpages.debian.org/update-alternatives.1>

use std::collections::BTreeMap;

use super::tree::Tree;
use crate::debian::dpkg::{Alternative, Choice, InstalledPackage};

const DIRECTORY: &str = "/etc/alternatives";
const DATABASE: &str = "var/lib/dpkg/alternatives";

pub(super) fn write(tree: &mut Tree<'_>, packages: &[InstalledPackage]) {
    let mut groups = BTreeMap::new();
    for package in packages {
        for command in tree.postinst_commands(&package.name) {
            if let Some(call) = Install::read(&command).filter(|call| tree.has(&call.path)) {
                call.enter(&mut groups);
            }
        }
    }
    for alternative in groups.values() {
        write_group(tree, alternative);
    }
}

/// One call: `--install LINK NAME PATH PRIORITY [--slave LINK NAME PATH]…`.
struct Install {
    link: String,
    name: String,
    path: String,
    priority: i64,
    /// Link and path by name.
    slaves: BTreeMap<String, (String, String)>,
}

impl Install {
    fn read(command: &[String]) -> Option<Self> {
        let mut words = command.iter();
        words.next().filter(|program| program.rsplit('/').next() == Some("update-alternatives"))?;
        let mut words = words.skip_while(|word| *word != "--install").skip(1);
        let mut next = || words.next().cloned();
        let (link, name, path, priority) = (next()?, next()?, next()?, next()?);
        let mut install =
            Self { link, name, path, priority: priority.parse().ok()?, slaves: BTreeMap::new() };
        while let Some(option) = next() {
            if option != "--slave" && option != "--follower" {
                return None;
            }
            let (link, name, path) = (next()?, next()?, next()?);
            install.slaves.insert(name, (link, path));
        }
        install.is_sound().then_some(install)
    }

    /// Returns whether its names are names and its paths absolute ones.
    fn is_sound(&self) -> bool {
        let slaves = || self.slaves.iter();
        let mut names = slaves().map(|(name, _)| name).chain([&self.name]);
        let mut paths = slaves().flat_map(|(_, (link, path))| [link, path]).chain([&self.link, &self.path]);
        names.all(|name| !name.is_empty() && !name.contains('/') && !name.contains("..") && name != ".")
            && paths.all(|path| path.starts_with('/') && !path.contains("/../"))
    }

    fn enter(self, groups: &mut BTreeMap<String, Alternative>) {
        let group = groups.entry(self.name.clone()).or_insert_with(|| Alternative {
            name: self.name,
            link: self.link,
            slaves: BTreeMap::new(),
            choices: BTreeMap::new(),
        });
        let mut choice = Choice { priority: self.priority, slaves: BTreeMap::new() };
        for (name, (link, path)) in self.slaves {
            group.slaves.insert(name.clone(), link);
            choice.slaves.insert(name, path);
        }
        group.choices.insert(self.path, choice);
    }
}

fn write_group(tree: &mut Tree<'_>, alternative: &Alternative) {
    let Some((path, choice)) = alternative.best() else { return };
    let slaves =
        choice.slaves.iter().filter_map(|(name, path)| Some((name, alternative.slaves.get(name)?, path)));
    for (name, link, path) in slaves.chain([(&alternative.name, &alternative.link, &path.to_owned())]) {
        // A slave that is not there is left out, and a file in the place of a link stays.
        if tree.has(path) && !tree.has(link) {
            tree.symlink(&format!("{DIRECTORY}/{name}"), path);
            tree.symlink(link, &format!("{DIRECTORY}/{name}"));
        }
    }
    tree.file(&format!("{DATABASE}/{}", alternative.name), 0o644, alternative.database());
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    fn run(example: Example, packages: &[(&str, &str)]) -> Vec<String> {
        let example = packages
            .iter()
            .fold(example, |example, (name, postinst)| example.package(name, &[("postinst", postinst)]));
        let installed: Vec<String> = packages.iter().map(|(name, _)| (*name).to_owned()).collect();
        let generated = example.run(|tree| {
            let packages: Vec<InstalledPackage> =
                installed.iter().filter_map(|name| tree.package(name)).cloned().collect();
            write(tree, &packages);
        });
        generated.into_iter().filter(|line| !line.contains("/ ")).collect()
    }

    #[test]
    fn the_highest_priority_serves_with_the_slaves_that_exist() {
        let example = Example::default()
            .directory("usr")
            .file("usr/bin/mawk", "")
            .file("usr/bin/gawk", "")
            .file("usr/share/man/gawk.1.gz", "");
        let mawk = "update-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 --slave /usr/bin/nawk nawk /bin/mawk";
        let gawk = "/usr/bin/update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/gawk 10 \\\n\
                    --slave /usr/share/man/awk.1.gz awk.1.gz /usr/share/man/gawk.1.gz \\\n\
                    --slave /usr/share/man/nawk.1.gz nawk.1.gz /usr/share/man/missing.1.gz || true";
        let expected = [
            "etc/alternatives/awk -> /usr/bin/gawk",
            "etc/alternatives/awk.1.gz -> /usr/share/man/gawk.1.gz",
            "usr/bin/awk -> /etc/alternatives/awk",
            "usr/share/man/awk.1.gz -> /etc/alternatives/awk.1.gz",
            "var/lib/dpkg/alternatives/awk 644 0:0 auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/awk.1.gz\nnawk\n\
             /usr/bin/nawk\nnawk.1.gz\n/usr/share/man/nawk.1.gz\n\n/usr/bin/gawk\n10\n/usr/share/man/gawk.1.gz\n\n\
             /usr/share/man/missing.1.gz\n/usr/bin/mawk\n5\n\n/bin/mawk\n\n\n",
        ];
        assert_eq!(run(example, &[("mawk", mawk), ("gawk", gawk)]), expected);
    }

    #[test]
    fn calls_it_cannot_know_are_left_alone() {
        let example = || Example::default().file("usr/bin/x", "").file("usr/bin/taken", "");
        for call in [
            "update-alternatives --install /usr/bin/a a \"$file\" 5",
            "update-alternatives --install /usr/bin/a a /usr/bin/missing 5",
            "update-alternatives --install /usr/bin/a ../../a /usr/bin/x 5",
            "update-alternatives --install /usr/bin/../a a /usr/bin/x 5",
            "update-alternatives --install /usr/bin/a a /usr/bin/x high",
            "update-alternatives --remove a /usr/bin/x",
            "echo update-alternatives --install /usr/bin/a a /usr/bin/x 5",
        ] {
            assert_eq!(run(example(), &[("x", call)]), Vec::<String>::new(), "{call}");
        }
        let taken = "update-alternatives --install /usr/bin/taken taken /usr/bin/x 5";
        assert_eq!(run(example(), &[("x", taken)]).len(), 1, "the database only");
    }
}

//! `update-alternatives`.
//!
//! <https://manpages.debian.org/update-alternatives.1>

use std::collections::BTreeMap;

use super::super::super::tree::Tree;
use super::super::system::{Done, System};
use crate::debian::dpkg::{Alternative, Choice};
use crate::oci::EntryKind;

const DIRECTORY: &str = "/etc/alternatives";
const DATABASE: &str = "var/lib/dpkg/alternatives";

/// Does `name` where it is this program.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    if name != "update-alternatives" {
        return None;
    }
    let has = |option: &str| arguments.iter().any(|argument| argument == option);
    Some(match () {
        () if has("--install") => install(system, arguments),
        () if has("--remove") => remove(system, arguments),
        () if has("--auto") || has("--remove-all") => {
            let known = arguments.last().is_some_and(|name| system.alternatives.contains_key(name));
            // The best choice serves already.
            if known && has("--remove-all") { Done::NotFollowed } else { Done::SUCCESS }
        }
        () if has("--list") || has("--query") || has("--display") => {
            system.write_unknown();
            Done::Unknown
        }
        () => Done::NotFollowed,
    })
}

fn install(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let Some(call) = Install::read(arguments) else { return Done::NotFollowed };
    if !system.tree.has(&call.path) {
        return Done::Status(2);
    }
    let name = call.name.clone();
    call.enter(&mut system.alternatives);
    if let Some(alternative) = system.alternatives.get(&name) {
        write_group(system.tree, alternative);
    }
    Done::SUCCESS
}

/// `--remove NAME PATH`: of no account where the path is no choice.
fn remove(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let [.., name, path] = arguments else { return Done::NotFollowed };
    match system.alternatives.get(name).is_some_and(|group| group.choices.contains_key(path)) {
        true => Done::NotFollowed,
        false => Done::SUCCESS,
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
    fn read(arguments: &[String]) -> Option<Self> {
        let mut words = arguments.iter().skip_while(|word| *word != "--install").skip(1);
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
            is_manual: false,
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

/// The groups that the image has before any script is followed.
pub(in super::super) fn groups_of(tree: &Tree<'_>) -> BTreeMap<String, Alternative> {
    let groups = tree.files_below(DATABASE).into_iter().filter_map(|path| {
        let name = path.rsplit('/').next()?;
        Some((name.to_owned(), Alternative::parse(name, &tree.text(&path)?)?))
    });
    groups.collect()
}

fn write_group(tree: &mut Tree<'_>, alternative: &Alternative) {
    if !alternative.is_manual {
        point_at_best(tree, alternative);
    }
    tree.file(&format!("{DATABASE}/{}", alternative.name), 0o644, alternative.database());
}

fn point_at_best(tree: &mut Tree<'_>, alternative: &Alternative) {
    let Some((path, choice)) = alternative.best() else { return };
    let path = path.to_owned();
    for (name, link) in &alternative.slaves {
        match choice.slaves.get(name) {
            Some(path) if tree.has(path) => point(tree, name, link, path),
            // A slave that is not there is left out.
            _ => unpoint(tree, name, link),
        }
    }
    point(tree, &alternative.name, &alternative.link, &path);
}

fn point(tree: &mut Tree<'_>, name: &str, link: &str, path: &str) {
    tree.symlink(&format!("{DIRECTORY}/{name}"), path);
    // A file in the place of a link stays.
    if !tree.has(link) || is_own(tree, link) {
        tree.symlink(link, &format!("{DIRECTORY}/{name}"));
    }
}

fn unpoint(tree: &mut Tree<'_>, name: &str, link: &str) {
    if is_own(tree, link) {
        tree.remove(link);
        tree.remove(&format!("{DIRECTORY}/{name}"));
    }
}

/// Returns whether a link leads to the directory of alternatives.
fn is_own(tree: &Tree<'_>, link: &str) -> bool {
    matches!(tree.kind(link), Some(EntryKind::Symlink { target }) if target.starts_with(DIRECTORY))
}

#[cfg(test)]
mod tests {
    use super::super::super::super::tree::example::Example;
    use super::*;

    fn run(example: Example, calls: &[&str]) -> Vec<String> {
        let generated = example.package("a", &[]).run(|tree| {
            let package = tree.package("a").expect("it is in the example");
            let mut system = System::new(tree, package);
            for call in calls {
                let words: Vec<String> = call.split_ascii_whitespace().map(str::to_owned).collect();
                super::run(&mut system, &words[0], &words[1..]);
            }
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
        let gawk = "update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/gawk 10 \
                    --slave /usr/share/man/awk.1.gz awk.1.gz /usr/share/man/gawk.1.gz \
                    --slave /usr/share/man/nawk.1.gz nawk.1.gz /usr/share/man/missing.1.gz";
        let expected = [
            "etc/alternatives/awk -> /usr/bin/gawk",
            "etc/alternatives/awk.1.gz -> /usr/share/man/gawk.1.gz",
            "usr/bin/awk -> /etc/alternatives/awk",
            "usr/share/man/awk.1.gz -> /etc/alternatives/awk.1.gz",
            "var/lib/dpkg/alternatives/awk 644 0:0 auto\n/usr/bin/awk\nawk.1.gz\n/usr/share/man/awk.1.gz\nnawk\n\
             /usr/bin/nawk\nnawk.1.gz\n/usr/share/man/nawk.1.gz\n\n/usr/bin/gawk\n10\n/usr/share/man/gawk.1.gz\n\n\
             /usr/share/man/missing.1.gz\n/usr/bin/mawk\n5\n\n/bin/mawk\n\n\n",
        ];
        assert_eq!(run(example, &[mawk, gawk]), expected);
    }

    #[test]
    fn calls_it_cannot_know_are_left_alone() {
        let example = || Example::default().file("usr/bin/x", "").file("usr/bin/taken", "");
        for call in [
            "update-alternatives --install /usr/bin/a a /usr/bin/missing 5",
            "update-alternatives --install /usr/bin/a ../../a /usr/bin/x 5",
            "update-alternatives --install /usr/bin/../a a /usr/bin/x 5",
            "update-alternatives --install /usr/bin/a a /usr/bin/x high",
            "update-alternatives --remove a /usr/bin/x",
        ] {
            assert_eq!(run(example(), &[call]), Vec::<String>::new(), "{call}");
        }
        let taken = "update-alternatives --install /usr/bin/taken taken /usr/bin/x 5";
        assert_eq!(run(example(), &[taken]).len(), 2, "the link in /etc/alternatives and the database");
    }
}

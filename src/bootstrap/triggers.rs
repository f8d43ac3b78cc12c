//! Triggers: packages that were there before do some of their work again when others bring what they wait for.
//!
//! <https://manpages.debian.org/deb-triggers.5>

use std::collections::{BTreeMap, BTreeSet};

use super::scripts::{self, unfollowed::Unfollowed};
use super::tree::Tree;
use crate::debian::dpkg::InstalledPackage;

/// Follows the scripts of the packages below that wait for what the new ones bring.
pub(super) fn follow(tree: &mut Tree<'_>) -> Vec<Unfollowed> {
    let input = tree.input();
    let activated: BTreeSet<&str> = input.packages.iter().flat_map(activations).collect();
    let is_brought = |trigger: &str| match trigger.strip_prefix('/') {
        Some(path) => {
            let inside = format!("{path}/");
            input.entries.contains_key(path)
                || input
                    .entries
                    .range(inside.as_str()..)
                    .next()
                    .is_some_and(|(path, _)| path.starts_with(&inside))
        }
        None => activated.contains(trigger),
    };
    let triggered = input.kept().filter_map(|package| {
        let names: Vec<String> = interests(package).into_iter().map(|(name, _)| name).collect();
        let names: Vec<String> = names.into_iter().filter(|name| is_brought(name)).collect();
        (!names.is_empty()).then(|| (package, names.join(" ")))
    });
    let triggered: Vec<(&InstalledPackage, String)> = triggered.collect();
    scripts::follow_triggered(tree, &triggered)
}

/// The named triggers that a package activates when it is configured.
fn activations(package: &InstalledPackage) -> Vec<&str> {
    let text = package.control.files.get("triggers").map_or(&[][..], |file| file.bytes.as_slice());
    let lines = std::str::from_utf8(text).unwrap_or_default().lines();
    let named = lines.filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let is_activation = words.next().is_some_and(|word| word.starts_with("activate"));
        words.next().filter(|_| is_activation)
    });
    named.collect()
}

/// The triggers that a package waits for, each with the ending of its line in dpkg's lists.
pub(super) fn interests(package: &InstalledPackage) -> Vec<(String, &'static str)> {
    let text = package.control.text("triggers").unwrap_or_default();
    let interest = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let ending = match words.next() {
            Some("interest" | "interest-await") => "",
            Some("interest-noawait") => "/noawait",
            _ => return None,
        };
        Some((words.next()?.to_owned(), ending))
    };
    text.lines().filter_map(interest).collect()
}

/// The texts of dpkg's lists of interests, by their paths below `triggers`: `File` for paths, one for each other name.
pub(super) fn lists<'a>(packages: impl Iterator<Item = &'a InstalledPackage>) -> BTreeMap<String, String> {
    let mut of_trigger: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        for (trigger, ending) in interests(package) {
            of_trigger.entry(trigger).or_default().push(format!("{}{ending}", package.info_name()));
        }
    }
    let mut lists = BTreeMap::from([("File".to_owned(), String::new())]);
    for (trigger, packages) in of_trigger {
        if trigger.starts_with('/') {
            let lines = packages.iter().map(|package| format!("{trigger} {package}\n"));
            lists.entry("File".to_owned()).or_default().extend(lines);
        } else if !trigger.contains('/') {
            lists.insert(trigger, packages.iter().map(|package| format!("{package}\n")).collect());
        }
    }
    lists
}

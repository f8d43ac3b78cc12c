//! `/var/lib/dpkg`, so that dpkg, apt and scanners find every package installed and configured.
//!
//! <https://manpages.debian.org/dpkg.1#FILES> · <https://manpages.debian.org/deb-triggers.5>

use std::collections::{BTreeMap, BTreeSet};

use super::ground::STATUS;
use super::tree::{ConfigureError, ROOT, Tree};
use super::triggers;
use crate::debian::dpkg::InstalledPackage;

const DATABASE: &str = "var/lib/dpkg";
/// The version of the layout of `info`: files of co-installable packages name their architecture.
const INFO_FORMAT: &str = "1\n";
/// The packages that nobody asked for, which apt removes with those that need them.
const AUTOMATIC: &str = "var/lib/apt/extended_states";

pub(super) fn write(tree: &mut Tree<'_>) -> Result<(), ConfigureError> {
    let input = tree.input();
    let mut sorted: Vec<&InstalledPackage> = input.packages.iter().collect();
    sorted.sort_by(|left, right| (&left.name, &left.architecture).cmp(&(&right.name, &right.architecture)));
    let status = status(tree, &sorted)?;
    tree.file(&format!("/{STATUS}"), 0o644, status);
    for package in &sorted {
        if let Some(before) = input.before(package) {
            remove_info(tree, before);
        }
        write_info(tree, package);
    }
    for package in input.kept() {
        if let Some(lost) = input.lost.get(&package.info_name()) {
            write_rest_of_list(tree, package, lost);
        }
    }
    let texts = [
        ("info/format", INFO_FORMAT),
        ("available", ""),
        ("diversions", ""),
        ("statoverride", ""),
        ("triggers/Unincorp", ""),
    ];
    for (name, text) in texts {
        let path = format!("{DATABASE}/{name}");
        if !tree.has(&path) {
            tree.file(&path, 0o644, text);
        }
    }
    for empty in ["alternatives", "parts", "updates"] {
        tree.directory(&format!("{DATABASE}/{empty}"), 0o755, ROOT);
    }
    write_triggers(tree);
    write_automatic(tree);
    Ok(())
}

/// The text of `status`: the paragraphs of the packages below, with those of `packages` in their places.
fn status(tree: &Tree<'_>, packages: &[&InstalledPackage]) -> Result<String, ConfigureError> {
    let below = tree.input().ground.status.iter();
    let mut paragraphs: BTreeMap<(&str, &str), String> = below
        .filter(|known| !packages.iter().any(|new| is_before(new, &known.name, &known.architecture)))
        .map(|known| ((known.name.as_str(), known.architecture.as_str()), known.text.clone()))
        .collect();
    for package in packages {
        let paragraph = package
            .status()
            .map_err(|source| ConfigureError::Status { package: package.name.clone(), source })?;
        paragraphs.insert((&package.name, &package.architecture), paragraph);
    }
    Ok(paragraphs.into_values().map(|paragraph| paragraph + "\n").collect())
}

/// Returns whether `package` takes the place of the one of this name and architecture.
fn is_before(package: &InstalledPackage, name: &str, architecture: &str) -> bool {
    let is_of_all = package.architecture == "all" || architecture == "all";
    package.name == name && (package.architecture == architecture || is_of_all)
}

fn remove_info(tree: &mut Tree<'_>, package: &InstalledPackage) {
    let name = format!("{DATABASE}/info/{}", package.info_name());
    let files = package.control.files.keys().filter(|file| *file != "control").map(String::as_str);
    files.chain(["list"]).for_each(|file| tree.remove(&format!("{name}.{file}")));
}

/// The list of a package without the paths that others took over.
fn write_rest_of_list(tree: &mut Tree<'_>, package: &InstalledPackage, lost: &BTreeSet<String>) {
    let is_kept = |path: &&String| tree.real(path).is_none_or(|real| !lost.contains(&real));
    let kept = package.paths.iter().filter(is_kept).map(|path| format!("/{path}\n"));
    let list: String = std::iter::once("/.\n".to_owned()).chain(kept).collect();
    tree.file(&format!("{DATABASE}/info/{}.list", package.info_name()), 0o644, list);
}

/// The package's file list and its control files, but for `control`, which is in `status`.
fn write_info(tree: &mut Tree<'_>, package: &InstalledPackage) {
    let name = format!("{DATABASE}/info/{}", package.info_name());
    tree.file(&format!("{name}.list"), 0o644, package.list());
    for (file, content) in package.control.files.iter().filter(|(file, _)| *file != "control") {
        let mode = if content.mode & 0o100 == 0 { 0o644 } else { 0o755 };
        tree.file(&format!("{name}.{file}"), mode, content.bytes.clone());
    }
}

/// The interests in triggers: a file for each named trigger, and one list of paths.
fn write_triggers(tree: &mut Tree<'_>) {
    let mut packages: Vec<&InstalledPackage> = tree.packages().collect();
    packages.sort_by(|left, right| (&left.name, &left.architecture).cmp(&(&right.name, &right.architecture)));
    for (name, text) in triggers::lists(packages.into_iter()) {
        let path = format!("{DATABASE}/triggers/{name}");
        if !tree.text(&path).is_some_and(|present| has_same_lines(&present, &text)) {
            tree.file(&path, 0o644, text);
        }
    }
}

fn has_same_lines(one: &str, other: &str) -> bool {
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    sorted(one) == sorted(other)
}

/// Tells apt which packages were not asked for.
fn write_automatic(tree: &mut Tree<'_>) {
    let input = tree.input();
    let is_new = |package: &&InstalledPackage| {
        input.automatic.contains(package.name.as_str()) && input.before(package).is_none()
    };
    let paragraph = |package: &InstalledPackage| {
        let architecture =
            if package.architecture == "all" { input.architecture } else { &package.architecture };
        format!("Package: {}\nArchitecture: {architecture}\nAuto-Installed: 1\n\n", package.name)
    };
    let mut new: Vec<&InstalledPackage> = input.packages.iter().filter(is_new).collect();
    new.sort_by(|left, right| left.name.cmp(&right.name));
    let text: String = new.into_iter().map(paragraph).collect();
    if !text.is_empty() {
        let before = tree.text(AUTOMATIC).unwrap_or_default();
        tree.file(AUTOMATIC, 0o644, before + &text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    #[test]
    fn dpkg_finds_packages_scripts_and_triggers() {
        let triggers =
            "# comment\ninterest ldconfig\ninterest-noawait /usr/share/x\nactivate-noawait other\n";
        let example = Example::default()
            .directory("var/lib/dpkg/info")
            .directory("var/lib/dpkg/triggers")
            .package("b", &[("triggers", triggers)])
            .package("a", &[("postinst", "#! /bin/sh\n")]);
        let generated = example.run(|tree| {
            write(tree).expect("the packages have names");
        });
        let stanza = |name: &str| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0-1\nDescription: {name}\n\n"
            )
        };
        let expected = [
            "var/lib/dpkg/alternatives/ 755 0:0".to_owned(),
            "var/lib/dpkg/available 644 0:0 ".into(),
            "var/lib/dpkg/diversions 644 0:0 ".into(),
            "var/lib/dpkg/info/a.list 644 0:0 /.\n/usr\n/usr/share/a\n".into(),
            "var/lib/dpkg/info/a.postinst 755 0:0 #! /bin/sh\n".into(),
            "var/lib/dpkg/info/b.list 644 0:0 /.\n/usr\n/usr/share/b\n".into(),
            format!("var/lib/dpkg/info/b.triggers 755 0:0 {triggers}"),
            "var/lib/dpkg/info/format 644 0:0 1\n".into(),
            "var/lib/dpkg/parts/ 755 0:0".into(),
            "var/lib/dpkg/statoverride 644 0:0 ".into(),
            format!("var/lib/dpkg/status 644 0:0 {}{}", stanza("a"), stanza("b")),
            "var/lib/dpkg/triggers/File 644 0:0 /usr/share/x b/noawait\n".into(),
            "var/lib/dpkg/triggers/Unincorp 644 0:0 ".into(),
            "var/lib/dpkg/triggers/ldconfig 644 0:0 b\n".into(),
            "var/lib/dpkg/updates/ 755 0:0".into(),
        ];
        assert_eq!(generated, expected);
    }
}

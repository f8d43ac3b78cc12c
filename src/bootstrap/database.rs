//! `/var/lib/dpkg`, so that dpkg, apt and scanners find every package installed and configured.
//!
//! <https://manpages.debian.org/dpkg.1#FILES> · <https://manpages.debian.org/deb-triggers.5>

use std::collections::BTreeMap;

use super::tree::{ConfigureError, ROOT, Tree};
use crate::debian::dpkg::InstalledPackage;

const DATABASE: &str = "var/lib/dpkg";
/// The version of the layout of `info`: files of co-installable packages name their architecture.
const INFO_FORMAT: &str = "1\n";

pub(super) fn write(tree: &mut Tree<'_>, packages: &[InstalledPackage]) -> Result<(), ConfigureError> {
    let mut sorted: Vec<&InstalledPackage> = packages.iter().collect();
    sorted.sort_by(|left, right| (&left.name, &left.architecture).cmp(&(&right.name, &right.architecture)));
    let mut status = String::new();
    for package in &sorted {
        let stanza = package
            .status()
            .map_err(|source| ConfigureError::Status { package: package.name.clone(), source })?;
        status.push_str(&stanza);
        status.push('\n');
        write_info(tree, package);
    }
    tree.file(&format!("{DATABASE}/status"), 0o644, status);
    tree.file(&format!("{DATABASE}/info/format"), 0o644, INFO_FORMAT);
    for empty in ["available", "diversions", "statoverride", "triggers/Unincorp"] {
        let path = format!("{DATABASE}/{empty}");
        if !tree.has(&path) {
            tree.file(&path, 0o644, "");
        }
    }
    for empty in ["alternatives", "parts", "updates"] {
        tree.directory(&format!("{DATABASE}/{empty}"), 0o755, ROOT);
    }
    write_triggers(tree, &sorted);
    Ok(())
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
fn write_triggers(tree: &mut Tree<'_>, packages: &[&InstalledPackage]) {
    let mut interests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        let text = package.control.text("triggers").unwrap_or_default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let suffix = match words.next() {
                Some("interest" | "interest-await") => "",
                Some("interest-noawait") => "/noawait",
                _ => continue,
            };
            if let Some(trigger) = words.next() {
                interests
                    .entry(trigger.to_owned())
                    .or_default()
                    .push(format!("{}{suffix}", package.info_name()));
            }
        }
    }
    let mut paths = String::new();
    for (trigger, packages) in &interests {
        match trigger.starts_with('/') {
            true => packages.iter().for_each(|package| paths.push_str(&format!("{trigger} {package}\n"))),
            false if trigger.contains('/') => {}
            false => {
                let lines: String = packages.iter().map(|package| format!("{package}\n")).collect();
                tree.file(&format!("{DATABASE}/triggers/{trigger}"), 0o644, lines);
            }
        }
    }
    tree.file(&format!("{DATABASE}/triggers/File"), 0o644, paths);
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
            let packages = ["b", "a"].map(|name| tree.package(name).cloned().expect("it is in the example"));
            write(tree, &packages).expect("the packages have names");
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

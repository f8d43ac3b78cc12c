//! Packages that were chosen before, of which some are taken in newer versions, with those that must move with them.

use std::collections::{BTreeMap, BTreeSet};

use super::error::SelectError;
use super::offers::{read, read_list};
use super::{PackageListing, Selected, Selection};
use crate::debian::packages::Package;
use crate::debian::relation::{Dependency, Relation};
use crate::debian::version::DebianVersion;

/// The `earlier` packages, of which those of these names are as in `fresh`, the choice that `indexes` give now.
///
/// Of what was chosen before only names and versions are known: a package is taken to depend on others as its newer version
/// does. So one that needs a moved package in its new version moves with it, as those of one source do.
pub fn upgraded(
    fresh: &Selection,
    earlier: &[Selected],
    names: &BTreeSet<String>,
    indexes: &[PackageListing<'_>],
) -> Result<Selection, SelectError> {
    let upgrade = PackageUpgrade {
        fresh: fresh.packages.iter().map(|package| (package.name.as_str(), package)).collect(),
        earlier: earlier.iter().map(|package| (package.name.as_str(), package)).collect(),
        needs: needs(fresh, indexes)?,
    };
    let mut moved: BTreeSet<&str> =
        names.iter().map(String::as_str).filter(|name| upgrade.fresh.contains_key(name)).collect();
    loop {
        let more: BTreeSet<&str> = upgrade.moving_with(&moved).collect();
        let before = moved.len();
        moved.extend(more);
        if moved.len() == before {
            break;
        }
    }
    Ok(upgrade.selection(fresh, earlier, &moved))
}

/// The needs of one package.
struct PackageNeeds {
    dependencies: Vec<Dependency>,
    /// The packages that it does not go together with.
    excluded: Vec<Relation>,
}

struct PackageUpgrade<'a> {
    fresh: BTreeMap<&'a str, &'a Selected>,
    earlier: BTreeMap<&'a str, &'a Selected>,
    /// The needs of the fresh packages.
    needs: BTreeMap<&'a str, PackageNeeds>,
}

/// The needs of the packages of a selection, as the indexes have them.
fn needs<'a>(
    fresh: &'a Selection,
    indexes: &[PackageListing<'_>],
) -> Result<BTreeMap<&'a str, PackageNeeds>, SelectError> {
    let mut listed: BTreeMap<(usize, &str, &DebianVersion), &Package<'_>> = BTreeMap::new();
    for (index, listing) in indexes.iter().enumerate() {
        let packages = listing.packages.iter().map(|it| &it.package);
        listed.extend(packages.map(|package| ((index, package.name, &package.version), package)));
    }
    let mut needs = BTreeMap::new();
    for selected in &fresh.packages {
        let Some(package) = listed.get(&(selected.index, selected.name.as_str(), &selected.version)) else {
            continue;
        };
        let mut dependencies = read(package, "Pre-Depends", package.pre_depends)?;
        dependencies.extend(read(package, "Depends", package.depends)?);
        let mut excluded = read_list(package, "Conflicts", package.conflicts)?;
        excluded.extend(read_list(package, "Breaks", package.breaks)?);
        needs.insert(selected.name.as_str(), PackageNeeds { dependencies, excluded });
    }
    Ok(needs)
}

impl<'a> PackageUpgrade<'a> {
    /// The packages that must move because others do.
    fn moving_with<'b>(&'b self, moved: &'b BTreeSet<&'a str>) -> impl Iterator<Item = &'a str> + 'b {
        self.needs.iter().flat_map(move |(name, needs)| match moved.contains(name) {
            true => self.wanted(needs, moved),
            false => self.tied(needs, moved).then_some(*name).into_iter().collect(),
        })
    }

    /// The packages that one that moves needs, or does not go together with as they were.
    fn wanted(&self, needs: &PackageNeeds, moved: &BTreeSet<&str>) -> Vec<&'a str> {
        let stays = |name: &str| self.earlier.get(name).filter(|_| !moved.contains(name));
        let is_met = |relation: &Relation| match stays(&relation.name) {
            Some(earlier) => relation.admits(&earlier.version),
            None => moved.contains(relation.name.as_str()),
        };
        let unmet = needs.dependencies.iter().filter(|it| !it.alternatives.iter().any(is_met));
        let needed = unmet.flat_map(|dependency| &dependency.alternatives);
        let excluded =
            needs.excluded.iter().filter(|it| stays(&it.name).is_some_and(|old| it.admits(&old.version)));
        let names = needed.chain(excluded).map(|relation| relation.name.as_str());
        names.filter_map(|name| self.fresh.get_key_value(name)).map(|(name, _)| *name).collect()
    }

    /// Returns whether a package needs something that moves in a version that was not there before.
    fn tied(&self, needs: &PackageNeeds, moved: &BTreeSet<&str>) -> bool {
        let is_newer = |relation: &Relation| {
            moved.contains(relation.name.as_str())
                && self.earlier.get(relation.name.as_str()).is_some_and(|old| !relation.admits(&old.version))
        };
        needs.dependencies.iter().any(|dependency| dependency.alternatives.iter().any(is_newer))
    }

    /// The packages in the order of the fresh ones; those that these do not have any more come last.
    fn selection(&self, fresh: &Selection, earlier: &[Selected], moved: &BTreeSet<&str>) -> Selection {
        let name = |package: &Selected| package.name.clone();
        let of_both =
            fresh.packages.iter().filter_map(|package| match moved.contains(package.name.as_str()) {
                true => Some(package),
                false => self.earlier.get(package.name.as_str()).copied(),
            });
        let gone = earlier.iter().filter(|package| !self.fresh.contains_key(name(package).as_str()));
        let all = of_both.chain(gone).cloned();
        let (system, others): (Vec<Selected>, Vec<Selected>) = all.partition(|package| package.system);
        Selection { packages: system.into_iter().chain(others).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::super::{Reason, SelectionRequest, select};
    use super::*;
    use crate::debian::packages;
    use crate::oci::Digest;

    const WANTED: [&str; 4] = ["libc6", "python3", "curl", "tzdata"];

    /// An index of `name version depends` lines.
    fn index(lines: &str) -> String {
        let mut text = String::new();
        for line in lines.split(';').map(str::trim) {
            let mut words = line.splitn(3, ' ');
            let (name, version) = (words.next().unwrap(), words.next().unwrap());
            let _ = write!(
                text,
                "Package: {name}\nVersion: {version}\nArchitecture: amd64\nFilename: pool/{name}.deb\nSize: 1\n\
                 SHA256: {}\n{}\n\n",
                Digest::of(line).hex(),
                words.next().unwrap_or("Section: misc"),
            );
        }
        text
    }

    fn chosen(text: &str) -> (Selection, Vec<PackageListing<'_>>) {
        let listings = vec![PackageListing { packages: packages::parse(text).unwrap(), is_last: false }];
        let wanted = WANTED.map(str::to_owned);
        let wanted: Vec<String> =
            wanted.into_iter().filter(|name| text.contains(&format!("Package: {name}\n"))).collect();
        let request =
            SelectionRequest { installed: &[], architecture: "amd64", packages: &wanted, essential: false };
        (select(&listings, &request).unwrap(), listings)
    }

    fn check(before: &str, now: &str, names: &[&str], expected: &str) {
        let (before, now) = (index(before), index(now));
        let (earlier, _) = chosen(&before);
        let (fresh, listings) = chosen(&now);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let merged = upgraded(&fresh, &earlier.packages, &names, &listings).unwrap();
        let mut told: Vec<String> =
            merged.packages.iter().map(|it| format!("{} {}", it.name, it.version)).collect();
        told.sort();
        assert_eq!(told.join(", "), expected);
        assert!(merged.packages.iter().all(|it| it.reason != Reason::Essential));
    }

    #[test]
    fn only_what_is_named_moves() {
        check(
            "libc6 1; tzdata 1; curl 1 Depends: libc6",
            "libc6 2; tzdata 2; curl 2 Depends: libc6",
            &["tzdata"],
            "curl 1, libc6 1, tzdata 2",
        );
    }

    #[test]
    fn what_it_needs_in_a_newer_version_moves_with_it() {
        check(
            "libc6 1; curl 1 Depends: libcurl4 (= 1); libcurl4 1 Depends: libc6; tzdata 1",
            "libc6 2; curl 2 Depends: libcurl4 (= 2), libnew; libcurl4 2 Depends: libc6 (>= 2); libnew 2; tzdata 2",
            &["curl"],
            "curl 2, libc6 2, libcurl4 2, libnew 2, tzdata 1",
        );
    }

    #[test]
    fn what_is_of_one_version_with_it_moves_with_it() {
        check(
            "python3 1 Depends: python3-minimal (= 1); python3-minimal 1; tzdata 1",
            "python3 2 Depends: python3-minimal (= 2); python3-minimal 2; tzdata 2",
            &["python3-minimal"],
            "python3 2, python3-minimal 2, tzdata 1",
        );
    }

    #[test]
    fn what_it_breaks_moves_and_what_is_gone_stays() {
        check(
            "libc6 1; curl 1; tzdata 1",
            "libc6 2 Breaks: curl (<< 2); curl 2",
            &["libc6"],
            "curl 2, libc6 2, tzdata 1",
        );
    }
}

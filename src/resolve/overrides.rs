//! Overrides: requirements of the user that stand in place of all others on their projects, as uv's `override-dependencies`.
//!
//! <https://docs.astral.sh/uv/concepts/resolution/#dependency-overrides>

use std::borrow::Cow;
use std::collections::BTreeMap;

use uv_normalize::PackageName;
use uv_pep508::MarkerTree;

use crate::pypa::metadata::Requirement;

/// The overrides of a recipe, by project.
#[derive(Debug, Clone, Default)]
pub struct Overrides(BTreeMap<PackageName, Vec<Requirement>>);

impl Overrides {
    /// The overrides among these requirements: several on one project hold together, each where its marker does.
    pub fn new(requirements: &[Requirement]) -> Self {
        let mut overrides: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for requirement in requirements {
            overrides.entry(requirement.name.clone()).or_default().push(requirement.clone());
        }
        Self(overrides)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Requirement> {
        self.0.values().flatten()
    }

    /// `requirements` with each that is overridden replaced. One of an extra stays one of that extra.
    pub fn applied<'r>(&self, requirements: &'r [Requirement]) -> Cow<'r, [Requirement]> {
        if requirements.iter().all(|requirement| !self.0.contains_key(&requirement.name)) {
            return Cow::Borrowed(requirements);
        }
        requirements
            .iter()
            .flat_map(|requirement| self.of(requirement).unwrap_or_else(|| vec![requirement.clone()]))
            .collect()
    }

    /// The requirements in place of `requirement`; `None` where it stays.
    pub fn of(&self, requirement: &Requirement) -> Option<Vec<Requirement>> {
        let overrides = self.0.get(&requirement.name)?;
        let of_extra = requirement.marker.top_level_extra();
        let replaced = |it: &Requirement| {
            let mut replaced = it.clone();
            if let Some(extra) = &of_extra {
                replaced.marker = replaced.marker.and(MarkerTree::expression(extra.clone()));
            }
            replaced
        };
        Some(overrides.iter().map(replaced).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_override_stands_in_place_of_every_requirement_on_its_project() {
        let requirements = |text: &str| -> Vec<Requirement> {
            text.split(" & ").filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
        };
        let check = |overrides: &str, before: &str, after: &str| {
            let before = requirements(before);
            let applied = Overrides::new(&requirements(overrides)).applied(&before).into_owned();
            assert_eq!(applied, requirements(after), "{overrides}");
        };
        check("", "a<1 & b", "a<1 & b");
        check("a>=2", "a[x]<1 ; python_version < '3' & b", "a>=2 & b");
        check("a>=2 & a>=3 ; sys_platform == 'linux'", "a", "a>=2 & a>=3 ; sys_platform == 'linux'");
        check(
            "a ; sys_platform == 'never'",
            "a<1 ; extra == 'x'",
            "a ; sys_platform == 'never' and extra == 'x'",
        );
    }
}

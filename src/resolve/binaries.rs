//! The demands that binaries make: what the ELF files of a distribution are linked with or open by name, and nobody beside
//! them brings.

use std::collections::{BTreeMap, BTreeSet};

use uv_normalize::PackageName;
use uv_pep440::{Version, VersionSpecifier};

use super::ResolutionRequest;
use super::components::{Demanded, reachable, requirement};
use super::demand::{BinaryLink, Demander};
use super::installed::is_installed;
use super::solve::{Catalog, CatalogError, Chosen, Solution};
use crate::cuda::{Component, ComponentWheel, binary_use, declares_all, is_without_cuda};
use crate::pypa::metadata::Requirement;
use crate::pypa::needs::{self, BinaryFile, BinaryNeeds};
use crate::pypa::simple::DistFile;
use crate::recipe::Policy;

/// The CUDA majors that wheels are known for.
const MAJORS: [u32; 3] = [13, 12, 11];

/// One binary's need of one library of CUDA.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LibraryNeed {
    pub component: Component,
    pub soname: String,
    pub link: BinaryLink,
    /// The binary's path in its wheel.
    pub path: String,
}

/// The needs of one distribution's binaries from CUDA.
#[derive(Debug, Clone)]
pub(super) struct NeedyDistribution {
    pub name: PackageName,
    pub version: Version,
    /// The needs of each binary.
    needs: Vec<Vec<LibraryNeed>>,
    /// The distributions whose libraries the binaries are linked with, or that it requires.
    pub beside: BTreeSet<PackageName>,
}

/// By name, the distributions whose binaries need something of CUDA.
pub(super) type NeedyDistributions = BTreeMap<PackageName, NeedyDistribution>;

/// Reads the needs of the binaries in a solution's wheels, as far as their metadata does not say them.
pub(super) fn needy(
    request: &ResolutionRequest<'_>,
    solution: &Solution,
    catalog: &dyn Catalog,
) -> Result<NeedyDistributions, CatalogError> {
    if matches!(request.policies.default, Policy::Cpu | Policy::Pip) {
        return Ok(NeedyDistributions::new());
    }
    let wheels = solution.distributions.values().filter(|chosen| !is_installed(&chosen.wheel));
    catalog.prefetch_outlines(wheels.clone().map(|chosen| chosen.wheel.clone()).collect());
    let unknown: Vec<&Chosen> = wheels.filter(|chosen| may_need(&chosen.name)).collect();
    let mut read = Vec::new();
    for chosen in unknown {
        let outline = catalog.outline(&chosen.wheel)?;
        if !needs::are_ruled_out(&outline) {
            read.push(chosen);
        }
    }
    catalog.prefetch_needs(read.iter().map(|chosen| chosen.wheel.clone()).collect());
    let mut needy = NeedyDistributions::new();
    for chosen in read {
        let needs = catalog.needs(&chosen.wheel)?;
        let of_cuda: Vec<_> = needs.files.iter().map(|file| of_file(&chosen.name, file)).collect();
        if of_cuda.iter().any(|needs| !needs.is_empty()) {
            let mut found = beside(chosen, &needs, of_cuda, solution, catalog)?;
            found.needs.extend(of_headers(&chosen.name, &needs));
            needy.insert(chosen.name.clone(), found);
        }
    }
    needy.retain(|_, found| found.needs.iter().any(|needs| !needs.is_empty()));
    Ok(needy)
}

/// Returns whether the binaries of a distribution may need something that its metadata does not say.
fn may_need(name: &PackageName) -> bool {
    let name = name.as_ref();
    ComponentWheel::of(name).is_none() && !declares_all(name) && !is_without_cuda(name)
}

/// The needs of one binary that its work depends on.
fn of_file(name: &PackageName, file: &BinaryFile) -> Vec<LibraryNeed> {
    let parts = binary_use(name.as_ref());
    if parts.is_optional_file(&file.path) {
        return Vec::new();
    }
    let need = |link, (component, soname): (Component, &str)| LibraryNeed {
        component,
        soname: soname.to_owned(),
        link,
        path: file.path.clone(),
    };
    let linked = file.linked_with_cuda().filter(|(component, _)| !parts.is_optional(*component));
    let opened = file.opens_of_cuda().filter(|(component, _)| parts.opens.contains(&component.name()));
    let linked = linked.map(|it| need(BinaryLink::Linked, it));
    linked.chain(opened.map(|it| need(BinaryLink::Opened, it))).collect()
}

/// The headers that a distribution compiles with.
fn of_headers(name: &PackageName, needs: &BinaryNeeds) -> Option<Vec<LibraryNeed>> {
    let headers = binary_use(name.as_ref()).headers.iter();
    let path = &needs.files.first()?.path;
    let needs = headers.filter_map(|(header, component)| {
        Some(LibraryNeed {
            component: Component::named(component)?,
            soname: (*header).to_owned(),
            link: BinaryLink::Compiled,
            path: path.clone(),
        })
    });
    Some(needs.collect())
}

/// The needs of a distribution that no wheel beside it brings, and those beside it.
fn beside(
    chosen: &Chosen,
    needs: &BinaryNeeds,
    of_cuda: Vec<Vec<LibraryNeed>>,
    solution: &Solution,
    catalog: &dyn Catalog,
) -> Result<NeedyDistribution, CatalogError> {
    let linked: BTreeSet<&str> =
        needs.files.iter().flat_map(|file| &file.linked).map(String::as_str).collect();
    let required: BTreeSet<&PackageName> =
        reachable(chosen, solution).into_iter().map(|(_, other)| &other.name).collect();
    let mut beside = BTreeSet::new();
    let mut brought: BTreeSet<String> = BTreeSet::new();
    let others = solution.distributions.values().filter(|other| other.name != chosen.name);
    for other in others.filter(|other| !is_installed(&other.wheel) && brings_libraries(other)) {
        let names = file_names(&other.wheel, catalog)?;
        let is_linked = linked.iter().any(|name| names.contains(*name));
        if is_linked || required.contains(&other.name) {
            brought.extend(names);
            beside.insert(other.name.clone());
        }
    }
    beside.extend(required.into_iter().filter(|name| **name != chosen.name).cloned());
    let is_missing = |need: &LibraryNeed| !brought.contains(&need.soname);
    let of_cuda = of_cuda.into_iter().map(|needs| needs.into_iter().filter(is_missing).collect());
    Ok(NeedyDistribution {
        name: chosen.name.clone(),
        version: chosen.version.clone(),
        needs: of_cuda.collect(),
        beside,
    })
}

/// Returns whether a distribution may have libraries that others are linked with: those that are not read may, too.
fn brings_libraries(chosen: &Chosen) -> bool {
    ComponentWheel::of(chosen.name.as_ref()).is_none() && !is_without_cuda(chosen.name.as_ref())
}

fn file_names(wheel: &DistFile, catalog: &dyn Catalog) -> Result<BTreeSet<String>, CatalogError> {
    let outline = catalog.outline(wheel)?;
    let names = needs::binaries(&outline).filter_map(|path| path.rsplit('/').next());
    Ok(names.map(str::to_owned).collect())
}

impl NeedyDistribution {
    /// The CUDA majors that its binaries are built for: several where it has variants of a file, none where nothing
    /// tells.
    pub(super) fn majors(&self) -> BTreeSet<u32> {
        let told = |link| {
            let needs = self.needs.iter().flatten().filter(move |need| need.link == link);
            needs.filter_map(|need| need.component.major_of_library(&need.soname)).collect::<BTreeSet<u32>>()
        };
        let linked = told(BinaryLink::Linked);
        match linked.is_empty() {
            true => Some(told(BinaryLink::Opened)).filter(|opened| !opened.is_empty()),
            false => Some(linked),
        }
        .unwrap_or_else(|| major_in_name(&self.name).into_iter().collect())
    }

    /// The need that tells a CUDA major, first of all those of what is linked.
    pub(super) fn evidence(&self, major: u32) -> Option<&LibraryNeed> {
        let tells = |need: &&LibraryNeed| need.component.major_of_library(&need.soname) == Some(major);
        let needs = || self.needs.iter().flatten().filter(tells);
        let is_runtime = |need: &&LibraryNeed| need.component.is_runtime();
        needs().find(is_runtime).or_else(|| needs().next())
    }

    /// The binary that is linked with libraries of CUDA `major`, and these, in words.
    pub(super) fn told(&self, major: u32) -> Option<String> {
        let tells = |need: &LibraryNeed| need.component.major_of_library(&need.soname) == Some(major);
        let needs = self.needs.iter().find(|needs| needs.iter().any(tells))?;
        let names: Vec<&str> = needs.iter().map(|need| need.soname.as_str()).collect();
        let path = &needs.first()?.path;
        Some(format!("{path} of {} {} is linked with {}", self.name, self.version, names.join(", ")))
    }

    /// The demands of its binaries where CUDA `major` serves it.
    pub(super) fn demanded(&self, major: u32) -> Vec<Demanded> {
        let for_other = |needs: &&Vec<LibraryNeed>| {
            needs
                .iter()
                .any(|need| need.component.major_of_library(&need.soname).is_some_and(|of| of != major))
        };
        let mut seen = BTreeSet::new();
        let needs = self.needs.iter().filter(|needs| !for_other(needs)).flatten();
        needs
            .filter(|need| seen.insert((need.component, need.soname.clone())))
            .filter_map(|need| Some((self.demander(need), requirement_on(need, major)?)))
            .collect()
    }

    fn demander(&self, need: &LibraryNeed) -> Demander {
        Demander::Binary {
            name: self.name.clone(),
            version: self.version.clone(),
            link: need.link,
            soname: need.soname.clone(),
            path: need.path.clone(),
        }
    }
}

/// The requirement on the component of a CUDA major that has the library.
fn requirement_on(need: &LibraryNeed, major: u32) -> Option<Requirement> {
    if !MAJORS.contains(&major) {
        return None;
    }
    let distribution: PackageName = need.component.distribution(major).parse().ok()?;
    let numbers = need.component.version_of_library(&need.soname);
    let versions =
        (!numbers.is_empty()).then(|| VersionSpecifier::equals_star_version(Version::new(numbers)));
    Some(requirement(&distribution, versions))
}

/// 12 of `cupy-cuda12x`, `faiss-gpu-cu12` and `nvidia-dali-cuda120`.
pub(super) fn major_in_name(name: &PackageName) -> Option<u32> {
    let of_part = |part: &str| {
        let digits = part.strip_prefix("cuda").or_else(|| part.strip_prefix("cu"))?;
        MAJORS.into_iter().find(|major| digits.starts_with(&major.to_string()))
    };
    name.as_ref().split('-').find_map(of_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_a_cuda_where_they_end_in_it() {
        let told = |name: &str| major_in_name(&name.parse().unwrap());
        for (name, major) in [
            ("cupy-cuda12x", Some(12)),
            ("faiss-gpu-cu12", Some(12)),
            ("nvidia-dali-cuda120", Some(12)),
            ("mxnet-cu112", Some(11)),
            ("libcudf-cu13", Some(13)),
            ("torch", None),
            ("cuda-python", None),
            ("curious", None),
        ] {
            assert_eq!(told(name), major, "{name}");
        }
    }
}

//! The files of the base that an image hides: whiteouts, in a layer below all that is added.
//!
//! <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts>

use std::collections::BTreeSet;

use super::generate::Maker;
use super::{GeneratedLayer, LayerCompression, PlanRequest};
use crate::base::{BaseInventory, CudaCopy, InstalledDistribution};
use crate::oci::Generated;
use crate::oci::paths::ancestors;
use crate::resolve::demand::soname;
use crate::resolve::{Resolution, Service, ServiceSource};

/// The layer of whiteouts; `None` where nothing is hidden.
pub(super) fn hidden(request: &PlanRequest<'_>) -> Option<GeneratedLayer> {
    let files = removals(request.resolution, &request.base.inventory, request.created);
    let compression = LayerCompression::of(&request.inputs.recipe.layers);
    (!files.is_empty()).then_some(GeneratedLayer { files, compression })
}

/// The whiteouts of what the resolution removes, sorted by path: distributions that are replaced, and libraries in a
/// toolkit's directory whose SONAME another serves there.
fn removals(resolution: &Resolution, base: &BaseInventory, mtime: u64) -> Vec<Generated> {
    let make = Maker { mtime };
    let is_removed = |installed: &&InstalledDistribution| {
        resolution
            .removed
            .iter()
            .any(|removed| (&removed.name, &removed.version) == (&installed.name, &installed.version))
    };
    let mut hidden: BTreeSet<String> = BTreeSet::new();
    let (gone, staying): (Vec<_>, Vec<_>) = base.distributions.iter().partition(is_removed);
    let occupied: BTreeSet<&str> = staying
        .iter()
        .flat_map(|installed| installed.files.iter().flat_map(|file| ancestors(file)))
        .collect();
    for installed in gone {
        let top = installed.directory.rsplit_once('/').map_or("", |(above, _)| above);
        hidden.extend(installed.files.iter().map(|file| own_directory(file, top, &occupied).to_owned()));
        hidden.insert(installed.directory.clone());
    }
    hidden.extend(resolution.services.iter().flat_map(|service| shadowed(service, resolution, base)));
    let is_covered = |path: &str| ancestors(path).any(|above| hidden.contains(above));
    let mut files: Vec<Generated> =
        hidden.iter().filter(|path| !is_covered(path)).map(|path| make.whiteout(path)).collect();
    files.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    files
}

/// The highest directory below `top` in which `file` lies and nothing of another distribution does; else `file`.
fn own_directory<'a>(file: &'a str, top: &str, occupied: &BTreeSet<&str>) -> &'a str {
    let below = |directory: &&str| directory.strip_prefix(top).is_some_and(|rest| rest.starts_with('/'));
    ancestors(file).find(|directory| below(directory) && !occupied.contains(*directory)).unwrap_or(file)
}

/// The base's libraries that lie where the wheel of `service` is laid out under other names: `ldconfig` would take the
/// one whose name sorts last.
fn shadowed<'a>(
    service: &'a Service,
    resolution: &'a Resolution,
    base: &'a BaseInventory,
) -> impl Iterator<Item = String> + 'a {
    let directory = resolution.tree_of(service.cuda_major).map(|tree| tree.toolkit.library_directory());
    let is_same = move |copy: &&CudaCopy| {
        matches!(service.source, ServiceSource::Wheel)
            && copy.component == service.component
            && copy.version.as_ref().map(|version| soname(copy.component, version))
                == Some(soname(service.component, &service.version))
            && directory.as_ref() == Some(&copy.directory)
    };
    base.cuda
        .iter()
        .filter(is_same)
        .flat_map(|copy| copy.libraries.iter().map(|library| library.path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_as_a_whole_when_nothing_else_is_in_it() {
        let occupied = BTreeSet::from(["site", "site/nvidia", "site/nvidia/cudnn"]);
        let own = |file| own_directory(file, "site", &occupied);
        assert_eq!(own("site/nvidia/cublas/lib/libcublas.so.12"), "site/nvidia/cublas");
        assert_eq!(own("site/nvidia/__init__.py"), "site/nvidia/__init__.py");
        assert_eq!(own("site/cublas.pth"), "site/cublas.pth");
        assert_eq!(own("bin/tool"), "bin/tool");
    }
}

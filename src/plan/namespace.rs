//! `nvidia` of site-packages: where component wheels have their files, and where libraries look for them.
//!
//! JAX's plugin, `torch` after a failure of the loader, onnxruntime and others import `nvidia.cublas` or look into
//! `nvidia/cublas/lib`. Links lead them to the one copy.

use super::generate::Maker;
use crate::base::CudaCopy;
use crate::cuda::Toolkit;
use crate::oci::Generated;
use crate::pypa::scheme::relative;
use crate::resolve::{FoundBy, PipSees, Resolution, Service, ServiceSource, Tree};

/// The links below `nvidia` of `site_packages`.
///
/// With two CUDA majors there are those of the one that only frameworks find, and no others: the majors' wheels share
/// directories, and frameworks of one would look into those of the other.
pub(super) fn links(make: &Maker, resolution: &Resolution, site_packages: &str) -> Vec<Generated> {
    let nvidia = format!("{site_packages}/nvidia");
    let of_frameworks = |tree: &&Tree| tree.found == FoundBy::Frameworks;
    let mut files: Vec<Generated> = match resolution.trees.iter().find(of_frameworks) {
        Some(tree) => of_toolkit(make, &tree.toolkit, &format!("{nvidia}/cu{}", tree.toolkit.version.0)),
        None => resolution
            .services
            .iter()
            .flat_map(|service| of_service(make, service, resolution, &nvidia))
            .collect(),
    };
    if !files.is_empty() {
        files.push(make.directory(&nvidia));
    }
    files
}

fn of_service(make: &Maker, service: &Service, resolution: &Resolution, nvidia: &str) -> Vec<Generated> {
    let Some(folder) = service.component.wheel_directory(service.cuda_major) else { return Vec::new() };
    let directory = format!("{nvidia}/{folder}");
    let tree = resolution.tree_of(service.cuda_major);
    let is_shared = folder == format!("cu{}", service.cuda_major);
    match &service.source {
        // The directory that all share leads to the tree, where there is one; the loader finds the rest.
        ServiceSource::Base { .. } if is_shared && tree.is_some() => Vec::new(),
        ServiceSource::Base { copy, pip: PipSees::MadeUp, .. } => of_copy(make, service, copy, &directory),
        ServiceSource::Wheel => {
            let Some(tree) = tree else { return Vec::new() };
            match is_shared {
                true => of_toolkit(make, &tree.toolkit, &directory),
                false => of_wheel(make, service, &tree.toolkit, &directory),
            }
        }
        ServiceSource::Base { .. } | ServiceSource::Pip => Vec::new(),
    }
}

/// As the wheel has it: whole directories of the tree.
fn of_wheel(make: &Maker, service: &Service, toolkit: &Toolkit, directory: &str) -> Vec<Generated> {
    let library = service.component.has_libraries();
    let program = service.component.essential_programs().next().is_some();
    let all = of_toolkit(make, toolkit, directory);
    let wanted = |file: &Generated| match file.entry.path.rsplit('/').next() {
        Some("lib") => library,
        Some("bin" | "nvvm") => program,
        _ => true,
    };
    all.into_iter().filter(wanted).collect()
}

/// The parts of a toolkit that wheels have, as links in `directory`.
fn of_toolkit(make: &Maker, toolkit: &Toolkit, directory: &str) -> Vec<Generated> {
    let include = format!("{}/targets/{}/include", toolkit.root(), toolkit.target());
    let parts = [
        ("lib", toolkit.library_directory()),
        ("include", include),
        ("bin", format!("{}/bin", toolkit.root())),
        ("nvvm", format!("{}/nvvm", toolkit.root())),
    ];
    let link = |(name, target): (&str, String)| {
        make.link(&format!("{directory}/{name}"), &relative(directory, &target))
    };
    std::iter::once(make.directory(directory)).chain(parts.map(link)).collect()
}

/// What the base has, file by file: its directory may be one of the system's, with much else in it.
fn of_copy(make: &Maker, service: &Service, copy: &CudaCopy, directory: &str) -> Vec<Generated> {
    let library = format!("{directory}/lib");
    let mut files = vec![make.directory(directory)];
    if !copy.libraries.is_empty() {
        files.push(make.directory(&library));
    }
    files.extend(make.library_links(copy, &library));
    let has_programs = service.component.essential_programs().next().is_some();
    if let Some(toolkit) = copy.toolkit.as_ref().filter(|_| has_programs) {
        for part in ["bin", "nvvm"] {
            let target = relative(directory, &format!("{toolkit}/{part}"));
            files.push(make.link(&format!("{directory}/{part}"), &target));
        }
    }
    files
}

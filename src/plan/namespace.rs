//! `nvidia` of site-packages: where component wheels have their files, and where libraries look for them.
//!
//! JAX's plugin, `torch` after a failure of the loader, onnxruntime and others import `nvidia.cublas` or look into
//! `nvidia/cublas/lib`. Links lead them to the one copy.

use super::generate::Maker;
use crate::base::CudaCopy;
use crate::cuda::Toolkit;
use crate::oci::Generated;
use crate::pypa::scheme::relative;
use crate::resolve::{FoundBy, PipSees, Resolution, Service, ServiceSource, ToolkitTree};

/// The links below `nvidia` of `site_packages`.
///
/// With two CUDA majors there are those of the one that only frameworks find, and no others: the majors' wheels share
/// directories, and frameworks of one would look into those of the other.
pub(super) fn links(make: &Maker, resolution: &Resolution, site_packages: &str) -> Vec<Generated> {
    let nvidia = format!("{site_packages}/nvidia");
    let of_frameworks = |tree: &&ToolkitTree| tree.found == FoundBy::Frameworks;
    let mut files: Vec<Generated> = match resolution.trees.iter().find(of_frameworks) {
        Some(tree) => of_tree(make, tree, resolution, &format!("{nvidia}/cu{}", tree.toolkit.version.0)),
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
                true => of_tree(make, tree, resolution, &directory),
                false => of_wheel(make, service, &tree.toolkit, &directory),
            }
        }
        ServiceSource::Base { .. } | ServiceSource::Sibling { .. } | ServiceSource::Pip => Vec::new(),
    }
}

/// The directories that all wheels of a CUDA major share: those of the tree that are made, or to which a service brings
/// something.
fn of_tree(make: &Maker, tree: &ToolkitTree, resolution: &Resolution, directory: &str) -> Vec<Generated> {
    let of_major = |service: &&Service| service.cuda_major == tree.toolkit.version.0;
    let services = || resolution.services.iter().filter(of_major);
    let is_made = |part: &str| !tree.exists && part != "nvvm";
    of_toolkit(make, &tree.toolkit, directory, |part| {
        is_made(part) || services().any(|service| brings(service, &tree.toolkit, part))
    })
}

/// Returns whether a service has something in a directory of its toolkit's tree, as far as is known: the headers of a
/// toolkit are where its compiler is.
fn brings(service: &Service, toolkit: &Toolkit, part: &str) -> bool {
    let component = service.component;
    match &service.source {
        ServiceSource::Wheel => match part {
            "lib" => component.has_libraries(),
            "bin" => component.essential_programs().next().is_some(),
            "nvvm" => component.brings_nvvm(service.cuda_major),
            _ => true,
        },
        ServiceSource::Base { copy, linked_in, .. } => {
            let is_in_tree = copy.toolkit.as_ref() == Some(&toolkit.root());
            match part {
                "lib" => !copy.libraries.is_empty() && (is_in_tree || linked_in.is_some()),
                "include" => is_in_tree && !copy.programs.is_empty(),
                _ => is_in_tree && has_programs_in(copy, part),
            }
        }
        ServiceSource::Sibling { .. } | ServiceSource::Pip => false,
    }
}

fn has_programs_in(copy: &CudaCopy, part: &str) -> bool {
    copy.programs.iter().any(|program| program.split('/').next() == Some(part))
}

/// As the wheel has it: whole directories of the tree.
fn of_wheel(make: &Maker, service: &Service, toolkit: &Toolkit, directory: &str) -> Vec<Generated> {
    of_toolkit(make, toolkit, directory, |part| brings(service, toolkit, part))
}

/// The `wanted` parts of a toolkit, as links in `directory` that are named as wheels have them.
fn of_toolkit(
    make: &Maker,
    toolkit: &Toolkit,
    directory: &str,
    wanted: impl Fn(&str) -> bool,
) -> Vec<Generated> {
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
    let wanted = parts.into_iter().filter(|(name, _)| wanted(name));
    std::iter::once(make.directory(directory)).chain(wanted.map(link)).collect()
}

/// Links the base's copy file by file: its directory may be one of the system's, with much else in it.
fn of_copy(make: &Maker, service: &Service, copy: &CudaCopy, directory: &str) -> Vec<Generated> {
    let library = format!("{directory}/lib");
    let mut files = vec![make.directory(directory)];
    if !copy.libraries.is_empty() {
        files.push(make.directory(&library));
    }
    files.extend(make.library_links(copy, &library));
    let has_programs = service.component.essential_programs().next().is_some();
    if let Some(toolkit) = copy.toolkit.as_ref().filter(|_| has_programs) {
        for part in ["bin", "nvvm"].into_iter().filter(|part| has_programs_in(copy, part)) {
            let target = relative(directory, &format!("{toolkit}/{part}"));
            files.push(make.link(&format!("{directory}/{part}"), &target));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::Component;
    use crate::oci::Architecture;

    /// The links below `nvidia/cuNN` where wheels serve `components`, in a tree of the base or a new one.
    fn names(cuda_major: u32, components: &[&str], exists: bool) -> Vec<String> {
        let toolkit = Toolkit { version: (cuda_major, 0), architecture: Architecture::Amd64 };
        let service = |name: &&str| {
            let component = Component::named(name).unwrap();
            Service {
                component,
                cuda_major,
                distribution: component.distribution(cuda_major).parse().unwrap(),
                version: "13.0".parse().unwrap(),
                source: ServiceSource::Wheel,
                demands: Vec::new(),
                rejected: Vec::new(),
            }
        };
        let resolution = Resolution {
            services: components.iter().map(service).collect(),
            trees: vec![ToolkitTree { toolkit, exists, found: FoundBy::Loader }],
            ..Resolution::default()
        };
        let links = links(&Maker { mtime: 0 }, &resolution, "packages").into_iter();
        let names =
            links.filter_map(|file| Some(file.entry.path.strip_prefix("packages/nvidia/")?.to_owned()));
        let mut names: Vec<String> = names.filter(|name| name.contains('/')).collect();
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn the_shared_directory_leads_to_what_a_service_brings() {
        assert_eq!(names(13, &["cuda-nvrtc"], false), ["cu13/bin", "cu13/include", "cu13/lib"]);
        assert_eq!(names(13, &["cuda-nvrtc"], true), ["cu13/include", "cu13/lib"]);
        assert_eq!(names(13, &["nvvm"], false), ["cu13/bin", "cu13/include", "cu13/lib", "cu13/nvvm"]);
        assert_eq!(
            names(13, &["cuda-nvcc", "nvvm"], true),
            ["cu13/bin", "cu13/include", "cu13/lib", "cu13/nvvm"]
        );
    }

    #[test]
    fn the_directory_of_one_wheel_leads_to_what_that_wheel_has() {
        assert_eq!(names(12, &["cublas"], false), ["cublas/include", "cublas/lib"]);
        assert_eq!(
            names(12, &["cuda-nvcc"], false),
            ["cuda_nvcc/bin", "cuda_nvcc/include", "cuda_nvcc/nvvm"]
        );
    }
}

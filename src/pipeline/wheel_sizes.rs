//! Looks into the wheels of a resolution: how large they are unpacked, and what private copies of CUDA would have weighed.

use std::collections::BTreeMap;

use url::Url;
use uv_normalize::PackageName;
use uv_pep440::Version;

use super::wheel_urls::listed;
use crate::failure::{Context, Result};
use crate::oci::Digest;
use crate::plan::Wheels;
use crate::pypa::simple::DistFile;
use crate::resolve::solve::Catalog;
use crate::resolve::{Distribution, PrivateComponent, Resolution, Role};

/// The CUDA that pip would have installed for each framework by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrivateCuda {
    /// By framework: the unpacked size in bytes of the components that it asks for.
    pub by_framework: BTreeMap<String, u64>,
}

/// The contents of the wheels, as far as plans and reports need them.
pub(super) struct WheelSizes {
    pub wheels: Wheels,
    /// The URLs of the wheels, by their digests.
    pub urls: BTreeMap<Digest, Url>,
    pub private: PrivateCuda,
}

impl WheelSizes {
    /// Reads the sizes of the wheels of a resolution.
    pub(super) fn read(resolution: &Resolution, catalog: &dyn Catalog) -> Result<Self> {
        let files = resolution.distributions.iter().map(|distribution| hashed(distribution, catalog));
        let files: Vec<(Digest, DistFile)> = files.collect::<Result<_>>()?;
        let pinned = pinned_files(resolution, catalog)?;
        catalog
            .prefetch_outlines(files.iter().map(|(_, file)| file).chain(pinned.values()).cloned().collect());
        let (mut wheels, mut urls) = (Wheels::new(), BTreeMap::new());
        for (digest, file) in files {
            wheels.insert(file.filename.to_string(), (digest, unpacked_size(&file, catalog)?));
            urls.insert(digest, file.url);
        }
        let private = private_cuda(resolution, &wheels, &pinned, catalog)?;
        Ok(Self { wheels, urls, private })
    }
}

/// The wheel of a distribution with its hash, as the indexes list it.
fn hashed(distribution: &Distribution, catalog: &dyn Catalog) -> Result<(Digest, DistFile)> {
    let wheel = &distribution.wheel;
    let digest = wheel.sha256.context("a wheel of the resolution was not hashed")?;
    if let Some(file) = built(distribution) {
        return Ok((digest, file));
    }
    Ok((digest, listed(&distribution.name, &wheel.filename, wheel.sha256, catalog)?))
}

/// A wheel that was built, which no index lists and the store has.
fn built(distribution: &Distribution) -> Option<DistFile> {
    let (wheel, from) = (&distribution.wheel, distribution.built.as_ref()?);
    let url = Url::parse(&format!("built:///{}", from.file)).ok()?;
    Some(DistFile { sha256: wheel.sha256, size: wheel.size, ..DistFile::bare(wheel.filename.clone(), url) })
}

/// The wheels of components that frameworks pin at other versions than those that are served.
type PinnedFiles = BTreeMap<(PackageName, Version), DistFile>;

/// The weight of every framework's own components: at the version that it pins, or else at the one that is served.
fn private_cuda(
    resolution: &Resolution,
    wheels: &Wheels,
    pinned: &PinnedFiles,
    catalog: &dyn Catalog,
) -> Result<PrivateCuda> {
    let mut by_framework = BTreeMap::new();
    for distribution in &resolution.distributions {
        let mut sum = 0;
        for component in private_components(distribution) {
            let served = served(resolution, &component.distribution)
                .and_then(|served| wheels.get(&served.wheel.filename.to_string()))
                .map(|(_, size)| *size);
            let own = pinned_at(component).and_then(|at| pinned.get(&at));
            let own = own.map(|file| unpacked_size(file, catalog)).transpose()?;
            sum += own.or(served).unwrap_or_default();
        }
        if sum > 0 {
            by_framework.insert(format!("{} {}", distribution.name, distribution.version), sum);
        }
    }
    Ok(PrivateCuda { by_framework })
}

fn pinned_files(resolution: &Resolution, catalog: &dyn Catalog) -> Result<PinnedFiles> {
    let mut files = PinnedFiles::new();
    for (name, version) in resolution.distributions.iter().flat_map(private_components).filter_map(pinned_at)
    {
        if let Some(file) = pinned_file(resolution, &name, &version, catalog)? {
            files.insert((name, version), file);
        }
    }
    Ok(files)
}

fn private_components(distribution: &Distribution) -> &[PrivateComponent] {
    match &distribution.role {
        Role::Package { private } => private,
        Role::Component { .. } | Role::Metapackage => &[],
    }
}

/// The distribution and the version that a framework pins.
fn pinned_at(component: &PrivateComponent) -> Option<(PackageName, Version)> {
    Some((component.distribution.clone(), component.pinned.clone()?))
}

fn unpacked_size(file: &DistFile, catalog: &dyn Catalog) -> Result<u64> {
    Ok(catalog.outline(file)?.entries.iter().map(|entry| entry.size).sum())
}

/// The distribution of this name; of several SONAMEs side by side, the newest.
fn served<'a>(resolution: &'a Resolution, name: &PackageName) -> Option<&'a Distribution> {
    resolution.distributions.iter().rfind(|distribution| distribution.name == *name)
}

/// The wheel with the platform of the one that is served, at another version.
fn pinned_file(
    resolution: &Resolution,
    name: &PackageName,
    version: &Version,
    catalog: &dyn Catalog,
) -> Result<Option<DistFile>> {
    let Some(served) = served(resolution, name) else {
        return Ok(None);
    };
    if served.version == *version {
        return Ok(None);
    }
    let machine = served.wheel.filename.platform_tags().iter().find_map(|tag| machine_of(&tag.to_string()));
    let project = catalog.project(name)?;
    let same_platform = project.files.iter().find(|file| {
        let tags = file.filename.platform_tags();
        file.filename.version == *version && tags.iter().any(|tag| machine_of(&tag.to_string()) == machine)
    });
    Ok(same_platform.cloned())
}

fn machine_of(platform_tag: &str) -> Option<&'static str> {
    let linux = platform_tag.contains("linux");
    ["x86_64", "aarch64"].into_iter().find(|machine| linux && platform_tag.ends_with(machine))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::pypa::metadata::CoreMetadata;
    use crate::pypa::needs::BinaryNeeds;
    use crate::pypa::simple::Project;
    use crate::pypa::wheel::{Outline, WheelEntry};
    use crate::resolve::ChosenWheel;
    use crate::resolve::solve::{CatalogError, Scout, Want, WheelLibrary};

    /// An index with one wheel of every version from 1 to 3 of every project, which writes down what it is asked for.
    #[derive(Default)]
    struct Listing(Mutex<Vec<String>>);

    impl Listing {
        fn note(&self, line: String) {
            self.0.lock().unwrap().push(line);
        }
    }

    fn file(name: &PackageName, version: u64) -> DistFile {
        let filename = format!("{}-{version}-py3-none-manylinux_2_17_x86_64.whl", name.as_dist_info_name());
        let url = Url::parse(&format!("http://localhost/{filename}")).unwrap();
        DistFile { sha256: Some(Digest::of(&filename)), ..DistFile::bare(filename.parse().unwrap(), url) }
    }

    impl Catalog for Listing {
        fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
            let files = (1..=3).map(|version| file(name, version)).collect();
            Ok(Arc::new(Project { files, ..Project::empty(name.clone()) }))
        }

        fn metadata(&self, _: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
            unreachable!("nobody asks for metadata")
        }

        fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError> {
            self.note(format!("{} {}", wheel.filename.name, wheel.filename.version));
            let size = wheel.filename.version.release()[0];
            Ok(Arc::new(Outline {
                entries: vec![WheelEntry { path: "a".into(), size, compressed_size: size }],
            }))
        }

        fn libraries(&self, _: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
            unreachable!("nobody asks for libraries")
        }

        fn needs(&self, _: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
            unreachable!("nobody asks for needs")
        }

        fn prefetch(&self, _: Vec<Want>, _: &Arc<dyn Scout>) {}

        fn prefetch_metadata(&self, _: Vec<DistFile>) {}

        fn prefetch_outlines(&self, wheels: Vec<DistFile>) {
            self.note(format!("{} ahead", wheels.len()));
        }

        fn prefetch_libraries(&self, _: Vec<DistFile>) {}

        fn prefetch_needs(&self, _: Vec<DistFile>) {}
    }

    fn distribution(name: &str, version: u64, role: Role) -> Distribution {
        let name: PackageName = name.parse().unwrap();
        Distribution {
            wheel: ChosenWheel::from(file(&name, version)),
            version: Version::new([version]),
            metadata: Digest::of(""),
            direct_url: None,
            built: None,
            requested: true,
            required_by: BTreeSet::new(),
            relaxed: BTreeMap::new(),
            name,
            role,
        }
    }

    #[test]
    fn all_that_is_looked_into_is_asked_for_ahead() {
        let pinned = PrivateComponent {
            distribution: "nvidia-nccl-cu12".parse().unwrap(),
            pinned: Some(Version::new([2])),
        };
        let framework = Role::Package { private: vec![pinned] };
        let resolution = Resolution {
            distributions: vec![
                distribution("framework", 1, framework),
                distribution("nvidia-nccl-cu12", 3, Role::Metapackage),
            ],
            ..Resolution::default()
        };
        let catalog = Listing::default();
        let sizes_read = WheelSizes::read(&resolution, &catalog).unwrap();
        let sizes: Vec<u64> = sizes_read.wheels.values().map(|(_, size)| *size).collect();
        assert_eq!((sizes, sizes_read.private.by_framework["framework 1"]), (vec![1, 3], 2));
        assert_eq!(
            *catalog.0.lock().unwrap(),
            ["3 ahead", "framework 1", "nvidia-nccl-cu12 3", "nvidia-nccl-cu12 2"]
        );
    }
}

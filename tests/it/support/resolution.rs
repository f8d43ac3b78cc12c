//! A resolution as tests look at it. What they use of [`imgforge::resolve`] is here and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use imgforge::base::BaseInventory;
use imgforge::pypa::metadata::{CoreMetadata, Requirement};
use imgforge::pypa::scheme::InstallScheme;
use imgforge::pypa::simple::DistFile;
use imgforge::pypa::target::Target;
use imgforge::recipe::Policy;
use imgforge::recipe::RootRequirement;
use imgforge::resolve::solve::Catalog;
use imgforge::resolve::{
    self, ComponentPlace, Distribution, Policies, Preferences, Resolution, ResolutionRequest, ResolveError,
    Role,
};
use uv_normalize::PackageName;
use uv_pep440::Version;

/// A distribution that is installed.
#[derive(Clone)]
pub struct Installed {
    pub name: PackageName,
    pub version: Version,
    pub wheel: DistFile,
    pub metadata: Arc<CoreMetadata>,
    /// Requirements of its metadata, and what pip sees in their place.
    pub relaxed: BTreeMap<String, String>,
    pub part: Part,
}

/// The role of a distribution in CUDA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Package,
    /// A component, which pip sees or not.
    Component {
        name: &'static str,
        visible: bool,
    },
    Metapackage,
}

/// The decisions of a resolution.
pub struct Resolved {
    /// Such as `12.5`, of each toolkit.
    pub toolkits: Vec<String>,
    pub installed: Vec<Installed>,
}

/// Resolves what a recipe has under `frameworks`, separated by ` & `.
pub fn resolve(
    frameworks: &str,
    target: &Target,
    exclude_newer: i64,
    policy: Policy,
    catalog: &dyn Catalog,
) -> Result<Resolved, ResolveError> {
    let requirements = requirements(frameworks);
    let base = bare_base(target);
    let request = ResolutionRequest {
        target,
        base: &base,
        policies: Policies { default: policy, ..Policies::default() },
        preferences: Preferences::new(),
        drivers: Default::default(),
        direct: Default::default(),
        builds: Default::default(),
        prereleases: Default::default(),
        overrides: Vec::new(),
        frameworks: requirements.iter().map(|requirement| requirement.name.clone()).collect(),
        roots: requirements
            .into_iter()
            .map(|requirement| RootRequirement::new(requirement.into(), "the recipe"))
            .collect(),
        constraints: Vec::new(),
        exclude_newer: Some(exclude_newer),
    };
    resolve::resolve(&request, catalog).map(|resolution| resolved(resolution, catalog))
}

/// The requirements of a recipe, separated by ` & `.
pub fn requirements(frameworks: &str) -> Vec<Requirement> {
    frameworks.split(" & ").map(|text| text.parse().unwrap()).collect()
}

/// A base with an interpreter and nothing else.
fn bare_base(target: &Target) -> BaseInventory {
    BaseInventory {
        architecture: imgforge::oci::Architecture::Amd64,
        vendor: "Debian".into(),
        glibc: target.glibc(),
        libc_bin: "2.36-9".parse().unwrap(),
        python: target.python().to_string(),
        scheme: InstallScheme::debian(target.python_minor()),
        externally_managed: String::new(),
        distributions: Vec::new(),
        cuda: Vec::new(),
        default_toolkit: None,
        library_path: Vec::new(),
    }
}

fn resolved(resolution: Resolution, catalog: &dyn Catalog) -> Resolved {
    Resolved {
        toolkits: resolution.toolkits.keys().map(|(major, minor)| format!("{major}.{minor}")).collect(),
        installed: resolution
            .distributions
            .into_iter()
            .map(|distribution| installed(distribution, catalog))
            .collect(),
    }
}

fn installed(distribution: Distribution, catalog: &dyn Catalog) -> Installed {
    let project = catalog.project(&distribution.name).unwrap();
    let same = |file: &&DistFile| file.filename == distribution.wheel.filename;
    let wheel = project.files.iter().find(same).unwrap().clone();
    let metadata = catalog.metadata(&wheel).unwrap();
    assert_eq!(metadata.digest(), distribution.metadata);
    Installed {
        part: match distribution.role {
            Role::Package { .. } => Part::Package,
            Role::Component { component, place, .. } => {
                Part::Component { name: component.name(), visible: place == ComponentPlace::Whole }
            }
            Role::Metapackage => Part::Metapackage,
        },
        name: distribution.name,
        version: distribution.version,
        wheel,
        metadata,
        relaxed: distribution.relaxed,
    }
}

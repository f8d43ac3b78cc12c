//! A resolution as tests look at it. What they use of [`imgforge::resolve`] is here and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;

use imgforge::pypa::metadata::{CoreMetadata, Requirement};
use imgforge::pypa::simple::DistFile;
use imgforge::pypa::target::Target;
use imgforge::resolve::solve::{Catalog, Root};
use imgforge::resolve::{
    self, ComponentPlace, Components, Distribution, Request, Resolution, ResolveError, Role,
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

/// What a distribution is to CUDA.
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

/// What was decided.
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
    components: Components,
    catalog: &dyn Catalog,
) -> Result<Resolved, ResolveError> {
    let requirements = requirements(frameworks);
    let request = Request {
        target,
        components,
        frameworks: requirements.iter().map(|requirement| requirement.name.clone()).collect(),
        roots: requirements
            .into_iter()
            .map(|requirement| Root { requirement, source: "the recipe".into() })
            .collect(),
        constraints: Vec::new(),
        exclude_newer: Some(exclude_newer),
    };
    resolve::resolve(&request, catalog).map(resolved)
}

/// The requirements of a recipe, separated by ` & `.
pub fn requirements(frameworks: &str) -> Vec<Requirement> {
    frameworks.split(" & ").map(|text| text.parse().unwrap()).collect()
}

fn resolved(resolution: Resolution) -> Resolved {
    Resolved {
        toolkits: resolution.toolkit.iter().map(ToString::to_string).collect(),
        installed: resolution.distributions.into_iter().map(installed).collect(),
    }
}

fn installed(distribution: Distribution) -> Installed {
    Installed {
        part: match distribution.role {
            Role::Package { .. } => Part::Package,
            Role::Component { component, place, .. } => {
                Part::Component { name: component.name(), visible: place == ComponentPlace::Whole }
            }
            Role::Metapackage { .. } => Part::Metapackage,
        },
        name: distribution.name,
        version: distribution.version,
        wheel: distribution.wheel,
        metadata: distribution.metadata,
        relaxed: distribution.relaxed,
    }
}

//! Package indexes that tell the user when they are asked for something that takes a while.

use std::sync::Arc;

use uv_normalize::PackageName;

use super::Session;
use crate::net::index::PackageIndex;
use crate::pypa::metadata::CoreMetadata;
use crate::pypa::needs::BinaryNeeds;
use crate::pypa::simple::{DistFile, Project};
use crate::pypa::wheel::Outline;
use crate::resolve::solve::{Catalog, CatalogError, Scout, Want, WheelLibrary};

/// A catalog that announces which wheels' binaries are read.
pub(super) struct Announced<'a> {
    pub index: Arc<PackageIndex>,
    pub session: &'a Session<'a>,
}

impl Catalog for Announced<'_> {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        self.session.progress.at(name.as_ref());
        self.index.project(name)
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        self.session.progress.at(&named(wheel));
        self.index.metadata(wheel)
    }

    fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError> {
        self.session.progress.at(&named(wheel));
        self.index.outline(wheel)
    }

    fn libraries(&self, wheel: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
        self.index.libraries(wheel)
    }

    fn needs(&self, wheel: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
        self.index.needs(wheel)
    }

    fn prefetch(&self, wants: Vec<Want>, scout: &Arc<dyn Scout>) {
        self.index.prefetch(wants, scout);
    }

    fn prefetch_metadata(&self, wheels: Vec<DistFile>) {
        self.index.prefetch_metadata(wheels);
    }

    fn prefetch_outlines(&self, wheels: Vec<DistFile>) {
        self.index.prefetch_outlines(wheels);
    }

    fn prefetch_libraries(&self, wheels: Vec<DistFile>) {
        self.index.prefetch_libraries(wheels);
    }

    fn prefetch_needs(&self, wheels: Vec<DistFile>) {
        let wheels: Vec<DistFile> =
            wheels.into_iter().filter(|wheel| !self.index.knows_needs(wheel)).collect();
        if !wheels.is_empty() {
            let names: Vec<String> = wheels.iter().map(named).collect();
            self.session.progress.stage(&format!("reading the libraries of {}", names.join(", ")));
        }
        self.index.prefetch_needs(wheels);
    }
}

fn named(wheel: &DistFile) -> String {
    format!("{} {}", wheel.filename.name, wheel.filename.version)
}

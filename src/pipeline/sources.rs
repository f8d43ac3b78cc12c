//! The places that a recipe's distributions come from: its own, those of its requirements files, and the machine's.

use std::collections::BTreeMap;

use uv_normalize::PackageName;

use super::Session;
use crate::beneath::FileRoot;
use crate::failure::{Context, Result};
use crate::net::config::{self, ConfiguredIndex, MachineConfig, PackageSources, WheelPlaces};
use crate::net::directory::WheelDirectory;
use crate::pypa::simple::Project;
use crate::recipe::{Index, IndexLocation, RecipeInputs};

/// The places of `inputs`, in the order in which they are asked; of `projects` no other files are taken than these.
pub(super) fn sources(
    inputs: &RecipeInputs,
    projects: BTreeMap<PackageName, Project>,
    session: &Session<'_>,
) -> Result<PackageSources> {
    let machine = config::sources(&MachineConfig::here())?;
    let mut indexes = Vec::new();
    for index in inputs.recipe.indexes.iter().chain(&inputs.project_indexes) {
        indexes.push(configured(index, inputs, session)?);
    }
    indexes.extend(inputs.extra_index_urls.iter().cloned().map(ConfiguredIndex::new));
    match &inputs.index_url {
        Some(url) => indexes.push(ConfiguredIndex::new(url.clone())),
        None if inputs.no_index => {}
        None => indexes.extend(machine.indexes),
    }
    let own_links = inputs.recipe.find_links.iter().map(|links| &links.value);
    let mut links = Vec::new();
    for location in own_links.chain(&inputs.find_links) {
        links.push(places(location, inputs, session)?);
    }
    links.extend(machine.links);
    Ok(PackageSources { projects, links, indexes })
}

fn configured(index: &Index, inputs: &RecipeInputs, session: &Session<'_>) -> Result<ConfiguredIndex> {
    Ok(ConfiguredIndex {
        packages: Some(index.packages.clone()).filter(|packages| !packages.is_empty()),
        missing: index.missing.iter().map(|status| status.0).collect(),
        ..ConfiguredIndex::at(places(&index.location.value, inputs, session)?)
    })
}

fn places(location: &IndexLocation, inputs: &RecipeInputs, session: &Session<'_>) -> Result<WheelPlaces> {
    match location {
        IndexLocation::Url(url) => Ok(WheelPlaces::Url(url.clone())),
        IndexLocation::Path(path) => {
            let root = FileRoot::open(&inputs.directory, session.outside)
                .with_context(|| format!("could not read `{}`", inputs.directory.display()))?;
            let directory = WheelDirectory::open(root, &inputs.directory.join(path))?;
            Ok(WheelPlaces::Directory(directory))
        }
    }
}

//! Wheels of a lock that were built from sources, and that the store lacks: built again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Session;
use super::built_wheels::{BuildBase, BuiltWheels};
use super::locked_projects::LockedProjects;
use super::named_projects::NamedProjects;
use super::wheel_urls::WheelUrls;
use crate::failure::Result;
use crate::net::index::{Freshness, PackageIndex};
use crate::oci::Digest;
use crate::recipe::RecipeInputs;
use crate::resolve::{BuiltFrom, Distribution, Resolution};

/// Builds again the wheels of a resolution that were built, are `needed`, and that the store lacks.
pub(super) fn restore(
    inputs: &RecipeInputs,
    resolution: &Resolution,
    needed: &BTreeSet<Digest>,
    base: BuildBase<'_>,
    urls: &WheelUrls,
    session: &Session<'_>,
) -> Result<()> {
    let is_missing = |distribution: &&Distribution| {
        let wheel = &distribution.wheel;
        let is_lacked = |digest: &Digest| !session.store.has_blob(digest, wheel.size);
        wheel.sha256.is_some_and(|digest| needed.contains(&digest) && is_lacked(&digest))
    };
    let missing: Vec<(&Distribution, &BuiltFrom)> = resolution
        .distributions
        .iter()
        .filter(is_missing)
        .filter_map(|distribution| Some((distribution, distribution.built.as_ref()?)))
        .collect();
    let Some(sources) = urls.sources().filter(|_| !missing.is_empty()) else { return Ok(()) };
    let (http, store) = (Arc::clone(&session.http), session.store.clone());
    let catalog = PackageIndex::new(http, store, sources.clone(), Freshness::Believed);
    let target = base.inventory.target()?;
    let named = sources_of(inputs, resolution, base, session)?;
    let builder = BuiltWheels::new(base, &target, &catalog, None, &inputs.recipe.python.build, session);
    for (distribution, from) in missing {
        if !session.store.has_blob(&from.digest, None) {
            named.bring(distribution, session)?;
        }
        builder.rebuild(distribution, from)?;
    }
    Ok(())
}

/// The sources that the recipe names, at the commits that the resolution has.
fn sources_of(
    inputs: &RecipeInputs,
    resolution: &Resolution,
    base: BuildBase<'_>,
    session: &Session<'_>,
) -> Result<NamedProjects> {
    let target = base.inventory.target()?;
    let known = resolution.distributions.iter().filter_map(|built| built.direct_url.clone()).collect();
    let locked = LockedProjects::select(inputs, &target, session)?;
    Ok(NamedProjects::find(inputs, &locked.sources, &target, &known, session)?)
}

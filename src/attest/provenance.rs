//! SLSA provenance: how an image was built, with all of its materials by digest.
//!
//! <https://slsa.dev/spec/v1.0/provenance>

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::attestation;
use crate::lock::RecipeFingerprint;
use crate::oci::Digest;
use crate::plan::{LayerPlan, Plan};
use crate::purl::purl;

/// The type of this predicate.
pub const PREDICATE: &str = "https://slsa.dev/provenance/v1";

/// The type of such builds: a recipe and its lock decide the parameters, the plan everything.
const BUILD_TYPE: &str = "urn:imgforge:build:v1";

/// The builder: the program on somebody's machine, of which it says nothing more.
const BUILDER: &str = "urn:imgforge:cli";

/// The facts of a build.
#[derive(Debug, Clone, Copy)]
pub struct BuildFacts<'a> {
    /// The image's name.
    pub name: &'a str,
    /// The digest of the image.
    pub image: &'a Digest,
    /// The file name of the recipe.
    pub recipe: &'a str,
    /// The meaning of the recipe and of all files that it names.
    pub fingerprint: &'a RecipeFingerprint,
    /// The digest of the lock beside the recipe, where there is one.
    pub lock: Option<&'a Digest>,
    /// The image that was built upon: its place and its digest.
    pub base: Option<(&'a str, &'a Digest)>,
    /// The plan.
    pub plan: &'a Plan,
}

/// The statement on a build: the same build gives the same one.
pub fn statement(facts: &BuildFacts<'_>) -> serde_json::Result<Value> {
    let architecture = facts.plan.architecture;
    let mut external = json!({
        "recipe": {"name": facts.recipe, "keys": sha256s(facts.fingerprint.digests())},
        "platform": format!("linux/{architecture}"),
    });
    if let Some(lock) = facts.lock {
        external["lock"] = json!({"digest": sha256(lock)});
    }
    let predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": external,
            "internalParameters": {"plan": sha256(&Digest::of(serde_json::to_vec(facts.plan)?))},
            "resolvedDependencies": materials(facts),
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"imgforge": env!("CARGO_PKG_VERSION")}},
        },
    });
    Ok(attestation::statement(facts.name, facts.image, PREDICATE, &predicate))
}

fn sha256(digest: &Digest) -> Value {
    json!({"sha256": digest.hex()})
}

fn sha256s(digests: &BTreeMap<String, Digest>) -> BTreeMap<&String, Value> {
    digests.iter().map(|(name, digest)| (name, sha256(digest))).collect()
}

/// Everything that the image was made of, sorted by name.
fn materials(facts: &BuildFacts<'_>) -> Vec<Value> {
    let base = facts.base.map(|(place, digest)| ("base".to_owned(), Some(place.to_owned()), *digest));
    let mut found: Vec<_> = base.into_iter().chain(facts.plan.layers.iter().flat_map(of_layer)).collect();
    found.sort();
    found.dedup();
    let described = found.into_iter().map(|(name, uri, digest)| match uri {
        Some(uri) => json!({"name": name, "uri": uri, "digest": sha256(&digest)}),
        None => json!({"name": name, "digest": sha256(&digest)}),
    });
    described.collect()
}

type Material = (String, Option<String>, Digest);

fn of_layer(layer: &LayerPlan) -> Vec<Material> {
    match layer {
        LayerPlan::Base(layer) => {
            vec![(format!("base layer {}", layer.diff_id), None, layer.descriptor.digest())]
        }
        LayerPlan::Debian(layer) => {
            let archive = layer.base.archive.as_str();
            let packages = layer.base.packages.iter();
            packages
                .map(|it| (it.name.clone(), Some(purl(&["deb", archive, &it.name], None, &[])), it.deb))
                .collect()
        }
        LayerPlan::Python(layer) => vec![("the archive of Python".to_owned(), None, layer.archive)],
        LayerPlan::Wheels(layer) => {
            let material = |it: &crate::plan::WheelInstall| {
                let qualifiers = [("file_name", Some(it.filename.as_str()))];
                let uri = purl(&["pypi", &it.distribution], Some(&it.version), &qualifiers);
                (it.filename.clone(), Some(uri), it.wheel)
            };
            layer.wheels.iter().map(material).collect()
        }
        LayerPlan::Files(layer) => {
            let files = layer.files.iter();
            files.filter_map(|file| Some((format!("/{}", file.entry.path), None, file.content?))).collect()
        }
        LayerPlan::Accounts(_) | LayerPlan::Hidden(_) | LayerPlan::System(_) => Vec::new(),
    }
}

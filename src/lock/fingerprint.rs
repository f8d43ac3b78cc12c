//! The identity of a recipe in a lock: a digest of the meaning of each key that has a say in what is decided.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use crate::credentials;
use crate::oci::Digest;
use crate::pypa::metadata::Requirement;
use crate::recipe::locks::{LockSelection, SelectedLock};
use crate::recipe::{
    Index, IndexLocation, NamedProject, ProjectSet, RECIPE, Recipe, RecipeInputs, RootRequirement,
};

/// By key of the recipe, the digest of its meaning; keys without one are left out.
///
/// The meaning of `base`, `requirements` and `constraints` is that of the files they name. Spelling, and the
/// credentials in a URL, have no meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecipeFingerprint(BTreeMap<String, Digest>);

impl RecipeFingerprint {
    /// The fingerprint of a recipe and the files that it names.
    pub fn of(inputs: &RecipeInputs) -> Result<Self, serde_json::Error> {
        let RecipeInputs { recipe, base, constraints, hashes, .. } = inputs;
        let texts = |requirements: &mut dyn Iterator<Item = &Requirement>| -> Vec<String> {
            requirements.map(Requirement::to_string).collect()
        };
        let indexes: Vec<&Url> = inputs.index_url.iter().chain(&inputs.extra_index_urls).collect();
        let requirements: Vec<String> =
            inputs.file_requirements().iter().map(RootRequirement::shown).collect();
        let locks: Vec<Value> = inputs.locks.iter().map(of_lock).collect();
        let is_of_file = |project: &&NamedProject| project.source != RECIPE;
        let projects: Vec<String> =
            inputs.projects.iter().filter(is_of_file).map(NamedProject::shown).collect();
        let project_indexes: Vec<Value> = inputs.project_indexes.iter().map(meaning).collect();
        let no_index = inputs.no_index.then_some("none");
        let prereleases = inputs.file_prereleases.then_some("all");
        let require_hashes = inputs.require_hashes.then_some("all");
        let of_files = json!({
            "requirements": requirements,
            "hashes": hashes,
            "indexes": indexes,
            "prereleases": prereleases,
            "require-hashes": require_hashes,
            "find-links": inputs.find_links,
            "no-index": no_index,
            "locks": locks,
            "projects": projects,
            "project-indexes": project_indexes,
        });
        let python = recipe.python.version.as_ref().map(|version| version.value.to_string());
        let indexes: Vec<Value> = recipe.indexes.iter().map(meaning).collect();
        let keys = [
            ("base", serde_json::to_value(base)?),
            ("system-packages", json!(recipe.system_packages)),
            ("python", json!(python)),
            ("python.from", json!(inputs.python_place())),
            ("python.build", of_set(&recipe.python.build)),
            ("frameworks", serde_json::to_value(&recipe.frameworks)?),
            ("packages", packages(recipe)?),
            ("requirements", without_empty(of_files)),
            ("constraints", json!(texts(&mut constraints.iter()))),
            ("overrides", json!(texts(&mut inputs.overrides.iter()))),
            ("indexes", json!(indexes)),
            ("find-links", serde_json::to_value(&recipe.find_links)?),
            ("prereleases", of_set(&recipe.prereleases)),
            ("exclude-newer", json!(recipe.exclude_newer)),
            ("cuda", serde_json::to_value(&recipe.cuda)?),
        ];
        let told = keys.into_iter().filter(|(_, value)| !is_empty(value));
        let digest = |value: Value| Digest::of(without_secrets(value).to_string());
        Ok(Self(told.map(|(key, value)| (key.to_owned(), digest(value))).collect()))
    }

    /// The digest of the meaning of each key.
    pub fn digests(&self) -> &BTreeMap<String, Digest> {
        &self.0
    }

    /// The keys of the recipe that mean something else in `other`.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let keys: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        keys.into_iter().filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect()
    }

    /// Returns whether `key` means the same in `other`.
    pub fn agrees_on(&self, key: &str, other: &Self) -> bool {
        self.0.get(key) == other.0.get(key)
    }
}

/// The meaning of `packages`. Nothing is said of projects where there are none, so that older locks agree.
fn packages(recipe: &Recipe) -> Result<Value, serde_json::Error> {
    match recipe.projects.is_empty() {
        true => serde_json::to_value(&recipe.packages),
        false => serde_json::to_value((&recipe.packages, &recipe.projects)),
    }
}

/// The meaning of a lock of another tool. Nothing is said of what is not asked for, so that older locks agree.
fn of_lock(selected: &SelectedLock) -> Value {
    let SelectedLock { lock, selection, .. } = selected;
    let LockSelection { extras, groups, default_groups, members, without_project } = selection;
    match default_groups.is_empty() && members.is_empty() && !without_project {
        true => json!([lock.digest, extras, groups]),
        false => json!([lock.digest, extras, groups, default_groups, members, without_project]),
    }
}

/// The meaning of a set of projects: nothing where there is none, as in older locks.
fn of_set(projects: &ProjectSet) -> Value {
    match projects {
        ProjectSet::All => json!("all"),
        ProjectSet::Projects(projects) => json!(projects),
    }
}

/// The meaning of an index. Nothing is said of what it does not say, so that older locks agree.
fn meaning(index: &Index) -> Value {
    let location = match &index.location.value {
        IndexLocation::Url(url) => json!(url),
        IndexLocation::Path(path) => json!({ "path": path }),
    };
    match index.missing.is_empty() {
        true => json!([location, index.packages]),
        false => json!([location, index.packages, index.missing]),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !is_empty(value)).collect(),
        value => value,
    }
}

/// A rotated password or token is no change, and a digest of one has no place in a file that is shared.
fn without_secrets(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(match Url::parse(&text) {
            Ok(url) if url.has_authority() && credentials::without_secrets(&url) != url => {
                credentials::redacted(&url)
            }
            _ => text,
        }),
        Value::Array(items) => items.into_iter().map(without_secrets).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (key, without_secrets(value))).collect()
        }
        value => value,
    }
}

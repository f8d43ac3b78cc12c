//! The config of the image that is built upon: it stays, but for what a build adds.

use serde_json::{Map, Value, json};

use super::{AssembleError, ImageLayer, history, to_value};
use crate::failure::Hinted;
use crate::oci::image::{RuntimeConfig, rootfs};
use crate::oci::time::rfc3339;
use crate::plan::{LayerPlan, Plan};

/// A config whose `config` is not what the specification says.
///
/// <https://github.com/opencontainers/image-spec/blob/main/config.md>
#[derive(Debug, thiserror::Error)]
#[error("the settings for containers in the image's config cannot be read")]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub struct BaseConfigError(#[from] serde_json::Error);

impl Hinted for BaseConfigError {}

/// The settings for containers of an image with this config; writers in Go write null for what is empty.
pub fn runtime_of(config: &Map<String, Value>) -> Result<RuntimeConfig, BaseConfigError> {
    let members = config.get("config").and_then(Value::as_object);
    let known = members.into_iter().flatten().filter(|(_, value)| !value.is_null());
    let known: Map<String, Value> = known.map(|(key, value)| (key.clone(), value.clone())).collect();
    Ok(serde_json::from_value(known.into())?)
}

/// The bytes of the base's config with `layers` of `plan`, members sorted by name: those that imgforge does not know keep
/// their values, also where no specification has them.
pub(super) fn extend_config(
    of_base: &Map<String, Value>,
    plan: &Plan,
    layers: &[ImageLayer],
) -> Result<Vec<u8>, AssembleError> {
    let created = rfc3339(plan.created);
    let mut config = of_base.clone();
    let diff_ids = layers.iter().map(|layer| layer.diff_id);
    config.insert("config".into(), change_runtime(of_base, &plan.runtime)?);
    config.insert("architecture".into(), plan.architecture.as_str().into());
    config.insert("history".into(), extend_history(of_base, plan, layers, &created)?);
    config.insert("created".into(), created.into());
    config.insert("rootfs".into(), to_value(&rootfs(diff_ids), "config")?);
    serde_json::to_vec(&config).map_err(|source| AssembleError { document: "config", source: source.into() })
}

/// The base's history, filled up where it has fewer lines than layers, and a line for each layer that is added.
fn extend_history(
    of_base: &Map<String, Value>,
    plan: &Plan,
    layers: &[ImageLayer],
    created: &str,
) -> Result<Value, AssembleError> {
    let is_base = |layer: &&LayerPlan| matches!(layer, LayerPlan::Base(_));
    let below = plan.layers.iter().filter(is_base).count();
    let mut lines = of_base.get("history").and_then(Value::as_array).cloned().unwrap_or_default();
    let told = lines.iter().filter(|line| line.get("empty_layer") != Some(&Value::Bool(true))).count();
    let untold = below.saturating_sub(told);
    lines.extend((0..untold).map(|_| json!({"created": created, "comment": "a layer of the base"})));
    for layer in layers.iter().skip(below) {
        lines.push(to_value(&history(layer, created), "history")?);
    }
    Ok(lines.into())
}

/// The settings for containers: those that imgforge knows as `after` has them, all others as they were.
fn change_runtime(of_base: &Map<String, Value>, after: &RuntimeConfig) -> Result<Value, AssembleError> {
    let mut members = of_base.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    let unreadable =
        |BaseConfigError(source)| AssembleError { document: "base's config", source: source.into() };
    let (before, after) = (to_members(&runtime_of(of_base).map_err(unreadable)?)?, to_members(after)?);
    for (key, value) in &after {
        members.insert(key.clone(), value.clone());
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        members.remove(key);
    }
    Ok(members.into())
}

fn to_members(config: &RuntimeConfig) -> Result<Map<String, Value>, AssembleError> {
    match to_value(config, "config")? {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::image::MediaType;

    use super::*;
    use crate::image::{Image, assemble};
    use crate::oci::{Architecture, Descriptor, Digest};
    use crate::plan::{BaseLayer, GeneratedLayer, LayerCompression};

    fn digest(name: &str) -> Digest {
        Digest::of(name)
    }

    /// A plan over a base of two layers, with one that hides nothing.
    fn plan(config: Value) -> Plan {
        let layer = |name: &str, media_type| {
            LayerPlan::Base(BaseLayer {
                descriptor: Descriptor::new(media_type, digest(name), 10)
                    .with_annotations(&[("kept".to_owned(), name.to_owned())].into()),
                diff_id: digest(&format!("{name} tar")),
            })
        };
        let Value::Object(config) = config else { panic!("the example's config is an object") };
        let before = runtime_of(&config).unwrap();
        let added = GeneratedLayer { files: Vec::new(), compression: LayerCompression::Gzip };
        Plan {
            architecture: Architecture::Amd64,
            created: 0,
            layers: vec![
                layer("one", MediaType::ImageLayerGzip),
                layer("two", MediaType::ImageLayerZstd),
                LayerPlan::Hidden(added),
            ],
            runtime: RuntimeConfig {
                env: before.env.iter().cloned().chain(["B=2".to_owned()]).collect(),
                user: String::new(),
                ..before
            },
            base_config: Some(config),
            annotations: Default::default(),
        }
    }

    fn build(plan: &Plan) -> (Value, Value, Image) {
        let layer = |title: &str, name: &str, media_type: MediaType| ImageLayer {
            title: title.into(),
            media_type,
            annotations: Default::default(),
            digest: digest(name),
            size: 5,
            diff_id: digest(&format!("{name} tar")),
            unpacked: 50,
        };
        let layers = vec![
            layer("the base", "one", MediaType::ImageLayerGzip),
            layer("the base", "two", MediaType::ImageLayerZstd),
            layer("torch 2.6.0", "torch", MediaType::ImageLayerGzip),
        ];
        let image = assemble(plan, layers).unwrap();
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        (read(&image.config_bytes), read(&image.manifest_bytes), image)
    }

    #[test]
    fn what_is_not_known_of_a_base_stays() {
        let unknown = json!({
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 30_000_000_000_i64},
            "Shell": ["/bin/bash", "-c"], "OnBuild": null, "StopSignal": "SIGINT",
            "Volumes": {"/data": {}}, "ExposedPorts": {"80/tcp": {}}, "ArgsEscaped": true,
        });
        let mut runtime = unknown.clone();
        runtime["Env"] = json!(["A=1"]);
        runtime["Cmd"] = json!(null);
        runtime["User"] = json!("nobody");
        let history = json!([
            {"created": "2020-01-01T00:00:00.123Z", "created_by": "ADD", "author": "someone"},
            {"created": "2020-01-01T00:00:01Z", "created_by": "ENV", "empty_layer": true},
            {"created_by": "RUN"},
        ]);
        let (config, _, _) = build(&plan(json!({
            "architecture": "amd64", "os": "linux", "variant": "v2", "author": "someone",
            "docker_version": "20.10", "container_config": {"Hostname": "x"},
            "config": runtime, "history": history,
            "rootfs": {"type": "layers", "diff_ids": [digest("one tar"), digest("two tar")]},
        })));
        for (key, value) in unknown.as_object().unwrap() {
            assert_eq!(&config["config"][key], value, "{key}");
        }
        for (key, value) in [
            ("variant", json!("v2")),
            ("author", json!("someone")),
            ("container_config", json!({"Hostname": "x"})),
        ] {
            assert_eq!(config[key], value, "{key}");
        }
        assert_eq!(config["config"]["Env"], json!(["A=1", "B=2"]));
        assert_eq!(config["config"].get("User"), None);
        assert_eq!(config["created"], "1970-01-01T00:00:00Z");
        let lines = config["history"].as_array().unwrap();
        assert_eq!(lines[..3], history.as_array().unwrap()[..]);
        assert_eq!(lines[3]["created_by"], "imgforge: torch 2.6.0");
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn layers_of_a_base_keep_their_descriptors_below_the_new_ones() {
        let (config, manifest, image) = build(&plan(json!({"os": "linux"})));
        let media_types: Vec<&str> = image.layers.iter().map(|layer| layer.media_type.as_ref()).collect();
        let [gzip, zstd] =
            ["gzip", "zstd"].map(|packing| format!("application/vnd.oci.image.layer.v1.tar+{packing}"));
        assert_eq!(media_types, [&gzip, &zstd, &gzip]);
        assert_eq!(manifest["layers"][1]["mediaType"], zstd);
        assert_eq!(manifest["layers"][1]["annotations"], json!({"kept": "two"}));
        let diff_ids = ["one tar", "two tar", "torch tar"].map(digest);
        assert_eq!(config["rootfs"]["diff_ids"], json!(diff_ids));
    }

    #[test]
    fn history_that_a_base_does_not_tell_is_filled_up() {
        let (config, _, _) = build(&plan(json!({"os": "linux"})));
        let lines = config["history"].as_array().unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2]["created_by"], "imgforge: torch 2.6.0");
    }
}

//! The image that is built upon: its config stays what it is, but for what a build adds.

use serde_json::{Map, Value, json};

use super::{AssembleError, ImageLayer, Settings, history, to_value};
use crate::oci::Digest;
use crate::oci::image::{Descriptor, RuntimeConfig, rfc3339};

/// An image to build upon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseImage {
    /// The bytes of its config.
    pub config: Vec<u8>,
    /// Bottom first.
    pub layers: Vec<BaseLayer>,
}

/// A layer of a [`BaseImage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseLayer {
    /// With a media type of OCI.
    pub descriptor: Descriptor,
    pub diff_id: Digest,
    /// The sum of the sizes of its files in bytes.
    pub unpacked: u64,
}

/// The config of `base` with `layers` on top: what imgforge does not know of it has the same value as before.
pub(super) fn extend_config(
    base: &BaseImage,
    layers: &[ImageLayer],
    settings: &Settings<'_>,
) -> Result<Value, AssembleError> {
    let created = rfc3339(settings.created);
    let mut config: Map<String, Value> = serde_json::from_slice(&base.config)
        .map_err(|source| AssembleError { document: "base's config", source })?;
    let mut diff_ids: Vec<Digest> = base.layers.iter().map(|layer| layer.diff_id).collect();
    diff_ids.extend(layers.iter().map(|layer| layer.diff_id));
    let mut lines = match config.remove("history") {
        Some(Value::Array(lines)) => lines,
        _ => Vec::new(),
    };
    let told = lines.iter().filter(|line| line.get("empty_layer") != Some(&Value::Bool(true))).count();
    let untold = base.layers.len().saturating_sub(told);
    lines.extend((0..untold).map(|_| json!({"created": created, "comment": "a layer of the base"})));
    for layer in layers {
        lines.push(to_value(&history(layer, &created), "history")?);
    }
    let runtime = config.remove("config").unwrap_or_default();
    config.insert("config".into(), change_runtime(runtime, settings)?);
    config.insert("architecture".into(), settings.architecture.clone().into());
    config.insert("created".into(), created.into());
    config.insert("history".into(), lines.into());
    config.insert("rootfs".into(), json!({"type": "layers", "diff_ids": diff_ids}));
    Ok(config.into())
}

/// What a container starts with, changed as the build wants it.
fn change_runtime(runtime: Value, settings: &Settings<'_>) -> Result<Value, AssembleError> {
    let mut members = match runtime {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    // Writers in Go write null for what is empty.
    let known: Map<String, Value> = members
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let before: RuntimeConfig = serde_json::from_value(known.into())
        .map_err(|source| AssembleError { document: "base's config", source })?;
    let after = (settings.config)(before.clone());
    let (before, after) = (to_members(&before)?, to_members(&after)?);
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
    use super::*;
    use crate::image::{Image, assemble};
    use crate::oci::image::{LAYER_GZIP, LAYER_ZSTD};

    fn digest(name: &str) -> Digest {
        Digest::of(name)
    }

    fn base(config: Value) -> BaseImage {
        let layer = |name: &str, media_type| BaseLayer {
            descriptor: Descriptor {
                annotations: [("kept".to_owned(), name.to_owned())].into(),
                ..Descriptor::new(media_type, digest(name), 10)
            },
            diff_id: digest(&format!("{name} tar")),
            unpacked: 100,
        };
        let config = serde_json::to_vec(&config).unwrap();
        BaseImage { config, layers: vec![layer("one", LAYER_GZIP), layer("two", LAYER_ZSTD)] }
    }

    fn build(base: &BaseImage) -> (Value, Value, Image) {
        let layer = ImageLayer {
            title: "torch 2.6.0".into(),
            media_type: LAYER_GZIP.into(),
            annotations: Default::default(),
            digest: digest("torch"),
            size: 5,
            diff_id: digest("torch tar"),
            unpacked: 50,
        };
        let settings = Settings {
            architecture: "amd64".into(),
            created: 0,
            config: &|config| RuntimeConfig {
                env: config.env.into_iter().chain(["B=2".to_owned()]).collect(),
                user: String::new(),
                ..config
            },
            annotations: Default::default(),
        };
        let image = assemble(Some(base), vec![layer], &settings).unwrap();
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
        let (config, _, _) = build(&base(json!({
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
        let (config, manifest, image) = build(&base(json!({"os": "linux"})));
        let media_types: Vec<&str> = image.layers.iter().map(|layer| layer.media_type.as_str()).collect();
        assert_eq!(media_types, [LAYER_GZIP, LAYER_ZSTD, LAYER_GZIP]);
        assert_eq!(manifest["layers"][1]["mediaType"], LAYER_ZSTD);
        assert_eq!(manifest["layers"][1]["annotations"], json!({"kept": "two"}));
        let diff_ids = ["one tar", "two tar", "torch tar"].map(digest);
        assert_eq!(config["rootfs"]["diff_ids"], json!(diff_ids));
    }

    #[test]
    fn history_that_a_base_does_not_tell_is_filled_up() {
        let (config, _, _) = build(&base(json!({"os": "linux"})));
        let lines = config["history"].as_array().unwrap();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2]["created_by"], "imgforge: torch 2.6.0");
    }
}

//! Publishing: the exact bytes of an image's documents, and a layout whose other images stay as they are.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use imgforge::failure::Hinted;
use imgforge::image::{Image, ImageLayer, assemble, runtime_of};
use imgforge::oci::image::{MediaType, RuntimeConfig};
use imgforge::oci::{Architecture, Digest};
use imgforge::plan::{GeneratedLayer, LayerCompression, LayerPlan, Plan};
use imgforge::store::Store;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::support;
use super::support::layout::{Layout, Tar};

fn texts(pairs: [(&str, &str); 2]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

fn layer(store: &Store) -> ImageLayer {
    let blob = b"a blob of eighteen";
    ImageLayer {
        title: "torch 2.6.0".into(),
        media_type: MediaType::ImageLayerGzip,
        annotations: texts([("toc.size", "7"), ("toc.digest", "x")]),
        digest: store.put_blob(blob).unwrap(),
        size: blob.len() as u64,
        diff_id: Digest::of("a tar"),
        unpacked: 50,
    }
}

/// The plan of one layer, whose container runs as `user`.
fn plan(base_config: Option<Map<String, Value>>, user: &str) -> Plan {
    let layer = GeneratedLayer { files: Vec::new(), compression: LayerCompression::Gzip };
    let of_base = base_config.as_ref().map(|config| runtime_of(config).unwrap()).unwrap_or_default();
    Plan {
        architecture: Architecture::Amd64,
        created: 0,
        layers: vec![LayerPlan::Hidden(layer)],
        runtime: RuntimeConfig {
            user: user.into(),
            env: vec!["B=2".into(), "A=1".into()],
            entrypoint: vec!["/run".into()],
            cmd: vec!["serve".into()],
            working_dir: "/content".into(),
            labels: of_base.labels.into_iter().chain(texts([("b", "2"), ("a", "1")])).collect(),
            ..RuntimeConfig::default()
        },
        base_config,
        annotations: texts([("org.example.b", "2"), ("org.example.a", "1")]),
    }
}

fn image(base_config: Option<Map<String, Value>>, user: &str, store: &Store) -> Image {
    assemble(&plan(base_config, user), vec![layer(store)]).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The place where a test publishes.
struct Place {
    directory: TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path().join("store")).unwrap();
        Self { directory, store }
    }

    fn layout(&self) -> PathBuf {
        self.directory.path().join("layout")
    }

    fn index_file(&self) -> PathBuf {
        self.layout().join("index.json")
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.index_file()).unwrap()).unwrap()
    }

    /// Publishes the image of `user` under the tag of the same name.
    fn publish(&self, user: &str) -> Result<Image, String> {
        let image = image(None, user, &self.store);
        let place = format!("oci:{}:{user}", self.layout().display());
        match support::publish(&image, &place, "demo", &self.store) {
            Ok(()) => Ok(image),
            Err(error) => Err(format!("{:#}; {}", chain(&error), error.hint().unwrap_or_default())),
        }
    }

    /// The names of the blobs by sha256.
    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.layout().join("blobs/sha256")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Writes `content` below `directory` as a blob of `algorithm`, and gives its descriptor.
fn blob(directory: &Path, media_type: &str, algorithm: &str, content: &Value) -> Value {
    let bytes = content.to_string();
    let hex = match algorithm {
        "sha256" => Digest::of(&bytes).hex(),
        _ => "ab".repeat(64),
    };
    fs::create_dir_all(directory.join("blobs").join(algorithm)).unwrap();
    fs::write(directory.join("blobs").join(algorithm).join(&hex), &bytes).unwrap();
    json!({"mediaType": media_type, "digest": format!("{algorithm}:{hex}"), "size": bytes.len()})
}

/// The name of a descriptor's blob.
fn hex(descriptor: &Value) -> String {
    descriptor["digest"].as_str().unwrap().split_once(':').unwrap().1.to_owned()
}

#[test]
fn documents_have_the_members_of_the_specification_in_its_order() {
    let place = Place::new();
    let image = image(None, "app", &place.store);
    let layer = Digest::of("a blob of eighteen");
    assert_eq!(
        text(&image.config_bytes),
        format!(
            r#"{{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{{"User":"app","Env":["B=2","A=1"],"Entrypoint":["/run"],"Cmd":["serve"],"WorkingDir":"/content","Labels":{{"a":"1","b":"2"}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"history":[{{"created":"1970-01-01T00:00:00Z","created_by":"imgforge: torch 2.6.0"}}]}}"#,
            Digest::of("a tar")
        )
    );
    assert_eq!(
        text(&image.manifest_bytes),
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{layer}","size":18,"annotations":{{"toc.digest":"x","toc.size":"7"}}}}],"annotations":{{"org.example.a":"1","org.example.b":"2"}}}}"#,
            Digest::of(&image.config_bytes),
            image.config_bytes.len()
        )
    );
}

#[test]
fn documents_leave_out_what_is_empty() {
    let plan = Plan {
        architecture: Architecture::Arm64,
        layers: Vec::new(),
        runtime: RuntimeConfig::default(),
        annotations: BTreeMap::new(),
        ..plan(None, "")
    };
    let image = assemble(&plan, Vec::new()).unwrap();
    assert_eq!(
        text(&image.config_bytes),
        r#"{"created":"1970-01-01T00:00:00Z","architecture":"arm64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#
    );
    assert!(text(&image.manifest_bytes).ends_with(r#""size":136},"layers":[]}"#));
}

#[test]
fn documents_of_an_image_on_a_base_keep_the_order_of_names() {
    let place = Place::new();
    let base = json!({
        "architecture": "amd64", "os": "linux", "os.version": "1", "unknown": {"b": 1, "a": null},
        "config": {"User": "nobody", "Labels": {"base": "yes"}, "OnBuild": ["RUN a"]},
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    assert_eq!(
        text(&image(base.as_object().cloned(), "app", &place.store).config_bytes),
        format!(
            r#"{{"architecture":"amd64","config":{{"Cmd":["serve"],"Entrypoint":["/run"],"Env":["B=2","A=1"],"Labels":{{"a":"1","b":"2","base":"yes"}},"OnBuild":["RUN a"],"User":"app","WorkingDir":"/content"}},"created":"1970-01-01T00:00:00Z","history":[{{"created":"1970-01-01T00:00:00Z","created_by":"imgforge: torch 2.6.0"}}],"os":"linux","os.version":"1","rootfs":{{"diff_ids":["{}"],"type":"layers"}},"unknown":{{"a":null,"b":1}}}}"#,
            Digest::of("a tar")
        )
    );
}

#[test]
fn an_index_has_an_entry_for_each_tag() {
    let place = Place::new();
    let entry = |tag: &str| {
        let image = place.publish(tag).unwrap();
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":{},"annotations":{{"org.opencontainers.image.ref.name":"{tag}"}},"platform":{{"architecture":"amd64","os":"linux"}}}}"#,
            Digest::of(&image.manifest_bytes),
            image.manifest_bytes.len()
        )
    };
    let entries = [entry("v1"), entry("v2")].join(",");
    assert_eq!(
        fs::read_to_string(place.index_file()).unwrap(),
        format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{entries}]}}"#
        )
    );
}

/// Everything that an index and its entries may have, and something that they may not.
fn foreign_index(present: &Value) -> Value {
    let mut other = present["manifests"][0].clone();
    other["annotations"] = json!({"org.opencontainers.image.ref.name": "other", "kept": "yes"});
    other["platform"] = json!({
        "architecture": "arm", "os": "linux", "variant": "v7",
        "os.version": "10.0", "os.features": ["win32k"], "features": ["sse4"],
    });
    other["artifactType"] = json!("application/vnd.example");
    other["urls"] = json!(["https://example.test/blob"]);
    other["data"] = json!("e30=");
    other["example.unknown"] = json!({"b": [1, null], "a": 1.5});
    let subject = json!({"mediaType": "application/x", "digest": Digest::of("subject"), "size": 7});
    json!({
        "schemaVersion": 2,
        "artifactType": "application/vnd.example",
        "subject": subject,
        "annotations": {"org.example": "kept"},
        "example.unknown": null,
        "manifests": [present["manifests"][0], other],
    })
}

#[test]
fn another_image_of_a_layout_keeps_its_whole_entry() {
    let place = Place::new();
    place.publish("a").unwrap();
    let before = foreign_index(&place.index());
    fs::write(place.index_file(), before.to_string()).unwrap();
    place.publish("b").unwrap();
    let mut after = place.index();
    let added = after["manifests"].as_array_mut().unwrap().pop().unwrap();
    assert_eq!(added["annotations"]["org.opencontainers.image.ref.name"], "b");
    assert_eq!(after, before);
}

#[test]
fn an_image_by_another_algorithm_stays_in_its_layout() {
    let place = Place::new();
    let layout = place.layout();
    let config = blob(&layout, "application/vnd.oci.image.config.v1+json", "sha256", &json!({"os": "linux"}));
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
    let entry = blob(&layout, "application/vnd.oci.image.manifest.v1+json", "sha512", &manifest);
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    fs::write(place.index_file(), json!({"schemaVersion": 2, "manifests": [entry]}).to_string()).unwrap();
    place.publish("a").unwrap();
    assert_eq!(place.index()["manifests"][0], entry);
    assert!(place.blobs().contains(&hex(&config)), "a blob that only the other image has is gone");
}

#[test]
fn a_layout_is_read_beside_an_image_by_another_algorithm() {
    let directory = TempDir::new().unwrap();
    let other = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha512:{}", "ab".repeat(64)), "size": 2,
        "annotations": {"org.opencontainers.image.ref.name": "other"},
    });
    let image = Layout::new().layer(Tar::new().file("etc/hostname", "test\n"));
    image.with(|image| image.index["manifests"] = json!([other])).write(directory.path());
    let open = |tag: &str| {
        let place = format!("oci:{}:{tag}", directory.path().display());
        support::open(&place, None).map(|image| image.layers.len())
    };
    assert_eq!(open("latest").unwrap(), 1);
    let error = open("other").unwrap_err().to_string();
    assert!(error.contains("only sha256 is supported"), "{error}");
}

fn make_fifo(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn an_index_that_cannot_be_read_is_left_with_its_images() {
    type Spoil = fn(&Path);
    let spoilers: [(&str, Spoil, &str); 10] = [
        ("a link to nowhere", |index| symlink("gone.json", index).unwrap(), "could not read"),
        ("a FIFO", make_fifo, "could not read"),
        ("a device", |index| symlink("/dev/zero", index).unwrap(), "could not read"),
        (
            "half of it",
            |index| fs::write(index, r#"{"schemaVersion":2,"manifests":[{"mediaType":"app"#).unwrap(),
            "is not an image index",
        ),
        ("too large", |index| fs::write(index, vec![b' '; 9 << 20]).unwrap(), "could not read"),
        ("a loop", |index| symlink("index.json", index).unwrap(), "could not read"),
        ("a directory", |index| fs::create_dir(index).unwrap(), "could not read"),
        ("no JSON", |index| fs::write(index, "{").unwrap(), "is not an image index"),
        ("no index", |index| fs::write(index, "[]").unwrap(), "is not an image index"),
        (
            "no digest",
            |index| fs::write(index, r#"{"schemaVersion":2,"manifests":[{"size":1}]}"#).unwrap(),
            "is not an image index",
        ),
    ];
    for (name, spoil, said) in spoilers {
        let place = Place::new();
        place.publish("a").unwrap();
        place.publish("b").unwrap();
        let before = place.blobs();
        fs::remove_file(place.index_file()).unwrap();
        spoil(&place.index_file());
        let error = place.publish("a").unwrap_err();
        assert!(error.contains(said) && error.contains("index.json"), "{name}: {error}");
        assert!(before.iter().all(|blob| place.blobs().contains(blob)), "{name}: a blob is gone");
    }
}

#[test]
fn an_index_as_writers_in_go_leave_it_is_one() {
    let place = Place::new();
    place.publish("a").unwrap();
    fs::write(place.index_file(), r#"{"schemaVersion":2,"manifests":null,"annotations":null}"#).unwrap();
    place.publish("b").unwrap();
    assert_eq!(place.index()["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(place.blobs().len(), 3, "what only `a` used is gone");
}

#[test]
fn blobs_that_an_entry_reaches_in_any_way_stay() {
    let place = Place::new();
    place.publish("a").unwrap();
    let layout = place.layout();
    let manifest = |subject: Value| {
        let config = blob(&layout, "application/vnd.oci.empty.v1+json", "sha256", &json!({}));
        json!({"schemaVersion": 2, "config": config, "layers": [], "subject": subject})
    };
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let subject = blob(&layout, media_type, "sha256", &json!("a subject"));
    let entry = blob(&layout, media_type, "sha256", &manifest(subject.clone()));
    let mut index = place.index();
    index["manifests"].as_array_mut().unwrap().push(entry);
    fs::write(place.index_file(), index.to_string()).unwrap();
    place.publish("b").unwrap();
    assert!(place.blobs().contains(&hex(&subject)));
}

//! Images that others made are read where they are, whatever wrote them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use imgforge::elf::Root;
use imgforge::failure::Hinted;
use imgforge::image::{ImageLayer, assemble};
use imgforge::layer::read::LayerContent;
use imgforge::oci::image::{MediaType, RuntimeConfig};
use imgforge::oci::{Architecture, Digest};
use imgforge::plan::{BaseLayer, GeneratedLayer, LayerCompression, LayerPlan, Plan};
use imgforge::source::{self, SourceError, SourceImage, SourceLayer};
use imgforge::store::Store;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::layout::{Layout, Packing, Tar, descriptor, gzip};
use super::support::{self, sound_blobs};

const CONF: &str = "etc/ld.so.conf";

fn open(place: &str) -> Result<SourceImage, SourceError> {
    support::open(place, None)
}

fn open_for(place: &str, architecture: Architecture) -> Result<SourceImage, SourceError> {
    support::open(place, Some(architecture))
}

fn scan(image: &SourceImage, store: &Store) -> Vec<LayerContent> {
    source::scan(image, store, 2, &|_| ()).unwrap()
}

/// The loader's configuration in the top layer, by which the tests tell images apart.
#[track_caller]
fn conf(image: &SourceImage) -> String {
    let directory = TempDir::new().unwrap();
    let contents = scan(image, &Store::open(directory.path()).unwrap());
    let text = contents.last().unwrap().facts.text(CONF).expect("a configuration in the top layer");
    String::from_utf8(text).unwrap()
}

fn tar(text: &str) -> Tar {
    Tar::new().directory("etc").file(CONF, text)
}

fn layout(text: &str) -> Layout {
    Layout::new().layer(Tar::new().file("below", "1")).layer(tar(text))
}

fn write(write: impl FnOnce(&Path)) -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("image");
    write(&path);
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

#[test]
fn an_image_is_the_same_in_every_form_it_is_kept() {
    let image = layout("/opt/lib\n").layer(Tar::new().file("below", "1")).layer(tar("/srv/lib\n"));
    for (transport, write_form) in [
        ("oci", (|image: &Layout, path: &Path| image.write(path)) as fn(&Layout, &Path)),
        ("oci-archive", |image, path| image.write_oci_archive(path)),
        ("docker-archive", |image, path| drop(image.write_docker_archive(path))),
        ("docker-archive", |image, path| image.write_new_docker_archive(path)),
    ] {
        let (_directory, path) = write(|path| write_form(&image, path));
        for tag in ["", ":latest"] {
            let opened = open(&format!("{transport}:{path}{tag}")).unwrap();
            assert_eq!(conf(&opened), "/srv/lib\n");
            assert_eq!(opened.layers.len(), 4);
            assert_eq!(opened.env, ["PATH=/usr/local/bin:/usr/bin:/bin"]);
            assert_eq!(serde_json::from_slice::<Value>(&opened.config).unwrap(), image.config);
        }
    }
}

#[test]
fn layers_are_read_however_they_are_packed() {
    let large: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    let tar = tar("/opt/lib\n").file("large", large).finish();
    for packing in [Packing::Plain, Packing::Gzip, Packing::GzipMembers, Packing::Zstd, Packing::ZstdFrames] {
        let (_directory, path) = write(|path| Layout::new().packed(&tar, packing).write(path));
        let image = open(&format!("oci:{path}")).unwrap();
        assert_eq!(conf(&image), "/opt/lib\n", "{packing:?}");
    }
}

#[test]
fn documents_may_be_dockers_or_leave_out_what_is_optional() {
    let docker = layout("/opt/lib\n").with(|image| {
        image.manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into();
        image.manifest["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
        for layer in image.manifest["layers"].as_array_mut().unwrap() {
            layer["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip".into();
        }
    });
    let (_directory, path) = write(|path| docker.write(path));
    let image = open(&format!("oci:{path}")).unwrap();
    assert_eq!(*image.layers[0].descriptor.media_type(), MediaType::ImageLayerGzip);
    assert_eq!(conf(&image), "/opt/lib\n");

    let nulls = layout("/opt/lib\n").with(|image| {
        image.manifest["annotations"] = Value::Null;
        image.config["config"]["Env"] = Value::Null;
        image.index["manifests"] = json!([]);
    });
    let (_directory, path) = write(|path| nulls.write(path));
    assert_eq!(open(&format!("oci:{path}")).unwrap().env, [""; 0]);
}

/// A layout in which `latest` is an index with an image for each of two architectures, and attestations.
fn platforms(architectures: [&str; 2]) -> (TempDir, String) {
    write(|path| {
        let of = |architecture: &str| {
            let image = layout(&format!("/{architecture}\n"));
            let image = image.with(|image| image.config["architecture"] = architecture.into());
            image.write(path);
            let index: Value = serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
            let mut descriptor = index["manifests"][0].clone();
            descriptor["annotations"] = json!(null);
            descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
            descriptor
        };
        let attestation = |descriptor: &Value| {
            let mut descriptor = descriptor.clone();
            descriptor["platform"] = json!({"architecture": "unknown", "os": "unknown"});
            descriptor["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
            descriptor
        };
        let [one, other] = architectures.map(of);
        let manifests = json!([attestation(&one), one, other, attestation(&other)]);
        let media_type = "application/vnd.oci.image.index.v1+json";
        let nested = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
        let mut outer = descriptor(media_type, nested.as_bytes());
        outer["annotations"] = json!({"org.opencontainers.image.ref.name": "latest"});
        let digest = outer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        fs::write(path.join("blobs/sha256").join(digest), &nested).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": [outer]});
        fs::write(path.join("index.json"), index.to_string()).unwrap();
    })
}

#[test]
fn the_platform_asked_for_is_chosen_through_indexes() {
    let (_directory, path) = platforms(["amd64", "arm64"]);
    for architecture in Architecture::ALL {
        let image = open_for(&format!("oci:{path}"), architecture).unwrap();
        assert_eq!(image.architecture, architecture);
        assert_eq!(conf(&image), format!("/{architecture}\n"));
    }
    let (_directory, path) = platforms(["amd64", "riscv64"]);
    let error = open_for(&format!("oci:{path}"), Architecture::Arm64).unwrap_err();
    assert!(error.to_string().contains("has no image for linux/arm64"), "{error}");
    assert_eq!(error.hint().unwrap(), "it has images for linux/amd64, linux/riscv64");
}

#[test]
fn an_image_of_an_architecture_without_frameworks_is_refused_whoever_asks() {
    for architecture in ["riscv64", "386", "x86_64", ""] {
        let image = layout("/opt/lib\n").with(|image| image.config["architecture"] = architecture.into());
        let (_directory, path) = write(|path| image.write(path));
        let error = open(&format!("oci:{path}")).unwrap_err();
        let said = format!("is an image for linux/{architecture}, for which there are no CUDA frameworks");
        assert!(error.to_string().ends_with(&said), "{error}");
        assert_eq!(error.hint().unwrap(), "choose an image for linux/amd64 or linux/arm64");
    }
}

#[test]
fn several_images_need_the_tag() {
    let (_directory, path) = write(|path| {
        layout("/other\n").write(path);
        let index: Value = serde_json::from_slice(&fs::read(path.join("index.json")).unwrap()).unwrap();
        let mut other = index["manifests"][0].clone();
        other["annotations"] = json!({"org.opencontainers.image.ref.name": "other"});
        layout("/latest\n").with(|image| image.index["manifests"] = json!([other])).write(path);
    });
    assert_eq!(conf(&open(&format!("oci:{path}:latest")).unwrap()), "/latest\n");
    assert_eq!(conf(&open(&format!("oci:{path}:other")).unwrap()), "/other\n");
    let error = open(&format!("oci:{path}")).unwrap_err();
    assert!(error.to_string().ends_with("has several images"), "{error}");
    assert_eq!(error.hint().unwrap(), "write one of its names behind the path: other, latest");
    let error = open(&format!("oci:{path}:third")).unwrap_err();
    assert!(error.to_string().contains("no image `third`"), "{error}");
}

#[test]
fn an_archive_of_several_images_is_chosen_from_by_name_or_place() {
    let named = |conf: &str, name: &str| {
        let layer = tar(conf).finish();
        let config = Layout::new().packed(&layer, Packing::Gzip).config.to_string();
        (
            layer,
            config,
            json!({"Config": format!("{name}.json"), "RepoTags": [format!("{name}:1")], "Layers": [format!("{name}.tar")]}),
        )
    };
    let (first, second) = (named("/first\n", "first"), named("/second\n", "host.test/second"));
    let manifest = json!([first.2, second.2]).to_string();
    let archive = Tar::new()
        .file("first.json", first.1)
        .file("first.tar", first.0)
        .file("host.test/second.json", second.1)
        .file("host.test/second.tar", second.0);
    let (_directory, path) =
        write(|path| fs::write(path, archive.file("manifest.json", manifest).finish()).unwrap());
    for (chosen, expected) in [
        ("first:1", "/first\n"),
        ("docker.io/library/first:1", "/first\n"),
        ("host.test/second:1", "/second\n"),
        ("@0", "/first\n"),
        ("@1", "/second\n"),
    ] {
        let found = open(&format!("docker-archive:{path}:{chosen}"));
        assert_eq!(conf(&found.unwrap()), expected, "{chosen}");
    }
    for (chosen, said) in [("", "several images"), (":1", "several images"), (":@2", "no image `@2`")] {
        let error = open(&format!("docker-archive:{path}{chosen}")).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(
            error.hint().unwrap(),
            "write one of its names behind the path: first:1, host.test/second:1"
        );
    }
}

#[test]
fn odd_archives_that_engines_unpack_are_read() {
    let long = format!("{}name", "directory/".repeat(30));
    let device = |tar: Tar| tar.entry(b'3', b"dev/null", b"", b"").entry(b'6', b"run/pipe", b"", b"");
    for (name, tar) in [
        ("an absolute path", Tar::new().file("/etc/ld.so.conf", "/found\n").finish()),
        ("a path with dots", Tar::new().file("./x/.././etc//ld.so.conf", "/found\n").finish()),
        ("a name that is not UTF-8", tar("/found\n").entry(b'0', b"etc/\xff\xfe", b"", b"x").finish()),
        ("a link to such a name", tar("/found\n").entry(b'2', b"etc/link", b"\xff", b"").finish()),
        ("devices", device(tar("/found\n")).finish()),
        ("whiteouts", tar("/found\n").whiteout("below").whiteout("etc/hosts").opaque("opt").finish()),
        ("a file twice", tar("/before\n").file(CONF, "/found\n").finish()),
        ("bytes after the end", tar("/found\n").raw(&[0; 1024]).raw(b"garbage").unfinished()),
        ("no end", tar("/found\n").unfinished()),
        (
            "GNU long names",
            Tar::new().file(&long, "").symlink("etc/x", &long).file(CONF, "/found\n").finish(),
        ),
        ("a PAX path", Tar::new().pax(&[("path", CONF)]).file("short", "/found\n").finish()),
        (
            "a PAX header for all",
            Tar::new().entry(b'g', b"pax", b"", b"nonsense").file(CONF, "/found\n").finish(),
        ),
        (
            "a sparse file that nobody looks into",
            tar("/found\n").entry(b'S', b"var/log/lastlog", b"", b"x").finish(),
        ),
    ] {
        let (_directory, path) = write(|path| Layout::new().packed(&tar, Packing::Gzip).write(path));
        assert_eq!(conf(&open(&format!("oci:{path}")).unwrap()), "/found\n", "{name}");
    }
}

#[test]
fn what_was_learned_of_a_layer_needs_no_layer_again() {
    let (_directory, path) = write(|path| layout("/opt/lib\n").write(path));
    let image = open(&format!("oci:{path}")).unwrap();
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let contents = scan(&image, &store);
    assert!(sound_blobs(directory.path()).is_empty(), "a scan copies no layer");
    for layer in &image.layers {
        fs::remove_file(Path::new(&path).join("blobs/sha256").join(layer.descriptor.digest().hex())).unwrap();
    }
    assert_eq!(scan(&image, &store), contents);
}

#[test]
fn layers_come_into_the_store_when_they_are_published() {
    let docker = |path: &Path| drop(layout("/opt/lib\n").write_docker_archive(path));
    for (transport, media_type, write_form) in [
        ("oci", MediaType::ImageLayerGzip, &(|path: &Path| layout("").write(path)) as &dyn Fn(&Path)),
        ("docker-archive", MediaType::ImageLayer, &docker),
    ] {
        let (_directory, path) = write(write_form);
        let image = open(&format!("{transport}:{path}")).unwrap();
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        image.fetch_into(&store, &|_| ()).unwrap();
        image.fetch_into(&store, &|_| ()).unwrap();
        let layers: Vec<String> = image.layers.iter().map(|layer| layer.descriptor.digest().hex()).collect();
        assert_eq!(sound_blobs(directory.path()), layers.into_iter().collect());
        assert!(image.layers.iter().all(|layer| *layer.descriptor.media_type() == media_type));
    }
}

#[test]
fn an_image_built_upon_another_is_published_with_its_layers_as_they_are() {
    let below = Tar::new().file("below", "1").finish();
    let base = Layout::new()
        .packed(&below, Packing::Zstd)
        .packed(&tar("/base\n").finish(), Packing::Plain)
        .packed(&Tar::new().file("above", "2").finish(), Packing::GzipMembers)
        .with(|image| image.config["config"]["OnBuild"] = "RUN a".into());
    let (directory, path) = write(|path| base.write(path));
    let opened = open(&format!("oci:{path}")).unwrap();
    let store = Store::open(directory.path().join("store")).unwrap();
    let contents = scan(&opened, &store);
    opened.fetch_into(&store, &|_| ()).unwrap();

    let of_base = |layer: &SourceLayer, content: &LayerContent| ImageLayer {
        title: "the base".into(),
        media_type: layer.descriptor.media_type().clone(),
        annotations: layer.descriptor.annotations(),
        digest: layer.descriptor.digest(),
        size: layer.descriptor.size(),
        diff_id: layer.diff_id,
        unpacked: content.unpacked,
    };
    let top = tar("/top\n").finish();
    let blob = gzip(&top);
    let mut layers: Vec<ImageLayer> =
        opened.layers.iter().zip(&contents).map(|(layer, content)| of_base(layer, content)).collect();
    layers.push(ImageLayer {
        title: "the top".into(),
        media_type: MediaType::ImageLayerGzip,
        annotations: Default::default(),
        digest: store.put_blob(&blob).unwrap(),
        size: blob.len() as u64,
        diff_id: Digest::of(&top),
        unpacked: 5,
    });
    let base = opened.layers.iter().map(|layer| {
        LayerPlan::Base(BaseLayer { descriptor: layer.descriptor.clone(), diff_id: layer.diff_id })
    });
    let top = GeneratedLayer { files: Vec::new(), compression: LayerCompression::Gzip };
    let plan = Plan {
        architecture: Architecture::Amd64,
        created: 0,
        layers: base.chain([LayerPlan::Hidden(top)]).collect(),
        runtime: RuntimeConfig { user: "nobody".into(), cmd: vec!["sh".into()], ..Default::default() },
        base_config: serde_json::from_slice(&opened.config).unwrap(),
        annotations: BTreeMap::new(),
    };
    let image = assemble(&plan, layers).unwrap();
    assert_eq!(image.layers.iter().map(|layer| layer.unpacked).collect::<Vec<_>>(), [1, 6, 1, 5]);
    for transport in ["oci", "oci-archive"] {
        let place = format!("{transport}:{}", directory.path().join(format!("built-{transport}")).display());
        support::publish(&image, &place, "built", &store).unwrap();
        let built = open(&place).unwrap();
        assert_eq!(built.digest, Some(image.manifest.digest()));
        assert_eq!(conf(&built), "/top\n");
        let layers = |image: &SourceImage| -> Vec<SourceLayer> { image.layers[..3].to_vec() };
        assert_eq!(layers(&built), layers(&opened));
        let config: Value = serde_json::from_slice(&built.config).unwrap();
        assert_eq!(config["config"]["OnBuild"], "RUN a");
        assert_eq!(config["config"]["User"], "nobody");
        assert_eq!(config["config"]["Cmd"], json!(["sh"]));
        let Some(copied) = skopeo(&place, directory.path(), "dir", &[]) else { continue };
        assert!(Path::new(copied.split_once(':').unwrap().1).join("manifest.json").exists());
    }
}

/// Copies an image with skopeo to a place of its own in `directory`; `None` where there is no skopeo.
fn skopeo(place: &str, directory: &Path, transport: &str, options: &[&str]) -> Option<String> {
    let name = format!("skopeo-{}-{transport}{}", place.split(':').next().unwrap(), options.concat());
    let copied = format!("{transport}:{}", directory.join(name).display());
    let run = Command::new("skopeo")
        .args(["copy", "--insecure-policy", "-q"])
        .args(options)
        .args([place, &copied])
        .output();
    let Ok(output) = run else {
        eprintln!("skipped: there is no skopeo");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(copied)
}

#[test]
fn what_skopeo_writes_is_read() {
    let (directory, path) = write(|path| layout("/opt/lib\n").write(path));
    let place = format!("oci:{path}");
    for (transport, options) in [
        ("oci", &["--dest-compress-format", "zstd"][..]),
        ("oci", &["--format", "v2s2"]),
        ("oci-archive", &[]),
        ("docker-archive", &[]),
    ] {
        let Some(copied) = skopeo(&place, directory.path(), transport, options) else { return };
        let image = open(&copied).unwrap();
        assert_eq!(conf(&image), "/opt/lib\n", "{transport} {options:?}");
        let diff_ids =
            |image: &SourceImage| image.layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>();
        assert_eq!(diff_ids(&image), diff_ids(&open(&place).unwrap()));
    }
}

#[test]
fn a_docker_archive_may_have_compressed_layers() {
    let layer = tar("/opt/lib\n").finish();
    let config = Layout::new().packed(&layer, Packing::Gzip).config.to_string();
    let manifest =
        json!([{"Config": "config.json", "RepoTags": null, "Layers": ["layer.tar.gz"]}]).to_string();
    let archive = Tar::new().file("config.json", config).file("layer.tar.gz", gzip(&layer));
    let (_directory, path) =
        write(|path| fs::write(path, archive.file("manifest.json", manifest).finish()).unwrap());
    assert_eq!(conf(&open(&format!("docker-archive:{path}")).unwrap()), "/opt/lib\n");
}

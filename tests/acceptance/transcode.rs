//! `transcode STORE FORM WHEEL…`: writes a layer of each wheel into a store, as a build does, and prints what became of it
//! as a line of JSON. What `oracle` judges.
#![allow(clippy::disallowed_methods, reason = "a program of its own: wheels are files")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use imgforge::layer::{WheelFile, Written, wheels};
use imgforge::oci::{Digest, Hasher};
use imgforge::plan::{LayerCompression, WheelInstall, WheelLayer, WheelPlacement};
use imgforge::pypa::metadata;
use imgforge::pypa::scheme::InstallScheme;
use imgforge::store::Store;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(store), Some(compression)) = (arguments.next(), arguments.next()) else {
        return Err("usage: transcode STORE FORM WHEEL…".into());
    };
    let store = Store::open(store)?;
    let compression = compression_of(&compression)?;
    for wheel in arguments {
        let started = Instant::now();
        let line = match transcode(Path::new(&wheel), &store, &compression) {
            Ok(written) => serde_json::json!({
                "wheel": wheel,
                "blob": store.blob_path(&written.digest),
                "size": written.size,
                "media_type": written.media_type,
                "annotations": written.annotations,
                "diff_id": written.diff_id,
                "unpacked": written.unpacked,
                "seconds": started.elapsed().as_secs_f64(),
            }),
            Err(error) => serde_json::json!({ "wheel": wheel, "error": chain(&*error) }),
        };
        println!("{line}");
    }
    Ok(())
}

fn compression_of(text: &str) -> Result<LayerCompression, Box<dyn Error>> {
    match text {
        "gzip" => Ok(LayerCompression::Gzip),
        "zstd" => Ok(LayerCompression::Zstd { level: 3 }),
        "estargz" => Ok(LayerCompression::Estargz { prefetch: Vec::new() }),
        _ => Err(format!("`{text}` is not a compression").into()),
    }
}

fn transcode(path: &Path, store: &Store, compression: &LayerCompression) -> Result<Written, Box<dyn Error>> {
    let metadata = metadata::parse(&WheelFile::open(path)?.contents()?.metadata)?;
    let mut hasher = Hasher::default();
    std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
    let wheel = hasher.finish();
    if !store.has_blob(&wheel, None) {
        let blob = store.blob_path(&wheel);
        std::fs::hard_link(path, &blob).or_else(|_| std::fs::copy(path, &blob).map(drop))?;
    }
    let layer = WheelLayer {
        scheme: InstallScheme::debian((3, 11)),
        wheels: vec![install(path, wheel, metadata.digest())],
        bytecode: None,
        compression: compression.clone(),
    };
    Ok(wheels::write(&layer, store, None, &|_| ())?)
}

fn install(path: &Path, wheel: Digest, metadata: Digest) -> WheelInstall {
    let filename = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut parts = filename.split('-').map(str::to_owned);
    WheelInstall {
        distribution: parts.next().unwrap_or_default(),
        version: parts.next().unwrap_or_default(),
        filename: filename.clone(),
        wheel,
        direct_url: None,
        unpacked: 0,
        metadata,
        requested: true,
        part: None,
        relaxed: BTreeMap::new(),
        place: WheelPlacement::SitePackages,
    }
}

fn chain(error: &(dyn Error + 'static)) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

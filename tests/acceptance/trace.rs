//! Prints what imgforge's loader finds for every ELF file of an image, for `tests/acceptance/loader` to hold against the
//! real loader: `trace LAYOUT STORE [ISA_LEVEL]`.
//!
//! One line for each file and name: `PATH<TAB>NAME<TAB>FOUND`, with `not found` or `refused` for what is missed. First come
//! the names of `/etc/ld.so.cache`, as if it were such a file.
#![allow(clippy::disallowed_methods, reason = "a program of the tests")]

use std::error::Error;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use imgforge::check::loader::{Loader, LoaderSettings};
use imgforge::elf::Cache;
use imgforge::layer::records;
use imgforge::net::engine::{EngineSettings, Engines};
use imgforge::net::http::{Http, HttpSettings};
use imgforge::net::registry::{Registries, RegistrySettings};
use imgforge::observe::check_facts::CheckFacts;
use imgforge::source::{self, SourceAccess};
use imgforge::store::Store;

const CACHE: &str = "etc/ld.so.cache";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [layout, directory, level @ ..] = &arguments[..] else {
        return Err("usage: trace LAYOUT STORE [ISA_LEVEL]".into());
    };
    let store = Store::open(directory)?;
    let http = Arc::new(Http::new(HttpSettings::default())?);
    let engines = Engines::new(Arc::clone(&http), EngineSettings::default());
    let registries = Registries::new(http, store.clone(), RegistrySettings::default());
    let access = SourceAccess { registries: &registries, engines: &engines };
    let image = source::open(&format!("oci:{layout}").parse()?, None, access)?;
    source::scan(&image, &store, 2, &|_| ())?;
    let layers = image.layers.iter().map(|layer| records::evidence(&store, &layer.descriptor.digest()));
    let evidence = CheckFacts::stacked(layers.collect::<Option<Vec<_>>>().ok_or("a layer has no record")?);
    let library_path = image.env.iter().find_map(|entry| entry.strip_prefix("LD_LIBRARY_PATH="));
    let loader = Loader::new(
        &evidence,
        LoaderSettings {
            architecture: image.architecture,
            library_path: library_path.map(str::to_owned),
            preload: None,
            isa_level: level.first().map_or(Ok(0), |level| level.parse())?,
        },
    )?;
    let mut out = BufWriter::new(io::stdout().lock());
    let cache = evidence.text(CACHE).map(Cache::parse).transpose()?;
    for library in cache.into_iter().flat_map(|cache| cache.libraries) {
        writeln!(out, "/{CACHE}\t{}\t{}", library.soname, library.path)?;
    }
    for (path, _, object) in loader.objects() {
        if object.elf.dynamic.is_none() {
            continue;
        }
        let Some(process) = loader.start(&path) else { continue };
        for loaded in process.objects.iter().skip(1) {
            writeln!(out, "{path}\t{}\t{}", loaded.name, loaded.path)?;
        }
        for miss in &process.misses {
            let what = if miss.refused.is_some() { "refused" } else { "not found" };
            writeln!(out, "{path}\t{}\t{what}", miss.name)?;
        }
    }
    Ok(out.flush()?)
}

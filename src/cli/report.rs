//! Tables: what was decided, and what was made.

use std::collections::BTreeSet;
use std::io::{self, Write};

use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::base::{BaseInventory, CudaCopy, Found, VersionSource};
use crate::pipeline::{Built, Planned};
use crate::resolve::demand::Demand;
use crate::resolve::{Distribution, Role};

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// The table that ends a build.
pub(super) fn built(out: &mut impl Write, built: &Built) -> io::Result<()> {
    components(out, &built.planned)?;
    let rows = built
        .image
        .layers
        .iter()
        .map(|layer| vec![layer.title.clone(), bytes(layer.size), bytes(layer.unpacked)]);
    table(out, &["LAYER", "COMPRESSED", "UNPACKED"], rows.collect())?;
    let compressed: u64 = built.image.layers.iter().map(|layer| layer.size).sum();
    let unpacked: u64 = built.image.layers.iter().map(|layer| layer.unpacked).sum();
    writeln!(
        out,
        "{} layers, {}, {} unpacked",
        built.image.layers.len(),
        bytes(compressed),
        bytes(unpacked)
    )?;
    comparison(out, &built.planned)?;
    for destination in &built.destinations {
        writeln!(out, "published {destination}")?;
    }
    Ok(())
}

/// What would be built and why.
pub(super) fn plan(out: &mut impl Write, planned: &Planned) -> io::Result<()> {
    writeln!(out, "{} on Python {}, {}\n", planned.name, planned.base.python, planned.base.architecture)?;
    components(out, planned)?;
    let packages = planned.resolution.distributions.iter().filter(|d| matches!(d.role, Role::Package { .. }));
    let rows = packages.map(|distribution| {
        vec![
            distribution.name.to_string(),
            distribution.version.to_string(),
            if distribution.requested { "the recipe".into() } else { String::new() },
            size(planned, distribution),
        ]
    });
    table(out, &["DISTRIBUTION", "VERSION", "ASKED FOR BY", "UNPACKED"], rows.collect())?;
    let rows = planned.layers.iter().map(|layer| vec![layer.title()]);
    table(out, &["LAYERS OF WHEELS"], rows.collect())?;
    comparison(out, planned)
}

fn components(out: &mut impl Write, planned: &Planned) -> io::Result<()> {
    let Some(toolkit) = &planned.resolution.toolkit else {
        return match planned.resolution.has_cuda() {
            true => writeln!(out, "CUDA comes with wheels, as pip installs them\n"),
            false => writeln!(out, "no distribution needs CUDA\n"),
        };
    };
    writeln!(out, "CUDA {toolkit} at /{}\n", toolkit.root())?;
    let rows = planned.resolution.distributions.iter().filter_map(|distribution| match &distribution.role {
        Role::Component { component, demands, .. } => Some(vec![
            component.to_string(),
            distribution.version.to_string(),
            format!("wheel {}", distribution.name),
            size(planned, distribution),
            because(distribution, demands),
        ]),
        _ => None,
    });
    table(out, &["COMPONENT", "VERSION", "FROM", "UNPACKED", "BECAUSE OF"], rows.collect())
}

/// The demands, the one that decides first.
fn because(distribution: &Distribution, demands: &[Demand]) -> String {
    let mut shown: Vec<&Demand> = demands.iter().collect();
    shown.sort_by_key(|demand| !demand.decides(&distribution.version));
    shown.into_iter().map(Demand::to_string).collect::<Vec<_>>().join("; ")
}

fn comparison(out: &mut impl Write, planned: &Planned) -> io::Result<()> {
    let private = &planned.private.by_framework;
    if private.is_empty() {
        return Ok(());
    }
    let served: u64 = planned
        .resolution
        .distributions
        .iter()
        .filter(|distribution| matches!(distribution.role, Role::Component { .. }))
        .filter_map(|distribution| planned.sizes.get(&distribution.wheel.filename.to_string()))
        .sum();
    let sum: u64 = private.values().sum();
    let parts: Vec<String> = private.iter().map(|(name, size)| format!("{name} {}", bytes(*size))).collect();
    writeln!(
        out,
        "one CUDA of {} instead of a private copy for each ({}): {} saved",
        bytes(served),
        parts.join(", "),
        bytes(sum.saturating_sub(served))
    )
}

fn size(planned: &Planned, distribution: &Distribution) -> String {
    planned.sizes.get(&distribution.wheel.filename.to_string()).map(|size| bytes(*size)).unwrap_or_default()
}

/// The plan as JSON.
pub(super) fn plan_json(out: &mut impl Write, planned: &Planned) -> io::Result<()> {
    let resolution = &planned.resolution;
    let value = json!({
        "name": planned.name,
        "base": {
            "architecture": planned.base.architecture,
            "python": planned.base.python,
            "glibc": format!("{}.{}", planned.base.glibc.0, planned.base.glibc.1),
        },
        "toolkit": resolution.toolkit.as_ref().map(|toolkit| json!({
            "version": toolkit.to_string(),
            "path": format!("/{}", toolkit.root()),
        })),
        "distributions": resolution.distributions.iter().map(|d| distribution(planned, d)).collect::<Vec<_>>(),
        "layers": planned.layers.iter().map(|layer| json!({
            "title": layer.title(),
            "distributions": layer.wheels.iter().map(|wheel| &wheel.distribution).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "private_cuda_bytes": planned.private.by_framework,
        "created": planned.created,
    });
    serde_json::to_writer_pretty(&mut *out, &value)?;
    writeln!(out)
}

fn distribution(planned: &Planned, distribution: &Distribution) -> Value {
    let (role, component, demands) = match &distribution.role {
        Role::Package { .. } => ("package", None, None),
        Role::Component { component, demands, .. } => ("component", Some(component), Some(demands)),
        Role::Metapackage { demands } => ("metapackage", None, Some(demands)),
    };
    json!({
        "name": distribution.name,
        "version": distribution.version,
        "wheel": distribution.wheel.filename.to_string(),
        "sha256": distribution.wheel.sha256.map(|digest| digest.hex()),
        "unpacked_bytes": planned.sizes.get(&distribution.wheel.filename.to_string()),
        "requested": distribution.requested,
        "relaxed": distribution.relaxed,
        "role": role,
        "component": component,
        "demands": demands,
    })
}

/// What is installed in an image.
pub(super) fn inventory(out: &mut impl Write, inventory: &BaseInventory) -> io::Result<()> {
    let (major, minor) = inventory.glibc;
    writeln!(out, "{}, glibc {major}.{minor}, {}", inventory.vendor, inventory.architecture)?;
    let scheme = &inventory.scheme;
    writeln!(out, "Python {} at {}, packages in /{}", inventory.python, scheme.interpreter, scheme.purelib)?;
    if !inventory.library_path.is_empty() {
        writeln!(out, "LD_LIBRARY_PATH {}", inventory.library_path.join(":"))?;
    }
    if let Some(toolkit) = &inventory.default_toolkit {
        writeln!(out, "/usr/local/cuda is /{toolkit}")?;
    }
    writeln!(out)?;
    let rows: Vec<Vec<String>> = inventory.cuda.iter().map(copy).collect();
    if rows.is_empty() {
        writeln!(out, "no CUDA\n")?;
    } else {
        table(out, &["COMPONENT", "CUDA", "VERSION", "TOLD BY", "SIZE", "FOUND", "WHERE"], rows)?;
    }
    let rows = inventory.distributions.iter().map(|installed| {
        let owner = if installed.of_system { "the system's" } else { "pip's" };
        vec![installed.name.to_string(), installed.version.to_string(), owner.to_owned()]
    });
    table(out, &["DISTRIBUTION", "VERSION", "WHOSE"], rows.collect())
}

fn copy(copy: &CudaCopy) -> Vec<String> {
    let told_by = match copy.version_from {
        VersionSource::DebianPackage => "package".to_owned(),
        VersionSource::Distribution => {
            copy.distribution.as_ref().map_or("wheel".to_owned(), |name| format!("wheel {name}"))
        }
        VersionSource::CondaPackage => "conda".to_owned(),
        VersionSource::VersionJson => "version.json".to_owned(),
        VersionSource::Header => "header".to_owned(),
        VersionSource::Program => "program".to_owned(),
        VersionSource::FileName => "file name".to_owned(),
        VersionSource::Directory => "directory".to_owned(),
        VersionSource::Unknown => String::new(),
    };
    let ways: BTreeSet<Found> = copy.libraries.iter().map(|library| library.found).collect();
    let way = |found| match found {
        Found::LibraryPath => "LD_LIBRARY_PATH",
        Found::Cache => "ld.so.cache",
        Found::SitePackages => "frameworks",
        Found::Nowhere => "nowhere",
    };
    let programs = copy.programs.iter().map(String::as_str);
    let found: Vec<&str> = ways.into_iter().map(way).chain(programs).collect();
    vec![
        copy.component.to_string(),
        copy.cuda_major.map(|major| major.to_string()).unwrap_or_default(),
        copy.version.as_ref().map(ToString::to_string).unwrap_or_default(),
        told_by,
        bytes(copy.libraries.iter().map(|library| library.size).sum()),
        found.join(" "),
        format!("/{}", copy.directory),
    ]
}

/// Columns as wide as their widest cell, the last one ragged; an empty line after.
fn table(out: &mut impl Write, head: &[&str], rows: Vec<Vec<String>>) -> io::Result<()> {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(head).chain(rows).collect();
    let columns = all.first().map_or(0, Vec::len);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", line.trim_end())?;
    }
    writeln!(out)
}

//! Tables: what was decided, and what was made.

use std::io::{self, Write};

use indicatif::HumanBytes;
use serde_json::{Value, json};

use crate::pipeline::{Built, Locked, Planned};
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

/// What moved in a lock.
pub(super) fn locked(out: &mut impl Write, locked: &Locked) -> io::Result<()> {
    for change in &locked.changes {
        writeln!(out, "{change}")?;
    }
    let (path, count) = (locked.path.display(), locked.lock.distributions.len());
    match locked.written {
        true => writeln!(out, "wrote {path}: {count} distributions and their base"),
        false => writeln!(out, "{path} is up to date"),
    }
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

//! Tables: what was decided, and what was made.

use std::collections::BTreeSet;

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::gpus;
use super::text::PrintedText;
use crate::base::{BaseInventory, CudaCopy, LoaderRoute, VersionSource};
use crate::check::Level;
use crate::compare::{Change, Difference};
use crate::cuda::DriverFit;
use crate::pipeline::{self, Built, Inspected, Locked, Planned};
use crate::resolve::demand::Demand;
use crate::resolve::{Distribution, Role, Service, ServiceSource};

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// The table that ends a build.
pub(super) fn built(built: &Built) -> PrintedText {
    let mut out = PrintedText::default();
    components(&mut out, &built.planned);
    let rows = built
        .image
        .layers
        .iter()
        .map(|layer| vec![layer.title.clone(), bytes(layer.size), bytes(layer.unpacked)]);
    out.table(&["LAYER", "COMPRESSED", "UNPACKED"], rows.collect());
    let compressed: u64 = built.image.layers.iter().map(|layer| layer.size).sum();
    let unpacked: u64 = built.image.layers.iter().map(|layer| layer.unpacked).sum();
    out.line(format_args!(
        "{} layers, {}, {} unpacked",
        built.image.layers.len(),
        bytes(compressed),
        bytes(unpacked)
    ));
    comparison(&mut out, &built.planned);
    if let Some(report) = &built.report {
        let [warnings, notes] = [Level::Warning, Level::Note].map(|level| report.count(level));
        out.line(format_args!("checked: it loads; {warnings} warnings, {notes} notes"));
        gpus::support(&mut out, &report.gpus);
    }
    for destination in &built.destinations {
        out.line(format_args!("published {destination}"));
    }
    out
}

/// Writes the changes of a lock.
pub(super) fn locked(locked: &Locked) -> PrintedText {
    let mut out = PrintedText::default();
    for change in &locked.changes {
        out.line(format_args!("{change}"));
    }
    let (path, count) = (locked.path.display(), locked.lock.distributions.len());
    match locked.written {
        true => out.line(format_args!("wrote {path}: {count} distributions and their base")),
        false => out.line(format_args!("{path} is up to date")),
    }
    out
}

/// Writes a plan: what would be built, and why.
pub(super) fn plan(planned: &Planned) -> PrintedText {
    let mut out = PrintedText::default();
    out.line(format_args!(
        "{} on Python {}, {}",
        planned.inputs.name, planned.base.python, planned.base.architecture
    ));
    out.blank();
    components(&mut out, planned);
    let packages = planned.resolution.distributions.iter().filter(|d| matches!(d.role, Role::Package { .. }));
    let rows = packages.map(|distribution| {
        vec![
            distribution.name.to_string(),
            distribution.version.to_string(),
            if distribution.requested { "the recipe".into() } else { String::new() },
            size(planned, distribution),
        ]
    });
    out.table(&["DISTRIBUTION", "VERSION", "ASKED FOR BY", "UNPACKED"], rows.collect());
    built_wheels(&mut out, planned);
    let rows = planned.plan.wheel_layers().map(|layer| vec![layer.title()]);
    out.table(&["LAYERS OF WHEELS"], rows.collect());
    gpus::planned(&mut out, &planned.gpus);
    comparison(&mut out, planned);
    out
}

/// The sources that wheels were built from, and the distributions that they were built with.
fn built_wheels(out: &mut PrintedText, planned: &Planned) {
    let built =
        planned.resolution.distributions.iter().filter_map(|distribution| distribution.built.as_ref());
    let rows: Vec<Vec<String>> = built
        .map(|from| {
            let with = from.requires.iter().map(|it| format!("{} {}", it.wheel.name, it.wheel.version));
            vec![from.file.clone(), with.collect::<Vec<_>>().join(", ")]
        })
        .collect();
    if !rows.is_empty() {
        out.table(&["BUILT FROM SOURCE", "WITH"], rows);
    }
}

fn components(out: &mut PrintedText, planned: &Planned) {
    let resolution = &planned.resolution;
    if !resolution.has_cuda() {
        out.line(format_args!("no distribution needs CUDA"));
        out.blank();
        return;
    }
    for ((major, minor), fit) in &resolution.toolkits {
        let tree = resolution.trees.iter().find(|tree| tree.toolkit.version == (*major, *minor));
        let at = tree.map(|tree| format!(" at /{}", tree.toolkit.root())).unwrap_or_default();
        out.line(format_args!("CUDA {major}.{minor}{at}{}", driver(fit.as_ref())));
    }
    out.blank();
    let rows = resolution.services.iter().map(|service| {
        vec![
            service.component.to_string(),
            service.version.to_string(),
            from(service),
            service_size(planned, service).map(bytes).unwrap_or_default(),
            because(service),
        ]
    });
    out.table(&["COMPONENT", "VERSION", "FROM", "UNPACKED", "BECAUSE OF"], rows.collect());
    for passed in &resolution.passed_over {
        out.line(passed);
    }
    if !resolution.passed_over.is_empty() {
        out.blank();
    }
    let rejected = resolution.services.iter().flat_map(|service| {
        service.rejected.iter().map(move |copy| {
            vec![
                service.component.to_string(),
                copy.version.as_ref().map(ToString::to_string).unwrap_or_default(),
                copy.path.clone(),
                bytes(copy.bytes),
                copy.reason.to_string(),
            ]
        })
    });
    let rejected: Vec<Vec<String>> = rejected.collect();
    if !rejected.is_empty() {
        out.table(&["OF THE BASE, NOT USED", "VERSION", "AT", "WASTED", "BECAUSE"], rejected);
    }
    let removed = &resolution.removed;
    if !removed.is_empty() {
        let names: Vec<String> =
            removed.iter().map(|gone| format!("{} {}", gone.name, gone.version)).collect();
        out.line(format_args!("hidden of the base: {}", names.join(", ")));
        out.blank();
    }
}

/// The verdict of the oldest driver to serve on a toolkit.
fn driver(fit: Option<&DriverFit>) -> String {
    match fit {
        Some(DriverFit::WithoutPtx { released_with: Some(driver) }) => {
            format!("; drivers before {driver} run it, but not what is compiled to PTX in the container")
        }
        Some(DriverFit::WithoutPtx { released_with: None }) => {
            "; the driver may not run what is compiled to PTX in the container".to_owned()
        }
        Some(DriverFit::Runs | DriverFit::TooOld { .. }) | None => String::new(),
    }
}

fn from(service: &Service) -> String {
    match &service.source {
        ServiceSource::Base { copy, .. } => format!("base /{}", copy.directory),
        ServiceSource::Wheel => format!("wheel {}", service.distribution),
        ServiceSource::Sibling { distribution } => format!("the copy of {distribution}"),
        ServiceSource::Pip => format!("pip {}", service.distribution),
    }
}

/// The demands, the one that decides first.
fn because(service: &Service) -> String {
    let mut shown: Vec<&Demand> = service.demands.iter().collect();
    shown.sort_by_key(|demand| !demand.decides(&service.version));
    shown.into_iter().map(Demand::to_string).collect::<Vec<_>>().join("; ")
}

/// The unpacked size in bytes of what serves.
fn service_size(planned: &Planned, service: &Service) -> Option<u64> {
    match &service.source {
        ServiceSource::Base { copy, .. } => Some(copy.bytes),
        ServiceSource::Wheel | ServiceSource::Pip => {
            let is_of = |distribution: &&Distribution| {
                distribution.name == service.distribution && distribution.version == service.version
            };
            let distribution = planned.resolution.distributions.iter().find(is_of)?;
            planned.plan.wheel_size(&distribution.wheel.filename)
        }
        ServiceSource::Sibling { .. } => None,
    }
}

fn comparison(out: &mut PrintedText, planned: &Planned) {
    let private = &planned.private.by_framework;
    if private.is_empty() {
        return;
    }
    let served: u64 = planned
        .resolution
        .distributions
        .iter()
        .filter(|distribution| matches!(distribution.role, Role::Component { .. }))
        .filter_map(|distribution| planned.plan.wheel_size(&distribution.wheel.filename))
        .sum();
    let sum: u64 = private.values().sum();
    let parts: Vec<String> = private.iter().map(|(name, size)| format!("{name} {}", bytes(*size))).collect();
    out.line(format_args!(
        "one CUDA of {} instead of a private copy for each ({}): {} saved",
        bytes(served),
        parts.join(", "),
        bytes(sum.saturating_sub(served))
    ))
}

fn size(planned: &Planned, distribution: &Distribution) -> String {
    planned.plan.wheel_size(&distribution.wheel.filename).map(bytes).unwrap_or_default()
}

/// The plan as JSON.
pub(super) fn plan_json(planned: &Planned) -> serde_json::Result<PrintedText> {
    let resolution = &planned.resolution;
    let value = json!({
        "name": planned.inputs.name,
        "base": {
            "architecture": planned.base.architecture,
            "python": planned.base.python,
            "glibc": format!("{}.{}", planned.base.glibc.0, planned.base.glibc.1),
        },
        "toolkits": resolution.toolkits.iter().map(|((major, minor), fit)| json!({
            "version": format!("{major}.{minor}"),
            "driver": fit,
        })).collect::<Vec<_>>(),
        "trees": resolution.trees.iter().map(|tree| json!({
            "version": tree.toolkit.to_string(),
            "path": format!("/{}", tree.toolkit.root()),
            "of_base": tree.exists,
            "found_by": tree.found,
        })).collect::<Vec<_>>(),
        "components": resolution.services.iter().map(|it| service(planned, it)).collect::<Vec<_>>(),
        "kept": resolution.kept,
        "removed": resolution.removed,
        "passed_over": resolution.passed_over,
        "distributions": resolution.distributions.iter().map(|d| distribution(planned, d)).collect::<Vec<_>>(),
        "layers": planned.plan.wheel_layers().map(|layer| json!({
            "title": layer.title(),
            "distributions": layer.wheels.iter().map(|wheel| &wheel.distribution).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "summary": pipeline::summary_of(planned),
        "private_cuda_bytes": planned.private.by_framework,
        "gpus": gpus::planned_document(&planned.gpus),
        "created": planned.plan.created,
        "plan": planned.plan,
    });
    PrintedText::json(&value)
}

fn service(planned: &Planned, service: &Service) -> Value {
    let path = |directory: &String| format!("/{directory}");
    let source = match &service.source {
        ServiceSource::Base { copy, linked_in, pip } => json!({
            "kind": "base",
            "path": path(&copy.directory),
            "version_from": copy.version_from,
            "linked_in": linked_in.as_ref().map(path),
            "pip_sees": pip,
            "libraries": copy.libraries.iter().map(|library| json!({
                "soname": library.soname,
                "path": path(&library.path),
                "found": library.found,
            })).collect::<Vec<_>>(),
        }),
        ServiceSource::Wheel => json!({"kind": "wheel", "distribution": service.distribution}),
        ServiceSource::Sibling { distribution } => json!({"kind": "sibling", "distribution": distribution}),
        ServiceSource::Pip => json!({"kind": "pip", "distribution": service.distribution}),
    };
    let size = service_size(planned, service);
    let saved = matches!(service.source, ServiceSource::Base { .. }).then_some(size).flatten();
    json!({
        "component": service.component,
        "cuda_major": service.cuda_major,
        "distribution": service.distribution,
        "version": service.version,
        "source": source,
        "demands": service.demands,
        "rejected": service.rejected.iter().map(|copy| json!({
            "path": copy.path,
            "version": copy.version,
            "bytes": copy.bytes,
            "reason": copy.reason,
            "explanation": copy.reason.to_string(),
        })).collect::<Vec<_>>(),
        "unpacked_bytes": size,
        "saved_bytes": saved.unwrap_or_default(),
        "wasted_bytes": service.rejected.iter().map(|copy| copy.bytes).sum::<u64>(),
    })
}

fn distribution(planned: &Planned, distribution: &Distribution) -> Value {
    let (role, component) = match &distribution.role {
        Role::Package { .. } => ("package", None),
        Role::Component { component, .. } => ("component", Some(component)),
        Role::Metapackage => ("metapackage", None),
    };
    json!({
        "name": distribution.name,
        "version": distribution.version,
        "wheel": distribution.wheel.filename.to_string(),
        "sha256": distribution.wheel.sha256.map(|digest| digest.hex()),
        "unpacked_bytes": planned.plan.wheel_size(&distribution.wheel.filename),
        "requested": distribution.requested,
        "built_from": distribution.built,
        "relaxed": distribution.relaxed,
        "role": role,
        "component": component,
    })
}

/// The content of an image as JSON: its inventory, and the GPUs and drivers that it runs on.
pub(super) fn inspected_json(inspected: &Inspected) -> serde_json::Result<PrintedText> {
    let mut value = serde_json::to_value(&inspected.inventory)?;
    if let Value::Object(members) = &mut value {
        members.insert("gpus".to_owned(), gpus::document(&inspected.gpus));
    }
    PrintedText::json(&value)
}

/// Writes the content of an image.
pub(super) fn inspected(inspected: &Inspected) -> PrintedText {
    let mut out = inventory(&inspected.inventory);
    gpus::support(&mut out, &inspected.gpus);
    out
}

fn inventory(inventory: &BaseInventory) -> PrintedText {
    let mut out = PrintedText::default();
    let (major, minor) = inventory.glibc;
    out.line(format_args!("{}, glibc {major}.{minor}, {}", inventory.vendor, inventory.architecture));
    let scheme = &inventory.scheme;
    out.line(format_args!(
        "Python {} at {}, packages in /{}",
        inventory.python, scheme.interpreter, scheme.purelib
    ));
    if !inventory.library_path.is_empty() {
        out.line(format_args!("LD_LIBRARY_PATH {}", inventory.library_path.join(":")));
    }
    if let Some(toolkit) = &inventory.default_toolkit {
        out.line(format_args!("/usr/local/cuda is /{toolkit}"));
    }
    out.blank();
    let rows: Vec<Vec<String>> = inventory.cuda.iter().map(copy).collect();
    if rows.is_empty() {
        out.line(format_args!("no CUDA"));
        out.blank();
    } else {
        out.table(&["COMPONENT", "CUDA", "VERSION", "TOLD BY", "SIZE", "FOUND", "WHERE"], rows);
    }
    let rows = inventory.distributions.iter().map(|installed| {
        let owner = if installed.of_system { "the system's" } else { "pip's" };
        vec![installed.name.to_string(), installed.version.to_string(), owner.to_owned()]
    });
    out.table(&["DISTRIBUTION", "VERSION", "WHOSE"], rows.collect());
    out
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
    let ways: BTreeSet<LoaderRoute> = copy.libraries.iter().map(|library| library.found).collect();
    let way = |found| match found {
        LoaderRoute::LibraryPath => "LD_LIBRARY_PATH",
        LoaderRoute::Cache => "ld.so.cache",
        LoaderRoute::SitePackages => "frameworks",
        LoaderRoute::Nowhere => "nowhere",
    };
    let programs = copy.programs.iter().map(String::as_str);
    let found: Vec<&str> = ways.into_iter().map(way).chain(programs).collect();
    vec![
        copy.component.to_string(),
        copy.cuda_major.map(|major| major.to_string()).unwrap_or_default(),
        copy.version.as_ref().map(ToString::to_string).unwrap_or_default(),
        told_by,
        bytes(copy.bytes),
        found.join(" "),
        format!("/{}", copy.directory),
    ]
}

/// Writes the difference between two images or plans.
pub(super) fn difference(difference: &Difference) -> PrintedText {
    let mut out = PrintedText::default();
    if difference.is_empty() {
        out.line(format_args!("nothing changed"));
        return out;
    }
    if let Some(Change { before: Some(before), after: Some(after), .. }) = &difference.python {
        out.line(format_args!("Python {before} → {after}"));
        out.blank();
    }
    for (head, changes) in
        [("COMPONENT", &difference.components), ("DISTRIBUTION", &difference.distributions)]
    {
        let cell = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
        let rows =
            changes.iter().map(|change| vec![change.name.clone(), cell(&change.before), cell(&change.after)]);
        if !changes.is_empty() {
            out.table(&[head, "BEFORE", "AFTER"], rows.collect());
        }
    }
    for growth in &difference.bytes {
        let (sign, by) = match growth.after.checked_sub(growth.before) {
            Some(more) => ("+", more),
            None => ("-", growth.before - growth.after),
        };
        let (before, after) = (bytes(growth.before), bytes(growth.after));
        out.line(format_args!("{}: {before} → {after} ({sign}{})", growth.name, bytes(by)));
    }
    out
}

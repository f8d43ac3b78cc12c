//! Plans and images as JSON, and sizes for people.

use indicatif::HumanBytes;
use serde_json::{Value, json};

use super::gpus;
use super::text::PrintedText;
use crate::pipeline::{self, Inspected, Planned};
use crate::resolve::demand::Demand;
use crate::resolve::{Distribution, Role, Service, ServiceSource};

/// A size for people.
pub(super) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// The bytes that one CUDA spares.
pub(super) struct Savings {
    /// The size of the CUDA that all share.
    pub shared: u64,
    /// The sum of those that the frameworks would have brought, less the shared one.
    pub saved: u64,
}

/// The savings of a plan; `None` where its frameworks would not have brought more than they share.
pub(super) fn savings(planned: &Planned) -> Option<Savings> {
    let private = &planned.private.by_framework;
    let is_component = |role: &Role| matches!(role, Role::Component { .. });
    let components = planned.resolution.distributions.iter().filter(|it| is_component(&it.role));
    let shared = components.filter_map(|it| planned.plan.wheel_size(&it.wheel.filename)).sum();
    let saved = private.values().sum::<u64>().checked_sub(shared).filter(|saved| *saved > 0)?;
    (private.len() > 1).then_some(Savings { shared, saved })
}

/// The plan as JSON, or that of each platform.
pub(super) fn plans_json(planned: &[Planned]) -> serde_json::Result<PrintedText> {
    match planned {
        [only] => PrintedText::json(&plan_json(only)),
        several => {
            let name = several.first().map(|planned| &planned.inputs.name);
            let platforms = several
                .iter()
                .map(|planned| (planned.plan.architecture.platform().to_owned(), plan_json(planned)));
            PrintedText::json(&json!({ "name": name, "platforms": Value::from_iter(platforms) }))
        }
    }
}

fn plan_json(planned: &Planned) -> Value {
    let resolution = &planned.resolution;
    json!({
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
        "size": planned.size,
        "private_cuda_bytes": planned.private.by_framework,
        "saved_bytes": savings(planned).map_or(0, |savings| savings.saved),
        "gpus": gpus::planned_document(&planned.gpus),
        "created": planned.plan.created,
        "plan": planned.plan,
    })
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
        "demands": service.demands.iter().map(|it| demand(it, service)).collect::<Vec<_>>(),
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

/// A demand, and whether it is why no older version serves.
fn demand(demand: &Demand, service: &Service) -> Value {
    let mut value = json!(demand);
    if let Value::Object(members) = &mut value {
        members.insert("decides".to_owned(), demand.decides(&service.version).into());
    }
    value
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
        "required_by": distribution.required_by,
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

/// The unpacked size in bytes of what serves.
pub(super) fn service_size(planned: &Planned, service: &Service) -> Option<u64> {
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

//! The table of components: who serves each, which demand decides, and which others accept that.

use super::report::{bytes, service_size};
use super::table::{name, number, prose};
use super::text::{PrintedText, View};
use crate::pipeline::Planned;
use crate::resolve::demand::{Demand, Demander};
use crate::resolve::{Service, ServiceSource};

/// Writes the components of a plan; nothing where it has none.
pub(super) fn components(out: &mut PrintedText, planned: &Planned, view: View) {
    let resolution = &planned.resolution;
    if resolution.has_cuda() {
        services(out, planned, view);
    }
    for passed in &resolution.passed_over {
        out.paragraph(passed);
    }
    if !resolution.passed_over.is_empty() {
        out.blank();
    }
    unused(out, &resolution.services);
    let removed = &resolution.removed;
    if !removed.is_empty() {
        let names: Vec<String> =
            removed.iter().map(|gone| format!("{} {}", gone.name, gone.version)).collect();
        out.paragraph(format_args!("hidden of the base: {}", names.join(", ")));
        out.blank();
    }
}

fn services(out: &mut PrintedText, planned: &Planned, view: View) {
    let row = |service: &Service| {
        let mut row = vec![
            service.component.to_string(),
            service.version.to_string(),
            service_size(planned, service).map(bytes).unwrap_or_default(),
            from(service),
        ];
        row.extend(reasons(service, view));
        row
    };
    let rows: Vec<Vec<String>> = planned.resolution.services.iter().map(row).collect();
    let columns =
        [name("COMPONENT"), name("VERSION"), number("UNPACKED"), prose("FROM"), prose("DECIDED BY")];
    match view.wide {
        true => out.table(&[&columns[..], &[prose("ACCEPTED BY")]].concat(), rows),
        false => {
            out.table(&columns, rows);
            out.paragraph(
                "DECIDED BY: the requirement that no older version meets; the others accept this version \
                 (--wide names them).",
            );
            out.blank();
        }
    }
}

/// The demands that decide, and those that accept: in words, or one and the number of the others.
fn reasons(service: &Service, view: View) -> Vec<String> {
    let (decide, accept): (Vec<&Demand>, Vec<&Demand>) =
        service.demands.iter().partition(|demand| demand.decides(&service.version));
    let all = |demands: &[&Demand]| demands.iter().map(|it| told(it)).collect::<Vec<_>>().join("; ");
    if view.wide {
        return vec![all(&decide), all(&accept)];
    }
    let accepting = match accept.len() {
        0 => String::new(),
        1 => "; 1 other accepts it".to_owned(),
        count => format!("; {count} others accept it"),
    };
    vec![match decide.split_first() {
        Some((first, [])) => told(first) + &accepting,
        Some((first, others)) => format!("{}, +{} more{accepting}", told(first), others.len()),
        None => undecided(service, &accept),
    }]
}

/// The words on a component of which no demand tells the version.
fn undecided(service: &Service, accept: &[&Demand]) -> String {
    let because = match &service.source {
        ServiceSource::Base { .. } => "the base has it",
        ServiceSource::Sibling { .. } => "the copy serves both",
        ServiceSource::Wheel | ServiceSource::Pip => "",
    };
    let first = accept.first().map(|first| told(first));
    let more = match accept.len() {
        0 | 1 => String::new(),
        count => format!(", +{} more", count - 1),
    };
    match (because, first) {
        (because, None) => because.to_owned(),
        ("", Some(first)) => first + &more,
        (because, Some(first)) => format!("{because}: {first}{more}"),
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

/// The base's copies that do not serve: the image carries them all the same.
fn unused(out: &mut PrintedText, services: &[Service]) {
    let rejected = services.iter().flat_map(|service| {
        service.rejected.iter().map(move |copy| {
            vec![
                service.component.to_string(),
                copy.version.as_ref().map(ToString::to_string).unwrap_or_default(),
                bytes(copy.bytes),
                copy.path.clone(),
                copy.reason.to_string(),
            ]
        })
    });
    let rejected: Vec<Vec<String>> = rejected.collect();
    if !rejected.is_empty() {
        let columns = [name("OF THE BASE, NOT USED"), name("VERSION"), number("WASTED"), prose("AT")];
        out.table(&[&columns[..], &[prose("BECAUSE")]].concat(), rejected);
    }
}

/// A demand with the chain that leads to it: `torch 2.8.0 ← vllm (==9.1.0.70)`.
fn told(demand: &Demand) -> String {
    let by = match &demand.by {
        Demander::Distribution { name, version, through } => {
            let above = through.iter().rev().map(|name| format!(" ← {name}"));
            format!("{name} {version}{}", above.collect::<String>())
        }
        by => by.to_string(),
    };
    match demand.asked.is_empty() {
        _ if demand.is_of_binary() => by,
        true => format!("{by} (any)"),
        false => format!("{by} ({})", demand.asked),
    }
}

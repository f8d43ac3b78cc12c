//! The GPUs and drivers that an image runs on, for people and as JSON.

use serde_json::{Value, json};

use super::text::PrintedText;
use crate::check::{GpuCodeOwner, GpuLibrary, GpuSupport, OwnedGpuCode, coverage};
use crate::cuda::{DriverCause, DriverNeed};
use crate::pipeline::PlannedGpus;
use crate::recipe::forward_compatibility;

/// The distributions whose code is told in a summary; more of them are counted.
const SHOWN_DISTRIBUTIONS: usize = 4;

/// Writes what every distribution is compiled for, and the drivers.
pub(super) fn support(out: &mut PrintedText, support: &GpuSupport) {
    for line in code(support) {
        out.line(line);
    }
    match driver(support.driver.as_ref()) {
        Some(driver) => out.line(format_args!("lowest driver: {driver}")),
        None if support.code.is_empty() => {}
        None => out.line(format_args!("the lowest driver is not known: {NO_RUNTIME}")),
    }
}

/// Writes the same in the summary of an image.
pub(super) fn summary(out: &mut PrintedText, support: &GpuSupport, all: bool) {
    drivers(out, driver(support.driver.as_ref()), !support.code.is_empty());
    facts(out, code(support), all);
}

/// Writes the same of a plan: what was learned of its wheels when they were read before.
pub(super) fn planned(out: &mut PrintedText, planned: &PlannedGpus, all: bool) {
    let older = planned.hosts.compat.map(|compat| {
        format!("; older ones of data-centre GPUs with {}", forward_compatibility::package(compat))
    });
    let driver = driver(planned.driver.as_ref()).map(|driver| driver + &older.unwrap_or_default());
    drivers(out, driver, false);
    let known = planned.distributions.iter().filter_map(|(distribution, code)| {
        code.as_ref().map(|code| format!("{distribution}: {}", coverage(code)))
    });
    let mut lines: Vec<String> = known.collect();
    let unknown = planned.distributions.iter().filter(|(_, code)| code.is_none());
    let unknown: Vec<String> = unknown.map(|(distribution, _)| distribution.to_string()).collect();
    if !unknown.is_empty() {
        lines.push(format!("{}: known after the build", unknown.join(", ")));
    }
    facts(out, lines, all);
    for (distribution, gpu) in &planned.lacking {
        out.fact("", format_args!("{distribution} does not run on {gpu}: its image will not be published"));
    }
}

fn drivers(out: &mut PrintedText, driver: Option<String>, has_code: bool) {
    match driver {
        Some(driver) => out.fact("driver", format_args!("at least {driver}")),
        None if has_code => out.fact("driver", format_args!("not known: {NO_RUNTIME}")),
        None => {}
    }
}

/// Writes lines under one label, the first ones of many.
fn facts(out: &mut PrintedText, mut lines: Vec<String>, all: bool) {
    if !all && lines.len() > SHOWN_DISTRIBUTIONS + 1 {
        let more = lines.split_off(SHOWN_DISTRIBUTIONS).len();
        lines.push(format!("… {more} more (--all)"));
    }
    for (at, line) in lines.iter().enumerate() {
        out.fact(if at == 0 { "GPUs" } else { "" }, line);
    }
}

/// A line for every distribution with code, or what has some instead.
fn code(support: &GpuSupport) -> Vec<String> {
    let line = |owned: &OwnedGpuCode| match &owned.owner {
        GpuCodeOwner::Distribution(distribution) => {
            Some(format!("{distribution}: {}", coverage(&owned.code)))
        }
        GpuCodeOwner::Component(_) | GpuCodeOwner::Directory(_) => None,
    };
    let lines: Vec<String> = support.code.iter().filter_map(line).collect();
    match support.code.as_slice() {
        [] => vec!["no code for GPUs".to_owned()],
        code if lines.is_empty() => {
            vec![format!("no distribution has code for GPUs, but CUDA's own: {}", of_cuda(code))]
        }
        _ => lines,
    }
}

const NO_RUNTIME: &str = "nothing tells the version of CUDA's runtime";

/// `525.60.13 (CUDA 12)`
fn driver(need: Option<&DriverNeed>) -> Option<String> {
    let DriverNeed { lowest, because, for_newer_gpus } = need?;
    let because = match because {
        DriverCause::Major(major) => format!("CUDA {major}"),
        DriverCause::Ptx(version) => format!("PTX {version}"),
    };
    let newer = for_newer_gpus.as_ref().map(|driver| format!("; {driver} for GPUs newer than these"));
    Some(format!("{lowest} ({because}){}", newer.unwrap_or_default()))
}

/// The first components of those that have code, by name.
fn of_cuda(code: &[OwnedGpuCode]) -> String {
    let names = code.iter().map(|owned| match &owned.owner {
        GpuCodeOwner::Component(copy) => copy.component.to_string(),
        GpuCodeOwner::Distribution(distribution) => distribution.to_string(),
        GpuCodeOwner::Directory(directory) => directory.clone(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// The support as JSON.
pub(super) fn document(support: &GpuSupport) -> Value {
    json!({
        "code": support.code.iter().map(owned).collect::<Vec<_>>(),
        "driver": support.driver,
    })
}

/// That of a plan as JSON.
pub(super) fn planned_document(planned: &PlannedGpus) -> Value {
    let distributions = planned.distributions.iter().map(|(distribution, code)| {
        json!({
            "distribution": distribution,
            "known": code.is_some(),
            "compiled_for": code.as_ref().map(|code| code.compiled_for()),
            "ptx_for_newer": code.as_ref().map(|code| code.has_ptx_for_newer()),
        })
    });
    let lacking = planned.lacking.iter();
    let lacking = lacking.map(|(distribution, gpu)| json!({"distribution": distribution, "gpu": gpu}));
    json!({
        "distributions": distributions.collect::<Vec<_>>(),
        "lacking": lacking.collect::<Vec<_>>(),
        "driver": planned.driver,
    })
}

fn owned(owned: &OwnedGpuCode) -> Value {
    json!({
        "owner": owned.owner,
        "compiled_for": owned.code.compiled_for(),
        "ptx_for_newer": owned.code.has_ptx_for_newer(),
        "libraries": owned.libraries.first.iter().map(library).collect::<Vec<_>>(),
        "more_libraries": owned.libraries.more,
    })
}

fn library(library: &GpuLibrary) -> Value {
    let images = library.code.images().iter().map(|images| {
        json!({
            "place": images.kind.place,
            "form": images.kind.form,
            "target": images.kind.target,
            "ptx": images.kind.ptx,
            "count": images.count,
        })
    });
    json!({"path": library.path, "images": images.collect::<Vec<_>>()})
}

//! The GPUs and drivers that an image runs on, for people and as JSON.

use serde_json::{Value, json};

use super::text::PrintedText;
use crate::check::{GpuCodeOwner, GpuLibrary, GpuSupport, OwnedGpuCode, coverage};
use crate::cuda::{DriverCause, DriverNeed};
use crate::pipeline::PlannedGpus;

/// Writes what every distribution is compiled for, and the drivers.
pub(super) fn support(out: &mut PrintedText, support: &GpuSupport) {
    for owned in &support.code {
        if let GpuCodeOwner::Distribution(distribution) = &owned.owner {
            out.line(format_args!("{distribution}: {}", coverage(&owned.code)));
        }
    }
    match support.code.as_slice() {
        [] => out.line("no code for GPUs"),
        code if !code.iter().any(|it| matches!(it.owner, GpuCodeOwner::Distribution(_))) => {
            out.line(format_args!("no distribution has code for GPUs, but CUDA's own: {}", of_cuda(code)));
        }
        _ => {}
    }
    driver(out, support.driver.as_ref(), !support.code.is_empty());
}

/// The same of a plan: what was learned of its wheels when they were read before.
pub(super) fn planned(out: &mut PrintedText, planned: &PlannedGpus) {
    for (distribution, code) in &planned.distributions {
        match code {
            Some(code) => out.line(format_args!("{distribution}: {}", coverage(code))),
            None => out.line(format_args!("{distribution}: known after the build")),
        }
    }
    for (distribution, gpu) in &planned.lacking {
        out.line(format_args!("{distribution} does not run on {gpu}: its image will not be published"));
    }
    driver(out, planned.driver.as_ref(), false);
}

fn driver(out: &mut PrintedText, need: Option<&DriverNeed>, has_code: bool) {
    let Some(DriverNeed { lowest, because, for_newer_gpus }) = need else {
        if has_code {
            out.line("the lowest driver is not known: nothing tells the version of CUDA's runtime");
        }
        return;
    };
    let because = match because {
        DriverCause::Major(major) => format!("CUDA {major}"),
        DriverCause::Ptx(version) => format!("PTX {version}"),
    };
    let newer = for_newer_gpus.as_ref().map(|driver| format!("; {driver} for GPUs newer than these"));
    out.line(format_args!("lowest driver: {lowest} ({because}){}", newer.unwrap_or_default()));
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

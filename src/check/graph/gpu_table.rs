//! The GPUs that an image's code runs on, as a matrix: owners of code by compute capabilities.

use std::collections::BTreeSet;

use super::escape;
use crate::check::gpus::{GpuCodeOwner, GpuSupport, OwnedGpuCode};
use crate::cuda::{Capability, Gpu};

/// The section of a page; nothing for an image without code for GPUs.
pub(super) fn section(support: &GpuSupport) -> String {
    let loaded = || support.code.iter().filter(|owned| owned.code.is_loaded());
    let targets = loaded().flat_map(|owned| owned.code.compiled_for());
    let gpus: BTreeSet<Capability> = targets.map(|target| target.capability).collect();
    if gpus.is_empty() {
        return String::new();
    }
    let heading = |gpu: &Capability| {
        let cards = escape(&Gpu::names_of(*gpu).join(", "));
        format!("<th scope=\"col\"><abbr title=\"{cards}\">{gpu}</abbr></th>")
    };
    let headings: String = gpus.iter().map(heading).collect();
    let rows: String = loaded().map(|owned| row(owned, &gpus)).collect();
    format!(
        "<details open id=\"gpus\">\n<summary>GPUs</summary>\n\
         <p>Compute capabilities that the code runs on: compiled, as PTX that the driver compiles, or not.</p>\n\
         <div class=\"scroll\" role=\"region\" aria-label=\"GPUs\" tabindex=\"0\">\n<table class=\"gpus\">\n\
         <caption>Code for GPUs by compute capability</caption>\n<thead><tr><th scope=\"col\">Code of</th>{headings}\
         <th scope=\"col\">newer</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</details>\n"
    )
}

fn row(owned: &OwnedGpuCode, gpus: &BTreeSet<Capability>) -> String {
    let owner = match &owned.owner {
        GpuCodeOwner::Distribution(distribution) => distribution.to_string(),
        GpuCodeOwner::Component(copy) => copy.to_string(),
        GpuCodeOwner::Directory(directory) => directory.clone(),
    };
    let cell = |gpu: &Capability| match (owned.code.runs_on(*gpu), owned.code.compiled_on(*gpu)) {
        (false, _) => "<td class=\"no\">no</td>",
        (true, None) => "<td class=\"yes\">compiled</td>",
        (true, Some(_)) => "<td class=\"ptx\">PTX</td>",
    };
    let cells: String = gpus.iter().map(cell).collect();
    let newer = if owned.code.has_ptx_for_newer() {
        "<td class=\"ptx\">PTX</td>"
    } else {
        "<td class=\"no\">no</td>"
    };
    format!("<tr><th scope=\"row\">{}</th>{cells}{newer}</tr>\n", escape(&owner))
}

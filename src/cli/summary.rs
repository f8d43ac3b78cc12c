//! The first lines about a plan or an image: what it is made of, where it runs, and how large it is.

use super::gpus;
use super::report::{Savings, bytes, savings};
use super::text::{PrintedText, View};
use crate::check::{GpuSupport, Level, Report};
use crate::cuda::DriverFit;
use crate::image::Image;
use crate::pipeline::{BuiltImage, Planned};
use crate::place::ImagePlace;
use crate::plan::LayerPlan;
use crate::recipe::{BaseDescription, BaseRef};

/// Writes what a plan is about.
pub(super) fn planned(out: &mut PrintedText, planned: &Planned, view: View) {
    made_of(out, planned);
    gpus::planned(out, &planned.gpus, view.all);
    let size = &planned.size;
    let about = if size.estimated { "about " } else { "" };
    out.fact(
        "size",
        format_args!("{about}{}, {about}{} to pull", bytes(size.unpacked), bytes(size.compressed)),
    );
    layers(out, size.layers, size.of_base);
    if size.to_download > 0 {
        out.fact("download", format_args!("{} that the store lacks", bytes(size.to_download)));
    }
    saved(out, planned);
    out.blank();
}

/// Writes what a finished image is about, and where it was published.
pub(super) fn built(out: &mut PrintedText, built: &BuiltImage, published: &[ImagePlace], view: View) {
    made_of(out, &built.planned);
    if let Some(report) = &built.report {
        runs_on(out, &report.gpus, view);
    }
    let size = |of: fn(&crate::image::ImageLayer) -> u64| built.image.layers.iter().map(of).sum();
    let (unpacked, compressed): (u64, u64) = (size(|layer| layer.unpacked), size(|layer| layer.size));
    out.fact("size", format_args!("{}, {} to pull", bytes(unpacked), bytes(compressed)));
    layers(out, built.image.layers.len(), built.planned.size.of_base);
    saved(out, &built.planned);
    if let Some(report) = &built.report {
        out.fact("checked", verdict(report));
    }
    for destination in published {
        out.fact("published", destination);
    }
    out.blank();
}

/// Writes the GPUs and drivers that an image runs on.
pub(super) fn runs_on(out: &mut PrintedText, support: &GpuSupport, view: View) {
    gpus::summary(out, support, view.all);
}

/// The verdict on an image that may be published.
pub(super) fn verdict(report: &Report) -> String {
    let count = |level, one: &str| match report.count(level) {
        1 => format!("1 {one}"),
        count => format!("{count} {one}s"),
    };
    format!("it loads; {}, {}", count(Level::Warning, "warning"), count(Level::Note, "note"))
}

/// The largest layers of an image, and how many others there are.
pub(super) fn largest(image: &Image, most: usize) -> (Vec<&crate::image::ImageLayer>, usize, u64) {
    let mut layers: Vec<_> = image.layers.iter().collect();
    layers.sort_by_key(|layer| std::cmp::Reverse(layer.unpacked));
    let others = layers.split_off(most.min(layers.len()));
    (layers, others.len(), others.iter().map(|layer| layer.unpacked).sum())
}

fn made_of(out: &mut PrintedText, planned: &Planned) {
    out.fact("image", format_args!("{} for linux/{}", planned.inputs.name, planned.base.architecture));
    out.fact("base", base(planned));
    out.fact("Python", &planned.base.python);
    let resolution = &planned.resolution;
    if !resolution.has_cuda() {
        out.fact("CUDA", "none: no distribution needs it");
    }
    for (toolkit @ (major, minor), fit) in &resolution.toolkits {
        let tree = resolution.trees.iter().find(|tree| tree.toolkit.version == *toolkit);
        let at = tree.map(|tree| format!(" in /{}", tree.toolkit.root())).unwrap_or_default();
        out.fact("CUDA", format_args!("{major}.{minor}{at}{}", driver(fit.as_ref())));
    }
}

fn base(planned: &Planned) -> String {
    let packages = planned.plan.layers.iter().find_map(|layer| match layer {
        LayerPlan::Debian(layer) => Some(layer.base.packages.len()),
        _ => None,
    });
    let is_image = !matches!(planned.inputs.base, BaseDescription::Debian(_));
    let named = match &planned.inputs.recipe.base.value {
        BaseRef::Named(name) | BaseRef::Image(name) => name.clone(),
        BaseRef::Inline(_) => match &planned.inputs.base {
            BaseDescription::Debian(debian) => {
                let suites = debian.suites.iter().map(|suite| suite.name.as_str());
                suites.collect::<Vec<_>>().join(", ")
            }
            BaseDescription::Registry { reference, .. } => reference.clone(),
            BaseDescription::Layout { path, .. } | BaseDescription::Archive { path, .. } => path.clone(),
            BaseDescription::Engine { place } => place.clone(),
        },
    };
    match packages {
        Some(count) if is_image => format!("{named}, and {count} Debian packages"),
        Some(count) => format!("{named}, {count} Debian packages"),
        None => named,
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

fn layers(out: &mut PrintedText, all: usize, of_base: usize) {
    out.fact("layers", format_args!("{all}, {of_base} of them the base's"));
}

fn saved(out: &mut PrintedText, planned: &Planned) {
    let Some(Savings { shared, saved }) = savings(planned) else { return };
    let private = planned.private.by_framework.iter();
    let parts: Vec<String> = private.map(|(name, size)| format!("{name} ({})", bytes(*size))).collect();
    out.fact(
        "saved",
        format_args!(
            "{}: CUDA once ({}) instead of a copy for each of {}",
            bytes(saved),
            bytes(shared),
            parts.join(", ")
        ),
    );
}

//! Plans, builds and images as people read them: a summary first, then tables.

use std::collections::BTreeSet;

use uv_pep440::Version;

use super::components::components;
use super::report::bytes;
use super::table::{name, number, prose};
use super::text::{Page, PrintedText, View};
use super::{gpus, summary};
use crate::base::{BaseInventory, CudaCopy, LoaderRoute, VersionSource};
use crate::compare::{PlatformVersions, platform_versions};
use crate::image::PublishedImage;
use crate::pipeline::{Built, BuiltImage, Inspected, Planned};
use crate::place::ImagePlace;
use crate::resolve::{Distribution, Resolution, Role};

/// The layers that a build names, of those that it wrote.
const SHOWN_LAYERS: usize = 5;

/// Writes the plan of each platform: what would be built, and why. Of several it is their summaries and what differs, unless
/// everything is asked for.
pub(super) fn plans(planned: &[Planned], view: View) -> PrintedText {
    let mut out = PrintedText::on(view.page);
    match planned {
        [only] => plan(&mut out, only, view),
        several if view.all => several.iter().for_each(|planned| plan(&mut out, planned, view)),
        several => {
            several.iter().for_each(|planned| summary::planned(&mut out, planned, view));
            differing_versions(&mut out, several);
        }
    }
    out
}

/// The distributions of which platforms have different versions.
fn differing_versions(out: &mut PrintedText, planned: &[Planned]) {
    let platforms = planned.iter().map(|planned| prose(planned.plan.architecture.platform()));
    let columns: Vec<_> = [name("DIFFERS")].into_iter().chain(platforms).collect();
    let resolutions: Vec<&Resolution> = planned.iter().map(|planned| &planned.resolution).collect();
    let cell = |versions: &Vec<Version>| match &versions[..] {
        [] => "-".to_owned(),
        versions => versions.iter().map(Version::to_string).collect::<Vec<_>>().join(", "),
    };
    let row = |it: PlatformVersions| {
        [it.name.to_string()].into_iter().chain(it.versions.iter().map(cell)).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = platform_versions(&resolutions).into_iter().map(row).collect();
    match rows.is_empty() {
        true => out.line("the platforms have the same versions of everything"),
        false => out.table(&columns, rows),
    }
    out.paragraph("(--platform shows the plan of one of them, --all that of each)");
}

fn plan(out: &mut PrintedText, planned: &Planned, view: View) {
    summary::planned(out, planned, view);
    components(out, planned, view);
    distributions(out, planned, view);
    built_wheels(out, planned);
    if view.all {
        let rows = planned.plan.layers.iter().map(|layer| vec![layer.title()]);
        out.table(&[name("LAYERS, BOTTOM FIRST")], rows.collect());
    }
}

/// Writes what a build made.
pub(super) fn built(built: &Built, view: View) -> PrintedText {
    let mut out = PrintedText::on(view.page);
    if let ([only], PublishedImage::Single(_)) = (&built.images[..], &built.published) {
        image(&mut out, only, &built.destinations, view);
        return out;
    }
    built.images.iter().for_each(|built| image(&mut out, built, &[], view));
    let platforms: Vec<&str> = built.images.iter().map(|it| it.image.architecture.platform()).collect();
    out.fact("index", format_args!("{} of {}", built.published.descriptor().digest(), platforms.join(", ")));
    built.destinations.iter().for_each(|destination| out.fact("published", destination));
    out
}

/// Writes the image of one platform.
fn image(out: &mut PrintedText, built: &BuiltImage, published: &[ImagePlace], view: View) {
    summary::built(out, built, published, view);
    components(out, &built.planned, view);
    let most = if view.all { usize::MAX } else { SHOWN_LAYERS };
    let (largest, others, of_others) = summary::largest(&built.image, most);
    let rows =
        largest.iter().map(|layer| vec![layer.title.clone(), bytes(layer.unpacked), bytes(layer.size)]);
    let mut rows: Vec<Vec<String>> = rows.collect();
    if others > 0 {
        rows.push(vec![format!("… {others} more (--all)"), bytes(of_others), String::new()]);
    }
    out.table(&[prose("LARGEST LAYERS"), number("UNPACKED"), number("COMPRESSED")], rows);
}

/// The distributions that the recipe names; the others are counted, or listed with those that require them.
fn distributions(out: &mut PrintedText, planned: &Planned, view: View) {
    let is_package = |it: &&Distribution| matches!(it.role, Role::Package { .. });
    let packages: Vec<&Distribution> = planned.resolution.distributions.iter().filter(is_package).collect();
    let (named, others): (Vec<&Distribution>, Vec<&Distribution>) =
        packages.iter().copied().partition(|it| it.requested);
    let size = |it: &Distribution| planned.plan.wheel_size(&it.wheel.filename);
    let row = |it: &&Distribution| {
        let size = size(it).map(bytes).unwrap_or_default();
        vec![it.name.to_string(), it.version.to_string(), size, required_by(it)]
    };
    let columns = [name("DISTRIBUTION"), name("VERSION"), number("UNPACKED"), prose("REQUIRED BY")];
    match view.all {
        true => out.table(&columns, packages.iter().map(row).collect()),
        false => {
            let mut rows: Vec<Vec<String>> = named.iter().map(row).collect();
            if !others.is_empty() {
                let sum = others.iter().filter_map(|it| size(it)).sum();
                let more = format!("… {} more", others.len());
                rows.push(vec![more, String::new(), bytes(sum), "these (--all lists them)".into()]);
            }
            out.table(&columns, rows);
        }
    }
    let kept = &planned.resolution.kept;
    if !kept.is_empty() {
        let kept: Vec<String> = kept.iter().map(|it| format!("{} {}", it.name, it.version)).collect();
        out.paragraph(format_args!("used as the base has them: {}", kept.join(", ")));
        out.blank();
    }
}

fn required_by(distribution: &Distribution) -> String {
    let mut names = distribution.required_by.iter().map(ToString::to_string);
    match (distribution.requested, names.next(), names.count()) {
        (true, ..) => "the recipe".to_owned(),
        (false, None, _) => String::new(),
        (false, Some(first), 0) => first,
        (false, Some(first), more) => format!("{first}, +{more} more"),
    }
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
        out.table(&[name("BUILT FROM SOURCE"), prose("WITH")], rows);
    }
}

/// Writes the content of an image.
pub(super) fn inspected(inspected: &Inspected, page: Page) -> PrintedText {
    let mut out = PrintedText::on(page);
    let inventory = &inspected.inventory;
    system(&mut out, inventory);
    gpus::support(&mut out, &inspected.gpus);
    out.blank();
    let rows: Vec<Vec<String>> = inventory.cuda.iter().map(copy).collect();
    if rows.is_empty() {
        out.line(format_args!("no CUDA"));
        out.blank();
    } else {
        let columns = [name("COMPONENT"), name("CUDA"), name("VERSION"), number("SIZE"), prose("FOUND BY")];
        out.table(&[&columns[..], &[prose("VERSION FROM"), prose("AT")]].concat(), rows);
        out.paragraph(
            "FOUND BY: the search by which the loader comes to it; none: only what names its path opens it. \
             VERSION FROM: what tells its version.",
        );
        out.blank();
    }
    let rows = inventory.distributions.iter().map(|installed| {
        let owner = if installed.of_system { "the system" } else { "pip" };
        vec![installed.name.to_string(), installed.version.to_string(), owner.to_owned()]
    });
    out.table(&[name("DISTRIBUTION"), name("VERSION"), prose("MANAGED BY")], rows.collect());
    if inventory.distributions.iter().any(|installed| installed.of_system) {
        out.paragraph("MANAGED BY the system: by apt, dpkg or conda; pip must leave it as it is.");
    }
    out
}

fn system(out: &mut PrintedText, inventory: &BaseInventory) {
    let (major, minor) = inventory.glibc;
    out.fact(
        "system",
        format_args!("{}, glibc {major}.{minor}, linux/{}", inventory.vendor, inventory.architecture),
    );
    let scheme = &inventory.scheme;
    out.fact(
        "Python",
        format_args!("{} at {}, packages in /{}", inventory.python, scheme.interpreter, scheme.purelib),
    );
    if let Some(toolkit) = &inventory.default_toolkit {
        out.fact("CUDA", format_args!("/usr/local/cuda is /{toolkit}"));
    }
    if !inventory.library_path.is_empty() {
        out.fact("libraries", format_args!("LD_LIBRARY_PATH is {}", inventory.library_path.join(":")));
    }
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
        LoaderRoute::Nowhere => "none",
    };
    let programs = copy.programs.iter().map(String::as_str);
    let found: Vec<&str> = ways.into_iter().map(way).chain(programs).collect();
    vec![
        copy.component.to_string(),
        copy.cuda_major.map(|major| major.to_string()).unwrap_or_default(),
        copy.version.as_ref().map(ToString::to_string).unwrap_or_default(),
        bytes(copy.bytes),
        found.join(" "),
        told_by,
        format!("/{}", copy.directory),
    ]
}

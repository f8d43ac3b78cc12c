//! The view of pip, uv and `importlib.metadata` on components that are not installed from a wheel.

use std::collections::BTreeMap;

use super::generate::Maker;
use crate::base::BaseInventory;
use crate::oci::Generated;
use crate::pypa::metadata::{Requirement, rewrite_requirements};
use crate::pypa::record::{self, Row};
use crate::pypa::scheme::InstallScheme;
use crate::recipe::{Constrain, Recipe};
use crate::resolve::{PipSees, Resolution, Role, Service, ServiceSource};

/// The path of the constraints file that `PIP_CONSTRAINT` and `UV_CONSTRAINT` name, relative to the root.
pub(super) const CONSTRAINTS: &str = "etc/imgforge/constraints.txt";

/// A distribution for each component that the base or the copy of another CUDA major serves without one: metadata that says
/// so, and nothing else.
///
/// <https://packaging.python.org/en/latest/specifications/recording-installed-packages/>
pub(super) fn stubs(make: &Maker, resolution: &Resolution, scheme: &InstallScheme) -> Vec<Generated> {
    let made_up = resolution.services.iter().filter(|service| {
        let source = &service.source;
        matches!(source, ServiceSource::Base { pip: PipSees::MadeUp, .. } | ServiceSource::Sibling { .. })
    });
    made_up.flat_map(|service| stub(make, service, scheme)).collect()
}

fn stub(make: &Maker, service: &Service, scheme: &InstallScheme) -> Vec<Generated> {
    let name = format!("{}-{}.dist-info", service.distribution.as_dist_info_name(), service.version);
    let directory = format!("{}/{name}", scheme.purelib);
    let of = match &service.source {
        ServiceSource::Sibling { distribution } => distribution.as_ref(),
        _ => "the base image",
    };
    let metadata = format!(
        "Metadata-Version: 2.1\nName: {}\nVersion: {}\nSummary: {} of {of}, served system-wide\n",
        service.distribution, service.version, service.component
    );
    let files = [
        ("INSTALLER", "imgforge\n".to_owned()),
        ("METADATA", metadata),
        (
            "WHEEL",
            "Wheel-Version: 1.0\nGenerator: imgforge\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_owned(),
        ),
    ];
    let rows = files.iter().map(|(file, text)| Row::of(format!("{name}/{file}"), text.as_bytes()));
    let record = record::write(rows.chain([Row::bare(format!("{name}/RECORD"))]).collect());
    let files = files.into_iter().chain([("RECORD", record)]);
    std::iter::once(make.directory(&directory))
        .chain(files.map(|(file, text)| make.file(&format!("{directory}/{file}"), text)))
        .collect()
}

/// The constraints file that keeps a later installation from replacing `pins`.
pub(super) fn constraints(make: &Maker, pins: &BTreeMap<String, String>) -> Generated {
    let lines: String = pins.iter().map(|(name, version)| format!("{name}=={version}\n")).collect();
    let text = format!(
        "# Keeps `pip install -U` from replacing what shares the system's CUDA.\n\
         # To install other versions all the same, unset PIP_CONSTRAINT and UV_CONSTRAINT.\n{lines}"
    );
    make.file(CONSTRAINTS, text)
}

/// The pins that a later `pip install` must keep, where the recipe wants constraints and there is something to pin.
pub(super) fn constrained(resolution: &Resolution, recipe: &Recipe) -> Option<BTreeMap<String, String>> {
    let pins = pins(resolution, |name| recipe.frameworks.contains_key(name));
    (recipe.python.constrain == Constrain::Frameworks && !pins.is_empty()).then_some(pins)
}

/// The frameworks, the distributions that ask for CUDA, and the components themselves, at their versions.
fn pins<'a>(
    resolution: &Resolution,
    is_framework: impl Fn(&uv_normalize::PackageName) -> bool + 'a,
) -> BTreeMap<String, String> {
    let mut pins = BTreeMap::new();
    for distribution in &resolution.distributions {
        let asks_for_cuda = match &distribution.role {
            Role::Package { private } => !private.is_empty(),
            Role::Component { .. } | Role::Metapackage => true,
        };
        if asks_for_cuda || is_framework(&distribution.name) {
            let newest =
                pins.entry(distribution.name.to_string()).or_insert_with(|| distribution.version.clone());
            *newest = distribution.version.clone().max(newest.clone());
        }
    }
    for kept in resolution.kept.iter().filter(|kept| is_framework(&kept.name) || !kept.relaxed.is_empty()) {
        pins.insert(kept.name.to_string(), kept.version.clone());
    }
    for service in &resolution.services {
        if matches!(
            service.source,
            ServiceSource::Base { pip: PipSees::MadeUp | PipSees::Own, .. } | ServiceSource::Sibling { .. }
        ) {
            pins.insert(service.distribution.to_string(), service.version.clone());
        }
    }
    pins.into_iter().map(|(name, version)| (name, version.to_string())).collect()
}

/// The metadata of distributions that the base has, with the requirements that were relaxed, and the RECORD that tells of
/// it.
pub(super) fn rewritten(make: &Maker, resolution: &Resolution, base: &BaseInventory) -> Vec<Generated> {
    let rewritten = resolution.kept.iter().filter(|kept| !kept.relaxed.is_empty()).filter_map(|kept| {
        let installed = base.distributions.iter().find(|installed| installed.name == kept.name)?;
        let texts = installed.texts.as_ref()?;
        let relax = |requirement: &Requirement| kept.relaxed.get(&requirement.to_string()).cloned();
        Some(rewrite(
            make,
            &installed.directory,
            &rewrite_requirements(&texts.metadata, relax),
            &texts.record,
        ))
    });
    rewritten.flatten().collect()
}

fn rewrite(make: &Maker, directory: &str, metadata: &str, record: &str) -> [Generated; 2] {
    let name = directory.rsplit('/').next().unwrap_or(directory);
    let path = format!("{name}/METADATA");
    let row = Row::of(path.clone(), metadata.as_bytes());
    let rows = record::parse(record).unwrap_or_default().into_iter();
    let rows = rows.map(|old| if old.path == path { row.clone() } else { old });
    [
        make.file(&format!("{directory}/METADATA"), metadata.to_owned()),
        make.file(&format!("{directory}/RECORD"), record::write(rows.collect())),
    ]
}

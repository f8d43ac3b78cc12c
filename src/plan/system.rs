//! The files that make the parts one system: the toolkits' links, the loader's configuration, what pip sees of what the
//! base serves, and pip's marker.

use std::collections::BTreeMap;

use super::generate::Maker;
use super::runtime::runtime;
use super::{LayerCompression, LdconfigPlan, PlanRequest, PythonName, SystemLayer, namespace, pip};
use crate::base::BaseInventory;
use crate::cuda::Toolkit;
use crate::oci::{Digest, Generated};
use crate::recipe::{ExternallyManaged, Unversioned};
use crate::resolve::{FoundBy, Resolution, ServiceSource, ToolkitTree};

/// The loader's directories that the image adds to its base's, with the file that names them: sorted before NVIDIA's
/// own, so that what the image adds is found first.
pub const LOADER_CONFIGURATION: &str = "etc/ld.so.conf.d/000-imgforge.conf";
/// The configuration for the directory where NVIDIA's device plugins mount the driver's libraries.
const DRIVER_CONFIGURATION: &str = "etc/ld.so.conf.d/nvidia.conf";
/// The directories in which runtimes search commands of an image whose config names none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DRIVER_DIRECTORIES: &str = "/usr/local/nvidia/lib\n/usr/local/nvidia/lib64\n";

/// The top layer: `pins` are the constraints for a later `pip install`, `below` the key of all layers below.
pub(super) fn layer(
    request: &PlanRequest<'_>,
    pins: Option<&BTreeMap<String, String>>,
    below: Digest,
) -> SystemLayer {
    let inventory = &request.base.inventory;
    let tree = request.resolution.loader_tree();
    SystemLayer {
        files: files(request, pins),
        unversioned_python: unversioned_python(request, pins.is_some()),
        searched: tree.map(|tree| format!("/{}", tree.toolkit.library_directory())),
        ldconfig: LdconfigPlan {
            architecture: inventory.architecture,
            vendor: inventory.vendor.clone(),
            libc_bin: inventory.libc_bin.clone(),
        },
        mtime: request.created,
        below,
        compression: LayerCompression::of(&request.inputs.recipe.layers),
    }
}

/// The directory of the name `python`: it is the administrator's.
pub const UNVERSIONED_PYTHON: &str = "usr/local/bin";

/// The name `python` for the interpreter, where commands are searched in the directory of that name.
fn unversioned_python(request: &PlanRequest<'_>, constrained: bool) -> Option<PythonName> {
    let env = runtime(request, constrained).env;
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    let searched: Vec<String> = path.split(':').map(|path| path.trim_matches('/').to_owned()).collect();
    let is_wanted = request.inputs.recipe.python.unversioned == Unversioned::Link;
    let interpreter = request.base.inventory.scheme.interpreter.clone();
    let is_searched = searched.iter().any(|directory| directory == UNVERSIONED_PYTHON);
    (is_wanted && is_searched && interpreter.starts_with('/')).then_some(PythonName { searched, interpreter })
}

/// The files whose contents are known now, sorted by path.
fn files(request: &PlanRequest<'_>, pins: Option<&BTreeMap<String, String>>) -> Vec<Generated> {
    let PlanRequest { inputs, resolution, created, .. } = request;
    let (make, base) = (Maker { mtime: *created }, &request.base.inventory);
    let mut files = Vec::new();
    let compat = request.forward_compatibility();
    for tree in &resolution.trees {
        files.extend(tree_files(&make, tree, resolution, base));
        files.extend(compat.and_then(|compat| compat_link(&make, tree, compat)));
    }
    if resolution.has_cuda() {
        files.push(make.file(DRIVER_CONFIGURATION, DRIVER_DIRECTORIES.to_owned()));
    }
    files.extend(loader_configuration(&make, &resolution.trees));
    files.extend(links(&make, resolution));
    files.extend(namespace::links(&make, resolution, &base.scheme.platlib));
    files.extend(pip::stubs(&make, resolution, &base.scheme));
    files.extend(pip::rewritten(&make, resolution, base));
    files.extend(pins.map(|pins| pip::constraints(&make, pins)));
    let keep = inputs.recipe.python.externally_managed == ExternallyManaged::Keep;
    if !keep && !base.externally_managed.is_empty() {
        files.push(make.whiteout(&base.externally_managed));
    }
    let workdir = inputs.recipe.config.workdir.as_ref().map(|path| path.relative());
    if let Some(workdir) = workdir.filter(|path| !path.is_empty()) {
        files.push(make.directory(workdir));
    }
    files.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    files.dedup_by(|a, b| a.entry.path == b.entry.path);
    files
}

fn loader_configuration(make: &Maker, trees: &[ToolkitTree]) -> Option<Generated> {
    let searched = trees.iter().filter(|tree| tree.found == FoundBy::Loader);
    let lines: String = searched.map(|tree| format!("/{}\n", tree.toolkit.library_directory())).collect();
    (!lines.is_empty()).then(|| make.file(LOADER_CONFIGURATION, lines))
}

/// The files that make a directory a toolkit; for one of the base's, only those that lead to it.
fn tree_files(
    make: &Maker,
    tree: &ToolkitTree,
    resolution: &Resolution,
    base: &BaseInventory,
) -> Vec<Generated> {
    let toolkit = &tree.toolkit;
    let root = toolkit.root();
    let name = format!("cuda-{toolkit}");
    let mut files = match tree.exists {
        true => Vec::new(),
        false => new_toolkit(make, toolkit, resolution),
    };
    if tree.found == FoundBy::Loader && base.default_toolkit.as_ref() != Some(&root) {
        files.push(make.link("usr/local/cuda", &name));
    }
    if !tree.exists {
        files.push(make.link(&format!("usr/local/cuda-{}", toolkit.version.0), &name));
    }
    files
}

/// The link by which container runtimes, which look in `/usr/local/cuda/compat`, find a forward-compatibility package of
/// another toolkit's version.
fn compat_link(make: &Maker, tree: &ToolkitTree, (major, minor): (u32, u32)) -> Option<Generated> {
    let (toolkit, package) = (&tree.toolkit, format!("cuda-{major}.{minor}"));
    let is_elsewhere =
        tree.found == FoundBy::Loader && !tree.exists && toolkit.root() != format!("usr/local/{package}");
    is_elsewhere.then(|| make.link(&format!("{}/compat", toolkit.root()), &format!("../{package}/compat")))
}

fn new_toolkit(make: &Maker, toolkit: &Toolkit, resolution: &Resolution) -> Vec<Generated> {
    let root = toolkit.root();
    let target = toolkit.target();
    vec![
        make.directory(&root),
        make.directory(&format!("{root}/bin")),
        make.directory(&format!("{root}/targets")),
        make.directory(&format!("{root}/targets/{target}")),
        make.directory(&format!("{root}/targets/{target}/include")),
        make.directory(&format!("{root}/targets/{target}/lib")),
        make.link(&format!("{root}/include"), &format!("targets/{target}/include")),
        make.link(&format!("{root}/lib64"), &format!("targets/{target}/lib")),
        make.file(&format!("{root}/version.json"), version_json(toolkit, resolution)),
    ]
}

/// Links to the base's copies that no loader finds where they are.
fn links(make: &Maker, resolution: &Resolution) -> Vec<Generated> {
    let linked = resolution.services.iter().filter_map(|service| match &service.source {
        ServiceSource::Base { copy, linked_in: Some(directory), .. } => {
            Some(make.library_links(copy, directory))
        }
        _ => None,
    });
    linked.flatten().collect()
}

/// `version.json` as NVIDIA's packages have it: the toolkit's version and each component's.
fn version_json(toolkit: &Toolkit, resolution: &Resolution) -> String {
    let mut versions = serde_json::Map::new();
    let mut add = |key: &str, name: &str, version: &str| {
        versions.insert(key.to_owned(), serde_json::json!({ "name": name, "version": version }));
    };
    for service in resolution.services.iter().filter(|service| service.cuda_major == toolkit.version.0) {
        let key = service.component.name().replace('-', "_");
        let version = service.version.to_string();
        if service.component.is_runtime() {
            add("cuda", "CUDA SDK", &version);
            add("cuda_cudart", "CUDA Runtime (cudart)", &version);
        } else {
            add(&key, service.component.name(), &version);
        }
    }
    if !versions.contains_key("cuda") {
        versions
            .insert("cuda".into(), serde_json::json!({ "name": "CUDA SDK", "version": toolkit.to_string() }));
    }
    format!("{:#}\n", serde_json::Value::Object(versions))
}

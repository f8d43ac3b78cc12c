//! The environment that a container starts with.

use std::collections::BTreeMap;

use super::pip::CONSTRAINTS;
use crate::base::{BaseInventory, LoaderRoute};
use crate::resolve::{Resolution, ToolkitTree};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DRIVER_DIRECTORIES: &str = "/usr/local/nvidia/lib:/usr/local/nvidia/lib64";

/// The base's variables with what CUDA and pip's constraints need.
pub(super) fn environment(
    of_base: BTreeMap<String, String>,
    base: &BaseInventory,
    resolution: &Resolution,
    compat: Option<(u32, u32)>,
    constrained: bool,
) -> BTreeMap<String, String> {
    let mut env = of_base;
    default(&mut env, "PATH", PATH);
    if resolution.has_cuda() {
        default(&mut env, "NVIDIA_DRIVER_CAPABILITIES", "compute,utility");
        default(&mut env, "NVIDIA_VISIBLE_DEVICES", "all");
        default(&mut env, "LD_LIBRARY_PATH", DRIVER_DIRECTORIES);
        require_driver(&mut env, resolution, compat);
    }
    if let Some(tree) = resolution.loader_tree() {
        lead_to(&mut env, tree, base);
    }
    if constrained {
        for variable in ["PIP_CONSTRAINT", "UV_CONSTRAINT"] {
            append(&mut env, variable, &format!("/{CONSTRAINTS}"), ' ');
        }
    }
    env
}

/// Has container runtimes refuse a driver that does not run the newest major, before anything starts: `cuda>=12.0`, as
/// the driver itself tells the CUDA that it is for. Without it, they take `CUDA_VERSION` for what is needed, and refuse
/// drivers that run the toolkit by minor-version compatibility.
///
/// What a base says stays where it asks for as much. The older drivers that it lets pass beside are those for which
/// it has a forward-compatibility package of that version. With a package that the recipe adds, `compat`, all drivers of the
/// GPUs pass that it is made for, those of data centres: which ones it takes, it tells itself.
fn require_driver(env: &mut BTreeMap<String, String>, resolution: &Resolution, compat: Option<(u32, u32)>) {
    const NAME: &str = "NVIDIA_REQUIRE_CUDA";
    const DATA_CENTRE: &str = "brand=tesla brand=nvidia";
    let Some(major) = resolution.toolkits.keys().map(|(major, _)| *major).max() else { return };
    let of_base = env.get(NAME).and_then(|text| required_cuda(text));
    if of_base.is_none_or(|of_base| of_base < (major, 0)) {
        let required = format!("cuda>={major}.0");
        let required = match compat {
            Some(compat) if compat.0 >= major => format!("{required} {DATA_CENTRE}"),
            _ => required,
        };
        env.insert(NAME.to_owned(), required);
    }
}

/// The CUDA that drivers of every brand must be for: `(12, 4)` of `cuda>=12.4 brand=tesla,driver>=470,driver<471`.
fn required_cuda(text: &str) -> Option<(u32, u32)> {
    let of_alternative = |alternative: &str| {
        let mut conditions = alternative.split(',');
        let (major, minor) = conditions.find_map(|it| it.strip_prefix("cuda>="))?.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    text.split_whitespace().filter_map(of_alternative).min()
}

/// Makes `/usr/local/cuda`, which leads to `tree`, the toolkit that programs find.
fn lead_to(env: &mut BTreeMap<String, String>, tree: &ToolkitTree, base: &BaseInventory) {
    prepend(env, "PATH", "/usr/local/cuda/bin");
    if base.default_toolkit.as_ref() == Some(&tree.toolkit.root()) {
        default(env, "CUDA_HOME", "/usr/local/cuda");
        default(env, "CUDA_VERSION", &tree.toolkit.to_string());
    } else {
        env.insert("CUDA_HOME".into(), "/usr/local/cuda".into());
        env.insert("CUDA_VERSION".into(), tree.toolkit.to_string());
        if let Some(toolkit) = &base.default_toolkit {
            append(env, "PATH", &format!("/{toolkit}/bin"), ':');
        }
    }
    let by_library_path = |copy: &crate::base::CudaCopy| {
        copy.libraries.iter().any(|library| library.found == LoaderRoute::LibraryPath)
    };
    if base.cuda.iter().any(by_library_path) {
        prepend(env, "LD_LIBRARY_PATH", &format!("/{}", tree.toolkit.library_directory()));
    }
}

fn default(env: &mut BTreeMap<String, String>, name: &str, value: &str) {
    env.entry(name.to_owned()).or_insert_with(|| value.to_owned());
}

/// Puts `directory` before the others of a search path, unless it is one of them already.
fn prepend(env: &mut BTreeMap<String, String>, name: &str, directory: &str) {
    let present = env.get(name).map_or("", String::as_str);
    let others: Vec<&str> = present.split(':').filter(|other| !other.is_empty()).collect();
    if others.first() != Some(&directory) {
        let kept = others.into_iter().filter(|other| *other != directory);
        let value = std::iter::once(directory).chain(kept).collect::<Vec<_>>().join(":");
        env.insert(name.to_owned(), value);
    }
}

fn append(env: &mut BTreeMap<String, String>, name: &str, word: &str, separator: char) {
    let present = env.get(name).map_or("", String::as_str);
    if !present.split(separator).any(|other| other == word) {
        let gap = if present.is_empty() { String::new() } else { format!("{present}{separator}") };
        env.insert(name.to_owned(), format!("{gap}{word}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cuda_that_a_base_requires_is_read_as_runtimes_do() {
        for (text, expected) in [
            (
                "cuda>=12.4 brand=tesla,driver>=470,driver<471 brand=unknown,driver>=535,driver<536",
                Some((12, 4)),
            ),
            ("cuda>=11.8,arch>=7.0 cuda>=12.0", Some((11, 8))),
            ("driver>=470", None),
            ("", None),
            ("cuda>=new", None),
        ] {
            assert_eq!(required_cuda(text), expected, "{text}");
        }
    }

    #[test]
    fn a_search_path_names_a_directory_once() {
        let mut env = BTreeMap::from([("PATH".to_owned(), "/bin:/usr/local/cuda/bin".to_owned())]);
        prepend(&mut env, "PATH", "/usr/local/cuda/bin");
        append(&mut env, "PATH", "/opt/bin", ':');
        append(&mut env, "PATH", "/opt/bin", ':');
        assert_eq!(env["PATH"], "/usr/local/cuda/bin:/bin:/opt/bin");
        append(&mut env, "PIP_CONSTRAINT", "/a.txt", ' ');
        append(&mut env, "PIP_CONSTRAINT", "/b.txt", ' ');
        assert_eq!(env["PIP_CONSTRAINT"], "/a.txt /b.txt");
    }
}

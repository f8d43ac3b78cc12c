//! The CUDA that a path names.

/// The toolkit's directory that a path lies in: `usr/local/cuda-12.2` of `usr/local/cuda-12.2/targets/x86_64-linux/lib`.
pub(super) fn toolkit(path: &str) -> Option<&str> {
    let is_toolkit = |name: &str| {
        name == "cuda"
            || name.strip_prefix("cuda-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    match in_packages(path) {
        Some(_) => None,
        None => until(path, is_toolkit, true),
    }
}

/// `(12, Some(2))` of `usr/local/cuda-12.2`.
pub(super) fn toolkit_version(toolkit: &str) -> Option<(u32, Option<u32>)> {
    let (_, version) = toolkit.rsplit_once("cuda-")?;
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next().and_then(Result::ok)))
}

/// The directory with `lib`, `bin` and `include` that a path lies in: a toolkit, a prefix such as `usr` or conda's, or
/// that of a wheel: `…/site-packages/nvidia/cublas`.
pub(super) fn home(path: &str) -> &str {
    const INSIDE: [&str; 7] = ["lib", "lib64", "targets", "bin", "nvvm", "libdevice", "include"];
    if let Some(toolkit) = toolkit(path) {
        return toolkit;
    }
    let skipped = in_packages(path).map_or(0, |inside| path.len() - inside.len());
    let end = until(&path[skipped..], |name| INSIDE.contains(&name), false)
        .map_or(path.len(), |part| skipped + part.len());
    path[..end].trim_end_matches('/')
}

/// The part of a path below the directory of Python's packages.
pub(super) fn in_packages(path: &str) -> Option<&str> {
    let (_, inside) = path.rsplit_once("/site-packages/").or_else(|| path.rsplit_once("/dist-packages/"))?;
    Some(inside)
}

/// Returns whether a path is where NVIDIA's wheels put their files, in which frameworks look for them.
pub(super) fn in_cuda_wheel(path: &str) -> bool {
    let first = in_packages(path).and_then(|inside| inside.split('/').next());
    first.is_some_and(|name| ["nvidia", "cusparselt", "cutensor"].contains(&name))
}

/// 13 of `…/site-packages/nvidia/cu13/lib`.
pub(super) fn wheel_major(path: &str) -> Option<u32> {
    in_packages(path)?.strip_prefix("nvidia/cu")?.split('/').next()?.parse().ok()
}

/// Returns whether what lies here is no copy: for linkers only, the driver's, of a program's own, or downloaded by
/// conda but not installed.
pub(super) fn is_no_copy(path: &str) -> bool {
    let elsewhere = path.split('/').any(|part| ["stubs", "compat", "pkgs"].contains(&part));
    let of_another_wheel = in_packages(path).is_some() && !in_cuda_wheel(path);
    elsewhere || (of_another_wheel && path.contains("/bin/"))
}

/// The beginning of a path up to the first name that `ends` it, with the name or before it.
fn until(path: &str, ends: impl Fn(&str) -> bool, with: bool) -> Option<&str> {
    let mut start = 0;
    for name in path.split('/') {
        if ends(name) {
            return Some(&path[..if with { start + name.len() } else { start }]);
        }
        start += name.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_toolkit_and_its_home() {
        let check = |path: &str, in_toolkit: Option<&str>, expected: &str| {
            assert_eq!((toolkit(path), home(path)), (in_toolkit, expected), "{path}");
        };
        let cuda = "usr/local/cuda-12.2";
        check("usr/local/cuda-12.2/targets/x86_64-linux/lib", Some(cuda), cuda);
        check("usr/local/cuda-12.2/bin/ptxas", Some(cuda), cuda);
        check("usr/local/cuda-12.2/extras/CUPTI/lib64", Some(cuda), cuda);
        check("usr/lib/x86_64-linux-gnu", None, "usr");
        check("usr/bin/ptxas", None, "usr");
        check("usr/lib/nvidia-cuda-toolkit/libdevice/libdevice.10.bc", None, "usr");
        check("opt/conda/targets/sbsa-linux/lib", None, "opt/conda");
        let nvidia = "usr/lib/python3.11/site-packages/nvidia";
        check(&format!("{nvidia}/cu13/lib"), None, &format!("{nvidia}/cu13"));
        check(&format!("{nvidia}/cuda_nvcc/nvvm/bin/cicc"), None, &format!("{nvidia}/cuda_nvcc"));
        assert_eq!(wheel_major(&format!("{nvidia}/cu13/lib")), Some(13));
        assert_eq!(wheel_major(&format!("{nvidia}/cublas/lib")), None);
        assert_eq!(toolkit_version(cuda), Some((12, Some(2))));
    }
}

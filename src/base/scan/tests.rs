use super::*;
use crate::base::{CudaCopy, LoaderRoute};
use crate::elf::{Class, Dynamic, Elf, Kind, Machine};
use crate::failure::Hinted;
use crate::observe::inventory_facts::tests::layer;
use crate::observe::inventory_facts::{FileFact, Relevance};

/// A system of Debian's with the Python of [`PYTHON`] to put layouts on.
const DEBIAN: &str = "
    etc/os-release: ID=debian\\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\\n
    etc/ld.so.conf: include /etc/ld.so.conf.d/*.conf\\n
    lib -> usr/lib
    usr/lib/x86_64-linux-gnu/libc.so.6 says GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36
";
const PYTHON: &str = "
    usr/bin/python3 -> python3.11
    usr/bin/python3.11 says 3.11.2
";

/// The facts of a layer, an entry a line: `path is SONAME NEEDED…` is a library, `path says VERSION` a program, and all
/// else as [`layer`] reads it, with `\n` for the ends of lines.
pub(super) fn facts(text: &str) -> InventoryFacts {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_elf = |line: &&&str| line.contains(" is ") || line.contains(" says ");
    let plain: Vec<String> =
        lines.iter().filter(|line| !is_elf(line)).map(|line| line.replace("\\n", "\n")).collect();
    let mut facts = layer(&plain.iter().map(String::as_str).collect::<Vec<_>>());
    for line in lines.iter().filter(is_elf) {
        let (path, dynamic, version) = match (line.split_once(" is "), line.split_once(" says ")) {
            (Some((path, names)), _) => {
                let mut names = names.split_whitespace().map(str::to_owned);
                let soname = names.next();
                (path, Some(Dynamic { soname, needed: names.collect(), ..Dynamic::default() }), None)
            }
            (None, Some((path, "nothing"))) => (path, None, None),
            (None, Some((path, version))) => (path, None, Some(version.to_owned())),
            (None, None) => continue,
        };
        let file = FileFact { size: 1000, elf: Some(elf(dynamic)), version, ..FileFact::default() };
        facts.note_file(path, file);
    }
    facts
}

fn elf(dynamic: Option<Dynamic>) -> Elf {
    Elf {
        class: Class::Elf64,
        machine: Machine::X86_64,
        kind: Kind::Shared,
        flags: 0,
        interpreter: None,
        dynamic,
        abi_tag: None,
        isa_level: 0,
    }
}

fn inventory(texts: &[&str], env: &[&str]) -> Result<BaseInventory, InventoryError> {
    let image = InventoryFacts::stacked(texts.iter().map(|text| facts(text)));
    scan(&image, &ImageConfigFacts::new(Architecture::Amd64, env.iter().copied()), None)
}

/// `component cuMAJOR version (source) directory: SONAME way, …; program, …`
fn shown(copy: &CudaCopy) -> String {
    let way = |found| match found {
        LoaderRoute::LibraryPath => "path",
        LoaderRoute::Cache => "cache",
        LoaderRoute::SitePackages => "packages",
        LoaderRoute::Nowhere => "nowhere",
    };
    let libraries = copy.libraries.iter().map(|library| format!("{} {}", library.soname, way(library.found)));
    let files: Vec<String> = libraries.chain(copy.programs.iter().cloned()).collect();
    format!(
        "{} {} {} ({}) {}: {}",
        copy.component,
        copy.cuda_major.map_or("cu?".to_owned(), |major| format!("cu{major}")),
        copy.version.as_ref().map_or("?".to_owned(), ToString::to_string),
        serde_json::to_value(copy.version_from).unwrap().as_str().unwrap(),
        copy.directory,
        files.join(", ")
    )
}

/// Checks the CUDA found in a layout on top of [`DEBIAN`].
fn check(layout: &str, env: &[&str], expected: &[&str]) {
    let inventory = inventory(&[DEBIAN, PYTHON, layout], env).unwrap();
    let copies: Vec<String> = inventory.cuda.iter().map(shown).collect();
    assert_eq!(copies, expected);
    let record = serde_json::to_string(&inventory).unwrap();
    assert_eq!(serde_json::from_str::<BaseInventory>(&record).unwrap(), inventory);
}

/// As NVIDIA's packages lay CUDA out: toolkit, and cuDNN and NCCL beside the system's libraries.
const APT: &str = "
    etc/ld.so.conf.d/000_cuda.conf: /usr/local/cuda/targets/x86_64-linux/lib\\n
    usr/local/cuda -> /etc/alternatives/cuda
    etc/alternatives/cuda -> /usr/local/cuda-12.2
    usr/local/cuda-12.2/lib64 -> targets/x86_64-linux/lib
    usr/local/cuda-12.2/targets/x86_64-linux/lib/libcudart.so.12.2.140 is libcudart.so.12
    usr/local/cuda-12.2/targets/x86_64-linux/lib/libcudart.so.12 -> libcudart.so.12.2.140
    usr/local/cuda-12.2/targets/x86_64-linux/lib/libcudart.so -> libcudart.so.12
    usr/local/cuda-12.2/targets/x86_64-linux/lib/libcublas.so.12.2.5.6 is libcublas.so.12 libcublasLt.so.12
    usr/local/cuda-12.2/targets/x86_64-linux/lib/libcublasLt.so.12.2.5.6 is libcublasLt.so.12
    usr/local/cuda-12.2/targets/x86_64-linux/lib/libnvrtc.so.12.2.140 is libnvrtc.so.12
    usr/local/cuda-12.2/targets/x86_64-linux/lib/libnvrtc-builtins.so.12.2.140 is libnvrtc-builtins.so.12.2
    usr/local/cuda-12.2/targets/x86_64-linux/lib/stubs/libcublas.so is libcublas.so.12
    usr/local/cuda-12.2/compat/libcudadebugger.so.1 is libcudadebugger.so.1
    usr/local/cuda-12.2/bin/ptxas says 12.2.140
    usr/local/cuda-12.2/nvvm/libdevice/libdevice.10.bc
    usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.6 is libcudnn.so.8
    usr/lib/x86_64-linux-gnu/libcudnn_ops_infer.so.8.9.6 is libcudnn_ops_infer.so.8 libcublas.so.12
    usr/lib/x86_64-linux-gnu/libnccl.so.2.19.3 is libnccl.so.2
";
const APT_STATUS: &str = "
    var/lib/dpkg/info/cuda-cudart-12-2.list: /usr/local/cuda-12.2/targets/x86_64-linux/lib/libcudart.so.12.2.140\\n
    var/lib/dpkg/info/libcublas-12-2.list: /usr/local/cuda-12.2/targets/x86_64-linux/lib/libcublas.so.12.2.5.6\\n/usr/local/cuda-12.2/targets/x86_64-linux/lib/libcublasLt.so.12.2.5.6\\n
    var/lib/dpkg/info/cuda-nvrtc-12-2.list: /usr/local/cuda-12.2/lib64/libnvrtc-builtins.so.12.2.140\\n/usr/local/cuda-12.2/lib64/libnvrtc.so.12.2.140\\n
    var/lib/dpkg/info/cuda-nvcc-12-2.list: /usr/local/cuda-12.2/bin/ptxas\\n/usr/local/cuda-12.2/nvvm/libdevice/libdevice.10.bc\\n
    var/lib/dpkg/info/libcudnn8.list: /usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.6\\n/usr/lib/x86_64-linux-gnu/libcudnn_ops_infer.so.8.9.6\\n
    var/lib/dpkg/info/libnccl2.list: /usr/lib/x86_64-linux-gnu/libnccl.so.2.19.3\\n
    var/lib/dpkg/status: Package: cuda-cudart-12-2\\nStatus: install ok installed\\nVersion: 12.2.140-1\\n\\nPackage: libcublas-12-2\\nStatus: install ok installed\\nVersion: 12.2.5.6-1\\n\\nPackage: cuda-nvrtc-12-2\\nStatus: hold ok installed\\nVersion: 12.2.140-1\\n\\nPackage: cuda-nvcc-12-2\\nStatus: install ok installed\\nVersion: 12.2.140-1\\n\\nPackage: libcudnn8\\nStatus: install ok installed\\nVersion: 8.9.6.50-1+cuda12.2\\n\\nPackage: libnccl2\\nStatus: install ok installed\\nVersion: 2.19.3-1+cuda12.2\\n\\nPackage: libc6\\nStatus: install ok installed\\nVersion: 2.36-9+deb12u10\\n
";

#[test]
fn nvidias_packages_tell_the_versions_of_a_toolkit() {
    check(
        &format!("{APT}{APT_STATUS}"),
        &[],
        &[
            "cublas cu12 12.2.5.6 (debian-package) usr/local/cuda-12.2/targets/x86_64-linux/lib: \
             libcublas.so.12 cache, libcublasLt.so.12 cache",
            "cuda-nvcc cu12 12.2.140 (debian-package) usr/local/cuda-12.2: bin/ptxas, \
             nvvm/libdevice/libdevice.10.bc",
            "cuda-nvrtc cu12 12.2.140 (debian-package) usr/local/cuda-12.2/targets/x86_64-linux/lib: \
             libnvrtc-builtins.so.12.2 cache, libnvrtc.so.12 cache",
            "cuda-runtime cu12 12.2.140 (debian-package) usr/local/cuda-12.2/targets/x86_64-linux/lib: \
             libcudart.so.12 cache",
            "cudnn cu12 8.9.6.50 (debian-package) usr/lib/x86_64-linux-gnu: libcudnn.so.8 cache, \
             libcudnn_ops_infer.so.8 cache",
            "nccl cu12 2.19.3 (debian-package) usr/lib/x86_64-linux-gnu: libnccl.so.2 cache",
        ],
    );
}

#[test]
fn file_names_and_programs_tell_versions_where_no_package_does() {
    check(
        APT,
        &[],
        &[
            "cublas cu12 12.2.5.6 (file-name) usr/local/cuda-12.2/targets/x86_64-linux/lib: libcublas.so.12 \
             cache, libcublasLt.so.12 cache",
            "cuda-nvcc cu12 12.2.140 (program) usr/local/cuda-12.2: bin/ptxas, nvvm/libdevice/libdevice.10.bc",
            "cuda-nvrtc cu12 12.2.140 (file-name) usr/local/cuda-12.2/targets/x86_64-linux/lib: \
             libnvrtc-builtins.so.12.2 cache, libnvrtc.so.12 cache",
            "cuda-runtime cu12 12.2.140 (file-name) usr/local/cuda-12.2/targets/x86_64-linux/lib: \
             libcudart.so.12 cache",
            "cudnn cu12 8.9.6 (file-name) usr/lib/x86_64-linux-gnu: libcudnn.so.8 cache, \
             libcudnn_ops_infer.so.8 cache",
            "nccl cu12 2.19.3 (file-name) usr/lib/x86_64-linux-gnu: libnccl.so.2 cache",
        ],
    );
}

#[test]
fn version_json_headers_and_directories_tell_versions() {
    check(
        "
        usr/local/cuda-12.5/version.json: {\"cuda\": {\"version\": \"12.5.1\"}, \"libcufft\": {\"version\": \"11.2.3.61\"}, \"cuda_cudart\": {\"version\": \"12.5.82\"}}
        usr/local/cuda-12.5/targets/sbsa-linux/lib/libcufft.so.11 is libcufft.so.11
        usr/local/cuda-12.5/targets/sbsa-linux/lib/libcudart.so.12 is libcudart.so.12
        usr/local/cuda-12.5/targets/sbsa-linux/lib/libcupti.so.2024.2.1 is libcupti.so.12
        usr/local/cuda-12.5/targets/sbsa-linux/lib/libnvToolsExt.so.1.0.0 is libnvToolsExt.so.1
        usr/include/cudnn_version_v9.h: #define CUDNN_MAJOR 9\\n#define CUDNN_MINOR 2\\n#define CUDNN_PATCHLEVEL 1\\n
        usr/lib/x86_64-linux-gnu/libcudnn.so.9 is libcudnn.so.9
        usr/lib/x86_64-linux-gnu/libcudnn.so.8 is libcudnn.so.8
        ",
        &["LD_LIBRARY_PATH=/usr/local/nvidia/lib:/usr/local/cuda-12.5/targets/sbsa-linux/lib"],
        &[
            "cuda-cupti cu12 12.5 (directory) usr/local/cuda-12.5/targets/sbsa-linux/lib: libcupti.so.12 nowhere",
            "cuda-runtime cu12 12.5.82 (version-json) usr/local/cuda-12.5/targets/sbsa-linux/lib: \
             libcudart.so.12 path",
            "cudnn cu12 ? (unknown) usr/lib/x86_64-linux-gnu: libcudnn.so.8 cache",
            "cudnn cu12 9.2.1 (header) usr/lib/x86_64-linux-gnu: libcudnn.so.9 cache",
            "cufft cu12 11.2.3.61 (version-json) usr/local/cuda-12.5/targets/sbsa-linux/lib: libcufft.so.11 path",
            "nvtx cu12 12.5 (directory) usr/local/cuda-12.5/targets/sbsa-linux/lib: libnvToolsExt.so.1 nowhere",
        ],
    );
}

#[test]
fn of_two_toolkits_the_configured_one_is_found() {
    let layout = "
        etc/ld.so.conf.d/cuda.conf: /usr/local/cuda-12.8/lib64\\n
        usr/local/cuda-11.8/lib64/libcudart.so.11.8.89 is libcudart.so.11.0
        usr/local/cuda-11.8/lib64/libcurand.so.10.3.0.86 is libcurand.so.10
        usr/local/cuda-12.8/lib64/libcudart.so.12.8.90 is libcudart.so.12
        usr/local/cuda-12.8/lib64/libcurand.so.10.3.9.90 is libcurand.so.10
        usr/lib/x86_64-linux-gnu/libnccl.so.2.25.1 is libnccl.so.2
    ";
    check(
        layout,
        &[],
        &[
            "cuda-runtime cu11 11.8.89 (file-name) usr/local/cuda-11.8/lib64: libcudart.so.11.0 nowhere",
            "cuda-runtime cu12 12.8.90 (file-name) usr/local/cuda-12.8/lib64: libcudart.so.12 cache",
            "curand cu11 10.3.0.86 (file-name) usr/local/cuda-11.8/lib64: libcurand.so.10 nowhere",
            "curand cu12 10.3.9.90 (file-name) usr/local/cuda-12.8/lib64: libcurand.so.10 cache",
            "nccl cu? 2.25.1 (file-name) usr/lib/x86_64-linux-gnu: libnccl.so.2 cache",
        ],
    );
}

#[test]
fn debians_own_packages_say_which_cuda_they_are_of() {
    check(
        "
        usr/lib/x86_64-linux-gnu/libcublas.so.11.11.3.6 is libcublas.so.11
        usr/lib/x86_64-linux-gnu/libcublasLt.so.11.11.3.6 is libcublasLt.so.11
        usr/lib/x86_64-linux-gnu/libcurand.so.10.3.0.86 is libcurand.so.10
        usr/bin/ptxas says 11.8.89
        usr/lib/nvidia-cuda-toolkit/bin/cicc says nothing
        usr/lib/nvidia-cuda-toolkit/libdevice/libdevice.10.bc
        var/lib/dpkg/info/libcublas11:amd64.list: /usr/lib/x86_64-linux-gnu/libcublas.so.11.11.3.6\\n
        var/lib/dpkg/info/libcurand10:amd64.list: /lib/x86_64-linux-gnu/libcurand.so.10.3.0.86\\n
        var/lib/dpkg/status: Package: libcublas11\\nStatus: install ok installed\\nVersion: 11.11.3.6~11.8.0-5~deb12u1\\n\\nPackage: libcurand10\\nStatus: install ok installed\\nVersion: 10.3.0.86~11.8.0-5~deb12u1\\n\\nPackage: libc6\\nStatus: install ok installed\\nVersion: 2.36-9+deb12u10\\n
        ",
        &[],
        &[
            "cublas cu11 11.11.3.6 (debian-package) usr/lib/x86_64-linux-gnu: libcublas.so.11 cache, \
             libcublasLt.so.11 cache",
            "cuda-nvcc cu11 11.8.89 (program) usr: bin/ptxas, lib/nvidia-cuda-toolkit/bin/cicc, \
             lib/nvidia-cuda-toolkit/libdevice/libdevice.10.bc",
            "curand cu11 10.3.0.86 (debian-package) usr/lib/x86_64-linux-gnu: libcurand.so.10 cache",
        ],
    );
}

#[test]
fn wheels_in_site_packages_are_copies_of_their_distributions() {
    let packages = "usr/local/lib/python3.11/dist-packages";
    let wheel = |name: &str, version: &str, file: &str, size: u32| {
        let info = format!("{packages}/{}-{version}.dist-info", name.replace('-', "_"));
        format!(
            "{info}/METADATA: Name: {name}\\nVersion: {version}\\n\n{info}/RECORD: nvidia/{file},sha256=x,{size}\\n\n"
        )
    };
    let layout = [
        format!("{packages}/nvidia/cublas/lib/libcublas.so.12 is libcublas.so.12\n"),
        wheel("nvidia-cublas-cu12", "12.4.5.8", "cublas/lib/libcublas.so.12", 1000),
        format!("{packages}/nvidia/cu13/lib/libcusparse.so.12 is libcusparse.so.12 libnvJitLink.so.13\n"),
        wheel("nvidia-cusparse", "12.6.2.49", "cu13/lib/libcusparse.so.12", 1000),
        format!("{packages}/nvidia/nccl/lib/libnccl.so.2 is libnccl.so.2\n"),
        wheel("nvidia-nccl-cu12", "2.27.5", "nccl/lib/libnccl.so.2", 999),
        wheel("nvidia-nccl-cu13", "2.28.9", "nccl/lib/libnccl.so.2", 1000),
        format!("{packages}/torch/lib/libcudart-d0da41ae.so.11.0 is libcudart-d0da41ae.so.11.0\n"),
        format!("{packages}/triton/backends/nvidia/bin/ptxas says 12.4.99\n"),
    ];
    check(
        &layout.concat(),
        &[],
        &[
            &format!(
                "cublas cu12 12.4.5.8 (distribution) {packages}/nvidia/cublas/lib: libcublas.so.12 packages"
            ),
            &format!(
                "cusparse cu13 12.6.2.49 (distribution) {packages}/nvidia/cu13/lib: libcusparse.so.12 packages"
            ),
            &format!("nccl cu13 2.28.9 (distribution) {packages}/nvidia/nccl/lib: libnccl.so.2 packages"),
        ],
    );
}

#[test]
fn condas_packages_tell_versions_but_not_for_what_they_bundle() {
    let conda = r#"
        opt/conda/bin/python3 -> python3.11
        opt/conda/bin/python3.11 says 3.11.9
        opt/conda/pkgs/nccl-2.21.5.1-h1/lib/libnccl.so.2.21.5 is libnccl.so.2
        opt/conda/lib/libnccl.so.2.21.5 is libnccl.so.2
        opt/conda/lib/libcublas.so.11.11.3.6 is libcublas.so.11
        opt/conda/conda-meta/nccl-2.21.5.1-h1.json: {"name": "nccl", "version": "2.21.5.1", "files": ["lib/libnccl.so.2.21.5"]}
        opt/conda/conda-meta/cudatoolkit-11.8.0-h4.json: {"name": "cudatoolkit", "version": "11.8.0", "files": ["lib/libcublas.so.11.11.3.6"]}
    "#;
    check(
        conda,
        &["PATH=/opt/conda/bin"],
        &[
            "cublas cu11 11.11.3.6 (file-name) opt/conda/lib: libcublas.so.11 nowhere",
            "nccl cu? 2.21.5.1 (conda-package) opt/conda/lib: libnccl.so.2 nowhere",
        ],
    );
}

#[test]
fn what_an_upper_layer_removed_is_no_copy() {
    let inventory = |upper: &str| inventory(&[DEBIAN, PYTHON, APT, upper], &[]).unwrap();
    let removed = inventory("usr/local/.wh.cuda-12.2\n");
    let left: Vec<&str> = removed.cuda.iter().map(|copy| copy.component.name()).collect();
    assert_eq!((left, removed.default_toolkit), (vec!["cudnn", "nccl"], None));
    let hidden = inventory("usr/local/cuda-12.2/targets/x86_64-linux/lib/.wh..wh..opq\n");
    assert_eq!(hidden.cuda[0].component.name(), "cuda-nvcc");
    assert_eq!(hidden.default_toolkit.as_deref(), Some("usr/local/cuda-12.2"));
}

/// `version interpreter purelib` of the Python that is chosen.
fn python(layout: &str, env: &[&str], asked: Option<&str>) -> Result<String, String> {
    let image = InventoryFacts::stacked([facts(DEBIAN), facts(layout)]);
    scan(&image, &ImageConfigFacts::new(Architecture::Amd64, env.iter().copied()), asked)
        .map(|found| format!("{} {} {}", found.python, found.scheme.interpreter, found.scheme.purelib))
        .map_err(|error| format!("{error}; {}", error.hint().unwrap_or_default()))
}

#[test]
fn the_python_that_the_path_finds_is_the_bases() {
    let check = |layout: &str, env: &[&str], asked, expected: &str| {
        assert_eq!(python(layout, env, asked).unwrap(), expected);
    };
    let system = "3.11.2 /usr/bin/python3 usr/local/lib/python3.11/dist-packages";
    check(PYTHON, &[], None, system);
    check(PYTHON, &[], Some("3.11"), system);
    let docker = "
        usr/local/bin/python3 -> python3.12
        usr/local/bin/python3.12 says nothing
        usr/local/lib/libpython3.12.so.1.0 says 3.12.4
    ";
    let expected = "3.12.4 /usr/local/bin/python3 usr/local/lib/python3.12/site-packages";
    check(docker, &["PATH=/usr/local/bin:/usr/bin"], None, expected);
    check(&format!("{docker}{PYTHON}"), &[], Some("3.12"), expected);
    check(&format!("{docker}{PYTHON}"), &[], Some("3.11.9"), system);
    let conda = "opt/conda/bin/python -> python3.10\nopt/conda/bin/python3.10 says 3.10.14\n";
    let expected = "3.10.14 /opt/conda/bin/python3 opt/conda/lib/python3.10/site-packages";
    check(conda, &["PATH=/opt/conda/bin:/usr/bin"], None, expected);
    check(conda, &[], None, expected);
    let deadsnakes = format!("{PYTHON}usr/bin/python3.12 says 3.12.3\n");
    check(
        &deadsnakes,
        &[],
        Some("3.12"),
        "3.12.3 /usr/bin/python3.12 usr/local/lib/python3.12/dist-packages",
    );
}

#[test]
fn a_virtual_environment_is_meant_where_the_environment_says_so() {
    let uv = "
        root/.local/share/uv/python/cpython-3.13.1/bin/python3.13 says 3.13.1
        app/.venv/bin/python3 -> python
        app/.venv/bin/python -> /root/.local/share/uv/python/cpython-3.13.1/bin/python3.13
        app/.venv/pyvenv.cfg: home = /root/.local/share/uv/python/cpython-3.13.1/bin\\n
    ";
    let expected = "3.13.1 /app/.venv/bin/python3 app/.venv/lib/python3.13/site-packages";
    let both = format!("{PYTHON}{uv}");
    assert_eq!(python(&both, &["VIRTUAL_ENV=/app/.venv"], None).unwrap(), expected);
    assert_eq!(python(&both, &["PATH=/app/.venv/bin:/usr/bin"], None).unwrap(), expected);
}

#[test]
fn a_base_that_cannot_be_used_says_why() {
    let check =
        |layout: &str, asked, expected: &str| assert_eq!(python(layout, &[], asked).unwrap_err(), expected);
    check(
        "usr/bin/env",
        None,
        "the base has no Python; choose a base with Python, add `python3` to the base's packages, or give one to any base, \
         `python: {from: ./cpython-…-install_only.tar.gz}`",
    );
    check(
        &format!("{PYTHON}usr/bin/python3.12 says 3.12.3\n"),
        None,
        "the base has several Pythons: 3.11, 3.12; say which is meant: write `python: \"3.11\"` in the recipe, or \
         give `--python 3.11`",
    );
    check(
        PYTHON,
        Some("3.12"),
        "the base has Python 3.11; the recipe asks for 3.12; write `python: \"3.11\"`, choose a base that has \
         3.12, `base: python:3.12-slim` or `base: {suites: [noble], packages: [python3]}`, or give one to any base, \
         `python: {from: ./cpython-…-install_only.tar.gz}`",
    );
    let image = InventoryFacts::stacked([facts(DEBIAN), facts(PYTHON)]);
    let error = scan(&image, &ImageConfigFacts::new(Architecture::Arm64, []), None).unwrap_err();
    assert_eq!(error.to_string(), "`/usr/bin/python3.11` is for amd64, and the image says it is for arm64");
    let alpine =
        "etc/os-release: PRETTY_NAME=\"Alpine Linux v3.20\"\\n\nlib/ld-musl-x86_64.so.1 says nothing\n";
    let error = |text: &str| {
        scan(&facts(text), &ImageConfigFacts::new(Architecture::Amd64, []), None).unwrap_err().to_string()
    };
    assert!(error(alpine).contains("the base, Alpine Linux v3.20, has musl"), "{}", error(alpine));
    let rocky = "
        etc/os-release: PRETTY_NAME=\"Rocky Linux 9\"\\n
        lib64/libc.so.6 says GNU C Library (GNU libc) stable release version 2.34
    ";
    assert!(error(rocky).contains("Rocky Linux 9"), "{}", error(rocky));
    assert_eq!(error(""), "the base has no GNU C library");
}

#[test]
fn distributions_are_those_that_the_interpreter_finds() {
    let layout = "
        usr/local/lib/python3.11/dist-packages/torch-2.6.0.dist-info/METADATA: Name: torch\\nVersion: 2.6.0\\nRequires-Dist: sympy==1.13.1\\nProvides-Extra: opt\\n
        usr/local/lib/python3.11/dist-packages/torch-2.6.0.dist-info/RECORD: torch/__init__.py,,\\n../../../bin/torchrun,,\\n
        usr/local/lib/python3.11/dist-packages/torch-2.6.0.dist-info/INSTALLER: pip\\n
        usr/lib/python3/dist-packages/six-1.16.0.egg-info/PKG-INFO: Name: six\\nVersion: 1.16.0\\n
        usr/lib/python3/dist-packages/wheel-0.38.4.egg-info: Name: wheel\\nVersion: 0.38.4\\n
        usr/lib/python3/dist-packages/torch-1.0.dist-info/METADATA: Name: torch\\nVersion: 1.0\\n
        usr/lib/python3/dist-packages/odd.dist-info/METADATA: Name: odd\\nVersion: not one\\n
        usr/local/lib/python3.12/dist-packages/other-1.dist-info/METADATA: Name: other\\nVersion: 1\\n
    ";
    let inventory = inventory(&[DEBIAN, PYTHON, layout], &[]).unwrap();
    let found: Vec<String> = inventory
        .distributions
        .iter()
        .map(|found| {
            let owner = if found.of_system { "system" } else { "pip" };
            format!(
                "{} {} {owner} {} {}",
                found.name,
                found.version,
                found.requires_dist.join(","),
                found.files.join(",")
            )
        })
        .collect();
    let packages = "usr/local/lib/python3.11/dist-packages";
    assert_eq!(
        found,
        [
            "six 1.16.0 system  ".to_owned(),
            format!("torch 2.6.0 pip sympy==1.13.1 usr/local/bin/torchrun,{packages}/torch/__init__.py"),
            "wheel 0.38.4 system  ".to_owned(),
        ]
    );
    assert_eq!(inventory.externally_managed, "usr/lib/python3.11/EXTERNALLY-MANAGED");
    assert_eq!((inventory.vendor.as_str(), inventory.glibc), ("Debian", (2, 36)));
    assert_eq!(inventory.libc_bin.as_str(), "2.36-9+deb12u10");
}

#[test]
fn what_is_scanned_is_what_is_watched() {
    for path in ["usr/local/cuda-12.2/nvvm/libdevice/libdevice.10.bc", "usr/bin/ptxas", "usr/bin/python3.11"]
    {
        assert_ne!(Relevance::of(path), Relevance::None, "{path}");
    }
}

#[test]
fn an_inventory_is_read_as_it_was_recorded() {
    let inventory = inventory(&[DEBIAN, PYTHON, APT], &["LD_LIBRARY_PATH=/usr/local/nvidia/lib"]).unwrap();
    let record = inventory.to_record();
    assert_eq!(BaseInventory::from_record(&record).unwrap(), inventory);
    assert_eq!(record.lines().filter(|line| line.contains("\"component\":")).count(), inventory.cuda.len());
    assert!(BaseInventory::from_record("{}").is_err());
}

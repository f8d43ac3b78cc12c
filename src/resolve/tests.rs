//! Resolution against small catalogs in memory: whose demands are met by which version of a component.

use super::solve::tests::Shelf;
use super::*;
use crate::base::{BaseInventory, CudaLibrary, InstalledDistribution, LoaderRoute, VersionSource};
use crate::oci::Architecture;
use crate::pypa::target::Target;

const TORCH: &str = "
    torch-2.6.0 : nvidia-cublas-cu12==12.4.5.8 & nvidia-cuda-runtime-cu12==12.4.127 & nvidia-cudnn-cu12==9.1.0.70
    torch-2.3.1 : nvidia-cuda-runtime-cu12==12.1.105 & nvidia-cudnn-cu12==8.9.2.26
    torch-2.11.0 : cuda-toolkit[cublas]==13.0.2
    bridge-1.0 : torch-two & nvidia-cublas>=13.1
    torch_two-1.0 : torch==2.3.1
";
const TENSORFLOW: &str = "
    tensorflow-2.18.0 : nvidia-cublas-cu12==12.5.3.2; extra=='and-cuda' & nvidia-cuda-runtime-cu12==12.5.82; extra=='and-cuda'
    tensorflow-2.15.0 : nvidia-cuda-runtime-cu12==12.2.140; extra=='and-cuda' & tensorrt==8.6.1; extra=='and-cuda'
";
const JAX: &str = "
    jax-0.5.3 : nvidia-cudnn-cu12>=9.1,<10.0; extra=='cuda12' & nvidia-nvjitlink-cu12; extra=='cuda12'
    jax-0.4.26 : nvidia-cudnn-cu12>=8.9.2.26,<9.0; extra=='cuda12'
    jax-0.8.0 : nvidia-cuda-runtime-cu12>=12.1; extra=='cuda12' & nvidia-cuda-runtime>=13.0; extra=='cuda13'
";
const WHEELS: &str = "
    nvidia_cublas_cu12-12.4.5.8
    nvidia_cublas_cu12-12.5.3.2 : nvidia-cuda-nvrtc-cu12
    nvidia_cublas_cu12-12.9.1.4
    nvidia_cuda_nvrtc_cu12-12.4.127
    nvidia_cuda_nvrtc_cu12-12.5.82
    nvidia_cuda_nvrtc_cu12-12.9.86
    nvidia_cuda_runtime_cu12-12.1.105
    nvidia_cuda_runtime_cu12-12.2.140
    nvidia_cuda_runtime_cu12-12.4.127
    nvidia_cuda_runtime_cu12-12.5.82
    nvidia_cuda_runtime_cu12-12.9.79
    nvidia_cudnn_cu12-8.9.2.26
    nvidia_cudnn_cu12-8.9.7.29 yanked
    nvidia_cudnn_cu12-9.1.0.70
    nvidia_cudnn_cu12-9.8.0.87
    nvidia_nvjitlink_cu12-12.4.127
    nvidia_nvjitlink_cu12-12.5.82
    cuda_toolkit-13.0.2 : nvidia-cublas==13.1.0.3.*; extra=='cublas' & nvidia-cuda-runtime==13.0.96.*
    nvidia_cublas-13.1.0.3
    nvidia_cuda_runtime-13.0.96
    nvidia_cuda_runtime-13.1.80
";

fn resolved(frameworks: &str, policy: Policy) -> Result<Resolution, ResolveError> {
    on_base("", frameworks, policy)
}

/// Resolves on a base whose copies of components are `copies`, one a line, as [`copy`] reads them.
fn on_base(copies: &str, frameworks: &str, policy: Policy) -> Result<Resolution, ResolveError> {
    resolve_with(copies, frameworks, Policies { default: policy, ..Policies::default() })
}

fn resolve_with(copies: &str, frameworks: &str, policies: Policies) -> Result<Resolution, ResolveError> {
    let base = base(copies);
    let shelf = Shelf::new(&[TORCH, TENSORFLOW, JAX, WHEELS].concat());
    let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
    let requirements: Vec<Requirement> = frameworks.split(" & ").map(|text| text.parse().unwrap()).collect();
    let request = ResolutionRequest {
        target: &target,
        base: &base,
        policies,
        preferences: Preferences::new(),
        drivers: Default::default(),
        direct: Default::default(),
        builds: Default::default(),
        prereleases: Default::default(),
        overrides: Vec::new(),
        frameworks: requirements.iter().map(|requirement| requirement.name.clone()).collect(),
        roots: requirements
            .into_iter()
            .map(|requirement| RootRequirement::new(requirement.into(), "the recipe"))
            .collect(),
        constraints: Vec::new(),
        exclude_newer: None,
    };
    resolve(&request, &shelf)
}

/// A base of Debian with Python 3.11 and `copies`.
pub(crate) fn base(copies: &str) -> BaseInventory {
    let copies: Vec<CudaCopy> =
        copies.lines().map(str::trim).filter(|line| !line.is_empty()).map(copy).collect();
    BaseInventory {
        architecture: Architecture::Amd64,
        vendor: "Debian".into(),
        glibc: (2, 36),
        libc_bin: "2.36-9".parse().unwrap(),
        python: "3.11.2".into(),
        scheme: crate::pypa::scheme::InstallScheme::debian((3, 11)),
        externally_managed: String::new(),
        distributions: copies.iter().filter_map(installed).collect(),
        default_toolkit: copies.iter().find_map(|copy| copy.toolkit.clone()),
        library_path: Vec::new(),
        cuda: copies,
    }
}

fn installed(copy: &CudaCopy) -> Option<InstalledDistribution> {
    Some(InstalledDistribution {
        name: copy.distribution.clone()?,
        version: copy.version.clone()?,
        directory: String::new(),
        requires_dist: Vec::new(),
        provides_extra: Vec::new(),
        files: Vec::new(),
        of_system: false,
        texts: None,
    })
}

/// A copy: `COMPONENT VERSION cuMAJOR DIRECTORY [hidden] [pip] [file] [: LIBRARY; …]`, whole unless libraries are given;
/// `file` when only the name of a file told its version.
fn copy(line: &str) -> CudaCopy {
    let (head, libraries) = line.split_once(" : ").unwrap_or((line, ""));
    let words: Vec<&str> = head.split_whitespace().collect();
    let component = Component::named(words[0]).unwrap();
    let version: Version = words[1].parse().unwrap();
    let major: u32 = words[2][2..].parse().unwrap();
    let is = |flag: &str| words[4..].contains(&flag);
    let found = match (is("hidden"), is("pip")) {
        (true, _) => LoaderRoute::Nowhere,
        (_, true) => LoaderRoute::SitePackages,
        _ => LoaderRoute::Cache,
    };
    let generation = version.release()[0];
    let whole = component.essential_libraries().map(|name| format!("{name}.so.{generation}"));
    let given: Vec<String> =
        libraries.split("; ").filter(|text| !text.is_empty()).map(str::to_owned).collect();
    let libraries = if given.is_empty() { whole.collect() } else { given };
    let library = |text: &String| {
        let library = super::solve::tests::library(text);
        CudaLibrary {
            path: format!("{}/{}.{version}", words[3], library.soname),
            soname: library.soname,
            size: 100,
            found,
            needed: library.needed,
            symbols: library.symbols,
        }
    };
    CudaCopy {
        component,
        cuda_major: Some(major),
        version_from: if is("file") { VersionSource::FileName } else { VersionSource::DebianPackage },
        directory: words[3].to_owned(),
        toolkit: words[3].split_once("/targets").map(|(root, _)| root.to_owned()),
        libraries: libraries.iter().map(library).collect(),
        programs: component.essential_programs().map(str::to_owned).collect(),
        bytes: 100,
        distribution: is("pip").then(|| component.distribution(major).parse().unwrap()),
        version: Some(version),
    }
}

/// The toolkits whose trees are made, and who serves each component: a wheel, unless `base` or `pip` is said; `+` before
/// libraries that stand beside another SONAME.
fn told(result: Result<Resolution, ResolveError>) -> String {
    let resolution = match result {
        Ok(resolution) => resolution,
        Err(error) => return error.to_string(),
    };
    let trees = resolution.trees.iter().map(|tree| match tree.found {
        FoundBy::Loader => format!("CUDA {}", tree.toolkit),
        FoundBy::Frameworks => format!("beside CUDA {}", tree.toolkit),
    });
    let is_beside = |service: &Service| {
        resolution.distributions.iter().any(|distribution| {
            distribution.name == service.distribution
                && distribution.version == service.version
                && matches!(distribution.role, Role::Component { place: ComponentPlace::LibrariesBeside, .. })
        })
    };
    let services = resolution.services.iter().map(|service| {
        let from = match &service.source {
            ServiceSource::Base { linked_in: Some(_), .. } => "linked ",
            ServiceSource::Base { .. } => "base ",
            ServiceSource::Wheel if is_beside(service) => "+",
            ServiceSource::Wheel => "",
            ServiceSource::Sibling { .. } => "sibling ",
            ServiceSource::Pip => "pip ",
        };
        format!("{from}{} {}", service.component, service.version)
    });
    trees.chain(services).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(frameworks: &str, expected: &str) {
    assert_eq!(told(resolved(frameworks, Policy::Shared)), expected);
}

#[test]
fn each_component_is_served_at_the_lowest_version_that_meets_every_demand() {
    check("torch==2.6.0", "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127, cudnn 9.1.0.70");
    check(
        "torch==2.6.0 & tensorflow==2.18.0",
        "CUDA 12.5, cublas 12.5.3.2, cuda-nvrtc 12.5.82, cuda-runtime 12.5.82, cudnn 9.1.0.70",
    );
}

#[test]
fn a_part_without_a_floor_is_not_older_than_its_toolkit() {
    check(
        "torch==2.6.0 & jax==0.5.3",
        "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127, cudnn 9.1.0.70, nvjitlink 12.4.127",
    );
}

#[test]
fn a_framework_gets_the_extra_of_the_others_cuda() {
    check("jax==0.8.0", "CUDA 13.0, cuda-runtime 13.0.96");
    check("jax==0.8.0 & torch==2.6.0", "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127, cudnn 9.1.0.70");
    check("jax[cuda12]==0.8.0", "CUDA 12.1, cuda-runtime 12.1.105");
}

#[test]
fn a_framework_alone_gets_the_extra_of_the_bases_cuda() {
    assert_eq!(told(on_base(APT_12_4, "jax==0.8.0", Policy::Shared)), "base cuda-runtime 12.4.127");
}

#[test]
fn a_toolkit_is_named_after_its_runtime_whoever_needs_it() {
    check("jax==0.4.26", "CUDA 12.9, cuda-runtime 12.9.79, cudnn 8.9.2.26");
}

#[test]
fn the_metapackage_passes_its_pins_on() {
    check("torch==2.11.0", "CUDA 13.0, cublas 13.1.0.3, cuda-runtime 13.0.96");
}

#[test]
fn two_sonames_stand_side_by_side() {
    check(
        "torch==2.6.0 & jax==0.4.26",
        "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127, +cudnn 8.9.2.26, cudnn 9.1.0.70",
    );
    check(
        "torch==2.3.1 & jax==0.5.3",
        "CUDA 12.1, cuda-runtime 12.1.105, +cudnn 8.9.2.26, cudnn 9.1.0.70, nvjitlink 12.4.127",
    );
}

#[test]
fn what_frameworks_run_without_is_not_installed() {
    check("tensorflow==2.15.0", "CUDA 12.2, cuda-runtime 12.2.140");
    let explicit = told(resolved("tensorflow==2.15.0 & tensorrt", Policy::Shared));
    assert!(explicit.contains("tensorrt"), "{explicit}");
}

#[test]
fn cuda_13_stands_beside_another_major() {
    check(
        "torch==2.11.0 & tensorflow==2.18.0",
        "CUDA 12.5, beside CUDA 13.0, cublas 12.5.3.2, cublas 13.1.0.3, cuda-nvrtc 12.5.82, cuda-runtime 12.5.82, \
         cuda-runtime 13.0.96",
    );
}

#[test]
fn two_majors_in_one_process_are_refused_with_who_needs_them() {
    let refused = told(resolved("bridge==1.0", Policy::Shared));
    assert_eq!(
        refused,
        "CUDA 12 and CUDA 13 are both needed in one process: bridge 1.0 needs torch-two → torch → \
         nvidia-cuda-runtime-cu12==12.1.105, and nvidia-cublas>=13.1"
    );
}

#[test]
fn a_demand_that_nothing_meets_is_refused_with_all_the_demands() {
    let refused = told(resolved("torch==2.6.0 & nvidia-cudnn-cu12>=10", Policy::Shared));
    assert!(refused.contains("nvidia-cudnn-cu12"), "{refused}");
}

#[test]
fn metadata_is_relaxed_where_it_pins() {
    let resolution = resolved("torch==2.6.0 & jax==0.4.26", Policy::Shared).unwrap();
    let relaxed = |name: &str| -> Vec<String> {
        let distribution = resolution.distributions.iter().find(|d| d.name.as_ref() == name).unwrap();
        distribution.relaxed.values().cloned().collect()
    };
    assert_eq!(
        relaxed("torch"),
        [
            "nvidia-cublas-cu12>=12.4.5.8,<13",
            "nvidia-cuda-runtime-cu12>=12.4.127,<13",
            "nvidia-cudnn-cu12>=9.1.0.70,<10"
        ]
    );
    assert_eq!(relaxed("jax"), ["nvidia-cudnn-cu12>=8.9.2.26 ; extra == 'cuda12'"]);
}

#[test]
fn under_pip_the_pins_exclude_each_other() {
    let refused = told(resolved("torch==2.6.0 & tensorflow==2.18.0", Policy::Pip));
    assert!(refused.contains("nvidia-c") && refused.contains("torch 2.6.0"), "{refused}");
    assert_eq!(
        told(resolved("torch==2.6.0", Policy::Pip)),
        "pip cublas 12.4.5.8, pip cuda-runtime 12.4.127, pip cudnn 9.1.0.70"
    );
}

const APT_12_4: &str = "
    cublas 12.4.5.8 cu12 usr/local/cuda-12.4/targets/x86_64-linux/lib
    cuda-runtime 12.4.127 cu12 usr/local/cuda-12.4/targets/x86_64-linux/lib
";

#[test]
fn the_base_serves_what_meets_every_demand() {
    let on =
        |more: &str, frameworks: &str| told(on_base(&[APT_12_4, more].concat(), frameworks, Policy::Shared));
    assert_eq!(
        on("cudnn 9.1.0.70 cu12 usr/lib/x86_64-linux-gnu", "torch==2.6.0"),
        "base cublas 12.4.5.8, base cuda-runtime 12.4.127, base cudnn 9.1.0.70"
    );
    assert_eq!(
        on("", "torch==2.6.0"),
        "CUDA 12.4, base cublas 12.4.5.8, base cuda-runtime 12.4.127, cudnn 9.1.0.70"
    );
    assert_eq!(
        on("cudnn 9.0.0.312 cu12 usr/lib/x86_64-linux-gnu", "torch==2.6.0"),
        "CUDA 12.4, base cublas 12.4.5.8, base cuda-runtime 12.4.127, cudnn 9.1.0.70"
    );
}

#[test]
fn as_much_of_a_version_as_is_known_counts() {
    let on = |copy: &str| told(on_base(&[APT_12_4, copy].concat(), "torch==2.6.0", Policy::Base));
    assert!(on("cudnn 9.1.0 cu12 usr/lib/x86_64-linux-gnu file").contains("base cudnn 9.1.0"));
    assert!(on("cudnn 9.1.0 cu12 usr/lib/x86_64-linux-gnu").contains("the base does not serve cudnn"));
    assert!(on("cudnn 9.0.9 cu12 usr/lib/x86_64-linux-gnu file").contains("the base does not serve cudnn"));
}

#[test]
fn a_copy_that_does_not_serve_is_named_with_its_reason() {
    let reasons = |copy: &str| {
        let resolution = on_base(&[APT_12_4, copy].concat(), "torch==2.6.0", Policy::Shared).unwrap();
        let rejected = resolution.services.iter().flat_map(|service| &service.rejected);
        rejected.map(|copy| format!("{}: {}", copy.path, copy.reason)).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(
        reasons("cudnn 9.0.0.312 cu12 usr/lib"),
        "/usr/lib: torch 2.6.0 (==9.1.0.70) asks for another version"
    );
    assert_eq!(reasons("cudnn 9.1.0.70 cu13 usr/lib"), "/usr/lib: it is for CUDA 13");
    assert_eq!(reasons("cublas 12.9.1.4 cu12 opt : libcublas.so.12"), "/opt: it lacks libcublasLt");
    assert_eq!(reasons("cublas 12.9.1.4 cu12 opt"), "/opt: another copy serves");
}

#[test]
fn a_copy_that_no_loader_finds_is_linked_into_the_tree() {
    let copies = "
        cublas 12.4.5.8 cu12 opt/conda/lib hidden
        cuda-runtime 12.4.127 cu12 opt/conda/lib hidden
        cudnn 9.1.0.70 cu12 usr/lib/x86_64-linux-gnu
    ";
    assert_eq!(
        told(on_base(copies, "torch==2.6.0", Policy::Base)),
        "CUDA 12.4, linked cublas 12.4.5.8, linked cuda-runtime 12.4.127, base cudnn 9.1.0.70"
    );
}

#[test]
fn a_stray_wheel_of_the_base_is_hidden_where_the_system_serves() {
    let copies = [APT_12_4, "cublas 12.9.1.4 cu12 site/nvidia/cublas/lib pip"].concat();
    let resolution = on_base(&copies, "torch==2.6.0", Policy::Shared).unwrap();
    let removed: Vec<&str> = resolution.removed.iter().map(|removed| removed.name.as_ref()).collect();
    assert_eq!(removed, ["nvidia-cublas-cu12"]);
    let only = "
        cublas 12.4.5.8 cu12 site/nvidia/cublas/lib pip
        cuda-runtime 12.4.127 cu12 site/nvidia/cuda_runtime/lib pip
        cudnn 9.1.0.70 cu12 site/nvidia/cudnn/lib pip
    ";
    let resolution = on_base(only, "torch==2.6.0", Policy::Shared).unwrap();
    assert!(resolution.removed.is_empty());
    assert_eq!(told(Ok(resolution)), "base cublas 12.4.5.8, base cuda-runtime 12.4.127, base cudnn 9.1.0.70");
}

#[test]
fn what_the_base_lacks_is_refused_under_its_policy_with_who_needs_it() {
    assert_eq!(
        told(on_base(APT_12_4, "torch_two & torch==2.3.1", Policy::Base)),
        "the base does not serve cudnn, which is needed by torch 2.3.1 (==8.9.2.26)"
    );
}

#[test]
fn an_exception_is_stronger_than_the_policy() {
    let with = |default: Policy, exceptions: &[(&str, Policy)], frameworks: &str| {
        let exceptions = exceptions.iter().map(|(name, policy)| (Component::named(name).unwrap(), *policy));
        let policies = Policies { default, exceptions: exceptions.collect() };
        told(resolve_with(APT_12_4, frameworks, policies))
    };
    assert_eq!(
        with(Policy::Shared, &[("cudnn", Policy::Pip)], "torch==2.6.0"),
        "base cublas 12.4.5.8, base cuda-runtime 12.4.127, pip cudnn 9.1.0.70"
    );
    assert_eq!(
        with(Policy::Base, &[("cudnn", Policy::Shared)], "torch==2.6.0"),
        "CUDA 12.4, base cublas 12.4.5.8, base cuda-runtime 12.4.127, cudnn 9.1.0.70"
    );
    assert_eq!(
        with(Policy::Pip, &[("cudnn", Policy::Shared)], "torch==2.3.1"),
        "CUDA 12.4, pip cuda-runtime 12.1.105, cudnn 8.9.2.26"
    );
    let only_cudnn = Policies {
        default: Policy::Pip,
        exceptions: BTreeMap::from([(Component::named("cudnn").unwrap(), Policy::Shared)]),
    };
    assert_eq!(
        told(resolve_with("", "torch==2.3.1", only_cudnn)),
        "CUDA 12.1, pip cuda-runtime 12.1.105, cudnn 8.9.2.26"
    );
    assert_eq!(
        with(Policy::Shared, &[("cublas", Policy::Pip)], "torch==2.11.0"),
        "CUDA 13.0, pip cublas 13.1.0.3, cuda-runtime 13.0.96"
    );
}

#[test]
fn an_exception_for_a_component_that_nothing_needs_is_told() {
    let component = |name| Component::named(name).unwrap();
    let exceptions = [("cudnn", Policy::Pip), ("nccl", Policy::Shared), ("npp", Policy::Base)];
    let exceptions = exceptions.map(|(name, policy)| (component(name), policy));
    let policies = Policies { exceptions: BTreeMap::from(exceptions), ..Policies::default() };
    let resolution = resolve_with("", "torch==2.6.0", policies.clone()).unwrap();
    let without: Vec<Component> = policies.without_effect(&resolution).collect();
    assert_eq!(without, [component("nccl"), component("npp")]);
}

#[test]
fn nothing_of_cuda_is_installed_for_the_cpu() {
    assert_eq!(told(resolved("tensorflow==2.18.0 & jax==0.5.3", Policy::Cpu)), "");
    assert_eq!(
        told(resolved("torch==2.3.1", Policy::Cpu)),
        "the policy `cpu` installs no CUDA, and torch 2.3.1 needs nvidia-cuda-runtime-cu12, nvidia-cudnn-cu12"
    );
}

const SPARSE: &str = "
    solver-1.0 : nvidia-cusparse-cu12>=12.1 & nvidia-nvjitlink-cu12
    old_solver-1.0 : nvidia-nvjitlink-cu12<12.4
    nvidia_cusparse_cu12-12.3.1.170
    lib nvidia_cusparse_cu12-12.3.1.170 libcusparse.so.12 libnvJitLink.so.12?__Create_12_4
    nvidia_nvjitlink_cu12-12.1.105
    lib nvidia_nvjitlink_cu12-12.1.105 libnvJitLink.so.12 +__Create_12_1
    nvidia_nvjitlink_cu12-12.4.127
    lib nvidia_nvjitlink_cu12-12.4.127 libnvJitLink.so.12 +__Create_12_1 +__Create_12_4
    nvidia_nvjitlink_cu12-12.9.86
    lib nvidia_nvjitlink_cu12-12.9.86 libnvJitLink.so.12 +__Create_12_1 +__Create_12_4 +__Create_12_9
    nvidia_cuda_runtime_cu12-12.1.105
";

fn companions(copies: &str, frameworks: &str) -> String {
    told(resolve_from(SPARSE, copies, frameworks))
}

fn resolve_from(wheels: &str, copies: &str, frameworks: &str) -> Result<Resolution, ResolveError> {
    let base = base(copies);
    let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
    let root = |text: &str| RootRequirement::new(text.parse::<Requirement>().unwrap().into(), "the recipe");
    let request = ResolutionRequest {
        target: &target,
        base: &base,
        policies: Policies::default(),
        preferences: Preferences::new(),
        drivers: Default::default(),
        direct: Default::default(),
        builds: Default::default(),
        prereleases: Default::default(),
        overrides: Vec::new(),
        frameworks: BTreeSet::new(),
        roots: frameworks.split(" & ").map(root).collect(),
        constraints: Vec::new(),
        exclude_newer: None,
    };
    resolve(&request, &Shelf::new(wheels))
}

#[test]
fn of_several_builds_of_a_wheel_the_newest_is_taken_for_components_as_for_packages() {
    let wheels = "
        app-1.0-1-py3-none-any : nvidia-cuda-runtime-cu12
        app-1.0-2-py3-none-any : nvidia-cuda-runtime-cu12
        nvidia_cuda_runtime_cu12-12.1.105-1-py3-none-any
        nvidia_cuda_runtime_cu12-12.1.105-10-py3-none-any
        nvidia_cuda_runtime_cu12-12.1.105-9-py3-none-any
    ";
    let resolution = resolve_from(wheels, "", "app").unwrap();
    let chosen = resolution.distributions.iter().map(|distribution| distribution.wheel.filename.to_string());
    assert_eq!(
        chosen.collect::<Vec<_>>(),
        ["app-1.0-2-py3-none-any.whl", "nvidia_cuda_runtime_cu12-12.1.105-10-py3-none-any.whl"]
    );
}

#[test]
fn a_library_gets_the_symbols_that_it_needs_of_its_companion() {
    assert_eq!(
        companions("", "solver & nvidia-cuda-runtime-cu12==12.1.105"),
        "CUDA 12.1, cuda-runtime 12.1.105, cusparse 12.3.1.170, nvjitlink 12.4.127"
    );
    assert_eq!(
        companions(
            "nvjitlink 12.2.140 cu12 usr/lib : libnvJitLink.so.12 +__Create_12_1\n\
             cuda-runtime 12.1.105 cu12 usr/local/cuda-12.1/targets/x86_64-linux/lib",
            "solver"
        ),
        "CUDA 12.1, cusparse 12.3.1.170, nvjitlink 12.4.127"
    );
}

#[test]
fn a_copy_whose_companion_cannot_be_had_does_not_serve() {
    let copies = "
        cuda-runtime 12.1.105 cu12 usr/local/cuda-12.1/targets/x86_64-linux/lib
        cusparse 12.5.10.65 cu12 usr/lib : libcusparse.so.12 libnvJitLink.so.12?__Create_12_9
        nvjitlink 12.4.99 cu12 usr/lib : libnvJitLink.so.12 +__Create_12_4
    ";
    assert_eq!(
        companions(copies, "solver & nvidia-nvjitlink-cu12<12.9"),
        "CUDA 12.1, cusparse 12.3.1.170, base nvjitlink 12.4.99"
    );
    assert_eq!(companions(copies, "solver"), "CUDA 12.1, base cusparse 12.5.10.65, nvjitlink 12.9.86");
    let refused = companions(copies, "solver & old_solver");
    assert!(refused.contains("no version of `nvidia-"), "{refused}");
}

const BINARIES: &str = "
    cupy_cuda12x-12.3.0 : numpy
    binary cupy_cuda12x-12.3.0 cupy/core.so libcuda.so.1 libcudart.so.12 libcublas.so.12 libcufft.so.11
    binary cupy_cuda12x-12.3.0 cupy/cudnn.so libcudnn.so.8
    numpy-1.26.0
    binary numpy-1.26.0 numpy/core.so libcublas.so.12
    torchaudio-2.6.0 : torch==2.6.0
    binary torchaudio-2.6.0 torchaudio/lib.so libtorch.so libcudart.so.12
    torchaudio-2.11.0
    binary torchaudio-2.11.0 torchaudio/lib.so libtorch.so libcudart.so.13
    torchaudio-2.10.0 : torch==2.10.0
    ctranslate2-4.8.5
    binary ctranslate2-4.8.5 ctranslate2.libs/lib.so opens libcublas.so.12 libnccl.so.2
    binary ctranslate2-4.8.5 ctranslate2/_ext.so libgomp.so.1
    variants-1.0
    binary variants-1.0 variants/cuda12.so libcudart.so.12
    binary variants-1.0 variants/cuda13.so libcudart.so.13
    fused-1.0 : torch
    binary fused-1.0 fused/ext.so libc10.so libcudart.so.13
    torch-2.6.0 : nvidia-cublas-cu12==12.4.5.8 & nvidia-cuda-runtime-cu12==12.4.127
    torch-2.11.0 : nvidia-cublas==13.1.0.3 & nvidia-cuda-runtime==13.0.96
    binary torch-2.6.0 torch/lib/libtorch.so libcudart.so.12
    binary torch-2.11.0 torch/lib/libtorch.so libcudart.so.13
    mover-1.0 : torch & nvidia-cuda-runtime-cu12
    binary mover-1.0 mover/ext.so libcudart.so.12 libcublas.so.12
    stuck-1.0 : torch>=2.11 & nvidia-cuda-runtime-cu12
    binary stuck-1.0 stuck/ext.so libcudart.so.12 libcublas.so.12
    depends-1.0 : torchaudio
    early-1.0 : torch
    binary early-1.0 early/ext.so libcudart.so.13
    early-1.0.dev1 : torch
    binary early-1.0.dev1 early/ext.so libcudart.so.12
    uses_early-1.0 : early
    nvidia_cublas_cu12-12.4.5.8
    nvidia_cublas_cu12-12.9.1.4
    nvidia_cuda_runtime_cu12-12.4.127
    nvidia_cuda_runtime_cu12-12.9.79
    nvidia_cufft_cu12-11.4.1.4
    nvidia_cudnn_cu12-8.9.7.29
    nvidia_cublas-13.1.0.3
    nvidia_cuda_runtime-13.0.96
";

/// The resolution, what was passed over, and the demands that binaries make.
#[track_caller]
fn check_binaries(roots: &str, expected: &str) {
    let result = resolve_from(BINARIES, "", roots);
    let (mut of_binaries, mut passed) = (BTreeSet::new(), String::new());
    if let Ok(resolution) = &result {
        let demands = resolution.services.iter().flat_map(|service| &service.demands);
        of_binaries = demands.filter(|it| it.is_of_binary()).map(ToString::to_string).collect();
        passed = resolution.passed_over.iter().map(|passed| format!(" | {passed}")).collect();
    }
    let of_binaries: String = of_binaries.into_iter().map(|demand| format!("; {demand}")).collect();
    assert_eq!(told(result) + &of_binaries + &passed, expected);
}

#[test]
fn binaries_demand_what_they_are_linked_with() {
    check_binaries(
        "cupy-cuda12x",
        "CUDA 12.9, cublas 12.9.1.4, cuda-runtime 12.9.79, cufft 11.4.1.4; cupy-cuda12x 12.3.0 compiles with \
         cuda_fp16.h; cupy-cuda12x 12.3.0 is linked with libcublas.so.12; cupy-cuda12x 12.3.0 is linked with libcudart.so.12; cupy-cuda12x 12.3.0 is linked with \
         libcufft.so.11",
    );
    check_binaries(
        "cupy-cuda12x & torch==2.6.0",
        "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127, cufft 11.4.1.4; cupy-cuda12x 12.3.0 compiles with \
         cuda_fp16.h; cupy-cuda12x 12.3.0 is linked with libcublas.so.12; cupy-cuda12x 12.3.0 is linked with libcudart.so.12; cupy-cuda12x 12.3.0 is linked with \
         libcufft.so.11",
    );
    check_binaries(
        "ctranslate2",
        "CUDA 12.9, cublas 12.9.1.4, cuda-runtime 12.9.79; ctranslate2 4.8.5 opens libcublas.so.12",
    );
    check_binaries("numpy", "");
}

#[test]
fn a_wheel_with_variants_demands_what_is_served() {
    check_binaries(
        "variants & torch==2.6.0",
        "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127; variants 1.0 is linked with libcudart.so.12",
    );
    check_binaries(
        "variants & torch==2.11.0",
        "CUDA 13.0, cublas 13.1.0.3, cuda-runtime 13.0.96; variants 1.0 is linked with libcudart.so.13",
    );
    check_binaries(
        "variants",
        "CUDA 13.0, cuda-runtime 13.0.96; variants 1.0 is linked with libcudart.so.13",
    );
}

#[test]
fn a_version_for_another_cuda_is_passed_over_where_it_is_open() {
    let served = "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127; torchaudio 2.6.0 is linked with libcudart.so.12 | \
                  torchaudio 2.11.0 is built for CUDA 13 (libcudart.so.13), torch 2.6.0 serves CUDA 12: torchaudio \
                  2.6.0 is taken";
    check_binaries("torch==2.6.0 & torchaudio", served);
    check_binaries("torch==2.6.0 & torchaudio>=2", served);
    check_binaries("torch==2.6.0 & depends", served);
    check_binaries(
        "fused & torch",
        "CUDA 13.0, cublas 13.1.0.3, cuda-runtime 13.0.96; fused 1.0 is linked with libcudart.so.13",
    );
    check_binaries(
        "mover",
        "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127; mover 1.0 is linked with libcublas.so.12; mover 1.0 is \
         linked with libcudart.so.12 | mover 1.0 is built for CUDA 12 (nvidia-cuda-runtime-cu12), torch 2.11.0 serves \
         CUDA 13: torch 2.6.0 is taken",
    );
}

#[test]
fn no_pre_release_is_taken_for_its_cuda() {
    let torch = "CUDA 12.4, cublas 12.4.5.8, cuda-runtime 12.4.127";
    check_binaries("torch==2.6.0 & uses-early", torch);
    check_binaries(
        "torch==2.6.0 & early",
        "early 1.0 is built for CUDA 13 (libcudart.so.13), torch 2.6.0 serves CUDA 12",
    );
}

#[test]
fn a_version_for_another_cuda_is_refused_where_it_is_pinned() {
    check_binaries(
        "torch==2.6.0 & torchaudio==2.11.0",
        "torchaudio 2.11.0 is built for CUDA 13 (libcudart.so.13), torch 2.6.0 serves CUDA 12: torchaudio 2.6.0 fits",
    );
    check_binaries(
        "torch==2.6.0 & fused",
        "fused 1.0 is built for CUDA 13 (libcudart.so.13), torch 2.6.0 serves CUDA 12",
    );
    check_binaries(
        "stuck",
        "CUDA 12 and CUDA 13 are both needed in one process: stuck 1.0 needs nvidia-cuda-runtime-cu12, and torch → \
         nvidia-cublas==13.1.0.3; stuck/ext.so of stuck 1.0 is linked with libcudart.so.12, libcublas.so.12",
    );
}

const COMPILERS: &str = "
    app-1.0 : nvidia-cuda-runtime>=13.5 & nvidia-cuda-cccl & nvidia-nvjitlink
    compiler-1.0 : nvidia-cuda-nvcc>=13.5 & nvidia-cuda-crt & nvidia-cuda-runtime>=13.0
    old_compiler-1.0 : nvidia-cuda-nvcc>=13.5 & nvidia-nvvm & nvidia-cuda-runtime>=13.0
    nvidia_cuda_runtime-13.0.96
    nvidia_cuda_runtime-13.5.11
    nvidia_cuda_cccl-13.0.85
    nvidia_cuda_cccl-13.3.4.2.1
    nvidia_cuda_cccl-13.3.5.0.6
    nvidia_cuda_cccl-14.0.1
    nvidia_nvjitlink-13.4.92
    nvidia_nvjitlink-13.5.37
    nvidia_nvjitlink-13.6.1
    nvidia_cuda_nvcc-13.5.37
    nvidia_cuda_crt-13.4.92
    nvidia_nvvm-13.5.37
    nvidia_nvvm-13.0.88
";

#[test]
fn a_toolkits_minor_is_a_wish_where_no_release_has_it() {
    let resolution = resolve_from(COMPILERS, "", "app").unwrap();
    let because: Vec<String> = resolution
        .services
        .iter()
        .filter(|service| service.component.name() == "cuda-cccl")
        .flat_map(|service| service.demands.iter().map(ToString::to_string))
        .collect();
    assert!(
        because.contains(&"CUDA 13.5, for which 13.3.5.0.6 is the newest (>=13.3.5.0.6)".into()),
        "{because:?}"
    );
    let expected = "CUDA 13.5, cuda-cccl 13.3.5.0.6, cuda-runtime 13.5.11, nvjitlink 13.5.37";
    assert_eq!(told(Ok(resolution)), expected);
}

#[test]
fn a_compiler_needs_its_own_parts() {
    let told = |roots: &str| told(resolve_from(COMPILERS, "", roots));
    let refused = told("compiler");
    assert!(refused.contains("no version of `nvidia-cuda-crt` meets every demand"), "{refused}");
    assert_eq!(told("old_compiler"), "CUDA 13.0, cuda-nvcc 13.5.37, cuda-runtime 13.0.96, nvvm 13.5.37");
}

const SIBLINGS: &str = "
    torch-2.15.0 : nvidia-cublas>=13.1 & nvidia-nccl-cu13==2.30.7 & nvidia-cuda-runtime>=13.0
    torch-2.8.0 : nvidia-nccl-cu12==2.27.3 & nvidia-cuda-runtime-cu12==12.8.90
    xgboost-3.1.0 : nvidia-nccl-cu12
    booster-1.0 : nvidia-nccl-cu12>=2.29 & nvidia-cudnn-cu12>=9.8,<10
    process-1.0 : torch>=2.15 & nvidia-nccl-cu12
    linked-1.0 : torch>=2.15 & nvidia-nccl-cu12
    binary linked-1.0 linked/ext.so libcublas.so.12 libnccl.so.2
    newer-1.0 : nvidia-nccl-cu12>=2.31
    future-1.0 : nvidia-nccl-cu13>=2.29
    nvidia_nccl_cu12-2.27.3
    nvidia_nccl_cu12-2.32.3
    nvidia_nccl_cu13-2.30.7
    nvidia_nccl_cu13-2.32.0
    nvidia_cudnn_cu12-9.9.0
    nvidia_cudnn_cu13-9.12.0
    nvidia_cublas-13.1.0.3
    nvidia_cuda_runtime-13.0.96
    nvidia_cuda_runtime_cu12-12.8.90
    nvidia_cublas_cu12-12.8.4.1
";

#[test]
fn one_copy_serves_two_majors_where_nothing_else_of_one_is_needed() {
    let check = |roots: &str, expected: &str| assert_eq!(told(resolve_from(SIBLINGS, "", roots)), expected);
    let served = "CUDA 13.0, cublas 13.1.0.3, cuda-runtime 13.0.96, ";
    check("torch & xgboost", &format!("{served}sibling nccl 2.30.7, nccl 2.30.7"));
    check("process", &format!("{served}sibling nccl 2.30.7, nccl 2.30.7"));
    check(
        "torch & booster",
        &format!("{served}sibling cudnn 9.12.0, cudnn 9.12.0, sibling nccl 2.30.7, nccl 2.30.7"),
    );
    check("torch & newer", &format!("{served}sibling nccl 2.32.0, nccl 2.32.0"));
    check("torch==2.8.0 & future", "CUDA 12.8, cuda-runtime 12.8.90, nccl 2.32.3, sibling nccl 2.32.3");
    check("xgboost & torch==2.8.0", "CUDA 12.8, cuda-runtime 12.8.90, nccl 2.27.3");
    check(
        "linked",
        "CUDA 12 and CUDA 13 are both needed in one process: linked 1.0 needs nvidia-nccl-cu12, and torch → \
         nvidia-cublas>=13.1; linked/ext.so of linked 1.0 is linked with libcublas.so.12, libnccl.so.2",
    );
}

#[test]
fn the_cuda_whose_runtime_is_used_stands_first() {
    let wheels = "
        torch-2.15.0 : nvidia-cublas>=13.1 & nvidia-cuda-runtime>=13.0
        compiling-1.0 : nvidia-cuda-nvrtc-cu12
        nvidia_cublas-13.1.0.3
        lib nvidia_cublas-13.1.0.3 libcublas.so.13
        nvidia_cuda_runtime-13.0.96
        nvidia_cuda_runtime_cu12-12.9.79
        nvidia_cuda_nvrtc_cu12-12.9.86
        lib nvidia_cuda_nvrtc_cu12-12.9.86 libnvrtc.so.12
    ";
    let check = |roots: &str, expected: &str| {
        let told = told(resolve_from(wheels, "", roots));
        assert!(told.starts_with(expected), "{told}");
    };
    check("torch & compiling", "CUDA 13.0, CUDA 12.9, cublas 13.1.0.3, cuda-nvrtc 12.9.86");
    check("compiling", "CUDA 12.9, cuda-nvrtc 12.9.86");
}

#[test]
fn what_a_metapackage_asks_for_is_private_too() {
    let resolution = resolved("torch==2.11.0", Policy::Shared).unwrap();
    let torch = resolution.distributions.iter().find(|it| it.name.as_ref() == "torch").unwrap();
    let Role::Package { private } = &torch.role else { panic!("torch is a package") };
    let told: Vec<String> = private
        .iter()
        .map(|it| {
            format!("{} {}", it.distribution, it.pinned.as_ref().map(Version::to_string).unwrap_or_default())
        })
        .collect();
    assert_eq!(told, ["cuda-toolkit 13.0.2", "nvidia-cublas 13.1.0.3", "nvidia-cuda-runtime 13.0.96"]);
}

//! Resolution against small catalogs in memory: whose demands are met by which version of a component.

use super::solve::tests::Shelf;
use super::*;

const TORCH: &str = "
    torch-2.6.0 : nvidia-cublas-cu12==12.4.5.8 & nvidia-cuda-runtime-cu12==12.4.127 & nvidia-cudnn-cu12==9.1.0.70
    torch-2.3.1 : nvidia-cuda-runtime-cu12==12.1.105 & nvidia-cudnn-cu12==8.9.2.26
    torch-2.11.0 : cuda-toolkit[cublas]==13.0.2
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

fn resolved(frameworks: &str, components: Components) -> Result<Resolution, ResolveError> {
    let shelf = Shelf::new(&[TORCH, TENSORFLOW, JAX, WHEELS].concat());
    let target = Target::new("3.11.2", Machine::X86_64, (2, 36)).unwrap();
    let requirements: Vec<Requirement> = frameworks.split(" & ").map(|text| text.parse().unwrap()).collect();
    let request = Request {
        target: &target,
        components,
        frameworks: requirements.iter().map(|requirement| requirement.name.clone()).collect(),
        roots: requirements
            .into_iter()
            .map(|requirement| Root { requirement, source: "the recipe".into() })
            .collect(),
        constraints: Vec::new(),
        exclude_newer: None,
        preferences: Preferences::new(),
    };
    resolve(&request, &shelf)
}

/// The toolkit and each component's version; `+` before libraries that stand beside another SONAME.
fn told(result: Result<Resolution, ResolveError>) -> String {
    let resolution = match result {
        Ok(resolution) => resolution,
        Err(error) => return error.to_string(),
    };
    let toolkit = resolution.toolkit.map(|toolkit| format!("CUDA {toolkit}"));
    let components = resolution.distributions.iter().filter_map(|distribution| match distribution.role {
        Role::Component { component, place: ComponentPlace::Whole, .. } => {
            Some(format!("{component} {}", distribution.version))
        }
        Role::Component { component, .. } => Some(format!("+{component} {}", distribution.version)),
        _ => None,
    });
    toolkit.into_iter().chain(components).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(frameworks: &str, expected: &str) {
    assert_eq!(told(resolved(frameworks, Components::Shared)), expected);
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
    let explicit = told(resolved("tensorflow==2.15.0 & tensorrt", Components::Shared));
    assert!(explicit.contains("tensorrt"), "{explicit}");
}

#[test]
fn two_majors_are_refused_with_who_needs_them() {
    let refused = told(resolved("torch==2.11.0 & tensorflow==2.18.0", Components::Shared));
    assert!(refused.contains("CUDA 12 and CUDA 13"), "{refused}");
    assert!(refused.contains("tensorflow 2.18.0") && refused.contains("torch 2.11.0"), "{refused}");
}

#[test]
fn a_demand_that_nothing_meets_is_refused_with_all_the_demands() {
    let refused = told(resolved("torch==2.6.0 & nvidia-cudnn-cu12>=10", Components::Shared));
    assert!(refused.contains("nvidia-cudnn-cu12"), "{refused}");
}

#[test]
fn metadata_is_relaxed_where_it_pins() {
    let resolution = resolved("torch==2.6.0 & jax==0.4.26", Components::Shared).unwrap();
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
    let refused = told(resolved("torch==2.6.0 & tensorflow==2.18.0", Components::Pip));
    assert!(refused.contains("nvidia-c") && refused.contains("torch 2.6.0"), "{refused}");
    assert_eq!(told(resolved("torch==2.6.0", Components::Pip)), "");
}

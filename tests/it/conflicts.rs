//! The combinations of frameworks that exclude each other by their CUDA pins, on recorded index metadata: shared, they
//! all get a consistent set; as pip would have it, they are refused, and the refusal names pins that do exclude each
//! other.
//!
//! What is chosen is below `recorded/choices`; `INSTA_UPDATE=always` writes it anew, for the review.

use imgforge::oci::Architecture;
use imgforge::oci::time::unix_seconds;
use imgforge::pypa::metadata::Requirement;
use imgforge::pypa::target::Target;
use imgforge::recipe::Policy;
use imgforge::resolve::ResolveError;
use imgforge::resolve::solve::{Conflict, Required, Requirer, SolveError};
use pubgrub::Ranges;
use uv_pep440::VersionSpecifiers;

use crate::support::consistency::Judge;
use crate::support::culprit::{Witness, told};
use crate::support::record::Record;
use crate::support::resolution::{self, Installed, Part, Resolved};

/// A combination of frameworks.
pub struct Combination {
    /// The Python that all of them have wheels for.
    pub python: &'static str,
    /// As a recipe has them, separated by ` & `.
    pub frameworks: &'static str,
}

/// Declares combinations: a test of each, which calls a check with the combination and what follows it.
macro_rules! combinations {
    ($($(#[$attribute:meta])* $name:ident: $python:literal $frameworks:literal $check:ident($($expected:expr),*);)*) => {
        /// Every combination that is tested, for the recorder.
        pub const COMBINATIONS: &[Combination] =
            &[$(Combination { python: $python, frameworks: $frameworks }),*];
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                let combination = Combination { python: $python, frameworks: $frameworks };
                $check(&combination, stringify!($name), $($expected),*);
            }
        )*
    };
}

combinations! {
    torch_2_2_1_jax_0_4_25: "3.10.12" "torch==2.2.1 & jax[cuda12]==0.4.25"
        excludes_itself("nvidia-cusparse-cu12: torch ==12.1.0.106 & jax[cuda12] >=12.2.0.103");
    torch_2_2_1_jax_0_4_23: "3.10.12" "torch==2.2.1 & jax[cuda12]==0.4.23"
        excludes_itself("nvidia-cusparse-cu12: torch ==12.1.0.106 & jax[cuda12] >=12.1.2.141");
    torch_2_3_1_jax_0_4_30: "3.10.12" "torch==2.3.1 & jax[cuda12]==0.4.30"
        excludes_itself("nvidia-cudnn-cu12: torch ==8.9.2.26 & jax-cuda12-plugin[with-cuda] >=9.0, <10.0");
    torch_2_4_0_jax_0_4_26: "3.10.12" "torch==2.4.0 & jax[cuda12]==0.4.26"
        excludes_itself("nvidia-cudnn-cu12: torch ==9.1.0.70 & jax[cuda12] >=8.9.2.26, <9.0");
    torch_2_4_1_tensorflow_2_17_0: "3.10.12" "torch==2.4.1 & tensorflow[and-cuda]==2.17.0"
        excludes_itself("nvidia-nccl-cu12: torch ==2.20.5 & tensorflow[and-cuda] ==2.19.3");
    torch_2_6_0_tensorflow_2_18_0: "3.11.11" "torch==2.6.0 & tensorflow[and-cuda]==2.18.0"
        excludes_itself("nvidia-nvjitlink-cu12: torch ==12.4.127 & tensorflow[and-cuda] ==12.5.82");
    torch_2_6_0_tensorflow_2_20_0: "3.11.11" "torch==2.6.0 & tensorflow[and-cuda]==2.20.0"
        excludes_itself("nvidia-nvjitlink-cu12: torch ==12.4.127 & tensorflow[and-cuda] >=12.5.82, <13.0");
    torch_2_6_0_jax_0_6_0: "3.11.11" "torch==2.6.0 & jax[cuda12]==0.6.0"
        excludes_itself("nvidia-cudnn-cu12: torch ==9.1.0.70 & jax-cuda12-plugin[with-cuda] >=9.8, <10.0");
    torch_2_7_1_jax_0_7_2: "3.11.11" "torch==2.7.1 & jax[cuda12]==0.7.2"
        excludes_itself("nvidia-cudnn-cu12: torch ==9.5.1.17 & jax-cuda12-plugin[with-cuda] >=9.8, <10.0");
    torch_2_8_0_tensorflow_2_19_0: "3.11.11" "torch==2.8.0 & tensorflow[and-cuda]==2.19.0"
        excludes_itself("nvidia-nvjitlink-cu12: torch ==12.8.93 & tensorflow[and-cuda] ==12.5.82");
    tensorflow_2_19_0_jax_0_6_0: "3.11.11" "tensorflow[and-cuda]==2.19.0 & jax[cuda12]==0.6.0"
        excludes_itself("nvidia-cudnn-cu12: jax-cuda12-plugin[with-cuda] >=9.8, <10.0 & tensorflow[and-cuda] ==9.3.0.75");
    torch_2_10_0_tensorflow_2_21_0: "3.12.12" "torch==2.10.0 & tensorflow[and-cuda]==2.21.0"
        excludes_itself("nvidia-nccl-cu12: torch ==2.27.5 & tensorflow[and-cuda] >=2.27.7, <3.0");
    torch_2_2_1_jax_0_4_26_tensorflow_2_15_0:
        "3.10.12" "torch==2.2.1 & jax[cuda12]==0.4.26 & tensorflow[and-cuda]==2.15.0"
        excludes_itself("nvidia-nccl-cu12: torch ==2.19.3 & tensorflow[and-cuda] ==2.16.5");
    torch_2_6_0_tensorflow_2_18_0_jax_0_5_2:
        "3.11.11" "torch==2.6.0 & tensorflow[and-cuda]==2.18.0 & jax[cuda12]==0.5.2"
        excludes_itself("nvidia-nvjitlink-cu12: torch ==12.4.127 & tensorflow[and-cuda] ==12.5.82");
    torch_2_8_0_tensorflow_2_19_0_jax_0_5_3:
        "3.11.11" "torch==2.8.0 & tensorflow[and-cuda]==2.19.0 & jax[cuda12]==0.5.3"
        excludes_itself("nvidia-nvjitlink-cu12: torch ==12.8.93 & tensorflow[and-cuda] ==12.5.82");
    torch_2_2_1_jax_0_4_26: "3.10.12" "torch==2.2.1 & jax[cuda12]==0.4.26"
        agrees();
    torch_2_5_1_jax_0_4_38: "3.11.11" "torch==2.5.1 & jax[cuda12]==0.4.38"
        agrees();
    torch_2_10_0_tensorflow_2_20_0_jax_0_8_0:
        "3.12.12" "torch==2.10.0 & tensorflow[and-cuda]==2.20.0 & jax[cuda12]==0.8.0"
        agrees();
    torch_2_15_0_tensorflow_2_21_0_jax: "3.12.12" "torch==2.15.0 & tensorflow[and-cuda]==2.21.0 & jax[cuda13]"
        agrees_on_two_majors();
    torch_2_11_0_tensorflow_2_21_0_jax: "3.12.12" "torch==2.11.0 & tensorflow[and-cuda]==2.21.0 & jax[cuda13]"
        agrees_on_two_majors();
    tensorflow_2_18_0_jax_0_6_0: "3.11.11" "tensorflow[and-cuda]==2.18.0 & jax[cuda12]==0.6.0"
        excludes_itself_whatever_cuda_does("ml-dtypes: jax >=0.5.0 & tensorflow >=0.4.0, <0.5.0");
}

/// The moment of the record.
pub fn moment() -> i64 {
    unix_seconds("2026-11-20T00:00:00Z").unwrap()
}

/// The target of the record: Debian 12's glibc.
pub fn target(python: &str) -> Target {
    Target::new(python, Architecture::Amd64, (2, 36)).unwrap()
}

/// Shared, the combination has a consistent set; as pip would have it, `conflict` is in the way.
#[track_caller]
fn excludes_itself(combination: &Combination, name: &str, conflict: &str) {
    check_refusal(combination, Policy::Pip, conflict);
    check_choice(combination, Policy::Shared, name);
}

/// The combination has a consistent set under either policy.
#[track_caller]
fn agrees(combination: &Combination, name: &str) {
    check_choice(combination, Policy::Pip, &format!("{name}_pip"));
    check_choice(combination, Policy::Shared, name);
}

/// As [`agrees`], and both CUDA majors are served, as pip would install both.
#[track_caller]
fn agrees_on_two_majors(combination: &Combination, name: &str) {
    check_choice(combination, Policy::Pip, &format!("{name}_pip"));
    let resolved = check_choice(combination, Policy::Shared, name);
    let majors: Vec<&str> =
        resolved.toolkits.iter().filter_map(|version| version.split('.').next()).collect();
    assert_eq!(majors, ["12", "13"]);
}

/// `conflict`, which is not about CUDA, is in the way under either policy.
#[track_caller]
fn excludes_itself_whatever_cuda_does(combination: &Combination, _: &str, conflict: &str) {
    check_refusal(combination, Policy::Pip, conflict);
    check_refusal(combination, Policy::Shared, conflict);
}

#[track_caller]
fn check_choice(combination: &Combination, policy: Policy, name: &str) -> Resolved {
    let (record, target) = (Record::default(), target(combination.python));
    let resolved = resolution::resolve(combination.frameworks, &target, moment(), policy, &record);
    let resolved = resolved.unwrap_or_else(|error| panic!("{}: {error}", combination.frameworks));
    let roots = resolution::requirements(combination.frameworks);
    let judge = Judge { record: &record, target: &target, roots: &roots, exclude_newer: moment(), policy };
    let faults = judge.faults(&resolved);
    assert!(faults.is_empty(), "{}: {faults:#?}", combination.frameworks);
    insta::with_settings!({
        snapshot_path => "recorded/choices",
        prepend_module_to_snapshot => false,
        omit_expression => true,
        description => format!("{} on Python {}", combination.frameworks, combination.python),
    }, {
        insta::assert_snapshot!(name, listed(&resolved));
    });
    resolved
}

#[track_caller]
fn check_refusal(combination: &Combination, policy: Policy, expected: &str) {
    let (record, target) = (Record::default(), target(combination.python));
    let refused = resolution::resolve(combination.frameworks, &target, moment(), policy, &record).err();
    let Some(ResolveError::Solve(SolveError::NoSolution { explanation })) = refused else {
        panic!("{} is not refused by the solver: {refused:?}", combination.frameworks);
    };
    let conflicts: Vec<String> = explanation.conflicts.iter().map(told).collect();
    assert_eq!(conflicts, [expected], "{}", combination.frameworks);
    let roots = resolution::requirements(combination.frameworks);
    let witness = Witness { record: &record, target: &target, roots: &roots };
    for conflict in &explanation.conflicts {
        assert_eq!(witness.faults(conflict), Vec::<String>::new(), "{}", explanation.text);
        assert!(explanation.text.contains(conflict.project.as_str()), "{}", explanation.text);
    }
}

/// The installed distributions, a line each, components first: in a toolkit's tree, or `beside` another SONAME in it.
fn listed(resolved: &Resolved) -> String {
    let toolkits = resolved.toolkits.iter().map(|version| format!("CUDA {version}\n"));
    let lines = |part: fn(Part) -> Option<&'static str>| {
        resolved.installed.iter().filter_map(move |installed| {
            let place = part(installed.part)?;
            Some(format!("{place}{} {}\n", installed.name, installed.version))
        })
    };
    let components = lines(|part| match part {
        Part::Component { visible: true, .. } => Some("  "),
        Part::Component { visible: false, .. } => Some("  beside: "),
        Part::Metapackage => Some("  names only: "),
        Part::Package => None,
    });
    let packages = lines(|part| (part == Part::Package).then_some(""));
    toolkits.chain(components).chain(packages).collect()
}

#[test]
fn a_framework_gets_its_cuda_extra_by_itself() {
    let (record, target) = (Record::default(), target("3.11.11"));
    let resolved = |frameworks| {
        listed(&resolution::resolve(frameworks, &target, moment(), Policy::Shared, &record).unwrap())
    };
    assert_eq!(
        resolved("torch==2.6.0 & tensorflow==2.18.0 & jax==0.5.2"),
        resolved("torch==2.6.0 & tensorflow[and-cuda]==2.18.0 & jax[cuda12]==0.5.2"),
    );
}

/// The judge finds `expected`, without markers, in a sound resolution that `spoil` made unsound.
#[track_caller]
fn check_judge(spoil: impl FnOnce(&mut Vec<Installed>), expected: &[&str]) {
    let frameworks = "torch==2.6.0 & tensorflow[and-cuda]==2.18.0 & jax[cuda12]==0.5.2";
    let (record, target) = (Record::default(), target("3.11.11"));
    let policy = Policy::Shared;
    let mut resolved = resolution::resolve(frameworks, &target, moment(), policy, &record).unwrap();
    let roots = resolution::requirements(frameworks);
    let judge = Judge { record: &record, target: &target, roots: &roots, exclude_newer: moment(), policy };
    spoil(&mut resolved.installed);
    let faults = judge.faults(&resolved);
    let faults: Vec<&str> = faults.iter().filter_map(|fault| fault.split(" ;").next()).collect();
    assert_eq!(faults, expected);
}

fn find<'a>(installed: &'a mut [Installed], name: &str) -> &'a mut Installed {
    installed.iter_mut().find(|installed| installed.name.as_str() == name).unwrap()
}

fn remove(installed: &mut Vec<Installed>, name: &str) {
    installed.retain(|installed| installed.name.as_str() != name);
}

/// Makes another recorded version of what is installed as its name.
fn become_version(installed: &mut Installed, version: &str) {
    let wheels = Record::default().wheels(&installed.name);
    let mut wheels = wheels.into_iter().filter_map(|(file, metadata)| Some((file, metadata?)));
    let (wheel, metadata) = wheels.find(|(file, _)| file.filename.version.to_string() == version).unwrap();
    (installed.version, installed.wheel, installed.metadata) = (metadata.version.clone(), wheel, metadata);
}

#[test]
fn the_judge_misses_what_is_not_installed() {
    check_judge(
        |installed| remove(installed, "nvidia-cusparselt-cu12"),
        &[
            "nothing meets that torch 2.6.0 requires nvidia-cusparselt-cu12==0.6.2",
            "pip sees that torch 2.6.0 requires nvidia-cusparselt-cu12>=0.6.2,<1",
        ],
    );
    check_judge(
        |installed| remove(installed, "namex"),
        &["nothing meets that keras 3.15.1 requires namex", "pip sees that keras 3.15.1 requires namex"],
    );
}

#[test]
fn the_judge_sees_what_is_too_old_or_too_new() {
    check_judge(
        |installed| become_version(find(installed, "nvidia-nccl-cu12"), "2.20.5"),
        &[
            "nothing meets that tensorflow 2.18.0 requires nvidia-nccl-cu12==2.21.5",
            "nothing meets that torch 2.6.0 requires nvidia-nccl-cu12==2.21.5",
            "pip sees that tensorflow 2.18.0 requires nvidia-nccl-cu12>=2.21.5,<3",
            "pip sees that torch 2.6.0 requires nvidia-nccl-cu12>=2.21.5,<3",
        ],
    );
    check_judge(
        |installed| become_version(find(installed, "nvidia-cudnn-cu12"), "8.9.7.29"),
        &[
            "nothing meets that jax-cuda12-plugin 0.5.1 requires nvidia-cudnn-cu12>=9.1,<10.0",
            "nothing meets that tensorflow 2.18.0 requires nvidia-cudnn-cu12==9.3.0.75",
            "nothing meets that torch 2.6.0 requires nvidia-cudnn-cu12==9.1.0.70",
            "pip sees that jax-cuda12-plugin 0.5.1 requires nvidia-cudnn-cu12>=9.1,<10.0",
            "pip sees that tensorflow 2.18.0 requires nvidia-cudnn-cu12>=9.3.0.75,<10",
            "pip sees that torch 2.6.0 requires nvidia-cudnn-cu12>=9.1.0.70,<10",
        ],
    );
    check_judge(
        |installed| become_version(find(installed, "ml-dtypes"), "0.5.0"),
        &[
            "ml-dtypes 0.5.0 has a wheel for another target",
            "nothing meets that tensorflow 2.18.0 requires ml-dtypes>=0.4.0,<0.5.0",
            "pip sees that tensorflow 2.18.0 requires ml-dtypes>=0.4.0,<0.5.0",
        ],
    );
}

#[test]
fn the_judge_counts_how_often_a_component_is_served() {
    check_judge(
        |installed| {
            let part = Part::Component { name: "nccl", visible: false };
            let nccl = find(installed, "nvidia-nccl-cu12").clone();
            installed.push(Installed { part, ..nccl });
        },
        &["nccl of SONAME 2 in CUDA 12 is there twice"],
    );
}

#[test]
fn the_judge_wants_a_reason_for_everything() {
    check_judge(
        |installed| {
            let mut idle = find(installed, "six").clone();
            idle.name = "oauthlib".parse().unwrap();
            become_version(&mut idle, "4.0.1");
            installed.push(idle);
        },
        &["oauthlib 4.0.1 is required by nothing"],
    );
}

#[test]
fn the_judge_holds_what_pip_sees_against_what_is_there() {
    check_judge(
        |installed| find(installed, "tensorflow").relaxed.clear(),
        &["pip sees that tensorflow 2.18.0 requires nvidia-cuda-nvcc-cu12==12.5.82"],
    );
    check_judge(
        |installed| {
            let relaxed = &mut find(installed, "keras").relaxed;
            relaxed.insert("namex".into(), "namex<1".into());
        },
        &["keras 3.15.1: namex was relaxed to namex<1"],
    );
}

/// Checks the witness on a conflict over `project` of torch 2.6.0 and TensorFlow 2.18.0. Each of
/// `requirements` is who requires it, of which version, and what is said to be allowed.
#[track_caller]
fn check_witness(project: &str, requirements: &[(&str, &str, &str)], expected: &[&str]) {
    let (record, target) = (Record::default(), target("3.11.11"));
    let roots = resolution::requirements("torch==2.6.0 & tensorflow[and-cuda]==2.18.0");
    let witness = Witness { record: &record, target: &target, roots: &roots };
    let ranges = |text: &str| Ranges::from(text.parse::<VersionSpecifiers>().unwrap());
    let required = |&(by, versions, allowed): &(&str, &str, &str)| {
        let by: Requirement = by.parse().unwrap();
        let (name, extra) = (by.name, by.extras.first().cloned());
        let by = Requirer::Distribution { name, extra, versions: ranges(versions) };
        Required { by, allowed: ranges(allowed) }
    };
    let requirements = requirements.iter().map(required).collect();
    let conflict = Conflict { project: project.parse().unwrap(), requirements };
    assert_eq!(witness.faults(&conflict), expected);
}

#[test]
fn the_witness_knows_the_wrong_culprits() {
    let project = "nvidia-nvjitlink-cu12";
    let torch = ("torch", "==2.6.0", "==12.4.127");
    let tensorflow = ("tensorflow[and-cuda]", "==2.18.0", "==12.5.82");
    check_witness(project, &[torch, tensorflow], &[]);
    check_witness(project, &[torch], &["nvidia-nvjitlink-cu12 is required by less than two"]);
    check_witness(project, &[torch, torch], &["all allow nvidia-nvjitlink-cu12 12.4.127"]);
    check_witness(project, &[torch, ("jax[cuda12]", "==0.5.3", "==12.5.82")], &["nothing leads to jax"]);
    let other_extra = ("tensorflow[gcs]", "==2.18.0", "==12.5.82");
    check_witness(project, &[torch, other_extra], &["nothing leads to that extra of tensorflow"]);
    let other_version = ("torch", "==2.5.1", "==12.4.127");
    check_witness(project, &[other_version, tensorflow], &["torch 2.6.0 may be installed instead"]);
    let other_pin = ("torch", "==2.6.0", "==12.4.99");
    check_witness(project, &[other_pin, tensorflow], &["torch 2.6.0 allows nvidia-nvjitlink-cu12 12.4.127"]);
    let all = ("tensorflow", "==2.18.0", "==12.5.82");
    check_witness(project, &[torch, all], &["tensorflow 2.18.0 allows nvidia-nvjitlink-cu12 *"]);
}

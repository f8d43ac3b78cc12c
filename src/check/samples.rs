//! One finding of every kind, for tests.

use super::loader::{Search, Searched};
use super::observation::{
    Absence, ComponentOf, Deviation, ExpectedIn, LoadChain, LoadedFor, MajorOf, Mismatch, MissingName,
    MissingOfConfig, ModuleFault, Sample, ServingCopy,
};
use super::{About, DistributionId, Finding, Level, Observation};
use crate::cuda::{Component, Driver, PtxVersion};

fn distribution(name: &str, version: &str) -> DistributionId {
    DistributionId { name: name.parse().unwrap(), version: version.parse().unwrap() }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn component(name: &str) -> Component {
    Component::named(name).unwrap()
}

fn chain() -> LoadChain {
    let objects = texts(&["/demo/core.so", "/demo/lib.so"]);
    LoadChain { distribution: Some(distribution("demo", "1.0")), objects }
}

fn cudnn() -> ServingCopy {
    let version = Some("9.8.0".parse().unwrap());
    ServingCopy { component: component("cudnn"), version, directory: "/usr/lib".to_owned() }
}

fn searched() -> Vec<Searched> {
    let search = |by, directories| Searched { by, directories: texts(directories) };
    vec![search(Search::Runpath, &["/demo"]), search(Search::Cache, &[]), search(Search::Default, &["/lib"])]
}

fn missing(names: &[&str]) -> Observation {
    let refused = |name: &str| name.ends_with("cc.so.1").then(|| format!("/lib/{name}"));
    let missing = names.iter().map(|name| MissingName { name: (*name).to_owned(), refused: refused(name) });
    Observation::MissingLibraries { chain: chain(), missing: missing.collect(), searched: searched() }
}

fn absence(file: &str) -> Absence {
    Absence { file: file.to_owned(), directories: texts(&["/usr/local/cuda", "/opt"]) }
}

fn old_driver(driver: &str, toolkit: (u32, u32)) -> Observation {
    let driver: Driver = driver.parse().unwrap();
    Observation::OldDriver { fit: driver.fit(toolkit), driver, toolkit }
}

fn missing_gpu(gpu: &str, users: Vec<DistributionId>, other_version: Option<&str>) -> Observation {
    Observation::MissingGpu {
        gpu: gpu.parse().unwrap(),
        library: "/demo/libdemo.so".to_owned(),
        compiled_for: ["7.5", "9.0a"].map(|target| target.parse().unwrap()).into(),
        ptx_for_newer: users.is_empty(),
        users,
        other_version: other_version.map(|version| version.parse().unwrap()),
    }
}

fn of_loader() -> Vec<Observation> {
    vec![
        missing(&["libz.so.1", "libcc.so.1"]),
        missing(&["libcufft.so.11"]),
        Observation::MissingCompiler {
            distribution: distribution("demo", "1.0"),
            names: texts(&["libnvrtc.so.11.2", "libnvrtc.so.12"]),
            searched: searched(),
        },
        Observation::MissingVersion {
            chain: chain(),
            version: "GLIBC_2.38".to_owned(),
            library: "libc.so.6".to_owned(),
            found: "/lib/libc.so.6".to_owned(),
        },
        Observation::MissingSymbols {
            chain: LoadChain { distribution: None, ..chain() },
            symbols: Sample::of((0..30).map(|index| format!("nccl{index}")).collect()).unwrap(),
            expected_in: Some(ExpectedIn {
                library: "/lib/libnccl.so.2".to_owned(),
                found_by: Search::Cache,
            }),
            linked_with: Vec::new(),
        },
        Observation::MissingSymbols {
            chain: chain(),
            symbols: Sample::of(texts(&["_ZN2at4_ops14conv1d_padding4callE"])).unwrap(),
            expected_in: None,
            linked_with: vec![distribution("torch", "2.6.0")],
        },
        Observation::LoaderCache { reason: "the cache is for big-endian machines".to_owned() },
        Observation::DamagedInterpreter,
    ]
}

fn of_cuda() -> Vec<Observation> {
    let requirement = || "nvidia-cudnn-cu12==9.10.2.21".to_owned();
    let of =
        |name: &str, library: &str| ComponentOf { component: component(name), library: library.to_owned() };
    let major = |major, library: &str| MajorOf { major, library: library.to_owned() };
    let loaded =
        |file: &str, name| LoadedFor { file: file.to_owned(), distribution: distribution(name, "2.0") };
    let builtins = |beside: &[&str]| Observation::NvrtcBuiltins {
        nvrtc: (12, 4),
        expected: "libnvrtc-builtins.so.12.4".to_owned(),
        beside: texts(beside),
    };
    vec![
        Observation::MissingComponent { requirement: requirement(), component: component("cudnn") },
        Observation::OldComponent { requirement: requirement(), copy: cudnn() },
        Observation::OtherSoname {
            object: "/demo/core.so".to_owned(),
            names: texts(&["libcudnn.so.8"]),
            copy: ServingCopy { version: None, ..cudnn() },
            searched: searched(),
        },
        Observation::TwoMajors {
            majors: vec![major(11, "/a/libcublas.so.11"), major(12, "/b/libcublas.so.12")],
        },
        Observation::MixedCopies {
            of_pip: of("cublas", "/a/libcublas.so.12"),
            of_system: of("cufft", "/b/libcufft.so.11"),
        },
        Observation::MixedCudnn {
            directory: "/usr/lib".to_owned(),
            part: "libcudnn_ops.so.9".to_owned(),
            found_in: "/opt".to_owned(),
        },
        Observation::DuplicateSoname {
            files: vec![loaded("/a/libnccl.so.2", "torch"), loaded("/b/libnccl.so.2", "jax")],
        },
        builtins(&[]),
        builtins(&["libnvrtc-builtins.so.12.2"]),
        Observation::DriverFromImage { file: "/usr/local/cuda/compat/libcuda.so.1".to_owned() },
        Observation::DriverPath { directory: "/usr/local/nvidia/lib64".to_owned() },
        old_driver("470.57.02", (12, 4)),
        old_driver("530.30.02", (12, 4)),
        old_driver("580.65.06", (13, 9)),
        missing_gpu("V100", Vec::new(), Some("2.6.0")),
        missing_gpu("7.0", vec![distribution("torch", "2.15.0"), distribution("jax", "0.7.0")], None),
        Observation::OldDriverForPtx {
            driver: "550.54.15".parse().unwrap(),
            gpu: "B200".parse().unwrap(),
            ptx: PtxVersion { major: 8, minor: 8 },
            oldest: "575.51.03".parse().unwrap(),
        },
        Observation::NoPtxas(absence("bin/ptxas")),
        Observation::NoLibdevice(absence("nvvm/libdevice/libdevice.10.bc")),
        Observation::NoHeaders(absence("cuda.h")),
    ]
}

fn of_pip() -> Vec<Observation> {
    let mismatch = |file: &str, is| Mismatch { file: file.to_owned(), is };
    vec![
        Observation::UnmetRequirement {
            requirement: "numpy>=2".to_owned(),
            name: "numpy".parse().unwrap(),
            installed: Some("1.26.4".parse().unwrap()),
        },
        Observation::UnmetExtra {
            requirement: "jax[cuda12]".to_owned(),
            further: "nvidia-cublas-cu12>=12".to_owned(),
            name: "nvidia-cublas-cu12".parse().unwrap(),
            installed: None,
        },
        Observation::RecordMismatch {
            files: Sample::of(vec![
                mismatch("/a.py", Deviation::OtherHash),
                mismatch("/b.py", Deviation::OtherSize),
                mismatch("/c.py", Deviation::Missing),
            ])
            .unwrap(),
        },
        Observation::FileCollision {
            paths: Sample::of(texts(&["/a.so", "/b.so"])).unwrap(),
            others: vec![distribution("other", "1.0"), distribution("third", "3.0")],
            winner: Some(distribution("other", "1.0")),
        },
        Observation::WheelTag {
            tags: texts(&["cp310-cp310-win_amd64", "cp310-none-any"]),
            python: "3.11".to_owned(),
            glibc: "2.36".to_owned(),
        },
    ]
}

fn of_files() -> Vec<Observation> {
    let writable = |mode: &str, directory| Observation::WorldWritable { mode: mode.to_owned(), directory };
    vec![
        Observation::DamagedFile { reason: "it is cut short".to_owned() },
        Observation::SetUserId { mode: "4755".to_owned() },
        writable("0777", true),
        writable("0666", false),
        Observation::BrokenLink { target: "gone".to_owned() },
    ]
}

fn of_python() -> Vec<Observation> {
    let sample = |all: &[&str]| Sample::of(texts(all)).unwrap();
    let module = |fault, imported_by: Option<&str>| Observation::MissingModule {
        module: "demo.core".to_owned(),
        imported_by: imported_by.map(str::to_owned),
        fault,
    };
    let failed =
        |error: &str| Observation::FailedImport { module: "demo".to_owned(), error: error.to_owned() };
    let file = || "/demo/core.so".to_owned();
    let reason = Some("it is cut short".to_owned());
    vec![
        Observation::MissingLoader {
            loader: "/lib64/ld.so".to_owned(),
            programs: sample(&["/bin/a", "/bin/b"]),
        },
        Observation::NoStandardLibrary {
            module: "encodings".to_owned(),
            directories: texts(&["/usr/lib/python3.11"]),
        },
        Observation::BrokenInterpreter {
            target: "python3.12".to_owned(),
            instead: "/usr/bin/python3".to_owned(),
        },
        Observation::UnfoundPackages {
            names: sample(&["requests", "six"]),
            interpreter: "/usr/bin/python3".to_owned(),
        },
        module(ModuleFault::NotFound, Some("/demo/__init__.py")),
        module(ModuleFault::Gone { file: file() }, None),
        module(ModuleFault::OtherInterpreter { file: file() }, None),
        module(ModuleFault::OtherMachine { file: file() }, None),
        module(ModuleFault::NotLoadable { file: file(), reason }, None),
        module(ModuleFault::NotLoadable { file: file(), reason: None }, None),
        module(ModuleFault::NotReadable { file: file(), user: "app".to_owned() }, None),
        failed("ModuleNotFoundError: No module named 'extra.core'"),
        failed("ImportError: libdemo.so.1: cannot open shared object file: No such file or directory"),
        failed("ValueError: no"),
        Observation::MissingOpened {
            file: "/demo/__init__.py".to_owned(),
            distribution: Some(distribution("demo", "1.0")),
            names: texts(&["libcublas.so.12"]),
            searched: searched(),
        },
        Observation::MissingOpened {
            file: "/demo/sound.py".to_owned(),
            distribution: Some(distribution("demo", "1.0")),
            names: texts(&["libsndfile.so.1"]),
            searched: searched(),
        },
        Observation::Interposed {
            first: distribution("tensorflow", "2.21.0"),
            object: "/demo/core.so".to_owned(),
            symbol: "cublasCreate_v2".to_owned(),
            meant: "/usr/local/cuda-13/lib64/libcublas.so.13".to_owned(),
            answered_by: "/tf.so".to_owned(),
        },
    ]
}

fn of_config() -> Vec<Observation> {
    let (name, path) = (|| "app".to_owned(), || "/app".to_owned());
    let missing = [
        MissingOfConfig::User { name: name() },
        MissingOfConfig::Program { name: name() },
        MissingOfConfig::HealthProgram { name: name() },
        MissingOfConfig::Directory { path: path() },
        MissingOfConfig::PathDirectory { path: path() },
    ];
    missing.map(|missing| Observation::Config { missing }).to_vec()
}

/// One finding of every kind, all about one distribution.
pub(crate) fn samples() -> Vec<Finding> {
    let observations =
        [of_loader(), of_cuda(), of_pip(), of_files(), of_python(), of_config()].into_iter().flatten();
    let about = || About::Distribution(distribution("demo", "1.0"));
    let finding = |observation| Finding { level: Level::Warning, subject: about(), observation };
    observations.map(finding).collect()
}

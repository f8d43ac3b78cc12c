//! Findings as people read them: the only place that turns their data into sentences.

use std::fmt::Display;

use uv_pep440::Version;

use super::gpus::described;
use super::observation::{Absence, Deviation, MissingName, MissingOfConfig, ModuleFault, Sample};
use super::{Advice, Finding, Observation};
use crate::cuda::{Component, Driver, DriverFit};

impl Finding {
    /// The observation in words: who needs what, and by which search it was found.
    pub fn seen(&self) -> String {
        match &self.observation {
            Observation::MissingLibraries { chain, missing, .. } => {
                format!("{chain} needs {}", join(missing.iter().map(missing_name), ", "))
            }
            Observation::MissingCompiler { distribution, names, .. } => {
                format!("{distribution} opens {}, which the loader does not find", names.join(" or "))
            }
            Observation::MissingVersion { chain, version, library, found } => {
                format!("{chain} needs the version {version} of {library}, which {found} does not define")
            }
            Observation::MissingSymbols { chain, symbols, expected_in, linked_with } => {
                let seen =
                    format!("{chain} needs the symbol `{}`{}", first(symbols), and_more(symbols.rest()));
                match (expected_in, linked_with.as_slice()) {
                    (Some(it), _) => format!("{seen}; {} has none (found by {})", it.library, it.found_by),
                    (None, []) => seen,
                    (None, others) => {
                        format!("{seen}; it is linked with {}, which has none", join(others.iter(), " and "))
                    }
                }
            }
            Observation::MissingComponent { requirement, component } => {
                format!("it requires `{requirement}`, and the loader finds no copy of {component}")
            }
            Observation::OldComponent { requirement, copy } => {
                format!("it requires `{requirement}`, and the loader finds {copy}")
            }
            Observation::OtherSoname { object, names, copy, .. } => format!(
                "{object} opens {}, which the loader does not find; the image has {copy}",
                names.join(" or ")
            ),
            Observation::TwoMajors { majors } => {
                join(majors.iter().map(|it| format!("CUDA {}: {}", it.major, it.library)), ", ")
            }
            Observation::MixedCopies { of_pip, of_system } => format!(
                "{} comes from {}, and {} from {}",
                of_pip.component, of_pip.library, of_system.component, of_system.library
            ),
            Observation::MixedCudnn { directory, part, found_in } => {
                format!("cuDNN is in {directory}, and the loader finds its {part} in {found_in}")
            }
            Observation::DuplicateSoname { files } => {
                join(files.iter().map(|it| format!("{} for {}", it.file, it.distribution)), ", ")
            }
            Observation::NvrtcBuiltins { nvrtc: (major, minor), expected, beside } => match beside.as_slice()
            {
                [] => format!("NVRTC {major}.{minor} has no {expected} beside it"),
                others => {
                    format!("NVRTC {major}.{minor} has {} beside it, not {expected}", others.join(", "))
                }
            },
            Observation::DriverFromImage { file } => {
                format!("the loader finds the driver's library in the image, at {file}")
            }
            Observation::DriverPath { directory } => format!("nothing leads to {directory}"),
            Observation::OldDriver { driver, toolkit, fit } => old_driver(driver, *toolkit, fit),
            Observation::OldDriverForPtx { driver, gpu, ptx, oldest } => format!(
                "there is only PTX {ptx} for {gpu}, which drivers before {oldest} cannot compile; {driver} is to serve"
            ),
            Observation::MissingGpu { gpu, library, compiled_for, ptx_for_newer, users, .. } => {
                let used = match users.as_slice() {
                    [] => String::new(),
                    users => format!(", which {} load,", join(users.iter(), " and ")),
                };
                format!(
                    "{library}{used} is {}: {gpu} does not run it",
                    described(compiled_for, *ptx_for_newer)
                )
            }
            Observation::NoPtxas(absence)
            | Observation::NoLibdevice(absence)
            | Observation::NoHeaders(absence) => absent(absence),
            Observation::UnmetRequirement { requirement, installed, .. } => {
                format!("it requires `{requirement}`, and {}", unmet(installed.as_ref()))
            }
            Observation::UnmetExtra { requirement, further, installed, .. } => format!(
                "it requires `{requirement}`, which requires `{further}`, and {}",
                unmet(installed.as_ref())
            ),
            Observation::RecordMismatch { files } => {
                let seen = files.first.first().map(|it| format!("{} {}", it.file, deviation(it.is)));
                let more = match files.rest() {
                    0 => String::new(),
                    more => format!(", and {more} more"),
                };
                seen.unwrap_or_default() + &more
            }
            Observation::FileCollision { paths, others, winner } => {
                let winner =
                    winner.as_ref().map(|it| format!("; the file is that of {it}")).unwrap_or_default();
                let (path, more) = (first(paths), and_more(paths.rest()));
                format!("{path}{more} are also of {}{winner}", join(others.iter(), " and "))
            }
            Observation::WheelTag { tags, python, glibc } => format!(
                "it was built for {}, and the image has Python {python} with glibc {glibc}",
                tags.join(", ")
            ),
            Observation::DamagedInterpreter => {
                "the interpreter is no program that a loader could start: no extension module was looked at"
                    .to_owned()
            }
            Observation::MissingLoader { loader, programs } => {
                format!(
                    "{}{} ask for {loader}, which is not there",
                    first(programs),
                    and_more(programs.rest())
                )
            }
            Observation::NoStandardLibrary { module, directories } => {
                format!(
                    "the interpreter starts with the module `{module}`, which is not in {}",
                    directories.join(", ")
                )
            }
            Observation::BrokenInterpreter { target, instead } => {
                format!("it leads to `{target}`, which is not there; {instead} is started instead, if at all")
            }
            Observation::UnfoundPackages { names, interpreter } => {
                let more = match names.more {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                format!("{interpreter} does not look there for {}{more}", names.first.join(", "))
            }
            Observation::MissingModule { module, imported_by, fault } => {
                let importer =
                    imported_by.as_ref().map(|file| format!("{file} imports ")).unwrap_or_default();
                format!("{importer}`{module}`{}", module_fault(fault))
            }
            Observation::FailedImport { module, error } => {
                format!("`import {module}` ends with {}", error.lines().next().unwrap_or_default())
            }
            Observation::MissingOpened { file, names, .. } => {
                format!("{file} opens {}, which the loader does not find", names.join(" or "))
            }
            Observation::Config { missing } => missing_of_config(missing),
            Observation::Interposed { first, object, symbol, meant, answered_by } => format!(
                "where {first} is imported first, {answered_by} answers `{symbol}`, which {object} calls of {meant}"
            ),
            Observation::LoaderCache { reason } | Observation::DamagedFile { reason } => reason.clone(),
            Observation::SetUserId { mode } | Observation::WorldWritable { mode, .. } => {
                format!("its mode is {mode}")
            }
            Observation::BrokenLink { target } => format!("it leads to `{target}`, which is not there"),
        }
    }

    /// The advice in words: a change, of the recipe where that helps.
    pub fn fix(&self) -> String {
        match self.advice() {
            Advice::ServeComponent { component } => serve(&self.observation, component),
            Advice::FittingReleases { names } => {
                let between = if names.len() > 1 {
                    format!(" of {}", join(names.iter(), " and "))
                } else {
                    String::new()
                };
                format!("use releases{between} that fit each other; `overrides` and `--no-deps` keep others")
            }
            Advice::ServeCuda => serve_cuda(&self.observation).into(),
            Advice::AddPackage { name } => format!("add `{name}` to `packages`"),
            Advice::AddLibraries { .. } => {
                "install the package that has it, in the base, in `packages` or in `system-packages`".into()
            }
            Advice::AddSystemPackages { packages, .. } => {
                let named: Vec<String> = packages.iter().map(ToString::to_string).collect();
                format!("add {} to `system-packages`", named.join(", "))
            }
            Advice::Reinstall { name } => {
                format!("install `{name}` again, last of those that share its files")
            }
            Advice::ReinstallFile => "install its package again".into(),
            Advice::NewerLibrary { .. } => {
                "use a base with a newer version of that library, or an older release of what needs it".into()
            }
            Advice::OtherRelease { component } => {
                format!("use a release that is built for this {component}, or add the other one beside it")
            }
            Advice::OneMajor => {
                "choose frameworks of one CUDA major, or let imgforge give each major a tree of its own"
                    .into()
            }
            Advice::OneDistribution { .. } => {
                "keep one of them; of two CUDA majors imgforge serves each from a tree of its own".into()
            }
            Advice::OtherWheel => "install the wheel for this image, or use another base".into(),
            Advice::OtherBase => "use a base with Python for its architecture".into(),
            Advice::NewerDriver => {
                "state a newer driver in `cuda.driver` or by --driver, or choose frameworks of an older CUDA"
                    .into()
            }
            Advice::ReleaseForGpu { gpu, version: Some(version) } => {
                format!("use {version}, which runs on {gpu}, or leave it out of `cuda.gpus`")
            }
            Advice::ReleaseForGpu { gpu, version: None } => format!(
                "use a release that is compiled for {}, mostly an older one for an older GPU, or leave it out of `cuda.gpus`",
                gpu.capability
            ),
            Advice::HideDriver => {
                "take its directory out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, or leave its package out"
                    .into()
            }
            Advice::NameDirectory { directory } => {
                format!("name {directory} in a file of /etc/ld.so.conf.d, as imgforge's images do")
            }
            Advice::RunLdconfig => {
                "run `ldconfig` in the image, or build it with imgforge, which writes the cache".into()
            }
            Advice::DropSetUserId => {
                "leave its package out, or take the bit away with `files: [{…, mode: \"0755\"}]`".into()
            }
            Advice::Mode { modes } => format!("give it the mode {}", modes_text(&modes)),
            Advice::InstallLoader => {
                "install the package that has the loader, or programs for the one that is there".into()
            }
            Advice::InstallStandardLibrary => {
                "install the interpreter's standard library, or take `PYTHONHOME` out of the config".into()
            }
            Advice::RepairInterpreter => "let it lead to an interpreter that is there, or remove it".into(),
            Advice::InstallForInterpreter { interpreter } => {
                format!("install them with {interpreter}, or start the interpreter that finds them")
            }
            Advice::InstallModule { module } => {
                format!("install the distribution that has the module `{module}`")
            }
            Advice::MakeReadable => "let the image's user read it, and enter its directories".into(),
            Advice::ImportFirst { name, before } => {
                format!("import {name} before {before}, or keep them in processes of their own")
            }
            Advice::ChangeConfig => "add it to the image, or change the config".into(),
            Advice::MeetError => {
                "give the image what the error asks for, or leave the distribution out".into()
            }
            Advice::RepairLink => "install what it leads to, or remove it".into(),
        }
    }
}

/// The advice to let imgforge serve one component.
fn serve(observation: &Observation, component: Component) -> String {
    let how = match observation {
        Observation::MissingLibraries { .. } => {
            return format!(
                "build the image with imgforge, which serves what is required unless `overrides` leave it out, or add the \
                 wheel of {component} to `packages`"
            );
        }
        Observation::NvrtcBuiltins { .. } => "let imgforge serve it whole",
        Observation::NoHeaders(_) => "let imgforge serve the runtime's wheel, which has them",
        Observation::MixedCudnn { .. } => "keep one copy of cuDNN",
        _ => "let imgforge serve it",
    };
    format!("{how} (`cuda: {{components: {{{component}: shared}}}}`)")
}

/// The advice to let imgforge serve all of CUDA.
fn serve_cuda(observation: &Observation) -> &'static str {
    match observation {
        Observation::MissingSymbols { .. } => {
            "let imgforge serve the libraries it is linked with (`cuda: {policy: shared}`): it takes versions that have \
             the symbols"
        }
        Observation::MixedCopies { .. } => {
            "remove the wheel that pip installed, or serve all of them alike (`cuda: {policy: shared}`)"
        }
        Observation::UnmetRequirement { .. } | Observation::UnmetExtra { .. } => {
            "build the image with imgforge, which writes metadata that is true of a shared CUDA; if it did, undo the later \
             `pip install`"
        }
        _ => "let imgforge serve it once (`cuda: {policy: shared}`)",
    }
}

fn missing_name(missing: &MissingName) -> String {
    match &missing.refused {
        Some(path) => format!("{} ({path} is no library)", missing.name),
        None => missing.name.clone(),
    }
}

fn module_fault(fault: &ModuleFault) -> String {
    match fault {
        ModuleFault::NotFound => ", which is nowhere in `sys.path`".to_owned(),
        ModuleFault::Gone { file } => format!(", of which {file} was installed and is gone"),
        ModuleFault::OtherInterpreter { file } => format!(", of which {file} is for another interpreter"),
        ModuleFault::OtherMachine { file } => format!(", of which {file} is for another machine"),
        ModuleFault::NotLoadable { file, reason: Some(reason) } => {
            format!(": {file} is no library: {reason}")
        }
        ModuleFault::NotLoadable { file, reason: None } => format!(": {file} is no library"),
        ModuleFault::NotReadable { file, user } => format!(": the user {user} may not read {file}"),
    }
}

fn missing_of_config(missing: &MissingOfConfig) -> String {
    match missing {
        MissingOfConfig::User { name } => format!("the image has no user or group `{name}`"),
        MissingOfConfig::Program { name } => format!("the image has no program `{name}`"),
        MissingOfConfig::HealthProgram { name } => {
            format!("the image has no program `{name}`: every container would be unhealthy")
        }
        MissingOfConfig::Directory { path } => format!("the image has no directory `{path}`"),
        MissingOfConfig::PathDirectory { path } => {
            format!("the image has no directory `{path}`, which `PATH` names")
        }
    }
}

fn old_driver(driver: &Driver, (major, minor): (u32, u32), fit: &DriverFit) -> String {
    match fit {
        DriverFit::Runs => format!("driver {driver} runs CUDA {major}.{minor}"),
        DriverFit::WithoutPtx { released_with } => {
            let with =
                released_with.as_ref().map(|with| format!(", which came with {with}")).unwrap_or_default();
            format!("driver {driver} runs CUDA {major}.{minor}{with}, but not what is compiled to PTX")
        }
        DriverFit::TooOld { oldest } => {
            format!("driver {driver} runs no CUDA {major}: the oldest that does is {oldest}")
        }
    }
}

fn absent(absence: &Absence) -> String {
    format!("no {} in {}", absence.file, absence.directories.join(", "))
}

fn unmet(installed: Option<&Version>) -> String {
    match installed {
        Some(version) => format!("{version} is installed"),
        None => "it is not installed".to_owned(),
    }
}

fn deviation(deviation: Deviation) -> &'static str {
    match deviation {
        Deviation::Missing => "is not there",
        Deviation::OtherSize => "has another size than its RECORD says",
        Deviation::OtherHash => "has another hash than its RECORD says",
    }
}

fn modes_text(modes: &[String]) -> String {
    match modes {
        [mode, shared] => format!("{mode}, or {shared} for a directory that all shall write to"),
        modes => modes.join(" or "),
    }
}

fn first(sample: &Sample<String>) -> &str {
    sample.first.first().map_or("", String::as_str)
}

/// ` and 3 more`; nothing where there are none.
fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

fn join(items: impl Iterator<Item = impl Display>, separator: &str) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(separator)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use crate::check::Rule;
    use crate::check::samples::samples;

    const REINSTALL: &str = "install `demo` again, last of those that share its files";
    const CONFIG: &str = "add it to the image, or change the config";

    /// Every kind of finding: what was seen, and what to do.
    const TEXTS: &[(&str, &str)] = &[
        (
            "demo 1.0: /demo/core.so > /demo/lib.so needs libz.so.1, libcc.so.1 (/lib/libcc.so.1 is no library)",
            "install the package that has it, in the base, in `packages` or in `system-packages`",
        ),
        (
            "demo 1.0: /demo/core.so > /demo/lib.so needs libcufft.so.11",
            "build the image with imgforge, which serves what is required unless `overrides` leave it out, or add the wheel of \
             cufft to `packages`",
        ),
        (
            "demo 1.0 opens libnvrtc.so.11.2 or libnvrtc.so.12, which the loader does not find",
            "let imgforge serve it (`cuda: {components: {cuda-nvrtc: shared}}`)",
        ),
        (
            "demo 1.0: /demo/core.so > /demo/lib.so needs the version GLIBC_2.38 of libc.so.6, which /lib/libc.so.6 does \
             not define",
            "use a base with a newer version of that library, or an older release of what needs it",
        ),
        (
            "/demo/core.so > /demo/lib.so needs the symbol `nccl0` and 29 more; /lib/libnccl.so.2 has none (found by cache)",
            "let imgforge serve the libraries it is linked with (`cuda: {policy: shared}`): it takes versions that have \
             the symbols",
        ),
        (
            "demo 1.0: /demo/core.so > /demo/lib.so needs the symbol `_ZN2at4_ops14conv1d_padding4callE`; it is linked with \
             torch 2.6.0, which has none",
            "use releases of demo and torch that fit each other; `overrides` and `--no-deps` keep others",
        ),
        (
            "the cache is for big-endian machines",
            "run `ldconfig` in the image, or build it with imgforge, which writes the cache",
        ),
        (
            "the interpreter is no program that a loader could start: no extension module was looked at",
            "use a base with Python for its architecture",
        ),
        (
            "it requires `nvidia-cudnn-cu12==9.10.2.21`, and the loader finds no copy of cudnn",
            "let imgforge serve it (`cuda: {components: {cudnn: shared}}`)",
        ),
        (
            "it requires `nvidia-cudnn-cu12==9.10.2.21`, and the loader finds cudnn 9.8.0 in /usr/lib",
            "let imgforge serve it (`cuda: {components: {cudnn: shared}}`)",
        ),
        (
            "/demo/core.so opens libcudnn.so.8, which the loader does not find; the image has cudnn in /usr/lib",
            "use a release that is built for this cudnn, or add the other one beside it",
        ),
        (
            "CUDA 11: /a/libcublas.so.11, CUDA 12: /b/libcublas.so.12",
            "choose frameworks of one CUDA major, or let imgforge give each major a tree of its own",
        ),
        (
            "cublas comes from /a/libcublas.so.12, and cufft from /b/libcufft.so.11",
            "remove the wheel that pip installed, or serve all of them alike (`cuda: {policy: shared}`)",
        ),
        (
            "cuDNN is in /usr/lib, and the loader finds its libcudnn_ops.so.9 in /opt",
            "keep one copy of cuDNN (`cuda: {components: {cudnn: shared}}`)",
        ),
        (
            "/a/libnccl.so.2 for torch 2.0, /b/libnccl.so.2 for jax 2.0",
            "let imgforge serve it once (`cuda: {policy: shared}`)",
        ),
        (
            "NVRTC 12.4 has no libnvrtc-builtins.so.12.4 beside it",
            "let imgforge serve it whole (`cuda: {components: {cuda-nvrtc: shared}}`)",
        ),
        (
            "NVRTC 12.4 has libnvrtc-builtins.so.12.2 beside it, not libnvrtc-builtins.so.12.4",
            "let imgforge serve it whole (`cuda: {components: {cuda-nvrtc: shared}}`)",
        ),
        (
            "the loader finds the driver's library in the image, at /usr/local/cuda/compat/libcuda.so.1",
            "take its directory out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, or leave its package out",
        ),
        (
            "nothing leads to /usr/local/nvidia/lib64",
            "name /usr/local/nvidia/lib64 in a file of /etc/ld.so.conf.d, as imgforge's images do",
        ),
        (
            "driver 470.57.02 runs no CUDA 12: the oldest that does is 525.60.13",
            "state a newer driver in `cuda.driver` or by --driver, or choose frameworks of an older CUDA",
        ),
        (
            "driver 530.30.02 runs CUDA 12.4, which came with 550.54.14, but not what is compiled to PTX",
            "state a newer driver in `cuda.driver` or by --driver, or choose frameworks of an older CUDA",
        ),
        (
            "driver 580.65.06 runs CUDA 13.9, but not what is compiled to PTX",
            "state a newer driver in `cuda.driver` or by --driver, or choose frameworks of an older CUDA",
        ),
        (
            "/demo/libdemo.so is compiled for 7.5 9.0a; PTX for newer: yes: V100 (7.0) does not run it",
            "use 2.6.0, which runs on V100 (7.0), or leave it out of `cuda.gpus`",
        ),
        (
            "/demo/libdemo.so, which torch 2.15.0 and jax 0.7.0 load, is compiled for 7.5 9.0a; PTX for newer: no: 7.0 does \
             not run it",
            "use a release that is compiled for 7.0, mostly an older one for an older GPU, or leave it out of `cuda.gpus`",
        ),
        (
            "there is only PTX 8.8 for B200 (10.0), which drivers before 575.51.03 cannot compile; 550.54.15 is to serve",
            "state a newer driver in `cuda.driver` or by --driver, or choose frameworks of an older CUDA",
        ),
        (
            "no bin/ptxas in /usr/local/cuda, /opt",
            "let imgforge serve it (`cuda: {components: {cuda-nvcc: shared}}`)",
        ),
        (
            "no nvvm/libdevice/libdevice.10.bc in /usr/local/cuda, /opt",
            "let imgforge serve it (`cuda: {components: {cuda-nvcc: shared}}`)",
        ),
        (
            "no cuda.h in /usr/local/cuda, /opt",
            "let imgforge serve the runtime's wheel, which has them (`cuda: {components: {cuda-runtime: shared}}`)",
        ),
        (
            "it requires `numpy>=2`, and 1.26.4 is installed",
            "use releases of demo and numpy that fit each other; `overrides` and `--no-deps` keep others",
        ),
        (
            "it requires `jax[cuda12]`, which requires `nvidia-cublas-cu12>=12`, and it is not installed",
            "build the image with imgforge, which writes metadata that is true of a shared CUDA; if it did, undo the later \
             `pip install`",
        ),
        (
            "/a.py has another hash than its RECORD says, and 2 more",
            "install `demo` again, last of those that share its files",
        ),
        (
            "/a.so and 1 more are also of other 1.0 and third 3.0; the file is that of other 1.0",
            "keep one of them; of two CUDA majors imgforge serves each from a tree of its own",
        ),
        (
            "it was built for cp310-cp310-win_amd64, cp310-none-any, and the image has Python 3.11 with glibc 2.36",
            "install the wheel for this image, or use another base",
        ),
        ("it is cut short", "install its package again"),
        (
            "its mode is 4755",
            "leave its package out, or take the bit away with `files: [{…, mode: \"0755\"}]`",
        ),
        ("its mode is 0777", "give it the mode 0755, or 1777 for a directory that all shall write to"),
        ("its mode is 0666", "give it the mode 0644"),
        ("it leads to `gone`, which is not there", "install what it leads to, or remove it"),
        (
            "/bin/a and 1 more ask for /lib64/ld.so, which is not there",
            "install the package that has the loader, or programs for the one that is there",
        ),
        (
            "the interpreter starts with the module `encodings`, which is not in /usr/lib/python3.11",
            "install the interpreter's standard library, or take `PYTHONHOME` out of the config",
        ),
        (
            "it leads to `python3.12`, which is not there; /usr/bin/python3 is started instead, if at all",
            "let it lead to an interpreter that is there, or remove it",
        ),
        (
            "/usr/bin/python3 does not look there for requests, six",
            "install them with /usr/bin/python3, or start the interpreter that finds them",
        ),
        (
            "/demo/__init__.py imports `demo.core`, which is nowhere in `sys.path`",
            "install the distribution that has the module `demo`",
        ),
        ("`demo.core`, of which /demo/core.so was installed and is gone", REINSTALL),
        (
            "`demo.core`, of which /demo/core.so is for another interpreter",
            "install the wheel for this image, or use another base",
        ),
        (
            "`demo.core`, of which /demo/core.so is for another machine",
            "install the wheel for this image, or use another base",
        ),
        ("`demo.core`: /demo/core.so is no library: it is cut short", REINSTALL),
        ("`demo.core`: /demo/core.so is no library", REINSTALL),
        (
            "`demo.core`: the user app may not read /demo/core.so",
            "let the image's user read it, and enter its directories",
        ),
        (
            "`import demo` ends with ModuleNotFoundError: No module named 'extra.core'",
            "install the distribution that has the module `extra`",
        ),
        (
            "`import demo` ends with ImportError: libdemo.so.1: cannot open shared object file: No such file or directory",
            "install the package that has it, in the base, in `packages` or in `system-packages`",
        ),
        (
            "`import demo` ends with ValueError: no",
            "give the image what the error asks for, or leave the distribution out",
        ),
        (
            "/demo/__init__.py opens libcublas.so.12, which the loader does not find",
            "let imgforge serve it (`cuda: {components: {cublas: shared}}`)",
        ),
        (
            "/demo/sound.py opens libsndfile.so.1, which the loader does not find",
            "add `libsndfile1` to `system-packages`",
        ),
        (
            "where tensorflow 2.21.0 is imported first, /tf.so answers `cublasCreate_v2`, which /demo/core.so calls of \
             /usr/local/cuda-13/lib64/libcublas.so.13",
            "import demo before tensorflow, or keep them in processes of their own",
        ),
        ("the image has no user or group `app`", CONFIG),
        ("the image has no program `app`", CONFIG),
        ("the image has no program `app`: every container would be unhealthy", CONFIG),
        ("the image has no directory `/app`", CONFIG),
        ("the image has no directory `/app`, which `PATH` names", CONFIG),
    ];

    #[test]
    fn every_kind_of_finding_is_told_in_words() {
        let findings = samples();
        let texts: Vec<(String, String)> = findings.iter().map(|it| (it.seen(), it.fix())).collect();
        let expected: Vec<(String, String)> =
            TEXTS.iter().map(|(seen, fix)| ((*seen).to_owned(), (*fix).to_owned())).collect();
        assert_eq!(texts, expected);
        let rules: BTreeSet<Rule> = findings.iter().map(|finding| finding.rule()).collect();
        let untold = Rule::ALL.into_iter().filter(|rule| !rules.contains(rule));
        assert_eq!(untold.collect::<Vec<_>>(), [Rule::OtherNvcc]);
    }

    /// The rules in the manual, each with a finding of it.
    fn manual() -> String {
        let findings = samples();
        let rule = |rule: Rule| {
            let example = findings.iter().find(|finding| finding.rule() == rule);
            let example = example.map_or_else(String::new, |finding| {
                format!("\n\n    {}\n    fix: {}", finding.seen(), finding.fix())
            });
            format!("\n## {}\n\n{}{example}\n", rule.id(), sentence(rule.why()))
        };
        Rule::ALL.into_iter().map(rule).collect()
    }

    fn sentence(text: &str) -> String {
        if ["pip ", "cuDNN "].iter().any(|name| text.starts_with(name)) {
            return format!("{text}.");
        }
        let first = text.chars().next().map(char::to_uppercase).into_iter().flatten();
        first.chain(text.chars().skip(1)).chain(['.']).collect()
    }

    #[test]
    fn the_manual_has_every_rule() {
        const BEGIN: &str = "<!-- imgforge writes the rules from here -->\n";
        const END: &str = "\n<!-- to here -->";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
        let text = std::fs::read_to_string(path).unwrap();
        let (before, rest) = text.split_once(BEGIN).unwrap();
        let (part, after) = rest.split_once(END).unwrap();
        if std::env::var_os("IMGFORGE_WRITE_DOCS").is_some() {
            return std::fs::write(path, format!("{before}{BEGIN}{}{END}{after}", manual())).unwrap();
        }
        assert_eq!(part, manual(), "write docs/rules.md anew with IMGFORGE_WRITE_DOCS=1");
    }

    #[test]
    fn a_report_that_was_kept_is_read_as_it_was() {
        let findings = samples();
        let kept = serde_json::to_string(&findings).unwrap();
        assert_eq!(serde_json::from_str::<Vec<crate::check::Finding>>(&kept).unwrap(), findings);
    }
}

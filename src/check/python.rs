//! Rules for the interpreter that a container starts.

use super::observation::Sample;
use super::standard_library::FIRST_MODULE;
use super::world::World;
use super::{About, Finding, Level, Observation};
use crate::base::PythonStart;

pub(super) fn findings(world: &World<'_>) -> Vec<Finding> {
    let Some(start) = world.start else { return Vec::new() };
    let mut findings = broken_names(start);
    findings.extend(unfound_packages(start));
    findings.extend((!world.standard.starts).then(|| no_standard_library(world, start)));
    findings
}

fn broken_names(start: &PythonStart) -> Vec<Finding> {
    let instead = format!("/{}", start.program);
    let broken = start.broken.iter().map(|broken| {
        let (target, instead) = (broken.target.clone(), instead.clone());
        error(&broken.path, Observation::BrokenInterpreter { target, instead })
    });
    broken.collect()
}

fn unfound_packages(start: &PythonStart) -> Vec<Finding> {
    let interpreter = format!("/{}", start.program);
    let unfound = start.unfound.iter().filter_map(|unfound| {
        let names = Sample::of(unfound.names.iter().map(ToString::to_string).collect())?;
        let interpreter = interpreter.clone();
        Some(error(&unfound.directory, Observation::UnfoundPackages { names, interpreter }))
    });
    unfound.collect()
}

fn no_standard_library(world: &World<'_>, start: &PythonStart) -> Finding {
    let directories = world.standard.directories.iter().map(|directory| format!("/{directory}")).collect();
    let module = FIRST_MODULE.to_owned();
    error(&start.program, Observation::NoStandardLibrary { module, directories })
}

fn error(path: &str, observation: Observation) -> Finding {
    Finding { level: Level::Error, subject: About::Path(format!("/{path}")), observation }
}

//! The modules to import of an image, for whoever can run its interpreter, and the findings of those that end with an error.

use std::collections::BTreeMap;

use super::linking::is_of_driver;
use super::world::World;
use super::{About, DistributionId, Finding, Level, Observation, Subject};

/// A module that users of a distribution import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportTrial {
    /// The distribution.
    pub distribution: DistributionId,
    /// The module's name.
    pub module: String,
}

/// The modules of the distributions that no other one requires, and of which nothing is of Debian's.
pub fn import_trials(subject: &Subject<'_>) -> Vec<ImportTrial> {
    let world = World::new(subject);
    let top_level = world.top_level();
    let installed = top_level.into_iter().filter(|index| !world.distributions[*index].installed.of_system);
    installed
        .flat_map(|index| {
            let names = world.import_names(index, subject.evidence).into_values().flatten();
            let distribution = world.distributions[index].id();
            names.map(move |module| ImportTrial { distribution: distribution.clone(), module })
        })
        .collect()
}

/// The findings for those of `trials` that ended with an error, by their numbers. One that asks for NVIDIA's driver, which no
/// image has, is a note.
pub fn failed_imports(trials: &[ImportTrial], errors: &BTreeMap<usize, String>) -> Vec<Finding> {
    let failed = errors.iter().filter_map(|(number, error)| Some((trials.get(*number)?, error)));
    failed
        .map(|(trial, error)| Finding {
            level: if asks_for_driver(error) { Level::Note } else { Level::Error },
            subject: About::Distribution(trial.distribution.clone()),
            observation: Observation::FailedImport { module: trial.module.clone(), error: error.clone() },
        })
        .collect()
}

fn asks_for_driver(error: &str) -> bool {
    error.split(|c: char| c.is_whitespace() || "'\"`:,()".contains(c)).any(is_of_driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_the_driver_is_a_note() {
        for (error, expected) in [
            ("ImportError: libcuda.so.1: cannot open shared object file: No such file or directory", true),
            ("OSError: could not load 'libnvidia-ml.so.1'", true),
            ("ImportError: libcublas.so.12: cannot open shared object file: No such file", false),
            ("ModuleNotFoundError: No module named 'cuda'", false),
        ] {
            assert_eq!(asks_for_driver(error), expected, "{error}");
        }
    }
}

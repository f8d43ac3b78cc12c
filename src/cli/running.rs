//! `build --run`: the image is started by the program of the engine that it was published to.
#![allow(clippy::disallowed_methods, reason = "the devices of the machine tell whether it has GPUs")]

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::Command;

use clap::Args;

use crate::failure::{Failure, Fault, Hinted, Result};
use crate::oci::ImageReference;
use crate::place::{EngineKind, ImagePlace};

/// The device of NVIDIA's driver.
const GPUS: &str = "/dev/nvidiactl";

/// The start of the image that was built.
#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// Start the image in the engine that it is published to, docker-daemon:NAME or podman:NAME, with the GPUs of this machine;
    /// end as its container does.
    #[arg(long)]
    run: bool,
    /// The command of --run, instead of the image's own.
    #[arg(last = true, value_name = "CMD", requires = "run")]
    command: Vec<OsString>,
}

/// A build that shall start an image which no engine gets.
#[derive(Debug, thiserror::Error)]
#[error("`--run` starts an image in Docker or podman, and {reason}")]
struct NotRun {
    reason: String,
}

impl Hinted for NotRun {
    fn hint(&self) -> Option<String> {
        Some("name one: `-o docker-daemon:NAME --run`, or `-o podman:NAME --run`".into())
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// The container to start once the image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContainerRun<'a> {
    program: &'static str,
    name: &'a ImageReference,
    command: &'a [OsString],
}

/// The machine that a container is started on.
#[derive(Debug, Clone, Copy)]
struct RunMachine {
    has_gpus: bool,
    /// True if a person is at both ends, the input and the output.
    is_terminal: bool,
}

impl RunMachine {
    fn here() -> Self {
        Self {
            has_gpus: std::path::Path::new(GPUS).exists(),
            is_terminal: io::stdin().is_terminal() && io::stdout().is_terminal(),
        }
    }
}

impl RunOptions {
    /// The container to start, if one is asked for: in the first engine among the destinations that runs containers.
    pub(super) fn container<'a>(
        &'a self,
        destinations: &'a [ImagePlace],
    ) -> Result<Option<ContainerRun<'a>>> {
        if !self.run {
            return Ok(None);
        }
        let container = |place: &'a ImagePlace| match place {
            ImagePlace::Engine { engine: EngineKind::Docker, name } => Some(("docker", name)),
            ImagePlace::Engine { engine: EngineKind::Podman, name } => Some(("podman", name)),
            _ => None,
        };
        let Some((program, name)) = destinations.iter().find_map(container) else {
            let places: Vec<String> = destinations.iter().map(|place| format!("`{place}`")).collect();
            let reason = match &places[..] {
                [] => "no destination is named".to_owned(),
                places => format!("it goes to {}", places.join(" and ")),
            };
            return Err(NotRun { reason }.into());
        };
        Ok(Some(ContainerRun { program, name, command: &self.command }))
    }
}

impl ContainerRun<'_> {
    /// The arguments of the engine's program.
    fn arguments(&self, machine: RunMachine) -> Vec<OsString> {
        let mut arguments = vec!["run", "--rm", "--interactive"];
        if machine.is_terminal {
            arguments.push("--tty");
        }
        if machine.has_gpus {
            arguments.extend(match self.program {
                // Podman before 5 takes the devices of NVIDIA's container toolkit alone.
                "podman" => ["--device", "nvidia.com/gpu=all"],
                _ => ["--gpus", "all"],
            });
        }
        let arguments = arguments.into_iter().map(OsString::from).chain([self.name.to_string().into()]);
        arguments.chain(self.command.iter().cloned()).collect()
    }

    /// Becomes the engine's program: input, output, signals and the exit status are the container's from here on.
    pub(super) fn start(&self) -> Result<Infallible> {
        let error = Command::new(self.program).args(self.arguments(RunMachine::here())).exec();
        let message = format!("the image is built, and `{}` could not be run: {error}", self.program);
        Err(Failure::advised(message, format!("install it, or put `{}` on the PATH", self.program)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(command: &[&str]) -> RunOptions {
        RunOptions { run: true, command: command.iter().map(OsString::from).collect() }
    }

    fn check(places: &[&str], command: &[&str], machine: RunMachine, expected: &str) {
        let places: Vec<ImagePlace> = places.iter().map(|place| place.parse().unwrap()).collect();
        let options = options(command);
        let shown = match options.container(&places) {
            Ok(Some(run)) => {
                let words: Vec<_> =
                    run.arguments(machine).iter().map(|it| it.display().to_string()).collect();
                format!("{} {}", run.program, words.join(" "))
            }
            Ok(None) => "nothing".to_owned(),
            Err(error) => error.lines().join("; "),
        };
        assert!(shown.ends_with(expected), "{shown}");
    }

    #[test]
    fn a_container_has_the_terminal_and_the_gpus_of_its_machine() {
        let plain = RunMachine { has_gpus: false, is_terminal: false };
        let person = RunMachine { has_gpus: true, is_terminal: true };
        check(&["podman:app"], &[], plain, "podman run --rm --interactive localhost/app:latest");
        check(
            &["oci:out", "docker-daemon:registry.test/app:v1"],
            &["python3", "-c", "print(1)"],
            person,
            "docker run --rm --interactive --tty --gpus all registry.test/app:v1 python3 -c print(1)",
        );
        check(
            &["podman:app", "docker-daemon:app"],
            &["--help"],
            RunMachine { has_gpus: true, is_terminal: false },
            "podman run --rm --interactive --device nvidia.com/gpu=all localhost/app:latest --help",
        );
    }

    #[test]
    fn an_image_that_no_engine_gets_is_not_run() {
        let machine = RunMachine { has_gpus: false, is_terminal: false };
        check(&[], &[], machine, "`--run` starts an image in Docker or podman, and no destination is named");
        check(&["oci:out", "containerd:app"], &[], machine, "/library/app:latest`");
    }
}

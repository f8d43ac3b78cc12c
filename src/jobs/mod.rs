//! The two stages of a matrix as jobs of the engines that people have: text, which they submit.
//!
//! First every shard makes its layers, then, once all have, every shard its images. An engine starts processes, gives each
//! its number, waits for a stage and tries again what failed; nothing else is asked of it.

mod github;
mod gitlab;
mod kubernetes;
mod slurm;

use std::fmt;

use crate::failure::{Fault, Hinted};

/// The tries of a shard after the first one.
const RETRIES: u32 = 2;
/// The jobs that a matrix of GitHub Actions has at most.
///
/// <https://docs.github.com/en/actions/reference/limits>
const MOST_GITHUB_JOBS: u16 = 256;
/// The jobs that `parallel` of GitLab makes at most.
///
/// <https://docs.gitlab.com/ci/yaml/#parallel>
const MOST_GITLAB_JOBS: u16 = 200;

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEngine {
    /// Slurm: a script that submits two job arrays.
    Slurm,
    /// Kubernetes: two indexed jobs.
    Kubernetes,
    /// GitHub Actions: a workflow.
    Github,
    /// GitLab: `.gitlab-ci.yml`.
    Gitlab,
}

/// The two stages of a matrix.
#[derive(Debug, Clone)]
pub struct MatrixJobs {
    /// The name of the matrix: small letters, digits, and separators of image names.
    pub name: String,
    /// The number of shards of each stage, at least 1.
    pub shards: u16,
    /// The arguments of `imgforge matrix layers` and of `imgforge matrix images`, without `--shard`.
    pub arguments: Vec<String>,
    /// The image with imgforge and the matrix that containers are started of.
    pub image: Option<String>,
}

/// The reason why an engine cannot have such jobs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum JobsError {
    #[error("{engine} takes at most {most} jobs of a kind, and {asked} shards were asked for")]
    ManyShards { engine: &'static str, most: u16, asked: u16 },
    #[error("Kubernetes starts containers of an image, and none was named")]
    NoImage,
}

impl Hinted for JobsError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::ManyShards { most, .. } => format!("ask for `--shards {most}`: a shard has many images"),
            Self::NoImage => {
                "name one with imgforge and the matrix in its working directory: `--image NAME`".into()
            }
        })
    }

    fn fault(&self) -> Fault {
        Fault::Input
    }
}

/// One of the two stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JobStage {
    Layers,
    Images,
}

impl fmt::Display for JobStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Layers => "layers",
            Self::Images => "images",
        })
    }
}

impl MatrixJobs {
    /// The text that `engine` takes.
    pub fn text(&self, engine: JobEngine) -> Result<String, JobsError> {
        match engine {
            JobEngine::Slurm => Ok(slurm::script(self)),
            JobEngine::Kubernetes => kubernetes::manifests(self),
            JobEngine::Github => github::workflow(self),
            JobEngine::Gitlab => gitlab::pipeline(self),
        }
    }

    /// The command of a stage for the shell, in which `shard` gives the number of the process.
    fn command(&self, stage: JobStage, shard: &str) -> String {
        let arguments = self.arguments.iter().map(|argument| quoted(argument));
        let arguments = arguments.collect::<Vec<_>>().join(" ");
        format!("imgforge matrix {stage} {arguments} --shard \"{shard}/{}\"", self.shards)
    }

    /// Refuses more shards than an engine takes.
    fn check_shards(&self, engine: &'static str, most: u16) -> Result<(), JobsError> {
        match self.shards > most {
            true => Err(JobsError::ManyShards { engine, most, asked: self.shards }),
            false => Ok(()),
        }
    }
}

/// A word of the shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A text of YAML.
fn in_yaml(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs() -> MatrixJobs {
        let arguments = ["matrix.yaml", "--locked", "--cache", "docker://registry.test/team/cache"];
        MatrixJobs {
            name: "matrix".to_owned(),
            shards: 4,
            arguments: arguments.map(str::to_owned).to_vec(),
            image: Some("registry.test/team/builder:1".to_owned()),
        }
    }

    #[test]
    fn words_of_the_shell_stay_words() {
        for (word, expected) in
            [("a.yaml", "a.yaml"), ("", "''"), ("{name} x", "'{name} x'"), ("it's", r"'it'\''s'")]
        {
            assert_eq!(quoted(word), expected);
        }
    }

    #[test]
    fn limits_of_engines_are_told() {
        let many = MatrixJobs { shards: 300, ..jobs() };
        for engine in [JobEngine::Github, JobEngine::Gitlab] {
            assert!(many.text(engine).unwrap_err().hint().unwrap().contains("--shards 2"));
        }
        assert!(many.text(JobEngine::Slurm).is_ok());
        assert_eq!(MatrixJobs { image: None, ..jobs() }.text(JobEngine::Kubernetes), Err(JobsError::NoImage));
    }

    #[test]
    fn every_stage_has_its_command() {
        for engine in [JobEngine::Slurm, JobEngine::Kubernetes, JobEngine::Github, JobEngine::Gitlab] {
            let text = jobs().text(engine).unwrap();
            let command = "matrix.yaml --locked --cache docker://registry.test/team/cache --shard ";
            for stage in ["layers", "images"] {
                assert!(text.contains(&format!("imgforge matrix {stage} {command}")), "{text}");
            }
        }
    }
}

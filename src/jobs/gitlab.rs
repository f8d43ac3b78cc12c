//! GitLab: a pipeline of two stages, each a job in parallel.
//!
//! <https://docs.gitlab.com/ci/yaml/>

use super::{JobStage, JobsError, MOST_GITLAB_JOBS, MatrixJobs, RETRIES, in_yaml};

/// The pipeline.
pub(super) fn pipeline(jobs: &MatrixJobs) -> Result<String, JobsError> {
    jobs.check_shards("GitLab", MOST_GITLAB_JOBS)?;
    let image = jobs.image.iter().map(|image| format!("image: {}\n", in_yaml(image))).collect::<String>();
    let (layers, images) = (job(jobs, JobStage::Layers), job(jobs, JobStage::Images));
    Ok(format!("stages: [layers, images]\n{image}{layers}{images}"))
}

fn job(jobs: &MatrixJobs, stage: JobStage) -> String {
    let command = in_yaml(&jobs.command(stage, "$CI_NODE_INDEX"));
    // One job has no number: GitLab numbers those of `parallel`, of which there are two at least.
    let (command, parallel) = match jobs.shards {
        1 => (command.replace("$CI_NODE_INDEX", "1"), String::new()),
        shards => (command, format!("  parallel: {shards}\n")),
    };
    format!("\n{stage}:\n  stage: {stage}\n{parallel}  retry: {RETRIES}\n  script:\n    - {command}\n")
}

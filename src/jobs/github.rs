//! GitHub Actions: a workflow of two jobs, each with a matrix of shards.
//!
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax>

use super::{JobStage, JobsError, MOST_GITHUB_JOBS, MatrixJobs, RETRIES, in_yaml};

/// The workflow.
pub(super) fn workflow(jobs: &MatrixJobs) -> Result<String, JobsError> {
    jobs.check_shards("GitHub Actions", MOST_GITHUB_JOBS)?;
    let name = in_yaml(&jobs.name);
    let (layers, images) = (job(jobs, JobStage::Layers), job(jobs, JobStage::Images));
    Ok(format!(
        "name: {name}\non: workflow_dispatch\npermissions:\n  contents: read\n  packages: write\njobs:\n{layers}{images}"
    ))
}

/// It has no retries of its own for a job that failed: the step tries again.
fn job(jobs: &MatrixJobs, stage: JobStage) -> String {
    let shards: Vec<String> = (1..=jobs.shards).map(|shard| shard.to_string()).collect();
    let shards = shards.join(", ");
    let needs = if stage == JobStage::Images { "    needs: layers\n" } else { "" };
    let container =
        jobs.image.iter().map(|image| format!("    container: {}\n", in_yaml(image))).collect::<String>();
    let command = jobs.command(stage, "${{ matrix.shard }}");
    let tries = RETRIES + 1;
    let attempts = (1..=tries).map(|attempt| attempt.to_string()).collect::<Vec<_>>().join(" ");
    format!(
        "  {stage}:\n{needs}    runs-on: ubuntu-latest\n{container}    strategy:\n      fail-fast: false\n      \
         matrix:\n        shard: [{shards}]\n    steps:\n      - uses: actions/checkout@v4\n      \
         - run: |\n          for attempt in {attempts}; do\n            {command} && exit 0\n          done\n          exit 1\n"
    )
}

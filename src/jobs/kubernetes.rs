//! Kubernetes: two indexed jobs. It has no order between jobs, so the second is suspended until the first is complete.
//!
//! <https://kubernetes.io/docs/concepts/workloads/controllers/job/#completion-mode>

use super::{JobStage, JobsError, MatrixJobs, RETRIES, in_yaml};

/// The manifests, as a stream of YAML documents.
pub(super) fn manifests(jobs: &MatrixJobs) -> Result<String, JobsError> {
    let image = jobs.image.as_deref().ok_or(JobsError::NoImage)?;
    let (layers, images) = (name(jobs, JobStage::Layers), name(jobs, JobStage::Images));
    let head = format!(
        "# The two stages of a matrix. The second one is suspended; when the first is complete, it may begin:\n\
         #   kubectl wait --for=condition=complete --timeout=24h job/{layers}\n\
         #   kubectl patch job/{images} --patch '{{\"spec\": {{\"suspend\": false}}}}'\n"
    );
    Ok([head, job(jobs, JobStage::Layers, image), "---\n".to_owned(), job(jobs, JobStage::Images, image)]
        .concat())
}

/// Names of Kubernetes have no `_`.
fn name(jobs: &MatrixJobs, stage: JobStage) -> String {
    format!("{}-{stage}", jobs.name.replace(['_', '.'], "-"))
}

fn job(jobs: &MatrixJobs, stage: JobStage, image: &str) -> String {
    let (name, shards) = (name(jobs, stage), jobs.shards);
    let command = in_yaml(&jobs.command(stage, "$((JOB_COMPLETION_INDEX + 1))"));
    let (image, suspend) = (in_yaml(image), stage == JobStage::Images);
    format!(
        "apiVersion: batch/v1\n\
         kind: Job\n\
         metadata:\n  name: {name}\n\
         spec:\n  completionMode: Indexed\n  completions: {shards}\n  parallelism: {shards}\n  \
         backoffLimitPerIndex: {RETRIES}\n  suspend: {suspend}\n  \
         template:\n    spec:\n      restartPolicy: Never\n      containers:\n        \
         - name: imgforge\n          image: {image}\n          command:\n            \
         - sh\n            - -c\n            - {command}\n"
    )
}

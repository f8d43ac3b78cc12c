//! Slurm: a script that submits two job arrays, of which the second begins when all of the first has succeeded.
//!
//! * <https://slurm.schedmd.com/job_array.html>
//! * <https://slurm.schedmd.com/sbatch.html>

use super::{JobStage, MatrixJobs, RETRIES, quoted};

/// The script.
pub(super) fn script(jobs: &MatrixJobs) -> String {
    let layers = submission(jobs, JobStage::Layers, "");
    let images =
        submission(jobs, JobStage::Images, " --dependency=afterok:\"$layers\" --kill-on-invalid-dep=yes");
    format!(
        "#!/bin/sh\n\
         # Submits the two stages of a matrix to Slurm, and prints the numbers of their jobs. Run it where the matrix is, in a\n\
         # directory that all nodes have.\n\
         set -eu\n\n\
         {layers}\n{images}\necho \"$layers $images\"\n"
    )
}

/// A node that fails has its task put back into the queue by Slurm, a task that fails does that itself.
fn submission(jobs: &MatrixJobs, stage: JobStage, dependency: &str) -> String {
    let (name, shards) = (quoted(&format!("{}-{stage}", jobs.name)), jobs.shards);
    let command = jobs.command(stage, "$SLURM_ARRAY_TASK_ID");
    format!(
        "{stage}=$(sbatch --parsable --job-name={name} --array=1-{shards} --requeue{dependency} <<'JOB'\n\
         #!/bin/sh\n\
         {command} && exit 0\n\
         test \"${{SLURM_RESTART_COUNT:-0}}\" -ge {RETRIES} || scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID\"\n\
         exit 1\n\
         JOB\n\
         )\n"
    )
}

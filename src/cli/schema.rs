//! The JSON schemas of documents, for editors and validators.

use clap::ValueEnum;

/// A document that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Document {
    /// A recipe.
    Recipe,
    /// The description of a base, a file in images/.
    Base,
    /// A matrix, a file with `recipe:` and `matrix:`.
    Matrix,
    /// The output of `imgforge plan --json`.
    Plan,
    /// The output of `imgforge inspect --json`.
    Inspect,
    /// The output of `imgforge check --json`.
    Findings,
    /// The output of `imgforge diff --json`.
    Diff,
    /// The output of `imgforge outdated --json`.
    Outdated,
    /// The output of `imgforge matrix plan --json`.
    MatrixPlan,
    /// The output of `imgforge cache info --json`.
    CacheInfo,
    /// The file of `imgforge build --metadata-file`.
    Metadata,
    /// The file of `imgforge matrix images --metadata-file`.
    MatrixMetadata,
    /// A line of `--progress json`.
    Progress,
}

impl Document {
    /// The schema.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Recipe => include_str!("../recipe/recipe.schema.json"),
            Self::Base => include_str!("../recipe/base.schema.json"),
            Self::Matrix => include_str!("../recipe/matrix.schema.json"),
            Self::Plan => include_str!("plan.schema.json"),
            Self::Inspect => include_str!("inspect.schema.json"),
            Self::Findings => include_str!("findings.schema.json"),
            Self::Diff => include_str!("diff.schema.json"),
            Self::Outdated => include_str!("outdated.schema.json"),
            Self::MatrixPlan => include_str!("matrix_plan.schema.json"),
            Self::CacheInfo => include_str!("cache_info.schema.json"),
            Self::Metadata => include_str!("metadata.schema.json"),
            Self::MatrixMetadata => include_str!("matrix_metadata.schema.json"),
            Self::Progress => include_str!("progress.schema.json"),
        }
    }
}

//! The JSON schemas of documents, for editors and validators.

use clap::ValueEnum;

/// A document that has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Document {
    /// A recipe.
    Recipe,
    /// The description of a base, a file in images/.
    Base,
    /// The findings of `imgforge check --json`.
    Findings,
    /// A matrix, a file with `recipe:` and `matrix:`.
    Matrix,
    /// The images and layers of `imgforge matrix plan --json`.
    MatrixPlan,
}

impl Document {
    /// The schema.
    pub fn text(self) -> &'static str {
        match self {
            Self::Recipe => include_str!("../recipe/recipe.schema.json"),
            Self::Base => include_str!("../recipe/base.schema.json"),
            Self::Findings => include_str!("findings.schema.json"),
            Self::Matrix => include_str!("../recipe/matrix.schema.json"),
            Self::MatrixPlan => include_str!("matrix_plan.schema.json"),
        }
    }
}

//! A finding: what it is about, how bad it is, and what was observed.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{About, Observation, Rule};

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something that the image is for does not work.
    Error,
    /// Something may not work, or not always.
    Warning,
    /// Worth knowing.
    Note,
}

/// One finding, at one place. Its texts are [`Finding::seen`] and [`Finding::fix`], its advice is [`Finding::advice`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Its severity.
    pub level: Level,
    /// The file, distribution or image that it is about.
    pub subject: About,
    /// The observation, as data.
    pub observation: Observation,
}

impl Finding {
    /// The rule that was broken.
    pub fn rule(&self) -> Rule {
        self.observation.rule()
    }
}

/// The worst first, then by rule and subject.
impl Ord for Finding {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |it: &Self| (it.level, it.rule());
        let by_rule = key(self).cmp(&key(other)).then_with(|| self.subject.cmp(&other.subject));
        by_rule.then_with(|| self.observation.cmp(&other.observation))
    }
}

impl PartialOrd for Finding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

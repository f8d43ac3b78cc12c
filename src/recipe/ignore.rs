//! The findings of a check that a recipe accepts.

use super::decode::{Complaint, Decode, Fields, parsed};
use super::diagnostic::{Problems, quote};
use super::suggest::closest;
use super::yaml::Node;
use crate::check::{Rule, Silence};

/// The decoded entries of `ignore`.
#[derive(Debug, Default)]
pub(super) struct Silences(pub(super) Vec<Silence>);

impl Decode for Silences {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        let entries: Vec<SilenceEntry> = Vec::decode(node, problems)?;
        Some(Self(entries.into_iter().map(|entry| entry.0).collect()))
    }
}

struct SilenceEntry(Silence);

impl Decode for SilenceEntry {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        const HELP: &str = "say why: `{rule: broken-link, path: /opt/*, reason: mounted when it runs}`";
        let mut fields = Fields::open(node, "an entry of `ignore`", problems)?;
        let rule: Option<RuleName> = fields.require("rule", HELP, problems);
        let path: Option<Text> = fields.require("path", HELP, problems);
        let reason: Option<Text> = fields.require("reason", HELP, problems);
        fields.finish(problems);
        Some(Self(Silence { rule: rule?.0, subject: path?.0, reason: reason?.0 }))
    }
}

struct RuleName(Rule);

impl Decode for RuleName {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a rule of `imgforge check`", problems, |text| {
            let rule = Rule::ALL.into_iter().find(|rule| rule.id() == text);
            rule.map(Self).ok_or_else(|| {
                let complaint = Complaint::new(format!("{} is no rule of `imgforge check`", quote(text)));
                let known = Rule::ALL.map(Rule::id);
                match closest(text, &known) {
                    Some(rule) => complaint.help(format!("did you mean `{rule}`?")),
                    None => complaint.help("write the name in brackets of a finding: `missing-library`"),
                }
            })
        })
    }
}

/// A text that says something.
struct Text(String);

impl Decode for Text {
    fn decode(node: &Node, problems: &mut Problems) -> Option<Self> {
        parsed(node, "a text", problems, |text| {
            let given = !text.trim().is_empty();
            given.then(|| Self(text.to_owned())).ok_or_else(|| Complaint::new("the text is empty"))
        })
    }
}

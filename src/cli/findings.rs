//! The findings of a check, for people and for machines. `findings.schema.json` describes the JSON.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::gpus;
use super::text::{Page, PrintedText};
use crate::check::{About, Advice, Finding, Level, LookedAt, Observation, Report, Rule};
use crate::escape::escaped;
use crate::failure::Hinted;
use crate::place::ImagePlace;

/// The format of printed findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Table,
    Json,
    /// For code scanning.
    Sarif,
    /// Commands that GitHub Actions shows beside a run.
    Github,
}

/// A report on `image` as `format` says.
pub(super) fn printed(report: &Report, image: &str, format: Format) -> serde_json::Result<PrintedText> {
    Ok(match format {
        Format::Table => table(report),
        Format::Json => PrintedText::json(&Document::of(report))?,
        Format::Sarif => PrintedText::json(&sarif(report, image))?,
        Format::Github => PrintedText::commands(report.findings.iter().map(github)),
    })
}

/// A report as JSON.
pub(super) fn document(report: &Report) -> Value {
    json!(Document::of(report))
}

/// The worst first, and how much was looked at.
pub(super) fn table(report: &Report) -> PrintedText {
    let mut out = listed(report, Level::Note, Page::ENDLESS);
    for (finding, reason) in &report.ignored {
        out.line(format_args!("ignored[{}]: {}: {reason}", finding.rule().id(), finding.subject));
    }
    gpus::support(&mut out, &report.gpus);
    let [errors, warnings, notes] =
        [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")]
            .map(|(level, word)| counted(report.count(level), word));
    let seen = &report.looked_at;
    out.line(format_args!(
        "{errors}, {warnings}, {notes}; looked at {} files, {} of them ELF, {} programs and modules \
         with all they load, {} distributions",
        seen.files, seen.objects, seen.entry_points, seen.distributions
    ));
    if let Some(imported) = seen.imported {
        let failed = report.findings.iter().filter(|finding| finding.rule() == Rule::FailedImport).count();
        out.line(format_args!(
            "imported {} of {imported} modules, each in a process of its own",
            imported - failed
        ));
    }
    out
}

/// The findings of an image that is not published: their count first, and what keeps it from being published last, where
/// logs end.
pub(super) fn told_of_build(report: &Report, page: Page) -> PrintedText {
    let mut out = PrintedText::on(page);
    let count = |level, one| counted(report.count(level), one);
    let (errors, warnings) = (count(Level::Error, "error"), count(Level::Warning, "warning"));
    out.line(match report.count(Level::Note) {
        0 => format!("the check found {errors} and {warnings}"),
        _ => {
            let notes = count(Level::Note, "note");
            format!("the check found {errors}, {warnings} and {notes}, which are not listed")
        }
    });
    out.blank();
    gpus::support(&mut out, &report.gpus);
    list(&mut out, report, &[Level::Warning, Level::Error]);
    out
}

/// `1 error`, `2 errors`
fn counted(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// The findings of this level and worse, the worst first.
pub(super) fn listed(report: &Report, least: Level, page: Page) -> PrintedText {
    let mut out = PrintedText::on(page);
    let levels = [Level::Error, Level::Warning, Level::Note];
    list(&mut out, report, &levels[..levels.iter().take_while(|level| **level <= least).count()]);
    out
}

/// Lists the findings of some levels, one level after the other.
fn list(out: &mut PrintedText, report: &Report, levels: &[Level]) {
    let of_level = |level: &Level| {
        let level = *level;
        report.findings.iter().filter(move |finding| finding.level == level)
    };
    for finding in levels.iter().flat_map(of_level) {
        out.paragraph(format_args!("{}[{}]: {}", word(finding.level), finding.rule().id(), finding.subject));
        out.indented(finding.seen());
        out.indented(format_args!("why: {}", finding.rule().why()));
        out.indented(format_args!("fix: {}", finding.fix()));
        out.blank();
    }
}

/// The findings of this level and worse as commands of GitHub Actions.
pub(super) fn annotations(report: &Report, least: Level) -> PrintedText {
    PrintedText::commands(report.findings.iter().filter(|finding| finding.level <= least).map(github))
}

/// A level, as findings begin with it.
pub(super) fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

/// A report as JSON.
#[derive(Serialize)]
struct Document<'a> {
    findings: Vec<Printed<'a>>,
    ignored: Vec<(Printed<'a>, &'a str)>,
    gpus: Value,
    looked_at: LookedAt,
}

/// A finding as JSON: its texts, and the data they were made from.
#[derive(Serialize)]
struct Printed<'a> {
    level: Level,
    rule: Rule,
    subject: String,
    seen: String,
    fix: String,
    #[serde(flatten)]
    data: Data<'a>,
}

/// The data of a finding.
#[derive(Serialize)]
struct Data<'a> {
    about: &'a About,
    evidence: &'a Observation,
    advice: PrintedAdvice,
}

#[derive(Serialize)]
struct PrintedAdvice {
    #[serde(flatten)]
    advice: Advice,
    #[serde(skip_serializing_if = "Option::is_none")]
    recipe: Option<Value>,
}

impl<'a> Document<'a> {
    fn of(report: &'a Report) -> Self {
        let ignored = report.ignored.iter();
        Self {
            findings: report.findings.iter().map(Printed::of).collect(),
            ignored: ignored.map(|(finding, reason)| (Printed::of(finding), reason.as_str())).collect(),
            gpus: gpus::document(&report.gpus),
            looked_at: report.looked_at,
        }
    }
}

impl<'a> Printed<'a> {
    fn of(finding: &'a Finding) -> Self {
        Self {
            level: finding.level,
            rule: finding.rule(),
            subject: finding.subject.to_string(),
            seen: finding.seen(),
            fix: finding.fix(),
            data: Data::of(finding),
        }
    }
}

impl<'a> Data<'a> {
    fn of(finding: &'a Finding) -> Self {
        let advice = finding.advice();
        let advice = PrintedAdvice { recipe: advice.recipe(), advice };
        Self { about: &finding.subject, evidence: &finding.observation, advice }
    }
}

/// <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>
fn sarif(report: &Report, image: &str) -> Value {
    let described = |rule: &Rule| json!({"id": rule.id(), "shortDescription": {"text": rule.why()}});
    let rules: Vec<Value> = Rule::ALL.iter().map(described).collect();
    let result = |finding: &Finding, suppressions: Value| {
        let index = Rule::ALL.iter().position(|rule| *rule == finding.rule());
        json!({
            "ruleId": finding.rule().id(),
            "ruleIndex": index,
            "level": word(finding.level),
            "message": {"text": format!("{}\n{}", finding.seen(), finding.fix())},
            "locations": [{
                "physicalLocation": {"artifactLocation": {"uri": uri(finding)}},
                "logicalLocations": [{"fullyQualifiedName": format!("{image} {}", finding.subject)}],
            }],
            "suppressions": suppressions,
            "properties": Data::of(finding),
        })
    };
    let ignored = report
        .ignored
        .iter()
        .map(|(finding, reason)| result(finding, json!([{"kind": "external", "justification": reason}])));
    let results: Vec<Value> =
        report.findings.iter().map(|finding| result(finding, json!([]))).chain(ignored).collect();
    let driver = json!({"name": "imgforge", "version": env!("CARGO_PKG_VERSION"), "rules": rules});
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": driver},
            "results": results,
            "properties": {"gpus": gpus::document(&report.gpus)},
        }],
    })
}

/// The path in the image, relative as code scanning wants it; a distribution's name for what is about no file.
fn uri(finding: &Finding) -> String {
    let escape = |c: char| match c {
        ' ' => "%20".to_owned(),
        '%' => "%25".to_owned(),
        c => c.to_string(),
    };
    finding.subject.to_string().trim_start_matches('/').chars().map(escape).collect()
}

/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
fn github(finding: &Finding) -> String {
    let command = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let message = format!("{}: {}", finding.subject, finding.seen());
    let [message, fix] = [message, finding.fix()].map(|text| escaped(&text).replace('%', "%25"));
    format!("::{command} title={}::{message}%0Afix: {fix}", finding.rule().id())
}

/// The findings of a check, as the reason for which the process fails.
#[derive(Debug, thiserror::Error)]
#[error("`{image}` has {errors}")]
pub(super) struct FailedCheck {
    /// The number of errors.
    pub errors: String,
    /// The image.
    pub image: ImagePlace,
}

impl Hinted for FailedCheck {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::samples::samples;

    fn report() -> Report {
        let finding = |level, path: &str| Finding {
            level,
            subject: About::Path(path.to_owned()),
            observation: Observation::DamagedFile { reason: "100% gone".to_owned() },
        };
        Report {
            findings: vec![finding(Level::Error, "/opt/a b.so")],
            ignored: vec![(finding(Level::Note, "/opt/c.so"), "mounted".to_owned())],
            ..Report::default()
        }
    }

    fn printed(report: &Report, format: Format) -> String {
        super::printed(report, "oci:image", format).unwrap().to_string()
    }

    #[test]
    fn actions_get_one_command_for_each_finding() {
        let expected =
            "::error title=damaged-file::/opt/a b.so: 100%25 gone%0Afix: install its package again\n";
        assert_eq!(printed(&report(), Format::Github), expected);
    }

    #[test]
    fn code_scanning_gets_results_with_their_data_and_what_is_suppressed() {
        let sarif: Value = serde_json::from_str(&printed(&report(), Format::Sarif)).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let uri = |result: &Value| {
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().to_owned()
        };
        assert_eq!(results.iter().map(uri).collect::<Vec<_>>(), ["opt/a%20b.so", "opt/c.so"]);
        assert_eq!(results[1]["suppressions"][0]["justification"], "mounted");
        let properties = json!({
            "about": {"path": "/opt/a b.so"},
            "evidence": {"kind": "damaged-file", "reason": "100% gone"},
            "advice": {"kind": "reinstall-file"},
        });
        assert_eq!(results[0]["properties"], properties);
        let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
        let index = results[0]["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], results[0]["ruleId"]);
    }

    #[test]
    fn an_advice_that_is_a_change_of_the_recipe_says_which() {
        let report = Report { findings: samples(), ..Report::default() };
        let json: Value = serde_json::from_str(&printed(&report, Format::Json)).unwrap();
        let changes = |rule: &str| {
            let findings = json["findings"].as_array().unwrap().iter();
            let of_rule = findings.filter(|finding| finding["rule"] == rule);
            of_rule.map(|finding| finding["advice"]["recipe"].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(changes("old-component"), [r#"{"cuda":{"components":{"cudnn":"shared"}}}"#]);
        assert_eq!(changes("missing-symbol"), [r#"{"cuda":{"policy":"shared"}}"#, "null"]);
        assert_eq!(changes("unmet-requirement"), ["null"]);
        assert_eq!(changes("two-majors"), ["null", "null"]);
    }

    /// Every kind of finding, as the schema that is published describes it.
    #[test]
    fn the_json_is_as_its_schema_says() {
        let (findings, ignored) = (samples(), samples());
        let ignored = ignored.into_iter().map(|finding| (finding, "as it should be".to_owned())).collect();
        let json = printed(&Report { findings, ignored, ..Report::default() }, Format::Json);
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        let schema = serde_json::from_str(include_str!("findings.schema.json")).unwrap();
        compiler.add_resource("findings", schema).unwrap();
        let index = compiler.compile("findings", &mut schemas).unwrap();
        let document = serde_json::from_str(&json).unwrap();
        let judged = schemas.validate(&document, index);
        assert!(judged.is_ok(), "{:#}", judged.unwrap_err());
    }
}

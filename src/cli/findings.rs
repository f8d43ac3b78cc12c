//! The findings of a check, for people and for machines.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::{Value, json};

use crate::check::{Finding, Level, Report, Rule};

/// How findings are printed.
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

/// Prints a report on `image` as `format` says.
pub(super) fn print(out: &mut impl Write, report: &Report, image: &str, format: Format) -> io::Result<()> {
    match format {
        Format::Table => table(out, report),
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(report)?),
        Format::Sarif => writeln!(out, "{}", serde_json::to_string_pretty(&sarif(report, image))?),
        Format::Github => report.findings.iter().try_for_each(|finding| github(out, finding)),
    }
}

/// The worst first, and how much was looked at.
pub(super) fn table(out: &mut impl Write, report: &Report) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{}[{}]: {}", word(finding.level), finding.rule.id(), finding.subject)?;
        writeln!(out, "  {}", finding.seen)?;
        writeln!(out, "  why: {}", finding.rule.why())?;
        writeln!(out, "  fix: {}\n", finding.fix)?;
    }
    for (finding, reason) in &report.ignored {
        writeln!(out, "ignored[{}]: {}: {reason}", finding.rule.id(), finding.subject)?;
    }
    let [errors, warnings, notes] =
        [Level::Error, Level::Warning, Level::Note].map(|level| report.count(level));
    let seen = &report.looked_at;
    writeln!(
        out,
        "{errors} errors, {warnings} warnings, {notes} notes; looked at {} files, {} of them ELF, {} programs and modules \
         with all they load, {} distributions",
        seen.files, seen.objects, seen.entry_points, seen.distributions
    )
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

/// <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>
fn sarif(report: &Report, image: &str) -> Value {
    let rules = Rule::ALL.map(|rule| json!({"id": rule.id(), "shortDescription": {"text": rule.why()}}));
    let result = |finding: &Finding, suppressions: Value| {
        let index = Rule::ALL.iter().position(|rule| *rule == finding.rule);
        json!({
            "ruleId": finding.rule.id(),
            "ruleIndex": index,
            "level": word(finding.level),
            "message": {"text": format!("{}\n{}", finding.seen, finding.fix)},
            "locations": [{
                "physicalLocation": {"artifactLocation": {"uri": uri(finding)}},
                "logicalLocations": [{"fullyQualifiedName": format!("{image} {}", finding.subject)}],
            }],
            "suppressions": suppressions,
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
        "runs": [{"tool": {"driver": driver}, "results": results}],
    })
}

/// The path in the image, relative as code scanning wants it; a distribution's name for what is about no file.
fn uri(finding: &Finding) -> String {
    let escape = |c: char| match c {
        ' ' => "%20".to_owned(),
        '%' => "%25".to_owned(),
        c => c.to_string(),
    };
    finding.subject.trim_start_matches('/').chars().map(escape).collect()
}

/// <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands>
fn github(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let command = match finding.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "notice",
    };
    let escaped = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let message = format!("{}: {}\nfix: {}", finding.subject, finding.seen, finding.fix);
    writeln!(out, "::{command} title={}::{}", finding.rule.id(), escaped(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let finding = |level, subject: &str| Finding {
            level,
            rule: Rule::MissingLibrary,
            subject: subject.to_owned(),
            seen: "100% gone".to_owned(),
            fix: "install it".to_owned(),
        };
        Report {
            findings: vec![finding(Level::Error, "/opt/a b.so")],
            ignored: vec![(finding(Level::Note, "/opt/c.so"), "mounted".to_owned())],
            ..Report::default()
        }
    }

    fn printed(format: Format) -> String {
        let mut out = Vec::new();
        print(&mut out, &report(), "oci:image", format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn actions_get_one_command_for_each_finding() {
        let expected = "::error title=missing-library::/opt/a b.so: 100%25 gone%0Afix: install it\n";
        assert_eq!(printed(Format::Github), expected);
    }

    #[test]
    fn code_scanning_gets_results_and_what_is_suppressed() {
        let sarif: Value = serde_json::from_str(&printed(Format::Sarif)).unwrap();
        let results = sarif["runs"][0]["results"].as_array().unwrap();
        let uri = |result: &Value| {
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap().to_owned()
        };
        assert_eq!(results.iter().map(uri).collect::<Vec<_>>(), ["opt/a%20b.so", "opt/c.so"]);
        assert_eq!(results[1]["suppressions"][0]["justification"], "mounted");
        let rules = sarif["runs"][0]["tool"]["driver"]["rules"].as_array().unwrap();
        let index = results[0]["ruleIndex"].as_u64().unwrap() as usize;
        assert_eq!(rules[index]["id"], results[0]["ruleId"]);
    }
}

//! Rules for what an image's config names: user, program and directories.

use super::observation::MissingOfConfig;
use super::{About, Finding, Level, Observation, Subject};
use crate::base::Account;
use crate::base::scan::ImageConfigFacts;
use crate::observe::check_facts::CheckFacts;

pub(super) fn findings(subject: &Subject<'_>) -> Vec<Finding> {
    let (evidence, config) = (subject.evidence, subject.config);
    let finding = |level, member: &str, missing| Finding {
        level,
        subject: About::Config(member.to_owned()),
        observation: Observation::Config { missing },
    };
    let user = missing_user(evidence, config).map(|it| finding(Level::Error, "User", it));
    let program = missing_program(evidence, config).map(|it| finding(Level::Error, "Entrypoint", it));
    // Container runtimes make it.
    let directory = missing_directory(evidence, config).map(|it| finding(Level::Note, "WorkingDir", it));
    let health = config.health_program.as_ref().filter(|name| !has_program(evidence, config, name));
    let health = health.map(|name| MissingOfConfig::HealthProgram { name: name.clone() });
    let health = health.map(|it| finding(Level::Warning, "Healthcheck", it));
    let of_path = missing_of_path(evidence, config).into_iter().map(|it| finding(Level::Note, "Env", it));
    user.into_iter().chain(program).chain(health).chain(directory).chain(of_path).collect()
}

/// The account of the image's user; `None` for one that nobody knows.
pub(super) fn account(evidence: &CheckFacts, config: &ImageConfigFacts) -> Option<Account> {
    let text = |path| evidence.text(path).map(String::from_utf8_lossy).unwrap_or_default();
    Account::named(&config.user, &text("etc/passwd"), &text("etc/group"))
}

fn missing_user(evidence: &CheckFacts, config: &ImageConfigFacts) -> Option<MissingOfConfig> {
    account(evidence, config).is_none().then(|| MissingOfConfig::User { name: config.user.clone() })
}

/// The first word of the command, which is found as `execvp` finds it.
fn missing_program(evidence: &CheckFacts, config: &ImageConfigFacts) -> Option<MissingOfConfig> {
    let name = config.command.first()?;
    (!has_program(evidence, config, name)).then(|| MissingOfConfig::Program { name: name.clone() })
}

fn has_program(evidence: &CheckFacts, config: &ImageConfigFacts, name: &str) -> bool {
    match name.contains('/') {
        true => evidence.file(&config.absolute(name)).is_some(),
        false => config.path().any(|directory| evidence.file(&format!("{directory}/{name}")).is_some()),
    }
}

fn missing_directory(evidence: &CheckFacts, config: &ImageConfigFacts) -> Option<MissingOfConfig> {
    let path = &config.working_directory;
    let is_there = path.trim_matches('/').is_empty() || is_directory(evidence, path);
    (!is_there).then(|| MissingOfConfig::Directory { path: path.clone() })
}

fn missing_of_path(evidence: &CheckFacts, config: &ImageConfigFacts) -> Vec<MissingOfConfig> {
    // Nobody misses what runtimes set by themselves.
    let named = config.variable("PATH").map(|_| config.path()).into_iter().flatten();
    let is_usual = |path: &str| path.starts_with("/usr/") || matches!(path, "/bin" | "/sbin");
    let missing = named.filter(|path| !is_usual(path) && !is_directory(evidence, path));
    missing.map(|path| MissingOfConfig::PathDirectory { path: path.to_owned() }).collect()
}

fn is_directory(evidence: &CheckFacts, path: &str) -> bool {
    evidence.resolve(path).is_some_and(|real| evidence.is_directory(&real))
}

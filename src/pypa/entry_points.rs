//! `entry_points.txt`, of which an installer needs the scripts.
//!
//! <https://packaging.python.org/en/latest/specifications/entry-points/>

use crate::oci::paths::{LONGEST_NAME, name_fault};

/// The scripts of one distribution: that with the most has some hundred.
const MOST_SCRIPTS: usize = 4096;

/// A script that an installer generates: `NAME = MODULE:FUNCTION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The name of the program.
    pub name: String,
    /// The module to import.
    pub module: String,
    /// The function in the module; may have dots: `App.main`.
    pub function: String,
}

/// The reason why `entry_points.txt` is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum EntryPointError {
    #[error("entry_points.txt names no script in `{line}`")]
    NotAScript { line: String },
    #[error("entry_points.txt names more than {MOST_SCRIPTS} scripts")]
    Many,
}

/// The console and GUI scripts of an `entry_points.txt`, sorted by name.
///
/// Extras behind an entry point are read over, as the specification asks of installers.
pub fn scripts(text: &str, python: (u8, u8)) -> Result<Vec<Script>, EntryPointError> {
    let mut scripts = Vec::new();
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim();
        } else if matches!(section, "console_scripts" | "gui_scripts") {
            let shown = || line.escape_debug().take(LONGEST_NAME).collect();
            scripts.push(script(line).ok_or_else(|| EntryPointError::NotAScript { line: shown() })?);
            if scripts.len() > MOST_SCRIPTS {
                return Err(EntryPointError::Many);
            }
        }
    }
    name_pip_after_the_interpreter(&mut scripts, python);
    scripts.sort_by(|a, b| a.name.cmp(&b.name));
    scripts.dedup_by(|a, b| a.name == b.name);
    Ok(scripts)
}

fn script(line: &str) -> Option<Script> {
    let (name, value) = line.split_once('=')?;
    let reference = value.split('[').next()?;
    let (module, function) = reference.split_once(':')?;
    let identifier = |text: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    let (name, module, function) = (name.trim(), module.trim(), function.trim());
    (is_file_name(name) && identifier(module) && identifier(function)).then(|| Script {
        name: name.into(),
        module: module.into(),
        function: function.into(),
    })
}

/// Returns whether `name` is that of a file, and of one that is there: a whiteout would hide the base's.
fn is_file_name(name: &str) -> bool {
    name_fault(name).is_none() && !name.contains(|c: char| c == '\\' || c.is_control())
}

/// pip's wheel names its `pip3.X` script after the Python that built it; installers name it after theirs.
fn name_pip_after_the_interpreter(scripts: &mut Vec<Script>, (major, minor): (u8, u8)) {
    scripts.retain(|script| {
        let version = script.name.strip_prefix("pip3.");
        version.is_none_or(|minor| minor.parse::<u8>().is_err())
    });
    if let Some(pip) = scripts.iter().find(|script| script.name == "pip3").cloned() {
        scripts.push(Script { name: format!("pip{major}.{minor}"), ..pip });
    }
}

impl Script {
    /// The file that runs the script, the same bytes as uv writes.
    pub fn launcher(&self, interpreter: &str) -> String {
        let Self { module, function, .. } = self;
        let import = function.split('.').next().unwrap_or(function);
        let lines = [
            format!("#!{interpreter}"),
            "# -*- coding: utf-8 -*-".into(),
            "import sys".into(),
            format!("from {module} import {import}"),
            "if __name__ == \"__main__\":".into(),
            "    if sys.argv[0].endswith(\"-script.pyw\"):".into(),
            "        sys.argv[0] = sys.argv[0][:-11]".into(),
            "    elif sys.argv[0].endswith(\".exe\"):".into(),
            "        sys.argv[0] = sys.argv[0][:-4]".into(),
            format!("    sys.exit({function}())"),
            String::new(),
        ];
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let scripts = scripts(text, (3, 11)).unwrap();
        let shown: Vec<String> =
            scripts.iter().map(|s| format!("{} -> {}:{}", s.name, s.module, s.function)).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn reads_console_and_gui_scripts_only() {
        check(
            "[console_scripts]\n# comment\nf2py = numpy.f2py:main\n\n[gui_scripts]\nplot=app : App.run [gui]\n[other]\nx = y\n",
            &["f2py -> numpy.f2py:main", "plot -> app:App.run"],
        );
    }

    #[test]
    fn pip_is_named_after_the_interpreter() {
        check(
            "[console_scripts]\npip = pip:main\npip3 = pip:main\npip3.9 = pip:main\n",
            &["pip -> pip:main", "pip3 -> pip:main", "pip3.11 -> pip:main"],
        );
    }

    #[test]
    fn refuses_a_script_that_could_leave_its_directory() {
        let long = format!("{} = a:b", "x".repeat(256));
        let whiteouts = [".wh.python3 = a:b", ".wh..wh..opq = a:b"];
        let odd = ["a\0b = a:b", "a\u{1b}b = a:b", "a\\b = a:b", &long];
        let elsewhere = ["../x = a:b", "x = a", "x = a:b c", ".. = a:b"];
        for line in elsewhere.into_iter().chain(whiteouts).chain(odd) {
            assert!(scripts(&format!("[console_scripts]\n{line}\n"), (3, 11)).is_err(), "{line}");
        }
    }

    #[test]
    fn a_launcher_imports_the_outermost_name() {
        let script = Script { name: "x".into(), module: "m".into(), function: "App.run".into() };
        let text = script.launcher("/usr/bin/python3");
        assert!(text.starts_with("#!/usr/bin/python3\n# -*- coding"));
        assert!(text.contains("from m import App\n") && text.ends_with("    sys.exit(App.run())\n"));
    }
}

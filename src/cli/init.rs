//! `imgforge init`: a first recipe, from what is in a directory, or from answers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use super::text::{print, tell, tell_line};
use crate::draft::{self, Draft, ProjectFiles};
use crate::failure::{Context, Failure, Result};
use crate::plain_file;

/// The name of standard output among files.
const STANDARD_OUTPUT: &str = "-";
/// The bytes of a file that a recipe is drafted from.
const LONGEST_SOURCE: u64 = 8 << 20;
/// The names in a directory that are noted.
const MOST_NAMES: usize = 10_000;

/// Writes a recipe into `file`, which is replaced only where that is wanted.
pub(super) fn init(file: &Path, replace: bool) -> Result<()> {
    let is_output = file == Path::new(STANDARD_OUTPUT);
    if is_source(file) {
        return Err(Failure::advised(
            format!("`{}` would be overwritten: what follows `init` is the recipe to write", file.display()),
            "name the recipe, `imgforge init recipe.yaml`: it is drafted from the Dockerfile, requirements.txt, \
             pyproject.toml, lock or environment.yml beside it; give another Dockerfile that name",
        ));
    }
    if !is_output && !replace && file.exists() {
        return Err(Failure::advised(
            format!("`{}` is there already", file.display()),
            "name another file, or replace it with --force; `imgforge init -` prints the recipe",
        ));
    }
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let files = project_files(directory);
    let draft = match files.texts.is_empty() && io::stdin().is_terminal() && io::stderr().is_terminal() {
        true => ask().context("could not read the answers")?,
        false => draft::draft(&files),
    };
    if is_output {
        return print(&draft.text());
    }
    write(file, &draft.text(), replace)?;
    tell_of(file, &draft);
    Ok(())
}

/// Returns whether a file that is there is one that recipes are drafted from, by its name.
fn is_source(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.split('.').next().unwrap_or(name);
    let is_dockerfile = ["dockerfile", "containerfile"].contains(&stem.to_lowercase().as_str());
    let is_list = stem.starts_with("requirements") && name.ends_with(".txt");
    file.exists()
        && (draft::READ.contains(&name)
            || is_dockerfile
            || name.to_lowercase().ends_with(".dockerfile")
            || is_list)
}

fn write(file: &Path, text: &str, replace: bool) -> Result<()> {
    let mut options = File::options();
    options.write(true);
    match replace {
        true => options.create(true).truncate(true),
        false => options.create_new(true),
    };
    let written = options.open(file).and_then(|mut open| open.write_all(text.as_bytes()));
    written.map_err(|error| {
        Failure::advised(
            format!("could not write `{}`: {error}", file.display()),
            "name a file in a directory that you can write, or print the recipe with `imgforge init -`",
        )
    })
}

fn tell_of(file: &Path, draft: &Draft) {
    let sources = match draft.sources.as_slice() {
        [] => String::new(),
        sources => format!(" from {}", sources.join(", ")),
    };
    tell_line(format_args!("wrote `{}`{sources}", file.display()));
    if !draft.left_out.is_empty() {
        let count = draft.left_out.len();
        let lines = if count == 1 { "line is" } else { "lines are" };
        tell_line(format_args!("{count} {lines} left out: the end of the file says why"));
    }
    tell_line(format_args!("next: imgforge plan {}", file.display()));
}

/// The files that a draft is made from; one that cannot be read is as none.
fn project_files(directory: &Path) -> ProjectFiles {
    let entries = fs::read_dir(directory).into_iter().flatten().take(MOST_NAMES);
    let names: BTreeSet<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    let text = |name: &&str| {
        let text = plain_file::read_text(&directory.join(name), LONGEST_SOURCE).ok()?;
        Some(((*name).to_owned(), text))
    };
    let texts: BTreeMap<String, String> =
        draft::READ.iter().filter(|name| names.contains(**name)).filter_map(text).collect();
    ProjectFiles { texts, names }
}

/// Asks on the terminal: an empty answer takes what is proposed.
fn ask() -> io::Result<Draft> {
    tell_line(
        "There is no Dockerfile, requirements.txt, pyproject.toml or environment.yml here. Three questions:",
    );
    let base = answer(
        "The image to build on, or `debian-bookworm`, which imgforge makes of packages",
        "debian-bookworm",
    )?;
    let packages = answer("What pip shall install, such as `torch==2.6.0 transformers`", "torch")?;
    let system = answer("What apt shall install, such as `ffmpeg git`", "")?;
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    Ok(Draft::of_answers(&base, &words(&packages), &words(&system)))
}

fn answer(question: &str, proposed: &str) -> io::Result<String> {
    let proposal = if proposed.is_empty() { String::new() } else { format!(" [{proposed}]") };
    tell(&format!("{question}{proposal}: "));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let given = line.trim();
    Ok(if given.is_empty() { proposed.to_owned() } else { given.to_owned() })
}

//! The papers tell the truth: every path, item and heading that they name exists, every folder is on the map, every
//! limit is in the list with its value, and the manual has every variable; its commands and keys are held by
//! `tests/it/manual.rs`.
//!
//! A path is a code span that begins with a folder of the repository, `src/oci/digest.rs`; an item in it follows two
//! colons, `src/oci/digest.rs::Digest`. A `*` stands for anything in a file's name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAPERS: [&str; 5] = ["README.md", "SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"];
const FOLDERS: [&str; 7] = ["src/", "tests/", "images/", "recipes/", ".ci/", ".cargo/", "docs/"];

#[test]
fn paths_and_items_that_papers_name_exist() {
    let named = papers().into_iter().flat_map(|paper| {
        let text = read(&paper);
        let spans: Vec<_> = code_spans(&text).map(|(line, span)| (line, span.to_owned())).collect();
        spans.into_iter().map(move |(line, span)| (format!("{paper}:{line}"), span))
    });
    let missing = named.filter_map(|(place, span)| Some(format!("{place}: {}", missing(path_in(&span)?)?)));
    assert_none(missing);
}

#[test]
fn links_lead_to_files_and_headings() {
    let dead = papers().into_iter().flat_map(|paper| {
        let text = read(&paper);
        let links: Vec<_> = links(&text).map(|(line, link)| (line, link.to_owned())).collect();
        links
            .into_iter()
            .filter_map(move |(line, link)| Some(format!("{paper}:{line}: {}", dead(&paper, &link)?)))
    });
    assert_none(dead);
}

#[test]
fn every_folder_is_on_the_map() {
    let map = read("ARCHITECTURE.md");
    let named: BTreeSet<&str> = code_spans(&map).map(|(_, span)| span).collect();
    let files = source_files().into_iter().filter(|file| !file.ends_with("tests.rs"));
    let folders: BTreeSet<PathBuf> = files.filter_map(|file| Some(file.parent()?.to_owned())).collect();
    let rooms = folders.iter().filter(|folder| *folder != Path::new("src"));
    let folders = rooms.map(|folder| format!("{}/", folder.display()));
    assert_none(
        folders
            .filter(|folder| !named.contains(folder.as_str()))
            .map(|folder| format!("ARCHITECTURE.md has no line for `{folder}`")),
    );
}

#[test]
fn every_limit_is_listed_with_its_value() {
    let list = read("ARCHITECTURE.md");
    let rows: Vec<_> = list.lines().filter_map(limit_row).collect();
    let wrong = source_files().into_iter().flat_map(|file| {
        let text = read(&file);
        let limits: Vec<_> = limits(&text).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let file = file.display().to_string();
        limits.into_iter().map(move |(name, value)| (format!("{file}::{name}"), value))
    });
    assert_none(wrong.filter_map(|(name, value)| {
        let Some((_, told)) = rows.iter().find(|(row, _)| *row == name) else {
            return Some(format!("ARCHITECTURE.md, Limits, has no row for `{name}` ({value})"));
        };
        let differs =
            number(&value).is_some_and(|number| told_number(told).is_some_and(|told| told != number));
        differs.then(|| format!("ARCHITECTURE.md says {told} of `{name}`, which is {value}"))
    }));
}

#[test]
fn the_manual_has_every_variable() {
    let manual: String = papers().iter().filter(|paper| paper.starts_with("docs/")).map(read).collect();
    let told: BTreeSet<&str> = code_spans(&manual).map(|(_, span)| span).collect();
    let source: String = sources_of("src/");
    let variables: BTreeSet<&str> = words(&source)
        .filter(|word| ["IMGFORGE_", "PIP_", "UV_"].iter().any(|prefix| word.starts_with(prefix)))
        .collect();
    assert!(variables.contains("IMGFORGE_THREADS"), "{variables:?}");
    let missing = variables.iter().filter(|variable| !told.contains(*variable));
    assert_none(missing.map(|variable| format!("docs/ does not tell of the variable `{variable}`")));
}

#[test]
fn finds_paths_items_links_and_limits() {
    let text = "`src/a.rs::B` and [c](d.md#e-f)\n```\n`src/no.rs`\n```\n`imgforge` `tests/x [N]`\n";
    let paths: Vec<_> = code_spans(text).filter_map(|(line, span)| Some((line, path_in(span)?))).collect();
    assert_eq!(paths, [(1, "src/a.rs::B"), (5, "tests/x")]);
    assert_eq!(links(text).collect::<Vec<_>>(), [(1, "d.md#e-f")]);
    assert_eq!(path_in("images/NAME.yaml"), None);
    assert_eq!(slug("To add a rule: `touch` these"), "to-add-a-rule-touch-these");
    let source = "pub(super) const MAX_PAGE: u64 = 256 << 20;\nconst OTHER: u8 = 1;\n#[cfg(test)]\nmod tests {\nconst MOST: u8 = 1;";
    assert_eq!(limits(source).collect::<Vec<_>>(), [("MAX_PAGE", "256 << 20")]);
    assert_eq!(
        limit_row("| `src/a.rs::MAX_PAGE` | 256 MiB | why |"),
        Some(("src/a.rs::MAX_PAGE", "256 MiB"))
    );
    assert_eq!((number("256 << 20"), told_number("256 MiB")), (Some(256 << 20), Some(256 << 20)));
    assert_eq!((number("1_000"), told_number("1,000"), told_number("a few")), (Some(1000), Some(1000), None));
    assert!(defines("pub(crate) async fn run<T>() {}", "run") && !defines("fn runs() {}", "run"));
}

/// The papers, and the pages of the manual.
fn papers() -> Vec<String> {
    let mut pages = Vec::new();
    collect(&root().join("docs"), "md", &mut pages);
    let pages = pages.iter().map(|page| page.strip_prefix(root()).expect("collected below the root"));
    PAPERS
        .iter()
        .map(|paper| (*paper).to_owned())
        .chain(pages.map(|page| page.display().to_string()))
        .collect()
}

fn assert_none(problems: impl Iterator<Item = String>) {
    let problems: Vec<String> = problems.collect();
    assert!(problems.is_empty(), "{} problems:\n{}\n", problems.len(), problems.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The source below `folder` without its tests, as one text.
fn sources_of(folder: &str) -> String {
    let files =
        source_files().into_iter().filter(|file| file.starts_with(folder) && !file.ends_with("tests.rs"));
    files.map(|file| before_tests(&read(file)).to_owned()).collect()
}

fn before_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default()
}

/// Every file of Rust below `src/`, relative to the repository.
fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root().join("src"), "rs", &mut files);
    files.sort();
    files.iter().map(|file| file.strip_prefix(root()).expect("collected below the root").to_owned()).collect()
}

fn collect(directory: &Path, wanted: &str, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory is readable") {
        let path = entry.expect("a source directory is readable").path();
        if path.is_dir() {
            collect(&path, wanted, files);
        } else if path.extension().is_some_and(|extension| extension == wanted) {
            files.push(path);
        }
    }
}

/// The lines outside fenced blocks, counted from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((index + 1, line))
    })
}

fn code_spans(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |span| (number, span)))
}

/// The targets of links, without those into the web.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let targets = prose(text).flat_map(|(number, line)| {
        line.split("](").skip(1).filter_map(move |rest| Some((number, rest.split_once(')')?.0)))
    });
    targets.filter(|(_, target)| !target.contains("://"))
}

/// The path that a code span names, if it names one: the first word of a command, nothing with a placeholder.
fn path_in(span: &str) -> Option<&str> {
    let word = span.split(' ').next()?;
    let names_one = FOLDERS.iter().any(|folder| word.starts_with(folder));
    let is_literal = !word.contains(['<', '…', '{']) && !word.contains("NAME");
    (names_one && is_literal).then_some(word)
}

/// The problem with `path`, `path::item` or `path::Type::item`.
fn missing(span: &str) -> Option<String> {
    let mut parts = span.split("::");
    let path = parts.next().unwrap_or_default();
    if !exists(path) {
        return Some(format!("there is no `{path}`"));
    }
    let items: Vec<&str> = parts.collect();
    let text = if items.is_empty() { String::new() } else { read(path) };
    let is_there = |index: usize, item: &str| {
        defines(&text, item) || (index > 0 && words(&text).any(|word| word == item))
    };
    let gone = items.iter().enumerate().find(|(index, item)| !is_there(*index, item));
    gone.map(|(_, item)| format!("`{path}` has no `{item}`"))
}

fn exists(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let Some((start, end)) = name.split_once('*') else { return root().join(path).exists() };
    fs::read_dir(root().join(folder)).is_ok_and(|entries| {
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.into_iter().any(|name| name.starts_with(start) && name.ends_with(end))
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// Tells whether a source or a script defines an item of this name.
fn defines(text: &str, item: &str) -> bool {
    const KEYWORDS: [&str; 11] =
        ["fn", "struct", "enum", "trait", "const", "static", "type", "mod", "def", "class", "macro_rules"];
    words(text).zip(words(text).skip(1)).any(|(keyword, name)| name == item && KEYWORDS.contains(&keyword))
}

/// The problem with a link in `paper`.
fn dead(paper: &str, link: &str) -> Option<String> {
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let beside = Path::new(paper).parent().unwrap_or(Path::new("")).join(path);
    let path = if path.is_empty() { PathBuf::from(paper) } else { beside };
    if !root().join(&path).exists() {
        return Some(format!("the link leads to `{}`, which is not there", path.display()));
    }
    let anchor = anchor?;
    let text = read(&path);
    let mut headings = prose(&text).filter_map(|(_, line)| line.strip_prefix('#'));
    let found = headings.any(|heading| slug(heading.trim_start_matches('#')) == anchor);
    (!found).then(|| format!("`{}` has no heading `#{anchor}`", path.display()))
}

/// A heading's anchor.
fn slug(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The constants outside tests whose names say that they bound something, with their values.
fn limits(text: &str) -> impl Iterator<Item = (&str, &str)> {
    const BEGINNINGS: [&str; 5] = ["MAX", "MOST", "LONGEST", "DEEPEST", "LARGEST"];
    before_tests(text).lines().filter_map(|line| {
        let (_, constant) = line.split_once("const ")?;
        let (name, rest) = constant.split_once(": ")?;
        let value = rest.split_once(" = ")?.1.strip_suffix(';')?;
        let is_limit = name.ends_with("_LIMIT") || BEGINNINGS.contains(&name.split('_').next()?);
        (is_limit && !value.starts_with('[')).then_some((name, value))
    })
}

/// The name and the value in a row of the table of limits.
fn limit_row(line: &str) -> Option<(&str, &str)> {
    let mut cells = line.strip_prefix("| `")?.split('|');
    let name = cells.next()?.trim().strip_suffix('`')?;
    name.contains("::").then_some((name, cells.next()?.trim()))
}

/// The value of an integer literal or a shift of two.
fn number(expression: &str) -> Option<u128> {
    let digits = |text: &str| text.trim().replace('_', "").parse::<u128>().ok();
    match expression.split_once("<<") {
        Some((value, shift)) => Some(digits(value)? << digits(shift)?),
        None => digits(expression),
    }
}

/// The value of `256 MiB` or `1,000`.
fn told_number(text: &str) -> Option<u128> {
    let (value, unit) = text.split_once(' ').unwrap_or((text, ""));
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    Some(value.replace(',', "").parse::<u128>().ok()? << shift)
}

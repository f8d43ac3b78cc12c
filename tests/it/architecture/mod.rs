//! The design's module table, held against the source: who may use whom, and who may touch the world.
//!
//! The source is read as text: no type information is needed to see `crate::x` in a file of module `y`.

mod hints;
mod paths;
mod source;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::fs;

use self::paths::{Definition, Module, Modules};
use self::source::{OptOut, Source, sources};

/// The kind of code in a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One file per specification or format; no IO.
    Words,
    /// Pure functions from data to data; no IO, clock or environment.
    Decisions,
    /// The code that meets files, the network and the terminal.
    Outside,
}

/// One row of the design's table.
struct Row {
    module: &'static str,
    may_use: &'static [&'static str],
    kind: Kind,
}

const fn row(module: &'static str, may_use: &'static [&'static str], kind: Kind) -> Row {
    Row { module, may_use, kind }
}

/// The module that every other one may use: what errors tell people.
const FAILURE: &str = "failure";

const WORDS: &[&str] = &["oci", "pypa", "cpython", "cuda", "elf", "debian", "deflate"];

/// The design's table, "Folders". Words may use each other, nothing else of the crate.
const TABLE: &[Row] = &[
    row(FAILURE, &[], Kind::Words),
    row("credentials", &[], Kind::Words),
    row("escape", &[], Kind::Words),
    row("purl", &[], Kind::Words),
    row("place", &["oci"], Kind::Words),
    row("pool", &[], Kind::Decisions),
    row("plain_file", &[], Kind::Outside),
    row("beneath", &["plain_file", "store"], Kind::Outside),
    row("oci", WORDS, Kind::Words),
    row("pypa", WORDS, Kind::Words),
    row("cpython", WORDS, Kind::Words),
    row("cuda", WORDS, Kind::Words),
    row("elf", WORDS, Kind::Words),
    row("debian", WORDS, Kind::Words),
    row("deflate", WORDS, Kind::Words),
    row(
        "recipe",
        &["oci", "pypa", "cuda", "elf", "debian", "credentials", "check", "escape"],
        Kind::Decisions,
    ),
    row("draft", &["pypa", "debian", "recipe"], Kind::Decisions),
    row("observe", WORDS, Kind::Decisions),
    row("base", &["oci", "pypa", "cpython", "cuda", "elf", "debian", "observe"], Kind::Decisions),
    row("bootstrap", &["oci", "pypa", "cuda", "debian", "base"], Kind::Decisions),
    row(
        "resolve",
        &["oci", "pypa", "cuda", "elf", "debian", "credentials", "recipe", "base", "escape"],
        Kind::Decisions,
    ),
    row(
        "plan",
        &["oci", "pypa", "cpython", "cuda", "elf", "debian", "recipe", "base", "bootstrap", "resolve"],
        Kind::Decisions,
    ),
    row(
        "lock",
        &["oci", "pypa", "cuda", "elf", "debian", "credentials", "recipe", "base", "bootstrap", "resolve"],
        Kind::Decisions,
    ),
    row("compare", &["oci", "pypa", "cuda", "elf", "debian", "base", "resolve"], Kind::Decisions),
    row("jobs", &[], Kind::Decisions),
    row("rebase", &["oci", "base"], Kind::Decisions),
    row("attest", &["oci", "purl", "bootstrap", "plan", "lock", "image"], Kind::Decisions),
    row("sbom", &["oci", "pypa", "cuda", "debian", "purl", "base", "observe"], Kind::Decisions),
    row("image", &["oci", "plan"], Kind::Decisions),
    row("check", &["oci", "pypa", "cpython", "cuda", "elf", "debian", "base", "observe"], Kind::Decisions),
    row("store", &["oci", "pool"], Kind::Outside),
    row(
        "net",
        &["oci", "pypa", "cuda", "elf", "debian", "credentials", "resolve", "store", "plain_file", "beneath"],
        Kind::Outside,
    ),
    row("sandbox", &[], Kind::Outside),
    row(
        "layer",
        &[
            "oci",
            "pypa",
            "cpython",
            "cuda",
            "elf",
            "debian",
            "deflate",
            "observe",
            "base",
            "bootstrap",
            "plan",
            "store",
            "plain_file",
            "beneath",
            "sandbox",
            "pool",
        ],
        Kind::Outside,
    ),
    row("importing", &["oci", "sdist", "store", "sandbox"], Kind::Outside),
    row("sdist", &["oci", "pypa", "layer", "store", "beneath", "sandbox"], Kind::Outside),
    row(
        "source",
        &["oci", "attest", "base", "image", "layer", "store", "net", "place", "pool", "plain_file"],
        Kind::Outside,
    ),
    row("registry_cache", &["oci", "image", "layer", "store", "net"], Kind::Outside),
    row(
        "destination",
        &["oci", "attest", "image", "layer", "store", "net", "place", "pool", "source"],
        Kind::Outside,
    ),
    row(
        "pipeline",
        &[
            "oci",
            "pypa",
            "cuda",
            "elf",
            "debian",
            "recipe",
            "observe",
            "base",
            "bootstrap",
            "resolve",
            "lock",
            "plan",
            "compare",
            "image",
            "check",
            "attest",
            "rebase",
            "sbom",
            "store",
            "net",
            "sandbox",
            "layer",
            "sdist",
            "importing",
            "source",
            "registry_cache",
            "destination",
            "credentials",
            "place",
            "pool",
            "plain_file",
            "beneath",
        ],
        Kind::Outside,
    ),
    row(
        "cli",
        &[
            "oci",
            "pypa",
            "cuda",
            "elf",
            "debian",
            "recipe",
            "observe",
            "base",
            "bootstrap",
            "resolve",
            "lock",
            "plan",
            "compare",
            "image",
            "check",
            "attest",
            "rebase",
            "sbom",
            "store",
            "net",
            "sandbox",
            "layer",
            "source",
            "destination",
            "pipeline",
            "draft",
            "jobs",
            "place",
            "escape",
            "plain_file",
        ],
        Kind::Outside,
    ),
];

#[test]
fn every_module_is_in_the_table() {
    let missing: BTreeSet<_> = sources()
        .iter()
        .filter(|source| row_of(source).is_none())
        .map(|source| source.module().to_owned())
        .collect();
    assert!(missing.is_empty(), "not in the design's module table (tests/it/architecture.rs): {missing:?}");
}

#[test]
fn modules_use_only_what_the_table_allows() {
    assert_none(sources().iter().flat_map(forbidden_uses).collect());
}

#[test]
fn only_outside_modules_opt_out_of_the_purity_lints() {
    assert_none(sources().iter().flat_map(forbidden_opt_outs).collect());
}

#[test]
fn the_crates_documentation_lists_every_module() {
    let text =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).expect("lib.rs is text");
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let is_listed = |module: &&str| {
        text.lines().any(|line| line.starts_with("//!") && line.contains(&format!("[`{module}`]")))
    };
    let missing: Vec<_> = modules.filter(|module| !is_listed(module)).collect();
    assert!(missing.is_empty(), "the documentation in src/lib.rs does not list {missing:?}");
}

#[test]
fn files_do_not_use_each_other_in_circles() {
    assert_none(circles(&Modules::of(&sources())));
}

#[test]
fn files_have_at_most_600_lines_without_their_tests() {
    let modules = Modules::of(&sources());
    let long = modules.iter().filter(|module| module.lines > 600).map(|module| Violation {
        place: module.file.clone(),
        rule: format!("{} lines without tests: split it by idea", module.lines),
    });
    assert_none(long.collect());
}

#[test]
fn an_imported_type_name_means_one_thing() {
    assert_none(ambiguous_names(&Modules::of(&sources())));
}

#[test]
fn circles_are_found_through_reexports_and_parents_are_none() {
    let found = |files: &[(&str, &str)]| {
        let source = |(path, text): &(&str, &str)| Source { path: path.into(), text: (*text).into() };
        let sources: Vec<Source> = files.iter().map(source).collect();
        circles(&Modules::of(&sources)).len()
    };
    let a = ("src/a/mod.rs", "mod one; mod two; pub use one::One; struct Shared; fn f() { two::run() }");
    assert_eq!(found(&[a, ("src/a/one.rs", "pub struct One;"), ("src/a/two.rs", "use super::Shared;")]), 0);
    let one = ("src/a/one.rs", "pub struct One(super::two::Two);");
    assert_eq!(found(&[a, one, ("src/a/two.rs", "use super::One; pub struct Two;")]), 1);
    assert_eq!(found(&[a, one, ("src/a/two.rs", "use crate::a::One as First; pub struct Two;")]), 1);
    assert_eq!(found(&[a, one, ("src/a/two.rs", "#[cfg(test)] mod tests { use crate::a::One; }")]), 0);
}

#[test]
fn finds_uses_in_every_form_a_path_is_written() {
    let found = |text: &str| {
        let source = Source { path: "src/base/scan.rs".into(), text: text.into() };
        source.uses().into_iter().map(|used| used.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(found("use crate::store::Store;"), "store");
    assert_eq!(found("use crate::{\n    net,\n    oci::{Digest, Entry},\n};"), "net oci");
    assert_eq!(found("fn f() -> crate :: net::Client {}"), "net");
    assert_eq!(found("use super::super::net;"), "net");
    assert_eq!(found("use super::{super::plan, scan};"), "plan");
    assert_eq!(found("mod tests { use super::super::super::net; }"), "net");
    assert_eq!(found("use super::Inventory; mod tests { use super::super::Inventory; }"), "");
    assert_eq!(found("// crate::net\nconst A: &str = \"crate::net\"; /* crate::net */"), "");
    assert_eq!(found("const A: char = '\"'; use crate::net; const B: char = '\"';"), "net");
    assert_eq!(
        found("const A: &str = r#\"a \" crate::net\"#; fn f<'a>(a: &'a crate::oci::Digest) {}"),
        "oci"
    );
}

#[test]
fn finds_opt_outs_outside_tests_only() {
    let found =
        |text: &str| forbidden_opt_outs(&Source { path: "src/plan/mod.rs".into(), text: text.into() }).len();
    assert_eq!(found("#![allow(clippy::disallowed_methods, reason = \"none\")]"), 1);
    assert_eq!(found("#[expect(clippy::disallowed_types)] fn f() {}"), 1);
    assert_eq!(
        found("#[cfg(test)] mod tests { #![allow(clippy::disallowed_methods, reason = \"files\")] }"),
        0
    );
    assert_eq!(found("#[cfg(test)] use a; mod b { #![allow(clippy::disallowed_methods)] }"), 1);
    assert_eq!(found("#[cfg(test)] mod tests {} #[allow(clippy::disallowed_methods)] fn f() {}"), 1);
}

/// A place in the source that breaks a rule.
struct Violation {
    place: String,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

fn assert_none(violations: Vec<Violation>) {
    let lines: Vec<_> = violations.iter().map(Violation::to_string).collect();
    assert!(lines.is_empty(), "{} of the design's rules broken:\n{}\n", lines.len(), lines.join("\n"));
}

fn row_of(source: &Source) -> Option<&'static Row> {
    let module = source.module();
    TABLE.iter().find(|row| row.module == module)
}

fn forbidden_uses(source: &Source) -> Vec<Violation> {
    let Some(row) = row_of(source) else { return Vec::new() };
    let allowed = |name: &str| name == row.module || name == FAILURE || row.may_use.contains(&name);
    let is_module = |name: &str| TABLE.iter().any(|row| row.module == name);
    source
        .uses()
        .into_iter()
        .filter(|used| is_module(&used.name) && !allowed(&used.name))
        .map(|used| Violation {
            place: source.place(used.line),
            rule: format!("`{}` may not use `{}`, only {:?}", row.module, used.name, row.may_use),
        })
        .collect()
}

fn forbidden_opt_outs(source: &Source) -> Vec<Violation> {
    let outside = row_of(source).is_some_and(|row| row.kind == Kind::Outside);
    source
        .opt_outs()
        .into_iter()
        .filter_map(|opt_out| {
            let rule = match opt_out {
                OptOut { in_tests: true, .. } => return None,
                _ if !outside => {
                    format!("`{}` is no outside module: it may not touch the world", source.module())
                }
                OptOut { has_reason: false, .. } => "an opt-out states its `reason`".to_owned(),
                _ => return None,
            };
            Some(Violation { place: source.place(opt_out.line), rule })
        })
        .collect()
}

/// The shortest circle through each file that is in one, each circle once.
fn circles(modules: &Modules) -> Vec<Violation> {
    let uses: BTreeMap<&str, BTreeMap<&str, usize>> =
        modules.iter().map(|module| (module.file.as_str(), modules.uses(module))).collect();
    let circles: BTreeSet<Vec<&str>> = uses.keys().filter_map(|file| shortest_circle(&uses, file)).collect();
    let describe = |circle: &Vec<&str>| {
        let steps = circle.iter().zip(circle.iter().cycle().skip(1));
        let steps: Vec<_> = steps.map(|(from, to)| format!("{from}:{} uses {to}", uses[from][to])).collect();
        Violation { place: circle[0].to_owned(), rule: format!("files in a circle: {}", steps.join(", ")) }
    };
    circles.iter().map(describe).collect()
}

/// The files of the shortest circle through `start`, beginning with the first by name.
fn shortest_circle<'a>(
    uses: &BTreeMap<&'a str, BTreeMap<&'a str, usize>>,
    start: &'a str,
) -> Option<Vec<&'a str>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for used in uses.get(file).into_iter().flat_map(BTreeMap::keys) {
            if before.contains_key(used) {
                continue;
            }
            before.insert(used, file);
            queue.push_back(used);
        }
    }
    let mut circle = vec![*before.get(start)?];
    while let Some(last) = circle.last().filter(|last| **last != start) {
        circle.push(before[last]);
    }
    circle.reverse();
    let first = (0..circle.len()).min_by_key(|at| circle[*at])?;
    circle.rotate_left(first);
    Some(circle)
}

/// The names of the crate's types that are imported bare and mean something else in another file.
fn ambiguous_names(modules: &Modules) -> Vec<Violation> {
    let mut meanings: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
    for module in modules.iter() {
        for import in &module.imports {
            if let Some(meaning) = type_meant(modules, module, &import.path) {
                let place = format!("{}:{}", module.file, import.line);
                meanings.entry(&import.name).or_default().entry(meaning).or_insert(place);
            }
        }
    }
    for module in modules.iter() {
        for (name, line) in &module.types {
            if let Some(meanings) = meanings.get_mut(name.as_str()) {
                let meaning = [&module.path[..], std::slice::from_ref(name)].concat().join("::");
                meanings.entry(format!("crate::{meaning}")).or_insert(format!("{}:{line}", module.file));
            }
        }
    }
    let is_ours =
        |meanings: &BTreeMap<String, String>| meanings.keys().any(|path| path.starts_with("crate::"));
    let ambiguous = meanings.into_iter().filter(|(_, meanings)| meanings.len() > 1 && is_ours(meanings));
    ambiguous
        .map(|(name, meanings)| {
            let meanings: Vec<_> = meanings.iter().map(|(path, place)| format!("{path} ({place})")).collect();
            Violation { place: name.to_owned(), rule: format!("means {}", meanings.join(", ")) }
        })
        .collect()
}

/// The path of the type that `import` names, if it names a type.
fn type_meant(modules: &Modules, module: &Module, import: &[String]) -> Option<String> {
    let is_type = |name: &String| {
        name.starts_with(char::is_uppercase) && (name.len() == 1 || name.contains(char::is_lowercase))
    };
    match modules.resolve(&module.path, import) {
        Definition::Item { module, name } => {
            let defined = modules.get(&module)?.types.contains_key(&name);
            let is_last = import.last() == Some(&name);
            (defined && is_last).then(|| format!("crate::{}::{name}", module.join("::")))
        }
        Definition::Other(path) => {
            let is_variant = path.len() > 1 && is_type(&path[path.len() - 2]);
            path.last().filter(|name| is_type(name) && !is_variant).map(|_| path.join("::"))
        }
        Definition::Module => None,
    }
}

//! The solver against small catalogs in memory. That it agrees with uv on real ones is tested in `tests/it`.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use url::Url;
use uv_distribution_filename::WheelFilename;
use uv_normalize::PackageName;
use uv_pep440::strip_local_version_sentinels;

use super::*;
use crate::oci::Architecture;
use crate::pypa::metadata;
use crate::pypa::needs::{BinaryFile, BinaryNeeds};
use crate::pypa::wheel::WheelEntry;
use crate::recipe::PackageRequirement;

/// Files by name, each `WHEEL [FLAG…] : REQUIREMENT, …`, where a flag is `yanked`, `py>=3.12` or `@SECONDS`; and libraries
/// in them, each `lib WHEEL LIBRARY`, as [`library`] reads it; and binaries, each `binary WHEEL PATH NEEDED… [opens NAME…]`.
pub(in crate::resolve) struct Shelf {
    libraries: BTreeMap<String, Vec<WheelLibrary>>,
    binaries: BTreeMap<String, BinaryNeeds>,
    projects: BTreeMap<PackageName, Arc<Project>>,
    metadata: BTreeMap<String, Arc<CoreMetadata>>,
    /// The wheels whose metadata was asked for.
    asked: Mutex<BTreeSet<String>>,
}

impl Shelf {
    pub(in crate::resolve) fn new(lines: &str) -> Self {
        let mut shelf = Self {
            projects: BTreeMap::new(),
            metadata: BTreeMap::new(),
            libraries: BTreeMap::new(),
            binaries: BTreeMap::new(),
            asked: Mutex::default(),
        };
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            shelf.add(line);
        }
        shelf
    }

    fn add(&mut self, line: &str) {
        if let Some((wheel, text)) = line.strip_prefix("lib ").and_then(|rest| rest.split_once(' ')) {
            let wheel = format!("{wheel}-py3-none-any.whl");
            self.libraries.entry(wheel).or_default().push(library(text));
            return;
        }
        if let Some((wheel, text)) = line.strip_prefix("binary ").and_then(|rest| rest.split_once(' ')) {
            let needs = self.binaries.entry(file_name(wheel)).or_default();
            needs.files.push(binary(text));
            return;
        }
        let (file, requires) = line.split_once(" : ").unwrap_or((line, ""));
        let mut words = file.split_whitespace();
        let first = words.next().unwrap();
        if let Some((name, _)) = first.strip_suffix(".tar.gz").and_then(|stem| stem.rsplit_once('-')) {
            self.project(name).others.push(first.to_owned());
            return;
        }
        let name =
            if first.matches('-').count() > 1 { first.to_owned() } else { format!("{first}-py3-none-any") };
        let filename = WheelFilename::from_str(&format!("{name}.whl")).unwrap();
        let url = Url::parse(&format!("http://localhost/{name}.whl")).unwrap();
        let mut wheel = DistFile::bare(filename.clone(), url);
        for flag in words {
            match flag {
                "yanked" => wheel.yanked = Some("broken".into()),
                _ if flag.starts_with("py") => wheel.requires_python = Some(flag[2..].parse().unwrap()),
                _ => wheel.upload_time = flag.strip_prefix('@').map(|seconds| seconds.parse().unwrap()),
            }
        }
        let requires: String = requires
            .split(" & ")
            .filter(|text| !text.is_empty())
            .map(|text| format!("Requires-Dist: {text}\n"))
            .collect();
        let extras = requires.split("extra=='").skip(1).filter_map(|rest| rest.split('\'').next());
        let extras: String = extras.map(|extra| format!("Provides-Extra: {extra}\n")).collect();
        let text = format!("Name: {}\nVersion: {}\n{requires}{extras}", filename.name, filename.version);
        self.metadata.insert(filename.to_string(), Arc::new(metadata::parse(&text).unwrap()));
        self.project(filename.name.as_str()).files.push(wheel);
    }

    fn project(&mut self, name: &str) -> &mut Project {
        let name = PackageName::from_str(name).unwrap();
        let empty = || Arc::new(Project::empty(name.clone()));
        Arc::make_mut(self.projects.entry(name.clone()).or_insert_with(empty))
    }
}

/// The file name of a wheel that is given by name and version, or with its tags.
fn file_name(wheel: &str) -> String {
    let tags = if wheel.matches('-').count() > 1 { "" } else { "-py3-none-any" };
    format!("{wheel}{tags}.whl")
}

/// A binary: `PATH LINKED… [opens OPENED…]`.
fn binary(text: &str) -> BinaryFile {
    let (linked, opened) = text.split_once(" opens ").unwrap_or((text, ""));
    let mut linked = linked.split_whitespace().map(str::to_owned);
    BinaryFile {
        path: linked.next().unwrap(),
        linked: linked.collect(),
        opened: opened.split_whitespace().map(str::to_owned).collect(),
        elsewhere: Vec::new(),
    }
}

/// A library: `SONAME [+DEFINED…] [SONAME?UNDEFINED…]`; it is linked to what it has undefined symbols of.
pub(in crate::resolve) fn library(text: &str) -> WheelLibrary {
    let mut words = text.split_whitespace();
    let soname = words.next().unwrap().to_owned();
    let mut symbols = Symbols::default();
    for word in words {
        match word.split_once('?') {
            Some((of, symbol)) => {
                symbols.undefined.entry(of.to_owned()).or_default().insert(symbol.to_owned());
            }
            None => drop(symbols.defined.insert(word.trim_start_matches('+').to_owned())),
        }
    }
    let needed = symbols.undefined.keys().cloned().collect();
    WheelLibrary { path: format!("lib/{soname}"), soname, needed, symbols }
}

impl Catalog for Shelf {
    fn project(&self, name: &PackageName) -> Result<Arc<Project>, CatalogError> {
        let missing = || CatalogError::NotFound { name: name.clone(), searched: vec!["the shelf".into()] };
        self.projects.get(name).cloned().ok_or_else(missing)
    }

    fn metadata(&self, wheel: &DistFile) -> Result<Arc<CoreMetadata>, CatalogError> {
        let file = wheel.filename.to_string();
        self.asked.lock().unwrap().insert(file.clone());
        Ok(self.metadata[&file].clone())
    }

    fn outline(&self, wheel: &DistFile) -> Result<Arc<Outline>, CatalogError> {
        let needs = self.binaries.get(&wheel.filename.to_string());
        let paths = needs.iter().flat_map(|needs| &needs.files).map(|file| file.path.clone());
        let entries = paths.map(|path| WheelEntry { path, size: 1, compressed_size: 1 });
        Ok(Arc::new(Outline { entries: entries.collect() }))
    }

    fn needs(&self, wheel: &DistFile) -> Result<Arc<BinaryNeeds>, CatalogError> {
        Ok(Arc::new(self.binaries.get(&wheel.filename.to_string()).cloned().unwrap_or_default()))
    }

    fn libraries(&self, wheel: &DistFile) -> Result<Arc<Vec<WheelLibrary>>, CatalogError> {
        Ok(Arc::new(self.libraries.get(&wheel.filename.to_string()).cloned().unwrap_or_default()))
    }

    fn prefetch(&self, _: Vec<Want>, _: &Arc<dyn Scout>) {}

    fn prefetch_metadata(&self, _: Vec<DistFile>) {}

    fn prefetch_outlines(&self, _: Vec<DistFile>) {}

    fn prefetch_libraries(&self, _: Vec<DistFile>) {}

    fn prefetch_needs(&self, _: Vec<DistFile>) {}
}

/// Solves `roots` (separated by ` & `; ` | ` starts constraints) with what is on the shelf.
fn answer(shelf: &str, roots: &str, exclude_newer: Option<i64>) -> Result<Solution, SolveError> {
    preferring("", &Shelf::new(shelf), roots, exclude_newer)
}

/// As [`answer`], with `preferences` such as `a 1.0, b 2.0`.
fn preferring(
    preferences: &str,
    shelf: &Shelf,
    roots: &str,
    exclude_newer: Option<i64>,
) -> Result<Solution, SolveError> {
    let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).unwrap();
    let (roots, constraints) = roots.split_once(" | ").unwrap_or((roots, ""));
    let requirements = |text: &str| -> Vec<Requirement> {
        text.split(" & ").filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
    };
    let root = |requirement| RootRequirement::new(PackageRequirement::from(requirement), "the recipe");
    let question = Question {
        target: &target,
        roots: requirements(roots).into_iter().map(root).collect(),
        constraints: requirements(constraints),
        overrides: Overrides::default(),
        direct: BTreeMap::new(),
        exclude_newer,
        prereleases: ProjectSet::default(),
        preferences: preferences
            .split(", ")
            .filter_map(|text| text.split_once(' '))
            .map(|(name, version)| (name.parse().unwrap(), version.parse().unwrap()))
            .collect(),
        set_aside: Arc::new(|name| name.as_str().starts_with("nvidia-")),
    };
    solve(&question, shelf)
}

fn told(answer: Result<Solution, SolveError>) -> String {
    match answer {
        Ok(solution) => {
            let chosen = solution.distributions.values();
            chosen.map(|chosen| format!("{} {}", chosen.name, chosen.version)).collect::<Vec<_>>().join(", ")
        }
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(shelf: &str, roots: &str, expected: &str) {
    assert_eq!(told(answer(shelf, roots, None)), expected);
}

#[test]
fn takes_the_newest_version_that_everything_allows() {
    let shelf = "a-1.0 : b<2\na-2.0 : b<3\nb-1.0\nb-2.0\nb-3.0";
    check(shelf, "a", "a 2.0, b 2.0");
    check(shelf, "a & b==1.0", "a 2.0, b 1.0");
    check(shelf, "a<2", "a 1.0, b 1.0");
    check(shelf, "a | b<2 & unused>1", "a 2.0, b 1.0");
}

#[test]
fn goes_back_when_the_newest_version_leads_nowhere() {
    check("a-1.0 : c<2\na-2.0 : c>=2\nb-1.0 : c<2\nc-1.0\nc-2.0", "b & a", "a 1.0, b 1.0, c 1.0");
    check("a-1.0 : gone\na-0.9", "a", "a 0.9");
}

#[test]
fn evaluates_markers_for_the_target() {
    let requires = "b; python_version<'3.11' & c; sys_platform=='linux' & d; platform_machine=='aarch64'";
    check(&format!("a-1.0 : {requires}\nb-1.0\nc-1.0\nd-1.0"), "a", "a 1.0, c 1.0");
    check("a-1.0", "a; sys_platform=='win32'", "");
}

#[test]
fn adds_what_extras_require() {
    let shelf = "a-1.0 : b; extra=='x' & c; extra=='y' & a[x]; extra=='all' & a[y]; extra=='all'\nb-1.0\nc-1.0\n\
        d-1.0 : a[x]<2\na-2.0 : b; extra=='x'";
    check(shelf, "a==1.0", "a 1.0");
    check(shelf, "a[x]==1.0", "a 1.0, b 1.0");
    check(shelf, "a[all]==1.0", "a 1.0, b 1.0, c 1.0");
    check(shelf, "a & d", "a 1.0, b 1.0, d 1.0");
    let solution = answer(shelf, "a[all]==1.0", None).unwrap();
    let chosen = &solution.distributions[&PackageName::from_str("a").unwrap()];
    assert_eq!(chosen.extras.iter().map(ToString::to_string).collect::<Vec<_>>(), ["all", "x", "y"]);
    assert_eq!(chosen.requires.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn asks_nothing_about_an_extra_in_versions_that_its_project_cannot_have() {
    let older: String = (1..=39).map(|number| format!("a-{number} : r; extra=='x'\n")).collect();
    let shelf = Shelf::new(&format!("{older}a-40 : p; extra=='x'\np-1.0 : q>=2\nq-1.0\nq-2.0\nr-1.0"));
    assert_eq!(told(preferring("", &shelf, "a[x] & q==1.0", None)), "a 39, q 1.0, r 1.0");
    let asked = shelf.asked.into_inner().unwrap();
    let asked: Vec<&str> = asked.iter().filter_map(|file| file.strip_suffix("-py3-none-any.whl")).collect();
    assert_eq!(asked, ["a-39", "a-40", "p-1.0", "q-1.0", "r-1.0"]);
}

#[test]
fn takes_pre_releases_only_when_there_is_nothing_else() {
    check("a-1.0\na-2.0rc1", "a", "a 1.0");
    check("a-1.0\na-2.0rc1", "a>=2.0rc1", "a 2.0rc1");
    check("a-2.0rc1\na-2.0.dev3", "a", "a 2.0rc1");
    check("a-1.0\na-2.0rc1", "a>=1.0rc1", "a 2.0rc1");
    check("a-1.0\na-2.0rc1", "a | a>=0.5a1", "a 2.0rc1");
    check("a-1.0\na-2.0rc1", "a!=0.5a1", "a 1.0");
}

#[test]
fn takes_yanked_files_only_when_pinned() {
    check("a-1.0\na-2.0 yanked", "a", "a 1.0");
    check("a-1.0\na-2.0 yanked", "a==2.0", "a 2.0");
    check("a-1.0\na-2.0 yanked", "a | a===2.0", "a 2.0");
    check(
        "a-2.0 yanked",
        "a",
        "The recipe asks for a, but no wheel of a 2.0 may be chosen.\n  a-2.0-py3-none-any.whl was yanked: broken",
    );
}

#[test]
fn takes_preferred_versions_wherever_everything_allows_them() {
    let check = |preferences: &str, shelf: &str, roots: &str, expected: &str| {
        assert_eq!(told(preferring(preferences, &Shelf::new(shelf), roots, Some(50))), expected);
    };
    let shelf = "a-1.0 @1 : b<3\na-2.0 @2 : b<3\nb-1.0 @1\nb-2.0 @2\nb-3.0 @3";
    check("a 1.0, b 1.0", shelf, "a", "a 1.0, b 1.0");
    check("b 1.0", shelf, "a", "a 2.0, b 1.0");
    check("a 1.0, b 3.0", shelf, "a", "a 1.0, b 2.0");
    check("a 1.0, b 1.0", shelf, "a>1", "a 2.0, b 1.0");
    check("a 7.0, gone 1.0", shelf, "a", "a 2.0, b 2.0");
    let shelf = "a-1.0 @1 yanked\na-2.0 @2\na-3.0rc1 @3\na-4.0 @99";
    check("a 1.0", shelf, "a", "a 1.0");
    check("a 3.0rc1", shelf, "a", "a 3.0rc1");
    check("a 4.0", shelf, "a", "a 2.0");
    let shelf = "a-1.0 @1 : c<2\na-2.0 @2 : c>=2\nb-1.0 @1 : c>=2\nc-1.0 @1\nc-2.0 @2";
    check("a 1.0, c 1.0", shelf, "a & b", "a 2.0, b 1.0, c 2.0");
}

#[test]
fn reads_a_pin_without_a_local_part_as_any_local_part() {
    check("torch-2.9.1+cu128\nvision-1.0 : torch==2.9.1", "vision", "torch 2.9.1+cu128, vision 1.0");
}

#[test]
fn takes_the_wheel_that_fits_best() {
    let shelf = "a-1.0-py3-none-any\na-1.0-cp311-cp311-manylinux_2_17_x86_64\na-1.0-1-cp311-cp311-manylinux_2_17_x86_64\n\
        a-1.0-cp311-cp311-manylinux_2_39_x86_64\na-2.0-cp312-cp312-manylinux_2_17_x86_64\na-3.0 py>=3.12\na-4.0.tar.gz";
    let solution = answer(shelf, "a", None).unwrap();
    let chosen = &solution.distributions[&PackageName::from_str("a").unwrap()];
    assert_eq!(chosen.wheel.filename.to_string(), "a-1.0-1-cp311-cp311-manylinux_2_17_x86_64.whl");
}

#[test]
fn considers_nothing_uploaded_later_or_at_an_unknown_time() {
    let shelf = "a-1.0 @10\na-2.0 @20\na-3.0";
    assert_eq!(told(answer(shelf, "a", Some(20))), "a 1.0");
    assert_eq!(told(answer(shelf, "a", Some(21))), "a 2.0");
    assert_eq!(told(answer(shelf, "a", None)), "a 3.0");
}

#[test]
fn collects_what_was_set_aside() {
    let shelf = "torch-2.6.0 : nvidia-cublas-cu12==12.4.5.8; sys_platform=='linux' & nvidia-nccl-cu12; extra=='x' & b\n\
        b-1.0 : nvidia-cublas-cu12==12.5";
    let solution = answer(shelf, "torch", None).unwrap();
    let aside = |name: &str| {
        let chosen = &solution.distributions[&PackageName::from_str(name).unwrap()];
        chosen.set_aside.iter().map(|requirement| requirement.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(solution.distributions.len(), 2);
    assert_eq!(
        (aside("torch"), aside("b")),
        (vec!["nvidia-cublas-cu12".to_owned()], vec!["nvidia-cublas-cu12".to_owned()])
    );
}

#[test]
fn tells_who_requires_what_when_nothing_suits() {
    check(
        "torch-2.6.0 : triton==3.2.0\nfoo-1.0 : bar\nbar-1.0 : triton<3\nbar-2.0 : triton<3\ntriton-2.0\ntriton-3.2.0",
        "torch==2.6.0 & foo",
        "Because foo 1.0 (from the recipe) depends on bar, and every version of bar depends on triton<3, while \
         torch 2.6.0 (from the recipe) depends on triton==3.2.0, no version of triton suits both.",
    );
    check(
        "b-1.0 yanked\nb-2.0 : c<2\nb-3.0 yanked\nc-1.0\nc-2.0",
        "b & c>=2",
        "Because the recipe asks for c>=2, while b 2.0 (from the recipe) depends on c<2, no version of c suits both.",
    );
    check(
        "b-1.0\nb-2.0 : c<2\nb-3.0 : c<1\nc-1.0\nc-2.0\nc-0.1",
        "b>1 & c>=2",
        "Because the recipe asks for c>=2, while b>=2.0 (from the recipe) depends on c<2, no version of \
         c suits both.",
    );
    check(
        "a-1.0\na-2.0",
        "a>1 & a<2",
        "The recipe asks for a>1 and the recipe asks for a<2, but there is no such version (the nearest that may be \
         chosen: 1.0, 2.0).",
    );
}

#[test]
fn names_what_excludes_each_other() {
    let conflicts = |shelf: &str, roots: &str| -> Vec<String> {
        let Err(SolveError::NoSolution { explanation }) = answer(shelf, roots, None) else {
            panic!("{roots} has a solution")
        };
        let required = |required: &Required| {
            let allowed = strip_local_version_sentinels(&required.allowed);
            match &required.by {
                Requirer::User => format!("the user {allowed}"),
                Requirer::Distribution { name, extra: None, .. } => format!("{name} {allowed}"),
                Requirer::Distribution { name, extra: Some(extra), .. } => {
                    format!("{name}[{extra}] {allowed}")
                }
            }
        };
        let conflict = |conflict: &Conflict| {
            let requirements: Vec<_> = conflict.requirements.iter().map(required).collect();
            format!("{}: {}", conflict.project, requirements.join(" & "))
        };
        explanation.conflicts.iter().map(conflict).collect()
    };
    assert_eq!(
        conflicts("a-1.0 : c<2\nb-1.0 : c>=2,<3; extra=='x'\nc-1.0\nc-2.0", "a & b[x]"),
        ["c: a <2 & b[x] >=2, <3"]
    );
    assert_eq!(conflicts("a-1.0 : b<2\nb-1.0\nb-2.0", "a & b>=2"), ["b: the user >=2 & a <2"]);
    assert_eq!(conflicts("a-1.0", "a>=2"), ["a: the user >=2"]);
    let several = "a-1.0 : b==1\na-2.0 : c==1\nb-1.0\nb-2.0\nc-1.0\nc-2.0";
    assert_eq!(conflicts(several, "a & b==2 & c==2"), ["c: the user 2 & a 1", "b: the user 2 & a 1"]);
    assert!(conflicts("", "a").is_empty());
}

#[test]
fn tells_what_does_not_exist() {
    check("a-1.0", "b", "The recipe asks for b, but `b` is in no package index.");
    check(
        "a-1.0\na-1.1\na-2.0rc1",
        "a==3",
        "The recipe asks for a==3, but there is no such version (the newest that may be chosen: 1.1, 1.0).",
    );
    check(
        "a-1.0 : b>=2\nb-1.0",
        "a",
        "a 1.0 (from the recipe) depends on b>=2, but there is no such version (the newest that may be chosen: 1.0).",
    );
    check(
        "a-1.0\na-1.1\na-1.2\na-1.3rc1\na-1.4\na-2.0\na-3.0",
        "a==1.3",
        "The recipe asks for a==1.3, but there is no such version (the nearest that may be chosen: 1.1, 1.2, 1.4, 2.0).",
    );
}

#[test]
fn lists_each_wheel_and_why_it_does_not_fit() {
    check(
        "a-1.0-cp312-cp312-manylinux_2_17_x86_64\na-1.0-cp311-cp311-win_amd64\n\
         a-1.0-cp311-cp311-manylinux_2_39_x86_64\na-1.0.tar.gz\na-0.9 py<3.8",
        "a",
        "The recipe asks for a, but no wheel of a may be chosen.\n  \
         a-1.0-cp311-cp311-manylinux_2_39_x86_64.whl needs glibc 2.39, the image has 2.36\n  \
         a-1.0-cp312-cp312-manylinux_2_17_x86_64.whl is for cp312, not cp311\n  \
         a-1.0.tar.gz is not a wheel\n  \
         a-0.9-py3-none-any.whl needs Python <3.8, the image has 3.11.2\n  \
         and 1 wheel for Windows",
    );
}

#[test]
fn gives_hints_that_can_be_followed() {
    let hint = |shelf: &str, roots: &str| answer(shelf, roots, None).unwrap_err().hint().unwrap();
    assert_eq!(hint("", "b"), "check the spelling of `b`, and what `indexes:` and their `packages` say");
    assert_eq!(
        hint("a-2.0 yanked\na-1.0", "a>1"),
        "allow another version of `a` (the newest that may be chosen: 1.0)"
    );
    assert_eq!(
        hint("a-1.0-cp312-cp312-win_amd64", "a"),
        "`a` has no wheel for this target at all: another base or Python may fit"
    );
    assert_eq!(
        hint("a-1.0.tar.gz\na-1.1.tar.gz", "a"),
        "`a` publishes source distributions only, so no base or Python helps: build a wheel of it, and name that under \
         `packages`"
    );
    assert_eq!(
        hint("a-1.0 : b<1\nb-1.0\nb-0.1", "a & b==1"),
        "change a version in, or drop, one of `a`, `b==1`"
    );
}

#[test]
fn refuses_requirements_by_url() {
    let error = answer("", "a @ http://localhost/a-1.0-py3-none-any.whl", None).unwrap_err();
    assert!(matches!(error, SolveError::Url { .. }), "{error}");
    check("a-1.0 : b @ http://localhost/b.whl\na-0.9", "a", "a 0.9");
}

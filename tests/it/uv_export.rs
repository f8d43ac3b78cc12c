//! A `uv.lock` gives the packages that `uv export` gives, on the machine's own package index.
//!
//! Needs the index and uv, which tests/setup brings; without uv the test says so and passes over.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use imgforge::net::config;
use imgforge::oci::Architecture;
use imgforge::pypa::pyproject;
use imgforge::pypa::target::Target;
use imgforge::recipe::locks::package::{ForeignPackage, LockedContent};
use imgforge::recipe::locks::{ForeignLock, LockKind, LockSelection};

use crate::uv_compile::uv;

/// A project: its `pyproject.toml` without name and version, and the parts that are asked for (`+` begins an extra, `@` a group,
/// `-` takes no default groups, `=` begins a member).
const CASES: &[(&str, &str)] = &[
    ("dependencies = ['flask']", " |"),
    ("dependencies = ['requests[socks]', 'uvicorn[standard]']", ""),
    (
        "dependencies = []\n[project.optional-dependencies]\na = ['rich']\nb = ['tabulate', 'demo[a]']",
        "|+a|+b|+a +b",
    ),
    (
        "dependencies = ['six']\n[dependency-groups]\ndev = ['iniconfig']\nserve = [{include-group = 'base'}, 'h11']\nbase = ['toolz']",
        "|@serve|- @serve|-",
    ),
    (
        "dependencies = ['six']\n[dependency-groups]\ndev = ['iniconfig']\ndocs = ['toolz']\n[tool.uv]\ndefault-groups = ['docs']",
        "|@dev|-",
    ),
    (
        "dependencies = ['six']\n[dependency-groups]\ndev = ['iniconfig']\ndocs = ['toolz']\n[tool.uv]\ndefault-groups = 'all'",
        "",
    ),
    (
        "dependencies = [\"numpy<2 ; python_version < '3.12'\", \"numpy>=2 ; python_version >= '3.12'\", 'pandas']",
        "",
    ),
    (
        "dependencies = ['flask']\n[project.optional-dependencies]\ncpu = ['click==8.1.7']\ngpu = ['click==8.1.8']\n[tool.uv]\nconflicts = [[{extra = 'cpu'}, {extra = 'gpu'}]]",
        "|+cpu|+gpu",
    ),
    (
        "dependencies = []\n[dependency-groups]\nold = ['markupsafe<3', 'jinja2']\nnew = ['markupsafe>=3', 'jinja2']\n[tool.uv]\nconflicts = [[{group = 'old'}, {group = 'new'}]]",
        "|@old|@new",
    ),
    (
        "dependencies = ['flask', 'jinja2']\n[tool.uv]\noverride-dependencies = ['werkzeug<3.1']\nconstraint-dependencies = ['markupsafe<3.0.2']",
        "",
    ),
    (
        "dependencies = ['tool', 'sub']\n[tool.uv.sources]\ntool = {git = 'REPO', tag = 'v1'}\nsub = {git = 'REPO', branch = 'main', subdirectory = 'sub'}",
        "",
    ),
    (
        "dependencies = ['member', 'colorama ; sys_platform == \"win32\"']\n[tool.uv.sources]\nmember = {workspace = true}\n[tool.uv.workspace]\nmembers = ['member', 'other']",
        "|=member|=other|=member =other",
    ),
    ("dependencies = ['member']\n[tool.uv.sources]\nmember = {path = 'member'}", ""),
    ("dependencies = ['six']\n[tool.uv]\npackage = false", ""),
    ("dependencies = ['torch==2.6.0', 'jax[cuda12]==0.5.3']", ""),
    (
        "VIRTUAL\n[tool.uv.workspace]\nmembers = ['member', 'other']\n[dependency-groups]\ndev = ['six']\ndocs = ['h11']",
        "|@docs|-|=member",
    ),
];

const BUILD: &str = "[build-system]\nrequires = ['uv_build']\nbuild-backend = 'uv_build'\n";

#[test]
fn a_uv_lock_gives_what_uv_exports() {
    if Command::new(uv()).arg("--version").output().is_err() {
        eprintln!("skipped: uv is not installed");
        return;
    }
    let machine = config::MachineConfig::here();
    let sources = config::sources(&machine).unwrap();
    let index = sources.indexes.last().unwrap().places.url().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let repository = repository(directory.path());
    for (number, (project, parts)) in CASES.iter().enumerate() {
        let root = directory.path().join(number.to_string());
        write(&root, "demo", &project.replace("REPO", &repository));
        write(
            &root.join("member"),
            "member",
            "dependencies = ['toolz']\n[dependency-groups]\ndev = ['iniconfig']",
        );
        write(&root.join("other"), "other", "dependencies = ['idna']");
        run(&root, &["lock", "--exclude-newer", "2025-06-01T00:00:00Z", "--default-index", &index]);
        for part in parts.split('|') {
            compare(&root, part, project);
        }
    }
}

/// Holds what is taken of a lock against what uv exports of the same part.
fn compare(root: &Path, part: &str, told: &str) {
    let words: Vec<&str> = part.split_whitespace().collect();
    let of = |sign: char| -> Vec<&str> { words.iter().filter_map(|word| word.strip_prefix(sign)).collect() };
    let is_without_defaults = words.contains(&"-");
    let mut arguments = vec!["export", "--frozen", "--format", "pylock.toml", "--no-header"];
    of('+').iter().for_each(|extra| arguments.extend(["--extra", extra]));
    of('@').iter().for_each(|group| arguments.extend(["--group", group]));
    of('=').iter().for_each(|member| arguments.extend(["--package", member]));
    arguments.extend(is_without_defaults.then_some("--no-default-groups"));
    let exported = run(root, &arguments);
    let members: Vec<_> = of('=').iter().map(|member| member.parse().unwrap()).collect();
    let text = fs::read_to_string(root.join("uv.lock")).unwrap();
    let lock = ForeignLock::parse(LockKind::Uv, &text, "uv.lock").unwrap();
    let mut default_groups = Vec::new();
    for directory in lock.project_directories(&members).iter().filter(|_| !is_without_defaults) {
        let text = fs::read_to_string(root.join(directory).join("pyproject.toml")).unwrap();
        default_groups.extend(pyproject::default_groups(&text).unwrap());
    }
    let selection = LockSelection {
        extras: of('+').iter().map(|extra| extra.parse().unwrap()).collect(),
        groups: of('@').iter().map(|group| group.parse().unwrap()).collect(),
        default_groups,
        members,
        without_project: false,
    };
    let pylock = ForeignLock::parse(LockKind::Pylock, &exported, "pylock.toml").unwrap();
    for python in ["3.11.2", "3.12.4", "3.13.1"] {
        let target = Target::new(python, Architecture::Amd64, (2, 36)).unwrap();
        let ours = lock.select(target.markers(), &selection).unwrap();
        let theirs = pylock.select(target.markers(), &LockSelection::default()).unwrap();
        assert_eq!(shown(&ours), shown(&theirs), "`{part}` of {told} on Python {python}");
    }
}

/// The packages with the places of their files.
fn shown(packages: &[&ForeignPackage]) -> BTreeSet<String> {
    let show = |package: &&ForeignPackage| {
        let files = match &package.content {
            LockedContent::Nothing => return None,
            LockedContent::Source(place) => place.to_string(),
            LockedContent::Wheel(wheel) => wheel.to_string(),
            LockedContent::Hashes(hashes) => format!("{hashes:?}"),
            LockedContent::Files(files) => {
                let wheels = files.wheels.iter().map(|wheel| format!("{} {:?}", wheel.url, wheel.sha256));
                let sdists = files.sdists.iter().map(|sdist| format!("{} {:?}", sdist.url, sdist.sha256));
                let all: BTreeSet<String> = wheels.chain(sdists).collect();
                format!("{} {all:?}", package.version.as_ref().unwrap())
            }
        };
        Some(format!("{} {files}", package.name))
    };
    packages.iter().filter_map(show).collect()
}

fn write(root: &Path, name: &str, project: &str) {
    let module = root.join("src").join(name);
    fs::create_dir_all(&module).unwrap();
    fs::write(module.join("__init__.py"), "").unwrap();
    let (own, tables) = project.split_once('\n').unwrap_or((project, ""));
    let head = format!("[project]\nname = '{name}'\nversion = '1.0'\nrequires-python = '>=3.11'\n{own}\n");
    if own == "VIRTUAL" {
        return fs::write(root.join("pyproject.toml"), tables).unwrap();
    }
    let build = if project.contains("package = false") { "" } else { BUILD };
    fs::write(root.join("pyproject.toml"), format!("{head}{tables}\n{build}")).unwrap();
}

/// A repository with two projects, as a URL.
fn repository(directory: &Path) -> String {
    let root = directory.join("repository");
    write(&root, "tool", "dependencies = ['idna']");
    write(&root.join("sub"), "sub", "dependencies = []");
    let identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"];
    for arguments in
        [&["init", "-q", "-b", "main"][..], &["add", "-A"], &["commit", "-q", "-m", "x"], &["tag", "v1"]]
    {
        let git = Command::new("git").current_dir(&root).args(identity).args(arguments).output().unwrap();
        assert!(git.status.success(), "{git:?}");
    }
    format!("file://{}", root.display())
}

/// Runs uv in a directory, and gives what it prints.
fn run(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new(uv()).args(arguments).arg("--quiet").current_dir(directory).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "uv {arguments:?} in {}: {complaint}", directory.display());
    String::from_utf8(output.stdout).unwrap()
}

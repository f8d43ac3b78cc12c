//! The solver chooses what `uv pip compile` chooses, on the machine's own package index.
//!
//! Needs the index and uv, which tests/setup brings; without uv the test says so and passes over.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use imgforge::net::config;
use imgforge::net::http::{Http, HttpSettings};
use imgforge::net::index::{Freshness, PackageIndex};
use imgforge::net::netrc::Netrc;
use imgforge::oci::Architecture;
use imgforge::oci::time::unix_seconds;
use imgforge::pypa::metadata::Requirement;
use imgforge::pypa::target::Target;
use imgforge::recipe::RootRequirement;
use imgforge::resolve::solve::{Question, solve};
use imgforge::store::Store;

/// Requirements, separated by ` & `, the Python and the moment they are resolved for.
const CASES: &[(&str, &str, &str)] = &[
    ("flask", "3.11.2", "2025-06-01T00:00:00Z"),
    ("pandas & scikit-learn & matplotlib", "3.11.2", "2025-06-01T00:00:00Z"),
    ("pandas & scikit-learn & matplotlib", "3.12.4", "2024-06-01T00:00:00Z"),
    ("jupyterlab", "3.11.2", "2025-06-01T00:00:00Z"),
    ("fastapi[standard] & sqlalchemy<2 & httpx", "3.11.2", "2025-06-01T00:00:00Z"),
    ("tensorflow==2.18.0", "3.11.2", "2025-06-01T00:00:00Z"),
    ("transformers & tokenizers<0.20", "3.11.2", "2025-06-01T00:00:00Z"),
    ("torch==2.6.0 & jax==0.5.3 & tensorflow==2.18.0 & transformers>=4.40", "3.11.2", "2025-06-01T00:00:00Z"),
    ("boto3 & botocore<1.34 & urllib3", "3.11.2", "2025-06-01T00:00:00Z"),
    ("apache-airflow[amazon,google] & pandas<2.2", "3.11.2", "2025-06-01T00:00:00Z"),
    ("dask[complete] & distributed", "3.10.14", "2025-01-15T12:00:00Z"),
    ("spacy<3.8 & numpy>=2", "3.11.2", "2025-06-01T00:00:00Z"),
    ("pytest-asyncio>=0.23.0a0", "3.11.2", "2025-06-01T00:00:00Z"),
    ("notebook==7.0.0 & ipython<8.20", "3.11.2", "2025-06-01T00:00:00Z"),
];

#[test]
fn chooses_what_uv_chooses() {
    if Command::new(uv()).arg("--version").output().is_err() {
        eprintln!("skipped: uv is not installed");
        return;
    }
    let machine = config::MachineConfig::here();
    let sources = config::sources(&machine).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (requirements, python, moment) in CASES {
        let ours = ours(requirements, python, moment, &sources, &Store::open(directory.path()).unwrap());
        let theirs = theirs(
            requirements,
            python,
            moment,
            sources.indexes.last().unwrap().places.url().unwrap().as_str(),
        );
        assert_eq!(ours, theirs, "{requirements} on Python {python} at {moment}");
    }
}

/// The uv of tests/setup, else the one on the PATH.
pub fn uv() -> PathBuf {
    let provided = std::env::var_os("IMGFORGE_TEST_TOOLS").map(|tools| PathBuf::from(tools).join("uv"));
    provided.filter(|uv| uv.exists()).unwrap_or_else(|| PathBuf::from("uv"))
}

fn ours(
    requirements: &str,
    python: &str,
    moment: &str,
    sources: &config::PackageSources,
    store: &Store,
) -> BTreeSet<String> {
    let netrc = config::MachineConfig::here().netrc().and_then(|path| Netrc::read(&path).unwrap());
    let settings = HttpSettings { netrc: netrc.unwrap_or_default(), ..HttpSettings::default() };
    let catalog = PackageIndex::new(
        Arc::new(Http::new(settings).unwrap()),
        store.clone(),
        sources.clone(),
        Freshness::Believed,
    );
    let target = Target::new(python, Architecture::Amd64, (2, 36)).unwrap();
    let root = |text: &str| RootRequirement::new(text.parse::<Requirement>().unwrap().into(), "the recipe");
    let question = Question {
        target: &target,
        roots: requirements.split(" & ").map(root).collect(),
        constraints: Vec::new(),
        overrides: Default::default(),
        direct: Default::default(),
        exclude_newer: unix_seconds(moment),
        prereleases: Default::default(),
        preferences: std::collections::BTreeMap::new(),
        set_aside: Arc::new(|_| false),
    };
    let solution = solve(&question, &catalog).unwrap();
    solution.distributions.values().map(|chosen| format!("{}=={}", chosen.name, chosen.version)).collect()
}

fn theirs(requirements: &str, python: &str, moment: &str, index: &str) -> BTreeSet<String> {
    let mut uv = Command::new(uv())
        .args([
            "pip",
            "compile",
            "-",
            "--quiet",
            "--no-config",
            "--no-header",
            "--no-annotate",
            "--strip-extras",
        ])
        .args(["--only-binary", ":all:", "--python-platform", "x86_64-manylinux_2_36"])
        .args(["--python-version", python, "--exclude-newer", moment, "--default-index", index])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    uv.stdin.take().unwrap().write_all(requirements.replace(" & ", "\n").as_bytes()).unwrap();
    let output = uv.wait_with_output().unwrap();
    assert!(output.status.success(), "uv finds no solution for {requirements}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| line.split(" ;").next().unwrap_or_default().trim().to_owned()).collect()
}

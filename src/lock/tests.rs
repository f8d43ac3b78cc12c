//! The contents of a lock, and the changes of a recipe that make it stale.

use super::*;
use crate::base::BaseInventory;
use crate::oci::Digest;
use crate::recipe::{BaseRef, Recipe, RecipeInputs};

fn fingerprint(recipe: &str) -> RecipeFingerprint {
    let recipe = Recipe::parse(recipe, "recipe.yaml").unwrap();
    let BaseRef::Inline(base) = recipe.base.value.clone() else { panic!("the example's base is inline") };
    let inputs = RecipeInputs {
        name: "recipe".into(),
        platform: None,
        directory: ".".into(),
        base,
        base_directory: ".".into(),
        roots: Vec::new(),
        constraints: Vec::new(),
        wheels: Vec::new(),
        notices: Vec::new(),
        project_indexes: Vec::new(),
        locks: Vec::new(),
        projects: Vec::new(),
        overrides: Vec::new(),
        find_links: Vec::new(),
        no_index: false,
        hashes: BTreeMap::new(),
        file_prereleases: false,
        require_hashes: false,
        index_url: None,
        extra_index_urls: Vec::new(),
        recipe,
    };
    RecipeFingerprint::of(&inputs).unwrap()
}

const BASE: &str = "base: {suite: bookworm, packages: [python3], mirror: 'http://debian.test/debian'}\n";

#[track_caller]
fn check_differences(one: &str, other: &str, expected: &[&str]) {
    let fingerprints = [one, other].map(|lines| match lines.contains("base:") {
        true => fingerprint(lines),
        false => fingerprint(&format!("{BASE}{lines}")),
    });
    assert_eq!(fingerprints[0].differences(&fingerprints[1]), expected);
    assert_eq!(fingerprints[1].differences(&fingerprints[0]), expected);
}

#[test]
fn a_fingerprint_differs_in_the_keys_that_decide() {
    check_differences("packages: [a, b]", "packages: [a]", &["packages"]);
    check_differences("packages: [a]", "packages: [a]\nexclude-newer: 2025-06-01", &["exclude-newer"]);
    check_differences(
        "packages: [a]",
        "frameworks: {a: 1.0}\ncuda: {policy: pip}",
        &["cuda", "frameworks", "packages"],
    );
    let index = |url: &str| format!("packages: [a]\nindexes: ['{url}']");
    check_differences(&index("http://a.test/simple"), &index("http://b.test/simple"), &["indexes"]);
}

#[test]
fn a_fingerprint_is_the_same_however_it_is_written() {
    check_differences("packages: [a>=1]", "# why\npackages:\n  - 'a >= 1'\n", &[]);
    check_differences(
        "packages: [a]",
        "packages: [a]\nname: x\nconfig: {user: me}\nlayers: {budget: 9}",
        &[],
    );
    check_differences("packages: [a]", "packages: [a]\nconstraints: []\nindexes: []", &[]);
}

#[test]
fn credentials_mean_nothing() {
    let index = |url: &str| format!("packages: [a]\nindexes: ['{url}']");
    check_differences(&index("https://a.test/simple"), &index("https://me:secret@a.test/simple"), &[]);
    let base = BASE.replace("http://", "http://me:secret@") + "packages: [a]";
    check_differences("packages: [a]", &base, &[]);
}

const TEXT: &str = r#"version = 1
created = "2024-05-06T07:08:09Z"
toolkits = ["13.0"]

[recipe]
packages = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[base.image]
manifest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
inventory = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

[[tree]]
toolkit = "13.0"
of-base = false
found-by = "loader"

[[component]]
component = "cublas"
cuda = 13
distribution = "nvidia-cublas"
version = "13.1.0.3"
from = "base"
path = "usr/local/cuda-13.0/targets/x86_64-linux/lib"
pip-sees = "made-up"
demands = [
    "the recipe needs nvidia-cublas",
    "torch 2.11.0 through torchvision → timm needs nvidia-cublas==13.1.0.3",
    "CUDA 13.0 needs nvidia-cublas>=13.0",
    "the layout needs nvidia-cublas",
    "libcusolver.so.12 of nvidia-cusolver 12.0.3.29 needs nvidia-cublas",
    "`cublasX` in libcusolver.so.12 of nvidia-cusolver 12.0.3.29 needs nvidia-cublas>13",
]

[[component]]
component = "nccl"
cuda = 13
distribution = "nvidia-nccl-cu13"
version = "2.28.9"
from = "wheel"

[[kept]]
name = "numpy"
version = "1.26.4"
requested = true

[kept.relaxed]

[[removed]]
name = "six"
version = "1.16.0"

[[distribution]]
name = "cuda-toolkit"
version = "13.0.2"
role = "metapackage"
wheel = "cuda_toolkit-13.0.2-py2.py3-none-any.whl"
digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
size = 2364
unpacked = 4096
metadata = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
requested = true
"#;

/// A base that has the copy that the text names.
fn base() -> BaseInventory {
    let mut base =
        crate::resolve::tests::base("cublas 13.1.0.3 cu13 usr/local/cuda-13.0/targets/x86_64-linux/lib");
    base.architecture = crate::oci::Architecture::Amd64;
    base
}

#[test]
fn a_lock_is_written_as_it_was_read() {
    let lock = Lock::parse(TEXT).unwrap();
    assert_eq!(lock.to_text().unwrap(), HEADER.to_owned() + TEXT);
    assert_eq!(Lock::parse(&lock.to_text().unwrap()), Ok(lock));
}

#[test]
fn a_text_has_the_lock_of_each_platform() {
    let lock = Lock::parse(TEXT).unwrap();
    let both = LockDocument::Platforms(Architecture::ALL.map(|platform| (platform, lock.clone())).into());
    let text = both.to_text().unwrap();
    assert!(text.starts_with(&format!("{HEADER}version = 2\n\n[platform.amd64]\nversion = 1\n")), "{text}");
    assert_eq!(LockDocument::parse(&text), Ok(both.clone()));
    assert_eq!(both.lock(Some(Architecture::Arm64)), Some(&lock));
    assert_eq!(both.lock(None), None);
    let single = LockDocument::parse(TEXT).unwrap();
    assert_eq!(single, LockDocument::Single(Box::new(lock.clone())));
    assert_eq!(single.lock(None), Some(&lock));
    // A wheel that is for any machine does not tell a platform.
    assert_eq!(single.lock(Some(Architecture::Amd64)), None);

    let damaged = text.replacen("unpacked = 4096\n", "", 1);
    let line =
        damaged.lines().position(|line| line.starts_with("[[platform.amd64.distribution")).unwrap() + 1;
    let error = LockDocument::parse(&damaged).unwrap_err().to_string();
    assert_eq!(error, format!("line {line} of the lock cannot be read: missing field `unpacked`"));
    let error = LockDocument::parse("version = 3\nmore = 1\n").unwrap_err().to_string();
    assert_eq!(error, "the lock is of version 3, which this imgforge does not know");
}

#[test]
fn a_locked_resolution_is_the_one_that_was_locked() {
    let lock = Lock::parse(TEXT).unwrap();
    let resolution = lock.resolution(&base(), &Default::default()).unwrap().unwrap();
    assert_eq!(resolution.toolkits.keys().collect::<Vec<_>>(), [&(13, 0)]);
    assert_eq!(resolution.services.len(), 2);
    let decided = Decided {
        created: lock.created,
        recipe: lock.recipe.clone(),
        private_cuda: BTreeMap::new(),
        base: lock.base.clone(),
        python: None,
    };
    assert_eq!(Lock::new(decided, &resolution, &lock.wheels()), Ok(lock));
}

#[test]
fn what_binaries_need_is_read_as_it_was_written() {
    let nccl = "version = \"2.28.9\"\nfrom = \"wheel\"\n";
    for demand in [
        "cupy-cuda12x 12.3.0 is linked with libcublas.so.12 by cupy/_core/core.so and needs nvidia-cublas-cu12==12.*",
        "ctranslate2 4.8.5 opens libcublas.so.12 by ctranslate2.libs/lib with needs and by.so and needs nvidia-cublas-cu12",
        "cupy-cuda12x 14.2.0 compiles with cuda_fp16.h by cupy/fft.so and needs nvidia-cuda-runtime-cu12",
        "CUDA 13.5, for which 13.3.5.0.6 is the newest needs nvidia-cuda-cccl>=13.3.5.0.6",
    ] {
        let sibling = "version = \"2.28.9\"\nfrom = \"sibling\"\nsibling = \"nvidia-nccl-cu13\"\n";
        let name = demand.rsplit(' ').next().unwrap().split(['=', '>']).next().unwrap();
        let text = TEXT
            .replace(nccl, &format!("{sibling}demands = [\"{demand}\"]\n"))
            .replace("nvidia-nccl-cu13\"\nversion", &format!("{name}\"\nversion"));
        let lock = Lock::parse(&text).unwrap();
        assert!(lock.to_text().unwrap().contains(demand), "{demand}");
        let resolution = lock.resolution(&base(), &Default::default()).unwrap().unwrap();
        let decided = Decided {
            created: lock.created,
            recipe: lock.recipe.clone(),
            private_cuda: BTreeMap::new(),
            base: lock.base.clone(),
            python: None,
        };
        assert_eq!(Lock::new(decided, &resolution, &lock.wheels()), Ok(lock), "{demand}");
    }
}

#[test]
fn a_base_without_what_was_locked_is_another() {
    let lock = Lock::parse(TEXT).unwrap();
    let other = crate::resolve::tests::base("cublas 13.1.0.3 cu13 opt/cuda/lib");
    assert!(lock.resolution(&other, &Default::default()).unwrap().is_none());
}

#[test]
fn preferences_are_every_locked_version() {
    let preferences = Lock::parse(TEXT).unwrap().preferences();
    assert_eq!(format!("{preferences:?}"), r#"{PackageName("cuda-toolkit"): {"13.0.2"}}"#);
}

#[track_caller]
fn check_error(from: &str, to: &str, expected: &str) {
    assert!(TEXT.contains(from), "{from}");
    assert_eq!(Lock::parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string(), expected);
}

#[test]
fn an_error_names_its_line() {
    check_error("unpacked = 4096\n", "", "line 52 of the lock cannot be read: missing field `unpacked`");
    check_error(
        "the layout needs",
        "somebody needs",
        "line 29 of the lock cannot be read: `somebody needs nvidia-cublas` is no demand on a component",
    );
    check_error(
        "\"metapackage\"",
        "\"component\"",
        "line 56 of the lock cannot be read: `cuda-toolkit` carries no component of CUDA",
    );
    check_error(
        "version = 1\n",
        "version = 7\nmore = 1\n",
        "the lock is of version 7, which this imgforge does not know",
    );
    assert_eq!(
        Lock::parse("").unwrap_err().to_string(),
        "line 1 of the lock cannot be read: missing field `version`"
    );
    let second = TEXT[TEXT.find("[[dist").unwrap()..].replace("unpacked = 4096\n", "");
    let error = Lock::parse(&format!("{TEXT}\n{second}")).unwrap_err().to_string();
    assert_eq!(error, "line 63 of the lock cannot be read: missing field `unpacked`");
    let digest = Digest::of(b"").to_string();
    check_error(&digest, "sha256:", "line 6 of the lock cannot be read: `sha256:` is not a sha256 digest");
}

//! Every format that comes from outside, beside ELF: its sound files, its words, and its readers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use imgforge::base::scan::{self, ImageConfigFacts};
use imgforge::check::{self, Subject, VersionsSeen};
use imgforge::cpython::imports::Imports;
use imgforge::cpython::pyc;
use imgforge::debian::archive::{Deb, DebError};
use imgforge::debian::release::Release;
use imgforge::debian::signature::{self, Keyring};
use imgforge::debian::{deb822, packages, relation, script, shell, sources};
use imgforge::layer::read::ReadError;
use imgforge::layer::{WheelFile, read};
use imgforge::lock::Lock;
use imgforge::net::netrc::Netrc;
use imgforge::observe::check_facts::CheckFacts;
use imgforge::observe::inventory_facts::InventoryFacts;
use imgforge::oci::{Architecture, Descriptor, Digest};
use imgforge::pypa::target::Target;
use imgforge::pypa::wheel::Wheel;
use imgforge::pypa::zip::Local;
use imgforge::pypa::{entry_points, metadata, record, simple, specifiers};
use imgforge::recipe::environment_file::CondaEnvironment;
use imgforge::recipe::locks::{ForeignLock, LockKind, LockSelection};
use imgforge::recipe::project_file::ProjectFile;
use imgforge::recipe::{BaseDescription, Recipe, RequirementsEntry, requirements};
use imgforge::source::{Blobs, DocumentRoot, open_documents};
use oci_spec::image::MediaType;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use url::Url;
use uv_normalize::PackageName;

use crate::allocator::bounded;
use crate::damage::Damage;
use crate::{MOST_MUTATIONS, fuzz, seeds};

/// The inputs of a format in a run without `IMGFORGE_FUZZ_CASES`: some seconds on one core, unoptimised.
const CASES: u32 = 500;

/// A damaged file: a sound one by its number, and what happens to it.
#[derive(Debug, Clone)]
struct Case {
    file: Index,
    damages: Vec<Damage>,
}

/// Damages `files`, a format with these `words`; `mend` repairs what would keep readers from looking further.
fn judged(name: &str, files: &[Vec<u8>], words: &[&str], mend: fn(&mut [u8]), read: impl Fn(&[u8])) {
    let strategy = (any::<Index>(), vec(any::<Damage>(), 1..=MOST_MUTATIONS))
        .prop_map(|(file, damages)| Case { file, damages });
    let whole: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
    let damaged = |case: &Case| {
        let mut bytes = case.file.get(files).clone();
        case.damages.iter().for_each(|damage| damage.apply(&mut bytes, words, files));
        mend(&mut bytes);
        bytes
    };
    fuzz(name, CASES, &whole, &strategy, damaged, read);
}

fn as_they_are(_: &mut [u8]) {}

/// An error is told, and its chain too.
fn told<T, E: std::error::Error>(result: Result<T, E>) -> Option<T> {
    result
        .inspect_err(|error| {
            let mut cause: Option<&dyn std::error::Error> = Some(error);
            while let Some(error) = cause {
                assert!(!error.to_string().is_empty());
                cause = error.source();
            }
        })
        .ok()
}

#[test]
fn malformed_recipes() {
    // The regular expression of image references is compiled once in a process, and takes 25 MB whatever the input.
    Recipe::parse("name: demo\nbase: ubuntu:24.04\npackages: [a]\n", "recipe.yaml").expect("it is a recipe");
    let words = [
        "- ",
        "[",
        "{",
        "]",
        "}",
        "&a ",
        "*a",
        "<<: ",
        "!!binary ",
        "|\n",
        "? ",
        ": ",
        "\"",
        "'",
        "---\n",
        "name",
        "\t",
    ];
    judged("recipe", &seeds::recipes(), &words, as_they_are, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        bounded("a recipe", bytes.len(), || {
            if let Err(problems) = Recipe::parse(&text, "recipe.yaml") {
                assert!(!problems.to_string().is_empty());
            }
            if let Err(problems) = BaseDescription::parse(&text, "base.yaml") {
                assert!(!problems.to_string().is_empty());
            }
        });
    });
}

#[test]
fn malformed_requirements() {
    let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).expect("it is a target");
    let words = [
        "(",
        ")",
        " and ",
        " or ",
        "python_version < '3.9'",
        "extra == 'a'",
        ";",
        ",",
        ">=1",
        "==1.*",
        "[a]",
        "\\\n",
        "--hash=sha256:",
        "-r ",
        "${A}",
        "#",
        " @ ",
        "os_name in 'a b c'",
    ];
    judged("requirements", &seeds::requirements(), &words, as_they_are, |bytes| {
        let Some(text) = requirements::decoded(bytes.to_vec()) else { return };
        let read = bounded("requirements", bytes.len(), || {
            requirements::parse(&text, "requirements.txt", &|name| Some(name.to_owned()))
        });
        if let Err(problems) = &read {
            assert!(!problems.to_string().is_empty());
        }
        bounded("markers", bytes.len(), || {
            for line in text.lines().take(64) {
                let Some(requirement) = told(metadata::parse_requirement(line)) else { continue };
                requirement.marker.evaluate(target.markers(), &[]);
                specifiers::floor(&requirement);
                metadata::parse_requirement(&requirement.to_string()).expect("what is written can be read");
            }
        });
    });
}

#[test]
fn malformed_texts_of_wheels() {
    let words = [
        "Requires-Dist: ",
        "Provides-Extra: a\n",
        "\n",
        "\r\n",
        ": ",
        "; extra == 'a'",
        "(",
        "\"",
        ",",
        "[console_scripts]\n",
        " = a:b\n",
        "../",
        "/",
        ",sha256=",
        "Metadata-Version: 3.0\n",
    ];
    judged("texts_of_wheels", &seeds::texts_of_wheels(), &words, as_they_are, |bytes| {
        bounded("METADATA", bytes.len(), || {
            let text = metadata::decoded(bytes.to_vec());
            if let Some(core) = told(metadata::parse(&text)) {
                core.digest();
            }
            metadata::rewrite_requirements(&text, |requirement| Some(requirement.to_string()));
        });
        bounded("RECORD", bytes.len(), || {
            let Some(rows) = told(record::read(bytes)) else { return };
            let written = record::write(rows);
            told(record::parse(&written)).expect("what is written can be read");
        });
        bounded("entry points", bytes.len(), || {
            let scripts = told(entry_points::scripts(&String::from_utf8_lossy(bytes), (3, 11)));
            scripts.iter().flatten().for_each(|script| drop(script.launcher("/usr/bin/python3")));
        });
    });
}

#[test]
fn malformed_wheels() {
    let words = [
        "PK\u{1}\u{2}",
        "PK\u{3}\u{4}",
        "PK\u{5}\u{6}",
        "PK\u{6}\u{6}",
        "PK\u{6}\u{7}",
        "../",
        "demo-1.0.dist-info/RECORD",
    ];
    judged("wheel", &seeds::wheels(), &words, as_they_are, |bytes| {
        let (file, path) = in_memory(bytes);
        bounded("an outline", bytes.len(), || {
            let Some(wheel) = told(Wheel::open(Local(file.try_clone().expect("a file can be shared"))))
            else {
                return;
            };
            for entry in wheel.outline().entries.iter().take(16) {
                told(wheel.metadata(&entry.path));
            }
        });
        bounded("a wheel", bytes.len(), || {
            let Some(wheel) = told(WheelFile::open(Path::new(&path))) else { return };
            let Some(contents) = told(wheel.contents()) else { return };
            for index in 0..contents.members.len() {
                let _ = io::copy(&mut wheel.checked(index), &mut io::sink());
            }
        });
    });
}

/// A file without a name, and a path by which it is opened.
fn in_memory(bytes: &[u8]) -> (File, String) {
    use std::os::fd::AsRawFd;
    let file = rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC).expect("memory is a file");
    let mut file = File::from(file);
    file.write_all(bytes).expect("memory takes it");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    (file, path)
}

#[test]
fn malformed_layers() {
    let words = [
        "ustar  \0",
        "ustar\u{0}00",
        "././@LongLink",
        "../",
        ".wh.",
        ".wh..wh..opq",
        "28 path=../../../etc/passwd\n",
        "\0",
    ];
    let config = ImageConfigFacts::new(
        Architecture::Amd64,
        ["PATH=/usr/local/bin:/usr/bin", "LD_LIBRARY_PATH=/opt:$A"],
    );
    judged("tar", &seeds::layers(), &words, seeds::seal_tar, |bytes| {
        bounded("a layer", bytes.len(), || {
            let passed = read::read(bytes, &|_| ()).expect("memory can be read");
            let Some(mut layer) = told(passed.content) else { return };
            let unsound = |error: ReadError| io::Error::other(error);
            told(read::complete(&mut layer, passed.unfinished, || Ok::<_, io::Error>(bytes), unsound));
            let facts = InventoryFacts::stacked([layer.learned.facts]);
            told(scan::scan(&facts, &config, None));
            let started = told(scan::scan_started(&facts, &config, None));
            let evidence = CheckFacts::stacked([layer.learned.evidence]);
            check::check(&Subject {
                evidence: &evidence,
                inventory: started.as_ref().map(|(inventory, _)| inventory),
                python: started.as_ref().map(|(_, start)| start),
                config: &config,
                driver: None,
                gpus: &[],
                seen: &VersionsSeen::new(),
                silences: &[],
            });
        });
    });
}

#[test]
fn malformed_debs() {
    let words = [
        "!<arch>\n",
        "control.tar",
        "data.tar.gz",
        "`\n",
        "ustar  \0",
        "./control",
        "../",
        "debian-binary   ",
    ];
    judged("deb", &seeds::packages(), &words, seeds::seal_tar, |bytes| {
        bounded("a package", bytes.len(), || {
            let Some(deb) = told(Deb::open(bytes)) else { return };
            deb.control.text("control");
            told(
                deb.entries::<DebError>(|_, content| io::copy(content, &mut io::sink()).map(drop).or(Ok(()))),
            );
        });
    });
}

#[test]
fn malformed_control_files() {
    let words = [
        "Package: a\n",
        "Depends: ",
        "Provides: ",
        " (>= 1)",
        " | ",
        ", ",
        "[amd64]",
        "\n",
        "\n\n",
        " .\n",
        "deb ",
        "[",
        "]",
        "<<EOF\n",
        "$(",
        "`",
        "'",
        "\"",
        "update-alternatives --install ",
        "\\\n",
        "~",
        ":",
    ];
    judged("control", &seeds::control_files(), &words, as_they_are, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        bounded("paragraphs", bytes.len(), || {
            for paragraph in deb822::paragraphs(&text) {
                let Some(paragraph) = told(paragraph) else { continue };
                paragraph.fields().for_each(|(_, value)| drop(told(relation::parse(value))));
            }
            told(packages::parse(&text));
        });
        bounded("sources", bytes.len(), || {
            told(sources::parse_sources(&text));
            told(sources::parse_list(&text));
        });
        bounded("a script", bytes.len(), || {
            told(shell::parse(&text));
            script::heredoc(&text, "/etc/demo");
        });
    });
}

#[test]
fn malformed_releases() {
    /// A moment after the seeds were signed.
    const NOW: u64 = 1_710_000_000;
    let (files, armored) = seeds::releases();
    let keyring = Keyring::parse("archive.asc", armored.as_bytes()).expect("it is a keyring");
    let files: Vec<Vec<u8>> = files.into_iter().chain([armored.into_bytes()]).collect();
    let keyrings = [keyring];
    let words = [
        "-----BEGIN PGP SIGNED MESSAGE-----\n",
        "-----BEGIN PGP SIGNATURE-----\n",
        "-----END PGP SIGNATURE-----\n",
        "-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        "Hash: SHA256\n",
        "- ",
        "\n",
        "SHA256:\n",
        "=",
        "Date: ",
        "Valid-Until: ",
    ];
    judged("inrelease", &files, &words, as_they_are, |bytes| {
        bounded("a signature", bytes.len(), || told(signature::verify(bytes, &keyrings, NOW)));
        bounded("a keyring", bytes.len(), || told(Keyring::parse("keyring.asc", bytes)));
        bounded("a release", bytes.len(), || {
            let text = String::from_utf8_lossy(bytes);
            let signed = text.split_once("\n\n").map_or(&*text, |(_, rest)| rest);
            let Some(release) = told(Release::parse(signed)) else { return };
            told(release.check_valid_until(NOW));
            release.packages_index("main", "amd64");
        });
    });
}

#[test]
fn malformed_pages() {
    let (name, base) = (PackageName::from_str("demo").expect("it is a name"), "https://host/simple/demo/");
    let base = Url::parse(base).expect("it is a URL");
    let words = [
        "<a href=\"",
        " a=\"\" ",
        "\">",
        "<base href=\"//host\">",
        "</a>",
        "<!--",
        "&#x41;",
        "&amp;",
        "[",
        "{",
        "\\u0000",
        "null",
        "1e999",
        "\"files\":",
        "demo-1.0-py3-none-any.whl",
        "demo-1.0-1build-cp311-cp311-manylinux_2_17_x86_64.whl",
        "%2e%2e/",
    ];
    judged("simple_index", &seeds::pages(), &words, as_they_are, |bytes| {
        bounded("a page of JSON", bytes.len(), || told(simple::parse_json(&name, &base, bytes)));
        bounded("a page of HTML", bytes.len(), || told(simple::parse_html(&name, &base, bytes)));
    });
}

#[test]
fn malformed_locks() {
    let words = [
        "[[distribution]]\n",
        "[[component]]\n",
        "[",
        "]",
        "{",
        "}",
        "\"\"\"",
        "= ",
        "version = 99\n",
        "name = \"a\"\n",
        "../",
        "1979-05-27",
        "nan",
        "0x",
    ];
    judged("lock", &seeds::locks(), &words, as_they_are, |bytes| {
        bounded("a lock", bytes.len(), || {
            let Some(lock) = told(Lock::parse(&String::from_utf8_lossy(bytes))) else { return };
            let text = lock.to_text().expect("what was read can be written");
            told(Lock::parse(&text)).expect("what was written can be read");
        });
    });
}

#[test]
fn malformed_locks_of_other_tools() {
    let words = [
        "[[package]]\n",
        "name = \"a\"\n",
        "[package.optional-dependencies]\n",
        "{ name = \"a\", extra = [\"x\"] }, ",
        "marker = \"extra == 'extra-1-a-x'\"",
        "source = { editable = \".\" }\n",
        "git = \"https://h/a?rev=../x#\"",
        "include-group = ",
        "a[x]",
        "{",
        "]",
        "../",
        "1979-05-27",
    ];
    let target = Target::new("3.11.2", Architecture::Amd64, (2, 36)).expect("it is one");
    let selection =
        LockSelection { extras: vec!["x".parse().expect("it is one")], ..LockSelection::default() };
    judged("foreign_lock", &seeds::foreign_locks(), &words, as_they_are, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        for kind in [LockKind::Uv, LockKind::Poetry, LockKind::Pylock] {
            bounded("a lock of another tool", bytes.len(), || {
                let lock = told(ForeignLock::parse(kind, &text, "lock"))?;
                told(lock.select(target.markers(), &selection)).map(|packages| packages.len())
            });
        }
        let entry = RequirementsEntry::of("pyproject.toml", &["x"], &["x"]);
        bounded("a project", bytes.len(), || {
            told(ProjectFile::read(&text, "pyproject.toml", &entry)).is_some()
        });
        bounded("an environment", bytes.len(), || {
            CondaEnvironment::parse(&text, "environment.yml").is_ok_and(|read| read.notice("x").is_some())
        });
    });
}

/// The blobs of an image by their digests, in memory.
#[derive(Debug)]
struct Memory(BTreeMap<Digest, Vec<u8>>);

impl Blobs for Memory {
    fn open(&self, blob: &Descriptor) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self.0.get(&blob.digest()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }

    fn size(&self, blob: &Descriptor) -> io::Result<Option<u64>> {
        Ok(self.0.get(&blob.digest()).map(|bytes| bytes.len() as u64))
    }
}

#[test]
fn malformed_documents() {
    let files = seeds::documents();
    let words = [
        "{",
        "}",
        "[",
        "]",
        "\"manifests\":",
        "\"layers\":[",
        "\"digest\":\"sha256:\"",
        "\"diff_ids\":",
        "null",
        "true",
        "-1",
        "1e400",
        "\\ud800",
        "\"size\":",
        "\"mediaType\":",
        "\"platform\":",
        ",",
    ];
    judged("oci_documents", &files, &words, as_they_are, |bytes| {
        let opened = |root, kept: &[&[u8]]| {
            let blobs = kept.iter().map(|bytes| (Digest::of(bytes), bytes.to_vec())).collect();
            told(open_documents(root, Arc::new(Memory(blobs)), Some(Architecture::Amd64), "an image"));
        };
        let described =
            |media_type, bytes: &[u8]| Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        bounded("an index", bytes.len(), || {
            opened(DocumentRoot::Index { bytes: bytes.to_vec(), tag: Some("latest".into()) }, &[bytes]);
        });
        for media_type in [MediaType::ImageManifest, MediaType::ImageIndex] {
            bounded("a manifest", bytes.len(), || {
                let root = described(media_type, bytes);
                let kept: Vec<&[u8]> = files.iter().map(Vec::as_slice).chain([bytes]).collect();
                opened(DocumentRoot::Descriptor(Box::new(root)), &kept);
            });
        }
        bounded("a config", bytes.len(), || {
            let manifest = serde_json::json!({
                "schemaVersion": 2, "layers": [],
                "config": described(MediaType::ImageConfig, bytes),
            });
            let manifest = serde_json::to_vec(&manifest).expect("it is JSON");
            let root = described(MediaType::ImageManifest, &manifest);
            opened(DocumentRoot::Descriptor(Box::new(root)), &[&manifest, bytes]);
        });
    });
}

#[test]
fn malformed_modules() {
    let words = [
        "import ",
        "from . import ",
        "(",
        ")",
        "\"\"\"",
        "'",
        "\\\n",
        "\n",
        "    ",
        "\t",
        "try:\n",
        "except:\n",
        "if 0:\n",
        ";",
        "#",
        ":",
    ];
    judged("modules", &seeds::modules(), &words, as_they_are, |bytes| {
        bounded("imports", bytes.len(), || Imports::read(bytes).iter().count());
        bounded("a login file", bytes.len(), || Netrc::parse(&String::from_utf8_lossy(bytes)));
        for minor in 8..=15 {
            bounded("bytecode", bytes.len(), || told(pyc::canonical(bytes, b"", (3, minor))));
        }
    });
}

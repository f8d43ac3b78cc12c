//! The cost of inputs that are made to cost much: none of a few megabytes takes more memory than a build of gigabytes, or
//! much time, whichever parser it meets. Refusals are for the tests of their kinds.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use imgforge::oci::Digest;
use serde_json::{Value, json};

use super::support::World;
use super::support::cost::run_measured;
use super::support::debian::Archive;
use super::support::elf::library;
use super::support::layout::{Layout, Tar, gzip, header};
use super::support::server::Resource;
use super::support::wheel::Built;
use super::support::zip::{self, Member};

/// The promise of README.md.
const MOST_MEGABYTES: u64 = 250;
/// The program of a test is not optimised, and others run beside it.
const LONGEST: Duration = Duration::from_secs(300);

/// An input, and the command that meets it.
type Case = (&'static str, fn(&mut World) -> Vec<&'static str>);

const PLAN: &[&str] = &["plan", "recipe.yaml"];
const BUILD: &[&str] = &["build", "recipe.yaml", "-q", "-o", "oci:image"];
const INSPECT: &[&str] = &["inspect", "oci:base"];
const CHECK: &[&str] = &["check", "oci:base"];

/// Runs each case; `IMGFORGE_COST` chooses those with it in their names.
#[track_caller]
fn check(cases: &[Case]) {
    let chosen = std::env::var("IMGFORGE_COST").unwrap_or_default();
    let mut wrong = String::new();
    for (name, prepare) in cases.iter().filter(|(name, _)| name.contains(&chosen)) {
        let mut world = World::new();
        let arguments = prepare(&mut world);
        let measured = run_measured(&world, &mut world.command(&arguments), LONGEST);
        let (code, megabytes) = (measured.outcome.code, measured.megabytes);
        eprintln!("{name}: {megabytes} MB, {:.1} s, exit code {code}", measured.time.as_secs_f32());
        let is_panic = measured.outcome.stderr.contains("panicked");
        if megabytes > MOST_MEGABYTES || code < 0 || is_panic {
            let said: String = measured.outcome.stderr.chars().take(2000).collect();
            writeln!(wrong, "{name}: {megabytes} MB, exit code {code}\n{said}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Lists the wheel `demo` 1.0 with these files, in `.dist-info` where their paths are names in capitals.
fn publish(world: &mut World, files: &[(&str, &[u8])]) {
    let metadata = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n";
    let wheel = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    let standard: [(&str, &[u8]); 4] =
        [("demo.py", b""), ("METADATA", metadata), ("WHEEL", wheel), ("RECORD", b"")];
    let has = |name: &str| files.iter().any(|(other, _)| *other == name);
    let all = standard.into_iter().filter(|(name, _)| !has(name)).chain(files.iter().copied());
    let members: Vec<Member> = all
        .map(|(name, content)| match name {
            "METADATA" | "WHEEL" | "RECORD" | "entry_points.txt" => {
                Member::file(&format!("demo-1.0.dist-info/{name}"), content)
            }
            name => Member::file(name, content),
        })
        .collect();
    publish_members(world, &members);
}

fn publish_members(world: &mut World, members: &[Member]) {
    let built = Built { filename: "demo-1.0-py3-none-any.whl".into(), bytes: zip::archive(members) };
    world.publish_file("demo", &built, |_| {});
    layout(Tar::debian("")).write(&world.path("base"));
    recipe(world, "packages: [demo]\n");
}

fn recipe(world: &World, lines: &str) {
    world.write("recipe.yaml", format!("name: demo\nbase: oci:base\n{lines}"));
}

fn layout(tar: Tar) -> Layout {
    Layout::new().layer(tar)
}

/// Writes the base that consists of this layer.
fn base(world: &mut World, tar: Tar) {
    layout(tar).write(&world.path("base"));
    recipe(world, "packages: [wholesome]\n");
}

fn metadata(lines: &str) -> Vec<u8> {
    format!("Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n{lines}").into()
}

/// Repeats `text` up to about so many mebibytes.
fn mebibytes(text: &str, count: usize) -> String {
    text.repeat((count << 20) / text.len())
}

#[test]
fn texts_of_wheels() {
    check(&[
        ("METADATA with a description of 60 MB", |world| {
            publish(world, &[("METADATA", &metadata(&mebibytes("\nno end ", 60)))]);
            PLAN.into()
        }),
        ("METADATA of short requirements", |world| {
            publish(world, &[("METADATA", &metadata(&mebibytes("Requires-Dist: a\n", 3)))]);
            PLAN.into()
        }),
        ("METADATA of extras", |world| {
            publish(world, &[("METADATA", &metadata(&mebibytes("Provides-Extra: a\n", 3)))]);
            PLAN.into()
        }),
        ("METADATA of large markers", |world| {
            let marker =
                |i: usize| (0..100).map(|j| format!("extra == 'e{i}x{j}'")).collect::<Vec<_>>().join(" or ");
            let lines: String = (0..1000).map(|i| format!("Requires-Dist: a; {}\n", marker(i))).collect();
            publish(world, &[("METADATA", &metadata(&lines))]);
            PLAN.into()
        }),
        ("METADATA of many small markers", |world| {
            let line = |i: usize| {
                format!(
                    "Requires-Dist: a{i}>=1,!={i}; os_name == 'o{i}' and extra == 'e{i}' or sys_platform != 's{i}'\n"
                )
            };
            publish(world, &[("METADATA", &metadata(&(0..8000).map(line).collect::<String>()))]);
            PLAN.into()
        }),
        ("RECORD of 60 MB", |world| {
            publish(world, &[("RECORD", mebibytes("a,sha256=x,1\n", 60).as_bytes())]);
            BUILD.into()
        }),
        ("RECORD with long rows", |world| {
            publish(
                world,
                &[("RECORD", mebibytes(&format!("{},sha256=x,1\n", "a".repeat(200)), 60).as_bytes())],
            );
            BUILD.into()
        }),
        ("RECORD of one row", |world| {
            publish(world, &[("RECORD", mebibytes("a", 60).as_bytes())]);
            BUILD.into()
        }),
        ("entry_points.txt of many scripts", |world| {
            let lines: String = (0..60_000).map(|i| format!("s{i}=a:b\n")).collect();
            publish(world, &[("entry_points.txt", format!("[console_scripts]\n{lines}").as_bytes())]);
            BUILD.into()
        }),
        ("entry_points.txt of 60 MB", |world| {
            publish(world, &[("entry_points.txt", mebibytes("[a]\n", 60).as_bytes())]);
            BUILD.into()
        }),
        ("WHEEL of 60 MB", |world| {
            publish(world, &[("WHEEL", mebibytes("Tag: a\n", 60).as_bytes())]);
            BUILD.into()
        }),
        ("scripts of 60 MB", |world| {
            let script = mebibytes("#!python\n", 4);
            let names: Vec<String> = (0..15).map(|i| format!("demo-1.0.data/scripts/s{i}")).collect();
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (&**name, script.as_bytes())).collect();
            publish(world, &files);
            BUILD.into()
        }),
    ]);
}

#[test]
fn members_of_wheels() {
    check(&[
        ("a million members", |world| {
            let members: Vec<Member> = (0..1_000_000).map(|i| Member::stored(&format!("{i}"), b"")).collect();
            publish_members(world, &members);
            PLAN.into()
        }),
        ("as many members as are allowed", |world| {
            let mut members: Vec<Member> =
                (0..100_000).map(|i| Member::stored(&format!("demo/package/module_{i}.py"), b"")).collect();
            members.push(Member::file("demo-1.0.dist-info/METADATA", &metadata("")));
            members.push(Member::file("demo-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\n"));
            members.push(Member::file("demo-1.0.dist-info/RECORD", b""));
            publish_members(world, &members);
            BUILD.into()
        }),
        ("deep and long paths", |world| {
            let deep = "x/".repeat(8000);
            let long = "y".repeat(60_000);
            let files: [(&str, &[u8]); 2] = [(&format!("{deep}a"), b""), (&long, b"")];
            publish(world, &files);
            BUILD.into()
        }),
        ("a zip bomb", |world| {
            publish_members(world, &[Member::zeros("demo.py", 4000)]);
            BUILD.into()
        }),
    ]);
}

fn page(world: &mut World, resource: Resource) -> Vec<&'static str> {
    publish(world, &[]);
    world.server.set("/simple/demo/", resource);
    PLAN.into()
}

#[test]
fn pages_of_indexes() {
    const WHEEL: &str = "demo-1.0-py3-none-any.whl";
    check(&[
        ("HTML of links, compressed", |world| {
            page(
                world,
                Resource::gzip(gzip(mebibytes(&format!("<a href=\"{WHEEL}\">x</a>"), 200).as_bytes())),
            )
        }),
        ("HTML of links", |world| page(world, Resource::html(&mebibytes(&format!("<a href={WHEEL}>"), 31)))),
        ("HTML of empty links", |world| page(world, Resource::html(&mebibytes("<a href>", 31)))),
        ("HTML of attributes", |world| {
            page(world, Resource::html(&format!("<a {}>", mebibytes("a b ", 31))))
        }),
        ("HTML of attributes in quotes", |world| {
            page(world, Resource::html(&format!("<a {}>", mebibytes("a=\"\" ", 31))))
        }),
        ("HTML that nests", |world| page(world, Resource::html(&mebibytes("<p>", 31)))),
        ("JSON of files", |world| {
            let file = format!(r#"{{"filename":"{WHEEL}","url":"a","hashes":{{}}}},"#);
            page(world, Resource::text_json(format!(r#"{{"files":[{}{{}}]}}"#, mebibytes(&file, 31))))
        }),
        ("JSON of as many wheels as are allowed", |world| {
            let file = |i| {
                format!(
                    r#"{{"filename":"demo-{i}.0-py3-none-any.whl","url":"http://localhost/{i}","requires-python":">={i}","hashes":{{}}}}"#
                )
            };
            let files: Vec<String> = (0..32_000).map(file).collect();
            page(world, Resource::text_json(format!(r#"{{"files":[{}]}}"#, files.join(","))))
        }),
        ("JSON that nests", |world| page(world, Resource::text_json("[".repeat(31 << 20)))),
        ("JSON of other keys", |world| {
            page(world, Resource::text_json(format!(r#"{{"versions":[{}""]}}"#, mebibytes(r#""1","#, 31))))
        }),
        ("METADATA beside the wheel", |world| {
            let file = json!({"filename": WHEEL, "url": "a.whl", "hashes": {}, "core-metadata": true});
            let resource = Resource::gzip(gzip(&metadata(&mebibytes("\n", 200))));
            world.server.set("/simple/demo/a.whl.metadata", resource);
            page(world, Resource::json(&json!({"files": [file]})))
        }),
    ]);
}

#[test]
fn documents_of_images() {
    fn many(item: &str, count: usize) -> String {
        vec![item; count].join(",")
    }
    fn raw(world: &mut World, index: String) -> Vec<&'static str> {
        base(world, Tar::debian(""));
        world.write("base/index.json", index);
        INSPECT.into()
    }
    /// An image whose config has these bytes.
    fn config(world: &mut World, config: &str) -> Vec<&'static str> {
        base(world, Tar::debian(""));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            "layers": [],
        });
        document(world, &manifest.to_string());
        world.write(&format!("base/blobs/sha256/{}", Digest::of(config).hex()), config);
        INSPECT.into()
    }
    fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
        json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
    }
    fn document(world: &mut World, manifest: &str) {
        let listed = descriptor("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes());
        world.write("base/index.json", json!({"schemaVersion": 2, "manifests": [listed]}).to_string());
        world.write(&format!("base/blobs/sha256/{}", Digest::of(manifest).hex()), manifest);
    }
    check(&[
        ("an index of descriptors", |world| {
            let digest = "0".repeat(64);
            let entry = format!(r#"{{"mediaType":"","digest":"sha256:{digest}","size":0}}"#);
            raw(world, format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, many(&entry, 70_000)))
        }),
        ("an index of annotations", |world| {
            raw(
                world,
                format!(
                    r#"{{"schemaVersion":2,"manifests":[],"annotations":{{{}}}}}"#,
                    (0..500_000).map(|i| format!(r#""{i}":"""#)).collect::<Vec<_>>().join(",")
                ),
            )
        }),
        ("an index that nests", |world| raw(world, "[".repeat(8_000_000))),
        ("an index of 60 MB", |world| raw(world, " ".repeat(60 << 20))),
        ("a manifest of layers", |world| {
            base(world, Tar::debian(""));
            let digest = "0".repeat(64);
            let entry = format!(r#"{{"mediaType":"","digest":"sha256:{digest}","size":0}}"#);
            let layers = many(&entry, 70_000);
            document(world, &format!(r#"{{"schemaVersion":2,"config":{entry},"layers":[{layers}]}}"#));
            INSPECT.into()
        }),
        ("a config of a million entries of history", |world| {
            let history = many("{}", 1_300_000);
            config(
                world,
                &format!(
                    r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"history":[{history}]}}"#
                ),
            )
        }),
        ("a config of variables", |world| {
            let env = many("\"\"", 1_300_000);
            config(
                world,
                &format!(
                    r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[]}},"config":{{"Env":[{env}]}}}}"#
                ),
            )
        }),
    ]);
}

#[test]
fn layers_of_images() {
    const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";
    check(&[
        ("more entries than are allowed", |world| {
            let entries = (0..610_000).map(|i| header(b'0', format!("d/{i}").as_bytes(), b"", 0));
            base(world, entries.fold(Tar::debian(""), |tar, entry| tar.raw(&entry)));
            INSPECT.into()
        }),
        ("hard links", |world| {
            let first = "x/".repeat(40) + "file";
            let entries =
                (0..200_000).map(|i| header(b'1', format!("d/{i}").as_bytes(), first.as_bytes(), 0));
            let tar = Tar::debian("").file(&first, "");
            base(world, entries.fold(tar, |tar, entry| tar.raw(&entry)));
            CHECK.into()
        }),
        ("long PAX headers", |world| {
            let long = "x".repeat(1_000_000);
            let tar = (0..200)
                .fold(Tar::debian(""), |tar, i| tar.pax(&[("comment", &long)]).file(&format!("{i}"), ""));
            base(world, tar);
            INSPECT.into()
        }),
        ("long paths", |world| {
            let path = |i: usize| format!("{}{i}", "0123456789abcde/".repeat(255));
            base(world, (0..30_000).fold(Tar::debian(""), |tar, i| tar.file(&path(i), "")));
            INSPECT.into()
        }),
        ("a path of 8,000 names", |world| {
            base(world, Tar::debian("").file(&("x/".repeat(8000) + "x"), ""));
            INSPECT.into()
        }),
        ("links that lead to links", |world| {
            let tar = Tar::debian("").symlink("l0", "/");
            let tar = (1..20_000).fold(tar, |tar, i| {
                let target = format!("l{}/", i - 1).repeat(30);
                tar.symlink(&format!("l{i}"), &target)
            });
            base(world, tar);
            CHECK.into()
        }),
        ("whiteouts", |world| {
            let tar = (0..100_000).fold(Tar::debian(""), |tar, i| tar.whiteout(&format!("d/{i}")));
            Layout::new().layer(Tar::debian("")).layer(tar).write(&world.path("base"));
            recipe(world, "packages: [wholesome]\n");
            INSPECT.into()
        }),
        ("METADATA of many distributions", |world| {
            let text = metadata(&mebibytes("Requires-Dist: a\n", 3));
            let tar = (0..100).fold(Tar::debian(""), |tar, i| {
                tar.file(&format!("{PACKAGES}/d{i}-1.dist-info/METADATA"), &text)
            });
            base(world, tar);
            CHECK.into()
        }),
        ("RECORD of many distributions", |world| {
            let text = mebibytes("a,sha256=x,1\n", 20);
            let tar = (0..6).fold(Tar::debian(""), |tar, i| {
                let directory = format!("{PACKAGES}/d{i}-1.dist-info");
                tar.file(&format!("{directory}/METADATA"), format!("Name: d{i}\nVersion: 1\n"))
                    .file(&format!("{directory}/RECORD"), &text)
            });
            base(world, tar);
            CHECK.into()
        }),
        ("dpkg's status", |world| {
            base(
                world,
                Tar::debian(&mebibytes("Package: a\nVersion: 1\nStatus: install ok installed\n\n", 20)),
            );
            INSPECT.into()
        }),
        ("conda's records", |world| {
            let text = format!(r#"{{"name":"a","version":"1","files":[{}""]}}"#, mebibytes(r#""","#, 20));
            base(world, Tar::debian("").file("opt/conda/conda-meta/a-1.json", text));
            INSPECT.into()
        }),
        ("includes of the loader's configuration", |world| {
            let include = "include /etc/ld.so.conf.d/*.conf\n".repeat(1000);
            let tar = Tar::debian("").file("etc/ld.so.conf", &include);
            let tar = (0..1000).fold(tar, |tar, i| tar.file(&format!("etc/ld.so.conf.d/{i}.conf"), &include));
            base(world, tar);
            INSPECT.into()
        }),
        ("a library of tables", |world| {
            let mut bytes = library("libcublas.so.12", b"").to_vec();
            bytes.resize(60 << 20, 1);
            let tar = (0..3)
                .fold(Tar::debian(""), |tar, i| tar.file(&format!("usr/lib/l{i}/libcublas.so.12"), &bytes));
            base(world, tar);
            CHECK.into()
        }),
        ("a .pth", |world| {
            base(world, Tar::debian("").file(&format!("{PACKAGES}/a.pth"), mebibytes("/a\n", 60)));
            CHECK.into()
        }),
    ]);
}

/// A requirements file of this text.
fn requirements(world: &mut World, text: &str) -> Vec<&'static str> {
    base(world, Tar::debian(""));
    recipe(world, "packages: []\nrequirements: [r.txt]\n");
    world.write("r.txt", text);
    PLAN.into()
}

#[test]
fn texts_of_recipes() {
    check(&[
        ("a lock of numbers", |world| {
            base(world, Tar::debian(""));
            world.write("recipe.lock", format!("a = [{}]", "1,".repeat(1_900_000)));
            PLAN.into()
        }),
        ("a lock of tables", |world| {
            base(world, Tar::debian(""));
            world.write("recipe.lock", "[[a]]\n".repeat(600_000));
            PLAN.into()
        }),
        ("a lock that nests", |world| {
            base(world, Tar::debian(""));
            world.write("recipe.lock", format!("a = {}", "[".repeat(3_900_000)));
            PLAN.into()
        }),
        ("a recipe of aliases", |world| {
            base(world, Tar::debian(""));
            let steps =
                (1..60).map(|i| format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(",")));
            world.write("recipe.yaml", format!("a0: &a0 [x]\n{}", steps.collect::<String>()));
            PLAN.into()
        }),
        ("a recipe that nests", |world| {
            world.write("recipe.yaml", "[".repeat(1 << 20));
            PLAN.into()
        }),
        ("a recipe of packages", |world| {
            base(world, Tar::debian(""));
            recipe(world, &format!("packages: [{}a]\n", "a,".repeat(500_000)));
            PLAN.into()
        }),
        ("a description of 31 MB", |world| {
            base(world, Tar::debian(""));
            let text = format!("layout: x\ninventory: |\n  {{\"a\":[{}1]}}\n", "1,".repeat(15 << 20));
            std::fs::create_dir(world.path("images")).unwrap();
            world.write("images/large.yaml", text);
            world.write("recipe.yaml", "name: demo\nbase: large\npackages: [a]\n");
            PLAN.into()
        }),
        ("requirements", |world| requirements(world, &mebibytes("a\n", 31))),
        ("a requirements file of empty lines", |world| requirements(world, &mebibytes("\n", 31))),
        ("a requirements file of one line", |world| requirements(world, &mebibytes("\\\n", 31))),
        ("a requirements file of options on one line", |world| requirements(world, &mebibytes("-r ", 31))),
        ("a requirements file of options with values on one line", |world| {
            requirements(world, &mebibytes("-r a ", 31))
        }),
        ("a requirements file of options on lines of their own", |world| {
            requirements(world, &mebibytes("-r a\n", 31))
        }),
        ("a requirements file of hashes", |world| {
            requirements(world, &format!("a --hash=sha256:{}", mebibytes(" --hash=", 30)))
        }),
        ("a requirements file of editable projects", |world| requirements(world, &mebibytes("-e .\n", 31))),
        ("requirements files that include each other", |world| {
            base(world, Tar::debian(""));
            recipe(world, "packages: [wholesome]\nrequirements: [r0.txt]\n");
            for i in 0..40 {
                let next = i + 1;
                world.write(
                    &format!("r{i}.txt"),
                    format!("-r r{next}.txt\n-r r{next}.txt\n-c ./r{next}.txt\n"),
                );
            }
            world.write("r40.txt", "wholesome\n");
            PLAN.into()
        }),
        ("requirements files that include each other under many names", |world| {
            base(world, Tar::debian(""));
            recipe(world, "packages: [wholesome]\nrequirements: [r.txt]\n");
            std::fs::create_dir(world.path("a")).unwrap();
            symlink("../r.txt", world.path("a/r.txt")).unwrap();
            world.write("r.txt", "-r a/../r.txt\n-r ./r.txt\n-r a/r.txt\n");
            PLAN.into()
        }),
        ("a lock without end", |world| {
            base(world, Tar::debian(""));
            symlink("/dev/zero", world.path("recipe.lock")).unwrap();
            PLAN.into()
        }),
        ("a recipe without end", |world| {
            symlink("/dev/zero", world.path("recipe.yaml")).unwrap();
            PLAN.into()
        }),
    ]);
}

#[test]
fn indexes_of_archives() {
    fn suite(world: &mut World, index: &str) -> Vec<&'static str> {
        world.archive = Archive::small();
        world.recipe("packages: [wholesome]\n");
        for (path, bytes) in world.archive.files_of(index) {
            world.server.set(&format!("/debian/{path}"), Resource::file(bytes));
        }
        PLAN.into()
    }
    check(&[
        ("packages", |world| {
            let digest = "0".repeat(64);
            let paragraph = |i| {
                format!(
                    "Package: p{i}\nVersion: 1\nArchitecture: amd64\nFilename: pool/{i}\nSize: 1\nSHA256: {digest}\n\n"
                )
            };
            suite(world, &(0..150_000).map(paragraph).collect::<String>())
        }),
        ("one package of 100 MB", |world| {
            suite(world, &format!("Package: a\nDescription: {}\n", mebibytes("a", 100)))
        }),
        ("relations", |world| {
            suite(
                world,
                &format!(
                    "Package: python3\nVersion: 1\nArchitecture: amd64\nDepends: {}a\n",
                    mebibytes("a, ", 60)
                ),
            )
        }),
    ]);
}

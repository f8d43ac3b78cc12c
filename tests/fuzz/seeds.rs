//! Sound files of each format, which are damaged.

use std::path::Path;

use serde_json::json;

use crate::support::World;
use crate::support::debian::Archive;
use crate::support::elf::library;
use crate::support::layout::{Layout, Packing, Tar};
use crate::support::wheel::Wheel;
use crate::support::zip::{self, Member};

pub const METADATA: &str = "Metadata-Version: 2.4\nName: demo\nVersion: 1.0.post1\nSummary: a demo\n\
    License-Expression: MIT\nRequires-Python: >=3.8,!=3.9.*\nProvides-Extra: gpu\nProvides-Extra: all\n\
    Requires-Dist: numpy<3,>=1.24; python_version >= \"3.9\" and extra == 'gpu'\n\
    Requires-Dist: nvidia-cublas-cu12==12.4.5.8; platform_system == \"Linux\" and platform_machine == \"x86_64\"\n\
    Requires-Dist: demo[gpu]; extra == 'all' or (sys_platform != 'win32' and implementation_name in 'cpython pypy')\n\
    Description-Content-Type: text/markdown\n\n# Demo\n\nText: no header.\n";

/// Recipes and descriptions of bases.
pub fn recipes() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read(root.join(path)).expect("it is in the repository");
    vec![
        read("recipes/colab-like.yaml"),
        read("images/debian-bookworm.yaml"),
        b"name: demo\nbase: {suites: [bookworm], packages: [python3]}\nframeworks: {torch: '2.6.0'}\npackages:\n\
          - \"numpy>=2; python_version > '3.8'\"\n- &a pandas\n- *a\nfiles: [{from: a, to: /b, mode: \"0644\"}]\n\
          cuda: {policy: shared, driver: 550.54, components: {cudnn: wheel}}\nindexes:\n- url: https://host/simple\n\
          ignore: [{rule: missing-library, path: /usr/lib/**, reason: |\n  long\n  }]\n"
            .to_vec(),
    ]
}

pub fn requirements() -> Vec<Vec<u8>> {
    let hash = "0".repeat(64);
    vec![
        format!(
            "# pinned\n-r other.txt\n--index-url https://user:${{TOKEN}}@host/simple\nnumpy == 1.26.4 \\\n    \
             --hash=sha256:{hash} \\\n    --hash=sha256:{hash}\npandas[excel]>=2,<3 ; python_version < '3.13' # why\n\
             \"quoted\"\ndemo @ https://host/demo-1.0-py3-none-any.whl\n"
        )
        .into_bytes(),
        b"torch~=2.6.0; (extra == 'gpu' or os_name == 'posix') and platform_python_implementation != 'PyPy'\n\
          tensorflow===2.18.0\njax>=0.5.3,!=0.5.4.*,<1.0a0\n"
            .to_vec(),
        [&[0xff, 0xfe][..], &"numpy\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat(),
    ]
}

/// METADATA, RECORD, `entry_points.txt` and WHEEL.
pub fn texts_of_wheels() -> Vec<Vec<u8>> {
    vec![
        METADATA.into(),
        b"demo/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n\"demo/a,b.py\",,12\n\
          demo-1.0.dist-info/RECORD,,\n../../../bin/demo,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"
            .to_vec(),
        b"[console_scripts]\ndemo = demo.cli:main [extra]\n# more\n[gui_scripts]\ndemo-gui=demo.gui:Main.run\n\
          [demo.plugins]\na = demo:a\n"
            .to_vec(),
        b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n".to_vec(),
    ]
}

pub fn wheels() -> Vec<Vec<u8>> {
    let wheel = Wheel::new("demo", "1.0").requires("numpy>=1").file("demo/__init__.py", "import numpy\n");
    let library = library("libdemo.so.1", &[7; 300]);
    vec![
        wheel.build().bytes,
        zip::archive(&[
            Member::stored("demo/a.py", b"a = 1\n"),
            Member::file("demo/libdemo.so", &library).described(),
            Member::file("demo-1.0.dist-info/METADATA", METADATA.as_bytes()),
            Member::file("demo-1.0.dist-info/WHEEL", b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"),
            Member::file("demo-1.0.dist-info/RECORD", b"demo/a.py,,\n"),
        ]),
    ]
}

/// Layers: tars of several makers, packed and not.
pub fn layers() -> Vec<Vec<u8>> {
    let tar = Tar::debian("")
        .pax(&[
            ("path", "usr/share/doc/a long name"),
            ("mtime", "1700000000.5"),
            ("SCHILY.xattr.user.a", "b"),
        ])
        .file("short", "content")
        .entry(b'0', "long/".repeat(40).as_bytes(), b"", b"content")
        .entry(b'2', b"link", "../".repeat(50).as_bytes(), b"")
        .hardlink("usr/bin/python", "usr/bin/python3.11")
        .whiteout("etc/removed")
        .opaque("var/cache")
        .file("usr/lib/python3/dist-packages/demo-1.0.dist-info/METADATA", METADATA)
        .file("usr/lib/python3/dist-packages/demo-1.0.dist-info/RECORD", "demo/__init__.py,,\n")
        .file(
            "usr/lib/python3/dist-packages/demo/__init__.py",
            "import os\ntry:\n    import numpy\nexcept ImportError:\n    pass\n",
        )
        .file("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n")
        .finish();
    let packings =
        [Packing::Plain, Packing::Plain, Packing::Plain, Packing::Gzip, Packing::GzipMembers, Packing::Zstd];
    packings.map(|packing| packing.pack(&tar)).into()
}

/// Sets the checksum of every block that looks like a tar header, so that what is behind it is reached.
pub fn seal_tar(bytes: &mut [u8]) {
    for block in bytes.as_chunks_mut::<512>().0 {
        if block[257..262] == *b"ustar" {
            *block = crate::support::layout::seal(*block);
        }
    }
}

pub fn packages() -> Vec<Vec<u8>> {
    Archive::small().packages.iter().map(|package| package.deb()).collect()
}

/// The control files of Debian: packages, sources, relations, a maintainer script.
pub fn control_files() -> Vec<Vec<u8>> {
    let index = Archive::small().files().into_iter().find(|(path, _)| path.ends_with("/Packages"));
    vec![
        index.expect("an archive has an index").1,
        b"Package: demo\nVersion: 2:1.0~rc1+dfsg-1.1+b2\nArchitecture: all\nMulti-Arch: foreign\n\
          Depends: libc6 (>= 2.36), python3:any (<< 4) | python3-minimal [amd64 !arm64], a (= 1:2-3)\n\
          Provides: mail-transport-agent (= 1), b\nDescription: short\n long\n .\n more\n"
            .to_vec(),
        b"Types: deb deb-src\nURIs: https://host/debian http://other/debian\nSuites: bookworm bookworm-updates\n\
          Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n aaaa\n"
            .to_vec(),
        b"# a list\ndeb [arch=amd64,arm64 signed-by=/usr/share/keyrings/a.gpg] https://host/debian bookworm main contrib\n"
            .to_vec(),
        b"#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n  update-alternatives --install /usr/bin/editor editor \\\n    \
          /usr/bin/nano 40 --slave /usr/share/man a /b\n  cat > /etc/demo <<-EOF\n\ta\n\tEOF\nfi\nexit 0\n"
            .to_vec(),
    ]
}

/// A signed release, and the keyring with its key.
pub fn releases() -> (Vec<Vec<u8>>, String) {
    let archive = Archive::small();
    let signed = archive.files().into_iter().filter(|(path, _)| path.ends_with("InRelease"));
    (signed.map(|(_, bytes)| bytes).collect(), archive.keyring())
}

/// Pages of a project, in JSON and HTML.
pub fn pages() -> Vec<Vec<u8>> {
    let json = json!({
        "meta": {"api-version": "1.1"}, "name": "demo", "versions": ["1.0"],
        "files": [
            {"filename": "demo-1.0-py3-none-any.whl", "url": "../../demo-1.0-py3-none-any.whl",
             "hashes": {"sha256": "0".repeat(64)}, "size": 1234, "upload-time": "2024-05-06T07:08:09.123Z",
             "requires-python": ">=3.8", "yanked": "bad", "core-metadata": {"sha256": "1".repeat(64)}},
            {"filename": "demo-1.0.tar.gz", "url": "https://host/demo-1.0.tar.gz", "hashes": {}},
        ],
    });
    let html = format!(
        "<!DOCTYPE html><html><head><base href=\"https://host/\"><meta name=\"pypi:repository-version\" content=\"1.0\">\
         </head><body><a href=\"demo-1.0-py3-none-any.whl#sha256={}\" data-requires-python=\"&gt;=3.8\" \
         data-yanked=\"\" data-core-metadata=\"sha256={}\">demo-1.0-py3-none-any.whl</a><br/>\n<a href=\"/x\">x</a></body></html>",
        "0".repeat(64),
        "1".repeat(64)
    );
    vec![serde_json::to_vec(&json).expect("it is JSON"), html.into_bytes()]
}

/// Locks that the program wrote.
/// Locks and projects of other tools.
pub fn foreign_locks() -> Vec<Vec<u8>> {
    const UV: &str = "version = 1\nrequires-python = \">=3.11\"\nconflicts = [[{ package = \"a\", extra = \"x\" }, { package = \"a\", extra = \"y\" }]]\n\
        [manifest]\noverrides = [{ name = \"b\", specifier = \"<2\" }]\n[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { editable = \".\" }\n\
        dependencies = [{ name = \"b\", marker = \"extra == 'extra-1-a-x'\" }]\n[package.optional-dependencies]\nx = [{ name = \"c\" }]\n\
        [[package]]\nname = \"b\"\nversion = \"1\"\nsource = { registry = \"http://h\" }\nwheels = [{ url = \"http://h/b-1-py3-none-any.whl\", hash = \"sha256:00\" }]\n\
        [[package]]\nname = \"c\"\nversion = \"1\"\nsource = { git = \"https://h/c?rev=x#7dff383e825a2a635022027086925c634969f463\" }\n";
    const POETRY: &str = "[[package]]\nname = \"a\"\nversion = \"1\"\ngroups = [\"main\"]\nmarkers = {main = \"extra == 'x'\"}\n\
        files = [{file = \"a-1-py3-none-any.whl\", hash = \"sha256:00\"}]\n[extras]\nx = [\"a\"]\n[metadata]\nlock-version = \"2.1\"\n";
    const PYLOCK: &str = "lock-version = \"1.0\"\n[[packages]]\nname = \"a\"\nversion = \"1\"\nmarker = \"'x' in extras\"\n\
        vcs = {type = \"git\", url = \"https://h/a\", commit-id = \"7dff383e825a2a635022027086925c634969f463\"}\n";
    const PROJECT: &str = "[project]\nname = \"a\"\nversion = \"1\"\ndependencies = [\"b\"]\n[project.optional-dependencies]\nx = [\"a[y]\"]\ny = [\"c\"]\n\
        [dependency-groups]\nx = [{include-group = \"y\"}]\ny = [\"d\"]\n[tool.uv.sources]\nb = [{git = \"https://h/b\", marker = \"python_version > '3'\"}]\n\
        [[tool.uv.index]]\nname = \"i\"\nurl = \"http://h/simple\"\n";
    const CONDA: &str = "dependencies:\n- python\n- pip:\n  - a==1\n";
    [UV, POETRY, PYLOCK, PROJECT, CONDA].map(|text| text.as_bytes().to_vec()).to_vec()
}

pub fn locks() -> Vec<Vec<u8>> {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0").requires("helper>=2").file("demo.py", "1\n"));
    world.publish(Wheel::new("helper", "2.5").file("helper.py", "2\n"));
    world.recipe("packages: [demo]\n");
    let outcome = world.run(&["lock", "recipe.yaml"]);
    assert_eq!(outcome.code, 0, "{outcome}");
    vec![std::fs::read(world.path("recipe.lock")).expect("it was written")]
}

/// Indexes, manifests and configs, and the `manifest.json` of `docker save`.
pub fn documents() -> Vec<Vec<u8>> {
    let layout = Layout::new().layer(Tar::debian(""));
    let mut documents: Vec<Vec<u8>> =
        layout.files().into_iter().map(|(_, bytes)| bytes).filter(|bytes| bytes.starts_with(b"{")).collect();
    let platforms = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": format!("sha256:{}", "0".repeat(64)),
             "size": 10, "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
            {"mediaType": "application/vnd.docker.distribution.manifest.v2+json", "size": 10,
             "digest": format!("sha256:{}", "1".repeat(64)), "platform": {"os": "linux", "architecture": "amd64"},
             "annotations": {"org.opencontainers.image.ref.name": "latest", "vnd.docker.reference.type": "attestation-manifest"}},
        ],
    });
    documents.push(serde_json::to_vec(&platforms).expect("it is JSON"));
    documents
}

/// Modules of Python.
pub fn modules() -> Vec<Vec<u8>> {
    vec![
        b"\"\"\"A module.\"\"\"\nfrom __future__ import annotations\nimport os, sys as s\nfrom . import (a,\n  b as c,  # d\n)\n\
          try:\n    import numpy\nexcept ImportError:\n    numpy = None\nif s.version_info >= (3, 8):\n    from typing import *\n\
          else:\n\timport typing_extensions\ndef f():\n    import later\n\x0c\nclass A: import b; x = '''\nimport no\n'''\n"
            .to_vec(),
        b"# -*- coding: latin-1 -*-\nx = r'\\' ; import a.b.c \\\n   , d\nwith open(f\"{x!r:>{10}}\") as y: pass\n".to_vec(),
    ]
}

//! A tiny Debian archive, signed with a key of the test's.

use std::fmt::Write as _;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use imgforge::oci::Digest;
use pgp::composed::{
    CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::types::Password;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::elf;

/// An archive with one suite.
#[derive(Debug, Clone)]
pub struct Archive {
    pub packages: Vec<Package>,
    /// The suite's name.
    pub suite: &'static str,
    /// Debian's names of the architectures that every package is for.
    pub architectures: &'static [&'static str],
    /// The release's date.
    pub date: &'static str,
    /// Lines of the release beside the usual ones.
    pub release_lines: &'static str,
    key: SignedSecretKey,
    /// The key whose public half the keyring has.
    trusted: SignedSecretKey,
}

/// A binary package.
#[derive(Debug, Clone)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub fields: &'static str,
    pub files: Vec<File>,
}

/// An entry of a package.
#[derive(Debug, Clone)]
pub enum File {
    Directory(&'static str),
    Regular(&'static str, &'static str, u32),
    Link(&'static str, &'static str),
    /// A shared library, by its path and its SONAME.
    Library(&'static str, &'static str),
}

impl Archive {
    /// The least that a base needs: a C library, the loader's configurator, and a Python.
    pub fn small() -> Self {
        use File::{Directory, Link, Regular};
        let essential = "Essential: yes\n";
        let package = |name, version, fields, files| Package { name, version, fields, files };
        let key = key(1);
        Self {
            packages: vec![
                package(
                    "base-files",
                    "12.4+deb12u5",
                    essential,
                    vec![
                        Directory("etc/"),
                        Regular("etc/os-release", "ID=debian\n", 0o644),
                        Directory("tmp/"),
                    ],
                ),
                package(
                    "libc6",
                    "2.36-9+deb12u7",
                    essential,
                    vec![Regular("lib/x86_64-linux-gnu/libdemo.conf", "demo\n", 0o644)],
                ),
                package(
                    "libc-bin",
                    "2.36-9+deb12u7",
                    "Essential: yes\nDepends: libc6\n",
                    vec![
                        Regular("etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n", 0o644),
                        Regular("etc/ld.so.conf.d/libc.conf", "/usr/local/lib\n", 0o644),
                    ],
                ),
                package(
                    "python3",
                    "3.11.2-1+b1",
                    "Depends: python3.11-minimal (>= 3.11.2)\n",
                    vec![Link("usr/bin/python3", "python3.11")],
                ),
                package(
                    "python3.11-minimal",
                    "3.11.2-6",
                    "Depends: libc6 (>= 2.36)\n",
                    vec![
                        Directory("usr/"),
                        Directory("usr/bin/"),
                        Regular("usr/bin/python3.11", "an interpreter\n", 0o755),
                        Regular("usr/lib/python3.11/EXTERNALLY-MANAGED", "[externally-managed]\n", 0o644),
                    ],
                ),
            ],
            suite: "bookworm",
            architectures: &["amd64"],
            date: "Sat, 10 Feb 2024 11:07:25 UTC",
            release_lines: "",
            trusted: key.clone(),
            key,
        }
    }

    /// Signs with a key that is not in the keyring.
    pub fn sign_with_another_key(&mut self) {
        self.key = key(2);
    }

    /// The keyring that `signed-by` names.
    pub fn keyring(&self) -> String {
        SignedPublicKey::from(self.trusted.clone()).to_armored_string(None.into()).unwrap()
    }

    /// Every file of the archive by its path under the root.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let packages = self.architectures.iter().flat_map(|architecture| {
            self.packages.iter().map(|package| package.on(architecture)).collect::<Vec<_>>()
        });
        let mut files: Vec<_> = packages.map(|package| (package.location(), package.deb())).collect();
        let index = |architecture: &str| -> String {
            self.packages.iter().map(|package| package.on(architecture).paragraph()).collect()
        };
        let indexes: Vec<String> =
            self.architectures.iter().map(|architecture| index(architecture)).collect();
        files.extend(self.suite_of(&indexes));
        files
    }

    /// The suite with this text as its index, signed as always.
    pub fn files_of(&self, index: &str) -> Vec<(String, Vec<u8>)> {
        self.suite_of(&[index.to_owned()])
    }

    /// The suite with an index for each architecture.
    fn suite_of(&self, indexes: &[String]) -> Vec<(String, Vec<u8>)> {
        let release = (format!("dists/{}/InRelease", self.suite), self.inrelease(indexes).into_bytes());
        let indexes = self.architectures.iter().zip(indexes).map(|(architecture, index)| {
            let path = format!("dists/{}/main/binary-{architecture}/Packages", self.suite);
            (path, index.clone().into_bytes())
        });
        [release].into_iter().chain(indexes).collect()
    }

    fn inrelease(&self, indexes: &[String]) -> String {
        let mut text = format!(
            "Origin: Debian\nSuite: stable\nCodename: {}\nVersion: 12.5\nDate: {}\nComponents: main\n\
             Architectures: {}\n",
            self.suite,
            self.date,
            self.architectures.join(" ")
        );
        text.push_str(self.release_lines);
        text.push_str("SHA256:\n");
        for (architecture, index) in self.architectures.iter().zip(indexes) {
            let digest = Digest::of(index).hex();
            writeln!(text, " {digest} {} main/binary-{architecture}/Packages", index.len()).unwrap();
        }
        let signed =
            CleartextSignedMessage::sign(StdRng::seed_from_u64(3), &text, &*self.key, &Password::empty());
        signed.unwrap().to_armored_string(None.into()).unwrap()
    }
}

fn key(seed: u64) -> SignedSecretKey {
    let parameters = SecretKeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Archive <archive@example.test>".into())
        .build();
    parameters.unwrap().generate(StdRng::seed_from_u64(seed)).unwrap()
}

impl Package {
    /// The package as it is for an architecture.
    fn on<'a>(&'a self, architecture: &'a str) -> PackageOn<'a> {
        PackageOn { package: self, architecture }
    }

    pub fn location(&self) -> String {
        self.on("amd64").location()
    }

    pub fn deb(&self) -> Vec<u8> {
        self.on("amd64").deb()
    }
}

/// A package for an architecture.
struct PackageOn<'a> {
    package: &'a Package,
    architecture: &'a str,
}

impl PackageOn<'_> {
    fn location(&self) -> String {
        let Package { name, version, .. } = self.package;
        format!("pool/{name}_{version}_{}.deb", self.architecture)
    }

    fn control(&self) -> String {
        let Package { name, version, fields, .. } = self.package;
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {}\nMaintainer: Test <test@example.test>\n{fields}Description: a test\n",
            self.architecture
        )
    }

    fn paragraph(&self) -> String {
        let deb = self.deb();
        let (location, digest, size) = (self.location(), Digest::of(&deb).hex(), deb.len());
        format!("{}Filename: {location}\nSize: {size}\nSHA256: {digest}\n\n", self.control())
    }

    /// <https://manpages.debian.org/deb.5>
    fn deb(&self) -> Vec<u8> {
        let control = tar(&[File::Regular("./control", "", 0o644)], &self.control());
        let mut data = GzEncoder::new(Vec::new(), Compression::default());
        data.write_all(&tar(&self.package.files, "")).unwrap();
        let data = data.finish().unwrap();
        let mut deb = b"!<arch>\n".to_vec();
        for (name, content) in
            [("debian-binary", &b"2.0\n"[..]), ("control.tar", &control), ("data.tar.gz", &data)]
        {
            writeln!(deb, "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, 0, 100_644, content.len()).unwrap();
            deb.extend(content);
            if content.len() % 2 == 1 {
                deb.push(b'\n');
            }
        }
        deb
    }
}

/// A tar of `files`; one without content of its own gets `content`. Names go in unchecked.
fn tar(files: &[File], content: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        let mut header = tar::Header::new_gnu();
        let (name, kind, mode, body) = match file {
            File::Directory(name) => (*name, tar::EntryType::Directory, 0o755, Vec::new()),
            File::Regular(name, "", mode) => (*name, tar::EntryType::Regular, *mode, content.into()),
            File::Regular(name, body, mode) => (*name, tar::EntryType::Regular, *mode, (*body).into()),
            File::Link(name, target) => {
                header.set_link_name_literal(target).unwrap();
                (*name, tar::EntryType::Symlink, 0o777, Vec::new())
            }
            File::Library(name, soname) => (*name, tar::EntryType::Regular, 0o755, elf::library(soname, b"")),
        };
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

//! Installing a wheel, as data: where each of its members goes, and what an installer adds.
//!
//! <https://packaging.python.org/en/latest/specifications/binary-distribution-format/#installing-a-wheel-distribution-1-0-py32-none-any-whl>

use std::collections::{BTreeMap, BTreeSet};

use super::direct_url;
use super::entry_points::{self, EntryPointError, Script};
use super::metadata;
use super::record::{self, Row};
use super::scheme::{InstallScheme, relative};
use crate::cpython::bytecode;
use crate::oci::paths::below_another;

/// The content of `INSTALLER`.
const INSTALLER: &[u8] = b"imgforge\n";

/// The contents of a wheel: its members' names and modes, and the texts that say how to install it.
#[derive(Debug, Clone)]
pub struct WheelContents {
    /// The members, in the archive's order.
    pub members: Vec<WheelMember>,
    /// The name of the `.dist-info` directory.
    pub dist_info: String,
    /// The text of `METADATA`.
    pub metadata: String,
    /// True if that text is UTF-8 in the wheel, and not Latin-1.
    pub metadata_is_utf8: bool,
    /// The text of `WHEEL`.
    pub wheel: String,
    /// The rows of `RECORD`, and a row for every member that it should have listed and did not.
    pub record: Vec<Row>,
    /// The text of `entry_points.txt`, where there is one.
    pub entry_points: String,
    /// The content of the members below `.data/scripts` that begin with `#!python`, by their index.
    pub placeholder_scripts: BTreeMap<usize, Vec<u8>>,
}

/// A file in a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelMember {
    /// As in the wheel, `/` between components, no `.` or `..`.
    pub path: String,
    /// Size in bytes once inflated.
    pub size: u64,
    /// True if any of the execute bits is set.
    pub executable: bool,
}

/// The plan's choices for one wheel's installation.
pub struct Choices<'a> {
    /// The install scheme.
    pub scheme: &'a InstallScheme,
    /// The records to write.
    pub bookkeeping: Bookkeeping,
    /// The `METADATA` to write where it differs from the wheel's.
    pub metadata: Option<String>,
    /// The text of `direct_url.json`, where the wheel was not chosen from an index.
    pub direct_url: Option<String>,
    /// The place of a member outside `.dist-info` and `.data`.
    pub relocate: &'a dyn Fn(&str) -> InstallPlace,
    /// The members that are modules that were compiled, and the index of each one's bytecode.
    pub bytecode: &'a BTreeMap<usize, usize>,
}

/// The records that an installer writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bookkeeping {
    /// The `.dist-info` directory, with `REQUESTED` where the user named the distribution.
    DistInfo {
        /// True if the recipe names the distribution.
        requested: bool,
    },
    /// Nothing: the files are not a distribution's.
    Nothing,
}

/// The place of a member of the wheel's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallPlace {
    /// Into site-packages, as in the wheel.
    SitePackages,
    /// To this path, relative to the image's root.
    At(String),
    /// To this path, with a symbolic link `link` beside it that points to it.
    Linked {
        /// The path of the file.
        path: String,
        /// The path of a link to it.
        link: String,
    },
    /// Nowhere.
    Dropped,
}

/// A file of the installed distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledFile {
    /// Relative to the image's root.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// The content of the file.
    pub content: Content,
}

/// The content of an [`InstalledFile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The member of the wheel with this index.
    Member(usize),
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytecode with this index.
    Bytecode(usize),
    /// A symbolic link to this target.
    Link(String),
}

/// The reason why a wheel cannot be installed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages are the documentation")]
pub enum InstallError {
    #[error("WHEEL says version {version} of the wheel format; imgforge knows version 1")]
    Version { version: String },
    #[error("`{path}` is in `.data/{scheme}`, which no install scheme has")]
    Scheme { path: String, scheme: String },
    #[error("`{path}` would be installed twice")]
    Twice { path: String },
    #[error("`{path}` would be installed below a file")]
    Below { path: String },
    #[error("`{path}` is a file where a directory of an install scheme belongs")]
    SchemeFile { path: String },
    #[error("`{path}` is not listed with a hash in RECORD")]
    Unlisted { path: String },
    #[error("it brings the script `{name}`, a reserved name: it would stand before the base's program")]
    Reserved { name: String },
    #[error(transparent)]
    EntryPoints(#[from] EntryPointError),
}

/// Decides every file of the installed distribution, sorted by path.
pub fn install(wheel: &WheelContents, choices: &Choices<'_>) -> Result<Vec<InstalledFile>, InstallError> {
    check_version(&wheel.wheel)?;
    let scheme = choices.scheme;
    let site_packages = if root_is_purelib(&wheel.wheel) { &scheme.purelib } else { &scheme.platlib };
    let listed: BTreeMap<&str, &Row> = wheel.record.iter().map(|row| (row.path.as_str(), row)).collect();

    let mut installation = Installation { site_packages, files: Vec::new(), rows: Vec::new() };
    for (index, member) in wheel.members.iter().enumerate() {
        place_member(wheel, choices, &listed, &mut installation, index, member)?;
    }
    installation.add_bytecode(choices);
    installation.add_launchers(entry_points::scripts(&wheel.entry_points, scheme.version)?, scheme);
    refuse_reserved(&installation.files, scheme, &wheel.dist_info)?;
    let dist_info = format!("{site_packages}/{}", wheel.dist_info);
    if let Bookkeeping::DistInfo { requested } = choices.bookkeeping {
        installation.add_bytes(format!("{dist_info}/INSTALLER"), 0o644, INSTALLER.to_vec());
        if requested {
            installation.add_bytes(format!("{dist_info}/REQUESTED"), 0o644, Vec::new());
        }
        if let Some(text) = &choices.direct_url {
            let path = format!("{dist_info}/{}", direct_url::NAME);
            installation.add_bytes(path, 0o644, text.clone().into_bytes());
        }
        installation.add_record(format!("{dist_info}/RECORD"));
    }
    installation.finish()
}

/// The `.dist-info` directory among a wheel's paths; `None` when there is not exactly one.
pub fn find_dist_info<'a>(paths: impl Iterator<Item = &'a str>) -> Option<String> {
    let found: BTreeSet<&str> = paths
        .filter_map(|path| path.split_once('/'))
        .map(|(top, _)| top)
        .filter(|top| top.ends_with(".dist-info"))
        .collect();
    match found.len() {
        1 => found.first().map(|name| (*name).to_owned()),
        _ => None,
    }
}

fn place_member(
    wheel: &WheelContents,
    choices: &Choices<'_>,
    listed: &BTreeMap<&str, &Row>,
    installation: &mut Installation<'_>,
    index: usize,
    member: &WheelMember,
) -> Result<(), InstallError> {
    let scheme = choices.scheme;
    let mode = if member.executable { 0o755 } else { 0o644 };
    let row = || {
        let row = listed.get(member.path.as_str()).filter(|row| !row.hash.is_empty());
        row.map(|row| (*row).clone()).ok_or_else(|| InstallError::Unlisted { path: member.path.clone() })
    };
    let (top, rest) = member.path.split_once('/').unwrap_or(("", &member.path));
    if top == wheel.dist_info && choices.bookkeeping == Bookkeeping::Nothing {
        return Ok(());
    }
    if top == wheel.dist_info {
        let path = format!("{}/{}", installation.site_packages, member.path);
        match (rest, &choices.metadata) {
            ("RECORD" | "INSTALLER" | "REQUESTED" | "RECORD.jws" | "RECORD.p7s" | direct_url::NAME, _) => {}
            ("METADATA", Some(rewritten)) => {
                let content = metadata::encoded(rewritten.clone(), wheel.metadata_is_utf8);
                installation.add_bytes(path, mode, content);
            }
            _ => installation.add_member(path, mode, index, row()?),
        }
    } else if is_data_directory(top, &wheel.dist_info) {
        let (key, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let unknown = || InstallError::Scheme { path: member.path.clone(), scheme: key.to_owned() };
        let distribution = wheel.dist_info.split('-').next().unwrap_or_default();
        let directory = match key {
            "purelib" => scheme.purelib.clone(),
            "platlib" => scheme.platlib.clone(),
            "scripts" => scheme.scripts.clone(),
            "headers" => format!("{}/{distribution}", scheme.include),
            "data" => scheme.data.clone(),
            _ => return Err(unknown()),
        };
        if rest.is_empty() {
            return Err(InstallError::SchemeFile { path: member.path.clone() });
        }
        let path = format!("{directory}/{rest}");
        match (key, wheel.placeholder_scripts.get(&index)) {
            ("scripts", Some(script)) => {
                installation.add_bytes(path, 0o755, with_interpreter(script, &scheme.interpreter));
            }
            ("scripts", None) => installation.add_member(path, 0o755, index, row()?),
            _ => installation.add_member(path, mode, index, row()?),
        }
    } else {
        match (choices.relocate)(&member.path) {
            InstallPlace::Dropped => {}
            InstallPlace::SitePackages => {
                installation.add_member(
                    format!("{}/{}", installation.site_packages, member.path),
                    mode,
                    index,
                    row()?,
                );
            }
            InstallPlace::At(path) => installation.add_member(path, mode, index, row()?),
            InstallPlace::Linked { path, link } => {
                let target = path.rsplit('/').next().unwrap_or(&path).to_owned();
                installation.add_link(link, target);
                installation.add_member(path, mode, index, row()?);
            }
        }
    }
    Ok(())
}

/// The decisions so far.
struct Installation<'a> {
    site_packages: &'a str,
    files: Vec<InstalledFile>,
    rows: Vec<Row>,
}

impl Installation<'_> {
    fn add_member(&mut self, path: String, mode: u32, index: usize, listed: Row) {
        self.rows.push(Row { path: relative(self.site_packages, &path), ..listed });
        self.files.push(InstalledFile { path, mode, content: Content::Member(index) });
    }

    fn add_bytes(&mut self, path: String, mode: u32, content: Vec<u8>) {
        self.rows.push(Row::of(relative(self.site_packages, &path), &content));
        self.files.push(InstalledFile { path, mode, content: Content::Bytes(content) });
    }

    fn add_link(&mut self, path: String, target: String) {
        self.rows.push(Row::bare(relative(self.site_packages, &path)));
        self.files.push(InstalledFile { path, mode: 0o777, content: Content::Link(target) });
    }

    /// Adds the programs of entry points, as for pip in place of scripts of their names.
    fn add_launchers(&mut self, scripts: Vec<Script>, scheme: &InstallScheme) {
        let launcher = |script: &Script| {
            let content = script.launcher(&scheme.interpreter).into_bytes();
            (format!("{}/{}", scheme.scripts, script.name), content)
        };
        let launchers: BTreeMap<String, Vec<u8>> = scripts.iter().map(launcher).collect();
        let rows: BTreeSet<String> =
            launchers.keys().map(|path| relative(self.site_packages, path)).collect();
        self.files.retain(|file| !launchers.contains_key(&file.path));
        self.rows.retain(|row| !rows.contains(&row.path));
        launchers.into_iter().for_each(|(path, content)| self.add_bytes(path, 0o755, content));
    }

    /// Puts beside each compiled module its bytecode, in place of what the wheel may have there. As pip has it, `RECORD`
    /// lists it without a hash: an interpreter may write it again.
    fn add_bytecode(&mut self, choices: &Choices<'_>) {
        let compiled = |file: &InstalledFile| match file.content {
            Content::Member(index) => {
                let content = Content::Bytecode(*choices.bytecode.get(&index)?);
                let path = bytecode::cached(&file.path, choices.scheme.version)?;
                Some((path.clone(), InstalledFile { path, mode: file.mode, content }))
            }
            _ => None,
        };
        let compiled: BTreeMap<String, InstalledFile> = self.files.iter().filter_map(compiled).collect();
        let rows: BTreeSet<String> = compiled.keys().map(|path| relative(self.site_packages, path)).collect();
        self.files.retain(|file| !compiled.contains_key(&file.path));
        self.rows.retain(|row| !rows.contains(&row.path));
        self.rows.extend(rows.into_iter().map(Row::bare));
        self.files.extend(compiled.into_values());
    }

    fn add_record(&mut self, path: String) {
        self.rows.push(Row::bare(relative(self.site_packages, &path)));
        let content = Content::Bytes(record::write(std::mem::take(&mut self.rows)).into_bytes());
        self.files.push(InstalledFile { path, mode: 0o644, content });
    }

    fn finish(mut self) -> Result<Vec<InstalledFile>, InstallError> {
        self.files.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = self.files.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(InstallError::Twice { path: pair[0].path.clone() });
        }
        match below_another(&self.files.iter().map(|file| file.path.as_str()).collect()) {
            Some(path) => Err(InstallError::Below { path: path.to_owned() }),
            None => Ok(self.files),
        }
    }
}

/// Returns whether `top` is the wheel's `.data` directory: the name may be spelled otherwise than in `.dist-info`.
fn is_data_directory(top: &str, dist_info: &str) -> bool {
    let normalized = |stem: &str| stem.to_ascii_lowercase().replace(['-', '.'], "_");
    let stem = dist_info.strip_suffix(".dist-info").unwrap_or(dist_info);
    top.strip_suffix(".data").is_some_and(|data| data == stem || normalized(data) == normalized(stem))
}

/// Programs that nothing but the base, or their own distribution, may bring: whoever calls them means the base's.
fn refuse_reserved(
    files: &[InstalledFile],
    scheme: &InstallScheme,
    dist_info: &str,
) -> Result<(), InstallError> {
    let is_pip = dist_info.split('-').next().is_some_and(|name| name.eq_ignore_ascii_case("pip"));
    let is_reserved = |name: &str| {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
        match stem {
            "python" | "pythonw" | "sh" | "bash" | "dash" | "env" => true,
            "pip" => !is_pip,
            _ => false,
        }
    };
    let name = |file: &InstalledFile| {
        let name = file.path.strip_prefix(&*scheme.scripts)?.strip_prefix('/')?;
        is_reserved(name).then(|| name.to_owned())
    };
    match files.iter().find_map(name) {
        Some(name) => Err(InstallError::Reserved { name }),
        None => Ok(()),
    }
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn check_version(wheel: &str) -> Result<(), InstallError> {
    let version = field(wheel, "Wheel-Version").unwrap_or("(none)");
    if version.split('.').next() == Some("1") {
        Ok(())
    } else {
        Err(InstallError::Version { version: version.to_owned() })
    }
}

fn root_is_purelib(wheel: &str) -> bool {
    field(wheel, "Root-Is-Purelib").is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The script with its `#!python` line replaced.
fn with_interpreter(script: &[u8], interpreter: &str) -> Vec<u8> {
    let end = script.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
    let rest = end.map_or(&[][..], |end| &script[end + 1..]);
    [b"#!", interpreter.as_bytes(), b"\n", rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(paths: &[&str]) -> WheelContents {
        let member = |path: &&str| WheelMember {
            path: (*path).to_owned(),
            size: 0,
            executable: path.ends_with(".bin"),
        };
        let rows = paths.iter().map(|path| Row::of(*path, b"")).collect();
        WheelContents {
            members: paths.iter().map(member).collect(),
            dist_info: "demo-1.dist-info".into(),
            metadata: "Name: demo\n".into(),
            metadata_is_utf8: true,
            wheel: "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n".into(),
            record: rows,
            entry_points: String::new(),
            placeholder_scripts: BTreeMap::new(),
        }
    }

    static NONE: BTreeMap<usize, usize> = BTreeMap::new();

    fn choices<'a>(scheme: &'a InstallScheme, relocate: &'a dyn Fn(&str) -> InstallPlace) -> Choices<'a> {
        Choices {
            scheme,
            bookkeeping: Bookkeeping::DistInfo { requested: true },
            metadata: None,
            direct_url: None,
            relocate,
            bytecode: &NONE,
        }
    }

    fn check(
        wheel: &WheelContents,
        relocate: &dyn Fn(&str) -> InstallPlace,
        expected: &[(&str, u32)],
    ) -> Vec<InstalledFile> {
        let scheme = InstallScheme::debian((3, 11));
        let files = install(wheel, &choices(&scheme, relocate)).unwrap();
        let shown: Vec<(&str, u32)> = files
            .iter()
            .filter(|file| !file.path.contains(".dist-info/"))
            .map(|file| (file.path.strip_prefix("usr/local/").unwrap_or(&file.path), file.mode))
            .collect();
        assert_eq!(shown, expected);
        files
    }

    const KEEP: &dyn Fn(&str) -> InstallPlace = &|_| InstallPlace::SitePackages;

    #[test]
    fn every_scheme_has_its_directory() {
        let wheel = wheel(&[
            "demo/__init__.py",
            "demo/tool.bin",
            "demo-1.data/scripts/run",
            "demo-1.data/headers/demo.h",
            "demo-1.data/data/share/demo.txt",
            "demo-1.data/purelib/extra.py",
        ]);
        check(
            &wheel,
            KEEP,
            &[
                ("bin/run", 0o755),
                ("include/python3.11/demo/demo.h", 0o644),
                ("lib/python3.11/dist-packages/demo/__init__.py", 0o644),
                ("lib/python3.11/dist-packages/demo/tool.bin", 0o755),
                ("lib/python3.11/dist-packages/extra.py", 0o644),
                ("share/demo.txt", 0o644),
            ],
        );
    }

    #[test]
    fn record_lists_what_was_installed_where_it_is() {
        let mut wheel = wheel(&["demo/lib/libdemo.so.1", "demo/__init__.py", "demo-1.dist-info/METADATA"]);
        wheel.entry_points = "[console_scripts]\ndemo = demo:main\n".into();
        let relocate = |path: &str| match path.rsplit('/').next() {
            Some("libdemo.so.1") => InstallPlace::Linked {
                path: "usr/local/cuda/lib/libdemo.so.1".into(),
                link: "usr/local/cuda/lib/libdemo.so".into(),
            },
            _ => InstallPlace::Dropped,
        };
        let files = check(
            &wheel,
            &relocate,
            &[("bin/demo", 0o755), ("cuda/lib/libdemo.so", 0o777), ("cuda/lib/libdemo.so.1", 0o644)],
        );
        let record = files.iter().find(|file| file.path.ends_with("RECORD")).unwrap();
        let Content::Bytes(text) = &record.content else { panic!("RECORD is text") };
        let paths: Vec<String> = record::parse(std::str::from_utf8(text).unwrap())
            .unwrap()
            .into_iter()
            .map(|row| row.path)
            .collect();
        assert_eq!(
            paths,
            [
                "../../../bin/demo",
                "../../../cuda/lib/libdemo.so",
                "../../../cuda/lib/libdemo.so.1",
                "demo-1.dist-info/INSTALLER",
                "demo-1.dist-info/METADATA",
                "demo-1.dist-info/RECORD",
                "demo-1.dist-info/REQUESTED",
            ]
        );
    }

    #[test]
    fn an_entry_point_stands_in_place_of_a_script_of_its_name() {
        let mut wheel = wheel(&["demo.py", "demo-1.data/scripts/both", "demo-1.data/scripts/other"]);
        wheel.entry_points = "[console_scripts]\nboth = demo:main\n".into();
        let shown =
            [("bin/both", 0o755), ("bin/other", 0o755), ("lib/python3.11/dist-packages/demo.py", 0o644)];
        let files = check(&wheel, KEEP, &shown);
        let Content::Bytes(launcher) = &files[0].content else { panic!("the launcher is text") };
        assert!(launcher.ends_with(b"sys.exit(main())\n"));
        let record = files.iter().find(|file| file.path.ends_with("RECORD")).unwrap();
        let Content::Bytes(text) = &record.content else { panic!("RECORD is text") };
        assert_eq!(String::from_utf8_lossy(text).matches("/bin/both,").count(), 1);
    }

    #[test]
    fn programs_of_the_base_are_not_covered() {
        let scheme = InstallScheme::debian((3, 11));
        let check = |paths: &[&str], entry_points: &str, dist_info: &str, reserved: Option<&str>| {
            let mut wheel = wheel(paths);
            wheel.entry_points = format!("[console_scripts]\n{entry_points}\n");
            wheel.dist_info = dist_info.into();
            let found = install(&wheel, &choices(&scheme, KEEP)).err().map(|error| error.to_string());
            let expected = reserved.map(|name| format!("it brings the script `{name}`"));
            assert_eq!(found.as_deref().and_then(|text| text.split(',').next()), expected.as_deref());
        };
        let demo = "demo-1.dist-info";
        check(&[], "python3 = a:b", demo, Some("python3"));
        check(&[], "python3.13 = a:b", demo, Some("python3.13"));
        check(&[], "pip = a:b", demo, Some("pip"));
        check(&[], "pip = a:b\npip3 = a:b", "pip-1.dist-info", None);
        check(&["demo-1.data/scripts/python"], "", demo, Some("python"));
        check(&["demo-1.data/data/bin/sh"], "", demo, Some("sh"));
        check(&["demo-1.data/data/share/sh", "demo-1.data/scripts/ipython3"], "pythonic = a:b", demo, None);
    }

    #[test]
    fn the_data_directory_may_be_spelled_otherwise() {
        let wheel = wheel(&["Demo-1.data/scripts/run", "other-1.data/scripts/run"]);
        let elsewhere = "lib/python3.11/dist-packages/other-1.data/scripts/run";
        check(&wheel, KEEP, &[("bin/run", 0o755), (elsewhere, 0o644)]);
    }

    #[test]
    fn a_placeholder_becomes_the_interpreter() {
        assert_eq!(
            with_interpreter(b"#!python -u\nprint()\n", "/usr/bin/python3"),
            b"#!/usr/bin/python3\nprint()\n"
        );
        assert_eq!(with_interpreter(b"#!pythonw", "/p"), b"#!/p\n");
    }

    #[test]
    fn refuses_what_the_specification_does_not_know() {
        let scheme = InstallScheme::debian((3, 11));
        let refuse = |wheel: &WheelContents| install(wheel, &choices(&scheme, KEEP)).unwrap_err().to_string();
        assert!(refuse(&wheel(&["demo-1.data/nowhere/x"])).contains("`.data/nowhere`"));
        assert!(refuse(&wheel(&["a.py", "demo-1.data/purelib/a.py"])).contains("twice"));
        let newer = WheelContents { wheel: "Wheel-Version: 2.0\n".into(), ..wheel(&[]) };
        assert!(refuse(&newer).contains("version 2.0"));
    }
}

//! Filters: what they read, and what they write of it.

use super::super::system::{Done, ShellValue, System};

/// A program whose output is not worked out.
pub(super) fn unknown(system: &mut System<'_, '_>) -> Done {
    system.write_unknown();
    Done::Unknown
}

/// The text of the named files, or of the standard input; an error where one is not there.
pub(super) fn read(system: &mut System<'_, '_>, paths: &[&str]) -> Result<ShellValue, Done> {
    let mut text = Some(String::new());
    let paths = if paths.is_empty() { &["-"] } else { paths };
    for path in paths {
        let part = match *path {
            "-" => system.read_all(),
            path if path.starts_with("/dev/") => Some(String::new()),
            path if system.is_file(path) => system.tree.text(&system.path(path)),
            _ => return Err(Done::FAILURE),
        };
        text = text.zip(part).map(|(text, part)| text + &part);
    }
    Ok(text)
}

/// Writes what a filter makes of files or of the standard input.
pub(super) fn filtered(
    system: &mut System<'_, '_>,
    paths: &[&str],
    filter: impl FnOnce(&str) -> Option<String>,
) -> Done {
    match read(system, paths) {
        Err(done) => done,
        Ok(text) => match text.and_then(|text| filter(&text)) {
            Some(text) => {
                system.write(&text);
                Done::SUCCESS
            }
            None => unknown(system),
        },
    }
}

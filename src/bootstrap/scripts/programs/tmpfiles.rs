//! `systemd-tmpfiles --create`: files and directories that files in `tmpfiles.d` declare.
//!
//! <https://manpages.debian.org/tmpfiles.d.5>

use super::super::super::tree::Attributes;
use super::super::system::{Done, System};
use super::options::Options;

/// Does `name` where it is this program.
pub(super) fn run(system: &mut System<'_, '_>, name: &str, arguments: &[String]) -> Option<Done> {
    (name == "systemd-tmpfiles").then(|| create(system, arguments))
}

/// The lines of the named files of `directory`, without comments; `None` where no file is named or one is not there.
pub(super) fn configuration(
    system: &System<'_, '_>,
    directory: &str,
    options: &Options<'_>,
) -> Option<Vec<String>> {
    let mut lines = Vec::new();
    for name in &options.operands {
        let places = ["etc", "run", "usr/lib"].map(|place| format!("{place}/{directory}/{name}"));
        let path = if name.starts_with('/') {
            Some((*name).to_owned())
        } else {
            places.into_iter().find(|path| system.tree.has(path))
        };
        let text = system.tree.text(&path?)?;
        let meant = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.extend(meant.map(str::to_owned));
    }
    (!options.operands.is_empty()).then_some(lines)
}

/// The fields of a line, of which some are in quotes.
pub(super) fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quote, mut is_there) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                is_there = true;
            }
            (None, ' ' | '\t') => {
                if std::mem::take(&mut is_there) {
                    fields.push(std::mem::take(&mut field));
                }
            }
            _ => {
                field.push(c);
                is_there = true;
            }
        }
    }
    if is_there || fields.is_empty() {
        fields.push(field);
    }
    fields
}

fn create(system: &mut System<'_, '_>, arguments: &[String]) -> Done {
    let options = Options::of(arguments, &["--root", "--prefix", "--exclude-prefix"]);
    if !options.has(&["--create"]) {
        return Done::SUCCESS;
    }
    let Some(lines) = configuration(system, "tmpfiles.d", &options) else { return Done::NotFollowed };
    let mut all = true;
    for line in lines {
        all &= Line::parse(&line).is_none_or(|line| line.apply(system));
    }
    if all { Done::SUCCESS } else { Done::NotFollowed }
}

/// A line that has an effect outside of a boot.
struct Line {
    kind: char,
    replaces: bool,
    /// True if the argument is written in Base64.
    is_encoded: bool,
    path: String,
    mode: Option<u32>,
    user: Option<String>,
    group: Option<String>,
    argument: Option<String>,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let fields = fields(line);
        let kind = &fields[0];
        // Lines for the boot, those whose content is a credential, which no image has, and those that only clean up.
        if kind.contains(['!', '^'])
            || !kind.starts_with(['d', 'D', 'v', 'q', 'Q', 'f', 'F', 'L', 'C', 'z', 'Z', 'e', 'p'])
        {
            return None;
        }
        let field = |at: usize| fields.get(at).filter(|field| *field != "-").cloned();
        Some(Self {
            kind: kind.chars().next()?,
            replaces: kind.contains('+') || kind.starts_with('F'),
            is_encoded: kind.contains('~'),
            path: field(1)?,
            mode: field(2).and_then(|mode| u32::from_str_radix(mode.trim_start_matches(['~', ':']), 8).ok()),
            user: field(3).map(|user| user.trim_start_matches(':').to_owned()),
            group: field(4).map(|group| group.trim_start_matches(':').to_owned()),
            argument: (fields.len() > 6).then(|| fields[6..].join(" ")),
        })
    }

    /// `false` where its effect is not known.
    fn apply(&self, system: &mut System<'_, '_>) -> bool {
        let is_there = system.kind_of_link(&self.path).is_some();
        let is_open = |text: &str| text.contains('%');
        if self.is_encoded || is_open(&self.path) || self.argument.as_deref().is_some_and(is_open) {
            return false;
        }
        match self.kind {
            'd' | 'D' | 'v' | 'q' | 'Q' => {
                system.tree.directory(&self.path, self.mode.unwrap_or(0o755), 0);
                system.is_directory(&self.path) && self.set_attributes(system, &self.path)
            }
            'f' | 'F' if !is_there || self.replaces => {
                system.tree.file(&self.path, 0o644, self.argument.clone().unwrap_or_default());
                self.set_attributes(system, &self.path)
            }
            'f' | 'F' => true,
            'L' if !is_there || self.replaces => {
                let target =
                    self.argument.clone().unwrap_or_else(|| format!("/usr/share/factory{}", self.path));
                if is_there {
                    system.tree.remove(&self.path);
                }
                system.tree.symlink(&self.path, &target);
                true
            }
            'L' => true,
            'C' => is_there || self.copy(system),
            // Pipes are of the running system.
            'p' => true,
            _ if self.path.contains(['*', '?', '[']) => false,
            _ if self.kind == 'Z' && is_there => false,
            _ => !is_there || self.set_attributes(system, &self.path),
        }
    }

    fn copy(&self, system: &mut System<'_, '_>) -> bool {
        let from = self.argument.clone().unwrap_or_else(|| format!("/usr/share/factory{}", self.path));
        match system.kind(&from) {
            None => true,
            Some(_) if system.is_file(&from) => {
                system.tree.copy(&from, &self.path, true) && self.set_attributes(system, &self.path)
            }
            Some(_) => false,
        }
    }

    fn set_attributes(&self, system: &mut System<'_, '_>, path: &str) -> bool {
        let uid = self.user.as_ref().map(|user| system.user_id(user));
        let gid = self.group.as_ref().map(|group| system.group_id(group));
        if uid == Some(None) || gid == Some(None) {
            // Of accounts that are not there, the program leaves out the line.
            return true;
        }
        system.change(path, |attributes: &mut Attributes| {
            attributes.mode = self.mode.unwrap_or(attributes.mode);
            attributes.uid = uid.flatten().unwrap_or(attributes.uid);
            attributes.gid = gid.flatten().unwrap_or(attributes.gid);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_may_be_quoted() {
        assert_eq!(fields("u a - \"The user\" /home/a"), ["u", "a", "-", "The user", "/home/a"]);
        assert_eq!(fields("u  a\t''"), ["u", "a", ""]);
        assert_eq!(fields(""), [""]);
    }
}

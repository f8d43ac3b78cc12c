//! `systemd-tmpfiles --create`: files and directories that files in `tmpfiles.d` declare.
//!
//! <https://manpages.debian.org/tmpfiles.d.5>

use std::collections::BTreeSet;

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
    let (mut all, mut owned) = (true, BTreeSet::new());
    for line in lines.iter().filter_map(|line| Line::parse(line)) {
        match line.expanded(system) {
            // Of two lines that own a path the first one counts.
            Ok(Some(line)) if line.owns() && !owned.insert(line.path.clone()) => {}
            Ok(Some(line)) => all &= line.apply(system),
            Ok(None) => {}
            Err(Unknown) => all = false,
        }
    }
    if all { Done::SUCCESS } else { Done::NotFollowed }
}

/// A line with something in it of which only a running system knows what it stands for.
struct Unknown;

/// The value of a specifier, `%` and a letter; `None` for what an image does not have, an identity of the machine.
fn specifier(letter: char, system: &System<'_, '_>) -> Result<Option<String>, Unknown> {
    let value = match letter {
        '%' => "%",
        'C' => "/var/cache",
        'L' => "/var/log",
        'S' => "/var/lib",
        'T' => "/tmp",
        'V' => "/var/tmp",
        't' => "/run",
        'h' => "/root",
        'u' | 'g' => "root",
        'U' | 'G' => "0",
        'm' => {
            let id = system.tree.text("etc/machine-id").unwrap_or_default();
            return Ok(Some(id.trim().to_owned()).filter(|id| !id.is_empty() && id != "uninitialized"));
        }
        _ => return Err(Unknown),
    };
    Ok(Some(value.to_owned()))
}

/// The text with the values of its specifiers.
fn expand(text: &str, system: &System<'_, '_>) -> Result<Option<String>, Unknown> {
    let (mut expanded, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        match letter {
            '%' => match specifier(letters.next().ok_or(Unknown)?, system)? {
                Some(value) => expanded.push_str(&value),
                None => return Ok(None),
            },
            _ => expanded.push(letter),
        }
    }
    Ok(Some(expanded))
}

/// A line that has an effect outside of a boot.
struct Line {
    kind: char,
    replaces: bool,
    /// True if the argument is written in Base64.
    is_encoded: bool,
    path: String,
    mode: Option<Attribute<u32>>,
    user: Option<Attribute<String>>,
    group: Option<Attribute<String>>,
    argument: Option<String>,
}

/// A mode or an owner.
struct Attribute<T> {
    value: T,
    /// True if what is there already keeps its own.
    of_new_only: bool,
}

impl<T> Attribute<T> {
    fn parse(field: &str, value: impl FnOnce(&str) -> Option<T>) -> Option<Self> {
        let of_new_only = field.starts_with(':') || field.starts_with("~:");
        Some(Self { value: value(field.trim_start_matches([':', '~']))?, of_new_only })
    }
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
        let field = |at: usize| fields.get(at).map(String::as_str).filter(|field| *field != "-");
        let name = |name: &str| Some(name.to_owned());
        Some(Self {
            kind: kind.chars().next()?,
            replaces: kind.contains('+') || kind.starts_with('F'),
            is_encoded: kind.contains('~'),
            path: field(1)?.to_owned(),
            mode: field(2)
                .and_then(|mode| Attribute::parse(mode, |digits| u32::from_str_radix(digits, 8).ok())),
            user: field(3).and_then(|user| Attribute::parse(user, name)),
            group: field(4).and_then(|group| Attribute::parse(group, name)),
            argument: (fields.len() > 6).then(|| fields[6..].join(" ")),
        })
    }

    /// Returns whether the line makes what is at its path.
    fn owns(&self) -> bool {
        !matches!(self.kind, 'z' | 'Z')
    }

    /// The line with the values of its specifiers; `None` for one about what an image does not have.
    fn expanded(self, system: &System<'_, '_>) -> Result<Option<Self>, Unknown> {
        if self.is_encoded {
            return Err(Unknown);
        }
        let argument = self.argument.as_deref().map(|argument| expand(argument, system)).transpose()?;
        let line = match (expand(&self.path, system)?, argument) {
            (None, _) | (_, Some(None)) => None,
            (Some(path), argument) => Some(Self { path, argument: argument.flatten(), ..self }),
        };
        Ok(line)
    }

    /// `false` where its effect is not known.
    fn apply(&self, system: &mut System<'_, '_>) -> bool {
        let is_there = system.kind_of_link(&self.path).is_some();
        match self.kind {
            'd' | 'D' | 'v' | 'q' | 'Q' => {
                let mode = self.mode.as_ref().map_or(0o755, |mode| mode.value);
                system.tree.directory(&self.path, mode, 0);
                system.is_directory(&self.path) && self.set_attributes(system, is_there)
            }
            'f' | 'F' if !is_there || self.replaces => {
                system.tree.file(&self.path, 0o644, self.argument.clone().unwrap_or_default());
                self.set_attributes(system, is_there)
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
            _ => !is_there || self.set_attributes(system, is_there),
        }
    }

    fn copy(&self, system: &mut System<'_, '_>) -> bool {
        let from = self.argument.clone().unwrap_or_else(|| format!("/usr/share/factory{}", self.path));
        match system.kind(&from) {
            None => true,
            Some(_) if system.is_file(&from) => {
                system.tree.copy(&from, &self.path, true) && self.set_attributes(system, false)
            }
            Some(_) => false,
        }
    }

    fn set_attributes(&self, system: &mut System<'_, '_>, was_there: bool) -> bool {
        fn meant<T>(attribute: &Option<Attribute<T>>, was_there: bool) -> Option<&T> {
            attribute.as_ref().filter(|it| !(it.of_new_only && was_there)).map(|it| &it.value)
        }
        let uid = meant(&self.user, was_there).map(|user| system.user_id(user));
        let gid = meant(&self.group, was_there).map(|group| system.group_id(group));
        if uid == Some(None) || gid == Some(None) {
            // Of accounts that are not there, the program leaves out the line.
            return true;
        }
        let mode = meant(&self.mode, was_there).copied();
        system.change(&self.path, |attributes: &mut Attributes| {
            attributes.mode = mode.unwrap_or(attributes.mode);
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

//! `/etc/pam.d/common-*`, as pam-auth-update writes them with the default profiles.
//!
//! <https://manpages.debian.org/pam-auth-update.8>

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::tree::Tree;

const PROFILES: &str = "usr/share/pam-configs";
/// The default of a stack without modules: everybody passes.
const PERMIT: &str = "[default=1]\t\t\tpam_permit.so";
const NONINTERACTIVE: &str = "Session-noninteractive";

/// A file that is included, and the field of a profile that says what goes into it.
const STACKS: [(&str, &str, &str); 5] = [
    ("account", "Account", "account"),
    ("auth", "Auth", "auth"),
    ("password", "Password", "password"),
    ("session", "Session", "session"),
    ("session-noninteractive", NONINTERACTIVE, "session"),
];

/// Writes the stacks where there are none, or a package that is configured has a profile for them.
pub(super) fn write(tree: &mut Tree<'_>) {
    let is_profile = |path: &String| path.starts_with(PROFILES);
    let is_asked = tree.input().packages.iter().any(|package| package.paths.iter().any(is_profile));
    if tree.has("etc/pam.d/common-auth") && !is_asked {
        return;
    }
    let profiles = read_profiles(tree);
    let enabled: Vec<&Profile> = profiles.iter().filter(|profile| profile.is_default()).collect();
    for (file, field, kind) in STACKS {
        let Some(template) = tree.text(&format!("usr/share/pam/common-{file}")) else { continue };
        let stack = Stack::new(&enabled, field);
        tree.file(&format!("etc/pam.d/common-{file}"), 0o644, stack.fill(&template, kind));
        tree.file(&format!("var/lib/pam/{file}"), 0o644, stack.record());
    }
    if !profiles.is_empty() {
        let seen: String = profiles.iter().map(|profile| format!("{}\n", profile.name)).collect();
        tree.file("var/lib/pam/seen", 0o644, seen);
    }
}

/// A package's offer for logins: fields of one line, or of indented lines.
struct Profile {
    name: String,
    priority: i64,
    fields: BTreeMap<String, String>,
}

/// The profiles, the highest priority first.
fn read_profiles(tree: &Tree<'_>) -> Vec<Profile> {
    let named = |path: &str| path.rsplit('/').next().unwrap_or("").to_owned();
    let mut profiles: Vec<Profile> = tree
        .files_below(PROFILES)
        .iter()
        .filter_map(|path| Some(Profile::read(named(path), &tree.text(path)?)))
        .collect();
    profiles
        .sort_by(|left, right| right.priority.cmp(&left.priority).then_with(|| left.name.cmp(&right.name)));
    profiles
}

impl Profile {
    fn read(name: String, text: &str) -> Self {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            match line.split_once(':').filter(|(field, _)| !field.contains([' ', '\t']) && !field.is_empty())
            {
                Some((field, value)) => {
                    current = field.trim_end_matches("-Final").to_owned();
                    fields.insert(current.clone(), value.trim().to_owned());
                }
                None if !line.trim().is_empty() => {
                    let value = fields.entry(current.clone()).or_default();
                    let _ = write!(value, "{}{}", if value.is_empty() { "" } else { "\n" }, line.trim());
                }
                None => {}
            }
        }
        if !fields.contains_key("Session-Interactive-Only") {
            for suffix in ["-Type", "", "-Initial"] {
                if let Some(value) = fields.get(&format!("Session{suffix}")).cloned() {
                    fields.insert(format!("{NONINTERACTIVE}{suffix}"), value);
                }
            }
        }
        let priority = fields.get("Priority").and_then(|value| value.parse().ok()).unwrap_or(0);
        Self { name, priority, fields }
    }

    fn is_default(&self) -> bool {
        self.fields.get("Default").is_some_and(|value| value == "yes")
    }
}

/// The modules of one file, profile by profile.
struct Stack {
    primary: Vec<(String, String)>,
    additional: Vec<(String, String)>,
}

impl Stack {
    fn new(profiles: &[&Profile], field: &str) -> Self {
        let block = |kind: &str| {
            let of_kind = profiles.iter().filter(|profile| {
                profile.fields.get(&format!("{field}-Type")).is_some_and(|value| value == kind)
            });
            let lines = of_kind.enumerate().filter_map(|(at, profile)| {
                let initial = profile.fields.get(&format!("{field}-Initial")).filter(|_| at == 0);
                Some((profile.name.clone(), initial.or_else(|| profile.fields.get(field))?.clone()))
            });
            lines.collect()
        };
        Self { primary: block("Primary"), additional: block("Additional") }
    }

    /// The template with its `$…_primary` and `$…_additional` lines replaced by modules.
    fn fill(&self, template: &str, kind: &str) -> String {
        let mut text = String::new();
        for line in template.lines() {
            let placeholder = line.trim();
            if placeholder.starts_with('$') && placeholder.ends_with("_primary") {
                match self.primary.is_empty() {
                    true => drop(writeln!(text, "{kind}\t{PERMIT}")),
                    false => text.push_str(&lines(&self.primary, kind, 0)),
                }
            } else if placeholder.starts_with('$') && placeholder.ends_with("_additional") {
                // A jump out of the last block would leave the stack: one line less.
                text.push_str(&lines(&self.additional, kind, 1));
            } else {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }

    /// The record by which pam-auth-update recognises its own lines later.
    fn record(&self) -> String {
        let permit = [("null".to_owned(), PERMIT.to_owned())];
        let primary = if self.primary.is_empty() { &permit[..] } else { &self.primary[..] };
        let modules = primary.iter().chain(&self.additional);
        modules.map(|(name, lines)| format!("Module: {name}\n{lines}\n")).collect()
    }
}

/// The lines of a block, `end` being the number of lines to the block's end, less `short`.
fn lines(block: &[(String, String)], kind: &str, short: usize) -> String {
    let modules: Vec<&str> = block.iter().flat_map(|(_, lines)| lines.lines()).collect();
    let mut text = String::new();
    for (at, module) in modules.iter().enumerate() {
        let (control, options) = split_module(module);
        let left = (modules.len() - at).saturating_sub(short);
        let _ = writeln!(text, "{kind}\t{} {options}", control.replace("end", &left.to_string()));
    }
    text
}

/// `[control] module.so` and the options, one space between them.
fn split_module(line: &str) -> (&str, String) {
    let after_control = match line.starts_with('[') {
        true => line.find(']').map_or(line.len(), |end| end + 1),
        false => line.find([' ', '\t']).unwrap_or(line.len()),
    };
    let rest = &line[after_control..];
    let module = rest.len() - rest.trim_start().len();
    let end = rest[module..].find([' ', '\t']).map_or(line.len(), |end| after_control + module + end);
    let options: Vec<&str> = line[end..].split_ascii_whitespace().collect();
    (&line[..end], options.join(" "))
}

#[cfg(test)]
mod tests {
    use super::super::tree::example::Example;
    use super::*;

    const TEMPLATE: &str = "# primary\n$auth_primary\n# fallback\n$auth_additional\n# end\n";

    fn check(profiles: &[(&str, &str)], expected: &str) {
        let example =
            Example::default().directory("etc").directory("var").file("usr/share/pam/common-auth", TEMPLATE);
        let example = profiles
            .iter()
            .fold(example, |example, (name, text)| example.file(&format!("{PROFILES}/{name}"), text));
        let generated = example.run(write);
        let file = generated.iter().find_map(|line| line.strip_prefix("etc/pam.d/common-auth 644 0:0 "));
        assert_eq!(file, Some(expected));
    }

    const UNIX: &str = "Name: Unix\nDefault: yes\nPriority: 256\nAuth-Type: Primary\n\
        Auth:\n\t[success=end default=ignore]\tpam_unix.so nullok try_first_pass\n\
        Auth-Initial:\n\t[success=end default=ignore]\tpam_unix.so nullok\n";

    #[test]
    fn the_default_profile_fills_the_primary_block() {
        check(
            &[("unix", UNIX), ("mkhomedir", "Default: no\nAuth-Type: Additional\nAuth:\n optional a.so\n")],
            "# primary\nauth\t[success=1 default=ignore]\tpam_unix.so nullok\n# fallback\n# end\n",
        );
    }

    #[test]
    fn jumps_count_the_lines_to_the_end_of_the_block() {
        let other = "Default: yes\nPriority: 300\nAuth-Type: Primary\nAuth:\n [success=end] pam_a.so  x   y\n required\tpam_b.so\n";
        check(
            &[
                ("unix", UNIX),
                ("other", other),
                ("more", "Default: yes\nAuth-Type: Additional\nAuth:\n required c.so\n"),
            ],
            "# primary\nauth\t[success=3] pam_a.so x y\nauth\trequired\tpam_b.so \n\
             auth\t[success=1 default=ignore]\tpam_unix.so nullok try_first_pass\n# fallback\nauth\trequired c.so \n# end\n",
        );
    }

    #[test]
    fn without_profiles_everybody_passes() {
        check(&[], "# primary\nauth\t[default=1]\t\t\tpam_permit.so\n# fallback\n# end\n");
    }
}

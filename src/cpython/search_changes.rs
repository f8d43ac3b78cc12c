//! Changes that a module makes to the search for other modules: directories and finders that it adds, modules that it makes.
//!
//! <https://docs.python.org/3/library/sys.html#sys.path>, <https://docs.python.org/3/library/sys.html#sys.modules>

/// A change of the search for modules, made by a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SearchChange<'a> {
    /// `sys.path`, or the finders, are other ones afterwards.
    Path,
    /// A module of this name is there afterwards.
    Made(&'a str),
}

/// The lists that the search goes through.
const LISTS: [&str; 3] = ["sys.path", "sys.meta_path", "sys.path_hooks"];
/// The methods and operators that change a list, as they follow its name.
const CHANGES: [&str; 6] = [".append(", ".insert(", ".extend(", "[", "+=", "="];

/// The lines of [`Imports`](super::imports::Imports) for a logical line whose strings are `strings`: an empty one for a
/// change of the lists, a name for a module that is made.
pub(super) fn of_statement(text: &str, strings: &[String]) -> Vec<String> {
    let is_changed = |list: &&str| uses(text, list).any(|(_, rest)| changes(rest));
    let path = LISTS.iter().any(is_changed) || text.contains("addsitedir(");
    let mut lines: Vec<String> = path.then(String::new).into_iter().collect();
    // Every string has become one quotation mark; long ones are not kept, and then none can be told from another.
    if text.matches('"').count() == strings.len() {
        lines.extend(made(text, strings));
    }
    lines
}

/// The modules that are put into `sys.modules` by their names.
fn made<'a>(text: &'a str, strings: &'a [String]) -> impl Iterator<Item = String> + 'a {
    uses(text, "sys.modules").filter_map(|(at, rest)| {
        let is_made = match rest.strip_prefix("[\"]") {
            Some(rest) => rest.trim_start().strip_prefix('=').is_some_and(|rest| !rest.starts_with('=')),
            None => rest.starts_with(".setdefault(\""),
        };
        let name = strings.get(text[..at].matches('"').count()).filter(|_| is_made)?;
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        (!name.is_empty() && name.chars().all(is_name)).then(|| name.clone())
    })
}

/// The places where a text uses an object, and what follows its name.
fn uses<'a>(text: &'a str, object: &str) -> impl Iterator<Item = (usize, &'a str)> {
    let places = text.match_indices(object).map(|(at, object)| (at, &text[at + object.len()..]));
    places
        .filter(|(_, rest)| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        .map(|(at, rest)| (at, rest.trim_start()))
}

fn changes(rest: &str) -> bool {
    let Some(change) = CHANGES.iter().find(|change| rest.starts_with(**change)) else { return false };
    match *change {
        "=" => !rest.starts_with("=="),
        "[" => rest.split_once(']').is_some_and(|(_, rest)| changes_item(rest.trim_start())),
        _ => true,
    }
}

fn changes_item(rest: &str) -> bool {
    rest.starts_with("+=") || (rest.starts_with('=') && !rest.starts_with("=="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, strings: &[&str]) -> Vec<String> {
        let strings: Vec<String> = strings.iter().map(|it| (*it).to_owned()).collect();
        of_statement(text, &strings)
    }

    #[test]
    fn what_changes_the_lists_is_told_from_what_reads_them() {
        for text in [
            "sys.path.insert(0, here)",
            "sys.path.append(\")",
            "sys.path.extend(((p := x) not in sys.path) * [p])",
            "sys.path += [x]",
            "sys.path[:0] = [x]",
            "sys.path = x + sys.path",
            "sys.meta_path.append(self)",
            "sys.path_hooks.insert(0, x)",
            "site.addsitedir(x)",
        ] {
            assert_eq!(lines(text, &[]).first().map(String::as_str), Some(""), "{text}");
        }
        for text in [
            "x = sys.path",
            "for p in sys.path: y",
            "if sys.path == x",
            "sys.path[0] == x",
            "y = sys.path[0]",
            "sys.pathology.append(x)",
            "sys.path_importer_cache.clear()",
            "sys.path.remove(x)",
        ] {
            assert!(lines(text, &[]).is_empty(), "{text}");
        }
    }

    #[test]
    fn modules_are_made_by_their_names() {
        assert_eq!(lines("sys.modules[\"] = x", &["a.b"]), ["a.b"]);
        assert_eq!(lines("y(\"); sys.modules[\"] = x", &["z", "a"]), ["a"]);
        assert_eq!(lines("sys.modules.setdefault(\", x)", &["a"]), ["a"]);
        assert_eq!(lines("a = sys.modules[\"] = x", &["a"]), ["a"]);
        for (text, strings) in [
            ("sys.modules[\"] == x", vec!["a"]),
            ("x = sys.modules[\"]", vec!["a"]),
            ("sys.modules[name] = x", vec![]),
            ("sys.modules[__name__ + \"] = x", vec![".a"]),
            ("sys.modules[\"] = x", vec!["no name"]),
            ("sys.modules[\"] = x", vec![]),
        ] {
            assert!(lines(text, &strings).is_empty(), "{text}");
        }
    }
}
